//! How long things take: observations, counted by bounds that are the same for all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds in microseconds, each included: from what a cached verification takes to a peer that does not answer.
pub const BOUNDS_MICROS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Any thread may write. An observation costs two additions, no lock and no memory.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative. The last one: longer than all bounds.
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// It took so many nanoseconds.
    pub fn observe(&self, nanos: u64) {
        let place = BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < nanos);
        self.counts[place].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    /// As it is now, while others may go on.
    pub fn read(&self) -> HistogramReading {
        let counts = std::array::from_fn(|place| self.counts[place].load(Relaxed));
        HistogramReading { counts, nanos: self.nanos.load(Relaxed) }
    }
}

/// A histogram at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramReading {
    /// Observations by bound, not cumulative; the last one: longer than all bounds.
    pub counts: [u64; BOUNDS_MICROS.len() + 1],
    /// Sum of the times, in nanoseconds.
    pub nanos: u64,
}

impl HistogramReading {
    /// Observations.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_included_and_what_is_longer_than_all_counts_last() {
        let histogram = Histogram::default();
        for nanos in [0, 50_000, 50_001, 1_000_000, 10_000_000_000, 10_000_000_001] {
            histogram.observe(nanos);
        }
        let read = histogram.read();
        let mut counts = [0; BOUNDS_MICROS.len() + 1];
        (counts[0], counts[1], counts[4]) = (2, 1, 1);
        (counts[BOUNDS_MICROS.len() - 1], counts[BOUNDS_MICROS.len()]) = (1, 1);
        assert_eq!(read, HistogramReading { counts, nanos: 20_001_100_002 });
        assert_eq!(read.total(), 6);
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS_MICROS.is_sorted_by(|a, b| a < b));
    }
}
