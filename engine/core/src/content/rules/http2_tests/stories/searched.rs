//! Contents in which something is found.

use super::*;
use crate::content::signatures::{SignatureSet, Signatures};

fn searching() -> Ends {
    let set = SignatureSet {
        name: "codes".into(),
        literals: vec![b"attack at dawn".to_vec()],
        regexes: vec!["zone [0-9]$".into()],
        patterns: vec![],
        threshold: 1,
    };
    let signatures = Arc::new(Signatures::compile(&[set]).unwrap());
    let mut rule = ContentRule::new("codes", ContentAction::Block(Respond::Page));
    (rule.path, rule.signatures) = (vec!["/search".parse().unwrap()], vec![signatures.id("codes").unwrap()]);
    let policy = ContentPolicy::compile(&[rule], Arc::default()).with_signatures(signatures);
    Ends::with_policy(policy)
}

/// With two exchanges under way, of which the first is searched.
fn under_way() -> Ends {
    let mut ends = searching();
    for (stream, path) in [(1, "/search"), (3, "/other")] {
        let request = ends.request(stream, 0, "POST", path);
        ends.passes(Client, &request);
        let response = ends.response(stream, 0, "good/type");
        ends.passes(Server, &response);
    }
    ends
}

fn is_told(ends: &Ends, from: End) {
    let [alert] = &ends.wire.alerts[..] else { panic!("{:?}", ends.wire.alerts) };
    assert_eq!((alert.rule.as_deref(), alert.stream, alert.from), (Some("codes"), 1, from));
    assert!(alert.blocked && alert.late && alert.found.is_some());
}

#[test]
fn frames_that_came_whole_go_nowhere_and_the_others_live() {
    for (from, flags) in [(Client, 0), (Client, END_STREAM), (Server, 0), (Server, END_STREAM)] {
        let mut ends = under_way();
        ends.passes(from, &frame(DATA, 0, 1, b"we attack at d"));
        ends.wire.send(from, &frame(DATA, flags, 1, b"awn!"));
        let (sender, receiver) = (ends.got(from), ends.got(from.other()));
        assert_eq!(
            (sender, receiver),
            (vec!["1 reset 8".into(), "0 credit 4".into()], vec!["1 reset 8".to_owned()])
        );
        is_told(&ends, from);
        // What was on the way is swallowed.
        ends.wire.send(from, &frame(DATA, 0, 1, b"late"));
        assert_eq!(ends.got(from.other()), [""; 0]);
        ends.got(from);
        ends.passes(from, &frame(DATA, 0, 3, b"attack at dawn"));
        assert_eq!((ends.wire.ending(), ends.wire.rules.windows.debt()), (None, 0));
    }
}

#[test]
fn of_a_frame_that_had_begun_the_rest_is_zeros() {
    for from in End::BOTH {
        let data = frame(DATA, 0, 1, b"we attack at dawn, all of us");
        for cut in [10, 20, 25] {
            let mut ends = under_way();
            ends.passes(from, &data[..cut]);
            let other = frame(DATA, 0, 3, b"more");
            ends.wire.send(from, &data[cut..]);
            ends.wire.send(from, &other);
            let got = ends.wire.receive(from.other());
            let whole = [&data[..cut], &got].concat();
            assert!(!whole.windows(14).any(|window| window == b"attack at dawn"), "{cut}");
            // The frame is as long as its head says, and the connection goes on behind it.
            let rest = &got[data.len() - cut..];
            assert_eq!(&rest[..9 + 4], &frame(RST_STREAM, 0, 1, &8u32.to_be_bytes())[..]);
            assert_eq!(&rest[13..], &other[..]);
            is_told(&ends, from);
        }
    }
}

#[test]
fn a_frame_that_has_promised_the_end_ends_the_connection() {
    let data = frame(DATA, END_STREAM, 1, b"we attack at dawn");
    let mut ends = under_way();
    ends.passes(Server, &data[..20]);
    ends.wire.send(Server, &data[20..]);
    let ending = ends.wire.ending().unwrap();
    assert_eq!((ending.reason, ending.orderly), (Reason::ContentBlocked, false));
    is_told(&ends, Server);
}

#[test]
fn what_only_the_end_shows() {
    for from in End::BOTH {
        // With the last octets, without any, and with trailers.
        let mut ends = under_way();
        ends.wire.send(from, &frame(DATA, END_STREAM, 1, b"zone 7"));
        assert_eq!(ends.got(from.other()), ["1 reset 8"]);
        is_told(&ends, from);
        let mut ends = under_way();
        ends.passes(from, &frame(DATA, 0, 1, b"zone 7"));
        ends.wire.send(from, &frame(DATA, END_STREAM, 1, b""));
        assert_eq!(ends.got(from.other()), ["1 reset 8"]);
        is_told(&ends, from);
        let mut ends = under_way();
        ends.passes(from, &frame(DATA, 0, 1, b"zone 7"));
        let block = ends.block(from, &[("x", "1")]);
        ends.wire.send(from, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
        assert_eq!(ends.got(from.other()), ["1 reset 8"]);
        is_told(&ends, from);
    }
}

/// What is on the way when a client resets a stream reaches it: so it is searched, or goes nowhere.
#[test]
fn a_reset_by_the_client_ends_no_search() {
    let mut ends = under_way();
    ends.passes(Server, &frame(DATA, 0, 1, b"we attack at d"));
    for stream in [1, 3] {
        ends.passes(Client, &frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
    ends.is_dropped(Server, &frame(DATA, 0, 1, b"awn: attack at dawn"));
    assert_eq!(ends.got(Server), ["0 credit 19"]);
    // Nobody asks about the other one.
    ends.passes(Server, &frame(DATA, 0, 3, b"attack at dawn"));
    assert_eq!((ends.wire.ending(), ends.wire.rules.windows.debt()), (None, 0));
}
