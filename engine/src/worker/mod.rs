//! A worker: one core, run to completion. Receive, classify, look up, process, timers, send.
//!
//! It has no clock: whoever runs it says what time it is, so the same worker runs on a core and in a simulation.

mod calling;
mod capturing;
mod events;
mod fragments;
mod generations;
mod midstream;
mod passthrough;
mod path;
mod plain_wire;
mod quic;
mod refused;
mod shedding;
mod steering;
mod summary;
mod thread;
mod verdicts;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use tcp_stack::{Duration, Instant, Segment};

use self::calling::hand_on;
use self::events::EventLog;
use self::fragments::Fragments;
use self::generations::Generations;
use self::midstream::ServersAlone;
use self::passthrough::PassthroughState;
use self::refused::Refused;
pub use self::steering::Steering;
pub use self::thread::{Idle, OnFailure, WorkerThread};
use crate::flow_dump::DumpResponder;
use crate::generation::GenerationInbox;
use crate::handshake_pool;
use crate::log::LogSender;
use crate::secrets::Secrets;
use crate::verdicts::VerdictInbox;
use wireglass_core::capture::WorkerCapture;
use wireglass_core::counters::WorkerCounters;
use wireglass_core::end::PerEnd;
use wireglass_core::event::{Action, Event, FlowEvent, FlowHead, Timestamp, Volume};
use wireglass_core::fairness::Shares;
use wireglass_core::flow::{self, Afterwards, Budget, Context, Flow, Identity, JobRoom, Shared};
use wireglass_core::flow_table::{FlowId, FlowTable};
use wireglass_core::order::{Order, StandingOrder};
use wireglass_core::packet::{self, FlowKey, Headers, KeyHasher, Repeated, Uninspected, classify};
use wireglass_core::phase::FlowPhase;
use wireglass_core::policy::{Decision, FlowFacts, Verdict};
use wireglass_core::port::{BURST, Frame, Io, Orientation, PortId, PortSide};
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_core::timer_wheel::{Alarm, TimerWheel};

/// Frames taken from other workers in one turn: as many as from two ports.
const STEERED: usize = 2 * BURST;

/// Flows that are ended in one turn by an operator's word.
const KILLS: usize = 16;
/// The control bits of a SYN.
const SYN: u8 = 0x02;

/// Turns for which timers wait while ports have more frames than a turn takes: so many as it takes to empty the longest ring.
/// After a pause (a busy host, a hypervisor) the ACK that a timer waits for may lie there.
const BACKLOG_TURNS: u32 = 64;

/// What a worker is made of, but for its queues: those may be tied to its thread.
pub struct Parts<F> {
    /// What all flows share, until a reload brings something else.
    pub shared: Arc<Shared>,
    /// Where the worker gets that.
    pub inbox: GenerationInbox,
    /// Its rings to and from the other workers.
    pub steering: Steering<F>,
    /// Its ends of the pools.
    pub pool: handshake_pool::Clients,
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
    pub flow_bytes: usize,
    /// The native VLAN of each wire: untagged frames belong to it.
    pub native_vlans: Vec<Option<u16>>,
    /// High bits of the flow ids, so that restarts do not repeat them.
    pub epoch: u64,
    /// Where it is asked what its flows look like, and told which to end.
    pub responder: DumpResponder,
    /// What an operator has ordered over policy: the same for all workers.
    pub order: Arc<StandingOrder>,
    /// Where it is told what an IDS says of them.
    pub verdicts: VerdictInbox,
}

