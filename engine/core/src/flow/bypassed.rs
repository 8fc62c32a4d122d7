//! A flow that goes by untouched: only counted, until it ends.

use tcp_stack::{Duration, Flags, Instant, Segment, Seq};

use super::opening::Answered;
use crate::end::{End, PerEnd};
use crate::reason::Reason;
use crate::tls::{Behind, SecondHello};

/// Packets after which a connection counts as begun although its handshake was not seen: it goes by in one direction only.
const ONE_WAY: u8 = 16;
/// How long repeated FINs and last ACKs may still come by.
const CLOSING: Duration = Duration::from_secs(10);

/// A bypassed flow.
pub(super) struct Bypassed {
    fin: PerEnd<bool>,
    /// When it is over, unless something comes by; and the reason, should nothing more come.
    ends_at: Instant,
    reason: Reason,
    /// What it was released for; none where its addresses decided.
    released: Option<Box<Released>>,
    /// The server has begun another connection, about which nobody has decided.
    is_another: bool,
    /// The server's first flight is being read.
    pub(super) watched: bool,
    start: Start,
}

/// What was seen of the TCP handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// So many packets, and no SYN-ACK.
    Unanswered(u8),
    /// So many packets, and a SYN-ACK, which this number acknowledges.
    Answered(u8, Seq),
    /// Nothing of it, and nobody expects to see it any more.
    Unseen,
    /// Likewise, but the client has sent a SYN since, with which it may begin another connection.
    UnseenThenSyn,
    /// All of it.
    Seen,
}

/// The connection and the first bytes that a flow was released for: nothing else may pass in their place.
///
/// A server need not take a segment that the engine has seen: its TTL may be too low, its timestamp old (RFC 7323 5.3),
/// its ACK of nothing. The client could then say something else.
pub(super) struct Released {
    server_isn: Seq,
    /// Where the client's stream begins, and how. Empty when the server has acknowledged it.
    start: Seq,
    bytes: Vec<u8>,
    /// The client may still say a second hello in its place.
    second: Option<Box<SecondHello>>,
}

impl Bypassed {
    /// Begins now; silence ends it after `idle`.
    pub(super) fn new(now: Instant, idle: Duration) -> Self {
        Self {
            fin: PerEnd::both(false),
            ends_at: now + idle,
            reason: Reason::Idle,
            released: None,
            is_another: false,
            watched: false,
            start: Start::Unanswered(0),
        }
    }

    /// The same, for a connection whose handshake will not be seen any more.
    pub(super) fn from_the_middle(now: Instant, idle: Duration) -> Self {
        Self { start: Start::Unseen, ..Self::new(now, idle) }
    }

    /// The same, for a flow that has been looked at.
    pub(super) fn released(now: Instant, idle: Duration, released: Box<Released>) -> Self {
        Self { released: Some(released), start: Start::Seen, ..Self::new(now, idle) }
    }

    /// A segment with these control bits comes by in the middle of a connection about which everything is decided. False:
    /// that is not so, and [`Self::observe`] has to look at it.
    pub(super) fn goes_on(&mut self, now: Instant, idle: Duration, flags: Flags) -> bool {
        let goes_on = !(flags.syn || flags.fin || flags.rst || self.watched)
            && self.has_begun()
            && self.is_settled()
            && !self.is_closing();
        if goes_on {
            self.ends_at = now + idle;
        }
        goes_on
    }

    /// A segment comes by. False: it may not pass.
    ///
    /// Numbers are not checked: a forged FIN or RST ends our counting early, never the flow.
    pub(super) fn observe(&mut self, now: Instant, idle: Duration, from: End, segment: &Segment<'_>) -> bool {
        self.see_handshake(from, segment);
        if self.is_another_connection(from, segment) {
            // Nobody has decided about that one. The client's SYN comes again and begins a flow.
            (self.fin, self.is_another) = (PerEnd::both(true), true);
            (self.ends_at, self.reason) = (now + CLOSING, Reason::Closed);
            return false;
        }
        if self.released.as_mut().is_some_and(|released| !released.allows(from, segment)) {
            return false;
        }
        if self.start == Start::UnseenThenSyn && from == End::Client && is_fast_open(segment) {
            return false;
        }
        self.fin[from] |= segment.flags.fin;
        (self.ends_at, self.reason) = match (segment.flags.rst, from) {
            (true, End::Client) => (now + CLOSING, Reason::ClientReset),
            (true, End::Server) => (now + CLOSING, Reason::ServerReset),
            _ if self.fin == PerEnd::both(true) => (now + CLOSING, Reason::Closed),
            _ => (now + idle, Reason::Idle),
        };
        true
    }

