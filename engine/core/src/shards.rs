//! A table for all threads, in parts with a lock each.
//!
//! A lock is held for one look-up, less than a microsecond of the millisecond that a new connection takes. With 16 parts, 64 busy threads find
//! the one they want taken in one of a hundred look-ups or less.

use std::ops::DerefMut;

use crossbeam::utils::CachePadded;

use crate::generations::Generations;
use crate::lock::Lock;

/// Parts of a table that is large enough.
pub(crate) const SHARDS: usize = 16;
/// Fewest entries of a part, where there is more than one: so few fill one early while others have room.
const FEWEST: usize = 64;

/// The parts, each on cache lines of its own.
pub(crate) struct Shards<T>(Box<[CachePadded<Lock<T>>]>);

impl<T> Shards<T> {
    /// Parts of a table that has at most `capacity` entries in all. `part` makes one for at most so many entries.
    pub(crate) fn new(capacity: usize, part: impl Fn(usize) -> T) -> Self {
        let count = (capacity / FEWEST).clamp(1, SHARDS);
        Self((0..count).map(|_| CachePadded::new(Lock::new(part(capacity / count)))).collect())
    }

    /// The part where a hash has its place. Peers that find hashes of one part fill no other.
    pub(crate) fn of(&self, hash: u64) -> impl DerefMut<Target = T> {
        self.0[hash as usize % self.0.len()].lock()
    }

    /// Likewise, of a digest.
    pub(crate) fn of_digest(&self, digest: &[u8; 32]) -> impl DerefMut<Target = T> {
        let (hash, _) = digest.as_chunks();
        self.of(u64::from_le_bytes(hash[0]))
    }

    /// All parts, one after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = impl DerefMut<Target = T>> {
        self.0.iter().map(|part| part.lock())
    }
}

impl<K: Ord, V> Shards<Generations<K, V>> {
    /// Forgets what has not been asked for. Two entries at least.
    pub(crate) fn generations(capacity: usize) -> Self {
        Self::new(capacity, Generations::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_one_part_holds_up_no_other() {
        let shards = Shards::new(SHARDS * FEWEST, |entries| entries);
        let all: Vec<_> = (0..SHARDS as u64).map(|hash| shards.of(hash)).collect();
        assert_eq!(all.iter().map(|entries| **entries).sum::<usize>(), SHARDS * FEWEST);
    }

    #[test]
    fn a_small_table_has_fewer_parts() {
        let parts =
            |capacity| Shards::new(capacity, |entries| entries).iter().map(|entries| *entries).collect();
        let expected: [(usize, Vec<usize>); 4] =
            [(0, vec![0]), (100, vec![100]), (130, vec![65; 2]), (1 << 20, vec![1 << 16; 16])];
        for (capacity, expected) in expected {
            let parts: Vec<usize> = parts(capacity);
            assert_eq!(parts, expected, "{capacity}");
        }
    }
}
