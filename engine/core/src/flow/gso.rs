//! Segments on their way into frames: one frame each, or many in one that the port cuts again (GSO, TSO).

use tcp_stack::{Options, Seq, Transmit};

use super::context::Context;
use crate::end::End;
use crate::packet::{Checksums, Sum, Template};
use crate::port::{Frame, Io, Offloads, Request};
use crate::reason::PacketDrop;

/// Most payload of a frame that is to be cut. An IP packet holds 64 KB; NICs that take no more than so many pieces for a
/// frame take this much in records of 16 KB.
const MOST: usize = 48 * 1024;
/// Most pieces of queued records in such a frame: NICs take a few dozen for a frame, some no more than 8 for a segment.
const PIECES: usize = 16;
/// PSH in a TCP header's flags (RFC 9293 3.1), which are its byte 13.
const PSH: u8 = 0x08;

/// A frame with one segment, or with several that differ in nothing but their place in the stream.
pub(super) struct GsoFrame<IO: Io> {
    frame: IO::Frame,
    /// Bytes of all headers.
    head: usize,
    /// Sequence number after the last byte.
    next: Seq,
    ack: Option<Seq>,
    window: u16,
    options: Options,
    /// Payload of the first segment, and so of all but the last.
    segment: usize,
    payload: usize,
    pieces: usize,
    sum: Sum,
    /// No other segment may follow: this one ends something.
    closed: bool,
    psh: bool,
}

impl<IO: Io> GsoFrame<IO> {
    /// With this segment. None without a frame, or room in it: the MSS was cut to the wire's MTU, which fits, so the pool is
    /// empty.
    pub(super) fn new(
        cx: &mut Context<IO>,
        towards: End,
        template: &Template,
        segment: &Transmit<'_, <IO::Frame as Frame>::Slice>,
        offloads: Offloads,
    ) -> Option<Self> {
        let below = template.header_len();
        let head = below + segment.header_len();
        let frame = cx.io.allocate().and_then(|mut frame| frame.set_len(head).then_some(frame));
        let Some(mut frame) = frame else {
            cx.counters.drop_packet(PacketDrop::NoBuffer);
            return None;
        };
        let (source, destination) = template.ports();
        segment.emit_header(source, destination, &mut frame.data_mut()[below..]);
        let flags = segment.flags;
        let mut made = Self {
            frame,
            head,
            next: segment.seq,
            ack: segment.ack,
            window: segment.window,
            options: segment.options,
            segment: segment.payload_len(),
            payload: 0,
            pieces: 0,
            sum: Sum::default(),
            closed: flags.fin || flags.syn || flags.rst || flags.urg || segment.payload_len() == 0,
            psh: false,
        };
        if !offloads.checksums {
            segment.slices().for_each(|piece| made.sum.add(piece));
        }
        made.push(cx, towards, segment).then_some(made)
    }

    /// Whether this segment is the next one.
    pub(super) fn takes(&self, segment: &Transmit<'_, <IO::Frame as Frame>::Slice>) -> bool {
        let len = segment.payload_len();
        let flags = segment.flags;
        !self.closed
            && segment.seq == self.next
            && (1..=self.segment).contains(&len)
            && self.payload + len <= MOST
            && self.pieces + segment.parts().count() <= PIECES
            && !(flags.fin || flags.syn || flags.rst || flags.urg)
            && (segment.ack, segment.window) == (self.ack, self.window)
            && segment.options == self.options
    }

    /// Adds a segment's payload. False: there is no buffer for it.
    pub(super) fn push(
        &mut self,
        cx: &mut Context<IO>,
        towards: End,
        segment: &Transmit<'_, <IO::Frame as Frame>::Slice>,
    ) -> bool {
        for (slice, range) in segment.parts() {
            let len = range.len();
            if !cx.append(towards, &mut self.frame, slice, range) {
                cx.counters.drop_packet(PacketDrop::NoBuffer);
                self.closed = true;
                return false;
            }
            self.payload += len;
            self.pieces += 1;
            self.next += len as u32;
        }
        self.psh = segment.flags.psh;
        self.closed |= segment.payload_len() < self.segment;
        true
    }

    /// Sends it.
    pub(super) fn send(
        self,
        cx: &mut Context<IO>,
        towards: End,
        template: &mut Template,
        offloads: Offloads,
    ) {
        let Self { mut frame, head, segment, payload, sum, psh, .. } = self;
        let below = template.header_len();
        let cut = payload > segment;
        let packets = if cut { payload.div_ceil(segment) as u16 } else { 1 };
        let checksums = if offloads.checksums { Checksums::Offloaded { cut } } else { Checksums::Made(sum) };
        let bytes = &mut frame.data_mut()[..head];
        if psh {
            // Its last segment's; a port that cuts takes it from the others.
            bytes[below + 13] |= PSH;
        }
        template.seal(bytes, payload, packets, checksums);
        if offloads.checksums {
            let request = Request {
                l2: template.ethernet_len(),
                l3: template.ip_header_len(),
                l4: head - below,
                segment: cut.then_some(segment as u16),
            };
            cx.io.request(&mut frame, &request);
        }
        cx.send(towards, frame);
    }
}
