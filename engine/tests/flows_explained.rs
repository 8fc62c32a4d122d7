//! What `wireglass flows` would say of flows between two hosts whose trouble is known.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, NAME, Run, Setup};
use support::raw::{CLIENT, RawSegment, SERVER, hello};
use support::rules::{Action, Rules};
use wireglass::control::{FlowRecord, TcpRecord};
use wireglass_core::event::{self, Event};
use wireglass_core::flow::Wanted;
use wireglass_core::phase::FlowPhase;
use wireglass_testbed::{Duration, Impairment, Instant, Middle, Step, Stop};

/// All wanted flows, as the workers tell them now.
fn ask(run: &mut Run, wanted: Wanted) -> Vec<FlowRecord> {
    let mut dump = run.engine().dumper().ask(wanted).unwrap();
    let now = run.simulation.now();
    run.simulation.middle.poll(now);
    let flows = std::iter::from_fn(|| dump.poll()).map(|flow| FlowRecord::new(&flow)).collect();
    assert!(dump.is_done(), "a simulated worker answers at once");
    flows
}

#[track_caller]
fn the_one(run: &mut Run) -> FlowRecord {
    let mut flows = ask(run, Wanted::default());
    assert_eq!(flows.len(), 1);
    flows.remove(0)
}

/// Client's and server's.
#[track_caller]
fn legs(flow: &FlowRecord) -> (TcpRecord, TcpRecord) {
    let tcp = |leg: &Option<wireglass::control::LegRecord>| leg.as_ref().expect("a leg").tcp.clone();
    (tcp(&flow.client_leg), tcp(&flow.server_leg))
}

#[test]
fn a_client_that_reads_slowly_is_to_blame_and_not_its_server() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 10, 4_000_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let client = client.slow(16_384, Duration::from_millis(100));
    let mut run = lab.connect(&Setup::default(), client, server);
    run.settle(Duration::from_secs(5));
    let flow = the_one(&mut run);
    let (client, server) = legs(&flow);
    assert_eq!(client.limited_by, "receiver", "{flow:#?}");
    let others = client.application_limited_ms + client.congestion_limited_ms;
    assert!(client.receiver_limited_ms > 4 * others, "{flow:#?}");
    assert!(client.unsent > 50_000 && u64::from(client.unsent) <= client.send_queue, "{flow:#?}");
    assert!(client.snd_wnd <= 65_536 && client.retransmits == 0, "{flow:#?}");
    // The server is held back: what it has sent waits.
    assert_eq!((&*server.limited_by, server.send_queue), ("application", 0), "{flow:#?}");
    assert!(server.recv_queue > 50_000, "{flow:#?}");
    assert!(server.bytes_received > client.bytes_acked, "{flow:#?}");
    assert_eq!(run.run(), Stop::Done);
}

#[test]
fn a_flow_is_told_with_all_that_the_events_say_of_it() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 10, 200_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.connect(&Setup::default(), client.slow(4_096, Duration::from_millis(100)), server);
    run.settle(Duration::from_secs(1));
    let flow = the_one(&mut run);
    assert_eq!((flow.flow_id, &*flow.wire, flow.phase), (1, "lab", FlowPhase::Decrypted));
    assert_eq!((flow.src_port, flow.dest_port, flow.handshaking), (40_000, 443, false));
    assert_eq!((flow.sni.as_deref(), flow.profile.as_deref()), (Some(NAME), Some("default")));
    assert!((900..=1_100).contains(&flow.age_ms) && flow.idle_ms < 200, "{flow:#?}");
    assert!(flow.bytes_toclient > 60_000 && flow.bytes_toserver > 500, "{flow:#?}");
    let event = run.tls_event();
    for (leg, told) in [(&flow.client_leg, &event.client_leg), (&flow.server_leg, &event.server_leg)] {
        let (tls, told) = (leg.as_ref().unwrap().tls.as_ref().unwrap(), told.as_ref().unwrap());
        assert_eq!((tls.version.as_deref(), tls.cipher.as_deref()), (told.version, told.cipher));
        assert_eq!((tls.group.as_deref(), tls.resumed), (told.group, told.resumed));
        assert!(tls.version.is_some() && tls.cipher.is_some());
    }
    let (client, server) = legs(&flow);
    assert_eq!((&*client.state, &*server.state), ("established", "established"));
    // A millisecond each way, on either side.
    assert_eq!((client.min_rtt_us, server.min_rtt_us), (Some(2_000), Some(2_000)), "{flow:#?}");
    assert!(run.run() == Stop::Done && ask(&mut run, Wanted::default()).len() <= 1);
}

