//! A pool: connections that are opened alike and do alike.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::plan::{Clock, Plan};
use super::session::Exchange;
use super::transport::{Failure, Protocol};

/// What a pool is to do.
pub(crate) struct Work {
    pub(crate) exchange: Exchange,
    pub(crate) protocol: Protocol,
    pub(crate) plan: Plan,
    /// How many connections there are to be, at most.
    pub(crate) connections: usize,
    /// Socket buffer where the object goes through, in bytes.
    pub(crate) buffer: usize,
    /// New connections come by this clock; none: as soon as there is room for one.
    pub(crate) arrivals: Option<Clock>,
    /// Others go first: of this pool no more than one end is served in a turn, so that the handshakes that the generator
    /// itself has to do for it hold the others up by one step at most.
    pub(crate) yields: bool,
}

/// What has happened so far.
#[derive(Clone)]
pub(crate) struct Tally {
    /// Answers that came whole.
    pub(crate) exchanges: u64,
    /// Bytes of their objects.
    pub(crate) bytes: u64,
    /// Bytes of requests and answers that have come, whole or not.
    pub(crate) payload: u64,
    /// Connections that were opened, TLS included.
    pub(crate) opened: u64,
    /// Those of them whose TLS was resumed: at the clients, and at the servers.
    pub(crate) resumed: [u64; 2],
    /// Failures, by what went wrong.
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// Nanoseconds from when a request was due to the answer's first and last byte.
    pub(crate) first_byte: Histogram<u64>,
    pub(crate) last_byte: Histogram<u64>,
}

/// One pool, and how it fares.
pub(super) struct ConnectionPool {
    pub(super) exchange: Exchange,
    pub(super) protocol: Protocol,
    pub(super) plan: Plan,
    pub(super) target: usize,
    pub(super) buffer: usize,
    pub(super) arrivals: Option<Clock>,
    pub(super) yields: bool,
    /// Connections in whatever state.
    pub(super) open: usize,
    /// Those of them that shake hands.
    pub(super) opening: usize,
    /// Connections that were begun.
    pub(super) begun: usize,
    pub(super) tally: Tally,
}

/// Connections that shake hands at a time while others are still to be opened. Of those that are to be idle it is fewer: the
/// handshakes of more would keep ACKs of the others waiting for longer than the engine does before it repeats something.
const OPENING: usize = 64;
const OPENING_IDLE: usize = 12;

impl ConnectionPool {
    pub(super) fn new(work: Work) -> Self {
        let Work { exchange, protocol, plan, connections, buffer, arrivals, yields } = work;
        Self {
            exchange,
            protocol,
            plan,
            target: connections,
            buffer,
            arrivals,
            yields,
            open: 0,
            opening: 0,
            begun: 0,
            tally: Tally::new(),
        }
    }

    /// Another connection is to be begun now.
    pub(super) fn wants_another(&mut self, now: u64) -> bool {
        let opening = if matches!(self.plan, Plan::Idle) { OPENING_IDLE } else { OPENING };
        self.open < self.target
            && self.opening < opening
            && self.arrivals.as_mut().is_none_or(|clock| clock.due(now).is_some())
    }
}

impl Tally {
    fn new() -> Self {
        // A minute is more than anybody waits here. (A histogram without bounds does not grow when it saturates.)
        let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds");
        Self {
            exchanges: 0,
            bytes: 0,
            payload: 0,
            opened: 0,
            resumed: [0; 2],
            failures: BTreeMap::new(),
            first_byte: histogram(),
            last_byte: histogram(),
        }
    }
}
