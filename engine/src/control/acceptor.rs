//! A thread that accepts connections at a socket of ours, and one for each connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::ControlSocket;
use super::operate::Peer;
use crate::confine::{self, Kind};

/// Accepts until it is dropped, which ends all connections, and removes the socket.
pub(crate) struct Acceptor {
    stop: Arc<AtomicBool>,
    listener: UnixStream,
    /// Gives the socket back.
    thread: Option<JoinHandle<ControlSocket>>,
}

/// A connection that has a thread.
pub(crate) struct Open<T> {
    /// To end its waits.
    handle: UnixStream,
    thread: JoinHandle<()>,
    /// What whoever accepted it knows of it.
    pub(crate) about: T,
}

impl<T> Open<T> {
    /// A thread for a connection, which ends with `serve`. None: there is no room for one.
    pub(crate) fn serve(
        stream: UnixStream,
        about: T,
        name: &str,
        serve: impl FnOnce(&UnixStream) + Send + 'static,
    ) -> Option<Self> {
        let handle = stream.try_clone().ok()?;
        let run = move || {
            serve(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run).ok()?;
        Some(Self { handle, thread, about })
    }
}

impl Acceptor {
    /// Starts the thread, which keeps the socket and gives each connection to `take`, with those that are open and who is at its other
    /// end. `stop` is set when all is to end.
    ///
    /// # Errors
    /// When the thread cannot be started, or there are no more descriptors.
    pub(crate) fn start<T: 'static>(
        socket: ControlSocket,
        (name, kind): (&str, Kind),
        stop: Arc<AtomicBool>,
        take: impl FnMut(UnixStream, Peer, &[Open<T>]) -> Option<Open<T>> + Send + 'static,
    ) -> io::Result<Self> {
        // A second handle of the listener, as a stream: only streams can be shut down, which is what ends a wait for a
        // connection (Linux: accept fails at once, and for ever).
        let listener = UnixStream::from(OwnedFd::from(socket.listener().try_clone()?));
        let stops = Arc::clone(&stop);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            confine::enter(kind);
            accept(&socket, &stops, take);
            socket
        })?;
        Ok(Self { stop, listener, thread: Some(thread) })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::Release);
        // Where it cannot be woken, better a thread left behind than a stop that hangs.
        if self.listener.shutdown(Shutdown::Both).is_ok() {
            // The socket is removed here: the thread may remove no files.
            let _ = thread.join();
        }
    }
}

fn accept<T>(
    socket: &ControlSocket,
    stop: &AtomicBool,
    mut take: impl FnMut(UnixStream, Peer, &[Open<T>]) -> Option<Open<T>>,
) {
    let mut open: Vec<Open<T>> = Vec::new();
    loop {
        let accepted = socket.listener().accept();
        if stop.load(Ordering::Acquire) {
            break;
        }
        open.retain(|open| !open.thread.is_finished());
        match accepted {
            Ok((stream, _)) => {
                // Where the kernel does not say who has connected, nobody has.
                if let Some(peer) = peer(&stream) {
                    let taken = take(stream, peer, &open);
                    open.extend(taken);
                }
            }
            // Out of descriptors, say: do not spin on it.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
    for Open { handle, thread, .. } in open {
        let _ = handle.shutdown(Shutdown::Both);
        let _ = thread.join();
    }
}

fn peer(stream: &UnixStream) -> Option<Peer> {
    let credentials = getsockopt(stream, PeerCredentials).ok()?;
    Some(Peer { uid: credentials.uid(), pid: credentials.pid() })
}
