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
    /// By the clock, whatever the answers do: a request that finds no free connection waits, and its wait counts
    /// (open loop, so that a pause of the engine is not left out of its latency).
    Paced(Pace),
}

/// The clock of [`Plan::Paced`].
pub(crate) struct Pace {
    /// Time between two requests.
    interval: u64,
    next: u64,
    /// When those that wait should have been asked.
    waiting: VecDeque<u64>,
    /// Connections that have nothing to do.
    free: VecDeque<u32>,
}

impl Pace {
    /// So many requests in a second.
    pub(crate) fn new(per_second: f64) -> Self {
        let interval = (1e9 / per_second) as u64;
        Self { interval: interval.max(1), next: u64::MAX, waiting: VecDeque::new(), free: VecDeque::new() }
    }

    /// The clock begins to run.
    pub(crate) fn start(&mut self, now: u64) {
        self.next = now;
    }

    /// The clock stops; what waits is forgotten.
    pub(crate) fn stop(&mut self) {
        self.next = u64::MAX;
        self.waiting.clear();
    }

    /// A connection has nothing to do.
    pub(crate) fn release(&mut self, connection: u32) {
        self.free.push_back(connection);
    }

    /// Who is to ask now, and since when.
    pub(crate) fn next(&mut self, now: u64) -> Option<(u32, u64)> {
        while self.next <= now {
            self.waiting.push_back(self.next);
            self.next += self.interval;
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
        let mut pace = Pace::new(1_000.0);
        pace.start(0);
        pace.release(7);
        assert_eq!(pace.next(0), Some((7, 0)));
        assert_eq!(pace.next(3_500_000), None, "the only connection is busy");
        pace.release(7);
        assert_eq!(pace.next(3_600_000), Some((7, 1_000_000)), "it was due at 1 ms");
        pace.stop();
        pace.release(7);
        assert_eq!(pace.next(9_000_000), None);
    }
}
