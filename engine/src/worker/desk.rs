//! What a worker's flows work with: ports, pool, log, counters. The worker itself keeps only who they are.

use std::ops::Range;
use std::sync::Arc;

use tcp_stack::Instant;
use wireglass_core::counters::WorkerCounters;
use wireglass_core::end::End;
use wireglass_core::event::{Action, Event, Timestamp};
use wireglass_core::fairness::Shares;
use wireglass_core::flow::{Budget, Effects, Shared};
use wireglass_core::flow_table::FlowId;
use wireglass_core::job::Job;
use wireglass_core::port::{Appended, BURST, Frame, Io, Offloads, Orientation, PortId, PortSide, Request};
use wireglass_core::reason::{PacketDrop, Reason};

use crate::handshake_pool;
use crate::log::LogSender;
use crate::worker::summary::Summary;

/// Everything of a worker but its flows.
pub(super) struct Desk<IO: Io> {
    pub(super) io: IO,
    pub(super) shared: Arc<Shared>,
    pub(super) pool: handshake_pool::Client,
    pub(super) log: LogSender,
    pub(super) counters: Arc<WorkerCounters>,
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
    /// The flow that is being worked on, and how it lies on its wire.
    pub(super) current: Current,
    /// Frames to be sent, by port.
    outgoing: Vec<Vec<IO::Frame>>,
    /// Frames that are held, by client.
    held: Shares,
    max_held: usize,
    budget: Budget,
    summary: Summary,
}

/// Which flow is being worked on.
#[derive(Clone, Copy)]
pub(super) struct Current {
    /// None while a flow is being made.
    pub(super) id: Option<FlowId>,
    /// Hash of its client's network.
    pub(super) client: u64,
    pub(super) orientation: Orientation,
}

impl<IO: Io> Desk<IO> {
    pub(super) fn new(
        io: IO,
        shared: Arc<Shared>,
        pool: handshake_pool::Client,
        log: LogSender,
        counters: Arc<WorkerCounters>,
        (now, wall): (Instant, Timestamp),
        (max_held, leg_bytes): (usize, usize),
    ) -> Self {
        let outgoing = (0..io.wires()).flat_map(|_| [Vec::new(), Vec::new()]).collect();
        let orientation = Orientation { wire: 0, client: PortSide::Inside };
        let current = Current { id: None, client: 0, orientation };
        Self {
            io,
            shared,
            pool,
            log,
            counters,
            now,
            wall,
            current,
            outgoing,
            held: Shares::default(),
            max_held,
            budget: Budget::new(leg_bytes),
            summary: Summary::new(),
        }
    }

    /// A flow holds more or less than before.
    pub(super) fn account(&mut self, before: usize, after: usize) {
        if before != after {
            self.budget.changed(before, after);
            self.counters.flow_bytes.set(self.budget.held() as u64);
        }
    }

    /// The port towards an end of the current flow.
    fn port(&self, towards: End) -> PortId {
        self.current.orientation.port(towards)
    }

    /// Queues a frame for a port, and sends the queue when a burst is together.
    pub(super) fn forward(&mut self, port: PortId, frame: IO::Frame) {
        self.outgoing[port.index()].push(frame);
        if self.outgoing[port.index()].len() >= BURST {
            self.flush_port(port);
        }
    }

    /// Sends all that is queued. What the ports do not take is dropped: they are as fast as the wire, and TCP repeats.
    pub(super) fn flush(&mut self) {
        for wire in 0..self.io.wires() {
            for side in PortSide::BOTH {
                let port = PortId { wire, side };
                if !self.outgoing[port.index()].is_empty() {
                    self.flush_port(port);
                }
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

    /// Tells the log what the last second held beyond what was told one by one, if it is over, or in any case.
    pub(super) fn sum_up(&mut self, in_any_case: bool) {
        let now = (!in_any_case).then_some(self.now);
        self.summary.end_second(now, self.wall, |event| self.log.push(event));
    }

    /// When that is due.
    pub(super) fn sums_up_at(&self) -> Option<Instant> {
        self.summary.poll_timeout()
    }

    fn count_event(&self, event: &Event) {
        match event {
            Event::Tls(_, tls) if tls.reason == Reason::PolicyDecrypt => {
                self.counters.handshakes_done.inc();
                self.counters.certificates_minted.add(tls.minted_by.is_some().into());
            }
            Event::Tls(_, tls) if tls.profile.is_some() && tls.action != Action::Bypass => {
                self.counters.handshakes_failed.inc();
            }
            Event::Http(..) => self.counters.http_transactions.inc(),
            Event::Flow(_, flow) => self.counters.flow_ended(flow.reason),
            // Links are not a worker's business.
            Event::Tls(..) | Event::Link(..) | Event::Frame(_) | Event::Summary(_) | Event::Anomaly(..) => {}
        }
    }
}

fn volume<F: Frame>(frames: &[F]) -> (u64, u64) {
    (frames.len() as u64, frames.iter().map(|f| f.len() as u64).sum())
}

impl<IO: Io> Effects for Desk<IO> {
    type Frame = IO::Frame;

    fn now(&self) -> Instant {
        self.now
    }

    fn wall(&self) -> Timestamp {
        self.wall
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn mtu(&self) -> usize {
        self.io.mtu(self.current.orientation.wire)
    }

    fn send(&mut self, towards: End, frame: IO::Frame) {
        self.forward(self.port(towards), frame);
    }

    fn allocate(&mut self) -> Option<IO::Frame> {
        self.io.allocate()
    }

    fn block(&mut self, len: usize) -> <IO::Frame as Frame>::Block {
        self.io.block(len).unwrap_or_else(|| {
            self.counters.heap_records.inc();
            vec![0; len].into()
        })
    }

    fn append(
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

    fn offloads(&self, towards: End) -> Offloads {
        self.io.offloads(self.port(towards))
    }

    fn request_offload(&mut self, frame: &mut IO::Frame, request: &Request) {
        self.io.request(frame, request);
    }

    fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    fn hold(&mut self) -> bool {
        let room = self.held.may_add(self.current.client, self.max_held);
        if room {
            self.held.add(self.current.client);
        }
        room
    }

    fn release(&mut self, frames: usize) {
        self.held.remove(self.current.client, frames as u32);
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn event(&mut self, event: Event) {
        self.count_event(&event);
        if self.summary.admits(self.now, &event) {
            self.log.push(event);
        } else {
            self.counters.events_summed.inc();
        }
    }

    fn request(&mut self, job: Box<Job>) -> Result<(), Box<Job>> {
        let Some(flow) = self.current.id else { return Err(job) };
        self.pool.submit(flow, self.current.client, job)?;
        self.counters.handshake_queue.set(self.pool.outstanding() as u64);
        Ok(())
    }
}
