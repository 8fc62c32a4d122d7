//! A bounded map that forgets what has not been asked for.
//!
//! Two generations stand for "least recently used": what is asked for moves to the young one, and when that is full the
//! old one is dropped as a whole. Every operation but that takes logarithmic time: the maps are ordered, so there is no hash to which
//! peers, whose certificates make the keys, could find others.

use std::collections::BTreeMap;

/// The map.
pub struct Generations<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    /// Most entries of one generation.
    generation: usize,
    /// Entries dropped for want of room that nobody has counted yet.
    evicted: u64,
}

impl<K: Ord, V> Generations<K, V> {
    /// For at most `capacity` entries, but no fewer than two.
    pub fn new(capacity: usize) -> Self {
        let generation = (capacity / 2).max(1);
        Self { young: BTreeMap::new(), old: BTreeMap::new(), generation, evicted: 0 }
    }

    /// The value of `key`, which counts as used.
    pub fn find(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.make_room();
            self.young.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Sets the value of `key`.
    pub fn insert(&mut self, key: K, value: V) {
        // Replaced, not evicted.
        self.remove(&key);
        self.make_room();
        self.young.insert(key, value);
    }

    /// Takes the value of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Entries dropped for want of room since this was asked last.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    fn make_room(&mut self) {
        if self.young.len() >= self.generation {
            self.evicted += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_the_least_recently_used_go_first() {
        let mut map = Generations::new(8);
        for i in 0..100 {
            map.insert(i, i);
            assert_eq!(map.find(&0), Some(&mut 0), "in use after {i}");
            assert!(map.young.len() + map.old.len() <= 8);
        }
        assert_eq!(map.find(&50), None);
        assert_eq!(map.find(&99), Some(&mut 99));
        let kept = (map.young.len() + map.old.len()) as u64;
        assert_eq!([map.take_evicted(), map.take_evicted()], [100 - kept, 0]);
    }

    #[test]
    fn a_key_is_in_once() {
        let mut map = Generations::new(4);
        for round in 0..10 {
            map.insert(1, round);
            map.insert(2 + round % 2, round);
            assert_eq!(map.find(&1), Some(&mut round.clone()));
        }
        assert!(map.young.len() + map.old.len() <= 4);
        assert_eq!(map.remove(&1), Some(9));
        assert_eq!(map.remove(&1), None);
        assert_eq!(map.find(&1), None);
    }
}
