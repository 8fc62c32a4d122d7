//! Rules on HTTP/1 by the filter alone: in whatever pieces the bytes come, the same arrives on both sides.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/rules.rs"]
mod rules;

use proptest::prelude::*;
use rules::{Outcome, Setup, Talk, talk_with};
use wireglass_core::end::End::{Client, Server};
use wireglass_core::reason::{Ambiguity, Reason};

fn talk(said: &[Talk], piece: impl FnMut(usize) -> usize) -> Outcome {
    talk_with(&Setup::default(), said, piece)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The same, whatever the pieces: of one byte, of all.
fn in_any_pieces(said: &[Talk]) -> Outcome {
    let whole = talk(said, |_| usize::MAX);
    for size in [1, 2, 7, 50] {
        assert_eq!(talk(said, |_| size), whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn what_no_rule_names_goes_on_as_it_is() {
    let request = "\r\nPOST /a?b=%41 HTTP/1.1\r\nhOst:a \r\nX:  1\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n003\r\nyou\r\n0\r\nT: 1\r\n\r\n";
    let answer = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200  Fine \r\nX:\t1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let said = [
        Talk::says(Client, request),
        Talk::says(Server, answer),
        Talk::says(Client, &get("/b")),
        Talk::says(Server, OK),
    ];
    let outcome = in_any_pieces(&said);
    assert_eq!(outcome.to_server, request.to_owned() + &get("/b"));
    assert_eq!(outcome.to_client, answer.to_owned() + OK);
    assert_eq!((outcome.ending, outcome.alerts.len(), outcome.events.len()), (None, 0, 2));
}

#[test]
fn a_blocked_request_gets_the_page_and_the_server_nothing() {
    let outcome = in_any_pieces(&[Talk::says(Client, &get("/blocked"))]);
    assert_eq!(outcome.to_server, "");
    assert!(outcome.to_client.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", outcome.to_client);
    assert!(outcome.to_client.contains("connection: close\r\n"));
    assert_eq!(outcome.ending, Some((Reason::ContentBlocked, true)));
    let alert = &outcome.alerts[0];
    assert_eq!((alert.rule.as_deref(), alert.blocked, alert.from), (Some("blocked"), true, Client));
    assert_eq!((outcome.events[0].status, outcome.events[0].rule.as_deref()), (Some(403), Some("blocked")));
}

/// Two requests before it are answered first, whatever the server takes for it; what is behind it goes nowhere.
#[test]
fn the_page_comes_in_the_order_of_the_pipeline() {
    let pipeline = get("/1") + &get("/2") + &get("/blocked") + &get("/3");
    let outcome =
        in_any_pieces(&[Talk::says(Client, &pipeline), Talk::says(Server, OK), Talk::says(Server, OK)]);
    assert_eq!(outcome.to_server, get("/1") + &get("/2"));
    let (answers, page) = outcome.to_client.split_at(2 * OK.len());
    assert_eq!(answers, OK.repeat(2));
    assert!(page.starts_with("HTTP/1.1 403"));
    // The server still owes an answer: it is not given in its place.
    let waiting = in_any_pieces(&[Talk::says(Client, &pipeline), Talk::says(Server, OK)]);
    assert_eq!((waiting.to_client, waiting.ending), (OK.into(), None));
}

#[test]
fn head_has_no_body_and_other_answers_are_as_configured() {
    let answer = |method: &str, path: &str| {
        in_any_pieces(&[Talk::says(Client, &format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"))])
    };
    let head = answer("HEAD", "/blocked").to_client;
    assert!(head.contains("content-length: ") && head.ends_with("\r\n\r\n"), "{head}");
    let reset = answer("GET", "/reset");
    assert_eq!((reset.to_client, reset.ending), (String::new(), Some((Reason::ContentBlocked, false))));
    assert!(answer("GET", "/status").to_client.starts_with("HTTP/1.1 451 "));
    assert!(answer("GET", "/elsewhere").to_client.contains("\r\nlocation: https://b.example/why\r\n"));
}

/// What it uploads is swallowed up to a bound, so that it reads the answer; then the connection ends.
#[test]
fn an_upload_is_swallowed() {
    let upload = |bytes: usize| {
        format!("PUT /blocked HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes))
    };
    for (bytes, ends) in [(60_000, false), (200_000, true)] {
        let outcome = talk(&[Talk::says(Client, &upload(bytes))], |_| 10_000);
        assert!(outcome.to_client.starts_with("HTTP/1.1 403"));
        assert_eq!((outcome.to_server.len(), outcome.ended_at_once), (0, ends), "{bytes}");
    }
}

/// RFC 9110, 10.1.1: a client that waits for 100 gets the final status instead, or the server's 100.
#[test]
fn an_upload_that_waits_for_100() {
    let head = |path: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    };
    let blocked = in_any_pieces(&[Talk::says(Client, &head("/blocked"))]);
    assert_eq!(blocked.to_server, "");
    assert!(blocked.to_client.starts_with("HTTP/1.1 403"), "{}", blocked.to_client);
    assert_eq!(blocked.ending, Some((Reason::ContentBlocked, true)));
    // One that does not wait any longer gets the same answer, and its content goes nowhere.
    let impatient = in_any_pieces(&[Talk::says(Client, &(head("/blocked") + "hello"))]);
    assert_eq!((impatient.to_server, impatient.to_client), (String::new(), blocked.to_client));

    let proceed = "HTTP/1.1 100 Continue\r\n\r\n";
    let early = in_any_pieces(&[Talk::says(Client, &head("/x")), Talk::says(Server, proceed)]);
    assert_eq!((early.to_server, early.to_client), (head("/x"), proceed.to_owned()));
    let passed = in_any_pieces(&[
        Talk::says(Client, &head("/x")),
        Talk::says(Server, proceed),
        Talk::says(Client, "hello"),
        Talk::says(Server, OK),
    ]);
    assert_eq!(passed.to_server, head("/x") + "hello");
    assert_eq!((passed.to_client, passed.events.len()), (proceed.to_owned() + OK, 1));
}

#[test]
fn a_response_is_blocked_before_anything_of_it_goes_on() {
    let bad = "HTTP/1.1 200 OK\r\nContent-Type: bad/type; x=1\r\nContent-Length: 4\r\n\r\nevil";
    let outcome = in_any_pieces(&[
        Talk::says(Client, &(get("/x") + &get("/y"))),
        Talk::says(Server, OK),
        Talk::says(Server, bad),
    ]);
    assert_eq!(outcome.to_server, get("/x") + &get("/y"));
    let page = outcome.to_client.strip_prefix(OK).unwrap();
    assert!(page.starts_with("HTTP/1.1 403") && !page.contains("evil"), "{page}");
    assert_eq!((outcome.alerts[0].from, outcome.alerts[0].rule.as_deref()), (Server, Some("bad type")));
    assert_eq!(outcome.events[1].rule.as_deref(), Some("bad type"));
}

/// Where no length is declared, a rule on the size applies once more has come: only one that blocks cuts anything off.
#[test]
fn content_of_unknown_length_is_cut_off_by_rules_that_block_only() {
    let chunks = |bytes: usize| format!("{}0\r\n\r\n", "4\r\nxxxx\r\n".repeat(bytes / 4));
    let coding = "Transfer-Encoding: chunked\r\n\r\n";
    for (path, bytes, rules, is_cut) in [
        ("/sized", 8, vec![], false),
        ("/sized", 40, vec![("beyond 10", false)], false),
        ("/sized", 400, vec![("beyond 10", false), ("beyond 100", true)], true),
        ("/allowed", 400, vec![], false),
    ] {
        let upload = format!("PUT {path} HTTP/1.1\r\nHost: a\r\n{coding}{}", chunks(bytes));
        let response = format!("HTTP/1.1 200 OK\r\n{coding}{}", chunks(bytes));
        for (said, from) in [
            (vec![Talk::says(Client, &upload), Talk::says(Server, OK)], Client),
            (vec![Talk::says(Client, &get(path)), Talk::says(Server, &response)], Server),
        ] {
            for size in [1, 7, 1000] {
                let outcome = talk(&said, |_| size);
                let alerts: Vec<_> = outcome
                    .alerts
                    .iter()
                    .map(|alert| (alert.rule.as_deref().unwrap(), alert.blocked, alert.late, alert.from))
                    .collect();
                let wanted: Vec<_> =
                    rules.iter().map(|&(rule, blocked)| (rule, blocked, true, from)).collect();
                assert_eq!(alerts, wanted, "{path} {bytes} {from:?} {size}");
                let ending = is_cut.then_some((Reason::ContentBlocked, false));
                assert_eq!(outcome.ending, ending, "{path} {bytes} {from:?} {size}");
                let (sent, whole) = match from {
                    Client => (outcome.to_server, &upload),
                    Server => (outcome.to_client, &response),
                };
                assert!(
                    whole.starts_with(&sent) && (sent == *whole) != is_cut,
                    "{path} {bytes} {from:?} {size}"
                );
            }
        }
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_answered_and_goes_nowhere() {
    let cases = [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", Ambiguity::LengthAndCoding),
        ("Content-Length: 0\r\nContent-Length: 9\r\n", Ambiguity::LengthsDiffer),
        ("Content-Length: +0\r\n", Ambiguity::LengthInvalid),
        ("Content-Length: ,0\r\n", Ambiguity::LengthInvalid),
        ("Content-Length:\r\n", Ambiguity::LengthInvalid),
        ("Content-Length:\r\nContent-Length: 0\r\n", Ambiguity::LengthInvalid),
        ("Transfer-Encoding:\r\n chunked\r\n", Ambiguity::Folded),
        ("Transfer-Encoding : chunked\r\n", Ambiguity::SpaceInName),
        ("Transfer-Encoding: , chunked\r\n", Ambiguity::CodingRepeated),
        ("Transfer-Encoding: chunked, identity\r\n", Ambiguity::CodingNotChunked),
        ("X: 1\n", Ambiguity::BareLf),
        ("X: a\rb\r\n", Ambiguity::BareCr),
        ("X: a\0b\r\n", Ambiguity::Nul),
        ("Host: a\r\n", Ambiguity::HostRepeated),
        ("no colon\r\n", Ambiguity::FieldName),
    ];
    for (fields, ambiguity) in cases {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let outcome = in_any_pieces(&[Talk::says(Client, &request)]);
        refused(&outcome, ambiguity, 400);
    }
    let whole = [
        ("GET / HTTP/1.1\r\n\r\n", Ambiguity::HostMissing, 400),
        // Of another host, too: the client is told to try elsewhere.
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Ambiguity::HostInvalid, 421),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Ambiguity::HostDiffers, 421),
        ("GET http://u@b/ HTTP/1.0\r\n\r\n", Ambiguity::HostInvalid, 421),
        ("GET / HTTP/1.1\r\nHost: b\r\n\r\n", Ambiguity::Fronting, 421),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Ambiguity::RequestLine, 400),
        ("GET blocked HTTP/1.1\r\nHost: a\r\n\r\n", Ambiguity::RequestLine, 400),
        // nginx leaves the fragment out, Go and Undertow do not.
        ("GET /x#/../blocked HTTP/1.1\r\nHost: a\r\n\r\n", Ambiguity::RequestLine, 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Ambiguity::CodingInHttp10, 400),
    ];
    for (request, ambiguity, status) in whole {
        refused(&in_any_pieces(&[Talk::says(Client, request)]), ambiguity, status);
    }
}

fn refused(outcome: &Outcome, ambiguity: Ambiguity, status: u16) {
    assert_eq!(outcome.to_server, "", "{ambiguity:?}");
    let start = format!("HTTP/1.1 {status} ");
    assert!(outcome.to_client.starts_with(&start), "{ambiguity:?}: {}", outcome.to_client);
    assert_eq!(outcome.ending, Some((Reason::ContentUnparsed, true)), "{ambiguity:?}");
    assert!(
        outcome.alerts[0].http.ambiguous.iter().any(|each| each == ambiguity),
        "{ambiguity:?}: {:?}",
        outcome.alerts[0]
    );
}

/// Chunks that readers may end in two places show when their message has gone on in part: an orderly end would be a lie.
#[test]
fn ambiguous_chunks_are_reset() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n";
    let outcome = talk(&[Talk::says(Client, request)], |_| 1);
    assert_eq!(outcome.ending, Some((Reason::ContentUnparsed, false)));
    assert!(!outcome.to_server.contains("ok"));
}

#[test]
fn what_is_no_http_is_for_policy_to_say() {
    for (bytes, alpn) in [("\u{1}\u{2}\u{3}not http at all\r\n", None), ("SSH-2.0-x\r\n", Some(&b"ssh"[..]))]
    {
        for blocks in [false, true] {
            let mut setup = Setup { alpn, ..Setup::default() };
            setup.blocks_opaque = blocks;
            let outcome = talk_with(&setup, &[Talk::says(Client, bytes)], |_| 3);
            let expected = if blocks { ("", Some((Reason::ContentOpaque, false))) } else { (bytes, None) };
            assert_eq!((&*outcome.to_server, outcome.ending), expected, "{bytes}");
            assert_eq!((outcome.alerts.len(), outcome.alerts[0].blocked), (1, blocks));
            assert_eq!(outcome.alerts[0].reason, Reason::ContentOpaque);
        }
    }
}

/// Without ALPN the first bytes decide what is spoken. Nothing that servers pass over in front of a request, or take for one, is another
/// protocol.
#[test]
fn no_request_is_taken_for_another_protocol() {
    let blocked = get("/blocked");
    // nginx passes over empty lines without end, and takes methods of any length.
    for begin in ["\r\n".repeat(600), "\n".repeat(5000), "A".repeat(2000)] {
        for size in [1, 1000, 16_384] {
            let outcome = talk(&[Talk::says(Client, &format!("{begin}{blocked}"))], |_| size);
            assert_eq!(outcome.to_server.trim(), "", "in pieces of {size}");
            assert!(outcome.to_client.starts_with("HTTP/1.1 403 "), "{}", outcome.to_client);
            assert_eq!(outcome.alerts[0].rule.as_deref(), Some("blocked"));
        }
    }
    // Python's and Tomcat's take a tab for a space, or spaces before the method.
    for line in [
        "GET\t/blocked HTTP/1.1",
        "GET\x0c/blocked HTTP/1.1",
        " GET /blocked HTTP/1.1",
        "\r\n\t GET /blocked HTTP/1.1",
    ] {
        let outcome = in_any_pieces(&[Talk::says(Client, &format!("{line}\r\nHost: a\r\n\r\n"))]);
        assert_eq!(
            (outcome.to_server.trim(), outcome.ending.unwrap().0),
            ("", Reason::ContentUnparsed),
            "{line}"
        );
        assert!(outcome.to_client.starts_with("HTTP/1.1 400 "), "{line}");
    }
}

#[test]
fn a_tunnel_is_for_policy_to_say() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let said = [
        Talk::says(Client, request),
        Talk::says(Server, switching),
        Talk::says(Client, "\u{1}frames"),
        Talk::says(Server, "\u{2}too"),
    ];
    let allowed = in_any_pieces(&said);
    assert_eq!(
        (allowed.to_server, allowed.to_client),
        (format!("{request}\u{1}frames"), format!("{switching}\u{2}too"))
    );
    assert_eq!(
        (allowed.alerts.len(), allowed.alerts[0].reason, allowed.alerts[0].blocked),
        (1, Reason::ContentOpaque, false)
    );
    let setup = Setup { blocks_opaque: true, ..Setup::default() };
    let blocked = talk_with(&setup, &said, |_| 5);
    assert_eq!(blocked.to_server, request);
    assert!(blocked.to_client.starts_with("HTTP/1.1 403 "), "{}", blocked.to_client);
    assert_eq!(blocked.ending, Some((Reason::ContentOpaque, true)));
}

/// A head without an end, too many fields, too many requests without an answer, memory used up: policy is not switched off by any.
#[test]
fn a_reader_driven_off_does_not_switch_policy_off() {
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(100_000));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(3_000));
    for request in [endless, fields] {
        let outcome = talk(&[Talk::says(Client, &request)], |_| 16_384);
        assert_eq!((outcome.to_server.len(), outcome.ending.unwrap().0), (0, Reason::ContentUnparsed));
        assert!(outcome.to_client.starts_with("HTTP/1.1 400 "));
    }
    let many = talk(&[Talk::says(Client, &get("/1").repeat(500))], |_| 1000);
    assert_eq!(many.ending, Some((Reason::ContentUnparsed, false)));
    assert!(many.to_server.len() <= 128 * get("/1").len());
    let setup = Setup { out_of_memory_after: Some(1), ..Setup::default() };
    let outcome = talk_with(&setup, &[Talk::says(Client, &get("/blocked"))], |_| 10);
    assert_eq!((&*outcome.to_server, outcome.ending.unwrap().0), ("", Reason::ContentUnparsed));
}

/// The same messages when policy lets pass what cannot be read: to the byte, and told.
#[test]
fn policy_may_let_it_pass() {
    let setup = Setup { allows_unparsed: true, ..Setup::default() };
    let request = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\ngarbage\r\n";
    let outcome = talk_with(&setup, &[Talk::says(Client, request), Talk::says(Server, OK)], |_| 4);
    assert_eq!((&*outcome.to_server, &*outcome.to_client, outcome.ending), (request, OK, None));
    assert!(outcome.alerts.iter().all(|alert| !alert.blocked && alert.reason == Reason::ContentUnparsed));
    assert!(!outcome.alerts.is_empty());
    // A rule is asked all the same.
    let blocked = talk_with(&setup, &[Talk::says(Client, "GET /blocked HTTP/1.1\r\nHost: b\r\n\r\n")], |_| 4);
    assert_eq!((&*blocked.to_server, blocked.ending), ("", Some((Reason::ContentBlocked, true))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Random conversations in random pieces: what no rule names arrives as it was sent, and of the first that one names and all
    /// behind it nothing does.
    #[test]
    fn random_pipelines(kinds in proptest::collection::vec(0u8..6, 1..12), pieces in proptest::collection::vec(1usize..90, 1..40)) {
        let request = |kind: u8| match kind {
            0 => get("/blocked"),
            1 => "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /".to_owned(),
            2 => "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n".to_owned(),
            3 => "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            _ => get("/fine"),
        };
        let answer = |kind: u8| match kind {
            3 => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_owned(),
            4 => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n".to_owned(),
            _ => OK.to_owned(),
        };
        let good = kinds.iter().position(|kind| *kind == 0).unwrap_or(kinds.len());
        let said: Vec<_> = kinds.iter().map(|kind| Talk::says(Client, &request(*kind)))
            .chain(kinds[..good].iter().map(|kind| Talk::says(Server, &answer(*kind)))).collect();
        let outcome = talk(&said, |turn| pieces[turn % pieces.len()]);
        let passed: String = kinds[..good].iter().map(|kind| request(*kind)).collect();
        let answers: String = kinds[..good].iter().map(|kind| answer(*kind)).collect();
        prop_assert_eq!(&outcome.to_server, &passed);
        let rest = outcome.to_client.strip_prefix(&answers);
        prop_assert!(rest.is_some(), "{}", outcome.to_client);
        prop_assert_eq!(rest.unwrap().starts_with("HTTP/1.1 403"), good < kinds.len());
    }
}

/// What was negotiated counts, not who speaks first.
#[test]
fn a_server_of_http2_may_speak_first() {
    let settings = "\0\0\0\u{4}\0\0\0\0\0";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + settings;
    let setup = Setup { alpn: Some(b"h2"), ..Setup::default() };
    let said = [Talk::says(Server, settings), Talk::says(Client, &preface)];
    for size in [1, 5, 100] {
        let outcome = talk_with(&setup, &said, |_| size);
        assert_eq!(
            (outcome.to_client, outcome.to_server, outcome.ending),
            (settings.into(), preface.clone(), None)
        );
    }
}

/// A declared length decides at the head; one that is not declared when it is passed, and never with an orderly end.
#[test]
fn content_is_as_long_as_rules_allow() {
    let upload = |path: &str, chunks: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let declared = in_any_pieces(&[Talk::says(
        Client,
        "POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    )]);
    assert_eq!((&*declared.to_server, declared.ending), ("", Some((Reason::ContentBlocked, true))));
    let fits = upload("/big", "a\r\n0123456789\r\n");
    assert_eq!(in_any_pieces(&[Talk::says(Client, &fits)]).to_server, fits);
    for chunks in ["b\r\n0123456789!\r\n", "6\r\n012345\r\n5\r\n6789!\r\n"] {
        let outcome = talk(&[Talk::says(Client, &upload("/big", chunks))], |_| 1);
        assert_eq!(outcome.ending, Some((Reason::ContentBlocked, false)), "{chunks:?}");
        assert!(!outcome.to_server.contains('!') && outcome.to_client.is_empty(), "{}", outcome.to_server);
        assert!(outcome.alerts[0].late && outcome.alerts[0].blocked);
        assert_eq!(outcome.alerts[0].http.url.as_deref(), Some("/big"));
        // An alert tells, once, and cuts nothing off.
        let passed = upload("/told", &chunks.repeat(3));
        let told = talk(&[Talk::says(Client, &passed)], |_| 1);
        assert_eq!((told.to_server, told.ending, told.alerts.len()), (passed, None, 1));
        assert_eq!((told.alerts[0].reason, told.alerts[0].late), (Reason::ContentAlerted, true));
    }
    let endless = "HTTP/1.1 200 OK\r\n\r\n0123456789";
    let response = |more: &str| {
        talk(&[Talk::says(Client, &get("/long")), Talk::says(Server, &(endless.to_owned() + more))], |_| 1)
    };
    assert_eq!((response("").to_client, response("").ending), (endless.to_owned(), None));
    let cut = response("!");
    assert_eq!((cut.to_client, cut.ending), (endless.to_owned(), Some((Reason::ContentBlocked, false))));
    assert_eq!((cut.alerts[0].late, cut.alerts[0].from), (true, Server));
    let http = &cut.alerts[0].http;
    assert_eq!(
        (http.hostname.as_deref(), http.url.as_deref(), http.status),
        (Some("a"), Some("/long"), Some(200))
    );
}

/// Who has said that nothing more follows is not waited for: it reads the answer, or it never will.
#[test]
fn a_client_that_has_ended_is_answered_at_once() {
    for said in [
        vec![Talk::says(Client, &get("/blocked")), Talk::ends(Client)],
        vec![Talk::says(Client, &(get("/1") + &get("/blocked"))), Talk::ends(Client), Talk::says(Server, OK)],
    ] {
        let outcome = in_any_pieces(&said);
        assert!(outcome.to_client.contains("HTTP/1.1 403") && outcome.ended_at_once, "{}", outcome.to_client);
        assert_eq!(outcome.ending, Some((Reason::ContentBlocked, true)));
    }
}
