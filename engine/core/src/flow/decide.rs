//! The decision over a flow, once its first flight is known, and what follows from it.

use std::sync::Arc;

use super::adopted::{Adopted, Told};
use super::blocked::Blocked;
use super::bypassed::Bypassed;
use super::effects::Effects;
use super::hearing::{Heard, Hearing};
use super::leg::Leg;
use super::peeking::{Peeked, Peeking};
use super::snapshot::About;
use super::{Flow, Identity, Phase};
use crate::end::End;
use crate::event::{Action, HelloInfo};
use crate::policy::{BlockWith, Decision, HelloFacts, Profile, UnsupportedAction};
use crate::port::Frame;
use crate::reason::Reason;
use crate::tls::{ClientHello, Destination, Handshake, alert_record, description};

/// The client's first flight, in one of two ways.
pub(super) enum FirstFlight<F: Frame> {
    /// As the client's own frames, which nobody has acknowledged.
    Held(Box<Peeking<F>>),
    /// In the client leg, acknowledged: the client had lost something and could not go on.
    Taken(Box<Hearing<F>>),
}

impl<F: Frame> FirstFlight<F> {
    /// Both legs; the client leg has received the flight, the server leg has sent nothing.
    fn adopt<E: Effects<Frame = F>>(self, fx: &mut E) -> Option<(Leg<F>, Leg<F>)> {
        match self {
            Self::Held(peeking) => peeking.adopt(fx),
            Self::Taken(hearing) => Some(hearing.into_legs()),
        }
    }
}

impl<F: Frame> Flow<F> {
    /// The client repeats what is held: it waits for an acknowledgement, so it gets one.
    pub(super) fn hear<E: Effects<Frame = F>>(&mut self, fx: &mut E, peeking: Peeking<F>) -> Phase<F> {
        let deadline = peeking.deadline;
        if !fx.budget().has_room() {
            self.decided = Some((Action::Block, None));
            let legs = peeking.adopt(fx);
            return self.block(fx, Blocked::reset, legs, Reason::ResourceMemory);
        }
        let Some(legs) = peeking.adopt(fx) else {
            // Cannot be: a flow without SYN-ACK is never peeked at.
            return self.block(fx, Blocked::reset, None, Reason::Internal);
        };
        let mut hearing = Box::new(Hearing::new(legs, deadline));
        let heard = hearing.listen(fx);
        self.heard(fx, hearing, heard)
    }

