//! An adopted flow: two legs, and between them first two handshakes, then a relay.

use std::sync::Arc;

use tcp_stack::{Duration, Event as TcpEvent, Instant, Segment, State};

use super::answering::{ASKED_AT_A_TIME, Answering};
use super::blocked::Blocked;
use super::context::Context;
use super::leg::{Leg, earlier};
use super::plain::Plain;
use super::relaying::{Relaying, begin_to_show};
use crate::content::{Ending, StreamEnd};
use crate::end::{End, PerEnd};
use crate::job::{Job, Reply};
use crate::mirror::{Audience, Beginning, Conversations};
use crate::policy::DecryptedFlow;
use crate::port::Io;
use crate::reason::Reason;
use crate::starttls::{Dialogue, Progress, Protocol};
use crate::tls::{Failure, Handshake, Input, Outcome, RelayError, SecondHello};

/// How long the ends may take to agree on TLS: a mail server may be as slow with its greeting (RFC 5321 4.5.3.2.1).
const DIALOGUE_TIME: Duration = Duration::from_secs(300);

/// A flow that is terminated on both sides. It stays in its box from call to call: it is large, and calls are many.
pub(super) struct Adopted<IO: Io> {
    pub(super) legs: PerEnd<Leg<IO>>,
    /// An end has sent its FIN, and all before it is in `recv`.
    pub(super) closed: PerEnd<bool>,
    pub(super) tls: Tls<IO>,
    handshake_until: Instant,
    /// Says what will look at the plaintext; none: that is settled.
    flow: Option<Box<DecryptedFlow>>,
    /// The server has not answered our SYN yet.
    is_dialing: bool,
    /// There is no server any more: the client is answered in its place.
    pub(super) answering: Option<Box<Answering>>,
    /// What the ends have said before TLS, until it is known which mirrors are to see it; none: nobody is.
    pub(super) beginning: Option<Box<Beginning>>,
}

/// What is between the legs.
pub(super) enum Tls<IO: Io> {
    /// What the ends say before they go over to TLS, and what has come of it.
    Dialogue(Box<(Dialogue, Option<Progress>)>),
    /// Both handshakes, until they have ended.
    Handshake(Handshaking),
    /// Application data goes by.
    Relay(Box<Relaying<IO>>),
    /// Bytes go by as they are: a bypassed flow whose frames could not be released. Mirrors may be shown it.
    Plain(Plain),
    /// Both ends have closed; only TCP has something left to do.
    Done,
}

/// Handshakes, which go on at the pool as soon as there are bytes for them.
pub(super) struct Handshaking {
    /// None while they are at the pool.
    here: Option<Box<Handshake>>,
    /// What ends they have been told have closed.
    closed: PerEnd<bool>,
    /// Bytes of memory that they hold, or are taken to hold while nobody can ask.
    memory: usize,
    /// Of these, what the ends have sent.
    received: usize,
}

/// What a handshake may grow by in one step at the pool, nearly: another session, a certificate chain, a leaf.
const GROWTH_AT_POOL: usize = 32 * 1024;

impl Handshaking {
    /// On their way to the pool, with this.
    pub(super) fn leaving(handshake: &Handshake, input: &Input) -> Self {
        let arrived = input.from_client.len() + input.from_server.len();
        Self {
            here: None,
            closed: PerEnd { client: input.client_closed, server: input.server_closed },
            memory: handshake.memory() + arrived + GROWTH_AT_POOL,
            received: handshake.received() + arrived,
        }
    }

    /// It has paused, and wants to be called again.
    fn goes_on(&self) -> bool {
        self.here.as_ref().is_some_and(|handshake| handshake.goes_on())
    }

    /// Back from there.
    fn come_back(&mut self, handshake: Box<Handshake>) {
        (self.memory, self.received) = (handshake.memory(), handshake.received());
        self.here = Some(handshake);
    }
}

impl<IO: Io> Tls<IO> {
    /// Bytes of memory that it holds beside its own size.
    fn memory(&self) -> usize {
        match self {
            Self::Dialogue(dialogue) => size_of_val(&**dialogue) + dialogue.0.memory(),
            Self::Handshake(handshaking) => handshaking.memory,
            Self::Relay(relaying) => relaying.memory(),
            Self::Plain(plain) => plain.memory(),
            Self::Done => 0,
        }
    }

