//! A segment on its way out.

use core::fmt;
use core::ops::Range;
use std::collections::VecDeque;

use smoltcp::wire::TCP_HEADER_LEN;

use crate::{Flags, Options, Payload, Seq, send_buffer::Chunk};

/// One segment to send, or a run of them. Its payload is borrowed from the queued buffers; nothing has been copied.
///
/// All segments of a run have the same length, and PSH is the last one's. The fields are those of [`crate::Segment`]; ports, checksum and everything below TCP are the caller's.
#[allow(missing_docs, reason = "the fields are those of Segment")]
pub struct Transmit<'a, P: Payload> {
    pub seq: Seq,
    pub ack: Option<Seq>,
    pub flags: Flags,
    pub window: u16,
    pub options: Options,
    /// Payload of each segment.
    pub(crate) segment: usize,
    pub(crate) payload: Parts<'a, P>,
}

impl<'a, P: Payload> Transmit<'a, P> {
    /// Bytes of payload, of all segments.
    pub fn payload_len(&self) -> usize {
        self.payload.remaining
    }

    /// Bytes of payload of each segment.
    pub fn segment_len(&self) -> usize {
        self.segment
    }

    /// It is more than one segment.
    pub fn is_run(&self) -> bool {
        self.segment < self.payload.remaining
    }

    /// What differs between the segments, one by one; of a segment alone, its own.
    pub fn segments(&self) -> Segments<'a, P> {
        let Self { seq, flags, segment, .. } = *self;
        Segments { seq, size: segment, psh: flags.psh, rest: Some(self.payload.clone()) }
    }

    /// One of the [`segments`](Self::segments) with all that it has in common with the others.
    pub fn alone(&self, segment: &RunSegment<'a, P>) -> Self {
        let flags = Flags { psh: segment.psh, ..self.flags };
        let payload = segment.payload.clone();
        Transmit { seq: segment.seq, flags, segment: payload.remaining, payload, ..*self }
    }

    /// The payload as queued buffers and the range of each that is meant, in order. For senders that chain
    /// buffers.
    pub fn parts(&self) -> Parts<'a, P> {
        self.payload.clone()
    }

    /// The payload as slices, in order.
    pub fn slices(&self) -> impl Iterator<Item = &'a [u8]> {
        self.parts().map(|(payload, range)| &payload.as_slice()[range])
    }

    /// Copies the payload into the first `payload_len()` bytes of `to`.
    ///
    /// # Panics
    /// If `to` is shorter than that.
    pub fn copy_payload(&self, to: &mut [u8]) {
        let mut at = 0;
        for slice in self.slices() {
            to[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
    }

    /// Bytes of header with options: 20 to 60.
    pub fn header_len(&self) -> usize {
        TCP_HEADER_LEN + self.options.wire_len()
    }

    /// Writes `header_len()` bytes of the first segment's header; the checksum is left 0 and the urgent pointer is 0.
    ///
    /// # Panics
    /// If `to` is shorter than that.
    pub fn emit_header(&self, src_port: u16, dst_port: u16, to: &mut [u8]) {
        let flags = &self.flags;
        let psh = flags.psh && !self.is_run();
        let bits =
            [flags.fin, flags.syn, flags.rst, psh, self.ack.is_some(), flags.urg, flags.ece, flags.cwr];
        let (header, options) = to[..self.header_len()].split_at_mut(TCP_HEADER_LEN);
        header[0..2].copy_from_slice(&src_port.to_be_bytes());
        header[2..4].copy_from_slice(&dst_port.to_be_bytes());
        header[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        header[8..12].copy_from_slice(&self.ack.unwrap_or_default().0.to_be_bytes());
        header[12] = (self.header_len() as u8 / 4) << 4;
        header[13] = bits.iter().rev().fold(0, |all, bit| all << 1 | u8::from(*bit));
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        header[16..].fill(0);
        self.options.emit(options);
    }
}

impl<P: Payload> fmt::Debug for Transmit<'_, P> {
    /// Numbers only: payload never shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmit")
            .field("seq", &self.seq)
            .field("len", &self.payload_len())
            .field("ack", &self.ack)
            .field("flags", &self.flags)
            .field("window", &self.window)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// One segment of a run.
pub struct RunSegment<'a, P: Payload> {
    /// Sequence number of its first byte.
    pub seq: Seq,
    /// Whether it has PSH.
    pub psh: bool,
    payload: Parts<'a, P>,
}

impl<'a, P: Payload> RunSegment<'a, P> {
    /// Bytes of payload.
    pub fn payload_len(&self) -> usize {
        self.payload.remaining
    }

    /// As [`Transmit::parts`].
    pub fn parts(&self) -> Parts<'a, P> {
        self.payload.clone()
    }

    /// As [`Transmit::slices`].
    pub fn slices(&self) -> impl Iterator<Item = &'a [u8]> {
        self.parts().map(|(payload, range)| &payload.as_slice()[range])
    }
}

/// The segments of a run, in order.
pub struct Segments<'a, P: Payload> {
    seq: Seq,
    size: usize,
    psh: bool,
    rest: Option<Parts<'a, P>>,
}

impl<'a, P: Payload> Iterator for Segments<'a, P> {
    type Item = RunSegment<'a, P>;

    #[inline]
    fn next(&mut self) -> Option<RunSegment<'a, P>> {
        let (seq, rest) = (self.seq, self.rest.as_mut()?);
        if rest.remaining <= self.size {
            return self.rest.take().map(|payload| RunSegment { seq, psh: self.psh, payload });
        }
        self.seq += self.size as u32;
        Some(RunSegment { seq, psh: false, payload: rest.split_to(self.size) })
    }
}

/// The payload of a [`Transmit`]: queued buffers with the range of each, in order.
pub struct Parts<'a, P> {
    chunks: &'a VecDeque<Chunk<P>>,
    index: usize,
    from: u64,
    remaining: usize,
}

impl<'a, P> Parts<'a, P> {
    /// `remaining` bytes from stream offset `from`, which lies in the chunk `index`.
    pub(crate) fn new(chunks: &'a VecDeque<Chunk<P>>, index: usize, from: u64, remaining: usize) -> Self {
        Parts { chunks, index, from, remaining }
    }
}

impl<'a, P: Payload> Parts<'a, P> {
    /// Takes the first `len` bytes off.
    #[inline]
    pub(crate) fn split_to(&mut self, len: usize) -> Self {
        let first = Parts { remaining: len, ..*self };
        self.remaining -= len;
        self.from += len as u64;
        while self.remaining > 0
            && let Some(chunk) = self.chunks.get(self.index)
            && chunk.offset + chunk.payload.len() as u64 <= self.from
        {
            self.index += 1;
        }
        first
    }
}

impl<P> Clone for Parts<'_, P> {
    fn clone(&self) -> Self {
        Parts { ..*self }
    }
}

impl<'a, P: Payload> Iterator for Parts<'a, P> {
    type Item = (&'a P, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let chunk = self.chunks.get(self.index)?;
        let start = (self.from - chunk.offset) as usize;
        let end = chunk.payload.len().min(start + self.remaining);
        self.index += 1;
        self.from += (end - start) as u64;
        self.remaining -= end - start;
        Some((&chunk.payload, start..end))
    }
}
