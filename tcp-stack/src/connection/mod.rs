//! One end of one connection.

mod ack;
mod close;
mod header_prediction;
mod info;
mod keep_alive;
mod loss_recovery;
mod open;
mod path;
mod receive;
mod send;
mod state;
mod timers;

use core::fmt;

use bytes::Bytes;

pub use header_prediction::Prediction;
pub use open::AcceptError;
pub use state::State;

use crate::autotune::Autotune;
use crate::challenge::Challenges;
use crate::config::MAX_WINDOW;
use crate::congestion::Controller;
use crate::event::Events;
use crate::flight::Flight;
use crate::info::LimitClock;
use crate::path_mtu::{MIN_MSS, PathMtu};
use crate::rack::{Probe, Rack};
use crate::recovery::Recovery;
use crate::recv_buffer::RecvBuffer;
use crate::rtt::Rtt;
use crate::send_buffer::SendBuffer;
use crate::timestamps::Clock;
use crate::{Config, Event, Instant, Payload, PlainSegment, Segment, Seq, Stats, Transmit};

use ack::AckState;
use timers::{Timer, Timers};

/// Bytes that are worth queueing whatever the congestion window: a few records of TLS.
const LEAST_QUEUE: usize = 64 * 1024;

/// One end of one TCP connection, without IO and without a clock.
///
/// Begins with [`Connection::adopt`], [`Connection::connect`], [`Connection::accept`] or
/// [`Connection::listen`]. The methods come in four kinds:
/// * from the network: [`handle_segment`](Self::handle_segment), [`handle_timeout`](Self::handle_timeout),
///   [`handle_packet_too_big`](Self::handle_packet_too_big);
/// * from the application: [`send`](Self::send), [`consume`](Self::consume), [`close`](Self::close),
///   [`abort`](Self::abort), [`probe`](Self::probe), [`set_recv_limit`](Self::set_recv_limit),
///   [`set_send_limit`](Self::set_send_limit);
/// * to the driver: [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event),
///   [`poll_timeout`](Self::poll_timeout); [`poll_transmit_run`](Self::poll_transmit_run) for those who make many segments at once;
/// * looking: [`recv`](Self::recv), [`send_space`](Self::send_space), [`send_wanted`](Self::send_wanted),
///   [`state`](Self::state), [`stats`](Self::stats), [`info`](Self::info) and so on.
///
/// After each call of the first two kinds: `poll_transmit` until `None`, then `poll_event` until `None`, then
/// `poll_timeout`. (Several segments may be handled before polling: their ACKs become one. See
/// [`wants_each_ack`](Self::wants_each_ack).) Times given never go backwards.
pub struct Connection<P: Payload = Bytes> {
    config: Config,
    state: State,
    snd: SendSide<P>,
    rcv: ReceiveSide,
    /// Our clock and the peer's, if both ends speak timestamps; before the handshake: if we offer them.
    clock: Option<Clock>,
    /// Both ends speak SACK; before the handshake: we offer it.
    sack: bool,
    ack: AckState,
    challenges: Challenges,
    flight: Flight,
    rack: Rack,
    tail_probe: Probe,
    recovery: Recovery,
    congestion: Controller,
    rtt: Rtt,
    path: PathMtu,
    timers: Timers,
    /// A RST to be sent.
    reset: Option<Reset>,
    /// Last time that an acceptable segment arrived.
    last_heard: Instant,
    /// Probes of a silent peer since it was heard last.
    keep_alive_probes: u32,
    events: Events,
    stats: Stats,
    limits: LimitClock,
}

