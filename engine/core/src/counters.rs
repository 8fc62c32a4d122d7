//! What one worker counts. Only that worker writes; anyone may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::end::{End, PerEnd};
use crate::event::Action;
use crate::exclusions::Cause;
use crate::flow_table::Class;
use crate::histogram::Histogram;
use crate::mirror::MAX_MIRRORS;
use crate::order::Order;
use crate::packet::{PassAction, Uninspected};
use crate::phase::FlowPhase;
use crate::port::PortSide;
use crate::reason::{InspectorOff, MirrorDrop, PacketDrop, PathMessage, Reason};

/// A number that only grows. One writer: a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// The present value, from any thread.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down. One writer, as with [`Counter`].
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// One less; stays at zero.
    #[inline]
    pub fn dec(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// It changes with a part of it.
    pub fn changed(&self, before: u64, after: u64) {
        self.0.store((self.0.load(Relaxed) + after).saturating_sub(before), Relaxed);
    }

    /// Says what it is now.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The present value, from any thread.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Frames and their bytes through one port, by one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: Counter,
    /// Bytes of those.
    pub rx_bytes: Counter,
    /// Frames that the port took for sending.
    pub tx_packets: Counter,
    /// Bytes of those.
    pub tx_bytes: Counter,
}

/// What one mirror has of one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct MirrorCounters {
    /// Frames that its port took.
    pub frames: Counter,
    /// Bytes of those.
    pub bytes: Counter,
    /// Decrypted flows that it was shown.
    pub flows: Counter,
    /// Of these, such that lost a frame, and ended with that.
    pub flows_lost: Counter,
    drops: [Counter; MirrorDrop::COUNT],
}

impl MirrorCounters {
    /// A frame was dropped.
    #[inline]
    pub fn drop_frame(&self, why: MirrorDrop) {
        self.drops[why as usize].inc();
    }

    /// How many were dropped so.
    pub fn dropped(&self, why: MirrorDrop) -> u64 {
        self.drops[why as usize].value()
    }

    /// So many at once.
    pub fn drop_frames(&self, why: MirrorDrop, frames: u64) {
        self.drops[why as usize].add(frames);
    }
}

/// How a value behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One number of a worker that needs no label, with what the metrics page says of it.
pub struct Scalar {
    /// Of the metric.
    pub name: &'static str,
    /// What the page says of it.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Reads it.
    pub read: fn(&WorkerCounters) -> u64,
}

/// What can have been done with a flow; none: nothing was decided yet.
pub const ACTION_OR_NONE: [Option<Action>; ACTIONS] =
    [Some(Action::Decrypt), Some(Action::Bypass), Some(Action::Block), None];
const ACTIONS: usize = 4;

const fn place(action: Option<Action>) -> usize {
    match action {
        Some(Action::Decrypt) => 0,
        Some(Action::Bypass) => 1,
        Some(Action::Block) => 2,
        None => 3,
    }
}

macro_rules! worker_counters {
    ($($field:ident: $kind:ident = $name:literal, $help:literal;)*) => {
        /// All numbers of one worker, on cache lines of its own.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct WorkerCounters {
            $(#[doc = $help] pub $field: $kind,)*
            /// Microseconds of the turns of the worker's loop that found something to do.
            pub busy_micros: Counter,
            ports: Box<[[PortCounters; 2]]>,
            drops: [Counter; PacketDrop::COUNT],
            uninspected: [[Counter; 2]; Uninspected::COUNT],
            flows: [Gauge; FlowPhase::ALL.len()],
            ended: [Counter; Reason::COUNT],
            judged: [Counter; Reason::COUNT],
            ended_after: [Counter; ACTIONS],
            carried: [PerEnd<Counter>; ACTIONS],
            handshake_time: Histogram,
            inspectors_off: [Counter; InspectorOff::COUNT],
            path_messages: [Counter; PathMessage::COUNT],
            plaintext: [Counter; 2],
            exclusions: [[Counter; 2]; Cause::ALL.len()],
            ordered: [Counter; Order::ALL.len()],
            evicted: [Counter; Class::ALL.len()],
            mirrors: [MirrorCounters; MAX_MIRRORS],
        }

        impl WorkerCounters {
            /// Zeros, for an engine with so many wires.
            pub fn new(wires: usize) -> Self {
                Self {
                    $($field: $kind::default(),)*
                    busy_micros: Counter::default(),
                    ports: (0..wires.max(1)).map(|_| Default::default()).collect(),
                    drops: std::array::from_fn(|_| Counter::default()),
                    uninspected: Default::default(),
                    flows: Default::default(),
                    ended: std::array::from_fn(|_| Counter::default()),
                    judged: std::array::from_fn(|_| Counter::default()),
                    ended_after: Default::default(),
                    carried: Default::default(),
                    handshake_time: Histogram::default(),
                    inspectors_off: Default::default(),
                    path_messages: Default::default(),
                    plaintext: Default::default(),
                    exclusions: Default::default(),
                    ordered: Default::default(),
                    evicted: Default::default(),
                    mirrors: Default::default(),
                }
            }
        }

        /// All numbers that need no label.
        pub const SCALARS: &[Scalar] = &[$(Scalar {
            name: $name,
            help: $help,
            kind: Kind::$kind,
            read: |counters| counters.$field.value(),
        }),*];
    };
}

