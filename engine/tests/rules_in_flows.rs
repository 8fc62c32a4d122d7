//! Rules on content through whole flows: whatever the link does, what is blocked is answered in full and all else arrives as it was sent.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use support::lab::{Lab, NAME, Run, Setup};
use wireglass_core::content::RuleFilters;
use wireglass_core::policy::{ContentAction, ContentPolicy, ContentRule, Respond};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Ending, Impairment, Step};

const SEEDS: u64 = 32;
const BODY: usize = 60_000;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A link that loses, reorders and repeats, and hosts with small windows, each in some of the runs.
fn setup(seed: u64) -> Setup {
    let mut rule = ContentRule::new("no deletion", ContentAction::Block(Respond::Page));
    rule.method = vec!["DELETE".into()];
    let policy = ContentPolicy::compile(&[rule], Arc::default());
    let loss = [0.0, 0.02, 0.05][seed as usize % 3];
    let impairment = Impairment { loss, reorder: loss * 3.0, duplicate: loss, ..Impairment::default() };
    let buffer = [65_536, 3_000, 600][seed as usize / 3 % 3];
    let mtu = [1500, 576][seed as usize / 9 % 2];
    let filters = Arc::new(RuleFilters::new(Arc::new(policy), Arc::default()));
    Setup { seed, impairment, buffer, mtu, filters, ..Setup::default() }
}

fn run(lab: &Lab, seed: u64, client: Vec<Step>, server: Vec<Step>) -> Run {
    let mut run = lab.connect_tls(&setup(seed), client, server);
    run.settle(Duration::from_secs(2_000));
    assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0), "seed {seed}");
    run
}

fn body(salt: usize) -> Vec<u8> {
    (0..BODY).map(|n| ((n * 31 + salt) % 251) as u8).collect()
}

/// A head of the page, and all of its body.
fn assert_is_page(bytes: &[u8], seed: u64) {
    let text = String::from_utf8_lossy(bytes);
    let (head, page) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("seed {seed}: {text}"));
    assert!(head.starts_with("HTTP/1.1 403 "), "seed {seed}: {head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(page.len().to_string(), length, "seed {seed}");
    assert!(page.contains("no deletion"), "seed {seed}");
}

#[test]
fn a_page_behind_an_exchange_of_http1() {
    let lab = Lab::new();
    for seed in 0..SEEDS {
        let head = format!("PUT /a HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {BODY}\r\n\r\n");
        let passes = [head.as_bytes(), &body(1)].concat();
        let blocked = format!("DELETE /b HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        let response =
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").as_bytes(), &body(2)].concat();
        let client = vec![Step::Send([&passes, blocked.as_bytes()].concat()), Step::AwaitEnd, Step::Finish];
        let server =
            vec![Step::Receive(passes.len()), Step::Send(response.clone()), Step::AwaitEnd, Step::Finish];
        let run = run(&lab, seed, client, server);
        assert!(run.server().received == passes, "seed {seed}");
        let page = run.client().received.strip_prefix(&response[..]);
        assert_is_page(page.unwrap_or_else(|| panic!("seed {seed}: another response")), seed);
        assert_eq!(run.client().end, Some(Ending::Finished), "seed {seed}");
        assert_eq!(run.flow_end(), ("decrypted", Reason::ContentBlocked), "seed {seed}");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Type, flags and payload of all frames of a stream.
fn of_stream(mut bytes: &[u8], wanted: u32) -> Vec<(u8, u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((&[l0, l1, l2, kind, flags, s0, s1, s2, s3], rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([0, l0, l1, l2]) as usize);
        if u32::from_be_bytes([s0, s1, s2, s3]) == wanted {
            found.push((kind, flags, payload));
        }
        bytes = rest;
    }
    found
}

#[test]
fn a_page_beside_a_stream_of_http2() {
    let mut lab = Lab::new();
    for alpn in [&mut lab.client.alpn, &mut lab.server.alpn] {
        *alpn = vec![b"h2".to_vec()];
    }
    for seed in 0..SEEDS {
        let request = |method: &[u8]| {
            let (method, name) = ([&[2, method.len() as u8], method].concat(), NAME.as_bytes());
            [&method, &b"\x87\x84\x01"[..], &[name.len() as u8], name].concat()
        };
        let upload = body(1)[..BODY].chunks(16_000).flat_map(|part| frame(0, 0, 1, part)).collect::<Vec<_>>();
        let begin = [PREFACE, &frame(4, 0, 0, &[])].concat();
        let first =
            [&begin, &frame(1, 4, 1, &request(b"PUT"))[..], &upload, &frame(0, 1, 1, b"end")].concat();
        let blocked = frame(1, 5, 3, &request(b"DELETE"));
        let response = [
            frame(4, 0, 0, &[]),
            frame(4, 1, 0, &[]),
            frame(1, 4, 1, &[0x88]),
            body(2).chunks(16_000).flat_map(|part| frame(0, 0, 1, part)).collect(),
            frame(0, 1, 1, b"end"),
        ]
        .concat();
        let client = vec![
            Step::Send([&first[..], &blocked].concat()),
            Step::Receive(response.len()),
            Step::Pause(Duration::from_secs(300)),
            Step::Finish,
            Step::AwaitEnd,
        ];
        let server =
            vec![Step::Receive(first.len()), Step::Send(response.clone()), Step::AwaitEnd, Step::Finish];
        let run = run(&lab, seed, client, server);
        // Streams pass as they are; what rules do to the connection's windows is told to the server in between.
        let same = |arrived: &[u8], sent: &[u8]| of_stream(arrived, 1) == of_stream(sent, 1);
        assert!(same(&run.server().received[PREFACE.len()..], &first[PREFACE.len()..]), "seed {seed}");
        assert_eq!(of_stream(&run.server().received[PREFACE.len()..], 3), [], "seed {seed}");
        assert!(same(&run.client().received, &response), "seed {seed}");
        let answer = of_stream(&run.client().received, 3);
        assert_eq!(answer[0].0, 1, "seed {seed}: {answer:?}");
        let page =
            answer.iter().filter(|frame| frame.0 == 0).map(|frame| frame.2).collect::<Vec<_>>().concat();
        let text = String::from_utf8_lossy(&page);
        assert!(text.contains("no deletion") && text.trim_end().ends_with("</html>"), "seed {seed}: {text}");
        assert_eq!(answer.last().unwrap().1 & 1, 1, "seed {seed}: the stream ends");
    }
}
