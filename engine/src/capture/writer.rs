//! The thread that writes a capture, and ends it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wireglass_core::capture::{CaptureEvent, CaptureRing, CaptureSettings, CaptureStep, Note};
use wireglass_core::event::{Event, Timestamp};
use wireglass_core::reason::CaptureDrop;

use super::files::{Bounds, Files, MODE};
use super::flows::{Flows, Taken, interfaces};
use crate::confine::{self, Kind};
use crate::log::LogSender;

/// How long the thread sleeps when there is nothing to write: the rings take longer to fill.
const PAUSE: Duration = Duration::from_millis(1);
/// Frames of one worker that are written at once.
const BATCH: usize = 256;
/// How often flows that wait for nothing are looked for, and files for their age.
const TIDY: Duration = Duration::from_secs(1);

/// What is captured, where to and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Folder of the pcapng files; none: there are none.
    pub folder: Option<PathBuf>,
    /// A file for the secrets alone; none: there is none.
    pub keylog: Option<PathBuf>,
    /// Names of the profiles whose flows are captured; empty: all.
    pub profiles: Vec<String>,
    /// When it ends by itself.
    pub time: Duration,
    /// Of the files.
    pub bounds: Bounds,
}

impl Plan {
    /// Something is captured.
    pub fn is_on(&self) -> bool {
        self.folder.is_some() || self.keylog.is_some()
    }

    /// Where to, in words.
    pub fn places(&self) -> String {
        let places =
            [&self.folder, &self.keylog].into_iter().flatten().map(|path| path.display().to_string());
        places.collect::<Vec<_>>().join(" and ")
    }

    /// Minutes that it lasts.
    pub fn minutes(&self) -> u64 {
        self.time.as_secs() / 60
    }

    /// Tries whether the key log can be written; makes it if it is missing.
    ///
    /// # Errors
    /// It cannot.
    pub fn rehearse(&self) -> io::Result<()> {
        self.keylog.as_deref().map_or(Ok(()), |path| open_keylog(path).map(drop))
    }

    /// What workers take.
    pub fn settings(&self) -> CaptureSettings {
        CaptureSettings { profiles: self.profiles.clone(), frames: self.folder.is_some() }
    }
}

/// What a capture counts.
pub struct CaptureCounters {
    rings: Vec<Arc<CaptureRing>>,
    lost: [AtomicU64; CaptureDrop::COUNT],
}

impl CaptureCounters {
    fn new(rings: Vec<Arc<CaptureRing>>) -> Self {
        Self { rings, lost: Default::default() }
    }

    /// It goes on.
    pub fn is_on(&self) -> bool {
        self.rings.iter().any(|ring| ring.is_on())
    }

    /// Frames that were taken.
    pub fn taken(&self) -> u64 {
        self.rings.iter().map(|ring| ring.taken()).sum()
    }

    /// What was lost so.
    pub fn dropped(&self, why: CaptureDrop) -> u64 {
        let by_workers: u64 = self.rings.iter().map(|ring| ring.dropped(why)).sum();
        by_workers + self.lost[why as usize].load(Ordering::Relaxed)
    }

