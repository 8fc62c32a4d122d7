//! The one change that the wire makes to a connection it may adopt later: what it cannot carry over is not negotiated.

use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket};

use super::classify::Headers;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
/// RFC 8684: subflows would carry parts of the stream around us.
const KIND_MPTCP: u8 = 30;
/// RFC 7413: data before the handshake is complete.
const KIND_FAST_OPEN: u8 = 34;
/// RFC 6994 experiments; Fast Open was one of them, with this identifier.
const KIND_EXPERIMENT: u8 = 254;
const EXPERIMENT_FAST_OPEN: [u8; 2] = [0xf9, 0x89];

/// What was changed; all false: the frame is as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// MPTCP or Fast Open options became NOPs.
    pub options: bool,
    /// ECN is declined (RFC 3168 6.1.1).
    pub ecn: bool,
    /// The MSS was lowered to what this wire carries.
    pub mss: bool,
    /// Data on the SYN was cut off; the sender repeats it after the handshake.
    pub data: bool,
}

impl Scrubbed {
    fn any(self) -> bool {
        self.options || self.ecn || self.mss || self.data
    }
}

/// Edits a SYN or SYN-ACK in place. Checksums were verified before; they are made right again if anything changed.
///
/// `max_mss` is what fits the wire's own MTU. The frame keeps its length: cut data becomes zeroed padding.
pub fn scrub_syn(frame: &mut [u8], headers: &mut Headers, max_mss: u16) -> Scrubbed {
    let mut done = Scrubbed::default();
    let mut tcp = TcpPacket::new_unchecked(&mut frame[headers.l4..headers.end]);
    let header_len = usize::from(tcp.header_len());
    // Both or neither: a SYN asks with ECE and CWR, and AccECN with AE (the old NS bit) besides.
    if !tcp.ack() && (tcp.ece() || tcp.cwr() || tcp.ns()) {
        tcp.set_ece(false);
        tcp.set_cwr(false);
        tcp.set_ns(false);
        done.ecn = true;
    }
    let segment = tcp.into_inner();
    scrub_options(&mut segment[20..header_len], max_mss, &mut done);
    if segment.len() > header_len {
        segment[header_len..].fill(0);
        headers.end = headers.l4 + header_len;
        done.data = true;
    }
    if done.any() {
        seal(frame, headers);
    }
    done
}

fn scrub_options(mut options: &mut [u8], max_mss: u16, done: &mut Scrubbed) {
    loop {
        let length = match *options {
            [] | [KIND_END, ..] => return,
            [KIND_NOP, ..] => 1,
            [_, length, ..] if usize::from(length) >= 2 && usize::from(length) <= options.len() => {
                usize::from(length)
            }
            _ => return, // malformed: the endpoints decide what it means, we only go no further
        };
        let (option, rest) = options.split_at_mut(length);
        match option {
            [KIND_MSS, 4, mss @ ..] if u16::from_be_bytes([mss[0], mss[1]]) > max_mss => {
                mss.copy_from_slice(&max_mss.to_be_bytes());
                done.mss = true;
            }
            [KIND_MPTCP | KIND_FAST_OPEN, ..] => {
                option.fill(KIND_NOP);
                done.options = true;
            }
            [KIND_EXPERIMENT, _, id @ ..] if id.starts_with(&EXPERIMENT_FAST_OPEN) => {
                option.fill(KIND_NOP);
                done.options = true;
            }
            _ => {}
        }
        options = rest;
    }
}

