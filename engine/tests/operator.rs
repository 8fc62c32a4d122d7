//! What an operator does to running flows: orders that stand over policy, and flows that are ended.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use support::Exchange;
use support::lab::{Lab, Run, Setup};
use support::raw::{CLIENT, RawSegment, SERVER, hello};
use support::rules::{Action, Rules};
use wireglass::flow_dump::KillTally;
use wireglass::simulate::Engine;
use wireglass_core::event;
use wireglass_core::flow::{Midstream, OutsideTls, Wanted};
use wireglass_core::order::Order;
use wireglass_core::phase::FlowPhase;
use wireglass_core::policy::{StartTls, UnsupportedAction};
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_core::starttls::Protocol;
use wireglass_testbed::{Duration, Ending, Instant, Middle, PortSide, Session, Step, Stop};

/// A stream that takes a second at least, so that something may be ordered meanwhile.
fn long(exchange: &Exchange) -> (Vec<Step>, Vec<Step>) {
    let paced = |bytes: &[u8], expected: usize| {
        let mut script = Vec::new();
        for part in bytes.chunks(bytes.len() / 10) {
            script.extend([Step::Send(part.to_vec()), Step::Pause(Duration::from_millis(100))]);
        }
        script.extend([Step::Receive(expected), Step::Finish, Step::AwaitEnd]);
        script
    };
    (paced(&exchange.request, exchange.response.len()), paced(&exchange.response, exchange.request.len()))
}

/// Ends all wanted flows. Returns how many were there, and how many were ended.
fn kill(engine: &mut Engine, now: Instant, wanted: Wanted) -> (usize, u64) {
    let mut dump = engine.dumper().ask(wanted).unwrap();
    engine.poll(now);
    let found: Vec<_> = std::iter::from_fn(|| dump.poll_placed()).collect();
    assert!(dump.is_done(), "a simulated worker answers at once");
    let tally = Arc::<KillTally>::default();
    for (place, _) in &found {
        engine.dumper().kill(*place, &tally).unwrap();
    }
    engine.poll(now);
    assert_eq!(tally.done(), found.len() as u64);
    (found.len(), tally.ended())
}

fn kill_in(run: &mut Run, wanted: Wanted) -> (usize, u64) {
    let now = run.simulation.now();
    kill(&mut run.simulation.middle, now, wanted)
}

/// What the `tls` events say.
fn told(run: &Run) -> Vec<(event::Action, Reason)> {
    run.tls_events().iter().map(|event| (event.action, event.reason)).collect()
}

#[test]
fn bypass_lets_everything_begin_whatever_policy_says() {
    for rules in
        [Rules::default_is(Action::Decrypt), Rules::by_name(Action::Reset), Rules::default_is(Action::Reset)]
    {
        let lab = Lab::new().trusting_the_server();
        let exchange = Exchange::new(1, 20_000, 50_000);
        let setup = Setup { rules, ..Setup::default() };
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.engine().order().set(Some(Order::Bypass));
        assert_eq!(run.run(), Stop::Done);
        exchange.assert_done(run.client(), run.server(), &setup);
        assert_eq!(run.client().handshake.as_ref().unwrap().chain, lab.server.chain);
        run.settle(Duration::from_secs(60));
        assert_eq!(run.flow_end(), ("bypassed", Reason::Closed));
        assert_eq!(run.flow_events()[0].ordered, Some(Order::Bypass));
        assert_eq!(run.counters().ordered(Order::Bypass).value(), 1);
        assert_eq!(run.counters().ordered(Order::Drain).value(), 0);
    }
}

/// The SYN came before the order, the hello after it.
#[test]
fn bypass_releases_what_is_not_decided_yet() {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(1, 5_000, 5_000);
    let setup = Setup { rules: Rules::by_name(Action::Reset), ..Setup::default() };
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    while run.engine().flows() == 0 {
        run.settle(Duration::from_micros(50));
    }
    run.engine().order().set(Some(Order::Bypass));
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &"begun before");
    assert_eq!(told(&run), [(event::Action::Bypass, Reason::OperatorBypass)]);
    run.settle(Duration::from_secs(60));
    assert_eq!(run.flow_events()[0].ordered, Some(Order::Bypass));
}