    /// Goes on with what was heard.
    pub(super) fn heard<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        hearing: Box<Hearing<F>>,
        heard: Heard,
    ) -> Phase<F> {
        match heard {
            Heard::Nothing | Heard::Client(Peeked::Incomplete | Peeked::Stuck) => Phase::Hearing(hearing),
            Heard::Client(Peeked::Hello(hello)) => self.decide(fx, FirstFlight::Taken(hearing), hello),
            Heard::Client(Peeked::Not(reason)) => self.no_hello(fx, FirstFlight::Taken(hearing), reason),
        }
    }

    /// There will be no ClientHello.
    pub(super) fn no_hello<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        flight: FirstFlight<F>,
        reason: Reason,
    ) -> Phase<F> {
        if reason == Reason::HelloNotTls && fx.shared().outside_tls.bypass_not_tls {
            self.decided = Some((Action::Bypass, None));
            return self.release(fx, flight);
        }
        self.decided = Some((Action::Block, None));
        if reason != Reason::HelloNotTls {
            self.report_tls(fx, None, None, reason);
        }
        let legs = flight.adopt(fx);
        self.block(fx, Blocked::reset, legs, reason)
    }

    pub(super) fn decide<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        flight: FirstFlight<F>,
        hello: Box<ClientHello>,
    ) -> Phase<F> {
        let shared = Arc::clone(fx.shared());
        let info = hello.info();
        self.about = Some(About::hello(&info));
        let facts = HelloFacts { sni: info.sni.as_deref(), alpn: &info.alpn, ja4: &info.ja4 };
        let verdict = shared.policy.at_hello(&self.facts(&shared), &facts);
        let rule = verdict.rule;
        match verdict.decision {
            Decision::Bypass => {
                self.decided = Some((Action::Bypass, rule));
                self.report_tls(fx, Some(info), None, Reason::PolicyBypass);
                self.release(fx, flight)
            }
            Decision::Block(with) => {
                self.decided = Some((Action::Block, rule));
                self.report_tls(fx, Some(info), None, Reason::PolicyBlock);
                let alert = matches!(with, BlockWith::Alert).then_some(description::ACCESS_DENIED);
                self.refuse(fx, flight, alert, Reason::PolicyBlock)
            }
            Decision::Decrypt(profile) => match shared.tls.can_serve(&hello, &profile) {
                Ok(()) => {
                    self.decided = Some((Action::Decrypt, rule));
                    self.decrypt(fx, flight, hello, info, profile)
                }
                Err(reason) if profile.on_unsupported == UnsupportedAction::Bypass => {
                    self.decided = Some((Action::Bypass, rule));
                    self.report_tls(fx, Some(info), Some(&profile), reason);
                    self.release(fx, flight)
                }
                Err(reason) => {
                    self.decided = Some((Action::Block, rule));
                    self.report_tls(fx, Some(info), Some(&profile), reason);
                    let alert = match reason {
                        Reason::VersionUnsupportedClient => description::PROTOCOL_VERSION,
                        _ => description::HANDSHAKE_FAILURE,
                    };
                    self.refuse(fx, flight, Some(alert), reason)
                }
            },
        }
    }

    fn decrypt<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        flight: FirstFlight<F>,
        hello: Box<ClientHello>,
        info: HelloInfo,
        profile: Arc<Profile>,
    ) -> Phase<F> {
        if let Some(about) = &mut self.about {
            about.decrypt(info, Arc::clone(&profile));
        }
        if !fx.budget().has_room() {
            let legs = flight.adopt(fx);
            return self.block(fx, Blocked::reset, legs, Reason::ResourceMemory);
        }
        let Some((mut client, server)) = flight.adopt(fx) else {
            // Cannot be: a flow without SYN-ACK is never peeked at.
            return self.block(fx, Blocked::reset, None, Reason::Internal);
        };
        let tls = Arc::clone(&fx.shared().tls);
        let Identity { wire, vlan, server: address, .. } = self.identity;
        let destination = Destination { wire, vlan, server: address };
        let handshake = Handshake::new(tls, hello, client.take(), destination, Arc::clone(&profile));
        fx.counters().handshakes_started.inc();
        let adopted = Adopted::with_handshake(fx, (client, server), Box::new(handshake), profile);
        let (adopted, progress) = adopted.start(fx);
        self.follow(fx, adopted, progress, Told::default())
    }

    /// Lets the flow go uninspected: the held frames as they came, or else the bytes.
    fn release<E: Effects<Frame = F>>(&mut self, fx: &mut E, flight: FirstFlight<F>) -> Phase<F> {
        match flight {
            FirstFlight::Held(peeking) => {
                let (frames, released) = peeking.release(fx);
                for frame in frames {
                    fx.send(End::Server, frame);
                }
                Phase::Bypassed(Bypassed::released(fx.now(), fx.shared().limits.idle_time, released))
            }
            FirstFlight::Taken(hearing) => {
                let mut told = Told::default();
                let (adopted, progress) = Adopted::plain(fx, hearing.into_legs()).drive(fx, &mut told);
                self.follow(fx, adopted, progress, told)
            }
        }
    }

    /// Ends a flow whose hello is not answered: an alert to the client, or a RST; a RST to the server.
    fn refuse<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        flight: FirstFlight<F>,
        alert: Option<u8>,
        reason: Reason,
    ) -> Phase<F> {
        let legs = flight.adopt(fx);
        let tell = |fx: &mut E, legs: Option<(Leg<F>, Leg<F>)>| match (alert, legs) {
            (Some(alert), Some((client, mut server))) => {
                server.tcp.abort();
                Blocked::last_words(fx, (client, server), alert_record(alert).to_vec(), Vec::new())
            }
            (_, legs) => Blocked::reset(fx, legs),
        };
        self.block(fx, tell, legs, reason)
    }

    pub(super) fn block<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        how: impl FnOnce(&mut E, Option<(Leg<F>, Leg<F>)>) -> Blocked<F>,
        legs: Option<(Leg<F>, Leg<F>)>,
        reason: Reason,
    ) -> Phase<F> {
        let blocked = how(fx, legs);
        self.phase = Phase::Blocked(Box::new(blocked));
        self.report_flow(fx, reason);
        std::mem::replace(&mut self.phase, Phase::Moving)
    }
}
