//! A worker on a core of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tcp_stack::Instant;
use wireglass_core::event::Timestamp;
use wireglass_core::port::Io;

use super::Worker;
use super::plain_wire::PlainWire;
use crate::confine::{self, Kind};

/// Empty turns before an adaptive worker begins to sleep.
const SPIN_TURNS: u32 = 200;
/// Its first and its longest sleep: as long as a packet may wait on an idle machine.
const SLEEP: (Duration, Duration) = (Duration::from_micros(20), Duration::from_micros(500));

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Looks again at once: lowest latency, one core always busy.
    Spin,
    /// Sleeps for a moment after many empty turns.
    #[default]
    Adaptive,
}

/// What becomes of a worker's frames when it has panicked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The engine stops, and takes its links down: neighbours take another path.
    #[default]
    Close,
    /// They go from port to port, uninspected.
    Open,
}

/// A running worker.
pub struct WorkerThread {
    thread: JoinHandle<()>,
}

impl WorkerThread {
    /// Starts a worker on a core, if one is given. `make` runs on the thread, so that what the worker owns may be tied to it. The thread
    /// outlives a panic of the worker where its frames are to go on.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start<IO: Io + 'static>(
        name: String,
        core: Option<usize>,
        (idle, on_failure): (Idle, OnFailure),
        stop: Arc<AtomicBool>,
        make: impl FnOnce(Instant, Timestamp) -> Worker<IO> + Send + 'static,
    ) -> std::io::Result<Self> {
        let run = move || {
            if let Some(id) = core
                && !core_affinity::set_for_current(core_affinity::CoreId { id })
            {
                tracing::warn!(
                    core = id,
                    "cannot pin the worker to its core; it runs where the system puts it"
                );
            }
            let clock = Clock::start();
            let (now, wall) = clock.read();
            let mut worker = make(now, wall);
            // Now that the thread has its core and DPDK knows it.
            confine::enter(Kind::Worker);
            let turns = AssertUnwindSafe(|| run(&mut worker, &clock, idle, &stop));
            match (catch_unwind(turns), on_failure) {
                (Ok(()), _) => {}
                (Err(panic), OnFailure::Close) => resume_unwind(panic),
                (Err(panic), OnFailure::Open) => match worker.into_plain_wire() {
                    Some(wire) => run_plain(wire, idle, &stop),
                    None => resume_unwind(panic),
                },
            }
        };
        Ok(Self { thread: std::thread::Builder::new().name(name).spawn(run)? })
    }

    /// It has ended, of itself or because it was told to.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end. False: it panicked, and nothing went on.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

fn run<IO: Io>(worker: &mut Worker<IO>, clock: &Clock, idle: Idle, stop: &AtomicBool) {
    let mut empty_turns: u32 = 0;
    let mut busy_since = None;
    while !stop.load(Ordering::Relaxed) {
        let (now, wall) = clock.read();
        if let Some(since) = busy_since.take() {
            worker.note_busy(now - since);
        }
        if worker.poll(now, wall) > 0 {
            busy_since = Some(now);
            empty_turns = 0;
            continue;
        }
        empty_turns = empty_turns.saturating_add(1);
        rest(idle, empty_turns);
    }
    let (now, wall) = clock.read();
    worker.shut_down(now, wall);
}

fn run_plain<IO: Io>(mut wire: PlainWire<IO>, idle: Idle, stop: &AtomicBool) {
    let mut empty_turns: u32 = 0;
    while !stop.load(Ordering::Relaxed) {
        empty_turns = if wire.turn() > 0 { 0 } else { empty_turns.saturating_add(1) };
        if empty_turns > 0 {
            rest(idle, empty_turns);
        }
    }
}

/// After so many empty turns.
fn rest(idle: Idle, empty_turns: u32) {
    match idle {
        Idle::Spin => std::hint::spin_loop(),
        Idle::Adaptive if empty_turns > SPIN_TURNS => std::thread::sleep(sleep_after(empty_turns)),
        Idle::Adaptive => std::thread::yield_now(),
    }
}

fn sleep_after(empty_turns: u32) -> Duration {
    (SLEEP.0 * (empty_turns - SPIN_TURNS)).min(SLEEP.1)
}

/// Monotonic time and time of day; read once a turn.
struct Clock {
    started: std::time::Instant,
}

impl Clock {
    fn start() -> Self {
        Self { started: std::time::Instant::now() }
    }

    fn read(&self) -> (Instant, Timestamp) {
        let now = Instant::from_micros(self.started.elapsed().as_micros() as i64);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (now, Timestamp(wall.as_micros() as u64))
    }
}
