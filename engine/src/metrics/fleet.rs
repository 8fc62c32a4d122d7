//! How the engine stands with its fleet.

use std::sync::Arc;

use wireglass_core::counters::Kind;

use super::Metrics;
use super::page::Page;
use crate::fleet::status::FleetStatus;

impl Metrics {
    /// Adds the fleet to what is reported. Only the first call counts.
    pub fn set_fleet(&self, status: Arc<FleetStatus>) {
        let _ = self.fleet.set(status);
    }

    /// How it stands with the fleet; none: it is in none.
    pub fn fleet(&self) -> Option<&Arc<FleetStatus>> {
        self.fleet.get()
    }

    pub(super) fn fleet_state(&self, page: &mut Page<'_>) {
        let Some(status) = self.fleet.get() else { return };
        let record = status.read();
        for (name, help, kind, value) in [
            ("wireglass_fleet_connected", "Whether etcd answers.", Kind::Gauge, u64::from(record.connected)),
            (
                "wireglass_fleet_connections_total",
                "Connections made to etcd.",
                Kind::Counter,
                record.connections,
            ),
            (
                "wireglass_fleet_failures_total",
                "Connections to etcd that failed or were lost.",
                Kind::Counter,
                record.failures,
            ),
            (
                "wireglass_fleet_engines",
                "Engines in the fleet, this one included.",
                Kind::Gauge,
                record.engines,
            ),
            (
                "wireglass_fleet_generation",
                "Generation of the fleet's policy that is in force here; 0: the engine's own file.",
                Kind::Gauge,
                record.generation,
            ),
            (
                "wireglass_fleet_generation_active",
                "Generation that all engines should have; 0: none.",
                Kind::Gauge,
                record.active,
            ),
            (
                "wireglass_fleet_draining",
                "Whether the fleet drains this engine.",
                Kind::Gauge,
                u64::from(record.draining),
            ),
            (
                "wireglass_fleet_chains",
                "Chains that other engines have verified and this engine accepts.",
                Kind::Gauge,
                record.chains,
            ),
            (
                "wireglass_fleet_chains_used_total",
                "Verifications that this engine skipped because another engine had made them.",
                Kind::Counter,
                record.chains_used,
            ),
            (
                "wireglass_fleet_costly_servers",
                "Servers whose chains were costly to verify for other engines.",
                Kind::Gauge,
                record.costly_servers,
            ),
        ] {
            page.family(name, help, kind);
            page.sample(name, &[], value);
        }
        let name = "wireglass_fleet_values_refused_total";
        page.family(name, "Values in etcd that the engine refused, by reason.", Kind::Counter);
        for (why, values) in status.refused() {
            page.sample(name, &[("reason", &why)], values);
        }
    }
}
