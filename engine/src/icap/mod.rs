//! Servers of ICAP: connections that are kept, messages that are asked about, and a look whether a server does what it is there for.
//!
//! Whoever asks waits, for as long as `timeout_ms` says at a time. No worker does.

mod counters;
mod inspector;
mod probe;
mod server;
#[cfg(test)]
mod tests;

pub use counters::{Answer, IcapCounters, Probed};
pub use inspector::IcapInspector;
pub use probe::{Probe, probe, probe_beside};
pub use server::{Asking, Failure, Server, Settings};
