//! HPACK (RFC 7541), read by a bystander.
//!
//! The log wants ten header fields, and no other is kept for it: of a field that nobody asked for the dynamic table keeps only its
//! size. So no cookie and no credential is ever held, and such a value is not even decoded. Rules may ask about every field, and whoever
//! encodes anew needs all of them: for these, the table keeps everything.

use std::collections::VecDeque;

use super::hpack_static::{STATIC_ENTRIES, static_entry};
use super::huffman;
use crate::fields::Field;

/// Largest dynamic table that is followed, in the octets of RFC 7541, 4.1. Browsers ask for 65536.
pub(super) const MAX_TABLE: u32 = 65_536;
/// A table's size before anybody says otherwise (RFC 9113, 6.5.2).
const DEFAULT_TABLE: u32 = 4096;
/// What an entry costs beside its name and value (RFC 7541, 4.1).
const ENTRY_OVERHEAD: u32 = 32;
/// Names longer than this are none of ours.
const LONGEST_NAME: usize = 16;

/// A field of the header block, as far as the log asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Authority,
    Method,
    Path,
    Status,
    ContentType,
    Host,
    Location,
    Referer,
    UserAgent,
    /// Any other.
    Other,
}

impl Known {
    fn named(name: &[u8]) -> Self {
        match name {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":status" => Self::Status,
            b"content-type" => Self::ContentType,
            b"host" => Self::Host,
            b"location" => Self::Location,
            b"referer" => Self::Referer,
            b"user-agent" => Self::UserAgent,
            _ => Self::Other,
        }
    }
}

/// Why a header block cannot be read; the connection's compression state is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HpackError {
    /// Not HPACK.
    Invalid,
    /// A table larger than [`MAX_TABLE`].
    TableTooBig,
    /// More fields than [`MAX_OCTETS`], where all are asked for.
    BlockTooBig,
}

/// Octets of a header block's fields, in the sense of RFC 7541, 4.1, that are handed out. Of further ones only what the table
/// needs is looked at; where all fields are asked for, that is an error.
const MAX_OCTETS: usize = 64 * 1024;

/// Which fields are handed out and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Those that the log asks for; no others have a name or a value.
    Known,
    /// All.
    All,
}

/// The compression state of one direction.
pub(super) struct Decoder {
    wanted: Wanted,
    /// Newest first.
    entries: VecDeque<Entry>,
    /// Octets of all entries, `size <= max_size <= MAX_TABLE`.
    size: u32,
    /// Bytes of the texts that are kept.
    texts: usize,
    max_size: u32,
    /// What the other end's SETTINGS allow `max_size` to become.
    allowed: u32,
}

struct Entry {
    known: Known,
    name_len: u32,
    value_len: u32,
    /// The value, behind the name if all fields are wanted. Empty for a field that is not.
    text: Box<[u8]>,
}

impl Entry {
    /// RFC 7541, 4.1.
    fn size(&self) -> u32 {
        self.name_len.saturating_add(self.value_len).saturating_add(ENTRY_OVERHEAD)
    }

    fn as_field(&self, wanted: Wanted) -> Field<'_> {
        let name = if wanted == Wanted::All { self.name_len as usize } else { 0 };
        let (name, value) = self.text.split_at(name);
        Field { name, value, never_indexed: false }
    }
}

/// How a literal is to be treated (RFC 7541, 6.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indexing {
    Incremental,
    Without,
    Never,
}

impl Decoder {
    pub(super) fn new(wanted: Wanted) -> Self {
        let entries = VecDeque::new();
        Self { wanted, entries, size: 0, texts: 0, max_size: DEFAULT_TABLE, allowed: DEFAULT_TABLE }
    }

    /// SETTINGS_HEADER_TABLE_SIZE of the end that receives these blocks. Only ever raised: a lower value binds
    /// the encoder from its acknowledgement on, which it marks by a size update that is followed anyway.
    pub(super) fn allow_table(&mut self, size: u32) {
        self.allowed = self.allowed.max(size);
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { wanted: _, entries, size: _, texts, max_size: _, allowed: _ } = self;
        texts + entries.capacity() * size_of::<Entry>()
    }

