//! Handshakes and scans run on a pool of threads beside the workers: one costs as much as hundreds of packets.
//!
//! A handshake moves: while it is at the pool, its flow has only a note that it is there. A scan has a copy of what it looks at.

use crate::content::{Scan, Verdict};
use crate::tls::{Handshake, Input, Step};

/// What takes too long for a worker.
pub enum Job {
    /// A handshake, and what has come since it was last run.
    Handshake(Box<Handshake>, Input),
    /// What a filter asks, and the number of its question.
    Scan(u64, Box<dyn Scan>),
}

/// The answer to a job.
pub enum Reply {
    /// The handshake, and what is to be sent; none if it panicked, which is a fault of the engine.
    Handshake(Option<(Box<Handshake>, Step)>),
    /// The answer to a question.
    Scan(u64, Verdict),
}

impl Job {
    /// It is to run when no others wait.
    pub fn waits_for_others(&self) -> bool {
        match self {
            Self::Handshake(handshake, _) => handshake.waits_for_others(),
            Self::Scan(..) => false,
        }
    }

    /// Runs it. A panic costs this flow only: nothing is shared but caches behind their own locks.
    pub fn run(self) -> Reply {
        match self {
            Self::Handshake(mut handshake, input) => Reply::Handshake(caught(move || {
                let step = handshake.advance(input);
                (handshake, step)
            })),
            Self::Scan(question, scan) => {
                Reply::Scan(question, caught(|| scan.run()).unwrap_or(Verdict::Failed))
            }
        }
    }
}

/// What is run; none: it has panicked.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok()
}
