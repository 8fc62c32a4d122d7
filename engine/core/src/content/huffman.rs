//! HPACK's Huffman code (RFC 7541, appendix B).
//!
//! The code is canonical: ordered by length, then by symbol, the codes count upwards. So the lengths alone
//! define it, and a code of `n` bits is decoded by comparing it with the first code that is longer.

/// Code length of each symbol; 256 is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
const SHORTEST: usize = 5;
const LONGEST: usize = 30;
const EOS: u16 = 256;

/// All codes of one length.
#[derive(Clone, Copy)]
struct Group {
    /// Codes of this length are below this, left-aligned to 32 bits; so are all shorter ones.
    limit: u64,
    /// First code of this length.
    first: u32,
    /// Place of its symbol in `SYMBOLS`.
    index: u16,
}

/// The symbols in the order of their codes.
static SYMBOLS: [u16; 257] = symbols();
/// By length, from `SHORTEST`.
static GROUPS: [Group; LONGEST - SHORTEST + 1] = groups();

/// The bytes are no valid Huffman-coded string: wrong padding, or the EOS symbol (RFC 7541, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// Decodes a string into `sink`, symbol by symbol; returns how many there were.
pub(super) fn decode(coded: &[u8], mut sink: impl FnMut(u8)) -> Result<usize, Invalid> {
    let mut input = coded.iter();
    // The next `have` bits, at the top.
    let mut bits: u64 = 0;
    let mut have: usize = 0;
    let mut count = 0;
    loop {
        while have <= 56
            && let Some(&byte) = input.next()
        {
            bits |= u64::from(byte) << (56 - have);
            have += 8;
        }
        let window = bits >> 32;
        // Every 30 bits start with some code, so a group is always found.
        let Some(place) = GROUPS.iter().position(|group| window < group.limit) else { return Err(Invalid) };
        let length = place + SHORTEST;
        if length > have {
            // What is left is padding: fewer than 8 bits, all ones (the start of EOS).
            let padding = (1u64 << have) - 1;
            let left = if have == 0 { 0 } else { bits >> (64 - have) };
            return if have < 8 && left == padding { Ok(count) } else { Err(Invalid) };
        }
        let code = (bits >> (64 - length)) as u32;
        let symbol = SYMBOLS[usize::from(GROUPS[place].index) + (code - GROUPS[place].first) as usize];
        if symbol == EOS {
            return Err(Invalid);
        }
        sink(symbol as u8);
        count += 1;
        bits <<= length;
        have -= length;
    }
}

const fn symbols() -> [u16; 257] {
    let mut out = [0; 257];
    let mut at = 0;
    let mut length = SHORTEST;
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                out[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    out
}

const fn groups() -> [Group; LONGEST - SHORTEST + 1] {
    let mut out = [Group { limit: 0, first: 0, index: 0 }; LONGEST - SHORTEST + 1];
    let mut code: u64 = 0;
    let mut index = 0;
    let mut length = SHORTEST;
    while length <= LONGEST {
        let first = code;
        let mut symbol = 0;
        let start = index;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code += 1;
                index += 1;
            }
            symbol += 1;
        }
        out[length - SHORTEST] = Group { limit: code << (32 - length), first: first as u32, index: start };
        code <<= 1;
        length += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(coded: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        decode(coded, |byte| out.push(byte)).map(|count| {
            assert_eq!(count, out.len());
            out
        })
    }

    #[test]
    fn examples_of_rfc_7541_appendix_c() {
        let www = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(text(&www).as_deref(), Ok(&b"www.example.com"[..]));
        assert_eq!(text(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).as_deref(), Ok(&b"no-cache"[..]));
        assert_eq!(text(&[0x64, 0x02]).as_deref(), Ok(&b"302"[..]));
        assert_eq!(text(&[]).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn wrong_padding_and_eos_are_refused() {
        // "0" is five zero bits: padding must be ones,
        assert_eq!(text(&[0b0000_0111]).as_deref(), Ok(&b"0"[..]));
        assert_eq!(text(&[0b0000_0110]), Err(Invalid));
        // shorter than a byte,
        assert_eq!(text(&[0b0000_0111, 0xff]), Err(Invalid));
        // and EOS, thirty ones, must not come.
        assert_eq!(text(&[0xff, 0xff, 0xff, 0xff]), Err(Invalid));
    }

    /// The code of every symbol, from the lengths; what it says is judged by another project's decoder.
    fn encode(symbols: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for &symbol in symbols {
            let place = SYMBOLS.iter().position(|&s| s == u16::from(symbol)).expect("valid in this test");
            let group =
                GROUPS.iter().rposition(|g| usize::from(g.index) <= place).expect("valid in this test");
            let code = GROUPS[group].first + (place - usize::from(GROUPS[group].index)) as u32;
            bits += &format!("{code:0width$b}", width = group + SHORTEST);
        }
        bits += &"1".repeat((8 - bits.len() % 8) % 8);
        bits.as_bytes()
            .chunks(8)
            .map(|c| {
                u8::from_str_radix(str::from_utf8(c).expect("valid in this test"), 2).expect("binary digits")
            })
            .collect()
    }

    #[test]
    fn every_symbol_as_another_decoder_reads_it() {
        let mut other = loona_hpack::huffman::HuffmanDecoder::new();
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(other.decode(&encode(&all)).as_deref(), Ok(&all[..]));
        assert_eq!(text(&encode(&all)).as_deref(), Ok(&all[..]));
        for symbol in 0..=255 {
            for count in 1..9 {
                let symbols = vec![symbol; count];
                assert_eq!(text(&encode(&symbols)), Ok(symbols));
            }
        }
        // All strings of two bytes, right and wrong.
        for n in 0..=u16::MAX {
            let bytes = n.to_be_bytes();
            assert_eq!(text(&bytes).ok(), other.decode(&bytes).ok(), "{bytes:x?}");
        }
    }
}
