//! What a capture counts.

use std::sync::Arc;

use wireglass_core::counters::Kind;
use wireglass_core::reason::CaptureDrop;

use super::Metrics;
use super::page::Page;
use crate::capture::CaptureCounters;

impl Metrics {
    /// Adds what a capture counts to what is reported. Only the first call counts.
    pub fn set_capture(&self, counters: Arc<CaptureCounters>) {
        let _ = self.capture.set(counters);
    }

    pub(super) fn capture_counters(&self, page: &mut Page<'_>) {
        let Some(counters) = self.capture.get() else { return };
        let metric = "wireglass_capture_on";
        page.family(metric, "1 while secrets of decrypted flows are being written, else 0.", Kind::Gauge);
        page.sample(metric, &[], u64::from(counters.is_on()));
        let metric = "wireglass_capture_frames_total";
        page.family(metric, "Frames that the capture took.", Kind::Counter);
        page.sample(metric, &[], counters.taken());
        let metric = "wireglass_capture_dropped_total";
        page.family(metric, "What the capture lacks, by reason.", Kind::Counter);
        for &why in CaptureDrop::ALL {
            page.sample(metric, &[("reason", &why.code())], counters.dropped(why));
        }
    }
}
