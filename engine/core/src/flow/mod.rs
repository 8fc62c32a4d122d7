//! A flow, from SYN to the end, as a pure state machine: frames, timeouts and the pool's replies go in; what it does
//! goes out through [`Effects`]. It has no clock, no ports and no threads, so all of it is tested without them.
//!
//! ```text
//! Opening ──► Peeking ──► Adopted ──► (over)
//!    │           ├──────► Bypassed
//!    └───────────┴──────► Blocked
//! ```

mod accounting;
mod adopted;
mod blocked;
mod budget;
mod bypassed;
mod decide;
mod effects;
mod hearing;
mod leg;
mod opening;
mod peeking;
mod prefix;
mod relaying;
mod report;
mod snapshot;
mod train;

use std::net::SocketAddr;
use std::sync::Arc;

use tcp_stack::{Duration, Instant, Segment};

use self::adopted::{Adopted, Told};
use self::blocked::Blocked;
pub use self::budget::Budget;
use self::bypassed::{Bypassed, Released};
use self::decide::FirstFlight;
pub use self::effects::{Effects, Limits, Midstream, OutsideTls, Shared};
use self::hearing::Hearing;
use self::opening::{Opened, Opening};
use self::peeking::{Peeked, Peeking};
use self::snapshot::About;
pub use self::snapshot::{FlowSnapshot, LegSnapshot, Short, TlsSnapshot, Wanted};
use crate::end::{End, PerEnd};
use crate::event::{Action, Timestamp, Volume};
use crate::job::Reply;
use crate::packet::{Headers, Template, TooBigMessage, scrub_syn};
use crate::policy::{Decision, FlowFacts, Verdict};
use crate::port::Frame;
use crate::reason::{PacketDrop, PathMessage, Reason};

/// How long an answer to a SYN may take, and a connection that was closed before it carried anything may linger.
const OPENING_TIME: Duration = Duration::from_secs(60);

/// One connection through a wire.
pub struct Flow<F: Frame> {
    identity: Identity,
    start: Timestamp,
    last: Timestamp,
    /// Last packet, for the idle time.
    active: Instant,
    volume: PerEnd<Volume>,
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
    phase: Phase<F>,
}

/// What stays the same in all of a flow's life.
#[derive(Clone, Copy)]
pub struct Identity {
    /// Unique in a run.
    pub flow_id: u64,
    /// Index of the wire.
    pub wire: u8,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// The end that sent the SYN.
    pub client: SocketAddr,
    /// The other end.
    pub server: SocketAddr,
    /// A connection between them was refused, and one of them may still have it.
    pub refused_before: bool,
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

enum Phase<F: Frame> {
    Opening(Box<Opening>),
    Peeking(Box<Peeking<F>>),
    Hearing(Box<Hearing<F>>),
    Adopted(Box<Adopted<F>>),
    Bypassed(Bypassed),
    Blocked(Box<Blocked<F>>),
    /// Between two phases; never seen from outside of a call.
    Moving,
}

impl<F: Frame> Flow<F> {
    /// A flow that begins with this SYN; the SYN itself goes to [`Self::handle_frame`] next.
    ///
    /// `verdict`: what L3/L4 rules have settled already. Blocked flows do not begin: the caller refuses their SYN.
    pub fn new<E: Effects<Frame = F>>(
        fx: &E,
        identity: Identity,
        syn: &Segment<'_>,
        verdict: Option<&Verdict>,
    ) -> Self {
        let now = fx.now();
        let bypass = verdict.filter(|v| matches!(v.decision, Decision::Bypass));
        let phase = match bypass {
            Some(_) => Phase::Bypassed(Bypassed::new(now, fx.shared().limits.idle_time)),
            None => Phase::Opening(Box::new(Opening::new(now, syn))),
        };
        let decided = bypass.map(|v| (Action::Bypass, v.rule.clone()));
        Self { decided, ..Self::in_phase(fx, identity, phase) }
    }

    /// A flow whose beginning was not seen, and that passes all the same: because a rule (`rule`) says so, or because there is
    /// nothing else to be done about it yet.
    pub fn from_the_middle<E: Effects<Frame = F>>(
        fx: &E,
        identity: Identity,
        rule: Option<Arc<str>>,
    ) -> Self {
        let phase = Phase::Bypassed(Bypassed::from_the_middle(fx.now(), fx.shared().limits.idle_time));
        let decided = Some((Action::Bypass, rule));
        Self { decided, midstream: true, ..Self::in_phase(fx, identity, phase) }
    }

