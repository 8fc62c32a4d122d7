//! A worker has failed.

/// What has happened to a worker, and what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerEvent {
    /// Its number.
    pub worker: usize,
    /// What has happened.
    pub failure: WorkerFailure,
    /// What was done.
    pub outcome: FailureOutcome,
}

/// How a worker fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerFailure {
    /// A fault of the engine's own was found while it ran.
    Panicked,
    /// It makes no turns of its loop.
    Stuck,
}

impl WorkerFailure {
    /// The word in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Panicked => "panicked",
            Self::Stuck => "stuck",
        }
    }
}

/// What becomes of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureOutcome {
    /// The worker's frames go from port to port, uninspected.
    PlainWire,
    /// All links are taken down.
    LinksDown,
    /// The worker goes on by itself; links come back.
    Recovered,
}

impl FailureOutcome {
    /// The word in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlainWire => "plain_wire",
            Self::LinksDown => "links_down",
            Self::Recovered => "recovered",
        }
    }
}
