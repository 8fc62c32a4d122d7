//! An adopted flow: two legs, and between them first two handshakes, then a relay.

use std::sync::Arc;

use tcp_stack::{Event as TcpEvent, Instant, Segment, State};

use super::blocked::Blocked;
use super::effects::Effects;
use super::leg::{Leg, earlier};
use super::relaying::Relaying;
use crate::content::{Ending, Report, Stage};
use crate::end::{End, PerEnd};
use crate::event::{AnomalyEvent, HttpEvent, Unread};
use crate::job::{Job, Reply};
use crate::policy::Profile;
use crate::port::{Block, Frame};
use crate::reason::Reason;
use crate::tls::{Failure, Handshake, HandshakeReport, Input, Outcome, RelayError};

/// Bytes of a bypassed flow that are relayed in one piece: as much as a record.
const AT_A_TIME: usize = 16 * 1024;

/// A flow that is terminated on both sides. It stays in its box from call to call: it is large, and calls are many.
pub(super) struct Adopted<F: Frame> {
    client: Leg<F>,
    server: Leg<F>,
    /// An end has sent its FIN, and all before it is in `recv`.
    closed: PerEnd<bool>,
    tls: Tls<F>,
    handshake_until: Instant,
    /// Says what looks at the plaintext; none: nothing is to be decrypted.
    profile: Option<Arc<Profile>>,
}

/// What is between the legs.
enum Tls<F: Frame> {
    /// A handshake, here, waiting for bytes. The flags: what ends it has been told have closed.
    Handshake(Box<Handshake>, PerEnd<bool>),
    /// A handshake, at the pool.
    AtPool(Away),
    /// Application data goes by.
    Relay(Box<Relaying<F>>),
    /// Bytes go by as they are: a bypassed flow whose frames could not be released.
    Plain,
    /// Both ends have closed; only TCP has something left to do.
    Done,
}

/// What is known of a handshake while it is at the pool.
#[derive(Clone, Copy)]
struct Away {
    /// What ends it has been told have closed.
    closed: PerEnd<bool>,
    /// Bytes of memory that it is taken to hold.
    memory: usize,
    /// Of these, what the ends have sent.
    received: usize,
}

/// What a handshake may grow by in one step at the pool, nearly: another session, a certificate chain, a leaf.
const GROWTH_AT_POOL: usize = 32 * 1024;

impl<F: Frame> Tls<F> {
    /// Bytes of memory that it holds beside its own size.
    fn memory(&self) -> usize {
        match self {
            Self::Handshake(handshake, _) => handshake.memory(),
            Self::AtPool(away) => away.memory,
            Self::Relay(relaying) => relaying.memory(),
            Self::Plain | Self::Done => 0,
        }
    }

    /// Bytes from both ends that a handshake has taken and not used up.
    fn received(&self) -> usize {
        match self {
            Self::Handshake(handshake, _) => handshake.received(),
            Self::AtPool(away) => away.received,
            Self::Relay(_) | Self::Plain | Self::Done => 0,
        }
    }
}

/// What came of a call.
pub(super) enum Progress<F: Frame> {
    /// Go on.
    Live,
    /// The handshakes have failed; both ends are being told.
    Failed(Failure, Box<Blocked<F>>),
    /// It is over, for this reason.
    Over(Reason, Box<Blocked<F>>),
}

/// What the log is to be told after a call.
#[derive(Default)]
pub(super) struct Told {
    /// The handshakes have ended, well or not.
    pub(super) handshake: Option<Box<HandshakeReport>>,
    /// They have ended well.
    pub(super) established: bool,
    /// HTTP transactions.
    #[expect(clippy::vec_box, reason = "they move on into events as they are")]
    pub(super) http: Vec<Box<HttpEvent>>,
    /// What was odd in the plaintext.
    #[expect(clippy::vec_box, reason = "they move on into events as they are")]
    pub(super) anomalies: Vec<Box<AnomalyEvent>>,
    /// The HTTP reader has ended; this it has not read.
    pub(super) unread: Option<Unread>,
}

impl Told {
    /// What a filter reports.
    pub(super) fn read<E: Effects, B: AsMut<[u8]>>(&mut self, fx: &E, stage: &mut Stage<B>) {
        while let Some(report) = stage.poll_report() {
            match report {
                Report::Http(http) => self.http.push(http),
                Report::Anomaly(anomaly) => self.anomalies.push(anomaly),
                Report::Off(reason) => fx.counters().inspector_off(reason),
                Report::Unread(unread) => self.unread = Some(unread),
            }
        }
    }
}

