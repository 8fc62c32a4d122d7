//! What the engine does not look into: QUIC and DTLS, classes of frames, connections seen from the middle, and what the log and the
//! counters say of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use smoltcp::wire::TcpSeqNumber;
use support::frames::{TcpFrame, datagram, ethernet};
use support::lab::Setup;
use support::raw::RawSegment;
use support::rules::{Action, Rules};
use support::wire::Wire;
use wireglass_core::end::End;
use wireglass_core::event::{Fate, SummaryEvent};
use wireglass_core::flow::{Midstream, OutsideTls};
use wireglass_core::packet::{PassAction, Passthrough, Uninspected};
use wireglass_core::policy::{Decision, Ports, Rule};
use wireglass_core::reason::{PacketDrop, PathOddity, Reason};
use wireglass_testbed::{Duration, Middle, PortSide};

const QUIC: [u8; 8] = [0xc3, 0, 0, 0, 1, 8, 1, 2];
const QUIC_LATER: [u8; 5] = [0x43, 1, 2, 3, 4];
const DTLS: [u8; 5] = [22, 0xfe, 0xfd, 0, 0];
const DNS: [u8; 12] = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];

fn with(passthrough: impl FnOnce(&mut Passthrough)) -> OutsideTls {
    let mut outside = OutsideTls::default();
    passthrough(&mut outside.passthrough);
    outside
}

#[test]
fn udp_to_intercepted_ports_is_blocked_and_told_once_for_each_flow() {
    let mut wire = Wire::new(&Setup::default());
    for payload in [&QUIC[..], &QUIC, &QUIC_LATER, &DNS] {
        for to_server in [true, false] {
            let port = if to_server { PortSide::Inside } else { PortSide::Outside };
            let out = wire.send(port, datagram(to_server, 1, (5000, 443), payload));
            assert_eq!(out, [vec![], vec![]] as [Vec<Vec<u8>>; 2]);
        }
    }
    assert_eq!((wire.dropped(PacketDrop::Quic), wire.frames.len()), (8, 1));
    let event = &wire.frames[0];
    assert_eq!((event.class, event.fate), (Some(Uninspected::Quic), Fate::Dropped(PacketDrop::Quic)));
    assert_eq!((event.frame.ports, event.frame.protocol), (Some((5000, 443)), Some(17)));
    // Another one, and one of DTLS.
    wire.send(PortSide::Inside, datagram(true, 1, (5001, 443), &QUIC));
    wire.send(PortSide::Inside, datagram(true, 1, (5000, 443), &DTLS));
    assert_eq!((wire.dropped(PacketDrop::Dtls), wire.frames.len()), (1, 3));
    assert_eq!(wire.counted(Uninspected::Dtls, PassAction::Drop), 1);
    // Other ports are nobody's business.
    for ports in [(5000, 53), (443 + 1, 8443)] {
        assert_eq!(wire.send(PortSide::Inside, datagram(true, 1, ports, &DNS))[1].len(), 1);
    }
    assert_eq!(wire.counted(Uninspected::Udp, PassAction::Forward), 2);
    assert_eq!(wire.send(PortSide::Inside, datagram(true, 1, (5000, 4789), &DNS))[1].len(), 1);
    assert_eq!(wire.counted(Uninspected::UdpTunnel, PassAction::Forward), 1);
}

#[test]
fn each_of_quic_and_dtls_has_its_own_word() {
    for (forwarded, quic, dtls) in [(Uninspected::Quic, 1, 0), (Uninspected::Dtls, 0, 1)] {
        let outside_tls = with(|p| p.set(forwarded, PassAction::Forward));
        let mut wire = Wire::new(&Setup { outside_tls, ..Setup::default() });
        // In both orders, so that neither rides on the other's verdict.
        for (payload, out) in [(&QUIC[..], quic), (&DTLS, dtls), (&QUIC, quic)] {
            assert_eq!(wire.send(PortSide::Inside, datagram(true, 1, (5000, 443), payload))[1].len(), out);
        }
        let told = wire.frames.iter().filter(|event| event.fate == Fate::Forwarded).count();
        assert_eq!((told, wire.frames.len()), (1, 2), "{forwarded:?}");
    }
}

