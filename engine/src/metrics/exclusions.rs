//! What is counted of servers that are not decrypted, by why.

use wireglass_core::counters::{Kind, WorkerCounters};
use wireglass_core::exclusions::Cause;

use super::page::{Metrics, Page};

impl Metrics {
    pub(super) fn exclusions_by_cause(&self, page: &mut Page<'_>) {
        type Field = (&'static str, &'static str, fn(&WorkerCounters, Cause) -> u64);
        const FAMILIES: [Field; 2] = [
            (
                "wireglass_exclusions_learned_total",
                "Servers that the engine has learned not to decrypt, by cause.",
                |counters, cause| counters.exclusions_learned(cause).value(),
            ),
            (
                "wireglass_exclusions_used_total",
                "Flows bypassed because their servers are known not to be decryptable, by cause.",
                |counters, cause| counters.exclusions_used(cause).value(),
            ),
        ];
        for (name, help, read) in FAMILIES {
            page.family(name, help, Kind::Counter);
            for (worker, counters) in self.workers().iter().enumerate() {
                for cause in Cause::ALL {
                    page.sample(
                        name,
                        &[("worker", &worker), ("cause", &cause.name())],
                        read(counters, cause),
                    );
                }
            }
        }
        let Some(exclusions) = self.exclusions() else { return };
        let name = "wireglass_exclusions";
        page.family(name, "Servers known or suspected not to be decryptable.", Kind::Gauge);
        page.sample(name, &[], exclusions.len());
        let name = "wireglass_exclusions_evicted_total";
        page.family(
            name,
            "Servers known not to be decryptable that were forgotten because the table was full.",
            Kind::Counter,
        );
        page.sample(name, &[], exclusions.evicted());
    }
}
