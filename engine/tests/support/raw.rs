//! TCP segments made by hand, from any client to the one server.

use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Address, Ipv4Packet, TcpPacket, TcpSeqNumber};
use wireglass_testbed::PortSide;

use super::frames::ethernet;
use super::lab::Lab;

/// Initial sequence numbers.
pub(crate) const CLIENT: u32 = 1_000;
pub(crate) const SERVER: u32 = 70_000;

/// A segment over IPv4, to or from port 443 of 10.0.0.2.
#[derive(Clone)]
pub(crate) struct RawSegment {
    pub(crate) client: [u8; 4],
    pub(crate) client_port: u16,
    pub(crate) to_server: bool,
    /// The client is at the outside port.
    pub(crate) from_outside: bool,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) payload: Vec<u8>,
}

impl RawSegment {
    /// An ACK right after the handshake.
    pub(crate) fn from_client(client: [u8; 4], client_port: u16) -> Self {
        let (seq, ack, payload) = (CLIENT + 1, SERVER + 1, Vec::new());
        Self { client, client_port, to_server: true, from_outside: false, flags: 0x10, seq, ack, payload }
    }

    /// Likewise.
    pub(crate) fn from_server(client: [u8; 4], client_port: u16) -> Self {
        let (seq, ack) = (SERVER + 1, CLIENT + 1);
        Self { to_server: false, seq, ack, ..Self::from_client(client, client_port) }
    }

    /// Where it comes in.
    pub(crate) fn port(&self) -> PortSide {
        if self.to_server != self.from_outside { PortSide::Inside } else { PortSide::Outside }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let length = 40 + self.payload.len();
        let mut bytes = vec![0; length];
        let (client, server) = (Ipv4Address::from(self.client), Ipv4Address::new(10, 0, 0, 2));
        let (from, to) = if self.to_server { (client, server) } else { (server, client) };
        let ports = if self.to_server { (self.client_port, 443) } else { (443, self.client_port) };
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len(length as u16);
        ip.set_hop_limit(64);
        ip.set_next_header(IpProtocol::Tcp);
        ip.set_src_addr(from);
        ip.set_dst_addr(to);
        ip.fill_checksum();
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[20..]);
        tcp.set_src_port(ports.0);
        tcp.set_dst_port(ports.1);
        tcp.set_seq_number(TcpSeqNumber(self.seq as i32));
        tcp.set_ack_number(TcpSeqNumber(self.ack as i32));
        tcp.set_header_len(20);
        tcp.set_window_len(60_000);
        tcp.payload_mut().copy_from_slice(&self.payload);
        tcp.into_inner()[13] = self.flags;
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[20..]);
        tcp.fill_checksum(&IpAddress::from(from), &IpAddress::from(to));
        ethernet(self.to_server, 0x0800, &bytes)
    }
}

/// A ClientHello that fits one segment.
pub(crate) fn hello(name: &'static str) -> Vec<u8> {
    let mut lab = Lab::new();
    lab.client.groups = vec![rustls::NamedGroup::X25519];
    let config = lab.client.build().unwrap();
    let mut session = rustls::ClientConnection::new(config, name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    assert!(bytes.len() < 1_400);
    bytes
}
