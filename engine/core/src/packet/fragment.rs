//! A piece of an IP packet.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::Ipv4Packet;

/// Where things lie in the frame of a fragment whose packet is TCP, and which packet it is a piece of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of the IP header.
    pub l3: usize,
    /// End of what every fragment repeats (RFC 8200 4.5, "per-fragment headers"): the IPv4 header with its options, or
    /// the IPv6 header with the extension headers before the fragment header.
    pub headers_end: usize,
    /// IPv6: offset of the byte that says that a fragment header follows.
    pub next_header: usize,
    /// What it brings. `l3 < headers_end <= data <= end <= frame.len()`.
    pub data: usize,
    /// End of the IP packet; what follows is Ethernet padding.
    pub end: usize,
    /// Place of the data in the whole packet's, in bytes; a multiple of 8.
    pub offset: usize,
    /// It is not the last one.
    pub more: bool,
    /// The identification that all fragments of a packet share.
    pub id: u32,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
}

impl Fragment {
    /// The piece itself.
    pub fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.data..self.end]
    }

    /// The first fragment alone has the TCP header, or at least the ports: sender and receiver.
    pub fn ends(&self, frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        match self.payload(frame) {
            [a, b, c, d, ..] if self.offset == 0 => Some((
                SocketAddr::new(self.source, u16::from_be_bytes([*a, *b])),
                SocketAddr::new(self.destination, u16::from_be_bytes([*c, *d])),
            )),
            _ => None,
        }
    }

    /// What a host asks of a fragment before it looks at others: data, a multiple of 8 bytes unless it is the last one
    /// (RFC 791 3.2, RFC 8200 4.5), a packet of 65535 bytes at most.
    pub fn is_sound(&self) -> bool {
        let len = self.end - self.data;
        let fixed = if self.source.is_ipv4() { 0 } else { 40 };
        let whole = (self.headers_end - self.l3 - fixed) + self.offset + len;
        len > 0 && (!self.more || len.is_multiple_of(8)) && whole <= usize::from(u16::MAX)
    }

    /// The checksum of an IPv4 header; IPv6 has none.
    pub(crate) fn verify_header(&self, frame: &[u8]) -> bool {
        !self.source.is_ipv4() || Ipv4Packet::new_unchecked(&frame[self.l3..self.end]).verify_checksum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(v6: bool, offset: usize, len: usize, more: bool) -> Fragment {
        let source: IpAddr = if v6 { "fd00::1" } else { "10.0.0.1" }.parse().expect("an address");
        let (l3, vlan) = (14, [None; 2]);
        // With eight bytes of options or extension headers.
        let headers_end = l3 + if v6 { 48 } else { 28 };
        let data = headers_end + if v6 { 8 } else { 0 };
        let (next_header, id, end, destination) = (l3 + 6, 1, data + len, source);
        Fragment { l3, headers_end, next_header, data, end, offset, more, id, vlan, source, destination }
    }

    #[test]
    fn a_sound_fragment_has_bytes_at_a_place_that_a_packet_has() {
        for v6 in [false, true] {
            // What a packet's length counts beside the data: IPv4 its header, IPv6 the extension headers alone.
            let room = usize::from(u16::MAX) - if v6 { 8 } else { 28 };
            for (offset, len, more, is_sound) in [
                (0, 0, true, false),
                (0, 8, true, true),
                (0, 9, true, false),
                (8, 9, false, true),
                (64_000, room - 64_000, false, true),
                (64_000, room - 64_000 + 1, false, false),
            ] {
                assert_eq!(
                    fragment(v6, offset, len, more).is_sound(),
                    is_sound,
                    "{v6} {offset} {len} {more}"
                );
            }
        }
    }
}
