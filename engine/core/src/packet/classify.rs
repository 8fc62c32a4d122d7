//! What a frame is, as far as the engine cares: TCP of a flow, a TCP fragment, something to forward, or broken.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};
use tcp_stack::Flags;

use super::checksum::Sum;
use super::fragment::Fragment;
use super::icmp::IcmpHeaders;
use super::plain::plain;
use super::uninspected::Uninspected;
use crate::reason::PacketDrop;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Protocols (IPv4) and next headers (IPv6) that are looked for (RFC 8200, RFC 4302).
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const HOP_BY_HOP: u8 = 0;
const ICMPV6: u8 = 58;
const NO_NEXT_HEADER: u8 = 59;
/// IPv4 header without options.
pub(super) const IPV4_HEADER: usize = 20;
/// IPv6 header without extensions.
pub(super) const IPV6_HEADER: usize = 40;
/// TCP header without options.
pub(super) const TCP_HEADER: usize = 20;
/// UDP header (RFC 768).
pub(super) const UDP_HEADER: usize = 8;
/// Tags of a frame that are looked at. Two may be VLANs; hosts strip priority tags in any number.
const MAX_TAGS: usize = 8;

/// Where the headers of a TCP segment lie in its frame, and between whom it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Offset of the IP header; the Ethernet header with its tags lies before it.
    pub l3: usize,
    /// Offset of the TCP header.
    pub l4: usize,
    /// End of the IP packet; what follows is Ethernet padding. `l3 < l4 <= end <= frame.len()`.
    pub end: usize,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

impl Headers {
    /// TCP header and payload.
    pub fn segment<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.l4..self.end]
    }

    /// Bytes of payload.
    pub fn payload_len(&self, frame: &[u8]) -> usize {
        let header = usize::from(frame[self.l4 + 12] >> 4) * 4;
        (self.end - self.l4).saturating_sub(header)
    }

    /// The TCP header's control bits, as they stand there.
    pub fn flag_bits(&self, frame: &[u8]) -> u8 {
        frame[self.l4 + 13]
    }

    /// The TCP header's control bits, except ACK.
    pub fn flags(&self, frame: &[u8]) -> Flags {
        Flags::from_bits(frame[self.l4 + 13])
    }

    /// MAC address of the receiver.
    pub fn next_hop(&self, frame: &[u8]) -> [u8; 6] {
        std::array::from_fn(|n| frame[n])
    }

    /// TTL (IPv4) or hop limit (IPv6).
    pub fn hop_limit(&self, frame: &[u8]) -> u8 {
        frame[self.l3 + if self.source.is_ipv4() { 8 } else { 7 }]
    }

    /// The IP header's own checksum (IPv4) and the TCP checksum are right.
    pub fn verify_checksums(&self, frame: &[u8]) -> Result<(), PacketDrop> {
        let (ip, segment) = (&frame[self.l3..self.end], self.segment(frame));
        // RFC 9293 3.1: the pseudo header, in an order of our own, and the segment.
        let mut sum = Sum::default();
        if self.source.is_ipv4() {
            let (len, mut header) = (self.l4 - self.l3, Sum::default());
            match ip.first_chunk::<IPV4_HEADER>() {
                // Of known length, and so without loops.
                Some(fixed) if len == IPV4_HEADER => header.add(fixed),
                _ => header.add(&ip[..len]),
            }
            if !header.is_right() {
                return Err(PacketDrop::BadIpHeader);
            }
            sum.add(&ip[12..20]);
        } else {
            sum.add(&ip[8..40]);
        }
        let [high, low] = (segment.len() as u16).to_be_bytes();
        sum.add(&[0, TCP, high, low]);
        sum.add(segment);
        if sum.is_right() { Ok(()) } else { Err(PacketDrop::BadTcpChecksum) }
    }
}

/// A UDP datagram, or its first fragment, and between whom it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Offset of what follows the UDP header.
    pub payload: usize,
    /// End of the IP packet. `payload <= end`.
    pub end: usize,
    /// More of it follows, in other fragments.
    pub is_fragment: bool,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A whole TCP segment.
    Tcp(Headers),
    /// A piece of a TCP segment, the first or another.
    Fragment(Fragment),
    /// A whole ICMP message, of either version.
    Icmp(IcmpHeaders),
    /// A UDP datagram, whole or its first fragment.
    Udp(Datagram),
    /// Something that is not looked into: `[passthrough]` says what becomes of it.
    Uninspected(Uninspected),
    /// Says that it is IP, but its headers do not hold what they promise.
    Bad(PacketDrop),
}