    /// Bytes from both ends that a handshake has taken and not used up.
    fn received(&self) -> usize {
        match self {
            Self::Handshake(handshaking) => handshaking.received,
            Self::Dialogue(_) | Self::Relay(_) | Self::Plain(_) | Self::Done => 0,
        }
    }
}

/// What comes next.
pub(super) enum Next<IO: Io> {
    /// It goes on.
    Stay(Box<Adopted<IO>>),
    /// The ends agree on TLS, or will not.
    Dialogue(Progress, Box<Adopted<IO>>),
    /// The handshakes have failed; both ends are being told.
    Failed(Failure, Blocked<IO>),
    /// It is over, for this reason.
    Over(Reason, Blocked<IO>),
}

impl<IO: Io> Adopted<IO> {
    /// With a handshake, which begins: it holds the first flight already, so it runs without new bytes.
    pub(super) fn with_handshake(
        cx: &mut Context<IO>,
        legs: PerEnd<Leg<IO>>,
        handshake: Box<Handshake>,
        flow: DecryptedFlow,
        beginning: Option<Box<Beginning>>,
    ) -> Next<IO> {
        let input = Input { now: unix(cx), ..Input::default() };
        let tls = Tls::Handshake(Handshaking::leaving(&handshake, &input));
        let mut adopted = Self::new(cx, legs, tls, Some(Box::new(flow)));
        adopted.beginning = beginning;
        adopted.submit(cx, handshake, input)
    }

    /// With what the ends say before they go over to TLS.
    pub(super) fn with_dialogue(cx: &Context<IO>, legs: PerEnd<Leg<IO>>, protocol: Protocol) -> Box<Self> {
        let tls = Tls::Dialogue(Box::new((Dialogue::new(protocol), None)));
        let mut adopted = Self::new(cx, legs, tls, None);
        adopted.handshake_until = cx.now + DIALOGUE_TIME;
        let may_be_shown = !cx.mirrors.is_empty() || cx.capture.is_some();
        adopted.beginning = may_be_shown.then(Box::default);
        adopted
    }

    /// Relays bytes as they are.
    pub(super) fn plain(
        cx: &mut Context<IO>,
        legs: PerEnd<Leg<IO>>,
        beginning: Option<Box<Beginning>>,
        second: Option<Box<SecondHello>>,
    ) -> Box<Self> {
        let mut adopted = Self::new(cx, legs, Tls::Done, None);
        adopted.beginning = beginning;
        adopted.go_on_in_plain(cx, second);
        adopted
    }

    /// From here on bytes go by as they are.
    pub(super) fn go_on_in_plain(&mut self, cx: &mut Context<IO>, second: Option<Box<SecondHello>>) {
        let beginning = self.beginning.take();
        let mirrored = begin_to_show(cx, &self.legs, Audience::Bypassed, beginning.as_deref());
        self.tls = Tls::Plain(Plain { mirrored, second });
    }

    pub(super) fn new(
        cx: &Context<IO>,
        legs: PerEnd<Leg<IO>>,
        tls: Tls<IO>,
        flow: Option<Box<DecryptedFlow>>,
    ) -> Box<Self> {
        let handshake_until = cx.now + cx.shared.limits.handshake_time;
        // A leg that was listened to before has told its events already.
        let closed = PerEnd::from_fn(|end| legs[end].peer_has_closed());
        let is_dialing = legs.server.is_opening();
        let (answering, beginning) = (None, None);
        Box::new(Self { legs, closed, tls, handshake_until, flow, is_dialing, answering, beginning })
    }

