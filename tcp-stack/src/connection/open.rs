//! The beginnings of a connection: adoption, and the handshake both ways (RFC 9293 3.5, 3.10.7.2, 3.10.7.3).

use core::fmt;

use super::ack::AckState;
use super::timers::{Timer, Timers};
use super::{Connection, ReceiveSide, SendSide, State};
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
use crate::timestamps::{Clock, elapsed};
use crate::{Adoption, Config, Event, Instant, Open, Payload, Segment, Seq, Stats};

/// RFC 9293 3.7.1: segment size of a peer that names none.
const DEFAULT_MSS: u16 = 536;

/// RFC 7323 2.3.
const MAX_SCALE: u8 = 14;

/// Why a segment did not open a connection. The peer is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// It is no SYN, or one with ACK, RST or FIN.
    NotASyn,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("segment does not open a connection")
    }
}

impl core::error::Error for AcceptError {}

/// The numbers in which the beginnings differ.
struct Start {
    state: State,
    snd_una: Seq,
    snd_nxt: Seq,
    /// Sequence number of the first byte to send.
    first: Seq,
    snd_wnd: u32,
    snd_scale: u8,
    rcv_nxt: Seq,
    rcv_adv: Seq,
    rcv_scale: u8,
    scaling: bool,
    mss: u16,
    sack: bool,
    clock: Option<Clock>,
}

impl<P: Payload> Connection<P> {
    /// Takes over one end of a live connection, in ESTABLISHED. Nothing is sent for it: the peer must not
    /// notice.
    pub fn adopt(now: Instant, config: Config, adoption: Adoption) -> Self {
        let most = config.recv_limit.max(config.adopted_window_limit).min(MAX_WINDOW);
        let promised = (adoption.rcv_adv.since_or_zero(adoption.rcv_nxt) as usize).min(most);
        let mut connection = Self::begin(
            now,
            config,
            Start {
                state: State::Established,
                snd_una: adoption.snd_nxt,
                snd_nxt: adoption.snd_nxt,
                first: adoption.snd_nxt,
                snd_wnd: adoption.snd_wnd.min(MAX_WINDOW as u32),
                snd_scale: adoption.snd_scale.min(MAX_SCALE),
                rcv_nxt: adoption.rcv_nxt,
                rcv_adv: adoption.rcv_nxt + promised as u32,
                rcv_scale: adoption.rcv_scale.min(MAX_SCALE),
                scaling: false,
                mss: adoption.mss,
                sack: adoption.sack,
                clock: adoption.timestamps.map(|adopted| Clock::adopt(now, adopted)),
            },
        );
        if let Some(rtt) = adoption.rtt_hint {
            connection.rtt.sample(rtt);
            connection.rtt.observe(now, rtt);
        }
        connection
    }

    /// Opens a connection actively: SYN-SENT.
    pub fn connect(now: Instant, config: Config, open: Open) -> Self {
        let mut connection = Self::begin(now, config, Start::unopened(now, State::SynSent, &open));
        connection.snd.syn_due = true;
        connection
    }

    /// Waits for the SYN of a peer: LISTEN. For one connection, whose first SYN it takes.
    pub fn listen(now: Instant, config: Config, open: Open) -> Self {
        Self::begin(now, config, Start::unopened(now, State::Listen, &open))
    }

    /// Answers a SYN: SYN-RECEIVED.
    pub fn accept(now: Instant, config: Config, open: Open, syn: &Segment<'_>) -> Result<Self, AcceptError> {
        if !syn.flags.syn || syn.flags.rst || syn.flags.fin || syn.ack.is_some() {
            return Err(AcceptError::NotASyn);
        }
        let mut connection = Self::listen(now, config, open);
        connection.handle_segment(now, syn);
        Ok(connection)
    }

