//! What is sent next: one segment at a time, or as many as differ only in their place in the stream.
//!
//! ```text
//!   acknowledged  |  in flight, lost or sacked (`flight`)  |  probe  |  queued, not sent  |  FIN
//!  ---------------|----------------------------------------|---------|--------------------|------->
//!              SND.UNA                               end of flight  SND.NXT         end of queue
//!                 |<------- at most SND.WND; in flight at most cwnd ------->|
//! ```
//! What is lost goes first, then what is queued. One byte, or the FIN, may lie between the end of the flight and SND.NXT: it
//! was sent into a closed window, and nobody knows whether it was taken.

use super::{Connection, Reset, State, timers::Timer};
use crate::flight::{Lost, MOST_IN_RUN};
use crate::recovery::Phase;
use crate::spurious::Frto;
use crate::timestamps::elapsed;
use crate::{Duration, Event, Flags, Instant, Limit, Options, Payload, Seq, Timestamps, Transmit};

/// What pacing lets out at once: timers are no finer in most drivers.
const PACING_BURST: Duration = Duration::from_millis(1);

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
    /// Payload of each segment, and how many segments it is in all.
    segment: usize,
    count: usize,
}

impl Outgoing {
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// A piece of the send queue.
pub(super) struct Piece {
    seq: Seq,
    len: u32,
    fin: bool,
    kind: Kind,
}

/// Why a piece is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It follows the flight.
    New,
    /// It is the first that is lost.
    Again,
    /// It follows the flight, or is its last segment, and asks for an answer (RFC 8985 7.3).
    TailNew,
    TailAgain,
    /// Sent into a closed window (RFC 9293 3.8.6.1).
    WindowProbe,
}

impl Piece {
    /// Sequence numbers taken.
    fn span(&self) -> u32 {
        self.len + u32::from(self.fin)
    }
}

impl<P: Payload> Connection<P> {
    /// The next segment, and those that go on where it ends, at most `most` bytes of payload then.
    pub(super) fn next_segments(&mut self, now: Instant, most: usize) -> Option<Outgoing> {
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
            let mut outgoing = self.piece_segment(now, &piece);
            if piece.kind == Kind::New && !piece.fin && most > outgoing.len {
                self.go_on(now, &mut outgoing, most - piece.len as usize);
            }
            return Some(outgoing);
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
        let Outgoing { seq, ack, flags, window, options, from, len, segment, count: _ } = outgoing;
        Transmit { seq, ack, flags, window, options, segment, payload: self.snd.buffer.parts(from, len) }
    }

    /// Adds full segments to a full one that was new, as far as the next calls would send them in the same way, `most` bytes at most.
    /// They wear the same header but for their sequence number, as nothing has happened in between.
    fn go_on(&mut self, now: Instant, outgoing: &mut Outgoing, most: usize) {
        let size = self.smss();
        let is_full = outgoing.len == size as usize && outgoing.options.sack[0].is_none();
        if !is_full || self.flight.lost() > 0 {
            return;
        }
        let begin = self.flight.end();
        // The one that a FIN goes with is no run's.
        let pending = self.queue_end().since_or_zero(begin).saturating_sub(u32::from(self.snd.fin));
        let window = self.snd.wnd.saturating_sub(begin.since(self.snd.una));
        let congestion = self.congestion.window().saturating_sub(self.pipe());
        let bytes = pending.min(window).min(congestion).min(most.min(u32::MAX as usize) as u32);
        let room = (self.config.flight_segments as usize).saturating_sub(self.flight.len());
        let mut count = ((bytes / size) as usize).min(room).min(MOST_IN_RUN - 1);
        if let Some(rate) = self.pacing_rate() {
            let wanted = count;
            count = 0;
            while count < wanted && self.snd.pace_at - PACING_BURST <= now {
                self.pace(now, size, rate);
                count += 1;
            }
        }
        if count == 0 {
            return;
        }
        let bytes = size * count as u32;
        self.stats.bytes_out += u64::from(bytes);
        self.snd.nxt = begin + bytes;
        self.path.on_sent(self.snd.nxt);
        self.flight.push(size, count, now, false);
        if let Phase::Fast(prr) = &mut self.recovery.phase {
            prr.on_sent(bytes);
        }
        self.schedule_probe(now);
        outgoing.flags.psh = self.snd.nxt == self.queue_end();
        outgoing.len += bytes as usize;
        outgoing.count += count;
    }

    /// Payload of a full segment without SACK blocks: the unit of congestion control.
    pub(super) fn smss(&self) -> u32 {
        let timestamps = if self.clock.is_some() { 12 } else { 0 };
        u32::from(self.snd.mss) - timestamps
    }