    /// A segment of either end; what it brings is done by [`drive`](Self::drive). False: that can wait until the burst's other
    /// segments are here, so that they cost one relay and one ACK together. What begins or ends something cannot.
    pub(super) fn handle_segment(&mut self, cx: &Context<IO>, from: End, segment: &Segment<'_>) -> bool {
        let holding = self.legs.iter().map(Leg::waiting).sum::<usize>() + self.tls.received();
        let leg = &mut self.legs[from];
        let asked = leg.tcp.stats().keep_alives;
        leg.handle_segment(cx, holding, segment);
        let asks = leg.tcp.stats().keep_alives != asked;
        let flags = segment.flags;
        let urgent = flags.syn || flags.fin || flags.rst || leg.tcp.wants_each_ack();
        // An end that asks whether the other is there has to learn it, and we answer in any case: so we ask as well.
        if asks {
            self.legs[from.other()].tcp.probe(cx.now);
        }
        urgent || asks
    }

    /// Runs what is due.
    pub(super) fn handle_timeout(mut self: Box<Self>, cx: &mut Context<IO>) -> Next<IO> {
        self.legs.iter_mut().for_each(|leg| leg.handle_timeout(cx.now));
        if matches!(self.tls, Tls::Dialogue(_)) && self.handshake_until <= cx.now {
            return Next::Dialogue(Progress::Broken(Reason::StartTlsTimeout), self);
        }
        if let Tls::Handshake(handshaking) = &self.tls
            && self.handshake_until <= cx.now
        {
            // Whoever is waited for: the server, until its handshake is over.
            let here = handshaking.here.as_ref();
            let server_done =
                self.answering.is_some() || here.is_some_and(|handshake| handshake.has_certificate());
            let reason = match (server_done, self.is_dialing) {
                (true, _) => Reason::ClientTimeout,
                (false, true) => Reason::ServerUnreachable,
                (false, false) => Reason::ServerTimeout,
            };
            return self.over(cx, reason);
        }
        if let Tls::Relay(relaying) = &mut self.tls {
            relaying.handle_timeout(cx);
        }
        if let Some(ending) = self.answering.as_ref().and_then(|answering| answering.timed_out(cx.now)) {
            return self.part_answered(cx, ending);
        }
        self.drive(cx)
    }

    /// The pool's answer.
    pub(super) fn handle_reply(mut self: Box<Self>, cx: &mut Context<IO>, reply: Reply) -> Next<IO> {
        let (handshaking, result) = match (&mut self.tls, reply) {
            (Tls::Handshake(handshaking), Reply::Handshake(result)) => (handshaking, result),
            (Tls::Relay(relaying), Reply::Scan(question, verdict)) => {
                relaying.verdict(cx, question, verdict);
                return self.drive(cx);
            }
            // Of something that is over.
            _ => return Next::Stay(self),
        };
        let Some((mut handshake, step)) = result else { return self.over(cx, Reason::Internal) };
        let words = PerEnd { client: step.to_client, server: step.to_server };
        match step.outcome {
            Outcome::Pending => {
                if !send(&mut self.legs, words) {
                    return self.over(cx, Reason::ResourceMemory);
                }
                handshaking.come_back(handshake);
                self.drive(cx)
            }
            Outcome::Established(relay) => {
                let report = Box::new(handshake.take_report());
                if let Some(secrets) = handshake.take_secrets()
                    && let Some(capture) = &cx.capture
                {
                    capture.secrets(secrets);
                }
                // From here on it is the filter's, if that wants to know it.
                let flow = self.flow.take().map(|mut flow| {
                    if let Some(certificate) = &report.certificate {
                        flow.certificate_names.clone_from(&certificate.alt_names);
                    }
                    Arc::from(flow)
                });
                cx.reports.established = Some(report);
                if !send(&mut self.legs, words) {
                    return self.over(cx, Reason::ResourceMemory);
                }
                if let Some(answering) = &mut self.answering {
                    self.tls = Tls::Relay(Box::new(answering.begin(cx, *relay)));
                    return self.drive(cx);
                }
                let filters = &cx.shared.filters;
                let filter = flow.as_ref().and_then(|flow| filters.filter(flow, relay.alpn()));
                let mut relaying = Relaying::new(*relay, filter);
                let beginning = self.beginning.take();
                if let Some(flow) = &flow {
                    let rule = flow.connection.rule.as_deref();
                    let audience = Audience::Decrypted(&flow.profile.name, rule);
                    relaying.show(begin_to_show(cx, &self.legs, audience, beginning.as_deref()));
                }
                self.tls = Tls::Relay(Box::new(relaying));
                self.drive(cx)
            }
            Outcome::Failed(failure) => {
                cx.reports.broken = Some(Box::new(handshake.take_report()));
                Next::Failed(failure, Blocked::last_words(cx, self.legs, words))
            }
        }
    }

