//! Hosts: smoltcp's sockets (somebody else's TCP), and this crate's connection, both with the same small
//! application.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use tcp_stack::{Connection, Duration, Event, Instant, State};

use super::frame::{self, End};
use super::watchdog::{Watchdog, Wishes};
use super::{Rng, earliest, ms, pattern, pattern_bytes};

/// One end of a network.
pub trait Host {
    fn receive(&mut self, now: Instant, frame: Vec<u8>);
    /// Lets time pass and the application run; returns the frames to send.
    fn poll(&mut self, now: Instant) -> Vec<Vec<u8>>;
    /// A router says that this packet was too long for a link that carries `mtu`.
    fn too_big(&mut self, _now: Instant, _frame: &[u8], _mtu: usize) {}
    fn next_poll(&mut self, now: Instant) -> Option<Instant>;
    /// Both streams are through, both ways.
    fn is_done(&self) -> bool;
    /// The longest that a frame has been under way from here to the peer and back.
    fn note_path(&mut self, _round_trip: Duration) {}
    /// It has stalled by a known fault of its own.
    fn is_at_fault(&self, _now: Instant) -> bool {
        false
    }
    /// It would send for ever, at one and the same time, by a known fault of its own.
    fn is_spinning(&self) -> bool {
        false
    }
    fn describe(&self) -> String;
}

/// What an application does: sends bytes of its stream, checks every byte it receives, closes.
#[derive(Clone, Debug)]
pub struct App {
    pub send_stream: u64,
    pub send_total: usize,
    pub sent: usize,
    pub receive_stream: u64,
    pub receive_total: usize,
    pub received: usize,
    /// Waits for the first byte from the other end before it sends.
    pub speaks_second: bool,
    /// Closes its direction as soon as all is sent; otherwise only once the other has closed too.
    pub half_closes: bool,
    /// Reads at most this much at a time, sometimes nothing, and pauses then: a slow reader. 0 reads all.
    pub slow_read: usize,
    pub pause: Duration,
    reads_again: Option<Instant>,
    pub closed: bool,
    pub saw_end: bool,
    rng: Rng,
}

impl App {
    pub fn new(seed: u64, streams: (u64, u64), totals: (usize, usize)) -> Self {
        App {
            send_stream: streams.0,
            send_total: totals.0,
            sent: 0,
            receive_stream: streams.1,
            receive_total: totals.1,
            received: 0,
            speaks_second: false,
            half_closes: true,
            slow_read: 0,
            pause: ms(6),
            reads_again: None,
            closed: false,
            saw_end: false,
            rng: Rng::new(seed),
        }
    }

    /// The next bytes to send, at most `space`.
    fn next_bytes(&mut self, space: usize) -> Vec<u8> {
        if self.speaks_second && self.received == 0 && self.receive_total > 0 {
            return Vec::new();
        }
        let len = space.min(self.send_total - self.sent).min(1 + self.rng.below(9_000) as usize);
        pattern_bytes(self.send_stream, self.sent, len)
    }

    fn wants_to_close(&self) -> bool {
        let may_speak = !self.speaks_second || self.received > 0 || self.saw_end;
        !self.closed && self.sent == self.send_total && may_speak && (self.half_closes || self.saw_end)
    }

    /// Takes bytes in; returns how many.
    fn take(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let mut len = bytes.len();
        if self.slow_read > 0 && len > 0 {
            if self.reads_again.is_some_and(|at| at > now) {
                return 0;
            }
            self.reads_again =
                Some(now + ms(1) + Duration::from_micros(self.rng.below(self.pause.total_micros())));
            len = len.min(self.rng.below(self.slow_read as u64) as usize);
        }
        for (i, &byte) in bytes[..len].iter().enumerate() {
            let at = self.received + i;
            assert!(at < self.receive_total, "byte {at} after the end of stream {}", self.receive_stream);
            assert_eq!(byte, pattern(self.receive_stream, at), "byte {at} of stream {}", self.receive_stream);
        }
        self.received += len;
        len
    }

    pub fn is_done(&self) -> bool {
        self.closed && self.saw_end && self.received == self.receive_total
    }

    /// When a slow reader reads on.
    fn next_read(&self, now: Instant) -> Option<Instant> {
        self.reads_again.filter(|at| *at > now)
    }
}

thread_local! {
    /// smoltcp takes its timestamp clock from a plain function.
    static CLOCK_MS: Cell<u32> = const { Cell::new(0) };
}

fn clock_ms() -> u32 {
    CLOCK_MS.get()
}

/// A smoltcp host with one socket.
pub struct Smoltcp {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    device: Queues,
    opened: bool,
    /// When it sent more than a probe last.
    moved_at: Instant,
    pub app: App,
}

/// How a smoltcp host is set up.
#[derive(Clone, Copy, Debug)]
pub struct SmoltcpSetup {
    pub mtu: usize,
    pub receive_buffer: usize,
    pub send_buffer: usize,
    pub timestamps: bool,
    pub ack_delay: Option<tcp_stack::Duration>,
}

