//! Fragments put together: every cutting and order gives the segment or nothing, and never more is held than may be.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../tests/support/fragments.rs"]
mod fragments;
#[path = "../../tests/support/frames.rs"]
#[allow(dead_code, reason = "shared with the engine's tests")]
mod frames;
#[path = "../../testbed/src/random.rs"]
#[allow(dead_code, unreachable_pub, reason = "of the testbed")]
mod random;

use fragments::{Whole, cut, fragment, fragment_of};
use proptest::prelude::*;
use random::Random;
use tcp_stack::{Duration, Instant};
use wireglass_core::counters::WorkerCounters;
use wireglass_core::memory_port::MemoryFrame;
use wireglass_core::packet::{Class, FragmentKey, KeyHasher, classify};
use wireglass_core::port::{PortId, PortSide};
use wireglass_core::reason::PacketDrop;
use wireglass_core::reassembly::{Limits, MAX_PIECES, Reassembler, Taken};

const LIMITS: Limits = Limits { packets: 8, frames: 100, time: Duration::from_secs(5) };
const MTU: usize = 1500;

#[derive(Debug, PartialEq, Eq)]
enum Got {
    Nothing,
    Forward(Vec<Vec<u8>>),
    Whole(Vec<Vec<u8>>),
}

struct Bench {
    reassembler: Reassembler<MemoryFrame>,
    counters: WorkerCounters,
    now: Instant,
    mtu: usize,
}

impl Bench {
    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: Limits) -> Self {
        let counters = WorkerCounters::new(1);
        Self { reassembler: Reassembler::new(limits), counters, now: Instant::ZERO, mtu: MTU }
    }

    /// Port 443 is intercepted.
    fn give(&mut self, frame: &[u8]) -> Got {
        self.give_at(PortId { wire: 0, side: PortSide::Inside }, frame)
    }

    fn give_at(&mut self, port: PortId, frame: &[u8]) -> Got {
        let Class::Fragment(fragment) = classify(frame) else { panic!("{:?}", classify(frame)) };
        let key = FragmentKey::new(port, &fragment);
        let hash = KeyHasher::new([1; 16]).hash(&key);
        let ends = fragment.ends(frame);
        let intercepted = ends.is_some_and(|(a, b)| a.port() == 443 || b.port() == 443);
        let (now, frame) = (self.now, MemoryFrame(frame.to_vec()));
        let taken = self.reassembler.take(now, (hash, key), &fragment, frame, intercepted, &self.counters);
        match taken {
            Taken::Nothing => Got::Nothing,
            Taken::Forward(mut pieces) => {
                let frames = pieces.drain(..).map(|piece| piece.frame.0).collect();
                self.reassembler.recycle(pieces);
                Got::Forward(frames)
            }
            Taken::Whole(whole) => {
                let mut out = Vec::new();
                let done = whole.rebuild(self.mtu, || Some(MemoryFrame(Vec::new())), &mut out);
                self.reassembler.recycle(whole.into_pieces());
                match done {
                    Ok(()) => Got::Whole(out.into_iter().map(|frame| frame.0).collect()),
                    Err(reason) => {
                        self.counters.drop_packet(reason);
                        Got::Nothing
                    }
                }
            }
        }
    }

    /// All of these; what the last one gives, after nothing from the others.
    #[track_caller]
    fn give_all(&mut self, frames: &[Vec<u8>]) -> Got {
        let (last, others) = frames.split_last().unwrap();
        for frame in others {
            assert_eq!(self.give(frame), Got::Nothing);
        }
        self.give(last)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.reassembler.expire(self.now, &self.counters);
    }

    fn dropped(&self, reason: PacketDrop) -> u64 {
        self.counters.dropped(reason)
    }

    #[track_caller]
    fn assert_empty(&self) {
        assert_eq!((self.reassembler.held(), self.reassembler.packets()), (0, 0));
        assert_eq!(self.counters.fragments_held.value(), 0);
        assert_eq!(self.reassembler.poll_timeout(), None);
    }
}

