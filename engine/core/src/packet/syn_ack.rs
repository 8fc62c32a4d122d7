//! The segments of a TCP handshake: answering a SYN in the server's place, or telling others what went by.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr};
use tcp_stack::{Options, Seq};

use super::build::{Checksums, MAX_HEADERS, Template};
use super::checksum::Sum;
use super::reset::BareSegment;

/// The SYN-ACK with this number, acknowledgement, window and options.
pub fn syn_ack(template: Template, isn: Seq, ack: Seq, window: u16, options: &Options) -> BareSegment {
    handshake_segment(template, true, isn, Some(ack), window, options)
}

/// A segment without payload, with these numbers, window and options.
pub(crate) fn handshake_segment(
    mut template: Template,
    syn: bool,
    seq: Seq,
    ack: Option<Seq>,
    window: u16,
    options: &Options,
) -> BareSegment {
    let (src_port, dst_port) = template.ports();
    let repr = TcpRepr {
        src_port,
        dst_port,
        control: if syn { TcpControl::Syn } else { TcpControl::None },
        seq_number: TcpSeqNumber(seq.0 as i32),
        ack_number: ack.map(|ack| TcpSeqNumber(ack.0 as i32)),
        window_len: window,
        window_scale: options.window_scale,
        max_seg_size: options.mss,
        sack_permitted: options.sack_permitted,
        sack_ranges: [None; 3],
        timestamp: options.timestamps.map(|t| TcpTimestampRepr::new(t.val, t.ecr)),
        payload: &[],
    };
    let at = template.header_len();
    let len = at + repr.header_len();
    let mut made = BareSegment { bytes: [0; MAX_HEADERS], len };
    let mut tcp = TcpPacket::new_unchecked(&mut made.bytes[at..len]);
    // The checksum, for which it would want the addresses, is made below.
    let nowhere = IpAddress::v4(0, 0, 0, 0);
    repr.emit(&mut tcp, &nowhere, &nowhere, &ChecksumCapabilities::ignored());
    template.seal(&mut made.bytes[..len], 0, 1, Checksums::Made(Sum::default()));
    made
}
