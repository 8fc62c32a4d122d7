//! Bodies of requests in HTTP/1 that threads look at: what waits meanwhile, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write as _;
use std::sync::Arc;

#[path = "support/inspecting.rs"]
#[allow(dead_code, reason = "some of it is for responses alone")]
mod inspecting;

use flate2::Compression;
use flate2::write::GzEncoder;
use inspecting::{Threads, World, hex, lists};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use wireglass_core::content::{FileType, Finding, Inspector, Message, Scanner};
use wireglass_core::end::End::{Client, Server};
use wireglass_core::policy::{
    ContentAction, ContentPolicy, ContentRule, Direction, Hold, Inspect, Lists, OnUnread, Respond,
};

const HOLDS: [Option<Hold>; 4] = [None, Some(Hold::None), Some(Hold::Tail), Some(Hold::All)];
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn evil(len: usize) -> Vec<u8> {
    (0..len).map(|n| b'a' + (n * 7 % 23) as u8).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn post(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /up/file HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut all = b"POST /up/file HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(chunk) {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(&[chunk, b"\r\n"].concat());
    }
    [all, b"0\r\nX-Trailer: t\r\n\r\n".to_vec()].concat()
}

fn of_requests(name: &str, action: ContentAction) -> ContentRule {
    ContentRule { direction: Some(Direction::Request), ..ContentRule::new(name, action) }
}

fn looking(name: &str, hold: Option<Hold>, listed: &[&[u8]]) -> (ContentRule, Arc<Lists>) {
    let (lists, hashes) = lists(listed, &[]);
    let inspect = Inspect { hashes, hold, ..Inspect::default() };
    (of_requests(name, ContentAction::Inspect(inspect)), lists)
}

/// One rule that has all requests looked at.
fn policy(hold: Option<Hold>, listed: &[&[u8]]) -> ContentPolicy {
    let (rule, lists) = looking("uploads", hold, listed);
    ContentPolicy::compile(&[rule], lists)
}

fn upload(policy: &Arc<ContentPolicy>, threads: Threads, pieces: usize, request: &[u8]) -> World {
    let mut world = World::new(policy, None, threads);
    world.pieces = pieces;
    world.says(Client, request);
    world
}

#[track_caller]
fn is_page(mut world: World, reason: &str) -> World {
    world.runs_out();
    let text = world.text();
    assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n") && text.contains("</html>"), "{text}");
    assert_eq!(world.ending.map(|ending| (ending.reason.code(), ending.orderly)), Some((reason, true)));
    assert_eq!(world.alerts.len(), 1, "{:?}", world.told());
    world
}

/// The end of a flow: why, whether in order, and whether the server gets a RST all the same.
fn end(world: &World) -> Option<(&'static str, bool, bool)> {
    world.ending.map(|ending| (ending.reason.code(), ending.orderly, ending.resets_server))
}

#[test]
fn a_listed_upload_gets_the_page_and_the_server_nothing() {
    let body = evil(50_000);
    let policy = Arc::new(policy(Some(Hold::All), &[&body]));
    for request in [
        post("", &body),
        chunked(&body, 7000),
        chunked(&body, 3),
        post("Content-Encoding: gzip\r\n", &gzip(&body)),
    ] {
        for (threads, pieces) in
            [(Threads::AtOnce, 16_384), (Threads::Last, 16_384), (Threads::Last, 700), (Threads::AtOnce, 5)]
        {
            let world = is_page(upload(&policy, threads, pieces, &request), "content.blocked");
            assert!(world.to_server.is_empty());
            assert_eq!(end(&world), Some(("content.blocked", true, false)));
            let alert = &world.alerts[0];
            assert_eq!((alert.rule.as_deref(), alert.from, alert.late), (Some("uploads"), Client, false));
            assert_eq!(alert.found.as_ref().map(|hit| &*hit.by), Some("list.malware"));
            let [file] = &world.files[..] else { panic!("one file") };
            let facts = file.facts.as_ref().unwrap();
            assert_eq!((facts.size, facts.sha256), (50_000, Some(Sha256::digest(&body).into())));
            assert_eq!((file.from, file.file_name.as_deref()), (Client, Some("file")));
        }
    }
}

