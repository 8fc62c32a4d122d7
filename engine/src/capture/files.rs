//! The files of a capture: each of its own mode, closed when it is large or old enough, the oldest removed when all are too much.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pcapng;

/// For the owner alone: who reads them reads what was encrypted.
pub(super) const MODE: u32 = 0o600;

/// How much there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A file is closed when it has so many bytes,
    pub file_bytes: u64,
    /// or is so old.
    pub file_time: Duration,
    /// All files of this run.
    pub total_bytes: u64,
}

/// Where frames are written.
pub(super) struct Files {
    folder: PathBuf,
    /// What their names begin with.
    prefix: String,
    bounds: Bounds,
    interfaces: Vec<String>,
    number: u32,
    open: Option<Open>,
    /// Those that are closed, the oldest first, with their bytes.
    closed: VecDeque<(PathBuf, u64)>,
}

struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    since: Instant,
}

impl Files {
    pub(super) fn new(folder: &Path, prefix: String, bounds: Bounds, interfaces: Vec<String>) -> Self {
        let (folder, closed) = (folder.to_owned(), VecDeque::new());
        Self { folder, prefix, bounds, interfaces, number: 0, open: None, closed }
    }

    /// Writes whole blocks. True: they are the first of a new file.
    pub(super) fn write(&mut self, now: Instant, blocks: &[u8]) -> io::Result<()> {
        if self.open.is_none() {
            self.begin(now)?;
        }
        if let Some(open) = &mut self.open {
            open.file.write_all(blocks)?;
            open.bytes += blocks.len() as u64;
        }
        self.rotate(now);
        Ok(())
    }

    /// Closes what is large or old enough, and removes what is too much.
    pub(super) fn rotate(&mut self, now: Instant) {
        let is_full = |open: &mut Open| {
            open.bytes >= self.bounds.file_bytes || now.duration_since(open.since) >= self.bounds.file_time
        };
        if let Some(full) = self.open.take_if(is_full) {
            self.closed.push_back((full.path, full.bytes));
        }
        let open = self.open.as_ref().map_or(0, |open| open.bytes);
        // With room for the one that is open, or comes next.
        let room = self.bounds.total_bytes.saturating_sub(open.max(self.bounds.file_bytes));
        while self.closed.iter().map(|(_, bytes)| bytes).sum::<u64>() > room
            && let Some((oldest, _)) = self.closed.pop_front()
        {
            if let Err(error) = fs::remove_file(&oldest) {
                tracing::warn!("capture: cannot remove {}: {error}", oldest.display());
            }
        }
    }

    fn begin(&mut self, now: Instant) -> io::Result<()> {
        self.number += 1;
        let path = self.folder.join(format!("{}-{:05}.pcapng", self.prefix, self.number));
        let mut file = create(&path)?;
        let mut header = Vec::new();
        pcapng::header(&mut header, &self.interfaces);
        file.write_all(&header)?;
        self.open = Some(Open { path, file, bytes: header.len() as u64, since: now });
        Ok(())
    }
}

/// A file that was not there: whoever has put another one in its place does not get what is secret.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn there(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_rotated_by_size_and_time_and_the_oldest_removed() {
        let folder = tempfile::tempdir().unwrap();
        let bounds = Bounds { file_bytes: 1000, file_time: Duration::from_secs(60), total_bytes: 3500 };
        let mut files = Files::new(folder.path(), "c".into(), bounds, vec!["a".into()]);
        let start = Instant::now();
        files.rotate(start);
        assert_eq!(there(folder.path()), [""; 0], "nothing without a frame");
        files.write(start, &[0; 100]).unwrap();
        files.write(start, &[0; 100]).unwrap();
        assert_eq!(there(folder.path()), ["c-00001.pcapng"]);
        let mode = fs::metadata(folder.path().join("c-00001.pcapng")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        files.rotate(start + Duration::from_secs(60));
        files.write(start + Duration::from_secs(61), &[0; 1000]).unwrap();
        files.write(start + Duration::from_secs(61), &[0; 1000]).unwrap();
        assert_eq!(there(folder.path()), ["c-00001.pcapng", "c-00002.pcapng", "c-00003.pcapng"]);
        files.write(start + Duration::from_secs(61), &[0; 1000]).unwrap();
        assert_eq!(there(folder.path()), ["c-00003.pcapng", "c-00004.pcapng"]);
        // Somebody's own is never written to.
        fs::write(folder.path().join("c-00005.pcapng"), "").unwrap();
        assert!(files.write(start + Duration::from_secs(61), &[0; 1000]).is_err());
    }
}