/// IPv4 and IPv6, tagged and not, with this much payload.
fn versions(payload: usize) -> impl Iterator<Item = Whole> {
    let payload = Random::new(payload as u64).bytes(payload);
    [(false, None), (true, None), (false, Some(9)), (true, Some(9))]
        .into_iter()
        .map(move |(ipv6, vlan)| Whole { ipv6, vlan, payload: payload.clone(), ..Whole::default() })
}

fn nobodys(whole: &Whole) -> Vec<u8> {
    Whole { ports: (50_000, 8_443), ..whole.clone() }.frame()
}

#[test]
fn any_order_gives_the_segment_as_it_was() {
    for whole in versions(1_200) {
        let frame = whole.frame();
        let [a, b, c] = cut(&frame, 77, 512).try_into().unwrap();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut bench = Bench::new();
            let pieces = order.map(|n| [&a, &b, &c][n].clone());
            assert_eq!(bench.give_all(&pieces), Got::Whole(vec![frame.clone()]), "{order:?}");
            assert_eq!(bench.counters.reassembled.value(), 1);
            bench.assert_empty();
        }
    }
}

#[test]
fn padding_is_no_data() {
    let frame = Whole { payload: vec![7; 30], ..Whole::default() }.frame();
    let mut pieces = cut(&frame, 77, 24);
    pieces.iter_mut().for_each(|piece| piece.resize(60, 0xee));
    assert_eq!(Bench::new().give_all(&pieces), Got::Whole(vec![frame]));
}

