//! The decision over a flow, once its first flight is known, and what follows from it.

use std::sync::Arc;

use super::adopted::Adopted;
use super::blocked::Blocked;
use super::bypassed::Bypassed;
use super::context::Context;
use super::hello_over_tcp::HelloOverTcp;
use super::leg::Leg;
use super::opening::show_handshake;
use super::peeking::{Peeked, Peeking};
use super::snapshot::About;
use super::watched::Watched;
use super::{Flow, Identity, Phase};
use crate::content::BlockedFlow;
use crate::end::{End, PerEnd};
use crate::event::{Action, HelloInfo};
use crate::mirror::Beginning;
use crate::order::Order;
use crate::phase::FlowPhase;
use crate::policy::{
    BlockWith, ConnectionFacts, Decision, DecryptedFlow, HelloFacts, Profile, UnsupportedAction,
};
use crate::port::Io;
use crate::reason::Reason;
use crate::tls::{
    Behind, ClientHello, Destination, Handshake, SecondHello, TlsContext, alert_record, description,
};

/// The client's first flight, in one of two ways.
pub(super) enum FirstFlight<IO: Io> {
    /// As the client's own frames, which nobody has acknowledged.
    Held(Box<Peeking<IO>>),
    /// In the client leg, acknowledged: the client had lost something and could not go on.
    Taken(Box<HelloOverTcp<IO>>),
}

/// How a client is answered in the server's place.
struct Answer {
    /// The name that it asked for.
    host: Box<str>,
    alpn: Option<Box<[u8]>>,
    /// Of its handshake.
    profile: Arc<Profile>,
}

impl Answer {
    /// None: it cannot be. A leaf needs a name to be for, and the client TLS and HTTP that are supported.
    fn of(tls: &TlsContext, hello: &ClientHello) -> Option<Self> {
        let host: Box<str> = hello.server_name()?.to_ascii_lowercase().into();
        let alpn = BlockedFlow::protocol(&hello.alpn)?;
        // A ticket would outlive what is known now.
        let profile = Profile { resumption: false, http: false, ..Profile::default() };
        tls.can_serve(hello, &profile).ok()?;
        Some(Self { host, alpn, profile: Arc::new(profile) })
    }
}

impl<IO: Io> FirstFlight<IO> {
    /// What the ends have said in plain before it, if mirrors may be to see it.
    fn take_beginning(&mut self) -> Option<Box<Beginning>> {
        match self {
            Self::Held(_) => None,
            Self::Taken(hello) => hello.beginning.take(),
        }
    }

    /// The client's stream, as far as it is known without a gap.
    fn stream(&self) -> &[u8] {
        match self {
            Self::Held(peeking) => peeking.stream(),
            Self::Taken(hello) => hello.legs.client.tcp.recv(),
        }
    }

    /// Both legs; the client leg has received the flight, the server leg has sent nothing.
    fn adopt(self, cx: &mut Context<IO>) -> PerEnd<Leg<IO>> {
        match self {
            Self::Held(peeking) => peeking.adopt(cx),
            Self::Taken(hello) => hello.legs,
        }
    }
}

impl<IO: Io> Flow<IO> {
    /// The client repeats what is held: it waits for an acknowledgement, so it gets one.
    pub(super) fn take_hello(&mut self, cx: &mut Context<IO>, peeking: Box<Peeking<IO>>) -> Phase<IO> {
        let deadline = peeking.deadline;
        if !cx.budget.has_room() {
            self.decided = Some((Action::Block, None));
            let legs = peeking.adopt(cx);
            return self.reset(cx, legs, Reason::ResourceMemory);
        }
        let mut hello = Box::new(HelloOverTcp::new(peeking.adopt(cx), deadline));
        let peeked = hello.drive(cx);
        self.follow_hello(cx, hello, peeked)
    }

    /// Goes on with what is known of it.
    pub(super) fn follow_hello(
        &mut self,
        cx: &mut Context<IO>,
        taken: Box<HelloOverTcp<IO>>,
        peeked: Peeked,
    ) -> Phase<IO> {
        match peeked {
            Peeked::Incomplete | Peeked::Stuck => Phase::HelloOverTcp(taken),
            Peeked::Hello(hello) => self.decide(cx, FirstFlight::Taken(taken), hello),
            Peeked::Not(reason) => self.no_hello(cx, FirstFlight::Taken(taken), reason),
        }
    }

