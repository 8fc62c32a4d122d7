//! What the log counts about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wireglass_core::counters::Kind;
use wireglass_core::event::EventKind;

use super::page::{Metrics, Page};

/// Why an event did not find room in a ring of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDrop {
    /// All places were taken.
    Events,
    /// The events in it held as many bytes as they may.
    Bytes,
}

impl LogDrop {
    /// All of them, in declaration order.
    pub const ALL: [Self; 2] = [Self::Events, Self::Bytes];

    /// As the metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Bytes => "bytes",
        }
    }
}

/// What became of the events: for the metrics page and the `stats` event.
#[derive(Debug, Default)]
pub struct LogCounters {
    /// By kind, and by why.
    pub(crate) dropped: [[AtomicU64; LogDrop::ALL.len()]; EventKind::ALL.len()],
    pub(crate) written: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) write_errors: AtomicU64,
}

impl LogCounters {
    /// Events of this kind that found a ring full.
    pub fn dropped(&self, kind: EventKind) -> u64 {
        LogDrop::ALL.map(|why| self.dropped_as(kind, why)).iter().sum()
    }

    /// Likewise, for this reason.
    pub fn dropped_as(&self, kind: EventKind, why: LogDrop) -> u64 {
        self.dropped[kind as usize][why as usize].load(Relaxed)
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
        let help = "Events dropped because the log's ring was full, by kind, and by what filled it.";
        page.family(name, help, Kind::Counter);
        for &kind in EventKind::ALL {
            for full_of in LogDrop::ALL {
                let labels: &[(_, &dyn std::fmt::Display)] =
                    &[("kind", &kind.name()), ("full_of", &full_of.name())];
                page.sample(name, labels, log.dropped_as(kind, full_of));
            }
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
