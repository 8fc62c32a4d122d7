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

/// The segment in a frame, if the frame came through unharmed.
pub fn segment_of(frame: &[u8]) -> Option<Segment<'_>> {
    Segment::parse(tcp_of(frame)?).ok()
}

/// Who sent a frame.
pub fn is_from(frame: &[u8], end: End) -> bool {
    Ipv4Packet::new_checked(frame).is_ok_and(|ip| ip.src_addr() == end.address)
}

/// Whether a frame carries payload; of frames that cannot be read, not.
pub fn has_payload(frame: &[u8]) -> bool {
    segment_of(frame).is_some_and(|segment| !segment.payload.is_empty())
}

/// What a link does with a frame.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Arrives { at: Instant, again: Option<Instant>, corrupt: bool },
    Lost,
    QueueFull,
    TooBig,
}

/// A frame in the trace.
#[derive(Clone, Copy, Debug)]
pub struct Traced {
    pub at: Instant,
    pub way: &'static str,
    pub fate: Fate,
}

/// Most lines kept.
const TRACE: usize = 4000;

thread_local! {
    static FRAMES: RefCell<VecDeque<(Traced, Vec<u8>)>> = const { RefCell::new(VecDeque::new()) };
}

/// Notes a frame that was sent; the last ones are printed if the test fails.
pub fn trace(traced: &Traced, frame: &[u8]) {
    FRAMES.with_borrow_mut(|frames| {
        let mut kept =
            if frames.len() < TRACE { Vec::new() } else { frames.pop_front().unwrap_or_default().1 };
        kept.clear();
        kept.extend_from_slice(frame);
        frames.push_back((*traced, kept));
    });
}

impl Default for Traced {
    fn default() -> Self {
        Traced { at: Instant::ZERO, way: "", fate: Fate::Lost }
    }
}

/// Forgets the frames of an earlier run.
pub fn clear_trace() {
    FRAMES.with_borrow_mut(VecDeque::clear);
}

/// The last frames, a line each.
pub fn trace_lines() -> Vec<String> {
    FRAMES.with_borrow(|frames| frames.iter().map(|(traced, frame)| line(traced, frame)).collect())
}

fn line(traced: &Traced, frame: &[u8]) -> String {
    let at = |at: Instant| format!("{:.3}", at.total_micros() as f64 / 1e3);
    let (when, way) = (at(traced.at), traced.way);
    let fate = match traced.fate {
        Fate::Lost => "lost".to_owned(),
        Fate::QueueFull => "dropped: queue full".to_owned(),
        Fate::TooBig => "dropped: too big".to_owned(),
        Fate::Arrives { at: first, again, corrupt } => {
            let again = again.map_or(String::new(), |again| format!(" and {}", at(again)));
            format!("arrives {}{again}{}", at(first), if corrupt { " corrupted" } else { "" })
        }
    };
    match segment_of(frame) {
        Some(s) => {
            let flags = [(s.flags.syn, 'S'), (s.flags.fin, 'F'), (s.flags.rst, 'R'), (s.flags.psh, 'P')];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
            let ack = s.ack.map_or(String::new(), |ack| format!(" ack {}", ack.0));
            let sack: String =
                s.options.sack.iter().flatten().map(|(l, r)| format!(" sack {}:{}", l.0, r.0)).collect();
            let (seq, len) = (s.seq.0, s.payload.len());
            format!("{when:>12} {way:>16} {flags:>2} {seq}({len}){ack} win {}{sack}: {fate}", s.window)
        }
        None => format!("{when:>12} {way:>16} unreadable: {fate}"),
    }
}
