//! What control threads ask of running ports.

use std::path::Path;
use std::sync::Arc;

use wireglass_core::event::PortLink;
use wireglass_core::port::PortSide;

use super::Ports;
use crate::interfaces::Kernel;
use crate::metrics::PortExtra;

impl Ports {
    /// The links of all ports, which belong to these wires. A port that does not answer is left out.
    pub fn links(&self, wires: &[Arc<str>]) -> Vec<PortLink> {
        let kernel = Kernel::read(Path::new("/"));
        let read = |(i, port): (usize, &dpdk::Port)| {
            let mut info = port.info().ok()?;
            // net_af_packet and net_af_xdp say "up" as long as they run.
            if let Some(interface) = self.interfaces.get(i)?
                && let Some(carrier) = kernel.carrier(interface)
            {
                info.link.up &= carrier;
            }
            let speed = info.link.speed_mbps;
            Some(PortLink {
                port: info.name,
                wire: Arc::clone(wires.get(i / 2)?),
                side: if i % 2 == 0 { PortSide::Inside } else { PortSide::Outside },
                up: info.link.up,
                speed_mbps: (info.link.up && ![0, u32::MAX].contains(&speed)).then_some(speed),
                mtu: info.mtu,
            })
        };
        self.ports.iter().enumerate().filter_map(read).collect()
    }

    /// All counters that the drivers have, by their own names. A port that does not answer is left out.
    pub fn extra(&self) -> Vec<PortExtra> {
        let read = |port: &dpdk::Port| {
            port.xstats().ok().map(|counters| PortExtra { port: port.name().to_owned(), counters })
        };
        self.ports.iter().filter_map(read).collect()
    }
}
