//! Building the frames that a leg sends, so that they look like the endpoint's own.

use core::ops::Range;

use smoltcp::wire::Ipv4Packet;
use tcp_stack::Seq;

use super::checksum::{Sum, fold};
use super::classify::{Headers, TCP};

/// Places in a TCP header (RFC 9293 3.1): sequence number, offset and flags, checksum.
const TCP_SEQ: Range<usize> = 4..8;
const TCP_FLAGS: Range<usize> = 12..14;
const TCP_CHECKSUM: Range<usize> = 16..18;
/// Places in an IPv4 header (RFC 791 3.1): identification, checksum.
const IP_ID: Range<usize> = 4..6;
const IP_CHECKSUM: Range<usize> = 10..12;
/// PSH in the second byte of [`TCP_FLAGS`].
const PSH: u8 = 0x08;

/// Ethernet header with two tags.
const MAX_ETHERNET: usize = 22;
/// Longest Ethernet + IPv6 header that a template holds.
const MAX_TEMPLATE: usize = MAX_ETHERNET + 40;
/// Room that all headers of a segment can take: template and a TCP header with all its options.
pub const MAX_HEADERS: usize = MAX_TEMPLATE + 60;

/// Who fills in a frame's checksums.
#[derive(Clone, Copy, Debug)]
pub enum Checksums {
    /// We do; this is the payload's sum.
    Made(Sum),
    /// The port does.
    Offloaded {
        /// It cuts the payload into segments, too.
        cut: bool,
    },
}

/// Everything of a frame before its TCP header, copied from one that the replaced endpoint sent:
/// MACs, VLAN tags, TTL or hop limit, DSCP, flow label, addresses. IP options and extension headers are left out.
#[derive(Clone)]
pub struct Template {
    bytes: [u8; MAX_TEMPLATE],
    /// Offset of the IP header.
    l3: u8,
    /// Length of all; the TCP header follows.
    len: u8,
    /// Ports, as on the wire.
    source_port: u16,
    destination_port: u16,
    /// IPv4 identification of the next packet. DF is the endpoint's own choice.
    next_id: u16,
}

impl Template {
    /// From a frame of the endpoint that is to be replaced.
    pub fn of(frame: &[u8], headers: &Headers) -> Self {
        let ip_len = if headers.source.is_ipv4() { 20 } else { 40 };
        let mut bytes = [0; MAX_TEMPLATE];
        let l3 = copy_ethernet(&frame[..headers.l3], &mut bytes);
        let len = l3 + ip_len;
        bytes[l3..len].copy_from_slice(&frame[headers.l3..headers.l3 + ip_len]);
        let mut next_id = 0;
        if headers.source.is_ipv4() {
            let mut ip = Ipv4Packet::new_unchecked(&mut bytes[l3..len]);
            next_id = ip.ident().wrapping_add(1);
            ip.set_header_len(20);
        } else {
            bytes[l3 + 6] = 6; // next header: TCP
        }
        // RFC 3168 6.1.1: ECN was declined at the SYN.
        clear_ecn(&mut bytes[l3..len]);
        Self {
            bytes,
            l3: l3 as u8,
            len: len as u8,
            source_port: headers.source.port(),
            destination_port: headers.destination.port(),
            next_id,
        }
    }

    /// Bytes before the TCP header.
    pub fn header_len(&self) -> usize {
        self.len.into()
    }

    /// Bytes of the IP header: what of the MTU is not TCP's.
    pub(crate) fn ip_header_len(&self) -> usize {
        usize::from(self.len - self.l3)
    }

    /// Sees to it that the TTL or hop limit is not below this.
    pub(crate) fn raise_hop_limit(&mut self, least: u8) {
        let at = usize::from(self.l3) + if self.ip_header_len() == 20 { 8 } else { 7 };
        self.bytes[at] = least.max(self.bytes[at]);
    }

    /// From now on routers may fragment what is sent (IPv4; an IPv6 packet has no such bit).
    pub(crate) fn allow_fragments(&mut self) {
        if self.ip_header_len() == 20 {
            self.bytes[usize::from(self.l3) + 6] &= !0x40;
        }
    }

