//! What the engine's turns cost, where one thread runs them and the load in turn.

use super::reading::Reading;
use crate::load::Tally;
use crate::outcome::{Alone, Cost, Outcome};

/// What happened in a part of the measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) cycles: u64,
    pub(super) taken_away: u64,
    pub(super) packets: u64,
    /// Frames that the load has sent.
    pub(super) sent: u64,
    pub(super) payload: u64,
    pub(super) exchanges: u64,
}

/// The parts, and what a cycle is.
#[derive(Default)]
pub(super) struct Parts {
    parts: Vec<Part>,
    hz: f64,
}

impl Parts {
    /// Notes what happened between two moments: the frames that the load sent, and what came of its connections, if it has any.
    /// Nothing where the engine has a thread of its own.
    pub(super) fn note(&mut self, [then, now]: [&Reading; 2], sent: u64, tallies: Option<[&Tally; 2]>) {
        let Some((before, after)) = then.figures.turn_times.zip(now.figures.turn_times) else { return };
        let of = |read: fn(&Tally) -> u64| tallies.map_or(0, |[then, now]| read(now) - read(then));
        self.hz = after.hz;
        self.parts.push(Part {
            cycles: after.cycles - before.cycles,
            taken_away: after.taken_away - before.taken_away,
            packets: now.figures.packets - then.figures.packets,
            sent,
            payload: of(|tally| tally.payload),
            exchanges: of(|tally| tally.exchanges),
        });
    }

    /// Puts medians of the parts into the outcome. Returns the figure, what a core would do that does nothing else. `of_part`: how
    /// much of the figure's unit a part did. None where the engine has a thread of its own.
    pub(super) fn conclude(&self, outcome: &mut Outcome, of_part: impl Fn(&Part) -> f64) -> Option<f64> {
        let per = |count: fn(&Part) -> u64| {
            let counted = self.parts.iter().filter(|part| count(part) > 0);
            let cycles = counted.map(|part| part.cycles as f64 / count(part) as f64);
            Cost::median(&cycles.collect::<Vec<_>>(), self.hz)
        };
        let sum = |count: fn(&Part) -> u64| self.parts.iter().map(count).sum::<u64>();
        let per_packet = per(|part| part.packets)?;
        let rates = self.parts.iter().map(|part| of_part(part) / (part.cycles as f64 / self.hz));
        // One thread is never idle.
        outcome.load_busy = 1.0 - outcome.busy;
        outcome.latency = None;
        outcome.alone = Some(Alone {
            ghz: self.hz / 1e9,
            per_payload_byte: per(|part| part.payload),
            per_packet,
            per_exchange: per(|part| part.exchanges),
            payload: sum(|part| part.payload),
            packets_sent: sum(|part| part.sent),
            taken_away: sum(|part| part.taken_away) as f64 / sum(|part| part.cycles) as f64,
            instructions: None,
        });
        super::median(&rates.collect::<Vec<_>>())
    }
}
