//! What came of a scenario.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ceilings::Ceiling;
use crate::machine::Machine;
use crate::measure::median;

/// Milliseconds of silence after which a sender may probe (RFC 8985 7.2), less two for its round trips and ours.
const PATIENCE: f64 = 10.0;

/// The unit of new connections.
pub(crate) const CONNECTIONS: &str = "connections/s";

/// A run of several scenarios, as it stands in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Run {
    /// What follows from several scenarios. Frames that the engine passes on are a share of what a piece of wire (on memif:
    /// testpmd) passes on: F. What the engine adds to a latency is what the wire has less, asked for as much.
    pub(crate) fn relate(&mut self) {
        for (wire, engine) in
            [("small-wire-udp", "small-forward"), ("memif-small-testpmd-udp", "memif-small-forward")]
        {
            let Some(value) = self.named(wire).and_then(|wire| wire.per_busy_core) else { continue };
            for outcome in self.outcomes.iter_mut().filter(|outcome| outcome.name.starts_with(engine)) {
                outcome.set_ceiling(Some(Ceiling { name: "F".into(), value, by: None }));
            }
        }
        let Some(wire) = self.named("latency-wire").cloned() else { return };
        if let Some(engine) = self.outcomes.iter_mut().find(|outcome| outcome.name == "latency-inspect")
            && engine.offered == wire.offered
        {
            let both = engine.latency.as_ref().zip(wire.latency.as_ref());
            engine.added = both.map(|(engine, wire)| Added {
                p50: engine.last_byte.p50 - wire.last_byte.p50,
                p99: engine.last_byte.p99 - wire.last_byte.p99,
                p999: engine.last_byte.p999 - wire.last_byte.p999,
            });
        }
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.name == name)
    }
}

/// Scenarios measured in turns with another build of the program, as they stand in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pairs {
    pub(crate) machine: Machine,
    /// The other build.
    pub(crate) other: PathBuf,
    pub(crate) scenarios: Vec<Paired>,
}

/// One scenario's pairs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Paired {
    pub(crate) name: String,
    pub(crate) unit: String,
    /// What the other build and this one did.
    pub(crate) pairs: Vec<[f64; 2]>,
}

/// One scenario's figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) mode: String,
    /// `rings` or `memif`.
    pub(crate) ports: String,
    pub(crate) dpdk: String,
    /// The library of the engine's records, of the suite that rustls prefers; none: nothing is decrypted.
    pub(crate) records: Option<String>,
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
    /// The longest that the generator left one of its connections without an answer, in milliseconds.
    pub(crate) load_late: f64,
    /// The figure, had the worker been busy all the time, and alone on its core.
    pub(crate) per_busy_core: Option<f64>,
    /// Of `per_busy_core`, as a share of it, by how the parts of the measured time differ; none: not looked at in parts.
    pub(crate) standard_error: Option<f64>,
    pub(crate) ceiling: Option<Ceiling>,
    /// `per_busy_core` as a share of the ceiling.
    pub(crate) share: Option<f64>,
    pub(crate) exchanges: u64,
    /// Requests per second that were asked for, where that was by the clock.
    pub(crate) offered: Option<f64>,
    /// Frames that the worker received.
    pub(crate) packets: u64,
    /// Of those, in each turn of the worker that found something to do: where it is small, the generator was not fast enough
    /// for the worker to work in bursts, and the figure for a busy core is a lower bound.
    pub(crate) packets_per_turn: Option<f64>,
    pub(crate) allocations_per_packet: f64,
    pub(crate) allocated_bytes_per_packet: f64,
    /// Payload bytes copied for each payload byte that went through; none: no engine, or its data path does not count.
    pub(crate) copied_per_payload_byte: Option<f64>,
    /// Shares of the connections that were resumed.
    pub(crate) resumed: Option<Resumed>,
    pub(crate) memory: Option<Memory>,
    pub(crate) latency: Option<Latency>,
    /// What the engine adds to the latency until the last byte.
    pub(crate) added: Option<Added>,
    pub(crate) contrast: Option<Contrast>,
    /// What the engine's turns cost, where one thread plays sender, engine and receiver.
    pub(crate) alone: Option<Alone>,
    /// With many rules, of the same without them.
    pub(crate) of_inspect: Option<OfInspect>,
    /// From here on: to be zero, over the whole scenario; but see [`late_repeats`](Self::late_repeats).
    pub(crate) retransmits: u64,
    pub(crate) timeouts: u64,
    /// Buffers of the engine, and of the generator, that did not come back.
    pub(crate) mbufs_lost: u64,
    pub(crate) load_mbufs_lost: u64,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) dropped: BTreeMap<String, u64>,
    /// How flows ended, by reason.
    pub(crate) ended: BTreeMap<String, u64>,
}

/// Of the new connections, from 0 to 1.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Resumed {
    /// As the clients see it.
    pub(crate) client_leg: f64,
    /// As the servers see it.
    pub(crate) server_leg: f64,
}

/// Of one flow, in bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// What the worker allocated while the flows came.
    pub(crate) heap: f64,
    /// Of that and of the buffers, what its legs hold: queued, received, or room for it.
    pub(crate) legs: f64,
    /// Its place in the tables that the worker makes when it starts.
    pub(crate) table: f64,
    /// Frame buffers that are held.
    pub(crate) buffers: f64,
    /// Growth of the generator's process, and so with rings of the engine too.
    pub(crate) process: f64,
}

/// In microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Added {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// The same measurement without and with something beside it, in one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Contrast {
    /// What is measured, and beside what.
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) without: f64,
    pub(crate) with: f64,
}

