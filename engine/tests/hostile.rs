//! What nobody should send. A good flow beside it stays byte-exact, nothing panics, and nothing grows.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use smoltcp::wire::{TcpPacket, TcpSeqNumber};
use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{LIMIT, Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::fairness::Shed;
use wireglass_core::flow_table::Class;
use wireglass_core::policy::Ports;
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_testbed::{Crossing, Duration, Heading, PortSide, Random, Session, Step, Stop};

const MILLISECOND: Duration = Duration::from_millis(1);

/// The run is over, nothing is left in the engine, and no fault of its own was among the reasons.
#[track_caller]
fn assert_clean(run: &mut Run, case: &dyn std::fmt::Debug) {
    run.settle(Duration::from_secs(4_000));
    assert_eq!(run.engine().flows(), 0, "{case:?}");
    assert!(run.flow_events().iter().all(|flow| flow.reason != Reason::Internal), "{case:?}");
    assert!(run.tls_events().iter().all(|tls| tls.reason != Reason::Internal), "{case:?}");
}

/// One frame of ill will, made from one that is on its way. None of them passes as another segment of the same stream:
/// who can forge that has no need of a wire.
fn malice(random: &mut Random, good: &[u8]) -> Vec<u8> {
    let mut frame = good.to_vec();
    match random.below(4) {
        0 => {
            let length = random.below(200) as usize;
            frame = random.bytes(length);
            if let Some(kind) = frame.get_mut(12..14) {
                // Otherwise hardly any would be looked at.
                kind.copy_from_slice(if random.chance(0.5) { &[8, 0] } else { &[0x86, 0xdd] });
            }
        }
        1 => frame.truncate(random.below(good.len() as u64) as usize),
        2 => {
            // Behind the Ethernet header, so that the checksums tell.
            for _ in 0..=random.below(4) {
                let at = 14 + random.below(good.len() as u64 - 14) as usize;
                frame[at] ^= 1 + random.below(255) as u8;
            }
            // Two changes may cancel each other out in the checksum.
            if TcpFrame::parse(&frame).is_some_and(|frame| frame.is_sound()) {
                return good.to_vec();
            }
        }
        _ => {
            // Sound, but of a connection that does not exist.
            if let Some(tcp) = TcpFrame::parse(good) {
                frame = tcp.edited(|tcp| {
                    tcp.set_src_port(1_024 + random.below(60_000) as u16);
                    tcp.set_dst_port(443);
                    tcp.set_syn(random.chance(0.5));
                    tcp.set_fin(random.chance(0.3));
                    tcp.set_rst(random.chance(0.3));
                    tcp.set_seq_number(TcpSeqNumber(random.next_u64() as i32));
                });
            }
        }
    }
    frame
}

#[test]
fn frames_of_ill_will_beside_a_good_flow() {
    let lab = Lab::new();
    for seed in 0..10 {
        let setup = Setup { seed, ipv6: seed % 2 == 1, ..Setup::default() };
        let exchange = Exchange::new(seed, 50_000, 200_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        let injected = Rc::new(RefCell::new(Vec::new()));
        for (port, n) in [(PortSide::Inside, 1), (PortSide::Outside, 2)] {
            let mut random = Random::new(seed * 10 + n);
            let injected = Rc::clone(&injected);
            let tamper = move |frame: Vec<u8>| {
                if TcpFrame::parse(&frame).is_some() {
                    injected.borrow_mut().push((port, malice(&mut random, &frame)));
                }
                vec![(Duration::ZERO, frame)]
            };
            match port {
                PortSide::Inside => run.simulation.client_to_middle.set_tamper(tamper),
                PortSide::Outside => run.simulation.server_to_middle.set_tamper(tamper),
            }
        }
        let mut stop = Stop::Deadline;
        for _ in 0..20_000 {
            stop = run.simulation.run(MILLISECOND);
            if stop != Stop::Deadline {
                break;
            }
            // The server takes one connection, and it is to be the good one.
            let begun = run.server().connected.is_some();
            for (port, frame) in injected.take().into_iter().filter(|_| begun) {
                run.simulation.inject(port, frame);
            }
            assert!(run.engine().flows() <= setup.flows as usize);
        }
        assert_eq!(stop, Stop::Done, "{setup:?}");
        exchange.assert_done(run.client(), run.server(), &setup);
        assert_clean(&mut run, &setup);
    }
}

/// Bytes of the TLS stream are changed on the way, checksums made right: nobody gets other bytes than were sent.
#[test]
fn a_stream_that_is_tampered_with() {
    let lab = Lab::new();
    for seed in 0..150 {
        let setup = Setup { seed, ..Setup::default() };
        let exchange = Exchange::new(seed, 2_000, 2_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        let mut random = Random::new(seed);
        // Which of the segments with payload, counted from the first.
        let mut wait = random.below(4);
        let tamper = move |bytes: Vec<u8>| {
            let frame = TcpFrame::parse(&bytes).filter(|frame| !frame.payload().is_empty());
            let Some(frame) = frame else { return vec![(Duration::ZERO, bytes)] };
            if wait > 0 {
                wait -= 1;
                return vec![(Duration::ZERO, bytes)];
            }
            wait = u64::MAX;
            let mut payload = frame.payload().to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(payload.len().min(300) as u64) as usize;
                payload[at] ^= 1 << random.below(8);
            }
            vec![(Duration::ZERO, frame.with_payload(0, &payload))]
        };
        match seed % 2 {
            0 => run.simulation.client_to_middle.set_tamper(tamper),
            _ => run.simulation.server_to_middle.set_tamper(tamper),
        }
        run.run();
        assert!(exchange.request.starts_with(&run.server().received), "{setup:?}");
        assert!(exchange.response.starts_with(&run.client().received), "{setup:?}");
        assert_clean(&mut run, &setup);
    }
}

/// A SYN of a client that does not exist.
fn forged_syns(run: &mut Run, count: u16) -> Vec<Vec<u8>> {
    run.simulation.record();
    let stop = run.simulation.run_until(LIMIT, |s| {
        s.recorded().iter().any(|c| TcpFrame::parse(&c.frame).is_some_and(|frame| frame.tcp().syn()))
    });
    assert_eq!(stop, Stop::Done);
    let mut recorded = run.simulation.recorded().iter();
    let syn = recorded.find_map(|c| TcpFrame::parse(&c.frame)).unwrap();
    let forged = |n: u16| {
        syn.edited(|tcp| {
            tcp.set_src_port(1_024 + n);
            tcp.set_seq_number(TcpSeqNumber(i32::from(n) * 7_919));
        })
    };
    (0..count).map(forged).collect()
}

#[test]
fn a_syn_flood_takes_no_room_from_the_living() {
    let lab = Lab::new();
    let setup = Setup { flows: 16, ..Setup::default() };
    let exchange = Exchange::new(1, 20_000, 500_000);
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    let syns = forged_syns(&mut run, 5_000);
    let client = run.client_id();
    run.simulation.run_until(LIMIT, |s| s.client.report(client).received.len() > 10_000);
    for burst in syns.chunks(100) {
        for syn in burst {
            run.simulation.inject(PortSide::Inside, syn.clone());
        }
        run.simulation.run(MILLISECOND);
        assert!(run.engine().flows() <= 16);
    }
    assert!(run.counters().evictions() > 4_900, "{}", run.counters().evictions());
    run.run();
    exchange.assert_done(run.client(), run.server(), &setup);
    assert_clean(&mut run, &setup);
}

/// A connection is opened while the flood goes on: the oldest half-open flow makes room, not the newest.
#[test]
fn a_connection_opens_in_the_middle_of_a_flood() {
    let lab = Lab::new();
    let setup = Setup { flows: 64, ..Setup::default() };
    let exchange = Exchange::new(2, 5_000, 500_000);
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    let mut syns = forged_syns(&mut run, 3_000).into_iter();
    // Forged senders get no answers that they would react to, and the server sends them no RSTs.
    run.simulation.server_to_middle.set_tamper(|frame| {
        let reset = TcpFrame::parse(&frame).is_some_and(|frame| frame.tcp().rst());
        if reset { Vec::new() } else { vec![(Duration::ZERO, frame)] }
    });
    let mut stop = Stop::Deadline;
    while stop == Stop::Deadline {
        syns.by_ref().take(5).for_each(|syn| run.simulation.inject(PortSide::Inside, syn));
        stop = run.simulation.run(MILLISECOND);
    }
    assert_eq!(stop, Stop::Done);
    assert!(run.counters().evictions() > 100);
    exchange.assert_done(run.client(), run.server(), &setup);
}

/// Where decrypted flows are not to give way and fill the table, a new connection has to wait.
#[test]
fn a_table_full_of_decrypted_flows() {
    let mut lab = Lab::new();
    lab.client.groups = vec![rustls::NamedGroup::X25519];
    let rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
    let mut setup = Setup { flows: 2, rules, ..Setup::default() };
    setup.limits.fairness.shed =
        Shed::new(&[Class::Opening, Class::Blocked, Class::Undecided, Class::Bypassed]);
    let exchange = Exchange::new(3, 1_000, 1_000);
    let mut run = lab.hosts(&setup);
    let long = |mut script: Vec<Step>| {
        script.insert(0, Step::Pause(Duration::from_secs(10)));
        script
    };
    for _ in 0..2 {
        let (client, server) = lab.sessions(long(exchange.client()), exchange.server());
        run.connect(client, server);
    }
    run.settle(Duration::from_secs(1));
    assert_eq!(run.engine().flows(), 2);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    run.connect(client, server);
    run.settle(Duration::from_secs(5));
    assert!(run.client_of(2).connected.is_none());
    assert!(run.counters().dropped(PacketDrop::TableFull) > 0);
    assert_eq!(run.counters().evictions(), 0);
    // The client's SYN is repeated, and finds room when the others have gone.
    assert_eq!(run.run(), Stop::Done);
    for n in 0..3 {
        exchange.assert_done(run.client_of(n), run.server_of(n), &n);
    }
}

/// Clients that begin a hello and never finish it: what is held is bounded, and given back.
#[test]
fn hellos_that_do_not_end() {
    let lab = Lab::new();
    let rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
    let setup = Setup { held_frames: 12, mtu: 200, rules, ..Setup::default() };
    let mut run = lab.hosts(&setup);
    for _ in 0..12 {
        let mut hello = vec![22, 3, 1, 0x3f, 0, 1, 0, 0x3e, 0xfc, 3, 3];
        hello.resize(500, 7);
        let client = Session::plain(vec![Step::Send(hello), Step::AwaitEnd]);
        run.connect(client, Session::plain(vec![Step::AwaitEnd, Step::Finish]));
    }
    run.settle(Duration::from_secs(103));
    let reasons: Vec<_> = run.flow_events().iter().map(|flow| flow.reason).collect();
    assert_eq!(reasons, [Reason::HelloTimeout; 12]);
    assert_eq!(run.engine().flows(), 0);
    let refused = run.counters().dropped(PacketDrop::HoldFull);
    assert!(refused > 0);

    // All room was given back: now a hello of eight frames is held whole.
    let mut lab = lab;
    lab.client.groups = vec![rustls::NamedGroup::X25519];
    let exchange = Exchange::new(4, 1_000, 1_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    run.connect(client, server);
    run.run();
    exchange.assert_done(run.client_of(12), run.server_of(12), &setup);
    assert_eq!(run.counters().dropped(PacketDrop::HoldFull), refused);
}

/// RST, SYN and data by someone who knows addresses and ports, and guesses the numbers (RFC 5961): in the window, but not
/// the next, and far off.
#[test]
fn blind_attacks_on_an_intercepted_flow() {
    let lab = Lab::new();
    let exchange = Exchange::new(5, 20_000, 500_000);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    run.simulation.record();
    let client = run.client_id();
    run.simulation.run_until(LIMIT, |s| s.client.report(client).received.len() > 10_000);
    let last = |run: &Run, port: PortSide| {
        let mut recorded = run.simulation.recorded().iter().rev();
        let from_end = |c: &&Crossing| c.port == port && c.heading == Heading::In;
        recorded.find(from_end).and_then(|c| TcpFrame::parse(&c.frame)).unwrap()
    };
    for port in [PortSide::Inside, PortSide::Outside] {
        for distance in [-100_000, -1_500, 3_000, 20_000, 1_000_000, 1 << 30] {
            let frame = last(&run, port);
            let seq = TcpSeqNumber(frame.tcp().seq_number().0.wrapping_add(distance));
            type Change = fn(&mut TcpPacket<&mut [u8]>);
            let changes: [Change; 4] = [
                |tcp| tcp.set_rst(true),
                |tcp| tcp.set_syn(true),
                |tcp| tcp.set_fin(true),
                |tcp| tcp.set_ack_number(TcpSeqNumber(tcp.ack_number().0.wrapping_add(1 << 30))),
            ];
            for change in changes {
                // A FIN in the window is believed whoever sends it, as any host does: only such that lie outside.
                let fin = frame.edited(change);
                let fin = TcpFrame::parse(&fin).is_some_and(|frame| frame.tcp().fin());
                if fin && (0..=65_536).contains(&distance) {
                    continue;
                }
                let forged = frame.edited(|tcp| {
                    tcp.set_seq_number(seq);
                    change(tcp);
                });
                run.simulation.inject(port, forged);
            }
            run.simulation.run(MILLISECOND);
        }
    }
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &run.flow_events());
}
