//! What is not inspected passes byte for byte: every frame that enters on one side leaves on the other as it came.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use rustls::NamedGroup;
use rustls::version::{TLS12, TLS13};
use support::Exchange;
use support::frames::{TcpFrame, ethernet};
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, RULE, Rules};
use wireglass_core::event;
use wireglass_core::flow::{Midstream, OutsideTls};
use wireglass_core::policy::{Tallies, Tally};
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_core::tls::ServerUnread;
use wireglass_testbed::{Duration, Ending, Heading, Impairment, PortSide, Random, Session, Step, Stop};

/// Frames that crossed a port, in order.
fn frames(run: &Run, port: PortSide, heading: Heading) -> Vec<&[u8]> {
    let crossings = run.simulation.recorded().iter();
    crossings.filter(|c| c.port == port && c.heading == heading).map(|c| &c.frame[..]).collect()
}

/// All that entered has left at the other side, unchanged and in order. Returns how many frames that were.
#[track_caller]
fn assert_untouched(run: &Run, case: &dyn std::fmt::Debug) -> usize {
    let mut total = 0;
    for port in [PortSide::Inside, PortSide::Outside] {
        let (entered, left) = (frames(run, port, Heading::In), frames(run, port.other(), Heading::Out));
        for (n, (entered, left)) in entered.iter().zip(&left).enumerate() {
            assert_eq!(entered, left, "frame {n} from {port:?}: {case:?}");
        }
        assert_eq!(entered.len(), left.len(), "from {port:?}: {case:?}");
        total += entered.len();
    }
    total
}

/// A TLS exchange under these rules on a good link: untouched, and the client saw the server's own certificate.
fn assert_bypassed(rules: &Rules, setup: &Setup, reason: Option<Reason>) {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(1, 20_000, 50_000);
    let setup = Setup { rules: rules.clone(), ..setup.clone() };
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.simulation.record();
    assert_eq!(run.run(), Stop::Done, "{setup:?}");
    exchange.assert_done(run.client(), run.server(), &setup);
    assert_eq!(run.client().handshake.as_ref().unwrap().chain, lab.server.chain);
    assert!(assert_untouched(&run, &setup) > 60);
    let told = run.tls_events().iter().map(|e| (e.action, e.reason)).collect::<Vec<_>>();
    assert_eq!(told, reason.map(|reason| (event::Action::Bypass, reason)).into_iter().collect::<Vec<_>>());
    run.settle(Duration::from_secs(60));
    assert_eq!(run.flow_end(), ("bypassed", Reason::Closed));
}

#[test]
fn by_a_rule_that_holds_at_the_syn() {
    assert_bypassed(&Rules::default_is(Action::Bypass), &Setup::default(), None);
    assert_bypassed(&Rules::default_is(Action::Bypass), &Setup { ipv6: true, ..Setup::default() }, None);
}

#[test]
fn each_connection_counts_once_for_what_has_decided_it() {
    let cases = [
        // Both are known at the SYN, and a ClientHello is judged only of the one that is decrypted.
        (Rules::default_is(Action::Bypass), "", "bypass"),
        (Rules::default_is(Action::Decrypt), "", "decrypt"),
        (Rules::by_name(Action::Bypass), RULE, "bypass"),
        (Rules { by_name: Some(Action::Decrypt), ..Rules::default_is(Action::Bypass) }, RULE, "decrypt"),
    ];
    for (rules, name, action) in cases {
        let actions = ["decrypt", "bypass", "block"];
        let named = actions.map(|action| (RULE.into(), action));
        let connections = Arc::new(Tally::new(named, actions, &Tally::default()));
        let tallies = Tallies { connections: Arc::clone(&connections), ..Tallies::default() };
        let setup = Setup { rules: Rules { tallies, ..rules }, ..Setup::default() };
        let exchange = Exchange::new(1, 2_000, 2_000);
        let lab = if action == "decrypt" { Lab::new() } else { Lab::new().trusting_the_server() };
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        assert_eq!(run.run(), Stop::Done, "{name:?} {action}");
        let counted: Vec<_> = connections.iter().filter(|(.., n)| *n != 0).collect();
        assert_eq!(counted, [(name, action, 1)]);
    }
}

#[test]
fn by_a_rule_on_the_name() {
    let reason = Some(Reason::PolicyBypass);
    assert_bypassed(&Rules::by_name(Action::Bypass), &Setup::default(), reason);
    // The ClientHello in many segments: all of them are held, and released in order.
    assert_bypassed(&Rules::by_name(Action::Bypass), &Setup { mtu: 300, ..Setup::default() }, reason);
}

