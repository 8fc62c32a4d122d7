//! The socket that an IDS writes to: few connections, each with a thread that reads lines, no faster than it may.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wireglass_core::reason::VerdictFate;

use super::{Block, Finder, Line, VerdictSender};
use crate::confine::Kind;
use crate::control::ControlSocket;
use crate::control::acceptor::{Acceptor, Open};
use crate::control::operate::Peer;

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
    acceptor: Acceptor,
}

struct Shared {
    block: Block,
    finder: Finder,
    sender: VerdictSender,
    stop: Arc<AtomicBool>,
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
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared { block, finder, sender, stop: Arc::clone(&stop) });
        let take = move |stream, peer, open: &[Open<()>]| accept(stream, peer, open, &shared);
        Ok(Self { acceptor: Acceptor::start(socket, ("wg-verdicts", Kind::Verdicts), stop, take)? })
    }

    /// Ends all connections and the thread, and removes the socket.
    pub fn stop(self) {
        drop(self.acceptor);
    }
}

fn accept(stream: UnixStream, peer: Peer, open: &[Open<()>], shared: &Arc<Shared>) -> Option<Open<()>> {
    // The socket's mode says who may already, until somebody changes that.
    if open.len() >= CONNECTIONS || !peer.may_operate(nix::unistd::geteuid().as_raw()) {
        shared.sender.counters().count(VerdictFate::PeerRefused);
        tracing::warn!("verdicts: a connection was refused: not root's or ours, or one too many");
        return None;
    }
    let shared = Arc::clone(shared);
    Open::serve(stream, (), "wg-verdicts-ids", move |stream| {
        tracing::info!("verdicts: an IDS has connected");
        // What goes wrong with one connection is its own affair: the IDS connects anew.
        let _ = read_all(stream, &shared, &mut LineReader::default());
        tracing::info!("verdicts: an IDS has gone");
    })
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
