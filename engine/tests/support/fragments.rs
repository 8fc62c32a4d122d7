//! TCP segments made by hand, and cut into IP fragments.

use smoltcp::wire::{IpAddress, Ipv4Address, Ipv4Packet, Ipv6Address, Ipv6Packet, TcpPacket, TcpSeqNumber};
use wireglass_core::packet::{Class, Headers, classify};

use super::frames::ethernet;

/// A segment of 10.0.0.1 and 10.0.0.2, or fd00::1 and fd00::2.
#[derive(Clone)]
pub(crate) struct Whole {
    pub(crate) ipv6: bool,
    pub(crate) vlan: Option<u16>,
    pub(crate) to_server: bool,
    /// The client's and the server's.
    pub(crate) ports: (u16, u16),
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) id: u16,
    /// TCP options; a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Default for Whole {
    fn default() -> Self {
        Self {
            ipv6: false,
            vlan: None,
            to_server: true,
            ports: (50_000, 443),
            flags: 0x18,
            seq: 1_001,
            ack: 70_001,
            id: 77,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }
}

impl Whole {
    /// The frame, with right checksums.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let (tcp_header, ip_header) = (20 + self.options.len(), if self.ipv6 { 40 } else { 20 });
        let len = tcp_header + self.payload.len();
        let mut packet = vec![0; ip_header + len];
        let (from, to) = if self.to_server { (1, 2) } else { (2, 1) };
        let ends: [IpAddress; 2] = [from, to].map(|host| match self.ipv6 {
            true => Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, host).into(),
            false => Ipv4Address::new(10, 0, 0, host as u8).into(),
        });
        let ports = if self.to_server { self.ports } else { (self.ports.1, self.ports.0) };
        let mut tcp = TcpPacket::new_unchecked(&mut packet[ip_header..]);
        tcp.set_src_port(ports.0);
        tcp.set_dst_port(ports.1);
        tcp.set_seq_number(TcpSeqNumber(self.seq as i32));
        tcp.set_ack_number(TcpSeqNumber(self.ack as i32));
        tcp.set_header_len(tcp_header as u8);
        tcp.set_window_len(60_000);
        tcp.options_mut().copy_from_slice(&self.options);
        tcp.payload_mut().copy_from_slice(&self.payload);
        tcp.into_inner()[13] = self.flags;
        TcpPacket::new_unchecked(&mut packet[ip_header..]).fill_checksum(&ends[0], &ends[1]);
        match ends {
            [IpAddress::Ipv4(from), IpAddress::Ipv4(to)] => {
                let total = packet.len() as u16;
                let mut ip = Ipv4Packet::new_unchecked(&mut packet);
                ip.set_version(4);
                ip.set_header_len(20);
                ip.set_total_len(total);
                ip.set_ident(self.id);
                ip.set_hop_limit(64);
                ip.set_next_header(smoltcp::wire::IpProtocol::Tcp);
                ip.set_src_addr(from);
                ip.set_dst_addr(to);
                ip.fill_checksum();
            }
            [IpAddress::Ipv6(from), IpAddress::Ipv6(to)] => {
                let mut ip = Ipv6Packet::new_unchecked(&mut packet);
                ip.set_version(6);
                ip.set_payload_len(len as u16);
                ip.set_hop_limit(64);
                ip.set_next_header(smoltcp::wire::IpProtocol::Tcp);
                ip.set_src_addr(from);
                ip.set_dst_addr(to);
            }
            _ => unreachable!("both of one version"),
        }
        let ethertype: u16 = if self.ipv6 { 0x86dd } else { 0x0800 };
        match self.vlan {
            None => ethernet(self.to_server, ethertype, &packet),
            Some(id) => {
                let tag = [id.to_be_bytes(), ethertype.to_be_bytes()].concat();
                ethernet(self.to_server, 0x8100, &[tag, packet].concat())
            }
        }
    }
}

/// One fragment of the segment in `frame`, with `len` bytes from `offset` on. `more`: it says that it is not the last one.
pub(crate) fn fragment(frame: &[u8], id: u32, offset: usize, len: usize, more: bool) -> Vec<u8> {
    let Class::Tcp(Headers { l3, l4, source, .. }) = classify(frame) else { panic!("not a segment") };
    let data = &frame[l4 + offset..][..len];
    fragment_of(&frame[..l4], (l3, source.is_ipv4()), id, offset, data, more)
}

/// Likewise, with these bytes. `headers`: Ethernet and IP; where the latter begin, and whether they are IPv4's.
pub(crate) fn fragment_of(
    headers: &[u8],
    (l3, is_ipv4): (usize, bool),
    id: u32,
    offset: usize,
    data: &[u8],
    more: bool,
) -> Vec<u8> {
    let mut bytes = headers.to_vec();
    if is_ipv4 {
        bytes.extend_from_slice(data);
        let total = (bytes.len() - l3) as u16;
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[l3..]);
        ip.set_total_len(total);
        ip.set_ident(id as u16);
        let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        bytes[l3 + 6..l3 + 8].copy_from_slice(&field.to_be_bytes());
        Ipv4Packet::new_unchecked(&mut bytes[l3..]).fill_checksum();
    } else {
        bytes[l3 + 6] = 44;
        bytes.extend([6, 0]);
        bytes.extend((offset as u16 | u16::from(more)).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend_from_slice(data);
        let length = (bytes.len() - l3 - 40) as u16;
        Ipv6Packet::new_unchecked(&mut bytes[l3..]).set_payload_len(length);
    }
    bytes
}

/// All fragments of the segment in `frame`, each with at most `size` bytes, in order.
pub(crate) fn cut(frame: &[u8], id: u32, size: usize) -> Vec<Vec<u8>> {
    let Class::Tcp(Headers { l4, end, .. }) = classify(frame) else { panic!("not a segment") };
    let total = end - l4;
    let starts = (0..total).step_by(size);
    starts.map(|at| fragment(frame, id, at, size.min(total - at), at + size < total)).collect()
}