    /// Most payload of a segment that leaves now, with its options.
    pub(super) fn payload_limit(&self) -> u32 {
        if !self.owes_sack() {
            return self.smss();
        }
        // How long timestamps are does not depend on the time.
        let timestamps = self.clock.map(|_| Timestamps { val: 0, ecr: 0 });
        let options = Options { timestamps, sack: self.sack_blocks(), ..Options::default() };
        u32::from(self.snd.mss) - options.wire_len() as u32
    }

    /// Sequence number after the last queued byte: the one of the FIN, if there is one.
    pub(super) fn queue_end(&self) -> Seq {
        self.snd.start + self.snd.buffer.len() as u32
    }

    /// Whether there is something that was never sent, and room for it in the peer's window.
    pub(super) fn has_more_to_send(&self) -> bool {
        let end = self.flight.end();
        let pending = end.before(self.queue_end()) || self.snd.fin && end == self.queue_end();
        pending && end.since(self.snd.una) < self.snd.wnd
    }

    /// Decides which piece of the queue is sent now, if any, and sees to it that a timer runs if one is
    /// needed.
    fn next_piece(&mut self, now: Instant) -> Option<Piece> {
        if self.snd.buffer.len() == 0 && !self.snd.fin {
            self.tail_probe.due = false;
            return self.nothing_to_send(now);
        }
        let limit = self.payload_limit();
        if core::mem::take(&mut self.tail_probe.due)
            && let Some(piece) = self.tail_piece(limit)
        {
            return Some(piece);
        }
        let lost = self.flight.first_lost();
        if lost.is_some() && self.recovery.frto == Frto::New {
            let piece = self.new_piece(now, limit);
            if piece.is_some() || self.flight.in_flight() > 0 {
                return piece;
            }
            // Nothing new can go out, so nothing will answer.
            self.recovery.frto = Frto::Off;
        }
        match lost {
            None => self.new_piece(now, limit),
            // F-RTO, step 1: no more than the first until an answer is here.
            Some((_, false)) if self.recovery.frto == Frto::Head => None,
            // RFC 6298 5.4: the first is sent when the timer expires, whatever else has just left.
            Some((lost, _)) => self.lost_piece(now, lost, limit, self.recovery.frto == Frto::Head),
        }
    }

    /// RFC 8985 7.3: the probe is new if there is something new, and goes out whatever the congestion window says; else it
    /// is the last segment again.
    pub(super) fn tail_piece(&self, limit: u32) -> Option<Piece> {
        if self.has_more_to_send() && self.flight.len() < self.config.flight_segments as usize {
            let at = self.flight.end();
            let room = self.snd.wnd.saturating_sub(at.since(self.snd.una));
            let len = limit.min(self.queue_end().since_or_zero(at)).min(room);
            let piece = self.piece(at, len, Kind::TailNew);
            return Some(Piece { fin: piece.fin && room > len, ..piece });
        }
        let last = self.flight.last_in_flight()?;
        let piece = self.repeat(last, limit, Kind::TailAgain);
        // One that does not fit into a segment any more is left to the timer.
        (piece.span() == last.len).then_some(piece)
    }

    /// A lost segment, or what fits of it by now.
    fn lost_piece(&mut self, now: Instant, lost: Lost, limit: u32, timed_out: bool) -> Option<Piece> {
        let pipe = self.pipe();
        let room = (self.snd.una + self.snd.wnd).since_or_zero(lost.seq);
        let mut piece = self.repeat(lost, limit, Kind::Again);
        // RFC 9293 3.8.6, SHLD-16: not beyond a window that was taken back; a part only where it is worth it.
        if piece.span() > room && room > 0 && room >= self.snd.max_wnd.div_ceil(2) {
            (piece.len, piece.fin) = (room, false);
        }
        if piece.span() <= room {
            let cwnd = self.congestion.window();
            if timed_out || pipe == 0 || pipe.saturating_add(piece.span()) <= cwnd {
                if !self.may_leave(now) {
                    return None;
                }
                self.window_is_open();
                return Some(piece);
            }
            self.note_limit(now, Limit::Congestion);
            return None;
        }
        self.note_limit(now, Limit::Receiver);
        if self.flight.in_flight() > 0 {
            return None;
        }
        if core::mem::take(&mut self.snd.probe_due) {
            let one = Lost { seq: self.snd.una, len: 1 };
            return Some(self.repeat(one, 1, Kind::WindowProbe));
        }
        self.wait_for_window(now);
        None
    }

