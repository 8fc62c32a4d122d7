//! Responses of HTTP/2 that threads look at: one stream waits, the others do not.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

#[path = "support/inspecting.rs"]
#[allow(dead_code, reason = "some of it is for HTTP/1 alone")]
mod inspecting;

#[path = "support/http2_frames.rs"]
#[allow(dead_code, reason = "some of them are for requests alone")]
mod http2_frames;

use http2_frames::*;
use inspecting::{Threads, World, lists, policy};
use proptest::prelude::*;
use wireglass_core::content::FileType;
use wireglass_core::end::End::{Client, Server};
use wireglass_core::policy::{ContentAction, ContentPolicy, ContentRule, Hold, Inspect, OnUnread, Respond};

const HOLDS: [Option<Hold>; 4] = [None, Some(Hold::None), Some(Hold::Tail), Some(Hold::All)];

/// What of a stream has come: data, whether it has ended, and whether it was reset.
fn stream(world: &World, wanted: u32) -> (Vec<u8>, bool, bool) {
    let mut all = (Vec::new(), false, false);
    for (kind, flags, stream, payload) in frames(&world.to_client) {
        if stream == wanted {
            all.1 |= kind < 2 && flags & END_STREAM != 0;
            all.2 |= kind == RST_STREAM;
            if kind == DATA {
                all.0.extend_from_slice(&payload);
            }
        }
    }
    all
}

/// :method GET, :scheme https, :path /, :authority a.
const GET: &[u8] = b"\x82\x87\x84\x01\x01a";

/// A client with so large windows, and a server that has said its SETTINGS.
fn connected(policy: &Arc<ContentPolicy>, threads: Threads, window: u32, pieces: usize) -> World {
    let mut world = World::new(policy, Some(b"h2"), threads);
    world.pieces = pieces;
    let initial = [&[0, 4][..], &window.to_be_bytes()].concat();
    let more = (window - 65_535).to_be_bytes();
    let mut begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &initial)[..]].concat();
    if window > 65_535 {
        begin.extend(frame(8, 0, 0, &more));
    }
    world.says(Client, &begin);
    world.says(Server, &[frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat());
    world.says(Client, &frame(4, 1, 0, &[]));
    world
}

fn asks(world: &mut World, stream: u32) {
    world.says(Client, &frame(HEADERS, 5, stream, GET));
}

fn response(stream: u32, fields: &[u8], body: &[u8], each: usize) -> Vec<u8> {
    let mut all = frame(HEADERS, 4, stream, &[b"\x88", fields].concat());
    body.chunks(each).for_each(|part| all.extend(frame(DATA, 0, stream, part)));
    all.extend(frame(DATA, END_STREAM, stream, b""));
    all
}

#[test]
fn a_listed_file_gets_the_page_and_other_streams_go_on() {
    let listed = body(50_000);
    let policy = Arc::new(policy(Some(Hold::All), &[&listed], &[]));
    for (threads, pieces) in [(Threads::AtOnce, 16_384), (Threads::Last, 16_384), (Threads::AtOnce, 13)] {
        let mut world = connected(&policy, threads, 1 << 20, pieces);
        asks(&mut world, 1);
        asks(&mut world, 3);
        world.says(Server, &response(1, b"", &listed, 9_000));
        world.says(Server, &response(3, b"", &body(60_000), 16_000));
        world.runs_out();
        let (page, ends, is_reset) = stream(&world, 1);
        let text = String::from_utf8(page).unwrap();
        assert!(text.contains("</html>") && text.contains("files") && ends && !is_reset, "{text}");
        assert!(stream(&world, 3) == (body(60_000), true, false));
        assert_eq!((world.ending, world.told()), (None, vec![("content.blocked", true, false)]));
        assert_eq!(world.files.len(), 2);
        assert_eq!(world.stage.held(), 0);
        // The connection is still of use.
        asks(&mut world, 5);
        world.says(Server, &response(5, b"", b"more", 9));
        world.runs_out();
        assert!(stream(&world, 5) == (b"more".to_vec(), true, false));
    }
}