worker_counters! {
    flows_opened: Counter = "wireglass_flows_opened_total", "Flows that got state.";
    flows_limit: Gauge = "wireglass_flows_limit", "Flows that may have state at a time: limits.flows.";
    refused_forgotten: Counter = "wireglass_refused_forgotten_total", "Refused or evicted connections forgotten before their time because there were too many.";
    reassembled: Counter = "wireglass_reassembled_total", "TCP segments that were reassembled from IP fragments.";
    fragments_held: Gauge = "wireglass_fragments_held", "IP fragments that wait for the others of their packet.";
    handshakes_started: Counter = "wireglass_handshakes_started_total", "TLS interceptions begun: handshakes handed to the pool.";
    handshakes_done: Counter = "wireglass_handshakes_done_total", "TLS interceptions with both handshakes complete.";
    handshakes_failed: Counter = "wireglass_handshakes_failed_total", "TLS interceptions that ended before both handshakes were complete.";
    handshake_queue: Gauge = "wireglass_handshake_queue", "Handshakes that wait for a thread of the pool or for its answer.";
    certificates_minted: Counter = "wireglass_certificates_minted_total", "Interceptions that presented a minted certificate, or resumed a session that had.";
    pages: Counter = "wireglass_pages_total", "Blocked flows whose clients got a TLS session with the block page.";
    retransmits: Counter = "wireglass_tcp_retransmits_total", "TCP segments sent again.";
    tcp_timeouts: Counter = "wireglass_tcp_timeouts_total", "TCP retransmission timers that fired.";
    tcp_black_holes: Counter = "wireglass_tcp_black_holes_total", "Legs whose path silently dropped large segments, and that now send smaller ones.";
    flow_bytes: Gauge = "wireglass_flow_bytes", "Bytes of memory that flows hold in legs, sessions, handshakes and readers.";
    content_queue: Gauge = "wireglass_content_queue", "Bodies, or pieces of them, that wait for a thread or for its answer.";
    content_bytes: Gauge = "wireglass_content_bytes", "Bytes of bodies held for verdicts, and of their scans.";
    payload_copied: Counter = "wireglass_payload_copied_bytes_total", "Payload bytes of intercepted flows, counted at each copy: from a frame, within a receive buffer, into a frame.";
    flow_bytes_limit: Gauge = "wireglass_flow_bytes_limit", "Bytes of memory that flows may hold: limits.worker_bytes.";
    leg_limits: Counter = "wireglass_leg_limits_total", "Times that a leg got less than buffer_bytes because the worker's memory was short.";
    heap_records: Counter = "wireglass_heap_records_total", "Records without a free buffer: they are on the heap, and are copied into frames.";
    midstream_flows: Counter = "wireglass_midstream_flows_total", "Connections that pass although their beginning was not seen.";
    midstream_bare: Counter = "wireglass_midstream_bare_segments_total", "FINs, RSTs and SYN-ACKs without data that passed although their connection is unknown.";
    asymmetric_flows: Counter = "wireglass_asymmetric_flows_total", "Connections of which only one direction passes this engine (`fleet.asymmetric`).";
    events_summed: Counter = "wireglass_events_summed_total", "Events that were not written one by one: `summary` events count them.";
    http_transactions: Counter = "wireglass_http_transactions_total", "HTTP transactions that were read.";
    loop_busy: Counter = "wireglass_worker_busy_polls_total", "Turns of the worker's loop that found something to do.";
    failed: Gauge = "wireglass_worker_failed", "1: the worker has failed, and its frames go from port to port uninspected (workers.on_worker_failure).";
    plain_wire_frames: Counter = "wireglass_plain_wire_frames_total", "Frames of a failed worker that passed uninspected.";
    loop_idle: Counter = "wireglass_worker_idle_polls_total", "Turns of the worker's loop that found nothing to do.";
}