/// The engine's turns alone. Costs are medians of the parts of the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alone {
    /// Cycles of the TSC in a nanosecond.
    pub(crate) ghz: f64,
    /// Of requests and answers.
    pub(crate) per_payload_byte: Option<Cost>,
    /// Per frame that the engine received.
    pub(crate) per_packet: Cost,
    /// A request and its answer; with new connections a handshake on both legs and the end, too.
    pub(crate) per_exchange: Option<Cost>,
    /// Bytes of requests and answers that came through.
    pub(crate) payload: u64,
    /// Frames that the load sent: as many as the engine received.
    pub(crate) packets_sent: u64,
    /// Of the time of turns, the share in which other programs had the core. It is taken off.
    pub(crate) taken_away: f64,
    /// Under callgrind.
    pub(crate) instructions: Option<Instructions>,
}

/// What one of something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Cycles of the TSC.
    pub(crate) cycles: f64,
    pub(crate) nanos: f64,
    /// Half of the parts are between these, as shares of the median.
    pub(crate) quartiles: [f64; 2],
}

impl Cost {
    /// Of the cycles in each part; none without any.
    pub(crate) fn median(cycles: &[f64], hz: f64) -> Option<Self> {
        let Spread { median, quartiles } = Spread::of(cycles)?;
        let quartiles = quartiles.map(|quartile| quartile / median);
        Some(Self { cycles: median, nanos: median / hz * 1e9, quartiles })
    }
}

/// Instructions of the engine's turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) per_payload_byte: Option<f64>,
    pub(crate) per_packet: f64,
    pub(crate) per_exchange: Option<f64>,
}

/// The middle of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// Half of the values are between these.
    pub(crate) quartiles: [f64; 2],
}

impl Spread {
    /// None without any.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |quarter: usize| sorted.get(sorted.len().saturating_sub(1) * quarter / 4).copied();
        Some(Self { median: median(&sorted)?, quartiles: [at(1)?, at(3)?] })
    }
}

/// For a busy core, with rules as a share of without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OfInspect {
    pub(crate) median: f64,
    /// Half of the pairs are between these.
    pub(crate) quartiles: [f64; 2],
    pub(crate) pairs: usize,
}

impl OfInspect {
    /// Of the shares of each pair; none without any.
    pub(crate) fn new(shares: &[f64]) -> Option<Self> {
        let Spread { median, quartiles } = Spread::of(shares)?;
        Some(Self { median, quartiles, pairs: shares.len() })
    }
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
        let busy = core_share(self.busy, self.waited);
        if self.alone.is_some() {
            // It is of the engine's turns already.
            self.per_busy_core = Some(self.figure);
        } else if !self.lower_is_better && busy > 0.0 {
            self.per_busy_core = Some(self.figure / busy);
        }
        self.share = self.per_busy_core.zip(ceiling.as_ref()).map(|(figure, c)| figure / c.value);
        self.ceiling = ceiling;
    }

    /// What does not depend on how fast the generator was.
    pub(crate) fn comparable(&self) -> f64 {
        self.per_busy_core.unwrap_or(self.figure)
    }

    /// Takes in the instructions of all turns that were measured.
    pub(crate) fn count_instructions(&mut self, total: u64) {
        if self.of_inspect.is_some() {
            // Those without rules are among them. `bench.sh --instructions` has cases for rules.
            return;
        }
        let exchanges = self.exchanges;
        let Some(alone) = &mut self.alone else { return };
        let of = |count: u64| (count > 0).then(|| total as f64 / count as f64);
        alone.instructions = of(alone.packets_sent).map(|per_packet| Instructions {
            per_payload_byte: alone.per_payload_byte.and_then(|_| of(alone.payload)),
            per_packet,
            per_exchange: of(exchanges),
        });
    }

    /// Segments that had to be repeated although nothing was lost: their receiver answered later than a sender may wait.
    pub(crate) fn late_repeats(&self) -> u64 {
        if self.load_late >= PATIENCE { self.retransmits } else { 0 }
    }

    /// All that should not have happened; empty when all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let numbers = [
            ("retransmits", self.retransmits - self.late_repeats()),
            ("timeouts", self.timeouts),
            ("mbufs lost", self.mbufs_lost),
            ("mbufs of the generator lost", self.load_mbufs_lost),
        ];
        let numbers = numbers.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}"));
        let maps = self.failures.iter().chain(&self.dropped).map(|(what, n)| format!("{n} {what}"));
        let strayed = self.alone.as_ref().map(|alone| alone.packets_sent.abs_diff(self.packets));
        let strayed =
            strayed.filter(|n| *n > 0).map(|n| format!("{n} frames sent and not received, or the reverse"));
        let nothing = (self.exchanges == 0 && ["Gbit/s", "requests/s"].contains(&&*self.unit))
            .then(|| "nothing went through".to_owned());
        numbers.chain(maps).chain(strayed).chain(nothing).collect()
    }
}

/// The share of a core that a worker had and was busy with: while it waited for its core it counted as busy, if it was.
pub(crate) fn core_share(busy: f64, waited: f64) -> f64 {
    (busy * (1.0 - waited).clamp(0.0, 1.0)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_pairs_are_between_the_quartiles() {
        let of = OfInspect::new(&[0.9, 1.0, 0.5, 0.98, 2.0]);
        assert_eq!(of, Some(OfInspect { median: 0.98, quartiles: [0.9, 1.0], pairs: 5 }));
        assert_eq!(OfInspect::new(&[]), None);
    }

    #[test]
    fn only_a_late_generator_excuses_repeated_segments() {
        let repeated =
            |load_late| Outcome { retransmits: 3, load_late, exchanges: 1, ..Outcome::default() }.faults();
        assert_eq!(repeated(4.0), ["3 retransmits"]);
        assert!(repeated(17.0).is_empty());
    }
}
