//! Minted leaves, kept for the next client.
//!
//! Two generations stand for "least recently used": what is asked for moves to the young one, and when that is full the
//! old one is dropped as a whole. Every operation takes constant time, and the number of leaves is bounded.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Leaf, Order};
use crate::log::event::MintedBy;
use crate::reason::Reason;
use crate::tls::keys::KeyType;

/// What makes two copies the same. Never the name that was asked for: that would give a leaf of another server, or of
/// another verdict, once the server's certificate has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// SHA-256 of the original's DER.
    original: [u8; 32],
    defect: Option<Reason>,
    by: MintedBy,
    key_type: KeyType,
    max_days: u32,
}

impl Key {
    pub(super) fn new(original: [u8; 32], order: &Order) -> Self {
        Self {
            original,
            defect: order.defect,
            by: order.by,
            key_type: order.key_type,
            max_days: order.max_days,
        }
    }
}

impl std::hash::Hash for MintedBy {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (*self as u8).hash(state);
    }
}

struct Entry {
    leaf: Arc<Leaf>,
    /// Seconds since the Unix epoch.
    fresh_until: i64,
}

/// How long a leaf is kept that was born expired, because its original is and the profile lets it pass: an hour.
const KEEP_EXPIRED: i64 = 3600;

pub(super) struct Cache {
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
    /// Most entries of one generation.
    generation: usize,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: (capacity / 2).max(1) }
    }

    pub(super) fn find(&mut self, key: &Key, now: i64) -> Option<Arc<Leaf>> {
        if let Some(entry) = self.young.get(key) {
            if entry.fresh_until > now {
                return Some(Arc::clone(&entry.leaf));
            }
            self.young.remove(key);
        }
        let entry = self.old.remove(key).filter(|e| e.fresh_until > now)?;
        let leaf = Arc::clone(&entry.leaf);
        self.put(*key, entry);
        Some(leaf)
    }

    pub(super) fn insert(&mut self, key: Key, leaf: Arc<Leaf>, now: i64) {
        let expires = leaf.not_after();
        let fresh_until = if expires > now { expires } else { now.saturating_add(KEEP_EXPIRED) };
        self.put(key, Entry { leaf, fresh_until });
    }

    fn put(&mut self, key: Key, entry: Entry) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
