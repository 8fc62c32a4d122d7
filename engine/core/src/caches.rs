//! What the caches of TLS count. All threads that run handshakes write, once or twice in each.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::event::{Revocation, RevocationSource};
use crate::histogram::Histogram;

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

    /// So many entries were dropped for want of room.
    pub fn count_evictions(&self, evictions: u64) {
        if evictions > 0 {
            self.evictions.fetch_add(evictions, Relaxed);
        }
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
    /// How long chains took to verify that were not known; the time of all steps. Empty without a [stopwatch](Self::measure_with).
    pub verification_time: Histogram,
    /// Likewise leaves to mint.
    pub minting_time: Histogram,
    stopwatch: Stopwatch,
    leaf_not_after: AtomicI64,
    costly_chains: AtomicU64,
    not_revoked: [AtomicU64; RevocationSource::ALL.len()],
    revoked: [AtomicU64; RevocationSource::ALL.len()],
    revocation_unknown: AtomicU64,
}

/// Nanoseconds since some moment.
type Nanos = fn() -> u64;

#[expect(clippy::disallowed_types, reason = "set once, before the first handshake")]
type Stopwatch = std::sync::OnceLock<Nanos>;

impl TlsCaches {
    /// Has times measured with this, which gives nanoseconds since some moment. Only the first call counts.
    pub fn measure_with(&self, stopwatch: Nanos) {
        let _ = self.stopwatch.set(stopwatch);
    }

    /// What the stopwatch shows; none: nothing is measured.
    pub(crate) fn stopwatch(&self) -> Option<u64> {
        self.stopwatch.get().map(|now| now())
    }

    /// Nanoseconds since it showed `began`.
    pub(crate) fn since(&self, began: Option<u64>) -> Option<u64> {
        Some(self.stopwatch()?.saturating_sub(began?))
    }

    /// A leaf was minted that ends then, in seconds since the Unix epoch.
    pub(crate) fn set_leaf_not_after(&self, seconds: i64) {
        self.leaf_not_after.store(seconds, Relaxed);
    }

    /// When the leaf that was minted last ends; none: there was none.
    pub fn leaf_not_after(&self) -> Option<i64> {
        Some(self.leaf_not_after.load(Relaxed)).filter(|seconds| *seconds != 0)
    }

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
