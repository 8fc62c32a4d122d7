//! Acknowledgements: those that arrive (RFC 9293 3.10.7.4, fifth check), and those that are owed.

use super::{Connection, timers::Timer};
use crate::timestamps::elapsed;
use crate::{Instant, Payload, Segment, Seq};

/// Segments with payload after which an ACK is due at once (RFC 9293 3.8.6.3).
const SEGMENTS_PER_ACK: u32 = 2;

/// What is owed to the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckState {
    due: bool,
    /// Segments with payload since the last ACK.
    segments: u32,
    /// Full segments to be acknowledged one by one, and when payload arrived last.
    quick: u32,
    payload_at: Option<Instant>,
}

impl AckState {
    /// An ACK is to be sent as soon as possible, on its own if need be.
    pub(super) fn owe_now(&mut self) {
        self.due = true;
    }

    /// Payload has arrived at this very time that was in order.
    pub(super) fn came_at(&self, now: Instant) -> bool {
        self.payload_at == Some(now)
    }

    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// An ACK was sent, alone or with payload.
    pub(super) fn settle(&mut self) {
        self.due = false;
        self.segments = 0;
    }
}

impl<P: Payload> Connection<P> {
    /// Owes an ACK for payload that arrived in order: for every second segment at once, and for each full one while
    /// the peer has few in flight; else after a while. PSH asks for nothing (RFC 9293 3.9.1.2).
    pub(super) fn owe_ack_for_payload(&mut self, now: Instant, len: usize) {
        self.ack.segments += 1;
        let last = self.ack.payload_at.replace(now);
        if last.is_none_or(|last| last < now && elapsed(last, now) > self.rtt.rto()) {
            self.ack.quick = self.config.quick_acks;
        }
        let quick = self.ack.quick > 0 && len as u32 >= self.rcv.segment_size;
        self.ack.quick -= u32::from(quick);
        let two_segments = 2 * u32::from(self.snd.mss);
        let many = self.ack.segments >= SEGMENTS_PER_ACK;
        if quick || many || self.rcv.nxt.since(self.rcv.last_ack) >= two_segments {
            self.ack.owe_now();
        } else {
            self.timers.arm_if_idle(Timer::DelayedAck, now + self.config.delayed_ack);
        }
    }

    /// Takes the acknowledgement and the window of a segment. Returns whether the segment's payload is to be
    /// used.
    pub(super) fn on_ack(&mut self, now: Instant, segment: &Segment<'_>, ack: Seq) -> bool {
        // RFC 5961 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT, or a stranger has made it.
        if ack.after(self.snd.nxt) || ack.before(self.snd.una - self.snd.max_wnd) {
            self.stats.bad_acks += 1;
            self.challenge(now);
            return false;
        }
        // An old ACK says nothing new, but its segment's payload may be (RFC 9293 3.10.7.4).
        if ack.before(self.snd.una) {
            return true;
        }
        self.take_acknowledgement(now, segment, ack, u32::from(segment.window) << self.snd.scale);
        self.take_window(segment.seq, segment.window, ack);
        true
    }

    /// RFC 9293 3.10.7.4: only a segment that is not older than the one of the last update.
    pub(super) fn take_window(&mut self, seq: Seq, window: u16, ack: Seq) {
        let (wl1, wl2) = (self.snd.wl1, self.snd.wl2);
        if wl1.before(seq) || (wl1 == seq && wl2.at_or_before(ack)) {
            self.update_window(u32::from(window) << self.snd.scale, seq, ack);
        }
    }

    /// SND.WND, with the segment that it came from.
    pub(super) fn update_window(&mut self, window: u32, seq: Seq, ack: Seq) {
        self.snd.wnd = window;
        self.snd.max_wnd = self.snd.max_wnd.max(window);
        self.snd.wl1 = seq;
        self.snd.wl2 = ack;
    }
}
