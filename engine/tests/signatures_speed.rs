//! What looking for signatures costs for each byte.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use wireglass_core::content::{DataPattern, SignatureId, SignatureSet, SignatureStream, Signatures};

/// Octets of a record.
const RECORD: usize = 16 * 1024;

fn set(name: &str) -> SignatureSet {
    SignatureSet {
        name: name.into(),
        literals: vec![],
        regexes: vec![],
        patterns: vec![],
        threshold: u32::MAX,
    }
}

/// Numbers without a pattern, the same in every run.
fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(seed >> 33)
    })
}

/// Words in a row, as in a page.
fn text(words: &[String], seed: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for number in numbers(seed).take(1 << 18) {
        text.extend_from_slice(words[number as usize % words.len()].as_bytes());
        text.push(b" \n<>="[number as usize % 5]);
    }
    text
}

/// `cargo test --release -p wireglass --test signatures_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn bytes_of_bodies() {
    let words: Vec<String> = numbers(7).take(3000).map(|n| format!("{:x}", n % 0xfff_ffff)).collect();
    let pages = text(&words, 1);
    let literals = |seed: u64| -> Vec<Vec<u8>> {
        let long = text(&words, seed);
        let cuts = numbers(seed).map(|n| (n as usize % (long.len() - 64), 12 + n as usize % 30));
        cuts.take(10_000).map(|(at, len)| long[at..at + len].to_vec()).collect()
    };
    let hex =
        numbers(3).take(10_000).map(|n| format!("{n:08x}{:08x}", n.wrapping_mul(0x9e37_79b9)).into_bytes());
    for (what, sets) in [
        ("10,000 literals of other words", vec![SignatureSet { literals: hex.collect(), ..set("hex") }]),
        ("10,000 literals of the same words", vec![SignatureSet { literals: literals(2), ..set("words") }]),
        ("a short literal", vec![SignatureSet { literals: vec![b"wxyz".to_vec()], ..set("short") }]),
        ("card numbers", vec![SignatureSet { patterns: vec![DataPattern::CardNumber], ..set("cards") }]),
        ("IBAN", vec![SignatureSet { patterns: vec![DataPattern::Iban], ..set("iban") }]),
        ("AKIA[0-9A-Z]{16}", vec![SignatureSet { patterns: vec![DataPattern::AwsAccessKey], ..set("aws") }]),
        ("[a-z]+-[0-9]{6}", vec![SignatureSet { regexes: vec!["[a-z]+-[0-9]{6}".into()], ..set("regex") }]),
    ] {
        let begun = Instant::now();
        let signatures = Arc::new(Signatures::compile(&sets).unwrap());
        let compiled = begun.elapsed();
        let memory = signatures.automata_memory() / 1024;
        let all = (0..sets.len()).filter_map(SignatureId::new).collect();
        let begun = Instant::now();
        let rounds = 16;
        for _ in 0..rounds {
            let mut stream = SignatureStream::new(&signatures, all);
            pages.chunks(RECORD).for_each(|record| stream.push(record));
            stream.end();
        }
        let each = begun.elapsed().as_nanos() as f64 / (rounds * pages.len()) as f64;
        println!("{what}: {each:.2} ns a byte; {memory} KiB, compiled in {compiled:?}");
    }
}
