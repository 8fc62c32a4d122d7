//! Answering a segment of a connection that is not to be (RFC 9293 3.10.7.1).

use smoltcp::wire::{TcpPacket, TcpSeqNumber};

use super::build::{Checksums, MAX_HEADERS, Template};
use super::checksum::Sum;
use super::classify::Headers;

/// A whole frame with a RST.
pub struct Reset {
    bytes: [u8; MAX_HEADERS],
    len: usize,
}

impl Reset {
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
pub fn reset_for(frame: &[u8], headers: &Headers) -> Option<Reset> {
    let theirs = TcpPacket::new_unchecked(headers.segment(frame));
    if theirs.rst() {
        return None;
    }
    let mut template = Template::of(frame, headers).reversed();
    let (source, destination) = template.ports();
    let len = template.header_len() + 20;
    let mut reset = Reset { bytes: [0; MAX_HEADERS], len };
    let mut tcp = TcpPacket::new_unchecked(&mut reset.bytes[template.header_len()..len]);
    tcp.set_src_port(source);
    tcp.set_dst_port(destination);
    tcp.set_header_len(20);
    tcp.set_rst(true);
    if theirs.ack() {
        tcp.set_seq_number(theirs.ack_number());
    } else {
        tcp.set_seq_number(TcpSeqNumber(0));
        tcp.set_ack(true);
        tcp.set_ack_number(theirs.seq_number() + theirs.segment_len());
    }
    template.seal(&mut reset.bytes[..len], 0, 1, Checksums::Made(Sum::default()));
    Some(reset)
}
