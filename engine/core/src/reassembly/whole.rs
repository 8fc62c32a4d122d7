//! A packet all of whose fragments have come, and the frames that go on in their place.

use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, checksum};

use super::datagram::Piece;
use crate::port::Frame;
use crate::reason::PacketDrop;

/// What every IPv6 path carries (RFC 8200 5).
const IPV6_LEAST_MTU: usize = 1280;

/// All fragments of a TCP segment, by their place.
pub struct Whole<F> {
    pieces: Vec<Piece<F>>,
}

impl<F: Frame> Whole<F> {
    /// `pieces` begin at 0, each where the last one ended.
    pub(super) fn new(pieces: Vec<Piece<F>>) -> Self {
        Self { pieces }
    }

    /// The frames of the fragments, for [`super::Reassembler::recycle`].
    pub fn into_pieces(self) -> Vec<Piece<F>> {
        self.pieces
    }

    /// Makes the segment anew as a frame without fragments; as several segments with the same bytes, where one would be
    /// longer than the path carries, as far as that is known.
    ///
    /// `mtu`: the longest IP packet that the wire carries. A router behind may cut IPv4 again: its DF bit is not set, or
    /// nobody would have cut it. It may not cut IPv6, so no packet gets longer than the sender's longest fragment.
    ///
    /// # Errors
    /// [`PacketDrop::FragmentMalformed`] where it is longer than any packet, [`PacketDrop::FragmentTooBig`] where it cannot
    /// be divided, [`PacketDrop::BadTcpChecksum`] where it must be and was not sound, [`PacketDrop::NoBuffer`] where
    /// `allocate` has none. What is in `out` then is of no use.
    pub fn rebuild(
        &self,
        mtu: usize,
        mut allocate: impl FnMut() -> Option<F>,
        out: &mut Vec<F>,
    ) -> Result<(), PacketDrop> {
        let shape = self.shape().ok_or(PacketDrop::FragmentMalformed)?;
        let limit = if shape.is_ipv4 { mtu } else { mtu.min(self.longest_piece().max(IPV6_LEAST_MTU)) };
        if shape.ip_header + shape.len <= limit {
            let mut frame = self.frame(&shape, shape.len, &mut allocate)?;
            seal_ip(&shape, frame.data_mut(), 0);
            out.push(frame);
            return Ok(());
        }
        let room = limit.checked_sub(shape.ip_header + shape.tcp_header).filter(|room| *room > 0);
        let Some(room) = room.filter(|_| shape.can_be_divided) else {
            return Err(PacketDrop::FragmentTooBig);
        };
        if !self.has_right_checksum(&shape) {
            return Err(PacketDrop::BadTcpChecksum);
        }
        let payload = shape.len - shape.tcp_header;
        for (n, at) in (0..payload).step_by(room).enumerate() {
            let len = room.min(payload - at);
            let mut frame = self.frame(&shape, shape.tcp_header + len, &mut allocate)?;
            let segment = &mut frame.data_mut()[shape.l3 + shape.ip_header..];
            self.copy(shape.tcp_header + at, &mut segment[shape.tcp_header..]);
            divide(segment, at, at + len == payload);
            let mut tcp = TcpPacket::new_unchecked(segment);
            tcp.fill_checksum(&shape.source.into(), &shape.destination.into());
            seal_ip(&shape, frame.data_mut(), n as u16);
            out.push(frame);
        }
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        let (first, last) = (self.pieces.first()?, self.pieces.last()?);
        let (l3, headers_end) = (usize::from(first.l3), usize::from(first.headers_end));
        let frame = first.frame.data();
        let (is_ipv4, len) = (frame[l3] >> 4 == 4, last.end as usize);
        // The other fragments need not have had as long headers as the first one.
        let total = headers_end - l3 + len - if is_ipv4 { 0 } else { 40 };
        let (source, destination) = if is_ipv4 {
            let ip = Ipv4Packet::new_unchecked(&frame[l3..]);
            (ip.src_addr().into(), ip.dst_addr().into())
        } else {
            let ip = Ipv6Packet::new_unchecked(&frame[l3..]);
            (ip.src_addr().into(), ip.dst_addr().into())
        };
        let tcp = TcpPacket::new_unchecked(first.bytes());
        (total <= usize::from(u16::MAX)).then(|| Shape {
            is_ipv4,
            l3,
            ip_header: headers_end - l3,
            tcp_header: tcp.header_len().into(),
            len,
            next_header: first.next_header.into(),
            can_be_divided: !tcp.syn() && !tcp.rst(),
            source,
            destination,
        })
    }

