//! Links behind the engine that carry less than the endpoints think: with a router that says so, with one that does not,
//! and with somebody who only claims it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass::simulate::Spread;
use wireglass_core::packet::{Class, classify};
use wireglass_core::phase::FlowPhase;
use wireglass_core::reason::{PathMessage, Reason};
use wireglass_testbed::{Answer, Crossing, Duration, Heading, PortSide, Router, Stop, Tag, too_big};

/// Bytes each way.
const SIZE: usize = 200_000;

fn start(lab: &Lab, setup: &Setup, exchange: &Exchange) -> Run {
    let mut run = lab.connect_tls(setup, exchange.client(), exchange.server());
    run.simulation.record();
    run
}

/// Both links away from the engine end at this router.
fn narrow(run: &mut Run, router: Router) {
    run.simulation.middle_to_server.set_router(router);
    run.simulation.middle_to_client.set_router(router);
}

/// All has arrived, and the flow has ended in order.
#[track_caller]
fn assert_done(run: &mut Run, exchange: &Exchange, case: &dyn std::fmt::Debug) {
    let stop = run.run();
    exchange.assert_done(run.client(), run.server(), &(case, stop, counted(run)));
    assert_eq!(stop, Stop::Done, "{case:?}");
    run.settle(Duration::from_secs(120));
    assert_eq!(run.flow_end(), ("decrypted", Reason::Closed), "{case:?}");
}

/// What became of the routers' messages, over all workers.
fn counted(run: &Run) -> Vec<(&'static str, u64)> {
    let sum = |what| run.engine().counters().iter().map(|c| c.path_messages(what)).sum::<u64>();
    PathMessage::ALL.iter().map(|&what| (what.code(), sum(what))).filter(|(_, n)| *n > 0).collect()
}

fn black_holes(run: &Run) -> u64 {
    run.engine().counters().iter().map(|c| c.tcp_black_holes.value()).sum()
}

/// Segments that the engine has sent out of a port, in order.
fn sent(run: &Run, port: PortSide) -> Vec<TcpFrame> {
    let out = |crossing: &&Crossing| crossing.port == port && crossing.heading == Heading::Out;
    run.simulation.recorded().iter().filter(out).filter_map(|c| TcpFrame::parse(&c.frame)).collect()
}

/// Routers' messages that went out of a port.
fn passed_on(run: &Run, port: PortSide) -> Vec<Vec<u8>> {
    let crossings = run.simulation.recorded().iter();
    let out = crossings.filter(|c| c.port == port && c.heading == Heading::Out);
    // Neighbour discovery is ICMP as well; its messages end at another type.
    let is_error = |frame: &[u8]| match classify(frame) {
        Class::Icmp(at) => [2, 3].contains(&frame[at.l4]),
        _ => false,
    };
    out.filter(|c| is_error(&c.frame)).map(|c| c.frame.clone()).collect()
}

fn longest(frames: &[TcpFrame]) -> usize {
    frames.iter().map(TcpFrame::ip_len).max().unwrap_or_default()
}

#[test]
fn a_router_that_says_what_fits() {
    let lab = Lab::new();
    let vlan = vec![Tag { ethertype: 0x8100, control: 7 }];
    for ipv6 in [false, true] {
        for timestamps in [false, true] {
            for tags in [vec![], vlan.clone()] {
                for mtu in [1499, 1400, 1280] {
                    let setup =
                        Setup { ipv6, timestamps, tags: tags.clone(), seed: mtu as u64, ..Setup::default() };
                    let case = (&setup, mtu);
                    let exchange = Exchange::new(1, SIZE, SIZE);
                    let mut run = start(&lab, &setup, &exchange);
                    narrow(&mut run, Router::honest(mtu));
                    assert_done(&mut run, &exchange, &case);
                    for port in [PortSide::Inside, PortSide::Outside] {
                        let sent = sent(&run, port);
                        let first = sent.iter().position(|frame| frame.ip_len() > mtu);
                        let first = first.unwrap_or_else(|| panic!("nothing was too long: {case:?}"));
                        let full = sent[first..].iter().filter(|frame| frame.ip_len() == mtu).count();
                        assert!(full > 50, "{full} full segments: {case:?}");
                        assert_eq!(passed_on(&run, port), Vec::<Vec<u8>>::new(), "{case:?}");
                    }
                    let lowered = run.counters().path_messages(PathMessage::Lowered);
                    assert_eq!(lowered, 2, "once for each leg: {:?}: {case:?}", counted(&run));
                    assert_eq!(run.counters().tcp_timeouts.value(), 0, "{case:?}");
                    assert_eq!(black_holes(&run), 0, "{case:?}");
                }
            }
        }
    }
}

