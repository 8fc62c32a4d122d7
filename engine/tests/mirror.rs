//! Mirrors: what flows say, as TCP in plain, whole and in order, or ended where something was lost.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::Exchange;
use support::lab::{Lab, NAME, Run, Setup};
use support::mirror::{Heeded, hear};
use support::raw::RawSegment;
use support::rules::{Action, Rules};
use wireglass_core::content::RuleFilters;
use wireglass_core::mirror::{Mirror, Shown, When};
use wireglass_core::policy::{ContentAction, ContentPolicy, ContentRule, Decision, Profile, Respond, Rule};
use wireglass_core::reason::MirrorDrop;
use wireglass_testbed::{
    Crossing, Duration, Heading, Impairment, Instant, Middle, PortSide, Session, Step, Tag,
};

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(100_000);

fn with(mirrors: Vec<Mirror>) -> Setup {
    Setup { mirrors, ..Setup::default() }
}

/// No ARP.
fn is_ipv4(frame: &[u8]) -> bool {
    frame[12..14] == [0x08, 0x00]
}

/// What a mirror has sent since the last time.
fn frames(run: &Run, mirror: usize) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| run.engine().cable().mirrored(mirror)).collect()
}

fn run(lab: &Lab, setup: &Setup, client: Vec<Step>, server: Vec<Step>) -> Run {
    let mut run = lab.connect_tls(setup, client, server);
    run.run();
    run.settle(SECOND * 120);
    assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0), "{setup:?}");
    run
}

/// Whatever the links do, the mirror has each byte once, in order.
#[test]
fn the_plaintext_of_both_ends_as_it_was_said() {
    let lab = Lab::new();
    for seed in 0..12 {
        let loss = [0.0, 0.02, 0.05][seed as usize % 3];
        let impairment = Impairment { loss, reorder: loss * 3.0, duplicate: loss, ..Impairment::default() };
        let (ipv6, timestamps) = (seed % 2 == 1, seed % 4 < 2);
        let tags = if seed % 3 == 1 { vec![Tag { ethertype: 0x8100, control: 7 }] } else { Vec::new() };
        let mirrors = vec![Mirror::new("ids")];
        let setup = Setup { seed, impairment, ipv6, timestamps, tags, ..with(mirrors) };
        let exchange = Exchange::new(seed, 20_000, 300_000);
        let run = run(&lab, &setup, exchange.client(), exchange.server());
        exchange.assert_done(run.client(), run.server(), &setup);
        let frames = frames(&run, 0);
        let heeded = Heeded::all(&frames);
        assert!(heeded.streams[0] == exchange.request, "{setup:?}: another request");
        assert!(heeded.streams[1] == exchange.response, "{setup:?}: another response");
        assert_eq!((&heeded.fins[..], heeded.reset), (&[0, 1][..], None), "{setup:?}");
        heeded.assert_acknowledged();
        let first = hear(&frames[0]);
        assert_eq!(first.vlans, setup.tags.iter().map(|tag| tag.control).collect::<Vec<_>>());
        assert_eq!(first.mss, Some(if ipv6 { 1440 } else { 1460 }));
        assert!(frames.iter().all(|frame| hear(frame).len <= 1500));
        let counters = run.counters().mirror(0);
        assert_eq!((counters.frames.value(), counters.flows.value()), (frames.len() as u64, 1));
        assert_eq!(counters.bytes.value(), frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
    }
}

/// Addresses, numbers and MAC addresses are those of the wire.
#[test]
fn a_mirrored_flow_looks_like_itself() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 100, 100);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.connect(&with(vec![Mirror::new("ids")]), client, server);
    run.simulation.record();
    run.run();
    let mirrored = frames(&run, 0);
    let of = |port| {
        let crossings = run.simulation.recorded().iter();
        let is_first = |c: &&Crossing| (c.port, c.heading) == (port, Heading::In) && is_ipv4(&c.frame);
        hear(&crossings.clone().find(is_first).unwrap().frame)
    };
    for (port, frame) in [(PortSide::Inside, &mirrored[0]), (PortSide::Outside, &mirrored[1])] {
        let (real, shown) = (of(port), hear(frame));
        assert_eq!((real.source, real.destination), (shown.source, shown.destination));
        assert_eq!((real.seq, real.macs), (shown.seq, shown.macs));
    }
}

