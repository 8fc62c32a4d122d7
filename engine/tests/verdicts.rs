//! Verdicts of an IDS at a mirror: the flow ends at both ends, or its one stream and nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use support::lab::{Lab, NAME, Run, Setup};
use support::mirror::Heeded;
use support::rules::{Action, Rules};
use wireglass::control::ControlSocket;
use wireglass::verdicts::{Block, Finder, Line, VerdictServer};
use wireglass_core::content::RuleFilters;
use wireglass_core::event::{AlertEvent, Event};
use wireglass_core::mirror::Mirror;
use wireglass_core::policy::ContentPolicy;
use wireglass_core::reason::{Reason, VerdictFate};
use wireglass_testbed::{Duration, Ending, Impairment, Step};

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(100_000);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn setup(seed: u64) -> Setup {
    let loss = [0.0, 0.02][seed as usize % 2];
    let impairment = Impairment { loss, reorder: loss * 3.0, duplicate: loss, ..Impairment::default() };
    let mirrors = vec![Mirror::new("ids")];
    let filters = RuleFilters::new(Arc::new(ContentPolicy::compile(&[], Arc::default())), Arc::default());
    let filters = Arc::new(filters.with_streams_judged_at(mirrors.clone()));
    Setup { seed, impairment, mirrors, filters, ipv6: seed % 4 > 1, ..Setup::default() }
}

fn finder() -> Finder {
    Finder::new(vec![Mirror::new("ids")], vec![None])
}

/// What Suricata says of the run's connection.
fn line(run: &Run, setup: &Setup, stream: Option<u32>) -> Line {
    let client = run.simulation.client.address(setup.ipv6).unwrap();
    let server = run.simulation.server.address(setup.ipv6).unwrap();
    Line {
        source: SocketAddr::new(server, setup.port),
        destination: SocketAddr::new(client, 40_000),
        vlan: Vec::new(),
        to_server: false,
        stream,
        rule: "9000013 found".into(),
    }
}

fn tell(run: &Run, setup: &Setup, stream: Option<u32>) {
    let line = line(run, setup, stream);
    run.engine().verdicts().send(Finder::verdict(&line), &finder().keys(&line));
}

