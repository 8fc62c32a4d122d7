//! What control threads ask of running ports.

use std::path::Path;
use std::sync::Arc;

use wireglass_core::event::PortLink;
use wireglass_core::port::{PortId, PortSide};

use super::Ports;
use super::interface_link::set_up;
use crate::interfaces::{Kernel, has_carrier};
use crate::metrics::PortExtra;

impl Ports {
    /// The links of all ports, which belong to these wires. A port that does not answer is left out.
    pub fn links(&self, wires: &[Arc<str>]) -> Vec<PortLink> {
        let kernel = Kernel::read(Path::new("/"));
        let read = |(i, port): (usize, &dpdk::Port)| {
            let mut info = port.info().ok()?;
            // net_af_packet and net_af_xdp say "up" as long as they run, and 1500.
            if let Some(interface) = self.interfaces.get(i)? {
                info.link.up &= kernel.carrier(interface).unwrap_or(true);
                info.mtu = kernel.mtu(interface).unwrap_or(info.mtu);
            }
            let speed = info.link.speed_mbps;
            Some(PortLink {
                port: info.name,
                wire: Arc::clone(wires.get(i / 2)?),
                side: if i % 2 == 0 { PortSide::Inside } else { PortSide::Outside },
                up: info.link.up,
                held: false,
                speed_mbps: (info.link.up && ![0, u32::MAX].contains(&speed)).then_some(speed),
                mtu: info.mtu,
            })
        };
        self.ports.iter().enumerate().filter_map(read).collect()
    }

    /// A port has a link now: what [`Self::links`] says of it, and nothing more. None: it does not answer.
    pub fn has_link(&self, port: PortId) -> Option<bool> {
        let up = self.ports.get(port.index())?.link().ok()?.up;
        let interface = self.interfaces.get(port.index())?.as_deref();
        if up { interface.map_or(Some(true), has_carrier) } else { Some(false) }
    }

    /// Takes a port's link down, or allows it to come up again.
    ///
    /// # Errors
    /// What keeps it from that.
    pub fn set_link(&self, port: PortId, up: bool) -> Result<(), String> {
        match self.interfaces.get(port.index()) {
            Some(Some(interface)) => set_up(interface, up).map_err(|error| error.to_string()),
            _ => match self.ports.get(port.index()) {
                Some(port) => port.set_link(up).map_err(|error| error.to_string()),
                None => Ok(()),
            },
        }
    }

    /// All counters that the drivers have, by their own names. A port that does not answer is left out.
    pub fn extra(&self) -> Vec<PortExtra> {
        let read = |port: &dpdk::Port| {
            port.xstats().ok().map(|counters| PortExtra { port: port.name().to_owned(), counters })
        };
        self.ports.iter().filter_map(read).collect()
    }
}
