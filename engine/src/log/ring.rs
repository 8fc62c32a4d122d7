//! The way of an event from a worker to the writer: bounded lock-free rings that drop rather than wait.
//!
//! Each worker has a ring of its own, so that no worker waits for a line of memory that another one writes; all other threads
//! share one. The writer takes the oldest event of all, and gives back the memory of transactions: an exchange allocates nothing for its event.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use wireglass_core::event::{Event, HttpEvent};

use crate::metrics::{LogCounters, LogDrop};

/// Bytes that the events in one ring may hold beside its places. A server's certificate alone may bring 16 KB, in each
/// of its handshakes.
pub const RING_BYTES: usize = 64 << 20;
/// Transactions whose memory waits to be taken back: as many as a worker has while the writer sleeps, at 200,000 a second.
const SPENT: usize = 4096;
/// The largest one that is given back, in bytes with its texts.
const SPENT_BYTES: usize = 1024;

/// The end of a ring that events are put into. Clones share it.
#[derive(Clone)]
pub struct LogSender(Option<Arc<Ring>>);

/// The writer's end of all rings.
pub struct LogReceiver(Arc<Shared>);

struct Ring {
    queue: ArrayQueue<Event>,
    /// Transactions that have been written.
    spent: ArrayQueue<Box<HttpEvent>>,
    put_in: CachePadded<PutIn>,
    /// Bytes of all events that were taken out since the start.
    taken_out: CachePadded<AtomicUsize>,
    shared: Arc<Shared>,
}

/// What the end writes that puts events in.
#[derive(Default)]
struct PutIn {
    /// Bytes of all events since the start.
    bytes: AtomicUsize,
    /// What was taken out when it looked last. To look is to wait for the writer's line of memory.
    taken_out: AtomicUsize,
}

/// What all rings of a log share.
struct Shared {
    capacity: usize,
    rings: Mutex<Vec<Outlet>>,
    counters: Arc<LogCounters>,
}

/// A ring as the writer has it.
struct Outlet {
    ring: Arc<Ring>,
    /// Its oldest event, taken out to see when it happened.
    oldest: Option<Event>,
}

/// A log, and the ring of all threads that have no other. Each ring holds so many events (at least one).
pub fn ring(capacity: usize) -> (LogSender, LogReceiver) {
    let shared = Arc::new(Shared {
        capacity: capacity.max(1),
        rings: Mutex::default(),
        counters: Arc::new(LogCounters::default()),
    });
    (LogSender(Some(Ring::of(&shared))), LogReceiver(shared))
}

impl Shared {
    fn rings(&self) -> MutexGuard<'_, Vec<Outlet>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn of(shared: &Arc<Shared>) -> Arc<Self> {
        let ring = Arc::new(Self {
            queue: ArrayQueue::new(shared.capacity),
            spent: ArrayQueue::new(SPENT),
            put_in: CachePadded::default(),
            taken_out: CachePadded::default(),
            shared: Arc::clone(shared),
        });
        shared.rings().push(Outlet { ring: Arc::clone(&ring), oldest: None });
        ring
    }

    fn push(&self, event: Event) {
        let (kind, bytes) = (event.kind(), event.memory());
        let why = if !self.has_room_for(bytes) {
            LogDrop::Bytes
        } else {
            // Before the writer can take it out.
            self.put_in.bytes.fetch_add(bytes, Relaxed);
            let Err(_full) = self.queue.push(event) else { return };
            self.taken_out.fetch_add(bytes, Relaxed);
            LogDrop::Events
        };
        // Several threads may drop at once; this is rare, so a locked add is fine here.
        self.shared.counters.dropped[kind as usize][why as usize].fetch_add(1, Relaxed);
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        let PutIn { bytes: put_in, taken_out } = &*self.put_in;
        let put_in = put_in.load(Relaxed);
        let fits = |taken_out: usize| put_in.wrapping_sub(taken_out).saturating_add(bytes) <= RING_BYTES;
        if fits(taken_out.load(Relaxed)) {
            return true;
        }
        let now = self.taken_out.load(Relaxed);
        taken_out.store(now, Relaxed);
        fits(now)
    }

    fn pop(&self) -> Option<Event> {
        let event = self.queue.pop()?;
        self.taken_out.fetch_add(event.memory(), Relaxed);
        Some(event)
    }

    fn give_back(&self, event: Event) {
        if event.memory() <= SPENT_BYTES
            && let Event::Http(_, transaction) = event
        {
            // Where there are enough of them, it is freed.
            let _ = self.spent.push(transaction);
        }
    }
}

impl LogSender {
    /// For an engine without an event log: swallows everything.
    pub const fn disabled() -> Self {
        Self(None)
    }

    /// A sender to the same log with a ring of its own, for a thread that has many events.
    #[must_use]
    pub fn with_own_ring(&self) -> Self {
        Self(self.0.as_ref().map(|ring| Ring::of(&ring.shared)))
    }

    /// Whether anybody reads: when not, the caller need not make events at all.
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Hands an event over. Never waits: when the ring is full, by events or by bytes, the event is dropped and counted.
    pub fn push(&self, event: Event) {
        if let Some(ring) = &self.0 {
            ring.push(event);
        }
    }

    /// The memory of a transaction that the writer has written, if there is one.
    pub fn take_back(&self) -> Option<Box<HttpEvent>> {
        self.0.as_ref()?.spent.pop()
    }

    /// What became of the events; none when disabled.
    pub fn counters(&self) -> Option<Arc<LogCounters>> {
        self.0.as_ref().map(|ring| Arc::clone(&ring.shared.counters))
    }
}

impl LogReceiver {
    /// The oldest event that nobody has taken yet. Those of one ring come in the order in which they were put in.
    pub fn pop(&self) -> Option<Event> {
        self.take(|event, _| event)
    }

    /// Reads the oldest event, and gives its memory back to whoever has put it in. None: there is no event.
    pub fn read<T>(&self, read: impl FnOnce(&Event) -> T) -> Option<T> {
        self.take(|event, ring| {
            let result = read(&event);
            ring.give_back(event);
            result
        })
    }

    fn take<T>(&self, with: impl FnOnce(Event, &Ring) -> T) -> Option<T> {
        // Only a worker that starts takes this lock, too.
        let mut rings = self.0.rings();
        let waiting = rings.iter_mut().filter_map(|Outlet { ring, oldest }| {
            if oldest.is_none() {
                *oldest = ring.pop();
            }
            oldest.as_ref().map(Event::time).map(|time| (time, oldest, &**ring))
        });
        let (_, oldest, ring) = waiting.min_by_key(|(time, ..)| *time)?;
        oldest.take().map(|event| with(event, ring))
    }

    pub(super) fn capacity(&self) -> usize {
        self.0.capacity
    }

    pub(super) fn counters(&self) -> &LogCounters {
        &self.0.counters
    }
}