    /// What follows the flight.
    fn new_piece(&mut self, now: Instant, limit: u32) -> Option<Piece> {
        let point = self.flight.end();
        let ahead = point.since(self.snd.una);
        let pending = self.queue_end().since_or_zero(point);
        let fin_pending = self.snd.fin && point.at_or_before(self.queue_end());
        if pending == 0 && !fin_pending {
            return self.nothing_to_send(now);
        }
        let idle = elapsed(self.snd.last_sent, now);
        if self.snd.una == self.snd.nxt && idle > self.rtt.rto() {
            self.congestion.on_idle(idle, self.rtt.rto());
        }
        let (pipe, window) = (self.pipe(), self.snd.wnd.saturating_sub(ahead));
        let congestion = self.congestion.window().saturating_sub(pipe);
        let probe = core::mem::take(&mut self.snd.probe_due) && self.flight.is_empty();
        let len = limit.min(pending).min(window).min(congestion);
        // RFC 9293 3.8.6.2.1 without Nagle: all there is, or a full segment, or half of the peer's buffer;
        // the persist timer overrides.
        let worthwhile = len == pending || len == limit || len >= self.snd.max_wnd.div_ceil(2) || probe;
        if self.flight.len() >= self.config.flight_segments as usize {
            self.stats.flight_limited += 1;
            self.note_limit(now, Limit::Congestion);
            return None;
        }
        // A FIN takes its place in the window.
        if worthwhile && (len > 0 || (pending == 0 && window > 0)) {
            if !probe && !self.may_leave(now) {
                return None;
            }
            self.window_is_open();
            let piece = self.piece(point, len, Kind::New);
            return Some(Piece { fin: piece.fin && window > len, ..piece });
        }
        let congested = window >= limit.min(pending).max(1);
        self.note_limit(now, if congested { Limit::Congestion } else { Limit::Receiver });
        if self.flight.is_empty() {
            if probe {
                let one = self.piece(point, pending.min(1), Kind::WindowProbe);
                return Some(Piece { fin: one.fin && one.len == 0, ..one });
            }
            self.wait_for_window(now);
        }
        None
    }

    fn nothing_to_send(&mut self, now: Instant) -> Option<Piece> {
        self.snd.probe_due = false;
        self.timers.cancel(Timer::Persist);
        self.note_limit(now, Limit::Application);
        None
    }

    /// `len` queued bytes from `seq` on, with the FIN if it follows them.
    fn piece(&self, seq: Seq, len: u32, kind: Kind) -> Piece {
        Piece { seq, len, fin: self.snd.fin && seq + len == self.queue_end(), kind }
    }

    /// What was sent before, or its first `limit` bytes.
    fn repeat(&self, lost: Lost, limit: u32, kind: Kind) -> Piece {
        let payload = lost.len.min(self.queue_end().since_or_zero(lost.seq));
        let piece = self.piece(lost.seq, payload.min(limit), kind);
        // A FIN that was sent in a segment of its own is repeated in one.
        Piece { fin: piece.fin && piece.len < lost.len, ..piece }
    }

    /// Bytes per second, twice the congestion window in a round trip in slow start so that it can double, else a little more
    /// than the window, as Linux has it.
    pub(super) fn pacing_rate(&self) -> Option<u64> {
        let srtt = self.rtt.srtt().filter(|srtt| self.config.pacing && *srtt > Duration::ZERO)?;
        let tenths = if self.congestion.is_slow_start() { 20 } else { 12 };
        Some((u64::from(self.congestion.window()) * tenths * 100_000 / srtt.total_micros()).max(1))
    }

    /// Whether pacing lets something out now; if not, the timer says when.
    fn may_leave(&mut self, now: Instant) -> bool {
        let due = self.snd.pace_at - PACING_BURST;
        if due <= now || self.pacing_rate().is_none() {
            return true;
        }
        self.note_limit(now, Limit::Congestion);
        self.timers.arm(Timer::Pace, due);
        false
    }

    /// So many sequence numbers leave, at so many a second.
    fn pace(&mut self, now: Instant, span: u32, rate: u64) {
        let from = if self.snd.pace_at > now { self.snd.pace_at } else { now };
        self.snd.pace_at = from + Duration::from_micros(u64::from(span) * 1_000_000 / rate);
    }

    fn window_is_open(&mut self) {
        self.snd.closed_since = None;
        self.snd.probes = 0;
    }

    /// Nothing is in flight, and the window is too small for what is to be sent.
    fn wait_for_window(&mut self, now: Instant) {
        if self.snd.closed_since.is_none() {
            self.snd.closed_since = Some(now);
            self.snd.progress_at = now;
            self.snd.retries = 0;
        }
        self.timers.cancel(Timer::Retransmit);
        self.timers.arm_if_idle(Timer::Persist, now + self.rtt.backed_off(self.snd.probes));
    }

    /// Nothing more is sent now, and why. The congestion window may grow by what is in flight if it is what limits (RFC
    /// 5681 3.1, RFC 7661), or, in slow start, if half of it is filled: it would limit one round trip later.
    fn note_limit(&mut self, now: Instant, limit: Limit) {
        let filled =
            self.congestion.is_slow_start() && self.congestion.window() < self.pipe().saturating_mul(2);
        if limit == Limit::Congestion || filled {
            self.snd.limited_until = self.snd.nxt;
        }
        self.limits.note(now, limit);
    }