/// 10.0.0.7 is bypassed, 10.0.0.8 is blocked, all others are decrypted.
fn rules_by_address() -> Rules {
    let rule = |name: &str, client: &str, decision| Rule {
        source: vec![client.parse().unwrap()],
        ..Rule::new(name, decision)
    };
    let mut rules = Rules::default_is(Action::Decrypt);
    rules.first.push(rule("free", "10.0.0.7/32", Decision::Bypass));
    rules.first.push(rule("shut", "10.0.0.8/32", Decision::Block(Default::default())));
    rules
}

/// Whoever is not decrypted by address keeps its QUIC; whoever is blocked has none; and whose name decides is decrypted for all
/// that is known.
#[test]
fn rules_by_address_hold_for_udp() {
    let rules = rules_by_address();
    let outside_tls = with(|p| p.set(Uninspected::Quic, PassAction::Forward));
    let mut wire = Wire::new(&Setup { rules, outside_tls, ..Setup::default() });
    for (client, passes) in [(7, 1), (8, 0), (9, 1)] {
        let there = wire.send(PortSide::Inside, datagram(true, client, (5000, 443), &QUIC));
        let back = wire.send(PortSide::Outside, datagram(false, client, (5000, 443), &QUIC));
        assert_eq!((there[1].len(), back[0].len()), (passes, passes), "{client}");
    }
    let told: Vec<_> = wire.frames.iter().map(|e| (e.rule.as_deref(), e.fate, e.class)).collect();
    assert_eq!(
        told,
        [
            (Some("free"), Fate::Forwarded, Some(Uninspected::Udp)),
            (Some("shut"), Fate::Dropped(PacketDrop::PolicyBlocked), Some(Uninspected::Quic)),
            (None, Fate::Forwarded, Some(Uninspected::Quic)),
        ]
    );
}

#[test]
fn a_client_outside_keeps_its_quic_as_it_keeps_its_tls() {
    let mut wire = Wire::new(&Setup::default());
    let out = wire.send(PortSide::Outside, datagram(true, 1, (5000, 443), &QUIC));
    let back = wire.send(PortSide::Inside, datagram(false, 1, (5000, 443), &QUIC));
    assert_eq!((out[0].len(), back[1].len()), (1, 1));
}

/// Connections go on, and the next one between the same ports is a new one, although UDP has no end. What was not let through is decided anew at once.
#[test]
fn a_reload_holds_for_what_begins_in_udp_that_passes() {
    let mut wire = Wire::new(&Setup { rules: Rules::default_is(Action::Bypass), ..Setup::default() });
    let reload = |wire: &mut Wire, default| {
        let generations = wire.engine.generations();
        let mut shared = generations.current().clone();
        shared.policy = Rules::default_is(default).compile().into();
        generations.publish(shared).unwrap();
    };
    let passed = |wire: &mut Wire, payload: &[u8]| {
        wire.send(PortSide::Inside, datagram(true, 1, (5000, 443), payload))[1].len()
    };
    let dtls_later = [23, 0xfe, 0xfd, 0, 1];
    for (first, later) in [(&QUIC[..], &QUIC_LATER[..]), (&DTLS, &dtls_later)] {
        assert_eq!((passed(&mut wire, first), passed(&mut wire, later)), (1, 1));
        reload(&mut wire, Action::Decrypt);
        assert_eq!((passed(&mut wire, later), passed(&mut wire, first), passed(&mut wire, later)), (1, 0, 0));
        reload(&mut wire, Action::Bypass);
        assert_eq!(passed(&mut wire, later), 1);
    }
}

/// Where every port is intercepted, only what begins QUIC or DTLS is meant.
#[test]
fn with_all_ports_the_first_packets_tell() {
    let mut rules = Rules::default_is(Action::Decrypt);
    rules.ports = Ports::Any;
    let mut wire = Wire::new(&Setup { rules, ..Setup::default() });
    for (payload, passes) in [(&QUIC[..], 0), (&DTLS, 0), (&DNS, 1), (&QUIC_LATER, 1)] {
        assert_eq!(wire.send(PortSide::Inside, datagram(true, 1, (5000, 53), payload))[1].len(), passes);
    }
}