/// IPv4 options and IPv6 extension headers of the first fragment are the packet's; the others' do not count.
#[test]
fn headers_are_the_first_fragments() {
    let frame = Whole { payload: vec![7; 600], ..Whole::default() }.frame();
    let mut with_options = frame[..34].to_vec();
    with_options[14] = 0x46;
    with_options.extend([1, 1, 1, 0]);
    let first = fragment_of(&with_options, (14, true), 77, 0, &frame[34..34 + 320], true);
    let last = fragment(&frame, 77, 320, 300, false);
    let Got::Whole(out) = Bench::new().give_all(&[last, first]) else { panic!("whole") };
    let Class::Tcp(headers) = classify(&out[0]) else { panic!("TCP") };
    assert_eq!((headers.l4, headers.end, &out[0][34..38]), (38, 38 + 620, &[1, 1, 1, 0][..]));
    headers.verify_checksums(&out[0]).unwrap();

    let frame = Whole { ipv6: true, ..Whole { payload: vec![7; 600], ..Whole::default() } }.frame();
    // Hop-by-hop options with six bytes of padding, then the fragment header.
    let piece = |offset: u16, data: &[u8], more: bool| {
        let header = [6, 0, (offset >> 8) as u8, offset as u8 | u8::from(more), 0, 0, 0, 5];
        let mut bytes = [&frame[..54], &[44, 0, 1, 4, 0, 0, 0, 0], &header, data].concat();
        bytes[20] = 0;
        let length = (bytes.len() - 54) as u16;
        bytes[18..20].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let pieces = [piece(0, &frame[54..54 + 320], true), piece(320, &frame[54 + 320..], false)];
    let Got::Whole(out) = Bench::new().give_all(&pieces) else { panic!("whole") };
    let Class::Tcp(headers) = classify(&out[0]) else { panic!("TCP") };
    assert_eq!(out[0][54..62], [6, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(headers.segment(&out[0]), &frame[54..]);
    headers.verify_checksums(&out[0]).unwrap();
}

/// What is too long for the way on goes on as several segments, with the same bytes at the same places.
#[test]
fn a_segment_that_is_too_long_is_divided() {
    for whole in versions(8_000) {
        let options = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let whole = Whole { flags: 0x99, options, ..whole };
        let frame = whole.frame();
        let Got::Whole(out) = Bench::new().give_all(&cut(&frame, 77, 1_200)) else { panic!("whole") };
        // IPv6: as long as the longest fragment, or 1280.
        let limit = if whole.ipv6 { 1_280 } else { MTU };
        let mut payload = Vec::new();
        for (n, part) in out.iter().enumerate() {
            let Class::Tcp(headers) = classify(part) else { panic!("TCP") };
            headers.verify_checksums(part).unwrap();
            assert!(headers.end - headers.l3 <= limit && headers.end == part.len());
            let segment = tcp_stack::Segment::parse(headers.segment(part)).unwrap();
            assert_eq!(segment.seq.0, whole.seq + payload.len() as u32);
            assert_eq!((segment.ack.map(|ack| ack.0), segment.window), (Some(whole.ack), 60_000));
            assert_eq!(segment.options.timestamps.unwrap().val, 1);
            let is_last = n + 1 == out.len();
            assert_eq!((segment.flags.fin, segment.flags.psh), (is_last, is_last));
            assert_eq!(segment.flags.cwr, n == 0, "said once");
            payload.extend_from_slice(segment.payload);
        }
        assert_eq!(payload, whole.payload);
        assert_eq!(out.len(), 8_000_usize.div_ceil(limit - if whole.ipv6 { 72 } else { 52 }));
    }
}

#[test]
fn an_urgent_pointer_stays_where_it_points() {
    // Without URG it means nothing.
    for (flags, expected) in
        [(0x38, [(true, 2_000), (true, 2_000 - 1_460), (false, 0)]), (0x18, [(false, 0); 3])]
    {
        let mut frame = Whole { flags, payload: vec![7; 3_000], ..Whole::default() }.frame();
        // 2,000 bytes on; the checksum changes by as much.
        frame[52..54].copy_from_slice(&2_000_u16.to_be_bytes());
        let sum = u32::from(u16::from_be_bytes([frame[50], frame[51]])) + 0xffff - 2_000;
        let sum = (sum & 0xffff) + (sum >> 16);
        frame[50..52].copy_from_slice(&(sum as u16).to_be_bytes());
        let Got::Whole(out) = Bench::new().give_all(&cut(&frame, 77, 1_200)) else { panic!("whole") };
        let urgent: Vec<_> =
            out.iter().map(|f| (f[47] & 0x20 != 0, u16::from_be_bytes([f[52], f[53]]))).collect();
        assert_eq!(urgent, expected);
    }
}

#[test]
fn what_cannot_be_divided_is_dropped() {
    for whole in versions(3_000) {
        for (flags, reason) in [
            (0x02, PacketDrop::FragmentTooBig),
            (0x14, PacketDrop::FragmentTooBig),
            (0x18, PacketDrop::BadTcpChecksum),
        ] {
            let mut frame = Whole { flags, ..whole.clone() }.frame();
            if reason == PacketDrop::BadTcpChecksum {
                *frame.last_mut().unwrap() ^= 1;
            }
            let mut bench = Bench::new();
            assert_eq!(bench.give_all(&cut(&frame, 77, 1_200)), Got::Nothing);
            assert_eq!(bench.dropped(reason), 1, "{reason}");
            bench.assert_empty();
        }
    }
}

/// Where no payload fits beside the headers, nothing can be divided.
#[test]
fn a_path_for_headers_alone_carries_nothing() {
    let frame = Whole { payload: vec![7; 3_000], ..Whole::default() }.frame();
    for mtu in [39, 40] {
        let mut bench = Bench::new();
        bench.mtu = mtu;
        assert_eq!(bench.give_all(&cut(&frame, 77, 1_200)), Got::Nothing);
        assert_eq!(bench.dropped(PacketDrop::FragmentTooBig), 1, "{mtu}");
        bench.assert_empty();
    }
}

#[test]
fn an_overlap_kills_the_packet_and_what_still_comes_of_it() {
    for whole in versions(1_000) {
        let frame = whole.frame();
        let part = |at, len| fragment(&frame, 77, at, len, at + len < 1_020);
        let mut other = part(0, 512);
        *other.last_mut().unwrap() ^= 1;
        // The same bytes at the same place are an overlap too, unless the fragment is the very same.
        let overlaps = [part(504, 16), part(256, 256), part(0, 504), part(0, 520), part(8, 8), other];
        for (n, overlap) in overlaps.into_iter().enumerate() {
            let mut bench = Bench::new();
            let pieces = [part(0, 512), overlap, part(512, 508)];
            assert_eq!(bench.give_all(&pieces), Got::Nothing, "{n}");
            assert_eq!(bench.dropped(PacketDrop::FragmentOverlap), 3, "{n}");
            assert_eq!((bench.reassembler.held(), bench.reassembler.packets()), (0, 1));
            // Another packet is another packet.
            assert_eq!(bench.give_all(&cut(&frame, 78, 512)), Got::Whole(vec![expected(&whole, 78)]));
            // And in time this one may be, too.
            bench.wait(LIMITS.time);
            assert_eq!(bench.give_all(&cut(&frame, 77, 512)), Got::Whole(vec![frame.clone()]));
            bench.assert_empty();
        }
    }
}

/// IPv4 has the identification of its fragments; IPv6 has none without them.
fn expected(whole: &Whole, id: u16) -> Vec<u8> {
    Whole { id, ..whole.clone() }.frame()
}

#[test]
fn a_repetition_is_ignored() {
    for whole in versions(1_000) {
        let frame = whole.frame();
        let mut bench = Bench::new();
        let pieces = cut(&frame, 77, 512);
        let twice = [&pieces[0], &pieces[0], &pieces[1]].map(Vec::clone);
        assert_eq!(bench.give_all(&twice), Got::Whole(vec![frame]));
        assert_eq!(bench.dropped(PacketDrop::FragmentRepeated), 1);
        bench.assert_empty();
    }
}

#[test]
fn two_ends_are_none() {
    for whole in versions(1_000) {
        let frame = whole.frame();
        let first = fragment(&frame, 77, 0, 104, true);
        let end = fragment(&frame, 77, 504, 8, false);
        for wrong in [
            fragment(&frame, 77, 512, 8, true),
            fragment(&frame, 77, 512, 8, false),
            fragment(&frame, 77, 304, 8, false),
            fragment(&frame, 77, 504, 8, true),
        ] {
            for pieces in [[&first, &end, &wrong], [&first, &wrong, &end]] {
                let mut bench = Bench::new();
                assert_eq!(bench.give_all(&pieces.map(Vec::clone)), Got::Nothing);
                assert_eq!(bench.dropped(PacketDrop::FragmentOverlap), 3);
            }
        }
    }
}

/// RFC 1858 3: ports in the first fragment, flags in the second.
#[test]
fn a_first_fragment_without_the_tcp_header() {
    for whole in versions(100) {
        let whole = Whole { options: vec![1; 12], ..whole };
        let frame = whole.frame();
        for size in [8, 16, 24] {
            for backwards in [false, true] {
                let mut bench = Bench::new();
                let mut pieces = cut(&frame, 77, size);
                if backwards {
                    pieces.reverse();
                }
                assert_eq!(bench.give_all(&pieces), Got::Nothing);
                assert_eq!(bench.dropped(PacketDrop::FragmentTiny), pieces.len() as u64);
                assert_eq!(bench.reassembler.held(), 0);
            }
        }
        assert_eq!(Bench::new().give_all(&cut(&frame, 77, 32)), Got::Whole(vec![frame]));
    }
}

#[test]
fn lengths_that_no_fragment_may_have() {
    for whole in versions(1_000) {
        let frame = whole.frame();
        let l4 = frame.len() - 1_020;
        let ip = if whole.vlan.is_some() { 18 } else { 14 };
        let piece =
            |offset, data: &[u8], more| fragment_of(&frame[..l4], (ip, !whole.ipv6), 77, offset, data, more);
        for wrong in [
            piece(0, &[], true),
            piece(800, &[], false),
            piece(0, &frame[l4..l4 + 100], true),
            piece(65_528, &[0; 8], false),
            piece(65_000, &[0; 600], true),
        ] {
            let mut bench = Bench::new();
            assert_eq!(bench.give(&wrong), Got::Nothing);
            assert_eq!(bench.dropped(PacketDrop::FragmentMalformed), 1);
            bench.assert_empty();
        }
        if !whole.ipv6 {
            let mut broken = piece(0, &frame[l4..l4 + 104], true);
            broken[ip + 8] ^= 1;
            let mut bench = Bench::new();
            assert_eq!(bench.give(&broken), Got::Nothing);
            assert_eq!(bench.dropped(PacketDrop::BadIpHeader), 1);
        }
    }
}

/// The headers of the first fragment may be longer than those of the others, and so the packet than 65535 bytes.
#[test]
fn a_packet_that_is_too_long_only_as_a_whole() {
    let frame = Whole { payload: vec![0; 1_300], ..Whole::default() }.frame();
    let mut options = frame[..34].to_vec();
    options[14] = 0x4f;
    options.extend([1; 40]);
    let mut bench = Bench::new();
    let end = 65_535 - 20;
    let size = 1_280;
    let first = fragment_of(&options, (14, true), 77, 0, &frame[34..34 + size], true);
    let mut pieces = vec![first];
    pieces.extend((size..end).step_by(size).map(|at| {
        let len = size.min(end - at);
        fragment_of(&frame[..34], (14, true), 77, at, &vec![0; len], at + len < end)
    }));
    assert!(pieces.len() <= MAX_PIECES);
    assert_eq!(bench.give_all(&pieces), Got::Nothing);
    assert_eq!(bench.dropped(PacketDrop::FragmentMalformed), 1);
    bench.assert_empty();
}

#[test]
fn fragments_of_nobodys_ports_go_on_in_the_order_they_came() {
    for whole in versions(1_000) {
        let pieces = cut(&nobodys(&whole), 77, 256);
        for order in [[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0], [1, 3, 2, 0]] {
            let mut bench = Bench::new();
            let came = order.map(|n| pieces[n].clone());
            let mut went = Vec::new();
            for (n, piece) in came.iter().enumerate() {
                match bench.give(piece) {
                    Got::Nothing => assert!(!order[..=n].contains(&0), "held only before the first one"),
                    Got::Forward(frames) => went.extend(frames),
                    got => panic!("{got:?}"),
                }
            }
            assert_eq!(went, came);
            bench.assert_empty();
        }
    }
}

/// What is let pass is not looked at, and so not held to anything: repetitions, tiny ones, more than could be held.
#[test]
fn what_passes_passes_as_it_is() {
    for whole in versions(1_400) {
        let mut bench = Bench::new();
        let pieces = cut(&nobodys(&whole), 77, 8);
        assert!(pieces.len() > MAX_PIECES);
        for piece in pieces.iter().flat_map(|piece| [piece, piece]) {
            assert_eq!(bench.give(piece), Got::Forward(vec![piece.clone()]));
        }
        assert_eq!(bench.reassembler.held(), 0);
    }
}

/// The same identification for a packet that passes and one that may be decrypted: of the latter nothing passes in pieces.
#[test]
fn a_verdict_is_for_its_own_packet() {
    for whole in versions(1_000) {
        let (passing, kept) = (cut(&nobodys(&whole), 77, 512), cut(&whole.frame(), 77, 512));
        let mut bench = Bench::new();
        assert_eq!(bench.give(&passing[0]), Got::Forward(vec![passing[0].clone()]));
        assert_eq!(bench.give_all(&kept), Got::Whole(vec![whole.frame()]));
        bench.assert_empty();
        // The other way round, the second first fragment overlaps.
        let mut bench = Bench::new();
        assert_eq!(bench.give(&kept[0]), Got::Nothing);
        assert_eq!(bench.give(&passing[0]), Got::Nothing);
        assert_eq!(bench.give(&kept[1]), Got::Nothing);
        assert_eq!(bench.dropped(PacketDrop::FragmentOverlap), 3);
    }
}

#[test]
fn packets_that_look_alike_do_not_meet() {
    let payload = Random::new(1).bytes(500);
    let base = Whole { payload, ..Whole::default() };
    let inside = PortId { wire: 0, side: PortSide::Inside };
    let outside = inside.opposite();
    let other_wire = PortId { wire: 1, side: PortSide::Inside };
    let look_alikes = [
        (inside, base.clone(), 77),
        (outside, base.clone(), 77),
        (other_wire, base.clone(), 77),
        (inside, base.clone(), 78),
        (inside, Whole { vlan: Some(9), ..base.clone() }, 77),
        (inside, Whole { to_server: false, ..base.clone() }, 77),
        (inside, Whole { ipv6: true, ..base }, 77),
    ];
    let mut bench = Bench::new();
    for round in 0..2 {
        for (port, whole, id) in &look_alikes {
            let expected = match round {
                0 => Got::Nothing,
                _ => Got::Whole(vec![expected(whole, *id as u16)]),
            };
            let piece = &cut(&whole.frame(), *id, 256)[round];
            assert_eq!(bench.give_at(*port, piece), if round == 1 { Got::Nothing } else { expected });
        }
    }
    for (port, whole, id) in &look_alikes {
        let pieces = cut(&whole.frame(), *id, 256);
        assert_eq!(bench.give_at(*port, &pieces[2]), Got::Whole(vec![expected(whole, *id as u16)]));
    }
    bench.assert_empty();
}

#[test]
fn what_does_not_become_whole_in_time_is_dropped() {
    for whole in versions(1_000) {
        let pieces = cut(&whole.frame(), 77, 256);
        let mut bench = Bench::new();
        bench.give_all(&pieces[..2]);
        bench.wait(Duration::from_secs(3));
        bench.give(&pieces[2]);
        assert_eq!(
            bench.reassembler.poll_timeout(),
            Some(Instant::ZERO + LIMITS.time),
            "from the first that came"
        );
        bench.wait(Duration::from_millis(1_999));
        assert_eq!(bench.reassembler.held(), 3);
        bench.wait(Duration::from_millis(1));
        assert_eq!(bench.dropped(PacketDrop::FragmentTimeout), 3);
        bench.assert_empty();
        assert_eq!(bench.give(&pieces[3]), Got::Nothing);
    }
}

#[test]
fn a_full_table_loses_its_oldest_packet_only() {
    for whole in versions(1_000) {
        let frame = whole.frame();
        let mut bench = Bench::new();
        for id in 0..9 {
            bench.now += Duration::from_millis(1);
            assert_eq!(bench.give(&cut(&frame, id, 512)[0]), Got::Nothing);
        }
        assert_eq!((bench.reassembler.packets(), bench.reassembler.held()), (8, 8));
        assert_eq!(bench.dropped(PacketDrop::FragmentEvicted), 1);
        for id in 1..9 {
            assert_eq!(bench.give(&cut(&frame, id, 512)[1]), Got::Whole(vec![expected(&whole, id as u16)]));
        }
        bench.assert_empty();
    }
}

#[test]
fn frames_are_counted() {
    let limits = Limits { packets: 1_000, ..LIMITS };
    for whole in versions(1_000) {
        let frame = whole.frame();
        let mut bench = Bench::with(limits);
        for id in 0..40 {
            for piece in &cut(&frame, id, 256)[..3] {
                assert_eq!(bench.give(piece), Got::Nothing);
                assert!(bench.reassembler.held() <= limits.frames);
                assert_eq!(bench.counters.fragments_held.value(), bench.reassembler.held() as u64);
            }
        }
        assert!(bench.reassembler.held() > limits.frames - 3);
        assert_eq!(bench.dropped(PacketDrop::FragmentEvicted) + bench.reassembler.held() as u64, 120);
        assert_eq!(bench.give(&cut(&frame, 39, 256)[3]), Got::Whole(vec![expected(&whole, 39)]));
    }
}

#[test]
fn a_packet_of_too_many_fragments() {
    for whole in versions(1_000) {
        let frame = whole.frame();
        let mut bench = Bench::new();
        let mut pieces = vec![fragment(&frame, 77, 0, 32, true)];
        pieces.extend((0..MAX_PIECES).map(|n| fragment(&frame, 77, 32 + 8 * n, 8, true)));
        assert_eq!(bench.give_all(&pieces), Got::Nothing);
        assert_eq!(bench.dropped(PacketDrop::FragmentTooMany), MAX_PIECES as u64 + 1);
        assert_eq!(bench.reassembler.held(), 0);
    }
}

/// A segment, where it is cut, in which order the pieces come, which of them twice, and which of another packet between.
#[derive(Clone, Debug)]
struct Story {
    ipv6: bool,
    payload: usize,
    mtu: usize,
    cuts: Vec<u16>,
    order: u64,
    repeated: Vec<u8>,
    foreign: Vec<(u16, u16)>,
}

fn story() -> impl Strategy<Value = Story> {
    let cuts = proptest::collection::vec(any::<u16>(), 0..40);
    let repeated = proptest::collection::vec(any::<u8>(), 0..4);
    let foreign = proptest::collection::vec((any::<u16>(), 1u16..400), 0..3);
    (any::<bool>(), 1usize..9_000, 600usize..9_000, cuts, any::<u64>(), repeated, foreign).prop_map(
        |(ipv6, payload, mtu, cuts, order, repeated, foreign)| Story {
            ipv6,
            payload,
            mtu,
            cuts,
            order,
            repeated,
            foreign,
        },
    )
}

impl Story {
    fn whole(&self, seed: u64) -> Whole {
        Whole { ipv6: self.ipv6, payload: Random::new(seed).bytes(self.payload), ..Whole::default() }
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        let (frame, other) = (self.whole(1).frame(), self.whole(2).frame());
        let total = 20 + self.payload;
        let blocks = total.div_ceil(8);
        let mut places: Vec<_> = self.cuts.iter().map(|at| usize::from(*at) % blocks * 8).collect();
        places.extend([0, blocks * 8]);
        places.sort_unstable();
        places.dedup();
        let mut pieces: Vec<_> = places
            .windows(2)
            .map(|w| fragment(&frame, 77, w[0], w[1].min(total) - w[0], w[1] < total))
            .collect();
        for n in &self.repeated {
            pieces.push(pieces[usize::from(*n) % pieces.len()].clone());
        }
        for (at, len) in &self.foreign {
            let at = usize::from(*at) % blocks * 8;
            let end = (at + usize::from(*len).next_multiple_of(8)).min(total);
            pieces.push(fragment(&other, 77, at, end - at, end < total));
        }
        let mut random = Random::new(self.order);
        for n in (1..pieces.len()).rev() {
            pieces.swap(n, random.below(n as u64 + 1) as usize);
        }
        pieces
    }
}

proptest! {
    /// The segment comes out, byte for byte, or all is dropped by name. With pieces of another packet between them, what
    /// comes out may be a mixture, but none that TCP takes: there the checksum is wrong.
    #[test]
    fn the_segment_or_nothing(story in story()) {
        let mut bench = Bench::new();
        bench.mtu = story.mtu;
        let pieces = story.pieces();
        prop_assume!(pieces.iter().all(|piece| matches!(classify(piece), Class::Fragment(_))));
        let whole = story.whole(1);
        let mut wholes = 0;
        for piece in &pieces {
            match bench.give(piece) {
                Got::Nothing => {}
                Got::Forward(_) => prop_assert!(false, "a fragment of an intercepted port has left"),
                Got::Whole(out) => {
                    let mut payload = Vec::new();
                    let mut sound = true;
                    for part in &out {
                        let Class::Tcp(headers) = classify(part) else { panic!("TCP") };
                        prop_assert!(headers.end - headers.l3 <= story.mtu.max(1_280));
                        sound &= headers.verify_checksums(part).is_ok();
                        let segment = tcp_stack::Segment::parse(headers.segment(part)).unwrap();
                        prop_assert_eq!(segment.seq.0 as usize, whole.seq as usize + payload.len());
                        payload.extend_from_slice(segment.payload);
                    }
                    prop_assert!(sound || !story.foreign.is_empty());
                    prop_assert!(!sound || payload == whole.payload || payload == story.whole(2).payload);
                    wholes += 1;
                }
            }
            prop_assert!(bench.reassembler.held() <= LIMITS.frames);
        }
        bench.wait(LIMITS.time);
        bench.assert_empty();
        let dropped: u64 = PacketDrop::ALL.iter().map(|reason| bench.dropped(*reason)).sum();
        prop_assert!(wholes > 0 || dropped > 0, "neither whole nor dropped");
        let plain = story.foreign.is_empty() && story.repeated.is_empty() && story.cuts.len() > 1;
        let tiny = bench.dropped(PacketDrop::FragmentTiny) > 0;
        prop_assert!(!plain || tiny || wholes == 1, "nothing was wrong with it");
    }
}
