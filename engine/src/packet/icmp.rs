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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Class, classify};
    use crate::peers;

    /// A full segment from 10.0.0.1:40000 to 10.0.0.2:443, sequence number 0x01020304, over either IP version.
    fn segment(ipv6: bool) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        if ipv6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 5, 0xb4, 6, 64]);
            frame.extend([0xfd; 16]);
            frame.extend([0xfe; 16]);
        } else {
            frame.extend([8, 0, 0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend([0x9c, 0x40, 1, 187, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 0x10, 255, 255, 0, 0, 0, 0]);
        frame.resize(1514, 7);
        frame
    }

    fn read(frame: &[u8]) -> Result<Option<TooBigMessage>, PathMessage> {
        match classify(frame) {
            Class::Icmp(at) => too_big(frame, &at),
            other => panic!("{other:?}"),
        }
    }

    fn told(ipv6: bool, mtu: usize, quote: usize) -> Vec<u8> {
        peers::too_big(&segment(ipv6), mtu, quote).expect("an IP packet")
    }

    #[test]
    fn what_it_says_of_which_segment() {
        for (ipv6, mss) in [(false, 1360), (true, 1340)] {
            for quote in [8, 28, 500] {
                let message = read(&told(ipv6, 1400, quote)).expect("sound").expect("about TCP");
                assert_eq!((message.seq, message.mss), (Seq(0x0102_0304), mss));
                assert_eq!((message.source.port(), message.destination.port()), (40_000, 443));
                assert_eq!(message.source.is_ipv6(), ipv6);
            }
            assert_eq!(read(&told(ipv6, 1400, 7)), Err(PathMessage::Malformed));
            assert_eq!(read(&told(ipv6, 1500, 8)), Err(PathMessage::NotSmaller));
        }
        let mss = |mtu| read(&told(false, mtu, 8)).map(|message| message.expect("about TCP").mss);
        assert_eq!((mss(0), mss(68), mss(1)), (Ok(1452), Ok(28), Ok(0)));
        assert_eq!(read(&told(true, 1279, 8)), Err(PathMessage::BelowMinimum));
        assert_eq!(read(&told(true, 1280, 8)).map(|m| m.map(|m| m.mss)), Ok(Some(1220)));
    }

    #[test]
    fn other_messages_are_not_ours() {
        for (ipv6, l4) in [(false, 34), (true, 54)] {
            // An echo, another type, another code; and a quoted packet that is no TCP, or a later fragment.
            for (at, value) in [(0, 8), (0, 128), (0, 1), (if ipv6 { 0 } else { 1 }, 3)] {
                let mut frame = told(ipv6, 1400, 8);
                frame[l4 + at] = value;
                assert_eq!(read(&frame), Ok(None), "{at} {value}");
            }
            let mut udp = segment(ipv6);
            udp[if ipv6 { 20 } else { 23 }] = 17;
            assert_eq!(read(&peers::too_big(&udp, 1400, 8).expect("IP")), Ok(None));
        }
        let mut later = segment(false);
        later[21] = 1;
        assert_eq!(read(&peers::too_big(&later, 1400, 8).expect("IP")), Ok(None));
    }

    #[test]
    fn no_changed_bit_and_no_cut_gets_through() {
        for (ipv6, l4) in [(false, 34), (true, 54)] {
            let whole = told(ipv6, 1400, 8);
            for at in l4..whole.len() {
                for bit in 0..8 {
                    let mut frame = whole.clone();
                    frame[at] ^= 1 << bit;
                    assert!(!matches!(read(&frame), Ok(Some(_))), "bit {bit} of byte {at}");
                }
            }
            // To another host than the one that is quoted as the sender, with right checksums.
            let mut frame = whole.clone();
            let (to, sum) = (l4 - 1, l4 + 3);
            frame[to] ^= 1;
            if ipv6 {
                frame[sum] = frame[sum].wrapping_add(1);
            }
            assert_eq!(read(&frame), Err(PathMessage::Malformed));
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 62..200),
            v6: bool,
            quoted_version in 0u8..8,
        ) {
            let l4 = if v6 { 54 } else { 34 };
            bytes[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
            if v6 {
                bytes[20] = 58;
                let len = (bytes.len() - 54) as u8;
                bytes[18..20].copy_from_slice(&[0, len]);
                bytes[l4] = 2;
            } else {
                bytes[23] = 1;
                let len = (bytes.len() - 14) as u8;
                bytes[16..18].copy_from_slice(&[0, len]);
                bytes[20..22].fill(0);
                bytes[l4..l4 + 2].copy_from_slice(&[3, 4]);
            }
            if let Some(first) = bytes.get_mut(l4 + 8) {
                *first = quoted_version << 4 | *first & 0xf;
            }
            bytes[l4 + 2..l4 + 4].fill(0);
            // With the right checksum, so that what lies behind it is looked at.
            if let Class::Icmp(at) = classify(&bytes) {
                match (at.source, at.destination) {
                    (IpAddr::V6(from), IpAddr::V6(to)) => {
                        Icmpv6Packet::new_unchecked(&mut bytes[at.l4..at.end]).fill_checksum(&from, &to);
                    }
                    _ => Icmpv4Packet::new_unchecked(&mut bytes[at.l4..at.end]).fill_checksum(),
                }
                let _ = too_big(&bytes, &at);
            }
        }
    }
}
