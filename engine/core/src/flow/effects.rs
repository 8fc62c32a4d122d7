//! What a flow may do to the world: the whole of it, so that a test can stand in for the world.

use std::ops::Range;
use std::sync::Arc;

use tcp_stack::{Duration, Instant};

use super::budget::Budget;
use crate::content::Filters;
use crate::counters::WorkerCounters;
use crate::end::End;
use crate::event::{Event, Timestamp};
use crate::fairness::Fairness;
use crate::job::Job;
use crate::packet::Passthrough;
use crate::policy::Policy;
use crate::port::{Frame, Offloads, Request};
use crate::tls::TlsContext;

/// The world as one flow sees it. A worker implements it; calls cost no more than the push onto a list.
pub trait Effects {
    /// The frames of this world.
    type Frame: Frame;

    /// Monotonic time; the same during one call.
    fn now(&self) -> Instant;

    /// Time of day; the same during one call.
    fn wall(&self) -> Timestamp;

    /// What all flows share.
    fn shared(&self) -> &Arc<Shared>;

    /// Largest IP packet that the flow's wire carries.
    fn mtu(&self) -> usize;

    /// Sends a frame out of the port towards an end.
    fn send(&mut self, towards: End, frame: Self::Frame);

    /// An empty frame; none when the pool is empty.
    fn allocate(&mut self) -> Option<Self::Frame>;

    /// Room for a record of `len` bytes, on the heap when the pool is empty.
    fn block(&mut self, len: usize) -> <Self::Frame as Frame>::Block;

    /// Puts `range` of the slice behind the bytes of a frame that goes towards an end. False: the frame is of no use.
    fn append(
        &mut self,
        towards: End,
        frame: &mut Self::Frame,
        slice: &<Self::Frame as Frame>::Slice,
        range: Range<usize>,
    ) -> bool;

    /// What the port towards an end does to segments.
    fn offloads(&self, towards: End) -> Offloads;

    /// Asks the port for work on a frame, within its offloads.
    fn request_offload(&mut self, frame: &mut Self::Frame, request: &Request);

    /// The worker's counters.
    fn counters(&self) -> &WorkerCounters;

    /// Asks to hold one more frame; false when the worker holds as many as it may. Give back with [`Self::release`].
    fn hold(&mut self) -> bool;

    /// Held frames that are held no longer.
    fn release(&mut self, frames: usize);

    /// The memory of the worker's flows, as it stood before this call.
    fn budget(&self) -> &Budget;

    /// Tells the log.
    fn event(&mut self, event: Event);

    /// Hands a handshake to the pool; its answer comes back through [`super::Flow::handle_reply`].
    ///
    /// # Errors
    /// Gives the job back when the pool's queue is full.
    fn request(&mut self, job: Box<Job>) -> Result<(), Box<Job>>;
}

/// What all flows of an engine share, and none changes.
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
    /// Names of the wires.
    pub wires: Vec<Arc<str>>,
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
    /// They are reset, once the engine has run for `after`: those that are older than the engine may end in peace.
    Reset {
        /// Since the worker's clock began, at the engine's start.
        after: Duration,
    },
}

impl Default for Midstream {
    fn default() -> Self {
        Self::Reset { after: Duration::from_secs(600) }
    }
}

impl Midstream {
    /// They pass now.
    pub fn forwards(self, now: Instant) -> bool {
        match self {
            Self::Forward => true,
            Self::Reset { after } => now < Instant::ZERO + after,
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
    /// have use for less ([`tcp_stack::Connection::send_wanted`]), the worker may have room for less ([`Budget`]).
    pub buffer_bytes: usize,
    /// Secret key of the numbers of challenge ACKs: [`tcp_stack::Config::challenge_key`].
    pub challenge_key: u64,
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
            challenge_key: 0,
            linger_time: Duration::from_secs(5),
            fairness: Fairness::default(),
        }
    }
}
