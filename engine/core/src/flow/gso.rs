//! Segments on their way into frames: one frame each, or many in one that the port cuts again (GSO, TSO).

use tcp_stack::{Options, Payload, RunSegment, Seq, Transmit};

use super::context::Context;
use crate::end::End;
use crate::packet::{Checksums, RunHeaders, Sum, Template};
use crate::port::{Frame, Io, Offloads, Request};
use crate::reason::PacketDrop;

/// Most payload of a frame that is to be cut. An IP packet holds 64 KB; NICs that take no more than so many pieces for a
/// frame take this much in records of 16 KB.
pub(super) const MOST: usize = 48 * 1024;
/// Most pieces of queued records in such a frame: NICs take a few dozen for a frame, some no more than 8 for a segment.
pub(super) const PIECES: usize = 16;
/// PSH in a TCP header's flags (RFC 9293 3.1), which are its byte 13.
const PSH: u8 = 0x08;

/// Sends the segments of a run in a frame each. Without a frame for one, or room in it, it is lost as on the way: the MSS was cut to the
/// wire's MTU, which fits, so the pool is empty.
pub(super) fn send_each<IO: Io>(
    cx: &mut Context<IO>,
    towards: End,
    template: &mut Template,
    run: &Transmit<'_, <IO::Frame as Frame>::Slice>,
    offloads: Offloads,
) {
    let below = template.header_len();
    let head = below + run.header_len();
    let mut headers: Option<RunHeaders> = None;
    for segment in run.segments() {
        let mut sum = Sum::default();
        let summed = (!offloads.checksums).then_some(&mut sum);
        let Some(mut frame) = filled(cx, towards, head, &segment, summed) else {
            cx.counters.drop_packet(PacketDrop::NoBuffer);
            continue;
        };
        let bytes = &mut frame.data_mut()[..head];
        if let Some(headers) = &mut headers {
            bytes.copy_from_slice(headers.next(template, segment.seq, sum, segment.psh));
        } else {
            let (source, destination) = template.ports();
            run.alone(&segment).emit_header(source, destination, &mut bytes[below..]);
            let checksums =
                if offloads.checksums { Checksums::Offloaded { cut: false } } else { Checksums::Made(sum) };
            template.seal(bytes, segment.payload_len(), 1, checksums);
            headers = run.is_run().then(|| RunHeaders::of(template, bytes, checksums));
        }
        if offloads.checksums {
            request(cx, &mut frame, template, head, None);
        }
        cx.send(towards, frame);
    }
}

/// Puts a segment or a run into the frame that is being filled, or sends that and begins another.
pub(super) fn join<IO: Io>(
    cx: &mut Context<IO>,
    towards: End,
    template: &mut Template,
    frame: &mut Option<GsoFrame<IO>>,
    segment: &Transmit<'_, <IO::Frame as Frame>::Slice>,
) {
    if let Some(frame) = frame.as_mut().filter(|frame| frame.takes(segment)) {
        // Without room the rest is lost; what has been put there must go, as it counts as sent.
        frame.push(cx, towards, segment);
        return;
    }
    if let Some(frame) = frame.take() {
        frame.send(cx, towards, template);
    }
    *frame = GsoFrame::new(cx, towards, template, segment);
}

/// A frame with room for `head` bytes of headers, and a segment's payload behind it, which is added to the sum.
fn filled<IO: Io>(
    cx: &mut Context<IO>,
    towards: End,
    head: usize,
    segment: &RunSegment<'_, <IO::Frame as Frame>::Slice>,
    mut sum: Option<&mut Sum>,
) -> Option<IO::Frame> {
    let mut frame = cx.io.allocate()?;
    let has_room = frame.set_len(head)
        && segment.parts().all(|(slice, range)| {
            if let Some(sum) = &mut sum {
                sum.add(&slice.as_slice()[range.clone()]);
            }
            cx.append(towards, &mut frame, slice, range)
        });
    has_room.then_some(frame)
}

/// Asks the port to fill in the checksums, and to cut what is more than so many bytes of payload.
fn request<IO: Io>(
    cx: &mut Context<IO>,
    frame: &mut IO::Frame,
    template: &Template,
    head: usize,
    segment: Option<u16>,
) {
    let (l2, l3) = (template.ethernet_len(), template.ip_header_len());
    cx.io.request(frame, &Request { l2, l3, l4: head - template.header_len(), segment });
}

/// A frame with one segment, or with several that differ in nothing but their place in the stream, for a port that cuts.
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
    /// No other segment may follow: this one ends something.
    closed: bool,
    psh: bool,
}

impl<IO: Io> GsoFrame<IO> {
    /// With this segment, or a run. None without a frame, or room in it: the MSS was cut to the wire's MTU, which fits, so the pool is
    /// empty.
    pub(super) fn new(
        cx: &mut Context<IO>,
        towards: End,
        template: &Template,
        segment: &Transmit<'_, <IO::Frame as Frame>::Slice>,
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
            segment: segment.segment_len(),
            payload: 0,
            pieces: 0,
            closed: flags.fin || flags.syn || flags.rst || flags.urg || segment.payload_len() == 0,
            psh: false,
        };
        made.push(cx, towards, segment).then_some(made)
    }

    /// Whether this segment, or run, is the next one.
    pub(super) fn takes(&self, segment: &Transmit<'_, <IO::Frame as Frame>::Slice>) -> bool {
        let len = segment.payload_len();
        let flags = segment.flags;
        !self.closed
            && segment.seq == self.next
            && len > 0
            && (segment.segment_len() == self.segment || len < self.segment)
            && self.payload + len <= MOST
            && self.pieces + segment.parts().count() <= PIECES
            && !(flags.fin || flags.syn || flags.rst || flags.urg)
            && (segment.ack, segment.window) == (self.ack, self.window)
            && segment.options == self.options
    }

    /// Adds the payload of a segment or a run. False: there is no buffer for it.
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
        self.closed |= segment.segment_len() < self.segment;
        true
    }

    /// Sends it.
    pub(super) fn send(self, cx: &mut Context<IO>, towards: End, template: &mut Template) {
        let Self { mut frame, head, segment, payload, psh, .. } = self;
        let below = template.header_len();
        let cut = payload > segment;
        let packets = if cut { payload.div_ceil(segment) as u16 } else { 1 };
        let bytes = &mut frame.data_mut()[..head];
        if psh {
            // Its last segment's; a port that cuts takes it from the others.
            bytes[below + 13] |= PSH;
        }
        template.seal(bytes, payload, packets, Checksums::Offloaded { cut });
        request(cx, &mut frame, template, head, cut.then_some(segment as u16));
        cx.send(towards, frame);
    }
}
