//! Numbers of bank accounts (ISO 13616-1): in one piece, or in groups of four with a space between two.

use super::is_word;
use super::masked::Masked;

/// Longest of any country, with room for what comes.
const MAX_LEN: usize = 34;
/// Candidates at a time: one begins with a word, and lives on only behind groups of four, of which the longest has nine.
const MAX_CANDIDATES: usize = 9;

/// Countries of the registry (SWIFT, release 99), and how long their numbers are.
const LENGTHS: [([u8; 2], u8); 87] = [
    (*b"AD", 24),
    (*b"AE", 23),
    (*b"AL", 28),
    (*b"AT", 20),
    (*b"AZ", 28),
    (*b"BA", 20),
    (*b"BE", 16),
    (*b"BG", 22),
    (*b"BH", 22),
    (*b"BI", 27),
    (*b"BR", 29),
    (*b"BY", 28),
    (*b"CH", 21),
    (*b"CR", 22),
    (*b"CY", 28),
    (*b"CZ", 24),
    (*b"DE", 22),
    (*b"DJ", 27),
    (*b"DK", 18),
    (*b"DO", 28),
    (*b"EE", 20),
    (*b"EG", 29),
    (*b"ES", 24),
    (*b"FI", 18),
    (*b"FK", 18),
    (*b"FO", 18),
    (*b"FR", 27),
    (*b"GB", 22),
    (*b"GE", 22),
    (*b"GI", 23),
    (*b"GL", 18),
    (*b"GR", 27),
    (*b"GT", 28),
    (*b"HN", 28),
    (*b"HR", 21),
    (*b"HU", 28),
    (*b"IE", 22),
    (*b"IL", 23),
    (*b"IQ", 23),
    (*b"IS", 26),
    (*b"IT", 27),
    (*b"JO", 30),
    (*b"KW", 30),
    (*b"KZ", 20),
    (*b"LB", 28),
    (*b"LC", 32),
    (*b"LI", 21),
    (*b"LT", 20),
    (*b"LU", 20),
    (*b"LV", 21),
    (*b"LY", 25),
    (*b"MC", 27),
    (*b"MD", 24),
    (*b"ME", 22),
    (*b"MK", 19),
    (*b"MN", 20),
    (*b"MR", 27),
    (*b"MT", 31),
    (*b"MU", 30),
    (*b"NI", 28),
    (*b"NL", 18),
    (*b"NO", 15),
    (*b"OM", 23),
    (*b"PK", 24),
    (*b"PL", 28),
    (*b"PS", 29),
    (*b"PT", 25),
    (*b"QA", 29),
    (*b"RO", 24),
    (*b"RS", 22),
    (*b"RU", 33),
    (*b"SA", 24),
    (*b"SC", 31),
    (*b"SD", 18),
    (*b"SE", 24),
    (*b"SI", 19),
    (*b"SK", 24),
    (*b"SM", 27),
    (*b"SO", 23),
    (*b"ST", 25),
    (*b"SV", 28),
    (*b"TL", 23),
    (*b"TN", 24),
    (*b"TR", 26),
    (*b"UA", 29),
    (*b"VA", 22),
    (*b"VG", 24),
];

/// What is known of the bytes before.
#[derive(Clone, Debug, Default)]
pub(super) struct IbanScan {
    candidates: [Candidate; MAX_CANDIDATES],
    /// Those that live.
    len: u8,
    before: Before,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Border,
    Word,
}

/// What may become a number.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    /// The first four characters, as far as they have come.
    first: [u8; 4],
    /// The last two.
    last: [u8; 2],
    len: u8,
    /// Of its country; zero: not known yet.
    wanted: u8,
    /// ISO 7064, MOD 97-10, over what is behind the first four.
    rest: u8,
    /// A space was the last byte.
    is_spaced: bool,
}

/// What a byte makes of a candidate.
enum Step {
    GoesOn,
    Dies,
    IsNumber,
}

impl IbanScan {
    /// More bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Option<Masked>)) {
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            if self.len == 0 && !byte.is_ascii_uppercase() {
                // Most bytes.
                let run = rest.iter().position(u8::is_ascii_uppercase).unwrap_or(rest.len());
                self.before = Before::of(rest[run - 1]);
                rest = &rest[run..];
                continue;
            }
            rest = behind;
            self.step(*byte, &mut found);
        }
    }

    /// No more bytes come.
    pub(super) fn end(&mut self, mut found: impl FnMut(Option<Masked>)) {
        self.step(b'\n', &mut found);
    }

    fn step(&mut self, byte: u8, found: &mut impl FnMut(Option<Masked>)) {
        let mut kept = 0;
        for place in 0..usize::from(self.len) {
            let mut candidate = self.candidates[place];
            match candidate.step(byte) {
                Step::GoesOn => {
                    self.candidates[kept] = candidate;
                    kept += 1;
                }
                Step::Dies => {}
                Step::IsNumber => {
                    found(candidate.masked());
                    // What began within it is part of it.
                    kept = 0;
                    break;
                }
            }
        }
        if byte.is_ascii_uppercase() && self.before == Before::Border && kept < MAX_CANDIDATES {
            self.candidates[kept] = Candidate { first: [byte, 0, 0, 0], len: 1, ..Candidate::default() };
            kept += 1;
        }
        self.len = kept as u8;
        self.before = Before::of(byte);
    }
}

