//! What the caches of TLS count. All threads that run handshakes write, once or twice in each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One cache, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CacheCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

impl CacheCounters {
    /// It had what was asked for.
    pub fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    /// It did not have it, or not any more.
    pub fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    /// Says how many entries were dropped for want of room since the start.
    pub fn set_evictions(&self, evictions: u64) {
        self.evictions.store(evictions, Relaxed);
    }

    /// Hits, misses and evictions since the start.
    pub fn values(&self) -> [u64; 3] {
        [&self.hits, &self.misses, &self.evictions].map(|n| n.load(Relaxed))
    }
}

/// The caches of TLS.
#[derive(Debug, Default)]
pub struct TlsCaches {
    /// Verified chains.
    pub verification: CacheCounters,
    /// Minted leaves.
    pub leaf: CacheCounters,
    /// Sessions that servers may resume. A miss: none that may be used, and the handshake is a full one.
    pub server_session: CacheCounters,
    /// Tickets of clients; nothing is kept of them, so nothing is evicted. A miss: a ticket that was no good here.
    pub client_ticket: CacheCounters,
    costly_chains: AtomicU64,
}

impl TlsCaches {
    /// A chain took far more to verify than others do.
    pub fn count_costly_chain(&self) {
        self.costly_chains.fetch_add(1, Relaxed);
    }

    /// Such chains since the start.
    pub fn costly_chains(&self) -> u64 {
        self.costly_chains.load(Relaxed)
    }

    /// All of them, by the names that they have in the metrics.
    pub fn all(&self) -> [(&'static str, &CacheCounters); 4] {
        [
            ("verification", &self.verification),
            ("leaf", &self.leaf),
            ("server_session", &self.server_session),
            ("client_ticket", &self.client_ticket),
        ]
    }
}
