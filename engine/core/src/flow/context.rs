//! What a flow works with, and what it leaves behind: frames to send, events, jobs for the pool.
//!
//! It knows neither the log nor the pool. Whoever calls a flow drains both lists afterwards, so a test reads what a flow did.

use std::ops::Range;
use std::sync::Arc;

use tcp_stack::Instant;

use super::budget::Budget;
use super::held_bodies::ContentShares;
use super::report::Reports;
use super::settings::Shared;
use crate::capture::WorkerCapture;
use crate::content::Room;
use crate::counters::WorkerCounters;
use crate::end::End;
use crate::event::{Event, Timestamp};
use crate::fairness::{self, Shares};
use crate::job::Job;
use crate::mirror::{MAX_MIRRORS, MirrorQueue};
use crate::order::Order;
use crate::port::{Appended, BURST, Frame, Io, Orientation, PortId, PortSide};
use crate::reason::{MirrorDrop, PacketDrop, Reason};

/// All that a worker's flows share, with what is set for the flow that is called.
pub struct Context<IO: Io> {
    /// The worker's queues of all ports.
    pub io: IO,
    /// What the flows of its generation share: to be set before a flow is called.
    pub shared: Arc<Shared>,
    /// The worker's counters.
    pub counters: Arc<WorkerCounters>,
    /// Monotonic time; the same during one call.
    pub now: Instant,
    /// Time of day; the same during one call.
    pub wall: Timestamp,
    /// What an operator has ordered over policy; the same during one turn.
    pub order: Option<Order>,
    /// The memory of the worker's flows, as it stood before the call; payload that has come since the last one counts as such.
    pub budget: Budget,
    /// How the flow lies on its wire.
    pub orientation: Orientation,
    /// Hash of its client's network, by which what it holds is counted.
    pub client: u64,
    /// Jobs that the pools still take from it.
    pub job_room: JobRoom,
    /// For the log, in order. To be drained after the call.
    pub events: Vec<Event>,
    /// For the pool; the answers go to [`super::Flow::handle_reply`]. To be drained after the call.
    pub jobs: Vec<Box<Job>>,
    /// What is to become events at the end of the call.
    pub(super) reports: Reports,
    /// What waits for the ports of mirrors; empty without such.
    pub mirrors: Vec<MirrorQueue<IO::Frame>>,
    /// Where decrypted flows are captured; none: nowhere.
    pub capture: Option<WorkerCapture>,
    /// Frames of bypassed flows go to some of them.
    pub(crate) shows_bypassed: bool,
    /// Frames to be sent, by port.
    outgoing: Vec<Vec<IO::Frame>>,
    /// Bytes of bodies that are held, by client.
    pub(super) content_shares: ContentShares,
    /// Frames that are held, by client.
    held: Shares,
    max_held: usize,
}

impl<IO: Io> Context<IO> {
    /// With nothing sent or held yet. `max_held`: most frames that all flows may hold.
    pub fn new(
        io: IO,
        shared: Arc<Shared>,
        counters: Arc<WorkerCounters>,
        (now, wall): (Instant, Timestamp),
        budget: Budget,
        max_held: usize,
    ) -> Self {
        let outgoing = (0..io.wires()).flat_map(|_| [Vec::new(), Vec::new()]).collect();
        let shows_bypassed = io.mirrors() > 0 && shared.mirrors.iter().any(|mirror| mirror.bypassed);
        let mirrors = (0..io.mirrors().min(MAX_MIRRORS)).map(|_| MirrorQueue::default()).collect();
        Self {
            io,
            shared,
            counters,
            now,
            wall,
            order: None,
            budget,
            orientation: Orientation { wire: 0, client: PortSide::Inside },
            client: 0,
            job_room: JobRoom::default(),
            events: Vec::new(),
            jobs: Vec::new(),
            reports: Reports::default(),
            mirrors,
            capture: None,
            shows_bypassed,
            outgoing,
            content_shares: ContentShares::default(),
            held: Shares::default(),
            max_held,
        }
    }

    /// The flow holds more or less memory than before.
    pub fn account(&mut self, before: usize, after: usize) {
        if before != after {
            self.budget.changed(before, after);
            self.counters.flow_bytes.set(self.budget.held() as u64);
        }
    }

    /// The order to bypass all, if it stands.
    pub(super) fn ordered_bypass(&self) -> Option<Order> {
        self.order.filter(|order| *order == Order::Bypass)
    }

    /// Counts a flow that is bypassed for this order, if there is one. Gives it back.
    pub(super) fn count_order(&self, order: Option<Order>) -> Option<Order> {
        order.inspect(|order| self.counters.ordered(*order).inc())
    }

    /// Bytes of bodies that the flow may hold beyond those that it does: never so many that flows that hold none are short of memory, or
    /// that nothing is left for other clients.
    pub(super) fn content_room(&self) -> Room {
        let (most, held) = (self.shared.limits.content_bytes, self.counters.content_bytes.value() as usize);
        let free = most.saturating_sub(held);
        let of_worker = free.min(self.budget.spare());
        let of_client = fairness::room(|| self.content_shares.of(self.client), free, most);
        if of_client < of_worker {
            return Room { bytes: of_client, lacking: Reason::ContentClientBytes };
        }
        of_worker.into()
    }