/// The first of a class on a wire is told at once, then one event a minute stands for all.
#[test]
fn a_class_is_counted_and_told_now_and_then() {
    let outside_tls = with(|p| p.set(Uninspected::Pppoe, PassAction::Drop));
    let mut wire = Wire::new(&Setup { outside_tls, ..Setup::default() });
    for _ in 0..50 {
        assert_eq!(wire.send(PortSide::Inside, ethernet(true, 0x8847, &[1; 60]))[1].len(), 1);
        assert_eq!(wire.send(PortSide::Outside, ethernet(false, 0x8864, &[1; 60]))[0].len(), 0);
    }
    assert_eq!(wire.frames.len(), 2);
    wire.wait(Duration::from_secs(61));
    wire.send(PortSide::Inside, ethernet(true, 0x8847, &[1; 60]));
    wire.send(PortSide::Outside, ethernet(false, 0x8864, &[1; 60]));
    let told: Vec<_> = wire.frames.iter().map(|e| (e.class.unwrap().name(), e.fate, e.frames)).collect();
    let dropped = Fate::Dropped(PacketDrop::ClassDropped);
    assert_eq!(
        told,
        [
            ("mpls", Fate::Forwarded, 1),
            ("pppoe", dropped, 1),
            ("mpls", Fate::Forwarded, 50),
            ("pppoe", dropped, 50)
        ]
    );
    assert_eq!(wire.counted(Uninspected::Mpls, PassAction::Forward), 51);
    assert_eq!(
        (wire.counted(Uninspected::Pppoe, PassAction::Drop), wire.dropped(PacketDrop::ClassDropped)),
        (51, 51)
    );
}

/// A segment between a client (10.0.0.x) and port 443 of the server.
fn segment(
    to_server: bool,
    (client, client_port): (u8, u16),
    flags: u8,
    (seq, ack): (u32, u32),
    payload: &[u8],
) -> Vec<u8> {
    let any = RawSegment::from_client([10, 0, 0, client], client_port);
    RawSegment { to_server, flags, seq, ack, payload: payload.to_vec(), ..any }.frame()
}

const ACK: u8 = 0x10;
const RST: u8 = 0x04;

fn resets_after(seconds: u64) -> OutsideTls {
    OutsideTls {
        midstream: Midstream::Reset { after: Duration::from_secs(seconds) },
        ..OutsideTls::default()
    }
}

/// A connection that is older than the engine ends in peace; a younger one that is first seen in its middle does not begin.
#[test]
fn after_the_grace_time_both_ends_of_an_unknown_connection_are_reset() {
    let mut wire = Wire::new(&Setup { outside_tls: resets_after(600), ..Setup::default() });
    let old = |to_server, numbers| segment(to_server, (1, 50_000), ACK, numbers, b"data");
    assert_eq!(wire.send(PortSide::Inside, old(true, (100, 200)))[1].len(), 1);
    assert_eq!(wire.send(PortSide::Outside, old(false, (200, 104)))[0].len(), 1);
    wire.wait(Duration::from_secs(601));
    assert_eq!(wire.send(PortSide::Inside, old(true, (104, 204)))[1].len(), 1, "it is known");
    assert_eq!(wire.engine.counters()[0].midstream_flows.value(), 1);

    // A client that is downloading says nothing: what the server sends ends both.
    let [to_client, to_server] =
        wire.send(PortSide::Outside, segment(false, (1, 50_001), ACK, (700, 300), b"data"));
    let frames = |all: Vec<Vec<u8>>| -> Vec<_> { all.iter().map(|f| TcpFrame::parse(f).unwrap()).collect() };
    let (to_client, to_server) = (frames(to_client), frames(to_server));
    let said: Vec<_> = to_server.iter().map(|f| (f.tcp().rst(), f.tcp().seq_number().0)).collect();
    assert_eq!(said, [(true, 300)]);
    // Where the server's number is not what the client expects, the probe makes the client say what it is.
    let said: Vec<_> = to_client.iter().map(|f| (f.tcp().rst(), f.tcp().seq_number().0)).collect();
    assert_eq!(said, [(true, 700), (false, 699)]);
    assert!(to_client.iter().chain(&to_server).all(|f| f.is_sound() && f.payload().is_empty()));
    let [to_client, to_server] =
        wire.send(PortSide::Inside, segment(true, (1, 50_001), ACK, (9_000, 5_000), b""));
    assert_eq!(frames(to_client)[0].tcp().seq_number(), TcpSeqNumber(5_000), "at the number that it expects");
    assert_eq!(frames(to_server).len(), 2);
    assert_eq!(wire.dropped(PacketDrop::Midstream), 2);
    let told: Vec<_> = wire.frames.iter().filter(|e| e.class.is_none()).map(|e| e.fate).collect();
    assert_eq!(told, [Fate::Dropped(PacketDrop::Midstream); 2]);

    // A RST says nothing, and passes; with bytes in it, it does not.
    assert_eq!(wire.send(PortSide::Inside, segment(true, (1, 50_002), RST, (1, 0), b""))[1].len(), 1);
    let out = wire.send(PortSide::Inside, segment(true, (1, 50_002), RST, (1, 0), b"text"));
    assert!(out[1].iter().all(|frame| TcpFrame::parse(frame).unwrap().payload().is_empty()));
}