#[test]
fn losses_on_the_path_show_as_such() {
    for seed in [1, 2, 3] {
        let lab = Lab::new();
        let impairment = Impairment { loss: 0.03, delay: Duration::from_millis(5), ..Impairment::default() };
        let setup = Setup { seed, impairment, ..Setup::default() };
        let exchange = Exchange::new(seed, 10, 3_000_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        let mut last = None;
        for _ in 0..400 {
            if run.settle(Duration::from_millis(50)) == Stop::Done {
                break;
            }
            let found = ask(&mut run, Wanted { phase: Some(FlowPhase::Decrypted), ..Wanted::default() });
            let Some(flow) = found.into_iter().find(|flow| !flow.handshaking) else { continue };
            last = Some(flow);
        }
        let flow = last.unwrap_or_else(|| panic!("seed {seed}: no flow was ever seen"));
        let (client, server) = legs(&flow);
        assert!(client.retransmits > 5, "seed {seed}: {flow:#?}");
        assert!(client.ssthresh.is_some() && client.duplicate_acks > 0, "seed {seed}: {flow:#?}");
        assert!(client.congestion_limited_ms > client.receiver_limited_ms, "seed {seed}: {flow:#?}");
        assert!(server.out_of_order > 0, "seed {seed}: the other side of it: {flow:#?}");
    }
}

#[test]
fn a_server_that_pauses_leaves_the_engine_with_nothing_to_send() {
    let lab = Lab::new();
    let exchange = Exchange::new(4, 10, 20_000);
    let (first, rest) = exchange.response.split_at(5_000);
    let server = vec![
        Step::Receive(10),
        Step::Send(first.to_vec()),
        Step::Pause(Duration::from_secs(20)),
        Step::Send(rest.to_vec()),
        Step::AwaitEnd,
        Step::Finish,
    ];
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), server);
    run.settle(Duration::from_secs(5));
    let (client, server) = legs(&the_one(&mut run));
    for leg in [&client, &server] {
        assert_eq!((&*leg.limited_by, leg.send_queue, leg.recv_queue), ("application", 0, 0), "{leg:#?}");
        assert!(leg.application_limited_ms > 4_500 && leg.timer.is_none(), "{leg:#?}");
    }
    assert!(server.last_received_ms > 4_000 && client.last_sent_ms > 4_000, "{server:#?}");
    assert_eq!(run.run(), Stop::Done);
}

#[test]
fn a_bypassed_flow_has_a_name_and_no_legs_and_phases_are_told_apart() {
    let lab = Lab::new().trusting_the_server();
    let setup = Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() };
    let exchange = Exchange::new(5, 10, 500_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.connect(&setup, client.slow(16_384, Duration::from_millis(100)), server);
    run.settle(Duration::from_secs(1));
    let flow = the_one(&mut run);
    assert_eq!((flow.phase, flow.sni.as_deref()), (FlowPhase::Bypassed, Some(NAME)));
    assert_eq!(flow.rule.as_deref(), Some("by name"));
    assert!(flow.client_leg.is_none() && flow.server_leg.is_none() && flow.bytes_toclient > 50_000);
    let count = |run: &mut Run, stage| ask(run, Wanted { phase: Some(stage), ..Wanted::default() }).len();
    assert_eq!((count(&mut run, FlowPhase::Bypassed), count(&mut run, FlowPhase::Decrypted)), (1, 0));
    assert_eq!(run.run(), Stop::Done);
}

/// A client that waits for an acknowledgement in the middle of its hello gets one from the engine, so its bytes are relayed when the
/// flow is bypassed. Command line, metrics and log all call that `bypassed`.
#[test]
fn a_bypass_that_relays_is_a_bypass() {
    let setup = Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() };
    let (mut engine, log) = Lab::new().engine(&setup);
    let mut now = Instant::ZERO;
    let client = RawSegment::from_client([10, 0, 0, 1], 50_000);
    let server = RawSegment::from_server([10, 0, 0, 1], 50_000);
    let hello = hello(NAME);
    let (start, rest) = hello.split_at(100);
    for (pause, segment) in [
        (0, RawSegment { flags: 2, seq: CLIENT, ack: 0, ..client.clone() }),
        (1, RawSegment { flags: 0x12, seq: SERVER, ..server }),
        (1, client.clone()),
        (1, RawSegment { payload: start.to_vec(), ..client.clone() }),
        (200, RawSegment { seq: CLIENT + 101, payload: rest.to_vec(), ..client }),
    ] {
        now += Duration::from_millis(pause);
        engine.poll(now);
        engine.receive(now, segment.port(), segment.frame());
        engine.poll(now);
    }
    let gauge = |phase| engine.counters()[0].flows(phase).value();
    assert_eq!((gauge(FlowPhase::Bypassed), gauge(FlowPhase::Decrypted)), (1, 0));
    engine.shut_down(now);
    let ended = std::iter::from_fn(|| log.pop()).find_map(|event| match event {
        Event::Flow(_, flow) => Some((flow.phase, flow.action)),
        _ => None,
    });
    assert_eq!(ended, Some((FlowPhase::Bypassed, Some(event::Action::Bypass))));
}
