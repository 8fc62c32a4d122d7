//! A handshake on its way: it may run elsewhere than its flow, and its flow then has only a note that it is away.

use super::{Handshake, Input, Step};

/// A handshake with new bytes for it.
pub struct Job {
    /// The handshake.
    pub handshake: Box<Handshake>,
    /// What has come since it was last run.
    pub input: Input,
}

/// The answer to a job.
pub struct Reply {
    /// The handshake, and what is to be sent; none if it panicked, which is a fault of the engine.
    pub result: Option<(Box<Handshake>, Step)>,
}

impl Job {
    /// Runs it. A panic costs this flow only: nothing is shared but caches behind their own locks.
    pub fn run(self) -> Reply {
        let Self { mut handshake, input } = self;
        let run = std::panic::AssertUnwindSafe(move || {
            let step = handshake.advance(input);
            (handshake, step)
        });
        Reply { result: std::panic::catch_unwind(run).ok() }
    }
}
