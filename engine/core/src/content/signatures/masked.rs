//! What the log may have of data that was found.

use std::fmt;

/// A number of a card or an account: its length, the first four characters, and the last two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Masked {
    first: [u8; 4],
    last: [u8; 2],
    len: u8,
}

impl Masked {
    /// None: it is too short to be masked, or has something else than digits and capital letters.
    pub(super) fn new(characters: &[u8]) -> Option<Self> {
        let (first, last) = (characters.first_chunk::<4>()?, characters.last_chunk::<2>()?);
        let is_plain = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        if characters.len() < 10 || !first.iter().chain(last).all(is_plain) {
            return None;
        }
        Some(Self { first: *first, last: *last, len: u8::try_from(characters.len()).ok()? })
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let hidden = usize::from(self.len).saturating_sub(6);
        write!(f, "{}{}{}", text(&self.first), "*".repeat(hidden), text(&self.last))
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