/// A path that gets narrower twice while a transfer is on it, and no wider again.
#[test]
fn a_path_that_shrinks() {
    let lab = Lab::new();
    for ipv6 in [false, true] {
        let setup = Setup { ipv6, mtu: 9000, wire_mtu: 9000, ..Setup::default() };
        let exchange = Exchange::new(2, 2 * SIZE, SIZE);
        let mut run = start(&lab, &setup, &exchange);
        let id = run.server_id();
        for (arrived, mtu) in [(30_000, 4000), (100_000, 1300)] {
            run.simulation
                .run_until(Duration::from_secs(100), |s| s.server.report(id).received.len() > arrived);
            narrow(&mut run, Router::honest(mtu));
        }
        assert_done(&mut run, &exchange, &ipv6);
        let sent = sent(&run, PortSide::Outside);
        assert_eq!(longest(&sent), 9000);
        let last = sent.iter().rposition(|frame| frame.ip_len() > 1300).unwrap();
        assert!(sent.len() - last > 50, "full segments end at {last} of {}", sent.len());
        assert_eq!(run.counters().path_messages(PathMessage::Lowered), 3, "{:?}", counted(&run));
    }
}

/// RFC 1191 5: the router is older than the field for the MTU. The next smaller size that links have is tried.
#[test]
fn a_router_that_does_not_say_what_fits() {
    let lab = Lab::new();
    let exchange = Exchange::new(3, SIZE, SIZE);
    let mut run = start(&lab, &Setup::default(), &exchange);
    narrow(&mut run, Router { mtu: 1200, answer: Answer::TooBig { mtu: 0, quote: 8 } });
    assert_done(&mut run, &exchange, &"MTU 0");
    let sizes = |frames: &[TcpFrame], size| frames.iter().filter(|frame| frame.ip_len() == size).count();
    let sent = sent(&run, PortSide::Outside);
    assert!(sizes(&sent, 1492) > 0 && sizes(&sent, 1006) > 50, "{:?}", counted(&run));
    assert_eq!(run.counters().path_messages(PathMessage::Lowered), 4, "{:?}", counted(&run));
}

/// No smaller than 552 bytes: from there on the packets may be cut on the way.
#[test]
fn a_link_below_the_floor() {
    let lab = Lab::new();
    let exchange = Exchange::new(4, SIZE, SIZE);
    let mut run = start(&lab, &Setup::default(), &exchange);
    narrow(&mut run, Router::honest(300));
    assert_done(&mut run, &exchange, &"MTU 300");
    let sent = sent(&run, PortSide::Outside);
    let last = sent.iter().rposition(|frame| frame.ip_len() > 552).unwrap();
    assert!(sent[last + 1..].iter().filter(|frame| frame.ip_len() == 552).count() > 50);
    let cut = sent[last + 1..].iter().filter(|frame| frame.ip_len() > 300);
    assert!(cut.clone().count() > 50 && cut.clone().skip(20).all(|frame| !frame.dont_fragment()));
}

#[test]
fn a_router_that_says_nothing() {
    let lab = Lab::new();
    for (ipv6, mtu, size) in [(false, 1300, 1064), (false, 600, 552), (true, 1300, 1280), (true, 1280, 1280)]
    {
        for timestamps in [false, true] {
            let setup = Setup { ipv6, timestamps, ..Setup::default() };
            let case = (mtu, &setup);
            let exchange = Exchange::new(5, SIZE, SIZE);
            let mut run = start(&lab, &setup, &exchange);
            narrow(&mut run, Router::silent(mtu));
            assert_done(&mut run, &exchange, &case);
            for port in [PortSide::Inside, PortSide::Outside] {
                let sent = sent(&run, port);
                let last = sent.iter().rposition(|frame| frame.ip_len() > mtu).unwrap();
                let full = sent[last..].iter().filter(|frame| frame.ip_len() == size).count();
                assert!(
                    full > 50,
                    "{full} of {size} bytes, longest {}: {case:?}",
                    longest(&sent[last + 1..])
                );
            }
            assert_eq!(black_holes(&run), 2, "once for each leg: {case:?}");
            assert!(counted(&run).is_empty(), "{case:?}");
            let minute = Duration::from_secs(60);
            assert!(run.flow_events()[0].end.0 - run.flow_events()[0].start.0 < minute.total_micros() * 4);
        }
    }
}

