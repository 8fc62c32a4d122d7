//! The largest IP packets that ports carry, in bytes.

use std::path::Path;

use dpdk::PortInfo;

use super::WirePorts;
use crate::interfaces::{Kernel, Sockets};

/// What is known of one port.
struct PortMtu<'a> {
    port: &'a str,
    /// What the driver says, once it runs. net_af_packet and net_af_xdp say 1500, whatever their interface has.
    applied: u16,
    /// What its [[wire]] asks for.
    wanted: Option<u16>,
    /// The kernel's interface below it, and what that carries.
    interface: Option<(&'a str, u16)>,
    /// That comes through a packet socket.
    is_packet: bool,
}

impl PortMtu<'_> {
    /// What comes in.
    fn received(&self) -> u16 {
        self.interface.map_or(self.applied, |(_, mtu)| mtu)
    }

    /// What may go out.
    fn sent(&self) -> u16 {
        self.received().min(self.applied)
    }

    /// What to tell an operator of this port.
    fn oddity(&self) -> Option<String> {
        let Self { port, applied, .. } = self;
        if let Some(wanted) = self.wanted.filter(|wanted| wanted != applied) {
            return Some(format!(
                "`mtu` of the [[wire]] is {wanted}, but {port} takes {applied}: longer packets are lost"
            ));
        }
        let (interface, _) = self.interface.filter(|(_, mtu)| self.is_packet && mtu > applied)?;
        Some(format!(
            "{interface} has MTU {}, but packet sockets take {applied}: longer packets are lost. Set {applied} on {interface} and at the \
             hosts, or use xdp:{interface}",
            self.received()
        ))
    }
}

/// What the engine's own packets may have on each wire, by what its ports said when they had `applied` it. Tells of what is odd about them.
pub(super) fn of_wires(wires: &[WirePorts], infos: &[PortInfo], applied: &[u16]) -> Vec<usize> {
    let kernel = Kernel::read(Path::new("/"));
    let ports = infos.chunks(2).zip(applied.chunks(2));
    let wire = |(wire, (infos, applied)): (&WirePorts, (&[PortInfo], &[u16]))| {
        let each = infos.iter().zip(applied).zip(&wire.interfaces);
        let each = each.map(|((info, applied), interface)| PortMtu {
            port: &info.name,
            applied: *applied,
            wanted: wire.mtu,
            interface: interface.as_deref().and_then(|name| Some((name, kernel.mtu(name)?))),
            is_packet: info.driver == Sockets::Packet.driver(),
        });
        let ports: Vec<_> = each.collect();
        let uses = ports.iter().map(PortMtu::sent).min().unwrap_or(1500);
        let mismatch = match &ports[..] {
            [inside, outside] => {
                mismatch((inside.port, inside.received()), (outside.port, outside.received()), uses)
            }
            _ => None,
        };
        for words in ports.iter().filter_map(PortMtu::oddity).chain(mismatch) {
            tracing::warn!("{words}");
        }
        uses.into()
    };
    wires.iter().zip(ports).map(wire).collect()
}

/// What to tell an operator whose two ports have different MTUs; none: they have the same. `uses`: what the engine's own packets may have.
fn mismatch((inside, a): (&str, u16), (outside, b): (&str, u16), uses: u16) -> Option<String> {
    let small = if a < b { inside } else { outside };
    (a != b).then(|| {
        format!(
            "the ports have different MTUs: {a} on {inside}, {b} on {outside}; the wire uses {uses}, and longer packets of flows \
             that are not decrypted are lost at {small}: give both the same, by `mtu` of the [[wire]] or at the devices"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_mtus_are_named_with_what_becomes_of_them() {
        assert_eq!(mismatch(("p0", 1500), ("p1", 1500), 1500), None);
        let words = mismatch(("p0", 9000), ("p1", 1500), 1500).unwrap_or_default();
        assert!(
            words.contains("9000 on p0, 1500 on p1; the wire uses 1500") && words.contains("lost at p1"),
            "{words}"
        );
        let words = mismatch(("p0", 1400), ("p1", 1500), 1400).unwrap_or_default();
        assert!(words.contains("the wire uses 1400") && words.contains("lost at p0"), "{words}");
    }

    #[test]
    fn what_a_port_does_not_take_is_named() {
        let port = |applied, wanted, interface, is_packet| PortMtu {
            port: "p0",
            applied,
            wanted,
            interface: Some(("eth1", interface)),
            is_packet,
        };
        let fits = port(1500, None, 1400, true);
        assert_eq!((fits.oddity(), fits.received(), fits.sent()), (None, 1400, 1400));
        let xdp = port(1500, None, 3000, false);
        assert_eq!((xdp.oddity(), xdp.received(), xdp.sent()), (None, 3000, 1500));
        let jumbo = port(1500, None, 9000, true);
        assert_eq!(jumbo.sent(), 1500);
        let words = jumbo.oddity().unwrap_or_default();
        assert!(words.starts_with("eth1 has MTU 9000, but packet sockets take 1500"), "{words}");
        let words = port(1500, Some(9000), 1500, true).oddity().unwrap_or_default();
        assert!(words.contains("is 9000, but p0 takes 1500"), "{words}");
        assert_eq!(port(9000, Some(9000), 9000, true).oddity(), None);
    }
}
