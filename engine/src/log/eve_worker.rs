//! The log line of a worker that has failed: of no flow.

use serde::Serialize;
use wireglass_core::event::{Timestamp, WorkerEvent};

#[derive(Serialize)]
pub(super) struct Line {
    #[serde(serialize_with = "super::eve::rfc3339")]
    timestamp: Timestamp,
    event_type: &'static str,
    wireglass: Own,
}

#[derive(Serialize)]
struct Own {
    worker: usize,
    failure: &'static str,
    outcome: &'static str,
}

impl Line {
    pub(super) fn new(timestamp: Timestamp, event: WorkerEvent) -> Self {
        let WorkerEvent { worker, failure, outcome } = event;
        let wireglass = Own { worker, failure: failure.name(), outcome: outcome.name() };
        Self { timestamp, event_type: "worker", wireglass }
    }
}
