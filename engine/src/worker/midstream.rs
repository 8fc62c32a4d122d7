//! Segments of connections whose beginning was not seen: older than the engine, on another path before, or made up.

use std::sync::Arc;

use tcp_stack::{Duration, Instant, Segment};
use wireglass_core::aged_map::AgedMap;
use wireglass_core::end::End;
use wireglass_core::event::{Event, Fate, FlowHead};
use wireglass_core::flow::{Afterwards, Flow};
use wireglass_core::packet::{BareSegment, FlowKey, Headers, probe_for, reset_after, reset_for};
use wireglass_core::policy::{Decision, Verdict};
use wireglass_core::port::{Frame, Io, PortId, PortSide};
use wireglass_core::reason::PacketDrop;

use super::refused::Answer;
use super::{Entry, Identity, Worker};

/// Segments that are answered in one turn. A flood of them is dropped, and whoever means it repeats.
pub(super) const ANSWERS: u32 = 16;

/// Connections of which only the server's half was seen, and which were told. More are forgotten, the oldest first.
const TOLD: u32 = 4096;
/// How long an answer that is repeated belongs to the same connection: longer than servers repeat it.
const SAME: Duration = Duration::from_secs(120);

/// Hashes of these connections, and when each was told.
pub(super) struct ServersAlone(AgedMap<u64, Instant>);

impl Default for ServersAlone {
    fn default() -> Self {
        Self(AgedMap::new(TOLD))
    }
}

impl ServersAlone {
    /// This one has not been told a while ago.
    fn is_news(&mut self, now: Instant, hash: u64) -> bool {
        if let Some(told) = self.0.get_mut(hash, &hash) {
            let is_news = now >= *told + SAME;
            *told = if is_news { now } else { *told };
            return is_news;
        }
        if self.0.is_full() {
            self.0.pop_oldest();
        }
        // There is room now.
        let _ = self.0.insert(hash, hash, now);
        true
    }
}

impl<IO: Io> Worker<IO> {
    /// A segment of an intercepted port for which there is no flow, and that begins none.
    pub(super) fn midstream(
        &mut self,
        port: PortId,
        frame: IO::Frame,
        headers: &Headers,
        key: &FlowKey,
        hash: u64,
    ) {
        let now = self.cx.now;
        if let Some(answer) = self.refused.answer(now, hash) {
            // As long as somebody speaks, it is not over; and now the server has answered, if it is the server.
            let answered = port.side == PortSide::Outside;
            let afterwards = if answered { Afterwards::Refuse } else { Afterwards::RefuseUnanswered };
            self.refused.note(now, hash, afterwards, &self.cx.counters);
            if answer == Answer::QuietlyIfEmpty && only_acknowledges(&frame, headers) {
                return self.cx.counters.drop_packet(PacketDrop::FlowEnded);
            }
            return self.refuse(port, &frame, headers, PacketDrop::FlowEnded);
        }
        let flags = headers.flags(frame.data());
        let is_bare = headers.payload_len(frame.data()) == 0;
        if flags.rst && is_bare {
            // It carries nothing, and whoever receives it knows whether there is something to end.
            return self.forward_bare(port, frame);
        }
        let Some((client, server)) = self.client_and_server(port, headers.source, headers.destination) else {
            return self.cx.counters.drop_packet(PacketDrop::Midstream); // cannot be: it is a candidate
        };
        let client_side = if client == headers.source { port.side } else { port.side.other() };
        let client_port = PortId { side: client_side, ..port };
        let vlan = headers.vlan;
        let identity =
            Identity { flow_id: self.flow_ids, wire: port.wire, vlan, client, server, refused_before: false };
        if flags.syn && port.side != client_side && self.servers_alone.is_news(now, hash) {
            self.tell_server_alone(&identity);
        }
        let rule = match self.settled(client_port, &identity) {
            Some(Verdict { decision: Decision::Bypass, rule }) => rule,
            Some(Verdict { decision: Decision::Block(_), .. }) => {
                return self.reset_both(port, &frame, headers, PacketDrop::PolicyBlocked);
            }
            _ if self.forwards_midstream(server.port()) => None,
            _ => return self.reset_both(port, &frame, headers, PacketDrop::Midstream),
        };
        if (flags.fin || flags.syn) && is_bare {
            // The last that is heard of it, or the answer to a SYN that went another way: nothing to remember.
            return self.forward_bare(port, frame);
        }
        self.flow_ids += self.steering.workers() as u64;
        self.generations.enter(&mut self.cx, self.generations.number());
        let flow = Flow::from_the_middle(&self.cx, identity, rule);
        let entry = Entry::new(flow, self.client(client.ip()), client_port, self.generations.number());
        if let Some(id) = self.insert(hash, key, entry) {
            self.cx.counters.midstream_flows.inc();
            self.hand_over(id, port, frame, headers);
        }
    }