    /// Brings the send variables up to date for a piece that leaves now.
    fn piece_segment(&mut self, now: Instant, piece: &Piece) -> Outgoing {
        let end = piece.seq + piece.span();
        let is_new = piece.seq == self.snd.nxt;
        let again = self.snd.nxt.since_or_zero(piece.seq).min(piece.len);
        self.stats.bytes_out += u64::from(piece.len - again);
        self.stats.retransmitted_bytes += u64::from(again);
        self.stats.retransmits += u32::from(!is_new);
        if self.snd.una == self.snd.nxt {
            self.snd.progress_at = now;
        }
        self.snd.nxt = self.snd.nxt.later(end);
        self.snd.last_sent = now;
        self.record(now, piece, is_new);
        let last = piece.seq + piece.len == self.queue_end();
        let flags = Flags { fin: piece.fin, psh: piece.len > 0 && last, ..Flags::default() };
        let from = piece.seq.since_or_zero(self.snd.start) as usize;
        self.watch_memory(now);
        self.segment(now, piece.seq, flags, from, piece.len as usize)
    }

    /// Notes what leaves, and sets the timers for it.
    fn record(&mut self, now: Instant, piece: &Piece, is_new: bool) {
        self.path.on_sent(piece.seq + piece.span());
        let is_head = piece.seq == self.snd.una;
        match piece.kind {
            Kind::New | Kind::TailNew => self.flight.push(piece.span(), 1, now, !is_new),
            Kind::Again => self.flight.resend(piece.span(), now),
            Kind::TailAgain => self.flight.resend_last(now),
            Kind::WindowProbe => {
                // The peer may take the byte or not: sending goes on from here either way. The persist timer sends it
                // again.
                self.flight.blur_head();
                self.snd.probes += 1;
                self.stats.window_probes += 1;
                return self.timers.arm(Timer::Persist, now + self.rtt.backed_off(self.snd.probes));
            }
        }
        if let Phase::Fast(prr) = &mut self.recovery.phase {
            prr.on_sent(piece.span());
        }
        if let Some(rate) = self.pacing_rate() {
            self.pace(now, piece.span(), rate);
        }
        self.timers.cancel(Timer::Persist);
        self.timers.arm_if_idle(Timer::Retransmit, now + self.rtt.rto()); // RFC 6298 5.1
        match piece.kind {
            Kind::Again => {
                let clock = self.clock.map(|clock| clock.value(now));
                if let Some(episode) = &mut self.recovery.episode {
                    episode.on_resent(piece.len, clock);
                }
                if is_head {
                    // It has all of the time again, and RACK finds out earlier if it is lost again.
                    self.timers.arm(Timer::Retransmit, now + self.rtt.rto());
                }
            }
            Kind::TailNew | Kind::TailAgain => {
                let repeated = (piece.kind == Kind::TailAgain).then_some((piece.seq, piece.seq + piece.len));
                self.tail_probe.on_sent(self.snd.nxt, repeated);
                self.stats.tail_probes += 1;
            }
            Kind::New | Kind::WindowProbe => self.schedule_probe(now),
        }
    }

    /// A segment of the open connection: every one acknowledges.
    fn segment(&mut self, now: Instant, seq: Seq, flags: Flags, from: usize, len: usize) -> Outgoing {
        let options = self.options(now);
        let window = self.advertise(false);
        self.acknowledged();
        Outgoing { seq, ack: Some(self.rcv.nxt), flags, window, options, from, len, segment: len, count: 1 }
    }

    /// SYN, or SYN-ACK if the peer's SYN is here.
    fn syn_segment(&mut self, now: Instant) -> Outgoing {
        self.snd.syn_due = false;
        // Karn's algorithm (RFC 6298 3), whether the timer asked for it again or a repeated SYN did.
        let again = self.snd.nxt != self.snd.una;
        self.stats.retransmits += u32::from(again);
        self.snd.nxt = self.snd.una + 1;
        self.snd.syn_sent = if again { None } else { Some(now) };
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
            segment: 0,
            count: 1,
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
        Outgoing { seq, ack, flags, window: 0, options, from: 0, len: 0, segment: 0, count: 1 }
    }

    /// The peer knows RCV.NXT from the segment that leaves now.
    fn acknowledged(&mut self) {
        self.ack.settle();
        self.rcv.last_ack = self.rcv.nxt;
        self.rcv.duplicate = None;
        self.timers.cancel(Timer::DelayedAck);
    }

    /// Options of a segment without SYN: at most 40 bytes.
    fn options(&self, now: Instant) -> Options {
        Options {
            timestamps: self.clock.map(|clock| clock.option(now)),
            sack: if self.owes_sack() { self.sack_blocks() } else { Default::default() },
            ..Options::default()
        }
    }
}
