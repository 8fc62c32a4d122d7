//! HTTP/1 conversations, cut at every place, against what a reader of RFC 9112 would say of them.

use wireglass::inspect::HttpInspector;
use wireglass::log::event::HttpEvent;
use wireglass::reason::InspectorOff;
use wireglass::side::Side::{self, Client, Server};

type Talk<'a> = &'a [(Side, &'a [u8])];

struct Outcome {
    events: Vec<HttpEvent>,
    off: Option<InspectorOff>,
}

fn fetch(inspector: &mut HttpInspector, events: &mut Vec<HttpEvent>) {
    while let Some(event) = inspector.poll_transaction() {
        events.push(*event);
    }
}

/// Plays the pieces, each cut into steps of `step` bytes.
fn play(talk: Talk<'_>, step: usize) -> Outcome {
    let mut inspector = HttpInspector::new(Some(b"http/1.1"));
    let mut events = Vec::new();
    for (from, bytes) in talk {
        for piece in bytes.chunks(step) {
            inspector.bytes(*from, piece);
            fetch(&mut inspector, &mut events);
        }
    }
    let off = inspector.off_reason();
    inspector.finish();
    fetch(&mut inspector, &mut events);
    Outcome { events, off }
}

/// Plays it whole; in steps of every size; and with each message cut in two at every place. All must agree.
fn every_way(talk: Talk<'_>) -> Outcome {
    let whole = play(talk, usize::MAX);
    for step in 1..40 {
        let outcome = play(talk, step);
        assert_eq!(outcome.events, whole.events, "in steps of {step}");
        assert_eq!(outcome.off, whole.off, "in steps of {step}");
    }
    for (message, (from, bytes)) in talk.iter().enumerate() {
        for cut in 0..=bytes.len() {
            let mut pieces: Vec<(Side, &[u8])> = talk.to_vec();
            pieces.splice(message..=message, [(*from, &bytes[..cut]), (*from, &bytes[cut..])]);
            let outcome = play(&pieces, usize::MAX);
            assert_eq!(outcome.events, whole.events, "message {message} cut at {cut}");
            assert_eq!(outcome.off, whole.off, "message {message} cut at {cut}");
        }
    }
    whole
}

fn summary(event: &HttpEvent) -> (u64, &str, &str, Option<u16>, u64) {
    let method = event.method.as_deref().unwrap_or("-");
    (event.tx_id, method, event.url.as_deref().unwrap_or("-"), event.status, event.length)
}

fn summaries(outcome: &Outcome) -> Vec<(u64, &str, &str, Option<u16>, u64)> {
    outcome.events.iter().map(summary).collect()
}

#[test]
fn keep_alive_with_all_logged_fields() {
    let outcome = every_way(&[
        (
            Client,
            b"GET /index.html?q=1 HTTP/1.1\r\nHost: example.com:8443\r\nUser-Agent: curl/8\r\n\
              Referer: https://elsewhere.example/\r\nCookie: secret=1\r\nAuthorization: Basic c2VjcmV0\r\n\r\n",
        ),
        (
            Server,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 5\r\n\
              Set-Cookie: secret=2\r\n\r\nhello",
        ),
        (Client, b"POST /form HTTP/1.1\r\nhost: example.com\r\ncontent-length: 9\r\n\r\nuser=body"),
        (Server, b"HTTP/1.1 302 Found\r\nLocation: /thanks\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(outcome.off, None);
    assert_eq!(
        outcome.events[0],
        HttpEvent {
            tx_id: 0,
            hostname: Some("example.com".into()),
            url: Some("/index.html?q=1".into()),
            user_agent: Some("curl/8".into()),
            content_type: Some("text/html; charset=utf-8".into()),
            referer: Some("https://elsewhere.example/".into()),
            method: Some("GET".into()),
            protocol: "HTTP/1.1",
            status: Some(200),
            redirect: None,
            length: 5,
        }
    );
    assert_eq!(outcome.events[1].redirect.as_deref(), Some("/thanks"));
    assert_eq!(summary(&outcome.events[1]), (1, "POST", "/form", Some(302), 0));
    assert!(!format!("{:?}", outcome.events).contains("secret"));
}

#[test]
fn pipelined_requests_meet_their_own_responses() {
    let outcome = every_way(&[
        (
            Client,
            b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nHEAD /b HTTP/1.1\r\nHost: h\r\n\r\n\r\n\
              PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n\
              GET /d HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        (
            Server,
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n\
              HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 70\r\n\r\n",
        ),
    ]);
    assert_eq!(outcome.off, None);
    assert_eq!(
        summaries(&outcome),
        [
            (0, "GET", "/a", Some(200), 3),
            (1, "HEAD", "/b", Some(200), 0),
            (2, "PUT", "/c", Some(204), 0),
            (3, "GET", "/d", Some(304), 0),
        ]
    );
}

#[test]
fn chunked_with_extensions_and_trailers() {
    let outcome = every_way(&[
        (Client, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        (
            Server,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n\
              A\r\n0123456789\r\n01 ;name=\"v\"\r\nx\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n00\r\nChecksum: 1\r\nOther: 2\r\n\r\n",
        ),
        (Client, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"),
        // An empty line too many, as some servers send behind a body.
        (Server, b"\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
    ]);
    assert_eq!(outcome.off, None);
    assert_eq!(summaries(&outcome), [(0, "GET", "/a", Some(200), 37), (1, "GET", "/b", Some(404), 2)]);
}

#[test]
fn interim_responses_are_not_the_response() {
    let outcome = every_way(&[
        (Client, b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
        (Server, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (Client, b"ok"),
        (Server, b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n."),
    ]);
    assert_eq!(summaries(&outcome), [(0, "POST", "/", Some(201), 1)]);
}

#[test]
fn a_websocket_ends_the_reading() {
    let outcome = every_way(&[
        (Client, b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
        (Server, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"),
        (Client, b"\x81\x85\x00\x00\x00\x00hello"),
    ]);
    assert_eq!(outcome.off, Some(InspectorOff::Opaque));
    assert_eq!(summaries(&outcome), [(0, "GET", "/ws", Some(101), 0)]);
}

#[test]
fn connect_opens_a_tunnel_or_is_refused() {
    let open = every_way(&[
        (Client, b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n"),
        (Server, b"HTTP/1.1 200 Connection established\r\n\r\n"),
        (Client, b"\x16\x03\x01"),
    ]);
    assert_eq!(open.off, Some(InspectorOff::Opaque));
    assert_eq!(summaries(&open), [(0, "CONNECT", "other.example:443", Some(200), 0)]);
    let refused = every_way(&[
        (Client, b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n"),
        (Server, b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
        (Client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(refused.off, None);
    assert_eq!(refused.events.len(), 2);
}

#[test]
fn a_body_that_ends_with_the_connection_is_complete() {
    let outcome = every_way(&[
        (Client, b"GET / HTTP/1.0\r\n\r\n"),
        (Server, b"HTTP/1.0 200 OK\nContent-Type: text/plain\n\nno length here"),
    ]);
    assert_eq!(summaries(&outcome), [(0, "GET", "/", Some(200), 14)]);
    assert_eq!(outcome.events[0].protocol, "HTTP/1.0");
    assert_eq!(outcome.events[0].hostname, None);
}

#[test]
fn what_is_open_at_the_end_is_reported() {
    let outcome = every_way(&[
        (Client, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\nGET /c"),
        (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
    ]);
    assert_eq!(summaries(&outcome), [(0, "GET", "/a", Some(200), 4), (1, "GET", "/b", None, 0)]);
}

#[test]
fn a_response_that_nobody_asked_for() {
    let outcome = every_way(&[(Server, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")]);
    assert_eq!(outcome.off, None);
    assert_eq!(summaries(&outcome), [(0, "-", "-", Some(408), 0)]);
}

#[test]
fn faults_turn_the_reader_off_by_name() {
    let request: (Side, &[u8]) = (Client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let cases: &[(&[u8], InspectorOff)] = &[
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", InspectorOff::Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", InspectorOff::Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", InspectorOff::Malformed),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz", InspectorOff::Malformed),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab", InspectorOff::Malformed),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1111111111111111\r\n",
            InspectorOff::Malformed,
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", InspectorOff::Malformed),
    ];
    for (response, reason) in cases {
        let outcome = every_way(&[request, (Server, response)]);
        assert_eq!(outcome.off, Some(*reason), "{}", String::from_utf8_lossy(response));
        assert_eq!(outcome.events.len(), 1, "the request is reported all the same");
    }
    let smuggled = every_way(&[(Client, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n")]);
    assert_eq!(smuggled.off, Some(InspectorOff::Malformed));
}

#[test]
fn first_bytes_decide() {
    let off = |from, bytes: &[u8]| every_way(&[(from, bytes)]).off;
    assert_eq!(off(Client, b"\x00\x01\x02"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, b"EHLO\r\n"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, &[b'A'; 100]), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, &[b'\n'; 100]), Some(InspectorOff::NotHttp));
    assert_eq!(off(Server, b"220 mail.example ESMTP\r\n"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, b"\r\nM-SEARCH * HTTP/1.1\r\n\r\n"), None);
    assert_eq!(HttpInspector::new(Some(b"imap")).off_reason(), Some(InspectorOff::OtherAlpn));
    assert_eq!(HttpInspector::new(None).off_reason(), None);
}

#[test]
fn bounds_have_names() {
    let mut long = b"GET / HTTP/1.1\r\nX: ".to_vec();
    long.resize(70_000, b'a');
    assert_eq!(play(&[(Client, &long)], 1000).off, Some(InspectorOff::HeaderTooBig));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(300));
    assert_eq!(play(&[(Client, many.as_bytes())], 1000).off, Some(InspectorOff::HeaderTooBig));
    let pipelined = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(129);
    let outcome = play(&[(Client, &pipelined)], usize::MAX);
    assert_eq!(outcome.off, Some(InspectorOff::TooManyOpen));
    assert_eq!(outcome.events.len(), 128);
    let unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(1000);
    let outcome = play(&[(Server, &unasked)], usize::MAX);
    assert_eq!(outcome.off, Some(InspectorOff::TooManyOpen));
    assert_eq!(outcome.events.len(), 257);
    let url = format!("GET /{} HTTP/1.1\r\n\r\n", "u".repeat(10_000));
    let outcome = play(&[(Client, url.as_bytes())], usize::MAX);
    assert_eq!(outcome.events[0].url.as_ref().map(String::len), Some(4096));
    let fat = url.into_bytes().repeat(100);
    assert_eq!(play(&[(Client, &fat)], usize::MAX).off, Some(InspectorOff::TooManyOpen));
}
