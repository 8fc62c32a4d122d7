//! Contents in which signatures are looked for: the first byte says in which pieces they come.

use std::sync::{Arc, LazyLock};

use wireglass_core::content::{
    DataPattern, SignatureId, SignatureMask, SignatureSet, SignatureStream, Signatures,
};

/// One find of each set is a hit, so that each stream has all that there is to find.
static SIGNATURES: LazyLock<Arc<Signatures>> = LazyLock::new(|| {
    let set = |name: &str, literals: &[&str], regexes: &[&str], patterns: &[DataPattern]| SignatureSet {
        name: name.into(),
        literals: literals.iter().map(|literal| literal.as_bytes().to_vec()).collect(),
        regexes: regexes.iter().map(|regex| (*regex).to_owned()).collect(),
        patterns: patterns.to_vec(),
        threshold: 1,
    };
    let sets = [
        set("long", &["attack at dawn", "aaaaaaaaab", "aaaabaaaaaa"], &[], &[]),
        set("short", &["kode", "aaab"], &[], &[]),
        set("regex", &[], &["zone [0-9]{2}$", r"\bA[0-9A]{3}\b"], &[]),
        set("cards", &[], &[], &[DataPattern::CardNumber]),
        set("iban", &[], &[], &[DataPattern::Iban]),
        set("keys", &[], &[], &[DataPattern::PrivateKey, DataPattern::AwsAccessKey]),
    ];
    Arc::new(Signatures::compile(&sets).unwrap())
});

pub fn run(data: &[u8]) {
    let Some((piece, content)) = data.split_first() else { return };
    let whole = hits(content, content.len().max(1));
    assert_eq!(hits(content, usize::from(*piece) + 1), whole, "pieces differ");
    let has = |literal: &[u8]| content.windows(literal.len()).any(|window| window == literal);
    let first = |place| SignatureId::new(place).is_some_and(|id| whole.has(id));
    assert_eq!(first(0), has(b"attack at dawn") || has(b"aaaaaaaaab") || has(b"aaaabaaaaaa"));
    assert_eq!(first(1), has(b"kode") || has(b"aaab"));
}

fn hits(content: &[u8], piece: usize) -> SignatureMask {
    let all: SignatureMask = (0..6).filter_map(SignatureId::new).collect();
    let mut stream = SignatureStream::new(&SIGNATURES, all);
    content.chunks(piece).for_each(|octets| stream.push(octets));
    stream.end();
    std::iter::from_fn(|| stream.poll_hit()).map(|(id, _)| id).collect()
}
