//! The queue of bytes to send: the caller's buffers, kept until acknowledged, never copied.

use std::collections::VecDeque;

use crate::{Payload, transmit::Parts};

/// Slots kept for the next burst when the queue runs empty.
const KEEP_SLOTS: usize = 64;

/// Queued buffers. Places are stream offsets: bytes since the start of the connection, which never wrap.
///
/// `start <= chunk offsets < end`; the first chunk may begin before `start` (acknowledged in part).
pub(crate) struct SendBuffer<P> {
    chunks: VecDeque<Chunk<P>>,
    start: u64,
    end: u64,
}

pub(crate) struct Chunk<P> {
    /// Stream offset of the payload's first byte.
    pub(crate) offset: u64,
    pub(crate) payload: P,
}

impl<P: Payload> SendBuffer<P> {
    pub(crate) fn new() -> Self {
        SendBuffer { chunks: VecDeque::new(), start: 0, end: 0 }
    }

    /// Bytes queued and not acknowledged.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn push(&mut self, payload: P) {
        if payload.is_empty() {
            return;
        }
        let offset = self.end;
        self.end += payload.len() as u64;
        self.chunks.push_back(Chunk { offset, payload });
    }

    /// Drops the first `bytes` bytes, at most `len()`; buffers wholly acknowledged are given back.
    pub(crate) fn acknowledge(&mut self, bytes: usize) {
        self.start = (self.start + bytes as u64).min(self.end);
        while let Some(first) = self.chunks.front() {
            if first.offset + first.payload.len() as u64 > self.start {
                break;
            }
            self.chunks.pop_front();
        }
    }

    /// `len` bytes from `at` bytes after the first unacknowledged one, as slices of the queued buffers.
    pub(crate) fn parts(&self, at: usize, len: usize) -> Parts<'_, P> {
        let from = self.start + at as u64;
        debug_assert!(len == 0 || from + len as u64 <= self.end, "slice of unqueued bytes");
        let index = self.chunks.partition_point(|chunk| chunk.offset + chunk.payload.len() as u64 <= from);
        Parts::new(&self.chunks, index, from, len)
    }

    pub(crate) fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.start = self.end;
    }

    /// Gives memory back if there is nothing to hold. Returns whether memory is still held.
    pub(crate) fn release(&mut self) -> bool {
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        } else if self.chunks.capacity() > KEEP_SLOTS && self.chunks.len() < KEEP_SLOTS / 2 {
            self.chunks.shrink_to(KEEP_SLOTS);
        }
        self.has_memory()
    }

    pub(crate) fn has_memory(&self) -> bool {
        self.chunks.capacity() > 0
    }

    /// Bytes of memory taken: what is queued, and the queue itself, which is larger than that where buffers are small.
    pub(crate) fn memory(&self) -> usize {
        let Self { chunks, start, end } = self;
        (end - start) as usize + chunks.capacity() * size_of::<Chunk<P>>()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(buffer: &SendBuffer<Bytes>, at: usize, len: usize) -> Vec<u8> {
        buffer.parts(at, len).flat_map(|(payload, range)| payload[range].to_vec()).collect()
    }

    #[test]
    fn slices_cross_buffers_and_survive_acknowledgement() {
        let mut buffer = SendBuffer::new();
        for chunk in ["abc", "", "d", "efgh"] {
            buffer.push(Bytes::from(chunk));
        }
        assert_eq!(buffer.len(), 8);
        assert_eq!(buffer.memory(), 8 + buffer.chunks.capacity() * size_of::<Chunk<Bytes>>());
        assert_eq!(read(&buffer, 0, 8), b"abcdefgh");
        assert_eq!(read(&buffer, 2, 3), b"cde");
        assert_eq!(read(&buffer, 3, 1), b"d");
        buffer.acknowledge(2);
        assert_eq!(buffer.memory(), 6 + buffer.chunks.capacity() * size_of::<Chunk<Bytes>>());
        assert_eq!(read(&buffer, 0, 6), b"cdefgh");
        buffer.acknowledge(3);
        assert_eq!((buffer.len(), buffer.chunks.len()), (3, 1));
        assert_eq!(read(&buffer, 1, 2), b"gh");
        buffer.acknowledge(3);
        assert!(!buffer.release());
        assert_eq!(read(&buffer, 0, 0), b"");
    }
}