impl<F: Frame> Adopted<F> {
    /// With a handshake to be run.
    pub(super) fn with_handshake<E: Effects<Frame = F>>(
        fx: &E,
        legs: (Leg<F>, Leg<F>),
        handshake: Box<Handshake>,
        profile: Arc<Profile>,
    ) -> Box<Self> {
        Self::new(fx, legs, Tls::Handshake(handshake, PerEnd::both(false)), Some(profile))
    }

    /// Relays bytes as they are.
    pub(super) fn plain<E: Effects<Frame = F>>(fx: &E, legs: (Leg<F>, Leg<F>)) -> Box<Self> {
        Self::new(fx, legs, Tls::Plain, None)
    }

    fn new<E: Effects<Frame = F>>(
        fx: &E,
        (client, server): (Leg<F>, Leg<F>),
        tls: Tls<F>,
        profile: Option<Arc<Profile>>,
    ) -> Box<Self> {
        let handshake_until = fx.now() + fx.shared().limits.handshake_time;
        // A leg that was listened to before has told its events already.
        let closed = PerEnd { client: client.peer_has_closed(), server: server.peer_has_closed() };
        Box::new(Self { client, server, closed, tls, handshake_until, profile })
    }

    /// Has the first flight answered: the handshake holds it already, so it runs without new bytes.
    pub(super) fn start<E: Effects<Frame = F>>(
        self: Box<Self>,
        fx: &mut E,
    ) -> (Option<Box<Self>>, Progress<F>) {
        self.submit(fx, Input { now: unix(fx), ..Input::default() })
    }

    /// A segment of either end; what it brings is done by [`drive`](Self::drive). False: that can wait until the burst's other
    /// segments are here, so that they cost one relay and one ACK together. What begins or ends something cannot.
    pub(super) fn handle_segment<E: Effects<Frame = F>>(
        &mut self,
        fx: &E,
        from: End,
        segment: &Segment<'_>,
    ) -> bool {
        let holding = self.client.waiting() + self.server.waiting() + self.tls.received();
        let leg = self.leg(from);
        let asked = leg.tcp.stats().keep_alives;
        leg.handle_segment(fx, holding, segment);
        let asks = leg.tcp.stats().keep_alives != asked;
        let flags = segment.flags;
        let urgent = flags.syn || flags.fin || flags.rst || leg.tcp.wants_each_ack();
        // An end that asks whether the other is there has to learn it, and we answer in any case: so we ask as well.
        if asks {
            self.leg(from.other()).tcp.probe(fx.now());
        }
        urgent || asks
    }

    /// Runs what is due.
    pub(super) fn handle_timeout<E: Effects<Frame = F>>(
        mut self: Box<Self>,
        fx: &mut E,
        told: &mut Told,
    ) -> (Option<Box<Self>>, Progress<F>) {
        let now = fx.now();
        self.client.handle_timeout(now);
        self.server.handle_timeout(now);
        if self.is_handshaking() && self.handshake_until <= now {
            // Whoever is waited for: the server, until its handshake is over.
            let server_done = match &self.tls {
                Tls::Handshake(handshake, _) => handshake.report().certificate.is_some(),
                _ => false,
            };
            self.finish(fx, told);
            return self.over(fx, if server_done { Reason::ClientTimeout } else { Reason::ServerTimeout });
        }
        if let Tls::Relay(relaying) = &mut self.tls {
            relaying.handle_timeout(fx, told);
        }
        self.drive(fx, told)
    }

