//! What the caches of TLS count. All threads that run handshakes write, once or twice in each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::event::{Revocation, RevocationSource};

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
    not_revoked: [AtomicU64; RevocationSource::ALL.len()],
    revoked: [AtomicU64; RevocationSource::ALL.len()],
    revocation_unknown: AtomicU64,
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

    /// A server's certificate was asked about.
    pub(crate) fn count_revocation(&self, revocation: Option<Revocation>) {
        let counter = match revocation {
            Some(Revocation::Good(source)) => &self.not_revoked[source as usize],
            Some(Revocation::Revoked(source)) => &self.revoked[source as usize],
            Some(Revocation::Unknown(_)) => &self.revocation_unknown,
            None => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// What is known of the revocation of servers' certificates, by status and source, and in how many handshakes since the start.
    pub fn revocations(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let by_source = |status, counters: &[AtomicU64; RevocationSource::ALL.len()]| {
            RevocationSource::ALL
                .map(|source| (status, source.name(), counters[source as usize].load(Relaxed)))
        };
        let unknown = ("unknown", "none", self.revocation_unknown.load(Relaxed));
        let [good, revoked] = [by_source("good", &self.not_revoked), by_source("revoked", &self.revoked)];
        good.into_iter().chain(revoked).chain([unknown])
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
