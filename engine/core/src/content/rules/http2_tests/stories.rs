//! Frames made by hand.

mod searched;
mod typed;

use super::*;
use crate::end::End::{Client, Server};
use crate::policy::OnUnread;
use crate::reason::Reason;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Frames, in short: type, flags, stream, payload.
type Frames = Vec<(u8, u8, u32, Vec<u8>)>;

#[track_caller]
fn frames(mut bytes: &[u8]) -> Frames {
    let mut frames = Frames::new();
    while let Some((&[l0, l1, l2, kind, flags, s0, s1, s2, s3], rest)) = bytes.split_first_chunk::<9>() {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([0, l0, l1, l2]) as usize);
        frames.push((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]), payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "{bytes:?}");
    frames
}

/// One connection, whose ends have an encoder and a decoder of another project each.
struct Ends {
    wire: Wire,
    encoders: PerEnd<loona_hpack::Encoder<'static>>,
    decoders: PerEnd<loona_hpack::Decoder<'static>>,
}

impl Ends {
    fn new() -> Self {
        Self::with_policy(ContentPolicy::compile(&rules(), Arc::default()))
    }

    fn with_policy(policy: ContentPolicy) -> Self {
        Self::with_page(policy, 0)
    }

    /// `more`: bytes of the page.
    fn with_page(policy: ContentPolicy, more: usize) -> Self {
        let mut ends = Self {
            wire: Wire::with_policy(policy, more),
            encoders: PerEnd { client: loona_hpack::Encoder::new(), server: loona_hpack::Encoder::new() },
            decoders: PerEnd { client: loona_hpack::Decoder::new(), server: loona_hpack::Decoder::new() },
        };
        ends.passes(Client, &[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        ends.passes(Server, &frame(SETTINGS, 0, 0, &[]));
        ends.passes(Client, &frame(SETTINGS, 1, 0, &[]));
        ends.passes(Server, &frame(SETTINGS, 1, 0, &[]));
        ends
    }

    /// It arrives as it was sent, and nothing else does.
    #[track_caller]
    fn passes(&mut self, from: End, bytes: &[u8]) {
        self.wire.send(from, bytes);
        assert_eq!(self.wire.receive(from.other()), bytes);
        assert_eq!(self.wire.receive(from), b"");
    }

    /// Nothing arrives.
    #[track_caller]
    fn is_dropped(&mut self, from: End, bytes: &[u8]) {
        self.wire.send(from, bytes);
        assert_eq!(self.wire.receive(from.other()), b"");
    }

    fn block(&mut self, from: End, fields: &[(&str, &str)]) -> Vec<u8> {
        self.encoders[from].encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn request(&mut self, stream: u32, flags: u8, method: &str, path: &str) -> Vec<u8> {
        let fields = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", path),
            ("cookie", "c"),
        ];
        let block = self.block(Client, &fields);
        frame(HEADERS, END_HEADERS | flags, stream, &block)
    }

    fn response(&mut self, stream: u32, flags: u8, kind: &str) -> Vec<u8> {
        let block = self.block(Server, &[(":status", "200"), ("content-type", kind), ("set-cookie", "s")]);
        frame(HEADERS, END_HEADERS | flags, stream, &block)
    }

    /// The fields that an end reads in a block.
    #[track_caller]
    fn reads(&mut self, at: End, block: &[u8]) -> Vec<String> {
        let fields = self.decoders[at].decode(block).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        fields.into_iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect()
    }

    /// What this end gets, blocks in words.
    #[track_caller]
    fn got(&mut self, at: End) -> Vec<String> {
        let of_every_page = ["content-security-policy", "referrer-policy", "x-content-type", "x-robots-tag"];
        let mut got = Vec::new();
        for (kind, flags, stream, payload) in frames(&self.wire.receive(at)) {
            let end = if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 { " END" } else { "" };
            got.push(match kind {
                HEADERS => {
                    let mut fields = self.reads(at, &payload);
                    fields.retain(|field| !of_every_page.iter().any(|name| field.starts_with(name)));
                    format!("{stream}{end} {}", fields.join(" "))
                }
                DATA => format!("{stream}{end} data {}", payload.len()),
                WINDOW_UPDATE => {
                    format!("{stream} credit {}", u32::from_be_bytes(payload.try_into().unwrap()))
                }
                RST_STREAM => format!("{stream} reset {}", payload[3]),
                GOAWAY => format!("goaway {} {}", payload[3], payload[7]),
                _ => format!("{stream} type {kind} {payload:?}"),
            });
        }
        got
    }
}

const PAGE: &str =
    "1 :status=403 content-type=text/html; charset=utf-8 cache-control=no-store content-length=16";

#[test]
fn a_request_is_blocked_and_those_after_it_are_encoded_anew() {
    let mut ends = Ends::new();
    let blocked = ends.request(1, END_STREAM, "DELETE", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(ends.got(Client), [PAGE, "1 END data 16"]);
    // The server's table lacks what the client's encoder refers to.
    let next = ends.request(3, END_STREAM, "GET", "/a");
    ends.wire.send(Client, &next);
    let got = ends.wire.receive(Server);
    assert_eq!(got[9], 0x20, "the first block empties the table: {got:?}");
    let (kind, flags, stream, block) = frames(&got).remove(0);
    assert_eq!((kind, flags, stream), (HEADERS, END_HEADERS | END_STREAM, 3));
    let fields = [":method=GET", ":scheme=https", ":authority=a", ":path=/a", "cookie=c"];
    assert_eq!(ends.reads(Server, &block), fields);
    // The server's direction is as it was.
    let response = ends.response(3, END_STREAM, "good/type");
    ends.passes(Server, &response);
    let (event, alert) = (&ends.wire.events[0], &ends.wire.alerts[0]);
    assert_eq!((event.url.as_deref(), event.rule.as_deref()), (Some("/a"), Some("DELETE")));
    assert_eq!((alert.stream, alert.reason, alert.blocked), (1, Reason::ContentBlocked, true));
}

#[test]
fn an_upload_to_a_blocked_path_is_swallowed_and_credited() {
    let mut ends = Ends::new();
    let blocked = ends.request(1, 0, "DELETE", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(ends.got(Client), [PAGE, "1 END data 16"]);
    ends.is_dropped(Client, &frame(DATA, 8, 1, &[3, 1, 2, 0, 0, 0]));
    assert_eq!(ends.got(Client), ["0 credit 6", "1 credit 6"]);
    ends.is_dropped(Client, &frame(WINDOW_UPDATE, 0, 1, &5u32.to_be_bytes()));
    ends.is_dropped(Client, &frame(DATA, END_STREAM, 1, &[1; 10]));
    assert_eq!(ends.got(Client), ["0 credit 10"]);
    // The stream is still idle at the server.
    ends.is_dropped(Client, &frame(RST_STREAM, 0, 1, &8u32.to_be_bytes()));
    ends.is_dropped(Client, &frame(WINDOW_UPDATE, 0, 1, &5u32.to_be_bytes()));
    ends.passes(Client, &frame(PRIORITY, 0, 1, &[0; 5]));
}

#[test]
fn a_response_is_replaced() {
    let mut ends = Ends::new();
    for stream in [1, 3] {
        let request = ends.request(stream, 0, "GET", "/a");
        ends.passes(Client, &request);
    }
    let response = ends.response(1, 0, "bad/type");
    ends.is_dropped(Server, &[]);
    ends.wire.send(Server, &response);
    let page = "1 :status=403 content-type=text/html; charset=utf-8 cache-control=no-store content-length=14";
    assert_eq!(ends.got(Client), [page, "1 END data 14"]);
    assert_eq!(ends.got(Server), ["1 reset 8"]);
    // What is on its way pays the debt of 14 octets, and is credited.
    ends.wire.send(Server, &frame(DATA, 0, 1, &[0; 100]));
    assert_eq!((ends.got(Client), ends.got(Server)), (vec![], vec!["0 credit 86".to_owned()]));
    assert_eq!(ends.wire.rules.windows.debt(), 0);
    ends.is_dropped(Client, &frame(DATA, END_STREAM, 1, &[0; 10]));
    assert_eq!(ends.got(Client), ["0 credit 10"]);
    ends.is_dropped(Server, &frame(DATA, END_STREAM, 1, &[0; 10]));
    assert_eq!(ends.got(Server), ["0 credit 10"]);
    let other = ends.response(3, 0, "good/type");
    ends.wire.send(Server, &other);
    assert_eq!(ends.got(Client), ["3 :status=200 content-type=good/type set-cookie=s"]);
    ends.passes(Server, &frame(DATA, END_STREAM, 3, &[0; 10]));
}

/// Servers give up connections with many resets, so there is none where it is of no use.
#[test]
fn a_short_response_is_swallowed() {
    let mut ends = Ends::new();
    for (stream, length, flags, expected) in [
        (1, "1000", 0, &[][..]),
        (3, "65535", 0, &[]),
        (5, "65536", 0, &["5 reset 8"]),
        (7, "1000000", END_STREAM, &[]),
    ] {
        let request = ends.request(stream, END_STREAM, "GET", "/a");
        ends.wire.send(Client, &request);
        ends.wire.receive(Server);
        let fields = [(":status", "200"), ("content-type", "bad/type"), ("content-length", length)];
        let block = ends.block(Server, &fields);
        ends.wire.send(Server, &frame(HEADERS, END_HEADERS | flags, stream, &block));
        assert_eq!(ends.got(Client).len(), 2);
        assert_eq!(ends.got(Server), expected);
        ends.is_dropped(Server, &frame(DATA, END_STREAM, stream, &[0; 100]));
        ends.wire.receive(Server);
    }
}

#[test]
fn every_way_to_respond() {
    let mut ends = Ends::new();
    for (stream, method) in [(1, "PATCH"), (3, "OPTIONS"), (5, "TRACE")] {
        let request = ends.request(stream, END_STREAM, method, "/a");
        ends.is_dropped(Client, &request);
    }
    assert_eq!(
        ends.got(Client),
        [
            "1 reset 8",
            "3 END :status=451 cache-control=no-store content-length=0",
            "5 END :status=302 cache-control=no-store location=https://b.example/why content-length=0",
        ]
    );
    let fields = [
        (":method", "DELETE"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/p.S/M"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let block = ends.block(Client, &fields);
    ends.is_dropped(Client, &frame(HEADERS, END_HEADERS, 7, &block));
    let answer = "7 END :status=200 content-type=application/grpc grpc-status=7 grpc-message=blocked: DELETE";
    assert_eq!(ends.got(Client), [answer]);
}

/// Nothing may come before SETTINGS, within a frame, or within a header block.
#[test]
fn an_answer_waits_for_its_place() {
    let mut ends = Ends::new();
    ends.wire = Wire::new(&rules(), 0);
    ends.passes(Client, &[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
    let blocked = ends.request(1, END_STREAM, "DELETE", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(ends.got(Client), Vec::<String>::new());
    ends.passes(Server, &frame(SETTINGS, 0, 0, &[]));
    ends.wire.send(Server, &frame(SETTINGS, 1, 0, &[]));
    assert_eq!(ends.got(Client), ["0 type 4 []", PAGE, "1 END data 16"]);

    let good = ends.request(3, END_STREAM, "GET", "/a");
    ends.wire.send(Client, &good);
    ends.got(Server);
    let response = ends.response(3, 0, "good/type");
    ends.passes(Server, &response);
    let data = frame(DATA, 0, 3, b"0123456789");
    ends.passes(Server, &data[..12]);
    let blocked = ends.request(5, END_STREAM, "OPTIONS", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(ends.wire.receive(Client), b"", "within a frame");
    ends.wire.send(Server, &data[12..]);
    let got = ends.wire.receive(Client);
    assert_eq!(got[..data.len() - 12], data[12..]);
    assert_eq!(frames(&got[data.len() - 12..])[0].2, 5);

    // A block that has begun has not gone on, so an answer comes before it.
    let block = ends.block(Server, &[("x", "1")]);
    let (first, second) =
        (frame(HEADERS, END_STREAM, 3, &block[..1]), frame(CONTINUATION, END_HEADERS, 3, &block[1..]));
    ends.is_dropped(Server, &first);
    let blocked = ends.request(7, END_STREAM, "OPTIONS", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(ends.got(Client).len(), 1);
    ends.wire.send(Server, &second);
    assert_eq!(ends.wire.receive(Client), [first, second].concat());
}

/// A window of 65,535 is used up by data and answers; what the server sends beyond it is held, in order, until the client credits it.
#[test]
fn debt_is_held_and_paid() {
    let mut ends = Ends::new();
    let good = ends.request(1, END_STREAM, "GET", "/a");
    ends.passes(Client, &good);
    let response = ends.response(1, 0, "good/type");
    ends.passes(Server, &response);
    for _ in 0..6 {
        ends.passes(Server, &frame(DATA, 0, 1, &[0; 10_000]));
    }
    let blocked = ends.request(3, END_STREAM, "DELETE", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(ends.got(Client).len(), 2);
    assert_eq!(ends.wire.rules.windows.debt(), 16);
    // 5519 octets are left.
    ends.wire.send(Server, &frame(DATA, 0, 1, &[1; 5530]));
    assert_eq!((ends.got(Client), ends.got(Server)), (vec!["1 data 5519".to_owned()], vec![]));
    let trailers = ends.block(Server, &[("x", "1")]);
    ends.is_dropped(Server, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
    ends.passes(Server, &frame(PING, 0, 0, &[0; 8]));
    ends.is_dropped(Client, &frame(WINDOW_UPDATE, 0, 0, &10u32.to_be_bytes()));
    assert_eq!(ends.got(Client), ["1 data 10"]);
    ends.wire.send(Client, &frame(WINDOW_UPDATE, 0, 0, &100u32.to_be_bytes()));
    assert_eq!(ends.got(Server), ["0 credit 94"]);
    assert_eq!(ends.got(Client), ["1 data 1", "1 END x=1"]);
    assert_eq!(ends.wire.rules.windows.debt(), 0);
}

/// Padding is no data: it is left out of what is held.
#[test]
fn padding_pays_debt() {
    let mut ends = Ends::new();
    let good = ends.request(1, END_STREAM, "GET", "/a");
    ends.passes(Client, &good);
    let response = ends.response(1, 0, "good/type");
    ends.passes(Server, &response);
    for _ in 0..6 {
        ends.passes(Server, &frame(DATA, 0, 1, &[0; 10_000]));
    }
    let blocked = ends.request(3, END_STREAM, "DELETE", "/a");
    ends.is_dropped(Client, &blocked);
    ends.got(Client);
    ends.wire.send(Server, &frame(DATA, 8 | END_STREAM, 1, &[vec![34], vec![1; 5500], vec![0; 34]].concat()));
    assert_eq!(ends.got(Client), ["1 data 5500", "1 END data 0"]);
    assert_eq!(ends.got(Server), ["0 credit 19"]);
}

/// RFC 7541, 4.2.
#[test]
fn a_table_that_the_client_has_shrunk_is_shrunk_by_the_answer() {
    let mut ends = Ends::new();
    ends.passes(Client, &frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 100]));
    ends.passes(Server, &frame(SETTINGS, 1, 0, &[]));
    let blocked = ends.request(1, END_STREAM, "OPTIONS", "/a");
    ends.is_dropped(Client, &blocked);
    let got = frames(&ends.wire.receive(Client));
    assert_eq!(got[0].3[..2], [0x3f, 100 - 31]);
    let blocked = ends.request(3, END_STREAM, "OPTIONS", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(frames(&ends.wire.receive(Client))[0].3[0], 8, "once");
}

/// Each of these would be another request to whom passes it on, or none to who reads it.
#[test]
fn what_is_malformed_goes_nowhere() {
    let good = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")];
    for more in [
        ("transfer-encoding", "chunked"),
        (":path", "/b"),
        ("X", "1"),
        ("host", "b"),
        ("content-length", "5x"),
    ] {
        let mut ends = Ends::new();
        let block = ends.block(Client, &[&good[..], &[more]].concat());
        ends.is_dropped(Client, &frame(HEADERS, END_HEADERS, 1, &block));
        assert_eq!(ends.wire.alerts[0].reason, Reason::ContentUnparsed, "{more:?}");
        assert_eq!(ends.wire.receive(Server), b"");
    }
    // Content that is shorter or longer than declared.
    for (lengths, last) in [(&[4][..], "1 reset 8"), (&[3, 3], "1 reset 8"), (&[0], "1 reset 8")] {
        let mut ends = Ends::new();
        let block = ends.block(Client, &[&good[..], &[("content-length", "5")]].concat());
        ends.passes(Client, &frame(HEADERS, END_HEADERS, 1, &block));
        for (place, length) in lengths.iter().enumerate() {
            let end = if place + 1 == lengths.len() { END_STREAM } else { 0 };
            ends.wire.send(Client, &frame(DATA, end, 1, &vec![0; *length]));
        }
        assert_eq!(ends.got(Server).pop().as_deref(), Some(last));
        assert!(ends.got(Client).contains(&last.to_owned()));
        assert_eq!(ends.wire.alerts[0].reason, Reason::ContentUnparsed);
    }
    // A second request where trailers would be.
    let mut ends = Ends::new();
    let first = ends.request(1, 0, "GET", "/a");
    ends.passes(Client, &first);
    let second = ends.request(1, END_STREAM, "DELETE", "/b");
    ends.is_dropped(Client, &[]);
    ends.wire.send(Client, &second);
    assert_eq!(
        (ends.got(Server), ends.got(Client)),
        (vec!["1 reset 8".to_owned()], vec!["1 reset 8".to_owned()])
    );
    // A new request on a stream below the last one.
    let third = ends.request(5, END_STREAM, "GET", "/c");
    ends.wire.send(Client, &third);
    assert_eq!(ends.got(Server).len(), 1);
    let fourth = ends.request(3, END_STREAM, "GET", "/d");
    ends.is_dropped(Client, &fourth);
}

/// Rules on responses cannot be passed by resetting the request, or by data without a head.
#[test]
fn a_response_that_was_not_judged_goes_nowhere() {
    let mut ends = Ends::new();
    let request = ends.request(1, END_STREAM, "GET", "/a");
    ends.passes(Client, &request);
    ends.passes(Client, &frame(RST_STREAM, 0, 1, &8u32.to_be_bytes()));
    let response = ends.response(1, 0, "bad/type");
    ends.is_dropped(Server, &response);
    ends.is_dropped(Server, &frame(DATA, END_STREAM, 1, &[0; 10]));
    assert_eq!(ends.got(Server), ["0 credit 10"]);

    let request = ends.request(3, END_STREAM, "GET", "/a");
    ends.passes(Client, &request);
    ends.wire.send(Server, &frame(DATA, 0, 3, &[0; 10]));
    assert_eq!(ends.got(Client), ["3 reset 8"]);
    assert_eq!(ends.got(Server), ["3 reset 8", "0 credit 10"]);
}

#[test]
fn promises_are_judged_as_requests() {
    let mut ends = Ends::new();
    let request = ends.request(1, END_STREAM, "GET", "/a");
    ends.passes(Client, &request);
    let promise = |ends: &mut Ends, stream: u32, method: &str| {
        let fields = [(":method", method), (":scheme", "https"), (":authority", "a"), (":path", "/p")];
        let block = ends.block(Server, &fields);
        frame(PUSH_PROMISE, END_HEADERS, 1, &[&stream.to_be_bytes()[..], &block].concat())
    };
    let good = promise(&mut ends, 2, "GET");
    ends.passes(Server, &good);
    let bad = promise(&mut ends, 4, "DELETE");
    ends.is_dropped(Server, &bad);
    assert_eq!(ends.got(Server), ["4 reset 8"]);
    let response = ends.response(4, 0, "good/type");
    ends.is_dropped(Server, &response);
    ends.is_dropped(Server, &frame(RST_STREAM, 0, 4, &[0; 4]));
    let pushed = ends.response(2, 0, "good/type");
    ends.wire.send(Server, &pushed);
    assert_eq!(ends.got(Client), ["2 :status=200 content-type=good/type set-cookie=s"]);
    let third = promise(&mut ends, 6, "GET");
    ends.wire.send(Server, &third);
    let got = frames(&ends.wire.receive(Client));
    assert_eq!((got[0].0, got[0].2, &got[0].3[..4]), (PUSH_PROMISE, 1, &6u32.to_be_bytes()[..]));
}

#[test]
fn a_goaway_ends_what_waits() {
    let mut ends = Ends::new();
    ends.passes(Client, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 5]));
    ends.passes(Server, &frame(SETTINGS, 1, 0, &[]));
    let blocked = ends.request(1, END_STREAM, "DELETE", "/a");
    ends.is_dropped(Client, &blocked);
    assert_eq!(ends.got(Client), [PAGE, "1 data 5"]);
    ends.passes(Server, &frame(GOAWAY, 0, 0, &[0; 8]));
    ends.is_dropped(Client, &frame(WINDOW_UPDATE, 0, 1, &100u32.to_be_bytes()));
    assert_eq!(ends.got(Client), Vec::<String>::new());
}

#[test]
fn more_blocked_streams_than_anybody_needs_end_the_connection() {
    let mut ends = Ends::new();
    let mut asked = 0;
    while ends.wire.ending().is_none() && asked < 2000 {
        let blocked = ends.request(asked * 2 + 1, 0, "DELETE", "/a");
        ends.wire.send(Client, &blocked);
        asked += 1;
    }
    assert_eq!(asked, 1001);
    let ending = ends.wire.ending().unwrap();
    assert_eq!((ending.reason, ending.orderly), (Reason::ContentBlocked, true));
    assert!(ends.got(Client).contains(&"goaway 0 11".to_owned()));
}

/// Answers wait for the client's window, 64 KiB of them; streams beyond that are reset.
#[test]
fn answers_that_a_client_does_not_take_are_bounded() {
    let mut ends = Ends::with_page(ContentPolicy::compile(&rules(), Arc::default()), 20_000);
    // SETTINGS_INITIAL_WINDOW_SIZE: 0.
    ends.passes(Client, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let is_reset = [1, 3, 5, 7, 9].map(|stream| {
        let blocked = ends.request(stream, END_STREAM, "DELETE", "/a");
        ends.wire.send(Client, &blocked);
        frames(&ends.wire.receive(Client)).iter().any(|(kind, ..)| *kind == RST_STREAM)
    });
    assert_eq!(is_reset, [false, false, false, true, true]);
}

/// A small block that unfolds into a large one, again and again.
#[test]
fn blocks_that_unfold_are_bounded() {
    let mut ends = Ends::new();
    let value = "v".repeat(4000);
    let good = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/"), ("x", &value)];
    let block = ends.block(Client, &good);
    ends.passes(Client, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let mut bomb = Vec::new();
    for stream in 1..200 {
        let block = [&[0x82, 0x87, 0x84, 0x01, 1, b'a'][..], &[0xbe; 14]].concat();
        bomb.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream * 2 + 1, &block));
    }
    ends.wire.send(Client, &bomb);
    assert_eq!(ends.wire.ending().map(|ending| ending.reason), Some(Reason::ContentUnparsed));
}

/// What cannot be read ends the flow.
#[test]
fn a_reader_that_is_off_lets_nothing_pass() {
    let mut ends = Ends::new();
    ends.is_dropped(Client, &frame(HEADERS, END_HEADERS, 1, &[0xff; 9]));
    assert_eq!(ends.wire.ending().map(|ending| ending.reason), Some(Reason::ContentUnparsed));
}

/// Policy may let pass what cannot be read, but not where both ends can no longer do without the relay.
#[test]
fn what_cannot_be_read_passes_if_policy_says_so() {
    let policy = || {
        let mut policy = ContentPolicy::compile(&rules(), Arc::default());
        policy.on_unparsed = OnUnread::Allow;
        policy
    };
    let mut ends = Ends::with_policy(policy());
    let begun = frame(PING, 0, 0, &[0; 8]);
    ends.is_dropped(Server, &begun[..5]);
    ends.wire.send(Client, &frame(HEADERS, END_HEADERS, 1, &[0xff; 9]));
    assert_eq!(ends.wire.receive(Server), frame(HEADERS, END_HEADERS, 1, &[0xff; 9]));
    assert_eq!(ends.wire.receive(Client), begun[..5]);
    ends.passes(Server, &begun[5..]);
    ends.passes(Client, b"anything");
    assert_eq!(ends.wire.ending(), None);

    let mut ends = Ends::with_policy(policy());
    let blocked = ends.request(1, END_STREAM, "DELETE", "/a");
    ends.is_dropped(Client, &blocked);
    ends.is_dropped(Client, &frame(HEADERS, END_HEADERS, 3, &[0xff; 9]));
    assert_eq!(ends.wire.ending().map(|ending| ending.reason), Some(Reason::ContentUnparsed));
}

/// CONNECT, and the extended one of WebSocket.
#[test]
fn tunnels_are_opaque() {
    let plain = [(":method", "CONNECT"), (":authority", "a:443")];
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/"),
    ];
    for fields in [&plain[..], &extended] {
        let mut ends = Ends::new();
        let block = ends.block(Client, fields);
        let request = frame(HEADERS, END_HEADERS, 1, &block);
        ends.passes(Client, &request);
        ends.passes(Client, &frame(DATA, 0, 1, b"anything"));
        assert_eq!(ends.wire.alerts[0].reason, Reason::ContentOpaque);

        // Neither its size nor its type is that of a content.
        let [mut long, mut typed] =
            ["long", "typed"].map(|name| ContentRule::new(name, ContentAction::Block(Respond::Page)));
        (long.size, typed.file_type) = (Some(10), FileType::named("executable"));
        let mut ends = Ends::with_policy(ContentPolicy::compile(&[long, typed], Arc::default()));
        ends.passes(Client, &request);
        let response = ends.response(1, 0, "good/type");
        ends.passes(Server, &response);
        for from in [Client, Server] {
            ends.passes(from, &frame(DATA, 0, 1, b"\x7fELF and more than ten"));
        }
        assert_eq!(ends.wire.alerts.len(), 1);

        let mut policy = ContentPolicy::compile(&rules(), Arc::default());
        policy.on_opaque = OnUnread::Block;
        let mut ends = Ends::with_policy(policy);
        ends.is_dropped(Client, &request);
        assert!(ends.got(Client)[0].starts_with("1 :status=403"));
    }
}

/// Where no length is declared, a rule on the size applies once more has come: only one that blocks cuts the stream off.
#[test]
fn content_of_unknown_length_is_cut_off_by_rules_that_block_only() {
    let beyond = |name: &str, size, action| {
        let mut rule = ContentRule::new(name, action);
        rule.size = Some(size);
        rule
    };
    let rules = [
        beyond("beyond 100", 100, ContentAction::Block(Respond::Page)),
        beyond("beyond 10", 10, ContentAction::Alert),
    ];
    for from in [Client, Server] {
        let mut ends = Ends::with_policy(ContentPolicy::compile(&rules, Arc::default()));
        let request = ends.request(1, 0, "PUT", "/a");
        ends.passes(Client, &request);
        if from == Server {
            ends.passes(Client, &frame(DATA, END_STREAM, 1, &[]));
            let response = ends.response(1, 0, "good/type");
            ends.passes(Server, &response);
        }
        for octets in [8, 8, 80] {
            ends.passes(from, &frame(DATA, 0, 1, &vec![0; octets]));
        }
        ends.wire.send(from, &frame(DATA, 0, 1, &[0; 5]));
        let reset = |got: Vec<String>| got.iter().any(|frame| frame == "1 reset 8");
        let (to_client, to_server) = (ends.got(Client), ends.got(Server));
        assert!(reset(to_client) && reset(to_server), "{from:?}");
        let alerts = ends.wire.alerts.iter();
        let alerts: Vec<_> = alerts.map(|alert| (alert.rule.as_deref(), alert.blocked, alert.late)).collect();
        assert_eq!(alerts, [(Some("beyond 10"), false, true), (Some("beyond 100"), true, true)], "{from:?}");
        for alert in &ends.wire.alerts {
            let status = (from == Server).then_some(200);
            assert_eq!((alert.http.url.as_deref(), alert.http.status), (Some("/a"), status), "{from:?}");
        }
    }
}
