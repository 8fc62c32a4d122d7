//! Fresh mbufs at hand.

use dpdk::{Burst, Mbuf, Mempool};

/// Mbufs of a pool, taken some at a time: so their headers, which another core may have had last, are fetched together instead
/// of one after the other.
pub(super) struct MbufCache {
    pool: Mempool,
    fresh: Burst<STASH>,
}

const STASH: usize = 32;

impl MbufCache {
    pub(super) fn new(pool: Mempool) -> Self {
        Self { pool, fresh: Burst::new() }
    }

    /// An empty mbuf; `None` if all are out.
    pub(super) fn alloc(&mut self) -> Option<Mbuf> {
        if self.fresh.is_empty() && !self.pool.alloc_bulk(&mut self.fresh, STASH) {
            // Fewer are left.
            return self.pool.alloc();
        }
        self.fresh.pop()
    }
}