#[test]
fn what_is_on_no_list_goes_on_as_it_is() {
    for (hold, len) in HOLDS.into_iter().flat_map(|hold| [0, 1, 5_000, 90_000].map(|len| (hold, len))) {
        let policy = Arc::new(policy(hold, &[b"another"]));
        let body = evil(len);
        for request in
            [post("", &body), chunked(&body, 9000), post("Content-Encoding: gzip\r\n", &gzip(&body))]
        {
            for (threads, pieces) in [(Threads::AtOnce, 16_384), (Threads::Last, 4000), (Threads::AtOnce, 11)]
            {
                let name = format!("{hold:?}, {len} octets, {threads:?}, {pieces}");
                let mut world = upload(&policy, threads, pieces, &request);
                world.runs_out();
                world.says(Server, ANSWER);
                // Another one in the same connection.
                world.says(Client, &request);
                world.runs_out();
                world.says(Server, ANSWER);
                assert!(world.to_server == [&request[..], &request].concat(), "{name}");
                assert!(world.to_client == [ANSWER, ANSWER].concat(), "{name}");
                assert_eq!((world.ending, world.told()), (None, vec![]), "{name}");
                assert_eq!(world.stage.held(), 0, "{name}");
            }
        }
    }
}

/// RFC 9112, 7: what codes the transfer is undone like what codes the content.
#[test]
fn codings_of_the_transfer_are_undone() {
    let body = evil(20_000);
    let coded = |coding: &str, octets: &[u8]| {
        let head = format!(
            "POST /up/file HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}, chunked\r\n\r\n{:x}\r\n",
            octets.len()
        );
        [head.as_bytes(), octets, b"\r\n0\r\n\r\n"].concat()
    };
    let policy = Arc::new(policy(Some(Hold::All), &[&body]));
    let world =
        is_page(upload(&policy, Threads::AtOnce, 16_384, &coded("gzip", &gzip(&body))), "content.blocked");
    assert!(world.to_server.is_empty());
    let world = upload(&policy, Threads::AtOnce, 16_384, &coded("compress", &body));
    assert!(world.to_server.is_empty());
    assert_eq!(world.told().first().map(|told| told.0), Some("content.encoding"));
}

#[test]
fn a_connect_with_content_is_a_request_like_others() {
    let body = evil(20_000);
    let policy = Arc::new(policy(Some(Hold::All), &[&body]));
    let request = String::from_utf8(post("", &body)).unwrap().replace("POST /up/file", "CONNECT a:443");
    let world = is_page(upload(&policy, Threads::AtOnce, 16_384, request.as_bytes()), "content.blocked");
    assert!(world.to_server.is_empty());
}

/// What waits of a request would go on in it, unread.
#[test]
fn no_tunnel_begins_within_an_upload() {
    let mut policy = policy(Some(Hold::All), &[b"another"]);
    policy.on_opaque = OnUnread::Allow;
    let policy = Arc::new(policy);
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let request = post("Expect: 100-continue\r\nUpgrade: x\r\nConnection: upgrade\r\n", &evil(20_000));
    let mut world = upload(&policy, Threads::Never, 16_384, &request[..request.len() - 5_000]);
    let before = world.to_server.clone();
    world.says(Server, switching);
    assert_eq!(end(&world), Some(("content.opaque", false, false)));
    assert_eq!(world.to_server, before);
    // One without content is how most begin.
    let get = b"GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let mut world = upload(&policy, Threads::Never, 16_384, get);
    world.says(Server, switching);
    assert_eq!(world.ending, None);
    world.says(Client, b"anything");
    assert!(world.to_server.ends_with(b"anything"));
}

