//! Holding the client's first flight until it is known what it is. Nothing is acknowledged meanwhile, so that a bypass can
//! release the client's own frames.

use tcp_stack::{Duration, Instant, Segment, Seq};

use super::bypassed::Released;
use super::context::Context;
use super::leg::Leg;
use super::opening::Answered;
use super::prefix::{Inserted, Prefix};
use super::settings::Limits;
use crate::end::PerEnd;
use crate::packet::{Class, Template, classify};
use crate::port::{Frame, Io};
use crate::reason::{PacketDrop, Reason};
use crate::tls::{ClientHello, HelloScan, Peek, SecondHello};

/// Silence after which an incomplete hello is acknowledged. A server's own delayed ACK would have come by then; a flight
/// that is not delayed by losses, or by a congestion window of one segment (RFC 5681 3.1), comes in a burst.
const PATIENCE: Duration = Duration::from_millis(100);

/// A connection whose first flight is held.
pub(super) struct Peeking<IO: Io> {
    /// The handshake that was seen.
    pub(super) opening: Box<Answered>,
    /// Imitates the client.
    pub(super) to_server: Template,
    /// When the hello must be complete.
    pub(super) deadline: Instant,
    /// When the client has been silent for so long that it must be waiting for an acknowledgement.
    pub(super) stuck_at: Instant,
    held: Vec<IO::Frame>,
    /// Bytes of all held frames.
    held_bytes: usize,
    prefix: Prefix,
    scan: HelloScan,
    /// Longest stream that is held.
    limit: usize,
}

/// What is known of the client's stream now.
pub(super) enum Peeked {
    /// Wait for more.
    Incomplete,
    /// Wait for more, but it will not come: the client repeats what it has said.
    Stuck,
    /// A whole ClientHello.
    Hello(Box<ClientHello>),
    /// It will not be a ClientHello, and this is why.
    Not(Reason),
}

impl<IO: Io> Peeking<IO> {
    /// With nothing held yet.
    pub(super) fn new(now: Instant, opening: Box<Answered>, to_server: Template, limits: &Limits) -> Self {
        Self {
            opening,
            to_server,
            deadline: now + limits.hello_time,
            stuck_at: now + PATIENCE,
            held: Vec::new(),
            held_bytes: 0,
            prefix: Prefix::new(limits.hello_bytes),
            scan: HelloScan::default(),
            limit: limits.hello_bytes,
        }
    }

    /// Looks at a segment of the client and holds its frame, if it adds anything.
    pub(super) fn hold(&mut self, cx: &mut Context<IO>, frame: IO::Frame, inserted: Inserted) -> Peeked {
        match inserted {
            Inserted::New => {}
            Inserted::Repeated => {
                cx.counters.drop_packet(PacketDrop::RepeatedWhileHeld);
                return Peeked::Stuck;
            }
            Inserted::Outside => {
                cx.counters.drop_packet(PacketDrop::RepeatedWhileHeld);
                return Peeked::Incomplete;
            }
            Inserted::Ambiguous => return Peeked::Not(Reason::HelloAmbiguous),
            Inserted::TooMuch => return Peeked::Not(Reason::HelloTooBig),
        }
        let limits = cx.shared.limits;
        if self.held.len() >= limits.hello_frames || !cx.hold() {
            // No more frames for this one: it goes on in bytes, beginning with those that the client now has to repeat.
            cx.counters.drop_packet(PacketDrop::HoldFull);
            return Peeked::Stuck;
        }
        if cx.budget.is_closed_to(self.memory()) {
            cx.release(1);
            return Peeked::Not(Reason::ResourceMemory);
        }
        self.held_bytes += frame.len();
        self.held.push(frame);
        self.stuck_at = cx.now + PATIENCE;
        look(&mut self.scan, self.prefix.contiguous(), limits.hello_bytes)
    }

