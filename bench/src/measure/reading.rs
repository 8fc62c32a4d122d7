//! What is read before and after, and what happened between.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::Failure;
use crate::outcome::{Latency, Outcome, Percentiles, core_share};
use crate::rig::{Figures, Rig};

/// What the worker and the generator have done by a moment.
#[derive(Clone)]
pub(super) struct Reading {
    at: Instant,
    pub(super) figures: Figures,
    /// Seconds for which the generator was busy.
    load_busy: f64,
}

impl Reading {
    pub(super) fn take(rig: &mut Rig, load_busy: f64) -> Result<Self, Failure> {
        Ok(Self { at: Instant::now(), figures: rig.figures()?, load_busy })
    }

    pub(super) fn seconds_since(&self, before: &Self) -> f64 {
        (self.at - before.at).as_secs_f64()
    }

    /// Seconds for which the worker was busy and had its core.
    pub(super) fn core_seconds_since(&self, before: &Self) -> f64 {
        let seconds = self.seconds_since(before);
        let busy = (self.figures.busy - before.figures.busy) / seconds;
        let waited = (self.figures.waited - before.figures.waited) / seconds;
        core_share(busy, waited) * seconds
    }

    /// What happened since, into the outcome.
    pub(super) fn since(&self, before: &Self, outcome: &mut Outcome) {
        let seconds = self.seconds_since(before);
        let (now, then) = (&self.figures, &before.figures);
        outcome.seconds = seconds;
        outcome.busy = (now.busy - then.busy) / seconds;
        outcome.waited = (now.waited - then.waited) / seconds;
        outcome.load_busy = (self.load_busy - before.load_busy) / seconds;
        outcome.packets = now.packets - then.packets;
        let turns = now.turns - then.turns;
        outcome.packets_per_turn = (turns > 0).then(|| outcome.packets as f64 / turns as f64);
        let per_packet = |n: u64| n as f64 / outcome.packets.max(1) as f64;
        outcome.allocations_per_packet = per_packet(now.allocations.calls - then.allocations.calls);
        outcome.allocated_bytes_per_packet = per_packet(now.allocations.bytes - then.allocations.bytes);
    }
}

/// What was lost or repeated in the whole scenario.
pub(super) fn count_losses(figures: &Figures, outcome: &mut Outcome) {
    outcome.retransmits = figures.retransmits;
    outcome.timeouts = figures.timeouts;
    outcome.dropped.clone_from(&figures.dropped);
    outcome.ended.clone_from(&figures.ended);
}

/// Both histograms, which are in nanoseconds.
pub(super) fn latency(first_byte: &Histogram<u64>, last_byte: &Histogram<u64>) -> Latency {
    Latency { first_byte: percentiles(first_byte), last_byte: percentiles(last_byte) }
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Percentiles {
        count: histogram.len(),
        p50: micros(0.5),
        p99: micros(0.99),
        p999: micros(0.999),
        max: histogram.max() as f64 / 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds");
        (1..=1000).for_each(|n| histogram.saturating_record(n * 1000));
        let p = percentiles(&histogram);
        assert_eq!((p.count, p.p50.round(), p.p99.round()), (1000, 500.0, 990.0));
    }
}