    /// There will be no ClientHello.
    pub(super) fn no_hello(
        &mut self,
        cx: &mut Context<IO>,
        flight: FirstFlight<IO>,
        reason: Reason,
    ) -> Phase<IO> {
        let ordered = cx.ordered_bypass().filter(|_| may_be_released(reason));
        if ordered.is_some() || reason == Reason::HelloNotTls && cx.shared.outside_tls.bypass_not_tls {
            (self.decided, self.ordered) = (Some((Action::Bypass, None)), cx.count_order(ordered));
            return self.release(cx, flight, None);
        }
        self.decided = Some((Action::Block, None));
        if reason != Reason::HelloNotTls {
            self.report_tls(cx, None, None, reason);
        }
        // RFC 8446 6.2. Whoever does not speak TLS would not know what to make of it.
        let alert = (reason == Reason::HelloMalformed).then_some(description::DECODE_ERROR);
        self.refuse(cx, flight, alert, reason)
    }

    pub(super) fn decide(
        &mut self,
        cx: &mut Context<IO>,
        flight: FirstFlight<IO>,
        hello: Box<ClientHello>,
    ) -> Phase<IO> {
        let shared = Arc::clone(&cx.shared);
        let info = hello.info();
        self.about = Some(About::hello(&info));
        if cx.order == Some(Order::Bypass) {
            return self.release_ordered(cx, flight, info, None, Order::Bypass);
        }
        let facts = HelloFacts { sni: info.sni.as_deref(), alpn: &info.alpn, ja4: &info.ja4 };
        let verdict = shared.policy.at_hello(&self.facts(&shared), &facts);
        shared.policy.count(&verdict);
        let rule = verdict.rule;
        match verdict.decision {
            Decision::Bypass => {
                self.decided = Some((Action::Bypass, rule));
                self.release_hello(cx, flight, info, None, Reason::PolicyBypass)
            }
            Decision::Block(with) => {
                // Mail programs show no pages.
                if with == BlockWith::Page
                    && self.starttls.is_none()
                    && let Some(answer) = Answer::of(&shared.tls, &hello)
                {
                    self.decided = Some((Action::Block, rule));
                    return self.answer(cx, flight, hello, info, answer);
                }
                self.decided = Some((Action::Block, rule));
                self.report_tls(cx, Some(info), None, Reason::PolicyBlock);
                let alert = (with != BlockWith::Reset).then_some(description::ACCESS_DENIED);
                self.refuse(cx, flight, alert, Reason::PolicyBlock)
            }
            Decision::Decrypt(profile) if cx.order == Some(Order::Drain) => {
                self.decided = Some((Action::Bypass, rule));
                self.release_ordered(cx, flight, info, Some(&profile), Order::Drain)
            }
            Decision::Decrypt(profile) => match self.why_not(cx, &hello, &info, &profile) {
                None => {
                    self.decided = Some((Action::Decrypt, rule));
                    self.decrypt(cx, flight, hello, info, profile)
                }
                Some((reason, UnsupportedAction::Bypass)) => {
                    self.decided = Some((Action::Bypass, rule));
                    self.release_hello(cx, flight, info, Some(&profile), reason)
                }
                Some((reason, UnsupportedAction::Block)) => {
                    self.decided = Some((Action::Block, rule));
                    self.report_tls(cx, Some(info), Some(&profile), reason);
                    let alert = match reason {
                        Reason::VersionUnsupportedClient => description::PROTOCOL_VERSION,
                        Reason::HelloName => description::UNRECOGNIZED_NAME,
                        Reason::EchBlocked => description::ACCESS_DENIED,
                        _ => description::HANDSHAKE_FAILURE,
                    };
                    self.refuse(cx, flight, Some(alert), reason)
                }
            },
        }
    }

