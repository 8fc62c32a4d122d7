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

#[cfg(test)]
mod tests {
    use tcp_stack::{Segment, Timestamps};

    use super::*;
    use crate::packet::{Class, classify};

    #[test]
    fn it_says_what_it_was_given() {
        let mut endpoint = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        endpoint.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        endpoint.extend([3, 232, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0]);
        let Class::Tcp(headers) = classify(&endpoint) else { panic!("not a segment") };
        let template = Template::of(&endpoint, &headers).reversed();
        let timestamps = Some(Timestamps { val: 5, ecr: 6 });
        let all = Options {
            mss: Some(1400),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps,
            ..Options::default()
        };
        let acknowledged = syn_ack(template.clone(), Seq(9), Seq(2), 500, &all);
        let later = handshake_segment(template, false, Seq(10), None, 600, &Options::default());
        for (made, syn, seq, ack, window, options) in [
            (acknowledged, true, Seq(9), Some(Seq(2)), 500, all),
            (later, false, Seq(10), None, 600, Options::default()),
        ] {
            let frame = made.as_slice();
            let Class::Tcp(headers) = classify(frame) else { panic!("not a segment") };
            assert_eq!((headers.end, headers.verify_checksums(frame)), (made.len(), Ok(())));
            let segment = Segment::parse(headers.segment(frame)).expect("a segment");
            assert_eq!((segment.src_port, segment.dst_port, segment.flags.syn), (443, 1000, syn));
            assert_eq!((segment.seq, segment.ack, segment.window), (seq, ack, window));
            assert_eq!(segment.options, options);
        }
    }
}