#[test]
fn requests_without_content_do_not_wait() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"]));
    for request in [get("/"), b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), post("", b"")] {
        let world = upload(&policy, Threads::Never, 9, &request);
        assert!(world.to_server == request && world.stage.poll_timeout().is_none());
    }
}

/// Most has gone to the server: it never gets the end, and a RST. The client, which has no answer yet, gets the page.
#[test]
fn with_tail_the_server_never_sees_the_end() {
    let body = evil(200_000);
    for request in [post("", &body), chunked(&body, 16_000)] {
        let policy = Arc::new(policy(Some(Hold::Tail), &[&body]));
        let world = is_page(upload(&policy, Threads::AtOnce, 16_384, &request), "content.late");
        let (sent, whole) = (world.to_server.len(), request.len());
        assert!(request.starts_with(&world.to_server) && sent > 100_000 && sent <= whole - 16_384, "{sent}");
        assert_eq!(end(&world), Some(("content.late", true, true)));
        assert!(world.alerts[0].late && world.alerts[0].blocked);
        // An upload has no name by which the next one could be known.
        let other = upload(&policy, Threads::Never, 16_384, &request);
        assert!(other.alerts.is_empty());
    }
}

#[test]
fn with_tail_what_is_short_does_not_reach_the_server() {
    let body = evil(16_384);
    let policy = Arc::new(policy(Some(Hold::Tail), &[&body]));
    for threads in [Threads::AtOnce, Threads::Last] {
        let world = is_page(upload(&policy, threads, 1000, &post("", &body)), "content.blocked");
        assert!(world.to_server.is_empty() && !world.ending.unwrap().resets_server);
    }
}

#[test]
fn a_server_that_has_begun_to_answer_is_not_answered_for() {
    let body = evil(200_000);
    let policy = Arc::new(policy(Some(Hold::Tail), &[&body]));
    let request = post("", &body);
    // All of an answer, as 413 is, and the beginning of one.
    for answer in [&b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"[..], &ANSWER[..ANSWER.len() - 1]] {
        let mut world = upload(&policy, Threads::AtOnce, 16_384, &request[..100_000]);
        world.says(Server, answer);
        assert!(world.to_client == answer, "it does not wait");
        world.says(Client, &request[100_000..]);
        world.runs_out();
        assert_eq!(end(&world), Some(("content.late", false, false)));
        assert!(world.to_client == answer);
    }
}

#[test]
fn a_server_that_answers_and_closes_is_heard() {
    let policy = Arc::new(policy(Some(Hold::Tail), &[b"another"]));
    let request = post("", &evil(200_000));
    let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut world = upload(&policy, Threads::Last, 16_384, &request[..100_000]);
    world.says(Server, answer);
    world.ends(Server);
    assert!(world.to_client == answer && world.closed[Server]);
}

/// Its head goes on at once, so that the server says whether it wants the body; the body waits.
#[test]
fn a_client_that_waits_for_100_gets_the_servers_word() {
    let body = evil(30_000);
    for listed in [&body[..], b"another"] {
        for (hold, pieces) in HOLDS.into_iter().flat_map(|hold| [16_384, 7].map(|pieces| (hold, pieces))) {
            let policy = Arc::new(policy(hold, &[listed]));
            let request = post("Expect: 100-continue\r\n", &body);
            let head = request.len() - body.len();
            let mut world = upload(&policy, Threads::Last, pieces, &request[..head]);
            assert!(world.to_server == request[..head], "{hold:?}");
            world.says(Server, CONTINUE);
            assert!(world.to_client == CONTINUE);
            world.says(Client, &request[head..]);
            if hold == Some(Hold::All) {
                assert_eq!(world.to_server.len(), head);
            }
            world.answer_all();
            if listed == b"another" {
                assert!(world.to_server == request && world.told().is_empty(), "{hold:?}");
                world.says(Server, ANSWER);
                assert!(world.to_client == [CONTINUE, ANSWER].concat());
            } else if hold != Some(Hold::None) {
                world.runs_out();
                assert!(world.to_server.len() < request.len(), "{hold:?}");
                assert!(world.text()[CONTINUE.len()..].starts_with("HTTP/1.1 403 "), "{hold:?}");
                assert!(world.ending.unwrap().resets_server, "{hold:?}");
                assert_eq!(world.alerts.len(), 1);
            }
        }
    }
}

