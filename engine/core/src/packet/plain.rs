//! What nearly all frames are, read in one step: Ethernet with at most one VLAN tag, IPv4 without options or IPv6 without extensions,
//! and behind it a whole TCP segment or UDP datagram.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::classify::{Class, Datagram, Headers, IPV4_HEADER, IPV6_HEADER, TCP, TCP_HEADER, UDP, UDP_HEADER};

const ETHERNET: usize = 14;
/// A VLAN tag (802.1Q).
const TAG: usize = 4;

/// What is behind the Ethernet header.
struct Packet<'a> {
    /// Where it begins.
    l3: usize,
    vlan: [Option<u16>; 2],
    bytes: &'a [u8],
}

/// The headers of such a frame; none: it is something else, or broken, and is to be read step by step.
#[inline(always)]
pub(super) fn plain(frame: &[u8]) -> Option<Class> {
    match frame.get(12..15)? {
        [8, 0, 0x45] => ipv4(&Packet { l3: ETHERNET, vlan: [None; 2], bytes: &frame[ETHERNET..] }),
        [0x86, 0xdd, first] if first >> 4 == 6 => {
            ipv6(&Packet { l3: ETHERNET, vlan: [None; 2], bytes: &frame[ETHERNET..] })
        }
        [0x81, 0, _] => tagged(frame),
        _ => None,
    }
}

fn tagged(frame: &[u8]) -> Option<Class> {
    let [high, low, ethertype @ .., first] = *frame[ETHERNET..].first_chunk::<5>()?;
    let id = u16::from_be_bytes([high, low]) & 0x0fff;
    // Priority tags may come in any number.
    if id == 0 {
        return None;
    }
    let l3 = ETHERNET + TAG;
    let packet = Packet { l3, vlan: [Some(id), None], bytes: &frame[l3..] };
    match (ethertype, first) {
        ([8, 0], 0x45) => ipv4(&packet),
        ([0x86, 0xdd], 0x60..=0x6f) => ipv6(&packet),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(packet: &Packet<'_>) -> Option<Class> {
    let header: &[u8; IPV4_HEADER + UDP_HEADER] = packet.bytes.first_chunk()?;
    // More fragments, or an offset (RFC 791 3.1).
    let is_fragment = header[6] & 0x3f != 0 || header[7] != 0;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if is_fragment || length > packet.bytes.len() {
        return None;
    }
    let address = |at: usize| Ipv4Addr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let ports = header[IPV4_HEADER..].first_chunk()?;
    let ends = [(address(12), from(ports)).into(), (address(16), to(ports)).into()];
    transport(packet, header[9], IPV4_HEADER, length, ends)
}

fn ipv6(packet: &Packet<'_>) -> Option<Class> {
    let header: &[u8; IPV6_HEADER + UDP_HEADER] = packet.bytes.first_chunk()?;
    let length = IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if length > packet.bytes.len() {
        return None;
    }
    let address = |at: usize| header[at..].first_chunk().map(|bytes| Ipv6Addr::from(*bytes));
    let ports = header[IPV6_HEADER..].first_chunk()?;
    let ends = [(address(8)?, from(ports)).into(), (address(24)?, to(ports)).into()];
    transport(packet, header[6], IPV6_HEADER, length, ends)
}

fn from(ports: &[u8; 4]) -> u16 {
    u16::from_be_bytes([ports[0], ports[1]])
}

fn to(ports: &[u8; 4]) -> u16 {
    u16::from_be_bytes([ports[2], ports[3]])
}

/// `length`: of the packet, which is there as a whole.
#[inline(always)]
fn transport(
    packet: &Packet<'_>,
    protocol: u8,
    ip_header: usize,
    length: usize,
    [source, destination]: [SocketAddr; 2],
) -> Option<Class> {
    let Packet { l3, vlan, bytes } = *packet;
    let (l4, end) = (l3 + ip_header, l3 + length);
    match protocol {
        TCP => {
            let header = usize::from(bytes.get(ip_header + 12)? >> 4) * 4;
            let is_whole = header >= TCP_HEADER && ip_header + header <= length;
            is_whole.then_some(Class::Tcp(Headers { l3, l4, end, vlan, source, destination }))
        }
        UDP if ip_header + UDP_HEADER <= length => {
            let payload = l4 + UDP_HEADER;
            Some(Class::Udp(Datagram { payload, end, is_fragment: false, vlan, source, destination }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::classify::step_by_step;
    use super::*;

    /// A frame of 20 bytes behind the TCP or UDP header.
    fn frame(tags: &[u16], is_v6: bool, protocol: u8) -> Vec<u8> {
        let mut frame = vec![2; 12];
        tags.iter().for_each(|tag| frame.extend([0x81, 0, (tag >> 8) as u8, *tag as u8]));
        let behind = 20 + if protocol == TCP { TCP_HEADER } else { UDP_HEADER } as u8;
        match is_v6 {
            true => {
                frame.extend([0x86, 0xdd, 0x6b, 0, 0, 0, 0, behind, protocol, 64]);
                frame.extend([0x20; 16]);
                frame.extend([0x21; 16]);
            }
            false => {
                frame.extend([8, 0, 0x45, 0, 0, 20 + behind, 1, 2, 0x40, 0, 64, protocol, 0, 0]);
                frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
            }
        }
        frame.extend([0x12, 0x34, 1, 0xbb]);
        match protocol {
            TCP => frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]),
            _ => frame.extend([0, 28, 0, 0]),
        }
        frame.extend([7; 20]);
        frame
    }

    #[test]
    fn most_frames_are_plain() {
        for protocol in [TCP, UDP] {
            for is_v6 in [false, true] {
                for tags in [&[][..], &[7]] {
                    let whole = frame(tags, is_v6, protocol);
                    assert_eq!(plain(&whole), Some(step_by_step(&whole)), "{protocol} {is_v6} {tags:?}");
                    // With padding.
                    let padded = [&whole[..], &[0; 9]].concat();
                    assert_eq!(plain(&padded), Some(step_by_step(&whole)));
                    assert_eq!(plain(&whole[..whole.len() - 1]), None, "cut");
                }
                // A priority, two VLANs.
                assert_eq!(plain(&frame(&[0x2000], is_v6, protocol)), None);
                assert_eq!(plain(&frame(&[7, 8], is_v6, protocol)), None);
            }
        }
    }

    proptest! {
        /// Whatever is read in one step is read the same step by step.
        #[test]
        fn agrees_with_reading_step_by_step(
            is_v6: bool,
            is_tcp: bool,
            tags in prop::collection::vec(any::<u16>(), 0..3),
            changes in prop::collection::vec((12usize..100, any::<u8>()), 0..4),
            cut in prop_oneof![Just(0), 1usize..70],
        ) {
            let mut bytes = frame(&tags, is_v6, if is_tcp { TCP } else { UDP });
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Some(found) = plain(&bytes) {
                prop_assert_eq!(found, step_by_step(&bytes));
            }
        }
    }
}