impl Before {
    fn of(byte: u8) -> Self {
        if is_word(byte) { Self::Word } else { Self::Border }
    }
}

impl Candidate {
    fn step(&mut self, byte: u8) -> Step {
        if self.wanted > 0 && self.len == self.wanted {
            let is_whole = Before::of(byte) == Before::Border && self.checks();
            return if is_whole { Step::IsNumber } else { Step::Dies };
        }
        let is_right = match self.len {
            0 | 1 => byte.is_ascii_uppercase(),
            2 | 3 => byte.is_ascii_digit(),
            _ if byte == b' ' => !self.is_spaced && self.len.is_multiple_of(4),
            _ => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
        };
        if !is_right || usize::from(self.len) >= MAX_LEN {
            return Step::Dies;
        }
        self.is_spaced = byte == b' ';
        if self.is_spaced {
            return Step::GoesOn;
        }
        match self.first.get_mut(usize::from(self.len)) {
            Some(place) => *place = byte,
            None => self.rest = digit(self.rest, byte),
        }
        self.last = [self.last[1], byte];
        self.len += 1;
        if self.len == 2 {
            let country = [self.first[0], self.first[1]];
            match LENGTHS.binary_search_by(|(known, _)| known.cmp(&country)) {
                Ok(place) => self.wanted = LENGTHS[place].1,
                Err(_) => return Step::Dies,
            }
        }
        Step::GoesOn
    }

    /// ISO 13616-1: what comes first is checked last.
    fn checks(&self) -> bool {
        self.first.iter().fold(self.rest, |rest, byte| digit(rest, *byte)) == 1
    }

    fn masked(&self) -> Option<Masked> {
        let mut characters = [b'0'; MAX_LEN];
        let len = usize::from(self.len);
        characters[..4].copy_from_slice(&self.first);
        characters[len - 2..len].copy_from_slice(&self.last);
        Masked::new(&characters[..len])
    }
}

/// One more character of a number of which this is left, divided by 97. A letter has two digits: A is 10.
fn digit(rest: u8, byte: u8) -> u8 {
    let value = match byte {
        b'0'..=b'9' => 10 * u32::from(rest) + u32::from(byte - b'0'),
        _ => 100 * u32::from(rest) + u32::from(byte.wrapping_sub(b'A')) + 10,
    };
    (value % 97) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let (mut scan, mut found) = (IbanScan::default(), Vec::new());
        let mut take = |masked: Option<Masked>| found.push(masked.unwrap().to_string());
        scan.push(text.as_bytes(), &mut take);
        scan.end(&mut take);
        found
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(LENGTHS.is_sorted() && LENGTHS.iter().all(|(_, len)| usize::from(*len) <= MAX_LEN));
    }

    #[test]
    fn numbers_of_accounts() {
        for (text, masked) in [
            ("DE89370400440532013000", "DE89****************00"),
            ("to DE89 3704 0044 0532 0130 00, please", "DE89****************00"),
            ("IBAN:GB82WEST12345698765432\r\n", "GB82****************32"),
            ("AT12 DE89 3704 0044 0532 0130 00", "DE89****************00"),
            ("{\"iban\":\"NO9386011117947\"}", "NO93*********47"),
            ("MT84MALT011000012345MTLCAST001S", "MT84*************************1S"),
            ("FR14 2004 1010 0505 0001 3M02 606", "FR14*********************06"),
        ] {
            assert_eq!(found(text), [masked], "{text}");
        }
        assert_eq!(found("DE89370400440532013000 GB82 WEST 1234 5698 7654 32").len(), 2);
    }

    #[test]
    fn others() {
        for text in [
            "DE88370400440532013000",
            "DE8937040044053201300",
            "DE893704004405320130000",
            "xDE89370400440532013000",
            "DE89370400440532013000x",
            "DE89  3704 0044 0532 0130 00",
            "DE8 9370 4004 4053 2013 000",
            "XX89370400440532013000",
            "de89370400440532013000",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
