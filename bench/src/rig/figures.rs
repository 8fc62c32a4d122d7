//! What can be read of whatever stands between clients and servers, from this process or from another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::timed_worker::TurnTimes;
use crate::allocations::Allocations;

/// Sums since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Seconds of the turns that found something to do.
    pub(crate) busy: f64,
    /// Seconds that the worker's thread could have run and had no core.
    pub(crate) waited: f64,
    /// Where the worker takes turns with its load on one thread, the time of its turns.
    pub(crate) turn_times: Option<TurnTimes>,
    /// What the worker's thread has asked of the allocator.
    pub(crate) allocations: Allocations,
    /// Frames received.
    pub(crate) packets: u64,
    /// Turns of the worker's loop that found something to do; none of what is no engine.
    pub(crate) turns: u64,
    /// Payload bytes that were copied.
    pub(crate) copied: u64,
    /// Bytes that legs hold, as the worker's budget counts them: of the heap, and of buffers.
    pub(crate) legs: usize,
    /// Bytes of the buffers, of frames and of records, that are out now.
    pub(crate) buffers: usize,
    pub(crate) retransmits: u64,
    pub(crate) timeouts: u64,
    /// Packets dropped, and events lost, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// How flows ended, by reason.
    pub(crate) ended: BTreeMap<String, u64>,
}
