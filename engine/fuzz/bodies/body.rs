//! Codings undone and types recognised; the first byte says which codings, the second the size of the pieces.

use std::ops::ControlFlow;

use wireglass_core::content::{Codings, DecodeLimits, Decoder, FileType, First, first_type};
use wireglass_core::fields::{Field, Fields};

const CODINGS: [&str; 8] =
    ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, gzip", "deflate, zstd", "identity"];
const LIMITS: DecodeLimits =
    DecodeLimits { output: 1 << 20, ratio: 1000, ratio_from: 1 << 16, window: 1 << 20 };

pub fn run(data: &[u8]) {
    let Some(([which, piece], body)) = data.split_first_chunk::<2>() else { return };
    let mut fields = Fields::default();
    let value = CODINGS[usize::from(*which) % CODINGS.len()].as_bytes();
    fields.push(Field { name: b"content-encoding", value, never_indexed: false });
    let Ok(codings) = Codings::of(&fields) else { panic!("they are known") };
    let whole = decode(codings, body, body.len().max(1));
    let pieces = decode(codings, body, usize::from(*piece) + 1);
    // Whether it is a bomb may depend on how much has come.
    let both = whole.1.is_ok() && pieces.1.is_ok();
    assert!(!both || whole.0 == pieces.0, "pieces differ");
    let shorter = whole.0.len().min(pieces.0.len());
    assert_eq!(whole.0[..shorter], pieces.0[..shorter]);
    // What is said early stands.
    let mut known: Option<FileType> = None;
    for len in 0..=whole.0.len().min(1100) {
        let kind = FileType::of(&whole.0[..len], false);
        assert!(known.is_none() || kind == known, "{known:?} became {kind:?}");
        known = kind;
    }
    if let Ok(first) = first_type(codings, body, true) {
        assert!(first != First::NeedsMore, "no more comes");
    }
}

fn decode(codings: Codings, body: &[u8], piece: usize) -> (Vec<u8>, Result<(), ()>) {
    let (mut decoder, mut plain) = (Decoder::new(codings, LIMITS), Vec::new());
    for piece in body.chunks(piece) {
        let flow = decoder.push(piece, &mut |bytes| {
            plain.extend_from_slice(bytes);
            ControlFlow::Continue(())
        });
        assert!(decoder.memory() < 12 << 20, "memory");
        assert!(plain.len() <= LIMITS.output as usize, "output");
        if flow.is_err() {
            return (plain, Err(()));
        }
    }
    let is_whole = decoder.finish().map_err(|_| ());
    (plain, is_whole)
}