#[test]
fn rules_by_address_hold_for_connections_seen_from_the_middle() {
    let rules = rules_by_address();
    for (grace, passes) in [(600, [1, 0, 1]), (0, [1, 0, 0])] {
        let mut wire =
            Wire::new(&Setup { rules: rules.clone(), outside_tls: resets_after(grace), ..Setup::default() });
        for (client, passes) in [7, 8, 9].into_iter().zip(passes) {
            let data = b"data";
            let out = wire.send(PortSide::Inside, segment(true, (client, 50_000), ACK, (1, 2), data));
            let passed = out[1].iter().filter(|f| TcpFrame::parse(f).unwrap().payload() == data).count();
            assert_eq!(passed, passes, "{client}, {grace} s");
        }
    }
}

/// A flood of made-up segments is not answered one by one, and does not push out connections that stand.
#[test]
fn a_flood_of_segments_of_no_connection() {
    let mut wire = Wire::new(&Setup { outside_tls: resets_after(0), ..Setup::default() });
    for n in 0..1_000 {
        wire.engine.receive(wire.now, PortSide::Inside, segment(true, (1, 1_024 + n), ACK, (1, 2), b"x"));
    }
    let [to_client, to_server] = wire.wait(Duration::from_millis(1));
    let turns = 1_000 / 32 + 2;
    assert!(
        to_client.len() <= 16 * turns && to_server.len() <= 32 * turns,
        "{} and {}",
        to_client.len(),
        to_server.len()
    );
    assert_eq!(wire.dropped(PacketDrop::Midstream), 1_000);
    assert_eq!(wire.engine.flows(), 0);
    // 16 are told, and then the sum.
    assert_eq!(wire.frames.len(), 16);
    wire.wait(Duration::from_secs(2));
    let summary = &wire.summaries[..];
    assert!(
        matches!(summary, [SummaryEvent { of: "drop", reason: "packet.midstream", count: 984, .. }]),
        "{summary:?}"
    );
    assert_eq!(summary[0].network.to_string(), "10.0.0.0/24");

    // While they pass, they are worth no more than SYNs.
    let mut wire = Wire::new(&Setup { outside_tls: resets_after(600), flows: 16, ..Setup::default() });
    wire.send(PortSide::Inside, segment(true, (1, 50_000), ACK, (1, 2), b"x"));
    wire.send(PortSide::Outside, segment(false, (1, 50_000), ACK, (2, 2), b"x"));
    for n in 0..100 {
        wire.send(PortSide::Inside, segment(true, (2, 1_024 + n), ACK, (1, 2), b"x"));
    }
    wire.wait(Duration::from_secs(601));
    let out = wire.send(PortSide::Inside, segment(true, (1, 50_000), ACK, (2, 3), b"it stands"));
    assert_eq!(out[1].len(), 1);
    assert_eq!(TcpFrame::parse(&out[1][0]).unwrap().payload(), b"it stands");
}

