//! Which library protects the records of each suite.

use wireglass_core::counters::Kind;
use wireglass_core::tls::Suite;

use super::page::{Metrics, Page};

impl Metrics {
    pub(super) fn record_libraries(&self, page: &mut Page<'_>) {
        let Some(libraries) = self.records() else { return };
        let name = "wireglass_record_library_info";
        let help = "Always 1; the crypto library that protects the records of each suite is in the label.";
        page.family(name, help, Kind::Gauge);
        for suite in Suite::ALL {
            let labels = [("suite", &suite.name() as _), ("library", &libraries.of(suite).name() as _)];
            page.sample(name, &labels, 1);
        }
    }
}