    /// Reads a whole header block; `sink` gets the fields that are wanted, in their order. Of those that are merely known, the name
    /// is left out.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        mut sink: impl FnMut(Known, Field<'_>),
    ) -> Result<(), HpackError> {
        let mut input = Input(block);
        let mut octets = 0usize;
        while let Some(first) = input.peek() {
            // RFC 7541, 4.2: size updates come before the first field. nginx follows them wherever they stand.
            if first & 0xe0 == 0x20 {
                let size = input.integer(5)?;
                self.resize(size)?;
                continue;
            }
            let in_full = octets <= MAX_OCTETS;
            if !in_full && self.wanted == Wanted::All {
                return Err(HpackError::BlockTooBig);
            }
            let mut sink = |known, field: Field<'_>| {
                if in_full {
                    sink(known, field);
                }
            };
            octets += match first {
                0x80.. => self.indexed(&mut input, &mut sink)?,
                0x40.. => {
                    let entry = self.literal(&mut input, Indexing::Incremental, &mut sink)?;
                    let size = entry.size();
                    self.insert(entry);
                    size as usize
                }
                0x10.. => self.literal(&mut input, Indexing::Never, &mut sink)?.size() as usize,
                _ => self.literal(&mut input, Indexing::Without, &mut sink)?.size() as usize,
            };
        }
        Ok(())
    }

    fn wants(&self, known: Known) -> bool {
        known != Known::Other || self.wanted == Wanted::All
    }

    /// RFC 7541, 6.1.
    fn indexed(
        &self,
        input: &mut Input<'_>,
        sink: &mut impl FnMut(Known, Field<'_>),
    ) -> Result<usize, HpackError> {
        let index = input.integer(7)?;
        if let Some((name, value)) = static_entry(index) {
            let known = Known::named(name.as_bytes());
            if self.wants(known) {
                let field = Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false };
                sink(known, field);
            }
            return Ok(name.len() + value.len() + ENTRY_OVERHEAD as usize);
        }
        let entry = self.dynamic_entry(index)?;
        if self.wants(entry.known) {
            sink(entry.known, entry.as_field(self.wanted));
        }
        Ok(entry.size() as usize)
    }

    /// RFC 7541, 6.2.
    fn literal(
        &self,
        input: &mut Input<'_>,
        indexing: Indexing,
        sink: &mut impl FnMut(Known, Field<'_>),
    ) -> Result<Entry, HpackError> {
        let index = input.integer(if indexing == Indexing::Incremental { 6 } else { 4 })?;
        if self.wanted == Wanted::All {
            return self.whole_literal(index, input, indexing, sink);
        }
        let keep = indexing == Indexing::Incremental;
        let (known, name_len) = match (index, static_entry(index)) {
            (0, _) => input.name()?,
            (_, Some((name, _))) => (Known::named(name.as_bytes()), name.len() as u32),
            (_, None) => {
                let entry = self.dynamic_entry(index)?;
                (entry.known, entry.name_len)
            }
        };
        let coded = input.string()?;
        if known == Known::Other {
            // Only the table needs the exact length.
            let value_len = if keep { coded.decoded_len()? } else { coded.bytes.len() as u32 };
            return Ok(Entry { known, name_len, value_len, text: Box::default() });
        }
        let value = coded.decode()?;
        sink(known, Field { name: b"", value: &value, never_indexed: indexing == Indexing::Never });
        let value_len = value.len() as u32;
        Ok(Entry { known, name_len, value_len, text: if keep { value.into() } else { Box::default() } })
    }

    /// The same, with its name.
    fn whole_literal(
        &self,
        index: u32,
        input: &mut Input<'_>,
        indexing: Indexing,
        sink: &mut impl FnMut(Known, Field<'_>),
    ) -> Result<Entry, HpackError> {
        let mut text = match (index, static_entry(index)) {
            (0, _) => input.string()?.decode()?,
            (_, Some((name, _))) => name.as_bytes().to_vec(),
            (_, None) => self.dynamic_entry(index)?.as_field(self.wanted).name.to_vec(),
        };
        let name_len = text.len();
        input.string()?.each(|_, byte| text.push(byte))?;
        let (name, value) = text.split_at(name_len);
        let known = Known::named(name);
        sink(known, Field { name, value, never_indexed: indexing == Indexing::Never });
        let value_len = value.len() as u32;
        let keep = indexing == Indexing::Incremental;
        let text = if keep { text.into() } else { Box::default() };
        Ok(Entry { known, name_len: name_len as u32, value_len, text })
    }

    fn dynamic_entry(&self, index: u32) -> Result<&Entry, HpackError> {
        let place = (index as usize).checked_sub(STATIC_ENTRIES + 1).ok_or(HpackError::Invalid)?;
        self.entries.get(place).ok_or(HpackError::Invalid)
    }

    /// RFC 7541, 4.4: makes room first; an entry larger than the table leaves it empty.
    fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(self.max_size.saturating_sub(size));
        if size <= self.max_size {
            self.size += size;
            self.texts += entry.text.len();
            self.entries.push_front(entry);
        }
    }

    /// RFC 7541, 6.3.
    fn resize(&mut self, size: u32) -> Result<(), HpackError> {
        if size > self.allowed {
            return Err(HpackError::Invalid);
        }
        if size > MAX_TABLE {
            return Err(HpackError::TableTooBig);
        }
        self.max_size = size;
        self.evict(size);
        Ok(())
    }

    fn evict(&mut self, down_to: u32) {
        while self.size > down_to
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
            self.texts -= oldest.text.len();
        }
    }
}