/// Not TLS, in a flow that began before the order: it would be blocked.
#[test]
fn bypass_releases_what_is_no_tls() {
    for server_first in [false, true] {
        let lab = Lab::new();
        let (question, answer) = (b"hello, is this a wire?\r\n".to_vec(), b"it is now\r\n".to_vec());
        let (client, server) = match server_first {
            false => (
                vec![Step::Send(question.clone()), Step::Receive(answer.len()), Step::Finish, Step::AwaitEnd],
                vec![Step::Receive(question.len()), Step::Send(answer.clone()), Step::Finish, Step::AwaitEnd],
            ),
            true => (
                vec![Step::Receive(answer.len()), Step::Send(question.clone()), Step::Finish, Step::AwaitEnd],
                vec![Step::Send(answer.clone()), Step::Receive(question.len()), Step::Finish, Step::AwaitEnd],
            ),
        };
        let mut run = lab.connect(&Setup::default(), Session::plain(client), Session::plain(server));
        while run.engine().flows() == 0 {
            run.settle(Duration::from_micros(50));
        }
        run.engine().order().set(Some(Order::Bypass));
        assert_eq!(run.run(), Stop::Done);
        assert_eq!((&run.client().received, &run.server().received), (&answer, &question));
        run.settle(Duration::from_secs(60));
        assert_eq!(run.flow_events()[0].ordered, Some(Order::Bypass));
    }
}

/// A mail in plain where STARTTLS was offered: it would be stopped.
#[test]
fn bypass_releases_a_mail_in_plain() {
    let lines: [&[u8]; 5] =
        [b"220 hi\r\n", b"EHLO me\r\n", b"250 STARTTLS\r\n", b"MAIL FROM:<a@b>\r\n", b"250 ok\r\n"];
    let of = |speaks: usize| {
        let mut heard = 0;
        let step = |(n, line): (usize, &&[u8])| match n % 2 == speaks {
            true => Step::Send(line.to_vec()),
            false => {
                heard += line.len();
                Step::Receive(heard)
            }
        };
        let mut script: Vec<_> = lines.iter().enumerate().map(step).collect();
        script.extend([Step::Finish, Step::AwaitEnd]);
        Session::plain(script)
    };
    let block = UnsupportedAction::Block;
    let starttls = StartTls { ports: vec![(25, Protocol::Smtp)], on_stripped: block, on_unused: block };
    let rules = Rules { starttls, ..Rules::default_is(Action::Decrypt) };
    let mut run = Lab::new().connect(&Setup { port: 25, rules, ..Setup::default() }, of(1), of(0));
    while run.engine().flows() == 0 {
        run.settle(Duration::from_micros(50));
    }
    run.engine().order().set(Some(Order::Bypass));
    assert_eq!(run.run(), Stop::Done);
    assert_eq!(run.server().received, [lines[1], lines[3]].concat());
    run.settle(Duration::from_secs(60));
    assert_eq!(
        (run.flow_end(), run.flow_events()[0].ordered),
        (("bypassed", Reason::Closed), Some(Order::Bypass))
    );
}

#[test]
fn a_drain_decrypts_nothing_new_and_blocks_what_policy_blocks() {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(1, 20_000, 50_000);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    run.engine().order().set(Some(Order::Drain));
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &"drain");
    assert_eq!(told(&run), [(event::Action::Bypass, Reason::OperatorDrain)]);
    run.settle(Duration::from_secs(60));
    assert_eq!(run.flow_events()[0].ordered, Some(Order::Drain));
    assert_eq!(run.counters().ordered(Order::Drain).value(), 1);

    let setup = Setup { rules: Rules::by_name(Action::Reset), ..Setup::default() };
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.engine().order().set(Some(Order::Drain));
    run.settle(Duration::from_secs(5));
    assert_eq!(told(&run), [(event::Action::Block, Reason::PolicyBlock)]);
    assert_eq!((run.flow_events()[0].ordered, run.server().received.len()), (None, 0));
}

