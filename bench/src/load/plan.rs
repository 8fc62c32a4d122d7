//! When connections are opened, and when they ask.

use std::collections::VecDeque;

/// How the load is laid on. Times are nanoseconds of the generator's clock.
pub(crate) enum Plan {
    /// Each connection asks again as soon as it has its answer: what goes through at most.
    Kept,
    /// A connection for each exchange, and another one when it has ended.
    Fresh,
    /// One exchange, and then silence.
    Idle,
    /// Not a byte.
    Silent,
    /// By the clock, whatever the answers do: a request that finds no free connection waits, and its wait counts
    /// (open loop, so that a pause of the engine is not left out of its latency).
    Paced(Pace),
}

/// Moments at the same distance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    interval: u64,
    /// None: it stands.
    next: Option<u64>,
}

impl Clock {
    /// So many moments in a second, from `now` on.
    pub(crate) fn new(per_second: f64, now: u64) -> Self {
        let interval = (1e9 / per_second) as u64;
        Self { interval: interval.max(1), next: Some(now) }
    }

    /// The earliest moment that has come and was not taken yet.
    pub(crate) fn due(&mut self, now: u64) -> Option<u64> {
        let due = self.next.filter(|next| *next <= now)?;
        self.next = Some(due + self.interval);
        Some(due)
    }

    fn stop(&mut self) {
        self.next = None;
    }
}

/// The clock of [`Plan::Paced`], and who may ask.
pub(crate) struct Pace {
    clock: Clock,
    /// When those that wait should have been asked.
    waiting: VecDeque<u64>,
    /// Connections that have nothing to do.
    free: VecDeque<u32>,
}

impl Pace {
    /// By this clock.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, waiting: VecDeque::new(), free: VecDeque::new() }
    }

    /// The clock stops; what waits is forgotten.
    pub(crate) fn stop(&mut self) {
        self.clock.stop();
        self.waiting.clear();
    }

    /// A connection has nothing to do.
    pub(crate) fn release(&mut self, connection: u32) {
        self.free.push_back(connection);
    }

    /// Who is to ask now, and since when.
    pub(crate) fn next(&mut self, now: u64) -> Option<(u32, u64)> {
        while let Some(due) = self.clock.due(now) {
            self.waiting.push_back(due);
        }
        let connection = *self.free.front()?;
        let since = self.waiting.pop_front()?;
        self.free.pop_front();
        Some((connection, since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_makes_the_next_request_late_and_that_shows() {
        let mut pace = Pace::new(Clock::new(1_000.0, 0));
        pace.release(7);
        assert_eq!(pace.next(0), Some((7, 0)));
        assert_eq!(pace.next(3_500_000), None, "the only connection is busy");
        pace.release(7);
        assert_eq!(pace.next(3_600_000), Some((7, 1_000_000)), "it was due at 1 ms");
        pace.stop();
        pace.release(7);
        assert_eq!(pace.next(9_000_000), None);
    }

    #[test]
    fn a_clock_that_was_not_looked_at_catches_up() {
        let mut clock = Clock::new(1_000.0, 5);
        assert_eq!(clock.due(4), None);
        let due: Vec<_> = std::iter::from_fn(|| clock.due(2_000_005)).collect();
        assert_eq!(due, [5, 1_000_005, 2_000_005]);
    }
}
