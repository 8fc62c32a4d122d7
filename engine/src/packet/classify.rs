//! What a frame is, as far as the engine cares: TCP of a flow, a TCP fragment, something to forward, or broken.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};
use tcp_stack::Flags;

use super::checksum::Sum;
use super::fragment::Fragment;
use super::icmp::IcmpHeaders;
use crate::reason::PacketDrop;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Next headers that are looked for (RFC 8200, RFC 4302).
const TCP: u8 = 6;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
/// TCP header without options.
const TCP_HEADER: usize = 20;

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
        let addresses = if self.source.is_ipv4() { 12..20 } else { 8..40 };
        if self.source.is_ipv4() && !Ipv4Packet::new_unchecked(ip).verify_checksum() {
            return Err(PacketDrop::BadIpHeader);
        }
        // RFC 9293 3.1: the pseudo header, in an order of our own, and the segment.
        let mut sum = Sum::default();
        sum.add(&ip[addresses]);
        sum.add(&[0, TCP]);
        sum.add(&(segment.len() as u16).to_be_bytes());
        sum.add(segment);
        if sum.is_right() { Ok(()) } else { Err(PacketDrop::BadTcpChecksum) }
    }
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
    /// Not ours: ARP, UDP, fragments of both, unknown types and encapsulations. Forward it as it is.
    Other,
    /// Says that it is IP, but its headers do not hold what they promise.
    Bad(PacketDrop),
}

/// Classifies a frame by its (first) segment of bytes. Never looks past headers; bounded by the frame's length.
pub fn classify(frame: &[u8]) -> Class {
    let Some((ethertype, l3, vlan)) = ethernet(frame) else { return Class::Other };
    match ethertype {
        ETHERTYPE_IPV4 => ipv4(frame, l3, vlan),
        ETHERTYPE_IPV6 => ipv6(frame, l3, vlan),
        _ => Class::Other,
    }
}

/// Ethertype after at most two VLAN tags, the offset behind them, and the ids. Frames with more tags are not ours.
fn ethernet(frame: &[u8]) -> Option<(u16, usize, [Option<u16>; 2])> {
    let mut vlan = [None; 2];
    let mut offset = 12;
    let mut ethertype = be16(frame, offset)?;
    for tag in &mut vlan {
        // 802.1Q, 802.1ad, and the older QinQ type that switches still send.
        if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        // Id 0 is no VLAN but a priority (802.1Q 9.6): hosts take such a frame for an untagged one.
        *tag = Some(be16(frame, offset + 2)? & 0x0fff).filter(|id| *id != 0);
        offset += 4;
        ethertype = be16(frame, offset)?;
    }
    if vlan[0].is_none() {
        vlan.swap(0, 1);
    }
    Some((ethertype, offset + 2, vlan))
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
        IpProtocol::Icmp if !is_fragment => {
            return Class::Icmp(IcmpHeaders { l4, end, vlan, source, destination });
        }
        _ => return Class::Other,
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
        return Class::Other; // a jumbogram (RFC 2675), or nothing at all
    }
    let end = l3 + ip.total_len();
    let mut next = u8::from(ip.next_header());
    let mut next_at = l3 + 6;
    let mut l4 = l3 + ip.header_len();
    let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
    // RFC 8200 4: extension headers in any number; each moves `l4` on by at least eight bytes, so this ends.
    while next != TCP {
        let (Some(&following), Some(&length)) = (frame[..end].get(l4), frame[..end].get(l4 + 1)) else {
            return if is_extension(next) { Class::Bad(PacketDrop::Truncated) } else { Class::Other };
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
                Some(_) => return Class::Other,
            },
            // RFC 4302 2.2: counted in 4-byte units.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ if is_extension(next) => (usize::from(length) + 1) * 8,
            ICMPV6 => return Class::Icmp(IcmpHeaders { l4, end, vlan, source, destination }),
            _ => return Class::Other,
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
            assert_eq!(classify(&frame(&[], ETHERTYPE_IPV6, &other)), Class::Other);
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

    #[test]
    fn everything_else_is_other() {
        for ethertype in [0x0806, 0x88cc, 0x8847, 0x1234, 0x0040] {
            assert_eq!(classify(&frame(&[], ethertype, &[0; 46])), Class::Other);
        }
        let mut udp = ipv4_packet(0, 0, &segment());
        udp[9] = 17;
        assert_eq!(classify(&frame(&[], ETHERTYPE_IPV4, &udp)), Class::Other);
        let udp6 = ipv6_packet(&[(0, vec![0; 8])], 17, &[0; 8]);
        assert_eq!(classify(&frame(&[], ETHERTYPE_IPV6, &udp6)), Class::Other);
        let three_tags = [(0x8100, 1), (0x8100, 2), (0x8100, 3)];
        assert_eq!(
            classify(&frame(&three_tags, ETHERTYPE_IPV4, &ipv4_packet(0, 0, &segment()))),
            Class::Other
        );
        assert_eq!(classify(&[0; 5]), Class::Other);
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
