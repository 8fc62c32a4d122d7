//! Handing a new generation of settings to the workers, and freeing the older ones where it holds nobody up.
//!
//! ```text
//! Generations::publish ── a copy of the settings ──► ring of each worker ──► GenerationInbox: taken before a turn
//! Generations::collect ◄── reference counts ── flows, handshakes and filters that began under it
//! ```
//! A worker pays one relaxed load a turn, and swaps a pointer when there is something. Flows that begin later have the new settings;
//! those that are there keep theirs until they end. A copy is a worker's own, so that counting its references costs no other worker
//! anything. What is large (policy, lists, TLS, filters) is held here, too, until nobody else has it: so it is freed by whoever calls
//! [`Generations::collect`], never by a worker or a thread of the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam::queue::ArrayQueue;
use wireglass_core::content::Filters;
use wireglass_core::flow::Shared;
use wireglass_core::policy::{Lists, Policy};
use wireglass_core::tls::TlsContext;

/// Generations that may wait for one worker. One is published when the one before is with all of them: this is for a worker that is
/// stuck.
const WAITING: usize = 2;

/// The way to one worker.
struct Line {
    /// There is something in the ring. Set after it was put there.
    waiting: AtomicBool,
    ring: ArrayQueue<(u32, Arc<Shared>)>,
    /// Number of the generation that the worker goes by.
    taken: AtomicU32,
}

/// A worker's end.
pub struct GenerationInbox {
    line: Arc<Line>,
}

impl Default for GenerationInbox {
    fn default() -> Self {
        let line = Line {
            waiting: AtomicBool::new(false),
            ring: ArrayQueue::new(WAITING),
            taken: AtomicU32::new(FIRST),
        };
        Self { line: Arc::new(line) }
    }
}

/// Number of the generation that an engine starts with.
pub const FIRST: u32 = 1;

impl GenerationInbox {
    /// [`Self::take`] has something. One load.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.line.waiting.load(Ordering::Relaxed)
    }

    /// The next generation and its number. The worker goes by it from now on.
    pub fn take(&mut self) -> Option<(u32, Arc<Shared>)> {
        // Pairs with the store in `Generations::publish`: what was put before its flag is found.
        self.line.waiting.swap(false, Ordering::Acquire);
        let (number, shared) = self.line.ring.pop()?;
        if !self.line.ring.is_empty() {
            self.line.waiting.store(true, Ordering::Relaxed);
        }
        self.line.taken.store(number, Ordering::Release);
        Some((number, shared))
    }
}

/// What is large in a generation, to be freed here.
enum Part {
    Policy(Arc<Policy>),
    Lists(Arc<Lists>),
    Tls(Arc<TlsContext>),
    Filters(Arc<dyn Filters>),
}

impl Part {
    /// By what it is known, and whether nobody else has it.
    fn identity(&self) -> (*const (), bool) {
        fn of<T: ?Sized>(part: &Arc<T>) -> (*const (), bool) {
            (Arc::as_ptr(part).cast(), Arc::strong_count(part) == 1)
        }
        match self {
            Self::Policy(part) => of(part),
            Self::Lists(part) => of(part),
            Self::Tls(part) => of(part),
            Self::Filters(part) => of(part),
        }
    }
}

/// A worker's copy of a generation.
struct Copy {
    number: u32,
    shared: Arc<Shared>,
}

/// All generations of an engine that are still of use.
pub struct Generations {
    lines: Vec<Arc<Line>>,
    number: u32,
    current: Shared,
    copies: Vec<Copy>,
    parts: Vec<Part>,
}

/// A worker has not taken the generation before: it is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

impl Generations {
    /// Those of an engine that has not started yet: its settings, and for each worker its copy and its inbox.
    pub fn new<'p>(
        first: Shared,
        workers: impl IntoIterator<Item = (&'p Arc<Shared>, &'p GenerationInbox)>,
    ) -> Self {
        let (copies, lines) = workers
            .into_iter()
            .map(|(shared, inbox)| {
                (Copy { number: FIRST, shared: Arc::clone(shared) }, Arc::clone(&inbox.line))
            })
            .unzip();
        let mut generations = Self { lines, number: FIRST, current: first, copies, parts: Vec::new() };
        generations.hold_parts();
        generations
    }

    /// Number of the newest.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The newest.
    pub fn current(&self) -> &Shared {
        &self.current
    }

    /// Gives all workers new settings. They have them when [`Self::is_taken`] says so. Returns their number.
    ///
    /// # Errors
    /// A worker has not taken what was published before: nothing has changed.
    pub fn publish(&mut self, shared: Shared) -> Result<u32, NotTaken> {
        if !self.is_taken() {
            return Err(NotTaken);
        }
        self.number += 1;
        self.current = shared;
        self.hold_parts();
        for line in &self.lines {
            let copy = Arc::new(self.current.clone());
            self.copies.push(Copy { number: self.number, shared: Arc::clone(&copy) });
            // Nobody else pushes, and the ring is empty, as its worker has taken what was there.
            let _ = line.ring.push((self.number, copy));
            line.waiting.store(true, Ordering::Release);
        }
        Ok(self.number)
    }

    /// All workers go by the newest.
    pub fn is_taken(&self) -> bool {
        self.lines.iter().all(|line| line.taken.load(Ordering::Acquire) == self.number)
    }

    /// Frees what no worker, flow or handshake has any more. Returns how many older generations some of them still have.
    pub fn collect(&mut self) -> usize {
        self.copies.retain(|copy| Arc::strong_count(&copy.shared) > 1);
        // A part may be held by another one that goes now, as lists are by a policy.
        loop {
            let before = self.parts.len();
            self.parts.retain(|part| !part.identity().1);
            if self.parts.len() == before {
                break;
            }
        }
        let older = self.copies.iter().map(|copy| copy.number).filter(|number| *number != self.number);
        let mut older: Vec<_> = older.collect();
        older.dedup();
        older.len()
    }

    fn hold_parts(&mut self) {
        let Shared {
            policy,
            tls,
            filters,
            page: _,
            limits: _,
            outside_tls: _,
            exclusions: _,
            mirrors: _,
            wires: _,
        } = &self.current;
        let parts = [
            Part::Policy(Arc::clone(policy)),
            Part::Lists(Arc::clone(policy.lists())),
            Part::Tls(Arc::clone(tls)),
            Part::Filters(Arc::clone(filters)),
        ];
        for part in parts {
            // Held twice, it would never be seen to be the last.
            if self.parts.iter().all(|held| held.identity().0 != part.identity().0) {
                self.parts.push(part);
            }
        }
    }
}
