//! A flow, from SYN to the end, as a state machine: frames, timeouts and the pool's replies go in; frames, events and jobs for
//! the pool are left in a [`Context`]. It has no clock and no threads, so all of it is tested without them.
//!
//! ```text
//! Opening ──► Answered ──► Peeking ──► Adopted ──► (over)
//!    │           │            ├──────► Bypassed
//!    └───────────┴────────────┴──────► Blocked
//! ```
//!
//! Where a rule holds first contact, the engine answers the SYN itself: Opening ──► Held ──► HelloOverTcp, and on from there.

mod accounting;
mod adopted;
mod answering;
mod blocked;
mod budget;
mod bypassed;
mod context;
mod decide;
mod exclude;
mod external;
mod gather;
mod gso;
mod held;
mod held_bodies;
mod hello_over_tcp;
mod identity;
mod leg;
mod opening;
mod peeking;
mod plain;
mod prefix;
mod relaying;
mod report;
mod settings;
mod snapshot;
mod starttls;
mod watched;

use std::sync::Arc;

use tcp_stack::{Duration, Instant, Segment};

use self::adopted::{Adopted, Next};
use self::blocked::{Blocked, reset_ends};
pub use self::budget::Budget;
use self::bypassed::{Bypassed, Released};
pub use self::context::{Context, JobRoom};
use self::decide::FirstFlight;
pub use self::external::ExternalVerdict;
pub use self::gather::Gathered;
use self::hello_over_tcp::HelloOverTcp;
pub use self::identity::Identity;
use self::identity::PackedIdentity;
use self::opening::{
    AfterAnswer, Answered, BeforeAnswer, Opening, opening_segment, pass_syn, show_handshake,
};
use self::peeking::{Peeked, Peeking};
pub use self::settings::{Limits, Midstream, OutsideTls, Shared};
use self::snapshot::About;
pub use self::snapshot::{FlowSnapshot, LegSnapshot, Short, TlsSnapshot, Wanted};
use crate::end::{End, PerEnd};
use crate::event::{Action, Event, Timestamp, Volume};
use crate::job::Reply;
use crate::order::Order;
use crate::packet::{Headers, Template, TooBigMessage};
use crate::phase::FlowPhase;
use crate::policy::{Decision, FlowFacts, Verdict};
use crate::port::{Frame, Io};
use crate::reason::{PacketDrop, PathMessage, Reason};
use crate::starttls::Protocol;

/// How long an answer to a SYN may take, and a connection that was closed before it carried anything may linger.
const OPENING_TIME: Duration = Duration::from_secs(60);

/// One connection through a wire.
pub struct Flow<IO: Io> {
    identity: PackedIdentity,
    start: Timestamp,
    last: Timestamp,
    /// Last packet, for the idle time.
    active: Instant,
    volume: PerEnd<Volume>,
    /// Control bits of all segments.
    flags: PerEnd<u8>,
    /// What was decided, and by which rule.
    decided: Option<(Action, Option<Arc<str>>)>,
    /// What its ClientHello and handshakes have told; none before.
    about: Option<Box<About>>,
    /// Why it has ended, when its `flow` event is out.
    ended: Option<Reason>,
    /// It may be dropped.
    over: bool,
    /// Segments have been taken in, and nothing done about them yet.
    unsettled: bool,
    /// It passes although its beginning, or one direction of it, was not seen.
    midstream: bool,
    /// It is bypassed as an operator has ordered so.
    ordered: Option<Order>,
    /// What it speaks before it goes over to TLS in place; none: TLS from the start.
    starttls: Option<Protocol>,
    /// A bit for each mirror that it was shown at.
    mirrors: u8,
    phase: Phase<IO>,
}

/// The checksums of a frame are right, by its port's word or by our own sums.
pub fn verify<F: Frame>(frame: &F, headers: &Headers) -> Result<(), PacketDrop> {
    if frame.is_verified() { Ok(()) } else { headers.verify_checksums(frame.data()) }
}

