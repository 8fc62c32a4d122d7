//! The writer thread: takes events off the ring, formats them and hands the lines to where they go.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wireglass_core::event::Timestamp;

use super::eve;
use super::output::{self, Destination, NotReopened, Output, Written};
use super::ring::LogReceiver;
use crate::confine::{self, Kind};
use crate::metrics::{LogCounters, Metrics};

/// How long the writer sleeps when the ring is empty. Workers cannot wake it: that would be a system call.
const NAP: Duration = Duration::from_millis(20);
/// A line waits no longer than this in memory.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// A buffer this full is written without waiting.
const FLUSH_BYTES: usize = 64 * 1024;
/// A full disk, or a reader that is not there, is worth one line of the program's log in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Where the `stats` events come from, and how often.
pub struct StatsSource {
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// Time between two events.
    pub every: Duration,
}

/// The thread that writes the event log. Dropping it stops it, with all that is in the ring written.
pub struct LogWriter {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Control {
    stop: AtomicBool,
    reopen: AtomicBool,
}

impl LogWriter {
    /// Opens the destination and starts the thread.
    ///
    /// # Errors
    /// A file cannot be opened, or no thread can be started.
    pub fn start(to: &Destination, receiver: LogReceiver, stats: Option<StatsSource>) -> io::Result<Self> {
        let mut sink = Sink::new(to, output::open(to)?);
        let control = Arc::new(Control::default());
        let shared = Arc::clone(&control);
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            confine::enter(Kind::Log);
            run(&mut sink, &receiver, stats.as_ref(), &shared);
        })?;
        Ok(Self { control, thread: Some(thread) })
    }

    /// Writes what is held to where it goes now, then opens that anew: for logrotate, after it renamed the file, and for a socket
    /// that somebody else listens on now. Where it cannot be opened, the old one goes on being used. Returns at once.
    pub fn reopen(&self) {
        self.control.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// What does the same from another thread.
    pub fn reopener(&self) -> impl Fn() + Send + 'static {
        let control = Arc::clone(&self.control);
        let thread = self.thread.as_ref().map(|thread| thread.thread().clone());
        move || {
            control.reopen.store(true, Ordering::Release);
            thread.iter().for_each(Thread::unpark);
        }
    }

    /// Writes all that is in the ring and waits for it. Workers should have stopped before.
    pub fn stop(mut self) {
        self.halt();
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    fn halt(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.halt();
    }
}

fn run(sink: &mut Sink, receiver: &LogReceiver, stats: Option<&StatsSource>, control: &Control) {
    let counters = receiver.counters();
    let mut next_stats = stats.map(|source| Instant::now() + source.every);
    loop {
        // Read before the ring is emptied: what was pushed before the stop is in it.
        let stopping = control.stop.load(Ordering::Acquire);
        // At most one ring full in a turn: workers that push as fast as this pops must not keep the rest
        // from its turn. At the stop they have ended, and all that is there is written.
        let mut taken = 0;
        while (stopping || taken < receiver.capacity())
            && receiver.read(|event| sink.line(counters, |buffer| eve::write_event(buffer, event))).is_some()
        {
            taken += 1;
        }
        let now = Instant::now();
        if let (Some(source), Some(due)) = (stats, next_stats)
            && (stopping || due <= now)
        {
            // The last one, at the stop, holds the final numbers.
            let snapshot = source.metrics.snapshot();
            sink.line(counters, |buffer| eve::write_stats(buffer, wall_clock(), &snapshot));
            next_stats = Some(now + source.every);
        }
        if stopping {
            sink.flush(counters);
            return;
        }
        if control.reopen.swap(false, Ordering::AcqRel) {
            sink.flush(counters);
            sink.reopen();
        }
        if sink.flushed + FLUSH_EVERY <= now {
            sink.flush(counters);
        }
        if taken < receiver.capacity() {
            thread::park_timeout(NAP);
        }
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The destination and what waits to go there.
struct Sink {
    /// As messages call it.
    name: String,
    output: Box<dyn Output>,
    buffer: Vec<u8>,
    /// Lines in the buffer.
    lines: u64,
    /// When the buffer was last empty.
    flushed: Instant,
    complained: Option<Instant>,
    /// The last complaint still holds, as far as anybody was told.
    failing: bool,
}

impl Sink {
    fn new(to: &Destination, output: Box<dyn Output>) -> Self {
        Self {
            name: to.to_string(),
            output,
            buffer: Vec::with_capacity(FLUSH_BYTES * 2),
            lines: 0,
            flushed: Instant::now(),
            complained: None,
            failing: false,
        }
    }

    /// Somebody asked for it and looks for the answer, so each time there is one.
    fn reopen(&mut self) {
        match self.output.reopen() {
            Ok(()) => tracing::info!(path = self.name, "reopened the event log"),
            Err(NotReopened { error, instead }) => tracing::warn!(
                path = self.name,
                %error,
                "cannot reopen the event log; lines go on into the file that was open before, {instead}; mend the path and send \
                 SIGHUP again",
            ),
        }
    }

    fn line(&mut self, counters: &LogCounters, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        match write(&mut self.buffer) {
            Ok(()) => self.lines += 1,
            Err(error) => self.failed(counters, 1, &error),
        }
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush(counters);
        }
    }

    /// Writes the buffer. What cannot be written is lost and counted: memory is for packets, not for a log
    /// that nobody can store.
    fn flush(&mut self, counters: &LogCounters) {
        self.flushed = Instant::now();
        let lines = std::mem::take(&mut self.lines);
        if self.buffer.is_empty() {
            return;
        }
        let Written { whole, result } = self.output.write(&self.buffer);
        counters.written.fetch_add(whole, Ordering::Relaxed);
        if let Err(error) = result {
            self.failed(counters, lines - whole, &error);
        } else if std::mem::take(&mut self.failing) {
            let lost = counters.lost();
            tracing::info!(path = self.name, lost, "the event log is written again");
        }
        self.buffer.clear();
    }

    fn failed(&mut self, counters: &LogCounters, lost: u64, error: &io::Error) {
        counters.lost.fetch_add(lost, Ordering::Relaxed);
        counters.write_errors.fetch_add(1, Ordering::Relaxed);
        self.complain("cannot write the event log", error);
    }

    fn complain(&mut self, what: &str, error: &io::Error) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| last + COMPLAIN_EVERY <= now) {
            self.complained = Some(now);
            self.failing = true;
            tracing::warn!(path = self.name, %error, "{what}; lines are lost and counted");
        }
    }
}
