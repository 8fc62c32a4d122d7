//! The client's CRYPTO stream, whose pieces come in any order, more than once, and cut anywhere.

/// Longest ClientHello that is read, with its header. Real ones have 300 to 2,000 bytes.
const MAX_HELLO: usize = 16 * 1024;
/// Of a message's header (RFC 8446, 4).
const HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// Its beginning.
#[derive(Default)]
pub(super) struct CryptoStream {
    bytes: Vec<u8>,
    is_known: Vec<bool>,
    /// All before it is known.
    contiguous: usize,
}

/// It holds no ClientHello that all receivers would read in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl CryptoStream {
    /// A piece has come. What has come before must be the same (RFC 9000, 2.2).
    pub(super) fn insert(&mut self, at: u64, piece: &[u8]) -> Result<(), Unreadable> {
        let at = usize::try_from(at).map_err(|_| Unreadable)?;
        let end = at.checked_add(piece.len()).filter(|end| *end <= MAX_HELLO).ok_or(Unreadable)?;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.is_known.resize(end, false);
        }
        let places = self.bytes[at..end].iter_mut().zip(&mut self.is_known[at..end]);
        for ((byte, is_known), new) in places.zip(piece) {
            if *is_known && byte != new {
                return Err(Unreadable);
            }
            (*byte, *is_known) = (*new, true);
        }
        self.contiguous += self.is_known[self.contiguous..].iter().take_while(|is_known| **is_known).count();
        Ok(())
    }

    /// The ClientHello, with its header, if all of it has come.
    pub(super) fn hello(&self) -> Result<Option<&[u8]>, Unreadable> {
        let known = &self.bytes[..self.contiguous];
        let Some(&[kind, high, middle, low]) = known.first_chunk::<HEADER>() else { return Ok(None) };
        let len = HEADER + (usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low));
        // Nothing follows it before the server has answered.
        if kind != CLIENT_HELLO || len > MAX_HELLO || self.bytes.len() > len {
            return Err(Unreadable);
        }
        Ok(known.get(..len))
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { bytes, is_known, contiguous: _ } = self;
        bytes.capacity() + is_known.capacity()
    }
}
