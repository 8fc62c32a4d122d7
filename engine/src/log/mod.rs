//! Logs: events from the workers over a ring to one writer thread, as EVE JSON.

pub mod community_id;
pub mod eve;
mod eve_alert;
mod eve_frame;
mod ring;
mod writer;

pub use ring::{LogReceiver, LogSender, ring};
pub use writer::{LogWriter, StatsSource};