/// RFC 8441: what is in a tunnel is no content, and waits for nobody. A tunnel that is refused is a response as any.
#[test]
fn nobody_looks_into_a_tunnel() {
    // :method CONNECT, :protocol websocket, :scheme https, :path /, :authority a.
    let connect = b"\x02\x07CONNECT\x00\x09:protocol\x09websocket\x87\x84\x01\x01a";
    for hold in HOLDS {
        let policy = Arc::new(policy(hold, &[b"another"], &[]));
        let mut world = connected(&policy, Threads::Last, 1 << 20, 16_384);
        world.says(Client, &frame(HEADERS, 4, 1, connect));
        world.says(Server, &frame(HEADERS, 4, 1, b"\x88"));
        world.says(Server, &frame(DATA, 0, 1, b"\x81\x05hello"));
        assert!(stream(&world, 1) == (b"\x81\x05hello".to_vec(), false, false), "{hold:?}");
        // :status 404
        world.says(Client, &frame(HEADERS, 4, 3, connect));
        world.says(Server, &[frame(HEADERS, 4, 3, b"\x8d"), frame(DATA, END_STREAM, 3, b"another")].concat());
        world.runs_out();
        assert_eq!((world.ending, world.files.len()), (None, 1));
        assert_eq!(world.told()[..2], [("content.opaque", false, false); 2]);
    }
}

#[test]
fn what_waits_holds_no_other_stream_back() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"], &[]));
    let mut world = connected(&policy, Threads::Last, 1 << 20, 16_384);
    asks(&mut world, 1);
    asks(&mut world, 3);
    world.says(Server, &response(1, b"", &body(300_000), 16_000));
    assert!(frames(&world.to_client).iter().all(|frame| frame.2 != 1));
    // content-type: text/event-stream
    let kind = b"\x0f\x10\x11text/event-stream";
    world.says(
        Server,
        &[frame(HEADERS, 4, 3, &[&b"\x88"[..], kind].concat()), frame(DATA, 0, 3, b"data: 1\n\n")].concat(),
    );
    assert!(stream(&world, 3).0 == b"data: 1\n\n");
    world.answer_all();
    assert!(stream(&world, 1) == (body(300_000), true, false));
}

#[test]
fn with_tail_what_is_found_late_is_reset_and_the_next_try_gets_the_page() {
    let listed = body(200_000);
    let policy = Arc::new(policy(Some(Hold::Tail), &[&listed], &[]));
    let mut world = connected(&policy, Threads::AtOnce, 1 << 20, 16_384);
    asks(&mut world, 1);
    world.says(Server, &response(1, b"", &listed, 16_000));
    world.runs_out();
    let (sent, ends, is_reset) = stream(&world, 1);
    assert!(listed.starts_with(&sent) && !ends && is_reset);
    assert!(sent.len() > 100_000 && sent.len() <= 200_000 - 16_384, "{}", sent.len());
    assert_eq!((world.ending, world.told()), (None, vec![("content.late", true, true)]));
    // Both ends had said all, so the server is told nothing.
    assert!(frames(&world.to_server[24..]).iter().all(|frame| frame.0 != RST_STREAM));
    asks(&mut world, 3);
    world.says(Server, &response(3, b"", &listed, 16_000));
    world.runs_out();
    assert!(String::from_utf8(stream(&world, 3).0).unwrap().contains("</html>"));
}