/// What is left of a block.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn byte(&mut self) -> Result<u8, HpackError> {
        let (&first, rest) = self.0.split_first().ok_or(HpackError::Invalid)?;
        self.0 = rest;
        Ok(first)
    }

    /// RFC 7541, 5.1. Nothing here is longer than a block, so 28 bits are ample and the rest is refused.
    fn integer(&mut self, prefix: u32) -> Result<u32, HpackError> {
        let mask = (1u32 << prefix) - 1;
        let mut value = u32::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = u32::from(self.byte()?);
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(HpackError::Invalid)
    }

    /// RFC 7541, 5.2.
    fn string(&mut self) -> Result<Coded<'a>, HpackError> {
        let huffman = self.peek().ok_or(HpackError::Invalid)? & 0x80 != 0;
        let len = self.integer(7)? as usize;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(HpackError::Invalid)?;
        self.0 = rest;
        Ok(Coded { bytes, huffman })
    }

    /// A literal name: which field it is, and its length.
    fn name(&mut self) -> Result<(Known, u32), HpackError> {
        let coded = self.string()?;
        let mut name = [0u8; LONGEST_NAME];
        let len = coded.each(|place, byte| {
            if let Some(slot) = name.get_mut(place) {
                *slot = byte;
            }
        })?;
        let known = name.get(..len).map_or(Known::Other, Known::named);
        Ok((known, len as u32))
    }
}

/// A string of a block as it stands there.
struct Coded<'a> {
    bytes: &'a [u8],
    huffman: bool,
}