    fn in_phase<E: Effects<Frame = F>>(fx: &E, identity: Identity, phase: Phase<F>) -> Self {
        Self {
            identity,
            start: fx.wall(),
            last: fx.wall(),
            active: fx.now(),
            volume: PerEnd::default(),
            decided: None,
            about: None,
            ended: None,
            over: false,
            unsettled: false,
            midstream: false,
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

    /// A frame of a bypassed flow in which there is nothing to look at: it is counted, and goes by. False: nothing was done,
    /// and [`Self::handle_frame`] has to take it.
    pub fn lets_by<E: Effects<Frame = F>>(
        &mut self,
        fx: &E,
        from: End,
        frame: &F,
        headers: &Headers,
    ) -> bool {
        let Phase::Bypassed(bypassed) = &mut self.phase else { return false };
        let goes_on = bypassed.goes_on(fx.now(), fx.shared().limits.idle_time, headers.flags(frame.data()));
        if goes_on {
            self.note(fx, from, frame);
        }
        goes_on
    }

    /// Counts a frame. Returns when there was one before it.
    fn note<E: Effects<Frame = F>>(&mut self, fx: &E, from: End, frame: &F) -> Instant {
        let volume = &mut self.volume[from];
        volume.packets += 1;
        volume.bytes += frame.len() as u64;
        self.last = fx.wall();
        std::mem::replace(&mut self.active, fx.now())
    }

    /// A frame of the flow, whose headers are sound. `from`: the end whose port it came in.
    ///
    /// A burst may bring many frames of one flow. What they bring together is done once, by [`Self::settle`], if the flow
    /// [is unsettled](Self::is_unsettled) afterwards.
    pub fn handle_frame<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        from: End,
        mut frame: F,
        headers: &Headers,
    ) {
        let active_before = self.note(fx, from, &frame);
        if let Phase::Bypassed(bypassed) = &mut self.phase {
            let (now, idle) = (fx.now(), fx.shared().limits.idle_time);
            let segment = Segment::parse(headers.segment(frame.data()));
            return match segment.map_or(true, |segment| bypassed.observe(now, idle, from, &segment)) {
                true => fx.send(from.other(), frame),
                false => fx.counters().drop_packet(PacketDrop::BrokenHandshake),
            };
        }
        if let Err(reason) = verify(&frame, headers) {
            return fx.counters().drop_packet(reason);
        }
        // What we send in an end's name has the headers of its frames, so they must be its own.
        if (headers.source == self.identity.client) != (from == End::Client) {
            return fx.counters().drop_packet(PacketDrop::BrokenHandshake);
        }
        // In its place: most frames are such ones, and to move it right after their bytes were copied means to wait for the copy.
        if let Phase::Adopted(adopted) = &mut self.phase {
            let Ok(segment) = Segment::parse(headers.segment(frame.data_mut())) else {
                return fx.counters().drop_packet(PacketDrop::BadTcpHeader);
            };
            // The flow has not spoken: we have asked.
            if adopted.is_answer(from, &segment) {
                self.active = active_before;
            }
            self.unsettled = true;
            if adopted.handle_segment(fx, from, &segment) {
                self.settle(fx);
            }
            return;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Moving);
        self.phase = match phase {
            Phase::Opening(opening) => self.open(fx, opening, from, frame, headers),
            Phase::Peeking(peeking) => self.peek(fx, peeking, from, frame, headers),
            Phase::Blocked(mut blocked) => {
                fx.counters().drop_packet(PacketDrop::FlowEnded);
                blocked.handle(fx, from, frame.data(), headers);
                Phase::Blocked(blocked)
            }
            Phase::Hearing(mut hearing) => match Segment::parse(headers.segment(frame.data_mut())) {
                Ok(segment) => {
                    let heard = hearing.handle_segment(fx, from, &segment);
                    self.heard(fx, hearing, heard)
                }
                Err(_) => {
                    fx.counters().drop_packet(PacketDrop::BadTcpHeader);
                    Phase::Hearing(hearing)
                }
            },
            phase => phase,
        };
    }

    /// A router says that a segment between the ends was too big. Unless a leg sent it, the message is passed on to whoever did.
    pub fn handle_too_big<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        from: End,
        frame: F,
        message: &TooBigMessage,
    ) {
        // What is said to come from the client was sent towards the server, and what is said of it comes back from there.
        let towards = if message.source == self.identity.client { End::Server } else { End::Client };
        let leg = match &mut self.phase {
            Phase::Adopted(adopted) => Some(adopted.leg(towards)),
            Phase::Hearing(hearing) => Some(hearing.leg(towards)),
            Phase::Blocked(blocked) => blocked.leg(towards),
            Phase::Opening(_) | Phase::Peeking(_) | Phase::Bypassed(_) | Phase::Moving => None,
        };
        let what = match leg {
            Some(_) if from != towards => PathMessage::WrongSide,
            Some(leg) => leg.handle_too_big(fx, message),
            None => {
                fx.send(from.other(), frame);
                PathMessage::NoLeg
            }
        };
        fx.counters().path_message(what);
    }