/// What is decrypted goes on under either order, and policy decides again when it is over.
#[test]
fn open_flows_go_on_and_later_ones_are_decrypted_again() {
    for order in Order::ALL {
        let lab = Lab::new();
        let exchange = Exchange::new(1, 100_000, 100_000);
        let (client, server) = long(&exchange);
        let mut run = lab.connect_tls(&Setup::default(), client, server);
        run.settle(Duration::from_millis(300));
        run.engine().order().set(Some(order));
        run.settle(Duration::from_millis(300));
        run.engine().order().set(None);
        let short = Exchange::new(2, 3_000, 3_000);
        let (client, server) = lab.sessions(short.client(), short.server());
        run.connect_ports(42_000, 443, client, server);
        assert_eq!(run.run(), Stop::Done);
        exchange.assert_done(run.client(), run.server(), &order);
        short.assert_done(run.client_of(1), run.server_of(1), &order);
        assert_eq!(told(&run), [(event::Action::Decrypt, Reason::PolicyDecrypt); 2]);
        run.settle(Duration::from_secs(600));
        assert!(run.flow_events().iter().all(|flow| flow.ordered.is_none()));
    }
}

/// Segments of connections that the engine has not seen begin.
#[test]
fn bypass_lets_older_connections_pass() {
    let midstream = Midstream::Reset { after: Duration::ZERO };
    let setup = Setup { outside_tls: OutsideTls { midstream, ..OutsideTls::default() }, ..Setup::default() };
    let (mut engine, mut now) = (Lab::new().engine(&setup).0, Instant::ZERO + Duration::from_secs(1));
    let data = RawSegment { payload: b"on we go".to_vec(), ..RawSegment::from_client([10, 0, 0, 1], 50_000) };
    let mut send = |engine: &mut Engine, segment: &RawSegment| {
        engine.receive(now, segment.port(), segment.frame());
        now += Duration::from_micros(10);
        engine.poll(now);
        std::iter::from_fn(|| engine.transmit()).any(|(_, frame)| frame == segment.frame())
    };
    assert!(!send(&mut engine, &data), "it is reset");
    engine.order().set(Some(Order::Bypass));
    assert!(send(&mut engine, &data), "it passes");
}

#[test]
fn a_decrypted_flow_that_is_killed_is_reset_at_both_ends_and_the_others_go_on() {
    for workers in [1, 3] {
        let lab = Lab::new();
        let exchange = Exchange::new(1, 100_000, 100_000);
        let setup = Setup { workers, ..Setup::default() };
        let (client, server) = long(&exchange);
        let mut run = lab.connect_tls(&setup, client, server);
        let (client, server) = long(&exchange);
        let (client, server) = lab.sessions(client, server);
        run.connect_ports(42_000, 443, client, server);
        run.settle(Duration::from_millis(300));
        let wanted = Wanted { port: Some(40_000), phase: Some(FlowPhase::Decrypted), ..Wanted::default() };
        assert_eq!(kill_in(&mut run, wanted), (1, 1));
        run.run();
        assert_eq!((&run.client().end, &run.server().end), (&Some(Ending::Reset), &Some(Ending::Reset)));
        exchange.assert_done(run.client_of(1), run.server_of(1), &"the other one");
        run.settle(Duration::from_secs(600));
        let ends: Vec<_> = run.flow_events().iter().map(|flow| flow.reason).collect();
        assert_eq!(ends, [Reason::OperatorKilled, Reason::Closed]);
        assert_eq!(run.engine().flows(), 0);
    }
}

/// It has no legs from which a RST could come: whoever speaks next hears of it.
#[test]
fn a_bypassed_flow_that_is_killed_passes_no_more() {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(1, 100_000, 100_000);
    let (client, server) = long(&exchange);
    let setup = Setup { rules: Rules::default_is(Action::Bypass), ..Setup::default() };
    let mut run = lab.connect_tls(&setup, client, server);
    run.settle(Duration::from_millis(300));
    let received = run.server().received.len();
    assert_eq!(kill_in(&mut run, Wanted { flow_id: Some(1), ..Wanted::default() }), (1, 1));
    run.run();
    assert_eq!((&run.client().end, &run.server().end), (&Some(Ending::Reset), &Some(Ending::Reset)));
    assert!(run.server().received.len() - received < 20_000, "nothing but what was on its way");
    assert_eq!(run.flow_end(), ("bypassed", Reason::OperatorKilled));
    assert!(run.counters().dropped(PacketDrop::FlowEnded) > 0);
}

