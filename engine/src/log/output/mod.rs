//! Where the lines of the event log go: a file, standard output, or a socket whose other end may come and go.

mod bytes;
mod sockets;
mod syslog;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use self::bytes::{FileOutput, Standard};
use self::sockets::{MessageOutput, StreamOutput};
pub use self::syslog::Facility;

/// Where the event log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Appended to this file, which is made with mode 0640 when missing.
    File(PathBuf),
    /// Standard output.
    Standard,
    /// A Unix stream socket that somebody listens on.
    UnixStream(PathBuf),
    /// A Unix datagram socket: a datagram for each line.
    UnixDatagram(PathBuf),
    /// Syslog (RFC 5424), a message for each line.
    Syslog(DatagramAddress, Facility),
}

/// Where datagrams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramAddress {
    /// A Unix datagram socket, such as `/dev/log`.
    Unix(PathBuf),
    /// UDP (RFC 5426).
    Udp(SocketAddr),
}

impl Destination {
    /// The file or socket, and the address of one that has no path.
    pub fn place(&self) -> (Option<&Path>, Option<SocketAddr>) {
        match self {
            Self::File(path)
            | Self::UnixStream(path)
            | Self::UnixDatagram(path)
            | Self::Syslog(DatagramAddress::Unix(path), _) => (Some(path), None),
            Self::Syslog(DatagramAddress::Udp(address), _) => (None, Some(*address)),
            Self::Standard => (None, None),
        }
    }

    /// Of syslog.
    pub fn facility(&self) -> Option<Facility> {
        if let Self::Syslog(_, facility) = self { Some(*facility) } else { None }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Standard => f.write_str("standard output"),
            Self::UnixStream(path) => write!(f, "the stream socket {}", path.display()),
            Self::UnixDatagram(path) => write!(f, "the datagram socket {}", path.display()),
            Self::Syslog(DatagramAddress::Unix(path), facility) => {
                write!(f, "syslog at {}, {}", path.display(), facility.name())
            }
            Self::Syslog(DatagramAddress::Udp(address), facility) => {
                write!(f, "syslog at {address} (UDP), {}", facility.name())
            }
        }
    }
}

/// Takes whole lines.
pub(super) trait Output: Send {
    /// Writes lines, each with its line feed, as far as that goes. It may take a second at most.
    fn write(&mut self, lines: &[u8]) -> Written;

    /// Opens it anew.
    ///
    /// # Errors
    /// That cannot be done, and what was open before goes on being used.
    fn reopen(&mut self) -> Result<(), NotReopened>;
}

/// How far a call has come.
pub(super) struct Written {
    /// Lines that are there as a whole.
    pub(super) whole: u64,
    /// Why there are no more.
    pub(super) result: io::Result<()>,
}

/// Why something was not opened anew.
pub(super) struct NotReopened {
    pub(super) error: io::Error,
    /// What lines go to meanwhile.
    pub(super) instead: String,
}

/// Tries whether a destination can be opened; makes a file that is missing.
///
/// # Errors
/// A file cannot be opened.
pub fn rehearse(destination: &Destination) -> io::Result<()> {
    open(destination).map(drop)
}

/// Opens a destination. Of sockets that nobody listens on yet, each call says so, and tries again after a second.
///
/// # Errors
/// A file cannot be opened.
pub(super) fn open(destination: &Destination) -> io::Result<Box<dyn Output>> {
    Ok(match destination {
        Destination::File(path) => Box::new(FileOutput::open(path)?),
        Destination::Standard => Box::new(Standard::default()),
        Destination::UnixStream(path) => Box::new(StreamOutput::new(path)),
        Destination::UnixDatagram(path) => {
            Box::new(MessageOutput::new(DatagramAddress::Unix(path.clone()), None))
        }
        Destination::Syslog(socket, facility) => {
            Box::new(MessageOutput::new(socket.clone(), Some(syslog::Header::new(*facility))))
        }
    })
}
