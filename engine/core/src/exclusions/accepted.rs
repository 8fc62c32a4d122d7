//! Which clients have accepted our CA, and for which servers: a client that accepts it nowhere does not pin, it has not been told of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::entry::Client;
use crate::packet::KeyHasher;

/// Places. Whoever comes to a place that is taken has it then: what is forgotten so has to be seen once more.
const PLACES: usize = 1 << 15;

/// The clients, as hashes: two loads or stores for each handshake, and no lock.
pub(super) struct Accepted(Box<[AtomicU64]>);

impl Default for Accepted {
    fn default() -> Self {
        Self(std::iter::repeat_with(AtomicU64::default).take(PLACES).collect())
    }
}

impl Accepted {
    /// The client has accepted it for the server with this hash.
    pub(super) fn note(&self, hasher: &KeyHasher, client: &Client<'_>, server: u64) {
        for tag in tags(hasher, client, server) {
            self.place(tag).store(tag, Relaxed);
        }
    }

    /// The client has accepted it, and not for that server.
    pub(super) fn elsewhere(&self, hasher: &KeyHasher, client: &Client<'_>, server: u64) -> bool {
        let [anywhere, here] = tags(hasher, client, server).map(|tag| self.place(tag).load(Relaxed) == tag);
        anywhere && !here
    }

    fn place(&self, tag: u64) -> &AtomicU64 {
        &self.0[tag as usize % PLACES]
    }
}

/// Of the client, and of the client at the server. Programs of one host have trust stores of their own, so the fingerprint belongs to it.
fn tags(hasher: &KeyHasher, client: &Client<'_>, server: u64) -> [u64; 2] {
    let client = hasher.hash(&(client.address, client.ja4));
    // An empty place has 0.
    [client.max(1), hasher.hash(&(client, server)).max(1)]
}