    fn see_handshake(&mut self, from: End, segment: &Segment<'_>) {
        let answers = from == End::Server && segment.flags.syn && segment.ack.is_some();
        self.start = match self.start {
            Start::Answered(_, next) if from == End::Client && segment.ack == Some(next) => Start::Seen,
            Start::Unanswered(packets) | Start::Answered(packets, _) if answers => {
                Start::Answered(packets, segment.seq + 1)
            }
            Start::Unanswered(ONE_WAY..) | Start::Answered(ONE_WAY.., _) => Start::Unseen,
            Start::Unanswered(packets) => Start::Unanswered(packets + 1),
            Start::Answered(packets, next) => Start::Answered(packets + 1, next),
            Start::Unseen if from == End::Client && segment.flags.syn => Start::UnseenThenSyn,
            begun @ (Start::Unseen | Start::UnseenThenSyn | Start::Seen) => begun,
        };
    }

    /// The server answers a SYN that is not the one of this connection, as far as that is known.
    fn is_another_connection(&self, from: End, segment: &Segment<'_>) -> bool {
        let is_other = match &self.released {
            Some(released) => segment.seq != released.server_isn,
            None => self.start == Start::UnseenThenSyn,
        };
        from == End::Server && segment.flags.syn && is_other
    }

    /// It is more than a SYN that anyone may have sent.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.start, Start::Unseen | Start::UnseenThenSyn | Start::Seen)
    }

    /// Both ends are where they say they are.
    pub(super) fn is_established(&self) -> bool {
        self.start == Start::Seen
    }

    /// It is decided for good that it passes: no end could still say something else in place of what was looked at.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_another && self.released.as_ref().is_none_or(|released| released.is_settled())
    }

    /// The flow has been closed or reset, as far as one can see.
    pub(super) fn is_closing(&self) -> bool {
        self.reason != Reason::Idle
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { fin: _, ends_at: _, reason: _, released, is_another: _, watched: _, start: _ } = self;
        released.as_ref().map_or(0, |released| released.memory())
    }

    /// When it ends, and why.
    pub(super) fn ends(&self) -> (Instant, Reason) {
        (self.ends_at, self.reason)
    }
}

impl Released {
    pub(super) fn new(opening: &Answered, bytes: Vec<u8>, second: Option<Box<SecondHello>>) -> Box<Self> {
        Box::new(Self { server_isn: opening.server_isn(), start: opening.client_start(), bytes, second })
    }

    fn is_settled(&self) -> bool {
        self.bytes.is_empty() && self.second.is_none()
    }

    /// With its own size.
    fn memory(&self) -> usize {
        let Self { server_isn: _, start: _, bytes, second } = self;
        let second = second.as_ref().map_or(0, |second| second.memory());
        size_of::<Self>() + bytes.capacity() + second
    }

    fn allows(&mut self, from: End, segment: &Segment<'_>) -> bool {
        if from == End::Server {
            if segment.seq == self.server_isn + 1 && SecondHello::is_answered(segment.payload) {
                self.second = None;
            }
            let end = self.start + self.bytes.len() as u32;
            if self.second.is_none() && segment.ack.is_some_and(|ack| !end.after(ack)) {
                self.bytes = Vec::new();
            }
            return true;
        }
        if segment.flags.syn {
            return !is_fast_open(segment);
        }
        // The segment's place in the stream; before its start it is negative.
        let at = i64::from(segment.seq.since(self.start) as i32);
        let (from, to) = (at.max(0), (at + segment.payload.len() as i64).min(self.bytes.len() as i64));
        if from < to {
            let known = &self.bytes[from as usize..to as usize];
            // The urgent pointer may take a byte out of what the server reads (RFC 6093 3.1).
            if *known != segment.payload[(from - at) as usize..(to - at) as usize] || segment.flags.urg {
                return false;
            }
        }
        self.follow(at, segment)
    }

    /// What is new of the client's stream. False: it is, or may become, another hello; or there is a gap before it, and it comes again.
    fn follow(&mut self, at: i64, segment: &Segment<'_>) -> bool {
        let Some(second) = &mut self.second else { return true };
        let known = self.bytes.len();
        let Ok(old) = usize::try_from(known as i64 - at) else { return segment.payload.is_empty() };
        let new = segment.payload.get(old..).unwrap_or_default();
        if new.is_empty() {
            return true;
        }
        if segment.flags.urg || known + new.len() > second.limit() {
            return false;
        }
        self.bytes.extend_from_slice(new);
        match second.look(&self.bytes) {
            Behind::More => return true,
            Behind::Same => self.second = None,
            Behind::Other => self.bytes.truncate(known),
        }
        self.second.is_none()
    }
}

/// Data on a SYN (RFC 7413): it would be a connection of its own.
fn is_fast_open(segment: &Segment<'_>) -> bool {
    segment.flags.syn && !segment.payload.is_empty()
}
