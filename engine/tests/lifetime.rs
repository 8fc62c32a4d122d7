//! How long a silent flow lasts: as long as both ends want and are there, and not longer than the idle time.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use smoltcp::wire::TcpSeqNumber;
use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Crossing, Duration, Heading, PortSide, Step, Stop};

const MINUTE: Duration = Duration::from_secs(60);

/// The client sends, closes its direction, and waits; the server thinks for so long before it answers.
fn half_closed(setup: &Setup, thinks: Duration) -> (Run, Exchange) {
    let exchange = Exchange::new(1, 5_000, 20_000);
    let client = vec![Step::Send(exchange.request.clone()), Step::Finish, Step::AwaitEnd];
    let server =
        vec![Step::AwaitEnd, Step::Pause(thinks), Step::Send(exchange.response.clone()), Step::Finish];
    (Lab::new().connect_tls(setup, client, server), exchange)
}

#[test]
fn a_half_closed_flow_waits_for_a_server_that_thinks() {
    let (mut run, exchange) = half_closed(&Setup::default(), MINUTE * 40);
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &"after forty minutes");
    run.settle(MINUTE * 2);
    assert_eq!(run.flow_end(), ("decrypted", Reason::Closed));
}

/// That the server is still there, as it says when it is asked, is no life of the flow.
#[test]
fn a_half_closed_flow_ends_with_the_idle_time() {
    let mut setup = Setup::default();
    setup.limits.idle_time = MINUTE * 20;
    let (mut run, _) = half_closed(&setup, MINUTE * 300);
    run.settle(MINUTE * 19);
    assert_eq!(run.engine().flows(), 1);
    run.settle(MINUTE * 2);
    assert_eq!(run.flow_end(), ("decrypted", Reason::Idle));
}

#[test]
fn a_half_closed_flow_whose_server_is_gone_ends_in_minutes() {
    let (mut run, _) = half_closed(&Setup::default(), MINUTE * 40);
    run.settle(MINUTE);
    run.simulation.server_to_middle.cut();
    run.settle(MINUTE * 5);
    assert_eq!(run.engine().flows(), 1, "five minutes of silence are no sign");
    run.settle(MINUTE * 3);
    assert_eq!(run.flow_end(), ("decrypted", Reason::ServerTimeout));
}

/// Each frame that goes by puts its end off, whether the flow was decided at its SYN or by its ClientHello.
#[test]
fn a_bypassed_flow_lasts_as_long_as_something_comes_by() {
    for rules in [Rules::default_is(Action::Bypass), Rules::by_name(Action::Bypass)] {
        let mut setup = Setup { rules, ..Setup::default() };
        setup.limits.idle_time = MINUTE * 20;
        let say = || Step::Send(b"still here".to_vec());
        let client =
            vec![say(), Step::Pause(MINUTE * 15), say(), Step::Pause(MINUTE * 15), say(), Step::AwaitEnd];
        let server = vec![Step::Receive(30), Step::AwaitEnd];
        let mut run = Lab::new().trusting_the_server().connect_tls(&setup, client, server);
        run.settle(MINUTE * 49);
        assert_eq!(run.engine().flows(), 1, "{setup:?}");
        assert_eq!(run.server().received.len(), 30, "{setup:?}");
        run.settle(MINUTE * 2);
        assert_eq!(run.flow_end(), ("bypassed", Reason::Idle), "{setup:?}");
    }
}

#[test]
fn a_bypassed_flow_ends_soon_after_a_reset() {
    let setup = Setup { rules: Rules::default_is(Action::Bypass), ..Setup::default() };
    let answer = b"and no more".to_vec();
    let client = vec![Step::Receive(answer.len()), Step::Reset];
    let server = vec![Step::Send(answer), Step::AwaitEnd];
    let mut run = Lab::new().trusting_the_server().connect_tls(&setup, client, server);
    run.settle(MINUTE);
    assert_eq!(run.flow_end(), ("bypassed", Reason::ClientReset));
}

/// A probe of an idle peer as hosts send it: one before the next byte, without payload.
fn keep_alive(run: &Run) -> Vec<u8> {
    let from_client =
        |crossing: &&Crossing| crossing.port == PortSide::Inside && crossing.heading == Heading::In;
    let frames = run.simulation.recorded().iter().rev().filter(from_client);
    let last = frames.filter_map(|crossing| TcpFrame::parse(&crossing.frame)).next().unwrap();
    assert!(last.payload().is_empty(), "the last that the client has sent is an ACK");
    last.edited(|tcp| {
        let seq = tcp.seq_number();
        tcp.set_seq_number(seq - 1);
        tcp.set_psh(false);
    })
}

/// Frames that the engine sent out of a port since `from`.
fn sent(run: &Run, port: PortSide, from: usize) -> Vec<TcpFrame> {
    let recorded = &run.simulation.recorded()[from..];
    let out = recorded.iter().filter(|c| c.port == port && c.heading == Heading::Out);
    out.filter_map(|crossing| TcpFrame::parse(&crossing.frame)).collect()
}

/// An idle, established flow whose last segment was an ACK of the client's.
fn idle() -> Run {
    let exchange = Exchange::new(1, 1_000, 1_000);
    let mut client = exchange.client();
    client.insert(2, Step::Pause(MINUTE * 100));
    let mut run = Lab::new().connect_tls(&Setup::default(), client, exchange.server());
    run.simulation.record();
    run.settle(MINUTE);
    run
}

#[test]
fn a_probe_of_one_end_is_answered_and_asks_the_other() {
    let mut run = idle();
    let (probe, from) = (keep_alive(&run), run.simulation.recorded().len());
    let ack: TcpSeqNumber = TcpFrame::parse(&probe).unwrap().tcp().ack_number();
    run.simulation.inject(PortSide::Inside, probe.clone());
    run.settle(Duration::from_secs(10));
    let answers = sent(&run, PortSide::Inside, from);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].tcp().seq_number(), ack);
    // The server is asked once, and its answer ends that.
    let asked = sent(&run, PortSide::Outside, from);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].payload().is_empty());
    run.settle(MINUTE * 5);
    assert_eq!(sent(&run, PortSide::Outside, from).len(), 1);
    assert_eq!(run.engine().flows(), 1);
}

#[test]
fn a_client_that_probes_learns_that_its_server_is_gone() {
    let mut run = idle();
    run.simulation.server_to_middle.cut();
    let (probe, from) = (keep_alive(&run), run.simulation.recorded().len());
    run.simulation.inject(PortSide::Inside, probe);
    run.settle(MINUTE);
    assert_eq!(run.engine().flows(), 1);
    run.settle(MINUTE * 2);
    assert_eq!(run.flow_end(), ("decrypted", Reason::ServerTimeout));
    assert!(sent(&run, PortSide::Inside, from).iter().any(|frame| frame.tcp().rst()), "the client is told");
}