#[test]
fn the_end_is_as_it_was() {
    let lab = Lab::new();
    let bytes = || Step::Send(vec![5; 10_000]);
    let says = |last| vec![bytes(), Step::Receive(10_000), last];
    let waits = || vec![bytes(), Step::AwaitEnd, Step::Finish];
    let ends = |client, server| {
        let run = run(&lab, &with(vec![Mirror::new("ids")]), client, server);
        let heeded = Heeded::all(&frames(&run, 0));
        heeded.assert_acknowledged();
        (heeded.fins, heeded.reset)
    };
    assert_eq!(ends(says(Step::Finish), waits()), (vec![0, 1], None));
    assert_eq!(ends(waits(), says(Step::Finish)), (vec![1, 0], None));
    assert_eq!(ends(says(Step::Reset), waits()), (vec![], Some(0)));
    assert_eq!(ends(waits(), says(Step::Reset)), (vec![], Some(1)));
    // A FIN without a close_notify is a FIN.
    assert_eq!(ends(says(Step::Truncate), waits()), (vec![0, 1], None));
}

#[test]
fn the_engine_stops_and_the_mirror_is_told() {
    let lab = Lab::new();
    let client = vec![Step::Send(vec![1; 100]), Step::Pause(NEVER)];
    let server = vec![Step::Receive(100), Step::Pause(NEVER)];
    let mut run = lab.connect_tls(&with(vec![Mirror::new("ids")]), client, server);
    run.settle(SECOND * 5);
    let now = run.simulation.now();
    run.simulation.middle.shut_down(now);
    let heeded = Heeded::all(&frames(&run, 0));
    assert_eq!((heeded.streams[0].len(), heeded.reset), (100, Some(1)));
}

/// What was blocked was seen, and not forwarded; the page was forwarded, and nobody sent it.
#[test]
fn seen_and_forwarded_differ_where_a_rule_blocks() {
    let mut rule = ContentRule::new("no deletion", ContentAction::Block(Respond::Page));
    rule.method = vec!["DELETE".into()];
    let policy = Arc::new(ContentPolicy::compile(&[rule], Arc::default()));
    let filters = Arc::new(RuleFilters::new(policy, Arc::default()));
    let forwarded = Mirror { when: When::Forwarded, ..Mirror::new("proxy") };
    let setup = Setup { filters, ..with(vec![Mirror::new("ids"), forwarded]) };
    let passes = format!("GET /a HTTP/1.1\r\nHost: {NAME}\r\n\r\n").into_bytes();
    let blocked = format!("DELETE /b HTTP/1.1\r\nHost: {NAME}\r\n\r\n").into_bytes();
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    let client = vec![
        Step::Send(passes.clone()),
        Step::Receive(response.len()),
        Step::Send(blocked.clone()),
        Step::AwaitEnd,
        Step::Finish,
    ];
    let server =
        vec![Step::Receive(passes.len()), Step::Send(response.clone()), Step::AwaitEnd, Step::Finish];
    let run = run(&Lab::new(), &setup, client, server);
    let (seen, forwarded) = (Heeded::all(&frames(&run, 0)), Heeded::all(&frames(&run, 1)));
    assert!(seen.streams[0] == [passes.clone(), blocked].concat());
    assert!(seen.streams[1] == response);
    assert!(forwarded.streams[0] == passes);
    assert!(forwarded.streams[1] == run.client().received);
    assert!(forwarded.streams[1].len() > response.len(), "with the page");
    assert_eq!((seen.fins.len(), forwarded.fins.len()), (2, 2));
}

#[test]
fn marks_and_ports() {
    let mirror = Mirror {
        destination_mac: Some([2, 0, 0, 0, 0, 0x99]),
        source_mac: Some([2, 0, 0, 0, 0, 0x98]),
        vlan: Some(4000),
        ports: vec![(443, 80)],
        mtu: 600,
        ..Mirror::new("ids")
    };
    let tags = vec![Tag { ethertype: 0x88a8, control: 5 }, Tag { ethertype: 0x8100, control: 6 }];
    let exchange = Exchange::new(3, 5_000, 5_000);
    let setup = Setup { tags, ..with(vec![mirror]) };
    let run = run(&Lab::new(), &setup, exchange.client(), exchange.server());
    let frames = frames(&run, 0);
    let heeded = Heeded::all(&frames);
    assert!(heeded.streams == [exchange.request, exchange.response]);
    let mut longest = 0;
    for frame in &frames {
        let heard = hear(frame);
        assert_eq!(heard.macs, ([2, 0, 0, 0, 0, 0x98], [2, 0, 0, 0, 0, 0x99]));
        assert_eq!(heard.vlans, [4000, 5, 6]);
        assert!((heard.source.1 == 80) != (heard.destination.1 == 80));
        longest = longest.max(heard.len);
    }
    assert_eq!(longest, 600);
}

#[test]
fn only_flows_of_its_profiles() {
    let lab = Lab::new();
    let exchange = Exchange::new(4, 100, 100);
    let mirror = |name: &str| Mirror { profiles: vec![name.to_owned()], ..Mirror::new(name) };
    let rules = Rules {
        profile: Profile { name: "strict".into(), ..Profile::default() },
        ..Rules::default_is(Action::Decrypt)
    };
    let setup = Setup { rules, ..with(vec![mirror("lax"), mirror("strict")]) };
    let run = run(&lab, &setup, exchange.client(), exchange.server());
    assert_eq!(frames(&run, 0).len(), 0);
    assert!(Heeded::all(&frames(&run, 1)).streams[0] == exchange.request);
}

