//! Bodies in which nothing but long literals is looked for: whoever has the octets looks at them, and no thread is asked.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

#[path = "support/inspecting.rs"]
#[allow(dead_code, reason = "some of it is for other scans")]
mod inspecting;

#[path = "support/http2_frames.rs"]
#[allow(dead_code, reason = "some of them are for requests alone")]
mod http2_frames;

use http2_frames::*;
use inspecting::{Threads, World, lists};
use proptest::prelude::*;
use wireglass_core::content::{DataPattern, FileType, SignatureSet, Signatures};
use wireglass_core::end::End::{self, Client, Server};
use wireglass_core::policy::{
    ContentAction, ContentPolicy, ContentRule, Direction, HashLists, Hold, Inspect, Lists, Respond,
};

const HOLDS: [Option<Hold>; 4] = [None, Some(Hold::None), Some(Hold::Tail), Some(Hold::All)];
const LITERAL: &[u8] = b"we attack at dawn, all of us";

fn codes() -> SignatureSet {
    let literals = vec![LITERAL.to_vec()];
    SignatureSet { name: "codes".into(), literals, regexes: vec![], patterns: vec![], threshold: 1 }
}

/// Messages of either end are inspected for this.
fn looking(set: SignatureSet, hold: Option<Hold>, listed: Option<(Arc<Lists>, HashLists)>) -> ContentPolicy {
    let compiled = Arc::new(Signatures::compile(&[set]).unwrap());
    let (lists, hashes) = listed.unwrap_or_default();
    let rules = [Direction::Request, Direction::Response].map(|direction| {
        let signatures = compiled.id("codes").into_iter().collect();
        let inspect = Inspect { signatures, hashes, hold, ..Inspect::default() };
        ContentRule {
            direction: Some(direction),
            ..ContentRule::new("files", ContentAction::Inspect(inspect))
        }
    });
    ContentPolicy::compile(&rules, lists).with_signatures(compiled)
}

/// Of pieces of a body, in turns.
type Sizes = [usize; 2];

fn pieces(mut body: &[u8], sizes: Sizes) -> impl Iterator<Item = &[u8]> {
    let mut sizes = sizes.into_iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = body.split_at(sizes.next()?.min(body.len()));
        body = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// How a body comes.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunks,
    Http2,
}

const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunks, Framing::Http2];

/// A message of this end's that has the body in pieces of `each`. Threads never answer.
fn world(
    policy: ContentPolicy,
    (framing, from): (Framing, End),
    body: &[u8],
    each: Sizes,
    pieces: usize,
) -> World {
    let is_http2 = matches!(framing, Framing::Http2);
    let alpn = is_http2.then_some(&b"h2"[..]);
    let mut world = World::new(&Arc::new(policy), alpn, Threads::Never);
    if is_http2 {
        let windows =
            [frame(SETTINGS, 0, 0, b"\0\x04\x7f\xff\xff\xff"), frame(WINDOW_UPDATE, 0, 0, b"\x7f\0\0\0")]
                .concat();
        world.says(Client, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &windows[..]].concat());
        let known = frame(SETTINGS, 1, 0, &[]);
        world.says(Server, &[&windows[..], &known].concat());
        world.says(Client, &known);
    }
    if from == Server {
        let get = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n";
        let http2 = frame(HEADERS, 5, 1, b"\x82\x87\x84\x01\x01a");
        world.says(Client, if is_http2 { &http2 } else { get });
    }
    world.pieces = pieces;
    let message = message((framing, from), body, each);
    world.says(from, &message);
    world
}

