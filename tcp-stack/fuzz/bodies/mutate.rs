//! Small seeded changes to the inputs of a corpus: what a fuzzer does, without guidance, the same in every run.

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; 0 if that is empty.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// `input` with a few changes, some of them taken from `other`.
pub fn mutate(rng: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len());
        let len = rng.below(16).min(bytes.len() - at.min(bytes.len()));
        match rng.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5)],
            3 if !bytes.is_empty() => bytes[at] = rng.next() as u8,
            4 => drop(bytes.drain(at..at + len)),
            5 => drop(
                bytes.splice(at..at, (0..1 + rng.below(8)).map(|n| (rng.0 >> n) as u8).collect::<Vec<_>>()),
            ),
            6 => bytes.truncate(at),
            _ => {
                let from = rng.below(other.len());
                let piece = &other[from.min(other.len())..(from + rng.below(64)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes.truncate(4_096);
    bytes
}
