//! Handshakes run on a pool of threads beside the workers: one costs as much as hundreds of packets.
//!
//! A handshake moves: while it is at the pool, its flow has only a note that it is there.

mod pool;

pub use pool::{Client, Pool};

use crate::flow_table::FlowId;
use crate::tls::{Handshake, Input, Step};

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

/// A job on its way to the pool.
struct Request {
    worker: usize,
    flow: FlowId,
    client: u64,
    job: Box<Job>,
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
