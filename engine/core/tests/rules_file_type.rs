//! Rules on the type of what comes, in HTTP/1: a response waits until its first bytes show it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write as _;

#[path = "support/rules.rs"]
mod rules;

use flate2::Compression;
use flate2::write::GzEncoder;
use rules::{Outcome, Setup, Talk, talk_with};
use wireglass_core::end::End::{Client, Server};
use wireglass_core::reason::Reason;

const ELF: &str = "\x7fELF\x02\x01\x01 and so on";
const TEXT: &str = "{\"a\": 1}";

fn get(path: &str) -> Talk {
    Talk::says(Client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

fn with_length(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn encoded(coding: &str, body: &[u8]) -> Talk {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len());
    Talk::sends(Server, &[head.as_bytes(), body].concat())
}

/// The same, whatever the pieces.
#[track_caller]
fn in_any_pieces(setup: &Setup, said: &[Talk]) -> Outcome {
    // How much of a body that is blocked has come by then depends on the pieces.
    let talk = |size| {
        let mut outcome = talk_with(setup, said, |_| size);
        outcome.events.iter_mut().for_each(|event| event.length = 0);
        outcome
    };
    let whole = talk(usize::MAX);
    for size in [1, 2, 7, 50] {
        assert_eq!(talk(size), whole, "in pieces of {size}");
    }
    whole
}

#[track_caller]
fn is_blocked(outcome: &Outcome, reason: Reason) {
    assert!(outcome.to_client.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", outcome.to_client);
    assert!(!outcome.to_client.contains("ELF"));
    assert_eq!(outcome.ending, Some((reason, true)));
    let alert = &outcome.alerts[0];
    assert_eq!((alert.reason, alert.blocked, alert.late, alert.from), (reason, true, false, Server));
}

fn chunked(chunks: &[&str]) -> String {
    let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

#[test]
fn what_a_rule_names_is_answered_with_the_page() {
    let chunks: Vec<&str> = ELF.split("").filter(|text| !text.is_empty()).collect();
    let closed = format!("HTTP/1.1 200 OK\r\n\r\n{ELF}");
    for answer in [with_length(ELF), chunked(&[ELF]), chunked(&chunks), closed] {
        let outcome = in_any_pieces(&Setup::default(), &[get("/file"), Talk::says(Server, &answer)]);
        is_blocked(&outcome, Reason::ContentBlocked);
        assert_eq!(outcome.alerts[0].rule.as_deref(), Some("programs"));
    }
}

#[test]
fn what_no_rule_names_goes_on_as_it_is() {
    let long = format!("<p>{}", "x".repeat(5000));
    for body in [TEXT, "", "MZ", &long] {
        for answer in [with_length(body), chunked(&[body]).replace("\r\n0\r\n\r\n0", "\r\n0")] {
            let said = [
                get("/file"),
                Talk::says(Server, &answer),
                get("/other"),
                Talk::says(Server, &with_length(ELF)),
            ];
            let outcome = in_any_pieces(&Setup::default(), &said);
            assert_eq!(outcome.to_client, answer + &with_length(ELF));
            assert_eq!((outcome.ending, outcome.alerts.len()), (None, 0));
        }
    }
    // Without a length the end of the connection is the end.
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{TEXT}");
    let said = [get("/file"), Talk::says(Server, &answer), Talk::ends(Server)];
    assert_eq!(in_any_pieces(&Setup::default(), &said).to_client, answer);
    let nothing = "HTTP/1.1 304 Not Modified\r\n\r\n";
    assert_eq!(
        in_any_pieces(&Setup::default(), &[get("/file"), Talk::says(Server, nothing)]).to_client,
        nothing
    );
}

#[test]
fn codings_are_undone() {
    for (coding, body) in [("gzip", gzip(ELF.as_bytes())), ("gzip, gzip", gzip(&gzip(ELF.as_bytes())))] {
        let outcome = in_any_pieces(&Setup::default(), &[get("/file"), encoded(coding, &body)]);
        is_blocked(&outcome, Reason::ContentBlocked);
    }
    let body = gzip(TEXT.as_bytes());
    let outcome = in_any_pieces(&Setup::default(), &[get("/file"), encoded("gzip", &body)]);
    assert_eq!((outcome.ending, outcome.alerts.len()), (None, 0));
    assert!(outcome.to_client.ends_with(&*String::from_utf8_lossy(&body)));
}

#[test]
fn what_cannot_be_decoded_is_for_policy_to_say() {
    // A name of a file in the inner head that has no end, and hardly any bytes outside.
    let bomb = gzip(&[&b"\x1f\x8b\x08\x08\0\0\0\0\0\0"[..], &vec![b'a'; 3 << 20]].concat());
    let allows = Setup { allows_undecodable: true, ..Setup::default() };
    for (coding, body, reason) in [
        ("compress", b"x".to_vec(), Reason::ContentEncoding),
        ("gzip", ELF.as_bytes().to_vec(), Reason::ContentEncoding),
        ("gzip", gzip(ELF.as_bytes())[..10].to_vec(), Reason::ContentEncoding),
        ("br", b"\x11".to_vec(), Reason::ContentEncoding),
        ("gzip, gzip, gzip", b"x".to_vec(), Reason::ContentEncoding),
        ("gzip, gzip", bomb, Reason::ContentBomb),
    ] {
        let said = [get("/file"), encoded(coding, &body)];
        is_blocked(&talk_with(&Setup::default(), &said, |_| 4000), reason);
        let outcome = talk_with(&allows, &said, |_| 4000);
        assert_eq!((outcome.alerts[0].reason, outcome.alerts[0].blocked), (reason, false));
        assert!(outcome.to_client.ends_with(&*String::from_utf8_lossy(&body)));
        // Nobody asks.
        assert_eq!(talk_with(&Setup::default(), &[get("/"), encoded(coding, &body)], |_| 4000).alerts, []);
    }
}

/// Clients pass over what codings have beside the content, however much it is. A type that does not show for that is not let go as unknown.
#[test]
fn what_stands_before_the_content_hides_no_type() {
    let elf = gzip(ELF.as_bytes());
    let (flags, name) = (b"\x1f\x8b\x08\x08\0\0\0\0\0\xff", vec![b'n'; 200_000]);
    let named = [&flags[..], &name, b"\0", &elf[10..]].concat();
    let blocks = [&elf[..10], &b"\0\0\0\xff\xff".repeat(40_000), &elf[10..]].concat();
    for body in [named, blocks] {
        let outcome = talk_with(&Setup::default(), &[get("/file"), encoded("gzip", &body)], |_| 4000);
        is_blocked(&outcome, Reason::ContentEncoding);
    }
}

#[test]
fn a_body_that_does_not_come_lets_the_head_go() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n";
    let waiting = talk_with(&Setup::default(), &[get("/file"), Talk::says(Server, head)], |_| usize::MAX);
    assert_eq!((&*waiting.to_client, waiting.ending), (head, None));
    // What comes then ends it all the same.
    let said = [get("/file"), Talk::says(Server, &format!("{head}\x7f")), Talk::says_later(Server, "ELF")];
    let late = talk_with(&Setup::default(), &said, |_| usize::MAX);
    assert_eq!((late.to_client, late.ending), (format!("{head}\x7f"), Some((Reason::ContentBlocked, false))));
    assert!(late.alerts[0].late && late.alerts[0].blocked);
    let said = [
        get("/file"),
        Talk::says(Server, &format!("{head}{{")),
        Talk::says_later(Server, "\"a\": 1}           "),
    ];
    let fine = talk_with(&Setup::default(), &said, |_| usize::MAX);
    assert!(fine.to_client.ends_with("           ") && fine.ending.is_none() && fine.alerts.is_empty());
}

#[test]
fn streams_of_events_do_not_wait() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let said =
        [get("/file"), Talk::says(Server, head), Talk::says(Server, "data: 1\n\n"), Talk::ends(Client)];
    assert_eq!(talk_with(&Setup::default(), &said, |_| usize::MAX).to_client, format!("{head}data: 1\n\n"));
    let said = [get("/file"), Talk::says(Server, head), Talk::says(Server, ELF)];
    let outcome = talk_with(&Setup::default(), &said, |_| usize::MAX);
    assert_eq!((outcome.to_client, outcome.ending), (head.to_owned(), Some((Reason::ContentBlocked, false))));
    assert!(outcome.alerts[0].late);
}