/// A rule says who is shown what it decrypts, whatever the mirrors say of profiles.
#[test]
fn a_rule_chooses_the_mirror() {
    let lab = Lab::new();
    let exchange = Exchange::new(4, 100, 100);
    let strict = Mirror { profiles: vec!["strict".into()], ..Mirror::new("strict") };
    for (shown, wanted) in [
        (Shown::ByProfile, [true, false]),
        (Shown::Nowhere, [false, false]),
        (Shown::At("all".into()), [true, false]),
        (Shown::At("strict".into()), [false, true]),
        (Shown::At("gone".into()), [false, false]),
    ] {
        let rule = Rule { mirror: shown.clone(), ..Rule::new("r", Decision::Decrypt(Arc::default())) };
        let rules = Rules { first: vec![rule], ..Rules::default_is(Action::Decrypt) };
        let setup = Setup { rules, ..with(vec![Mirror::new("all"), strict.clone()]) };
        let run = run(&lab, &setup, exchange.client(), exchange.server());
        assert_eq!([0, 1].map(|mirror| !frames(&run, mirror).is_empty()), wanted, "{shown:?}");
    }
}

/// The port takes less than comes: some flows lose something, and end with a RST where that was; the others are whole.
#[test]
fn the_oldest_is_dropped_and_its_flow_ends() {
    let lab = Lab::new();
    let setup = Setup {
        mirror_depth: 64,
        rules: Rules::default_is(Action::Decrypt),
        ..with(vec![Mirror::new("ids")])
    };
    let exchange = Exchange::new(5, 1_000, 4_000_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.connect(&setup, client, server);
    run.run();
    exchange.assert_done(run.client(), run.server(), &"the flow itself feels nothing");
    let mut all = Vec::new();
    for _ in 0..100 {
        all.extend(frames(&run, 0));
        run.settle(Duration::from_millis(10));
    }
    let heeded = Heeded::all(&all);
    assert_eq!(heeded.reset, Some(1));
    let [request, response] = &heeded.streams;
    assert!(*request == exchange.request && exchange.response.starts_with(response));
    assert!((1..exchange.response.len()).contains(&response.len()), "{} bytes", response.len());
    let counters = run.counters().mirror(0);
    assert_eq!((counters.flows.value(), counters.flows_lost.value()), (1, 1));
    assert_eq!(counters.dropped(MirrorDrop::Overrun), 1, "the one that became the RST");
    assert!(counters.dropped(MirrorDrop::FlowLost) > 900, "what waited behind it");
    assert_eq!(counters.frames.value(), all.len() as u64);
    // The next flow is whole again.
    let exchange = Exchange::new(6, 1_000, 10_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    run.connect_ports(41_000, 443, client, server);
    run.run();
    all.clear();
    for _ in 0..10 {
        all.extend(frames(&run, 0));
        run.settle(Duration::from_millis(10));
    }
    assert!(Heeded::all(&all).streams[1] == exchange.response);
}

/// A bypassed flow, whether its addresses or its name decided: the handshake, and its own frames.
#[test]
fn bypassed_flows_as_they_are() {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(7, 5_000, 50_000);
    for rules in [Rules::by_name(Action::Bypass), Rules::default_is(Action::Bypass)] {
        let marked = Mirror { bypassed: true, vlan: Some(99), ..Mirror::new("all") };
        let setup = Setup { rules, ..with(vec![Mirror::new("ids"), marked]) };
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        let mut run = lab.connect(&setup, client, server);
        run.simulation.record();
        run.run();
        exchange.assert_done(run.client(), run.server(), &"bypassed");
        assert_eq!(frames(&run, 0).len(), 0, "not to the one that did not ask");
        let shown = frames(&run, 1);
        let handshake: Vec<_> = shown[..3].iter().map(|frame| hear(frame).flags).collect();
        assert_eq!(handshake, ["S", "S", ""]);
        let crossings = run.simulation.recorded().iter();
        let out = crossings.filter(|c| c.heading == Heading::Out && is_ipv4(&c.frame));
        let out: Vec<_> = out.map(|c| c.frame.clone()).collect();
        assert_eq!(shown.len(), out.len());
        for (n, (shown, out)) in shown.iter().zip(&out).enumerate() {
            let (heard, real) = (hear(shown), hear(out));
            assert_eq!(heard.vlans, [99]);
            assert_eq!((heard.seq, heard.ack, heard.mss), (real.seq, real.ack, real.mss), "{n}");
            if n > 2 {
                assert!(shown[16..] == out[12..], "frame {n} is another");
            }
        }
    }
}

#[test]
fn a_server_that_speaks_first_is_shown_too() {
    let mut setup = Setup {
        rules: Rules::default_is(Action::Decrypt),
        ..with(vec![Mirror { bypassed: true, ..Mirror::new("all") }])
    };
    setup.outside_tls.bypass_not_tls = true;
    let server = Session::plain(vec![Step::Send(b"220 hello\r\n".to_vec()), Step::AwaitEnd, Step::Finish]);
    let client = Session::plain(vec![Step::Receive(11), Step::Send(b"QUIT\r\n".to_vec()), Step::Finish]);
    let mut run = Lab::new().connect(&setup, client, server);
    run.run();
    let shown: Vec<_> = frames(&run, 0).iter().map(|frame| hear(frame)).collect();
    let flags: Vec<_> = shown[..3].iter().map(|heard| heard.flags.as_str()).collect();
    assert_eq!(flags, ["S", "S", ""]);
    assert_eq!(shown[3].payload, b"220 hello\r\n");
}

/// Who has a mirror pays for it, and for nothing else; what comes in at its port is nobody's.
#[test]
fn memory_and_what_comes_in() {
    let lab = Lab::new();
    let held = |mirrors: Vec<Mirror>| {
        let client = vec![Step::Send(vec![1; 100]), Step::Pause(NEVER)];
        let server = vec![Step::Receive(100), Step::Pause(NEVER)];
        let mut run = lab.connect_tls(&with(mirrors), client, server);
        run.settle(SECOND * 5);
        run.counters().flow_bytes.value()
    };
    let (none, one, four) = (
        held(Vec::new()),
        held(vec![Mirror::new("a")]),
        held(["a", "b", "c", "d"].map(Mirror::new).to_vec()),
    );
    assert!((100..400).contains(&(one - none)), "{none}, {one}");
    assert!((3 * 40..3 * 100).contains(&(four - one)), "{one}, {four}");

    let mut run = lab.hosts(&with(vec![Mirror::new("a")]));
    for n in 0..40 {
        assert!(run.engine().cable().send_to_mirror(0, vec![n; 60]));
    }
    run.settle(SECOND);
    run.settle(SECOND);
    assert_eq!(run.counters().mirror(0).dropped(MirrorDrop::Received), 40);
}

/// A jumbo frame of a bypassed flow has no room in a mirror's buffer: it passes, and is not shown.
#[test]
fn a_frame_that_is_too_long_for_the_mirror_passes() {
    let mirror = Mirror { bypassed: true, ..Mirror::new("all") };
    let setup = Setup { rules: Rules::default_is(Action::Bypass), ..with(vec![mirror]) };
    let (mut engine, _log) = Lab::new().engine(&setup);
    let any = || RawSegment::from_client([10, 0, 0, 1], 50_000);
    let mut sent = 0;
    for payload in [0, 17_000] {
        let segment =
            RawSegment { flags: if payload == 0 { 0x02 } else { 0x10 }, payload: vec![1; payload], ..any() };
        engine.receive(Instant::ZERO, PortSide::Inside, segment.frame());
        engine.poll(Instant::ZERO);
        sent += std::iter::from_fn(|| engine.transmit()).count();
    }
    assert_eq!(sent, 2);
    assert!(engine.cable().mirrored(0).is_some() && engine.cable().mirrored(0).is_none());
    assert_eq!(engine.counters()[0].mirror(0).dropped(MirrorDrop::TooLong), 1);
}

/// Many flows at a time, none of whose segments is another's.
#[test]
fn many_flows_in_one_mirror() {
    let lab = Lab::new();
    let setup = Setup {
        workers: 2,
        rules: Rules { ports: wireglass_core::policy::Ports::Any, ..Rules::default_is(Action::Decrypt) },
        ..with(vec![Mirror::new("ids")])
    };
    let mut run = lab.hosts(&setup);
    let exchanges: Vec<_> = (0..10).map(|n| Exchange::new(n, 3_000, 30_000)).collect();
    for (n, exchange) in exchanges.iter().enumerate() {
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        run.connect_ports(41_000 + n as u16, 2_000 + n as u16, client, server);
    }
    run.run();
    run.settle(SECOND * 10);
    let mut flows: BTreeMap<u16, Heeded> = BTreeMap::new();
    for frame in frames(&run, 0) {
        let heard = hear(&frame);
        flows.entry(heard.source.1.min(heard.destination.1)).or_default().heed(&heard);
    }
    assert_eq!(flows.len(), 10);
    for (flow, exchange) in flows.values().zip(&exchanges) {
        assert!(flow.streams[0] == exchange.request && flow.streams[1] == exchange.response);
    }
}