    /// Adds a segment's payload to the stream. A bare FIN or ACK counts as new: it is held in its place.
    pub(super) fn insert(&mut self, segment: &Segment<'_>) -> Inserted {
        if segment.payload.is_empty() {
            return Inserted::New;
        }
        let offset = segment.seq.since(self.opening.client_start());
        if offset as usize > self.limit {
            // Before the stream (a keep-alive probe, RFC 9293 3.8.4), or further on than the server's window allows.
            return Inserted::Outside;
        }
        self.prefix.insert(offset as usize, segment.payload)
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self {
            opening,
            to_server: _,
            deadline: _,
            stuck_at: _,
            held,
            held_bytes,
            prefix,
            scan: _,
            limit: _,
        } = self;
        let frames = held_bytes + held.capacity() * size_of::<IO::Frame>();
        size_of::<Self>() + opening.memory() + frames + prefix.memory()
    }

    /// The stream has been seen up to this segment's end, without a gap.
    pub(super) fn reaches(&self, end: Seq) -> bool {
        end.since(self.opening.client_start()) as usize == self.prefix.contiguous().len()
    }

    /// The number lies in what has been seen of the stream, or is the next.
    pub(super) fn covers(&self, seq: Seq) -> bool {
        seq.since(self.opening.client_start()) as usize <= self.prefix.contiguous().len()
    }

    /// Adopts both halves: the server leg has sent nothing yet, the client leg has received what is held.
    pub(super) fn adopt(self, cx: &mut Context<IO>) -> PerEnd<Leg<IO>> {
        cx.release(self.held.len());
        let limits = cx.shared.limits;
        let mut legs = self.opening.adopt(cx.now, Some(self.to_server), cx.mtu(), &limits);
        for frame in &self.held {
            if let Class::Tcp(headers) = classify(frame.data())
                && let Ok(segment) = Segment::parse(headers.segment(frame.data()))
            {
                legs.client.tcp.handle_segment(cx.now, &segment);
            }
        }
        legs
    }

    /// Gives the opening back, and the held frames in the order in which they came.
    pub(super) fn into_opening(self, cx: &mut Context<IO>) -> (Box<Answered>, Vec<IO::Frame>) {
        cx.release(self.held.len());
        (self.opening, self.held)
    }

    /// What has been seen of the stream, without a gap.
    pub(super) fn stream(&self) -> &[u8] {
        self.prefix.contiguous()
    }

    /// The held frames, in the order in which they came, and what they are released for. Where a second hello may follow, what is behind a
    /// gap is left for the client to repeat.
    pub(super) fn release(
        mut self,
        cx: &mut Context<IO>,
        second: Option<Box<SecondHello>>,
    ) -> (Vec<IO::Frame>, Box<Released>) {
        cx.release(self.held.len());
        if second.is_some() {
            let held = std::mem::take(&mut self.held);
            self.held = held.into_iter().filter(|frame| self.has_no_gap_before(frame)).collect();
        }
        (self.held, Released::new(&self.opening, self.prefix.contiguous().to_vec(), second))
    }

    fn has_no_gap_before(&self, frame: &IO::Frame) -> bool {
        let Class::Tcp(headers) = classify(frame.data()) else { return false };
        Segment::parse(headers.segment(frame.data()))
            .is_ok_and(|segment| self.covers(segment.seq + segment.payload.len() as u32))
    }
}

/// Looks for a ClientHello at the beginning of a stream.
pub(super) fn look(scan: &mut HelloScan, stream: &[u8], limit: usize) -> Peeked {
    match scan.peek(stream, limit) {
        Peek::Incomplete => Peeked::Incomplete,
        Peek::NotTls => Peeked::Not(Reason::HelloNotTls),
        Peek::Malformed => Peeked::Not(Reason::HelloMalformed),
        Peek::TooBig => Peeked::Not(Reason::HelloTooBig),
        Peek::Complete { hello, .. } => Peeked::Hello(hello),
    }
}
