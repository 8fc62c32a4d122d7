//! Lines to a socket. Whoever reads there may start later, stop and come back: until then lines are lost and counted, and nobody waits.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::bytes::Lines;
use super::syslog::Header;
use super::{DatagramAddress, NotReopened, Output, Written};

/// Between two attempts to reach whoever listens.
const RETRY: Duration = Duration::from_secs(1);
/// How long a reader may keep us waiting before it is given up: the ring behind us fills meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that is made where there is none, once in [`RETRY`] at most.
struct Connected<S> {
    socket: Option<S>,
    next_try: Option<Instant>,
}

impl<S> Default for Connected<S> {
    fn default() -> Self {
        Self { socket: None, next_try: None }
    }
}

impl<S> Connected<S> {
    fn get(&mut self, connect: impl FnOnce() -> io::Result<S>) -> io::Result<&mut S> {
        if self.socket.is_none() {
            let now = Instant::now();
            if self.next_try.is_some_and(|at| now < at) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            self.next_try = Some(now + RETRY);
            self.socket = Some(connect()?);
        }
        self.socket.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// A stream socket.
pub(super) struct StreamOutput {
    path: PathBuf,
    to: Connected<Lines<UnixStream>>,
}

impl StreamOutput {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), to: Connected::default() }
    }
}

impl Output for StreamOutput {
    fn write(&mut self, lines: &[u8]) -> Written {
        let connect = || {
            let stream = UnixStream::connect(&self.path)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Lines::new(stream))
        };
        let written = match self.to.get(connect) {
            Ok(stream) => stream.write(lines),
            Err(error) => Written { whole: 0, result: Err(error) },
        };
        if written.result.is_err() {
            // The next one begins at the beginning of a line.
            self.to.socket = None;
        }
        written
    }

    fn reopen(&mut self) -> Result<(), NotReopened> {
        self.to = Connected::default();
        Ok(())
    }
}

/// A datagram for each line.
pub(super) struct MessageOutput {
    address: DatagramAddress,
    /// What each message begins with; none: it is the line.
    header: Option<Header>,
    to: Connected<Datagrams>,
    message: Vec<u8>,
}

enum Datagrams {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Datagrams {
    fn connect(to: &DatagramAddress) -> io::Result<Self> {
        match to {
            DatagramAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Unix(socket))
            }
            DatagramAddress::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Udp(socket))
            }
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.send(message),
            Self::Udp(socket) => socket.send(message),
        }
    }
}

impl MessageOutput {
    pub(super) fn new(address: DatagramAddress, header: Option<Header>) -> Self {
        Self { address, header, to: Connected::default(), message: Vec::new() }
    }

    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        let socket = self.to.get(|| Datagrams::connect(&self.address))?;
        self.message.clear();
        if let Some(header) = &self.header {
            header.write(&mut self.message);
        }
        self.message.extend_from_slice(line);
        socket.send(&self.message).map(|_| ())
    }
}

impl Output for MessageOutput {
    fn write(&mut self, lines: &[u8]) -> Written {
        let mut written = Written { whole: 0, result: Ok(()) };
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match self.send(line) {
                Ok(()) => written.whole += 1,
                // Longer than a datagram can be: only this one is lost.
                Err(error) if is_too_long(&error) => written.result = Err(error),
                Err(error) => {
                    self.to.socket = None;
                    written.result = Err(error);
                    break;
                }
            }
        }
        written
    }

    fn reopen(&mut self) -> Result<(), NotReopened> {
        self.to = Connected::default();
        Ok(())
    }
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}
