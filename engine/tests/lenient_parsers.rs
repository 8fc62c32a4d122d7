//! Frames that are TCP for somebody else's parser: whatever a host takes for a segment of an intercepted port, the engine
//! follows or drops.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../fuzz/bodies/lenient.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "written for the fuzz targets")]
mod lenient;
#[path = "../../tcp-stack/fuzz/bodies/mutate.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "written for the fuzz targets")]
mod mutate;
mod support;

use lenient::{Agreement, compare};
use mutate::Rng;
use support::frames::ethernet;
use support::lab::{Lab, Setup};
use wireglass::simulate::Engine;
use wireglass_testbed::{Duration, Instant, Middle, PortSide};

const SYN: u8 = 0x02;

/// A SYN to port 443, from its TCP header on. Its checksum is of an IPv4 or IPv6 packet between `from` and `to`.
fn syn(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut tcp =
        vec![0xc3, 0x50, 0x01, 0xbb, 0, 0, 0x03, 0xe8, 0, 0, 0, 0, 0x50, SYN, 0xff, 0xff, 0, 0, 0, 0];
    let mut sum = 6 + tcp.len() as u32;
    for word in from.chunks(2).chain(to.chunks(2)).chain(tcp.chunks(2)) {
        sum += u32::from(word[0]) << 8 | u32::from(word[1]);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    tcp[16..18].copy_from_slice(&(!sum as u16).to_be_bytes());
    tcp
}

fn ipv4() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let sum: u32 = packet.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
    packet.extend(syn(&[10, 0, 0, 1], &[10, 0, 0, 2]));
    packet
}

/// `chain`: extension headers, of which the last one says TCP. `length`: what the IPv6 header says its payload is.
fn ipv6(first: u8, chain: &[u8], length: u16) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([first, 64]);
    let (from, to) = ([0xfd; 16], [0xfe; 16]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(chain);
    packet.extend(syn(&from, &to));
    packet
}

fn tagged(tags: &[(u16, u16)], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut bytes = ethernet(true, ethertype, packet);
    for (tpid, tci) in tags.iter().rev() {
        let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
        bytes.splice(12..12, tag);
    }
    bytes
}

/// What the engine made of a frame.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// It began a flow.
    Followed,
    Dropped,
    /// It left as it came, and nobody knows of it.
    Passed,
}

fn outcome(frame: Vec<u8>) -> Outcome {
    let (mut engine, _log): (Engine, _) = Lab::new().engine(&Setup::default());
    engine.receive(Instant::ZERO, PortSide::Inside, frame);
    engine.poll(Instant::ZERO + Duration::from_millis(1));
    match (engine.flows(), engine.transmit()) {
        (1, Some(_)) => Outcome::Followed,
        (0, None) => Outcome::Dropped,
        (0, Some(_)) => Outcome::Passed,
        other => panic!("{other:?}"),
    }
}

/// Linux strips any number of priority tags (VLAN id 0), wherever they stand.
#[test]
fn priority_tags_are_no_vlans() {
    let v6 = ipv6(6, &[], 20);
    for (ethertype, packet) in [(0x0800, ipv4()), (0x86dd, v6)] {
        for count in 0..=8 {
            let tags = vec![(0x8100, 0x2000); count];
            assert_eq!(outcome(tagged(&tags, ethertype, &packet)), Outcome::Followed, "{count} tags");
        }
        for count in 9..=12 {
            let tags = vec![(0x88a8, 0); count];
            assert_eq!(outcome(tagged(&tags, ethertype, &packet)), Outcome::Dropped, "{count} tags");
        }
        let between = [(0x8100, 0), (0x88a8, 7), (0x8100, 0), (0x8100, 0), (0x8100, 8), (0x8100, 0)];
        assert_eq!(outcome(tagged(&between, ethertype, &packet)), Outcome::Followed);
        let three = [(0x88a8, 7), (0x8100, 8), (0x8100, 9)];
        assert_eq!(outcome(tagged(&three, ethertype, &packet)), Outcome::Dropped);
    }
}

/// Linux does not look for the jumbo option (RFC 2675) where a hop-by-hop header follows a payload length of 0: the packet
/// ends where the frame does.
#[test]
fn a_payload_length_of_zero() {
    let hop_by_hop = [6, 0, 1, 4, 0, 0, 0, 0];
    let jumbo = [6, 0, 0xc2, 4, 0, 0, 0, 28];
    for chain in [hop_by_hop, jumbo] {
        assert_eq!(outcome(tagged(&[], 0x86dd, &ipv6(0, &chain, 0))), Outcome::Dropped);
        assert_eq!(outcome(tagged(&[], 0x86dd, &ipv6(0, &chain, 28))), Outcome::Followed);
    }
    // Without a hop-by-hop header nobody reads on.
    assert_eq!(outcome(tagged(&[], 0x86dd, &ipv6(6, &[], 0))), Outcome::Dropped);
}