    fn begin(now: Instant, mut config: Config, start: Start) -> Self {
        config.send_limit = config.send_limit.min(MAX_WINDOW);
        config.recv_limit = config.recv_limit.min(MAX_WINDOW);
        let mss = start.mss.max(MIN_MSS);
        let mut connection = Connection {
            state: start.state,
            snd: SendSide {
                una: start.snd_una,
                nxt: start.snd_nxt,
                start: start.first,
                buffer: SendBuffer::new(),
                wnd: start.snd_wnd,
                max_wnd: start.snd_wnd,
                wl1: start.rcv_nxt,
                wl2: start.snd_una,
                scale: start.snd_scale,
                mss,
                fin: false,
                syn_due: false,
                syn_lost: false,
                probe_due: false,
                keep_alive_due: false,
                probes: 0,
                closed_since: None,
                retries: 0,
                progress_at: now,
                last_sent: now,
                syn_sent: None,
                sample_from: start.snd_nxt,
                limited_until: start.snd_nxt,
                pace_at: now,
            },
            rcv: ReceiveSide {
                nxt: start.rcv_nxt,
                adv: start.rcv_adv,
                told: start.rcv_adv,
                last_ack: start.rcv_nxt,
                scale: start.rcv_scale,
                scaling: start.scaling,
                mss: start.mss,
                segment_size: u32::from(DEFAULT_MSS.min(mss)),
                buffer: RecvBuffer::new(usize::from(config.out_of_order_ranges)),
                owners_limit: config.recv_limit,
                tuner: Autotune::new(now, config.initial_recv_limit),
                fin: None,
                duplicate: None,
                data_at: now,
            },
            clock: start.clock,
            sack: start.sack,
            ack: AckState::default(),
            challenges: Challenges::new(
                config.challenge_key,
                config.challenges_per_second,
                (start.snd_nxt, start.rcv_nxt),
            ),
            flight: Flight::new(start.snd_nxt),
            rack: Rack::new(start.snd_nxt),
            tail_probe: Probe::new(),
            recovery: Recovery::new(start.snd_nxt),
            congestion: Controller::new(config.congestion, u32::from(mss), config.initial_window),
            rtt: Rtt::new(&config),
            path: PathMtu::new(&config),
            timers: Timers::default(),
            reset: None,
            last_heard: now,
            keep_alive_probes: 0,
            events: Events::default(),
            stats: Stats::default(),
            limits: LimitClock::new(now),
            config,
        };
        // The segment size that congestion control counts in depends on the options agreed on.
        connection.congestion = Controller::new(config.congestion, connection.smss(), config.initial_window);
        if start.state == State::Established {
            connection.watch_idle(now);
        }
        connection
    }

    /// RFC 9293 3.10.7.2.
    pub(super) fn on_segment_in_listen(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.flags.rst {
            return;
        }
        if segment.ack.is_some() {
            return self.refuse(now, segment);
        }
        if segment.flags.syn {
            self.take_syn(now, segment);
            self.state = State::SynReceived;
            self.snd.syn_due = true;
        }
    }

    /// RFC 9293 3.10.7.3.
    pub(super) fn on_segment_in_syn_sent(&mut self, now: Instant, segment: &Segment<'_>) {
        let acked = match segment.ack {
            // Only our SYN can be acknowledged.
            Some(ack) if ack != self.snd.nxt || self.snd.nxt == self.snd.una => {
                self.stats.bad_acks += 1;
                return self.refuse(now, segment);
            }
            acked => acked,
        };
        if segment.flags.rst {
            if acked.is_some() {
                self.on_reset();
            }
            return;
        }
        if !segment.flags.syn {
            return;
        }
        self.take_syn(now, segment);
        self.snd.syn_due = false;
        match acked {
            Some(ack) => {
                self.become_established(now, segment, ack);
                self.ack.owe_now();
            }
            // Both ends open at the same time (RFC 9293 3.5, figure 7).
            None => {
                self.state = State::SynReceived;
                self.snd.syn_due = true;
            }
        }
    }

