//! The socket that an IDS writes to: few connections, each with a thread that reads lines, no faster than it may.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use wireglass_core::reason::VerdictFate;

use super::{Block, Finder, Line, VerdictSender};
use crate::control::ControlSocket;

/// Connections at a time.
const CONNECTIONS: usize = 4;
/// Longest line.
const MAX_LINE: usize = 64 * 1024;
/// Bytes that are read from one connection in a second: more waits in its socket, and then with the IDS.
const BYTES_A_SECOND: usize = 1 << 20;
/// Bytes that are read at once.
const BLOCK: usize = 16 * 1024;
/// A connection that has read as much as it may pauses for so long.
const PAUSE: Duration = Duration::from_millis(10);

/// Listens until dropped or stopped.
pub struct VerdictServer {
    shared: Arc<Shared>,
    listener: UnixStream,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    block: Block,
    finder: Finder,
    sender: VerdictSender,
    stop: AtomicBool,
}

impl VerdictServer {
    /// Starts the thread, which keeps the socket.
    ///
    /// # Errors
    /// When the thread cannot be started, or there are no more descriptors.
    pub fn start(
        socket: ControlSocket,
        block: Block,
        finder: Finder,
        sender: VerdictSender,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { block, finder, sender, stop: AtomicBool::new(false) });
        // A second handle of the listener, as a stream: only streams can be shut down, which ends a wait for a connection.
        let listener = UnixStream::from(OwnedFd::from(socket.listener().try_clone()?));
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("wg-verdicts".into()).spawn(move || {
            accept(socket.listener(), &for_thread);
            drop(socket);
        })?;
        Ok(Self { shared, listener, thread: Some(thread) })
    }

    /// Ends all connections and the thread, and removes the socket.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.stop.store(true, Ordering::Release);
        // Where it cannot be woken, better a thread left behind than a stop that hangs.
        if self.listener.shutdown(Shutdown::Both).is_ok() {
            let _ = thread.join();
        }
    }
}

impl Drop for VerdictServer {
    fn drop(&mut self) {
        self.halt();
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut open: Vec<(UnixStream, JoinHandle<()>)> = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.stop.load(Ordering::Acquire) {
            break;
        }
        open.retain(|(_, thread)| !thread.is_finished());
        match accepted {
            Ok((stream, _)) if open.len() >= CONNECTIONS || !is_trusted(&stream) => {
                shared.sender.counters().count(VerdictFate::PeerRefused);
                tracing::warn!("verdicts: a connection was refused: not root's or ours, or one too many");
            }
            Ok((stream, _)) => open.extend(serve(stream, shared)),
            // Out of descriptors, say: do not spin on it.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
    for (stream, thread) in open {
        let _ = stream.shutdown(Shutdown::Both);
        let _ = thread.join();
    }
}

/// The socket's mode says so already, until somebody changes that.
fn is_trusted(stream: &UnixStream) -> bool {
    let peer = getsockopt(stream, PeerCredentials).map(|peer| Uid::from_raw(peer.uid()));
    peer.is_ok_and(|peer| peer.is_root() || peer == Uid::effective())
}

/// A thread for a connection, and a handle to end its waits. None: there is no room for one.
fn serve(stream: UnixStream, shared: &Arc<Shared>) -> Option<(UnixStream, JoinHandle<()>)> {
    let handle = stream.try_clone().ok()?;
    let shared = Arc::clone(shared);
    let serve = move || {
        tracing::info!("verdicts: an IDS has connected");
        let mut reader = LineReader::default();
        // What goes wrong with one connection is its own affair: the IDS connects anew.
        let _ = read_all(&stream, &shared, &mut reader);
        tracing::info!("verdicts: an IDS has gone");
        let _ = stream.shutdown(Shutdown::Both);
    };
    let thread = thread::Builder::new().name("wg-verdicts-ids".into()).spawn(serve).ok()?;
    Some((handle, thread))
}

fn read_all(mut stream: &UnixStream, shared: &Shared, reader: &mut LineReader) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let (mut second, mut read_in_it) = (Instant::now(), 0);
    loop {
        if second.elapsed() >= Duration::from_secs(1) {
            (second, read_in_it) = (Instant::now(), 0);
        }
        if shared.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        if read_in_it >= BYTES_A_SECOND {
            thread::sleep(PAUSE);
            continue;
        }
        match stream.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(bytes) => {
                read_in_it += bytes;
                reader.take(&block[..bytes], |line| judge(shared, line));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn judge(shared: &Shared, line: Option<&[u8]>) {
    let counters = shared.sender.counters();
    match line.map(|line| Line::read(line, &shared.block)) {
        None => counters.count(VerdictFate::LineTooLong),
        Some(Err(fate)) => counters.count(fate),
        Some(Ok(line)) => shared.sender.send(Finder::verdict(&line), &shared.finder.keys(&line)),
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct LineReader {
    line: Vec<u8>,
    /// The line that comes is longer than it may be.
    skips: bool,
}

impl LineReader {
    /// Has `each` take the lines that are complete now; none for one that was too long.
    fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Option<&[u8]>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            self.skips |= self.line.len() + text.len() > MAX_LINE;
            if self.skips {
                self.line.clear();
            } else {
                self.line.extend_from_slice(text);
            }
            if ends {
                match std::mem::take(&mut self.skips) {
                    true => each(None),
                    false if self.line.is_empty() => {}
                    false => each(Some(&self.line)),
                }
                self.line.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Option<usize>> {
        let (mut reader, mut lines) = (LineReader::default(), Vec::new());
        for piece in pieces {
            reader.take(piece, |line| lines.push(line.map(<[u8]>::len)));
            assert!(reader.line.capacity() <= 2 * MAX_LINE);
        }
        lines
    }

    #[test]
    fn lines_however_they_are_cut() {
        assert_eq!(lines(&[b"one\ntwo", b"", b"more\n\nx\n", b"rest"]), [Some(3), Some(7), Some(1)]);
        let long = vec![b'x'; MAX_LINE];
        assert_eq!(lines(&[&long, b"\n", &long, b"y", &long, b"\nz\n"]), [Some(MAX_LINE), None, Some(1)]);
    }
}
