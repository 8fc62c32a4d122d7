//! `contact = "hold"`: no packet of a client reaches a server before policy has let its ClientHello pass.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::event;
use wireglass_core::flow::OutsideTls;
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_testbed::{Crossing, Duration, Ending, Heading, Impairment, PortSide, Session, Step, Tag};

const AT_ONCE: Duration = Duration::ZERO;

/// All is decrypted but what goes to the server's name, and the rule for that holds.
fn held(action: Action) -> Rules {
    Rules { hold: true, ..Rules::by_name(action) }
}

/// A TCP frame that left towards the server.
fn is_out(c: &&Crossing) -> bool {
    c.port == PortSide::Outside && c.heading == Heading::Out && TcpFrame::parse(&c.frame).is_some()
}

/// TCP frames that have left towards the server.
fn to_server(run: &Run) -> Vec<Vec<u8>> {
    run.simulation.recorded().iter().filter(is_out).map(|c| c.frame.clone()).collect()
}

fn is_syn(frame: &TcpFrame) -> bool {
    frame.tcp().syn() && !frame.tcp().ack()
}

/// A segment of the server that belongs to the connection of this SYN (IPv4, no tags).
fn answer(syn: &[u8]) -> Vec<u8> {
    let mut back = syn.to_vec();
    back[..12].rotate_left(6);
    back[26..34].rotate_left(4);
    let (from, to) = (TcpFrame::parse(syn).unwrap().tcp().dst_port(), 40_000);
    let isn = TcpFrame::parse(syn).unwrap().tcp().seq_number();
    TcpFrame::parse(&back).unwrap().edited(|tcp| {
        tcp.set_src_port(from);
        tcp.set_dst_port(to);
        tcp.set_ack(true);
        tcp.set_ack_number(isn + 1);
    })
}

fn links() -> Vec<Setup> {
    let lossy = Impairment { loss: 0.03, reorder: 0.1, duplicate: 0.03, ..Impairment::default() };
    let base = Setup::default;
    let mut setups = vec![
        base(),
        Setup { ipv6: true, ..base() },
        Setup { timestamps: false, ..base() },
        Setup { tags: vec![Tag { ethertype: 0x8100, control: 7 }], ..base() },
        Setup {
            tags: vec![Tag { ethertype: 0x88a8, control: 5 }, Tag { ethertype: 0x8100, control: 7 }],
            ipv6: true,
            ..base()
        },
        // The ClientHello in several segments.
        Setup { mtu: 300, ..base() },
        Setup { workers: 3, ..base() },
    ];
    setups.extend((0..12).map(|seed| Setup {
        seed,
        impairment: lossy,
        mtu: 600,
        ipv6: seed % 2 == 1,
        ..base()
    }));
    setups
}

