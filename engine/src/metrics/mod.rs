//! Counters, one writer each, and the Prometheus page.

mod caches;
mod counters;
mod page;
mod server;
mod snapshot;

pub use caches::{CacheCounters, TlsCaches};
pub use counters::{Counter, Gauge, Phase, PortCounters, WorkerCounters};
pub use page::{Metrics, PortStatistics};
pub use server::MetricsServer;
pub use snapshot::Snapshot;
