//! One leg of an adopted flow: a TCP connection and the headers that its segments wear.

use tcp_stack::{Adoption, Config, Connection, Duration, Flags, Instant, Open, Segment, Seq, State, TooBig};

use super::context::Context;
use super::gso::{self, GsoFrame};
use super::settings::Limits;
use crate::end::End;
use crate::packet::{Template, TooBigMessage};
use crate::port::{Frame, Io};
use crate::reason::{PacketDrop, PathMessage};

/// Room over `buffer_bytes` for what one call may add: TLS turns at most one more record's worth out than it is given.
const SEND_SLACK: usize = 128 * 1024;
/// Silence of a half-closed peer after which it is asked whether it is still there. RFC 9293 3.6 sets no limit to a
/// half-closed connection; the flow's idle time does.
const HALF_CLOSED: Duration = Duration::from_secs(300);
/// How long a peer may keep its window closed once the worker's memory is nearly used up (RFC 6429).
const PATIENCE_WHEN_SHORT: Duration = Duration::from_secs(10);
/// Our TIME-WAIT only answers repeated FINs; the endpoints keep their own (RFC 9293 3.6.1).
const TIME_WAIT: Duration = Duration::from_secs(5);

/// Repetitions of our own SYN to a server: 1, 2, 4 and 8 seconds apart, and 16 until it is given up, which makes 31. Our client
/// waits meanwhile, and its own SYN was answered long ago.
const SYN_RETRIES: u32 = 4;

/// Segment sizes below which no path brings us: a packet of 552 bytes over IPv4, as Linux does, and of the 1280 that every link
/// carries over IPv6 (RFC 8200 5).
const PATH_FLOOR: [u16; 2] = [512, 1220];

/// The engine as the other end of `towards`.
pub(super) struct Leg<IO: Io> {
    /// The connection.
    pub(super) tcp: Connection<<IO::Frame as Frame>::Slice>,
    template: Template,
    /// Numbers of our SYN and of the peer's, where the connection was adopted.
    isns: (Seq, Seq),
    towards: End,
    /// Bytes that may be received and not taken, and that may be queued.
    limit: usize,
    /// Retransmissions, timeouts, black holes and bytes copied that have been counted.
    counted: (u32, u32, u32, u64),
}

impl<IO: Io> Leg<IO> {
    /// Takes over the connection of the end that `template` imitates.
    pub(super) fn adopt(
        now: Instant,
        towards: End,
        template: Template,
        adoption: Adoption,
        limits: &Limits,
    ) -> Self {
        let isns = (Seq(adoption.snd_nxt.0.wrapping_sub(1)), Seq(adoption.rcv_nxt.0.wrapping_sub(1)));
        Self {
            isns,
            ..Self::with(towards, template, limits, |config| Connection::adopt(now, config, adoption))
        }
    }

    /// Opens a connection of its own, in the name of the end that `template` imitates. Nothing is sent before
    /// [`transmit`](Self::transmit).
    pub(super) fn connect(
        now: Instant,
        towards: End,
        template: Template,
        open: Open,
        limits: &Limits,
    ) -> Self {
        Self::with(towards, template, limits, |config| Connection::connect(now, config, open))
    }

    fn with(
        towards: End,
        template: Template,
        limits: &Limits,
        begin: impl FnOnce(Config) -> Connection<<IO::Frame as Frame>::Slice>,
    ) -> Self {
        let path_floor = PATH_FLOOR[usize::from(template.ip_header_len() == 40)];
        let config = Config {
            send_limit: 2 * limits.buffer_bytes + SEND_SLACK,
            recv_limit: limits.buffer_bytes,
            out_of_order_limit: limits.buffer_bytes,
            time_wait: TIME_WAIT,
            fin_wait_2: Some(HALF_CLOSED),
            // A peer that keeps its window closed keeps our memory; the flow's idle time does not see it, as it answers.
            zero_window_timeout: Some(limits.idle_time),
            path_floor,
            max_syn_retries: SYN_RETRIES,
            challenge_key: limits.challenge_key,
            ..Config::default()
        };
        let isns = (Seq(0), Seq(0));
        Self {
            tcp: begin(config),
            template,
            isns,
            towards,
            limit: limits.buffer_bytes,
            counted: (0, 0, 0, 0),
        }
    }

    /// What its segments wear below TCP.
    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    /// Numbers of our SYN and of the peer's. Only of a leg that was [adopted](Self::adopt), before any data.
    pub(super) fn isns(&self) -> (Seq, Seq) {
        self.isns
    }

    /// Queues bytes for the peer. False: it takes none any more, or more than it may hold.
    pub(super) fn send(&mut self, bytes: Vec<u8>) -> bool {
        bytes.is_empty() || self.queue(bytes.into())
    }

    /// Likewise, what lies where frames can refer to it.
    pub(super) fn queue(&mut self, slice: <IO::Frame as Frame>::Slice) -> bool {
        self.tcp.send(slice).is_ok()
    }

