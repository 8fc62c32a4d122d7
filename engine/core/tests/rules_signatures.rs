//! Rules on what is found in contents, in HTTP/1: whatever the pieces, no message that has it arrives whole.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/rules.rs"]
mod rules;

use rules::{Outcome, Setup, Talk, talk_with};
use wireglass_core::end::End::{self, Client, Server};
use wireglass_core::reason::Reason;

const CODE: &str = "we attack at dawn, all of us";
const CARDS: &str = "4111 1111 1111 1111, 5555-5555-5555-4444";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> Talk {
    Talk::says(Client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn chunked(body: &str, size: usize) -> String {
    let chunks = body.as_bytes().chunks(size);
    let chunks: String =
        chunks.map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))).collect();
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

const PIECES: [usize; 6] = [1, 2, 3, 7, 50, usize::MAX];

/// It ends by a RST, once, for this rule and set.
#[track_caller]
fn is_cut_off(outcome: &Outcome, from: End, late: bool) {
    assert_eq!(outcome.ending, Some((Reason::ContentBlocked, false)));
    let [alert] = &outcome.alerts[..] else { panic!("{:?}", outcome.alerts) };
    assert_eq!(
        (alert.rule.as_deref(), alert.from, alert.blocked, alert.late),
        (Some("codes"), from, true, late)
    );
    let hit = alert.found.as_ref().unwrap();
    assert_eq!((&*hit.by, hit.count, hit.sample), ("codes", Some(1), None));
}

#[test]
fn what_is_found_ends_the_message() {
    let long = format!("{}{CODE}{}", "x".repeat(3000), "y".repeat(3000));
    for body in [CODE, &long, "a kode"] {
        let answers = [1, 2, 5, 5000].map(|size| chunked(body, size));
        for answer in answers.into_iter().chain([answer(body), format!("HTTP/1.1 200 OK\r\n\r\n{body}")]) {
            for size in PIECES {
                let said = [get("/search"), Talk::says(Server, &answer), Talk::ends(Server)];
                let outcome = talk_with(&Setup::default(), &said, |_| size);
                is_cut_off(&outcome, Server, true);
                for found in ["attack at dawn", "kode"] {
                    assert!(!outcome.to_client.contains(found), "{}", outcome.to_client);
                }
            }
        }
        for size in PIECES {
            let outcome =
                talk_with(&Setup::default(), &[Talk::says(Client, &post("/search", body))], |_| size);
            is_cut_off(&outcome, Client, true);
            assert!(!outcome.to_server.contains("dawn") && !outcome.to_server.contains("kode"));
        }
    }
}

#[test]
fn what_only_the_end_shows() {
    for answer in [answer("in zone 42"), chunked("in zone 42", 3), "HTTP/1.1 200 OK\r\n\r\nin zone 42".into()]
    {
        for size in PIECES {
            let said = [get("/search"), Talk::says(Server, &answer), Talk::ends(Server)];
            let outcome = talk_with(&Setup::default(), &said, |_| size);
            is_cut_off(&outcome, Server, true);
            assert!(!outcome.to_client.contains("\r\n0\r\n\r\n"));
        }
    }
    let said = [get("/search"), Talk::says(Server, &answer("in zone 42 and"))];
    assert_eq!(talk_with(&Setup::default(), &said, |_| 1).ending, None);
}

#[test]
fn what_no_rule_asks_for_goes_on() {
    for (path, body) in
        [("/search", "attack at noon"), ("/other", CODE), ("/search", ""), ("/searching", CODE)]
    {
        for size in PIECES {
            let (request, answer) = (post(path, body), answer(body));
            // The next message begins anew.
            let half = post("/search", "attack at d");
            let said = [
                Talk::says(Client, &request),
                Talk::says(Server, &answer),
                Talk::says(Client, &half),
                Talk::says(Server, OK),
                Talk::says(Client, &post("/search", "awn")),
                Talk::says(Server, OK),
            ];
            let outcome = talk_with(&Setup::default(), &said, |_| size);
            assert_eq!((outcome.ending, outcome.alerts.len()), (None, 0), "{path} {body}");
            assert_eq!(outcome.to_server, request + &half + &post("/search", "awn"));
            assert_eq!(outcome.to_client, answer + OK + OK);
        }
    }
}

