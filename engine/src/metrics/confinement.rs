//! What keeps the engine's threads within their bounds.

use wireglass_core::counters::Kind;

use super::page::{Metrics, Page};
use crate::confine::Confinement;

impl Metrics {
    /// What is in force for as long as the process runs.
    pub fn set_confinement(&self, confinement: Confinement) {
        // An engine is confined once.
        let _ = self.confinement.set(confinement);
    }

    pub(super) fn confined(&self, page: &mut Page<'_>) {
        let Some(confinement) = self.confinement.get() else { return };
        let name = "wireglass_confinement_info";
        let help = "Always 1; how threads are confined: confine.mode, whether the kernel filters system calls, and its version of \
                    Landlock (0: files are not bounded).";
        page.family(name, help, Kind::Gauge);
        let (calls, landlock) = (confinement.calls.to_string(), confinement.files.version().to_string());
        let labels = [
            ("mode", &confinement.mode.name() as _),
            ("system_calls_filtered", &calls as _),
            ("landlock", &landlock as _),
        ];
        page.sample(name, &labels, 1);
    }
}
