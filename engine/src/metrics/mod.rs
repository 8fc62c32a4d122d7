//! The Prometheus page: what the counters say, and that the workers live.

mod capture;
mod confinement;
mod generation;
mod liveness;
mod log_counters;
mod mirrors;
mod page;
mod ports;
mod records;
mod rules;
mod server;
mod snapshot;
mod verdicts;

pub use generation::GenerationRecord;
pub use liveness::{Liveness, PATIENCE, Pulse};
pub use log_counters::LogCounters;
pub use page::{Metrics, PoolStatistics, PortStatistics};
pub use ports::{PortExtra, PortSources};
pub use server::MetricsServer;
pub use snapshot::Snapshot;
