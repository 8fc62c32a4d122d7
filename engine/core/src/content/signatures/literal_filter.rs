//! Where literals may begin: most bytes are passed over, of all others one look at a bit map is enough.
//!
//! ```text
//! a literal       | m bytes, by which it is known           | more |
//! its grams       | q |     each run of q bytes in the first m
//! in the text     looked at every m - q + 1 bytes, so that one look falls on a gram of whatever begins since the last
//! ```

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashSet;

/// What comes of a search for beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A literal may begin here.
    Candidate(usize),
    /// None begins before this. What begins from here on cannot be told without more bytes.
    Open(usize),
}

/// Bits by hashes of grams.
#[derive(Debug)]
struct BitMap {
    words: Vec<u64>,
    shift: u32,
}

impl BitMap {
    /// For so many entries: few others are taken for them.
    fn new(entries: usize) -> Self {
        let bits = (32 * entries).next_power_of_two().clamp(1 << 12, 1 << 23);
        Self { words: vec![0; bits / 64], shift: 64 - bits.trailing_zeros() }
    }

    /// Fibonacci hashing: the highest bits of the product depend on all of the gram.
    fn place(&self, gram: u64) -> u64 {
        gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift
    }

    fn insert(&mut self, gram: u64) {
        let bit = self.place(gram);
        self.words[(bit / 64) as usize] |= 1 << (bit % 64);
    }

    fn has(&self, gram: u64) -> bool {
        let bit = self.place(gram);
        self.words.get((bit / 64) as usize).is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }
}

/// Prefixes are the user's own: nobody else chooses what is in the set, so nobody can make its entries collide.
#[derive(Clone, Copy, Debug, Default)]
struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        let product = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

/// The beginnings of literals that all have at least `M` bytes.
#[derive(Debug)]
pub(super) struct LiteralFilter<const M: usize, const Q: usize> {
    grams: BitMap,
    prefixes: BitMap,
    exact: HashSet<u64, BuildHasherDefault<PrefixHasher>>,
}

impl<const M: usize, const Q: usize> LiteralFilter<M, Q> {
    const STRIDE: usize = M - Q + 1;

    /// Literals that are shorter are none of its business.
    pub(super) fn new<'a>(literals: impl Iterator<Item = &'a [u8]>) -> Self {
        let exact: HashSet<_, _> = literals.filter_map(|literal| prefix::<M>(literal, 0)).collect();
        let (mut grams, mut prefixes) = (BitMap::new(exact.len() * Self::STRIDE), BitMap::new(exact.len()));
        for value in &exact {
            prefixes.insert(*value);
            for at in 0..Self::STRIDE {
                grams.insert(value >> (8 * at) & mask(Q));
            }
        }
        Self { grams, prefixes, exact }
    }

    /// The first place from `from` on, and before `below`, where a literal may begin.
    pub(super) fn next(&self, bytes: &[u8], mut from: usize, below: usize) -> Next {
        while from < below && from + M <= bytes.len() {
            let Some(gram) = prefix::<Q>(bytes, from + Self::STRIDE - 1) else { break };
            if self.grams.has(gram) {
                let end = below.min(from + Self::STRIDE);
                for start in from..end {
                    match prefix::<M>(bytes, start) {
                        None => return Next::Open(start),
                        Some(value) if self.prefixes.has(value) && self.exact.contains(&value) => {
                            return Next::Candidate(start);
                        }
                        Some(_) => {}
                    }
                }
                from = end;
            } else {
                from += Self::STRIDE;
            }
        }
        Next::Open(from.min(bytes.len()))
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> usize {
        (self.grams.words.len() + self.prefixes.words.len()) * 8 + self.exact.capacity() * 9
    }
}

const fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
}

/// `N` bytes, at most eight, from there on; none: there are not so many.
fn prefix<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    if let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        return Some(u64::from_le_bytes(*eight) & mask(N));
    }
    let few = bytes.get(at..at + N)?;
    Some(few.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
