//! HTTP/1 conversations, cut at every place, against what a reader of RFC 9112 would say of them.

use wireglass_core::content::HttpInspector;
use wireglass_core::end::End::{self, Client, Server};
use wireglass_core::event::{AnomalyEvent, HttpEvent};
use wireglass_core::reason::{Ambiguity, InspectorOff};

type Talk<'a> = &'a [(End, &'a [u8])];

struct Outcome {
    events: Vec<HttpEvent>,
    anomalies: Vec<AnomalyEvent>,
    off: Option<InspectorOff>,
    unread: [u64; 2],
}

impl Outcome {
    fn fetch(&mut self, inspector: &mut HttpInspector) {
        self.events.extend(std::iter::from_fn(|| inspector.poll_transaction()).map(|event| *event));
        self.anomalies.extend(std::iter::from_fn(|| inspector.poll_anomaly()).map(|anomaly| *anomaly));
    }

    #[track_caller]
    fn assert_same(&self, other: &Self, how: &str) {
        assert_eq!(self.events, other.events, "{how}");
        assert_eq!(self.anomalies, other.anomalies, "{how}");
        assert_eq!((self.off, self.unread), (other.off, other.unread), "{how}");
    }

    fn ambiguities(&self) -> Vec<Ambiguity> {
        self.events.iter().flat_map(|event| event.ambiguous.iter()).collect()
    }

    /// What was told, of whose bytes, from where on.
    fn told(&self) -> Vec<(&str, End, u64)> {
        self.anomalies.iter().map(|a| (a.what.code(), a.from, a.offset)).collect()
    }
}

/// Plays the pieces, each cut into steps of `step` bytes.
fn play(talk: Talk<'_>, step: usize) -> Outcome {
    let mut inspector = HttpInspector::new(Some(b"http/1.1"));
    let mut outcome = Outcome { events: Vec::new(), anomalies: Vec::new(), off: None, unread: [0; 2] };
    for (from, bytes) in talk {
        for piece in bytes.chunks(step) {
            inspector.bytes(*from, piece);
            outcome.fetch(&mut inspector);
        }
    }
    outcome.off = inspector.off_reason();
    inspector.finish();
    outcome.fetch(&mut inspector);
    outcome.unread = [Client, Server].map(|from| inspector.unread(from));
    outcome
}

/// Plays it whole; in steps of every size; and with each message cut in two at every place. All must agree.
fn every_way(talk: Talk<'_>) -> Outcome {
    let whole = play(talk, usize::MAX);
    for step in 1..40 {
        play(talk, step).assert_same(&whole, &format!("in steps of {step}"));
    }
    for (message, (from, bytes)) in talk.iter().enumerate() {
        for cut in 0..=bytes.len() {
            let mut pieces: Vec<(End, &[u8])> = talk.to_vec();
            pieces.splice(message..=message, [(*from, &bytes[..cut]), (*from, &bytes[cut..])]);
            let how = format!("message {message} cut at {cut}");
            play(&pieces, usize::MAX).assert_same(&whole, &how);
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
            ..HttpEvent::default()
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

/// What comes after an odd message: it must be seen.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A request before [`NEXT`], and what is to be seen of it.
struct Odd {
    bytes: Vec<u8>,
    /// Method and target as logged.
    seen: (&'static str, &'static str),
    marks: &'static [Ambiguity],
}

impl Odd {
    fn marked(self, marks: &'static [Ambiguity]) -> Self {
        Self { marks, ..self }
    }

    fn seen(self, method: &'static str, target: &'static str) -> Self {
        Self { seen: (method, target), ..self }
    }
}

fn get(bytes: &[u8]) -> Odd {
    Odd { bytes: bytes.to_vec(), seen: ("GET", "/a"), marks: &[] }
}

fn post(fields: &[u8], body: &[u8]) -> Odd {
    let bytes = [b"POST /a HTTP/1.1\r\nHost: h\r\n", fields, b"\r\n\r\n", body].concat();
    Odd { bytes, seen: ("POST", "/a"), marks: &[] }
}

/// Each is served by nginx 1.22 or Apache httpd 2.4, which then serve what follows, unless it says that both refuse it.
#[rustfmt::skip]
fn odd_requests() -> Vec<Odd> {
    vec![
        // nginx: what a field line may hold.
        get(b"GET /a HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n"),
        get(b"GET /a HTTP/1.1\r\nHost: h\r\nA: b\x01\x7fc\r\n\r\n"),
        get(b"GET /a HTTP/1.1\r\nHost: h\r\n\xc3\xa9\xff: b\r\n\r\n"),
        get(b"GET /a HTTP/1.1\r\nHost: h\r\n(a)@[b]: c\r\n\r\n"),
        get(b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n"),
        // nginx: what a request line may hold.
        get(b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        get(b"GET /a   HTTP/1.1\r\nHost: h\r\n\r\n"),
        get(b"GET /a HTTP/1.1 \r\nHost: h\r\n\r\n"),
        get(b"GET /a HTTP/1.2\r\nHost: h\r\n\r\n"),
        get(b"GET /a HTTP/1.10\r\nHost: h\r\n\r\n"),
        get(b"GET /a HTTP/1.1\nHost: h\n\n"),
        get(b"\r\n\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        // Apache httpd: a version of another protocol in the framing of this one.
        get(b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n"),
        get(b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n").seen("GET", "/\u{fffd}\u{fffd}"),
        get(b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n").seen("GET", "/a b"),
        // nginx: two CR before the LF.
        get(b"GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n").marked(&[Ambiguity::BareCr]),
        // Refused by both: `A: b` and `C: d`, or one field?
        get(b"GET /a HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n").marked(&[Ambiguity::BareCr]),
        get(b"GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n").marked(&[Ambiguity::HostRepeated]),
        // Both: chunked in any case; leading zeros, extensions, spaces, trailers.
        post(b"Transfer-Encoding: CHUNKED", b"0\r\n\r\n"),
        post(b"Transfer-Encoding: chunked ", b"00000000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
        post(b"Transfer-Encoding: chunked", b"5 \r\nhello\r\n0;a=b\r\n\r\n"),
        post(b"Transfer-Encoding: chunked", b"5;\nhello\n0\nno colon\nA: b\n\n"),
        // Apache httpd: by the coding, then closes. nginx: 400.
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n").marked(&[Ambiguity::LengthAndCoding]),
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n").marked(&[Ambiguity::LengthAndCoding]),
        // Apache httpd.
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n").marked(&[Ambiguity::CodingRepeated]),
        post(b"Transfer-Encoding: chunked, chunked", b"0\r\n\r\n").marked(&[Ambiguity::CodingRepeated]),
        get(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").marked(&[Ambiguity::CodingInHttp10]),
        post(b"Transfer-Encoding:\r\n chunked", b"0\r\n\r\n").marked(&[Ambiguity::Folded]),
        post(b"Content-Length:\r\n\t5", b"hello").marked(&[Ambiguity::Folded]),
        post(b"A: b\r\n c", b""),
        post(b"Content-Length:\t5\t", b"hello"),
        post(b"Content-Length: 0005", b"hello"),
        // Refused by both, with 400 or 501.
        post(b"Transfer-Encoding: chunked, gzip", b"").marked(&[Ambiguity::CodingNotChunked]),
        post(b"Transfer-Encoding: xchunked", b"").marked(&[Ambiguity::CodingNotChunked]),
        post(b"Transfer-Encoding: , chunked", b"0\r\n\r\n").marked(&[Ambiguity::CodingRepeated]),
        post(b"Transfer-Encoding:", b"").marked(&[Ambiguity::CodingNotChunked]),
        post(b"Transfer-Encoding: chunked\r\n x", b"").marked(&[Ambiguity::CodingNotChunked, Ambiguity::Folded]),
        post(b"Transfer-Encoding : chunked", b"0\r\n\r\n").marked(&[Ambiguity::SpaceInName]),
        post(b"Content-Length: 1,2", b"x").marked(&[Ambiguity::LengthsDiffer]),
        post(b"Content-Length: 5\r\nContent-Length: 6", b"hello").marked(&[Ambiguity::LengthsDiffer]),
        post(b"Content-Length: 5\r\nContent-Length: 5,5", b"hello"),
        post(b"Content-Length: +5", b"hello").marked(&[Ambiguity::LengthInvalid]),
        post(b"Content-Length: 5 x", b"hello").marked(&[Ambiguity::LengthInvalid]),
        post(b"Content-Length: ,5", b"hello").marked(&[Ambiguity::LengthInvalid]),
        post(b"Content-Length: 5,", b"hello").marked(&[Ambiguity::LengthInvalid]),
        post(b"Content-Length: 5, 5", b"hello"),
        post(b"Content-Length: -1", b"").marked(&[Ambiguity::LengthInvalid]),
    ]
}

#[test]
fn odd_requests_do_not_hide_what_follows() {
    for Odd { bytes, seen: (method, target), marks } in odd_requests() {
        let case = String::from_utf8_lossy(&bytes).into_owned();
        let outcome = every_way(&[(Client, &bytes), (Server, OK), (Client, NEXT), (Server, OK)]);
        assert_eq!((outcome.off, outcome.unread), (None, [0; 2]), "{case}");
        let next = (1, "GET", "/next", Some(200), 0);
        assert_eq!(summaries(&outcome), [(0, method, target, Some(200), 0), next], "{case}");
        assert_eq!(outcome.ambiguities(), marks, "{case}");
        let told: &[_] = if marks.is_empty() { &[] } else { &[("http.ambiguous", Client, 0)] };
        assert_eq!(outcome.told(), told, "{case}");
        assert!(outcome.anomalies.iter().all(|a| a.tx_id == Some(0) && a.app_proto == "http"), "{case}");
    }
}

/// Framing fields count wherever they stand, and what the log asks for if it comes before them; nothing of the rest is kept.
#[test]
fn heads_of_any_length() {
    let fields = "A: b\r\n".repeat(50_000);
    let long = "x".repeat(100_000);
    let request = format!(
        "POST /a HTTP/1.1\r\nUser-Agent: one\r\n{fields}X: {long}\r\nHost: h\r\nContent-Length: 5\r\n{fields}\r\nhello"
    );
    let response = format!(
        "HTTP/1.1 302 Found\r\n{fields}Location: /b\r\nY: {long}\r\nTransfer-Encoding: chunked\r\n\r\n1;{long}\r\nx\r\n0\r\n{fields}Z: {long}\r\n\r\n"
    );
    let talk: Talk<'_> =
        &[(Client, request.as_bytes()), (Server, response.as_bytes()), (Client, NEXT), (Server, OK)];
    let whole = play(talk, usize::MAX);
    assert_eq!((whole.off, whole.unread), (None, [0; 2]));
    assert_eq!(whole.anomalies, []);
    assert_eq!(summaries(&whole), [(0, "POST", "/a", Some(302), 1), (1, "GET", "/next", Some(200), 0)]);
    let HttpEvent { hostname, user_agent, redirect, .. } = &whole.events[0];
    assert_eq!(
        [hostname, user_agent, redirect].map(|text| text.as_deref()),
        [Some("h"), Some("one"), Some("/b")]
    );
    for step in [1, 1000, 16_384] {
        play(talk, step).assert_same(&whole, &format!("in steps of {step}"));
    }
    // A field that is cut could say anything behind that.
    let cut = format!("POST /a HTTP/1.1\r\nTransfer-Encoding: {}chunked\r\n\r\n", " ".repeat(20_000));
    let outcome = play(&[(Client, cut.as_bytes()), (Client, NEXT)], 999);
    assert_eq!(outcome.ambiguities(), [Ambiguity::CodingNotChunked, Ambiguity::LongField]);
    assert_eq!(outcome.events.len(), 2);
}

#[test]
fn what_is_no_message_is_passed_over_and_told() {
    let request: (End, &[u8]) = (Client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    // Of a response, and how much of it is not read.
    let cases: &[(&[u8], u64)] = &[
        (b"SSH-2.0-OpenSSH\r\n\r\n", 19),
        (b"HTTP/1.1\r\n\r\n", 12),
        (b"HTTP/1.1 20 OK\r\n", 16),
        (b"no line", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\n", 4),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\n", 2),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", 4),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab surplus\n\x16\x03\n\n", 13),
    ];
    for (response, unread) in cases {
        let case = String::from_utf8_lossy(response).into_owned();
        let outcome = every_way(&[request, (Server, response)]);
        assert_eq!((outcome.off, outcome.unread), (None, [0, *unread]), "{case}");
        assert_eq!(outcome.events.len(), 1, "the request is reported all the same: {case}");
        let at = response.len() as u64 - unread;
        let told: &[_] = if *unread == 0 { &[] } else { &[("http.malformed", Server, at)] };
        assert_eq!(outcome.told(), told, "{case}");
        // And what follows is read.
        let mut again = response.to_vec();
        again.extend(b"\n");
        again.extend(OK);
        let outcome = every_way(&[request, request, request, (Server, &again)]);
        assert!(outcome.events.iter().any(|event| event.status == Some(200)), "{case}");
    }
    let outcome = every_way(&[
        request,
        (Client, b"\x16\x03\x01 no request\r\nGET /b\r\nPOST /c\r\n: HTTP/1.1\r\nG@T /d HTTP/1.1\r\n"),
        (Client, NEXT),
        (Server, OK),
        (Server, OK),
    ]);
    // `GET /b` is a request of HTTP/0.9: its answer is a body, unless it looks like a response.
    assert_eq!(
        summaries(&outcome),
        [(0, "GET", "/", Some(200), 0), (1, "GET", "/b", Some(200), 0), (2, "GET", "/next", None, 0)]
    );
    assert_eq!(outcome.told(), [("http.malformed", Client, 27), ("http.malformed", Client, 51)]);
    assert_eq!(outcome.unread, [16 + 9 + 12 + 17, 0]);
}

#[test]
fn http09_is_answered_by_a_body() {
    let outcome = every_way(&[(Client, b"GET /a\r\n"), (Server, b"<html>\n\n</html>\n")]);
    assert_eq!((outcome.off, outcome.unread), (None, [0; 2]));
    assert_eq!(summaries(&outcome), [(0, "GET", "/a", None, 16)]);
    assert_eq!(outcome.events[0].protocol, "HTTP/0.9");
}

#[test]
fn odd_responses_do_not_hide_what_follows() {
    let request: (End, &[u8]) = (Client, b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n");
    let cases: &[(&[u8], u16, u64, &[Ambiguity])] = &[
        // The connection option is missing (RFC 9110, 7.8), so it has not asked.
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", 200, 0, &[Ambiguity::UpgradeUnasked]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1,2\r\n\r\nx", 200, 1, &[Ambiguity::LengthsDiffer]),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            200,
            0,
            &[Ambiguity::LengthAndCoding],
        ),
        (b"HTTP/1.1   200\r\nContent-Length: 1\r\n\r\nx", 200, 1, &[]),
        (b"HTTP/1.1 200 \xff\xfe\x01\nno colon\nContent-Length : 1\n\nx", 200, 1, &[Ambiguity::SpaceInName]),
        (b"http/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204, 0, &[]),
    ];
    for (response, status, length, marks) in cases {
        let case = String::from_utf8_lossy(response).into_owned();
        let outcome = every_way(&[request, (Server, response), (Server, OK), (Client, NEXT), (Server, OK)]);
        assert_eq!((outcome.off, outcome.unread), (None, [0; 2]), "{case}");
        assert_eq!(summary(&outcome.events[0]), (0, "GET", "/a", Some(*status), *length), "{case}");
        assert_eq!(outcome.events[0].ambiguous.iter().collect::<Vec<_>>(), *marks, "{case}");
        let next = outcome
            .events
            .iter()
            .any(|event| event.url.as_deref() == Some("/next") && event.status == Some(200));
        assert!(next, "{case}");
    }
    let outcome = every_way(&[request, (Server, OK), (Server, OK), (Client, NEXT), (Server, OK)]);
    assert_eq!(outcome.ambiguities(), [Ambiguity::ResponseWithoutRequest]);
    assert_eq!(outcome.anomalies[0].tx_id, Some(1));
    assert_eq!(outcome.told(), [("http.ambiguous", Server, OK.len() as u64)]);
}

/// What comes behind a CONNECT before it is answered is HTTP if it is refused.
#[test]
fn requests_behind_a_refused_tunnel() {
    let connect = [&b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"[..], NEXT].concat();
    let refusal = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n";
    let outcome = every_way(&[(Client, &connect), (Server, refusal), (Server, OK)]);
    assert_eq!((outcome.off, outcome.unread), (None, [0; 2]));
}

#[test]
fn first_bytes_decide() {
    let off = |from, bytes: &[u8]| {
        let mut inspector = HttpInspector::new(None);
        bytes.iter().for_each(|byte| inspector.bytes(from, &[*byte]));
        assert_eq!(
            inspector.unread(from),
            if inspector.off_reason().is_some() { bytes.len() as u64 } else { 0 }
        );
        // Where it was negotiated, it is HTTP, and what is no message is passed over.
        assert_eq!(every_way(&[(from, bytes)]).off, None);
        inspector.off_reason()
    };
    assert_eq!(off(Client, b"\x00\x01\x02"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, b"EHLO\r\n"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, b"0\t\x02\x01\x01"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, b"0 \x02\x01\x01\x60\x1b"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, b"0 "), None);
    assert_eq!(off(Client, b"0 / HTTP/1.1\r\n"), None);
    assert_eq!(off(Client, &[b'A'; 2000]), None);
    assert_eq!(off(Client, &[b'\n'; 2000]), None);
    assert_eq!(off(Server, b"220 mail.example ESMTP\r\n"), Some(InspectorOff::NotHttp));
    assert_eq!(off(Client, b"\r\nM-SEARCH * HTTP/1.1\r\n\r\n"), None);
    assert_eq!(HttpInspector::new(Some(b"imap")).off_reason(), Some(InspectorOff::OtherAlpn));
    assert_eq!(HttpInspector::new(None).off_reason(), None);
}

#[test]
fn bounds_have_names() {
    let url = format!("GET /{} HTTP/1.1\r\n\r\n", "u".repeat(10_000));
    let outcome = play(&[(Client, url.as_bytes())], usize::MAX);
    assert_eq!(outcome.events[0].url.as_ref().map(|url| url.len()), Some(4096));
    // More text than is held: the transactions are followed without.
    let fat = url.into_bytes().repeat(100);
    let outcome = play(&[(Client, &fat), (Server, &OK.repeat(100))], usize::MAX);
    assert_eq!((outcome.off, outcome.events.len()), (None, 100));
    let short = |event: &HttpEvent| (event.shortened, event.url.is_none(), event.status);
    assert!(outcome.events[..60].iter().all(|event| short(event) == (false, false, Some(200))));
    assert!(outcome.events[70..].iter().all(|event| short(event) == (true, true, Some(200))));
    let unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(2000);
    let outcome = play(&[(Server, &unasked)], usize::MAX);
    assert_eq!(outcome.off, Some(InspectorOff::TooManyOpen));
    assert_eq!(outcome.events.len(), 1281);
    assert_eq!(outcome.anomalies.len(), 8, "no more of one flow are told");
    let outcome = play(&[(Server, &unasked)], 16_384);
    assert_eq!((outcome.off, outcome.events.len()), (None, 2000));
}

/// 127 pipelined requests, which are more than some servers take, and as many as fit their buffers.
#[test]
fn any_number_of_pipelined_requests() {
    for count in [127, 128, 129, 10_000] {
        let kinds: [(&[u8], &[u8]); 3] = [
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
            (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
            (
                b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
                b"HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n",
            ),
        ];
        let (mut requests, mut responses) = (Vec::new(), Vec::new());
        for n in 0..count {
            requests.extend(kinds[n % 3].0);
            responses.extend(kinds[n % 3].1);
        }
        let outcome =
            play(&[(Client, &requests), (Server, &responses), (Client, NEXT), (Server, OK)], 16_384);
        assert_eq!((outcome.off, outcome.unread, outcome.events.len()), (None, [0; 2], count + 1));
        for (n, event) in outcome.events[..count].iter().enumerate() {
            let (status, length) = [(200, 1), (200, 0), (201, 0)][n % 3];
            assert_eq!((event.tx_id, event.status, event.length), (n as u64, Some(status), length));
            assert_eq!(event.shortened, n >= 128, "{n}");
        }
        assert_eq!(outcome.events[count].url.as_deref(), Some("/next"));
    }
    let endless = b"GET / HTTP/1.1\r\n\r\n".repeat(70_000);
    let outcome = play(&[(Client, &endless)], 16_384);
    assert_eq!(outcome.off, Some(InspectorOff::TooManyOpen));
    assert_eq!(outcome.told(), [("http.too_many_open", Client, (65_536 + 128) * 18)]);
    assert_eq!(outcome.unread, [(70_000 - 65_536 - 128) * 18, 0]);
}