impl WorkerCounters {
    /// One port of a wire: a wire that does not exist is a bug of the
    /// caller and counts as the last one.
    #[inline]
    pub fn port(&self, wire: usize, side: PortSide) -> &PortCounters {
        &self.ports[wire.min(self.ports.len() - 1)][side as usize]
    }

    /// All ports, in no meaningful order.
    pub fn ports(&self) -> impl Iterator<Item = &PortCounters> {
        self.ports.iter().flatten()
    }

    /// One mirror; one that does not exist is a bug of the caller and counts as the last one.
    pub fn mirror(&self, n: usize) -> &MirrorCounters {
        &self.mirrors[n.min(MAX_MIRRORS - 1)]
    }

    /// A packet was dropped.
    #[inline]
    pub fn drop_packet(&self, why: PacketDrop) {
        self.drops[why as usize].inc();
    }

    /// How many were dropped so.
    pub fn dropped(&self, why: PacketDrop) -> u64 {
        self.drops[why as usize].value()
    }

    /// Frames of a class that were not looked into, by what became of them.
    #[inline]
    pub fn uninspected(&self, class: Uninspected, action: PassAction) -> &Counter {
        &self.uninspected[class as usize][action as usize]
    }

    /// Flows in a phase now.
    #[inline]
    pub fn flows(&self, phase: FlowPhase) -> &Gauge {
        &self.flows[phase as usize]
    }

    /// A flow went from one phase to another.
    #[inline]
    pub fn flow_moved(&self, from: FlowPhase, to: FlowPhase) {
        self.flows(from).dec();
        self.flows(to).inc();
    }

    /// A flow ended; its phase's gauge is the caller's to lower.
    #[inline]
    pub fn flow_ended(&self, why: Reason) {
        self.ended[why as usize].inc();
    }

    /// How many ended so.
    pub fn ended(&self, why: Reason) -> u64 {
        self.ended[why as usize].value()
    }

    /// Flows that ended after this was done with them.
    #[inline]
    pub fn ended_after(&self, action: Option<Action>) -> &Counter {
        &self.ended_after[place(action)]
    }

    /// Bytes of frames from this end of a flow, by what is done with it.
    #[inline]
    pub fn carried(&self, action: Option<Action>, from: End) -> &Counter {
        &self.carried[place(action)][from]
    }

    /// ClientHellos, and first bytes that were none, of which this was the reason.
    #[inline]
    pub fn judged(&self, why: Reason) -> &Counter {
        &self.judged[why as usize]
    }

    /// From the whole ClientHello to the end of both handshakes, of interceptions that came so far.
    pub fn handshake_time(&self) -> &Histogram {
        &self.handshake_time
    }

    /// An HTTP reader turned itself off.
    #[inline]
    pub fn inspector_off(&self, why: InspectorOff) {
        self.inspectors_off[why as usize].inc();
    }

    /// How many did so.
    pub fn inspectors_off(&self, why: InspectorOff) -> u64 {
        self.inspectors_off[why as usize].value()
    }

    /// A router's message that a segment was too big came to this.
    #[inline]
    pub fn path_message(&self, what: PathMessage) {
        self.path_messages[what as usize].inc();
    }

    /// How many came to that.
    pub fn path_messages(&self, what: PathMessage) -> u64 {
        self.path_messages[what as usize].value()
    }

    /// Flows of a class that were ended early to make room for others.
    #[inline]
    pub fn evicted(&self, class: Class) -> &Counter {
        &self.evicted[class.lists()[0] as usize]
    }

    /// Those of all classes.
    pub fn evictions(&self) -> u64 {
        self.evicted.iter().map(Counter::value).sum()
    }

    /// Servers that became known as such that cannot be decrypted, by cause.
    #[inline]
    pub fn exclusions_learned(&self, cause: Cause) -> &Counter {
        &self.exclusions[cause as usize][0]
    }

    /// Flows that were bypassed as their servers are known.
    #[inline]
    pub fn exclusions_used(&self, cause: Cause) -> &Counter {
        &self.exclusions[cause as usize][1]
    }

    /// Flows that were bypassed as an operator had ordered so.
    #[inline]
    pub fn ordered(&self, order: Order) -> &Counter {
        &self.ordered[order as usize - 1]
    }

    /// Plaintext bytes decrypted that came from this side.
    #[inline]
    pub fn plaintext(&self, from: End) -> &Counter {
        &self.plaintext[from as usize]
    }
}