fn fates(run: &Run) -> Vec<(VerdictFate, u64)> {
    let counters = run.engine().verdicts().counters();
    VerdictFate::ALL
        .iter()
        .map(|fate| (*fate, counters.value(*fate)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn alerts(run: &Run) -> Vec<&AlertEvent> {
    run.events()
        .iter()
        .filter_map(|event| if let Event::Alert(_, alert) = event { Some(&**alert) } else { None })
        .collect()
}

fn frames(run: &Run) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| run.engine().cable().mirrored(0)).collect()
}

#[test]
fn a_flow_ends_at_both_ends() {
    let lab = Lab::new();
    for seed in 0..8 {
        let setup = setup(seed);
        let waits = || vec![Step::Send(vec![seed as u8; 5_000]), Step::Receive(5_000), Step::Pause(NEVER)];
        let mut run = lab.connect_tls(&setup, waits(), waits());
        run.settle(SECOND * 60);
        tell(&run, &setup, None);
        run.settle(SECOND * 2);
        // It is not there any more, but its late packets are waited for; then it is forgotten.
        tell(&run, &setup, None);
        run.settle(SECOND * 60);
        tell(&run, &setup, None);
        run.settle(SECOND);
        for report in [run.client(), run.server()] {
            assert_eq!(report.received.len(), 5_000, "{setup:?}");
            assert!(
                matches!(report.end, Some(Ending::Reset | Ending::Alert(49))),
                "{setup:?}: {:?}",
                report.end
            );
        }
        assert_eq!(run.flow_end(), ("decrypted", Reason::VerdictExternal), "{setup:?}");
        let wanted = [VerdictFate::FlowEnded, VerdictFate::TooLate, VerdictFate::UnknownFlow];
        assert_eq!(fates(&run), wanted.map(|fate| (fate, 1)), "{setup:?}");
        let [alert] = alerts(&run)[..] else { panic!("{setup:?}: {:?}", alerts(&run)) };
        assert_eq!((alert.rule.as_deref(), alert.reason), (Some("9000013 found"), Reason::VerdictExternal));
        assert!(alert.blocked && alert.late && alert.stream == 0);
        assert!(Heeded::all(&frames(&run)).reset.is_some(), "{setup:?}");
        assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0), "{setup:?}");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Type and stream of all frames, and the payload of short ones.
fn read(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((&[l0, l1, l2, kind, _, s0, s1, s2, s3], rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([0, l0, l1, l2]) as usize);
        found.push((kind, u32::from_be_bytes([s0, s1, s2, s3]), payload[..payload.len().min(4)].to_vec()));
        bytes = rest;
    }
    found
}

fn http2() -> Lab {
    let mut lab = Lab::new();
    for alpn in [&mut lab.client.alpn, &mut lab.server.alpn] {
        *alpn = vec![b"h2".to_vec()];
    }
    lab
}

/// Both streams have begun, and the server has more to say on each.
#[test]
fn a_stream_ends_and_the_others_go_on() {
    let lab = http2();
    for seed in 0..8 {
        let setup = setup(seed);
        let name = NAME.as_bytes();
        let request = [&b"\x82\x87\x84\x01"[..], &[name.len() as u8], name].concat();
        let asks =
            [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, &request), &frame(1, 5, 3, &request)].concat();
        let begin = [
            frame(4, 0, 0, &[]),
            frame(4, 1, 0, &[]),
            frame(1, 4, 1, &[0x88]),
            frame(1, 4, 3, &[0x88]),
            frame(0, 0, 1, &[1; 9_000]),
            frame(0, 0, 3, &[3; 9_000]),
        ]
        .concat();
        let rest = [frame(0, 0, 1, &[1; 9_000]), frame(0, 1, 3, &[3; 9_000])].concat();
        let client = vec![Step::Send(asks.clone()), Step::Receive(begin.len()), Step::Pause(NEVER)];
        let server = vec![
            Step::Receive(asks.len()),
            Step::Send(begin),
            Step::Pause(SECOND * 100),
            Step::Send(rest),
            Step::Pause(NEVER),
        ];
        let mut run = lab.connect_tls(&setup, client, server);
        run.settle(SECOND * 60);
        tell(&run, &setup, Some(1));
        // That one has never begun, and that one is over.
        tell(&run, &setup, Some(5));
        run.settle(SECOND);
        tell(&run, &setup, Some(1));
        run.settle(SECOND * 100);
        let resets = |bytes: &[u8]| read(bytes).into_iter().filter(|frame| frame.0 == 3).collect::<Vec<_>>();
        let cancel = vec![(3, 1, vec![0, 0, 0, 8])];
        assert_eq!(resets(&run.client().received), cancel, "{setup:?}");
        assert_eq!(resets(&run.server().received[PREFACE.len()..]), cancel, "{setup:?}");
        let data = |stream| {
            read(&run.client().received).iter().filter(|frame| (frame.0, frame.1) == (0, stream)).count()
        };
        assert_eq!((data(1), data(3)), (1, 2), "{setup:?}");
        assert_eq!(fates(&run), [(VerdictFate::StreamEnded, 1), (VerdictFate::TooLate, 2)], "{setup:?}");
        let [alert] = alerts(&run)[..] else { panic!("{setup:?}: {:?}", alerts(&run)) };
        assert_eq!((alert.stream, alert.reason, alert.http.status), (1, Reason::VerdictExternal, Some(200)));
        let http: Vec<_> =
            run.http_events().iter().map(|http| (http.tx_id, http.verdict.is_some())).collect();
        assert_eq!(http, [(0, true), (1, false)], "{setup:?}");
        assert_eq!(run.engine().flows(), 1);
        // All of it, as no stream is named.
        tell(&run, &setup, None);
        run.settle(SECOND * 60);
        assert_eq!(run.flow_end(), ("decrypted", Reason::VerdictExternal), "{setup:?}");
    }
}

/// Some of a frame has gone on: the rest of it does not, and if it was to be the last one the flow ends, so that nobody takes it for whole.
#[test]
fn the_rest_of_a_frame_does_not_go_on() {
    let lab = http2();
    for (seed, is_last) in [(0, false), (1, true)] {
        let setup = setup(seed);
        let name = NAME.as_bytes();
        let request = [&b"\x82\x87\x84\x01"[..], &[name.len() as u8], name].concat();
        let asks = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, &request)].concat();
        let whole = frame(0, u8::from(is_last), 1, &[1; 9_000]);
        let head = [frame(4, 0, 0, &[]), frame(4, 1, 0, &[]), frame(1, 4, 1, &[0x88])].concat();
        let begin = [&head[..], &whole[..5_000]].concat();
        let client = vec![Step::Send(asks.clone()), Step::Receive(begin.len()), Step::Pause(NEVER)];
        let server = vec![
            Step::Receive(asks.len()),
            Step::Send(begin.clone()),
            Step::Pause(SECOND * 100),
            Step::Send(whole[5_000..].to_vec()),
            Step::Pause(NEVER),
        ];
        let mut run = lab.connect_tls(&setup, client, server);
        run.settle(SECOND * 60);
        tell(&run, &setup, Some(1));
        run.settle(SECOND * 200);
        let received = &run.client().received[begin.len()..];
        let rest = received.len().min(whole.len() - 5_000);
        assert!(!received[..rest].contains(&1), "{setup:?}: no more of its content");
        if is_last {
            assert_eq!((run.flow_end().0, received.len()), ("decrypted", 0), "{setup:?}");
        } else {
            // As much of nothing, and the stream's end behind it.
            assert_eq!(received.len(), whole.len() - 5_000 + 13, "{setup:?}");
            assert_eq!(run.engine().flows(), 1, "{setup:?}");
        }
    }
}

