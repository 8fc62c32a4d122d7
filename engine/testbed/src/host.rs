//! A computer at the end of a cable: smoltcp's interface and TCP, and a session on every socket.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};

use super::{Duration, Instant, Report, Session};

/// Bytes of an Ethernet header without tags.
const ETHERNET_HEADER: usize = 14;

/// One VLAN tag: ethertype (0x8100 or 0x88a8) and tag control information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Tag protocol identifier.
    pub ethertype: u16,
    /// Priority and VLAN id.
    pub control: u16,
}

/// What a host is like.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its addresses; at most two.
    pub addresses: Vec<IpCidr>,
    /// VLAN tags of its frames, outermost first. Frames that are tagged otherwise are not for it.
    pub tags: Vec<Tag>,
    /// Longest IP packet it sends, in bytes. Its MSS follows from it.
    pub mtu: usize,
    /// TCP timestamps (RFC 7323).
    pub timestamps: bool,
    /// Send and receive buffer of a socket, in bytes.
    pub buffer: usize,
    /// Its initial sequence numbers follow from this.
    pub seed: u64,
}

impl HostConfig {
    /// Host `number` of the network 10.0.0.0/24 and fd00::/64: MTU 1500, 64 KB buffers, timestamps, no tags.
    pub fn numbered(number: u8) -> Self {
        Self {
            mac: [2, 0, 0, 0, 0, number],
            addresses: vec![
                IpCidr::new(IpAddress::v4(10, 0, 0, number), 24),
                IpCidr::new(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, number.into()), 64),
            ],
            tags: Vec::new(),
            mtu: 1500,
            timestamps: true,
            buffer: 65_536,
            seed: number.into(),
        }
    }
}

/// A session of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId(usize);

/// A computer at the end of a cable. Frames in and out are whole Ethernet frames without FCS.
pub struct Host {
    config: HostConfig,
    interface: Interface,
    sockets: SocketSet<'static>,
    device: Queues,
    sessions: Vec<(SocketHandle, Session)>,
}

impl Host {
    /// A host that was switched on at `now`.
    pub fn new(now: Instant, config: HostConfig) -> Self {
        let mut device =
            Queues { mtu: config.mtu + ETHERNET_HEADER, received: VecDeque::new(), sent: VecDeque::new() };
        let mut settings = Config::new(HardwareAddress::Ethernet(EthernetAddress(config.mac)));
        settings.random_seed = config.seed;
        let mut interface = Interface::new(settings, &mut device, now);
        interface.update_ip_addrs(|addresses| {
            for address in &config.addresses {
                // smoltcp holds as many as `HostConfig::addresses` allows.
                let _ = addresses.push(*address);
            }
        });
        Self { config, interface, sockets: SocketSet::new(Vec::new()), device, sessions: Vec::new() }
    }

    /// What it is like.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// Its first IPv4 or IPv6 address.
    pub fn address(&self, ipv6: bool) -> Option<std::net::IpAddr> {
        let addresses = self.config.addresses.iter().map(IpCidr::address);
        addresses.map(std::net::IpAddr::from).find(|address| address.is_ipv6() == ipv6)
    }

    /// Waits for one connection to `port` and serves it with `session`.
    pub fn listen(&mut self, port: u16, session: Session) -> SessionId {
        let mut socket = self.socket();
        // Only port 0 and a socket in use are refused; the first would show as a connection that is never made.
        let _ = socket.listen(port);
        self.add(socket, session)
    }

    /// Opens a connection from `local_port` to `remote`.
    pub fn connect(&mut self, remote: SocketAddr, local_port: u16, session: Session) -> SessionId {
        let mut socket = self.socket();
        // Refused only for port 0 or without an address of the family; it shows as [`Ending::Reset`](super::Ending::Reset).
        let _ = socket.connect(self.interface.context(), IpEndpoint::from(remote), local_port);
        self.add(socket, session)
    }

    /// Takes back every [`Self::listen`] that no connection has come to.
    pub fn stop_listening(&mut self) {
        for (_, socket) in self.sockets.iter_mut() {
            let smoltcp::socket::Socket::Tcp(socket) = socket else { continue };
            if socket.is_listening() {
                socket.abort();
            }
        }
    }

    /// Takes a frame off the cable.
    pub fn receive(&mut self, frame: &[u8]) {
        if let Some(frame) = untag(frame, &self.config.tags) {
            self.device.received.push_back(frame);
        }
    }

