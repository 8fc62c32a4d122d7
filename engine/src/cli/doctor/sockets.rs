//! Interfaces of the kernel as ports.

use super::findings::{Finding, Question};
use crate::interfaces::{KernelPort, Obstacle, Sockets, XdpMode};

impl Question<'_> {
    /// Whether interfaces can be had as ports, and by which way frames come to them.
    pub(super) fn sockets(&self) -> Vec<Finding> {
        let kernel = &self.facts.kernel;
        let Some(plan) = self.plan else {
            let means = "`xdp:INTERFACE` as a port; -c FILE judges those of a configuration";
            return match (kernel.xdp, kernel.lacks(Sockets::Xdp).join(" ")) {
                (false, _) => vec![Finding::note(
                    "xdp",
                    "this kernel has no AF_XDP",
                    "`af_packet:INTERFACE` needs none; else a kernel with CONFIG_XDP_SOCKETS=y",
                )],
                (true, lacks) if lacks.is_empty() => vec![Finding::note("xdp", "AF_XDP can be had", means)],
                (true, lacks) => vec![Finding::note("xdp", format!("AF_XDP can be had with {lacks}"), means)],
            };
        };
        let ports = plan.ports().filter_map(|port| port.kernel.as_ref());
        ports.map(|port| self.socket(port, plan.cores.len())).collect()
    }

    fn socket(&self, port: &KernelPort, workers: usize) -> Finding {
        let kernel = &self.facts.kernel;
        let topic = if port.sockets == Sockets::Xdp { "xdp" } else { "af_packet" };
        if let Some(Obstacle { found, fix }) = kernel.obstacle(port, workers) {
            return Finding::bad(topic, found, "the engine will not start", fix);
        }
        if let Some(own) = kernel.own_use(&port.interface) {
            return Finding::poor(
                topic,
                format!("{port}: in use: {own}"),
                "the kernel answers what is for this machine, and the wire carries it on as well",
                "another interface, or one without addresses: a wire has none",
            );
        }
        if port.sockets == Sockets::Packet {
            return Finding::good(topic, format!("{port}: can be had"));
        }
        if kernel.version < (5, 11) {
            return Finding::poor(
                topic,
                format!("{port}: Linux {}.{}", kernel.version.0, kernel.version.1),
                "before 5.11 a socket cannot be polled: with a zero-copy driver a worker sleeps up to a second on a quiet port",
                format!("a newer kernel, or af_packet:{}", port.interface),
            );
        }
        let interface = &port.interface;
        let driver = kernel.driver(interface);
        let of = driver.as_deref().unwrap_or("no device");
        let left = format!(
            "it must leave tags in frames and not merge them: ethtool -K {interface} rxvlan off lro off gro off"
        );
        match XdpMode::of_driver(driver.as_deref()) {
            XdpMode::ZeroCopy => Finding::note(topic, format!("{port}: {of}, zero-copy"), left),
            XdpMode::Native => Finding::note(topic, format!("{port}: {of}, native with a copy"), left),
            XdpMode::Virtual => Finding::note(
                topic,
                format!("{port}: {of}"),
                "veth, tun and bond have native XDP, others generic: `ip link show` tells which it is while the engine runs",
            ),
            XdpMode::Generic => Finding::poor(
                topic,
                format!("{port}: {of} is not known to have native XDP"),
                "the kernel makes a packet of each frame first: little is gained over af_packet",
                format!(
                    "af_packet:{interface}, or the card to vfio-pci; docs/deploy.md names drivers that have it"
                ),
            ),
        }
    }
}
