//! ICMP messages that a segment was too big for the next link: whose segment, and what would fit.
//!
//! Nothing in them is authenticated, and the packet that they quote may be cut off after 8 bytes of TCP (RFC 792; RFC 1812
//! 4.3.2.3 asks for more). What can be checked, is: lengths, checksum, that the message goes to whoever is quoted as the
//! sender, and that it says less than what is quoted had (RFC 5927 7). Whether the numbers fit is the connection's to say.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet,
};
use tcp_stack::Seq;

use crate::reason::PathMessage;

/// "Fragmentation needed and DF set", a code of "destination unreachable" (RFC 792).
const FRAGMENTATION_NEEDED: u8 = 4;
/// RFC 8200 5: every IPv6 link carries this.
const IPV6_MINIMUM: usize = 1280;
/// Bytes of TCP header that every message quotes: ports and sequence number.
const QUOTED_TCP: usize = 8;
/// RFC 1191 7.1: link sizes that are likely where a router says none.
const PLATEAUS: [usize; 10] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68];

/// Where an unfragmented ICMP message lies in its frame, and between whom it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpHeaders {
    /// Offset of the ICMP header.
    pub l4: usize,
    /// End of the IP packet.
    pub end: usize,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// Sender: any router.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
}

/// What a router says of a segment that it could not forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBigMessage {
    /// Sender of the segment.
    pub source: SocketAddr,
    /// Its receiver.
    pub destination: SocketAddr,
    /// VLAN ids of the message, outermost first.
    pub vlan: [Option<u16>; 2],
    /// The segment's sequence number.
    pub seq: Seq,
    /// Largest segment that fits: the link's MTU less IP and TCP headers without options.
    pub mss: u16,
}

/// Reads a message. None: it is about something else than the size of a TCP segment.
///
/// # Errors
/// Why a message about the size of a TCP segment is not to be believed.
pub fn too_big(frame: &[u8], at: &IcmpHeaders) -> Result<Option<TooBigMessage>, PathMessage> {
    // A jumbo frame may be scattered, and then this is less than the whole.
    let Some(icmp) = frame.get(at.l4..at.end) else { return Ok(None) };
    match (at.source, at.destination) {
        (IpAddr::V4(_), IpAddr::V4(to)) => too_big_v4(icmp, to.into(), at.vlan),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let Ok(packet) = Icmpv6Packet::new_checked(icmp) else { return Ok(None) };
            if packet.msg_type() != Icmpv6Message::PktTooBig {
                return Ok(None);
            }
            if !packet.verify_checksum(&from, &to) {
                return Err(PathMessage::Malformed);
            }
            // Any code is "too big" (RFC 4443 3.2).
            let Some(quoted) = quoted_v6(packet.payload())? else { return Ok(None) };
            let mtu = packet.pkt_too_big_mtu().min(u16::MAX.into()) as usize;
            if mtu < IPV6_MINIMUM {
                return Err(PathMessage::BelowMinimum); // RFC 8201 4
            }
            quoted.message(mtu, 60, to.into(), at.vlan).map(Some)
        }
        _ => Ok(None),
    }
}

fn too_big_v4(icmp: &[u8], to: IpAddr, vlan: [Option<u16>; 2]) -> Result<Option<TooBigMessage>, PathMessage> {
    let Ok(packet) = Icmpv4Packet::new_checked(icmp) else { return Ok(None) };
    if packet.msg_type() != Icmpv4Message::DstUnreachable || packet.msg_code() != FRAGMENTATION_NEEDED {
        return Ok(None);
    }
    if !packet.verify_checksum() {
        return Err(PathMessage::Malformed);
    }
    let Some(quoted) = quoted_v4(packet.data())? else { return Ok(None) };
    // RFC 1191 4: the MTU lies where the second half of an echo's identification does. 0: a router from before that RFC.
    let mtu = match usize::from(packet.echo_seq_no()) {
        0 => PLATEAUS.into_iter().find(|&size| size < quoted.len).unwrap_or(68),
        mtu => mtu,
    };
    quoted.message(mtu, 40, to, vlan).map(Some)
}

/// What is quoted of a TCP segment.
struct Quoted {
    source: SocketAddr,
    destination: SocketAddr,
    seq: Seq,
    /// Length of the IP packet, as its header says.
    len: usize,
}

impl Quoted {
    /// `headers`: length of IP and TCP header without options.
    fn message(
        self,
        mtu: usize,
        headers: usize,
        to: IpAddr,
        vlan: [Option<u16>; 2],
    ) -> Result<TooBigMessage, PathMessage> {
        if to != self.source.ip() {
            return Err(PathMessage::Malformed);
        }
        if mtu >= self.len {
            return Err(PathMessage::NotSmaller);
        }
        let Self { source, destination, seq, .. } = self;
        Ok(TooBigMessage { source, destination, vlan, seq, mss: mtu.saturating_sub(headers) as u16 })
    }
}

/// None: it is no TCP, or a later fragment, which has no ports.
fn quoted_v4(packet: &[u8]) -> Result<Option<Quoted>, PathMessage> {
    if packet.len() < 20 {
        return Err(PathMessage::Malformed);
    }
    // Only what is quoted of it is here, so its lengths are checked one by one.
    let ip = Ipv4Packet::new_unchecked(packet);
    let header = usize::from(ip.header_len());
    if ip.version() != 4 || header < 20 {
        return Err(PathMessage::Malformed);
    }
    if ip.next_header() != IpProtocol::Tcp || ip.frag_offset() != 0 {
        return Ok(None);
    }
    let ends = (ip.src_addr().into(), ip.dst_addr().into());
    quoted(packet.get(header..), ends, ip.total_len().into()).map(Some)
}

/// None: it is no TCP, or has extension headers, which no segment of ours has.
fn quoted_v6(packet: &[u8]) -> Result<Option<Quoted>, PathMessage> {
    if packet.len() < 40 {
        return Err(PathMessage::Malformed);
    }
    let ip = Ipv6Packet::new_unchecked(packet);
    if ip.version() != 6 {
        return Err(PathMessage::Malformed);
    }
    if ip.next_header() != IpProtocol::Tcp {
        return Ok(None);
    }
    quoted(packet.get(40..), (ip.src_addr().into(), ip.dst_addr().into()), ip.total_len()).map(Some)
}

fn quoted(tcp: Option<&[u8]>, ends: (IpAddr, IpAddr), len: usize) -> Result<Quoted, PathMessage> {
    let tcp = tcp.and_then(|tcp| tcp.first_chunk::<QUOTED_TCP>()).ok_or(PathMessage::Malformed)?;
    let [from_high, from_low, to_high, to_low, seq @ ..] = *tcp;
    Ok(Quoted {
        source: SocketAddr::new(ends.0, u16::from_be_bytes([from_high, from_low])),
        destination: SocketAddr::new(ends.1, u16::from_be_bytes([to_high, to_low])),
        seq: Seq(u32::from_be_bytes(seq)),
        len,
    })
}
