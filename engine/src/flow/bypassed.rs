//! A flow that goes by untouched: only counted, until it ends.

use tcp_stack::{Duration, Instant, Segment};

use crate::reason::Reason;
use crate::side::Side;

/// How long repeated FINs and last ACKs may still come by.
const CLOSING: Duration = Duration::from_secs(10);

/// A bypassed flow.
pub(super) struct Bypassed {
    fin: [bool; 2],
    /// When it is over, unless something comes by: the reason, should nothing more come.
    ends: (Instant, Reason),
    idle: Duration,
}

impl Bypassed {
    /// Begins now.
    pub(super) fn new(now: Instant, idle: Duration) -> Self {
        Self { fin: [false; 2], ends: (now + idle, Reason::Idle), idle }
    }

    /// A segment goes by. Numbers are not checked: a forged FIN or RST ends our counting early, never the flow.
    pub(super) fn observe(&mut self, now: Instant, from: Side, segment: &Segment<'_>) {
        self.fin[from as usize] |= segment.flags.fin;
        self.ends = match (segment.flags.rst, from) {
            (true, Side::Client) => (now + CLOSING, Reason::ClientReset),
            (true, Side::Server) => (now + CLOSING, Reason::ServerReset),
            _ if self.fin == [true; 2] => (now + CLOSING, Reason::Closed),
            _ => (now + self.idle, Reason::Idle),
        };
    }

    /// The flow has been closed or reset, as far as one can see.
    pub(super) fn is_closing(&self) -> bool {
        self.ends.1 != Reason::Idle
    }

    /// When it ends, and why.
    pub(super) fn ends(&self) -> (Instant, Reason) {
        self.ends
    }
}