impl Coded<'_> {
    fn each(&self, mut sink: impl FnMut(usize, u8)) -> Result<usize, HpackError> {
        let mut place = 0;
        let mut next = |byte| {
            sink(place, byte);
            place += 1;
        };
        if self.huffman {
            return huffman::decode(self.bytes, next).map_err(|huffman::Invalid| HpackError::Invalid);
        }
        self.bytes.iter().copied().for_each(&mut next);
        Ok(self.bytes.len())
    }

    fn decoded_len(&self) -> Result<u32, HpackError> {
        let len = if self.huffman { self.each(|_, _| {})? } else { self.bytes.len() };
        Ok(len as u32)
    }

    fn decode(&self) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::with_capacity(self.bytes.len());
        self.each(|_, byte| out.push(byte))?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::hpack_static::STATIC_TABLE;

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Known, String)>, HpackError> {
        let mut out = Vec::new();
        decoder.decode(block, |known, field| {
            out.push((known, String::from_utf8_lossy(field.value).into_owned()));
        })?;
        Ok(out)
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("valid in this test"))
            .collect()
    }

    fn pair(field: Known, value: &str) -> (Known, String) {
        (field, value.into())
    }

    #[test]
    fn requests_of_rfc_7541_c4() {
        let mut decoder = Decoder::new(Wanted::Known);
        let first = read(&mut decoder, &unhex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"))
            .expect("valid in this test");
        let host = pair(Known::Authority, "www.example.com");
        assert_eq!(first, [pair(Known::Method, "GET"), pair(Known::Path, "/"), host.clone()]);
        assert_eq!(decoder.size, 57);
        let second = read(&mut decoder, &unhex("8286 84be 5886 a8eb 1064 9cbf")).expect("valid in this test");
        assert_eq!(second, first);
        assert_eq!(decoder.size, 110);
        let third = read(&mut decoder, &unhex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"))
            .expect("valid in this test");
        assert_eq!(third, [pair(Known::Method, "GET"), pair(Known::Path, "/index.html"), host]);
        assert_eq!(decoder.size, 164);
    }

    /// The responses of C.6 evict entries from a table of 256 octets.
    #[test]
    fn responses_of_rfc_7541_c6_with_eviction() {
        let mut decoder = Decoder::new(Wanted::Known);
        let mut block = unhex("3fe1 01"); // size update to 256
        block.extend(unhex(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        ));
        let location = pair(Known::Location, "https://www.example.com");
        assert_eq!(
            read(&mut decoder, &block).expect("valid in this test"),
            [pair(Known::Status, "302"), location.clone()]
        );
        assert_eq!(decoder.size, 222);
        let second = read(&mut decoder, &unhex("4883 640e ffc1 c0bf")).expect("valid in this test");
        assert_eq!(second, [pair(Known::Status, "307"), location.clone()]);
        assert_eq!(decoder.size, 222);
        let third = unhex(
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        );
        assert_eq!(
            read(&mut decoder, &third).expect("valid in this test"),
            [pair(Known::Status, "200"), location]
        );
        assert_eq!(decoder.size, 215);
    }

    #[test]
    fn a_cookie_is_counted_but_not_kept() {
        let mut decoder = Decoder::new(Wanted::Known);
        let mut block = vec![0x60, 6]; // literal with indexing, name 32: cookie
        block.extend(b"secret");
        assert_eq!(read(&mut decoder, &block).expect("valid in this test"), []);
        assert_eq!(decoder.size, 6 + 6 + 32);
        assert!(decoder.entries[0].text.is_empty());
    }

    #[test]
    fn table_sizes_are_bounded_by_settings_and_by_us() {
        let update = |size: u32| {
            let mut block = vec![0x3f];
            let mut rest = size - 31;
            while rest >= 128 {
                block.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            block.push(rest as u8);
            block
        };
        let mut decoder = Decoder::new(Wanted::Known);
        assert_eq!(read(&mut decoder, &update(4097)), Err(HpackError::Invalid));
        decoder.allow_table(1 << 20);
        assert_eq!(read(&mut decoder, &update(MAX_TABLE)), Ok(vec![]));
        assert_eq!(read(&mut decoder, &update(MAX_TABLE + 1)), Err(HpackError::TableTooBig));
        // After a field, an update is out of place, and followed all the same.
        assert_eq!(read(&mut decoder, &[0x82, 0x20]), Ok(vec![pair(Known::Method, "GET")]));
        assert_eq!(decoder.max_size, 0);
    }

    #[test]
    fn a_block_that_unfolds_is_handed_out_in_part() {
        let mut decoder = Decoder::new(Wanted::Known);
        let mut block = vec![0x40 | 4, 0x7f, 0xa1, 0x1e]; // :path of 4000 octets, indexed
        block.extend(vec![b'x'; 4000]);
        block.extend(vec![0xbe; 1000]);
        // What stands behind it is still known to the table.
        block.extend([0x40 | 1, 1, b'a']);
        let mut seen = 0;
        assert_eq!(decoder.decode(&block, |_, field| seen += field.value.len()), Ok(()));
        assert!((60_000..=65_536 + 4000).contains(&seen), "{seen}");
        assert_eq!(read(&mut decoder, &[0xbe]).as_deref(), Ok(&[pair(Known::Authority, "a")][..]));
    }

    /// The other reading of the same bytes: another project's codec.
    fn expected(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Known, String)> {
        let asked = fields.iter().map(|(name, value)| (Known::named(name), value));
        let asked = asked.filter(|(field, _)| *field != Known::Other);
        asked.map(|(field, value)| (field, String::from_utf8_lossy(value).into_owned())).collect()
    }

    fn header() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let names = STATIC_TABLE.iter().map(|(name, _)| name.as_bytes().to_vec()).collect::<Vec<_>>();
        let name =
            prop_oneof![proptest::sample::select(names), proptest::collection::vec(b'a'..=b'z', 1..40)];
        (name, proptest::collection::vec(any::<u8>(), 0..200))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_another_encoder(blocks in proptest::collection::vec(
            proptest::collection::vec(header(), 0..12), 1..8)) {
            let mut encoder = loona_hpack::Encoder::new();
            let mut decoder = Decoder::new(Wanted::Known);
            for fields in blocks {
                let block = encoder.encode(fields.iter().map(|(n, v)| (&n[..], &v[..])));
                prop_assert_eq!(read(&mut decoder, &block), Ok(expected(&fields)));
                prop_assert!(decoder.size <= decoder.max_size);
            }
        }

        #[test]
        fn hands_out_all_fields_alike(blocks in proptest::collection::vec(
            proptest::collection::vec(header(), 0..12), 1..8)) {
            let mut encoder = loona_hpack::Encoder::new();
            let mut decoder = Decoder::new(Wanted::All);
            for fields in blocks {
                let block = encoder.encode(fields.iter().map(|(n, v)| (&n[..], &v[..])));
                let mut read = Vec::new();
                let result = decoder.decode(&block, |_, field| {
                    read.push((field.name.to_vec(), field.value.to_vec()));
                });
                prop_assert_eq!((result, read), (Ok(()), fields));
                let kept: u32 = decoder.entries.iter().map(|entry| entry.text.len() as u32 + 32).sum();
                prop_assert_eq!(kept, decoder.size);
            }
        }

        /// Whatever the other decoder accepts, this one reads alike. It may refuse more: size updates in the
        /// middle of a block.
        #[test]
        fn agrees_with_another_decoder_on_any_bytes(blocks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..60), 1..6)) {
            let mut other = loona_hpack::Decoder::new();
            other.set_max_allowed_table_size(4096);
            let mut decoder = Decoder::new(Wanted::Known);
            for block in blocks {
                match (read(&mut decoder, &block), other.decode(&block)) {
                    (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, expected(&theirs)),
                    // After an error, the two states may differ.
                    _ => break,
                }
                prop_assert!(decoder.size <= decoder.max_size);
            }
        }
    }
}