#[test]
fn an_alert_is_told_once_and_all_goes_on() {
    for size in PIECES {
        let request = post("/searching", &format!("{CARDS}, {CARDS}\n"));
        let said = [Talk::says(Client, &request), Talk::says(Server, OK)];
        let outcome = talk_with(&Setup::default(), &said, |_| size);
        assert_eq!((outcome.to_server, outcome.to_client, outcome.ending), (request, OK.to_owned(), None));
        let [alert] = &outcome.alerts[..] else { panic!("{:?}", outcome.alerts) };
        assert_eq!((alert.rule.as_deref(), alert.blocked, alert.from), (Some("cards"), false, Client));
        let hit = alert.found.as_ref().unwrap();
        assert!(hit.count >= Some(2) && hit.sample.unwrap().to_string() == "4111**********11");
    }
    // One is fewer than two.
    let said = [Talk::says(Client, &post("/searching", "4111 1111 1111 1111\n"))];
    assert_eq!(talk_with(&Setup::default(), &said, |_| 5).alerts, []);
}

/// The first rule that matches wins: what it lets pass is not looked into for those behind it.
#[test]
fn rules_behind_one_that_has_matched_are_not_asked() {
    let request = post("/search", &format!("{CARDS}, {CODE}"));
    for size in PIECES {
        let outcome = talk_with(&Setup::default(), &[Talk::says(Client, &request)], |_| size);
        if size < usize::MAX {
            assert_eq!((&outcome.to_server, outcome.ending), (&request, None), "{size}");
            assert_eq!(outcome.alerts.len(), 1);
        }
    }
    // The other way around both apply.
    let request = post("/search", &format!("{CODE}, {CARDS}"));
    is_cut_off(&talk_with(&Setup::default(), &[Talk::says(Client, &request)], |_| 7), Client, true);
}

#[test]
fn coded_bodies_are_for_policy_to_say() {
    let coded = answer("x").replace("Content-Length", "Content-Encoding: gzip\r\nContent-Length");
    let said = [get("/search"), Talk::says(Server, &coded)];
    let outcome = talk_with(&Setup::default(), &said, |_| 9);
    assert_eq!(outcome.ending, Some((Reason::ContentEncoding, true)));
    assert!(outcome.to_client.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    let allows = Setup { allows_undecodable: true, ..Setup::default() };
    let outcome = talk_with(&allows, &said, |_| 9);
    assert_eq!((&outcome.to_client, outcome.ending), (&coded, None));
    assert_eq!((outcome.alerts[0].reason, outcome.alerts[0].blocked), (Reason::ContentEncoding, false));
    // Of a request, too; and where there is no body, there is nothing to decode.
    let request = post("/search", "x").replace("Content-Length", "Content-Encoding: br\r\nContent-Length");
    let outcome = talk_with(&Setup::default(), &[Talk::says(Client, &request)], |_| 9);
    assert_eq!((&*outcome.to_server, outcome.alerts[0].reason), ("", Reason::ContentEncoding));
    let empty = coded.replace("Length: 1\r\n\r\nx", "Length: 0\r\n\r\n");
    let outcome = talk_with(&Setup::default(), &[get("/search"), Talk::says(Server, &empty)], |_| 9);
    assert_eq!((outcome.to_client, outcome.alerts.len()), (empty, 0));
}

/// What waits for its type is looked into as well, and nothing of it has gone on.
#[test]
fn what_is_held_for_its_type_is_answered_with_the_page() {
    let body = format!("%PDF-1.7 {CODE}");
    for size in PIECES {
        let said = [get("/searched-file"), Talk::says(Server, &answer(&body))];
        let outcome = talk_with(&Setup::default(), &said, |_| size);
        let alert = &outcome.alerts[0];
        assert_eq!((alert.rule.as_deref(), alert.blocked), (Some("searched file"), true));
        if outcome.to_client.starts_with("HTTP/1.1 403") {
            assert_eq!((alert.late, outcome.ending), (false, Some((Reason::ContentBlocked, true))));
        } else {
            assert_eq!((alert.late, outcome.ending), (true, Some((Reason::ContentBlocked, false))));
        }
        assert!(!outcome.to_client.contains("dawn"));
        let said = [get("/searched-file"), Talk::says(Server, &answer(CODE))];
        assert_eq!(talk_with(&Setup::default(), &said, |_| size).to_client, answer(CODE));
    }
}
