//! What is held of one direction: taken out of the order of its bytes, until it goes on or nowhere.

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};

use super::stage::{Opened, Ready, copied};

/// Most blocks that wait here as they came. All flows share the worker's, which are as large as a record may be, however little is in
/// one: so a block that is not half full is not kept either, and all that is not is copied out.
const MOST: usize = 8;
/// Copies up to this are put together: no record has more plaintext (RFC 8446 5.1).
const PIECE: usize = 1 << 14;

/// Bytes that are held, in their order.
pub(super) struct SetAside<B> {
    pieces: VecDeque<Piece<B>>,
    /// The blocks among them, and what they take beside their plaintext.
    blocks: usize,
    beside: usize,
}

/// Some of them.
enum Piece<B> {
    /// As they came.
    Block(Opened<B>),
    Copy(BytesMut),
}

impl<B> Default for SetAside<B> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), blocks: 0, beside: 0 }
    }
}

impl<B: AsMut<[u8]>> SetAside<B> {
    /// The next bytes, in a block of which others need nothing.
    pub(super) fn push(&mut self, mut opened: Opened<B>) {
        let len = opened.len;
        if len < PIECE / 2 || self.blocks == MOST {
            return self.copy(opened.first(len));
        }
        self.blocks += 1;
        self.beside += opened.memory() - len;
        self.pieces.push_back(Piece::Block(opened));
    }

    /// The next bytes. Of copies in a row all but the last are full.
    pub(super) fn copy(&mut self, mut bytes: &[u8]) {
        // The first is as long as what there is to hold; those behind it need no more than they are long.
        let mut capacity = bytes.len();
        if let Some(Piece::Copy(last)) = self.pieces.back_mut() {
            let fits = bytes.len().min(PIECE.saturating_sub(last.len()));
            last.extend_from_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
            capacity = PIECE;
        }
        if !bytes.is_empty() {
            let mut piece = BytesMut::with_capacity(capacity);
            piece.extend_from_slice(bytes);
            self.pieces.push_back(Piece::Copy(piece));
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
                self.beside += len;
            }
            Piece::Copy(_) if is_over => drop(self.pieces.pop_front()),
            Piece::Copy(first) => first.advance(len),
        }
        self.shrink();
    }

    /// The first piece, which is a block.
    fn pop(&mut self) -> Option<Opened<B>> {
        let Some(Piece::Block(first)) = self.pieces.pop_front() else { return None };
        self.blocks -= 1;
        self.beside -= first.memory() - first.len;
        self.shrink();
        Some(first)
    }

    /// A flow that holds nothing keeps no long queue.
    fn shrink(&mut self) {
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
        }
    }

    /// Bytes of memory that it holds beside its own size and the bytes themselves.
    pub(super) fn memory(&self) -> usize {
        let Self { pieces, blocks: _, beside } = self;
        let spare = match pieces.back() {
            Some(Piece::Copy(last)) => last.capacity() - last.len(),
            Some(Piece::Block(_)) | None => 0,
        };
        pieces.capacity() * size_of::<Piece<B>>() + beside + spare
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
