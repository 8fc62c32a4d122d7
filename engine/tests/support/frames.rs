//! TCP frames made and changed by hand, with smoltcp's views of the headers.

use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket};
use wireglass_core::packet::{Class, Headers, classify};

/// A TCP frame, taken apart.
#[derive(Clone)]
pub(crate) struct TcpFrame {
    bytes: Vec<u8>,
    headers: Headers,
}

impl TcpFrame {
    /// None: not TCP.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        match classify(bytes) {
            Class::Tcp(headers) => Some(Self { bytes: bytes.to_vec(), headers }),
            _ => None,
        }
    }

    pub(crate) fn tcp(&self) -> TcpPacket<&[u8]> {
        TcpPacket::new_unchecked(&self.bytes[self.headers.l4..self.headers.end])
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.tcp().payload()
    }

    /// The whole frame.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length of its IP packet.
    pub(crate) fn ip_len(&self) -> usize {
        self.headers.end - self.headers.l3
    }

    /// DF is set (IPv4).
    pub(crate) fn dont_fragment(&self) -> bool {
        self.bytes[self.headers.l3 + 6] & 0x40 != 0
    }

    /// Its checksums are right.
    pub(crate) fn is_sound(&self) -> bool {
        self.headers.verify_checksums(&self.bytes).is_ok()
    }

    /// The MAC address it goes to.
    pub(crate) fn next_hop(&self) -> &[u8] {
        &self.bytes[..6]
    }

    /// TTL or hop limit.
    pub(crate) fn hops(&self) -> u8 {
        self.bytes[self.headers.l3 + if self.headers.source.is_ipv4() { 8 } else { 7 }]
    }

    pub(crate) fn source_port(&self) -> u16 {
        self.headers.source.port()
    }

    /// The same headers with other payload, `offset` further on in the stream.
    pub(crate) fn with_payload(&self, offset: u32, payload: &[u8]) -> Vec<u8> {
        let start = self.headers.l4 + usize::from(self.tcp().header_len());
        let mut bytes = self.bytes[..start].to_vec();
        bytes.extend_from_slice(payload);
        let seq = self.tcp().seq_number();
        edit(bytes, &self.headers, |tcp| tcp.set_seq_number(seq + offset as usize))
    }

    /// The same frame after `change`, with right lengths and checksums.
    pub(crate) fn edited(&self, change: impl FnOnce(&mut TcpPacket<&mut [u8]>)) -> Vec<u8> {
        edit(self.bytes[..self.headers.end].to_vec(), &self.headers, change)
    }
}

fn edit(mut bytes: Vec<u8>, headers: &Headers, change: impl FnOnce(&mut TcpPacket<&mut [u8]>)) -> Vec<u8> {
    let Headers { l3, l4, source, destination, .. } = *headers;
    let length = (bytes.len() - l3) as u16;
    if source.is_ipv4() {
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[l3..]);
        ip.set_total_len(length);
        ip.fill_checksum();
    } else {
        Ipv6Packet::new_unchecked(&mut bytes[l3..]).set_payload_len(length - 40);
    }
    let mut tcp = TcpPacket::new_unchecked(&mut bytes[l4..]);
    change(&mut tcp);
    tcp.fill_checksum(&IpAddress::from(source.ip()), &IpAddress::from(destination.ip()));
    bytes
}

/// An Ethernet frame from the client to the server, or back, with this type and payload.
pub(crate) fn ethernet(to_server: bool, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    use smoltcp::wire::EthernetAddress;
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    let (client, server) = (EthernetAddress([2, 0, 0, 0, 0, 1]), EthernetAddress([2, 0, 0, 0, 0, 2]));
    let (from, to) = if to_server { (client, server) } else { (server, client) };
    frame.set_src_addr(from);
    frame.set_dst_addr(to);
    frame.set_ethertype(EthernetProtocol::from(ethertype));
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

/// A UDP datagram between the client (10.0.0.x) and the server (10.0.0.2).
pub(crate) fn datagram(to_server: bool, client: u8, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, client, 10, 0, 0, 2];
    let (mut from, mut to) = ports;
    if !to_server {
        packet[12..20].rotate_left(4);
        (from, to) = (to, from);
    }
    let length = (28 + payload.len()) as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.extend([from.to_be_bytes(), to.to_be_bytes(), (length - 20).to_be_bytes(), [0, 0]].concat());
    packet.extend(payload);
    ethernet(to_server, 0x0800, &packet)
}
