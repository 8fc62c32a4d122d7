//! A segment on its way out.

use core::fmt;
use core::ops::Range;
use std::collections::VecDeque;

use smoltcp::wire::{TCP_HEADER_LEN, TcpPacket, TcpSeqNumber};

use crate::{Flags, Options, Payload, Seq, send_buffer::Chunk};

/// One segment to send. Its payload is borrowed from the queued buffers; nothing has been copied.
///
/// The fields are those of [`crate::Segment`]; ports, checksum and everything below TCP are the caller's.
#[allow(missing_docs, reason = "the fields are those of Segment")]
pub struct Transmit<'a, P: Payload> {
    pub seq: Seq,
    pub ack: Option<Seq>,
    pub flags: Flags,
    pub window: u16,
    pub options: Options,
    pub(crate) payload: Parts<'a, P>,
}

impl<'a, P: Payload> Transmit<'a, P> {
    /// Bytes of payload.
    pub fn payload_len(&self) -> usize {
        self.payload.remaining
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

    /// Writes `header_len()` bytes of header; the checksum is left 0 and the urgent pointer is 0.
    ///
    /// # Panics
    /// If `to` is shorter than that.
    pub fn emit_header(&self, src_port: u16, dst_port: u16, to: &mut [u8]) {
        let header_len = self.header_len();
        let to = &mut to[..header_len];
        to.fill(0);
        let mut packet = TcpPacket::new_unchecked(&mut *to);
        packet.set_src_port(src_port);
        packet.set_dst_port(dst_port);
        packet.set_seq_number(TcpSeqNumber(self.seq.0 as i32));
        packet.set_ack_number(TcpSeqNumber(self.ack.unwrap_or_default().0 as i32));
        packet.set_header_len(header_len as u8);
        packet.set_fin(self.flags.fin);
        packet.set_syn(self.flags.syn);
        packet.set_rst(self.flags.rst);
        packet.set_psh(self.flags.psh);
        packet.set_ack(self.ack.is_some());
        packet.set_urg(self.flags.urg);
        packet.set_ece(self.flags.ece);
        packet.set_cwr(self.flags.cwr);
        packet.set_window_len(self.window);
        self.options.emit(&mut to[TCP_HEADER_LEN..]);
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
