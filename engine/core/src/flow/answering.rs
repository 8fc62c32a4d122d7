//! A blocked flow whose client is answered in the server's place: the server leg has been aborted, the client's handshake is ours,
//! and a filter answers what is asked.

use std::sync::Arc;

use tcp_stack::Instant;

use super::context::Context;
use super::relaying::Relaying;
use crate::content::{BlockedFlow, Ending};
use crate::end::End;
use crate::port::Io;
use crate::reason::Reason;
use crate::tls::Relay;

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
        self.until.filter(|until| *until <= now).map(|_| in_order())
    }

    /// The client has closed, and has been answered: nobody is there to close for the server.
    pub(super) fn ended<IO: Io>(&self, client_closed: bool, relaying: &Relaying<IO>) -> Option<Ending> {
        (client_closed && relaying.is_empty(End::Server)).then(in_order)
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { blocked, until: _ } = self;
        size_of::<Self>() + blocked.text_bytes()
    }
}

fn in_order() -> Ending {
    Ending { reason: Reason::PolicyBlock, orderly: true }
}