/// Writes lengths and checksums for the headers as they now are.
fn seal(frame: &mut [u8], headers: &Headers) {
    let packet = &mut frame[headers.l3..headers.end];
    if headers.source.is_ipv4() {
        let len = packet.len() as u16;
        let mut ip = Ipv4Packet::new_unchecked(packet);
        ip.set_total_len(len);
        ip.fill_checksum();
    } else {
        let len = (packet.len() - 40) as u16;
        Ipv6Packet::new_unchecked(packet).set_payload_len(len);
    }
    let mut tcp = TcpPacket::new_unchecked(&mut frame[headers.l4..headers.end]);
    tcp.fill_checksum(&headers.source.ip().into(), &headers.destination.ip().into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::classify::{Class, classify};

    /// A SYN from 10.0.0.1:1000 to 10.0.0.2:443 with these options, flags and data, and right checksums.
    fn syn(options: &[u8], flags: u8, data: &[u8]) -> (Vec<u8>, Headers) {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), KIND_END);
        let tcp_len = 20 + options.len() + data.len();
        let total = 20 + tcp_len;
        let mut f = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        f.extend([
            0x45,
            0,
            (total >> 8) as u8,
            total as u8,
            0,
            0,
            0x40,
            0,
            64,
            6,
            0,
            0,
            10,
            0,
            0,
            1,
            10,
            0,
            0,
            2,
        ]);
        f.extend([
            3,
            232,
            1,
            187,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            ((20 + options.len()) * 4) as u8,
            flags,
            4,
            0,
            0,
            0,
            0,
            0,
        ]);
        f.extend(&options);
        f.extend(data);
        let Class::Tcp(headers) = classify(&f) else { panic!("not a segment") };
        seal(&mut f, &headers);
        (f, headers)
    }

    #[test]
    fn an_ordinary_syn_stays_as_it_is() {
        let (mut f, mut h) = syn(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7], 2, b"");
        let before = f.clone();
        assert_eq!(scrub_syn(&mut f, &mut h, 1460), Scrubbed::default());
        assert_eq!(f, before);
    }

    #[test]
    fn what_cannot_be_carried_over_is_not_negotiated() {
        let options = [30, 4, 0, 1, 2, 4, 0x23, 0, 34, 2, 254, 4, 0xf9, 0x89, 254, 4, 1, 2, 3, 3, 7];
        let (mut f, mut h) = syn(&options, 2 | 0xc0, b"early data");
        let done = scrub_syn(&mut f, &mut h, 1460);
        assert_eq!(done, Scrubbed { options: true, ecn: true, mss: true, data: true });
        assert!(h.verify_checksums(&f).is_ok());
        let Class::Tcp(again) = classify(&f) else { panic!("no longer a segment") };
        assert_eq!(again, h);
        let expected = [1, 1, 1, 1, 2, 4, 5, 180, 1, 1, 1, 1, 1, 1, 254, 4, 1, 2, 3, 3, 7];
        assert_eq!(f[54..54 + expected.len()], expected);
        assert_eq!(f[47], 2, "only SYN is left of the flags");
        assert!(f[h.end..].iter().all(|b| *b == 0));
    }

    #[test]
    fn a_syn_ack_may_say_ece() {
        let (mut f, mut h) = syn(&[], 0x12 | 0x40, b"");
        assert!(!scrub_syn(&mut f, &mut h, 1460).ecn);
    }

    #[test]
    fn each_change_alone_leaves_a_right_checksum() {
        let none = Scrubbed::default();
        for (options, flags, data, expected) in [
            (&[34, 2, 30, 4, 0, 1][..], 2, &b""[..], Scrubbed { options: true, ..none }),
            (&[], 2 | 0x40, b"", Scrubbed { ecn: true, ..none }),
            (&[], 2 | 0x80, b"", Scrubbed { ecn: true, ..none }),
            (&[2, 4, 5, 181], 2, b"", Scrubbed { mss: true, ..none }),
            (&[], 2, b"x", Scrubbed { data: true, ..none }),
        ] {
            let (mut f, mut h) = syn(options, flags, data);
            assert_eq!(scrub_syn(&mut f, &mut h, 1460), expected);
            assert!(h.verify_checksums(&f).is_ok(), "{expected:?}");
        }
        // AccECN asks with the bit that was NS.
        let (mut f, mut h) = syn(&[], 2, b"");
        f[46] |= 1;
        assert_eq!(scrub_syn(&mut f, &mut h, 1460), Scrubbed { ecn: true, ..none });
        assert_eq!(f[46], 0x50);
    }

    #[test]
    fn a_syn_over_ipv6_loses_its_data() {
        let mut f = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 6, 64];
        f.extend([0xfd; 16]);
        f.extend([0xfe; 16]);
        f.extend([3, 232, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0, 7, 7, 7, 7]);
        let Class::Tcp(mut h) = classify(&f) else { panic!("not a segment") };
        assert_eq!(scrub_syn(&mut f, &mut h, 1460), Scrubbed { data: true, ..Scrubbed::default() });
        assert!(h.verify_checksums(&f).is_ok());
        assert_eq!((classify(&f), h.payload_len(&f)), (Class::Tcp(h), 0));
    }

    proptest::proptest! {
        #[test]
        fn options_of_any_shape_end(options in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let (mut f, mut h) = syn(&options, 2, b"x");
            scrub_syn(&mut f, &mut h, 1460);
            proptest::prop_assert!(h.verify_checksums(&f).is_ok());
        }
    }
}