    /// There is something that was never sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.tcp.has_unsent()
    }

    /// A segment of the peer, where the flow holds so many bytes. Without memory for its payload it is lost as on the way,
    /// and TCP repeats it; its acknowledgement counts, as that is what frees memory.
    pub(super) fn handle_segment(&mut self, cx: &Context<IO>, holding: usize, segment: &Segment<'_>) {
        if !segment.payload.is_empty() && cx.budget.is_closed_to(holding) {
            cx.counters.drop_packet(PacketDrop::MemoryFull);
            let flags = Flags { fin: false, ..segment.flags };
            return self.tcp.handle_segment(cx.now, &Segment { payload: &[], flags, ..*segment });
        }
        self.tcp.handle_segment(cx.now, segment);
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { tcp, template: _, isns: _, towards: _, limit: _, counted: _ } = self;
        tcp.memory()
    }

    /// Bytes that wait here: for the other leg, or for the peer.
    pub(super) fn waiting(&self) -> usize {
        self.tcp.queued() + self.tcp.recv().len()
    }

    /// Sets the leg's share of memory. Returns how much it may queue for its peer in all.
    pub(super) fn limit(&mut self, cx: &Context<IO>) -> usize {
        let most = cx.shared.limits.buffer_bytes;
        let limit = cx.budget.leg_limit(most);
        if limit != self.limit {
            self.limit = limit;
            self.tcp.set_recv_limit(limit);
        }
        if limit < most {
            cx.counters.leg_limits.inc();
        }
        limit
    }

    /// Its peer keeps it from giving memory back that others need.
    pub(super) fn is_stuck(&self, cx: &Context<IO>) -> bool {
        let too_long = |since| cx.now >= since + PATIENCE_WHEN_SHORT;
        !cx.budget.has_room() && self.tcp.window_closed_since().is_some_and(too_long)
    }

    /// The peer's FIN has been received, in its place.
    pub(super) fn peer_has_closed(&self) -> bool {
        matches!(
            self.tcp.state(),
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait | State::Closed
        )
    }

    /// We have sent the peer our FIN, or it is to follow what is queued.
    pub(super) fn has_closed(&self) -> bool {
        let is_open = matches!(self.tcp.state(), State::Established | State::CloseWait);
        !is_open && !self.is_opening()
    }

    /// We have not heard from the peer yet.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.tcp.state(), State::SynSent | State::SynReceived)
    }

    /// Takes what has been received.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let bytes = self.tcp.recv().to_vec();
        self.tcp.consume(bytes.len());
        bytes
    }

    /// Runs what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.tcp.poll_timeout().is_some_and(|at| at <= now) {
            self.tcp.handle_timeout(now);
        }
    }

    /// When to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.tcp.poll_timeout()
    }

    /// A router says that a segment of ours was too big.
    pub(super) fn handle_too_big(&mut self, cx: &mut Context<IO>, message: &TooBigMessage) -> PathMessage {
        let verdict = self.tcp.handle_packet_too_big(cx.now, message.seq, message.mss);
        let in_window = matches!(verdict, TooBig::Lowered | TooBig::Known);
        if in_window && message.mss < PATH_FLOOR[0] {
            // As Linux does: no smaller segments, so they have to be cut on the way.
            self.template.allow_fragments();
        }
        self.transmit(cx);
        match verdict {
            TooBig::Lowered => PathMessage::Lowered,
            TooBig::Known => PathMessage::Known,
            TooBig::OutOfWindow => PathMessage::OutOfWindow,
            TooBig::TooOften => PathMessage::TooOften,
        }
    }

    /// Sends every segment that may be sent now. Without a frame for one, it is lost as on the way, and TCP repeats it.
    pub(super) fn transmit(&mut self, cx: &mut Context<IO>) {
        let Self { tcp, template, towards, .. } = self;
        let offloads = cx.io.offloads(cx.port(*towards));
        let mut frame: Option<GsoFrame<IO>> = None;
        while let Some(run) = tcp.poll_transmit_run(cx.now, gso::MOST) {
            if !offloads.segmentation {
                gso::send_each(cx, *towards, template, &run, offloads);
            } else if run.parts().count() <= gso::PIECES {
                gso::join(cx, *towards, template, &mut frame, &run);
            } else {
                for segment in run.segments() {
                    gso::join(cx, *towards, template, &mut frame, &run.alone(&segment));
                }
            }
        }
        if let Some(frame) = frame {
            frame.send(cx, *towards, template);
        }
        self.count(cx);
    }

    /// What TCP has counted since the last time.
    fn count(&mut self, cx: &Context<IO>) {
        let stats = self.tcp.stats();
        let now = (stats.retransmits, stats.rto_events, stats.black_holes, stats.bytes_copied);
        let (retransmits, timeouts, black_holes, copied) = std::mem::replace(&mut self.counted, now);
        cx.counters.retransmits.add((stats.retransmits - retransmits).into());
        cx.counters.tcp_timeouts.add((stats.rto_events - timeouts).into());
        cx.counters.tcp_black_holes.add((stats.black_holes - black_holes).into());
        cx.counters.payload_copied.add(stats.bytes_copied - copied);
    }
}

/// The earlier of two times, where there are any.
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
