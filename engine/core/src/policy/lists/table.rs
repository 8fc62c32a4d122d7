//! A table of 64-bit keyed hashes, each with a number: 13 bytes an entry, whatever it is the hash of.
//!
//! The texts themselves are not kept. That two of them have one hash among a million is as likely as 1 in 10^13 for a look-up, and
//! without the key nobody can look for such texts.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use siphasher::sip::SipHasher13;

/// Hash and number in pieces of four bytes, so that nothing is lost to alignment.
#[derive(Clone, Copy, Debug)]
struct Slot([u32; 3]);

impl Slot {
    fn new(hash: u64, number: u32) -> Self {
        Self([(hash >> 32) as u32, hash as u32, number])
    }

    fn hash(&self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }
}

#[derive(Debug, Default)]
pub(super) struct HashedTable {
    slots: HashTable<Slot>,
}

impl HashedTable {
    pub(super) fn find(&self, hash: u64) -> Option<u32> {
        self.slots.find(hash, |slot| slot.hash() == hash).map(|slot| slot.0[2])
    }

    /// The number of a hash, to be changed; 0 where it is new.
    pub(super) fn entry(&mut self, hash: u64) -> &mut u32 {
        let slot = match self.slots.entry(hash, |slot| slot.hash() == hash, Slot::hash) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(place) => place.insert(Slot::new(hash, 0)).into_mut(),
        };
        &mut slot.0[2]
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn shrink(&mut self) {
        self.slots.shrink_to_fit(Slot::hash);
    }

    /// Memory of the table, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.allocation_size()
    }
}

/// Makes the hashes: SipHash-1-3, with a key that nobody outside knows.
#[derive(Clone, Copy)]
pub(super) struct Key([u8; 16]);

impl std::fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    pub(super) fn hash(&self, text: &[u8]) -> u64 {
        self.hasher().hash(text)
    }

    /// For texts that come in pieces.
    pub(super) fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}