    /// The pool's answer.
    pub(super) fn handle_reply<E: Effects<Frame = F>>(
        mut self: Box<Self>,
        fx: &mut E,
        reply: Reply,
        told: &mut Told,
    ) -> (Option<Box<Self>>, Progress<F>) {
        let (closed, result) = match (&mut self.tls, reply) {
            (Tls::AtPool(Away { closed, .. }), Reply::Handshake(result)) => (*closed, result),
            (Tls::Relay(relaying), Reply::Scan(question, verdict)) => {
                relaying.verdict(fx, question, verdict, told);
                return self.drive(fx, told);
            }
            // Of something that is over.
            _ => return (Some(self), Progress::Live),
        };
        let Some((handshake, step)) = result else { return self.over(fx, Reason::Internal) };
        match step.outcome {
            Outcome::Pending => {
                if !self.client.send(step.to_client) || !self.server.send(step.to_server) {
                    return self.over(fx, Reason::ResourceMemory);
                }
                self.tls = Tls::Handshake(handshake, closed);
                self.drive(fx, told)
            }
            Outcome::Established(relay) => {
                told.handshake = Some(Box::new(handshake.report()));
                told.established = true;
                if !self.client.send(step.to_client) || !self.server.send(step.to_server) {
                    return self.over(fx, Reason::ResourceMemory);
                }
                let filters = &fx.shared().filters;
                let filter =
                    self.profile.as_deref().and_then(|profile| filters.filter(profile, relay.alpn()));
                self.tls = Tls::Relay(Box::new(Relaying::new(*relay, filter)));
                self.drive(fx, told)
            }
            Outcome::Failed(failure) => {
                told.handshake = Some(Box::new(handshake.report()));
                let legs = (self.client, self.server);
                let blocked = Blocked::last_words(fx, legs, step.to_client, step.to_server);
                (None, Progress::Failed(failure, Box::new(blocked)))
            }
        }
    }