/// Of what is refused by its head all the same, nothing of the body goes on.
#[test]
fn a_server_that_does_not_want_the_body_says_so() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"]));
    let request = post("Expect: 100-continue\r\n", &evil(30_000));
    let head = request.len() - 30_000;
    let mut world = upload(&policy, Threads::Last, 16_384, &request[..head]);
    let refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    world.says(Server, refusal);
    assert!(world.to_client == refusal);
    world.ends(Client);
    world.runs_out();
    assert!(world.to_server == request[..head]);
}

#[test]
fn requests_behind_one_that_waits_keep_their_order() {
    let (first, second) = (evil(5_000), evil(6_000));
    let all = [post("", &first), get("/2"), post("", &second), get("/4")].concat();
    for (listed, passes) in [(b"another".to_vec(), 4), (first.clone(), 0), (second.clone(), 2)] {
        for pieces in [16_384, 13] {
            let policy = Arc::new(policy(Some(Hold::All), &[&listed]));
            let mut world = upload(&policy, Threads::Last, pieces, &all);
            assert!(world.to_server.is_empty());
            world.answer_all();
            for _ in 0..passes {
                assert!(!world.text().contains("403"), "the page waits for the responses before it");
                world.says(Server, ANSWER);
            }
            world.runs_out();
            let text = world.text();
            let rest = text.strip_prefix(&*String::from_utf8(ANSWER.repeat(passes)).unwrap()).unwrap();
            assert_eq!(rest.starts_with("HTTP/1.1 403 "), passes < 4, "{text}");
            let before = post("", &first).len() + get("/2").len();
            assert_eq!(world.to_server.len(), [0, 0, before, 0, all.len()][passes]);
            assert_eq!(world.alerts.len(), usize::from(passes < 4));
        }
    }
}

/// A request that a rule blocks by its head, behind one that waits.
#[test]
fn the_answer_to_a_later_request_waits() {
    let (uploads, lists) = looking("uploads", Some(Hold::All), &[&evil(5_000)]);
    let mut no = ContentRule::new("no", ContentAction::Block(Respond::Page));
    no.path = vec!["/no".parse().unwrap()];
    let policy = Arc::new(ContentPolicy::compile(&[no, uploads], lists));
    for (len, rule) in [(5_000, "uploads"), (4_000, "no")] {
        let all = [post("", &evil(len)), get("/no")].concat();
        let mut world = upload(&policy, Threads::Last, 16_384, &all);
        assert!(world.to_client.is_empty());
        world.answer_all();
        if rule == "no" {
            world.says(Server, ANSWER);
        }
        world.runs_out();
        assert!(world.text().contains("HTTP/1.1 403") && world.text().contains(rule));
        assert_eq!(world.text().contains("ok"), rule == "no");
    }
}

#[test]
fn what_is_not_looked_at_becomes_what_policy_says() {
    type Set = fn(&mut ContentPolicy, OnUnread);
    let body = evil(100_000);
    let broken = post("Content-Encoding: gzip\r\n", &[&gzip(&body)[..20], &[0xff; 30_000]].concat());
    let cases: [(&str, Threads, Vec<u8>, Set); 5] = [
        ("content.timeout", Threads::Never, post("", &body), |policy, action| {
            policy.inspection.on_timeout = action;
        }),
        ("content.overload", Threads::Full, post("", &body), |policy, action| {
            policy.inspection.on_overload = action;
        }),
        ("content.oversize", Threads::AtOnce, post("", &body), |policy, action| {
            policy.inspection.on_oversize = action;
            policy.inspection.hold_bytes = 70_000;
        }),
        ("content.encoding", Threads::AtOnce, broken, |policy, action| policy.on_undecodable = action),
        (
            "content.encoding",
            Threads::AtOnce,
            post("Content-Encoding: rot13\r\n", &body),
            |policy, action| policy.on_undecodable = action,
        ),
    ];
    for (code, threads, request, set) in cases {
        for action in [OnUnread::Block, OnUnread::Allow] {
            let mut policy = policy(Some(Hold::All), &[b"another"]);
            set(&mut policy, action);
            let mut world = upload(&Arc::new(policy), threads, 16_384, &request);
            world.runs_out();
            if action == OnUnread::Block {
                assert!(is_page(world, code).to_server.is_empty());
            } else {
                assert!(world.to_server == request, "{code}: {}", world.to_server.len());
                assert_eq!((world.ending, world.told()), (None, vec![(code, false, false)]));
            }
        }
    }
}

