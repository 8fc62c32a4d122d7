//! What is counted of the process that signs for the CAs.

use std::sync::Arc;

use wireglass_core::counters::Kind;

use super::page::{Metrics, Page};
use crate::signer::SignerCounters;

impl Metrics {
    /// Adds the process that signs for the CAs to what is reported. Only the first call counts.
    pub fn set_signer(&self, counters: Arc<SignerCounters>) {
        let _ = self.signer.set(counters);
    }

    /// What is counted of it; none: this process has the keys itself.
    pub(crate) fn signer(&self) -> Option<&SignerCounters> {
        self.signer.get().map(|signer| &**signer)
    }

    pub(super) fn signing(&self, page: &mut Page<'_>) {
        let Some(signer) = self.signer.get() else { return };
        let name = "wireglass_signer_up";
        page.family(name, "Whether the signer, which has the CAs' keys, answers.", Kind::Gauge);
        page.sample(name, &[], u64::from(signer.is_up()));
        let name = "wireglass_signer_starts_total";
        page.family(name, "How often a signer has started; more than 1: it has died.", Kind::Counter);
        page.sample(name, &[], signer.starts());
        let name = "wireglass_signer_requests_total";
        page.family(name, "Requests to the signer, by result: signed, refused, failed (a token that is away) or unanswered.", Kind::Counter);
        for (outcome, requests) in signer.requests() {
            page.sample(name, &[("outcome", &outcome)], requests);
        }
    }
}