/// What is to become of packets that come when the flow has been forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// They are like any others that are seen from the middle.
    Midstream,
    /// They are refused: nobody has said that the connection may pass, and an end may still have it.
    Refuse,
    /// Likewise, but of a connection that the server has not answered.
    RefuseUnanswered,
}

enum Phase<IO: Io> {
    Opening(Box<Opening>),
    Answered(Box<Answered>),
    /// By us: the server has not heard of it.
    Held(Box<Answered>),
    Peeking(Box<Peeking<IO>>),
    HelloOverTcp(Box<HelloOverTcp<IO>>),
    Adopted(Box<Adopted<IO>>),
    Bypassed(Bypassed),
    Blocked(Blocked<IO>),
}

impl<IO: Io> Flow<IO> {
    /// A flow that begins with this SYN; the SYN itself goes to [`Self::handle_frame`] next.
    ///
    /// `verdict`: what L3/L4 rules have settled already. Blocked flows do not begin: the caller refuses their SYN.
    pub fn new(cx: &Context<IO>, identity: Identity, syn: &Segment<'_>, verdict: Option<&Verdict>) -> Self {
        let now = cx.now;
        let bypass = verdict.filter(|v| matches!(v.decision, Decision::Bypass));
        let phase = match bypass {
            Some(_) => Phase::Bypassed(Bypassed::new(now, cx.shared.limits.idle_time)),
            None => Phase::Opening(Box::new(Opening::new(now, syn))),
        };
        let decided = bypass.map(|v| (Action::Bypass, v.rule.clone()));
        let protocol = cx.shared.policy.starttls().protocol(identity.server.port());
        let starttls = protocol.filter(|_| bypass.is_none());
        let ordered = cx.count_order(bypass.and_then(|_| cx.ordered_bypass()));
        Self { decided, ordered, starttls, ..Self::in_phase(cx, identity, phase) }
    }

    /// A flow whose beginning was not seen, and that passes all the same: because a rule (`rule`) says so, or because there is
    /// nothing else to be done about it yet.
    pub fn from_the_middle(cx: &Context<IO>, identity: Identity, rule: Option<Arc<str>>) -> Self {
        let phase = Phase::Bypassed(Bypassed::from_the_middle(cx.now, cx.shared.limits.idle_time));
        let decided = Some((Action::Bypass, rule));
        let ordered = cx.count_order(cx.ordered_bypass());
        Self { decided, ordered, midstream: true, ..Self::in_phase(cx, identity, phase) }
    }

    fn in_phase(cx: &Context<IO>, identity: Identity, phase: Phase<IO>) -> Self {
        Self {
            identity: PackedIdentity::new(&identity),
            start: cx.wall,
            last: cx.wall,
            active: cx.now,
            volume: PerEnd::default(),
            flags: PerEnd::default(),
            decided: None,
            about: None,
            ended: None,
            over: false,
            unsettled: false,
            midstream: false,
            ordered: None,
            starttls: None,
            mirrors: 0,
            phase,
        }
    }

    /// It has been reported, and may be dropped.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// [`Self::settle`] is to be called before anything else but further frames.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Counts a frame. Returns when there was one before it.
    fn note(&mut self, cx: &Context<IO>, from: End, frame: &IO::Frame, headers: &Headers) -> Instant {
        self.flags[from] |= headers.flag_bits(frame.data());
        let volume = &mut self.volume[from];
        volume.packets += 1;
        volume.bytes += frame.len() as u64;
        let action = self.decided.as_ref().map(|(action, _)| *action);
        cx.counters.carried(action, from).add(frame.len() as u64);
        self.last = cx.wall;
        std::mem::replace(&mut self.active, cx.now)
    }

