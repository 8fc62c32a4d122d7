//! The metrics page's part about ports: links, and what only their drivers know.

use wireglass_core::event::PortLink;

use super::page::{Metrics, Page};
use wireglass_core::counters::Kind;

/// Counters of one port, by its driver's names (DPDK's xstats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortExtra {
    /// The device, as DPDK names it.
    pub port: String,
    /// Names and values.
    pub counters: Vec<(String, u64)>,
}

/// Where the page's part about ports comes from. Called for every page, on the thread that renders it.
pub struct PortSources {
    /// The links, each with the number of times that it went up or down.
    pub links: Box<dyn Fn() -> Vec<(PortLink, u64)> + Send + Sync>,
    /// What only the drivers know.
    pub extra: Box<dyn Fn() -> Vec<PortExtra> + Send + Sync>,
}

impl Metrics {
    pub(super) fn port_links(&self, page: &mut Page<'_>) {
        type Field = (&'static str, &'static str, Kind, fn(&(PortLink, u64)) -> Option<u64>);
        const FIELDS: &[Field] = &[
            ("wireglass_port_link_up", "1 while the port has a link, else 0.", Kind::Gauge, |(link, _)| {
                Some(link.up.into())
            }),
            (
                "wireglass_port_link_held",
                "1 while the engine keeps the port's link down because the wire's other port has none (`wire.link_state`).",
                Kind::Gauge,
                |(link, _)| Some(link.held.into()),
            ),
            (
                "wireglass_port_link_changes_total",
                "Times that the port's link went up or down since the start.",
                Kind::Counter,
                |(_, changes)| Some(*changes),
            ),
            (
                "wireglass_port_speed_bytes",
                "Speed of the link in bytes per second, if known.",
                Kind::Gauge,
                |(link, _)| link.speed_mbps.map(|mbps| u64::from(mbps) * 125_000),
            ),
            (
                "wireglass_port_mtu_bytes",
                "Largest IP packet that the port carries.",
                Kind::Gauge,
                |(link, _)| Some(link.mtu.into()),
            ),
        ];
        let Some(sources) = self.port_sources() else { return };
        let links = (sources.links)();
        if links.is_empty() {
            return;
        }
        for (name, help, kind, read) in FIELDS {
            page.family(name, help, *kind);
            for entry @ (link, _) in &links {
                if let Some(value) = read(entry) {
                    let labels: [(_, &dyn std::fmt::Display); 3] =
                        [("port", &link.port), ("wire", &link.wire), ("side", &link.side.name())];
                    page.sample(name, &labels, value);
                }
            }
        }
    }

    pub(super) fn port_extra(&self, page: &mut Page<'_>) {
        let Some(sources) = self.port_sources() else { return };
        let ports = (sources.extra)();
        if ports.iter().all(|port| port.counters.is_empty()) {
            return;
        }
        let name = "wireglass_port_driver";
        page.family(
            name,
            "Everything that the port's driver counts, by its own names (DPDK's xstats).",
            Kind::Gauge,
        );
        for port in &ports {
            for (counter, value) in &port.counters {
                page.sample(name, &[("port", &port.port), ("counter", counter)], value);
            }
        }
    }
}
