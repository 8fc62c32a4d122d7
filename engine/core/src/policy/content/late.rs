//! What was found when most of a body had gone on: the next try is answered before anything goes on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tcp_stack::{Duration, Instant};

/// Places, of which a new verdict takes one whoever has it.
const PLACES: usize = 4096;
/// How long one is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);

/// A keyed hash of a rule, of what was asked for and of what was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateKey(pub(super) u64);

/// Verdicts that came late, by a keyed hash of what was asked for and of what was answered. Shared by all workers without a lock.
#[derive(Debug)]
pub(super) struct LateVerdicts {
    /// The upper half of a hash, and the second until which it counts; 0 is free.
    places: Box<[AtomicU64]>,
}

impl Default for LateVerdicts {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl LateVerdicts {
    /// Something was found in what this hash stands for.
    pub(super) fn note(&self, hash: u64, now: Instant) {
        let until = (now + REMEMBERED).secs() as u32;
        self.place(hash).store(hash & !u64::from(u32::MAX) | u64::from(until), Relaxed);
    }

    /// Something was found in it, not long ago.
    pub(super) fn knows(&self, hash: u64, now: Instant) -> bool {
        let noted = self.place(hash).load(Relaxed);
        noted >> 32 == hash >> 32 && now.secs() < i64::from(noted as u32)
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.places[hash as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_remembered_for_a_while() {
        let late = LateVerdicts::default();
        let (hash, begin) = (0x1234_5678_9abc_def0, Instant::from_secs(1_000));
        assert!(!late.knows(hash, begin));
        late.note(hash, begin);
        assert!(late.knows(hash, begin) && late.knows(hash, begin + Duration::from_secs(299)));
        assert!(!late.knows(hash, begin + Duration::from_secs(300)));
        // Another one of the same place.
        assert!(!late.knows(hash ^ 1 << 40, begin));
        late.note(hash ^ 1 << 40, begin);
        assert!(!late.knows(hash, begin));
    }
}