/// A line that is dead for a while is no black hole: afterwards segments are as large as they were.
#[test]
fn a_line_that_was_dead() {
    let lab = Lab::new();
    let exchange = Exchange::new(6, 2 * SIZE, 1000);
    let mut run = start(&lab, &Setup::default(), &exchange);
    let id = run.server_id();
    run.simulation.run_until(Duration::from_secs(100), |s| s.server.report(id).received.len() > 50_000);
    // Timeouts after 0.2, 0.6 and 1.4 seconds: only the third would put a smaller size on trial.
    run.simulation.middle_to_server.set_router(Router::silent(0));
    run.simulation.settle(Duration::from_millis(500));
    run.simulation.middle_to_server.set_router(None);
    assert_done(&mut run, &exchange, &"dead for half a second");
    assert_eq!((black_holes(&run), run.counters().tcp_timeouts.value()), (0, 2));
}

/// Whatever is forged, the segments stay as large as they were. Each forgery has its name.
#[test]
fn forged_messages() {
    let lab = Lab::new();
    for ipv6 in [false, true] {
        let exchange = Exchange::new(7, SIZE, SIZE);
        let mut run = start(&lab, &Setup { ipv6, ..Setup::default() }, &exchange);
        let id = run.server_id();
        let halfway = |run: &mut Run, arrived| {
            run.simulation
                .run_until(Duration::from_secs(100), |s| s.server.report(id).received.len() > arrived)
        };
        halfway(&mut run, 50_000);
        let old =
            sent(&run, PortSide::Outside).into_iter().find(|frame| frame.payload().len() > 1000).unwrap();
        let now = sent(&run, PortSide::Outside).into_iter().rfind(|frame| frame.ip_len() == 1500).unwrap();
        let ip_header = if ipv6 { 40 } else { 20 };
        let end = 14 + ip_header + 8; // of the message's own header
        let tell = |frame: &TcpFrame, mtu| too_big(frame.bytes(), mtu, 8).unwrap();
        let shifted = |by: usize| {
            TcpFrame::parse(&now.edited(|tcp| {
                let seq = tcp.seq_number();
                tcp.set_seq_number(seq + by);
            }))
            .unwrap()
        };
        let mut forged = vec![
            (PathMessage::OutOfWindow, PortSide::Outside, tell(&old, 1280)),
            (PathMessage::OutOfWindow, PortSide::Outside, tell(&shifted(1 << 30), 1280)),
            (PathMessage::OutOfWindow, PortSide::Outside, tell(&shifted(100_000), 1300)),
            (PathMessage::WrongSide, PortSide::Inside, tell(&now, 1280)),
            (PathMessage::NotSmaller, PortSide::Outside, tell(&now, 9000)),
        ];
        let other = now.edited(|tcp| tcp.set_src_port(40_777));
        forged.push((PathMessage::NoLeg, PortSide::Outside, too_big(&other, 1280, 8).unwrap()));
        let other = now.edited(|tcp| tcp.set_dst_port(444));
        let other = too_big(&other, 1280, 8).unwrap();
        let mut bad_checksum = tell(&now, 1280);
        bad_checksum[end - 5] ^= 1;
        forged.push((PathMessage::Malformed, PortSide::Outside, bad_checksum));
        for cut in 1..8 {
            forged.push((
                PathMessage::Malformed,
                PortSide::Outside,
                too_big(now.bytes(), 1280, 8 - cut).unwrap(),
            ));
        }
        if ipv6 {
            forged.push((PathMessage::BelowMinimum, PortSide::Outside, tell(&now, 1279)));
            forged.push((PathMessage::BelowMinimum, PortSide::Outside, tell(&now, 0)));
        }
        let before = sent(&run, PortSide::Outside).len();
        for (expected, port, frame) in forged.iter().cloned() {
            let counted_before = run.counters().path_messages(expected);
            run.simulation.inject(port, frame);
            run.simulation.settle(Duration::ZERO);
            assert_eq!(run.counters().path_messages(expected), counted_before + 1, "{expected}: IPv6 {ipv6}");
        }
        let counted = counted(&run);
        // Not of an intercepted port: not even counted.
        run.simulation.inject(PortSide::Outside, other.clone());
        run.simulation.settle(Duration::ZERO);
        assert_eq!(self::counted(&run), counted);
        assert_eq!(run.counters().path_messages(PathMessage::Lowered), 0);
        assert_done(&mut run, &exchange, &ipv6);
        assert_eq!(run.counters().retransmits.value(), 0, "nothing was sent again");
        assert!(sent(&run, PortSide::Outside)[before..].iter().filter(|f| f.ip_len() == 1500).count() > 50);
        // What no leg sent goes on to whom it says it is for, as it came.
        let here =
            [PathMessage::NoLeg, PathMessage::Malformed, PathMessage::NotSmaller, PathMessage::BelowMinimum];
        let forwarded = forged.into_iter().filter(|(what, ..)| here.contains(what)).map(|(.., frame)| frame);
        assert_eq!(passed_on(&run, PortSide::Inside), forwarded.chain([other]).collect::<Vec<_>>());
        assert!(passed_on(&run, PortSide::Outside).is_empty());
    }
}

