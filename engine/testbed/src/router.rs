//! A router behind a link whose next link carries less, with the ICMP messages that it owes (RFC 1191 4, RFC 4443 3.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet,
    Ipv6Repr,
};

/// The routers' own addresses.
const ADDRESS4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ADDRESS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Type, code, checksum, and four bytes of the message's own.
const ICMP_HEADER: usize = 8;

/// What stands between a link and a smaller one.
#[derive(Clone, Copy, Debug)]
pub struct Router {
    /// Longest IP packet that goes on.
    pub mtu: usize,
    /// What it says of longer ones.
    pub answer: Answer,
}

/// What becomes known of a packet that was too long.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Nothing: a black hole.
    None,
    /// An ICMP message that names this MTU (the router's own, if it is honest), and quotes so many bytes of the packet.
    TooBig {
        /// As told.
        mtu: usize,
        /// Bytes quoted.
        quote: usize,
    },
}

impl Router {
    /// An honest one, which quotes no more than it has to: the IP header and 8 bytes.
    pub const fn honest(mtu: usize) -> Self {
        Self { mtu, answer: Answer::TooBig { mtu, quote: 8 } }
    }

    /// One that says nothing.
    pub const fn silent(mtu: usize) -> Self {
        Self { mtu, answer: Answer::None }
    }

    /// The frame goes no further. An IPv4 packet that may be fragmented does; to have it arrive in one piece saves putting it
    /// together.
    pub(super) fn stops(&self, frame: &[u8]) -> bool {
        match ip(frame) {
            Some((l3, 4)) => frame.len() - l3 > self.mtu && frame[l3 + 6] & 0x40 != 0,
            Some((l3, _)) => frame.len() - l3 > self.mtu,
            None => false,
        }
    }

    /// What the sender of a frame that goes no further is told.
    pub(super) fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let Answer::TooBig { mtu, quote } = self.answer else { return None };
        too_big(frame, mtu, quote)
    }
}

/// An ICMP message to the sender of `frame`, which goes back the way it came: `mtu` as told, and the frame's IP header with
/// `quote` bytes quoted. None: the frame holds no IP packet.
pub fn too_big(frame: &[u8], mtu: usize, quote: usize) -> Option<Vec<u8>> {
    let (l3, version) = ip(frame)?;
    let packet = &frame[l3..];
    let header = if version == 4 { usize::from(packet[0] & 0xf) * 4 } else { 40 };
    let quoted = &packet[..packet.len().min(header + quote)];
    let mut answer = [&frame[6..12], &frame[..6], &frame[12..l3]].concat();
    let length = ICMP_HEADER + quoted.len();
    let sender = match version {
        4 => IpAddr::V4(Ipv4Packet::new_checked(packet).ok()?.src_addr()),
        _ => IpAddr::V6(Ipv6Packet::new_checked(packet).ok()?.src_addr()),
    };
    match sender {
        IpAddr::V4(to) => {
            let mut bytes = vec![0; 20 + length];
            let repr = Ipv4Repr {
                src_addr: ADDRESS4,
                dst_addr: to,
                next_header: IpProtocol::Icmp,
                payload_len: length,
                hop_limit: 64,
            };
            repr.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &ChecksumCapabilities::default());
            let mut icmp = Icmpv4Packet::new_unchecked(&mut bytes[20..]);
            icmp.set_msg_type(Icmpv4Message::DstUnreachable);
            icmp.set_msg_code(4);
            icmp.set_echo_seq_no(mtu as u16);
            icmp.data_mut().copy_from_slice(quoted);
            icmp.fill_checksum();
            answer.extend(bytes);
        }
        IpAddr::V6(to) => {
            let mut bytes = vec![0; 40 + length];
            let repr = Ipv6Repr {
                src_addr: ADDRESS6,
                dst_addr: to,
                next_header: IpProtocol::Icmpv6,
                payload_len: length,
                hop_limit: 64,
            };
            repr.emit(&mut Ipv6Packet::new_unchecked(&mut bytes[..]));
            let mut icmp = Icmpv6Packet::new_unchecked(&mut bytes[40..]);
            icmp.set_msg_type(Icmpv6Message::PktTooBig);
            icmp.set_pkt_too_big_mtu(mtu as u32);
            icmp.payload_mut().copy_from_slice(quoted);
            icmp.fill_checksum(&ADDRESS6, &to);
            answer.extend(bytes);
        }
    }
    Some(answer)
}

/// Where the IP header lies, and its version.
fn ip(frame: &[u8]) -> Option<(usize, u8)> {
    let mut at = 12;
    loop {
        match frame.get(at..at + 2)? {
            [0x81, 0x00] | [0x88, 0xa8] => at += 4,
            [0x08, 0x00] if frame.len() >= at + 22 => return Some((at + 2, 4)),
            [0x86, 0xdd] if frame.len() >= at + 42 => return Some((at + 2, 6)),
            _ => return None,
        }
    }
}
