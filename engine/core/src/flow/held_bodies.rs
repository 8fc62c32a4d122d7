//! Bytes of bodies that are held for verdicts: of a flow, of its client, and of the worker.

use std::sync::Arc;

use hashbrown::HashTable;

use super::context::Context;
use crate::counters::{Gauge, WorkerCounters};
use crate::port::Io;

/// Fewer clients are never searched for those that hold nothing.
const FEW: usize = 64;

/// What a flow holds. However it ends, nothing of it is counted any longer.
pub(super) struct HeldBodies {
    bytes: usize,
    counters: Arc<WorkerCounters>,
    client: Arc<Gauge>,
}

impl HeldBodies {
    /// Nothing, of the flow that is called.
    pub(super) fn new<IO: Io>(cx: &mut Context<IO>) -> Self {
        let client = cx.content_shares.counter(cx.client);
        Self { bytes: 0, counters: Arc::clone(&cx.counters), client }
    }

    /// So many bytes now.
    pub(super) fn set(&mut self, bytes: usize) {
        let (before, after) = (self.bytes as u64, bytes as u64);
        self.counters.content_bytes.changed(before, after);
        self.client.changed(before, after);
        self.bytes = bytes;
    }
}

impl Drop for HeldBodies {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What clients hold, by the keyed hash of their networks: of those that have flows which hold something, or have held.
#[derive(Default)]
pub(super) struct ContentShares {
    clients: HashTable<(u64, Arc<Gauge>)>,
    /// With so many, those whose flows are gone are forgotten.
    most: usize,
}

impl ContentShares {
    /// Bytes that a client's flows hold.
    pub(super) fn of(&self, client: u64) -> usize {
        self.clients.find(client, |(known, _)| *known == client).map_or(0, |(_, held)| held.value() as usize)
    }

    /// Where a client's bytes are counted.
    fn counter(&mut self, client: u64) -> Arc<Gauge> {
        if let Some((_, held)) = self.clients.find(client, |(known, _)| *known == client) {
            return Arc::clone(held);
        }
        if self.clients.len() >= self.most {
            self.clients.retain(|(_, held)| Arc::strong_count(held) > 1);
            self.most = FEW.max(2 * self.clients.len());
        }
        let held = Arc::<Gauge>::default();
        self.clients.insert_unique(client, (client, Arc::clone(&held)), |(known, _)| *known);
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_whose_flows_are_gone_are_forgotten() {
        let mut shares = ContentShares::default();
        let flows: Vec<_> = (0..100).map(|client| shares.counter(client)).collect();
        flows.iter().for_each(|held| held.set(7));
        (1_000..100_000).for_each(|client| drop(shares.counter(client)));
        assert!(shares.clients.len() <= 2 * (100 + FEW), "{}", shares.clients.len());
        assert!((0..100).all(|client| shares.of(client) == 7), "and no others");
        assert_eq!((shares.of(100), shares.counter(5).value()), (0, 7));
    }
}
