//! A worker that takes turns with its load on one thread. Only the worker's turns are timed.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dpdk::tsc;
use serde::{Deserialize, Serialize};
use tcp_stack::Instant as EngineInstant;
use wireglass::driver::dpdk::DpdkIo;
use wireglass::worker::Worker;
use wireglass_core::event::Timestamp;

use crate::allocations;

/// The TSC is held against CLOCK_MONOTONIC for so long.
const CALIBRATION: Duration = Duration::from_millis(20);
/// Readings of the TSC in a row, of which the fastest tells what one costs.
const READINGS: usize = 1000;
/// The load's and the engine's clock moves on by what a turn took; by at least and at most so many nanoseconds, so that a core
/// taken away by the host does not fire timers; and by so many where neither has anything to do.
const TURN: (u64, u64) = (1_000, 100_000);
const EMPTY_TURN: u64 = 50_000;
/// Turns in a row for which the engine may find something to do before the load has its turn.
const TURNS: usize = 4_096;

/// The function whose instructions callgrind counts.
pub(crate) const MEASURED_TURN: &str = "*timed_worker*measured_turn*";

/// Sums since the start, of the turns that found something to do.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TurnTimes {
    /// Of the TSC, without what reading it takes.
    pub(crate) cycles: u64,
    /// Cycles in which the thread waited for its core in the middle of a turn; not among `cycles`.
    pub(crate) taken_away: u64,
    /// Cycles per second.
    pub(crate) hz: f64,
}

/// A worker, and the time of its turns. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct TimedWorker(Rc<RefCell<State>>);

struct State {
    /// None: it has stopped.
    worker: Option<Worker<DpdkIo>>,
    /// Nanoseconds since the start, as the engine and its load see it.
    now: u64,
    /// When that was, in microseconds.
    epoch: Timestamp,
    times: TurnTimes,
    /// Cycles of one reading.
    reading: u64,
    /// Turns are part of a measurement.
    measuring: bool,
    core_waits: CoreWaits,
}

impl TimedWorker {
    pub(super) fn new(worker: Worker<DpdkIo>, epoch: Timestamp) -> io::Result<Self> {
        let times = TurnTimes { hz: calibrate(), ..TurnTimes::default() };
        let (reading, core_waits) = (cost_of_reading(), CoreWaits::open()?);
        let state =
            State { worker: Some(worker), now: 0, epoch, times, reading, measuring: false, core_waits };
        Ok(Self(Rc::new(RefCell::new(state))))
    }

    /// Nanoseconds since the start. The clock moves on with the engine's turns alone: its load takes no time.
    pub(crate) fn now(&self) -> u64 {
        self.0.borrow().now
    }

    /// Runs the worker's turns until there is nothing to do.
    pub(crate) fn run(&self) {
        self.0.borrow_mut().run();
    }

    /// Turns are part of a measurement from now on, or no longer: callgrind counts those that are.
    pub(crate) fn set_measuring(&self, measuring: bool) {
        self.0.borrow_mut().measuring = measuring;
    }

    pub(super) fn times(&self) -> TurnTimes {
        self.0.borrow().times
    }

    /// Ends all flows and drops the worker, whose last frames still find the load's ports.
    pub(super) fn stop(&self) {
        let mut state = self.0.borrow_mut();
        let (now, wall) = state.clocks();
        if let Some(mut worker) = state.worker.take() {
            worker.shut_down(now, wall);
        }
    }
}

impl State {
    fn clocks(&self) -> (EngineInstant, Timestamp) {
        let micros = self.now / 1_000;
        (EngineInstant::from_micros(micros.cast_signed()), Timestamp(self.epoch.0 + micros))
    }

    fn run(&mut self) {
        let (waited, before) = (self.core_waits.nanos(), self.now);
        let mut cycles = 0;
        for _ in 0..TURNS {
            let (now, wall) = self.clocks();
            let Some(worker) = &mut self.worker else { return };
            allocations::count_this_thread(true);
            let began = tsc();
            let done = if self.measuring { measured_turn(worker, now, wall) } else { worker.poll(now, wall) };
            let took = (tsc() - began).saturating_sub(self.reading);
            allocations::count_this_thread(false);
            if done == 0 {
                break;
            }
            cycles += took;
            self.now += ((took as f64 / self.times.hz * 1e9) as u64).clamp(TURN.0, TURN.1);
        }
        if self.now == before {
            self.now += EMPTY_TURN;
        }
        let taken_away = (self.core_waits.nanos() - waited) as f64 / 1e9 * self.times.hz;
        // It may have waited between two turns as well.
        let taken_away = (taken_away as u64).min(cycles);
        self.times.taken_away += taken_away;
        self.times.cycles += cycles - taken_away;
    }
}

/// What callgrind counts, by its name, [`MEASURED_TURN`].
#[inline(never)]
fn measured_turn(worker: &mut Worker<DpdkIo>, now: EngineInstant, wall: Timestamp) -> usize {
    std::hint::black_box(worker.poll(now, wall))
}

/// How long the calling thread was ready to run and had no core.
struct CoreWaits(File);

impl CoreWaits {
    fn open() -> io::Result<Self> {
        File::open("/proc/thread-self/schedstat").map(Self)
    }

    /// Nanoseconds so far; the second of three numbers.
    fn nanos(&self) -> u64 {
        let mut text = [0; 96];
        let length = self.0.read_at(&mut text, 0).unwrap_or(0);
        let text = std::str::from_utf8(&text[..length]).unwrap_or("");
        text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    }
}

/// Cycles of the TSC in a second.
fn calibrate() -> f64 {
    let both = || (Instant::now(), tsc());
    let begin = both();
    while begin.0.elapsed() < CALIBRATION {
        std::hint::spin_loop();
    }
    let end = both();
    (end.1 - begin.1) as f64 / (end.0 - begin.0).as_secs_f64()
}

fn cost_of_reading() -> u64 {
    let costs = (0..READINGS).map(|_| {
        let began = tsc();
        tsc() - began
    });
    costs.min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tsc_keeps_time_with_the_clock() {
        let (began, cycles, hz) = (Instant::now(), tsc(), calibrate());
        let seconds = (tsc() - cycles) as f64 / hz;
        let ratio = seconds / began.elapsed().as_secs_f64();
        assert!((0.95..1.05).contains(&ratio), "{ratio} at {hz} Hz");
    }

    #[test]
    fn a_reading_takes_less_than_a_microsecond() {
        let nanos = cost_of_reading() as f64 / calibrate() * 1e9;
        assert!(nanos > 0.0 && nanos < 1_000.0, "{nanos} ns");
    }

    #[test]
    fn waits_for_the_core_only_grow() {
        let waits = CoreWaits::open().expect("the kernel has schedstat");
        let before = waits.nanos();
        std::thread::yield_now();
        assert!(waits.nanos() >= before);
    }
}
