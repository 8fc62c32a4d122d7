//! What came of a scenario.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ceilings::Ceiling;
use crate::machine::Machine;

/// A run of several scenarios, as it stands in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Run {
    /// Frames that the engine passes on are a share of what a piece of wire passes on: F, from a scenario of its own.
    pub(crate) fn relate(&mut self) {
        let wire = self.outcomes.iter().find(|outcome| outcome.name == "small-wire-udp");
        let Some(value) = wire.and_then(|wire| wire.per_busy_core) else { return };
        for outcome in self.outcomes.iter_mut().filter(|outcome| outcome.name.starts_with("small-forward")) {
            outcome.set_ceiling(Some(Ceiling { name: "F".into(), value }));
        }
    }
}

/// One scenario's figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) mode: String,
    pub(crate) dpdk: String,
    pub(crate) figure: f64,
    pub(crate) unit: String,
    pub(crate) lower_is_better: bool,
    /// The part that was measured.
    pub(crate) seconds: f64,
    /// Share of the time in which the worker's turns found something to do.
    pub(crate) busy: f64,
    /// Share of the time in which the worker had no core although it could have run: others disturbed it.
    pub(crate) waited: f64,
    /// The generator's busy share: near 1, it and not the worker is the limit.
    pub(crate) load_busy: f64,
    /// The figure, had the worker been busy all the time, and alone on its core.
    pub(crate) per_busy_core: Option<f64>,
    pub(crate) ceiling: Option<Ceiling>,
    /// `per_busy_core` as a share of the ceiling.
    pub(crate) share: Option<f64>,
    pub(crate) exchanges: u64,
    /// Requests per second that were asked for, where that was by the clock.
    pub(crate) offered: Option<f64>,
    /// Frames that the worker received.
    pub(crate) packets: u64,
    pub(crate) allocations_per_packet: f64,
    pub(crate) allocated_bytes_per_packet: f64,
    /// Growth of the whole process for a connection, generator included, in KB.
    pub(crate) resident_per_flow: Option<f64>,
    pub(crate) latency: Option<Latency>,
    /// From here on: to be zero, over the whole scenario.
    pub(crate) retransmits: u64,
    pub(crate) timeouts: u64,
    pub(crate) mbufs_lost: u64,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) dropped: BTreeMap<String, u64>,
    /// How flows ended, by reason.
    pub(crate) ended: BTreeMap<String, u64>,
}

/// In microseconds since a request was due.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) first_byte: Percentiles,
    pub(crate) last_byte: Percentiles,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Outcome {
    /// With the ceiling known, all that follows from it.
    pub(crate) fn set_ceiling(&mut self, ceiling: Option<Ceiling>) {
        // While the worker waited for its core it counted as busy, if it was.
        let busy = self.busy * (1.0 - self.waited).clamp(0.0, 1.0);
        if !self.lower_is_better && busy > 0.0 {
            self.per_busy_core = Some(self.figure / busy.min(1.0));
        }
        self.share = self.per_busy_core.zip(ceiling.as_ref()).map(|(figure, c)| figure / c.value);
        self.ceiling = ceiling;
    }

    /// All that should not have happened; empty when all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let numbers =
            [("retransmits", self.retransmits), ("timeouts", self.timeouts), ("mbufs lost", self.mbufs_lost)];
        let numbers = numbers.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}"));
        let maps = self.failures.iter().chain(&self.dropped).map(|(what, n)| format!("{n} {what}"));
        let nothing =
            (self.exchanges == 0 && self.unit == "Gbit/s").then(|| "nothing went through".to_owned());
        numbers.chain(maps).chain(nothing).collect()
    }
}
