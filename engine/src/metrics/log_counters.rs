//! What the log counts about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wireglass_core::counters::Kind;
use wireglass_core::event::EventKind;

use super::page::{Metrics, Page};

/// What became of the events: for the metrics page and the `stats` event.
#[derive(Debug, Default)]
pub struct LogCounters {
    pub(crate) dropped: [AtomicU64; EventKind::ALL.len()],
    pub(crate) written: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) write_errors: AtomicU64,
}

impl LogCounters {
    /// Events of this kind that found the ring full.
    pub fn dropped(&self, kind: EventKind) -> u64 {
        self.dropped[kind as usize].load(Relaxed)
    }

    /// Lines that reached the file.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Lines that were lost because the file could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Writes that failed.
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Relaxed)
    }
}

impl Metrics {
    pub(super) fn log_counters(&self, page: &mut Page<'_>) {
        let Some(log) = self.log() else { return };
        let name = "wireglass_log_dropped_total";
        page.family(name, "Events that found the log ring full and were dropped, by kind.", Kind::Counter);
        for &kind in EventKind::ALL {
            page.sample(name, &[("kind", &kind.name())], log.dropped(kind));
        }
        for (name, help, value) in [
            ("wireglass_log_written_total", "Lines written to the event log.", log.written()),
            (
                "wireglass_log_lost_total",
                "Lines lost because the event log could not be written.",
                log.lost(),
            ),
            ("wireglass_log_write_errors_total", "Failed writes to the event log.", log.write_errors()),
        ] {
            page.family(name, help, Kind::Counter);
            page.sample(name, &[], value);
        }
    }
}
