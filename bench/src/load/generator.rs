//! The loop that plays all clients and all servers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dpdk::Mbuf;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Address};
use wireglass_core::timer_wheel::{Alarm, TimerWheel};

use super::connection_pool::{ConnectionPool, Tally, Work};
use super::plan::{Clock, Pace, Plan};
use super::port::{ETHERNET, LoadPort};
use super::session::{News, Session};
use super::transport::Failure;
use crate::rig::TimedWorker;

/// Where all servers are.
const SERVER: Ipv4Address = Ipv4Address::new(10, 2, 0, 1);
const SERVER_PORT: u16 = 443;
/// Clients' ports: 1024 and so many after it, then the next address.
const PORTS: u32 = 60_000;
/// Different clients there can be, by address and port.
const KEYS: usize = 1 << 20;
const NOBODY: u32 = u32::MAX;
/// Bursts from each port in a turn.
const BURSTS: usize = 2;
/// Connections that begin to end in a turn.
const ENDING: usize = 4;
/// Bytes of the buffer for what is never much: requests.
const SMALL: usize = 8 * 1024;
/// The wheel's entries for one turn at most need no more.
const ACK_DELAY: smoltcp::time::Duration = smoltcp::time::Duration::from_millis(10);

const CLIENT: usize = 0;
const SERVER_END: usize = 1;

/// All clients and servers.
pub(crate) struct Generator {
    sides: [Side; 2],
    connections: Vec<Option<Box<Connection>>>,
    unused: Vec<u32>,
    /// Connection of each client.
    clients: Vec<u32>,
    next_client: u32,
    /// Ends with something to do: those that go first, and those that yield.
    ready: [VecDeque<(u32, usize)>; 2],
    wheel: TimerWheel<(u32, usize)>,
    fired: Vec<(u64, (u32, usize))>,
    arrived: VecDeque<Mbuf>,
    pools: Vec<ConnectionPool>,
    /// Those that are still to be ended.
    ending: VecDeque<u32>,
    clock: Clockwork,
    /// When this turn and the one before it began.
    began: u64,
    before: u64,
    worked: bool,
    /// Nanoseconds of the turns that found something to do.
    busy: u64,
    /// Most nanoseconds that a frame may have waited for a turn, and its connection in `ready`.
    late: u64,
}

/// What time it is.
enum Clockwork {
    /// Real time; the engine has a core of its own.
    Real(std::time::Instant),
    /// The engine has its turns on this thread, and time passes with them.
    Turns(TimedWorker),
}

struct Side {
    interface: Interface,
    port: LoadPort,
}

struct Connection {
    client: u32,
    pool: usize,
    ends: [End; 2],
    since: u64,
    is_opening: bool,
}

struct End {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    session: Session,
    alarm: Alarm,
    is_ready: bool,
    /// Since when, at the earliest.
    waits_since: u64,
}

impl End {
    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

impl Generator {
    /// A generator without pools. `engine`: the worker that takes turns with it, if there is no other thread for it.
    pub(crate) fn new(ports: [LoadPort; 2], engine: Option<TimedWorker>) -> Self {
        let clock = engine.map_or_else(|| Clockwork::Real(std::time::Instant::now()), Clockwork::Turns);
        Self {
            sides: ports.map(Side::new),
            connections: Vec::new(),
            unused: Vec::new(),
            clients: vec![NOBODY; KEYS],
            next_client: 0,
            ready: Default::default(),
            wheel: TimerWheel::new(Instant::ZERO),
            fired: Vec::new(),
            arrived: VecDeque::new(),
            pools: Vec::new(),
            ending: VecDeque::new(),
            clock,
            began: 0,
            before: 0,
            worked: false,
            busy: 0,
            late: 0,
        }
    }

    /// Lets another pool in; returns its number.
    pub(crate) fn add(&mut self, work: Work) -> usize {
        self.pools.push(ConnectionPool::new(work));
        self.pools.len() - 1
    }

