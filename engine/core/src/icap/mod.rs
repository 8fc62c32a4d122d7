//! ICAP (RFC 3507): asks a server whether a message may pass, without a socket and without a clock.
//!
//! ```text
//!   head ► preview ► (100 Continue ► the rest)      what is sent
//!          204 | 200 with what is to take its place  what comes
//! ```
//! An answer may come before all was sent, and what comes back is read while the rest is still going out.

mod answer;
mod exchange;
mod head;
mod options;
mod service;
#[cfg(test)]
mod tests;

pub use exchange::{Exchange, Modified, Outcome};
pub use head::{MAX_HEAD, MAX_LINE};
pub use options::{OptionsQuery, ServiceOptions};
pub use service::{Method, Service, ServiceError};

use std::fmt;

/// Why an exchange has failed. The connection is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcapError {
    /// The server broke the protocol; this is what was wrong.
    Protocol(&'static str),
    /// A line, a head or a chunk was longer than is read.
    TooLong,
    /// The server answered with this status, which is neither 200 nor 204.
    Status(u16),
    /// The server closed the connection before its answer was complete.
    Closed,
    /// The body that came back has fewer bytes than was said, or than was sent.
    Short {
        /// Bytes that were to come.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
}

impl fmt::Display for IcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(what) => write!(f, "the server broke the protocol: {what}"),
            Self::TooLong => f.write_str("the server sent a line, head or chunk that is too long"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::Closed => f.write_str("the server closed the connection in the middle of its answer"),
            Self::Short { expected, got } => {
                write!(f, "the body that came back has {got} bytes, and {expected} were to come")
            }
        }
    }
}

impl std::error::Error for IcapError {}
