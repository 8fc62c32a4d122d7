//! What is sent next: one segment at a time.
//!
//! ```text
//!   acknowledged  |     in flight      |  sent before, to be sent again  |  queued, not sent  |  FIN
//!  ---------------|--------------------|---------------------------------|--------------------|------->
//!              SND.UNA          resend (if set)                       SND.NXT          end of queue
//!                 |<--- at most min(SND.WND, cwnd + allowance) --->|
//! ```
//! The *send point* is `resend` if it is set, else SND.NXT; what lies between SND.UNA and the send point is
//! in flight.

use super::{Connection, Reset, State, timers::Timer};
use crate::congestion::Controller;
use crate::timestamps::elapsed;
use crate::{Event, Flags, Instant, Options, Payload, Seq, Transmit};

/// A segment that has been decided on; all state has been brought up to date.
pub(super) struct Outgoing {
    seq: Seq,
    ack: Option<Seq>,
    flags: Flags,
    window: u16,
    options: Options,
    /// Bytes of payload, and how far from the start of the send buffer they begin.
    from: usize,
    len: usize,
}

/// A piece of the send queue.
struct Piece {
    seq: Seq,
    len: u32,
    fin: bool,
    /// Sent into a closed window.
    probe: bool,
}

impl Piece {
    fn end(&self) -> Seq {
        self.seq + self.len + u32::from(self.fin)
    }
}

impl<P: Payload> Connection<P> {
    pub(super) fn next_segment(&mut self, now: Instant) -> Option<Outgoing> {
        if let Some(reset) = self.reset.take() {
            return Some(self.reset_segment(now, reset));
        }
        if matches!(self.state, State::Closed | State::Listen) {
            return None;
        }
        if self.snd.syn_due {
            return Some(self.syn_segment(now));
        }
        if self.state.may_transmit()
            && let Some(piece) = self.next_piece(now)
        {
            return Some(self.piece_segment(now, &piece));
        }
        let keep_alive = core::mem::take(&mut self.snd.keep_alive_due);
        if !self.ack.is_due() && !keep_alive || self.state == State::SynSent {
            return None;
        }
        // RFC 9293 3.8.4: a keep-alive lies one before SND.NXT, so that the peer has to answer.
        let seq = if keep_alive { self.snd.nxt - 1 } else { self.snd.nxt };
        Some(self.segment(now, seq, Flags::default(), 0, 0))
    }