    /// A frame of the flow, whose headers are sound, and which [`Self::gather`] has given back. `from`: the end whose port it came in.
    pub fn handle_frame(&mut self, cx: &mut Context<IO>, from: End, mut frame: IO::Frame, headers: &Headers) {
        self.note(cx, from, &frame, headers);
        if let Phase::Bypassed(bypassed) = &mut self.phase {
            let (now, idle) = (cx.now, cx.shared.limits.idle_time);
            let segment = Segment::parse(headers.segment(frame.data()));
            let passes = segment.as_ref().map_or(true, |segment| bypassed.observe(now, idle, from, segment));
            return match passes {
                true => {
                    if bypassed.watched
                        && let Ok(segment) = &segment
                    {
                        self.watch(cx, from, segment, (&frame, headers));
                    }
                    cx.show_frame(&frame);
                    cx.send(from.other(), frame);
                }
                false => cx.counters.drop_packet(PacketDrop::BrokenHandshake),
            };
        }
        if let Err(reason) = self.accepts(from, &frame, headers) {
            return cx.counters.drop_packet(reason);
        }
        self.phase = match self.take_phase(cx) {
            Phase::Opening(opening) => self.open(cx, opening, from, frame, headers),
            Phase::Answered(answered) => self.open_answered(cx, answered, from, frame, headers),
            Phase::Held(answered) => self.handle_held(cx, answered, from, frame, headers),
            Phase::Peeking(peeking) => self.peek(cx, peeking, from, frame, headers),
            Phase::HelloOverTcp(mut hello) => match Segment::parse(headers.segment(frame.data_mut())) {
                Ok(segment) => {
                    let peeked = hello.handle_segment(cx, from, &segment);
                    self.follow_hello(cx, hello, peeked)
                }
                Err(_) => {
                    cx.counters.drop_packet(PacketDrop::BadTcpHeader);
                    Phase::HelloOverTcp(hello)
                }
            },
            Phase::Blocked(mut blocked) => {
                cx.counters.drop_packet(PacketDrop::FlowEnded);
                blocked.handle(cx, from, frame.data(), headers);
                Phase::Blocked(blocked)
            }
            phase @ (Phase::Adopted(_) | Phase::Bypassed(_)) => phase,
        };
    }

    /// The checksums of a frame are right, and it comes in where its sender is: what we send in an end's name has the headers of
    /// its frames, so they must be its own.
    fn accepts(&self, from: End, frame: &IO::Frame, headers: &Headers) -> Result<(), PacketDrop> {
        verify(frame, headers)?;
        let sender = if headers.source == self.identity.client() { End::Client } else { End::Server };
        if sender == from { Ok(()) } else { Err(PacketDrop::BrokenHandshake) }
    }

    /// Its phase, to make the next of it. Meanwhile it is one that refuses all that comes.
    fn take_phase(&mut self, cx: &Context<IO>) -> Phase<IO> {
        std::mem::replace(&mut self.phase, Phase::Blocked(Blocked::silent(cx)))
    }

    /// A router says that a segment between the ends was too big. Unless a leg sent it, the message is passed on to whoever did.
    pub fn handle_too_big(
        &mut self,
        cx: &mut Context<IO>,
        from: End,
        frame: IO::Frame,
        message: &TooBigMessage,
    ) {
        // What is said to come from the client was sent towards the server, and what is said of it comes back from there.
        let towards = if message.source == self.identity.client() { End::Server } else { End::Client };
        let leg = match &mut self.phase {
            Phase::Adopted(adopted) => Some(&mut adopted.legs[towards]),
            // Nothing of ours can have been too big where we have sent nothing.
            Phase::HelloOverTcp(hello) if hello.legs[towards].is_opening() => None,
            Phase::HelloOverTcp(hello) => Some(&mut hello.legs[towards]),
            Phase::Blocked(blocked) => blocked.leg(towards),
            Phase::Opening(_)
            | Phase::Answered(_)
            | Phase::Held(_)
            | Phase::Peeking(_)
            | Phase::Bypassed(_) => None,
        };
        let what = match leg {
            Some(_) if from != towards => PathMessage::WrongSide,
            Some(leg) => leg.handle_too_big(cx, message),
            None => {
                cx.send(from.other(), frame);
                PathMessage::NoLeg
            }
        };
        cx.counters.path_message(what);
    }