/// Where nobody can cut a stream out, the flow ends: what is to end does not go on.
#[test]
fn without_a_filter_that_knows_streams_the_flow_ends() {
    let lab = http2();
    let setup = Setup { filters: Setup::default().filters, ..setup(0) };
    let client = vec![Step::Send(PREFACE.to_vec()), Step::Pause(NEVER)];
    let server = vec![Step::Receive(PREFACE.len()), Step::Pause(NEVER)];
    let mut run = lab.connect_tls(&setup, client, server);
    run.settle(SECOND * 5);
    tell(&run, &setup, Some(1));
    run.settle(SECOND * 60);
    assert_eq!((run.flow_end().1, fates(&run)), (Reason::VerdictExternal, vec![(VerdictFate::FlowEnded, 1)]));
}

/// No mirror shows it, so nobody can mean it.
#[test]
fn a_flow_that_is_in_no_mirror_stays() {
    let setup = Setup { mirrors: Vec::new(), ..setup(0) };
    let waits = || vec![Step::Send(vec![1; 100]), Step::Receive(100), Step::Pause(NEVER)];
    let mut run = Lab::new().connect_tls(&setup, waits(), waits());
    run.settle(SECOND * 5);
    tell(&run, &setup, None);
    run.settle(SECOND * 5);
    assert_eq!((run.flow_events().len(), fates(&run)), (0, vec![(VerdictFate::UnknownFlow, 1)]));
}

/// Its numbers are not known, so each end is reset as soon as it speaks.
#[test]
fn a_bypassed_flow_ends_when_an_end_speaks() {
    let lab = Lab::new().trusting_the_server();
    let mirrors = vec![Mirror { bypassed: true, ..Mirror::new("ids") }];
    let setup = Setup { rules: Rules::default_is(Action::Bypass), mirrors, ..setup(0) };
    let says = || Step::Send(vec![1; 100]);
    let both = || vec![says(), Step::Receive(100), Step::Pause(SECOND * 20), says(), Step::Pause(NEVER)];
    let mut run = lab.connect_tls(&setup, both(), both());
    run.settle(SECOND * 5);
    tell(&run, &setup, None);
    run.settle(SECOND * 60);
    for report in [run.client(), run.server()] {
        assert_eq!((report.received.len(), &report.end), (100, &Some(Ending::Reset)));
    }
    assert_eq!(run.flow_end(), ("bypassed", Reason::VerdictExternal));
    assert_eq!(fates(&run), [(VerdictFate::FlowEnded, 1)]);
}

/// Through the socket, in pieces, with lines around it that mean nothing.
#[test]
fn lines_come_in_over_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verdicts.sock");
    let setup = setup(0);
    let waits = || vec![Step::Send(vec![1; 100]), Step::Receive(100), Step::Pause(NEVER)];
    let mut run = Lab::new().connect_tls(&setup, waits(), waits());
    run.settle(SECOND * 5);
    let Line { source, destination, .. } = line(&run, &setup, None);
    let eve = format!(
        r#"{{"event_type":"alert","src_ip":"{}","src_port":{},"dest_ip":"{}","dest_port":{},"proto":"TCP","alert":{{"signature_id":7,"signature":"EICAR","metadata":{{"wireglass":["block"]}}}},"direction":"to_client"}}"#,
        source.ip(),
        source.port(),
        destination.ip(),
        destination.port()
    );
    let block = Block { metadata: Some(("wireglass".into(), "block".into())), sids: Vec::new() };
    let sender = run.engine().verdicts().clone();
    let socket = ControlSocket::bind(&path).unwrap();
    let server = VerdictServer::start(socket, block, finder(), sender).unwrap();
    let mut ids = UnixStream::connect(&path).unwrap();
    let long = [vec![b'x'; 70_000], b"\n".to_vec()].concat();
    let (first, second) = eve.split_at(eve.len() / 2);
    let meant_by_nobody = eve.replace("\"block\"", "\"log\"");
    for piece in
        [b"{}\n", &long[..], meant_by_nobody.as_bytes(), b"\n", first.as_bytes(), second.as_bytes(), b"\n"]
    {
        ids.write_all(piece).unwrap();
    }
    let began = std::time::Instant::now();
    while run.flow_events().is_empty() {
        assert!(began.elapsed().as_secs() < 20, "{:?}", fates(&run));
        run.settle(SECOND);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(run.flow_end(), ("decrypted", Reason::VerdictExternal));
    let wanted =
        [VerdictFate::FlowEnded, VerdictFate::NotMeant, VerdictFate::Malformed, VerdictFate::LineTooLong];
    assert_eq!(fates(&run), wanted.map(|fate| (fate, 1)));
    assert_eq!(alerts(&run)[0].rule.as_deref(), Some("7 EICAR"));
    // More than four at once are too many.
    let others: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let mut refused = UnixStream::connect(&path).unwrap();
    assert_eq!(std::io::Read::read(&mut refused, &mut [0; 1]).unwrap(), 0, "closed");
    assert_eq!(run.engine().verdicts().counters().value(VerdictFate::PeerRefused), 1);
    drop(others);
    server.stop();
    assert_eq!(std::io::Read::read(&mut ids, &mut [0; 1]).unwrap(), 0);
    assert!(!path.exists(), "the socket goes with the engine");
}
