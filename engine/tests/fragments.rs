//! TCP in IP fragments through the engine: decrypted, bypassed, nobody's; broken and hostile ones.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::fragments::{Whole, cut, fragment};
use support::frames::TcpFrame;
use support::lab::{LIMIT, Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass::simulate::Spread;
use wireglass_core::packet::{Class, classify};
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_testbed::{Duration, Heading, Impairment, Middle, PortSide, Random, Stop, Tag};

/// Cuts every segment with payload into pieces of a random size, and has them come in a random order, some twice.
fn cutter(seed: u64, most: usize, repeat: f64) -> impl FnMut(Vec<u8>) -> Vec<(Duration, Vec<u8>)> {
    let mut random = Random::new(seed);
    let mut id = seed as u32;
    move |frame| {
        if TcpFrame::parse(&frame).is_none_or(|tcp| tcp.payload().is_empty()) {
            return vec![(Duration::ZERO, frame)];
        }
        id += 1;
        let size = 64 + random.below(most as u64 / 8 - 7) as usize * 8;
        let pieces = cut(&frame, id, size);
        if pieces.len() == 1 {
            return vec![(Duration::ZERO, frame)];
        }
        let mut out = Vec::new();
        for piece in pieces {
            let copies = 1 + usize::from(random.chance(repeat));
            for _ in 0..copies {
                out.push((Duration::from_micros(random.below(300)), piece.clone()));
            }
        }
        out
    }
}

fn cut_both_ways(run: &mut Run, seed: u64, most: usize, repeat: f64) {
    run.simulation.client_to_middle.set_tamper(cutter(seed, most, repeat));
    run.simulation.server_to_middle.set_tamper(cutter(!seed >> 40, most, repeat));
    run.simulation.record();
}

fn is_fragment(frame: &[u8]) -> bool {
    matches!(classify(frame), Class::Fragment(_))
}

/// Many fragments have come, and none has left.
#[track_caller]
fn assert_no_fragment_left(run: &Run, case: &dyn std::fmt::Debug) {
    let count = |heading| {
        let crossings = run.simulation.recorded().iter();
        crossings.filter(|c| c.heading == heading && is_fragment(&c.frame)).count()
    };
    assert!(count(Heading::In) > 100, "{case:?}");
    assert_eq!(count(Heading::Out), 0, "{case:?}");
}

#[track_caller]
fn sum(run: &Run, reason: PacketDrop) -> u64 {
    run.engine().counters().iter().map(|worker| worker.dropped(reason)).sum()
}

fn setups() -> impl Iterator<Item = Setup> {
    [false, true].into_iter().flat_map(|ipv6| {
        [Vec::new(), vec![Tag { ethertype: 0x8100, control: 9 }]].map(|tags| Setup {
            ipv6,
            tags,
            ..Setup::default()
        })
    })
}

#[test]
fn a_connection_in_fragments_is_decrypted() {
    let lab = Lab::new();
    for base in setups() {
        for seed in 0..6 {
            let exchange = Exchange::new(seed, 20_000, 100_000);
            let setup = Setup { seed, ..base.clone() };
            let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
            // From a few bytes at a time to nearly whole frames.
            cut_both_ways(&mut run, seed, [128, 256, 512, 800, 1_208, 1_400][seed as usize], 0.05);
            assert_eq!(run.run(), Stop::Done, "{setup:?}");
            exchange.assert_done(run.client(), run.server(), &setup);
            assert_no_fragment_left(&run, &setup);
            assert_eq!(run.tls_event().reason, Reason::PolicyDecrypt);
            assert!(run.counters().reassembled.value() > 80);
            // What is left are repetitions that came after their packet was whole.
            run.settle(Duration::from_secs(60));
            assert_eq!(run.counters().fragments_held.value(), 0);
            assert_eq!(sum(&run, PacketDrop::FragmentMalformed) + sum(&run, PacketDrop::FragmentTiny), 0);
            assert_eq!(run.engine().flows(), 0);
        }
    }
}

#[test]
fn fragments_are_lost_like_anything_else() {
    let lab = Lab::new();
    for base in setups() {
        for seed in 10..14 {
            let impairment =
                Impairment { loss: 0.01, reorder: 0.1, duplicate: 0.02, ..Impairment::default() };
            let setup = Setup { seed, impairment, ..base.clone() };
            let exchange = Exchange::new(seed, 20_000, 50_000);
            let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
            cut_both_ways(&mut run, seed, 1_000, 0.05);
            run.run();
            exchange.assert_done(run.client(), run.server(), &setup);
            assert_no_fragment_left(&run, &setup);
            run.settle(Duration::from_secs(60));
            assert!(sum(&run, PacketDrop::FragmentTimeout) > 0, "{setup:?}");
            assert_eq!(run.counters().fragments_held.value(), 0);
        }
    }
}

/// The NIC spreads fragments by their addresses, or as it likes: they meet all the same.
#[test]
fn fragments_of_a_packet_meet_whatever_queue_they_come_in() {
    let lab = Lab::new();
    for workers in [2, 3] {
        for spread in [Spread::Owner, Spread::Wrong, Spread::Turns] {
            for ipv6 in [false, true] {
                let setup = Setup { workers, spread, ipv6, ..Setup::default() };
                let exchange = Exchange::new(1, 20_000, 50_000);
                let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
                cut_both_ways(&mut run, 1, 800, 0.0);
                assert_eq!(run.run(), Stop::Done, "{setup:?}");
                exchange.assert_done(run.client(), run.server(), &setup);
                assert_no_fragment_left(&run, &setup);
                let put_together = run.engine().counters().iter().map(|worker| worker.reassembled.value());
                assert!(put_together.min().unwrap() > 0, "every worker had some: {setup:?}");
                for reason in [PacketDrop::FragmentTimeout, PacketDrop::FragmentOverlap] {
                    assert_eq!(sum(&run, reason), 0, "{setup:?}");
                }
            }
        }
    }
}

/// What is bypassed on an intercepted port is put together too: whole packets with the same bytes go on.
#[test]
fn a_bypassed_connection_goes_on_in_whole_packets() {
    let lab = Lab::new().trusting_the_server();
    for rules in [Rules::by_name(Action::Bypass), Rules::default_is(Action::Bypass)] {
        for base in setups() {
            let setup = Setup { rules: rules.clone(), ..base };
            let exchange = Exchange::new(1, 20_000, 100_000);
            let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
            cut_both_ways(&mut run, 1, 1_000, 0.05);
            assert_eq!(run.run(), Stop::Done, "{setup:?}");
            exchange.assert_done(run.client(), run.server(), &setup);
            assert_no_fragment_left(&run, &setup);
            assert_eq!(run.client().handshake.as_ref().unwrap().chain, lab.server.chain, "{setup:?}");
            // Beside the fragments nothing was touched: what fits the path has the sender's own checksum.
            let longest = run.simulation.recorded().iter().filter(|c| c.heading == Heading::Out);
            let longest = longest.map(|c| c.frame.len() - 14 - 4 * setup.tags.len()).max().unwrap();
            assert_eq!(longest, if setup.ipv6 { 1_280 } else { 1_500 });
        }
    }
}

/// A packet that is longer than the wire carries, as a router makes many fragments of it: the same bytes in more segments.
#[test]
fn packets_that_are_longer_than_the_wire_carries() {
    let lab = Lab::new().trusting_the_server();
    for ipv6 in [false, true] {
        // Bypassed at the SYN, so that nobody lowers the MSS.
        let rules = Rules::default_is(Action::Bypass);
        let setup = Setup { mtu: 9_000, wire_mtu: 1_500, ipv6, rules, ..Setup::default() };
        let exchange = Exchange::new(1, 50_000, 200_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        cut_both_ways(&mut run, 1, 1_400, 0.0);
        assert_eq!(run.run(), Stop::Done, "{setup:?}");
        exchange.assert_done(run.client(), run.server(), &setup);
        assert_no_fragment_left(&run, &setup);
        let out = run.simulation.recorded().iter().filter(|c| c.heading == Heading::Out);
        assert!(out.map(|c| c.frame.len()).max().unwrap() <= 1_514);
    }
}

#[test]
fn fragments_of_nobodys_port_pass_as_they_are() {
    for workers in [1, 3] {
        for ipv6 in [false, true] {
            for vlan in [None, Some(9)] {
                let setup = Setup { workers, spread: Spread::Turns, ..Setup::default() };
                let mut run = Lab::new().hosts(&setup);
                run.simulation.record();
                let base = Whole { ipv6, vlan, ports: (50_000, 8_443), ..Whole::default() };
                let mut sent = Vec::new();
                for id in 0..20 {
                    let whole = Whole { payload: Random::new(id).bytes(1_000), ..base.clone() };
                    let mut pieces = cut(&whole.frame(), id as u32, 256);
                    // The first one first, in the middle, and last.
                    let turn = id as usize % pieces.len();
                    pieces.rotate_right(turn);
                    for piece in &pieces {
                        run.simulation.inject(PortSide::Inside, piece.clone());
                        run.simulation.run_until(Duration::from_millis(1), |_| false);
                    }
                    sent.extend(pieces);
                }
                let left = run.simulation.recorded().iter().filter(|c| c.heading == Heading::Out);
                let left: Vec<_> =
                    left.filter(|c| c.port == PortSide::Outside).map(|c| c.frame.clone()).collect();
                let left = left.into_iter().filter(|frame| is_fragment(frame)).collect::<Vec<_>>();
                assert!(left == sent, "{} sent, {} left: {setup:?}", sent.len(), left.len());
            }
        }
    }
}

/// Each of the client's packets is followed by one that overlaps it. Nothing wrong gets through, and what is whole does.
#[test]
fn overlaps_cost_their_packet_only() {
    let lab = Lab::new();
    for base in setups() {
        let exchange = Exchange::new(1, 20_000, 20_000);
        let mut run = lab.connect_tls(&base, exchange.client(), exchange.server());
        let mut n = 0;
        run.simulation.client_to_middle.set_tamper(move |frame| {
            if TcpFrame::parse(&frame).is_none_or(|tcp| tcp.payload().len() < 300) {
                return vec![(Duration::ZERO, frame)];
            }
            n += 1;
            let mut pieces = cut(&frame, n, 128);
            if n % 3 == 0 {
                let mut other = fragment(&frame, n, 64, 128, true);
                *other.last_mut().unwrap() ^= 1;
                pieces.insert(n as usize % pieces.len(), other);
            }
            pieces.into_iter().map(|piece| (Duration::ZERO, piece)).collect()
        });
        run.simulation.record();
        assert_eq!(run.run(), Stop::Done, "{base:?}");
        exchange.assert_done(run.client(), run.server(), &base);
        assert!(sum(&run, PacketDrop::FragmentOverlap) > 10);
    }
}

/// A sender that gives all its packets the same identification. In order that does no harm.
#[test]
fn identifications_that_come_again_at_once() {
    let lab = Lab::new();
    for base in setups() {
        let exchange = Exchange::new(1, 20_000, 50_000);
        let mut run = lab.connect_tls(&base, exchange.client(), exchange.server());
        for link in [&mut run.simulation.client_to_middle, &mut run.simulation.server_to_middle] {
            link.set_tamper(|frame| match TcpFrame::parse(&frame) {
                Some(tcp) if !tcp.payload().is_empty() => {
                    cut(&frame, 7, 512).into_iter().map(|piece| (Duration::ZERO, piece)).collect()
                }
                _ => vec![(Duration::ZERO, frame)],
            });
        }
        assert_eq!(run.run(), Stop::Done, "{base:?}");
        exchange.assert_done(run.client(), run.server(), &base);
        assert_eq!(sum(&run, PacketDrop::FragmentOverlap), 0);
    }
}

/// Floods of first, of middle and of last fragments, each of another packet, beside a connection in fragments.
#[test]
fn floods_are_held_within_bounds() {
    let lab = Lab::new();
    for ipv6 in [false, true] {
        for part in 0..3 {
            let setup = Setup { ipv6, ..Setup::default() };
            let exchange = Exchange::new(1, 20_000, 50_000);
            let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
            cut_both_ways(&mut run, 1, 800, 0.0);
            let flood = Whole { ipv6, ports: (1, 443), payload: vec![7; 1_000], ..Whole::default() }.frame();
            let mut most = 0;
            for id in 0..20_000 {
                let piece = cut(&flood, id, 344).swap_remove(part);
                run.simulation.inject(PortSide::Inside, piece);
                // A hundred each millisecond.
                if id % 10 == 0 {
                    run.simulation.run_until(Duration::from_micros(100), |_| false);
                }
                most = most.max(run.counters().fragments_held.value());
            }
            run.run();
            exchange.assert_done(run.client(), run.server(), &setup);
            // A quarter of the frames that may be held.
            assert_eq!(most, setup.held_frames as u64 / 4, "{setup:?}, part {part}");
            run.settle(LIMIT);
            let dropped = sum(&run, PacketDrop::FragmentEvicted) + sum(&run, PacketDrop::FragmentTimeout);
            assert!(dropped >= 20_000, "{dropped}: {setup:?}, part {part}");
            assert_eq!(run.counters().fragments_held.value(), 0);
        }
    }
}

/// Nothing else has to happen for what never becomes whole to go.
#[test]
fn what_never_becomes_whole_goes_by_itself() {
    let (mut engine, _log) = Lab::new().engine(&Setup::default());
    let now = wireglass_testbed::Instant::from_millis(10);
    let frame = Whole { payload: vec![7; 500], ..Whole::default() }.frame();
    engine.receive(now, PortSide::Inside, cut(&frame, 1, 256).swap_remove(0));
    engine.poll(now);
    assert_eq!(engine.counters()[0].fragments_held.value(), 1);
    let at = engine.next_timeout().unwrap();
    assert_eq!(at, now + Duration::from_secs(5));
    engine.poll(at);
    assert_eq!(engine.counters()[0].dropped(PacketDrop::FragmentTimeout), 1);
    assert_eq!(engine.counters()[0].fragments_held.value(), 0);
    assert!(engine.transmit().is_none());
}
