//! When the engine's own certificates end.

use wireglass_core::counters::Kind;

use super::page::{Metrics, Page};

impl Metrics {
    pub(super) fn certificates(&self, page: &mut Page<'_>) {
        let name = "wireglass_ca_not_after_seconds";
        page.family(
            name,
            "When the certificate of a CA of the engine ends, in seconds since the Unix epoch.",
            Kind::Gauge,
        );
        for (ca, end) in self.authorities_end() {
            page.sample(name, &[("ca", &ca.name())], end);
        }
        let name = "wireglass_minted_not_after_seconds";
        page.family(
            name,
            "When the most recently minted certificate ends, in seconds since the Unix epoch.",
            Kind::Gauge,
        );
        if let Some(end) = self.tls().and_then(|caches| caches.leaf_not_after()) {
            page.sample(name, &[], end);
        }
    }
}