#[test]
fn no_more_is_held_than_there_is_room_for() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"]));
    let mut world = World::new(&policy, None, Threads::Never);
    world.room = 100_000;
    world.says(Client, &post("", &evil(400_000)));
    let world = is_page(world, "content.overload");
    assert!(world.most_held < 180_000 && world.to_server.is_empty(), "{}", world.most_held);
}

#[test]
fn a_client_is_held_back_by_threads_that_lag() {
    let policy = Arc::new(policy(Some(Hold::Tail), &[b"another"]));
    let request = post("", &evil(2_000_000));
    let mut world = World::new(&policy, None, Threads::Last);
    let mut taken = world.says(Client, &request);
    assert!((250_000..400_000).contains(&taken), "{taken}");
    while taken < request.len() {
        world.answer_all();
        let more = world.says(Client, &request[taken..]);
        assert!(more > 0, "it goes on");
        taken += more;
    }
    world.answer_all();
    assert!(world.to_server == request && world.most_held < 1_000_000, "{}", world.most_held);
}

#[test]
fn a_word_of_the_client_does_not_lift_what_holds_its_content() {
    for kind in
        ["application/grpc", "text/event-stream", "multipart/x-mixed-replace", "video/mp4", "audio/mpeg"]
    {
        for hold in [Some(Hold::All), None] {
            let policy = Arc::new(policy(hold, &[b"another"]));
            let request = post(&format!("Content-Type: {kind}\r\n"), &evil(9_000));
            let world = upload(&policy, Threads::Never, 16_384, &request[..5_000]);
            assert!(world.to_server.is_empty(), "{kind} {hold:?}");
        }
    }
}

#[test]
fn a_scan_that_breaks_costs_the_connection() {
    let policy = Arc::new(policy(Some(Hold::All), &[]));
    let mut world = upload(&policy, Threads::Break, 16_384, &post("", &evil(5_000)));
    world.runs_out();
    assert_eq!(end(&world).map(|end| end.0), Some("engine.internal"));
    assert!(world.to_server.is_empty());
}

#[test]
fn a_client_that_ends_in_the_middle_sends_no_whole_file() {
    let policy = Arc::new(policy(Some(Hold::All), &[]));
    let coded = post("Content-Encoding: gzip\r\n", &gzip(&evil(50_000)));
    let mut world = upload(&policy, Threads::AtOnce, 16_384, &coded[..coded.len() - 20]);
    world.ends(Client);
    world.runs_out();
    assert!(world.to_server.is_empty());
    assert_eq!(world.told(), [("content.encoding", true, false)]);
}

/// The end of the client waits behind what it has said.
#[test]
fn a_half_close_waits_for_the_verdict() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"]));
    let request = post("", &evil(50_000));
    let mut world = upload(&policy, Threads::Last, 16_384, &request);
    world.ends(Client);
    assert!(world.to_server.is_empty() && !world.closed[Client]);
    world.answer_all();
    assert!(world.to_server == request && world.closed[Client]);
    world.says(Server, ANSWER);
    assert!(world.to_client == ANSWER);
}

const ELF: &[u8] = b"\x7fELF\x02\x01\x01 and so on, for long enough to be more than a few octets";

