//! Bodies of HTTP/1 that threads look at: what waits meanwhile, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write as _;
use std::sync::Arc;

#[path = "support/inspecting.rs"]
mod inspecting;

use flate2::Compression;
use flate2::write::GzEncoder;
use inspecting::{Threads, World, hex, policy};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use wireglass_core::content::{FileType, Finding, Inspector, Message, Scanner, SignatureSet, Signatures};
use wireglass_core::end::End::{Client, Server};
use wireglass_core::policy::{ContentAction, ContentPolicy, ContentRule, Hold, OnRange, OnUnread, Respond};
use wireglass_core::reason::Reason;

const HOLDS: [Option<Hold>; 4] = [None, Some(Hold::None), Some(Hold::Tail), Some(Hold::All)];

fn evil(len: usize) -> Vec<u8> {
    (0..len).map(|n| b'a' + (n * 7 % 23) as u8).collect()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut all = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(chunk) {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(&[chunk, b"\r\n"].concat());
    }
    [all, b"0\r\n\r\n".to_vec()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn exchange(policy: &Arc<ContentPolicy>, threads: Threads, pieces: usize, response: &[u8]) -> World {
    let mut world = World::new(policy, None, threads);
    world.pieces = pieces;
    world.says(Client, &get("/file"));
    world.says(Server, response);
    world
}

#[track_caller]
fn is_page(mut world: World, reason: &str) -> World {
    world.runs_out();
    let text = world.text();
    assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{text}");
    assert!(world.ending.is_some_and(|ending| ending.orderly && ending.reason.code() == reason));
    assert_eq!(world.told(), [(reason, true, false)]);
    world
}

#[test]
fn a_listed_file_gets_the_page() {
    let body = evil(50_000);
    let closed = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
    let responses = [
        answer("", &body),
        chunked(&body, 7000),
        chunked(&body, 3),
        answer("Content-Encoding: gzip\r\n", &gzip(&body)),
        closed,
    ];
    for by_md5 in [false, true] {
        let listed: (&[&[u8]], &[&[u8]]) = if by_md5 { (&[], &[&body]) } else { (&[&body], &[]) };
        let policy = Arc::new(policy(Some(Hold::All), listed.0, listed.1));
        for (n, response) in responses.iter().enumerate() {
            for (threads, pieces) in [
                (Threads::AtOnce, 16_384),
                (Threads::Last, 16_384),
                (Threads::Last, 700),
                (Threads::AtOnce, 5),
            ] {
                let mut world = exchange(&policy, threads, pieces, response);
                if n == 4 {
                    world.ends(Server);
                }
                let world = is_page(world, "content.blocked");
                let alert = &world.alerts[0];
                assert_eq!(alert.rule.as_deref(), Some("files"));
                let by = alert.found.as_ref().map(|hit| (&*hit.by, &*hit.what));
                assert_eq!(by, Some((if by_md5 { "list.old" } else { "list.malware" }, "hash")));
                let [file] = &world.files[..] else { panic!("one file") };
                let facts = file.facts.as_ref().unwrap();
                assert_eq!((facts.size, facts.sha256), (50_000, Some(Sha256::digest(&body).into())));
                assert_eq!((file.file_name.as_deref(), file.kind), (Some("file"), Some(FileType::Unknown)));
            }
        }
    }
}

#[test]
fn what_is_on_no_list_goes_on_as_it_is() {
    for (hold, body) in HOLDS.into_iter().flat_map(|hold| [0, 1, 5_000, 90_000].map(|len| (hold, evil(len))))
    {
        let policy = Arc::new(policy(hold, &[b"another"], &[]));
        let coded = gzip(&body);
        for response in
            [answer("", &body), chunked(&body, 9000), answer("Content-Encoding: gzip\r\n", &coded)]
        {
            for (threads, pieces) in [(Threads::AtOnce, 16_384), (Threads::Last, 4000), (Threads::AtOnce, 11)]
            {
                let mut world = exchange(&policy, threads, pieces, &response);
                // Another one in the same connection.
                world.says(Client, &get("/other"));
                world.says(Server, &response);
                world.runs_out();
                let name = format!("{hold:?}, {} octets, {threads:?}, {pieces}", body.len());
                assert!(world.to_client == [&response[..], &response].concat(), "{name}");
                assert!(world.to_server == [get("/file"), get("/other")].concat(), "{name}");
                assert_eq!((world.ending, world.told()), (None, vec![]), "{name}");
                assert_eq!(world.stage.held(), 0, "{name}");
                let closed = world.files.iter().filter(|file| file.facts.is_some()).count();
                let expected =
                    if body.is_empty() && response.starts_with(b"HTTP/1.1 200 OK\r\nC") && coded.is_empty() {
                        0
                    } else {
                        2
                    };
                assert!(closed == expected || body.is_empty(), "{name}: {closed}");
            }
        }
    }
}

#[test]
fn with_all_nothing_goes_before_the_verdict() {
    let body = evil(200_000);
    let policy = Arc::new(policy(Some(Hold::All), &[], &[]));
    let mut world = exchange(&policy, Threads::Last, 16_384, &answer("", &body));
    assert!(world.to_client.is_empty());
    world.answer_all();
    assert!(world.to_client == answer("", &body));
}

#[test]
fn with_tail_what_is_found_late_is_cut_off_and_the_next_try_gets_the_page() {
    let body = evil(200_000);
    let policy = Arc::new(policy(Some(Hold::Tail), &[&body], &[]));
    let response = answer("ETag: \"1\"\r\n", &body);
    let mut world = exchange(&policy, Threads::AtOnce, 16_384, &response);
    world.runs_out();
    let ending = world.ending.unwrap();
    assert_eq!((ending.reason.code(), ending.orderly), ("content.late", false));
    assert_eq!(world.told(), [("content.late", true, true)]);
    let (sent, whole) = (world.to_client.len(), response.len());
    assert!(response.starts_with(&world.to_client) && sent > 100_000 && sent <= whole - 16_384, "{sent}");
    // Another version has not been looked at.
    let mut other = exchange(&policy, Threads::Never, 16_384, &answer("ETag: \"2\"\r\n", &body));
    assert!(other.ending.is_none() && other.alerts.is_empty());
    other.waits(1);
    let again = exchange(&policy, Threads::Never, 16_384, &response);
    is_page(again, "content.blocked");
    let mut later = World::new(&policy, None, Threads::Never);
    later.now += tcp_stack::Duration::from_secs(301);
    later.says(Client, &get("/file"));
    later.says(Server, &response);
    assert!(later.alerts.is_empty());
}

#[test]
fn with_tail_what_is_short_gets_the_page() {
    let body = evil(16_384);
    let policy = Arc::new(policy(Some(Hold::Tail), &[&body], &[]));
    for threads in [Threads::AtOnce, Threads::Last] {
        let world = exchange(&policy, threads, 1000, &answer("", &body));
        is_page(world, "content.blocked");
    }
}

#[test]
fn with_none_all_goes_on_until_something_is_found() {
    let body = evil(30_000);
    let policy = Arc::new(policy(Some(Hold::None), &[&body], &[]));
    let all = answer("", &body);
    let mut world = exchange(&policy, Threads::Last, 16_384, &all);
    assert!(world.to_client == all, "nothing waits");
    // It has ended: nothing is left to be cut off.
    world.runs_out();
    assert_eq!((world.ending, world.told()), (None, vec![("content.late", true, true)]));
    world.says(Client, &get("/other"));
    world.says(Server, &answer("", b"other"));
    assert!(world.text().ends_with("other"));
}

#[test]
fn with_none_what_has_not_ended_is_cut_off() {
    let (policy, mut body) = (looking_as(Hold::None, true, None), evil(20_000));
    body.splice(5_000..5_000, *b"attack at dawn");
    let all = answer("", &body);
    let mut world = exchange(&policy, Threads::Last, 16_384, &all[..10_000]);
    assert!(world.to_client == all[..10_000]);
    world.runs_out();
    assert_eq!(cut(&world), Some(("content.late", false)));
}

#[test]
fn streams_never_wait() {
    for kind in
        ["text/event-stream", "application/grpc", "multipart/x-mixed-replace; boundary=b", "video/mp4"]
    {
        for hold in HOLDS {
            if kind.starts_with("video") && hold.is_some() {
                continue;
            }
            let policy = Arc::new(policy(hold, &[b"another"], &[]));
            let mut world = World::new(&policy, None, Threads::Never);
            world.says(Client, &get("/events"));
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
            world.says(Server, head.as_bytes());
            assert_eq!(world.text(), head, "{kind}");
            world.says(Server, b"9\r\ndata: 1\n\n\r\n");
            assert!(world.text().ends_with("data: 1\n\n\r\n"), "{kind} {hold:?}");
        }
    }
    // What is switched to is not read at all.
    let mut switching = policy(Some(Hold::All), &[], &[]);
    switching.on_opaque = OnUnread::Allow;
    let mut world = World::new(&Arc::new(switching), None, Threads::Never);
    world.says(Client, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    world.says(
        Server,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01a",
    );
    assert!(world.text().ends_with('a'));
}

#[test]
fn the_type_decides_where_the_rule_does_not() {
    let policy = Arc::new(policy(None, &[b"another"], &[]));
    let program = [b"\x7fELF\x02\x01\x01", &evil(100_000)[..]].concat();
    for (body, waits) in [(program, true), (evil(100_000), false)] {
        let all = answer("", &body);
        let mut world = World::new(&policy, None, Threads::AtOnce);
        world.says(Client, &get("/file"));
        world.says(Server, &all[..80_000]);
        assert_eq!(world.to_client.is_empty(), waits);
        world.says(Server, &all[80_000..]);
        assert!(world.to_client == all);
    }
}

/// Each setting, both ways, before anything has gone and after.
#[test]
fn what_is_not_looked_at_becomes_what_policy_says() {
    type Set = fn(&mut ContentPolicy, OnUnread);
    let body = evil(100_000);
    let broken = answer("Content-Encoding: gzip\r\n", &[&gzip(&body)[..20], &[0xff; 30_000]].concat());
    let cases: [(&str, Threads, Vec<u8>, Set); 4] = [
        ("content.timeout", Threads::Never, answer("", &body), |policy, action| {
            policy.inspection.on_timeout = action;
        }),
        ("content.overload", Threads::Full, answer("", &body), |policy, action| {
            policy.inspection.on_overload = action;
        }),
        ("content.oversize", Threads::AtOnce, answer("", &body), |policy, action| {
            policy.inspection.on_oversize = action;
            policy.inspection.hold_bytes = 70_000;
        }),
        ("content.encoding", Threads::AtOnce, broken, |policy, action| policy.on_undecodable = action),
    ];
    for (code, threads, response, set) in cases {
        for action in [OnUnread::Block, OnUnread::Allow] {
            let mut policy = policy(Some(Hold::All), &[b"another"], &[]);
            set(&mut policy, action);
            let mut world = exchange(&Arc::new(policy), threads, 16_384, &response);
            world.runs_out();
            if action == OnUnread::Block {
                is_page(world, code);
            } else {
                assert!(world.to_client == response, "{code}: {}", world.to_client.len());
                assert_eq!((world.ending, world.told()), (None, vec![(code, false, false)]));
            }
        }
    }
}

#[test]
fn what_is_too_large_is_still_looked_at() {
    let body = evil(300_000);
    let mut policy = policy(Some(Hold::All), &[&body], &[]);
    policy.inspection.hold_bytes = 70_000;
    let mut world = exchange(&Arc::new(policy), Threads::AtOnce, 16_384, &answer("", &body));
    world.runs_out();
    assert_eq!(world.told(), [("content.oversize", false, false), ("content.late", true, true)]);
    assert!(world.most_held < 200_000, "{}", world.most_held);
}

#[test]
fn no_more_is_held_than_there_is_room_for() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"], &[]));
    let mut world = World::new(&policy, None, Threads::Never);
    world.room = 100_000;
    world.says(Client, &get("/file"));
    world.says(Server, &answer("", &evil(400_000)));
    let world = is_page(world, "content.overload");
    assert!(world.most_held < 180_000, "{}", world.most_held);
}

#[test]
fn a_sender_is_held_back_by_threads_that_lag() {
    let policy = Arc::new(policy(Some(Hold::Tail), &[b"another"], &[]));
    let response = answer("", &evil(2_000_000));
    let mut world = World::new(&policy, None, Threads::Last);
    world.says(Client, &get("/file"));
    let mut taken = world.says(Server, &response);
    assert!((250_000..400_000).contains(&taken), "{taken}");
    while taken < response.len() {
        world.answer_all();
        let more = world.says(Server, &response[taken..]);
        assert!(more > 0, "it goes on");
        taken += more;
    }
    world.answer_all();
    assert!(world.to_client == response && world.most_held < 1_000_000, "{}", world.most_held);
}

#[test]
fn parts_are_asked_for_as_a_whole() {
    let request =
        b"GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=5-\r\nIf-Range: \"x\"\r\nAccept: */*\r\n\r\n";
    let said = |on_range, request: &[u8]| {
        let mut policy = policy(Some(Hold::All), &[], &[]);
        policy.inspection.on_range = on_range;
        let mut world = World::new(&Arc::new(policy), None, Threads::AtOnce);
        world.pieces = 9;
        world.says(Client, request);
        world
    };
    let stripped = said(OnRange::Strip, request);
    assert_eq!(
        String::from_utf8(stripped.to_server).unwrap(),
        "GET /file HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
    );
    is_page(said(OnRange::Block, request), "content.range");
    assert!(said(OnRange::Allow, request).to_server == request);
    // A server that sends a part all the same.
    let partial =
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Range: bytes 5-6/9\r\n\r\nab";
    let mut world = said(OnRange::Strip, &get("/file"));
    world.says(Server, partial);
    is_page(world, "content.range");
    let mut world = said(OnRange::Allow, request);
    world.says(Server, partial);
    assert!(world.to_client == partial);
}

/// Only where a rule may want to look.
#[test]
fn parts_of_what_nobody_looks_at_stay_parts() {
    let (lists, hashes) = inspecting::lists(&[], &[]);
    let inspect = wireglass_core::policy::Inspect { hashes, ..Default::default() };
    let mut rule = ContentRule::new("files", ContentAction::Inspect(inspect));
    rule.path = vec!["/file".parse().unwrap()];
    let mut video = ContentRule::new("seen", ContentAction::Block(Respond::Page));
    video.status = vec![410];
    let policy = Arc::new(ContentPolicy::compile(&[rule, video], lists));
    let request = b"GET /video HTTP/1.1\r\nHost: a\r\nRange: bytes=5-\r\n\r\n";
    let mut world = World::new(&policy, None, Threads::AtOnce);
    world.says(Client, request);
    assert!(world.to_server == request);
}

#[test]
fn pipelined_responses_keep_their_order() {
    let body = evil(5_000);
    for (first, second) in [(&evil(6_000), &body), (&body, &evil(6_000))] {
        let policy = Arc::new(policy(Some(Hold::All), &[&body], &[]));
        let mut world = World::new(&policy, None, Threads::Last);
        world.says(Client, &[get("/1"), get("/2"), get("/3")].concat());
        let responses = [answer("", first), answer("", second), answer("", b"third")].concat();
        world.says(Server, &responses);
        assert!(world.to_client.is_empty());
        world.runs_out();
        let before = if second == &body { answer("", first) } else { Vec::new() };
        let rest = world.to_client.strip_prefix(&before[..]).unwrap();
        assert!(rest.starts_with(b"HTTP/1.1 403 "));
        assert!(!world.text().contains("third"));
        assert_eq!(world.told(), [("content.blocked", true, false)]);
    }
}

/// A request that is blocked is answered behind what waits.
#[test]
fn an_answer_waits_for_what_is_looked_at() {
    let (lists, hashes) = inspecting::lists(&[], &[]);
    let inspect = wireglass_core::policy::Inspect { hashes, hold: Some(Hold::All), ..Default::default() };
    let mut no = ContentRule::new("no", ContentAction::Block(Respond::Page));
    no.path = vec!["/no".parse().unwrap()];
    let rules = [no, ContentRule::new("files", ContentAction::Inspect(inspect))];
    let policy = Arc::new(ContentPolicy::compile(&rules, lists));
    let mut world = World::new(&policy, None, Threads::Last);
    world.says(Client, &[get("/1"), get("/no")].concat());
    world.says(Server, &answer("", b"first"));
    assert!(world.to_client.is_empty());
    world.runs_out();
    let rest = world.to_client.strip_prefix(&answer("", b"first")[..]).unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 403 "));
}

#[test]
fn the_end_of_a_connection_waits_too() {
    let body = evil(40_000);
    let response = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"], &[]));
    let mut world = exchange(&policy, Threads::Last, 16_384, &response);
    world.ends(Server);
    assert!(!world.closed[Server] && world.to_client.is_empty());
    world.answer_all();
    assert!(world.to_client == response && world.closed[Server]);
}

#[test]
fn a_body_that_does_not_end_is_no_whole_file() {
    let policy = Arc::new(policy(Some(Hold::All), &[], &[]));
    let coded = answer("Content-Encoding: gzip\r\n", &gzip(&evil(50_000)));
    let mut world = exchange(&policy, Threads::AtOnce, 16_384, &coded[..coded.len() - 20]);
    world.ends(Server);
    is_page(world, "content.encoding");
}

#[test]
fn a_scan_that_breaks_costs_the_connection() {
    let mut policy = policy(Some(Hold::All), &[], &[]);
    policy.on_unparsed = OnUnread::Allow;
    let mut world = exchange(&Arc::new(policy), Threads::Break, 16_384, &answer("", &evil(5_000)));
    world.runs_out();
    assert_eq!(
        world.ending.map(|ending| (ending.reason.code(), ending.orderly)),
        Some(("engine.internal", false))
    );
    assert!(world.to_client.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The verdict does not depend on where records, chunks and codings have their borders.
    #[test]
    fn borders_do_not_matter(
        len in 1usize..60_000,
        piece in 1usize..5_000,
        chunk in 1usize..5_000,
        is_coded: bool,
        is_chunked: bool,
        is_listed: bool,
        hold in 0usize..4,
        at_once: bool,
    ) {
        let body = evil(len);
        let listed: &[&[u8]] = if is_listed { &[&body] } else { &[b"another"] };
        let policy = Arc::new(policy(HOLDS[hold], listed, &[]));
        let (coded, field) = if is_coded { (gzip(&body), "Content-Encoding: gzip\r\n") } else { (body.clone(), "") };
        let response = if is_chunked && !is_coded { chunked(&coded, chunk) } else { answer(field, &coded) };
        let threads = if at_once { Threads::AtOnce } else { Threads::Last };
        let mut world = exchange(&policy, threads, piece, &response);
        world.runs_out();
        if is_listed {
            let [alert] = &world.alerts[..] else { panic!("{:?}", world.told()) };
            prop_assert!(alert.blocked && alert.found.is_some());
            let page = world.text().starts_with("HTTP/1.1 403");
            prop_assert!(page != alert.late, "either a page or a cut");
            prop_assert!(HOLDS[hold] != Some(Hold::All) || page);
            prop_assert!(page || HOLDS[hold] == Some(Hold::None) || world.to_client.len() < response.len());
        } else {
            prop_assert!(world.to_client == response && world.alerts.is_empty());
        }
        prop_assert_eq!(world.files.len(), 1);
        let sha256 = world.files[0].facts.as_ref().and_then(|facts| facts.sha256).map(|sha256| hex(&sha256));
        prop_assert_eq!(sha256, Some(hex(&Sha256::digest(&body))));
    }
}

/// A policy with this rule, these signatures, and somebody who cannot say what is in a body.
fn looking(signatures: bool, fails: Option<Reason>) -> Arc<ContentPolicy> {
    looking_as(Hold::All, signatures, fails)
}

fn looking_as(hold: Hold, signatures: bool, fails: Option<Reason>) -> Arc<ContentPolicy> {
    let set = SignatureSet {
        name: "codes".into(),
        literals: vec![b"attack at dawn".to_vec()],
        regexes: vec![],
        patterns: vec![],
        threshold: 1,
    };
    let compiled = Arc::new(Signatures::compile(&[set]).unwrap());
    let asked = compiled.id("codes").filter(|_| signatures).into_iter().collect();
    let inspect = wireglass_core::policy::Inspect {
        signatures: asked,
        inspectors: fails.map(|_| 0).into_iter().collect(),
        hold: Some(hold),
        ..Default::default()
    };
    let rule = ContentRule::new("files", ContentAction::Inspect(inspect));
    let policy = ContentPolicy::compile(&[rule], Arc::default()).with_signatures(compiled);
    let inspectors: Vec<Arc<dyn Inspector>> = vec![Arc::new(Failing(fails))];
    Arc::new(policy.with_inspectors(inspectors))
}

#[derive(Debug)]
struct Failing(Option<Reason>);

impl Inspector for Failing {
    fn name(&self) -> &Arc<str> {
        panic!("nobody asks")
    }

    fn scanner(&self, message: &Message<'_>) -> Box<dyn Scanner> {
        assert_eq!(
            (message.method, message.host, message.target, message.status),
            ("GET", "a", "/file", Some(200))
        );
        Box::new(Self(self.0))
    }
}

impl Scanner for Failing {
    fn feed(&mut self, _: &[u8]) -> Option<Finding> {
        None
    }

    fn end(&mut self) -> Option<Finding> {
        self.0.map(Finding::Fails)
    }

    fn memory(&self) -> usize {
        0
    }
}

#[test]
fn signatures_are_found_through_codings_and_across_every_border() {
    let (mut body, policy) = (evil(60_000), looking(true, None));
    body.splice(30_000..30_000, *b"we attack at dawn");
    let responses =
        [answer("", &body), chunked(&body, 5), answer("Content-Encoding: gzip\r\n", &gzip(&body))];
    for (response, pieces) in
        responses.iter().flat_map(|response| [7, 700, 16_384].map(|pieces| (response, pieces)))
    {
        let world = is_page(exchange(&policy, Threads::Last, pieces, response), "content.blocked");
        let hit = world.alerts[0].found.as_ref().unwrap();
        assert_eq!((&*hit.by, &*hit.what, hit.count), ("codes", "signature", Some(1)));
    }
    let clean = answer("Content-Encoding: gzip\r\n", &gzip(&evil(60_000)));
    let mut world = exchange(&policy, Threads::Last, 700, &clean);
    world.runs_out();
    assert!(world.to_client == clean && world.alerts.is_empty());
}

/// RFC 8878: one frame with a window of 128 KiB, of blocks that are not compressed.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    let blocks = bytes.chunks(10_000);
    let last = blocks.len() - 1;
    for (n, block) in blocks.enumerate() {
        let header = (block.len() as u32) << 3 | u32::from(n == last);
        all.extend_from_slice(&header.to_le_bytes()[..3]);
        all.extend_from_slice(block);
    }
    all
}

/// Its decoder keeps back what it has: nothing of it goes before that has been looked at.
#[test]
fn with_tail_all_of_zstd_waits() {
    for found in [true, false] {
        let mut body = evil(100_000);
        if found {
            body.splice(1_000..1_000, *b"attack at dawn");
        }
        let all = answer("Content-Encoding: zstd\r\n", &zstd(&body));
        let mut world = World::new(&looking_as(Hold::Tail, true, None), None, Threads::AtOnce);
        world.says(Client, &get("/file"));
        world.says(Server, &all[..90_000]);
        assert!(world.to_client.is_empty());
        world.says(Server, &all[90_000..]);
        if found {
            is_page(world, "content.blocked");
        } else {
            assert!(world.to_client == all && world.alerts.is_empty());
        }
    }
    // More than is held goes on, and its end waits.
    let policy = Arc::try_unwrap(looking_as(Hold::Tail, true, None));
    let mut policy = policy.unwrap_or_else(|_| panic!("nobody else has it"));
    policy.inspection.hold_bytes = 70_000;
    let all = answer("Content-Encoding: zstd\r\n", &zstd(&evil(200_000)));
    let mut world = exchange(&Arc::new(policy), Threads::AtOnce, 16_384, &all[..150_000]);
    assert!((100_000..135_000).contains(&world.to_client.len()), "{}", world.to_client.len());
    world.says(Server, &all[150_000..]);
    assert!(world.to_client == all);
    assert_eq!(world.told(), [("content.oversize", false, false)]);
}

#[test]
fn who_cannot_say_is_for_policy_to_say() {
    let response = answer("", &evil(5_000));
    for reason in [Reason::IcapDown, Reason::IcapProtocol, Reason::IcapShort] {
        is_page(exchange(&looking(false, Some(reason)), Threads::AtOnce, 700, &response), reason.code());
    }
    let mut world = exchange(&looking(false, Some(Reason::IcapOversize)), Threads::AtOnce, 700, &response);
    world.runs_out();
    assert!(world.to_client == response);
    assert_eq!(world.told(), [("icap.oversize", false, false)]);
}

fn cut(world: &World) -> Option<(&'static str, bool)> {
    world.ending.map(|ending| (ending.reason.code(), ending.orderly))
}

/// A rule that has these files looked for.
fn searching(
    name: &str,
    hold: Option<Hold>,
    listed: &[&[u8]],
) -> (ContentRule, Arc<wireglass_core::policy::Lists>) {
    let (lists, hashes) = inspecting::lists(listed, &[]);
    let inspect = wireglass_core::policy::Inspect { hashes, hold, ..Default::default() };
    (ContentRule::new(name, ContentAction::Inspect(inspect)), lists)
}

/// A rule on types before one that has everything looked at: types are awaited.
fn by_types(hold: Option<Hold>, listed: &[&[u8]]) -> ContentPolicy {
    let mut programs = ContentRule::new("programs", ContentAction::Block(Respond::Page));
    programs.file_type = vec![FileType::Elf];
    let (files, lists) = searching("files", hold, listed);
    ContentPolicy::compile(&[programs, files], lists)
}

#[test]
fn what_waits_for_its_type_is_looked_at_as_a_whole() {
    let two_kinds = "Content-Type: text/plain\r\nContent-Type: text/event-stream\r\n";
    for (hold, len) in HOLDS.into_iter().flat_map(|hold| [1, 5_000, 90_000].map(|len| (hold, len))) {
        let (body, coded) = (evil(len), gzip(&evil(len)));
        let clean = Arc::new(by_types(hold, &[b"another"]));
        for response in [
            answer("", &body),
            chunked(&body, 9000),
            answer("Content-Encoding: gzip\r\n", &coded),
            answer(two_kinds, &body),
        ] {
            for (threads, pieces) in [(Threads::AtOnce, 16_384), (Threads::Last, 4000), (Threads::AtOnce, 11)]
            {
                let name = format!("{hold:?}, {len} octets, {threads:?}, {pieces}");
                let mut world = exchange(&clean, threads, pieces, &response);
                world.says(Client, &get("/other"));
                world.says(Server, &response);
                world.runs_out();
                assert!(world.to_client == [&response[..], &response].concat(), "{name}");
                assert_eq!((world.ending, world.told()), (None, vec![]), "{name}");
                assert_eq!(world.files.len(), 2, "{name}");
                // A policy of its own: none remembers what another was late for.
                let listed = Arc::new(by_types(hold, &[&body]));
                let mut world = exchange(&listed, threads, pieces, &response);
                world.runs_out();
                assert!(world.alerts.len() == 1 && world.alerts[0].found.is_some(), "{name}");
                assert!(hold == Some(Hold::None) || world.to_client != response, "{name}");
                let is_page = world.text().starts_with("HTTP/1.1 403 Forbidden");
                assert!(hold != Some(Hold::All) || is_page, "{name}");
            }
        }
    }
}

#[test]
fn a_tunnel_is_no_body_to_look_at() {
    let connect = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let switch = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (request, response) in [(&connect[..], "HTTP/1.1 200 OK\r\n\r\n"), (&switch[..], switched)] {
        for is_awaited in [false, true] {
            for on_opaque in [OnUnread::Block, OnUnread::Allow] {
                let hold = Some(Hold::All);
                let mut policy = if is_awaited { by_types(hold, &[]) } else { policy(hold, &[], &[]) };
                policy.on_opaque = on_opaque;
                let mut world = World::new(&Arc::new(policy), None, Threads::AtOnce);
                world.says(Client, request);
                world.says(Server, format!("{response}within").as_bytes());
                if on_opaque == OnUnread::Block {
                    is_page(world, "content.opaque");
                } else {
                    assert!(world.text().ends_with("within") && world.ending.is_none());
                    assert_eq!(world.told(), [("content.opaque", false, false)]);
                }
            }
        }
    }
}

#[test]
fn what_is_refused_in_front_of_a_tunnel_ends_it() {
    let body = evil(500);
    let mut policy = policy(Some(Hold::All), &[&body], &[]);
    policy.on_opaque = OnUnread::Allow;
    let mut world = World::new(&Arc::new(policy), None, Threads::Last);
    world.says(Client, &[get("/file"), b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_vec()].concat());
    world.says(Server, &answer("", &body));
    world.says(Server, b"HTTP/1.1 200 OK\r\n\r\nwithin");
    world.answer_all();
    assert_eq!(cut(&world), Some(("content.blocked", false)));
    world.says(Server, b"more");
    assert!(world.to_client.is_empty(), "{}", world.text());
}

#[test]
fn a_part_is_refused_whenever_its_type_is_known() {
    let part = |kind: &str| {
        format!("HTTP/1.1 206 Partial Content\r\nContent-Type: {kind}\r\nContent-Length: 9\r\n\r\n")
    };
    for (hold, kind) in [(None, "text/event-stream"), (Some(Hold::None), "text/plain"), (None, "text/plain")]
    {
        let mut world = World::new(&Arc::new(by_types(hold, &[])), None, Threads::AtOnce);
        world.says(Client, &get("/file"));
        world.says(Server, part(kind).as_bytes());
        world.waits(3);
        world.says(Server, b"data: 123");
        is_page(world, "content.range");
    }
}

/// The rule of a type that shows late is asked, about all that has come; nothing passes it by.
#[test]
fn the_rule_of_a_late_type_is_not_passed_over() {
    let program = [b"\x7fELF\x02\x01\x01", &evil(3_000)[..]].concat();
    for (kind, hold) in [
        ("text/plain", None),
        ("text/plain", Some(Hold::All)),
        ("text/plain", Some(Hold::None)),
        ("text/event-stream", None),
        ("video/mp4", None),
    ] {
        for (listed, is_found) in [(&program[..], true), (b"another", false)] {
            let (mut first, _) = searching("programs", Some(Hold::All), &[listed]);
            first.file_type = vec![FileType::Elf];
            let (second, lists) = searching("others", hold, &[listed]);
            let policy = ContentPolicy::compile(&[first, second], lists);
            let all = answer(&format!("Content-Type: {kind}\r\n"), &program);
            let head = all.len() - program.len();
            let mut world = World::new(&Arc::new(policy), None, Threads::AtOnce);
            world.says(Client, &get("/file"));
            world.says(Server, &all[..head]);
            world.waits(3);
            for piece in all[head..].chunks(700) {
                world.says(Server, piece);
            }
            let name = format!("{kind} {hold:?} {is_found}");
            assert_eq!(world.files[0].http.rule.as_deref(), Some("programs"), "{name}");
            assert_eq!(world.files.len(), 1, "{name}");
            assert_eq!(world.alerts.len(), usize::from(is_found), "{name}");
            let never_waits = kind != "text/plain" || hold == Some(Hold::None);
            if is_found && !never_waits {
                is_page(world, "content.blocked");
            } else {
                // What has begun to go on is held by its tail, streams not at all.
                assert!(world.to_client == all || is_found, "{name}");
                assert_eq!(is_found, world.told() == [("content.late", true, true)], "{name}");
            }
        }
    }
}

#[test]
fn a_response_that_is_blocked_waits_for_those_before_it() {
    let mut no = ContentRule::new("no", ContentAction::Block(Respond::Page));
    no.status = vec![410];
    let mut programs = ContentRule::new("programs", ContentAction::Block(Respond::Page));
    programs.file_type = vec![FileType::Elf];
    let (files, lists) = searching("files", Some(Hold::All), &[]);
    let policy = Arc::new(ContentPolicy::compile(&[no, programs, files], lists));
    let gone = b"HTTP/1.1 410 Gone\r\nContent-Length: 6\r\n\r\nsecret".to_vec();
    for second in [gone, answer("", b"\x7fELF\x02\x01\x01 secret")] {
        for pieces in [16_384, 9] {
            let mut world = World::new(&policy, None, Threads::Last);
            world.pieces = pieces;
            world.says(Client, &[get("/1"), get("/2"), get("/3")].concat());
            world.says(Server, &[answer("", b"first"), second.clone(), answer("", b"third")].concat());
            assert!(world.to_client.is_empty());
            world.runs_out();
            let text = world.text();
            let rest = text.strip_prefix(&*String::from_utf8(answer("", b"first")).unwrap());
            assert!(rest.is_some_and(|rest| rest.starts_with("HTTP/1.1 403 ")), "{text}");
            assert!(!text.contains("secret") && !text.contains("third"), "{text}");
        }
    }
}

/// Only what is asked for under /file is looked at.
fn only_files() -> ContentPolicy {
    let (mut files, lists) = searching("files", Some(Hold::All), &[]);
    files.path = vec!["/file".parse().unwrap()];
    ContentPolicy::compile(&[files], lists)
}

#[test]
fn what_comes_behind_a_slow_verdict_is_bounded() {
    let all = [answer("", &evil(5_000)), answer("", &evil(2_000_000))].concat();
    let mut world = World::new(&Arc::new(only_files()), None, Threads::Last);
    world.says(Client, &[get("/file"), get("/other")].concat());
    let mut taken = world.says(Server, &all);
    assert!((250_000..400_000).contains(&taken), "{taken}");
    world.answer_all();
    taken += world.says(Server, &all[taken..]);
    assert!(taken == all.len() && world.to_client == all);
    // No more than there is room for, whoever it belongs to.
    let mut world = World::new(&Arc::new(only_files()), None, Threads::Never);
    world.room = 100_000;
    world.says(Client, &[get("/file"), get("/other")].concat());
    world.says(Server, &all);
    let world = is_page(world, "content.overload");
    assert!(world.most_held < 180_000, "{}", world.most_held);
}

#[test]
fn no_more_than_some_messages_wait_for_threads() {
    for hold in HOLDS {
        let mut world = World::new(&Arc::new(by_types(hold, &[])), None, Threads::Last);
        let (mut taken, one) = (0, answer("", b"x"));
        for _ in 0..100 {
            if !world.stage.is_full(Server) {
                world.says(Client, &get("/file"));
                taken += world.says(Server, &one);
            }
        }
        assert_eq!(taken, 64 * one.len(), "{hold:?}");
        world.answer_all();
        assert!(world.to_client == one.repeat(64), "{hold:?}");
        assert!(world.says(Server, &one) > 0, "{hold:?}");
    }
}
