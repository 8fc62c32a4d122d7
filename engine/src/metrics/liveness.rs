//! Whether the workers still go round. Each counts its turns, also the idle ones; one that counts none is stuck.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wireglass_core::counters::WorkerCounters;

/// A worker that has made no turn for so long is stuck. An idle one makes a turn every half millisecond; the longest work in a
/// turn is one handshake. The rest is for machines that give a core to others meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at the workers from outside. For the threads that report; the workers know nothing of it.
#[derive(Debug)]
pub struct Liveness {
    workers: Vec<(Arc<WorkerCounters>, Mutex<Seen>)>,
}

/// When a worker was last seen with another number of turns than before.
#[derive(Debug)]
struct Seen {
    turns: u64,
    at: Instant,
}

/// What can be said of all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// All have made a turn within the time asked for.
    Alive,
    /// All that are stuck have yet to make their first one: the engine is starting.
    Starting,
    /// All make turns, but one has failed, and its frames go on uninspected.
    Failed {
        /// Its number.
        worker: usize,
    },
    /// One has made none for so long; the one that has been stuck for longest.
    Stuck {
        /// Its number.
        worker: usize,
        /// Since somebody last saw it move.
        since: Duration,
    },
}

impl fmt::Display for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("ok"),
            Self::Starting => f.write_str("starting"),
            Self::Failed { worker } => {
                write!(
                    f,
                    "worker {worker} has failed: its frames pass uninspected until the engine is restarted"
                )
            }
            Self::Stuck { worker, since } => {
                write!(f, "worker {worker} makes no turns for {} s", since.as_secs())
            }
        }
    }
}

impl Liveness {
    pub(super) fn new(workers: &[Arc<WorkerCounters>], now: Instant) -> Self {
        let watched = |counters: &Arc<WorkerCounters>| {
            (Arc::clone(counters), Mutex::new(Seen { turns: turns(counters), at: now }))
        };
        Self { workers: workers.iter().map(watched).collect() }
    }

    /// Looks at all workers. What it says is as fine as it is called often: a worker counts as seen to move at the call that finds
    /// it moved.
    pub fn look(&self, now: Instant, patience: Duration) -> Pulse {
        let mut pulse = Pulse::Alive;
        for (worker, (counters, seen)) in self.workers.iter().enumerate() {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let turns = turns(counters);
            if turns != seen.turns {
                *seen = Seen { turns, at: now };
            }
            if turns == 0 && pulse == Pulse::Alive {
                pulse = Pulse::Starting;
            }
            if counters.failed.value() > 0 && !matches!(pulse, Pulse::Stuck { .. }) {
                pulse = Pulse::Failed { worker };
            }
            let since = now.saturating_duration_since(seen.at);
            let longest = match pulse {
                Pulse::Stuck { since, .. } => since,
                Pulse::Alive | Pulse::Starting | Pulse::Failed { .. } => Duration::ZERO,
            };
            if turns > 0 && since >= patience && since > longest {
                pulse = Pulse::Stuck { worker, since };
            }
        }
        pulse
    }
}

fn turns(counters: &WorkerCounters) -> u64 {
    counters.loop_busy.value().wrapping_add(counters.loop_idle.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_worker_that_makes_no_turn_is_stuck_and_the_others_do_not_hide_it() {
        let workers = [(); 3].map(|()| Arc::new(WorkerCounters::new(1)));
        let start = Instant::now();
        let liveness = Liveness::new(&workers, start);
        assert_eq!(liveness.look(start + 60 * SECOND, PATIENCE), Pulse::Starting, "EAL may take its time");
        workers[0].loop_idle.inc();
        workers[1].loop_busy.inc();
        assert_eq!(liveness.look(start + 61 * SECOND, PATIENCE), Pulse::Starting, "one is missing");
        workers[2].loop_idle.inc();
        assert_eq!(liveness.look(start + 62 * SECOND, PATIENCE), Pulse::Alive);
        workers[0].loop_busy.inc();
        assert_eq!(
            liveness.look(start + 66 * SECOND, PATIENCE),
            Pulse::Stuck { worker: 1, since: 5 * SECOND },
            "its first turn was seen at 61"
        );
        workers[1].loop_idle.inc();
        assert_eq!(
            liveness.look(start + 67 * SECOND, PATIENCE),
            Pulse::Stuck { worker: 2, since: 5 * SECOND }
        );
        workers[2].loop_idle.inc();
        assert_eq!(liveness.look(start + 68 * SECOND, PATIENCE), Pulse::Alive, "it came back");
        workers[1].failed.set(1);
        assert_eq!(liveness.look(start + 69 * SECOND, PATIENCE), Pulse::Failed { worker: 1 });
        assert!(
            matches!(liveness.look(start + 80 * SECOND, PATIENCE), Pulse::Stuck { .. }),
            "which is worse"
        );
    }
}