/// A rule by type, and behind it one that has the rest looked at.
fn typed(action: ContentAction, hold: Option<Hold>, listed: &[&[u8]]) -> ContentPolicy {
    let mut programs = of_requests("programs", action);
    programs.file_type = FileType::named("executable");
    let (uploads, lists) = looking("uploads", hold, listed);
    ContentPolicy::compile(&[programs, uploads], lists)
}

#[test]
fn types_of_uploads_decide() {
    let big = [ELF, &evil(70_000)].concat();
    for (hold, pieces) in HOLDS.into_iter().flat_map(|hold| [16_384, 3].map(|pieces| (hold, pieces))) {
        for body in [ELF.to_vec(), big.clone()] {
            for request in
                [post("", &body), chunked(&body, 999), post("Content-Encoding: gzip\r\n", &gzip(&body))]
            {
                let policy = Arc::new(typed(ContentAction::Block(Respond::Page), hold, &[b"another"]));
                let world = is_page(upload(&policy, Threads::Last, pieces, &request), "content.blocked");
                assert_eq!(world.alerts[0].rule.as_deref(), Some("programs"));
                assert!(world.to_server.is_empty(), "{hold:?} {pieces}");
                // One that is told of passes, and is not looked at.
                let policy = Arc::new(typed(ContentAction::Alert, hold, &[&body]));
                let mut world = upload(&policy, Threads::Last, pieces, &request);
                world.runs_out();
                assert!(world.to_server == request && world.files.is_empty(), "{hold:?} {pieces}");
                assert_eq!(world.told(), [("content.alerted", false, false)]);
            }
        }
        // What is of no such type is the next rule's, all of it.
        for (listed, body) in [(true, evil(9_000)), (false, evil(9_000)), (true, b"x".to_vec())] {
            let lists: &[&[u8]] = if listed { &[&body] } else { &[b"another"] };
            let policy = Arc::new(typed(ContentAction::Block(Respond::Page), hold, lists));
            let mut world = upload(&policy, Threads::Last, pieces, &post("", &body));
            world.runs_out();
            assert_eq!(world.alerts.len(), usize::from(listed), "{hold:?} {pieces}");
            assert!(listed || world.to_server == post("", &body));
            assert_eq!(world.files[0].http.rule.as_deref(), Some("uploads"));
        }
    }
}

/// Each type has its own rule, whose lists and scanners see it from the first octet.
#[test]
fn a_rule_that_inspects_a_type_sees_all_of_it() {
    let big = [ELF, &evil(70_000)].concat();
    for body in [ELF, &big] {
        let (mut programs, lists) = looking("programs", Some(Hold::All), &[body]);
        programs.file_type = FileType::named("executable");
        let policy = Arc::new(ContentPolicy::compile(&[programs], lists));
        for (threads, pieces) in [(Threads::AtOnce, 1), (Threads::Last, 16_384), (Threads::AtOnce, 4_000)] {
            let world = is_page(upload(&policy, threads, pieces, &post("", body)), "content.blocked");
            assert!(world.to_server.is_empty() && world.files.len() == 1);
            // Nobody asks about another type.
            let text = post("", &evil(70_000));
            let mut world = upload(&policy, threads, pieces, &text);
            world.runs_out();
            assert!(world.to_server == text && world.files.is_empty() && world.alerts.is_empty());
        }
    }
}