/// Before it is decided, too: neither end goes on as one that is seen from the middle.
#[test]
fn a_flow_can_be_killed_in_each_phase() {
    for phase in [FlowPhase::Opening, FlowPhase::Peeking] {
        let (mut engine, now) =
            (Lab::new().engine(&Setup::default()).0, Instant::ZERO + Duration::from_millis(1));
        let client = RawSegment::from_client([10, 0, 0, 1], 50_000);
        let syn = RawSegment { flags: 2, seq: CLIENT, ack: 0, ..client.clone() };
        let syn_ack =
            RawSegment { flags: 0x12, seq: SERVER, ..RawSegment::from_server([10, 0, 0, 1], 50_000) };
        let some = RawSegment { payload: hello(support::lab::NAME)[..40].to_vec(), ..client.clone() };
        let mut segments = vec![&syn, &syn_ack, &client];
        if phase == FlowPhase::Peeking {
            segments.push(&some);
        }
        for segment in segments {
            engine.receive(now, segment.port(), segment.frame());
            engine.poll(now);
        }
        while engine.transmit().is_some() {}
        assert_eq!(kill(&mut engine, now, Wanted { phase: Some(phase), ..Wanted::default() }), (1, 1));
        assert_eq!(engine.counters()[0].ended(Reason::OperatorKilled), 1, "{phase:?}");
        let resets: Vec<_> = std::iter::from_fn(|| engine.transmit()).map(|(port, _)| port).collect();
        assert!(resets.contains(&PortSide::Inside) && resets.contains(&PortSide::Outside), "{resets:?}");
        // What the client has still to say goes nowhere.
        engine.receive(now, some.port(), some.frame());
        engine.poll(now);
        let towards_server =
            std::iter::from_fn(|| engine.transmit()).filter(|(port, _)| *port == PortSide::Outside);
        assert_eq!(towards_server.count(), 0, "{phase:?}");
    }
}

/// A place of the table that has another flow by then.
#[test]
fn who_has_gone_is_not_killed_and_nobody_in_its_place() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 3_000, 3_000);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    while run.engine().flows() == 0 {
        run.settle(Duration::from_micros(50));
    }
    let mut dump = run.engine().dumper().ask(Wanted::default()).unwrap();
    let now = run.simulation.now();
    run.simulation.middle.poll(now);
    let (place, _) = dump.poll_placed().unwrap();
    assert_eq!(run.run(), Stop::Done);
    run.settle(Duration::from_secs(600));
    assert_eq!(run.engine().flows(), 0);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    run.connect_ports(42_000, 443, client, server);
    while run.engine().flows() == 0 {
        run.settle(Duration::from_micros(50));
    }
    assert_eq!(run.engine().flows(), 1);
    let tally = Arc::<KillTally>::default();
    run.engine().dumper().kill(place, &tally).unwrap();
    assert_eq!(run.run(), Stop::Done);
    assert_eq!((tally.done(), tally.ended()), (1, 0));
    exchange.assert_done(run.client_of(1), run.server_of(1), &"in its place");
}

/// More than a worker takes in one turn, and than may wait for it.
#[test]
fn many_are_killed_a_few_in_each_turn() {
    const FLOWS: u16 = 200;
    let setup = Setup { flows: 512, ..Setup::default() };
    let (mut engine, now) = (Lab::new().engine(&setup).0, Instant::ZERO + Duration::from_millis(1));
    for port in 0..FLOWS {
        let syn = RawSegment {
            flags: 2,
            seq: CLIENT,
            ack: 0,
            ..RawSegment::from_client([10, 0, 0, 1], 1_000 + port)
        };
        engine.receive(now, syn.port(), syn.frame());
        engine.poll(now);
    }
    assert_eq!(engine.flows(), usize::from(FLOWS));
    assert_eq!(kill(&mut engine, now, Wanted::default()), (FLOWS.into(), FLOWS.into()));
    assert_eq!(engine.flows(), 0);
}