fn message((framing, from): (Framing, End), body: &[u8], each: Sizes) -> Vec<u8> {
    let start = if from == Client { "POST /file HTTP/1.1\r\nHost: a" } else { "HTTP/1.1 200 OK" };
    match framing {
        Framing::Length => {
            [format!("{start}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
        }
        Framing::Chunks => {
            let mut all = format!("{start}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in pieces(body, each) {
                all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                all.extend_from_slice(&[chunk, b"\r\n"].concat());
            }
            [all, b"0\r\n\r\n".to_vec()].concat()
        }
        Framing::Http2 => {
            let fields: &[u8] = if from == Client { b"\x83\x87\x84\x01\x01a" } else { b"\x88" };
            let mut all = frame(HEADERS, 4, 1, fields);
            pieces(body, each).for_each(|part| all.extend(frame(DATA, 0, 1, part)));
            all.extend(frame(DATA, END_STREAM, 1, b""));
            all
        }
    }
}

/// What of the body has gone on, and whether as a whole.
fn gone(world: &World, (framing, from): (Framing, End), whole: &[u8]) -> (Vec<u8>, bool) {
    let to = if from == Client { &world.to_server } else { &world.to_client };
    if !matches!(framing, Framing::Http2) {
        return (to.clone(), to.ends_with(whole));
    }
    let (mut data, mut ends) = (Vec::new(), false);
    for (kind, flags, stream, payload) in frames(&to[if from == Client { 24 } else { 0 }..]) {
        if kind == DATA && stream == 1 {
            data.extend_from_slice(&payload);
            ends |= flags & END_STREAM != 0;
        }
    }
    (data, ends)
}

fn has(text: &[u8]) -> bool {
    text.windows(LITERAL.len()).any(|window| window == LITERAL)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// What is found is what is there, wherever records, frames and chunks have their borders, and no thread is asked.
    #[test]
    fn borders_do_not_matter(
        len in 0usize..70_000,
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        cut in 1..LITERAL.len(),
        is_at_border: bool,
        each in (prop_oneof![1usize..60, 500usize..16_384], 1usize..1_500).prop_map(Sizes::from),
        pieces in prop_oneof![20usize..200, 900usize..2_000, Just(16_384)],
        (hold, framing, is_request) in (0usize..4, 0usize..3, any::<bool>()),
    ) {
        let mut text = body(len);
        for (n, place) in places.iter().enumerate() {
            let mut at = place.index(text.len() + 1);
            if is_at_border {
                // Some of it is in one piece, the rest in the next.
                let turn = at - at % (each[0] + each[1]);
                at = (turn + each[0] + n % 2 * each[1]).saturating_sub(cut).min(text.len());
            }
            // The first is not all of it.
            let literal = if n == 0 { &LITERAL[..cut] } else { LITERAL };
            text.splice(at..at, literal.iter().copied());
        }
        let way = (FRAMINGS[framing], if is_request { Client } else { Server });
        let is_found = has(&text);
        let world = world(looking(codes(), HOLDS[hold], None), way, &text, each, pieces);
        let whole = message(way, &text, each);
        let (gone, is_whole) = gone(&world, way, &whole);
        let name = format!("{way:?} {:?}: {:?}", HOLDS[hold], world.told());
        if is_found {
            let [alert] = &world.alerts[..] else { panic!("{name}") };
            prop_assert!(alert.blocked && alert.found.as_ref().is_some_and(|hit| &*hit.by == "codes"), "{}", name);
            let goes_unseen = HOLDS[hold] == Some(Hold::None);
            prop_assert!(goes_unseen || !has(&gone) && (!is_whole || !is_request), "{}", name);
        } else {
            prop_assert!(is_whole && world.told().is_empty() && world.ending.is_none(), "{}", name);
            if let Framing::Http2 = way.0 {
                prop_assert!(gone == text, "{}", name);
            }
        }
        let told: Vec<_> = world.files.iter().map(|file| (file.coded, file.http.protocol)).collect();
        prop_assert!(told.len() == 1 || text.is_empty(), "{}: {:?}", name, told);
        prop_assert!(is_found || told.iter().all(|file| file.0 == text.len() as u64), "{}: {:?}", name, told);
        prop_assert!(is_found || world.stage.held() == 0, "{}", name);
    }
}

/// A thread has to say something before anything goes on.
fn is_asked(policy: ContentPolicy, body: &[u8]) -> bool {
    let world = world(policy, (Framing::Length, Server), body, [1, 1], 16_384);
    assert!(world.alerts.is_empty());
    world.to_client.is_empty()
}

#[test]
fn all_else_is_for_threads() {
    let (hold, text) = (Some(Hold::All), body(40_000));
    assert!(!is_asked(looking(codes(), hold, None), &text));
    assert!(is_asked(looking(codes(), hold, Some(lists(&[b"another"], &[]))), &text));
    for (literals, regexes, patterns) in [
        (vec![b"15 bytes or less".to_vec(), b"15 bytes or les".to_vec()], vec![], vec![]),
        (vec![b"four".to_vec()], vec![], vec![]),
        (vec![LITERAL.to_vec()], vec!["dusk$".to_owned()], vec![]),
        (vec![LITERAL.to_vec()], vec![], vec![DataPattern::CardNumber]),
        (vec![LITERAL.to_vec()], vec![], vec![DataPattern::Iban]),
    ] {
        let set = SignatureSet { literals, regexes, patterns, ..codes() };
        assert!(is_asked(looking(set.clone(), hold, None), &text), "{set:?}");
    }
    let keys = SignatureSet { patterns: vec![DataPattern::PrivateKey], ..codes() };
    assert!(!is_asked(looking(keys, hold, None), &text));
    let policy = Arc::new(looking(codes(), hold, None));
    let mut world = World::new(&policy, None, Threads::Never);
    world.says(Client, b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
    world.says(Server, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08");
    assert!(world.to_client.is_empty() && world.alerts.is_empty());
}

/// It is a step of an automaton for each byte, and whoever sends it once may send more of it.
#[test]
fn what_is_made_of_beginnings_is_for_threads_from_then_on() {
    let costly = LITERAL[..LITERAL.len() - 1].repeat(2_000);
    for hold in [Hold::Tail, Hold::All] {
        let policy = Arc::new(looking(codes(), Some(hold), None));
        let mut world = World::new(&policy, None, Threads::Last);
        let mut all = Vec::new();
        for (body, is_quick) in [(&body(50_000), true), (&costly, false), (&body(50_000), false)] {
            world.says(Client, b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
            let response = message((Framing::Length, Server), body, [1, 1]);
            world.says(Server, &response);
            all.extend_from_slice(&response);
            assert_eq!(world.to_client.len() == all.len(), is_quick);
            world.answer_all();
            assert!(world.to_client == all && world.alerts.is_empty());
        }
        // A literal that has begun here is found by a thread.
        world.says(Client, b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
        world.says(Server, &message((Framing::Length, Server), &[&costly, LITERAL].concat(), [1, 1]));
        world.answer_all();
        assert_eq!(world.alerts.len(), 1);
    }
    let text = [&costly[..16_384], LITERAL, &costly].concat();
    let mut world =
        world(looking(codes(), Some(Hold::All), None), (Framing::Length, Server), &text, [1, 1], 16_384);
    assert!(world.to_client.is_empty() && world.alerts.is_empty());
    world.answer_all();
    assert!(world.alerts.len() == 1 && world.text().starts_with("HTTP/1.1 403 "));
}

/// As long as its type decides on the rule, a body is for threads. What has come by then may be too much for the worker to look at in one go.
#[test]
fn what_has_piled_up_is_for_threads() {
    let compiled = Arc::new(Signatures::compile(&[codes()]).unwrap());
    let signatures = compiled.id("codes").into_iter().collect();
    let inspect = Inspect { signatures, hold: Some(Hold::All), ..Inspect::default() };
    let mut rules = [
        ContentRule::new("programs", ContentAction::Block(Respond::Page)),
        ContentRule::new("all", ContentAction::Inspect(inspect)),
    ];
    rules.iter_mut().for_each(|rule| rule.direction = Some(Direction::Request));
    rules[0].file_type = FileType::named("executable");
    for (len, is_much) in [(20_000, false), (200_000, true)] {
        let policy = ContentPolicy::compile(&rules, Arc::default()).with_signatures(Arc::clone(&compiled));
        let (way, text) = ((Framing::Length, Client), body(len));
        let mut world = world(policy, way, &text, [1, 1], 16_384);
        assert!(world.to_server.is_empty(), "its type is not known");
        world.answer_one();
        assert_eq!(world.to_server.is_empty(), is_much, "{len}");
        world.answer_all();
        assert!(world.to_server == message(way, &text, [1, 1]) && world.alerts.is_empty());
    }
}
