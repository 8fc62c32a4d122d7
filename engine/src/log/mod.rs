//! Logs: events from the workers over a ring to one writer thread, as EVE JSON, to a file or a socket.

pub mod community_id;
pub mod eve;
mod eve_alert;
mod eve_file;
mod eve_frame;
mod eve_http;
mod eve_passive;
mod eve_tcp;
mod eve_worker;
mod output;
mod ring;
mod writer;

pub use output::{DatagramAddress, Destination, Facility, rehearse};
pub use ring::{LogReceiver, LogSender, RING_BYTES, ring};
pub use writer::{LogWriter, StatsSource};