    /// The port towards an end of the flow.
    pub(super) fn port(&self, towards: End) -> PortId {
        self.orientation.port(towards)
    }

    /// Largest IP packet that the flow's wire carries.
    pub(super) fn mtu(&self) -> usize {
        self.io.mtu(self.orientation.wire)
    }

    /// Sends a frame out of the port towards an end.
    pub(super) fn send(&mut self, towards: End, frame: IO::Frame) {
        self.forward(self.port(towards), frame);
    }

    /// Queues a frame for a port, and sends the queue when a burst is together.
    pub fn forward(&mut self, port: PortId, frame: IO::Frame) {
        if let Some(capture) = &self.capture {
            capture.sent(self.wall, port, &frame);
        }
        self.outgoing[port.index()].push(frame);
        if self.outgoing[port.index()].len() >= BURST {
            self.flush_port(port);
        }
    }

    /// Sends all that is queued. What the ports do not take is dropped: they are as fast as the wire, and TCP repeats.
    pub fn flush(&mut self) {
        for wire in 0..self.io.wires() {
            for side in PortSide::BOTH {
                let port = PortId { wire, side };
                if !self.outgoing[port.index()].is_empty() {
                    self.flush_port(port);
                }
            }
        }
        for (n, queue) in self.mirrors.iter_mut().enumerate() {
            let counters = self.counters.mirror(n);
            queue.flush(&mut self.io, n, counters);
            match self.io.discard_received(n) {
                0 => {}
                frames => counters.drop_frames(MirrorDrop::Received, frames as u64),
            }
        }
    }

    fn flush_port(&mut self, port: PortId) {
        let frames = &mut self.outgoing[port.index()];
        let (packets, bytes) = volume(frames);
        self.io.transmit(port, frames);
        let (left, left_bytes) = volume(frames);
        let counters = self.counters.port(port.wire.into(), port.side);
        counters.tx_packets.add(packets - left);
        counters.tx_bytes.add(bytes - left_bytes);
        for _ in frames.drain(..) {
            self.counters.drop_packet(PacketDrop::TxRingFull);
        }
    }

    /// A new frame with these bytes; none when the pool is empty or its frames are smaller.
    pub fn filled(&mut self, bytes: &[u8]) -> Option<IO::Frame> {
        let mut frame = self.io.allocate()?;
        if !frame.set_len(bytes.len()) {
            return None;
        }
        frame.data_mut().copy_from_slice(bytes);
        Some(frame)
    }

    /// Room for a record of `len` bytes, on the heap when the pool is empty.
    pub(super) fn block(&mut self, len: usize) -> <IO::Frame as Frame>::Block {
        self.io.block(len).unwrap_or_else(|| {
            self.counters.heap_records.inc();
            vec![0; len].into()
        })
    }

    /// Puts `range` of the slice behind the bytes of a frame that goes towards an end. False: the frame is of no use.
    pub(super) fn append(
        &mut self,
        towards: End,
        frame: &mut IO::Frame,
        slice: &<IO::Frame as Frame>::Slice,
        range: Range<usize>,
    ) -> bool {
        let bytes = range.len();
        let appended = self.io.append(self.port(towards), frame, slice, range);
        if appended == Appended::Copy {
            self.counters.payload_copied.add(bytes as u64);
        }
        appended != Appended::NoRoom
    }

    /// Asks to hold one more frame; false when the worker holds as many as it may. Give back with [`Self::release`].
    pub(super) fn hold(&mut self) -> bool {
        let room = self.held.may_add(self.client, self.max_held);
        if room {
            self.held.add(self.client);
        }
        room
    }

    /// Held frames that are held no longer.
    pub(super) fn release(&mut self, frames: usize) {
        self.held.remove(self.client, frames as u32);
    }

    /// Leaves a job for the pool.
    ///
    /// # Errors
    /// The pool has no room for it: the flow sheds, it never waits.
    pub(super) fn submit(&mut self, job: Job) -> Result<(), PoolFull> {
        let room = match &job {
            Job::Handshake(..) => self.job_room.handshakes,
            Job::Scan(..) => self.job_room.scans,
        };
        if self.jobs.len() >= room {
            return Err(PoolFull);
        }
        self.jobs.push(Box::new(job));
        Ok(())
    }
}

/// Jobs that the pools still take of a flow's client.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobRoom {
    /// Handshakes.
    pub handshakes: usize,
    /// What filters ask.
    pub scans: usize,
}

/// The pool takes no more jobs of a flow's client.
#[derive(Debug)]
pub(super) struct PoolFull;

fn volume<F: Frame>(frames: &[F]) -> (u64, u64) {
    (frames.len() as u64, frames.iter().map(|f| f.len() as u64).sum())
}
