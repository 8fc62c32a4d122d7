//! What ends have said in plain before it is known which mirrors show their flow.

use crate::end::End;

/// The beginning of a flow that goes over to TLS in place, in the order in which it was said. The dialogue that says it bounds it.
#[derive(Default)]
pub(crate) struct Beginning {
    said: Vec<u8>,
    /// Who has said so many bytes of it.
    pieces: Vec<(End, u32)>,
}

impl Beginning {
    /// An end has said this, and it has gone on.
    pub(crate) fn push(&mut self, from: End, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.said.extend_from_slice(bytes);
        match self.pieces.last_mut() {
            Some((last, len)) if *last == from => *len += bytes.len() as u32,
            _ => self.pieces.push((from, bytes.len() as u32)),
        }
    }

    /// Who said what, in that order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (End, &[u8])> {
        let mut rest = &self.said[..];
        self.pieces.iter().map(move |(from, len)| {
            let (piece, behind) = rest.split_at(*len as usize);
            rest = behind;
            (*from, piece)
        })
    }

    /// Bytes of memory that it holds, with its own size.
    pub(crate) fn memory(&self) -> usize {
        let Self { said, pieces } = self;
        size_of::<Self>() + said.capacity() + pieces.capacity() * size_of::<(End, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_said_what() {
        let mut beginning = Beginning::default();
        for (from, bytes) in [
            (End::Server, &b"220 he"[..]),
            (End::Client, b""),
            (End::Server, b"llo\r\n"),
            (End::Client, b"EHLO\r\n"),
            (End::Server, b"250\r\n"),
        ] {
            beginning.push(from, bytes);
        }
        let said: Vec<_> = beginning.pieces().collect();
        let expected =
            [(End::Server, &b"220 hello\r\n"[..]), (End::Client, b"EHLO\r\n"), (End::Server, b"250\r\n")];
        assert_eq!(said, expected);
        assert!(beginning.memory() >= size_of::<Beginning>() + 22 + 3 * 8);
    }
}