/// One worker.
pub struct Worker<IO: Io> {
    table: FlowTable<Entry<IO>>,
    /// By places of the table: an entry cannot be taken out, so whoever has the place next takes it over. One for each flow
    /// that ever was would pile up under a flood.
    wheel: TimerWheel<u32>,
    /// Of places without a flow.
    left_alarms: Vec<Alarm>,
    hasher: KeyHasher,
    /// In this turn, the last frame's flow.
    last_flow: Option<FlowId>,
    /// By port: the last flow of which two frames came in a row, in either direction, and how the next one from there is known.
    repeated: Vec<Option<(FlowId, Repeated)>>,
    steering: Steering<IO::Frame>,
    cx: Context<IO>,
    generations: Generations,
    inbox: GenerationInbox,
    pool: handshake_pool::Clients,
    events: EventLog,
    responder: DumpResponder,
    order: Arc<StandingOrder>,
    verdicts: VerdictInbox,
    fragments: Fragments<IO::Frame>,
    refused: Refused,
    servers_alone: ServersAlone,
    passthrough: PassthroughState<IO::Frame>,
    native_vlans: Vec<Option<u16>>,
    /// Established flows, by client.
    clients: Shares,
    /// Most of them for one client.
    per_client: u32,
    flow_ids: u64,
    /// Reused in each turn.
    burst: Vec<IO::Frame>,
    /// Flows that this turn's frames have left unsettled.
    unsettled: Vec<FlowId>,
    fired: Vec<(u64, u32)>,
    /// Turns in a row that left frames behind.
    backlog: u32,
    /// Segments of unknown connections that may still be answered in this turn.
    answers: u32,
}

struct Entry<IO: Io> {
    flow: Flow<IO>,
    alarm: Alarm,
    /// Hash of its client's network, by which flows are counted.
    client: u64,
    /// It counts as its client's: it has been established.
    counts: bool,
    /// How it lies on its wire.
    orientation: Orientation,
    /// When it last became the last used one of its class.
    touched: Instant,
    /// Bytes of memory that it counts with.
    held: usize,
    /// Number of the generation of settings that it goes by.
    generation: u32,
    /// What it says is captured.
    captured: bool,
}

impl<IO: Io> Worker<IO> {
    /// A worker without flows.
    pub fn new(parts: Parts<IO::Frame>, io: IO, now: Instant, wall: Timestamp) -> Self {
        let Parts {
            shared,
            inbox,
            steering,
            pool,
            log,
            counters,
            secrets,
            flows,
            held_frames,
            flow_bytes,
            native_vlans,
            epoch,
            responder,
            order,
            verdicts,
        } = parts;
        let refused = Refused::new(flows, shared.limits.idle_time);
        let io_wires = usize::from(io.wires());
        let per_client = shared.limits.fairness.per_client.of(flows);
        Self {
            table: FlowTable::new(flows),
            wheel: TimerWheel::new(now),
            left_alarms: Vec::new(),
            hasher: KeyHasher::new(secrets.flow_hash),
            last_flow: None,
            repeated: (0..2 * io_wires).map(|_| None).collect(),
            events: EventLog::new(log, Arc::clone(&counters)),
            generations: Generations::new(Arc::clone(&shared)),
            inbox,
            cx: Context::new(io, shared, counters, (now, wall), Budget::new(flow_bytes), held_frames),
            pool,
            fragments: Fragments::new(held_frames),
            refused,
            servers_alone: ServersAlone::default(),
            passthrough: PassthroughState::new(io_wires),
            native_vlans,
            clients: Shares::default(),
            per_client,
            responder,
            order,
            verdicts,
            // Ids of different workers never meet: each counts in steps of their number.
            flow_ids: epoch + steering.me() as u64,
            steering,
            burst: Vec::with_capacity(BURST),
            unsettled: Vec::new(),
            fired: Vec::new(),
            backlog: 0,
            answers: 0,
        }
    }

    /// Where its table of flows lies, which is used from the front.
    pub fn table_memory(&self) -> Range<*const u8> {
        self.table.memory()
    }

