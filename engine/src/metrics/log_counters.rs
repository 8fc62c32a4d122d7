//! What the log counts about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wireglass_core::event::EventKind;

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