    /// When to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let legs = earlier(self.legs.client.poll_timeout(), self.legs.server.poll_timeout());
        let tls = match &self.tls {
            Tls::Handshake(_) | Tls::Dialogue(_) => Some(self.handshake_until),
            Tls::Relay(relaying) => relaying.poll_timeout(),
            Tls::Plain(_) | Tls::Done => None,
        };
        let answer = self.answering.as_ref().and_then(|answering| answering.until());
        earlier(earlier(legs, tls), answer)
    }

    /// Both ends have closed; a new SYN may take the addresses over.
    pub(super) fn is_closing(&self) -> bool {
        self.legs.iter().all(|leg| matches!(leg.tcp.state(), State::TimeWait | State::Closed))
    }

    /// RST to both ends, for a reason of our own.
    pub(super) fn over(mut self: Box<Self>, cx: &mut Context<IO>, reason: Reason) -> Next<IO> {
        let by = if reason == Reason::ClientReset { End::Client } else { End::Server };
        if let Some(mirrored) = self.mirrored() {
            mirrored.reset(cx, by);
        }
        self.finish(cx);
        Next::Over(reason, Blocked::reset(cx, self.legs))
    }

    /// Likewise, and TLS says so before that, as far as there is room for it now.
    pub(super) fn deny(mut self: Box<Self>, cx: &mut Context<IO>, reason: Reason) -> Next<IO> {
        if let Tls::Relay(relaying) = &mut self.tls {
            relaying.deny(cx, &mut self.legs);
            self.legs.iter_mut().for_each(|leg| leg.transmit(cx));
        }
        self.over(cx, reason)
    }

    /// Mirrors are shown what it says.
    pub(super) fn is_in_mirrors(&self) -> bool {
        match &self.tls {
            Tls::Relay(relaying) => relaying.is_in_mirrors(),
            Tls::Plain(plain) => plain.mirrored.is_some(),
            Tls::Dialogue(_) | Tls::Handshake(_) | Tls::Done => false,
        }
    }

    /// A stream of HTTP/2 is to end, and nothing else. What its filter makes of that is done when it is driven.
    pub(super) fn end_stream(&mut self, stream: u32) -> StreamEnd {
        match &mut self.tls {
            Tls::Relay(relaying) => relaying.end_stream(stream),
            Tls::Dialogue(_) | Tls::Handshake(_) | Tls::Plain(_) | Tls::Done => StreamEnd::Unable,
        }
    }

    /// Ends it for a reason of our own: in order, if nothing is lost by that. Else with a RST, as an orderly end would pass a
    /// truncation off as the end of the data.
    pub(super) fn end(self: Box<Self>, cx: &mut Context<IO>, reason: Reason) -> Next<IO> {
        let is_at_rest = self.is_at_rest();
        self.part(cx, Ending { reason, orderly: is_at_rest, resets_server: false }, Blocked::orderly)
    }

    /// Ends it as its filter asks, whose last words are an answer to the client: it may be in the middle of a request.
    fn part_answered(self: Box<Self>, cx: &mut Context<IO>, ending: Ending) -> Next<IO> {
        self.part(cx, ending, Blocked::answered)
    }

    /// Ends it as is asked, if that can be done; `in_order`: what is left of it then.
    fn part(
        mut self: Box<Self>,
        cx: &mut Context<IO>,
        ending: Ending,
        in_order: fn(&mut Context<IO>, PerEnd<Leg<IO>>) -> Blocked<IO>,
    ) -> Next<IO> {
        let Ending { reason, orderly, resets_server } = ending;
        let closed = match &mut self.tls {
            Tls::Relay(relaying) if orderly => relaying.close(cx, &mut self.legs),
            _ => false,
        };
        if !closed {
            return self.over(cx, reason);
        }
        if let Some(mirrored) = self.mirrored() {
            mirrored.close(cx, End::Server);
            mirrored.close(cx, End::Client);
        }
        self.finish(cx);
        if resets_server {
            self.legs.server.tcp.abort();
        }
        let blocked = in_order(cx, self.legs);
        Next::Over(reason, blocked)
    }

    /// Both ends have received all that was said, and neither has said that it has finished or is in the middle of something
    /// whose end the end of the connection would be taken for.
    fn is_at_rest(&self) -> bool {
        let Tls::Relay(relaying) = &self.tls else { return false };
        self.closed == PerEnd::both(false) && self.is_drained() && relaying.is_at_rest()
    }

    /// What handshake or filter still have to tell, at the end.
    fn finish(&mut self, cx: &mut Context<IO>) {
        match &mut self.tls {
            Tls::Handshake(handshaking) => {
                let report = handshaking.here.as_mut().map(|handshake| Box::new(handshake.take_report()));
                cx.reports.broken = report;
            }
            Tls::Relay(relaying) => relaying.finish(cx),
            Tls::Dialogue(_) | Tls::Plain(_) | Tls::Done => {}
        }
    }

    /// What mirrors are shown of it.
    fn mirrored(&mut self) -> Option<&mut Conversations> {
        match &mut self.tls {
            Tls::Relay(relaying) => relaying.mirrored(),
            Tls::Plain(plain) => plain.mirrored.as_deref_mut(),
            Tls::Dialogue(_) | Tls::Handshake(_) | Tls::Done => None,
        }
    }

    /// The handshakes are under way, or yet to come.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.tls, Tls::Handshake(_) | Tls::Dialogue(_))
    }

    fn is_relaying(&self) -> bool {
        matches!(self.tls, Tls::Dialogue(_) | Tls::Relay(_) | Tls::Plain(_))
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { legs, closed: _, tls, handshake_until: _, flow, is_dialing: _, answering, beginning } =
            self;
        let beginning = beginning.as_ref().map_or(0, |beginning| beginning.memory());
        let flow = flow.as_ref().map_or(0, |flow| flow.memory());
        let answering = answering.as_ref().map_or(0, |answering| answering.memory());
        let legs: usize = legs.iter().map(Leg::memory).sum();
        size_of::<Self>() + legs + tls.memory() + flow + answering + beginning
    }

    /// The segment says no more than that its sender is there, which it was asked.
    pub(super) fn is_answer(&self, from: End, segment: &Segment<'_>) -> bool {
        self.legs[from].tcp.is_probing() && segment.seq_len() == 0 && !segment.flags.rst
    }

    /// Does all that can be done now: events, handshake, relay, segments.
    pub(super) fn drive(mut self: Box<Self>, cx: &mut Context<IO>) -> Next<IO> {
        for end in End::BOTH {
            if let Some(reason) = self.take_events(end) {
                return self.over(cx, reason);
            }
        }
        if let Tls::Handshake(handshaking) = &mut self.tls
            && (handshaking.goes_on()
                || handshaking.closed != self.closed
                || self.legs.iter().any(|leg| !leg.tcp.recv().is_empty()))
            && let Some(handshake) = handshaking.here.take()
        {
            let input = Input {
                from_client: self.legs.client.take(),
                from_server: self.legs.server.take(),
                client_closed: self.closed.client,
                server_closed: self.closed.server,
                now: unix(cx),
            };
            *handshaking = Handshaking::leaving(&handshake, &input);
            return self.submit(cx, handshake, input);
        }
        if self.legs.iter().any(|leg| leg.is_stuck(cx)) {
            return self.over(cx, Reason::ResourceMemory);
        }
        if self.is_relaying()
            && let Err((from, error)) = self.relay_both(cx)
        {
            return self.broken(cx, from, error);
        }
        if let Tls::Dialogue(dialogue) = &mut self.tls
            && let Some(progress) = dialogue.1.take()
        {
            return Next::Dialogue(progress, self);
        }
        if let Tls::Relay(relaying) = &self.tls
            && let Some(ending) = relaying.ending()
        {
            return self.part_answered(cx, ending);
        }
        if self.closed == PerEnd::both(true) && self.is_relaying() && self.is_drained() {
            self.finish(cx);
            self.tls = Tls::Done;
        }
        self.legs.iter_mut().for_each(|leg| leg.transmit(cx));
        if self.legs.iter().all(|leg| leg.tcp.state() == State::Closed) {
            self.finish(cx);
            return Next::Over(Reason::Closed, Blocked::silent(cx));
        }
        Next::Stay(self)
    }

    /// One end broke TLS, or said that it gives up. It gets the last word of its session; the other end is reset, as an
    /// orderly end would pass a truncation off as the end of the data.
    fn broken(mut self: Box<Self>, cx: &mut Context<IO>, from: End, error: RelayError) -> Next<IO> {
        if let Some(mirrored) = self.mirrored() {
            mirrored.reset(cx, from);
        }
        self.finish(cx);
        let other = &mut self.legs[from.other()];
        // An alert that was passed on goes before the RST, if the window has room for it.
        other.transmit(cx);
        other.tcp.abort();
        Next::Over(error.reason, Blocked::last_words(cx, self.legs, PerEnd::default()))
    }

    /// Both ends' bytes have been relayed and acknowledged, and none wait for a verdict.
    fn is_drained(&self) -> bool {
        let is_waiting = matches!(&self.tls, Tls::Relay(relaying) if relaying.awaits_verdict());
        !is_waiting && self.legs.iter().all(|leg| leg.tcp.recv().is_empty() && leg.tcp.is_send_drained())
    }

    /// Takes a leg's events; the reason why the flow is over, if one says so.
    fn take_events(&mut self, end: End) -> Option<Reason> {
        while let Some(event) = self.legs[end].tcp.poll_event() {
            match (event, end) {
                (TcpEvent::PeerClosed, _) => self.closed[end] = true,
                (TcpEvent::Reset, End::Client) => return Some(Reason::ClientReset),
                (TcpEvent::Reset, End::Server) if self.is_dialing => return Some(Reason::ServerRefused),
                (TcpEvent::Reset, End::Server) => return Some(self.blame_reset()),
                (TcpEvent::TimedOut, End::Client) => return Some(Reason::ClientTimeout),
                (TcpEvent::TimedOut, End::Server) if self.is_dialing => {
                    return Some(Reason::ServerUnreachable);
                }
                (TcpEvent::TimedOut, End::Server) => return Some(Reason::ServerTimeout),
                (TcpEvent::Established, _) => self.is_dialing = false,
                (TcpEvent::Closed, _) => {}
            }
        }
        None
    }

    /// Why the server has reset its connection. A handshake that is at the pool cannot be asked.
    fn blame_reset(&self) -> Reason {
        let reset = Reason::ServerReset;
        match &self.tls {
            Tls::Handshake(Handshaking { here: Some(handshake), .. }) => handshake.blame_silent_server(reset),
            // In TLS 1.3 it sees after its own handshake that there is no certificate.
            Tls::Relay(relaying) if relaying.awaits_certificate() => Reason::ServerRequiresClientCert,
            _ => reset,
        }
    }

    /// Hands the handshake to the pool.
    pub(super) fn submit(
        mut self: Box<Self>,
        cx: &mut Context<IO>,
        handshake: Box<Handshake>,
        input: Input,
    ) -> Next<IO> {
        self.legs.iter_mut().for_each(|leg| leg.transmit(cx));
        match cx.submit(Job::Handshake(handshake, input)) {
            Ok(()) => Next::Stay(self),
            Err(_) => self.over(cx, Reason::ResourceHandshakes),
        }
    }

    /// Moves what both ends have sent. The error is of the end that it came from.
    fn relay_both(&mut self, cx: &mut Context<IO>) -> Result<(), (End, RelayError)> {
        if self.answering.is_some() {
            return self.relay_answers(cx).map_err(|error| (End::Client, error));
        }
        for from in End::BOTH {
            self.relay(cx, from).map_err(|error| (from, error))?;
        }
        // What the server says may decide on what the client has said before.
        let is_decided = matches!(&self.tls, Tls::Relay(relaying) if relaying.is_ready(End::Client));
        if is_decided {
            self.relay(cx, End::Client).map_err(|error| (End::Client, error))?;
        }
        if let Tls::Relay(relaying) = &mut self.tls
            && relaying.ask(cx)
        {
            for from in End::BOTH {
                self.relay(cx, from).map_err(|error| (from, error))?;
            }
        }
        Ok(())
    }

    /// Moves what one end has sent to the other, as far as the other leg may queue it.
    pub(super) fn relay(&mut self, cx: &mut Context<IO>, from: End) -> Result<(), RelayError> {
        let (source, sink) = self.legs.split_mut(from);
        source.limit(cx);
        let room = match (&self.answering, from) {
            // Nobody is there to take it.
            (Some(_), End::Client) => ASKED_AT_A_TIME,
            _ => sink.limit(cx).saturating_sub(sink.tcp.queued()).min(sink.tcp.send_wanted()),
        };
        let mut is_empty = true;
        match &mut self.tls {
            Tls::Relay(relaying) => {
                relaying.relay(cx, (from, self.closed[from]), source, sink, room)?;
                is_empty = relaying.is_empty(from);
            }
            Tls::Plain(plain) => plain.relay(cx, from, source, sink, room)?,
            Tls::Dialogue(dialogue) => {
                talk(dialogue, &mut self.beginning, from, source, sink)?;
                if self.closed[from] {
                    // The beginning of a message whose end never comes.
                    source.tcp.consume(source.tcp.recv().len());
                }
            }
            Tls::Handshake(_) | Tls::Done => {}
        }
        // A FIN follows when all before it has been handed on, as it came: half-close stays half-close.
        if self.closed[from] && source.tcp.recv().is_empty() && is_empty {
            sink.tcp.close();
            if let Some(mirrored) = self.mirrored() {
                mirrored.close(cx, from);
            }
        }
        Ok(())
    }
}