    /// Does all that is to be done at `now`.
    pub fn poll(&mut self, now: Instant) {
        TIMESTAMP_CLOCK.set(now.total_millis() as u32);
        loop {
            self.interface.poll(now, &mut self.device, &mut self.sockets);
            let mut moved = false;
            for (handle, session) in &mut self.sessions {
                moved |= session.poll(now, self.sockets.get_mut(*handle));
            }
            if !moved {
                return;
            }
        }
    }

    /// The next frame for the cable.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        self.device.sent.pop_front().map(|frame| tag(frame, &self.config.tags))
    }

    /// When it wants to be polled although nothing arrives; not after `now`: at once.
    pub fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let tcp = self.interface.poll_at(now, &self.sockets);
        let sessions = self.sessions.iter().filter_map(|(handle, session)| {
            let at = session.next_timeout(self.sockets.get(*handle));
            at.filter(|_| !session.is_over())
        });
        tcp.into_iter().chain(sessions).min()
    }

    /// What a session has seen so far.
    pub fn report(&self, id: SessionId) -> &Report {
        self.sessions[id.0].1.report()
    }

    /// State of a session's socket, in smoltcp's words.
    pub fn tcp_state(&self, id: SessionId) -> State {
        self.sockets.get::<Socket<'_>>(self.sessions[id.0].0).state()
    }

    /// Every session is over, and its TCP connection too (or in TIME-WAIT).
    pub fn is_done(&self) -> bool {
        self.sessions.iter().all(|(handle, session)| {
            let state = self.sockets.get::<Socket<'_>>(*handle).state();
            session.is_over() && matches!(state, State::Closed | State::TimeWait)
        })
    }

    fn socket(&self) -> Socket<'static> {
        let buffer = || SocketBuffer::new(vec![0; self.config.buffer]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_congestion_control(CongestionControl::Reno);
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(Some(Duration::from_millis(10)));
        if self.config.timestamps {
            socket.set_tsval_generator(Some(|| TIMESTAMP_CLOCK.get()));
        }
        socket
    }

    fn add(&mut self, socket: Socket<'static>, session: Session) -> SessionId {
        let handle = self.sockets.add(socket);
        self.sessions.push((handle, session));
        SessionId(self.sessions.len() - 1)
    }
}

thread_local! {
    /// The virtual clock in milliseconds. smoltcp asks for timestamps through a bare function pointer, so the clock
    /// cannot travel with the host; [`Host::poll`] sets it each time.
    static TIMESTAMP_CLOCK: Cell<u32> = const { Cell::new(0) };
}

/// The frame without the tags, if it has exactly these.
fn untag(frame: &[u8], tags: &[Tag]) -> Option<Vec<u8>> {
    let addresses = frame.get(..12)?;
    let mut rest = &frame[12..];
    for tag in tags {
        let (head, tail) = rest.split_at_checked(4)?;
        // Priority bits may be changed on the way; the VLAN id may not.
        let same = head[..2] == tag.ethertype.to_be_bytes()
            && u16::from_be_bytes([head[2], head[3]]) & 0xfff == tag.control & 0xfff;
        if !same {
            return None;
        }
        rest = tail;
    }
    Some([addresses, rest].concat())
}

/// The frame with the tags.
fn tag(mut frame: Vec<u8>, tags: &[Tag]) -> Vec<u8> {
    let bytes =
        tags.iter().flat_map(|tag| [tag.ethertype.to_be_bytes(), tag.control.to_be_bytes()]).flatten();
    frame.splice(12..12, bytes);
    frame
}

/// smoltcp's device: two queues of untagged frames.
struct Queues {
    /// With the Ethernet header, as smoltcp counts it.
    mtu: usize,
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sender(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        Some(Sender(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        // Default checksum settings: smoltcp computes and verifies every one of them.
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sender<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_on_and_come_off() {
        let tags = [Tag { ethertype: 0x88a8, control: 0x0064 }, Tag { ethertype: 0x8100, control: 0x0005 }];
        let frame: Vec<u8> = (0..60).collect();
        let tagged = tag(frame.clone(), &tags);
        assert_eq!(tagged[12..20], [0x88, 0xa8, 0, 0x64, 0x81, 0, 0, 5]);
        assert_eq!(untag(&tagged, &tags), Some(frame.clone()));
        assert_eq!(untag(&tagged, &tags[..1]), Some(tag(frame.clone(), &tags[1..])));
        assert_eq!(untag(&frame, &tags), None);
        assert_eq!(untag(&tagged[..14], &tags), None);
    }
}
