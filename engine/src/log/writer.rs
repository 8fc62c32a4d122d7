//! The writer thread: takes events off the ring, formats them and appends them to the log file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wireglass_core::event::Timestamp;

use super::eve;
use super::ring::LogReceiver;
use crate::metrics::{LogCounters, Metrics};

/// How long the writer sleeps when the ring is empty. Workers cannot wake it: that would be a system call.
const NAP: Duration = Duration::from_millis(20);
/// A line waits no longer than this in memory.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// A buffer this full is written without waiting.
const FLUSH_BYTES: usize = 64 * 1024;
/// A full disk is worth one line of the program's log in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Events may hold names of hosts and users, so not for everybody.
const MODE: u32 = 0o640;

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
    /// Opens the file for appending (made with mode 0640 when missing) and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be started.
    pub fn start(path: &Path, receiver: LogReceiver, stats: Option<StatsSource>) -> io::Result<Self> {
        let mut sink = Sink::new(path, open(path)?);
        let control = Arc::new(Control::default());
        let shared = Arc::clone(&control);
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(move || run(&mut sink, &receiver, stats.as_ref(), &shared))?;
        Ok(Self { control, thread: Some(thread) })
    }

    /// Writes what is held to the file as it is now, then opens the path anew: for logrotate, after it renamed
    /// the file. Where the path cannot be opened, the old file goes on being used. Returns at once.
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

fn run(sink: &mut Sink<File>, receiver: &LogReceiver, stats: Option<&StatsSource>, control: &Control) {
    let counters = receiver.counters();
    let mut next_stats = stats.map(|source| Instant::now() + source.every);
    loop {
        // Read before the ring is emptied: what was pushed before the stop is in it.
        let stopping = control.stop.load(Ordering::Acquire);
        // At most one ring full in a turn: workers that push as fast as this pops must not keep the rest
        // from its turn, nor the engine from stopping.
        let mut taken = 0;
        while taken < receiver.capacity()
            && let Some(event) = receiver.pop()
        {
            sink.line(counters, |buffer| eve::write_event(buffer, &event));
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

/// The file and what waits to go into it.
struct Sink<W> {
    path: PathBuf,
    file: W,
    buffer: Vec<u8>,
    /// Lines in the buffer.
    lines: u64,
    /// When the buffer was last empty.
    flushed: Instant,
    /// The file ends in the middle of a line: the disk was full.
    torn: bool,
    complained: Option<Instant>,
}

impl Sink<File> {
    /// Somebody asked for it and looks for the answer, so each time there is one.
    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
                tracing::info!(path = %self.path.display(), "reopened the event log");
            }
            Err(error) => tracing::warn!(
                path = %self.path.display(),
                %error,
                "cannot reopen the event log; lines go on into the file that was open before, {}; mend the path and send SIGHUP \
                 again",
                name_now(&self.file)
            ),
        }
    }
}

impl<W: Write> Sink<W> {
    fn new(path: &Path, file: W) -> Self {
        Self {
            path: path.into(),
            file,
            buffer: Vec::with_capacity(FLUSH_BYTES * 2),
            lines: 0,
            flushed: Instant::now(),
            torn: false,
            complained: None,
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
        let ends_torn_line = self.torn;
        if ends_torn_line {
            // So that only that one is unreadable.
            self.buffer.insert(0, b'\n');
        }
        let (written, result) = write_counted(&mut self.file, &self.buffer);
        let done = &self.buffer[..written];
        self.torn = done.last().map_or(self.torn, |&last| last != b'\n');
        let feeds = done.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let whole = feeds.saturating_sub(u64::from(ends_torn_line));
        counters.written.fetch_add(whole, Ordering::Relaxed);
        if let Err(error) = result {
            self.failed(counters, lines - whole, &error);
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
            tracing::warn!(path = %self.path.display(), %error, "{what}; lines are lost and counted");
        }
    }
}

/// What an open file is called now; it may have been renamed.
fn name_now(file: &File) -> String {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::read_link(link).map_or_else(|_| "whatever it is called now".into(), |path| path.display().to_string())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// As `write_all`, but says how far it came.
fn write_counted(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room, which takes three bytes at a time.
    struct Disk {
        content: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let take = bytes.len().min(self.room).min(3);
            if take == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.extend_from_slice(&bytes[..take]);
            self.room -= take;
            Ok(take)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// At every place where the disk can become full: only the line at that place is torn, and the counters
    /// say what a reader of the file finds.
    #[test]
    fn a_disk_that_fills_up_tears_one_line() {
        let put = |sink: &mut Sink<Disk>, counters: &LogCounters, names: &[&str]| {
            for name in names {
                sink.line(counters, |buffer| writeln!(buffer, "<{name}>"));
            }
            sink.flush(counters);
        };
        for room in 0..16 {
            let counters = LogCounters::default();
            let mut sink = Sink::new(Path::new("log"), Disk { content: Vec::new(), room });
            put(&mut sink, &counters, &["aaa", "bbb"]);
            put(&mut sink, &counters, &["ccc"]);
            sink.file.room = 100;
            put(&mut sink, &counters, &["ddd", "eee"]);
            let text = String::from_utf8(std::mem::take(&mut sink.file.content)).expect("valid in this test");
            let whole = text.lines().filter(|line| line.len() == 5 && line.ends_with('>')).count() as u64;
            assert!(text.ends_with("<ddd>\n<eee>\n"), "room for {room}: {text:?}");
            assert!(text.lines().filter(|line| line.len() != 5).count() <= 2, "{text:?}");
            // A line that lacks only its line feed was counted as lost, and is ended later.
            let unended = u64::from(room % 6 == 5 && room < 12);
            assert_eq!(counters.written() + unended, whole, "room for {room}: {text:?}");
            assert_eq!(counters.written() + counters.lost(), 5, "room for {room}");
        }
    }
}
