//! The file that keeps exclusions over a restart: a line of JSON for each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use wireglass_core::exclusions::{CAPACITY, Exclusions};

use super::ExclusionRecord;
use crate::confine::{self, Kind};

/// How often it is looked whether there is something new to keep.
const LOOK: Duration = Duration::from_secs(2);
/// Of the file: it holds names of servers.
const MODE: u32 = 0o640;
/// Longest line: twice of what one can be.
const MAX_LINE: u64 = 2048;

/// Adds what a file has kept. Returns how many, and what is wrong with lines that are passed over; a file that is not there has none.
///
/// # Errors
/// It cannot be read.
pub fn load(path: &Path, exclusions: &Exclusions) -> io::Result<(usize, Vec<String>)> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, Vec::new())),
        Err(error) => return Err(error),
    };
    let (mut added, mut wrong, now) = (0, Vec::new(), now());
    let mut reader = BufReader::new(file).take(MAX_LINE * CAPACITY as u64);
    let mut line = String::new();
    for number in 1..=CAPACITY {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        let record = serde_json::from_str::<ExclusionRecord>(&line).map_err(|error| error.to_string());
        match record.and_then(|record| record.exclusion()) {
            Ok(exclusion) if exclusion.until > now => {
                exclusions.add(exclusion);
                added += 1;
            }
            Ok(_) => {}
            Err(error) => wrong.push(format!("{}:{number}: {error}", path.display())),
        }
    }
    Ok((added, wrong))
}

/// Tries whether a file can be read and kept; leaves nothing behind.
///
/// # Errors
/// It cannot.
pub fn rehearse(path: &Path) -> io::Result<()> {
    if let Err(error) = File::open(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let beside = beside(path, &format!(".{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
    fs::remove_file(beside)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}

/// Writes it anew: whoever reads finds the old or the new, whole.
fn store(path: &Path, exclusions: &Exclusions) -> io::Result<()> {
    let beside = beside(path, ".new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&beside)?;
    let mut out = BufWriter::new(file);
    // What others have learned is for them to tell again: kept here, it would be told on as this engine's own.
    for exclusion in &exclusions.own(now()) {
        serde_json::to_writer(&mut out, &ExclusionRecord::from(exclusion))?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&beside, path)
}

/// Keeps the file up to date, until it is stopped.
pub struct ExclusionFile {
    thread: JoinHandle<()>,
    stop: Sender<()>,
}

impl ExclusionFile {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// The file cannot be written, or the thread cannot be started.
    pub fn start(path: PathBuf, exclusions: Arc<Exclusions>) -> io::Result<Self> {
        // Now, as nobody reads messages later on.
        let kept = exclusions.changes();
        store(&path, &exclusions)?;
        let (stop, stopped) = bounded(0);
        let thread = thread::Builder::new().name("wg-exclusions".into()).spawn(move || {
            confine::enter(Kind::Exclusions);
            let mut kept = kept;
            loop {
                let is_over = stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout);
                let changes = exclusions.changes();
                if changes != kept {
                    match store(&path, &exclusions) {
                        Ok(()) => kept = changes,
                        Err(error) => tracing::error!("exclusions.file: {}: {error}", path.display()),
                    }
                }
                if is_over {
                    return;
                }
            }
        })?;
        Ok(Self { thread, stop })
    }

    /// Writes what is new, and ends.
    pub fn stop(self) {
        drop(self.stop);
        // A panic has been told; the engine is stopping anyway.
        let _ = self.thread.join();
    }
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