    /// Takes numbers and options of the peer's SYN. Its payload is left for the peer to send again.
    fn take_syn(&mut self, now: Instant, syn: &Segment<'_>) {
        self.last_heard = now;
        self.rcv.nxt = syn.seq + 1;
        let promised = if self.state == State::SynSent { self.first_window() } else { 0 };
        self.rcv.adv = self.rcv.nxt + u32::from(promised);
        self.rcv.told = self.rcv.adv;
        self.rcv.last_ack = self.rcv.nxt;
        self.snd.mss = syn.options.mss.unwrap_or(DEFAULT_MSS).clamp(MIN_MSS, self.snd.mss.max(MIN_MSS));
        match syn.options.window_scale {
            Some(shift) if self.rcv.scaling => self.snd.scale = shift.min(MAX_SCALE),
            // RFC 7323 2.2: scaling takes both ends.
            _ => {
                self.rcv.scaling = false;
                self.rcv.scale = 0;
            }
        }
        self.sack &= syn.options.sack_permitted;
        match (&mut self.clock, syn.options.timestamps) {
            (Some(clock), Some(peer)) => clock.take(now, peer.val),
            _ => self.clock = None,
        }
        // The window of a SYN is never scaled (RFC 7323 2.2).
        self.update_window(u32::from(syn.window), syn.seq, self.snd.una);
    }

    /// The peer has acknowledged our SYN.
    pub(super) fn become_established(&mut self, now: Instant, segment: &Segment<'_>, ack: Seq) {
        self.take_first_round_trip(now, segment);
        self.snd.una = ack;
        self.snd.sample_from = ack;
        self.snd.limited_until = ack;
        self.flight = Flight::new(ack);
        self.rack = Rack::new(ack);
        self.snd.retries = 0;
        self.snd.progress_at = now;
        self.snd.syn_due = false;
        let scale = if segment.flags.syn { 0 } else { self.snd.scale };
        self.update_window(u32::from(segment.window) << scale, segment.seq, ack);
        self.recovery = Recovery::new(ack);
        // RFC 5681 3.1: after a lost SYN the first window is one segment.
        let initial = if self.snd.syn_lost { 1 } else { self.config.initial_window };
        self.congestion = Controller::new(self.config.congestion, self.smss(), initial);
        if self.snd.syn_lost {
            self.rtt.syn_was_lost();
        }
        self.timers.cancel(Timer::Retransmit);
        self.watch_idle(now);
        self.events.push(Event::Established);
        self.state = if self.snd.fin { State::FinWait1 } else { State::Established };
    }

    /// The round trip of our SYN, if it was sent once; else by its timestamp, unless that is the one of a SYN before
    /// (see `Connection::take_round_trip`).
    fn take_first_round_trip(&mut self, now: Instant, segment: &Segment<'_>) {
        let last_sent = self.snd.last_sent;
        let echo = self.clock.zip(segment.options.timestamps);
        let echo = echo.filter(|(clock, peer)| !clock.is_before(peer.ecr, last_sent));
        let sample = match self.snd.syn_sent.take() {
            Some(sent) => Some(elapsed(sent, now)),
            None => echo.and_then(|(clock, peer)| clock.round_trip(now, peer.ecr)),
        };
        if let Some(sample) = sample {
            self.rtt.sample(sample);
            self.rtt.observe(now, sample);
        }
    }
}

impl Start {
    fn unopened(now: Instant, state: State, open: &Open) -> Self {
        let scale = open.window_scale.map_or(0, |shift| shift.min(MAX_SCALE));
        Start {
            state,
            snd_una: open.isn,
            snd_nxt: open.isn,
            first: open.isn + 1,
            snd_wnd: 0,
            snd_scale: 0,
            rcv_nxt: Seq(0),
            rcv_adv: Seq(0),
            rcv_scale: scale,
            scaling: open.window_scale.is_some(),
            mss: open.mss,
            sack: open.sack,
            clock: open.timestamps.map(|first| Clock::new(now, first)),
        }
    }
}