    /// What has happened so far in a pool.
    pub(crate) fn tally(&self, pool: usize) -> &Tally {
        &self.pools[pool].tally
    }

    /// Seconds of the turns that found something to do.
    pub(crate) fn busy(&self) -> f64 {
        self.busy as f64 / 1e9
    }

    /// The longest that anybody was left without an answer: this core had other work, or was another thread's.
    pub(crate) fn late(&self) -> Duration {
        Duration::from_nanos(self.late)
    }

    /// What went wrong in all pools, and for want of buffers.
    pub(crate) fn failures(&self) -> BTreeMap<Failure, u64> {
        let mut all = BTreeMap::new();
        for (what, count) in self.pools.iter().flat_map(|pool| &pool.tally.failures) {
            *all.entry(*what).or_default() += count;
        }
        let starved = self.sides.iter().map(|side| side.port.starved).sum::<u64>();
        if starved > 0 {
            all.insert("no buffer for a frame", starved);
        }
        all
    }

    /// Connections of a pool that were begun.
    pub(crate) fn begun(&self, pool: usize) -> usize {
        self.pools[pool].begun
    }

    /// A pool whose connections ask as soon as they can asks by the clock from now on, so many times in a second.
    pub(crate) fn pace(&mut self, pool: usize, per_second: f64) {
        // Those that are at an exchange come when they have their answer.
        self.pools[pool].plan = Plan::Paced(Pace::new(self.clock(per_second)));
    }

    /// A clock that begins now.
    pub(crate) fn clock(&self, per_second: f64) -> Clock {
        Clock::new(per_second, self.now())
    }

    /// Nobody of a pool asks any more.
    pub(crate) fn pause(&mut self, pool: usize) {
        match &mut self.pools[pool].plan {
            Plan::Paced(pace) => pace.stop(),
            plan => *plan = Plan::Silent,
        }
    }

    /// Forgets the latencies of a pool so far.
    pub(crate) fn reset_latency(&mut self, pool: usize) {
        let tally = &mut self.pools[pool].tally;
        tally.first_byte.reset();
        tally.last_byte.reset();
    }

    /// Connections of a pool, in whatever state.
    pub(crate) fn open(&self, pool: usize) -> usize {
        self.pools[pool].open
    }

    /// Connections of all pools, in whatever state.
    pub(crate) fn open_in_all(&self) -> usize {
        self.pools.iter().map(|pool| pool.open).sum()
    }

    /// Ends all connections of a pool, some at a time.
    pub(crate) fn wind_down(&mut self, pool: usize) {
        self.pause(pool);
        self.pools[pool].target = 0;
        let of_crowd = |slot: &Option<Box<Connection>>| slot.as_ref().is_some_and(|c| c.pool == pool);
        let all = self.connections.iter().enumerate();
        self.ending.extend(all.filter(|(_, slot)| of_crowd(slot)).map(|(id, _)| id as u32));
    }

    /// Runs so long, or until `done`, if that is earlier. True: `done`.
    pub(crate) fn run(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        if self.open_in_all() == 0 {
            // Nobody was waiting.
            self.began = self.now();
        }
        let until = std::time::Instant::now() + time;
        loop {
            if done(self) {
                return true;
            }
            self.turn();
            if let Clockwork::Turns(engine) = &self.clock {
                engine.run();
            }
            if std::time::Instant::now() >= until {
                return false;
            }
        }
    }

    /// Frames that the rings to the engine have taken.
    pub(crate) fn sent(&self) -> u64 {
        self.sides.iter().map(|side| side.port.sent).sum()
    }

    /// Forgets all connections, and what has arrived.
    pub(crate) fn clear(&mut self) {
        self.connections.clear();
        self.pools.iter_mut().for_each(|pool| pool.open = 0);
        for side in &mut self.sides {
            while side.port.receive(&mut self.arrived) {
                self.arrived.clear();
            }
        }
    }