    /// When to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let legs = earlier(self.client.poll_timeout(), self.server.poll_timeout());
        let tls = match &self.tls {
            Tls::Handshake(..) | Tls::AtPool(_) => Some(self.handshake_until),
            Tls::Relay(relaying) => relaying.poll_timeout(),
            Tls::Plain | Tls::Done => None,
        };
        earlier(legs, tls)
    }

    /// Both ends have closed; a new SYN may take the addresses over.
    pub(super) fn is_closing(&self) -> bool {
        [&self.client, &self.server].iter().all(|l| matches!(l.tcp.state(), State::TimeWait | State::Closed))
    }

    /// RST to both ends, for a reason of our own.
    pub(super) fn over<E: Effects<Frame = F>>(
        self: Box<Self>,
        fx: &mut E,
        reason: Reason,
    ) -> (Option<Box<Self>>, Progress<F>) {
        let blocked = Blocked::reset(fx, Some((self.client, self.server)));
        (None, Progress::Over(reason, Box::new(blocked)))
    }

    /// Ends it for a reason of our own: in order, if nothing is lost by that. Else with a RST, as an orderly end would pass a
    /// truncation off as the end of the data.
    pub(super) fn end<E: Effects<Frame = F>>(
        self: Box<Self>,
        fx: &mut E,
        reason: Reason,
        told: &mut Told,
    ) -> (Option<Box<Self>>, Progress<F>) {
        let is_at_rest = self.is_at_rest();
        self.part(fx, Ending { reason, orderly: is_at_rest }, told)
    }

    /// Ends it as is asked, if that can be done.
    fn part<E: Effects<Frame = F>>(
        mut self: Box<Self>,
        fx: &mut E,
        Ending { reason, orderly }: Ending,
        told: &mut Told,
    ) -> (Option<Box<Self>>, Progress<F>) {
        let Self { client, server, tls, .. } = &mut *self;
        let closed = match tls {
            Tls::Relay(relaying) if orderly => relaying.close(fx, client, server, told),
            _ => false,
        };
        self.finish(fx, told);
        if !closed {
            return self.over(fx, reason);
        }
        let blocked = Blocked::orderly(fx, (self.client, self.server));
        (None, Progress::Over(reason, Box::new(blocked)))
    }

    /// Both ends have received all that was said, and neither has said that it has finished or is in the middle of something
    /// whose end the end of the connection would be taken for.
    fn is_at_rest(&self) -> bool {
        let Tls::Relay(relaying) = &self.tls else { return false };
        self.closed == PerEnd::both(false) && self.is_drained() && relaying.is_at_rest()
    }

    /// What handshake or filter still have to tell, at the end.
    pub(super) fn finish<E: Effects<Frame = F>>(&mut self, fx: &E, told: &mut Told) {
        match &mut self.tls {
            Tls::Handshake(handshake, _) => told.handshake = Some(Box::new(handshake.report())),
            Tls::Relay(relaying) => relaying.finish(fx, told),
            Tls::AtPool(_) | Tls::Plain | Tls::Done => {}
        }
    }

    /// Client's and server's.
    pub(super) fn legs(&self) -> (&Leg<F>, &Leg<F>) {
        (&self.client, &self.server)
    }

    /// The handshakes are under way.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.tls, Tls::Handshake(..) | Tls::AtPool(_))
    }

    fn is_relaying(&self) -> bool {
        matches!(self.tls, Tls::Relay(_) | Tls::Plain)
    }

    /// The leg towards an end.
    pub(super) fn leg(&mut self, side: End) -> &mut Leg<F> {
        match side {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        }
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { client, server, closed: _, tls, handshake_until: _, profile: _ } = self;
        size_of::<Self>() + client.memory() + server.memory() + tls.memory()
    }

    /// The segment says no more than that its sender is there, which it was asked.
    pub(super) fn is_answer(&self, from: End, segment: &Segment<'_>) -> bool {
        let leg = if from == End::Client { &self.client } else { &self.server };
        leg.tcp.is_probing() && segment.seq_len() == 0 && !segment.flags.rst
    }

    /// Does all that can be done now: events, handshake, relay, segments.
    pub(super) fn drive<E: Effects<Frame = F>>(
        mut self: Box<Self>,
        fx: &mut E,
        told: &mut Told,
    ) -> (Option<Box<Self>>, Progress<F>) {
        for side in [End::Client, End::Server] {
            if let Some(reason) = self.take_events(side) {
                self.finish(fx, told);
                return self.over(fx, reason);
            }
        }
        if let Tls::Handshake(_, closed) = &self.tls
            && (*closed != self.closed
                || !self.client.tcp.recv().is_empty()
                || !self.server.tcp.recv().is_empty())
        {
            let input = Input {
                from_client: self.client.take(),
                from_server: self.server.take(),
                client_closed: self.closed[End::Client],
                server_closed: self.closed[End::Server],
                now: unix(fx),
            };
            return self.submit(fx, input);
        }
        if self.client.is_stuck(fx) || self.server.is_stuck(fx) {
            self.finish(fx, told);
            return self.over(fx, Reason::ResourceMemory);
        }
        if self.is_relaying()
            && let Err((from, error)) = self.relay_both(fx, told)
        {
            self.finish(fx, told);
            return self.broken(fx, from, error);
        }
        if let Tls::Relay(relaying) = &self.tls
            && let Some(ending) = relaying.ending()
        {
            return self.part(fx, ending, told);
        }
        if self.closed == PerEnd::both(true) && self.is_relaying() && self.is_drained() {
            self.finish(fx, told);
            self.tls = Tls::Done;
        }
        self.client.transmit(fx);
        self.server.transmit(fx);
        if [&self.client, &self.server].iter().all(|l| l.tcp.state() == State::Closed) {
            self.finish(fx, told);
            let until = fx.now() + fx.shared().limits.linger_time;
            return (None, Progress::Over(Reason::Closed, Box::new(Blocked::silent(until))));
        }
        (Some(self), Progress::Live)
    }

    /// One end broke TLS, or said that it gives up. It gets the last word of its session; the other end is reset, as an
    /// orderly end would pass a truncation off as the end of the data.
    fn broken<E: Effects<Frame = F>>(
        mut self: Box<Self>,
        fx: &mut E,
        from: End,
        error: RelayError,
    ) -> (Option<Box<Self>>, Progress<F>) {
        let other = self.leg(from.other());
        // An alert that was passed on goes before the RST, if the window has room for it.
        other.transmit(fx);
        other.tcp.abort();
        let blocked = Blocked::last_words(fx, (self.client, self.server), Vec::new(), Vec::new());
        (None, Progress::Over(error.reason, Box::new(blocked)))
    }

    /// Both ends' bytes have been relayed and acknowledged.
    fn is_drained(&self) -> bool {
        [&self.client, &self.server].iter().all(|l| l.tcp.recv().is_empty() && l.tcp.is_send_drained())
    }

    /// Takes a leg's events; the reason why the flow is over, if one says so.
    fn take_events(&mut self, side: End) -> Option<Reason> {
        while let Some(event) = self.leg(side).tcp.poll_event() {
            match (event, side) {
                (TcpEvent::PeerClosed, _) => self.closed[side] = true,
                (TcpEvent::Reset, End::Client) => return Some(Reason::ClientReset),
                (TcpEvent::Reset, End::Server) => return Some(Reason::ServerReset),
                (TcpEvent::TimedOut, End::Client) => return Some(Reason::ClientTimeout),
                (TcpEvent::TimedOut, End::Server) => return Some(Reason::ServerTimeout),
                (TcpEvent::Established | TcpEvent::Closed, _) => {}
            }
        }
        None
    }

    /// Hands the handshake to the pool.
    fn submit<E: Effects<Frame = F>>(
        mut self: Box<Self>,
        fx: &mut E,
        input: Input,
    ) -> (Option<Box<Self>>, Progress<F>) {
        let Tls::Handshake(handshake, _) = &self.tls else { return (Some(self), Progress::Live) };
        let arrived = input.from_client.len() + input.from_server.len();
        let away = Away {
            closed: PerEnd { client: input.client_closed, server: input.server_closed },
            memory: handshake.memory() + arrived + GROWTH_AT_POOL,
            received: handshake.received() + arrived,
        };
        let Tls::Handshake(handshake, _) = std::mem::replace(&mut self.tls, Tls::AtPool(away)) else {
            return (Some(self), Progress::Live);
        };
        self.client.transmit(fx);
        self.server.transmit(fx);
        match fx.request(Box::new(Job::Handshake(handshake, input))) {
            Ok(()) => (Some(self), Progress::Live),
            Err(_) => self.over(fx, Reason::ResourceHandshakes),
        }
    }

    /// Moves what both ends have sent. The error is of the end that it came from.
    fn relay_both<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        told: &mut Told,
    ) -> Result<(), (End, RelayError)> {
        for from in End::BOTH {
            self.relay(fx, from, told).map_err(|error| (from, error))?;
        }
        // What the server says may decide on what the client has said before.
        let is_decided = matches!(&self.tls, Tls::Relay(relaying) if relaying.is_ready(End::Client));
        if is_decided {
            self.relay(fx, End::Client, told).map_err(|error| (End::Client, error))?;
        }
        if let Tls::Relay(relaying) = &mut self.tls
            && relaying.ask(fx, told)
        {
            for from in End::BOTH {
                self.relay(fx, from, told).map_err(|error| (from, error))?;
            }
        }
        Ok(())
    }

    /// Moves what one end has sent to the other, as far as the other leg may queue it.
    fn relay<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        from: End,
        told: &mut Told,
    ) -> Result<(), RelayError> {
        let (source, sink) = match from {
            End::Client => (&mut self.client, &mut self.server),
            End::Server => (&mut self.server, &mut self.client),
        };
        source.limit(fx);
        let room = sink.limit(fx).saturating_sub(sink.tcp.queued()).min(sink.tcp.send_wanted());
        let mut is_empty = true;
        match &mut self.tls {
            Tls::Relay(relaying) => {
                relaying.relay(fx, (from, self.closed[from]), source, sink, room, told)?;
                is_empty = relaying.is_empty(from);
            }
            Tls::Plain => {
                let mut left = source.tcp.recv().len().min(room);
                fx.counters().payload_copied.add(left as u64);
                while left > 0 {
                    let n = left.min(AT_A_TIME);
                    let mut block = fx.block(n);
                    block.as_mut()[..n].copy_from_slice(&source.tcp.recv()[..n]);
                    source.tcp.consume(n);
                    left -= n;
                    if !sink.queue(block.freeze(n)) {
                        return Err(RelayError { reason: Reason::ResourceMemory, alert: None });
                    }
                }
            }
            Tls::Handshake(..) | Tls::AtPool(_) | Tls::Done => {}
        }
        // A FIN follows when all before it has been handed on, as it came: half-close stays half-close.
        if self.closed[from] && source.tcp.recv().is_empty() && is_empty {
            sink.tcp.close();
        }
        Ok(())
    }
}

/// Seconds since the Unix epoch.
fn unix<E: Effects>(fx: &E) -> u64 {
    fx.wall().0 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_port::MemoryFrame;

    /// Nobody can ask the pool what a handshake holds, so it is taken to hold what it left with, and some more.
    #[test]
    fn a_handshake_at_the_pool_counts() {
        let away = Tls::<MemoryFrame>::AtPool(Away {
            closed: PerEnd::both(false),
            memory: 100_000 + GROWTH_AT_POOL,
            received: 5_000,
        });
        assert_eq!((away.memory(), away.received()), (100_000 + GROWTH_AT_POOL, 5_000));
        assert_eq!((Tls::<MemoryFrame>::Done.memory(), Tls::<MemoryFrame>::Plain.received()), (0, 0));
    }
}