/// Classifies a frame by its (first) segment of bytes. Never looks past headers; bounded by the frame's length.
#[inline]
pub fn classify(frame: &[u8]) -> Class {
    plain(frame).unwrap_or_else(|| step_by_step(frame))
}

/// Whatever the frame is.
pub(super) fn step_by_step(frame: &[u8]) -> Class {
    let Ethernet { ethertype, l3, vlan } = match ethernet(frame) {
        Ok(ethernet) => ethernet,
        Err(Unreadable::Truncated) => return Class::Bad(PacketDrop::Truncated),
        Err(Unreadable::Tags) => return Class::Uninspected(Uninspected::Tags),
    };
    match ethertype {
        ETHERTYPE_IPV4 => ipv4(frame, l3, vlan),
        ETHERTYPE_IPV6 => ipv6(frame, l3, vlan),
        _ => Class::Uninspected(Uninspected::of_ethertype(ethertype, &frame[l3..])),
    }
}

struct Ethernet {
    /// Behind all tags.
    ethertype: u16,
    /// Where what it announces begins.
    l3: usize,
    /// VLAN ids, outermost first.
    vlan: [Option<u16>; 2],
}

/// Why nobody knows what is behind an Ethernet header.
enum Unreadable {
    Truncated,
    /// More VLANs or tags than are looked at.
    Tags,
}

/// 802.1Q, 802.1ad, and the older QinQ type that switches still send.
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

/// What is before the IP header: at most two VLANs, and priority tags in between.
fn ethernet(frame: &[u8]) -> Result<Ethernet, Unreadable> {
    let mut ethertype = be16(frame, 12).ok_or(Unreadable::Truncated)?;
    let (mut offset, mut vlan, mut vlans) = (14, [None; 2], 0);
    while is_tag(ethertype) {
        if offset == 14 + 4 * MAX_TAGS {
            return Err(Unreadable::Tags);
        }
        let Some(&[high, low, next_high, next_low]) = frame.get(offset..).and_then(|f| f.first_chunk())
        else {
            return Err(Unreadable::Truncated);
        };
        // Id 0 is no VLAN but a priority (802.1Q 9.6): hosts take such a frame for an untagged one.
        let id = u16::from_be_bytes([high, low]) & 0x0fff;
        if id != 0 {
            *vlan.get_mut(vlans).ok_or(Unreadable::Tags)? = Some(id);
            vlans += 1;
        }
        ethertype = u16::from_be_bytes([next_high, next_low]);
        offset += 4;
    }
    Ok(Ethernet { ethertype, l3: offset, vlan })
}

fn ipv4(frame: &[u8], l3: usize, vlan: [Option<u16>; 2]) -> Class {
    let Ok(ip) = Ipv4Packet::new_checked(&frame[l3..]) else { return Class::Bad(PacketDrop::BadIpHeader) };
    if ip.version() != 4 || usize::from(ip.header_len()) < 20 {
        return Class::Bad(PacketDrop::BadIpHeader);
    }
    let l4 = l3 + usize::from(ip.header_len());
    let end = l3 + usize::from(ip.total_len());
    let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
    let is_fragment = ip.frag_offset() > 0 || ip.more_frags();
    match ip.next_header() {
        IpProtocol::Tcp => {}
        IpProtocol::Udp if ip.frag_offset() == 0 => {
            return udp(frame, &Layers { l3, l4, end, vlan }, is_fragment, source, destination);
        }
        IpProtocol::Icmp if !is_fragment => {
            return Class::Icmp(IcmpHeaders { l4, end, vlan, source, destination });
        }
        other => return Class::Uninspected(Uninspected::of_protocol(other.into(), false)),
    }
    if is_fragment {
        return Class::Fragment(Fragment {
            l3,
            headers_end: l4,
            next_header: l3 + 9,
            data: l4,
            end,
            offset: ip.frag_offset().into(),
            more: ip.more_frags(),
            id: ip.ident().into(),
            vlan,
            source,
            destination,
        });
    }
    tcp(frame, Layers { l3, l4, end, vlan }, source, destination)
}