/// IP in LLC/SNAP (RFC 1042), and what may be an extension header before TCP (RFC 4727).
#[test]
fn other_ways_to_write_ip() {
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ipv4()].concat();
    assert_eq!(outcome(tagged(&[], snap.len() as u16, &snap)), Outcome::Dropped);
    for experimental in [253, 254] {
        let chain = [6, 0, 1, 4, 0, 0, 0, 0];
        assert_eq!(outcome(tagged(&[], 0x86dd, &ipv6(experimental, &chain, 28))), Outcome::Dropped);
    }
}

/// A frame around a SYN, with some of all that can stand before TCP, and now and then a wrong byte.
fn any_frame(rng: &mut Rng) -> Vec<u8> {
    let mut tags = Vec::new();
    for _ in 0..[0, 0, 1, 2, 3, 5, 9][rng.below(7)] {
        let tpid = [0x8100, 0x8100, 0x88a8, 0x9100][rng.below(4)];
        tags.push((tpid, [0, 0, 0x2000, 7, 0xe008][rng.below(5)]));
    }
    let (ethertype, packet) =
        if rng.below(2) == 0 { (0x0800, any_ipv4(rng)) } else { (0x86dd, any_ipv6(rng)) };
    let mut frame = tagged(&tags, ethertype, &packet);
    frame.extend(vec![0; rng.below(20)]);
    for _ in 0..[0, 0, 0, 1, 2][rng.below(5)] {
        let at = 12 + rng.below(frame.len() - 12);
        frame[at] = [rng.next() as u8, 0, 6, 0xff, frame[at] ^ 1 << rng.below(8)][rng.below(5)];
    }
    if rng.below(20) == 0 {
        frame.truncate(14 + rng.below(frame.len() - 14));
    }
    frame
}

fn any_ipv4(rng: &mut Rng) -> Vec<u8> {
    let mut packet = ipv4();
    let options = rng.below(4) * 4;
    packet.splice(20..20, vec![1; options]);
    packet[0] = 0x45 + (options / 4) as u8;
    let length = (packet.len() as u16).wrapping_add([0, 0, 0, 1, 0u16.wrapping_sub(9)][rng.below(5)]);
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    if rng.below(8) == 0 {
        packet[6] = [0, 0x20, 0x80][rng.below(3)];
    }
    packet
}

fn any_ipv6(rng: &mut Rng) -> Vec<u8> {
    const KINDS: [u8; 11] = [0, 43, 44, 51, 60, 135, 139, 140, 59, 253, 50];
    let mut kinds: Vec<u8> = (0..[0, 1, 1, 2, 3, 6][rng.below(6)]).map(|_| KINDS[rng.below(11)]).collect();
    if rng.below(3) == 0 {
        kinds.insert(0, 0);
    }
    let mut chain = Vec::new();
    for (n, kind) in kinds.iter().enumerate() {
        let next = kinds.get(n + 1).copied().unwrap_or(6);
        match kind {
            44 => chain.extend([next, 0, 0, [0, 1, 8][rng.below(3)], 0, 0, 0, 9]),
            // Counted in words of four bytes, less two.
            51 => chain.extend([next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            0 if rng.below(3) == 0 => chain.extend([next, 0, 0xc2, 4, 0, 1, 0, 0]),
            _ => chain.extend([next, 0, 1, 4, 0, 0, 0, 0]),
        }
    }
    let right = (chain.len() + 20) as u16;
    let length = [right, right, right, right, 0, right - 4, right + 4][rng.below(7)];
    ipv6(kinds.first().copied().unwrap_or(6), &chain, length)
}

/// Whatever a lenient parser takes for TCP is followed or dropped. `scripts/fuzz.sh lenient` looks for more, guided by coverage.
#[test]
fn no_frame_is_tcp_for_a_host_alone() {
    let (mut same, mut kept) = (0, 0);
    for seed in 0..100_000 {
        let frame = any_frame(&mut Rng(seed));
        let compared = std::panic::catch_unwind(|| compare(&frame));
        match compared.unwrap_or_else(|_| panic!("seed {seed}: {frame:02x?}")) {
            Agreement::NoTcp => {}
            Agreement::Same => same += 1,
            Agreement::Kept => kept += 1,
        }
    }
    assert!(same > 20_000 && kept > 1_000, "too few frames are TCP for this to say much: {same} and {kept}");
}