    fn now(&self) -> u64 {
        match &self.clock {
            Clockwork::Real(start) => start.elapsed().as_nanos() as u64,
            Clockwork::Turns(engine) => engine.now(),
        }
    }

    fn turn(&mut self) {
        let began = self.now();
        if std::mem::take(&mut self.worked) {
            self.busy += began - self.began;
        }
        (self.before, self.began) = (self.began, began);
        self.late = self.late.max(began - self.before);
        let now = Instant::from_micros((began / 1000) as i64);
        TIMESTAMP.set(now.total_millis() as u32);
        let mut worked = self.receive(now);
        self.wheel.advance(now, &mut self.fired);
        let mut fired = std::mem::take(&mut self.fired);
        for (tick, (id, end)) in fired.drain(..) {
            if let Some(connection) = &mut self.connections[id as usize]
                && connection.ends[end].alarm.fire(tick)
            {
                self.mark(id, end);
            }
        }
        self.fired = fired;
        for pool in 0..self.pools.len() {
            while self.pools[pool].wants_another(began) {
                self.connect(pool);
            }
        }
        self.end_some();
        self.ask_on_time(began);
        for (queue, most) in [(0, usize::MAX), (1, 1)] {
            for _ in 0..self.ready[queue].len().min(most) {
                let Some((id, end)) = self.ready[queue].pop_front() else { break };
                worked = true;
                self.serve(now, id, end);
            }
        }
        self.sides.iter_mut().for_each(|side| side.port.flush());
        self.worked = worked;
    }

    fn receive(&mut self, now: Instant) -> bool {
        let mut worked = false;
        for end in [CLIENT, SERVER_END] {
            for _ in 0..BURSTS {
                if !self.sides[end].port.receive(&mut self.arrived) {
                    break;
                }
                worked = true;
                while let Some(frame) = self.arrived.pop_front() {
                    self.take(now, end, frame);
                }
            }
        }
        worked
    }

    fn take(&mut self, now: Instant, end: usize, frame: Mbuf) {
        let Some(client) = client_of(frame.data(), end) else { return };
        let id = self.clients[client as usize];
        // Frames of a connection that is over: the last ACKs.
        let Some(Some(connection)) = self.connections.get_mut(id as usize) else { return };
        let side = &mut self.sides[end];
        side.port.arrived = Some(frame);
        side.interface.poll_ingress_single(now, &mut side.port, &mut connection.ends[end].sockets);
        self.mark(id, end);
    }

    fn mark(&mut self, id: u32, end: usize) {
        if let Some(connection) = &mut self.connections[id as usize]
            && !std::mem::replace(&mut connection.ends[end].is_ready, true)
        {
            connection.ends[end].waits_since = self.before;
            let queue = usize::from(self.pools[connection.pool].yields);
            self.ready[queue].push_back((id, end));
        }
    }

    fn end_some(&mut self) {
        // Those that are ending now take a while; a few in each turn keep the rings from being full.
        for _ in 0..ENDING.min(self.ending.len()) {
            let Some(id) = self.ending.pop_front() else { return };
            if let Some(connection) = &mut self.connections[id as usize] {
                connection.ends[CLIENT].session.close();
                self.mark(id, CLIENT);
            }
        }
    }

    fn ask_on_time(&mut self, now: u64) {
        for pool in 0..self.pools.len() {
            while let Plan::Paced(pace) = &mut self.pools[pool].plan
                && let Some((id, since)) = pace.next(now)
            {
                self.ask(id, since);
            }
        }
    }

    fn ask(&mut self, id: u32, since: u64) {
        if let Some(connection) = &mut self.connections[id as usize] {
            connection.since = since;
            connection.ends[CLIENT].session.ask(&self.pools[connection.pool].exchange);
            self.mark(id, CLIENT);
        }
    }

