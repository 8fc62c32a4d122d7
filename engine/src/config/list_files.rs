//! Files of lists: regular files, as they are or in gzip, of bounded length.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// Longest file that is read, in bytes, as it is after unpacking: ten million names.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// What a gzip file begins with (RFC 1952 section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// By what a file is known to be another one than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn new(about: &Metadata) -> Self {
        Self { inode: about.ino(), bytes: about.len(), changed: (about.mtime(), about.mtime_nsec()) }
    }

    /// When it was written to last, in seconds since the Unix epoch.
    pub(super) fn written(&self) -> i64 {
        self.changed.0
    }

    /// Of the file that is there now.
    pub(super) fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|about| Self::new(&about))
    }
}

/// The files that a name stands for, relative to `folder`: itself, or what its `*`, `?` and `[...]` match.
pub(super) fn find(folder: &Path, named: &str) -> Result<Vec<PathBuf>, glob::PatternError> {
    let path = folder.join(named);
    if path.exists() || !named.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    // The folder is no pattern, whatever it is called.
    let pattern = Path::new(&glob::Pattern::escape(&folder.to_string_lossy())).join(named);
    Ok(glob::glob(&pattern.to_string_lossy())?.filter_map(Result::ok).collect())
}

/// What a file says, unpacked. The error says what was expected, and what was found.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Stamp), String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(format!("expected a regular file at {}", path.display()));
    }
    let file = File::open(path).map_err(failed)?;
    let stamp = Stamp::new(&file.metadata().map_err(failed)?);
    let packed = bounded(path, &file)?;
    if Stamp::new(&file.metadata().map_err(failed)?) != stamp {
        return Err(format!("{} has changed while it was read", path.display()));
    }
    if !packed.starts_with(&GZIP) {
        return Ok((packed, stamp));
    }
    Ok((bounded(path, MultiGzDecoder::new(&packed[..]))?, stamp))
}

fn bounded(path: &Path, from: impl Read) -> Result<Vec<u8>, String> {
    let mut contents = Vec::new();
    let read = from.take(MAX_BYTES + 1).read_to_end(&mut contents);
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if contents.len() as u64 > MAX_BYTES {
        return Err(format!("expected a file of at most {MAX_BYTES} bytes, unpacked, at {}", path.display()));
    }
    Ok(contents)
}
