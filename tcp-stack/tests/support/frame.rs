//! IPv4 around the segments.

use std::cell::RefCell;
use std::collections::VecDeque;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpPacket};
use tcp_stack::{Instant, Payload, Segment, Transmit};

/// One end's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub address: Ipv4Address,
    pub port: u16,
}

pub const CLIENT: End = End { address: Ipv4Address::new(10, 0, 0, 1), port: 40_000 };
pub const SERVER: End = End { address: Ipv4Address::new(10, 0, 0, 2), port: 443 };

/// A segment of ours as a frame, with both checksums.
pub fn build<P: Payload>(from: End, to: End, transmit: &Transmit<'_, P>) -> Vec<u8> {
    let header_len = transmit.header_len();
    let tcp_len = header_len + transmit.payload_len();
    let ip = Ipv4Repr {
        src_addr: from.address,
        dst_addr: to.address,
        next_header: IpProtocol::Tcp,
        payload_len: tcp_len,
        hop_limit: 64,
    };
    let mut frame = vec![0; ip.buffer_len() + tcp_len];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[..]), &ChecksumCapabilities::default());
    let tcp = &mut frame[ip.buffer_len()..];
    transmit.emit_header(from.port, to.port, tcp);
    transmit.copy_payload(&mut tcp[header_len..]);
    TcpPacket::new_unchecked(tcp).fill_checksum(&IpAddress::Ipv4(from.address), &IpAddress::Ipv4(to.address));
    frame
}

/// The TCP part of a frame, if the frame came through unharmed.
pub fn tcp_of(frame: &[u8]) -> Option<&[u8]> {
    let ip = Ipv4Packet::new_checked(frame).ok()?;
    if !ip.verify_checksum() || ip.next_header() != IpProtocol::Tcp {
        return None;
    }
    let (from, to) = (IpAddress::Ipv4(ip.src_addr()), IpAddress::Ipv4(ip.dst_addr()));
    let tcp = &frame[usize::from(ip.header_len())..usize::from(ip.total_len())];
    let packet = TcpPacket::new_checked(tcp).ok()?;
    packet.verify_checksum(&from, &to).then_some(tcp)
}

/// Who sent a frame.
pub fn is_from(frame: &[u8], end: End) -> bool {
    Ipv4Packet::new_checked(frame).is_ok_and(|ip| ip.src_addr() == end.address)
}

thread_local! {
    static TRACE: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// Notes a frame that was sent; the last ones are printed if the test fails.
pub fn trace(now: Instant, way: &str, frame: &[u8]) {
    let line = match tcp_of(frame).map(Segment::parse) {
        Some(Ok(s)) => format!(
            "{:>12} {way} seq {:?} len {} ack {:?} win {} {:?} {:?}",
            now.total_micros(),
            s.seq.0,
            s.payload.len(),
            s.ack.map(|ack| ack.0),
            s.window,
            s.flags,
            s.options.sack[0],
        ),
        _ => format!("{:>12} {way} unreadable", now.total_micros()),
    };
    TRACE.with_borrow_mut(|trace| {
        if trace.len() == 100 {
            trace.pop_front();
        }
        trace.push_back(line);
    });
}

/// Prints the last frames.
pub fn print_trace() {
    TRACE.with_borrow(|trace| trace.iter().for_each(|line| eprintln!("{line}")));
}
