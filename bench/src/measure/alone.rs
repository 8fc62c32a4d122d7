//! What the engine's turns cost, where one thread runs them and the load in turn.

use super::reading::Reading;
use crate::load::Tally;
use crate::outcome::{Alone, CONNECTIONS, Cost, Outcome};

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
        let taken_away = sum(|part| part.taken_away);
        let per_packet = per(|part| part.packets)?;
        let rates = self.parts.iter().map(|part| of_part(part) / (part.cycles as f64 / self.hz));
        // One thread is never idle.
        outcome.load_busy = 1.0 - outcome.busy;
        outcome.latency = None;
        outcome.alone = Some(Alone {
            ghz: self.hz / 1e9,
            // A connection's is next to nothing beside its handshake.
            per_payload_byte: per(|part| part.payload).filter(|_| outcome.unit != CONNECTIONS),
            per_packet,
            per_exchange: per(|part| part.exchanges),
            payload: sum(|part| part.payload),
            packets_sent: sum(|part| part.sent),
            taken_away: taken_away as f64 / (taken_away + sum(|part| part.cycles)) as f64,
            instructions: None,
        });
        super::median(&rates.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_that_was_disturbed_does_not_count() {
        let part = |cycles, taken_away| Part {
            cycles,
            taken_away,
            packets: 10,
            sent: 10,
            payload: 1_000,
            exchanges: 2,
        };
        let parts = Parts { parts: vec![part(4_000, 0), part(4_000, 0), part(90_000, 2_000)], hz: 2e9 };
        let mut outcome = Outcome { busy: 0.25, ..Outcome::default() };
        // In gigabytes: half a byte for each nanosecond.
        let figure = parts.conclude(&mut outcome, |part| part.payload as f64 / 1e9);
        let alone = outcome.alone.expect("turns were timed");
        let cost = |cycles, nanos| Some((cycles, nanos));
        let of = |cost: Option<Cost>| cost.map(|cost| (cost.cycles, cost.nanos));
        assert_eq!(figure, Some(0.5));
        assert_eq!(of(alone.per_payload_byte), cost(4.0, 2.0));
        assert_eq!(of(Some(alone.per_packet)), cost(400.0, 200.0));
        assert_eq!(of(alone.per_exchange), cost(2_000.0, 1_000.0));
        assert_eq!((alone.payload, alone.packets_sent, outcome.load_busy), (3_000, 30, 0.75));
        assert_eq!(alone.taken_away, 0.02);
    }

    #[test]
    fn without_timed_turns_nothing_changes() {
        let mut outcome = Outcome { load_busy: 0.9, ..Outcome::default() };
        assert_eq!(Parts::default().conclude(&mut outcome, |_| 1.0), None);
        assert_eq!((outcome.load_busy, outcome.alone), (0.9, None));
    }
}