    /// One turn: all there is to do now, a burst from each port at most. Returns how many things it did.
    ///
    /// Times never go backwards.
    pub fn poll(&mut self, now: Instant, wall: Timestamp) -> usize {
        (self.cx.now, self.cx.wall, self.cx.order) = (now, wall, self.order.get());
        (self.answers, self.last_flow) = (midstream::ANSWERS, None);
        if self.inbox.is_waiting() {
            self.take_generation();
        }
        let mut done = 0;
        let mut has_backlog = false;
        for wire in 0..self.cx.io.wires() {
            for side in PortSide::BOTH {
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
        done += self.take_replies();
        self.backlog = if has_backlog && self.backlog < BACKLOG_TURNS { self.backlog + 1 } else { 0 };
        if self.backlog == 0 {
            self.expire_fragments();
            done += self.run_timers(now);
            done += self.shed_watched() + self.shed_idle() + self.shed_memory();
        }
        if self.verdicts.is_waiting() {
            done += self.take_verdicts();
        }
        if self.responder.is_asked() {
            done += self.dump();
        }
        if self.responder.has_kills() {
            done += self.kill();
        }
        self.events.end_second(Some(self.cx.now), self.cx.wall);
        self.cx.flush();
        self.cx.counters.handshake_queue.set(self.pool.handshakes.outstanding() as u64);
        self.cx.counters.content_queue.set(self.pool.content.outstanding() as u64);
        if done == 0 {
            self.cx.counters.loop_idle.inc()
        } else {
            self.cx.counters.loop_busy.inc()
        }
        done
    }

    /// A turn's share of what the pools have done.
    fn take_replies(&mut self) -> usize {
        let mut done = 0;
        for _ in 0..self.pool.handshakes.each_turn() {
            let Some((id, reply)) = self.pool.handshakes.next_reply() else { break };
            self.with_flow(id, |flow, cx| flow.handle_reply(cx, reply));
            done += 1;
        }
        for _ in 0..self.pool.content.each_turn() {
            let Some((id, reply)) = self.pool.content.next_reply() else { break };
            self.with_flow(id, |flow, cx| flow.handle_reply(cx, reply));
            done += 1;
        }
        done
    }

    /// A turn that did something took so long. Whoever has the clock says so.
    pub fn note_busy(&self, time: Duration) {
        self.cx.counters.busy_micros.add(time.total_micros());
    }

    /// When there is something to do even if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [
            self.wheel.next(),
            self.fragments.poll_timeout(),
            self.next_to_shed(),
            self.events.poll_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    /// Flows in the table.
    pub fn flows(&self) -> usize {
        self.table.len()
    }

    /// Entries in its timer wheel.
    pub fn timers(&self) -> usize {
        self.wheel.len()
    }

    /// Jobs at the pools.
    pub fn outstanding_jobs(&self) -> usize {
        self.pool.outstanding()
    }

    /// Resets all flows and reports them: the engine's stop. The worker is empty afterwards.
    pub fn shut_down(&mut self, now: Instant, wall: Timestamp) {
        (self.cx.now, self.cx.wall) = (now, wall);
        while let Some(id) = self.table.any() {
            self.end_flow(id, Reason::Shutdown);
        }
        while self.steering.receive().is_some() {}
        self.events.end_second(None, self.cx.wall);
        self.cx.flush();
    }

    fn receive(&mut self, port: PortId) -> usize {
        let mut burst = std::mem::take(&mut self.burst);
        self.cx.io.receive(port, &mut burst);
        let packets = burst.len();
        if packets > 0 {
            let counters = Arc::clone(&self.cx.counters);
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
        if let Some((id, repeated)) = &self.repeated[port.index()]
            && let Some(headers) = repeated.next(frame.data())
        {
            let id = *id;
            if self.table.get(id).is_some() {
                self.last_flow = Some(id);
                return self.gather(id, port, frame, &headers);
            }
            // It has ended. After 2^32 other flows in its place of the table its number would come again.
            self.repeated[port.index()] = None;
        }
        // By reference: what was read is large, and moving it costs as much as reading it.
        match &mut classify(frame.data()) {
            packet::Class::Uninspected(class) => self.pass_uninspected(port, frame, *class),
            packet::Class::Udp(datagram) => {
                datagram.vlan = self.with_native(port, datagram.vlan);
                self.handle_datagram(port, frame, datagram);
            }
            packet::Class::Icmp(at) => {
                at.vlan = self.with_native(port, at.vlan);
                self.handle_icmp(port, frame, at);
            }
            packet::Class::Bad(reason) => self.cx.counters.drop_packet(*reason),
            packet::Class::Fragment(fragment) => {
                fragment.vlan = self.with_native(port, fragment.vlan);
                self.handle_fragment(port, frame, fragment);
            }
            packet::Class::Tcp(headers) if !self.is_candidate(headers.source, headers.destination) => {
                self.pass_uninspected(port, frame, Uninspected::Tcp);
            }
            packet::Class::Tcp(headers) => {
                headers.vlan = self.with_native(port, headers.vlan);
                let key = FlowKey::new(port.wire, headers);
                let hash = self.hasher.flow(&key);
                if let Some(frame) = self.steer(port, frame, hash) {
                    self.handle_tcp(port, frame, headers, &key, hash);
                }
            }
        }
    }

    /// Gives back a frame of what this worker owns; any other goes to the worker that owns what has this hash.
    #[inline]
    fn steer(&self, port: PortId, frame: IO::Frame, hash: u64) -> Option<IO::Frame> {
        let owner = KeyHasher::owner(hash, self.steering.workers());
        if owner == self.steering.me() {
            return Some(frame);
        }
        if !self.steering.send(owner, port, frame) {
            self.cx.counters.drop_packet(PacketDrop::SteeringRingFull);
        }
        None
    }

    /// Untagged frames are in the wire's native VLAN, if it has one (802.1Q 6.9: the port's PVID).
    fn with_native(&self, port: PortId, vlan: [Option<u16>; 2]) -> [Option<u16>; 2] {
        match vlan {
            [None, _] => [self.native_vlans.get(usize::from(port.wire)).copied().flatten(), None],
            tagged => tagged,
        }
    }

    /// Either port may be the server's: a frame alone does not say who began.
    fn is_candidate(&self, source: SocketAddr, destination: SocketAddr) -> bool {
        self.generations.is_candidate(source.port(), destination.port())
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
            Some(id) => {
                if self.last_flow.replace(id) == Some(id) {
                    let repeated = Repeated::new(frame.data(), headers);
                    self.repeated[port.index()] = repeated.map(|repeated| (id, repeated));
                }
                self.gather(id, port, frame, headers);
            }
            // Of a port that only flows which are older than the last reload are looked at on.
            None if self.client_and_server(port, headers.source, headers.destination).is_none() => {
                self.pass_uninspected(port, frame, Uninspected::Tcp);
            }
            None if begins => self.begin(port, frame, headers, key, hash),
            None => self.midstream(port, frame, headers, key, hash),
        }
    }

    /// A SYN of a connection that is not known.
    fn begin(&mut self, port: PortId, frame: IO::Frame, headers: &Headers, key: &FlowKey, hash: u64) {
        if let Err(reason) = flow::verify(&frame, headers) {
            return self.cx.counters.drop_packet(reason);
        }
        let refused_before = self.refused.knows(self.cx.now, hash);
        if refused_before && port.side == PortSide::Outside {
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
        let client = self.client(identity.client.ip());
        let verdict = self.settled(port, &identity);
        if let Some(Verdict { decision: Decision::Block(_), .. }) = &verdict {
            self.log_refused_syn(&identity, frame.len(), Reason::PolicyBlock);
            return self.refuse(port, &frame, headers, PacketDrop::PolicyBlocked);
        }
        if !self.client_may_have_more(client) {
            self.log_refused_syn(&identity, frame.len(), Reason::ResourceClientFlows);
            return self.cx.counters.drop_packet(PacketDrop::ClientFlows);
        }
        let Ok(syn) = Segment::parse(headers.segment(frame.data())) else {
            return self.cx.counters.drop_packet(PacketDrop::BadTcpHeader);
        };
        self.generations.enter(&mut self.cx, self.generations.number());
        let flow = Flow::new(&self.cx, identity, &syn, verdict.as_ref());
        let mut entry = Entry::new(flow, client, port, self.generations.number());
        entry.captured = self.cx.capture.as_ref().is_some_and(WorkerCapture::is_on);
        match self.insert(hash, key, entry) {
            Some(id) => {
                self.capture_received(id, port, &frame);
                self.hand_over(id, port, frame, headers);
            }
            None => self.log_refused_syn(&identity, frame.len(), Reason::ResourceFlows),
        }
    }

    /// Gives a flow its place. None: there is none, and the frame that began it counts as dropped.
    fn insert(&mut self, hash: u64, key: &FlowKey, entry: Entry<IO>) -> Option<FlowId> {
        let (held, phase) = (entry.held, entry.flow.phase());
        let class = entry.flow.class(held);
        if !self.make_room() {
            self.cx.counters.drop_packet(PacketDrop::TableFull);
            return None;
        }
        let id = self.table.insert(hash, *key, class, entry).ok()?;
        if let Some(left) = self.left_alarms.get_mut(id.place() as usize)
            && let Some(entry) = self.table.get_mut(id)
        {
            entry.alarm = std::mem::take(left);
        }
        self.generations.begin();
        self.cx.account(0, held);
        self.cx.counters.flows(phase).inc();
        self.cx.counters.flows_opened.inc();
        Some(id)
    }

    /// What is settled at the SYN. Connections from the outside are only counted: there is no server key to show them.
    fn settled(&self, port: PortId, identity: &Identity) -> Option<Verdict> {
        if port.side == PortSide::Outside
            || self.cx.order == Some(Order::Bypass)
            || !self.generations.newest().policy.candidate(identity.server.port())
        {
            return Some(Verdict { rule: None, decision: Decision::Bypass });
        }
        let Shared { policy, wires, .. } = &**self.generations.newest();
        let verdict = policy.at_syn(&FlowFacts {
            wire: &wires[usize::from(port.wire)],
            vlan: identity.vlan[0],
            client: identity.client,
            server: identity.server,
        });
        // What is to be decrypted is counted when its ClientHello is judged.
        verdict.inspect(|verdict| {
            if !matches!(verdict.decision, Decision::Decrypt(_)) {
                policy.count(verdict);
            }
        })
    }

    /// The event of a SYN that is refused: the whole of its flow.
    fn log_refused_syn(&mut self, identity: &Identity, bytes: usize, reason: Reason) {
        let wall = self.cx.wall;
        let head = FlowHead {
            time: wall,
            flow_id: identity.flow_id,
            wire: Arc::clone(&self.cx.shared.wires[usize::from(identity.wire)]),
            vlan: identity.vlan,
            client: identity.client,
            server: identity.server,
            starttls: self.cx.shared.policy.starttls().protocol(identity.server.port()),
        };
        let event = FlowEvent {
            start: wall,
            end: wall,
            to_server: Volume { packets: 1, bytes: bytes as u64 },
            to_client: Volume::default(),
            flags: PerEnd { client: SYN, server: 0 },
            is_tls: false,
            action: Some(Action::Block),
            phase: FlowPhase::Opening,
            reason,
            midstream: false,
            ordered: None,
            unread: None,
            learned: None,
            mirrors: Box::default(),
        };
        self.events.tell(self.cx.now, Event::Flow(head, Box::new(event)));
    }

    /// Takes a flow out of the table and of all that is counted by flows.
    fn forget(&mut self, id: FlowId) -> Option<Entry<IO>> {
        let entry = self.table.remove(id)?;
        let place = id.place() as usize;
        if place >= self.left_alarms.len() {
            self.left_alarms.resize(place + 1, Alarm::new());
        }
        self.left_alarms[place] = entry.alarm;
        self.uncount(&entry);
        Some(entry)
    }

    /// Ends and removes a flow at once.
    fn end_flow(&mut self, id: FlowId, reason: Reason) {
        let hash = self.table.hash(id);
        let (Some(hash), Some(mut entry)) = (hash, self.forget(id)) else { return };
        entry.enter_capture(&mut self.cx.capture);
        entry.turn(&mut self.cx, &mut self.generations, &self.pool);
        let before = entry.flow.phase();
        let afterwards = match entry.flow.afterwards() {
            // Whatever it was: who kills wants it gone.
            Afterwards::Midstream if reason == Reason::OperatorKilled => Afterwards::Refuse,
            afterwards => afterwards,
        };
        self.refused.note(self.cx.now, hash, afterwards, &self.cx.counters);
        entry.flow.expire(&mut self.cx, reason);
        hand_on(&mut self.cx, &mut self.events, &mut self.pool, id);
        if entry.flow.is_ending_in_order() {
            self.refused.ends_in_order(self.cx.now + self.cx.shared.limits.linger_time, hash);
        }
        entry.leave_capture(&mut self.cx.capture, true);
        self.generations.end(&mut self.cx, entry.generation);
        self.cx.account(entry.held, 0);
        self.cx.counters.flows(before).dec();
    }

    fn run_timers(&mut self, now: Instant) -> usize {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(now, &mut fired);
        let mut run = 0;
        for (tick, place) in fired.drain(..) {
            let found = self.table.at(place);
            let Some((id, entry)) = found.and_then(|id| Some((id, self.table.get_mut(id)?))) else {
                if let Some(left) = self.left_alarms.get_mut(place as usize) {
                    left.fire(tick);
                }
                continue;
            };
            if !entry.alarm.fire(tick) {
                continue;
            }
            if entry.flow.poll_timeout(self.generations.of(entry.generation)) <= now {
                run += 1;
                self.with_flow(id, |flow, cx| flow.handle_timeout(cx));
            } else {
                self.arm(id);
            }
        }
        self.fired = fired;
        run
    }

    /// Ends a turn's share of the flows that an operator wants gone.
    fn kill(&mut self) -> usize {
        let mut done = 0;
        while done < KILLS
            && let Some(kill) = self.responder.next_kill()
        {
            done += 1;
            let lives = self.table.get(kill.id).is_some();
            if lives {
                self.end_flow(kill.id, Reason::OperatorKilled);
            }
            kill.done(lives);
        }
        done
    }

    /// A turn's share of what somebody wants to know of the flows.
    fn dump(&mut self) -> usize {
        let Context { now, wall, shared, .. } = &self.cx;
        self.responder
            .turn(&self.table, |entry, wanted| entry.flow.snapshot(wanted, *now, *wall, &shared.wires))
    }
}

impl<IO: Io> Entry<IO> {
    /// `client` is the hash of its client's network, `client_port` the port on which the client is.
    fn new(flow: Flow<IO>, client: u64, client_port: PortId, generation: u32) -> Self {
        let (orientation, held) = (Orientation::of_client_at(client_port), flow.memory());
        let (alarm, counts, captured, touched) = (Alarm::new(), false, false, flow.active());
        Self { flow, alarm, client, counts, orientation, touched, held, generation, captured }
    }

    /// What it does next is done for this flow.
    fn turn(&self, cx: &mut Context<IO>, generations: &mut Generations, pool: &handshake_pool::Clients) {
        generations.enter(cx, self.generation);
        (cx.orientation, cx.client) = (self.orientation, self.client);
        cx.job_room =
            JobRoom { handshakes: pool.handshakes.room(self.client), scans: pool.content.room(self.client) };
    }

    /// A SYN from this port begins a new flow. So does one from inside where a SYN from outside came first: both ends may
    /// open at once (RFC 9293 3.5), but a server must not be able to say that its client's connection is its own.
    fn gives_way(&self, port: PortSide) -> bool {
        match (self.orientation.client, port) {
            (PortSide::Outside, PortSide::Inside) => true,
            (client, port) => client == port && self.flow.gives_way(),
        }
    }
}

/// SYN without ACK or RST.
fn is_syn<F: Frame>(frame: &F, headers: &Headers) -> bool {
    headers.segment(frame.data()).get(13).is_some_and(|flags| flags & 0b1_0110 == 0b10)
}
