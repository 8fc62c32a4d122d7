//! Calling a flow, and what every call asks for afterwards: its events and jobs handed on, its memory, phase and share counted, its
//! place in the table and its alarm set.

use tcp_stack::Duration;
use wireglass_core::flow::{Context, Flow, Gathered};
use wireglass_core::flow_table::FlowId;
use wireglass_core::packet::Headers;
use wireglass_core::port::{Io, PortId};
use wireglass_core::reason::Reason;

use super::Worker;
use super::events::EventLog;
use crate::handshake_pool;

/// For so long after a flow that goes by has become the last used one of its class, its frames do not make it so again: they would
/// write into its neighbours of the list, whose lines are not in the cache. Nobody has to know it more exactly.
const TOUCH: Duration = Duration::from_millis(100);

impl<IO: Io> Worker<IO> {
    /// Does what all the frames of this turn have brought, flow by flow.
    pub(super) fn settle(&mut self) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        for id in unsettled.drain(..) {
            self.with_flow(id, Flow::settle);
        }
        self.unsettled = unsettled;
    }

    /// A frame of a known flow. Most do nothing but go by or bring payload, and are handled here; what follows from the latter is
    /// done once for all of a turn. The alarm stays as it is: it fires too early, and is set anew then.
    pub(super) fn gather(&mut self, id: FlowId, port: PortId, frame: IO::Frame, headers: &Headers) {
        let Some(entry) = self.table.get_mut(id) else { return };
        self.generations.enter(&mut self.cx, entry.generation);
        let from = entry.orientation.end_behind(port.side);
        let was_unsettled = entry.flow.is_unsettled();
        if entry.captured
            && let Some(capture) = &self.cx.capture
        {
            capture.frame(entry.flow.flow_id(), self.cx.wall, port, &frame);
        }
        match entry.flow.gather(&self.cx, from, frame, headers) {
            Gathered::GoesBy(frame) => {
                let class = entry.flow.class(0);
                if entry.touched + TOUCH <= self.cx.now {
                    entry.touched = self.cx.now;
                    self.table.touch(id, class);
                } else {
                    self.table.reclass(id, class);
                }
                self.cx.show_frame(&frame);
                self.cx.forward(port.opposite(), frame);
            }
            Gathered::Taken(bytes) => {
                // Until it is known what the flow holds.
                entry.held += bytes;
                self.cx.budget.changed(0, bytes);
                if !was_unsettled {
                    self.unsettled.push(id);
                }
            }
            Gathered::Urgent => self.with_flow(id, Flow::settle),
            Gathered::Dropped => {}
            Gathered::Not(frame) => self.hand_over(id, port, frame, headers),
        }
    }

    pub(super) fn hand_over(&mut self, id: FlowId, port: PortId, frame: IO::Frame, headers: &Headers) {
        self.with_flow(id, |flow, cx| {
            let from = cx.orientation.end_behind(port.side);
            flow.handle_frame(cx, from, frame, headers);
        });
    }

    /// Does something with a flow, and afterwards what every change of a flow asks for.
    pub(super) fn with_flow(&mut self, id: FlowId, change: impl FnOnce(&mut Flow<IO>, &mut Context<IO>)) {
        let Some(entry) = self.table.get_mut(id) else { return };
        entry.turn(&mut self.cx, &mut self.generations, &self.pool);
        let before = entry.flow.phase();
        entry.enter_capture(&mut self.cx.capture);
        change(&mut entry.flow, &mut self.cx);
        let is_over = entry.flow.is_over();
        entry.leave_capture(&mut self.cx.capture, is_over);
        hand_on(&mut self.cx, &mut self.events, &mut self.pool, id);
        let over = entry.flow.is_over();
        let holds = if over { 0 } else { entry.flow.memory() };
        self.cx.account(std::mem::replace(&mut entry.held, holds), holds);
        let (after, class) = (entry.flow.phase(), entry.flow.class(holds));
        if over {
            let (afterwards, generation) = (entry.flow.afterwards(), entry.generation);
            self.cx.counters.flows(before).dec();
            if let Some(hash) = self.table.hash(id) {
                self.refused.note(self.cx.now, hash, afterwards, &self.cx.counters);
            }
            self.forget(id);
            self.generations.end(&mut self.cx, generation);
            return;
        }
        let spoke = entry.flow.active() == self.cx.now;
        // What is over takes no part of its client's share, however long it lingers.
        let is_over = entry.flow.gives_way();
        if is_over && std::mem::take(&mut entry.counts) {
            self.clients.remove(entry.client, 1);
        }
        let newly_established = !entry.counts && !is_over && entry.flow.is_established();
        if before != after {
            self.cx.counters.flow_moved(before, after);
        }
        // Timers and replies are no life of a flow.
        if spoke {
            entry.touched = self.cx.now;
            self.table.touch(id, class);
        } else {
            self.table.reclass(id, class);
        }
        if newly_established && !self.count(id) {
            return self.end_flow(id, Reason::ResourceClientFlows);
        }
        self.arm(id);
    }

    /// Sees to it that the wheel fires at the flow's deadline or before.
    pub(super) fn arm(&mut self, id: FlowId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let deadline = entry.flow.poll_timeout(self.generations.of(entry.generation));
        entry.alarm.set(&mut self.wheel, deadline, id.place());
    }
}

/// What a flow has left behind goes to the log and to the pool.
pub(super) fn hand_on<IO: Io>(
    cx: &mut Context<IO>,
    events: &mut EventLog,
    pool: &mut handshake_pool::Clients,
    id: FlowId,
) {
    for event in cx.events.drain(..) {
        events.tell(cx.now, event);
    }
    for job in cx.jobs.drain(..) {
        // Should its threads be gone all the same, the flow waits for its answer until its time is up, and nothing passes meanwhile.
        let submitted = pool.submit(id, cx.client, job);
        debug_assert!(submitted.is_ok(), "flows leave no more jobs than the pool has room for");
        cx.counters.handshake_queue.set(pool.handshakes.outstanding() as u64);
    }
}

#[cfg(test)]
mod tests {
    use wireglass_core::memory_port::MemoryIo;

    use crate::worker::Entry;

    /// What the table keeps of each flow, besides 72 bytes of key, hash and links; a bound, so that growth is a decision.
    #[test]
    fn entries_stay_small() {
        assert!(size_of::<Entry<MemoryIo>>() <= 240);
    }
}
