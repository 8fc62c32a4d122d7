//! ICMP messages that a segment was too big for a link: read where they are sound, whatever somebody else's code or chance made.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../testbed/src/router.rs"]
#[allow(dead_code, unreachable_pub, reason = "of the testbed")]
mod router;

use std::net::IpAddr;

use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet};
use tcp_stack::Seq;
use wireglass_core::packet::{Class, TooBigMessage, classify, too_big};
use wireglass_core::reason::PathMessage;

/// A full segment from 10.0.0.1:40000 to 10.0.0.2:443, sequence number 0x01020304, over either IP version.
fn segment(ipv6: bool) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    if ipv6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 5, 0xb4, 6, 64]);
        frame.extend([0xfd; 16]);
        frame.extend([0xfe; 16]);
    } else {
        frame.extend([8, 0, 0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    frame.extend([0x9c, 0x40, 1, 187, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 0x10, 255, 255, 0, 0, 0, 0]);
    frame.resize(1514, 7);
    frame
}

fn read(frame: &[u8]) -> Result<Option<TooBigMessage>, PathMessage> {
    match classify(frame) {
        Class::Icmp(at) => too_big(frame, &at),
        other => panic!("{other:?}"),
    }
}

fn told(ipv6: bool, mtu: usize, quote: usize) -> Vec<u8> {
    router::too_big(&segment(ipv6), mtu, quote).expect("an IP packet")
}

#[test]
fn what_it_says_of_which_segment() {
    for (ipv6, mss) in [(false, 1360), (true, 1340)] {
        for quote in [8, 28, 500] {
            let message = read(&told(ipv6, 1400, quote)).expect("sound").expect("about TCP");
            assert_eq!((message.seq, message.mss), (Seq(0x0102_0304), mss));
            assert_eq!((message.source.port(), message.destination.port()), (40_000, 443));
            assert_eq!(message.source.is_ipv6(), ipv6);
        }
        assert_eq!(read(&told(ipv6, 1400, 7)), Err(PathMessage::Malformed));
        assert_eq!(read(&told(ipv6, 1500, 8)), Err(PathMessage::NotSmaller));
    }
    let mss = |mtu| read(&told(false, mtu, 8)).map(|message| message.expect("about TCP").mss);
    assert_eq!((mss(0), mss(68), mss(1)), (Ok(1452), Ok(28), Ok(0)));
    assert_eq!(read(&told(true, 1279, 8)), Err(PathMessage::BelowMinimum));
    assert_eq!(read(&told(true, 1280, 8)).map(|m| m.map(|m| m.mss)), Ok(Some(1220)));
}

/// A message that quotes these bytes, and is sound but for them.
fn quoting(ipv6: bool, quote: &[u8]) -> Vec<u8> {
    let (ip, length_at) = if ipv6 { (54, 18) } else { (14, 16) };
    let mut frame = told(ipv6, 1400, 8);
    frame.truncate(if ipv6 { 62 } else { 42 });
    frame.extend(quote);
    let length = (frame.len() - ip) as u16;
    frame[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    fill_checksum(&mut frame);
    frame
}

fn fill_checksum(frame: &mut [u8]) {
    let Class::Icmp(at) = classify(frame) else { return };
    match (at.source, at.destination) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Icmpv6Packet::new_unchecked(&mut frame[at.l4..at.end]).fill_checksum(&from, &to);
        }
        _ => Icmpv4Packet::new_unchecked(&mut frame[at.l4..at.end]).fill_checksum(),
    }
}

#[test]
fn a_quote_that_is_no_packet_is_not_believed() {
    for (ipv6, header) in [(false, 20), (true, 40)] {
        let segment = segment(ipv6);
        let quote = &segment[14..][..header + 8];
        assert!(matches!(read(&quoting(ipv6, quote)), Ok(Some(_))));
        let mut other_version = quote.to_vec();
        other_version[0] = if ipv6 { 0x45 } else { 0x55 };
        for broken in [&[][..], &quote[..header - 1], &quote[..header + 7], &other_version] {
            assert_eq!(read(&quoting(ipv6, broken)), Err(PathMessage::Malformed), "{broken:x?}");
        }
    }
    let mut short_header = segment(false)[14..42].to_vec();
    short_header[0] = 0x44;
    assert_eq!(read(&quoting(false, &short_header)), Err(PathMessage::Malformed));
}

/// RFC 1191 7.1: a router that says no size means a link below the one that the packet fitted.
#[test]
fn a_size_that_is_not_told_is_the_next_smaller_one() {
    let mut segment = segment(false);
    segment[16..18].copy_from_slice(&1_492_u16.to_be_bytes());
    let told = router::too_big(&segment, 0, 8).expect("an IP packet");
    assert_eq!(read(&told).map(|message| message.map(|message| message.mss)), Ok(Some(1_006 - 40)));
}

#[test]
fn other_messages_are_not_ours() {
    for (ipv6, l4) in [(false, 34), (true, 54)] {
        // An echo, another type, another code; and a quoted packet that is no TCP, or a later fragment.
        for (at, value) in [(0, 8), (0, 128), (0, 1), (if ipv6 { 0 } else { 1 }, 3)] {
            let mut frame = told(ipv6, 1400, 8);
            frame[l4 + at] = value;
            assert_eq!(read(&frame), Ok(None), "{at} {value}");
        }
        let mut udp = segment(ipv6);
        udp[if ipv6 { 20 } else { 23 }] = 17;
        assert_eq!(read(&router::too_big(&udp, 1400, 8).expect("IP")), Ok(None));
    }
    let mut later = segment(false);
    later[21] = 1;
    assert_eq!(read(&router::too_big(&later, 1400, 8).expect("IP")), Ok(None));
}

#[test]
fn no_changed_bit_and_no_cut_gets_through() {
    for (ipv6, l4) in [(false, 34), (true, 54)] {
        let whole = told(ipv6, 1400, 8);
        for at in l4..whole.len() {
            for bit in 0..8 {
                let mut frame = whole.clone();
                frame[at] ^= 1 << bit;
                assert!(!matches!(read(&frame), Ok(Some(_))), "bit {bit} of byte {at}");
            }
        }
        // To another host than the one that is quoted as the sender, with right checksums.
        let mut frame = whole.clone();
        let (to, sum) = (l4 - 1, l4 + 3);
        frame[to] ^= 1;
        if ipv6 {
            frame[sum] = frame[sum].wrapping_add(1);
        }
        assert_eq!(read(&frame), Err(PathMessage::Malformed));
    }
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics(
        mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 62..200),
        v6: bool,
        quoted_version in 0u8..8,
    ) {
        let l4 = if v6 { 54 } else { 34 };
        bytes[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
        if v6 {
            bytes[20] = 58;
            let len = (bytes.len() - 54) as u8;
            bytes[18..20].copy_from_slice(&[0, len]);
            bytes[l4] = 2;
        } else {
            bytes[23] = 1;
            let len = (bytes.len() - 14) as u8;
            bytes[16..18].copy_from_slice(&[0, len]);
            bytes[20..22].fill(0);
            bytes[l4..l4 + 2].copy_from_slice(&[3, 4]);
        }
        if let Some(first) = bytes.get_mut(l4 + 8) {
            *first = quoted_version << 4 | *first & 0xf;
        }
        bytes[l4 + 2..l4 + 4].fill(0);
        // With the right checksum, so that what lies behind it is looked at.
        fill_checksum(&mut bytes);
        if let Class::Icmp(at) = classify(&bytes) {
            let _ = too_big(&bytes, &at);
        }
    }
}
