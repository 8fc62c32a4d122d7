//! What the fuzz targets check. Each body takes any bytes and panics if something is wrong with what becomes of
//! them. The targets of libFuzzer run them, and `tests/fuzz_corpus.rs` does without it.
#![allow(dead_code, unreachable_pub, reason = "each target uses its body")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is what a fuzzer looks for")]

pub mod connection;
pub mod mutate;
pub mod reassembly;
pub mod segment;
pub mod subject;

/// The byte at sequence number or offset `at` of the stream `id`: any byte out of place shows.
pub fn pattern(id: u64, at: u32) -> u8 {
    let mixed =
        (u64::from(at) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ id.wrapping_mul(0xff51_afd7_ed55_8ccd));
    (mixed >> 32) as u8
}