/// What is known of the bytes we send. The ruler is in `connection/send.rs`.
///
/// `una <= start <= una + 1`, `nxt <= end of buffer + 1`, `wnd <= max_wnd`
struct SendSide<P> {
    /// SND.UNA, the oldest sequence number not acknowledged.
    una: Seq,
    /// SND.NXT, one after the highest sequence number ever sent.
    nxt: Seq,
    /// Sequence number of the first byte in `buffer`: `una`, or one more while our SYN is not acknowledged.
    start: Seq,
    buffer: SendBuffer<P>,
    /// SND.WND in bytes, counted from `una`.
    wnd: u32,
    /// Largest window that the peer ever offered.
    max_wnd: u32,
    /// SND.WL1 and SND.WL2, the segment of the last window update.
    wl1: Seq,
    wl2: Seq,
    /// Shift of the window field in what arrives.
    scale: u8,
    /// Largest payload that the peer accepts and the path carries, options not counted.
    mss: u16,
    /// A FIN follows the last byte of `buffer`.
    fin: bool,
    /// A SYN is to be sent (again).
    syn_due: bool,
    /// A SYN had to be sent again.
    syn_lost: bool,
    /// A probe of the window is to be sent.
    probe_due: bool,
    /// A probe of an idle peer is to be sent.
    keep_alive_due: bool,
    /// Probes since the window was last open.
    probes: u32,
    /// Since when the window has been too small to send anything.
    closed_since: Option<Instant>,
    /// Expiries since the last progress.
    retries: u32,
    /// When something was acknowledged last, or was first sent after all had been acknowledged.
    progress_at: Instant,
    last_sent: Instant,
    /// When our SYN was sent, if it was sent once.
    syn_sent: Option<Instant>,
    /// The next sample of the round-trip time is of a segment that reaches beyond this.
    sample_from: Seq,
    /// SND.NXT when the congestion window was last filled: it may grow by what lies before.
    limited_until: Seq,
    /// When what has left will have left at the rate of pacing.
    pace_at: Instant,
}

/// What is known of the bytes we receive. The ruler is in `connection/receive.rs`.
///
/// `nxt <= fin < nxt + 2^31`, `nxt <= adv`, `told <= adv`, `last_ack <= nxt`
struct ReceiveSide {
    /// RCV.NXT, the next sequence number expected.
    nxt: Seq,
    /// Right edge of the largest window ever promised: what lies before it must be taken.
    adv: Seq,
    /// Right edge as the peer computes it from the last segment sent.
    told: Seq,
    /// Acknowledgement number sent last (Last.ACK.sent of RFC 7323).
    last_ack: Seq,
    /// Shift of the window field in what is sent.
    scale: u8,
    /// Window scaling was offered in our SYN (and, once the peer's SYN is here, in the peer's).
    scaling: bool,
    /// Largest payload that we accept, as our SYN says.
    mss: u16,
    /// Payload of a full segment, as far as seen.
    segment_size: u32,
    buffer: RecvBuffer,
    /// Most bytes to hold from now on, as the owner says, and what of it the path has use for.
    owners_limit: usize,
    tuner: Autotune,
    /// Sequence number of the peer's FIN.
    fin: Option<Seq>,
    /// Bytes that arrived a second time, not reported yet: first and one after the last (RFC 2883).
    duplicate: Option<(Seq, Seq)>,
    /// When payload last arrived that was taken.
    data_at: Instant,
}

/// A RST to be sent.
#[derive(Clone, Copy, Debug)]
enum Reset {
    /// The end of this connection: numbers as in any segment of it (RFC 9293 3.10.5).
    Abort,
    /// The answer to a segment that belongs to no connection (RFC 9293 3.10.7.1).
    Reply { seq: Seq, ack: Option<Seq> },
}

/// Why bytes were not queued. The caller's own doing; the payload is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The payload is larger than [`Connection::send_space`].
    Full,
    /// Our direction is closed, by [`Connection::close`] or by the end of the connection.
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full => "send queue is full",
            SendError::Closed => "connection is closed for sending",
        })
    }
}

impl core::error::Error for SendError {}

impl<P: Payload> Connection<P> {
    /// Takes in a segment of this connection. Ports, addresses and checksum were checked by the caller.
    pub fn handle_segment(&mut self, now: Instant, segment: &Segment<'_>) {
        if let Some(plain) = PlainSegment::of(segment)
            && self.handle_plain(now, &plain) == Prediction::Right
        {
            return;
        }
        self.stats.segments_in += 1;
        match self.state {
            State::Closed => self.refuse(now, segment),
            State::Listen => self.on_segment_in_listen(now, segment),
            State::SynSent => self.on_segment_in_syn_sent(now, segment),
            _ => self.on_segment(now, segment),
        }
        self.watch_memory(now);
    }