#[test]
fn rules_on_responses_are_asked_all_the_same() {
    let (uploads, lists) = looking("uploads", Some(Hold::All), &[b"another"]);
    let mut gone = ContentRule::new("gone", ContentAction::Block(Respond::Page));
    gone.status = vec![410];
    let mut no = ContentRule::new("no", ContentAction::Block(Respond::Page));
    no.path = vec!["/up/*".parse().unwrap()];
    no.method = vec!["PUT".into()];
    let policy = Arc::new(ContentPolicy::compile(&[uploads, no, gone], lists));
    let mut world = upload(&policy, Threads::AtOnce, 16_384, &post("", &evil(500)));
    world.says(Server, b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(is_page(world, "content.blocked").alerts[0].rule.as_deref(), Some("gone"));
    // A rule behind it that blocks the request does so at once.
    let put = post("", &evil(500)).strip_prefix(b"POST").map(|rest| [b"PUT", rest].concat()).unwrap();
    let world = is_page(upload(&policy, Threads::Never, 16_384, &put), "content.blocked");
    assert_eq!(world.alerts[0].rule.as_deref(), Some("no"));
}

#[derive(Debug)]
struct Asks;

impl Inspector for Asks {
    fn name(&self) -> &Arc<str> {
        panic!("nobody asks")
    }

    fn scanner(&self, message: &Message<'_>) -> Box<dyn Scanner> {
        let Message { method, host, target, status, content_type } = *message;
        assert_eq!(
            (method, host, target, status, content_type),
            ("POST", "a", "/up/file", None, Some("x/y"))
        );
        Box::new(Fed(Vec::new()))
    }
}

struct Fed(Vec<u8>);

impl Scanner for Fed {
    fn feed(&mut self, octets: &[u8]) -> Option<Finding> {
        self.0.extend_from_slice(octets);
        None
    }

    fn end(&mut self) -> Option<Finding> {
        assert_eq!(self.0, evil(20_000));
        None
    }

    fn memory(&self) -> usize {
        self.0.capacity()
    }
}

#[test]
fn others_who_look_are_asked_about_the_request() {
    let inspect = Inspect { inspectors: vec![0], hold: Some(Hold::All), ..Inspect::default() };
    let rule = of_requests("uploads", ContentAction::Inspect(inspect));
    let inspectors: Vec<Arc<dyn Inspector>> = vec![Arc::new(Asks)];
    let policy = Arc::new(ContentPolicy::compile(&[rule], Arc::default()).with_inspectors(inspectors));
    let request = post("Content-Type: x/y\r\n", &evil(20_000));
    for pieces in [17, 16_384] {
        assert!(upload(&policy, Threads::AtOnce, pieces, &request).to_server == request);
    }
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
        expects: bool,
        hold in 0usize..4,
        at_once: bool,
    ) {
        let body = evil(len);
        let listed: &[&[u8]] = if is_listed { &[&body] } else { &[b"another"] };
        let policy = Arc::new(policy(HOLDS[hold], listed));
        let (coded, mut fields) = if is_coded { (gzip(&body), "Content-Encoding: gzip\r\n".to_owned()) } else { (body.clone(), String::new()) };
        if expects {
            fields.push_str("Expect: 100-continue\r\n");
        }
        let request = if is_chunked && !is_coded { chunked(&coded, chunk) } else { post(&fields, &coded) };
        let threads = if at_once { Threads::AtOnce } else { Threads::Last };
        let mut world = upload(&policy, threads, piece, &request);
        world.runs_out();
        if is_listed {
            let [alert] = &world.alerts[..] else { panic!("{:?}", world.told()) };
            prop_assert!(alert.blocked && alert.found.is_some());
            let page = world.text().starts_with("HTTP/1.1 403");
            prop_assert!(request.starts_with(&world.to_server));
            // What has all gone on cannot be taken back, and the connection may go on.
            prop_assert!(page || HOLDS[hold] == Some(Hold::None));
            prop_assert!(!page || world.to_server.len() < request.len());
            prop_assert!(HOLDS[hold] != Some(Hold::All) || world.to_server.is_empty() || expects);
            prop_assert_eq!(page && !world.to_server.is_empty(), world.ending.is_some_and(|ending| ending.resets_server));
        } else {
            prop_assert!(world.to_server == request && world.alerts.is_empty());
        }
        prop_assert_eq!(world.files.len(), 1);
        let sha256 = world.files[0].facts.as_ref().and_then(|facts| facts.sha256).map(|sha256| hex(&sha256));
        prop_assert_eq!(sha256, Some(hex(&Sha256::digest(&body))));
    }
}
