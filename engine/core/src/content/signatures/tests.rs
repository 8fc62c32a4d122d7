//! Whatever the cuts, the finds are those of a reader that has the whole.

use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::prelude::*;
use regex::bytes::RegexBuilder;

use super::*;
use crate::content::inspect::Scanner as _;

fn set(name: &str) -> SignatureSet {
    SignatureSet { name: name.into(), literals: vec![], regexes: vec![], patterns: vec![], threshold: 1 }
}

/// Sets none of which is over before the end of a message.
fn endless(sets: impl IntoIterator<Item = SignatureSet>) -> Arc<Signatures> {
    let sets: Vec<_> = sets.into_iter().map(|set| SignatureSet { threshold: u32::MAX, ..set }).collect();
    Arc::new(Signatures::compile(&sets).unwrap())
}

/// Finds of the sets, in their order, in a message that comes in these pieces.
fn finds<'a>(signatures: &Arc<Signatures>, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u32> {
    let all = (0..signatures.sets.len()).filter_map(SignatureId::new).collect();
    let mut stream = SignatureStream::new(signatures, all);
    pieces.for_each(|piece| stream.push(piece));
    stream.end();
    stream.counts.iter().map(|(count, _)| *count).collect()
}

fn cut<'a>(text: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = text;
    let mut lengths = lengths.iter().copied().chain(std::iter::repeat(usize::MAX));
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(lengths.next()?.min(rest.len()));
        rest = behind;
        (!piece.is_empty() || !rest.is_empty()).then_some(piece)
    })
}

/// By the simplest means: how often a literal is somewhere.
fn occurrences(text: &[u8], literal: &[u8]) -> u32 {
    text.windows(literal.len()).filter(|window| *window == literal).count() as u32
}

/// Of few letters, so that literals are in texts.
fn letters(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![8 => Just(b'a'), 3 => Just(b'b'), 1 => Just(b'c')], len)
}

const REGEXES: [&str; 7] = ["A[0-9A]{3}", r"\bB+1", "1$", "^A", r"(?m)^1[^\n]{2}", r"[\x80-\xff]A", r"A1\b"];

static EXPRESSIONS: LazyLock<Arc<Signatures>> = LazyLock::new(|| {
    endless(REGEXES.map(|regex| SignatureSet { regexes: vec![regex.into()], ..set(regex) }))
});

