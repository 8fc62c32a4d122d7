//! HPACK (RFC 7541) without a dynamic table: what is encoded here refers to nothing that came before, so nothing that was left out is
//! missed.

use crate::content::hpack_static::STATIC_TABLE;
use crate::fields::Field;

/// Appends a field, as an entry of the static table or as a literal that enters no table.
pub(super) fn field(out: &mut Vec<u8>, field: Field<'_>) {
    let Field { name, value, never_indexed } = field;
    let named = STATIC_TABLE.iter().position(|(known, _)| known.as_bytes() == name);
    if let Some(first) = named
        && !never_indexed
        && let Some(entry) = STATIC_TABLE[first..]
            .iter()
            .take_while(|(known, _)| known.as_bytes() == name)
            .position(|(_, known)| known.as_bytes() == value)
        && !value.is_empty()
    {
        // RFC 7541, 6.1. Indices count from 1.
        return integer(out, 0x80, 7, first + entry + 1);
    }
    // RFC 7541, 6.2.2 and 6.2.3.
    let pattern = if never_indexed { 0x10 } else { 0 };
    match named {
        Some(place) => integer(out, pattern, 4, place + 1),
        None => {
            integer(out, pattern, 4, 0);
            string(out, name);
        }
    }
    string(out, value);
}

/// Appends a dynamic table size update (RFC 7541, 6.3).
pub(super) fn size_update(out: &mut Vec<u8>, size: u32) {
    integer(out, 0x20, 5, size as usize);
}

/// RFC 7541, 5.2; not Huffman-coded, as it takes more time than the octets are worth.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// RFC 7541, 5.1.
fn integer(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::content::hpack::{Decoder, Wanted};

    fn any_field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, bool)> {
        let known = proptest::sample::select(&STATIC_TABLE[..])
            .prop_map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let named = (proptest::sample::select(&STATIC_TABLE[..]), vec(any::<u8>(), 0..300))
            .prop_map(|((name, _), value)| (name.as_bytes().to_vec(), value));
        let other = (vec(b'a'..=b'z', 1..200), vec(any::<u8>(), 0..300));
        (prop_oneof![known, named, other], any::<bool>())
            .prop_map(|((name, value), never)| (name, value, never))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Our reader and another project's read the fields that went in, and neither keeps any.
        #[test]
        fn two_decoders_read_it(fields in vec(any_field(), 1..20), size in 0u32..4096) {
            let mut block = Vec::new();
            size_update(&mut block, size);
            for (name, value, never_indexed) in &fields {
                field(&mut block, Field { name, value, never_indexed: *never_indexed });
            }
            let mut ours = Decoder::new(Wanted::All);
            let mut read = Vec::new();
            let result = ours.decode(&block, |_, field| {
                read.push((field.name.to_vec(), field.value.to_vec(), field.never_indexed));
            });
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(&read, &fields);
            prop_assert_eq!(ours.memory(), 0);
            let mut theirs = loona_hpack::Decoder::new();
            theirs.set_max_allowed_table_size(4096);
            let pairs: Vec<_> = fields.into_iter().map(|(name, value, _)| (name, value)).collect();
            prop_assert_eq!(theirs.decode(&block).ok(), Some(pairs));
        }
    }
}
