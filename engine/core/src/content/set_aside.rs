//! What is held of one direction: taken out of the order of its bytes, until it goes on or nowhere.

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};

use super::stage::{Opened, Ready, copied};

/// Most memory of blocks that wait here as they came. All flows share the worker's, and more is copied out of them.
const MOST: usize = 128 * 1024;
/// Copies up to this are put together: no record has more plaintext (RFC 8446 5.1).
const PIECE: usize = 1 << 14;

/// Bytes that are held, in their order.
pub(super) struct SetAside<B> {
    pieces: VecDeque<Piece<B>>,
    /// Bytes of memory of the blocks among them, and their plaintext.
    blocks: usize,
    in_blocks: usize,
}

/// Some of them.
enum Piece<B> {
    /// As they came.
    Block(Opened<B>),
    Copy(BytesMut),
}

impl<B> Default for SetAside<B> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), blocks: 0, in_blocks: 0 }
    }
}

impl<B: AsMut<[u8]>> SetAside<B> {
    /// The next bytes, in a block of which others need nothing.
    pub(super) fn push(&mut self, mut opened: Opened<B>) {
        let (len, memory) = (opened.len, opened.memory());
        if 2 * len < memory || self.blocks + memory > MOST {
            return self.copy(opened.first(len));
        }
        self.blocks += memory;
        self.in_blocks += len;
        self.pieces.push_back(Piece::Block(opened));
    }

    /// The next bytes.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        match self.pieces.back_mut() {
            Some(Piece::Copy(last)) if last.len() + bytes.len() <= PIECE => last.extend_from_slice(bytes),
            _ => self.pieces.push_back(Piece::Copy(BytesMut::from(bytes))),
        }
    }

    /// Bytes of the first piece.
    pub(super) fn next_len(&self) -> usize {
        self.pieces.front().map_or(0, Piece::len)
    }

    /// The first bytes, which lie in the first piece, as plaintext of a record.
    pub(super) fn take(&mut self, len: usize, at: usize, block: impl FnOnce(usize) -> B) -> Option<Ready<B>> {
        let ready = match self.pieces.front_mut()? {
            Piece::Block(first) if first.at == at && first.len == len => {
                return self.pop().map(|whole| Ready::Data(whole.block, len));
            }
            Piece::Block(first) => copied(first.first(len), at, block),
            Piece::Copy(first) => copied(&first[..len], at, block),
        };
        self.discard(len);
        Some(ready)
    }

    /// The first bytes, which lie in the first piece, go.
    pub(super) fn discard(&mut self, len: usize) {
        let Some(first) = self.pieces.front_mut() else { return };
        let is_over = first.len() == len;
        match first {
            Piece::Block(_) if is_over => drop(self.pop()),
            Piece::Block(first) => {
                (first.at, first.len) = (first.at + len, first.len - len);
                self.in_blocks -= len;
            }
            Piece::Copy(_) if is_over => drop(self.pieces.pop_front()),
            Piece::Copy(first) => first.advance(len),
        }
    }

    /// The first piece, which is a block.
    fn pop(&mut self) -> Option<Opened<B>> {
        let Some(Piece::Block(first)) = self.pieces.pop_front() else { return None };
        self.blocks -= first.memory();
        self.in_blocks -= first.len;
        Some(first)
    }

    /// Bytes of memory that it holds beside its own size and the bytes themselves.
    pub(super) fn memory(&self) -> usize {
        let Self { pieces, blocks, in_blocks } = self;
        pieces.capacity() * size_of::<Piece<B>>() + blocks - in_blocks
    }
}

impl<B> Piece<B> {
    fn len(&self) -> usize {
        match self {
            Self::Block(opened) => opened.len,
            Self::Copy(bytes) => bytes.len(),
        }
    }
}
