//! Lines as a stream of bytes: a file, standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Stdout, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{NotReopened, Output, Written};

/// Events may hold names of hosts and users, so not for everybody.
const MODE: u32 = 0o640;

/// Bytes go there, and a line that was torn is ended before the next one, so that only that one is unreadable.
pub(super) struct Lines<W> {
    to: W,
    /// It ends in the middle of a line: the disk was full.
    torn: bool,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, torn: false }
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        if self.torn {
            let (_, result) = write_counted(&mut self.to, b"\n");
            if result.is_err() {
                return Written { whole: 0, result };
            }
        }
        let (written, result) = write_counted(&mut self.to, lines);
        let done = &lines[..written];
        self.torn = done.last().is_some_and(|last| *last != b'\n');
        Written { whole: done.iter().filter(|byte| **byte == b'\n').count() as u64, result }
    }
}

/// As `write_all`, but says how far it came.
fn write_counted(to: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, to.flush())
}

/// A file that is appended to.
pub(super) struct FileOutput {
    path: PathBuf,
    lines: Lines<File>,
}

impl FileOutput {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), lines: Lines::new(appending(path)?) })
    }
}

impl Output for FileOutput {
    fn write(&mut self, lines: &[u8]) -> Written {
        self.lines.write(lines)
    }

    fn reopen(&mut self) -> Result<(), NotReopened> {
        match appending(&self.path) {
            Ok(file) => self.lines = Lines::new(file),
            Err(error) => return Err(NotReopened { error, instead: name_now(&self.lines.to) }),
        }
        Ok(())
    }
}

fn appending(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// What an open file is called now; it may have been renamed.
fn name_now(file: &File) -> String {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::read_link(link).map_or_else(|_| "whatever it is called now".into(), |path| path.display().to_string())
}

/// Standard output.
pub(super) struct Standard(Lines<Stdout>);

impl Default for Standard {
    fn default() -> Self {
        Self(Lines::new(io::stdout()))
    }
}

impl Output for Standard {
    fn write(&mut self, lines: &[u8]) -> Written {
        self.0.write(lines)
    }

    fn reopen(&mut self) -> Result<(), NotReopened> {
        Ok(())
    }
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

    /// At every place where the disk can become full: only the line at that place is torn, and what is said to be whole is what a
    /// reader of the file finds.
    #[test]
    fn a_disk_that_fills_up_tears_one_line() {
        for room in 0..16 {
            let mut lines = Lines::new(Disk { content: Vec::new(), room });
            let mut written = 0;
            for text in ["<aaa>\n<bbb>\n", "<ccc>\n"] {
                written += lines.write(text.as_bytes()).whole;
            }
            lines.to.room = 100;
            written += lines.write(b"<ddd>\n<eee>\n").whole;
            let text = String::from_utf8(std::mem::take(&mut lines.to.content)).expect("valid in this test");
            let whole = text.lines().filter(|line| line.len() == 5 && line.ends_with('>')).count() as u64;
            assert!(text.ends_with("<ddd>\n<eee>\n"), "room for {room}: {text:?}");
            assert!(text.lines().filter(|line| line.len() != 5).count() <= 2, "{text:?}");
            // A line that lacks only its line feed was not whole, and is ended later.
            let unended = u64::from(room % 6 == 5 && room < 12);
            assert_eq!(written + unended, whole, "room for {room}: {text:?}");
        }
    }
}
