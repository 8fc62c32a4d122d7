//! What is done, and told, when a worker has failed or is stuck.

use std::time::{SystemTime, UNIX_EPOCH};

use wireglass_core::event::{Event, FailureOutcome, Timestamp, WorkerEvent, WorkerFailure};

use crate::links::LinkWatch;
use crate::log::LogSender;
use crate::metrics::{Metrics, Pulse};

/// Looks at what is said of the workers.
pub(super) struct FailureWatch {
    log: LogSender,
    /// A worker makes no turns.
    stuck: Option<usize>,
    /// Those that have failed, and were told of.
    failed: Vec<usize>,
}

impl FailureWatch {
    /// All is well so far.
    pub(super) fn new(log: LogSender) -> Self {
        Self { log, stuck: None, failed: Vec::new() }
    }

    /// Called all the time. A wire with a worker that makes no turns swallows frames: its neighbours shall see that. Nobody can take the
    /// queues of a thread that may go on at any moment, so there is no other way out.
    pub(super) fn look(&mut self, pulse: Pulse, metrics: &Metrics, links: &LinkWatch) {
        match (pulse, self.stuck) {
            (Pulse::Stuck { worker, since }, None) => {
                tracing::error!(
                    worker,
                    seconds = since.as_secs_f32(),
                    "a worker makes no turns: all links are taken down"
                );
                links.close(true);
                self.stuck = Some(worker);
                self.tell(worker, WorkerFailure::Stuck, FailureOutcome::LinksDown);
            }
            (Pulse::Stuck { .. }, Some(_)) | (_, None) => {}
            (_, Some(worker)) => {
                tracing::warn!(worker, "all workers make turns again: links come back");
                links.close(false);
                self.stuck = None;
                self.tell(worker, WorkerFailure::Stuck, FailureOutcome::Recovered);
            }
        }
        for worker in metrics.failed_workers() {
            if !self.failed.contains(&worker) {
                tracing::error!(
                    worker,
                    "a worker has failed, which is a fault of wireglass: its frames pass UNINSPECTED until the engine is restarted"
                );
                self.failed.push(worker);
                self.tell(worker, WorkerFailure::Panicked, FailureOutcome::PlainWire);
            }
        }
    }

    /// A worker's thread has ended with a panic, and the engine with it.
    pub(super) fn stopped(&self, worker: usize) {
        self.tell(worker, WorkerFailure::Panicked, FailureOutcome::LinksDown);
    }

    fn tell(&self, worker: usize, failure: WorkerFailure, outcome: FailureOutcome) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        self.log.push(Event::Worker(now, WorkerEvent { worker, failure, outcome }));
    }
}