    /// Lets it go as an operator has ordered.
    fn release_ordered(
        &mut self,
        cx: &mut Context<IO>,
        flight: FirstFlight<IO>,
        info: HelloInfo,
        profile: Option<&Arc<Profile>>,
        order: Order,
    ) -> Phase<IO> {
        let reason = match order {
            Order::Bypass => Reason::OperatorBypass,
            Order::Drain => Reason::OperatorDrain,
        };
        let rule = self.decided.take().and_then(|(_, rule)| rule);
        (self.decided, self.ordered) = (Some((Action::Bypass, rule)), cx.count_order(Some(order)));
        self.release_hello(cx, flight, info, profile, reason)
    }

    /// Lets a flow go whose hello is known. Its `tls` event waits for the server's first flight, if the client's own frames go on.
    fn release_hello(
        &mut self,
        cx: &mut Context<IO>,
        flight: FirstFlight<IO>,
        info: HelloInfo,
        profile: Option<&Arc<Profile>>,
        reason: Reason,
    ) -> Phase<IO> {
        // An operator's order blocks nothing.
        let may_say_other = self.ordered.is_none();
        let second = may_say_other.then(|| SecondHello::of(flight.stream(), cx.shared.limits.hello_bytes));
        let mut second = second.flatten().map(Box::new);
        match second.as_mut().map(|second| second.look(flight.stream())) {
            Some(Behind::Other) => {
                let rule = self.decided.take().and_then(|(_, rule)| rule);
                self.decided = Some((Action::Block, rule));
                self.report_tls(cx, Some(info), profile, Reason::HelloAmbiguous);
                return self.refuse(cx, flight, None, Reason::HelloAmbiguous);
            }
            Some(Behind::Same) => second = None,
            Some(Behind::More) | None => {}
        }
        let FirstFlight::Held(peeking) = &flight else {
            self.report_tls(cx, Some(info), profile, reason);
            return self.release(cx, flight, second);
        };
        let event = self.tls_event(cx, Some(info), profile, reason);
        let watched = Box::new(Watched::new(cx.now, event, peeking.opening.server_isn()));
        self.about.get_or_insert_default().watched = Some(watched);
        if !cx.budget.may_watch() {
            self.stop_watching(cx);
        }
        self.release(cx, flight, second)
    }

    /// Why it cannot be decrypted, and what follows from that: its server is known for it, or its client cannot be served.
    fn why_not(
        &self,
        cx: &Context<IO>,
        hello: &ClientHello,
        info: &HelloInfo,
        profile: &Profile,
    ) -> Option<(Reason, UnsupportedAction)> {
        if let Some(cause) = self.excluded(cx, info, profile) {
            return Some((cause.reason(), UnsupportedAction::Bypass));
        }
        if self.blocks_ech(cx, info, profile) {
            return Some((Reason::EchBlocked, UnsupportedAction::Block));
        }
        let reason = cx.shared.tls.can_serve(hello, profile).err()?;
        Some((reason, profile.on_unsupported))
    }

    fn decrypt(
        &mut self,
        cx: &mut Context<IO>,
        mut flight: FirstFlight<IO>,
        hello: Box<ClientHello>,
        info: HelloInfo,
        profile: Arc<Profile>,
    ) -> Phase<IO> {
        let beginning = flight.take_beginning();
        let sni = info.sni.as_deref().map(Into::into);
        let (alpn, ja4) = (info.alpn.clone(), info.ja4.as_str().into());
        if let Some(about) = &mut self.about {
            about.decrypt(cx.now, info, Arc::clone(&profile));
        }
        let mut legs = flight.adopt(cx);
        if !cx.budget.has_room() {
            return self.reset(cx, legs, Reason::ResourceMemory);
        }
        let tls = Arc::clone(&cx.shared.tls);
        let Identity { wire, vlan, client, server, flow_id, .. } = self.identity.unpack();
        let destination = Destination { wire, vlan, server };
        let mut handshake = Handshake::new(tls, hello, legs.client.take(), destination, Arc::clone(&profile));
        if cx.capture.as_ref().is_some_and(|capture| capture.wants(&profile.name)) {
            handshake = handshake.telling_secrets();
        }
        let wire = Arc::clone(&cx.shared.wires[usize::from(wire)]);
        let rule = self.decided.as_ref().and_then(|(_, rule)| rule.clone());
        let connection = ConnectionFacts { wire, vlan: vlan[0], alpn, ja4, rule };
        let certificate_names = Vec::new();
        let flow = DecryptedFlow { profile, sni, certificate_names, client, server, flow_id, connection };
        cx.counters.handshakes_started.inc();
        let next = Adopted::with_handshake(cx, legs, Box::new(handshake), flow, beginning);
        self.follow(cx, next)
    }