/// Of spoofed SYNs from anywhere the log has a bounded number of lines a second.
#[test]
fn a_flood_of_syns_is_summed_up() {
    let mut wire = Wire::new(&Setup { flows: 16, ..Setup::default() });
    for n in 0..200_u16 {
        for client in [3, 4, 200] {
            wire.send(PortSide::Inside, segment(true, (client, 1_024 + n), 0x02, (1, 0), b""));
        }
    }
    let ended = wire.flows.len();
    assert_eq!(ended, 16, "one by one");
    wire.wait(Duration::from_secs(2));
    let total: u64 = wire.summaries.iter().map(|s| s.count).sum();
    assert_eq!(total, 600 - 16 - 16, "all that were evicted are told: {:?}", wire.summaries);
    assert_eq!(wire.engine.counters()[0].events_summed.value(), total);
}

/// On a trunk whose native VLAN is tagged at one end only, both directions are one flow, and rules see one VLAN.
#[test]
fn a_native_vlan_is_one_vlan() {
    let tag = |frame: Vec<u8>| [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat();
    let syn = |client| segment(true, (client, 50_000), 0x02, (100, 0), b"");
    let syn_ack = |client| tag(segment(false, (client, 50_000), 0x12, (200, 101), b""));
    let ack = |client| segment(true, (client, 50_000), ACK, (101, 201), b"");
    for (native_vlan, flows) in [(Some(7), 1), (None, 2)] {
        let setup = Setup { native_vlan, outside_tls: resets_after(600), ..Setup::default() };
        let mut wire = Wire::new(&setup);
        wire.send(PortSide::Inside, syn(1));
        wire.send(PortSide::Outside, syn_ack(1));
        wire.send(PortSide::Inside, ack(1));
        // Data in the VLAN, where the SYN was untagged: the same flow, so it is held.
        let data = tag(segment(true, (1, 50_000), ACK, (101, 201), &[22, 3, 1]));
        let out = wire.send(PortSide::Inside, data);
        assert_eq!(out[1].len(), usize::from(native_vlan.is_none()), "{native_vlan:?}");
        assert_eq!(wire.engine.flows(), if native_vlan.is_some() { flows } else { 2 });
    }
    let mut rules = Rules::default_is(Action::Decrypt);
    rules.first.push(Rule { vlan: Some(7), ..Rule::new("seven", Decision::Block(Default::default())) });
    let mut wire = Wire::new(&Setup { native_vlan: Some(7), rules, ..Setup::default() });
    wire.send(PortSide::Inside, syn(2));
    wire.send(PortSide::Inside, tag(syn(3)));
    assert_eq!(wire.dropped(PacketDrop::PolicyBlocked), 2);
}

/// A connection of which only the client is seen. It is younger than the engine, so no grace time is for it: its data is dropped,
/// and its event is that of a flow nobody answered. Where policy forwards it, its `flow` event says so.
#[test]
fn a_connection_seen_in_one_direction() {
    let forward = OutsideTls { midstream: Midstream::Forward, ..OutsideTls::default() };
    for (outside_tls, passes) in [(forward, 1), (resets_after(600), 0), (resets_after(0), 0)] {
        let mut wire = Wire::new(&Setup { outside_tls, ..Setup::default() });
        wire.send(PortSide::Inside, segment(true, (1, 50_000), 0x02, (100, 0), b""));
        let out = wire.send(PortSide::Inside, segment(true, (1, 50_000), ACK, (101, 201), b"data"));
        assert_eq!(out[1].len(), passes);
        assert_eq!(wire.dropped(PacketDrop::OneDirection), 1 - passes as u64);
        wire.wait(Duration::from_secs(61));
        assert_eq!(wire.flows, [(passes == 1, Reason::Idle)]);
    }
}

/// Told once for each, whatever becomes of its segments: by the ACK of an answer that was not seen, or by an answer to a SYN that was not.
#[test]
fn halves_of_connections_that_go_through_two_engines() {
    const SYN_ACK: u8 = 0x12;
    let forward = OutsideTls { midstream: Midstream::Forward, ..OutsideTls::default() };
    for outside_tls in [forward, resets_after(600), resets_after(0)] {
        let mut wire = Wire::new(&Setup { outside_tls, ..Setup::default() });
        let to_server =
            |port, flags, ack, payload: &[u8]| segment(true, (1, port), flags, (101, ack), payload);
        // The client's half.
        wire.send(PortSide::Inside, segment(true, (1, 50_000), 0x02, (100, 0), b""));
        assert_eq!(wire.one_sided, []);
        for payload in [&b""[..], b"data", b"more"] {
            wire.send(PortSide::Inside, to_server(50_000, ACK, 201, payload));
            assert_eq!(wire.one_sided, [(50_000, End::Client)]);
        }
        // The server's.
        wire.send(PortSide::Outside, segment(false, (1, 50_001), SYN_ACK, (200, 101), b""));
        wire.send(PortSide::Outside, segment(false, (1, 50_001), ACK, (201, 105), b"answer"));
        wire.send(PortSide::Outside, segment(false, (1, 50_001), SYN_ACK, (200, 101), b""));
        assert_eq!(wire.one_sided[1..], [(50_001, End::Server)], "once, however often it is repeated");
        // Both; one that is refused before it is answered; one that is given up; a SYN-ACK of a client's, which is none.
        wire.send(PortSide::Inside, segment(true, (1, 50_002), 0x02, (100, 0), b""));
        wire.send(PortSide::Outside, segment(false, (1, 50_002), SYN_ACK, (200, 101), b""));
        wire.send(PortSide::Inside, to_server(50_002, ACK, 201, b""));
        for port in [50_003, 50_004] {
            wire.send(PortSide::Inside, segment(true, (1, port), 0x02, (100, 0), b""));
        }
        wire.send(PortSide::Outside, segment(false, (1, 50_003), 0x14, (0, 101), b""));
        wire.send(PortSide::Inside, segment(true, (1, 50_004), 0x04, (101, 0), b""));
        wire.send(PortSide::Inside, segment(true, (1, 50_005), SYN_ACK, (100, 7), b""));
        assert_eq!(wire.one_sided.len(), 2, "{:?}", wire.one_sided);
        assert_eq!(wire.engine.counters()[0].asymmetric_flows.value(), 2);
    }
}

/// Answers to SYNs of nobody, from anywhere: the log has a bounded number of lines a second.
#[test]
fn a_flood_of_answers_is_summed_up() {
    let mut wire = Wire::new(&Setup::default());
    for n in 0..200_u16 {
        wire.send(PortSide::Outside, segment(false, (1, 1_024 + n), 0x12, (200, 101), b""));
    }
    assert_eq!(wire.one_sided.len(), 16);
    wire.wait(Duration::from_secs(2));
    let summaries = &wire.summaries[..];
    let code = PathOddity::Asymmetric.code();
    assert!(
        matches!(summaries, [SummaryEvent { of: "anomaly", reason, count: 184, .. }] if *reason == code),
        "{summaries:?}"
    );
}

/// The other fragments of a datagram have no ports. Without the first one they are of no use to anybody.
#[test]
fn of_a_fragmented_datagram_the_first_part_is_dropped() {
    let mut wire = Wire::new(&Setup::default());
    let mut first = datagram(true, 1, (5000, 443), &QUIC);
    first[14 + 6] = 0x20;
    let mut later = datagram(true, 1, (5000, 443), &QUIC);
    later[14 + 7] = 2;
    assert_eq!(wire.send(PortSide::Inside, first)[1].len(), 0);
    assert_eq!(wire.send(PortSide::Inside, later)[1].len(), 1);
    assert_eq!(wire.counted(Uninspected::Quic, PassAction::Drop), 1);
}

/// In the grace time, bytes of an unknown connection pass as a flow with an event, whatever flags their segment has. What carries none goes
/// on without one, and is counted.
#[test]
fn no_bytes_pass_without_an_event() {
    for flags in [0x11, 0x12, RST, RST | ACK] {
        let mut wire = Wire::new(&Setup { outside_tls: resets_after(600), ..Setup::default() });
        assert_eq!(wire.send(PortSide::Inside, segment(true, (1, 50_000), flags, (1, 2), b""))[1].len(), 1);
        assert_eq!((bare(&wire), wire.engine.flows()), (1, 0), "{flags:x}");
        wire.send(PortSide::Inside, segment(true, (1, 50_001), flags, (1, 2), b"data"));
        assert_eq!((bare(&wire), wire.engine.flows()), (1, 1), "{flags:x}");
    }
}

fn bare(wire: &Wire) -> u64 {
    wire.engine.counters()[0].midstream_bare.value()
}
