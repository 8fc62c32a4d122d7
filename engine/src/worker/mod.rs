//! A worker: one core, run to completion. Receive, classify, look up, process, timers, send.
//!
//! It has no clock: whoever runs it says what time it is, so the same worker runs on a core and in a simulation.

mod desk;
mod fragments;
mod path;
mod refused;
mod steering;
mod thread;

use std::net::SocketAddr;
use std::sync::Arc;

use tcp_stack::{Duration, Instant, Segment};

use self::desk::{Current, Desk, end_at};
use self::fragments::Fragments;
use self::refused::Refused;
pub use self::steering::Steering;
pub use self::thread::{Idle, WorkerThread};
use crate::driver::{BURST, Frame, Io, PortId};
use crate::flow::{self, Afterwards, Effects, Flow, Identity, Shared};
use crate::flow_table::{Class, FlowId, FlowTable};
use crate::handshake;
use crate::log::LogSender;
use crate::log::event::{Action, Event, FlowEvent, FlowHead, Timestamp, Volume};
use crate::metrics::WorkerCounters;
use crate::packet::{self, FlowKey, Headers, KeyHasher, classify, reset_for};
use crate::policy::{Decision, FlowFacts, Verdict};
use crate::reason::{PacketDrop, Reason};
use crate::secrets::Secrets;
use crate::side::Side;
use crate::survey::Station;
use crate::timer_wheel::{Alarm, TimerWheel};

/// Frames taken from other workers in one turn: as many as from two ports.
const STEERED: usize = 2 * BURST;

/// Turns for which timers wait while ports have more frames than a turn takes: so many as it takes to empty the longest ring.
/// After a pause (a busy host, a hypervisor) the ACK that a timer waits for may lie there.
const BACKLOG_TURNS: u32 = 64;

/// What a worker is made of, but for its queues: those may be tied to its thread.
pub struct Parts<F> {
    /// What all flows share.
    pub shared: Arc<Shared>,
    /// Its rings to and from the other workers.
    pub steering: Steering<F>,
    /// Its end of the handshake pool.
    pub pool: handshake::Client,
    /// Its way to the log.
    pub log: LogSender,
    /// Its counters.
    pub counters: Arc<WorkerCounters>,
    /// The same for all workers.
    pub secrets: Secrets,
    /// Most flows at a time.
    pub flows: u32,
    /// Most frames held while ClientHellos are incomplete.
    pub held_frames: usize,
    /// Most bytes held by the legs of all its flows.
    pub leg_bytes: usize,
    /// High bits of the flow ids, so that restarts do not repeat them.
    pub epoch: u64,
    /// Where it is asked what its flows look like.
    pub station: Station,
}

/// One worker.
pub struct Worker<IO: Io> {
    table: FlowTable<Entry<IO::Frame>>,
    wheel: TimerWheel<FlowId>,
    hasher: KeyHasher,
    /// The last frame's key and its hash: frames of one flow come one after the other.
    last: Option<(FlowKey, u64)>,
    steering: Steering<IO::Frame>,
    desk: Desk<IO>,
    station: Station,
    fragments: Fragments<IO::Frame>,
    refused: Refused,
    flow_ids: u64,
    /// Reused in each turn.
    burst: Vec<IO::Frame>,
    /// Flows that this turn's frames have left unsettled.
    unsettled: Vec<FlowId>,
    fired: Vec<(u64, FlowId)>,
    /// Turns in a row that left frames behind.
    backlog: u32,
}

struct Entry<F: Frame> {
    flow: Flow<F>,
    alarm: Alarm,
    /// Of its key.
    hash: u64,
    /// Where it lies; see [`Current`].
    wire: u8,
    client_port: Side,
}