    fn connect(&mut self, pool: usize) {
        let client = loop {
            let client = self.next_client;
            self.next_client = (client + 1) % KEYS as u32;
            if self.clients[client as usize] == NOBODY {
                break client;
            }
        };
        let (address, port) = address_of(client);
        let ConnectionPool { buffer, protocol, begun, .. } = &mut self.pools[pool];
        let small = SMALL.min(*buffer);
        let [mut ours, mut theirs] = [(small, *buffer), (*buffer, small)].map(|(send, receive)| {
            let buffer = |size| SocketBuffer::new(vec![0; size]);
            socket(buffer(receive), buffer(send))
        });
        theirs.listen(SERVER_PORT).expect("a new socket, and no port 0");
        let context = self.sides[CLIENT].interface.context();
        ours.connect(context, IpEndpoint::new(SERVER.into(), SERVER_PORT), (IpAddress::Ipv4(address), port))
            .expect("a new socket, and no port 0");
        let sessions = [Session::client(protocol, *begun), Session::server(protocol)];
        *begun += 1;
        let mut sockets = [ours, theirs].into_iter();
        let ends = sessions.map(|session| {
            let mut set = SocketSet::new(Vec::with_capacity(1));
            let handle = set.add(sockets.next().expect("two of each"));
            End { sockets: set, handle, session, alarm: Alarm::new(), is_ready: false, waits_since: 0 }
        });
        let id = self.unused.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() as u32 - 1
        });
        let since = self.now();
        self.connections[id as usize] =
            Some(Box::new(Connection { client, pool, ends, since, is_opening: true }));
        self.clients[client as usize] = id;
        self.pools[pool].open += 1;
        self.pools[pool].opening += 1;
        self.mark(id, CLIENT);
    }

    fn serve(&mut self, now: Instant, id: u32, at: usize) {
        let Some(connection) = &mut self.connections[id as usize] else { return };
        let (end, side) = (&mut connection.ends[at], &mut self.sides[at]);
        end.is_ready = false;
        self.late = self.late.max(self.began - end.waits_since);
        if !side.port.has_room() {
            return self.mark(id, at);
        }
        let news = end.session.poll(end.sockets.get_mut(end.handle), &self.pools[connection.pool].exchange);
        if end.session.is_closing() {
            // The last ACK must not wait: nobody would send it once the connection is removed.
            end.sockets.get_mut::<Socket<'_>>(end.handle).set_ack_delay(None);
        }
        side.port.twice = news.twice;
        let mut sent = PollResult::SocketStateChanged;
        while sent == PollResult::SocketStateChanged && side.port.has_room() {
            sent = side.interface.poll_egress(now, &mut side.port, &mut end.sockets);
        }
        side.port.twice = false;
        if let Some(at_time) = side.interface.poll_at(now, &end.sockets) {
            end.alarm.set(&mut self.wheel, at_time, (id, at));
        }
        if news.twice || sent == PollResult::SocketStateChanged {
            self.mark(id, at);
        }
        self.react(id, &news);
        self.remove_if_over(id);
    }

    fn react(&mut self, id: u32, news: &News) {
        let is_timed = news.first_byte || news.done || news.ready;
        let now = if is_timed { self.now() } else { 0 };
        let Some(connection) = &mut self.connections[id as usize] else { return };
        let pool = &mut self.pools[connection.pool];
        let tally = &mut pool.tally;
        tally.payload += news.received as u64;
        if let Some(failure) = news.failed {
            *tally.failures.entry(failure).or_default() += 1;
            for end in &mut connection.ends {
                end.session.close();
                end.socket().abort();
            }
            self.mark(id, CLIENT);
            return self.mark(id, SERVER_END);
        }
        if news.first_byte {
            tally.first_byte.saturating_record(now - connection.since);
        }
        if news.done {
            tally.last_byte.saturating_record(now - connection.since);
            tally.exchanges += 1;
            tally.bytes += pool.exchange.object as u64;
        }
        if news.ready {
            connection.is_opening = false;
            pool.opening -= 1;
            tally.opened += 1;
            for (end, resumed) in connection.ends.iter().zip(&mut tally.resumed) {
                *resumed += u64::from(end.session.is_resumed());
            }
        }
        if !news.ready && !news.done {
            return;
        }
        match &mut pool.plan {
            Plan::Kept => self.ask(id, now),
            Plan::Paced(pace) => pace.release(id),
            // The handshake counts with the answer, as it does for whoever waits for a page.
            Plan::Fresh | Plan::Idle if news.ready => {
                let since = connection.since;
                self.ask(id, since);
            }
            Plan::Fresh => {
                connection.ends[CLIENT].session.close();
                self.mark(id, CLIENT);
            }
            Plan::Idle | Plan::Silent => {}
        }
    }

    /// Both ends are through with it; who waits for repetitions waits in vain on rings.
    fn remove_if_over(&mut self, id: u32) {
        let Some(connection) = &mut self.connections[id as usize] else { return };
        let over = connection.ends.iter_mut().all(|end| {
            let state = end.socket().state();
            // Who still has to be served may owe the ACK of a FIN, which nobody would send once the connection is removed.
            !end.is_ready
                && end.session.is_closing()
                && (matches!(state, State::Closed | State::TimeWait) || state == State::Listen)
        });
        if !over {
            return;
        }
        let pool = &mut self.pools[connection.pool];
        pool.opening -= usize::from(connection.is_opening);
        pool.open -= 1;
        self.clients[connection.client as usize] = NOBODY;
        self.connections[id as usize] = None;
        self.unused.push(id);
    }
}

