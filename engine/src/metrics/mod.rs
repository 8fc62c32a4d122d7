//! Counters, one writer each, and the Prometheus page.

mod caches;
mod counters;
mod liveness;
mod page;
mod ports;
mod server;
mod snapshot;

pub use caches::{CacheCounters, TlsCaches};
pub use counters::{Counter, Gauge, PortCounters, WorkerCounters};
pub use liveness::{Liveness, PATIENCE, Pulse};
pub use page::{Metrics, PoolStatistics, PortStatistics};
pub use ports::{PortExtra, PortSources};
pub use server::MetricsServer;
pub use snapshot::Snapshot;
