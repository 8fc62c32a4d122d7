//! Acknowledgements: those that arrive (RFC 9293 3.10.7.4, fifth check), and those that are owed.

use super::{Connection, timers::Timer};
use crate::congestion::Controller;
use crate::recovery::TimerRule;
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
        let rto = self.rtt.rto();
        if self.ack.payload_at.replace(now).is_none_or(|last| elapsed(last, now) > rto) {
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
        let window = u32::from(segment.window) << self.snd.scale;
        if ack == self.snd.una {
            self.on_repeated_ack(now, segment, window);
        } else {
            self.on_new_ack(now, segment, ack);
        }
        // RFC 9293 3.10.7.4: only a segment that is not older than the one of the last update.
        if self.snd.wl1.before(segment.seq) || (self.snd.wl1 == segment.seq && self.snd.wl2.at_or_before(ack))
        {
            self.update_window(window, segment.seq, ack);
        }
        true
    }

    /// SND.WND, with the segment that it came from.
    pub(super) fn update_window(&mut self, window: u32, seq: Seq, ack: Seq) {
        self.snd.wnd = window;
        self.snd.max_wnd = self.snd.max_wnd.max(window);
        self.snd.wl1 = seq;
        self.snd.wl2 = ack;
    }

    /// Takes a round-trip time: of the timed segment if there is one (RFC 6298 3, Karn's algorithm), which is
    /// exact to the microsecond; else from the peer's echo of our clock (RFC 7323 4), which tells
    /// retransmissions apart.
    pub(super) fn sample_round_trip(&mut self, now: Instant, segment: &Segment<'_>, ack: Seq) {
        let sample = match self.snd.timed {
            Some((end, sent)) if ack.at_or_after(end) => {
                self.snd.timed = None;
                Some(elapsed(sent, now))
            }
            Some(_) => None,
            None => self.clock.zip(segment.options.timestamps).and_then(|(c, t)| c.round_trip(now, t.ecr)),
        };
        if let Some(sample) = sample {
            self.rtt.sample(sample);
        }
    }

    /// `ack` is SND.UNA.
    fn on_repeated_ack(&mut self, now: Instant, segment: &Segment<'_>, window: u32) {
        let in_flight = self.send_point() != self.snd.una;
        if !in_flight {
            // The answer to a probe: the peer lives, and may keep its window closed (RFC 9293 3.8.6.1).
            self.snd.retries = 0;
            self.snd.progress_at = now;
            return;
        }
        // RFC 5681 2: a duplicate ACK carries nothing and changes nothing. With SACK it may change the window
        // (RFC 6675 2): receivers that tune their buffer do so for bytes ahead of a gap as well.
        let selective = self.sack && segment.options.sack[0].is_some();
        let carries = !segment.payload.is_empty() || segment.flags.fin;
        if carries || (window != self.snd.wnd && !selective) {
            return;
        }
        self.stats.duplicate_acks += 1;
        let smss = self.smss();
        if self.recovery.on_duplicate(self.snd.una, self.snd.nxt, smss, &mut self.congestion) {
            self.stats.fast_retransmits += 1;
        }
    }

    /// SND.UNA < `ack` <= SND.NXT.
    fn on_new_ack(&mut self, now: Instant, segment: &Segment<'_>, ack: Seq) {
        self.sample_round_trip(now, segment, ack);
        let flight_before = self.snd.nxt.since(self.snd.una);
        let acked = ack.since(self.snd.una);
        let acked_bytes = (ack.since_or_zero(self.snd.start) as usize).min(self.snd.buffer.len());
        let fin_acked = self.snd.fin && ack == self.queue_end() + 1;

        self.snd.una = ack;
        self.snd.buffer.acknowledge(acked_bytes);
        self.snd.start += acked_bytes as u32;
        if fin_acked {
            self.snd.start = ack;
        }
        self.snd.wnd = self.snd.wnd.saturating_sub(acked);
        self.snd.resend = self.snd.resend.map(|seq| seq.later(ack)).filter(|&seq| seq != self.snd.nxt);
        self.snd.retries = 0;
        self.snd.progress_at = now;
        self.path_progress(ack);

        let (smss, window) = (self.smss(), self.congestion.window());
        let slow_start = window < self.congestion.threshold();
        let limited = flight_before + smss > window || (slow_start && window < 2 * flight_before);
        let outstanding = (self.snd.una, self.snd.nxt);
        let rule = self.recovery.on_ack(acked, outstanding, smss, limited, &mut self.congestion);
        if self.snd.una == self.snd.nxt {
            self.timers.cancel(Timer::Retransmit); // RFC 6298 5.2
        } else if rule == TimerRule::Restart {
            self.timers.arm(Timer::Retransmit, now + self.rtt.rto()); // RFC 6298 5.3
        }
        if fin_acked {
            self.on_fin_acknowledged(now);
        }
    }
}