    /// The answer to a SYN that went another way.
    fn tell_server_alone(&mut self, identity: &Identity) {
        // Its own number: the next flow is another one.
        self.flow_ids += self.steering.workers() as u64;
        self.cx.counters.asymmetric_flows.inc();
        if !self.events.is_enabled() {
            return;
        }
        let head = FlowHead {
            time: self.cx.wall,
            flow_id: identity.flow_id,
            wire: Arc::clone(&self.generations.newest().wires[usize::from(identity.wire)]),
            vlan: identity.vlan,
            client: identity.client,
            server: identity.server,
            starttls: None,
        };
        self.events.tell(self.cx.now, Event::Asymmetric(head, End::Server));
    }

    fn forwards_midstream(&self, server_port: u16) -> bool {
        let since = self.generations.intercepted_since(server_port);
        self.generations.newest().outside_tls.midstream.forwards(self.cx.now, since)
    }

    fn forward_bare(&mut self, port: PortId, frame: IO::Frame) {
        self.cx.counters.midstream_bare.inc();
        self.cx.forward(port.opposite(), frame);
    }

    /// Drops a segment, and has both ends forget its connection.
    ///
    /// The sender is answered at the number that it expects. The receiver gets a RST at the number that the sender has come to; where
    /// that is not the one that it expects (the legs of an engine that has crashed had numbers of their own), a probe from below its
    /// window makes it say which one is, and that is answered likewise.
    fn reset_both(&mut self, port: PortId, frame: &IO::Frame, headers: &Headers, reason: PacketDrop) {
        self.cx.counters.drop_packet(reason);
        self.tell_frame(port, frame, Fate::Dropped(reason), (None, 1), None, None);
        let Some(left) = self.answers.checked_sub(1) else { return };
        self.answers = left;
        let bytes = frame.data();
        self.send_made(port, reset_for(bytes, headers));
        self.send_made(port.opposite(), Some(reset_after(bytes, headers)));
        self.send_made(port.opposite(), probe_for(bytes, headers));
    }

    fn send_made(&mut self, port: PortId, made: Option<BareSegment>) {
        let Some(made) = made else { return };
        match self.cx.filled(made.as_slice()) {
            Some(frame) => self.cx.forward(port, frame),
            None => self.cx.counters.drop_packet(PacketDrop::NoBuffer),
        }
    }

    /// Drops a segment and answers it with a RST.
    pub(super) fn refuse(&mut self, port: PortId, frame: &IO::Frame, headers: &Headers, reason: PacketDrop) {
        self.cx.counters.drop_packet(reason);
        self.send_made(port, reset_for(frame.data(), headers));
    }
}

/// An ACK, and nothing else.
fn only_acknowledges<F: Frame>(frame: &F, headers: &Headers) -> bool {
    let segment = headers.segment(frame.data());
    Segment::parse(segment).is_ok_and(|segment| segment.seq_len() == 0 && !segment.flags.rst)
}