/// The client takes less than the body, so nobody can hold it as a whole.
#[test]
fn more_than_the_window_is_too_large() {
    for action in [OnUnread::Allow, OnUnread::Block] {
        let mut policy = policy(Some(Hold::All), &[b"another"], &[]);
        policy.inspection.on_oversize = action;
        let mut world = connected(&Arc::new(policy), Threads::AtOnce, 65_535, 16_384);
        asks(&mut world, 1);
        world.says(Server, &frame(HEADERS, 4, 1, b"\x88"));
        let whole = body(150_000);
        let mut sent = 0;
        let mut window = 65_535;
        while sent < whole.len() && window > 0 {
            let len = window.min(16_384).min(whole.len() - sent);
            world.says(Server, &frame(DATA, 0, 1, &whole[sent..sent + len]));
            (sent, window) = (sent + len, window - len);
            let got = stream(&world, 1).0.len();
            // What has arrived is credited at once.
            if window == 0 && action == OnUnread::Allow {
                assert!(got > 0, "it is stuck");
                let octets = (got as u32 - (sent as u32 - 65_535)).to_be_bytes();
                world.says(Client, &[frame(8, 0, 0, &octets), frame(8, 0, 1, &octets)].concat());
                window = u32::from_be_bytes(octets) as usize;
            }
        }
        if action == OnUnread::Allow {
            world.says(Server, &frame(DATA, END_STREAM, 1, b""));
            world.runs_out();
            assert!(stream(&world, 1) == (whole, true, false));
            assert_eq!(world.told(), [("content.oversize", false, false)]);
        } else {
            assert!(String::from_utf8(stream(&world, 1).0).unwrap().contains("</html>"));
            assert_eq!(world.told(), [("content.oversize", true, false)]);
        }
    }
}

/// Whatever had to go when the client's window was used up, the tail of what comes later waits.
#[test]
fn a_window_that_was_used_up_gives_no_tail_away() {
    let listed = body(150_000);
    let policy = Arc::new(policy(Some(Hold::Tail), &[&listed], &[]));
    let mut world = connected(&policy, Threads::AtOnce, 65_535, 16_384);
    asks(&mut world, 1);
    world.says(Server, &frame(HEADERS, 4, 1, b"\x88"));
    for window in listed.chunks(65_535) {
        for part in window.chunks(16_384) {
            world.says(Server, &frame(DATA, 0, 1, part));
        }
        if window.len() == 65_535 {
            let octets = 65_535u32.to_be_bytes();
            world.says(Client, &[frame(8, 0, 0, &octets), frame(8, 0, 1, &octets)].concat());
        }
    }
    world.says(Server, &frame(DATA, END_STREAM, 1, b""));
    world.runs_out();
    let (sent, ends, is_reset) = stream(&world, 1);
    assert_eq!((sent.len(), ends, is_reset), (150_000 - 16_384, false, true));
    assert_eq!(world.told(), [("content.late", true, true)]);
}

/// The client's window was used up, so all data had to go: the end still waits. If the end comes before that, the tail does, too.
#[test]
fn the_end_of_a_stream_waits_for_the_verdict() {
    for (ends_early, gone) in [(false, 65_000), (true, 65_000 - 16_384)] {
        let listed = body(65_000);
        let policy = Arc::new(policy(Some(Hold::Tail), &[&listed], &[]));
        let mut world = connected(&policy, Threads::Last, 65_535, 16_384);
        asks(&mut world, 1);
        let whole = response(1, b"", &listed, 16_250);
        let data = whole.len() - 9;
        world.says(Server, &whole[..data]);
        world.answer_one();
        if ends_early {
            // While a thread has all before it.
            world.says(Server, &whole[data..]);
            world.answer_one();
        } else {
            world.answer_one();
            world.says(Server, &whole[data..]);
        }
        assert_eq!(stream(&world, 1).0.len(), gone);
        assert_eq!((stream(&world, 1).1, stream(&world, 1).2), (false, false));
        world.runs_out();
        assert_eq!((stream(&world, 1).1, stream(&world, 1).2), (false, true));
        assert_eq!(world.told(), [("content.late", true, true)]);
    }
}

