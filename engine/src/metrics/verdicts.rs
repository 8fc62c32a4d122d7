//! What has become of the lines of an IDS.

use std::sync::Arc;

use wireglass_core::counters::Kind;
use wireglass_core::reason::VerdictFate;

use super::Metrics;
use super::page::Page;
use crate::verdicts::VerdictCounters;

impl Metrics {
    /// Adds what is counted of verdicts to what is reported. Only the first call counts.
    pub fn set_verdicts(&self, counters: Arc<VerdictCounters>) {
        let _ = self.verdicts.set(counters);
    }

    pub(super) fn verdict_counters(&self, page: &mut Page<'_>) {
        let Some(counters) = self.verdicts.get() else { return };
        let metric = "wireglass_verdicts_total";
        page.family(metric, "Lines of an IDS, by what happened to them.", Kind::Counter);
        for &fate in VerdictFate::ALL {
            page.sample(metric, &[("fate", &fate.code())], counters.value(fate));
        }
    }
}
