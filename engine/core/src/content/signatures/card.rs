//! Numbers of payment cards (ISO/IEC 7812-1): digits in one piece, or in groups with one space or hyphen between two.

use super::is_word;
use super::masked::Masked;

/// A primary account number has no more digits, and those of payment cards no fewer.
const MAX_DIGITS: usize = 19;
const MIN_DIGITS: usize = 13;

/// What is known of the bytes before.
#[derive(Clone, Debug, Default)]
pub(super) struct CardScan {
    /// The last digits.
    digits: [u8; MAX_DIGITS],
    len: u8,
    /// Bit i: a number may begin at `digits[i]`.
    starts: u32,
    before: Before,
}

/// The byte before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    /// Nothing that a number may not follow.
    #[default]
    Border,
    /// A letter, or a point: what follows is part of a name or of a fraction.
    Word,
    Digit,
    /// A space or a hyphen behind a digit.
    Separator,
}

impl CardScan {
    /// More bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Option<Masked>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.len == 0 {
                let Some(digit) = rest.iter().position(u8::is_ascii_digit) else { break };
                if digit > 0 {
                    self.before = Before::of(rest[digit - 1]);
                }
                rest = &rest[digit..];
            }
            let (byte, behind) = (rest[0], &rest[1..]);
            rest = behind;
            self.step(byte, &mut found);
        }
        if self.len == 0
            && let Some(last) = bytes.last()
        {
            self.before = Before::of(*last);
        }
    }

    /// No more bytes come.
    pub(super) fn end(&mut self, mut found: impl FnMut(Option<Masked>)) {
        self.step(b'\n', &mut found);
    }

    fn step(&mut self, byte: u8, found: &mut impl FnMut(Option<Masked>)) {
        if byte.is_ascii_digit() {
            let is_start = matches!(self.before, Before::Border | Before::Separator);
            self.push_digit(byte, is_start);
            self.before = Before::Digit;
            return;
        }
        if self.before == Before::Digit && !is_word(byte) {
            self.group_ends(found);
        }
        if self.before == Before::Digit && matches!(byte, b' ' | b'-') && self.len > 0 {
            self.before = Before::Separator;
            return;
        }
        (self.len, self.starts) = (0, 0);
        self.before = Before::of(byte);
    }

    fn push_digit(&mut self, digit: u8, is_start: bool) {
        if usize::from(self.len) == MAX_DIGITS {
            self.digits.copy_within(1.., 0);
            self.starts >>= 1;
            self.len -= 1;
        }
        self.digits[usize::from(self.len)] = digit;
        self.starts |= u32::from(is_start) << self.len;
        self.len += 1;
    }

    /// A group of digits is complete: the longest number that ends with it counts.
    fn group_ends(&mut self, found: &mut impl FnMut(Option<Masked>)) {
        let len = usize::from(self.len);
        let number = (0..(len + 1).saturating_sub(MIN_DIGITS))
            .filter(|start| self.starts & 1 << start != 0)
            .map(|start| &self.digits[start..len])
            .find(|digits| is_card(digits));
        if let Some(digits) = number {
            found(Masked::new(digits));
            (self.len, self.starts) = (0, 0);
        }
    }
}

impl Before {
    fn of(byte: u8) -> Self {
        if byte.is_ascii_digit() {
            Self::Digit
        } else if is_word(byte) || byte == b'.' {
            Self::Word
        } else {
            Self::Border
        }
    }
}

/// Digits of a card: of an issuer of payment cards, with the right check digit (ISO/IEC 7812-1, annex B: the Luhn formula).
fn is_card(digits: &[u8]) -> bool {
    let value = |digits: &[u8]| digits.iter().fold(0u32, |sum, digit| 10 * sum + u32::from(digit - b'0'));
    let (len, prefix) = (digits.len(), value(&digits[..4]));
    let is_issued = match prefix {
        // Diners Club; American Express; JCB.
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&len),
        3400..=3499 | 3700..=3799 => len == 15,
        3528..=3589 => (16..=19).contains(&len),
        // Visa.
        4000..=4999 => matches!(len, 13 | 16 | 19),
        // Mastercard; Mir.
        5100..=5599 | 2221..=2720 => len == 16,
        2200..=2204 => (16..=19).contains(&len),
        // Maestro; Discover, UnionPay and others.
        5000..=5099 | 5600..=5899 => (13..=19).contains(&len),
        6000..=6999 => (16..=19).contains(&len),
        _ => false,
    };
    is_issued && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(digit - b'0')) {
            (0, digit) => digit,
            (_, digit @ 0..=4) => 2 * digit,
            (_, digit) => 2 * digit - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let (mut scan, mut found) = (CardScan::default(), Vec::new());
        let mut take = |masked: Option<Masked>| found.push(masked.unwrap().to_string());
        scan.push(text.as_bytes(), &mut take);
        scan.end(&mut take);
        found
    }

    #[test]
    fn numbers_that_are_cards() {
        for (text, masked) in [
            ("4111111111111111", "4111**********11"),
            ("card=4111-1111-1111-1111;", "4111**********11"),
            ("4111 1111 1111 1111 12/27", "4111**********11"),
            ("1 4111 1111 1111 1111", "4111**********11"),
            ("[5,5555555555554444]", "5555**********44"),
            ("pay 3782 822463 10005 now", "3782*********05"),
            ("2221000000000009.", "2221**********09"),
            ("4222222222222", "4222*******22"),
            ("6011000990139424\n", "6011**********24"),
        ] {
            assert_eq!(found(text), [masked], "{text}");
        }
        assert_eq!(found("4111111111111111 5555555555554444").len(), 2);
    }

    #[test]
    fn numbers_that_are_none() {
        for text in [
            "4111111111111112",
            "411111111111111",
            "41111111111111111111",
            "x4111111111111111",
            "4111111111111111x",
            "0.4111111111111111",
            "4111  1111 1111 1111",
            "4111_1111_1111_1111",
            "0000000000000000",
            "9111111111111111",
            "1234567890123456",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