    /// Blocks it with a page: the server is reset before it has heard a byte, and the client's handshake is ours.
    fn answer(
        &mut self,
        cx: &mut Context<IO>,
        flight: FirstFlight<IO>,
        hello: Box<ClientHello>,
        info: HelloInfo,
        Answer { host, alpn, profile }: Answer,
    ) -> Phase<IO> {
        if let Some(about) = &mut self.about {
            about.answer(info);
        }
        let mut legs = flight.adopt(cx);
        if !cx.budget.has_room() {
            return self.reset(cx, legs, Reason::ResourceMemory);
        }
        legs.server.tcp.abort();
        let Identity { wire, vlan, client, server, flow_id, .. } = self.identity.unpack();
        let rule = self.decided.as_ref().and_then(|(_, rule)| rule.clone());
        let blocked = BlockedFlow { host, client, server, rule, flow_id };
        let (tls, destination) = (Arc::clone(&cx.shared.tls), Destination { wire, vlan, server });
        let handshake = Handshake::new(tls, hello, legs.client.take(), destination, profile);
        let handshake = Box::new(handshake.in_place_of_server(alpn));
        let next = Adopted::with_answer(cx, legs, handshake, blocked);
        self.follow(cx, next)
    }

    /// Lets the flow go uninspected: the held frames as they came, or else the bytes.
    fn release(
        &mut self,
        cx: &mut Context<IO>,
        flight: FirstFlight<IO>,
        second: Option<Box<SecondHello>>,
    ) -> Phase<IO> {
        match flight {
            FirstFlight::Held(peeking) => {
                show_handshake(cx, &peeking.opening, Some(&peeking.to_server));
                let (frames, released) = peeking.release(cx, second);
                for frame in frames {
                    cx.show_frame(&frame);
                    cx.send(End::Server, frame);
                }
                let mut bypassed = Bypassed::released(cx.now, cx.shared.limits.idle_time, released);
                bypassed.watched = self.about.as_ref().is_some_and(|about| about.watched.is_some());
                Phase::Bypassed(bypassed)
            }
            FirstFlight::Taken(hello) => {
                let next = Adopted::plain(cx, hello.legs, hello.beginning, second).drive(cx);
                self.follow(cx, next)
            }
        }
    }

    /// Ends a flow whose hello is not answered: an alert to the client, or a RST; a RST to the server.
    fn refuse(
        &mut self,
        cx: &mut Context<IO>,
        flight: FirstFlight<IO>,
        alert: Option<u8>,
        reason: Reason,
    ) -> Phase<IO> {
        let mut legs = flight.adopt(cx);
        let Some(alert) = alert else { return self.reset(cx, legs, reason) };
        legs.server.tcp.abort();
        let words = PerEnd { client: alert_record(alert).to_vec(), server: Vec::new() };
        let blocked = Blocked::last_words(cx, legs, words);
        self.block(cx, blocked, reason)
    }

    /// Ends it with a RST to both ends.
    pub(super) fn reset(&mut self, cx: &mut Context<IO>, legs: PerEnd<Leg<IO>>, reason: Reason) -> Phase<IO> {
        let blocked = Blocked::reset(cx, legs);
        self.block(cx, blocked, reason)
    }

    /// Ends it as the engine wants it.
    pub(super) fn block(&mut self, cx: &mut Context<IO>, blocked: Blocked<IO>, reason: Reason) -> Phase<IO> {
        self.report_flow(cx, FlowPhase::Blocked, reason);
        Phase::Blocked(blocked)
    }
}

/// The client's first bytes are what they are: nobody has ended the connection, and nothing is short.
fn may_be_released(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::HelloNotTls | Reason::HelloMalformed | Reason::HelloTooBig | Reason::HelloTimeout
    )
}
