//! Hosts: smoltcp's sockets (somebody else's TCP), and this crate's connection, both with the same small
//! application.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use tcp_stack::{Connection, Event, Instant, Segment, State};

use super::frame::{self, End};
use super::{Rng, pattern, pattern_bytes};

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
    /// Reads at most this much at a time, and sometimes not at all: a slow reader. 0 reads all.
    pub slow_read: usize,
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
    fn take(&mut self, bytes: &[u8]) -> usize {
        let len = match self.slow_read {
            0 => bytes.len(),
            most => bytes.len().min(self.rng.below(most as u64) as usize),
        };
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
        socket.set_keep_alive(Some(super::ms(5_000)));
        if setup.timestamps {
            socket.set_tsval_generator(Some(clock_ms));
        }
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Smoltcp { interface, sockets, handle, device, app }
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

    pub fn receive(&mut self, frame: Vec<u8>) {
        self.device.incoming.push_back(frame);
    }

    /// Runs stack and application; returns the frames to send.
    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        CLOCK_MS.set(now.total_millis() as u32 + 77_000);
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        self.run_app();
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        self.device.outgoing.drain(..).collect()
    }

    fn run_app(&mut self) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        let app = &mut self.app;
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                let taken = app.take(bytes);
                (taken, taken)
            });
            if taken.expect("can_recv") == 0 {
                break;
            }
        }
        if socket.is_active() || socket.state() == tcp::State::TimeWait {
            app.saw_end |= !socket.may_recv()
                && !socket.can_recv()
                && !matches!(
                    socket.state(),
                    tcp::State::SynSent | tcp::State::SynReceived | tcp::State::Listen | tcp::State::Closed
                );
        }
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

    pub fn next_poll(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }
}

/// smoltcp's device: two queues.
#[derive(Default)]
struct Queues {
    mtu: usize,
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

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
        Some(Sending(&mut self.outgoing))
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
    pub here: End,
    pub there: End,
    pub app: App,
    pub ended: Vec<Event>,
    outgoing: Vec<Vec<u8>>,
}

impl Ours {
    pub fn new(connection: Connection, here: End, there: End, app: App) -> Self {
        Ours { connection, here, there, app, ended: Vec::new(), outgoing: Vec::new() }
    }

    pub fn receive(&mut self, now: Instant, frame: &[u8]) {
        let Some(tcp) = frame::tcp_of(frame) else { return };
        let segment = Segment::parse(tcp).expect("smoltcp and its checksum found it well-formed");
        self.connection.handle_segment(now, &segment);
        self.check();
        self.run_app();
        self.drain(now);
    }

    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.connection.handle_timeout(now);
        self.check();
        self.run_app();
        self.drain(now);
        std::mem::take(&mut self.outgoing)
    }

    fn drain(&mut self, now: Instant) {
        while let Some(transmit) = self.connection.poll_transmit(now) {
            self.outgoing.push(frame::build(self.here, self.there, &transmit));
            self.check();
        }
        while let Some(event) = self.connection.poll_event() {
            self.ended.push(event);
        }
    }

    fn run_app(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            self.ended.push(event);
        }
        let taken = self.app.take(self.connection.recv());
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
