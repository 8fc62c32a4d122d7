//! Answering a segment of a connection that is not to be (RFC 9293 3.10.7.1).

use smoltcp::wire::{TcpPacket, TcpSeqNumber};

use super::build::{Checksums, MAX_HEADERS, Template};
use super::checksum::Sum;
use super::classify::Headers;

/// A whole frame without payload: a RST, mostly, or a SYN-ACK.
pub struct BareSegment {
    pub(super) bytes: [u8; MAX_HEADERS],
    pub(super) len: usize,
}

impl BareSegment {
    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The frame.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The RST that answers the segment in `frame`, from its receiver to its sender. None: it is a RST itself.
pub fn reset_for(frame: &[u8], headers: &Headers) -> Option<BareSegment> {
    let theirs = TcpPacket::new_unchecked(headers.segment(frame));
    if theirs.rst() {
        return None;
    }
    let template = Template::of(frame, headers).reversed();
    Some(bare(template, |tcp| {
        tcp.set_rst(true);
        if theirs.ack() {
            tcp.set_seq_number(theirs.ack_number());
        } else {
            tcp.set_seq_number(TcpSeqNumber(0));
            tcp.set_ack(true);
            tcp.set_ack_number(theirs.seq_number() + theirs.segment_len());
        }
    }))
}

/// A RST in the place of the segment in `frame`: from its sender to its receiver, who takes it if this is the number that it
/// expects (RFC 5961 3.2).
pub fn reset_after(frame: &[u8], headers: &Headers) -> BareSegment {
    let theirs = TcpPacket::new_unchecked(headers.segment(frame));
    bare(Template::of(frame, headers), |tcp| {
        tcp.set_rst(true);
        tcp.set_seq_number(theirs.seq_number());
        tcp.set_ack(theirs.ack());
        tcp.set_ack_number(theirs.ack_number());
    })
}

/// A keep-alive probe (RFC 9293 3.8.4) from the segment's sender to its receiver, who says which number it expects. None: the
/// segment acknowledges nothing, so there was no connection yet.
pub fn probe_for(frame: &[u8], headers: &Headers) -> Option<BareSegment> {
    let theirs = TcpPacket::new_unchecked(headers.segment(frame));
    theirs.ack().then(|| {
        bare(Template::of(frame, headers), |tcp| {
            tcp.set_seq_number(theirs.seq_number() - 1);
            tcp.set_ack(true);
            tcp.set_ack_number(theirs.ack_number());
            tcp.set_window_len(theirs.window_len());
        })
    })
}

/// A frame with a TCP header without options and payload, which `fill` fills in.
fn bare(mut template: Template, fill: impl FnOnce(&mut TcpPacket<&mut [u8]>)) -> BareSegment {
    let (source, destination) = template.ports();
    let len = template.header_len() + 20;
    let mut made = BareSegment { bytes: [0; MAX_HEADERS], len };
    let mut tcp = TcpPacket::new_unchecked(&mut made.bytes[template.header_len()..len]);
    tcp.set_src_port(source);
    tcp.set_dst_port(destination);
    tcp.set_header_len(20);
    fill(&mut tcp);
    template.seal(&mut made.bytes[..len], 0, 1, Checksums::Made(Sum::default()));
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Class, classify};

    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    fn headers(frame: &[u8]) -> Headers {
        let Class::Tcp(headers) = classify(frame) else { panic!("not a segment") };
        headers
    }

    /// From port 1000 to 443: number 100, acknowledgement 200, window 300 and two bytes of payload.
    fn frame(flags: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 42, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([3, 232, 1, 187, 0, 0, 0, 100, 0, 0, 0, 200, 0x50, flags, 1, 44, 0, 0, 0, 0, 7, 7]);
        frame
    }

    /// Sender's port, number, acknowledgement, window, and whether it is a RST.
    fn read(made: &BareSegment) -> (u16, u32, Option<u32>, u16, bool) {
        let frame = made.as_slice();
        let headers = headers(frame);
        assert_eq!((made.len(), headers.verify_checksums(frame)), (headers.end, Ok(())));
        let segment = tcp_stack::Segment::parse(headers.segment(frame)).expect("a segment");
        assert!(segment.payload.is_empty() && !segment.flags.syn);
        let ack = segment.ack.map(|ack| ack.0);
        (segment.src_port, segment.seq.0, ack, segment.window, segment.flags.rst)
    }

    #[test]
    fn a_reset_has_the_number_that_its_receiver_expects() {
        let answer = |flags| reset_for(&frame(flags), &headers(&frame(flags))).map(|made| read(&made));
        assert_eq!(answer(ACK), Some((443, 200, None, 0, true)));
        // RFC 9293 3.10.7.1: SYN and payload are acknowledged.
        assert_eq!(answer(SYN), Some((443, 0, Some(103), 0, true)));
        assert_eq!(answer(RST | ACK), None);
    }

    #[test]
    fn a_reset_in_a_segments_place_has_its_numbers() {
        let after = |flags| read(&reset_after(&frame(flags), &headers(&frame(flags))));
        assert_eq!(after(ACK), (1000, 100, Some(200), 0, true));
        assert_eq!(after(SYN), (1000, 100, None, 0, true));
    }

    #[test]
    fn a_probe_is_one_before_what_is_expected() {
        let probe = |flags| probe_for(&frame(flags), &headers(&frame(flags))).map(|made| read(&made));
        assert_eq!(probe(ACK), Some((1000, 99, Some(200), 300, false)));
        assert_eq!(probe(SYN), None);
    }
}