#[test]
fn what_is_not_looked_at_becomes_what_policy_says() {
    type Set = fn(&mut ContentPolicy, OnUnread);
    let cases: [(&str, Threads, usize, Set); 3] = [
        ("content.timeout", Threads::Never, usize::MAX, |policy, action| {
            policy.inspection.on_timeout = action
        }),
        ("content.overload", Threads::Full, usize::MAX, |policy, action| {
            policy.inspection.on_overload = action
        }),
        ("content.overload", Threads::Never, 60_000, |policy, action| policy.inspection.on_overload = action),
    ];
    for (code, threads, room, set) in cases {
        for action in [OnUnread::Block, OnUnread::Allow] {
            let mut policy = policy(Some(Hold::All), &[b"another"], &[]);
            set(&mut policy, action);
            let mut world = connected(&Arc::new(policy), threads, 1 << 20, 16_384);
            world.room = room;
            asks(&mut world, 1);
            world.says(Server, &response(1, b"", &body(100_000), 16_000));
            world.runs_out();
            let (sent, ends, _) = stream(&world, 1);
            let blocked = action == OnUnread::Block;
            assert_eq!(world.told(), [(code, blocked, false)]);
            assert!(ends && (sent == body(100_000)) != blocked, "{code}");
            assert_eq!(world.ending, None);
        }
    }
}

/// RFC 9113, 8.1: a server that has answered tells the client to stop its upload. That may not overtake the answer, which waits.
#[test]
fn an_early_answer_arrives_before_the_reset_that_follows_it() {
    for listed in [false, true] {
        let other = b"another".to_vec();
        let policy = Arc::new(policy(Some(Hold::All), &[if listed { b"no" } else { &other[..] }], &[]));
        let mut world = connected(&policy, Threads::Last, 1 << 20, 16_384);
        // :method POST in place of GET, and no end of the stream.
        world.says(Client, &frame(HEADERS, 4, 1, b"\x83\x87\x84\x01\x01a"));
        world.says(Client, &frame(DATA, 0, 1, &body(10_000)));
        world.says(Server, &response(1, b"", b"no", 9));
        world.says(Server, &frame(RST_STREAM, 0, 1, &[0; 4]));
        assert!(frames(&world.to_client).iter().all(|frame| frame.2 != 1), "it waits for its verdict");
        let before = world.to_server.len();
        world.says(Client, &frame(DATA, 0, 1, &body(10_000)));
        assert!(
            frames(&world.to_server[before..]).iter().all(|frame| frame.0 != DATA),
            "the server wants no more"
        );
        world.answer_all();
        world.runs_out();
        let (said, ends, is_reset) = stream(&world, 1);
        assert!(ends && (said == b"no") != listed, "{listed} {said:?}");
        assert!(is_reset || listed);
        let order: Vec<_> = frames(&world.to_client).into_iter().filter(|frame| frame.2 == 1).collect();
        let kinds: Vec<_> = order.iter().map(|frame| (frame.0, frame.1 & END_STREAM)).collect();
        assert!(
            listed || kinds == [(HEADERS, 0), (DATA, 0), (DATA, END_STREAM), (RST_STREAM, 0)],
            "{order:?}"
        );
        assert_eq!((world.ending, world.stage.held()), (None, 0));
        // What the client still says is swallowed, and the connection is of use.
        world.says(Client, &frame(DATA, 0, 1, &body(10_000)));
        asks(&mut world, 3);
        world.says(Server, &response(3, b"", b"more", 9));
        world.answer_all();
        world.runs_out();
        assert!(stream(&world, 3) == (b"more".to_vec(), true, false));
    }
}