    pub(super) fn transmit(&self, outgoing: Outgoing) -> Transmit<'_, P> {
        let Outgoing { seq, ack, flags, window, options, from, len } = outgoing;
        Transmit { seq, ack, flags, window, options, payload: self.snd.buffer.parts(from, len) }
    }

    /// Payload of a full segment without SACK blocks: the unit of congestion control.
    pub(super) fn smss(&self) -> u32 {
        let timestamps = if self.clock.is_some() { 12 } else { 0 };
        u32::from(self.snd.mss) - timestamps
    }

    /// Where sending goes on.
    pub(super) fn send_point(&self) -> Seq {
        self.snd.resend.unwrap_or(self.snd.nxt)
    }

    /// Sequence number after the last queued byte: the one of the FIN, if there is one.
    pub(super) fn queue_end(&self) -> Seq {
        self.snd.start + self.snd.buffer.len() as u32
    }

    /// Decides which piece of the queue is sent now, if any, and sees to it that a timer runs if one is
    /// needed.
    fn next_piece(&mut self, now: Instant) -> Option<Piece> {
        let limit = u32::from(self.snd.mss) - self.options(now).wire_len() as u32;
        if self.recovery.wants_retransmit() && self.snd.una != self.snd.nxt {
            self.recovery.retransmitted();
            let len = limit.min(self.snd.nxt.earlier(self.queue_end()).since(self.snd.una));
            return Some(self.piece(self.snd.una, len));
        }
        let point = self.send_point();
        let flight = point.since(self.snd.una);
        let pending = self.queue_end().since_or_zero(point);
        let fin_pending = self.snd.fin && point.at_or_before(self.queue_end());
        if pending == 0 && !fin_pending {
            self.snd.probe_due = false;
            self.timers.cancel(Timer::Persist);
            return None;
        }
        if self.snd.una == self.snd.nxt && elapsed(self.snd.last_sent, now) > self.rtt.rto() {
            self.congestion.on_idle();
        }
        let window = self.snd.wnd.saturating_sub(flight);
        let allowance = self.recovery.allowance(self.smss());
        let congestion = self.congestion.window().saturating_add(allowance).saturating_sub(flight);
        let probe = core::mem::take(&mut self.snd.probe_due) && flight == 0;
        let len = limit.min(pending).min(window).min(congestion);
        // RFC 9293 3.8.6.2.1 without Nagle: all there is, or a full segment, or half of the peer's buffer;
        // the persist timer overrides.
        // What was sent before has been worth it once, and the timer that brought us here may not be waited for
        // twice.
        let again = flight == 0 && point != self.snd.nxt;
        let full = len == limit || len >= self.snd.max_wnd.div_ceil(2);
        let worthwhile = len == pending || full || probe || again;
        // A FIN takes its place in the window.
        if worthwhile && (len > 0 || (pending == 0 && window > 0)) {
            self.snd.closed_since = None;
            self.snd.probes = 0;
            let piece = self.piece(point, len);
            return Some(Piece { fin: piece.fin && window > len, ..piece });
        }
        if flight == 0 {
            if probe {
                // One number beyond the window, and no FIN behind the byte.
                return Some(Piece { probe: true, fin: pending == 0, ..self.piece(point, pending.min(1)) });
            }
            self.wait_for_window(now);
        }
        None
    }

    /// `len` queued bytes from `seq` on, with the FIN if it follows them.
    fn piece(&self, seq: Seq, len: u32) -> Piece {
        Piece { seq, len, fin: self.snd.fin && seq + len == self.queue_end(), probe: false }
    }

    /// Nothing is in flight, and the window is too small for what is queued.
    fn wait_for_window(&mut self, now: Instant) {
        if self.snd.closed_since.is_none() {
            self.snd.closed_since = Some(now);
            self.snd.progress_at = now;
            self.snd.retries = 0;
        }
        self.timers.cancel(Timer::Retransmit);
        self.timers.arm_if_idle(Timer::Persist, now + self.rtt.backed_off(self.snd.probes));
    }

    /// Brings the send variables up to date for a piece that leaves now.
    fn piece_segment(&mut self, now: Instant, piece: &Piece) -> Outgoing {
        let end = piece.end();
        let is_new = piece.seq == self.snd.nxt;
        let again = self.snd.nxt.since_or_zero(piece.seq).min(piece.len);
        self.stats.bytes_out += u64::from(piece.len - again);
        self.stats.retransmitted_bytes += u64::from(again);
        self.stats.retransmits += u32::from(!is_new);
        if !is_new {
            // Karn's algorithm (RFC 6298 3): a round trip that a retransmission may have answered is not
            // timed.
            self.snd.timed = self.snd.timed.filter(|(timed, _)| piece.seq.at_or_after(*timed));
        } else if !piece.probe {
            self.snd.timed.get_or_insert((end, now));
        }
        if self.snd.una == self.snd.nxt {
            self.snd.progress_at = now;
        }
        let point = self.send_point();
        self.snd.nxt = self.snd.nxt.later(end);
        self.snd.last_sent = now;
        if piece.probe {
            // The peer may take the byte or not: sending goes on from here either way. The persist timer
            // sends it again.
            self.snd.resend = Some(piece.seq);
            self.snd.probes += 1;
            self.stats.window_probes += 1;
            self.timers.arm(Timer::Persist, now + self.rtt.backed_off(self.snd.probes));
        } else {
            if piece.seq == point {
                self.snd.resend = (end != self.snd.nxt).then_some(end);
            }
            self.timers.cancel(Timer::Persist);
            self.timers.arm_if_idle(Timer::Retransmit, now + self.rtt.rto()); // RFC 6298 5.1
        }
        let last = piece.seq + piece.len == self.queue_end();
        let flags = Flags { fin: piece.fin, psh: piece.len > 0 && last, ..Flags::default() };
        let from = piece.seq.since_or_zero(self.snd.start) as usize;
        self.watch_memory(now);
        self.segment(now, piece.seq, flags, from, piece.len as usize)
    }

    /// A segment of the open connection: every one acknowledges.
    fn segment(&mut self, now: Instant, seq: Seq, flags: Flags, from: usize, len: usize) -> Outgoing {
        let options = self.options(now);
        let window = self.advertise(false);
        self.acknowledged();
        Outgoing { seq, ack: Some(self.rcv.nxt), flags, window, options, from, len }
    }

    /// SYN, or SYN-ACK if the peer's SYN is here.
    fn syn_segment(&mut self, now: Instant) -> Outgoing {
        self.snd.syn_due = false;
        self.stats.retransmits += u32::from(self.snd.nxt != self.snd.una);
        self.snd.nxt = self.snd.una + 1;
        if self.snd.syn_lost {
            self.snd.timed = None;
        } else {
            self.snd.timed.get_or_insert((self.snd.nxt, now));
        }
        self.snd.last_sent = now;
        self.timers.arm_if_idle(Timer::Retransmit, now + self.rtt.rto());
        let answers = self.state == State::SynReceived;
        let window = if answers { self.advertise(true) } else { self.first_window() };
        if answers {
            self.acknowledged();
        }
        Outgoing {
            seq: self.snd.una,
            ack: answers.then_some(self.rcv.nxt),
            flags: Flags { syn: true, ..Flags::default() },
            window,
            options: Options {
                mss: Some(self.rcv.mss),
                window_scale: self.rcv.scaling.then_some(self.rcv.scale),
                sack_permitted: self.sack,
                timestamps: self.clock.map(|clock| clock.option(now)),
                ..Options::default()
            },
            from: 0,
            len: 0,
        }
    }

    fn reset_segment(&mut self, now: Instant, reset: Reset) -> Outgoing {
        let (seq, ack, options) = match reset {
            Reset::Abort => (self.snd.nxt, Some(self.rcv.nxt), self.options(now)),
            Reset::Reply { seq, ack } => (seq, ack, Options::default()),
        };
        if self.state == State::Closed {
            self.events.push(Event::Closed);
        }
        let flags = Flags { rst: true, ..Flags::default() };
        Outgoing { seq, ack, flags, window: 0, options, from: 0, len: 0 }
    }

    /// The peer knows RCV.NXT from the segment that leaves now.
    fn acknowledged(&mut self) {
        self.ack.settle();
        self.rcv.last_ack = self.rcv.nxt;
        self.timers.cancel(Timer::DelayedAck);
    }

    /// Options of a segment without SYN: at most 40 bytes.
    fn options(&self, now: Instant) -> Options {
        let block = |held: core::ops::Range<u32>| (self.rcv.nxt + held.start, self.rcv.nxt + held.end);
        let held = if self.sack && self.rcv.buffer.has_gap() {
            self.rcv.buffer.latest_held()
        } else {
            [const { None }; 3]
        };
        Options {
            timestamps: self.clock.map(|clock| clock.option(now)),
            sack: held.map(|range| range.map(block)),
            ..Options::default()
        }
    }
}
