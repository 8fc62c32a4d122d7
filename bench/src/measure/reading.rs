//! What is read before and after, and what happened between.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::{Failure, median};
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

/// What is typical of the parts of a measurement: of each percentile the median, and the largest of all. A host that takes one core
/// away for 20 ms, once in some seconds, would otherwise set p99 by itself: all requests by the clock wait that long.
pub(super) fn typical(parts: &[Latency]) -> Latency {
    let of = |side: fn(&Latency) -> &Percentiles| {
        let parts: Vec<_> = parts.iter().map(side).filter(|part| part.count > 0).collect();
        let middle = |quantile: fn(&Percentiles) -> f64| {
            median(&parts.iter().map(|part| quantile(part)).collect::<Vec<_>>()).unwrap_or_default()
        };
        Percentiles {
            count: parts.iter().map(|part| part.count).sum(),
            p50: middle(|p| p.p50),
            p99: middle(|p| p.p99),
            p999: middle(|p| p.p999),
            max: parts.iter().map(|part| part.max).fold(0.0, f64::max),
        }
    };
    Latency { first_byte: of(|latency| &latency.first_byte), last_byte: of(|latency| &latency.last_byte) }
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
    fn one_part_that_was_disturbed_shows_in_the_largest_alone() {
        let part = |p99, count| {
            let percentiles = Percentiles { count, p50: 10.0, p99, p999: 2.0 * p99, max: 3.0 * p99 };
            Latency { first_byte: percentiles.clone(), last_byte: percentiles }
        };
        let Percentiles { count, p50, p99, p999, max } =
            typical(&[part(20.0, 5), part(9000.0, 5), part(30.0, 5), part(0.0, 0)]).last_byte;
        assert_eq!((count, p50, p99, p999, max), (15, 10.0, 30.0, 60.0, 27000.0));
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds");
        (1..=1000).for_each(|n| histogram.saturating_record(n * 1000));
        let p = percentiles(&histogram);
        assert_eq!((p.count, p.p50.round(), p.p99.round()), (1000, 500.0, 990.0));
    }
}
