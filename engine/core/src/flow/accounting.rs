//! What a worker asks of a flow for its accounts: how it ranks, what it holds, which phase it counts in, what is to be remembered of it.

use tcp_stack::Instant;

use super::{Afterwards, Flow, Phase};
use crate::capture::CaptureSettings;
use crate::event::Action;
use crate::flow_table::Class;
use crate::phase::FlowPhase;
use crate::port::Io;
use crate::reason::Reason;

/// Bytes from which on a decrypted flow counts as one that holds memory: more than an idle one, which takes some 11 KB.
const HOLDING: usize = 16 * 1024;

impl<IO: Io> Flow<IO> {
    /// Its number.
    pub fn flow_id(&self) -> u64 {
        self.identity.flow_id()
    }

    /// No more of it is to be captured: it is not decrypted, or with a profile that is not wanted.
    pub fn is_not_for(&self, capture: &CaptureSettings) -> bool {
        let profile = self.about.as_ref().and_then(|about| about.profile());
        matches!(self.phase, Phase::Bypassed(_))
            || profile.is_some_and(|profile| !capture.wants(&profile.name))
    }

    /// How the flow table ranks it. `memory`: what it [holds](Self::memory).
    pub fn class(&self, memory: usize) -> Class {
        match &self.phase {
            Phase::Opening(_) | Phase::Answered(_) | Phase::Held(_) => Class::Opening,
            Phase::Bypassed(bypassed) if !bypassed.has_begun() => Class::Opening,
            // One segment makes it, with any sender's address: until both ends have spoken it is worth no more than a SYN.
            Phase::Bypassed(_) if self.midstream && self.is_one_sided() => Class::Opening,
            Phase::Bypassed(bypassed) if bypassed.watched => Class::Watched,
            Phase::Bypassed(_) => Class::Bypassed,
            Phase::Blocked(_) => Class::Blocked,
            Phase::Adopted(adopted) if !adopted.is_handshaking() && memory < HOLDING => Class::Decrypted,
            Phase::Adopted(adopted) if !adopted.is_handshaking() => Class::Holding,
            Phase::Peeking(_) | Phase::HelloOverTcp(_) | Phase::Adopted(_) => Class::Undecided,
        }
    }

    /// Only one end has been heard.
    fn is_one_sided(&self) -> bool {
        self.volume.iter().any(|volume| volume.packets == 0)
    }

    /// Its client has shown that it receives what is sent to it: not just anyone's SYN in its name.
    pub fn is_established(&self) -> bool {
        match &self.phase {
            Phase::Answered(answered) => answered.is_established(),
            Phase::Bypassed(bypassed) => bypassed.is_established(),
            Phase::Peeking(_) | Phase::HelloOverTcp(_) | Phase::Adopted(_) => true,
            Phase::Opening(_) | Phase::Held(_) | Phase::Blocked(_) => false,
        }
    }

    /// When one of its ends last said something.
    pub fn active(&self) -> Instant {
        self.active
    }

    /// Both ends have been told in order that it is over, and have still to say that they have heard.
    pub fn is_ending_in_order(&self) -> bool {
        matches!(&self.phase, Phase::Blocked(blocked) if blocked.is_orderly())
    }

    /// Bytes of memory that it holds beside its own size. Called in each turn that does something for it, so nobody in it walks through what is held; and all
    /// holders name all of their fields, so that a new one is not forgotten.
    pub fn memory(&self) -> usize {
        let Self {
            identity: _,
            start: _,
            last: _,
            active: _,
            volume: _,
            flags: _,
            decided: _,
            about,
            ended: _,
            over: _,
            unsettled: _,
            midstream: _,
            ordered: _,
            starttls: _,
            mirrors: _,
            phase,
        } = self;
        let about = about.as_ref().map_or(0, |about| about.memory());
        about
            + match phase {
                Phase::Opening(opening) => opening.memory(),
                Phase::Answered(answered) | Phase::Held(answered) => answered.memory(),
                Phase::Peeking(peeking) => peeking.memory(),
                Phase::HelloOverTcp(hello) => hello.memory(),
                Phase::Adopted(adopted) => adopted.memory(),
                Phase::Bypassed(bypassed) => bypassed.memory(),
                Phase::Blocked(blocked) => blocked.memory(),
            }
    }

    /// The phase it is in, as counted, logged and shown.
    pub fn phase(&self) -> FlowPhase {
        match &self.phase {
            Phase::Opening(_) | Phase::Answered(_) | Phase::Held(_) => FlowPhase::Opening,
            Phase::Peeking(_) | Phase::HelloOverTcp(_) => FlowPhase::Peeking,
            Phase::Adopted(_) => self.phase_when_adopted(),
            Phase::Bypassed(_) => FlowPhase::Bypassed,
            Phase::Blocked(_) => FlowPhase::Blocked,
        }
    }

    /// The engine answers in the server's place.
    pub(super) fn is_answered(&self) -> bool {
        self.about.as_ref().is_some_and(|about| about.is_answered)
    }

    /// The phase of a flow with legs.
    pub(super) fn phase_when_adopted(&self) -> FlowPhase {
        match self.decided {
            // Its frames could not be released, so its bytes are relayed as they are.
            Some((Action::Bypass, _)) => FlowPhase::Bypassed,
            _ if self.is_answered() => FlowPhase::Blocked,
            // They have yet to agree on TLS.
            None => FlowPhase::Peeking,
            _ => FlowPhase::Decrypted,
        }
    }

    /// It has ended as far as one can see: a SYN begins a new connection (RFC 9293 3.6.1).
    pub fn gives_way(&self) -> bool {
        match &self.phase {
            Phase::Answered(answered) => answered.is_closing(),
            Phase::Adopted(adopted) => adopted.is_closing(),
            Phase::Bypassed(bypassed) => bypassed.is_closing(),
            Phase::Blocked(_) => true,
            Phase::Opening(_) | Phase::Held(_) | Phase::Peeking(_) | Phase::HelloOverTcp(_) => false,
        }
    }

    /// What is to become of its packets when it is forgotten now.
    pub fn afterwards(&self) -> Afterwards {
        match &self.phase {
            Phase::Bypassed(bypassed) if bypassed.is_settled() => Afterwards::Midstream,
            // Nor did the client show that it has our answer.
            Phase::Opening(_) | Phase::Held(_) => Afterwards::RefuseUnanswered,
            // Both legs have been closed and acknowledged: no end has anything left.
            Phase::Blocked(_) if self.ended == Some(Reason::Closed) => Afterwards::Midstream,
            _ => Afterwards::Refuse,
        }
    }
}
