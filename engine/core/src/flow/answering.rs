//! A blocked flow whose client is answered in the server's place: the server leg has been aborted, the client's handshake is ours,
//! and a filter answers what is asked.

use std::sync::Arc;

use tcp_stack::Instant;

use super::adopted::{Adopted, Handshaking, Next, Tls, unix};
use super::context::Context;
use super::leg::Leg;
use super::relaying::Relaying;
use crate::content::{BlockedFlow, Ending};
use crate::end::{End, PerEnd};
use crate::port::Io;
use crate::reason::Reason;
use crate::tls::{Handshake, Input, Relay, RelayError};

/// Bytes of what a client asks that are looked at before its answers go: a record.
pub(super) const ASKED_AT_A_TIME: usize = 16 * 1024;

/// How the answer to a client stands.
pub(super) struct Answering {
    /// What the answer is about.
    blocked: BlockedFlow,
    /// When the client must have asked and read; none before it can.
    until: Option<Instant>,
}

impl Answering {
    pub(super) fn new(blocked: BlockedFlow) -> Self {
        Self { blocked, until: None }
    }

    /// The client's handshake has ended: it may ask. It has as much time for that as it had for the handshake, as all that it can get
    /// is one page.
    pub(super) fn begin<IO: Io>(&mut self, cx: &Context<IO>, relay: Relay) -> Relaying<IO> {
        self.until = Some(cx.now + cx.shared.limits.handshake_time);
        Relaying::one_ended(relay, self.blocked.clone().answer(Arc::clone(&cx.shared.page)))
    }

    /// When the client must be through.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The client had its time.
    pub(super) fn timed_out(&self, now: Instant) -> Option<Ending> {
        let ending = Ending { reason: Reason::PolicyBlock, orderly: true, resets_server: false };
        self.until.filter(|until| *until <= now).map(|_| ending)
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { blocked, until: _ } = self;
        size_of::<Self>() + blocked.text_bytes()
    }
}

impl<IO: Io> Adopted<IO> {
    /// With the client's handshake alone, and an answer after it. The server leg has been aborted.
    pub(super) fn with_answer(
        cx: &mut Context<IO>,
        legs: PerEnd<Leg<IO>>,
        handshake: Box<Handshake>,
        blocked: BlockedFlow,
    ) -> Next<IO> {
        let input = Input { now: unix(cx), ..Input::default() };
        let tls = Tls::Handshake(Handshaking::leaving(&handshake, &input));
        let mut adopted = Self::new(cx, legs, tls, None);
        adopted.closed.server = false;
        adopted.answering = Some(Box::new(Answering::new(blocked)));
        adopted.submit(cx, handshake, input)
    }

    /// Moves what the client has sent to whoever answers, and the answers to the client. Nothing more is asked before the answers
    /// have gone, so that they do not pile up.
    pub(super) fn relay_answers(&mut self, cx: &mut Context<IO>) -> Result<(), RelayError> {
        loop {
            self.relay(cx, End::Server)?;
            let is_ready = matches!(&self.tls, Tls::Relay(relaying) if relaying.is_ready(End::Server));
            let before = self.legs.client.tcp.recv().len();
            if is_ready {
                return Ok(());
            }
            self.relay(cx, End::Client)?;
            if self.legs.client.tcp.recv().len() == before {
                return self.relay(cx, End::Server);
            }
        }
    }
}
