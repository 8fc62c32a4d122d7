//! Where literals may begin: most bytes are passed over, of all others one look at a bit map is enough.
//!
//! ```text
//! a literal       | m bytes, by which it is known           | more |
//! its grams       | q |     each run of q bytes in the first m
//! in the text     looked at every m - q + 1 bytes, so that one look falls on a gram of whatever begins since the last
//! ```
//! The longer m is the fewer looks there are, so literals are grouped by their length.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashSet;

/// Fibonacci hashing: the highest bits of a product with it depend on all bits of what is hashed.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Looks that are taken together.
const LOOKS: usize = 4;

/// What comes of a search for beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A literal may begin here.
    Candidate(usize),
    /// None begins before this. What begins from here on cannot be told without more bytes.
    Open(usize),
}

/// A Bloom filter whose two bits of an entry lie in one word, so that a look is one access to memory.
#[derive(Debug)]
struct BitMap {
    /// A power of two of them.
    words: Box<[u64]>,
}

impl BitMap {
    /// Twelve bits for each entry, or up to twice as many: one or two in a hundred others are taken for them.
    fn new(entries: usize) -> Self {
        let bits = (12 * entries).next_power_of_two().clamp(1 << 12, 1 << 23);
        Self { words: vec![0; bits / 64].into() }
    }

    /// Its word, and its bits there.
    fn place(&self, gram: u64) -> (usize, u32, u32) {
        let hash = gram.wrapping_mul(FACTOR);
        ((hash >> 40) as usize & (self.words.len() - 1), (hash >> 58) as u32, (hash >> 34 & 63) as u32)
    }

    fn insert(&mut self, gram: u64) {
        let (word, first, second) = self.place(gram);
        self.words[word] |= 1 << first | 1 << second;
    }

    /// The lowest bit says whether it has it; looks are put together before one of them is asked for.
    fn bit(&self, gram: u64) -> u64 {
        let (word, first, second) = self.place(gram);
        self.words.get(word).map_or(0, |word| word >> first & word >> second)
    }

    fn has(&self, gram: u64) -> bool {
        self.bit(gram) & 1 == 1
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.words)
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
        let product = value.wrapping_mul(FACTOR);
        self.0 = product ^ product >> 32;
    }
}

/// The beginnings of literals that all have at least `M` bytes, known by grams of `Q`.
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
        let (mut exact, mut distinct) = (HashSet::default(), HashSet::default());
        for literal in literals {
            let Some(value) = prefix::<M>(literal, 0) else { continue };
            exact.insert(value);
            distinct.extend((0..Self::STRIDE).filter_map(|at| gram::<Q>(literal, at)));
        }
        let (mut grams, mut prefixes) = (BitMap::new(distinct.len()), BitMap::new(exact.len()));
        exact.iter().for_each(|value| prefixes.insert(*value));
        let distinct: HashSet<u64, BuildHasherDefault<PrefixHasher>> = distinct;
        distinct.iter().for_each(|gram| grams.insert(*gram));
        Self { grams, prefixes, exact }
    }

    /// The first place from `from` on, and before `below`, where a literal may begin.
    pub(super) fn next(&self, bytes: &[u8], mut from: usize, below: usize) -> Next {
        loop {
            from = self.pass_over(bytes, from, below);
            if from >= below || from + M > bytes.len() {
                return Next::Open(from.min(bytes.len()));
            }
            let Some(gram) = gram::<Q>(bytes, from + Self::STRIDE - 1) else { return Next::Open(from) };
            if !self.grams.has(gram) {
                from += Self::STRIDE;
                continue;
            }
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
        }
    }

    /// Goes on while grams are those of no literal, several at a time. Returns a place before which none begins.
    fn pass_over(&self, bytes: &[u8], mut from: usize, below: usize) -> usize {
        let (step, window) = (LOOKS * Self::STRIDE, LOOKS * Self::STRIDE + size_of::<u64>());
        while from + step <= below
            && let Some(window) = bytes.get(from..from + window)
        {
            let has = |look: usize| {
                let at = Self::STRIDE * (look + 1) - 1;
                gram::<Q>(window, at).map_or(1, |gram| self.grams.bit(gram))
            };
            // One branch for all of them.
            if (has(0) | has(1) | has(2) | has(3)) & 1 == 1 {
                return from + Self::STRIDE * (0..LOOKS).take_while(|look| has(*look) & 1 == 0).count();
            }
            from += step;
        }
        from
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> usize {
        self.grams.memory() + self.prefixes.memory() + self.exact.capacity() * 9
    }
}

/// `Q` bytes, at most eight, from there on; none: there are not so many.
fn gram<const Q: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    if let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        return Some(u64::from_le_bytes(*eight) & u64::MAX >> (64 - 8 * Q));
    }
    let few = bytes.get(at..at + Q)?;
    Some(few.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// `M` bytes, at most sixteen, from there on; more than eight as a hash of them.
fn prefix<const M: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    if M <= 8 {
        return gram::<M>(bytes, at);
    }
    let all = bytes.get(at..at + M)?;
    let [first, last] =
        [all.first_chunk::<8>()?, all.last_chunk::<8>()?].map(|half| u64::from_le_bytes(*half));
    Some(first.wrapping_mul(FACTOR) ^ last.rotate_left(29))
}
