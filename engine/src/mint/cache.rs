//! What was minted, kept for the next client.
//!
//! Two generations stand for "least recently used": what is asked for moves to the young one, and when that is full the
//! old one is dropped as a whole. Every operation takes constant time, and the number of leaves is bounded.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Order;
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

struct Entry<T> {
    value: Arc<T>,
    /// Seconds since the Unix epoch.
    fresh_until: i64,
}

/// Keeps shared values; in use, minted leaves.
pub(super) struct Cache<T> {
    young: HashMap<Key, Entry<T>>,
    old: HashMap<Key, Entry<T>>,
    /// Most entries of one generation.
    generation: usize,
}

impl<T> Cache<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: (capacity / 2).max(1) }
    }

    pub(super) fn find(&mut self, key: &Key, now: i64) -> Option<Arc<T>> {
        if let Some(entry) = self.young.get(key) {
            if entry.fresh_until > now {
                return Some(Arc::clone(&entry.value));
            }
            self.young.remove(key);
        }
        let entry = self.old.remove(key).filter(|e| e.fresh_until > now)?;
        let value = Arc::clone(&entry.value);
        self.put(*key, entry);
        Some(value)
    }

    pub(super) fn insert(&mut self, key: Key, value: Arc<T>, fresh_until: i64) {
        self.put(key, Entry { value, fresh_until });
    }

    fn put(&mut self, key: Key, entry: Entry<T>) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(original: u8) -> Key {
        let order =
            Order { by: MintedBy::Trusted, defect: None, key_type: KeyType::P256, max_days: 90, now: 0 };
        Key::new([original; 32], &order)
    }

    #[test]
    fn bounded_and_the_least_recently_used_go_first() {
        let mut cache = Cache::new(8);
        for i in 0..100 {
            cache.insert(key(i), Arc::new(i), 10);
            assert_eq!(cache.find(&key(0), 0).as_deref(), Some(&0), "in use after {i}");
            assert!(cache.young.len() <= 4 && cache.old.len() <= 4);
        }
        assert!(cache.find(&key(50), 0).is_none());
        assert!(cache.find(&key(99), 0).is_some());
    }

    #[test]
    fn what_has_expired_is_gone() {
        let mut cache = Cache::new(2);
        cache.insert(key(1), Arc::new(1), 10);
        assert!(cache.find(&key(1), 9).is_some());
        assert!(cache.find(&key(1), 10).is_none());
        cache.insert(key(2), Arc::new(2), 10);
        cache.insert(key(3), Arc::new(3), 10);
        assert!(cache.find(&key(2), 10).is_none(), "in the old generation too");
    }

    #[test]
    fn everything_that_makes_a_leaf_another_is_in_the_key() {
        let order =
            Order { by: MintedBy::Trusted, defect: None, key_type: KeyType::P256, max_days: 90, now: 0 };
        let others = [
            Order { by: MintedBy::Untrusted, ..order },
            Order { defect: Some(Reason::CertExpired), ..order },
            Order { key_type: KeyType::Rsa2048, ..order },
            Order { max_days: 7, ..order },
        ];
        for other in &others {
            assert_ne!(Key::new([0; 32], &order), Key::new([0; 32], other));
        }
        assert_ne!(Key::new([0; 32], &order), Key::new([1; 32], &order));
        assert_eq!(Key::new([0; 32], &order), Key::new([0; 32], &Order { now: 5, ..order }));
    }
}