    /// Source and destination port.
    pub fn ports(&self) -> (u16, u16) {
        (self.source_port, self.destination_port)
    }

    /// Bytes of the Ethernet header with its tags.
    pub(crate) fn ethernet_len(&self) -> usize {
        self.l3.into()
    }

    /// Fills in what is before the TCP header, and the checksums. `head` is all headers, of which the TCP header, from
    /// `self.header_len()` on, is in its place already; `payload` bytes follow them. A frame that becomes several is counted
    /// as so many packets.
    pub fn seal(&mut self, head: &mut [u8], payload: usize, packets: u16, checksums: Checksums) {
        let (l3, len) = (usize::from(self.l3), self.header_len());
        head[..len].copy_from_slice(&self.bytes[..len]);
        let (below, tcp) = head.split_at_mut(len);
        let ip = &mut below[l3..];
        if ip[0] >> 4 == 4 {
            ip[4..6].copy_from_slice(&self.next_id.to_be_bytes());
            self.next_id = self.next_id.wrapping_add(packets);
        }
        seal_lengths(ip, tcp, payload, checksums);
    }

    /// The template of the other direction, for when the other endpoint has not been heard: MACs and addresses swapped.
    pub(crate) fn reversed(&self) -> Self {
        let mut other = self.clone();
        other.bytes[..6].copy_from_slice(&self.bytes[6..12]);
        other.bytes[6..12].copy_from_slice(&self.bytes[..6]);
        let (at, n) = if self.ip_header_len() == 20 { (12, 4) } else { (8, 16) };
        let at = usize::from(self.l3) + at;
        other.bytes[at..at + n].copy_from_slice(&self.bytes[at + n..at + 2 * n]);
        other.bytes[at + n..at + 2 * n].copy_from_slice(&self.bytes[at..at + n]);
        (other.source_port, other.destination_port) = (self.destination_port, self.source_port);
        other
    }
}

/// Fills in lengths and checksums of a packet whose TCP header is followed by so many bytes of payload.
#[inline]
fn seal_lengths(ip: &mut [u8], tcp: &mut [u8], payload: usize, checksums: Checksums) {
    let length = (tcp.len() + payload) as u16;
    let mut pseudo = Sum::default();
    if ip[0] >> 4 == 4 {
        ip[2..4].copy_from_slice(&(20 + length).to_be_bytes());
        ip[10..12].fill(0);
        if !matches!(checksums, Checksums::Offloaded { .. }) {
            let mut sum = Sum::default();
            sum.add(ip);
            ip[10..12].copy_from_slice(&sum.checksum());
        }
        pseudo.add(&ip[12..20]);
    } else {
        ip[4..6].copy_from_slice(&length.to_be_bytes());
        pseudo.add(&ip[8..40]);
    }
    pseudo.add(&[0, TCP]);
    tcp[TCP_CHECKSUM].fill(0);
    let checksum = match checksums {
        Checksums::Made(sum) => {
            pseudo.add(&length.to_be_bytes());
            pseudo.add(tcp);
            pseudo.add(&sum.bytes());
            pseudo.checksum()
        }
        Checksums::Offloaded { cut } => {
            // As DPDK asks for it: with the length, unless the NIC is to find that itself for each segment.
            pseudo.add(&if cut { 0 } else { length }.to_be_bytes());
            pseudo.bytes()
        }
    };
    tcp[TCP_CHECKSUM].copy_from_slice(&checksum);
}

/// Fills in lengths and checksums of an IP packet that was cut behind its TCP header, which begins at `l4`. The IP header is one of
/// a template.
pub(crate) fn reseal(packet: &mut [u8], l4: usize) {
    let (ip, tcp) = packet.split_at_mut(l4);
    seal_lengths(ip, tcp, 0, Checksums::Made(Sum::default()));
}