/// The event waits for the server's first flight, and tells what anybody on the path can read of it.
#[test]
fn the_server_is_told_of_as_a_passive_sensor_would() {
    for (version, name) in [(&TLS12, "TLS 1.2"), (&TLS13, "TLS 1.3")] {
        let mut lab = Lab::new().trusting_the_server();
        lab.server.versions = vec![version];
        let exchange = Exchange::new(1, 2_000, 2_000);
        for mtu in [1500, 300] {
            let setup = Setup { rules: Rules::by_name(Action::Bypass), mtu, ..Setup::default() };
            let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
            assert_eq!(run.run(), Stop::Done);
            let server = run.tls_event().server.as_ref().expect("it has answered");
            assert_eq!(server.unread, None);
            let leg = server.facts.leg();
            assert_eq!((leg.version, leg.cipher.is_some(), leg.group.is_some()), (Some(name), true, true));
            // TLS 1.3 hides it. Of a chain, the log has the server's own certificate.
            let shown = if version == &TLS12 { 1 } else { 0 };
            let chain: Vec<_> = lab.server.chain.iter().take(shown).map(|der| der.as_ref().into()).collect();
            assert_eq!(server.facts.chain, chain);
        }
    }
}

/// Nothing waits for what comes out of order: the event says that it was not read.
#[test]
fn a_server_whose_flight_has_holes_is_told_of_as_far_as_it_was_read() {
    let mut lab = Lab::new().trusting_the_server();
    lab.server.versions = vec![&TLS12];
    let mut ends = std::collections::BTreeMap::<_, u32>::new();
    for seed in 0..40 {
        let impairment = Impairment { loss: 0.05, reorder: 0.3, duplicate: 0.05, ..Impairment::default() };
        let setup =
            Setup { seed, impairment, mtu: 300, rules: Rules::by_name(Action::Bypass), ..Setup::default() };
        let exchange = Exchange::new(seed, 2_000, 2_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.run();
        exchange.assert_done(run.client(), run.server(), &setup);
        run.settle(Duration::from_secs(60));
        // None: the hello got stuck, and the flow goes through both legs.
        let server = run.tls_event().server.as_ref();
        if let Some(server) = server
            && server.unread.is_none()
        {
            assert_eq!(server.facts.chain, [Box::from(lab.server.chain[0].as_ref())], "{setup:?}");
        }
        let end = server.map_or("not looked at", |server| server.unread.map_or("read", ServerUnread::name));
        *ends.entry(end).or_default() += 1;
    }
    assert!(ends.contains_key("read") && ends.contains_key("gap"), "{ends:?}");
    assert!(ends.keys().all(|end| ["read", "gap", "not looked at"].contains(end)), "{ends:?}");
}

#[test]
fn by_a_rule_on_the_name_over_bad_links() {
    let lab = Lab::new().trusting_the_server();
    for seed in 0..20 {
        let impairment = Impairment { loss: 0.03, reorder: 0.2, duplicate: 0.05, ..Impairment::default() };
        let rules = Rules::by_name(Action::Bypass);
        let setup = Setup { seed, impairment, mtu: 9000, wire_mtu: 9000, rules, ..Setup::default() };
        let exchange = Exchange::new(seed, 20_000, 50_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.simulation.record();
        run.run();
        exchange.assert_done(run.client(), run.server(), &setup);
        // Repetitions are not held twice, so fewer frames may leave than entered, but never others.
        for port in [PortSide::Inside, PortSide::Outside] {
            let entered = frames(&run, port, Heading::In);
            let mut left = frames(&run, port.other(), Heading::Out).into_iter();
            assert!(left.all(|frame| entered.contains(&frame)), "{setup:?}");
        }
    }
}

/// A segment of the ClientHello is lost: it is taken in before it is known that the rule says bypass. The frames are then
/// the engine's own, the bytes still the ends'.
#[test]
fn by_a_rule_on_the_name_when_the_hello_gets_stuck() {
    let lab = Lab::new().trusting_the_server();
    for seed in 0..30 {
        let impairment = Impairment { loss: 0.06, reorder: 0.2, duplicate: 0.05, ..Impairment::default() };
        let rules = Rules::by_name(Action::Bypass);
        let setup = Setup { seed, impairment, mtu: 400, rules, ipv6: seed % 2 == 1, ..Setup::default() };
        let exchange = Exchange::new(seed, 5_000, 20_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.run();
        exchange.assert_done(run.client(), run.server(), &(&setup, run.tls_events()));
        assert_eq!(run.client().handshake.as_ref().unwrap().chain, lab.server.chain);
        assert_eq!(run.tls_event().reason, Reason::PolicyBypass, "{setup:?}");
        run.settle(Duration::from_secs(4_000));
        assert_eq!(run.engine().flows(), 0, "{setup:?}");
    }
}

#[test]
fn connections_to_other_ports() {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(2, 10_000, 10_000);
    let setup = Setup { port: 8443, ..Setup::default() };
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.simulation.record();
    run.run();
    exchange.assert_done(run.client(), run.server(), &setup);
    assert!(assert_untouched(&run, &setup) > 20);
    assert_eq!(run.counters().flows_opened.value(), 0);
}

/// A server that has no group that the client has sent a share for asks for a second hello, which has the same name.
#[test]
fn a_second_hello_passes() {
    for (seed, loss) in [(1, 0.0), (2, 0.05), (3, 0.05), (4, 0.1)] {
        let mut lab = Lab::new().trusting_the_server();
        lab.client.groups = vec![NamedGroup::X25519, NamedGroup::secp256r1];
        lab.server.groups = vec![NamedGroup::secp256r1];
        let exchange = Exchange::new(seed, 20_000, 50_000);
        let impairment = Impairment { loss, reorder: loss, ..Impairment::default() };
        let rules = Rules::by_name(Action::Bypass);
        let setup = Setup { seed, rules, impairment, ..Setup::default() };
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        assert_eq!(run.run(), Stop::Done, "{setup:?}");
        exchange.assert_done(run.client(), run.server(), &setup);
        assert_eq!(run.client().handshake.as_ref().unwrap().chain, lab.server.chain);
    }
}

/// Not TLS on an intercepted port: blocked or released, by setting; whoever speaks first.
#[test]
fn what_is_not_tls() {
    let lab = Lab::new();
    let greeting = || vec![Step::Send(b"220 mail.example ESMTP\r\n".to_vec()), Step::AwaitEnd, Step::Finish];
    let answer = || vec![Step::Receive(24), Step::Send(b"QUIT\r\n".to_vec()), Step::Finish, Step::AwaitEnd];
    let request = || vec![Step::Send(b"GET / HTTP/1.0\r\n\r\n".to_vec()), Step::Receive(5), Step::Finish];
    let reply = || vec![Step::Receive(18), Step::Send(b"hello".to_vec()), Step::AwaitEnd, Step::Finish];
    for (client, server) in [(answer(), greeting()), (request(), reply())] {
        for bypass_not_tls in [false, true] {
            let case = (&client, bypass_not_tls);
            let outside_tls = OutsideTls { bypass_not_tls, ..OutsideTls::default() };
            let setup = Setup { outside_tls, ..Setup::default() };
            let sessions = (Session::plain(client.clone()), Session::plain(server.clone()));
            let mut run = lab.connect(&setup, sessions.0, sessions.1);
            run.simulation.record();
            assert_eq!(run.run(), Stop::Done, "{case:?}");
            if bypass_not_tls {
                assert_eq!(run.client().end, Some(Ending::Finished), "{case:?}");
                assert_eq!(run.server().end, Some(Ending::Finished), "{case:?}");
                assert!(!run.client().received.is_empty() && !run.server().received.is_empty());
                assert_untouched(&run, &case);
            } else {
                assert_eq!(run.client().end, Some(Ending::Reset), "{case:?}");
                assert_eq!(run.server().end, Some(Ending::Reset), "{case:?}");
                assert!(run.client().received.is_empty() && run.server().received.is_empty());
            }
            run.settle(Duration::from_secs(60));
            let end = if bypass_not_tls { Reason::Closed } else { Reason::HelloNotTls };
            assert_eq!(run.flow_end().1, end, "{case:?}");
        }
    }
}

#[test]
fn connections_seen_from_the_middle() {
    let exchange = Exchange::new(3, 20_000, 20_000);
    for reset_midstream in [false, true] {
        let lab = Lab::new();
        let midstream = match reset_midstream {
            true => Midstream::Reset { after: Duration::ZERO },
            false => Midstream::Forward,
        };
        let outside_tls = OutsideTls { midstream, ..OutsideTls::default() };
        let setup = Setup { outside_tls, ..Setup::default() };
        let (client, server) = (Session::plain(exchange.client()), Session::plain(exchange.server()));
        // The engine was started after this connection: its flow is not in the table.
        let mut run =
            lab.connect(&Setup { rules: Rules::default_is(Action::Bypass), ..setup.clone() }, client, server);
        let begun = run.server_id();
        run.simulation.run_until(Duration::from_secs(5), |s| !s.server.report(begun).received.is_empty());
        run.replace_engine(lab.engine(&setup));
        run.simulation.record();
        run.run();
        if reset_midstream {
            assert_eq!(run.client().end, Some(Ending::Reset));
            assert!(run.counters().dropped(PacketDrop::Midstream) > 0);
            let out = [PortSide::Inside, PortSide::Outside].map(|port| frames(&run, port, Heading::Out));
            for frame in out.into_iter().flatten().filter_map(TcpFrame::parse) {
                assert!(frame.payload().is_empty(), "only RSTs and probes leave");
            }
        } else {
            exchange.assert_done(run.client(), run.server(), &setup);
            assert!(assert_untouched(&run, &setup) > 20);
            // It is a flow like any other, with an event that says so.
            run.settle(Duration::from_secs(60));
            assert_eq!(run.counters().midstream_flows.value(), 1);
            let events = run.flow_events();
            assert!(
                events.len() == 1 && events[0].midstream && events[0].phase.name() == "bypassed",
                "{events:?}"
            );
        }
        assert_eq!(run.engine().flows(), 0);
    }
}

/// Frames that are no business of ours, in both directions.
#[test]
fn everything_that_is_not_tcp() {
    let lab = Lab::new();
    let mut run = lab.hosts(&Setup { wire_mtu: 9000, ..Setup::default() });
    run.simulation.record();
    let mut random = Random::new(4);
    let mut sent = 0;
    for to_server in [true, false] {
        let port = if to_server { PortSide::Inside } else { PortSide::Outside };
        for frame in foreign_frames(to_server, &mut random) {
            run.simulation.inject(port, frame);
            run.simulation.run_until(Duration::from_millis(5), |_| false);
            sent += 1;
        }
    }
    assert!(sent >= 30);
    assert!(assert_untouched(&run, &"foreign frames") >= sent);
    assert_eq!(run.engine().flows(), 0);
}

fn foreign_frames(to_server: bool, random: &mut Random) -> Vec<Vec<u8>> {
    let frame = |ethertype: u16, payload: &[u8]| ethernet(to_server, ethertype, payload);
    let mut frames = vec![
        frame(0x0806, &random.bytes(46)),    // ARP
        frame(0x88cc, &random.bytes(100)),   // LLDP
        frame(0x8847, &random.bytes(500)),   // MPLS
        frame(0x88e5, &random.bytes(500)),   // MACsec
        frame(0x1234, &random.bytes(46)),    // nobody's
        frame(0x0026, &random.bytes(38)),    // IEEE 802.3 length: spanning tree
        frame(0x1234, &random.bytes(9_000)), // jumbo
        ethernet(to_server, 0x1234, &[]),    // shorter than Ethernet allows
    ];
    for protocol in [1, 2, 17, 47, 50, 132] {
        // ICMP, IGMP, UDP, GRE, ESP, SCTP; whole, and as a fragment
        frames.push(frame(0x0800, &ipv4(protocol, 0x4000, &random.bytes(64))));
        frames.push(frame(0x0800, &ipv4(protocol, 0x2000, &random.bytes(64))));
    }
    for protocol in [17, 58, 59, 132] {
        frames.push(frame(0x86dd, &ipv6(protocol, &random.bytes(64))));
    }
    let tagged = [&[0, 9, 8, 0][..], &ipv4(17, 0, &random.bytes(64))].concat();
    frames.push(frame(0x8100, &tagged));
    frames
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 9, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64];
    packet.extend([0xfd; 32]);
    packet.extend_from_slice(payload);
    packet
}

/// The one thing that is changed, and only where the flow may be decrypted later (a rule at the SYN leaves it alone).
#[test]
fn a_syn_loses_what_cannot_be_carried_over() {
    let lab = Lab::new();
    for (rules, scrubbed) in
        [(Rules::default_is(Action::Bypass), false), (Rules::default_is(Action::Decrypt), true)]
    {
        let setup = Setup { rules, ..Setup::default() };
        let mut run = lab.connect_tls(&setup, Vec::new(), Vec::new());
        run.simulation.client_to_middle.set_tamper(|bytes| {
            let Some(frame) = TcpFrame::parse(&bytes).filter(|frame| frame.tcp().syn()) else {
                return vec![(Duration::ZERO, bytes)];
            };
            vec![(
                Duration::ZERO,
                frame.edited(|tcp| {
                    tcp.set_ece(true);
                    tcp.set_cwr(true);
                }),
            )]
        });
        run.simulation.record();
        run.simulation.run_until(Duration::from_millis(10), |_| false);
        let syn = |port, heading| {
            let all = frames(&run, port, heading).into_iter();
            all.filter_map(TcpFrame::parse).find(|frame| frame.tcp().syn()).unwrap()
        };
        let (entered, left) = (syn(PortSide::Inside, Heading::In), syn(PortSide::Outside, Heading::Out));
        assert!(entered.tcp().ece() && entered.tcp().cwr());
        assert_eq!(left.tcp().ece(), !scrubbed);
        assert_eq!(left.tcp().cwr(), !scrubbed);
    }
}