static DATA: LazyLock<Arc<Signatures>> = LazyLock::new(|| {
    endless(DataPattern::ALL.map(|pattern| SignatureSet { patterns: vec![pattern], ..set(pattern.name()) }))
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn literals_are_found_across_every_border(
        literals in vec(letters(4..40), 1..8),
        text in letters(0..600),
        inserted in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
        lengths in vec(prop_oneof![0..10usize, 0..200usize], 0..40),
    ) {
        let mut text = text;
        for (literal, place) in inserted {
            let at = place.index(text.len() + 1);
            text.splice(at..at, literal.get(&literals).iter().copied());
        }
        let expected: u32 = literals.iter().map(|literal| occurrences(&text, literal)).sum();
        let sets = endless([SignatureSet { literals, ..set("a") }]);
        prop_assert_eq!(finds(&sets, cut(&text, &lengths)), [expected]);
    }

    #[test]
    fn expressions_are_found_across_every_border(
        text in vec(prop_oneof![Just(b'A'), Just(b'B'), Just(b'1'), Just(b' '), Just(b'\n'), Just(0xff)], 0..300),
        lengths in vec(0..20usize, 0..60),
    ) {
        let whole = finds(&EXPRESSIONS, std::iter::once(&text[..]));
        prop_assert_eq!(finds(&EXPRESSIONS, cut(&text, &lengths)), whole.clone());
        for (regex, count) in REGEXES.iter().zip(whole) {
            // Another reader of expressions finds something, or nothing, too.
            let other = RegexBuilder::new(regex).unicode(false).build().unwrap();
            prop_assert_eq!(other.is_match(&text), count > 0, "{}", regex);
        }
    }

    #[test]
    fn data_is_found_across_every_border(
        words in vec(prop_oneof![
            Just("4111111111111111"), Just("5555 5555 5555 4444"), Just("DE89 3704 0044 0532 0130 00"), Just("GB82WEST12345698765432"),
            Just("AKIAABCDEFGHIJKLMNOP"), Just("-----BEGIN RSA PRIVATE KEY-----"), Just("4111"), Just("DE89"), Just("x"), Just("AT12"),
        ], 0..20),
        separators in vec(prop_oneof![Just(" "), Just("-"), Just(""), Just(","), Just("\r\n")], 20),
        lengths in vec(0..30usize, 0..40),
    ) {
        let text: String = words.iter().zip(separators).flat_map(|(word, separator)| [*word, separator]).collect();
        let whole = finds(&DATA, std::iter::once(text.as_bytes()));
        prop_assert_eq!(finds(&DATA, cut(text.as_bytes(), &lengths)), whole);
    }
}

#[test]
fn a_find_is_told_with_the_piece_that_completes_it() {
    let sets = [
        SignatureSet { literals: vec![b"attack at dawn".to_vec()], ..set("literal") },
        SignatureSet { regexes: vec!["key[0-9]{4}".into()], ..set("regex") },
    ];
    let signatures = Arc::new(Signatures::compile(&sets).unwrap());
    let all = (0..2).filter_map(SignatureId::new).collect();
    let mut stream = SignatureStream::new(&signatures, all);
    stream.push(b"we attack at daw");
    assert_eq!(stream.poll_hit(), None);
    stream.push(b"n");
    assert_eq!(stream.poll_hit().map(|(_, hit)| hit.by.to_string()), Some("literal".into()));
    stream.push(b"key123");
    assert_eq!(stream.poll_hit(), None);
    stream.push(b"4");
    assert_eq!(stream.poll_hit().map(|(_, hit)| hit.by.to_string()), Some("regex".into()));
    assert!(stream.is_over() && stream.poll_hit().is_none());
}

#[test]
fn a_threshold_counts_finds_of_a_message_and_the_sample_is_masked() {
    let sets = [SignatureSet { patterns: vec![DataPattern::CardNumber], threshold: 3, ..set("cards") }];
    let signatures = Arc::new(Signatures::compile(&sets).unwrap());
    let mut stream = SignatureStream::new(&signatures, SignatureId::new(0).into_iter().collect());
    stream.push(b"4111111111111111,5555555555554444,");
    assert_eq!(stream.poll_hit(), None);
    stream.push(b"378282246310005");
    assert_eq!(stream.poll_hit(), None);
    stream.end();
    let (_, hit) = stream.poll_hit().unwrap();
    assert_eq!((hit.count, hit.sample.unwrap().to_string()), (Some(3), "4111**********11".into()));
}

/// Whatever the pieces, what takes steps of automata is told from what is passed over.
#[test]
fn what_is_made_of_beginnings_is_not_quick() {
    let long = b"we attack at dawn, all of us";
    let signatures = endless([SignatureSet { literals: vec![long.to_vec()], ..set("a") }]);
    let all = SignatureId::new(0).into_iter().collect();
    for (every, is_quick) in [(1, false), (5, false), (50, true)] {
        for piece in [1, 30, 1000, 16_384] {
            let mut stream = SignatureStream::new(&signatures, all);
            let text: Vec<u8> = (0..3000)
                .flat_map(
                    |n| if n % every == 0 { *b"we attack at dawn, al" } else { *b"something that it is." },
                )
                .collect();
            text.chunks(piece).for_each(|piece| stream.push(piece));
            assert_eq!(stream.is_quick(), is_quick, "one of {every}, {piece}");
        }
    }
}

#[test]
fn only_what_is_wanted_is_looked_for() {
    let sets = [
        SignatureSet { literals: vec![b"first one".to_vec()], ..set("a") },
        SignatureSet { literals: vec![b"first one".to_vec(), b"abcd".to_vec()], ..set("b") },
    ];
    let signatures = Arc::new(Signatures::compile(&sets).unwrap());
    let b = signatures.id("b").unwrap();
    let mut stream = SignatureStream::new(&signatures, [b].into_iter().collect());
    stream.push(b"first one");
    assert_eq!(stream.poll_hit().map(|(id, _)| id), Some(b));
    assert_eq!(stream.poll_hit(), None);
}

#[test]
fn bounds() {
    let many: Vec<_> = (0..=MAX_SETS).map(|number| set(&number.to_string())).collect();
    assert_eq!(Signatures::compile(&many).unwrap_err(), SignatureError::TooManySets);
    let large = SignatureSet { literals: vec![vec![b'a'; 255]; MAX_LITERAL_BYTES / 255 + 1], ..set("a") };
    assert_eq!(Signatures::compile(&[large]).unwrap_err(), SignatureError::TooManyLiterals);
    let failed = |regex: &str| check_regex(regex).unwrap_err();
    assert_eq!(failed("a*"), RegexError::Empty);
    assert!(matches!(failed("("), RegexError::Syntax(_)));
    assert_eq!(failed("[a-z]{30}[0-9]{5,40}[a-z0-9]{60}x[a-z0-9]{60}y[a-z]{300}"), RegexError::TooLarge);
    let error =
        Signatures::compile(&[set("a"), SignatureSet { regexes: vec!["b".into(), "a*".into()], ..set("b") }]);
    assert_eq!(error.unwrap_err(), SignatureError::Regex(1, 1, RegexError::Empty));
}