/// The headers of a segment of a run, for those that follow it: sequence number, PSH, IPv4 identification and checksums differ. Checksums are
/// made of what does not differ, which is known from the first ones (RFC 1624), and of what does.
pub struct RunHeaders {
    bytes: [u8; MAX_HEADERS],
    len: usize,
    /// None: the port makes the checksums.
    alike: Option<Alike>,
}

/// Sums of all that a run's segments have in common.
struct Alike {
    /// None: IPv6, which has neither identification nor checksum.
    ip: Option<u64>,
    tcp: u64,
}

impl RunHeaders {
    /// From the headers of a segment as [`Template::seal`] of this template has left them, with the same `checksums`.
    pub fn of(template: &Template, head: &[u8], checksums: Checksums) -> Self {
        let mut bytes = [0; MAX_HEADERS];
        bytes[..head.len()].copy_from_slice(head);
        let alike = match checksums {
            Checksums::Made(payload) => {
                let (below, tcp) = head.split_at(template.header_len());
                let ip = &below[usize::from(template.l3)..];
                let varies = words(&tcp[TCP_SEQ]) + words(&tcp[TCP_FLAGS]) + words(&payload.bytes());
                let tcp = without(words(&tcp[TCP_CHECKSUM]), varies);
                let is_v4 = ip[0] >> 4 == 4;
                let ip = is_v4.then(|| without(words(&ip[IP_CHECKSUM]), words(&ip[IP_ID])));
                Some(Alike { ip, tcp })
            }
            Checksums::Offloaded { .. } => None,
        };
        Self { bytes, len: head.len(), alike }
    }

    /// The headers of the run's segment that begins at `seq`. `payload` is its payload's sum, if we make the checksums; `psh` that it is the
    /// last one.
    #[inline]
    pub fn next(&mut self, template: &mut Template, seq: Seq, payload: Sum, psh: bool) -> &[u8] {
        let (below, tcp) = self.bytes.split_at_mut(template.header_len());
        let ip = &mut below[usize::from(template.l3)..];
        tcp[TCP_SEQ].copy_from_slice(&seq.0.to_be_bytes());
        tcp[TCP_FLAGS.end - 1] |= u8::from(psh) * PSH;
        if let Some(alike) = &self.alike {
            let varies = words(&tcp[TCP_SEQ]) + words(&tcp[TCP_FLAGS]) + words(&payload.bytes());
            tcp[TCP_CHECKSUM].copy_from_slice(&(!fold(alike.tcp + varies)).to_ne_bytes());
        }
        if ip[0] >> 4 == 4 {
            ip[IP_ID].copy_from_slice(&template.next_id.to_be_bytes());
            template.next_id = template.next_id.wrapping_add(1);
            if let Some(Alike { ip: Some(alike), .. }) = &self.alike {
                let checksum = !fold(alike + words(&ip[IP_ID]));
                ip[IP_CHECKSUM].copy_from_slice(&checksum.to_ne_bytes());
            }
        }
        &self.bytes[..self.len]
    }
}

/// Sum of 16-bit words, in the machine's byte order.
#[inline]
fn words(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum()
}

/// What a checksum is of, less some of it: `~HC + ~m` of RFC 1624.
fn without(checksum: u64, part: u64) -> u64 {
    u64::from(!fold(checksum)) + u64::from(!fold(part))
}

fn clear_ecn(ip: &mut [u8]) {
    if ip[0] >> 4 == 4 {
        ip[1] &= !0b11;
    } else {
        ip[1] &= !0x30; // traffic class straddles the first two bytes; ECN are its low two bits
    }
}