#[test]
fn what_is_decrypted_reaches_the_server_after_its_hello_has_been_judged() {
    let lab = Lab::new();
    for setup in links() {
        let setup = Setup { rules: held(Action::Decrypt), ..setup };
        let exchange = Exchange::new(1, 30_000, 60_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.simulation.record();
        run.run();
        exchange.assert_done(run.client(), run.server(), &(&setup, run.tls_events()));
        assert_eq!(run.tls_event().reason, Reason::PolicyDecrypt, "{setup:?}");
        // The client's payload came in before the server heard its SYN.
        let crossings = run.simulation.recorded();
        let first_payload = crossings.iter().position(|c| {
            c.port == PortSide::Inside
                && c.heading == Heading::In
                && TcpFrame::parse(&c.frame).is_some_and(|frame| !frame.payload().is_empty())
        });
        let first_out = crossings.iter().position(|c| is_out(&c));
        assert!(first_payload < first_out, "{setup:?}");
        run.settle(Duration::from_secs(4_000));
        assert_eq!(run.engine().flows(), 0, "{setup:?}");
    }
}

#[test]
fn what_is_bypassed_is_relayed_byte_for_byte() {
    let lab = Lab::new().trusting_the_server();
    for setup in links() {
        let setup = Setup { rules: held(Action::Bypass), ..setup };
        let exchange = Exchange::new(2, 30_000, 60_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.run();
        exchange.assert_done(run.client(), run.server(), &(&setup, run.tls_events()));
        assert_eq!(run.client().handshake.as_ref().unwrap().chain, lab.server.chain, "{setup:?}");
        let event = run.tls_event();
        assert_eq!((event.action, event.reason), (event::Action::Bypass, Reason::PolicyBypass));
        run.settle(Duration::from_secs(4_000));
        assert_eq!(run.flow_end(), ("bypassed", Reason::Closed), "{setup:?}");
    }
}

#[test]
fn a_forbidden_server_hears_of_nothing() {
    let lab = Lab::new();
    for action in [Action::Alert, Action::Reset, Action::Page] {
        for setup in links() {
            let setup = Setup { rules: held(action), ..setup };
            let exchange = Exchange::new(3, 1_000, 1_000);
            let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
            run.simulation.record();
            run.settle(Duration::from_secs(300));
            assert_eq!(to_server(&run), Vec::<Vec<u8>>::new(), "{action:?} {setup:?}");
            let event = run.tls_event();
            assert_eq!(
                (event.action, event.reason),
                (event::Action::Block, Reason::PolicyBlock),
                "{setup:?}"
            );
            assert_eq!(run.engine().flows(), 0, "{setup:?}");
            assert!(run.client().end.is_some(), "{action:?} {setup:?}");
        }
    }
}

/// Without `hold` it does: the check above can fail.
#[test]
fn without_hold_a_forbidden_server_hears_of_the_client() {
    let lab = Lab::new();
    let setup = Setup { rules: Rules::by_name(Action::Reset), ..Setup::default() };
    let exchange = Exchange::new(3, 1_000, 1_000);
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.simulation.record();
    run.settle(Duration::from_secs(60));
    assert!(to_server(&run).len() >= 2);
}

#[test]
fn who_says_no_hello_reaches_no_server() {
    let lab = Lab::new();
    let silent = || Session::plain(vec![Step::Pause(Duration::from_secs(20)), Step::Finish]);
    let talks = || Session::plain(vec![Step::Send(b"EHLO client\r\n".to_vec()), Step::AwaitEnd]);
    let half = || Session::plain(vec![Step::Send(vec![0x16, 3, 1, 2, 0, 1]), Step::Finish]);
    let server = || Session::plain(vec![Step::AwaitEnd, Step::Finish]);
    for (client, reason) in
        [(silent(), Reason::HelloTimeout), (talks(), Reason::HelloNotTls), (half(), Reason::ClientClosed)]
    {
        let setup = Setup { rules: held(Action::Decrypt), ..Setup::default() };
        let mut run = lab.connect(&setup, client, server());
        run.simulation.record();
        run.settle(Duration::from_secs(60));
        assert_eq!(to_server(&run), Vec::<Vec<u8>>::new(), "{reason}");
        assert_eq!(run.client().end, Some(Ending::Reset), "{reason}");
        assert_eq!(run.flow_end(), ("blocked", reason));
    }
    // Policy lets other protocols pass: they pass, when the client has spoken. One that waits for the server does not.
    let outside_tls = OutsideTls { bypass_not_tls: true, ..OutsideTls::default() };
    let setup = Setup { rules: held(Action::Decrypt), outside_tls, ..Setup::default() };
    let client =
        Session::plain(vec![Step::Send(b"ping".to_vec()), Step::Receive(4), Step::Finish, Step::AwaitEnd]);
    let answers =
        Session::plain(vec![Step::Receive(4), Step::Send(b"pong".to_vec()), Step::AwaitEnd, Step::Finish]);
    let mut run = lab.connect(&setup, client, answers);
    run.run();
    assert_eq!((&run.client().received[..], &run.server().received[..]), (&b"pong"[..], &b"ping"[..]));
    let mut run = lab.connect(&setup, silent(), server());
    run.simulation.record();
    run.settle(Duration::from_secs(60));
    assert_eq!(to_server(&run), Vec::<Vec<u8>>::new());
    assert_eq!(run.flow_end(), ("blocked", Reason::HelloTimeout));
}

#[test]
fn a_server_that_refuses_or_does_not_answer_ends_the_flow_by_name() {
    let lab = Lab::new();
    let exchange = Exchange::new(5, 1_000, 1_000);
    for action in [Action::Decrypt, Action::Bypass] {
        let setup = Setup { rules: held(action), ..Setup::default() };
        // Nobody listens.
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.simulation.server.stop_listening();
        run.settle(Duration::from_secs(60));
        assert_eq!(run.client().end, Some(Ending::Reset), "{action:?}");
        assert_eq!(run.flow_events()[0].reason, Reason::ServerRefused, "{action:?}");
        // Nobody is there.
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.simulation.middle_to_server.set_tamper(|bytes| {
            let is_tcp = TcpFrame::parse(&bytes).is_some();
            if is_tcp { Vec::new() } else { vec![(AT_ONCE, bytes)] }
        });
        run.settle(Duration::from_secs(29));
        assert_eq!(run.client().end, None, "{action:?}");
        run.settle(Duration::from_secs(10));
        assert_eq!(run.client().end, Some(Ending::Reset), "{action:?}");
        assert_eq!(run.flow_events()[0].reason, Reason::ServerUnreachable, "{action:?}");
    }
}

/// Fast Open and other data on a SYN are not taken: what we answer acknowledges the SYN alone, and the client says it again.
#[test]
fn data_on_a_syn_is_not_taken() {
    let lab = Lab::new();
    let setup = Setup { rules: held(Action::Decrypt), ..Setup::default() };
    let exchange = Exchange::new(6, 5_000, 5_000);
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.simulation.client_to_middle.set_tamper(|bytes| {
        let syn = TcpFrame::parse(&bytes).filter(is_syn);
        vec![(AT_ONCE, syn.map_or(bytes, |frame| frame.with_payload(0, b"early")))]
    });
    run.run();
    exchange.assert_done(run.client(), run.server(), &run.tls_events());
}

/// SYNs of a flood are answered once each, cost no more than elsewhere, and give way to each other, not to those who mean it.
#[test]
fn a_flood_of_syns_is_bounded() {
    let lab = Lab::new();
    let setup = Setup { rules: held(Action::Decrypt), flows: 64, ..Setup::default() };
    let exchange = Exchange::new(7, 5_000, 5_000);
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.simulation.record();
    let mut copies = 0u16;
    run.simulation.client_to_middle.set_tamper(move |bytes| {
        let syn = TcpFrame::parse(&bytes).filter(|frame| is_syn(frame) && copies == 0);
        // It comes when the flood has come.
        let mut out = vec![(if syn.is_some() { Duration::from_millis(1) } else { AT_ONCE }, bytes)];
        if let Some(frame) = syn {
            copies = 2_000;
            out.extend(
                (0..copies)
                    .map(|n| (Duration::from_micros(10), frame.edited(|tcp| tcp.set_src_port(1_024 + n)))),
            );
        }
        out
    });
    run.run();
    exchange.assert_done(run.client(), run.server(), &run.tls_events());
    assert!(run.engine().flows() <= 64);
    run.settle(Duration::from_secs(120));
    assert_eq!(run.engine().flows(), 0);
    let ours = to_server(&run).iter().filter(|f| TcpFrame::parse(f).is_some_and(|f| is_syn(&f))).count();
    assert_eq!(ours, 1, "the server hears of the one that means it");
}

/// What comes from the server's side meanwhile goes nowhere, and is not answered.
#[test]
fn the_servers_side_cannot_speak_first() {
    let lab = Lab::new();
    let setup = Setup { rules: held(Action::Reset), ..Setup::default() };
    let silent = Session::plain(vec![Step::Pause(Duration::from_secs(2)), Step::Finish]);
    let mut run = lab.connect(&setup, silent, Session::plain(vec![Step::AwaitEnd, Step::Finish]));
    run.simulation.record();
    run.settle(Duration::from_millis(500));
    let mut frames = run.simulation.recorded().iter().map(|c| c.frame.clone());
    let syn = frames.find(|frame| TcpFrame::parse(frame).is_some()).unwrap();
    run.simulation.inject(PortSide::Outside, answer(&syn));
    run.settle(Duration::from_secs(60));
    assert_eq!(to_server(&run), Vec::<Vec<u8>>::new());
    assert_eq!(run.counters().dropped(PacketDrop::ServerHeld), 1);
}