impl Side {
    fn new(mut port: LoadPort) -> Self {
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut port, Instant::ZERO);
        // All addresses are here, on both sides; the device decides what goes where.
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(SERVER.into(), 8)).expect("smoltcp holds one at least");
        });
        interface.set_any_ip(true);
        interface.routes_mut().add_default_ipv4_route(SERVER).expect("smoltcp holds one at least");
        Self { interface, port }
    }
}

thread_local! {
    /// smoltcp asks for timestamps through a bare function pointer.
    static TIMESTAMP: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

fn socket(receive: SocketBuffer<'static>, send: SocketBuffer<'static>) -> Socket<'static> {
    let mut socket = Socket::new(receive, send);
    // The rings lose nothing: the engine's window alone is to hold the generator back.
    socket.set_congestion_control(CongestionControl::None);
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(Some(ACK_DELAY));
    socket.set_tsval_generator(Some(|| TIMESTAMP.get()));
    socket
}

fn address_of(client: u32) -> (Ipv4Address, u16) {
    let host = 1 + client / PORTS;
    (Ipv4Address::from(0x0a01_0000 + host), (1024 + client % PORTS) as u16)
}

/// Which client a frame belongs to that has arrived at this end.
fn client_of(frame: &[u8], end: usize) -> Option<u32> {
    const IPV4: usize = 20;
    let ip = frame.get(ETHERNET..ETHERNET + IPV4 + 4)?;
    if frame[12..14] != [8, 0] || ip[0] != 0x45 {
        return None;
    }
    let (address, port) = if end == CLIENT { (16, IPV4 + 2) } else { (12, IPV4) };
    let host = u32::from(u16::from_be_bytes([ip[address + 2], ip[address + 3]]));
    let port = u32::from(u16::from_be_bytes([ip[port], ip[port + 1]]));
    let client = host.checked_sub(1)? * PORTS + port.checked_sub(1024)?;
    ((client as usize) < KEYS).then_some(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_address() {
        for client in [0, 1, PORTS - 1, PORTS, KEYS as u32 - 1] {
            let (address, port) = address_of(client);
            let mut frame = vec![0; 60];
            frame[12..15].copy_from_slice(&[8, 0, 0x45]);
            frame[26..30].copy_from_slice(&address.octets());
            frame[34..36].copy_from_slice(&port.to_be_bytes());
            assert_eq!(client_of(&frame, SERVER_END), Some(client));
            frame.copy_within(26..30, 30);
            frame.copy_within(34..36, 36);
            assert_eq!(client_of(&frame, CLIENT), Some(client));
        }
    }
}
