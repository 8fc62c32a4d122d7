//! Sans-IO TCP for both ends of an *adopted* connection.
//!
//! A [`Connection`] is one end of one TCP connection as a pure state machine: segments, timer expiries and
//! the application's calls go in; segments, events and the next deadline come out. It knows no clock, no
//! socket, no thread and no randomness: time is an argument, and so are initial sequence numbers (made by an
//! [`IsnGenerator`]) and secrets.
//! What makes it different from other stacks is [`Connection::adopt`]: a connection that two other hosts have
//! opened with each other is taken over in ESTABLISHED, with the sequence numbers, options and timestamp
//! clock that its peer has already seen.
//!
//! The way of the bytes, which is also the order of the files: [`Segment`] (parse) → `connection/receive` →
//! `recv_buffer` → the application → `send_buffer` → `connection/send` → [`Transmit`] (emit).
//!
//! Segments are parsed and emitted without IP header and checksum; both belong to the caller.
//!
//! Not done, on purpose: the urgent pointer (urgent bytes are delivered in line, RFC 6093), Nagle (a relay
//! must not add delay), ECN (declined: never offered, never accepted, marks ignored), TCP Fast Open (payload of
//! a SYN is left for the peer to send again).
#![forbid(unsafe_code)]
// Clocks, sockets, threads and randomness: the list is in clippy.toml.
#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

/// Its examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod assembler;
mod autotune;
mod challenge;
mod config;
mod congestion;
mod connection;
mod event;
mod flight;
mod info;
mod isn;
mod options;
mod path_mtu;
mod payload;
mod rack;
mod recovery;
mod recv_buffer;
mod rtt;
mod sack;
mod segment;
mod send_buffer;
mod seq;
mod spurious;
mod stats;
mod timestamps;
mod transmit;

pub use config::{AdoptedTimestamps, Adoption, Config, KeepAlive, Open};
pub use congestion::Congestion;
pub use connection::{AcceptError, Connection, Prediction, SendError, State};
pub use event::Event;
pub use info::{Info, Limit, Repair};
pub use isn::IsnGenerator;
pub use options::{Options, Timestamps};
pub use path_mtu::TooBig;
pub use payload::Payload;
pub use segment::{Flags, ParseError, PlainSegment, Segment};
pub use seq::Seq;
pub use smoltcp::time::{Duration, Instant};
pub use stats::Stats;
pub use transmit::{Parts, RunSegment, Segments, Transmit};