fn ipv6(frame: &[u8], l3: usize, vlan: [Option<u16>; 2]) -> Class {
    let Ok(ip) = Ipv6Packet::new_checked(&frame[l3..]) else { return Class::Bad(PacketDrop::BadIpHeader) };
    if ip.version() != 6 {
        return Class::Bad(PacketDrop::BadIpHeader);
    }
    if ip.payload_len() == 0 {
        return match u8::from(ip.next_header()) {
            HOP_BY_HOP => Class::Uninspected(Uninspected::Jumbogram),
            NO_NEXT_HEADER => Class::Uninspected(Uninspected::NoNextHeader),
            _ => Class::Bad(PacketDrop::BadIpHeader),
        };
    }
    let end = l3 + ip.total_len();
    let mut next = u8::from(ip.next_header());
    let mut next_at = l3 + 6;
    let mut l4 = l3 + ip.header_len();
    let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
    // RFC 8200 4: extension headers in any number; each moves `l4` on by at least eight bytes, so this ends.
    while next != TCP {
        let (Some(&following), Some(&length)) = (frame[..end].get(l4), frame[..end].get(l4 + 1)) else {
            return match next {
                _ if is_extension(next) => Class::Bad(PacketDrop::Truncated),
                UDP => Class::Bad(PacketDrop::Truncated),
                _ => Class::Uninspected(Uninspected::of_protocol(next, true)),
            };
        };
        let header = match next {
            FRAGMENT => match fragment(&frame[..end], l4) {
                None => return Class::Bad(PacketDrop::Truncated),
                // A whole packet for all that (RFC 6946).
                Some((0, false, _)) => 8,
                Some(_) if is_extension(following) => return Class::Bad(PacketDrop::FragmentChain),
                Some((offset, more, id)) if following == TCP => {
                    let (headers_end, data) = (l4, l4 + 8);
                    return Class::Fragment(Fragment {
                        l3,
                        headers_end,
                        next_header: next_at,
                        data,
                        end,
                        offset,
                        more,
                        id,
                        vlan,
                        source,
                        destination,
                    });
                }
                Some((0, ..)) if following == UDP => {
                    return udp(frame, &Layers { l3, l4: l4 + 8, end, vlan }, true, source, destination);
                }
                Some(_) => return Class::Uninspected(Uninspected::of_protocol(following, true)),
            },
            // RFC 4302 2.2: counted in 4-byte units.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ if is_extension(next) => (usize::from(length) + 1) * 8,
            ICMPV6 => return Class::Icmp(IcmpHeaders { l4, end, vlan, source, destination }),
            UDP => return udp(frame, &Layers { l3, l4, end, vlan }, false, source, destination),
            _ => return Class::Uninspected(Uninspected::of_protocol(next, true)),
        };
        (next, next_at, l4) = (following, l4, l4 + header);
    }
    tcp(frame, Layers { l3, l4, end, vlan }, source, destination)
}

/// Offset in bytes, "more fragments" and identification of the fragment header at `at` (RFC 8200 4.5).
fn fragment(packet: &[u8], at: usize) -> Option<(usize, bool, u32)> {
    let field = be16(packet, at + 2)?;
    let id = packet.get(at + 4..at + 8)?.try_into().ok()?;
    Some((usize::from(field & 0xfff8), field & 1 != 0, u32::from_be_bytes(id)))
}

/// A header after which another one follows.
const fn is_extension(next_header: u8) -> bool {
    // hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, shim6
    matches!(next_header, 0 | 43 | FRAGMENT | AUTHENTICATION | 60 | 135 | 139 | 140)
}

struct Layers {
    l3: usize,
    l4: usize,
    end: usize,
    vlan: [Option<u16>; 2],
}

fn tcp(frame: &[u8], at: Layers, source: IpAddr, destination: IpAddr) -> Class {
    // A jumbo frame may be scattered: the headers lie in the first segment, the end may not.
    let visible = at.end.min(frame.len());
    let segment = frame.get(at.l4..visible).unwrap_or_default();
    let (Some(from), Some(to)) = (be16(segment, 0), be16(segment, 2)) else {
        return Class::Bad(PacketDrop::Truncated);
    };
    let header = segment.get(12).map_or(0, |b| usize::from(b >> 4) * 4);
    if header < TCP_HEADER || header > segment.len() {
        return Class::Bad(PacketDrop::BadTcpHeader);
    }
    Class::Tcp(Headers {
        l3: at.l3,
        l4: at.l4,
        end: at.end,
        vlan: at.vlan,
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    })
}

