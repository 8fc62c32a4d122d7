//! The Prometheus page and the status page: what the counters say, and that the workers live.

mod access;
mod capture;
mod certificates;
mod confinement;
mod durations;
mod exclusions;
mod fleet;
mod generation;
mod icap;
mod liveness;
mod log_counters;
mod mirrors;
mod page;
mod ports;
mod process;
mod records;
mod rules;
mod server;
mod shares;
mod signer;
mod snapshot;
mod status;
mod verdicts;

pub use access::Access;
pub use generation::GenerationRecord;
pub use liveness::{Liveness, PATIENCE, Pulse};
pub use log_counters::{LogCounters, LogDrop};
pub use page::{Metrics, PoolStatistics, PortStatistics};
pub use ports::{PortExtra, PortSources};
pub use server::MetricsServer;
pub use snapshot::Snapshot;