impl Smoltcp {
    pub fn new(seed: u64, here: End, setup: SmoltcpSetup, app: App) -> Self {
        let mut device = Queues { mtu: setup.mtu, ..Queues::default() };
        let mut config = IfaceConfig::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::Ipv4(here.address), 24)).expect("room for one address");
        });
        let buffer = |len| tcp::SocketBuffer::new(vec![0; len]);
        let mut socket = tcp::Socket::new(buffer(setup.receive_buffer), buffer(setup.send_buffer));
        socket.set_ack_delay(setup.ack_delay);
        socket.set_nagle_enabled(false);
        // smoltcp 0.14 forgets its retransmission timer when a window that was closed opens while bytes are
        // in flight (an old ACK overtaken by a newer one is enough). Its keep-alive, and our answers to it,
        // wake it up.
        socket.set_keep_alive(Some(ms(5_000)));
        if setup.timestamps {
            socket.set_tsval_generator(Some(clock_ms));
        }
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Smoltcp { interface, sockets, handle, device, opened: false, moved_at: Instant::ZERO, app }
    }

    pub fn listen(mut self, here: End) -> Self {
        self.socket().listen(here.port).expect("socket is unused");
        self
    }

    pub fn connect(mut self, here: End, there: End) -> Self {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        let to: (Ipv4Address, u16) = (there.address, there.port);
        socket.connect(self.interface.context(), to, here.port).expect("socket is unused");
        self
    }

    pub fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn run_app(&mut self, now: Instant) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        let app = &mut self.app;
        // smoltcp drops what is not read when its socket closes by itself: the slow hurry up once all is here.
        let all_here = matches!(
            socket.state(),
            tcp::State::CloseWait | tcp::State::LastAck | tcp::State::Closing | tcp::State::TimeWait
        );
        app.slow_read = if all_here { 0 } else { app.slow_read };
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                let taken = app.take(now, bytes);
                (taken, taken)
            });
            if taken.expect("can_recv") == 0 {
                break;
            }
        }
        // A slow reader may read on after the end.
        let opening =
            matches!(socket.state(), tcp::State::SynSent | tcp::State::SynReceived | tcp::State::Listen);
        self.opened |= !opening && socket.state() != tcp::State::Closed;
        app.saw_end |= self.opened && !opening && !socket.may_recv() && !socket.can_recv();
        if socket.may_send() {
            loop {
                let space = socket.send_capacity() - socket.send_queue();
                let bytes = app.next_bytes(space);
                if bytes.is_empty() {
                    break;
                }
                app.sent += socket.send_slice(&bytes).expect("may_send");
            }
            if app.wants_to_close() {
                socket.close();
                app.closed = true;
            }
        }
    }
}

impl Host for Smoltcp {
    fn receive(&mut self, _: Instant, frame: Vec<u8>) {
        self.device.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        CLOCK_MS.set(now.total_millis() as u32 + 77_000);
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        self.run_app(now);
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        let frames: Vec<_> = self.device.outgoing.drain(..).collect();
        if frames.iter().filter_map(|frame| frame::segment_of(frame)).any(|segment| segment.seq_len() > 1) {
            self.moved_at = now;
        }
        frames
    }

    fn is_spinning(&self) -> bool {
        self.device.is_full
    }

    /// smoltcp 0.14 may go on to probe a window that has opened long ago, and not send again what is missing.
    fn is_at_fault(&self, now: Instant) -> bool {
        self.sockets.get::<tcp::Socket<'_>>(self.handle).send_queue() > 1
            && now - self.moved_at > Duration::from_secs(1_000)
    }

    fn next_poll(&mut self, now: Instant) -> Option<Instant> {
        earliest([self.interface.poll_at(now, &self.sockets), self.app.next_read(now)])
    }

    fn is_done(&self) -> bool {
        self.app.is_done()
    }

    fn describe(&self) -> String {
        let socket = self.sockets.get::<tcp::Socket<'_>>(self.handle);
        format!("smoltcp {:?} queued {} {:?}", socket.state(), socket.send_queue(), self.app)
    }
}

/// smoltcp's device: two queues.
#[derive(Default)]
struct Queues {
    mtu: usize,
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    /// There was no room for more in one poll: see [`MOST_AT_ONCE`].
    is_full: bool,
}

/// More frames than any window here holds. smoltcp 0.14 may send one and the same segment again without end, within one poll.
const MOST_AT_ONCE: usize = 10_000;

struct Received(Vec<u8>);

struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.incoming.pop_front()?;
        Some((Received(frame), Sending(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        self.is_full |= self.outgoing.len() >= MOST_AT_ONCE;
        (!self.is_full).then_some(Sending(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// This crate's connection with the same application.
pub struct Ours {
    pub connection: Connection,
    here: End,
    there: End,
    pub app: App,
    ended: Vec<Event>,
    outgoing: Vec<Vec<u8>>,
    watchdog: Watchdog,
    limits: Limits,
}

/// A receive limit that changes now and then, and stays in the end.
#[derive(Clone, Debug)]
pub struct Limits {
    last: usize,
    now: usize,
    next: Option<Instant>,
    changes: u32,
    rng: Rng,
}

impl Limits {
    /// `limit` is the one of the configuration.
    pub fn new(seed: u64, limit: usize, start: Instant, changes: u32) -> Self {
        let next = (changes > 0).then_some(start);
        Limits { last: limit, now: limit, next, changes, rng: Rng::new(seed) }
    }

    /// The limit to set now, if it changes.
    pub fn change(&mut self, now: Instant) -> Option<usize> {
        self.next.filter(|at| *at <= now)?;
        self.changes -= 1;
        self.next = (self.changes > 0).then(|| now + ms(1 + self.rng.below(150)));
        let choices = [0, 1, 3_000, self.last / 3, self.last, self.last];
        self.now = if self.changes > 0 { choices[self.rng.below(6) as usize] } else { self.last };
        Some(self.now)
    }

    pub fn current(&self) -> usize {
        self.now
    }

    pub fn next(&self) -> Option<Instant> {
        self.next
    }
}

impl Ours {
    pub fn new(
        now: Instant,
        connection: Connection,
        (here, there): (End, End),
        app: App,
        limits: Limits,
    ) -> Self {
        let watchdog = Watchdog::new("our host", now);
        Ours { connection, here, there, app, ended: Vec::new(), outgoing: Vec::new(), watchdog, limits }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(transmit) = self.connection.poll_transmit(now) {
            let frame = frame::build(self.here, self.there, &transmit);
            self.watchdog.sent(now, &frame::segment_of(&frame).expect("we have just built it"));
            self.outgoing.push(frame);
            self.check();
        }
        self.take_events();
        self.watchdog.settle(now, Wishes::of(&self.connection, self.limits.current()));
    }

    fn take_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            // A peer that has been through TIME-WAIT has forgotten what we had no ACK of, and refuses it.
            let forgotten = event == Event::Reset && self.app.closed && self.app.saw_end;
            let early = matches!(event, Event::Reset | Event::TimedOut) && !forgotten;
            assert!(!early, "it ended early: {}", self.describe());
            self.ended.push(event);
        }
    }

    fn run_app(&mut self, now: Instant) {
        self.take_events();
        if let Some(limit) = self.limits.change(now) {
            self.connection.set_recv_limit(limit);
        }
        let taken = self.app.take(now, self.connection.recv());
        self.connection.consume(taken);
        self.check();
        if self.ended.contains(&Event::PeerClosed) && self.connection.recv().is_empty() {
            self.app.saw_end = true;
        }
        if matches!(self.connection.state(), State::Established | State::CloseWait) {
            loop {
                let bytes = self.app.next_bytes(self.connection.send_space());
                if bytes.is_empty() {
                    break;
                }
                self.app.sent += bytes.len();
                self.connection.send(Bytes::from(bytes)).expect("within send_space");
            }
            if self.app.wants_to_close() {
                self.connection.close();
                self.app.closed = true;
            }
        }
        self.check();
    }

    fn check(&self) {
        if let Err(rule) = self.connection.check_invariants() {
            panic!("invariant broken: {rule}: {:?}", self.connection);
        }
    }
}

impl Host for Ours {
    fn too_big(&mut self, now: Instant, frame: &[u8], mtu: usize) {
        let Some(segment) = frame::segment_of(frame) else { return };
        self.connection.handle_packet_too_big(now, segment.seq, (mtu - 40) as u16);
        self.check();
    }

    fn receive(&mut self, now: Instant, frame: Vec<u8>) {
        self.watchdog.check(now);
        let Some(segment) = frame::segment_of(&frame) else { return };
        self.watchdog.delivered(now, &segment);
        self.connection.handle_segment(now, &segment);
        self.check();
        self.run_app(now);
        self.drain(now);
    }

    fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.watchdog.check(now);
        self.connection.handle_timeout(now);
        self.check();
        self.run_app(now);
        self.drain(now);
        std::mem::take(&mut self.outgoing)
    }

    fn next_poll(&mut self, now: Instant) -> Option<Instant> {
        earliest([self.connection.poll_timeout(), self.app.next_read(now), self.limits.next()])
    }

    fn is_done(&self) -> bool {
        self.app.is_done() && self.ended.contains(&Event::Closed)
    }

    fn note_path(&mut self, round_trip: Duration) {
        self.watchdog.note_path(round_trip);
    }

    fn describe(&self) -> String {
        format!("ours {:?} {:?} {:?} {:?}", self.ended, self.connection, self.app, self.watchdog)
    }
}