/// Moves what an end has said before TLS, as far as it may go. It is little, so the windows are not asked.
fn talk<IO: Io>(
    (dialogue, outcome): &mut (Dialogue, Option<Progress>),
    beginning: &mut Option<Box<Beginning>>,
    from: End,
    source: &mut Leg<IO>,
    sink: &mut Leg<IO>,
) -> Result<(), RelayError> {
    while outcome.is_none() {
        let bytes = source.tcp.recv();
        let progress = match from {
            End::Client => dialogue.client(bytes),
            End::Server => dialogue.server(bytes),
        };
        if let Progress::Pass(n) | Progress::Agreed(n) = progress {
            let passing = bytes[..n].to_vec();
            if let Some(beginning) = beginning {
                beginning.push(from, &passing);
            }
            source.tcp.consume(n);
            if !sink.send(passing) {
                return Err(RelayError { reason: Reason::ResourceMemory, alert: None });
            }
        }
        match progress {
            Progress::Pass(0) => break,
            Progress::Pass(_) => {}
            progress => *outcome = Some(progress),
        }
    }
    Ok(())
}

/// Queues bytes for both ends. False: one takes none any more, or more than it may hold.
fn send<IO: Io>(legs: &mut PerEnd<Leg<IO>>, PerEnd { client, server }: PerEnd<Vec<u8>>) -> bool {
    legs.client.send(client) && legs.server.send(server)
}

/// Seconds since the Unix epoch.
pub(super) fn unix<IO: Io>(cx: &Context<IO>) -> u64 {
    cx.wall.0 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_port::MemoryIo;

    /// Nobody can ask the pool what a handshake holds, so it is taken to hold what it left with, and some more.
    #[test]
    fn a_handshake_at_the_pool_counts() {
        let away = Tls::<MemoryIo>::Handshake(Handshaking {
            here: None,
            closed: PerEnd::both(false),
            memory: 100_000 + GROWTH_AT_POOL,
            received: 5_000,
        });
        assert_eq!((away.memory(), away.received()), (100_000 + GROWTH_AT_POOL, 5_000));
        let plain = Tls::<MemoryIo>::Plain(Plain { mirrored: None, second: None });
        assert_eq!((Tls::<MemoryIo>::Done.memory(), plain.received()), (0, 0));
    }
}
