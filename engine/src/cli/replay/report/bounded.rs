//! Counts by name that stay within bounds, whatever a capture has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A map of so many entries; what comes under further names is counted together.
pub(super) struct Bounded<K, V> {
    entries: BTreeMap<K, V>,
    most: usize,
    beyond: u64,
}

impl<K: Ord, V: Default> Bounded<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: BTreeMap::new(), most, beyond: 0 }
    }

    /// The entry of this name. None: there is no room for it.
    pub(super) fn entry(&mut self, key: K) -> Option<&mut V> {
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            self.beyond += 1;
            return None;
        }
        Some(self.entries.entry(key).or_default())
    }

    /// All entries, the weightiest first, and how often there was no room.
    pub(super) fn into_sorted<W: Ord>(self, weight: impl Fn(&V) -> W) -> (Vec<(K, V)>, u64) {
        let mut entries: Vec<_> = self.entries.into_iter().collect();
        entries.sort_by_key(|(_, value)| std::cmp::Reverse(weight(value)));
        (entries, self.beyond)
    }
}

/// Some of many, told apart up to a number.
#[derive(Clone, Debug)]
pub(super) struct Sample<T, const MOST: usize>(BTreeSet<T>);

impl<T, const MOST: usize> Default for Sample<T, MOST> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord, const MOST: usize> Sample<T, MOST> {
    pub(super) fn insert(&mut self, value: T) {
        if self.0.len() < MOST {
            self.0.insert(value);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        self.0.into_iter().collect()
    }
}

/// Clients of a server: at most 64 are told apart.
pub(super) type Clients = Sample<IpAddr, 64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted() {
        let mut map = Bounded::<u32, u32>::new(2);
        for key in [1, 2, 3, 2, 4, 2] {
            if let Some(count) = map.entry(key) {
                *count += 1;
            }
        }
        assert_eq!(map.into_sorted(|&count| count), (vec![(2, 3), (1, 1)], 2));
        let mut clients = Clients::default();
        (0..100).for_each(|n| clients.insert(IpAddr::from([10, 0, 0, n])));
        assert_eq!(clients.len(), 64);
    }
}
