//! Which generation of settings the engine goes by, and how reloads have gone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Written by the thread that reloads, read by those that report.
#[derive(Debug)]
pub struct GenerationRecord {
    started: Instant,
    number: AtomicU64,
    /// Microseconds from the start to when it came into force.
    since: AtomicU64,
    older: AtomicU64,
    failed: AtomicU64,
}

impl GenerationRecord {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            number: AtomicU64::new(crate::generation::FIRST.into()),
            since: AtomicU64::new(0),
            older: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// This one is in force from now on.
    pub fn begin(&self, number: u32) {
        self.since.store(self.started.elapsed().as_micros() as u64, Relaxed);
        self.number.store(number.into(), Relaxed);
    }

    /// So many older ones still have flows.
    pub fn set_older(&self, older: usize) {
        self.older.store(older as u64, Relaxed);
    }

    /// A reload has changed nothing, as there was something wrong.
    pub fn fail(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Its number, from 1.
    pub fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// How long it has been in force.
    pub fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_micros(self.since.load(Relaxed)))
    }

    /// Older ones that still have flows.
    pub fn older(&self) -> u64 {
        self.older.load(Relaxed)
    }

    /// Reloads that have changed nothing, as there was something wrong.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }
}