fn udp(frame: &[u8], at: &Layers, is_fragment: bool, source: IpAddr, destination: IpAddr) -> Class {
    let header = frame.get(at.l4..at.end.min(frame.len())).unwrap_or_default();
    let (Some(from), Some(to), UDP_HEADER..) = (be16(header, 0), be16(header, 2), header.len()) else {
        return Class::Bad(PacketDrop::Truncated);
    };
    Class::Udp(Datagram {
        payload: at.l4 + UDP_HEADER,
        end: at.end,
        is_fragment,
        vlan: at.vlan,
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

    fn frame(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut f = MACS.to_vec();
        for (tpid, tci) in tags {
            f.extend(tpid.to_be_bytes());
            f.extend(tci.to_be_bytes());
        }
        f.extend(ethertype.to_be_bytes());
        f.extend(payload);
        f
    }

    fn segment() -> Vec<u8> {
        let mut s = vec![0x30, 0x39, 0x01, 0xbb];
        s.extend([0; 8]);
        s.extend([5 << 4, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        s.extend(b"hello");
        s
    }

    fn ipv4_packet(options: usize, frag: u16, payload: &[u8]) -> Vec<u8> {
        let len = 20 + options + payload.len();
        let mut p = vec![0x45 + (options / 4) as u8, 0, (len >> 8) as u8, len as u8, 0, 0];
        p.extend(frag.to_be_bytes());
        p.extend([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        p.extend(vec![1; options]);
        p.extend(payload);
        p
    }

    fn ipv6_packet(chain: &[(u8, Vec<u8>)], last: u8, payload: &[u8]) -> Vec<u8> {
        let len: usize = chain.iter().map(|(_, h)| h.len()).sum::<usize>() + payload.len();
        let first = chain.first().map_or(last, |c| c.0);
        let mut p = vec![0x60, 0, 0, 0, (len >> 8) as u8, len as u8, first, 64];
        p.extend([0xfd; 16]);
        p.extend([0xfe; 16]);
        for (i, (_, header)) in chain.iter().enumerate() {
            let next = chain.get(i + 1).map_or(last, |c| c.0);
            p.push(next);
            p.extend(&header[1..]);
        }
        p.extend(payload);
        p
    }

    fn headers(frame: &[u8]) -> Headers {
        match classify(frame) {
            Class::Tcp(h) => h,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ipv4_with_options_tags_and_padding() {
        let mut f = frame(&[(0x88a8, 100), (0x8100, 0x6007)], ETHERTYPE_IPV4, &ipv4_packet(8, 0, &segment()));
        f.extend([0; 9]);
        let h = headers(&f);
        assert_eq!(h.vlan, [Some(100), Some(7)]);
        assert_eq!(h.segment(&f), segment());
        assert_eq!(h.destination, "10.0.0.2:443".parse().expect("an address"));
    }

    #[test]
    fn fields_of_a_segment_are_read_where_they_are() {
        let mut with_options = segment();
        with_options[12] = 6 << 4;
        let v4 = frame(&[(0x8100, 7)], ETHERTYPE_IPV4, &ipv4_packet(4, 0, &with_options));
        let v6 = frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&[], 6, &with_options));
        for f in [v4, v6] {
            let h = headers(&f);
            assert_eq!((h.payload_len(&f), h.hop_limit(&f)), (1, 64));
            assert_eq!((h.flag_bits(&f), h.flags(&f)), (0x18, Flags { psh: true, ..Flags::default() }));
            assert_eq!(h.next_hop(&f), MACS[..6]);
        }
    }

    #[test]
    fn a_header_that_is_longer_or_shorter_than_it_may_be() {
        for (words, is_right) in [(4, false), (5, true), (6, true), (7, false), (15, false)] {
            let mut short = segment();
            short[12] = words << 4;
            for f in [
                frame(&[], ETHERTYPE_IPV4, &ipv4_packet(4, 0, &short)),
                frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&[(0, vec![0; 8])], 6, &short)),
            ] {
                let class = classify(&f);
                assert_eq!(matches!(class, Class::Tcp(_)), is_right, "{words}");
                assert!(is_right || class == Class::Bad(PacketDrop::BadTcpHeader), "{words}");
            }
        }
    }

    #[test]
    fn ipv6_with_extension_headers() {
        let chain =
            [(0, vec![0; 8]), (43, vec![0; 8]), (60, vec![0, 1].into_iter().chain([0; 14]).collect())];
        let f = frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&chain, 6, &segment()));
        let h = headers(&f);
        assert_eq!(h.segment(&f), segment());
        assert_eq!(h.source.port(), 12345);
    }

    fn piece(frame: &[u8]) -> Fragment {
        match classify(frame) {
            Class::Fragment(f) => f,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fragments_are_told_apart() {
        let first = frame(&[], ETHERTYPE_IPV4, &ipv4_packet(4, 0x2000, &segment()));
        let f = piece(&first);
        assert_eq!((f.headers_end, f.data, f.offset, f.more), (38, 38, 0, true));
        assert_eq!(f.ends(&first).map(|(_, to)| to.port()), Some(443));
        let last = frame(&[(0x8100, 7)], ETHERTYPE_IPV4, &ipv4_packet(0, 0x0003, &segment()));
        let f = piece(&last);
        assert_eq!((f.offset, f.more, f.vlan, f.ends(&last)), (24, false, [Some(7), None], None));
        let header = vec![0, 0, 0x12, 0x39, 1, 2, 3, 4];
        let chain = [(0, vec![0; 8]), (44, header)];
        let middle = frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&chain, 6, &segment()));
        let f = piece(&middle);
        assert_eq!((f.headers_end, f.data, f.next_header), (62, 70, 54));
        assert_eq!((f.offset, f.more, f.id), (0x1238, true, 0x0102_0304));
        // An atomic fragment (RFC 6946) is a whole segment.
        let atomic = ipv6_packet(&[(44, vec![0, 0, 0, 0, 0, 0, 0, 9])], 6, &segment());
        assert!(matches!(classify(&frame(&[], ETHERTYPE_IPV6, &atomic)), Class::Tcp(_)));
        // A fragment of something else is not.
        for (protocol, header) in [(17, vec![0, 0, 0, 1, 0, 0, 0, 9]), (58, vec![0, 0, 0, 8, 0, 0, 0, 9])] {
            let other = ipv6_packet(&[(44, header)], protocol, &segment());
            assert!(!matches!(
                classify(&frame(&[], ETHERTYPE_IPV6, &other)),
                Class::Tcp(_) | Class::Fragment(_) | Class::Bad(_)
            ));
        }
    }

    /// Another fragment could write over such a header, and a host that lets it would see other ports than the engine. And
    /// two fragment headers are no atomic fragment because one of them is.
    #[test]
    fn nothing_hides_behind_a_fragment_header() {
        let (atomic, first) = (vec![0; 8], vec![0, 0, 0, 1, 0, 0, 0, 9]);
        for hiding in [0, 43, 51, 60, 135, 139, 140, 44] {
            let chain = [(44, first.clone()), (hiding, vec![0; 8])];
            let f = frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&chain, 6, &segment()));
            assert_eq!(classify(&f), Class::Bad(PacketDrop::FragmentChain), "{hiding}");
        }
        let chain = [(44, atomic), (44, first)];
        let f = frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&chain, 6, &segment()));
        assert_eq!((piece(&f).headers_end, piece(&f).next_header), (62, 54));
    }

    fn class_of(frame: &[u8]) -> Uninspected {
        match classify(frame) {
            Class::Uninspected(class) => class,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_looked_into_has_a_class() {
        use Uninspected as U;
        for (ethertype, class) in [
            (0x0806, U::Arp),
            (0x88cc, U::Link),
            (0x8847, U::Mpls),
            (0x8863, U::Pppoe),
            (0x8864, U::Pppoe),
            (0x1234, U::Ethertype),
            (0x88e5, U::Ethertype),
            (0x0040, U::Llc),
        ] {
            assert_eq!(class_of(&frame(&[(0x8100, 5)], ethertype, &[0; 46])), class, "{ethertype:x}");
        }
        for (protocol, v4, v6) in [
            (2, U::IpProtocol, U::IpProtocol),
            (4, U::IpInIp, U::IpInIp),
            (41, U::IpInIp, U::IpInIp),
            (47, U::Gre, U::Gre),
            (50, U::Ipsec, U::Ipsec),
            (59, U::IpProtocol, U::NoNextHeader),
            (132, U::IpProtocol, U::IpProtocol),
            (253, U::IpProtocol, U::UnknownHeader),
        ] {
            let mut packet = ipv4_packet(0, 0, &segment());
            packet[9] = protocol;
            assert_eq!(class_of(&frame(&[], ETHERTYPE_IPV4, &packet)), v4, "{protocol}");
            let packet = ipv6_packet(&[(0, vec![0; 8])], protocol, &[0; 8]);
            assert_eq!(class_of(&frame(&[], ETHERTYPE_IPV6, &packet)), v6, "{protocol}");
        }
        // Nothing behind the last header: only what should go on there is cut.
        for (protocol, class) in [(59, U::NoNextHeader), (47, U::Gre), (50, U::Ipsec)] {
            let packet = ipv6_packet(&[(0, vec![0; 8])], protocol, &[]);
            assert_eq!(class_of(&frame(&[], ETHERTYPE_IPV6, &packet)), class, "{protocol}");
        }
        for protocol in [UDP, 43, 60] {
            let packet = frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&[(0, vec![0; 8])], protocol, &[]));
            assert_eq!(classify(&packet), Class::Bad(PacketDrop::Truncated), "{protocol}");
        }
        let three_tags = [(0x8100, 1), (0x8100, 2), (0x8100, 3)];
        assert_eq!(class_of(&frame(&three_tags, ETHERTYPE_IPV4, &ipv4_packet(0, 0, &segment()))), U::Tags);
        assert_eq!(classify(&[0; 5]), Class::Bad(PacketDrop::Truncated));
    }

    #[test]
    fn datagrams_and_their_first_fragments_have_ports() {
        let datagram = [0x13, 0x88, 0x01, 0xbb, 0, 12, 0, 0, 1, 2, 3, 4];
        for first in [0, 0x2000] {
            let mut packet = ipv4_packet(4, first, &datagram);
            packet[9] = UDP;
            let Class::Udp(udp) = classify(&frame(&[(0x8100, 9)], ETHERTYPE_IPV4, &packet)) else { panic!() };
            assert_eq!((udp.source.port(), udp.destination.port(), udp.vlan[0]), (5000, 443, Some(9)));
            assert_eq!((udp.end - udp.payload, udp.is_fragment), (4, first != 0));
        }
        let mut later = ipv4_packet(0, 0x2001, &datagram);
        later[9] = UDP;
        assert_eq!(class_of(&frame(&[], ETHERTYPE_IPV4, &later)), Uninspected::Udp);
        // None, another one, a fragment that is the whole, and the first of several.
        let atomic = (44, vec![0, 0, 0, 0, 0, 0, 0, 9]);
        let first = (44, vec![0, 0, 0, 1, 0, 0, 0, 9]);
        for (chain, is_fragment) in
            [(vec![], false), (vec![(0, vec![0; 8])], false), (vec![atomic], false), (vec![first], true)]
        {
            let packet = ipv6_packet(&chain, UDP, &datagram);
            let Class::Udp(udp) = classify(&frame(&[], ETHERTYPE_IPV6, &packet)) else { panic!("{chain:?}") };
            assert_eq!((udp.destination.port(), udp.end - udp.payload), (443, 4));
            assert_eq!(udp.is_fragment, is_fragment, "{chain:?}");
        }
        let later = ipv6_packet(&[(44, vec![0, 0, 0, 8, 0, 0, 0, 9])], UDP, &datagram);
        assert_eq!(class_of(&frame(&[], ETHERTYPE_IPV6, &later)), Uninspected::Udp);
        let mut short = ipv4_packet(0, 0, &datagram[..7]);
        short[9] = UDP;
        assert_eq!(classify(&frame(&[], ETHERTYPE_IPV4, &short)), Class::Bad(PacketDrop::Truncated));
    }

    #[test]
    fn no_cut_panics_or_becomes_a_segment_that_is_not_there() {
        let chain = [(0, vec![0; 8]), (44, vec![0; 8]), (51, vec![0; 8])];
        for whole in [
            frame(&[(0x8100, 1)], ETHERTYPE_IPV4, &ipv4_packet(12, 0, &segment())),
            frame(&[], ETHERTYPE_IPV6, &ipv6_packet(&chain, 6, &segment())),
        ] {
            for cut in 0..whole.len() {
                if let Class::Tcp(h) = classify(&whole[..cut]) {
                    panic!("cut at {cut}: {h:?}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), v6: bool) {
            if bytes.len() > 14 {
                let t = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
                bytes[12..14].copy_from_slice(&t.to_be_bytes());
                bytes[14] = if v6 { 0x60 } else { 0x45 };
            }
            if let Class::Tcp(h) = classify(&bytes) {
                proptest::prop_assert!(h.l3 < h.l4 && h.l4 <= h.end && h.end <= bytes.len());
                let _ = h.verify_checksums(&bytes);
            }
        }
    }
}
