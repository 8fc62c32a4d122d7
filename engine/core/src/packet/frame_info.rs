//! What the log says of a frame that belongs to no flow. Read only where an event is made of it, so nothing here is on the way of a
//! packet.

use std::net::IpAddr;

use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

/// Headers that are gone through at most: whoever stacks more of them is not described better by more.
const MAX_HEADERS: usize = 16;

/// A frame's headers, as far as they can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameInfo {
    /// MAC address of the receiver.
    pub destination_mac: [u8; 6],
    /// MAC address of the sender.
    pub source_mac: [u8; 6],
    /// EtherType, or the length of an 802.3 frame, behind all tags.
    pub ethertype: u16,
    /// VLAN ids, outermost first; two of them at most.
    pub vlan: [Option<u16>; 2],
    /// Sender and receiver of an IP packet.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The protocol over IP (IPv4), the last next header (IPv6).
    pub protocol: Option<u8>,
    /// Source and destination port of TCP and UDP.
    pub ports: Option<(u16, u16)>,
}

impl FrameInfo {
    /// Reads what can be read of a frame, whatever it is.
    pub fn of(frame: &[u8]) -> Self {
        let mac = |at: usize| frame.get(at..at + 6).and_then(|mac| mac.try_into().ok()).unwrap_or_default();
        let mut info = Self { destination_mac: mac(0), source_mac: mac(6), ..Self::default() };
        let (mut at, mut vlans) = (12, 0);
        for _ in 0..MAX_HEADERS {
            let Some(ethertype) = be16(frame, at) else { return info };
            (info.ethertype, at) = (ethertype, at + 2);
            if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
                break;
            }
            let id = be16(frame, at).map(|tci| tci & 0x0fff).filter(|id| *id != 0);
            if let (Some(_), Some(place)) = (id, info.vlan.get_mut(vlans)) {
                *place = id;
                vlans += 1;
            }
            at += 2;
        }
        info.read_ip(frame.get(at..).unwrap_or_default());
        info
    }

    fn read_ip(&mut self, packet: &[u8]) {
        match (self.ethertype, packet) {
            (0x0800, [first, ..]) if first >> 4 == 4 && packet.len() >= 20 => {
                let ip = Ipv4Packet::new_unchecked(packet);
                self.addresses = Some((ip.src_addr().into(), ip.dst_addr().into()));
                self.protocol = Some(ip.next_header().into());
                if ip.frag_offset() == 0 {
                    self.read_ports(packet, ip.header_len().into());
                }
            }
            (0x86dd, [first, ..]) if first >> 4 == 6 && packet.len() >= 40 => {
                let ip = Ipv6Packet::new_unchecked(packet);
                self.addresses = Some((ip.src_addr().into(), ip.dst_addr().into()));
                self.read_chain(packet, ip.next_header().into());
            }
            _ => {}
        }
    }

    /// IPv6 extension headers (RFC 8200 4), those that are eight bytes and a length.
    fn read_chain(&mut self, packet: &[u8], first: u8) {
        let (mut next, mut at) = (first, 40);
        for _ in 0..MAX_HEADERS {
            self.protocol = Some(next);
            let length = match (next, packet.get(at + 1)) {
                (0 | 43 | 60, Some(length)) => (usize::from(*length) + 1) * 8,
                (44, Some(_)) if be16(packet, at + 2).is_some_and(|field| field & 0xfff8 == 0) => 8,
                _ => break,
            };
            (next, at) = (packet[at], at + length);
        }
        self.read_ports(packet, at);
    }

    fn read_ports(&mut self, packet: &[u8], at: usize) {
        if let (Some(6 | 17), Some(source), Some(destination)) =
            (self.protocol, be16(packet, at), be16(packet, at + 2))
        {
            self.ports = Some((source, destination));
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tags_addresses_and_ports() {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        frame.extend([0x81, 0, 0, 0, 0x88, 0xa8, 0, 7, 0x08, 0]);
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x13, 0x88, 1, 187, 0, 8, 0, 0]);
        let info = FrameInfo::of(&frame);
        assert_eq!((info.source_mac[5], info.destination_mac[5], info.vlan), (1, 2, [Some(7), None]));
        assert_eq!((info.ethertype, info.protocol, info.ports), (0x0800, Some(17), Some((5000, 443))));
        assert_eq!(info.addresses.map(|(from, _)| from.to_string()).as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn reads_through_extension_headers() {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 0, 64]);
        frame.extend([0xfd; 32]);
        frame.extend([60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9]);
        frame.extend([0x13, 0x88, 1, 187, 0, 8, 0, 0]);
        let info = FrameInfo::of(&frame);
        assert_eq!((info.protocol, info.ports), (Some(17), Some((5000, 443))));
    }

    /// What is behind the header of a later fragment is no header.
    #[test]
    fn first_fragments_alone_have_ports() {
        let mut v4 = vec![0; 12];
        v4.extend([
            0x08, 0, 0x46, 0, 0, 32, 0, 0, 0x20, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0,
        ]);
        v4.extend([0x13, 0x88, 1, 187, 0, 8, 0, 0]);
        assert_eq!(FrameInfo::of(&v4).ports, Some((5000, 443)), "behind options");
        v4[21] = 1;
        let later = FrameInfo::of(&v4);
        assert_eq!((later.protocol, later.ports), (Some(6), None));
        let mut v6 = vec![0; 12];
        v6.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 44, 64]);
        v6.extend([0xfd; 32]);
        v6.extend([6, 0, 0, 8, 0, 0, 0, 9, 0x13, 0x88, 1, 187, 0, 8, 0, 0]);
        let later = FrameInfo::of(&v6);
        assert_eq!((later.protocol, later.ports), (Some(44), None));
        v6[57] = 1;
        assert_eq!(FrameInfo::of(&v6).ports, Some((5000, 443)));
    }

    #[test]
    fn what_is_no_ip_has_no_addresses() {
        let (v4, v6) = (vec![0x45; 20], vec![0x65; 40]);
        for (ethertype, packet, is_ip) in [
            (0x0800, &v4[..], true),
            (0x0800, &v4[..19], false),
            (0x0800, &v6[..], false),
            (0x86dd, &v6[..], true),
            (0x86dd, &v6[..39], false),
            (0x86dd, &[0x45; 40], false),
            (0x0806, &v4[..], false),
        ] {
            let frame = [&[0; 12][..], &u16::to_be_bytes(ethertype), packet].concat();
            let info = FrameInfo::of(&frame);
            assert_eq!(
                (info.ethertype, info.addresses.is_some()),
                (ethertype, is_ip),
                "{ethertype:x} {packet:?}"
            );
        }
    }

    #[test]
    fn two_vlans_are_told_of_many() {
        let tags = [0x81, 0, 0xe0, 7, 0x91, 0, 0, 8, 0x88, 0xa8, 0, 9, 0x88, 0xcc];
        let info = FrameInfo::of(&[&[0; 12][..], &tags].concat());
        assert_eq!((info.vlan, info.ethertype), ([Some(7), Some(8)], 0x88cc));
    }

    proptest::proptest! {
        #[test]
        fn reads_anything(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120), kind in 0usize..4) {
            let mut bytes = bytes;
            if let Some(place) = bytes.get_mut(12..15) {
                place.copy_from_slice([&[0x08, 0, 0x45], &[0x86, 0xdd, 0x60], &[0x81, 0, 0], &[0, 9, 9][..]][kind]);
            }
            FrameInfo::of(&bytes);
        }
    }
}
