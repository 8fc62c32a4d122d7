//! Connections that are not to pass as seen from the middle: those that were refused, or forgotten before they were decided.

use tcp_stack::{Duration, Instant};
use wireglass_core::aged_map::AgedMap;
use wireglass_core::counters::WorkerCounters;
use wireglass_core::flow::Afterwards;

/// The hashes of their keys, each for as long as a connection may be silent. The hash is keyed and has 64 bits: nobody can
/// find a connection that shares another one's, and chance does not.
pub(super) struct Refused {
    /// Connections that both ends had, or may have had.
    standing: AgedMap<u64, Known>,
    /// Of which there was a SYN and no answer. Anyone can make as many of these as he likes, so they have a place of their own.
    unanswered: AgedMap<u64, Known>,
    time: Duration,
}

/// What is remembered of a connection.
#[derive(Clone, Copy)]
struct Known {
    until: Instant,
    /// Its ends have been told in order that it is over: until then they may still acknowledge that, which needs no RST.
    quiet_until: Instant,
}

/// How a segment of a connection that is known is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// By a RST.
    Reset,
    /// Not at all if it only acknowledges; else by a RST.
    QuietlyIfEmpty,
}

impl Refused {
    /// At most `most` of each kind.
    pub(super) fn new(most: u32, time: Duration) -> Self {
        Self { standing: AgedMap::new(most), unanswered: AgedMap::new(most), time }
    }

    /// For how long those are remembered that are noted from now on.
    pub(super) fn set_time(&mut self, time: Duration) {
        self.time = time;
    }

    /// A flow is forgotten.
    pub(super) fn note(
        &mut self,
        now: Instant,
        hash: u64,
        afterwards: Afterwards,
        counters: &WorkerCounters,
    ) {
        let known = self.standing.remove(hash, &hash);
        let (stood, quiet_until) = (known.is_some(), known.map_or(now, |known| known.quiet_until));
        self.unanswered.remove(hash, &hash);
        let list = match afterwards {
            Afterwards::Midstream => return,
            Afterwards::RefuseUnanswered if !stood => &mut self.unanswered,
            Afterwards::Refuse | Afterwards::RefuseUnanswered => &mut self.standing,
        };
        if list.is_full() && list.pop_oldest().is_some_and(|known| known.until > now) {
            counters.refused_forgotten.inc();
        }
        // There is room: if it was full, the oldest has gone.
        let _ = list.insert(hash, hash, Known { until: now + self.time, quiet_until });
    }

    /// Both ends of a flow that was just forgotten have been told in order, and have so long to acknowledge it.
    pub(super) fn ends_in_order(&mut self, until: Instant, hash: u64) {
        if let Some(known) = self.standing.get_mut(hash, &hash) {
            known.quiet_until = until;
        }
    }

    /// It is one of them.
    pub(super) fn knows(&mut self, now: Instant, hash: u64) -> bool {
        self.answer(now, hash).is_some()
    }

    /// How its segments are answered, if it is one of them.
    pub(super) fn answer(&mut self, now: Instant, hash: u64) -> Option<Answer> {
        let known = match self.standing.get_mut(hash, &hash) {
            Some(known) if known.until > now => *known,
            _ => *self.unanswered.get_mut(hash, &hash).filter(|known| known.until > now)?,
        };
        Some(if known.quiet_until > now { Answer::QuietlyIfEmpty } else { Answer::Reset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn the_oldest_is_forgotten_and_counted_if_its_time_was_not_up() {
        let counters = WorkerCounters::new(1);
        let mut refused = Refused::new(3, HOUR);
        for n in 0..4 {
            refused.note(at(n), n as u64, Afterwards::Refuse, &counters);
        }
        let known = [0, 1, 2, 3].map(|n| refused.knows(at(4), n));
        assert_eq!((known, counters.refused_forgotten.value()), ([false, true, true, true], 1));
        assert!(!refused.knows(at(3_601), 1) && refused.knows(at(3_601), 2));
        // That one has had its time.
        refused.note(at(3_601), 9, Afterwards::Refuse, &counters);
        assert_eq!(counters.refused_forgotten.value(), 1);
        // Noted again, it is the youngest.
        refused.note(at(3_601), 2, Afterwards::Refuse, &counters);
        refused.note(at(3_601), 10, Afterwards::Refuse, &counters);
        assert_eq!([2, 3].map(|n| refused.knows(at(3_602), n)), [true, false]);
    }

    #[test]
    fn a_flood_of_syns_does_not_push_out_what_was_refused() {
        let counters = WorkerCounters::new(1);
        let mut refused = Refused::new(3, HOUR);
        refused.note(at(0), 1, Afterwards::Refuse, &counters);
        for n in 100..200 {
            refused.note(at(1), n, Afterwards::RefuseUnanswered, &counters);
        }
        assert!(refused.knows(at(2), 1) && refused.knows(at(2), 199) && !refused.knows(at(2), 196));
        // Nor does it move there when a SYN of its own has had no answer.
        refused.note(at(2), 1, Afterwards::RefuseUnanswered, &counters);
        for n in 200..300 {
            refused.note(at(3), n, Afterwards::RefuseUnanswered, &counters);
        }
        assert!(refused.knows(at(4), 1));
        refused.note(at(4), 1, Afterwards::Midstream, &counters);
        assert!(!refused.knows(at(4), 1));
    }
}