    fn lose(&self, why: CaptureDrop) {
        self.lost[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn turn_off(&self) {
        self.rings.iter().for_each(|ring| ring.turn_off());
    }
}

/// Writes until its time is over or it is stopped.
pub struct CaptureWriter {
    stop: Arc<AtomicBool>,
    counters: Arc<CaptureCounters>,
    thread: Option<JoinHandle<()>>,
}

impl CaptureWriter {
    /// Starts the thread. `configuration`: what says so, for the log.
    ///
    /// # Errors
    /// The key log cannot be written, or no thread be started.
    pub fn start(
        plan: Plan,
        rings: Vec<Arc<CaptureRing>>,
        wires: &[Arc<str>],
        configuration: &Path,
        log: LogSender,
    ) -> io::Result<Self> {
        let (stop, counters) = (Arc::<AtomicBool>::default(), Arc::new(CaptureCounters::new(rings)));
        let keylog = plan.keylog.as_deref().map(open_keylog).transpose()?;
        let started = Timestamp(unix_micros());
        let prefix = format!("wireglass-{}", started.0 / 1_000_000);
        let files = plan
            .folder
            .as_deref()
            .map(|folder| Files::new(folder, prefix, plan.bounds.clone(), interfaces(wires)));
        let audit = Audit { plan, configuration: configuration.display().to_string(), log };
        let writer = Writer {
            files,
            keylog,
            flows: Flows::default(),
            out: Vec::new(),
            counters: Arc::clone(&counters),
            tidy_at: Instant::now(),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("wg-capture".into()).spawn(move || {
            confine::enter(Kind::Capture);
            run(writer, &audit, &stopped);
        })?;
        Ok(Self { stop, counters, thread: Some(thread) })
    }

    /// What is counted.
    pub fn counters(&self) -> &Arc<CaptureCounters> {
        &self.counters
    }

    /// Writes what is there, and ends.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for CaptureWriter {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Tells the log and the messages who captures what.
struct Audit {
    plan: Plan,
    configuration: String,
    log: LogSender,
}

impl Audit {
    fn tell(&self, step: CaptureStep) {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let (folder, keylog) = (path(&self.plan.folder), path(&self.plan.keylog));
        let minutes = self.plan.minutes();
        tracing::warn!(
            "capture {}: secrets{} of decrypted flows go to {}, for {minutes} minute(s); {} says so",
            step.name(),
            if folder.is_some() { ", frames and plaintext" } else { "" },
            self.plan.places(),
            self.configuration,
        );
        let configuration = self.configuration.clone();
        let event = CaptureEvent {
            step,
            configuration,
            folder,
            keylog,
            profiles: self.plan.profiles.clone(),
            minutes,
        };
        self.log.push(Event::Capture(Timestamp(unix_micros()), Box::new(event)));
    }
}

struct Writer {
    files: Option<Files>,
    keylog: Option<File>,
    flows: Flows,
    out: Vec<u8>,
    counters: Arc<CaptureCounters>,
    tidy_at: Instant,
}

fn run(mut writer: Writer, audit: &Audit, stop: &AtomicBool) {
    audit.tell(CaptureStep::Started);
    let until = Instant::now() + audit.plan.time;
    let ended = loop {
        // Before it is looked: what came before the stop is written.
        let is_stopped = stop.load(Ordering::Acquire);
        let now = Instant::now();
        let is_over = now >= until;
        if is_over {
            writer.counters.turn_off();
        }
        match writer.turn(now) {
            Err(error) => {
                writer.counters.turn_off();
                writer.counters.lose(CaptureDrop::WriteFailed);
                tracing::error!("capture: cannot write: {error}");
                break CaptureStep::Failed;
            }
            Ok(0) if is_stopped => break CaptureStep::Stopped,
            Ok(0) if is_over => break CaptureStep::Ended,
            Ok(0) => thread::sleep(PAUSE),
            Ok(_) => {}
        }
    };
    writer.counters.turn_off();
    audit.tell(ended);
}

impl Writer {
    /// Writes what is there. Returns how many things that were.
    fn turn(&mut self, now: Instant) -> io::Result<usize> {
        let mut done = 0;
        let mut over = Vec::new();
        for n in 0..self.counters.rings.len() {
            let ring = Arc::clone(&self.counters.rings[n]);
            while let Some(note) = ring.next_note() {
                done += 1;
                match note {
                    Note::Over(flow) => over.push(flow),
                    Note::Secrets(flow, secrets) => {
                        if let Some(keylog) = &mut self.keylog {
                            keylog.write_all(secrets.lines().as_bytes())?;
                        }
                        if self.files.is_some() && !self.flows.secrets(&mut self.out, now, flow, &secrets) {
                            self.counters.lose(CaptureDrop::NoSecrets);
                        }
                    }
                }
            }
            // Those that were there when a flow was said to be over.
            let mut left = ring.waiting();
            while left > 0 {
                for _ in 0..left.min(BATCH) {
                    let (flows, out) = (&mut self.flows, &mut self.out);
                    match ring.next_frame(|frame| flows.frame(out, now, frame)) {
                        Some(Taken::Lost) => self.counters.lose(CaptureDrop::NoSecrets),
                        Some(Taken::Written | Taken::Waits) => {}
                        None => left = 0,
                    }
                    left = left.saturating_sub(1);
                    done += 1;
                }
                self.flush(now)?;
            }
            over.drain(..).for_each(|flow| self.flows.over(flow));
        }
        self.flush(now)?;
        if now >= self.tidy_at {
            self.tidy_at = now + TIDY;
            self.flows.forget_old(now);
            if let Some(files) = &mut self.files {
                files.rotate(now);
            }
        }
        Ok(done)
    }

    fn flush(&mut self, now: Instant) -> io::Result<()> {
        if let Some(files) = &mut self.files
            && !self.out.is_empty()
        {
            files.write(now, &self.out)?;
        }
        self.out.clear();
        Ok(())
    }
}

/// As other programs do, it is added to; but not to one that others can read.
fn open_keylog(path: &Path) -> io::Result<File> {
    // Where others may write in the folder, the name may be theirs: a link, a pipe, a file that they can read.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    let data = file.metadata()?;
    let mode = data.mode() & 0o777;
    let refused = |why: &str| {
        let message = format!("{} {why}: others could read the secrets", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    };
    if mode & 0o077 != 0 {
        return refused(&format!("has mode {mode:o}"));
    }
    if !data.is_file() || data.nlink() != 1 || data.uid() != nix::unistd::geteuid().as_raw() {
        return refused("is no plain file of this user's alone");
    }
    Ok(file)
}

fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
