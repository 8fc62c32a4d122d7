//! The way of an event from a worker to the writer: a bounded lock-free ring that drops rather than waits.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam::queue::ArrayQueue;
use wireglass_core::event::Event;

use crate::metrics::LogCounters;

/// The workers' end of the ring. Clones share it.
#[derive(Clone)]
pub struct LogSender(Option<Arc<Shared>>);

/// The writer's end.
pub struct LogReceiver(Arc<Shared>);

struct Shared {
    queue: ArrayQueue<Event>,
    counters: Arc<LogCounters>,
}

/// A ring that holds so many events (at least one).
pub fn ring(capacity: usize) -> (LogSender, LogReceiver) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity.max(1)),
        counters: Arc::new(LogCounters::default()),
    });
    (LogSender(Some(Arc::clone(&shared))), LogReceiver(shared))
}

impl LogSender {
    /// For an engine without an event log: swallows everything.
    pub const fn disabled() -> Self {
        Self(None)
    }

    /// Whether anybody reads: when not, the caller need not make events at all.
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Hands an event over. Never waits: when the ring is full, the event is dropped and counted.
    pub fn push(&self, event: Event) {
        let Some(shared) = &self.0 else { return };
        if let Err(event) = shared.queue.push(event) {
            // Several workers may drop at once; this is rare, so a locked add is fine here.
            shared.counters.dropped[event.kind() as usize].fetch_add(1, Relaxed);
        }
    }

    /// What became of the events; none when disabled.
    pub fn counters(&self) -> Option<Arc<LogCounters>> {
        self.0.as_ref().map(|shared| Arc::clone(&shared.counters))
    }
}

impl LogReceiver {
    /// The oldest event that nobody has taken yet.
    pub fn pop(&self) -> Option<Event> {
        self.0.queue.pop()
    }

    pub(super) fn capacity(&self) -> usize {
        self.0.queue.capacity()
    }

    pub(super) fn counters(&self) -> &LogCounters {
        &self.0.counters
    }
}