    /// Does what the frames of a burst have brought.
    pub fn settle<E: Effects<Frame = F>>(&mut self, fx: &mut E) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        self.phase = match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Adopted(adopted) => self.drive(fx, adopted),
            phase => phase,
        };
    }

    /// Runs what is due.
    pub fn handle_timeout<E: Effects<Frame = F>>(&mut self, fx: &mut E) {
        let now = fx.now();
        if self.idle_at(fx.shared()) <= now {
            return self.time_out(fx, Reason::Idle);
        }
        match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Peeking(peeking) if peeking.deadline <= now => {
                self.phase = self.no_hello(fx, FirstFlight::Held(peeking), Reason::HelloTimeout);
            }
            Phase::Peeking(peeking) if peeking.stuck_at <= now => self.phase = self.hear(fx, *peeking),
            Phase::Hearing(mut hearing) => {
                let heard = hearing.handle_timeout(fx);
                self.phase = self.heard(fx, hearing, heard);
            }
            Phase::Adopted(adopted) => {
                let mut told = Told::default();
                let (adopted, progress) = adopted.handle_timeout(fx, &mut told);
                self.phase = self.follow(fx, adopted, progress, told);
            }
            Phase::Blocked(mut blocked) => {
                let over = blocked.handle_timeout(fx);
                self.phase = Phase::Blocked(blocked);
                self.over = over;
            }
            Phase::Bypassed(bypassed) if bypassed.ends().0 <= now => {
                let reason = bypassed.ends().1;
                self.phase = Phase::Bypassed(bypassed);
                self.finish(fx, reason);
            }
            phase => self.phase = phase,
        }
    }

    /// The pool's answer to this flow's request.
    pub fn handle_reply<E: Effects<Frame = F>>(&mut self, fx: &mut E, reply: Reply) {
        match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Adopted(adopted) => {
                let mut told = Told::default();
                let (adopted, progress) = adopted.handle_reply(fx, reply, &mut told);
                self.phase = self.follow(fx, adopted, progress, told);
            }
            phase => self.phase = phase,
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self, shared: &Shared) -> Instant {
        let own = match &self.phase {
            Phase::Peeking(peeking) => Some(peeking.deadline.min(peeking.stuck_at)),
            Phase::Hearing(hearing) => hearing.poll_timeout(),
            Phase::Adopted(adopted) => adopted.poll_timeout(),
            Phase::Blocked(blocked) => blocked.poll_timeout(),
            Phase::Bypassed(bypassed) => Some(bypassed.ends().0),
            Phase::Opening(_) | Phase::Moving => None,
        };
        let idle = self.idle_at(shared);
        own.map_or(idle, |own| own.min(idle))
    }

    /// It has been silent for too long. Unless it ends in order, for which the ends need some time, it is over.
    pub fn time_out<E: Effects<Frame = F>>(&mut self, fx: &mut E, reason: Reason) {
        self.end(fx, reason);
        if self.is_ending_in_order() {
            self.active = fx.now();
        } else {
            self.finish(fx, reason);
        }
    }

    /// Ends it now, whatever its phase: eviction, the engine's stop. It may be dropped.
    pub fn expire<E: Effects<Frame = F>>(&mut self, fx: &mut E, reason: Reason) {
        self.end(fx, reason);
        if let Phase::Blocked(blocked) = &mut self.phase {
            blocked.abandon(fx);
        }
        self.finish(fx, reason);
    }

    fn end<E: Effects<Frame = F>>(&mut self, fx: &mut E, reason: Reason) {
        match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Adopted(mut adopted) => {
                let mut told = Told::default();
                // An engine that stops will not be there when the ends answer.
                let (adopted, progress) = if reason == Reason::Shutdown {
                    adopted.finish(fx, &mut told);
                    adopted.over(fx, reason)
                } else {
                    adopted.end(fx, reason, &mut told)
                };
                self.phase = self.follow(fx, adopted, progress, told);
            }
            Phase::Peeking(peeking) => self.phase = self.no_hello(fx, FirstFlight::Held(peeking), reason),
            Phase::Hearing(hearing) => self.phase = self.no_hello(fx, FirstFlight::Taken(hearing), reason),
            Phase::Opening(mut opening) => {
                // It would go on without us, as one that is seen from the middle.
                if !opening.is_closing() {
                    reset_ends(fx, &mut opening);
                }
                self.phase = Phase::Opening(opening);
            }
            phase => self.phase = phase,
        }
    }

    fn idle_at(&self, shared: &Shared) -> Instant {
        let idle = match &self.phase {
            Phase::Opening(opening) if !opening.is_established() || opening.is_closing() => OPENING_TIME,
            _ => shared.limits.idle_time,
        };
        self.active + idle
    }

    fn open<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        mut opening: Box<Opening>,
        from: End,
        mut frame: F,
        headers: &Headers,
    ) -> Phase<F> {
        let Ok(segment) = Segment::parse(headers.segment(frame.data())) else {
            fx.counters().drop_packet(PacketDrop::BadTcpHeader);
            return Phase::Opening(opening);
        };
        if !opening.note(from, headers.hop_limit(frame.data()), headers.next_hop(frame.data())) {
            fx.counters().drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Opening(opening);
        }
        match opening.observe(fx.now(), from, &segment, || Template::of(frame.data(), headers)) {
            Opened::Pass => fx.send(from.other(), frame),
            Opened::PassSyn => {
                let ip_and_tcp = headers.l4 - headers.l3 + 20;
                let (mut headers, mss) = (*headers, fx.mtu().saturating_sub(ip_and_tcp) as u16);
                scrub_syn(frame.data_mut(), &mut headers, mss);
                fx.send(from.other(), frame);
            }
            Opened::Reset => {
                fx.send(from.other(), frame);
                let reason = if from == End::Client { Reason::ClientReset } else { Reason::ServerReset };
                return self.reset(fx, opening, reason);
            }
            Opened::Unwanted => fx.counters().drop_packet(PacketDrop::BrokenHandshake),
            // Nor does data make an established connection of a SYN that anyone may have sent.
            Opened::ClientData if !opening.is_acknowledged_by(&segment) => {
                fx.counters().drop_packet(PacketDrop::BrokenHandshake);
            }
            Opened::ClientData => {
                let template = Template::of(frame.data(), headers);
                let limits = fx.shared().limits;
                let peeking = Box::new(Peeking::new(fx.now(), opening, template, &limits));
                return self.peek(fx, peeking, from, frame, headers);
            }
            Opened::ServerData => return self.not_tls(fx, opening, from, frame),
            // The flow stays as it is: should the server answer after all, its handshake can still be followed. The grace time is not
            // for it: it is younger than the engine.
            Opened::OneDirection
                if fx.shared().outside_tls.midstream != Midstream::Forward
                    || self.identity.refused_before =>
            {
                fx.counters().drop_packet(PacketDrop::OneDirection);
            }
            Opened::OneDirection => {
                self.decided = Some((Action::Bypass, None));
                self.midstream = true;
                fx.send(from.other(), frame);
            }
        }
        Phase::Opening(opening)
    }

    /// A RST has passed. Whether it arrives is not ours to know, so ours follow, and what still comes is answered alike.
    fn reset<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        mut opening: Box<Opening>,
        reason: Reason,
    ) -> Phase<F> {
        let blocked = reset_ends(fx, &mut opening);
        self.phase = Phase::Opening(opening);
        self.report_flow(fx, reason);
        Phase::Blocked(Box::new(blocked))
    }

    /// The server speaks first: whatever this is, TLS it is not.
    fn not_tls<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        opening: Box<Opening>,
        from: End,
        frame: F,
    ) -> Phase<F> {
        // Where it has closed already, it may be that only we have seen that.
        if fx.shared().outside_tls.bypass_not_tls && !opening.server_has_closed() {
            self.decided = Some((Action::Bypass, None));
            fx.send(from.other(), frame);
            let released = Released::new(&opening, Vec::new());
            let idle = fx.shared().limits.idle_time;
            return Phase::Bypassed(Bypassed::released(fx.now(), idle, released));
        }
        self.decided = Some((Action::Block, None));
        let limits = fx.shared().limits;
        let legs = opening.adopt(fx.now(), None, fx.mtu(), &limits);
        self.block(fx, Blocked::reset, legs, Reason::HelloNotTls)
    }

    fn peek<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        mut peeking: Box<Peeking<F>>,
        from: End,
        frame: F,
        headers: &Headers,
    ) -> Phase<F> {
        let Ok(segment) = Segment::parse(headers.segment(frame.data())) else {
            fx.counters().drop_packet(PacketDrop::BadTcpHeader);
            return Phase::Peeking(peeking);
        };
        if segment.flags.rst && from == End::Client {
            if peeking.covers(segment.seq) {
                return self.no_hello(fx, FirstFlight::Held(peeking), Reason::ClientReset);
            }
            fx.counters().drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Peeking(peeking);
        }
        if segment.flags.syn && from == End::Client {
            fx.counters().drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Peeking(peeking);
        }
        if from == End::Server {
            let opened =
                peeking.opening.observe(fx.now(), from, &segment, || Template::of(frame.data(), headers));
            return self.peek_beside(fx, peeking, opened, from, frame);
        }
        if !peeking.opening.is_acknowledged_by(&segment) {
            fx.counters().drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Peeking(peeking);
        }
        if segment.flags.urg {
            // The urgent pointer may take a byte out of what the server reads (RFC 6093 3.1).
            return self.no_hello(fx, FirstFlight::Held(peeking), Reason::HelloAmbiguous);
        }
        let (fin, end) = (segment.flags.fin, segment.seq + segment.payload.len() as u32);
        let inserted = peeking.insert(&segment);
        match peeking.hold(fx, frame, inserted) {
            Peeked::Hello(hello) => self.decide(fx, FirstFlight::Held(peeking), hello),
            Peeked::Not(reason) => self.no_hello(fx, FirstFlight::Held(peeking), reason),
            // After a FIN in its place there will be no more.
            Peeked::Incomplete if fin && peeking.reaches(end) => {
                self.no_hello(fx, FirstFlight::Held(peeking), Reason::ClientClosed)
            }
            Peeked::Incomplete => Phase::Peeking(peeking),
            Peeked::Stuck => self.hear(fx, *peeking),
        }
    }

    /// While the hello is incomplete: what is not the client's data.
    fn peek_beside<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        peeking: Box<Peeking<F>>,
        opened: Opened,
        from: End,
        frame: F,
    ) -> Phase<F> {
        match opened {
            Opened::Pass if peeking.opening.server_has_closed() => {
                return self.no_hello(fx, FirstFlight::Held(peeking), Reason::ServerClosed);
            }
            Opened::Pass | Opened::PassSyn => fx.send(from.other(), frame),
            Opened::Reset => {
                fx.send(from.other(), frame);
                self.report_tls(fx, None, None, Reason::ServerReset);
                let legs = peeking.adopt(fx);
                return self.block(fx, Blocked::reset, legs, Reason::ServerReset);
            }
            Opened::ServerData => {
                let (opening, held) = peeking.into_opening(fx);
                if fx.shared().outside_tls.bypass_not_tls {
                    held.into_iter().for_each(|held| fx.send(End::Server, held));
                }
                return self.not_tls(fx, opening, from, frame);
            }
            Opened::Unwanted | Opened::ClientData | Opened::OneDirection => {
                fx.counters().drop_packet(PacketDrop::BrokenHandshake);
            }
        }
        Phase::Peeking(peeking)
    }

    fn drive<E: Effects<Frame = F>>(&mut self, fx: &mut E, adopted: Box<Adopted<F>>) -> Phase<F> {
        let mut told = Told::default();
        let (adopted, progress) = adopted.drive(fx, &mut told);
        self.follow(fx, adopted, progress, told)
    }

    fn facts<'a>(&self, shared: &'a Shared) -> FlowFacts<'a> {
        FlowFacts {
            wire: &shared.wires[usize::from(self.identity.wire)],
            vlan: self.identity.vlan[0],
            client: self.identity.client,
            server: self.identity.server,
        }
    }
}

/// RST to both ends, if the server has answered. An end takes it at the very number that it expects next (RFC 5961 3.2),
/// and whether a FIN that has passed has also arrived is not known: so both numbers are tried.
fn reset_ends<E: Effects>(fx: &mut E, opening: &mut Opening) -> Blocked<E::Frame> {
    let limits = fx.shared().limits;
    let legs = opening.adopt(fx.now(), None, fx.mtu(), &limits);
    let blocked = Blocked::reset(fx, legs);
    if opening.forget_fins() {
        let legs = opening.adopt(fx.now(), None, fx.mtu(), &limits);
        Blocked::reset(fx, legs);
    }
    blocked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_port::MemoryFrame;

    /// What a flow costs before it holds a byte. Bounds, so that growth is a decision.
    #[test]
    fn flows_stay_small() {
        assert!(size_of::<Flow<MemoryFrame>>() <= 216);
        assert!(size_of::<Opening>() <= 264);
        assert!(size_of::<Adopted<crate::memory_port::MemoryFrame>>() <= 4096);
    }
}