/// What an endpoint has sent itself is told to the endpoint.
#[test]
fn messages_about_bypassed_and_unfinished_flows_pass() {
    let lab = Lab::new().trusting_the_server();
    let vlan = vec![Tag { ethertype: 0x8100, control: 7 }];
    for ipv6 in [false, true] {
        for tags in [vec![], vlan.clone()] {
            let setup = Setup { ipv6, tags, rules: Rules::by_name(Action::Bypass), ..Setup::default() };
            let exchange = Exchange::new(8, 20_000, 20_000);
            let mut run = start(&lab, &setup, &exchange);
            let mut told = Vec::new();
            let mut frames = 0;
            run.simulation.client_to_middle.set_tamper(move |frame| {
                // One after the other, so that there is a time between two segments of the ClientHello.
                frames = (frames + 1).min(10);
                vec![(Duration::from_millis(3 * frames), frame)]
            });
            for phase in [FlowPhase::Opening, FlowPhase::Peeking, FlowPhase::Bypassed] {
                while run.counters().flows(phase).value() == 0 {
                    run.simulation.settle(Duration::from_micros(100));
                }
                let recorded = run.simulation.recorded();
                let clients = |c: &&Crossing| c.port == PortSide::Inside && c.heading == Heading::In;
                let last = recorded.iter().filter(clients).rfind(|c| TcpFrame::parse(&c.frame).is_some());
                // Over IPv6 nothing that is smaller than a SYN would be believed.
                let message = too_big(&last.unwrap().frame, if ipv6 { 1280 } else { 30 }, 100).unwrap();
                told.push(message.clone());
                run.simulation.inject(PortSide::Outside, message);
            }
            run.run();
            exchange.assert_done(run.client(), run.server(), &setup);
            assert_eq!(passed_on(&run, PortSide::Inside), told, "{setup:?}");
            if !ipv6 {
                assert_eq!(counted(&run), [("too_big.no_leg", 3)], "{setup:?}");
            }
        }
    }
}

/// The message comes in at whatever worker, the flow belongs to one.
#[test]
fn messages_are_steered_to_the_owner() {
    let lab = Lab::new();
    for spread in [Spread::Owner, Spread::Wrong, Spread::Turns] {
        for seed in 0..6 {
            let setup =
                Setup { workers: 3, spread, port: 443, ipv6: seed % 2 == 1, seed, ..Setup::default() };
            let exchange = Exchange::new(9, SIZE, SIZE);
            let (client, server) = lab.sessions(exchange.client(), exchange.server());
            let mut run = lab.hosts(&setup);
            run.simulation.record();
            run.connect_ports(41_000 + seed as u16, 443, client, server);
            narrow(&mut run, Router::honest(1300));
            assert_done(&mut run, &exchange, &setup);
            let known: Vec<_> = counted(&run).iter().map(|(code, _)| *code).collect();
            assert!(
                known
                    .iter()
                    .all(|code| ["too_big.lowered", "too_big.known", "too_big.out_of_window"].contains(code)),
                "{known:?}"
            );
            assert_eq!(counted(&run)[0], ("too_big.lowered", 2), "{setup:?}");
        }
    }
}

/// A router that takes back what it said, again and again within one flight, or somebody who sounds like one.
#[test]
fn a_size_is_lowered_a_few_times_in_a_flight() {
    let exchange = Exchange::new(5, 400_000, 1_000);
    let lab = Lab::new();
    let mut run = start(&lab, &Setup::default(), &exchange);
    let server = run.server_id();
    run.simulation.run_until(Duration::from_secs(100), |s| s.server.report(server).received.len() > 50_000);
    let now = sent(&run, PortSide::Outside).into_iter().rfind(|frame| frame.ip_len() == 1500).unwrap();
    for mtu in [1450, 1400, 1350, 1300, 1250] {
        run.simulation.inject(PortSide::Outside, too_big(now.bytes(), mtu, 8).unwrap());
        run.simulation.settle(Duration::ZERO);
    }
    let counted =
        [PathMessage::Lowered, PathMessage::TooOften].map(|what| run.counters().path_messages(what));
    assert_eq!(counted, [4, 1]);
}