    /// Does what the frames of a burst have brought.
    pub fn settle(&mut self, cx: &mut Context<IO>) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        self.phase = match self.take_phase(cx) {
            Phase::Adopted(adopted) => {
                let next = adopted.drive(cx);
                self.follow(cx, next)
            }
            phase => phase,
        };
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, cx: &mut Context<IO>) {
        let now = cx.now;
        if self.idle_at(&cx.shared) <= now {
            return self.time_out(cx, Reason::Idle);
        }
        self.time_out_watched(cx);
        self.phase = match self.take_phase(cx) {
            Phase::Peeking(peeking) if peeking.deadline <= now => {
                self.no_hello(cx, FirstFlight::Held(peeking), Reason::HelloTimeout)
            }
            Phase::Peeking(peeking) if peeking.stuck_at <= now => self.take_hello(cx, peeking),
            Phase::HelloOverTcp(mut hello) => {
                let peeked = hello.handle_timeout(cx);
                self.follow_hello(cx, hello, peeked)
            }
            Phase::Adopted(adopted) => {
                let next = adopted.handle_timeout(cx);
                self.follow(cx, next)
            }
            Phase::Blocked(mut blocked) => {
                self.over = blocked.handle_timeout(cx);
                Phase::Blocked(blocked)
            }
            Phase::Bypassed(bypassed) => {
                let (at, reason) = bypassed.ends();
                if at <= now {
                    self.report_flow(cx, FlowPhase::Bypassed, reason);
                    self.over = true;
                }
                Phase::Bypassed(bypassed)
            }
            phase @ (Phase::Opening(_) | Phase::Answered(_) | Phase::Held(_) | Phase::Peeking(_)) => phase,
        }
    }

    /// The pool's answer to this flow's request.
    pub fn handle_reply(&mut self, cx: &mut Context<IO>, reply: Reply) {
        self.phase = match self.take_phase(cx) {
            Phase::Adopted(adopted) => {
                let next = adopted.handle_reply(cx, reply);
                self.follow(cx, next)
            }
            phase => phase,
        };
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self, shared: &Shared) -> Instant {
        let own = match &self.phase {
            Phase::Peeking(peeking) => Some(peeking.deadline.min(peeking.stuck_at)),
            Phase::HelloOverTcp(hello) => hello.poll_timeout(),
            Phase::Adopted(adopted) => adopted.poll_timeout(),
            Phase::Blocked(blocked) => blocked.poll_timeout(),
            Phase::Bypassed(bypassed) => {
                let ends_at = bypassed.ends().0;
                Some(self.watched_until().map_or(ends_at, |until| until.min(ends_at)))
            }
            Phase::Opening(_) | Phase::Answered(_) | Phase::Held(_) => None,
        };
        let idle = self.idle_at(shared);
        own.map_or(idle, |own| own.min(idle))
    }

    /// It has been silent for too long. Unless it ends in order, for which the ends need some time, it is over.
    pub fn time_out(&mut self, cx: &mut Context<IO>, reason: Reason) {
        self.end(cx, reason);
        if self.is_ending_in_order() {
            self.active = cx.now;
        } else {
            self.finish(cx, reason);
        }
    }

    /// Ends it now, whatever its phase: eviction, the engine's stop. It may be dropped.
    pub fn expire(&mut self, cx: &mut Context<IO>, reason: Reason) {
        self.end(cx, reason);
        if let Phase::Blocked(blocked) = &mut self.phase {
            blocked.abandon(cx);
        }
        self.finish(cx, reason);
    }

    fn end(&mut self, cx: &mut Context<IO>, reason: Reason) {
        self.phase = match self.take_phase(cx) {
            Phase::Adopted(adopted) => {
                // An engine that stops will not be there when the ends answer, and who kills wants it gone.
                let orderly = !matches!(reason, Reason::Shutdown | Reason::OperatorKilled);
                let next = if orderly { adopted.end(cx, reason) } else { adopted.over(cx, reason) };
                self.follow(cx, next)
            }
            Phase::Peeking(peeking) => self.no_hello(cx, FirstFlight::Held(peeking), reason),
            Phase::HelloOverTcp(hello) => self.no_hello(cx, FirstFlight::Taken(hello), reason),
            Phase::Answered(mut answered) => {
                // It would go on without us, as one that is seen from the middle.
                if !answered.is_closing() {
                    reset_ends(cx, &mut answered);
                }
                Phase::Answered(answered)
            }
            phase @ (Phase::Opening(_) | Phase::Held(_) | Phase::Bypassed(_) | Phase::Blocked(_)) => phase,
        };
    }

    fn idle_at(&self, shared: &Shared) -> Instant {
        let idle = match &self.phase {
            Phase::Opening(_) | Phase::Held(_) => OPENING_TIME,
            Phase::Answered(answered) if !answered.is_established() || answered.is_closing() => OPENING_TIME,
            _ => shared.limits.idle_time,
        };
        self.active + idle
    }

    fn open(
        &mut self,
        cx: &mut Context<IO>,
        mut opening: Box<Opening>,
        from: End,
        frame: IO::Frame,
        headers: &Headers,
    ) -> Phase<IO> {
        let Some(segment) = opening_segment(cx, &mut opening.path, from, &frame, headers) else {
            return Phase::Opening(opening);
        };
        let was_one_sided = opening.one_sided;
        let found = opening.observe(cx.now, from, &segment, || Template::of(frame.data(), headers));
        if opening.one_sided && !was_one_sided {
            cx.counters.asymmetric_flows.inc();
            cx.events.push(Event::Asymmetric(self.head(cx.wall, &cx.shared), End::Client));
        }
        match found {
            BeforeAnswer::Pass => cx.send(from.other(), frame),
            // Where the server speaks first, there is nothing that could be judged before it has.
            BeforeAnswer::PassSyn
                if self.starttls.is_none() && cx.shared.policy.holds(&self.facts(&cx.shared)) =>
            {
                return self.hold(cx, &opening, &frame, headers);
            }
            BeforeAnswer::PassSyn => pass_syn(cx, from, frame, headers),
            BeforeAnswer::Answered(answered) => {
                pass_syn(cx, from, frame, headers);
                return Phase::Answered(answered);
            }
            BeforeAnswer::Reset => {
                cx.send(from.other(), frame);
                self.report_flow(cx, FlowPhase::Opening, reset_by(from));
                return Phase::Blocked(Blocked::silent(cx));
            }
            BeforeAnswer::Unwanted => cx.counters.drop_packet(PacketDrop::BrokenHandshake),
            // The flow stays as it is: should the server answer after all, its handshake can still be followed. The grace time is not
            // for it: it is younger than the engine.
            BeforeAnswer::OneDirection
                if cx.shared.outside_tls.midstream != Midstream::Forward
                    || self.identity.refused_before() =>
            {
                cx.counters.drop_packet(PacketDrop::OneDirection);
            }
            BeforeAnswer::OneDirection => {
                self.decided = Some((Action::Bypass, None));
                self.midstream = true;
                cx.send(from.other(), frame);
            }
        }
        Phase::Opening(opening)
    }

    fn open_answered(
        &mut self,
        cx: &mut Context<IO>,
        mut answered: Box<Answered>,
        from: End,
        frame: IO::Frame,
        headers: &Headers,
    ) -> Phase<IO> {
        let Some(segment) = opening_segment(cx, &mut answered.path, from, &frame, headers) else {
            return Phase::Answered(answered);
        };
        match answered.observe(cx.now, from, &segment, || Template::of(frame.data(), headers)) {
            AfterAnswer::Pass => cx.send(from.other(), frame),
            AfterAnswer::PassSyn => pass_syn(cx, from, frame, headers),
            AfterAnswer::Reset => {
                // Whether it arrives is not ours to know, so ours follow, and what still comes is answered alike.
                cx.send(from.other(), frame);
                let blocked = reset_ends(cx, &mut answered);
                self.report_flow(cx, FlowPhase::Opening, reset_by(from));
                return Phase::Blocked(blocked);
            }
            AfterAnswer::Unwanted => cx.counters.drop_packet(PacketDrop::BrokenHandshake),
            // Nor does data make an established connection of a SYN that anyone may have sent.
            AfterAnswer::ClientData if !answered.is_acknowledged_by(&segment) => {
                cx.counters.drop_packet(PacketDrop::BrokenHandshake);
            }
            spoken @ (AfterAnswer::ClientData | AfterAnswer::ServerData) => {
                if let Some(protocol) = self.starttls.filter(|_| !answered.server_has_closed()) {
                    return self.begin_dialogue(cx, &answered, protocol, from, &frame, headers);
                }
                if spoken == AfterAnswer::ServerData {
                    return self.not_tls(cx, answered, Vec::new(), from, frame);
                }
                let template = Template::of(frame.data(), headers);
                let peeking = Box::new(Peeking::new(cx.now, answered, template, &cx.shared.limits));
                return self.peek(cx, peeking, from, frame, headers);
            }
        }
        Phase::Answered(answered)
    }

    /// The server speaks first: whatever this is, TLS it is not. `held`: what the client has said before.
    fn not_tls(
        &mut self,
        cx: &mut Context<IO>,
        answered: Box<Answered>,
        held: Vec<IO::Frame>,
        from: End,
        frame: IO::Frame,
    ) -> Phase<IO> {
        let ordered = cx.ordered_bypass();
        let bypass = cx.shared.outside_tls.bypass_not_tls || ordered.is_some();
        if bypass {
            show_handshake(cx, &answered, None);
            for frame in held {
                cx.show_frame(&frame);
                cx.send(End::Server, frame);
            }
        }
        // Where it has closed already, it may be that only we have seen that.
        if bypass && !answered.server_has_closed() {
            (self.decided, self.ordered) = (Some((Action::Bypass, None)), cx.count_order(ordered));
            cx.show_frame(&frame);
            cx.send(from.other(), frame);
            let released = Released::new(&answered, Vec::new(), None);
            return Phase::Bypassed(Bypassed::released(cx.now, cx.shared.limits.idle_time, released));
        }
        self.decided = Some((Action::Block, None));
        let legs = answered.adopt(cx.now, None, cx.mtu(), &cx.shared.limits);
        self.reset(cx, legs, Reason::HelloNotTls)
    }

    fn peek(
        &mut self,
        cx: &mut Context<IO>,
        mut peeking: Box<Peeking<IO>>,
        from: End,
        frame: IO::Frame,
        headers: &Headers,
    ) -> Phase<IO> {
        let Ok(segment) = Segment::parse(headers.segment(frame.data())) else {
            cx.counters.drop_packet(PacketDrop::BadTcpHeader);
            return Phase::Peeking(peeking);
        };
        if segment.flags.rst && from == End::Client {
            if peeking.covers(segment.seq) {
                return self.no_hello(cx, FirstFlight::Held(peeking), Reason::ClientReset);
            }
            cx.counters.drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Peeking(peeking);
        }
        if segment.flags.syn && from == End::Client {
            cx.counters.drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Peeking(peeking);
        }
        if from == End::Server {
            let opened =
                peeking.opening.observe(cx.now, from, &segment, || Template::of(frame.data(), headers));
            return self.peek_beside(cx, peeking, opened, from, frame);
        }
        if !peeking.opening.is_acknowledged_by(&segment) {
            cx.counters.drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Peeking(peeking);
        }
        if segment.flags.urg {
            // The urgent pointer may take a byte out of what the server reads (RFC 6093 3.1).
            return self.no_hello(cx, FirstFlight::Held(peeking), Reason::HelloAmbiguous);
        }
        let (fin, end) = (segment.flags.fin, segment.seq + segment.payload.len() as u32);
        let inserted = peeking.insert(&segment);
        match peeking.hold(cx, frame, inserted) {
            Peeked::Hello(hello) => self.decide(cx, FirstFlight::Held(peeking), hello),
            Peeked::Not(reason) => self.no_hello(cx, FirstFlight::Held(peeking), reason),
            // After a FIN in its place there will be no more.
            Peeked::Incomplete if fin && peeking.reaches(end) => {
                self.no_hello(cx, FirstFlight::Held(peeking), Reason::ClientClosed)
            }
            Peeked::Incomplete => Phase::Peeking(peeking),
            Peeked::Stuck => self.take_hello(cx, peeking),
        }
    }

    /// While the hello is incomplete: what is not the client's data.
    fn peek_beside(
        &mut self,
        cx: &mut Context<IO>,
        peeking: Box<Peeking<IO>>,
        opened: AfterAnswer,
        from: End,
        frame: IO::Frame,
    ) -> Phase<IO> {
        match opened {
            AfterAnswer::Pass if peeking.opening.server_has_closed() => {
                return self.no_hello(cx, FirstFlight::Held(peeking), Reason::ServerClosed);
            }
            AfterAnswer::Pass | AfterAnswer::PassSyn => cx.send(from.other(), frame),
            AfterAnswer::Reset => {
                cx.send(from.other(), frame);
                self.report_tls(cx, None, None, Reason::ServerReset);
                let legs = peeking.adopt(cx);
                return self.reset(cx, legs, Reason::ServerReset);
            }
            AfterAnswer::ServerData => {
                let (opening, held) = peeking.into_opening(cx);
                return self.not_tls(cx, opening, held, from, frame);
            }
            AfterAnswer::Unwanted | AfterAnswer::ClientData => {
                cx.counters.drop_packet(PacketDrop::BrokenHandshake);
            }
        }
        Phase::Peeking(peeking)
    }

    /// Tells what an adopted flow has to tell. Returns the phase that comes next.
    fn follow(&mut self, cx: &mut Context<IO>, next: Next<IO>) -> Phase<IO> {
        match next {
            Next::Stay(adopted) => {
                self.tell_reports(cx, Reason::PolicyDecrypt, None);
                Phase::Adopted(adopted)
            }
            Next::Dialogue(progress, adopted) => self.end_dialogue(cx, progress, adopted),
            Next::Failed(failure, blocked) => {
                self.tell_reports(cx, failure.reason, failure.alert);
                self.block(cx, blocked, failure.reason)
            }
            Next::Over(reason, blocked) => {
                self.tell_reports(cx, reason, None);
                self.report_flow(cx, self.phase_when_adopted(), reason);
                Phase::Blocked(blocked)
            }
        }
    }

    fn facts<'a>(&self, shared: &'a Shared) -> FlowFacts<'a> {
        FlowFacts {
            wire: &shared.wires[self.identity.wire()],
            vlan: self.identity.vlan()[0],
            client: self.identity.client(),
            server: self.identity.server(),
        }
    }
}

fn reset_by(end: End) -> Reason {
    match end {
        End::Client => Reason::ClientReset,
        End::Server => Reason::ServerReset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_port::MemoryIo;

    /// What a flow costs before it holds a byte. Bounds, so that growth is a decision.
    #[test]
    fn flows_stay_small() {
        assert!(size_of::<Flow<MemoryIo>>() <= 192);
        assert!(size_of::<Opening>() <= 56);
        // A size that allocators have.
        assert!(size_of::<Answered>() <= 192);
        assert!(size_of::<Adopted<MemoryIo>>() <= 4096);
    }
}