#[test]
fn a_stream_that_its_client_resets_is_forgotten() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"], &[]));
    let mut world = connected(&policy, Threads::Last, 1 << 20, 16_384);
    asks(&mut world, 1);
    world.says(Server, &frame(HEADERS, 4, 1, b"\x88"));
    world.says(Server, &frame(DATA, 0, 1, &body(16_000)));
    world.says(Client, &frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    assert_eq!(world.stage.held(), 0);
    world.answer_all();
    assert!(frames(&world.to_client).iter().all(|frame| frame.2 != 1));
    assert_eq!((world.ending, world.told()), (None, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The verdict does not depend on where records and frames have their borders.
    #[test]
    fn borders_do_not_matter(
        len in 1usize..60_000,
        piece in 1usize..5_000,
        each in 1usize..16_384,
        is_listed: bool,
        hold in 0usize..4,
        at_once: bool,
    ) {
        let whole = body(len);
        let listed: &[&[u8]] = if is_listed { &[&whole] } else { &[b"another"] };
        let policy = Arc::new(policy(HOLDS[hold], listed, &[]));
        let threads = if at_once { Threads::AtOnce } else { Threads::Last };
        let mut world = connected(&policy, threads, 1 << 20, piece);
        asks(&mut world, 1);
        world.says(Server, &response(1, b"", &whole, each));
        world.runs_out();
        let (sent, ends, is_reset) = stream(&world, 1);
        if is_listed {
            let [alert] = &world.alerts[..] else { panic!("{:?}", world.told()) };
            prop_assert!(alert.blocked && alert.found.is_some());
            let page = String::from_utf8_lossy(&sent).contains("</html>");
            prop_assert!(page != alert.late && page != is_reset, "either a page or a cut");
            prop_assert!(HOLDS[hold] != Some(Hold::All) || page);
            prop_assert!(page || HOLDS[hold] == Some(Hold::None) || sent.len() < whole.len());
        } else {
            prop_assert!(sent == whole && ends && !is_reset && world.alerts.is_empty());
        }
        prop_assert!(world.ending.is_none());
    }
}

const ELF: &[u8] = b"\x7fELF and so on, for long enough to be more than a few octets";

fn of_type(name: &str, kind: &str, action: ContentAction) -> ContentRule {
    ContentRule { file_type: FileType::named(kind), ..ContentRule::new(name, action) }
}

/// A rule that has a type blocked, and behind it one that has everything looked at.
fn typed_policy(hold: Option<Hold>, listed: &[u8]) -> ContentPolicy {
    let (lists, hashes) = lists(&[listed], &[]);
    let inspect = Inspect { hashes, hold, ..Inspect::default() };
    let rules = [
        of_type("programs", "executable", ContentAction::Block(Respond::Page)),
        ContentRule::new("files", ContentAction::Inspect(inspect)),
    ];
    ContentPolicy::compile(&rules, lists)
}

/// A rule about the type stands before the one that inspects, and the content does not come for a while.
#[test]
fn a_first_octet_that_comes_late_lifts_no_hold() {
    // So short that all of it waits, whatever the rule holds.
    let listed = body(15_000);
    for hold in [None, Some(Hold::Tail), Some(Hold::All)] {
        for seconds in [0, 1, 3, 10] {
            let mut world = connected(&Arc::new(typed_policy(hold, &listed)), Threads::Last, 1 << 20, 16_384);
            asks(&mut world, 1);
            let whole = response(1, b"", &listed, 5_000);
            let (head, data) = whole.split_at(10);
            world.says(Server, head);
            world.waits(seconds);
            // The type is known with the first part, and nothing has been looked at.
            let (first, rest) = data.split_at(5_009);
            world.says(Server, first);
            world.waits(3);
            world.says(Server, rest);
            assert!(frames(&world.to_client).iter().all(|frame| frame.2 != 1), "{hold:?} {seconds}");
            world.runs_out();
            let (sent, ends, is_reset) = stream(&world, 1);
            assert!(String::from_utf8_lossy(&sent).contains("</html>") && ends && !is_reset);
            assert_eq!((world.ending, world.told()), (None, vec![("content.blocked", true, false)]));
            assert_eq!(world.stage.held(), 0);
        }
    }
}

#[test]
fn what_comes_late_and_is_clean_goes_on() {
    for (len, threads) in [(0, Threads::AtOnce), (1, Threads::Last), (100_000, Threads::AtOnce)] {
        for hold in HOLDS {
            let mut world = connected(&Arc::new(typed_policy(hold, b"another")), threads, 1 << 20, 16_384);
            asks(&mut world, 1);
            world.says(Server, &frame(HEADERS, 4, 1, b"\x88"));
            world.waits(3);
            world.says(Server, &response(1, b"", &body(len), 9_000)[10..]);
            world.runs_out();
            assert!(stream(&world, 1) == (body(len), true, false), "{len} {hold:?}");
            assert_eq!((world.ending, world.told(), world.stage.held()), (None, vec![], 0));
        }
    }
}

/// As long as its type was not known, another rule's scanners looked at it.
#[test]
fn the_rule_for_a_type_that_shows_late_is_asked() {
    let (lists, hashes) = lists(&[ELF], &[]);
    let programs = Inspect { hashes, ..Inspect::default() };
    for hold in HOLDS {
        let others = Inspect { hold, ..Inspect::default() };
        let rules = [
            of_type("programs", "executable", ContentAction::Inspect(programs.clone())),
            ContentRule::new("others", ContentAction::Inspect(others)),
        ];
        let policy = Arc::new(ContentPolicy::compile(&rules, Arc::clone(&lists)));
        for threads in [Threads::Last, Threads::AtOnce] {
            let mut world = connected(&policy, threads, 1 << 20, 16_384);
            asks(&mut world, 1);
            world.says(Server, &frame(HEADERS, 4, 1, b"\x88"));
            world.waits(3);
            world.says(Server, &[frame(DATA, 0, 1, &ELF[..2]), frame(DATA, 0, 1, &ELF[2..])].concat());
            world.says(Server, &frame(DATA, END_STREAM, 1, b""));
            world.runs_out();
            let [alert] = &world.alerts[..] else { panic!("{:?}", world.told()) };
            assert_eq!((alert.rule.as_deref(), alert.blocked), (Some("programs"), true), "{hold:?}");
            let (sent, ends, is_reset) = stream(&world, 1);
            assert!(!ends || String::from_utf8_lossy(&sent).contains("</html>"));
            assert!(ends != is_reset);
        }
    }
}

#[test]
fn a_part_that_nobody_asked_for_does_not_go_on_late_either() {
    for seconds in [0, 3] {
        let policy = Arc::new(typed_policy(None, b"another"));
        let mut world = connected(&policy, Threads::AtOnce, 1 << 20, 16_384);
        asks(&mut world, 1);
        world.says(Server, &frame(HEADERS, 4, 1, b"\x8a"));
        world.waits(seconds);
        world.says(Server, &[frame(DATA, 0, 1, &body(9_000)), frame(DATA, END_STREAM, 1, b"z")].concat());
        world.runs_out();
        assert_eq!(world.told(), [("content.range", true, false)]);
        let (sent, ends, _) = stream(&world, 1);
        assert!(ends && String::from_utf8_lossy(&sent).contains("</html>"), "{seconds}");
    }
}

/// GOAWAY and close_notify come right behind the last response.
#[test]
fn the_end_of_the_connection_waits_for_verdicts() {
    for listed in [body(50_000), b"another".to_vec()] {
        let policy = Arc::new(typed_policy(Some(Hold::All), &listed));
        let mut world = connected(&policy, Threads::Last, 1 << 20, 16_384);
        asks(&mut world, 1);
        world.says(Server, &response(1, b"", &body(50_000), 9_000));
        world.says(Server, &frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
        world.ends(Server);
        assert!(!world.closed.server && world.stage.is_holding());
        world.answer_all();
        assert!(world.closed.server && !world.stage.is_holding());
        let (sent, ends, is_reset) = stream(&world, 1);
        assert!(ends && !is_reset);
        assert_eq!(sent == body(50_000), listed == b"another");
        assert_eq!(world.ending, None);
    }
}

#[test]
fn what_a_server_leaves_incomplete_holds_its_end_for_nothing() {
    let whole = response(1, b"", &body(50_000), 9_000);
    // Before the first octet, within a frame, and before the last frame.
    for cut in [10, 12_345, whole.len() - 9] {
        for hold in HOLDS {
            let policy = Arc::new(typed_policy(hold, b"another"));
            let mut world = connected(&policy, Threads::Last, 1 << 20, 16_384);
            asks(&mut world, 1);
            asks(&mut world, 3);
            world.says(Server, &response(3, b"", &body(50_000), 9_000));
            world.says(Server, &whole[..cut]);
            world.ends(Server);
            world.runs_out();
            assert!(world.closed.server || world.ending.is_some(), "{cut} {hold:?}");
            assert_eq!(world.stage.held(), 0);
            if hold == Some(Hold::None) && cut == 12_345 {
                // The beginning of a frame has gone on.
                continue;
            }
            assert!(!stream(&world, 1).1);
            assert!(stream(&world, 3) == (body(50_000), true, false), "{cut} {hold:?}");
        }
    }
}

/// Rules look at nothing where a head says that nothing comes.
#[test]
fn content_that_the_head_has_not_told_of_is_cut_off() {
    const HEAD: &[u8] = b"\x02\x04HEAD\x87\x84\x01\x01a";
    let zero: &[u8] = b"\x88\x0f\x0d\x010";
    let three: &[u8] = b"\x88\x0f\x0d\x013";
    for (request, head, fits) in [
        (GET, zero, 0),
        (GET, b"\x89", 0),
        (GET, b"\x8b", 0),
        (HEAD, b"\x88", 0),
        (HEAD, three, 0),
        (GET, three, 3),
    ] {
        for policy in [policy(None, &[b"another"], &[]), typed_policy(None, b"another")] {
            let mut world = connected(&Arc::new(policy), Threads::AtOnce, 1 << 20, 16_384);
            for stream in [1, 3] {
                world.says(Client, &frame(HEADERS, 5, stream, request));
            }
            world.says(Server, &[frame(HEADERS, 4, 1, head), frame(DATA, 0, 1, &body(fits + 1))].concat());
            world.says(Server, &frame(DATA, END_STREAM, 1, &body(100)));
            world.runs_out();
            let (sent, ends, is_reset) = stream(&world, 1);
            assert!(sent.is_empty() && !ends && is_reset, "{head:?}");
            assert_eq!(world.told(), [("content.unparsed", true, false)]);
            // What was told of may come, in any frames.
            world.says(Server, &frame(HEADERS, 4, 3, head));
            world.says(Server, &[frame(DATA, 0, 3, &body(fits)), frame(DATA, END_STREAM, 3, b"")].concat());
            world.runs_out();
            assert!(stream(&world, 3) == (body(fits), true, false), "{head:?}");
        }
    }
}

#[test]
fn no_more_responses_are_looked_at_at_once_than_may() {
    let policy = Arc::new(policy(Some(Hold::All), &[b"another"], &[]));
    let mut world = connected(&policy, Threads::Last, 1 << 20, 16_384);
    for n in 0..300 {
        asks(&mut world, 2 * n + 1);
        world.says(
            Server,
            &[frame(HEADERS, 4, 2 * n + 1, b"\x88"), frame(DATA, 0, 2 * n + 1, b"a,b\n")].concat(),
        );
        world.says(Server, &frame(DATA, 0, 2 * n + 1, &[b'c'; 600]));
    }
    assert_eq!(world.told(), [("content.overload", true, false); 300 - 256]);
    assert!(stream(&world, 1).0.is_empty() && stream(&world, 599).1);
    // One that is over makes room.
    world.says(Server, &frame(DATA, END_STREAM, 1, b""));
    world.answer_all();
    assert!(stream(&world, 1).0.len() == 604 && stream(&world, 1).1);
    asks(&mut world, 601);
    world.says(Server, &response(601, b"", &body(700), 700));
    world.answer_all();
    assert!(stream(&world, 601) == (body(700), true, false));
    assert_eq!(world.ending, None);
}
