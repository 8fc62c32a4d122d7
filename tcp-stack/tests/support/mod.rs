//! A network in memory: hosts, a seeded link, a virtual clock. The same seed gives the same run.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::panic, clippy::disallowed_macros, reason = "tests fail by panic and say why")]

pub mod frame;
pub mod host;
pub mod link;
pub mod middle;
pub mod network;
pub mod script;
pub mod watchdog;

use tcp_stack::{Duration, Instant};

/// SplitMix64: small, seeded, good enough to lose packets with.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// The byte at `at` of the stream `id`: any byte out of place shows.
pub fn pattern(id: u64, at: usize) -> u8 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ id.wrapping_mul(0xff51_afd7_ed55_8ccd));
    (mixed >> 32) as u8
}

/// `len` bytes of stream `id` from `at` on.
pub fn pattern_bytes(id: u64, at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|i| pattern(id, i)).collect()
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn earliest(times: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    times.into_iter().flatten().min()
}