    /// Lets timers expire that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_timers(now);
    }

    /// When to call [`Connection::handle_timeout`] next. Calling it earlier does no harm.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next segment to send. Call until `None`.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_, P>> {
        self.poll_transmit_run(now, 0)
    }

    /// Likewise, with the segments after it that differ from it in nothing but their place in the stream, as long as they are no more than
    /// `most` bytes of payload together. They are those that `poll_transmit` would give one by one;
    /// [`Transmit::segments`] takes them apart.
    pub fn poll_transmit_run(&mut self, now: Instant, most: usize) -> Option<Transmit<'_, P>> {
        let outgoing = self.next_segments(now, most)?;
        self.stats.segments_out += outgoing.count() as u64;
        Some(self.transmit(outgoing))
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Bytes received in order and not consumed.
    pub fn recv(&self) -> &[u8] {
        self.rcv.buffer.readable()
    }

    /// Gives `bytes` bytes of [`Connection::recv`] back, at most all of them; their room goes into the
    /// window.
    pub fn consume(&mut self, bytes: usize) {
        self.rcv.tuner.on_taken(bytes.min(self.rcv.buffer.len()));
        self.rcv.buffer.consume(bytes);
        self.consider_window_update();
    }

    /// Bytes that [`Connection::send`] takes now.
    pub fn send_space(&self) -> usize {
        if self.may_send() { self.config.send_limit.saturating_sub(self.snd.buffer.len()) } else { 0 }
    }

    /// Changes how many bytes may be queued at most. What is queued stays.
    pub fn set_send_limit(&mut self, bytes: usize) {
        self.config.send_limit = bytes.min(MAX_WINDOW);
    }

    /// Bytes that are worth queueing now, at most [`Connection::send_space`]: with twice the congestion window queued
    /// it can double before it has to wait for more, and bytes beyond that would only take memory and grow old.
    pub fn send_wanted(&self) -> usize {
        let useful = (2 * self.congestion.window() as usize).max(LEAST_QUEUE);
        useful.saturating_sub(self.snd.buffer.len()).min(self.send_space())
    }

    /// Queues bytes. They are kept until acknowledged and must not change.
    pub fn send(&mut self, payload: P) -> Result<(), SendError> {
        if !self.may_send() {
            return Err(SendError::Closed);
        }
        if payload.len() > self.send_space() {
            return Err(SendError::Full);
        }
        self.snd.buffer.push(payload);
        Ok(())
    }

    /// Something is queued that was never sent.
    pub fn has_unsent(&self) -> bool {
        self.snd.buffer.len() > self.snd.nxt.since(self.snd.una) as usize
    }

    /// Bytes queued: not sent, or sent and not acknowledged.
    pub fn queued(&self) -> usize {
        self.snd.buffer.len()
    }

    /// Bytes of memory held for both directions, beside the connection's own size: what is queued, the buffer of what was
    /// received, and the records of what is in flight. It goes back to nothing a while after the last byte.
    pub fn memory(&self) -> usize {
        self.snd.buffer.memory() + self.rcv.buffer.memory() + self.flight.memory()
    }

    /// Since when the peer has kept its window too small for what is queued, with nothing in flight.
    pub fn window_closed_since(&self) -> Option<Instant> {
        self.snd.closed_since.filter(|_| self.queued() > 0)
    }

    /// Whether all that was queued, and the FIN if there is one, has been acknowledged.
    pub fn is_send_drained(&self) -> bool {
        let fin_outstanding = self.snd.fin && self.state.may_transmit();
        self.snd.buffer.len() == 0 && !fin_outstanding
    }

    /// Changes how many bytes may be held at most: back-pressure. The window is tuned within it. What the peer has been promised stays promised (RFC
    /// 9293 SHLD-14); a lower limit only keeps the window from moving on.
    pub fn set_recv_limit(&mut self, bytes: usize) {
        self.rcv.owners_limit = bytes.min(MAX_WINDOW);
        self.consider_window_update();
    }

    /// Whether to poll after each segment: something is missing, and without SACK the number of our duplicate ACKs is all
    /// that tells the peer so (RFC 5681 3.2); or bytes have come twice, of which an ACK tells only once (RFC 2883 4).
    /// Otherwise several segments may be handled before one poll.
    pub fn wants_each_ack(&self) -> bool {
        self.rcv.duplicate.is_some() || (!self.sack && self.rcv.buffer.has_gap())
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Has each segment in flight stand for itself, as if it had been sent alone; for tests, which see that nothing else changes by it.
    #[doc(hidden)]
    pub fn split_runs(&mut self) {
        self.flight.split_runs();
    }

    /// Checks what must hold between calls; for tests. The error says what does not.
    #[doc(hidden)]
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let (snd, rcv) = (&self.snd, &self.rcv);
        let queued = snd.buffer.len() as u32;
        let probed = snd.nxt.since(self.flight.end());
        let waits = self.timers.is_armed(Timer::Retransmit) || self.timers.is_armed(Timer::Persist);
        if self.state.is_synchronized() {
            self.flight.check()?;
        }
        let rules = [
            (!self.state.is_synchronized() || self.flight.start() == snd.una, "flight begins at una"),
            (!self.state.is_synchronized() || probed <= 1, "flight ends at nxt, or one before"),
            (
                !self.state.may_transmit() || snd.una == snd.nxt || waits || snd.probe_due,
                "a timer for what is in flight",
            ),
            (self.flight.len() <= self.config.flight_segments as usize, "flight within its limit"),
            (self.pipe() <= self.flight.in_flight(), "pipe <= flight"),
            (snd.start.since(snd.una) <= 1, "una <= start <= una + 1"),
            (
                self.state == State::Closed || snd.nxt.at_or_before(snd.start + queued + u32::from(snd.fin)),
                "nxt <= end of queue and FIN",
            ),
            (snd.wnd <= snd.max_wnd, "wnd <= max_wnd"),
            (snd.buffer.len() <= MAX_WINDOW, "queue within the largest window"),
            (rcv.nxt.at_or_before(rcv.adv), "nxt <= adv"),
            (rcv.told.at_or_before(rcv.adv), "told <= adv"),
            (rcv.last_ack.at_or_before(rcv.nxt), "last_ack <= nxt"),
            (rcv.buffer.check(), "receive buffer"),
            (rcv.buffer.held_end().is_none_or(|end| end <= rcv.adv.since(rcv.nxt)), "held bytes within adv"),
            (self.congestion.window() >= self.smss(), "cwnd >= smss"),
            (snd.mss >= MIN_MSS, "mss >= MIN_MSS"),
            (self.state != State::Closed || self.timers.next().is_none(), "no timer when closed"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
    }

    fn may_send(&self) -> bool {
        let open =
            matches!(self.state, State::SynSent | State::SynReceived | State::Established | State::CloseWait);
        open && !self.snd.fin
    }
}

impl ReceiveSide {
    /// Most bytes to hold from now on.
    fn limit(&self) -> usize {
        self.owners_limit.min(self.tuner.limit())
    }
}

impl<P: Payload> fmt::Debug for Connection<P> {
    /// Numbers only: payload never shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("state", &self.state)
            .field("una", &self.snd.una)
            .field("nxt", &self.snd.nxt)
            .field("in_flight", &self.flight.in_flight())
            .field("lost", &self.flight.lost())
            .field("sacked", &self.flight.sacked())
            .field("cwnd", &self.congestion.window())
            .field("phase", &self.recovery.phase)
            .field("wnd", &self.snd.wnd)
            .field("queued", &self.snd.buffer.len())
            .field("rcv_nxt", &self.rcv.nxt)
            .field("rcv_adv", &self.rcv.adv)
            .field("readable", &self.rcv.buffer.len())
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}

impl<P: Payload> SendSide<P> {
    /// The connection is over: nothing will be sent (again).
    fn forget(&mut self) {
        self.buffer.clear();
        self.syn_due = false;
        self.probe_due = false;
        self.keep_alive_due = false;
    }
}
