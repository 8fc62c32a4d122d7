//! What all flows of a generation share: policy, TLS, limits, and what becomes of all else.

use std::sync::Arc;

use tcp_stack::{Duration, Instant};

use crate::content::{Filters, Page};
use crate::exclusions::Exclusions;
use crate::fairness::Fairness;
use crate::mirror::Mirror;
use crate::packet::Passthrough;
use crate::policy::Policy;
use crate::tls::TlsContext;

/// What all flows of a generation share, and none changes. A reload makes another one for the flows that begin later.
///
/// A clone shares all that is large.
#[derive(Clone)]
pub struct Shared {
    /// Which flows to decrypt.
    pub policy: Arc<Policy>,
    /// TLS: providers, trust, CAs, caches.
    pub tls: Arc<TlsContext>,
    /// Limits and times.
    pub limits: Limits,
    /// What to do with what is not TLS, and with flows seen from the middle.
    pub outside_tls: OutsideTls,
    /// What looks at the plaintext of flows.
    pub filters: Arc<dyn Filters>,
    /// What clients get instead of what is blocked.
    pub page: Arc<Page>,
    /// Servers whose flows are left alone: the same in all generations.
    pub exclusions: Arc<Exclusions>,
    /// What is shown to others: the same in all generations.
    pub mirrors: Arc<[Mirror]>,
    /// Names of the wires: the same in all generations.
    pub wires: Arc<[Arc<str>]>,
}

/// What becomes of all that is not a TLS connection over TCP, seen from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutsideTls {
    /// Connections that are seen from the middle or in one direction only.
    pub midstream: Midstream,
    /// Release flows whose first bytes are not TLS; otherwise they are blocked.
    pub bypass_not_tls: bool,
    /// Frames that are not looked into.
    pub passthrough: Passthrough,
}

/// What becomes of connections on intercepted ports whose beginning was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midstream {
    /// They pass.
    Forward,
    /// They are reset, once their port has been intercepted for `after`: those that are older may end in peace.
    Reset {
        /// Since the engine's start, or the reload that brought the port.
        after: Duration,
    },
}

impl Default for Midstream {
    fn default() -> Self {
        Self::Reset { after: Duration::from_secs(600) }
    }
}

impl Midstream {
    /// They pass now, on a port that has been intercepted `since`.
    pub fn forwards(self, now: Instant, since: Instant) -> bool {
        match self {
            Self::Forward => true,
            Self::Reset { after } => now < since + after,
        }
    }
}

/// Limits and times of a flow. Each has a reason code for when it bites.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a ClientHello may take: `hello.timeout`.
    pub hello_time: Duration,
    /// How long a ClientHello may be: `hello.too_big`.
    pub hello_bytes: usize,
    /// Frames held for one flow while its ClientHello is incomplete; after that it is taken in as bytes.
    pub hello_frames: usize,
    /// How long both handshakes may take: `srv.timeout` or `cli.timeout`.
    pub handshake_time: Duration,
    /// How long a connection may be silent: `flow.idle`.
    pub idle_time: Duration,
    /// Most bytes received, and most bytes queued, for each leg: back-pressure begins here at the latest. The path may
    /// have use for less ([`tcp_stack::Connection::send_wanted`]), the worker may have room for less ([`Budget`](super::Budget)).
    pub buffer_bytes: usize,
    /// Most bytes of bodies that a worker holds for verdicts: `content.overload`.
    pub content_bytes: usize,
    /// Secret key of the numbers of challenge ACKs: [`tcp_stack::Config::challenge_key`].
    pub challenge_key: u64,
    /// Secret key of the initial sequence numbers of connections that the engine answers itself (RFC 6528).
    pub isn_key: [u8; 16],
    /// How long an ended flow goes on refusing its late packets.
    pub linger_time: Duration,
    /// Who gives way when table or memory are full, and how much one client may have.
    pub fairness: Fairness,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hello_time: Duration::from_secs(5),
            hello_bytes: 64 * 1024,
            hello_frames: 64,
            handshake_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(3600),
            buffer_bytes: 4 * 1024 * 1024,
            content_bytes: 128 * 1024 * 1024,
            challenge_key: 0,
            isn_key: [0; 16],
            linger_time: Duration::from_secs(5),
            fairness: Fairness::default(),
        }
    }
}