impl<IO: Io> Worker<IO> {
    /// A worker without flows.
    pub fn new(parts: Parts<IO::Frame>, io: IO, now: Instant, wall: Timestamp) -> Self {
        let Parts {
            shared,
            steering,
            pool,
            log,
            counters,
            secrets,
            flows,
            held_frames,
            leg_bytes,
            epoch,
            station,
        } = parts;
        let refused = Refused::new(flows, shared.limits.idle_time);
        Self {
            table: FlowTable::new(flows),
            wheel: TimerWheel::new(now),
            hasher: KeyHasher::new(secrets.flow_hash),
            last: None,
            desk: Desk::new(io, shared, pool, log, counters, (now, wall), (held_frames, leg_bytes)),
            fragments: Fragments::new(held_frames),
            refused,
            station,
            // Ids of different workers never meet: each counts in steps of their number.
            flow_ids: epoch + steering.me() as u64,
            steering,
            burst: Vec::with_capacity(BURST),
            unsettled: Vec::new(),
            fired: Vec::new(),
            backlog: 0,
        }
    }

    /// One turn: all there is to do now, a burst from each port at most. Returns how many things it did.
    ///
    /// Times never go backwards.
    pub fn poll(&mut self, now: Instant, wall: Timestamp) -> usize {
        (self.desk.now, self.desk.wall) = (now, wall);
        let mut done = 0;
        let mut has_backlog = false;
        for wire in 0..self.desk.io.wires() {
            for side in [Side::Client, Side::Server] {
                let packets = self.receive(PortId { wire, side });
                has_backlog |= packets == BURST;
                done += packets;
            }
        }
        for _ in 0..STEERED {
            let Some((port, frame)) = self.steering.receive() else { break };
            self.handle_frame(port, frame);
            done += 1;
        }
        self.settle();
        for _ in 0..self.desk.pool.each_turn() {
            let Some((id, reply)) = self.desk.pool.next_reply() else { break };
            self.with_flow(id, |flow, desk| flow.handle_reply(desk, reply));
            done += 1;
        }
        self.backlog = if has_backlog && self.backlog < BACKLOG_TURNS { self.backlog + 1 } else { 0 };
        if self.backlog == 0 {
            self.expire_fragments();
            done += self.run_timers(now);
        }
        if self.station.is_asked() {
            done += self.survey();
        }
        self.desk.flush();
        self.desk.counters.handshake_queue.set(self.desk.pool.outstanding() as u64);
        if done == 0 {
            self.desk.counters.loop_idle.inc()
        } else {
            self.desk.counters.loop_busy.inc()
        }
        done
    }

    /// A turn that did something took so long. Whoever has the clock says so.
    pub fn note_busy(&self, time: Duration) {
        self.desk.counters.busy_micros.add(time.total_micros());
    }

