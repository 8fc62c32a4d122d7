//! A map of fixed capacity that knows its oldest entry: what must be remembered for a while, and never more than so much.

use hashbrown::HashTable;

const NONE: u32 = u32::MAX;

struct Slot<K, V> {
    /// Neighbours by age, older and younger; `younger` also chains free slots.
    older: u32,
    younger: u32,
    entry: Option<(K, u64, V)>,
}

/// The map. `len() <= capacity`; slots are used from the front, and reused ever after. No call scans it.
pub struct AgedMap<K, V> {
    index: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    free: u32,
    oldest: u32,
    youngest: u32,
    capacity: u32,
}

impl<K: Eq, V> AgedMap<K, V> {
    /// For at most `capacity` entries.
    pub fn new(capacity: u32) -> Self {
        // All at once, as for flows: memory that was never written takes no page, and no insertion has to move what is there. Where the system does
        // not promise so much, they grow as they are used.
        let (mut index, mut slots) = (HashTable::new(), Vec::new());
        let _ = index.try_reserve(capacity as usize, |_| 0);
        let _ = slots.try_reserve_exact(capacity as usize);
        Self { index, slots, free: NONE, oldest: NONE, youngest: NONE, capacity }
    }

    /// Entries in the map.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// No entry in the map.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// No room for another entry.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity as usize
    }

    /// The entry with this key; `hash` is the key's.
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut V> {
        let slot = *self.index.find(hash, |&s| is(&self.slots, s, key))?;
        self.slots[slot as usize].entry.as_mut().map(|(_, _, value)| value)
    }

    /// Adds an entry as the youngest. Its key is not in the map.
    ///
    /// # Errors
    /// Gives the value back when the map is full: make room with [`Self::pop_oldest`] first.
    pub fn insert(&mut self, hash: u64, key: K, value: V) -> Result<(), V> {
        if self.is_full() {
            return Err(value);
        }
        let at = self.take_slot();
        self.slots[at as usize] =
            Slot { older: self.youngest, younger: NONE, entry: Some((key, hash, value)) };
        match self.youngest {
            NONE => self.oldest = at,
            youngest => self.slots[youngest as usize].younger = at,
        }
        self.youngest = at;
        let slots = &self.slots;
        self.index.insert_unique(hash, at, |&s| slots[s as usize].entry.as_ref().map_or(0, |e| e.1));
        Ok(())
    }

    /// Takes the entry with this key out.
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        let found = self.index.find_entry(hash, |&s| is(&self.slots, s, key)).ok()?;
        let slot = found.remove().0;
        self.vacate(slot)
    }

    /// All entries, in no meaningful order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref().map(|(key, _, value)| (key, value)))
    }

    /// The entry that has been in for longest.
    pub fn oldest(&self) -> Option<&V> {
        self.slots.get(self.oldest as usize)?.entry.as_ref().map(|(_, _, value)| value)
    }

    /// Takes the oldest entry out.
    pub fn pop_oldest(&mut self) -> Option<V> {
        let at = self.oldest;
        let hash = self.slots.get(at as usize)?.entry.as_ref()?.1;
        if let Ok(found) = self.index.find_entry(hash, |&s| s == at) {
            found.remove();
        }
        self.vacate(at)
    }

    fn take_slot(&mut self) -> u32 {
        if self.free != NONE {
            let at = self.free;
            self.free = self.slots[at as usize].younger;
            return at;
        }
        self.slots.push(Slot { older: NONE, younger: NONE, entry: None });
        (self.slots.len() - 1) as u32
    }

    fn vacate(&mut self, at: u32) -> Option<V> {
        let Slot { older, younger, .. } = self.slots[at as usize];
        match older {
            NONE => self.oldest = younger,
            older => self.slots[older as usize].younger = younger,
        }
        match younger {
            NONE => self.youngest = older,
            younger => self.slots[younger as usize].older = older,
        }
        let slot = &mut self.slots[at as usize];
        slot.younger = self.free;
        self.free = at;
        slot.entry.take().map(|(_, _, value)| value)
    }
}

fn is<K: Eq, V>(slots: &[Slot<K, V>], slot: u32, key: &K) -> bool {
    slots[slot as usize].entry.as_ref().is_some_and(|(known, _, _)| known == key)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Few hashes, so that keys share them.
    fn hash(key: u16) -> u64 {
        u64::from(key % 5).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn what_is_in_it_stays_where_it_is() {
        let mut map = AgedMap::new(1_000);
        let slots = map.slots.as_ptr();
        for key in 0..5_000u16 {
            if map.is_full() {
                map.pop_oldest();
            }
            map.insert(hash(key), key, ()).expect("there is room");
        }
        assert_eq!((map.len(), map.slots.as_ptr()), (1_000, slots));
    }

    proptest::proptest! {
        /// Against a queue of pairs.
        #[test]
        fn behaves_like_a_queue_with_keys(ops in proptest::collection::vec((0u8..4, 0u16..20), 0..400)) {
            let mut map = AgedMap::new(8);
            let mut model = VecDeque::new();
            for (n, (op, key)) in ops.into_iter().enumerate() {
                let place = model.iter().position(|(k, _)| *k == key);
                match op {
                    0 | 1 if place.is_none() => {
                        let fits = model.len() < 8;
                        proptest::prop_assert_eq!(map.insert(hash(key), key, n), if fits { Ok(()) } else { Err(n) });
                        if fits { model.push_back((key, n)); }
                    }
                    2 => {
                        let removed = place.and_then(|at| model.remove(at)).map(|(_, n)| n);
                        proptest::prop_assert_eq!(map.remove(hash(key), &key), removed);
                    }
                    3 => proptest::prop_assert_eq!(map.pop_oldest(), model.pop_front().map(|(_, n)| n)),
                    _ => {}
                }
                let known = model.iter().find(|(k, _)| *k == key).map(|(_, n)| *n);
                proptest::prop_assert_eq!(map.get_mut(hash(key), &key).copied(), known);
                proptest::prop_assert_eq!(map.oldest(), model.front().map(|(_, n)| n));
                proptest::prop_assert_eq!((map.len(), map.is_full()), (model.len(), model.len() == 8));
                let mut all: Vec<_> = map.iter().map(|(key, n)| (*key, *n)).collect();
                all.sort_by_key(|(_, n)| *n);
                proptest::prop_assert!(all.iter().eq(model.iter()));
                proptest::prop_assert!(map.slots.len() <= 8);
            }
        }
    }
}
