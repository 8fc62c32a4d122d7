//! Responses whose type decides.

use super::*;
use crate::policy::{Direction, FieldEdit, HeaderRule};

const ELF: &[u8] = b"\x7fELF and so on";
const TYPED_PAGE: &str =
    "1 :status=403 content-type=text/html; charset=utf-8 cache-control=no-store content-length=18";

/// A connection with two requests, the first for what has to show its type.
fn typed() -> Ends {
    let mut ends = Ends::new();
    for (stream, path) in [(1, "/file"), (3, "/other")] {
        let request = ends.request(stream, END_STREAM, "GET", path);
        ends.passes(Client, &request);
    }
    let response = ends.response(1, 0, "good/type");
    ends.is_dropped(Server, &response);
    ends
}

#[test]
fn a_type_that_is_blocked_shows_in_the_first_octets() {
    // In one frame, in two, octet by octet; and the last one of the stream.
    for (end, pieces) in [(0, 1), (0, 2), (0, 100), (END_STREAM, 1), (END_STREAM, 100)] {
        let mut ends = typed();
        let data = frame(DATA, end, 1, ELF);
        for piece in data.chunks(data.len().div_ceil(pieces)) {
            ends.wire.send(Server, piece);
        }
        assert_eq!(ends.got(Client), [TYPED_PAGE, "1 END data 18"], "in {pieces}");
        // All octets of the server's are credited, or pay for what was inserted.
        let held = if pieces == 100 { 4 } else { ELF.len() };
        let credit = format!("0 credit {held}");
        let reset = if end == 0 { vec!["1 reset 8"] } else { vec![] };
        assert_eq!(ends.got(Server), [reset, vec![&credit]].concat(), "in {pieces}");
        assert_eq!(ends.wire.rules.windows.debt(), (18 + held - ELF.len()) as u64);
        assert_eq!(ends.wire.rules.windows.held(), 0);
        let alert = &ends.wire.alerts[0];
        assert_eq!(
            (alert.rule.as_deref(), alert.stream, alert.blocked, alert.late),
            (Some("programs"), 1, true, false)
        );
        let other = ends.response(3, 0, "good/type");
        ends.wire.send(Server, &other);
        assert_eq!(ends.got(Client), ["3 :status=200 content-type=good/type set-cookie=s"]);
        ends.wire.send(Server, &frame(DATA, END_STREAM, 3, ELF));
        assert_eq!(ends.got(Client), ["3 END data 14"]);
    }
}

#[test]
fn a_type_that_is_not_goes_on_and_others_do_not_wait() {
    let mut ends = typed();
    ends.is_dropped(Server, &frame(DATA, 0, 1, b"<"));
    let other = ends.response(3, END_STREAM, "good/type");
    ends.wire.send(Server, &other);
    assert_eq!(ends.got(Client), ["3 END :status=200 content-type=good/type set-cookie=s"]);
    ends.wire.send(Server, &frame(DATA, 0, 1, b"html>"));
    assert_eq!(ends.got(Client), ["1 :status=200 content-type=good/type set-cookie=s", "1 data 6"]);
    assert_eq!(ends.wire.rules.windows.held(), 0);
    ends.passes(Server, &frame(DATA, END_STREAM, 1, ELF));
    // So short that only the end shows it, and trailers behind.
    let mut ends = typed();
    ends.is_dropped(Server, &frame(DATA, 0, 1, b"M"));
    let block = ends.block(Server, &[("x", "1")]);
    ends.wire.send(Server, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    assert_eq!(
        ends.got(Client),
        ["1 :status=200 content-type=good/type set-cookie=s", "1 data 1", "1 END x=1"]
    );
    assert!(ends.wire.alerts.is_empty());
}

#[test]
fn content_that_does_not_come_lets_the_head_go() {
    let mut ends = typed();
    ends.is_dropped(Server, &frame(DATA, 0, 1, b"\x7f"));
    ends.wire.wait();
    assert_eq!(ends.got(Client), ["1 :status=200 content-type=good/type set-cookie=s", "1 data 1"]);
    assert_eq!(ends.wire.rules.poll_timeout(), None);
    // What comes then ends it all the same.
    ends.wire.send(Server, &frame(DATA, 0, 1, b"ELF"));
    assert_eq!(
        (ends.got(Client), ends.got(Server)),
        (vec!["1 reset 8".into()], vec!["1 reset 8".into(), "0 credit 3".into()])
    );
    assert!(ends.wire.alerts[0].late);
}

#[test]
fn a_stream_that_is_reset_while_it_waits() {
    for by in [Client, Server] {
        let mut ends = typed();
        ends.is_dropped(Server, &frame(DATA, 0, 1, b"\x7f"));
        ends.wire.send(by, &frame(RST_STREAM, 0, 1, &8u32.to_be_bytes()));
        let (reset, credit) = ("1 reset 8".to_owned(), "0 credit 1".to_owned());
        match by {
            Client => assert_eq!((ends.got(Client), ends.got(Server)), (vec![], vec![reset, credit])),
            Server => assert_eq!((ends.got(Client), ends.got(Server)), (vec![reset], vec![credit])),
        }
        assert_eq!(ends.wire.rules.windows.held(), 0);
        ends.wire.wait();
        assert_eq!((ends.got(Client), ends.wire.rules.poll_timeout()), (vec![], None));
    }
}

/// More waits than may: what brings it goes on, and the connection lives.
#[test]
fn no_more_waits_than_may() {
    let mut ends = Ends::new();
    let mut given_way = 0;
    for stream in (1..400).step_by(2) {
        let request = ends.request(stream, END_STREAM, "GET", "/file");
        ends.wire.send(Client, &request);
        let response = ends.response(stream, 0, "good/type");
        ends.wire.send(Server, &response);
        ends.wire.send(Server, &frame(DATA, 0, stream, &[b'x'; 1000]));
        given_way += ends.got(Client).len();
        ends.wire.send(Client, &frame(WINDOW_UPDATE, 0, 0, &1000u32.to_be_bytes()));
    }
    assert!(ends.wire.ending().is_none() && given_way > 100, "{given_way}");
    assert!(ends.wire.rules.windows.held() <= 64 * 1024);
}

/// RFC 7838, 4: an ALTSVC frame says what the field says, which rules may change.
#[test]
fn alternative_services_are_a_field_in_a_frame() {
    let altsvc = |stream| frame(10, 0, stream, b"\0\0h2=\":8443\"");
    let removes = |host: &str, name: &str| HeaderRule {
        profile: vec![],
        host: vec![host.parse().unwrap()],
        host_list: None,
        direction: Direction::Response,
        edits: vec![FieldEdit::Remove(name.into())],
    };
    for (rule, passes) in
        [(removes("a", "Alt-Svc"), false), (removes("a", "x"), true), (removes("b", "alt-svc"), true)]
    {
        let mut ends = Ends::with_policy(ContentPolicy::default().with_headers(&[rule]));
        let request = ends.request(1, END_STREAM, "GET", "/");
        ends.passes(Client, &request);
        for stream in [0, 1] {
            if passes {
                ends.passes(Server, &altsvc(stream));
            } else {
                ends.is_dropped(Server, &altsvc(stream));
            }
            // A client's means nothing.
            ends.passes(Client, &altsvc(stream));
        }
        ends.passes(Server, &frame(PING, 0, 0, &[0; 8]));
    }
}