    fn longest_piece(&self) -> usize {
        self.pieces.iter().map(Piece::packet_len).max().unwrap_or_default()
    }

    /// A frame with the first fragment's headers and the first `len` bytes of the segment.
    fn frame(
        &self,
        shape: &Shape,
        len: usize,
        allocate: &mut impl FnMut() -> Option<F>,
    ) -> Result<F, PacketDrop> {
        let (mut frame, before) = (allocate().ok_or(PacketDrop::NoBuffer)?, shape.l3 + shape.ip_header);
        if !frame.set_len(before + len) {
            return Err(PacketDrop::NoBuffer);
        }
        let bytes = frame.data_mut();
        bytes[..before].copy_from_slice(&self.pieces[0].frame.data()[..before]);
        self.copy(0, &mut bytes[before..]);
        Ok(frame)
    }

    /// Copies the segment's bytes from `at` on.
    fn copy(&self, at: usize, mut to: &mut [u8]) {
        let from = self.pieces.partition_point(|piece| piece.end as usize <= at);
        for piece in &self.pieces[from..] {
            // Into the first one; the others from their beginning.
            let bytes = &piece.bytes()[at.saturating_sub(piece.start as usize)..];
            let n = bytes.len().min(to.len());
            let (now, later) = to.split_at_mut(n);
            now.copy_from_slice(&bytes[..n]);
            to = later;
        }
    }

    /// Over the fragments: all but the last one are of even length.
    fn has_right_checksum(&self, shape: &Shape) -> bool {
        let pieces = self.pieces.iter().map(|piece| checksum::data(piece.bytes()));
        let sum = pieces.fold(
            checksum::pseudo_header(
                &shape.source.into(),
                &shape.destination.into(),
                IpProtocol::Tcp,
                shape.len as u32,
            ),
            |sum, piece| checksum::combine(&[sum, piece]),
        );
        sum == !0
    }
}

/// Makes the IP header that of a whole packet, the `n`th one in this packet's place.
fn seal_ip(shape: &Shape, frame: &mut [u8], n: u16) {
    let packet = &mut frame[shape.l3..];
    let len = packet.len();
    if shape.is_ipv4 {
        packet[6..8].fill(0); // flags and offset
        let mut ip = Ipv4Packet::new_unchecked(packet);
        ip.set_total_len(len as u16);
        ip.set_ident(ip.ident().wrapping_add(n));
        ip.fill_checksum();
    } else {
        packet[shape.next_header - shape.l3] = IpProtocol::Tcp.into();
        Ipv6Packet::new_unchecked(packet).set_payload_len((len - 40) as u16);
    }
}

/// Makes the header of the whole segment that of its part that begins `at` bytes on in the payload.
fn divide(segment: &mut [u8], at: usize, is_last: bool) {
    let mut tcp = TcpPacket::new_unchecked(segment);
    tcp.set_seq_number(tcp.seq_number() + at);
    if !is_last {
        tcp.set_fin(false);
        tcp.set_psh(false);
    }
    if at > 0 {
        // RFC 3168 6.1.2: said once for a window.
        tcp.set_cwr(false);
    }
    // RFC 9293 3.8.5: it points from the segment's own number.
    match usize::from(tcp.urgent_at()).checked_sub(at) {
        Some(urgent) if tcp.urg() => tcp.set_urgent_at(urgent as u16),
        _ => {
            tcp.set_urg(false);
            tcp.set_urgent_at(0);
        }
    }
}

/// The whole packet, as its first and last fragment say.
struct Shape {
    is_ipv4: bool,
    l3: usize,
    /// With options, or extension headers before the fragment header.
    ip_header: usize,
    tcp_header: usize,
    /// TCP header and payload.
    len: usize,
    /// See [`crate::packet::Fragment::next_header`].
    next_header: usize,
    can_be_divided: bool,
    source: IpAddr,
    destination: IpAddr,
}