    /// When there is something to do even if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.wheel.next(), self.fragments.poll_timeout()].into_iter().flatten().min()
    }

    /// Flows in the table.
    pub fn flows(&self) -> usize {
        self.table.len()
    }

    /// Jobs at the handshake pool.
    pub fn outstanding_handshakes(&self) -> usize {
        self.desk.pool.outstanding()
    }

    /// Resets all flows and reports them: the engine's stop. The worker is empty afterwards.
    pub fn shut_down(&mut self, now: Instant, wall: Timestamp) {
        (self.desk.now, self.desk.wall) = (now, wall);
        while let Some(id) = self.table.any() {
            self.end_flow(id, Reason::Shutdown);
        }
        while self.steering.receive().is_some() {}
        self.desk.flush();
    }

    fn receive(&mut self, port: PortId) -> usize {
        let mut burst = std::mem::take(&mut self.burst);
        self.desk.io.receive(port, &mut burst);
        let packets = burst.len();
        if packets > 0 {
            let counters = Arc::clone(&self.desk.counters);
            let counters = counters.port(port.wire.into(), port.side);
            counters.rx_packets.add(packets as u64);
            counters.rx_bytes.add(burst.iter().map(|f| f.len() as u64).sum());
        }
        burst.iter().for_each(Frame::prefetch);
        for frame in burst.drain(..) {
            self.handle_frame(port, frame);
        }
        self.burst = burst;
        packets
    }

    fn handle_frame(&mut self, port: PortId, frame: IO::Frame) {
        match classify(frame.data()) {
            packet::Class::Other => self.desk.forward(port.opposite(), frame),
            packet::Class::Icmp(at) => self.handle_icmp(port, frame, &at),
            packet::Class::Bad(reason) => self.desk.counters.drop_packet(reason),
            packet::Class::Fragment(fragment) => self.handle_fragment(port, frame, &fragment),
            packet::Class::Tcp(headers) if !self.is_candidate(headers.source, headers.destination) => {
                self.desk.forward(port.opposite(), frame);
            }
            packet::Class::Tcp(headers) => {
                let key = FlowKey::new(port.wire, &headers);
                let hash = self.hash(&key);
                let owner = KeyHasher::owner(hash, self.steering.workers());
                if owner == self.steering.me() {
                    self.handle_tcp(port, frame, &headers, &key, hash);
                } else if !self.steering.send(owner, port, frame) {
                    self.desk.counters.drop_packet(PacketDrop::SteeringRingFull);
                }
            }
        }
    }

    fn hash(&mut self, key: &FlowKey) -> u64 {
        if let Some((last, hash)) = &self.last
            && last == key
        {
            return *hash;
        }
        let hash = self.hasher.hash(key);
        self.last = Some((*key, hash));
        hash
    }

    /// Either port may be the server's: a frame alone does not say who began.
    fn is_candidate(&self, source: SocketAddr, destination: SocketAddr) -> bool {
        let policy = &self.desk.shared.policy;
        policy.candidate(destination.port()) || policy.candidate(source.port())
    }

    fn handle_tcp(&mut self, port: PortId, frame: IO::Frame, headers: &Headers, key: &FlowKey, hash: u64) {
        let begins = is_syn(&frame, headers);
        let mut found = self.table.find(hash, key);
        if let Some(id) = found
            && begins
            && self.table.get_mut(id).is_some_and(|e| e.gives_way(port.side))
        {
            self.end_flow(id, Reason::Closed);
            found = None;
        }
        match found {
            Some(id) if self.lets_by(id, port, &frame, headers) => self.desk.forward(port.opposite(), frame),
            Some(id) => self.hand_over(id, port, frame, headers),
            None if begins => self.begin(port, frame, headers, key, hash),
            None => self.midstream(port, frame, headers, hash),
        }
    }

    /// Does what all the frames of this turn have brought, flow by flow.
    fn settle(&mut self) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        for id in unsettled.drain(..) {
            self.with_flow(id, Flow::settle);
        }
        self.unsettled = unsettled;
    }

    /// A new frame with these bytes; none when the pool is empty or its frames are smaller.
    fn filled(&mut self, bytes: &[u8]) -> Option<IO::Frame> {
        let mut frame = self.desk.io.allocate()?;
        if !frame.set_len(bytes.len()) {
            return None;
        }
        frame.data_mut().copy_from_slice(bytes);
        Some(frame)
    }

    /// The frame is of a flow that goes by, as nearly all of its frames are. Its alarm stays as it is: it fires too early, and is
    /// set anew then.
    fn lets_by(&mut self, id: FlowId, port: PortId, frame: &IO::Frame, headers: &Headers) -> bool {
        let Some(entry) = self.table.get_mut(id) else { return false };
        let lets_by = entry.flow.lets_by(&self.desk, end_at(port, entry.client_port), frame, headers);
        if lets_by {
            self.table.touch(id, Class::Light);
        }
        lets_by
    }

    fn hand_over(&mut self, id: FlowId, port: PortId, frame: IO::Frame, headers: &Headers) {
        self.with_flow(id, |flow, desk| {
            let from = end_at(port, desk.current.client_port);
            flow.handle_frame(desk, from, frame, headers);
        });
    }

    /// A SYN of a connection that is not known.
    fn begin(&mut self, port: PortId, frame: IO::Frame, headers: &Headers, key: &FlowKey, hash: u64) {
        if let Err(reason) = flow::verify(&frame, headers) {
            return self.desk.counters.drop_packet(reason);
        }
        let refused_before = self.refused.knows(self.desk.now, hash);
        if refused_before && port.side == Side::Server {
            // It would pass, and with it all that the client still has to say: in the connection that was refused, or in
            // one that it opens with the SYN that we have forgotten (RFC 9293 3.5).
            return self.refuse(port, &frame, headers, PacketDrop::FlowEnded);
        }
        let identity = Identity {
            flow_id: self.flow_ids,
            wire: port.wire,
            vlan: headers.vlan,
            client: headers.source,
            server: headers.destination,
            refused_before,
        };
        self.flow_ids += self.steering.workers() as u64;
        self.desk.current = Current { id: None, wire: port.wire, client_port: port.side };
        let verdict = self.settled(port, &identity);
        if let Some(Verdict { decision: Decision::Block(_), .. }) = &verdict {
            self.log_refused(&identity, frame.len());
            return self.refuse(port, &frame, headers, PacketDrop::PolicyBlocked);
        }
        let Ok(syn) = Segment::parse(headers.segment(frame.data())) else {
            return self.desk.counters.drop_packet(PacketDrop::BadTcpHeader);
        };
        let flow = Flow::new(&self.desk, identity, &syn, verdict.as_ref());
        if self.table.is_full() && !self.evict() {
            return self.desk.counters.drop_packet(PacketDrop::TableFull);
        }
        let class = flow.class();
        self.desk.counters.flows(flow.phase()).inc();
        let entry = Entry { flow, alarm: Alarm::new(), hash, wire: port.wire, client_port: port.side };
        let held = entry.flow.memory();
        match self.table.insert(hash, *key, class, entry) {
            Ok(id) => {
                self.desk.account(0, held);
                self.desk.counters.flows_opened.inc();
                self.hand_over(id, port, frame, headers);
            }
            Err(_) => self.desk.counters.drop_packet(PacketDrop::TableFull),
        }
    }

    /// What is settled at the SYN. Connections from the outside are only counted: there is no server key to show them.
    fn settled(&self, port: PortId, identity: &Identity) -> Option<Verdict> {
        if port.side == Side::Server || !self.desk.shared.policy.candidate(identity.server.port()) {
            return Some(Verdict { rule: None, decision: Decision::Bypass });
        }
        self.desk.shared.policy.at_syn(&FlowFacts {
            wire: &self.desk.shared.wires[usize::from(port.wire)],
            vlan: identity.vlan[0],
            client: identity.client,
            server: identity.server,
        })
    }

    fn log_refused(&mut self, identity: &Identity, bytes: usize) {
        let wall = self.desk.wall;
        let head = FlowHead {
            time: wall,
            flow_id: identity.flow_id,
            wire: Arc::clone(&self.desk.shared.wires[usize::from(identity.wire)]),
            vlan: identity.vlan,
            client: identity.client,
            server: identity.server,
        };
        let event = FlowEvent {
            start: wall,
            end: wall,
            to_server: Volume { packets: 1, bytes: bytes as u64 },
            to_client: Volume::default(),
            action: Some(Action::Block),
            phase: crate::metrics::Phase::Opening.name(),
            reason: Reason::PolicyBlock,
            unread: None,
        };
        self.desk.event(Event::Flow(head, Box::new(event)));
    }

    /// A segment of a connection whose beginning was not seen.
    fn midstream(&mut self, port: PortId, frame: IO::Frame, headers: &Headers, hash: u64) {
        let now = self.desk.now;
        if self.refused.knows(now, hash) {
            // As long as somebody speaks, it is not over; and now the server has answered, if it is the server.
            let answered = port.side == Side::Server;
            let afterwards = if answered { Afterwards::Refuse } else { Afterwards::RefuseUnanswered };
            self.refused.note(now, hash, afterwards, &self.desk.counters);
            self.refuse(port, &frame, headers, PacketDrop::FlowEnded);
        } else if self.desk.shared.outside_tls.reset_midstream {
            self.refuse(port, &frame, headers, PacketDrop::Unwanted);
        } else {
            self.desk.forward(port.opposite(), frame);
        }
    }

    /// Drops a segment and answers it with a RST.
    fn refuse(&mut self, port: PortId, frame: &IO::Frame, headers: &Headers, reason: PacketDrop) {
        self.desk.counters.drop_packet(reason);
        let Some(reset) = reset_for(frame.data(), headers) else { return };
        match self.filled(reset.as_slice()) {
            Some(answer) => self.desk.forward(port, answer),
            None => self.desk.counters.drop_packet(PacketDrop::NoBuffer),
        }
    }

    fn evict(&mut self) -> bool {
        let Some(victim) = self.table.victim() else { return false };
        self.desk.counters.evictions.inc();
        self.end_flow(victim, Reason::ResourceFlows);
        true
    }

    /// Ends and removes a flow at once.
    fn end_flow(&mut self, id: FlowId, reason: Reason) {
        let Some(mut entry) = self.table.remove(id) else { return };
        self.desk.current = Current { id: Some(id), wire: entry.wire, client_port: entry.client_port };
        let (before, held) = (entry.flow.phase(), entry.flow.memory());
        self.refused.note(self.desk.now, entry.hash, entry.flow.afterwards(), &self.desk.counters);
        entry.flow.expire(&mut self.desk, reason);
        self.desk.account(held, 0);
        self.desk.counters.flows(before).dec();
    }

    fn run_timers(&mut self, now: Instant) -> usize {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(now, &mut fired);
        let mut run = 0;
        for (tick, id) in fired.drain(..) {
            let Some(entry) = self.table.get_mut(id) else { continue };
            if !entry.alarm.fire(tick) {
                continue;
            }
            if entry.flow.poll_timeout(&self.desk.shared) <= now {
                run += 1;
                self.with_flow(id, |flow, desk| flow.handle_timeout(desk));
            } else {
                self.arm(id);
            }
        }
        self.fired = fired;
        run
    }

    /// A turn's share of what somebody wants to know of the flows.
    fn survey(&mut self) -> usize {
        let Desk { now, wall, shared, .. } = &self.desk;
        self.station
            .turn(&self.table, |entry, wanted| entry.flow.snapshot(wanted, *now, *wall, &shared.wires))
    }

    /// Does something with a flow, and afterwards what every change of a flow asks for.
    fn with_flow(&mut self, id: FlowId, change: impl FnOnce(&mut Flow<IO::Frame>, &mut Desk<IO>)) {
        let Some(entry) = self.table.get_mut(id) else { return };
        self.desk.current = Current { id: Some(id), wire: entry.wire, client_port: entry.client_port };
        let (before, was_unsettled) = (entry.flow.phase(), entry.flow.is_unsettled());
        let held = entry.flow.memory();
        change(&mut entry.flow, &mut self.desk);
        let over = entry.flow.is_over();
        self.desk.account(held, if over { 0 } else { entry.flow.memory() });
        if entry.flow.is_unsettled() {
            if !was_unsettled {
                self.unsettled.push(id);
            }
            return;
        }
        let (after, class) = (entry.flow.phase(), entry.flow.class());
        if over {
            self.refused.note(self.desk.now, entry.hash, entry.flow.afterwards(), &self.desk.counters);
            self.desk.counters.flows(before).dec();
            self.table.remove(id);
            return;
        }
        if before != after {
            self.desk.counters.flow_moved(before, after);
        }
        self.table.touch(id, class);
        self.arm(id);
    }

    /// Sees to it that the wheel fires at the flow's deadline or before.
    fn arm(&mut self, id: FlowId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let deadline = entry.flow.poll_timeout(&self.desk.shared);
        entry.alarm.set(&mut self.wheel, deadline, id);
    }
}

impl<F: Frame> Entry<F> {
    /// A SYN from this port begins a new flow. So does one from inside where a SYN from outside came first: both ends may
    /// open at once (RFC 9293 3.5), but a server must not be able to say that its client's connection is its own.
    fn gives_way(&self, port: Side) -> bool {
        match (self.client_port, port) {
            (Side::Server, Side::Client) => true,
            (client, port) => client == port && self.flow.gives_way(),
        }
    }
}

/// SYN without ACK or RST.
fn is_syn<F: Frame>(frame: &F, headers: &Headers) -> bool {
    headers.segment(frame.data()).get(13).is_some_and(|flags| flags & 0b1_0110 == 0b10)
}
