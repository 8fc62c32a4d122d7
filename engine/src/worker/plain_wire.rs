//! What is left of a worker that has failed, where the wire is to go on: its queues, from port to port, and nothing that looks inside.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wireglass_core::counters::WorkerCounters;
use wireglass_core::flow::Context;
use wireglass_core::flow_table::FlowTable;
use wireglass_core::phase::FlowPhase;
use wireglass_core::port::{BURST, Frame, Io, PortId, PortSide};
use wireglass_core::reason::PacketDrop;

use super::{STEERED, Steering, Worker};
use crate::flow_dump::DumpResponder;
use crate::generation::GenerationInbox;
use crate::verdicts::VerdictInbox;

/// Frames go on as they are, those of connections that were decrypted too: nobody is there to tell them apart. Whoever asks the
/// worker still gets an answer, so that reloads and commands go on for the others.
pub(super) struct PlainWire<IO: Io> {
    io: IO,
    counters: Arc<WorkerCounters>,
    steering: Steering<IO::Frame>,
    inbox: GenerationInbox,
    responder: DumpResponder,
    verdicts: VerdictInbox,
    no_flows: FlowTable<()>,
    /// Reused in each turn.
    burst: Vec<IO::Frame>,
}

impl<IO: Io> Worker<IO> {
    /// Takes out what a plain wire needs, and frees all else; none where not even that can be done.
    pub(super) fn into_plain_wire(self) -> Option<PlainWire<IO>> {
        let mut wire = None;
        // What the panic has left may panic once more when it is freed; the rest of it is freed all the same.
        let freed = catch_unwind(AssertUnwindSafe(|| {
            let Self { cx, steering, inbox, responder, verdicts, .. } = self;
            let Context { io, counters, .. } = cx;
            let no_flows = FlowTable::new(1);
            let burst = Vec::with_capacity(BURST);
            wire = Some(PlainWire { io, counters, steering, inbox, responder, verdicts, no_flows, burst });
        }));
        if freed.is_err() {
            tracing::error!("the worker's flows could not be freed as a whole");
        }
        let wire = wire?;
        FlowPhase::ALL.iter().for_each(|phase| wire.counters.flows(*phase).set(0));
        wire.counters.failed.set(1);
        Some(wire)
    }
}

impl<IO: Io> PlainWire<IO> {
    /// One turn. Returns how many frames it moved.
    pub(super) fn turn(&mut self) -> usize {
        let mut moved = 0;
        for wire in 0..self.io.wires() {
            for side in PortSide::BOTH {
                moved += self.pass(PortId { wire, side });
            }
        }
        for _ in 0..STEERED {
            let Some((from, frame)) = self.steering.receive() else { break };
            self.burst.push(frame);
            self.send(from.opposite());
            moved += 1;
        }
        for mirror in 0..self.io.mirrors() {
            self.io.discard_received(mirror);
        }
        self.answer();
        if moved == 0 {
            self.counters.loop_idle.inc()
        } else {
            self.counters.loop_busy.inc()
        }
        moved
    }

    /// A burst from this port.
    fn pass(&mut self, port: PortId) -> usize {
        self.io.receive(port, &mut self.burst);
        let (frames, bytes) = volume(&self.burst);
        let counters = self.counters.port(port.wire.into(), port.side);
        counters.rx_packets.add(frames);
        counters.rx_bytes.add(bytes);
        self.send(port.opposite());
        frames as usize
    }

    fn send(&mut self, port: PortId) {
        let (frames, bytes) = volume(&self.burst);
        if frames == 0 {
            return;
        }
        self.io.transmit(port, &mut self.burst);
        let (left, left_bytes) = volume(&self.burst);
        let counters = self.counters.port(port.wire.into(), port.side);
        counters.tx_packets.add(frames - left);
        counters.tx_bytes.add(bytes - left_bytes);
        self.counters.plain_wire_frames.add(frames - left);
        for _ in self.burst.drain(..) {
            self.counters.drop_packet(PacketDrop::TxRingFull);
        }
    }

    /// There are no flows, and any settings will do.
    fn answer(&mut self) {
        if self.inbox.is_waiting() {
            self.inbox.take();
        }
        if self.responder.is_asked() {
            self.responder.turn(&self.no_flows, |(), _| None);
        }
        if self.responder.has_kills()
            && let Some(kill) = self.responder.next_kill()
        {
            kill.done(false);
        }
        if self.verdicts.is_waiting() {
            self.verdicts.take(|_, _, _| None);
        }
    }
}

/// Frames, and bytes of them.
fn volume<F: Frame>(frames: &[F]) -> (u64, u64) {
    (frames.len() as u64, frames.iter().map(|frame| frame.len() as u64).sum())
}