/// Copies an Ethernet header with its tags. Of more than two tags only the VLANs are kept, which are two at most: the others are
/// priorities (802.1Q 9.6), of which one would do. Returns the length.
fn copy_ethernet(header: &[u8], to: &mut [u8; MAX_TEMPLATE]) -> usize {
    if header.len() <= MAX_ETHERNET {
        to[..header.len()].copy_from_slice(header);
        return header.len();
    }
    let (macs, rest) = header.split_at(12);
    to[..12].copy_from_slice(macs);
    let mut len = 12;
    let (tags, ethertype) = rest.split_at(rest.len() - 2);
    for tag in tags.chunks(4).filter(|tag| tag[2] & 0x0f != 0 || tag[3] != 0) {
        to[len..len + 4].copy_from_slice(tag);
        len += 4;
    }
    to[len..len + 2].copy_from_slice(ethertype);
    len + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Class, classify};

    const V6: [u8; 18 + 40 + 20] = {
        let mut f = [0; 78];
        f[5] = 2;
        f[11] = 1;
        f[12] = 0x81;
        f[15] = 9;
        f[16] = 0x86;
        f[17] = 0xdd;
        f[18] = 0x6a; // traffic class 0xab, flow label 0xcdef1
        f[19] = 0xbc;
        f[20] = 0xde;
        f[21] = 0xf1;
        f[23] = 20;
        f[24] = 6;
        f[25] = 57;
        f[41] = 1;
        f[57] = 2;
        f[58] = 4;
        f[60] = 1;
        f[61] = 187;
        f[70] = 0x50;
        f
    };

    #[test]
    fn ecn_is_cleared_and_dscp_kept_in_ipv4() {
        let mut ip = [0x45, 0xbb, 0, 40];
        clear_ecn(&mut ip);
        assert_eq!(ip, [0x45, 0xb8, 0, 40]);
    }

    fn segment_headers(frame: &[u8]) -> Headers {
        match classify(frame) {
            Class::Tcp(h) => h,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_built_frame_looks_like_the_endpoints_own() {
        let mut template = Template::of(&V6, &segment_headers(&V6));
        let mut frame = vec![0xee; template.header_len()];
        frame.extend(&V6[58..]);
        let mut payload = Sum::default();
        payload.add(b"payload");
        template.seal(&mut frame, 7, 1, Checksums::Made(payload));
        frame.extend(b"payload");
        let h = segment_headers(&frame);
        assert_eq!(h.verify_checksums(&frame), Ok(()));
        assert_eq!((h.vlan[0], h.source, h.destination), {
            let o = segment_headers(&V6);
            (o.vlan[0], o.source, o.destination)
        });
        assert_eq!(frame[25], 57, "hop limit");
        assert_eq!(frame[18..22], [0x6a, 0x8c, 0xde, 0xf1], "DSCP and flow label kept, ECN cleared");
    }

    /// The same over IPv4, with DF.
    fn v4() -> Vec<u8> {
        let ip = [0x45, 0, 0, 40, 0xff, 0xfe, 0x40, 0, 57, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&V6[..16], &[8, 0], &ip, &V6[58..]].concat()
    }

    #[test]
    fn a_template_is_changed_where_it_says() {
        for (frame, ip_len) in [(&V6[..], 40), (&v4(), 20)] {
            let mut template = Template::of(frame, &segment_headers(frame));
            assert_eq!((template.ethernet_len(), template.ip_header_len()), (18, ip_len));
            let before = template.bytes;
            let differ = |template: &Template| {
                let all = before.iter().zip(&template.bytes).enumerate();
                all.filter(|(_, (a, b))| a != b).map(|(at, (_, b))| (at - 18, *b)).collect::<Vec<_>>()
            };
            template.raise_hop_limit(56);
            assert!(differ(&template).is_empty());
            template.raise_hop_limit(60);
            let hops_at = if ip_len == 20 { 8 } else { 7 };
            assert_eq!(differ(&template), [(hops_at, 60)]);
            template.raise_hop_limit(57);
            template.allow_fragments();
            let expected = if ip_len == 20 { vec![(6, 0), (8, 60)] } else { vec![(7, 60)] };
            assert_eq!(differ(&template), expected);
        }
    }

    #[test]
    fn a_packet_that_was_cut_is_right_again() {
        for frame in [&V6[..], &v4()] {
            let mut template = Template::of(frame, &segment_headers(frame));
            let mut whole = vec![0; template.header_len()];
            whole.extend(&frame[frame.len() - 20..]);
            template.seal(&mut whole, 7, 1, Checksums::Made(Sum::default()));
            let l4 = template.header_len();
            reseal(&mut whole[18..], l4 - 18);
            let headers = segment_headers(&whole);
            assert_eq!((headers.end, headers.verify_checksums(&whole)), (whole.len(), Ok(())));
        }
    }

    #[test]
    fn two_tags_stay_as_they_are() {
        let mut tagged = V6[..12].to_vec();
        tagged.extend([0x81, 0, 0x20, 0, 0x81, 0, 1, 0]);
        tagged.extend(&V6[16..]);
        let template = Template::of(&tagged, &segment_headers(&tagged));
        assert_eq!(template.bytes[..22], tagged[..22]);
    }

    /// What differs is filled in as if the headers were made anew.
    #[test]
    fn headers_of_a_run_are_those_of_its_segments() {
        let v4 = v4();
        let payloads: Vec<Vec<u8>> =
            (0..700u32).map(|n| (0..50).map(|i| (n * n * 31 + i * 7) as u8).collect()).collect();
        for frame in [&V6[..], &v4] {
            for is_made in [true, false] {
                let template = Template::of(frame, &segment_headers(frame));
                let (mut one_by_one, mut run) = (template.clone(), template);
                let mut headers: Option<RunHeaders> = None;
                for (n, payload) in payloads.iter().enumerate() {
                    let mut sum = Sum::default();
                    sum.add(payload);
                    let checksums =
                        if is_made { Checksums::Made(sum) } else { Checksums::Offloaded { cut: false } };
                    let (seq, psh) = (Seq(0xffff_c000) + n as u32 * 50, n + 1 == payloads.len());
                    let mut head = vec![0; one_by_one.header_len()];
                    head.extend(&frame[frame.len() - 20..]);
                    let tcp = one_by_one.header_len();
                    head[tcp + 4..tcp + 8].copy_from_slice(&seq.0.to_be_bytes());
                    head[tcp + 13] = if psh { 0x18 } else { 0x10 };
                    one_by_one.seal(&mut head, payload.len(), 1, checksums);
                    match &mut headers {
                        None => {
                            let mut first = head.clone();
                            run.seal(&mut first, payload.len(), 1, checksums);
                            headers = Some(RunHeaders::of(&run, &first, checksums));
                        }
                        Some(headers) => {
                            assert_eq!(headers.next(&mut run, seq, sum, psh), head, "segment {n}")
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn of_many_tags_the_vlans_are_kept() {
        let mut many = V6[..12].to_vec();
        for (tpid, id) in [(0x8100u16, 0u16), (0x88a8, 7), (0x8100, 0x2000), (0x8100, 0x6100), (0x8100, 0)] {
            many.extend([tpid.to_be_bytes(), id.to_be_bytes()].concat());
        }
        many.extend(&V6[16..]);
        let headers = segment_headers(&many);
        assert_eq!(headers.vlan, [Some(7), Some(0x100)]);
        let mut template = Template::of(&many, &headers);
        let mut frame = vec![0; template.header_len()];
        frame.extend(&V6[58..]);
        template.seal(&mut frame, 0, 1, Checksums::Made(Sum::default()));
        assert_eq!(frame[12..22], [0x88, 0xa8, 0, 7, 0x81, 0, 0x61, 0, 0x86, 0xdd]);
        let built = segment_headers(&frame);
        assert_eq!((built.vlan, built.source), (headers.vlan, headers.source));
        assert_eq!(built.verify_checksums(&frame), Ok(()));
    }

    #[test]
    fn reversed_goes_back() {
        let mut template = Template::of(&V6, &segment_headers(&V6)).reversed();
        let mut frame = vec![0; template.header_len()];
        frame.extend(&V6[58..]);
        frame[58..62].copy_from_slice(&[1, 187, 4, 0]);
        template.seal(&mut frame, 0, 1, Checksums::Made(Sum::default()));
        let (h, o) = (segment_headers(&frame), segment_headers(&V6));
        assert_eq!((h.source, h.destination), (o.destination, o.source));
        assert_eq!(frame[..12], [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2]);
        assert_eq!(h.verify_checksums(&frame), Ok(()));
        assert_eq!(template.ports(), (443, 1024));
    }
}
