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
