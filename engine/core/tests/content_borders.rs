//! Where messages begin and end in plaintext: in texts with marks, and in conversations of any kind, cut and mixed in any way.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panic")]

#[path = "../../fuzz/bodies/borders.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "written for the fuzz targets")]
mod borders;

use borders::Sound;
use proptest::collection::vec;
use proptest::prelude::*;
use wireglass_core::content::{Border, Borders, HeadKind, HttpInspector, What};
use wireglass_core::end::End::{self, Client, Server};
use wireglass_core::end::PerEnd;
use wireglass_core::event::HttpEvent;
use wireglass_core::reason::InspectorOff;

/// What a border says in a direction.
type Said = (u64, u32, What, Option<u64>);

/// A piece of a conversation, and where its borders are expected.
#[derive(Clone)]
enum Part {
    Bytes(Vec<u8>),
    /// Here, on that stream.
    Mark(u32, What, Option<u64>),
}
use Part::{Bytes, Mark};

/// A text with marks in angle brackets. An exchange's number holds until its message ends.
fn marked(text: &str, tx_id: &mut Option<u64>) -> Vec<Part> {
    let mut parts = Vec::new();
    for part in text.split('<') {
        let Some((mark, text)) = part.split_once('>') else {
            parts.push(Bytes(part.into()));
            continue;
        };
        let (mark, number) = mark.split_once(' ').unwrap_or((mark, ""));
        let what = match mark {
            "head" => What::HeadBegins,
            "request" => What::HeadEnds(HeadKind::Request),
            "interim" => What::HeadEnds(HeadKind::Interim),
            "response" => What::HeadEnds(HeadKind::Response),
            "data" => What::DataBegins,
            "/data" => What::DataEnds,
            "/message" => What::MessageEnds,
            "none" => What::NoMessage,
            "opaque" => What::Off(InspectorOff::Opaque),
            "no-http" => What::Off(InspectorOff::NotHttp),
            _ => panic!("{mark}"),
        };
        let number = number.parse().ok();
        let number = match what {
            What::HeadEnds(HeadKind::Interim) | What::HeadBegins | What::Off(_) => number,
            What::MessageEnds | What::NoMessage => tx_id.take(),
            _ => {
                *tx_id = number.or(*tx_id);
                *tx_id
            }
        };
        parts.push(Mark(0, what, number));
        parts.push(Bytes(text.into()));
    }
    parts
}

type Talk = Vec<(End, Vec<u8>)>;

/// The bytes of a conversation, and each direction's borders.
fn split(talk: &[(End, Vec<Part>)]) -> (Talk, PerEnd<Vec<Said>>) {
    let mut expected: PerEnd<Vec<Said>> = PerEnd::default();
    let mut at = PerEnd::both(0);
    let mut pieces = Talk::new();
    for (from, parts) in talk {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Bytes(bytes) => all.extend_from_slice(bytes),
                Mark(stream, what, tx_id) => {
                    expected[*from].push((at[*from] + all.len() as u64, *stream, *what, *tx_id));
                }
            }
        }
        at[*from] += all.len() as u64;
        pieces.push((*from, all));
    }
    (pieces, expected)
}

fn play(alpn: Option<&[u8]>, talk: &[(End, Vec<u8>)], step: usize) -> Vec<(Border, Option<String>)> {
    let mut inspector = HttpInspector::new(alpn);
    let mut sound = Sound::new(alpn == Some(b"h2"));
    for (from, bytes) in talk {
        for piece in bytes.chunks(step) {
            sound.give(*from, piece);
            inspector.bytes_with(*from, piece, &mut sound);
            while inspector.poll_transaction().is_some() {}
        }
    }
    sound.end();
    inspector.finish_with(&mut sound);
    sound.told
}

fn of(from: End, told: &[(Border, Option<String>)]) -> Vec<Said> {
    let of = told.iter().map(|(border, _)| border).filter(|border| border.from == from);
    of.map(|border| (border.at, border.stream, border.what, border.tx_id)).collect()
}

/// Whole, in steps of every size, and cut in two at every place: always the borders that are marked.
#[track_caller]
fn every_way(alpn: Option<&[u8]>, talk: &[(End, Vec<Part>)]) -> Vec<(Border, Option<String>)> {
    let (talk, expected) = split(talk);
    let whole = play(alpn, &talk, usize::MAX);
    for from in End::BOTH {
        assert_eq!(of(from, &whole), expected[from], "{from:?}");
    }
    for step in 1..40 {
        assert_eq!(play(alpn, &talk, step), whole, "in steps of {step}");
    }
    for (message, (from, bytes)) in talk.iter().enumerate() {
        for cut in 0..=bytes.len() {
            let mut pieces = talk.clone();
            let (before, after) = bytes.split_at(cut);
            pieces.splice(message..=message, [(*from, before.to_vec()), (*from, after.to_vec())]);
            assert_eq!(play(alpn, &pieces, usize::MAX), whole, "message {message} cut at {cut}");
        }
    }
    whole
}

#[track_caller]
fn http1(talk: &[(End, &str)]) -> Vec<(Border, Option<String>)> {
    let mut tx_id = PerEnd::both(None);
    let talk: Vec<_> = talk.iter().map(|(from, text)| (*from, marked(text, &mut tx_id[*from]))).collect();
    every_way(Some(b"http/1.1"), &talk)
}

#[test]
fn bodies_of_each_kind() {
    let told = http1(&[
        (
            Client,
            "<head>POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n<request 0><data>abcd</data></message>",
        ),
        (Server, "<head>HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<response 0><data>ok</data></message>"),
        (
            Client,
            "\r\n<head>PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n<request 1>3;x=y\r\n<data>abc</data>\r\n\
             02\n<data>de</data>\n0\r\nA: b\r\n\r\n</message>",
        ),
        (
            Server,
            "<head>HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<response 1>0\r\n\r\n</message>\r\n\r\n",
        ),
        (Client, "<head>GET /c HTTP/1.1\r\n\r\n<request 2></message>"),
        (Server, "<head>HTTP/1.1 200 OK\r\n\r\n<response 2><data>until the end</data></message>"),
    ]);
    let targets: Vec<_> = told.into_iter().filter_map(|(_, target)| target).collect();
    assert_eq!(targets, ["/a", "/b", "/c"]);
}

#[test]
fn messages_without_a_body() {
    http1(&[
        (
            Client,
            "<head>GET /a HTTP/1.1\r\n\r\n<request 0></message><head>HEAD /b HTTP/1.1\r\n\r\n<request 1></message>\
             \r\n<head>GET /c HTTP/1.1\n\n<request 2></message><head>POST /d HTTP/1.1\r\nContent-Length: 0\r\n\r\n<request 3></message>",
        ),
        (
            Server,
            "<head>HTTP/1.1 204 No Content\r\n\r\n<response 0></message>\
             <head>HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n<response 1></message>\
             <head>HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n<response 2></message>\
             <head>HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n<response 3></message>",
        ),
    ]);
}

#[test]
fn interim_responses_end_no_exchange() {
    http1(&[
        (
            Client,
            "<head>POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n<request 0><data>",
        ),
        (
            Server,
            "<head>HTTP/1.1 100 Continue\r\n\r\n<interim 0><head>HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n<interim 0>",
        ),
        (Client, "ok</data></message>"),
        // Nobody asked for it: it is read on as HTTP.
        (Server, "<head>HTTP/1.1 101 Switching Protocols\r\n\r\n<interim 0>"),
        (
            Server,
            "<head>HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n<response 0><data>.</data></message>",
        ),
        // Nobody asked for these either; only the second is an exchange.
        (Server, "<head>HTTP/1.1 100 Continue\r\n\r\n<interim>"),
        (Server, "<head>HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n<response 1></message>"),
    ]);
}

#[test]
fn tunnels_are_opaque() {
    http1(&[
        (
            Client,
            "<head>GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n<request 0></message><opaque>",
        ),
        (Server, "<head>HTTP/1.1 101 Switching Protocols\r\n\r\n<response 0></message><opaque>\x01\x05hello"),
        (Client, "GET /not-read HTTP/1.1\r\n\r\n"),
    ]);
    http1(&[
        (Client, "<head>CONNECT a:1 HTTP/1.1\r\n\r\n<request 0></message>"),
        (Server, "<head>HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\n<response 0><data>.</data></message>"),
        (Client, "<head>CONNECT a:1 HTTP/1.1\r\n\r\n<request 1></message><opaque>"),
        (Server, "<head>HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<response 1></message><opaque>"),
    ]);
}

#[test]
fn http09_has_no_head_to_its_response() {
    http1(&[
        (Client, "<head>GET /old\r\n<request 0></message>"),
        (Server, "<data 0>a page</data></message>"),
    ]);
    // Where the server answers in HTTP/1.0 after all.
    http1(&[
        (Client, "<head>GET /old\r\n<request 0></message>"),
        (Server, "<head>HTTP/1.0 200 OK\r\n\r\n<response 0><data>page</data></message>"),
    ]);
}

#[test]
fn what_is_no_message_is_told_and_what_follows_is_found() {
    http1(&[
        (
            Client,
            "<head><none>what is this\r\n\r\n\r\r\n<head><none>and this\r\n<head>GET /a HTTP/1.1\r\n\r\n<request 0></message>\
             <head>PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n<request 1>3\r\n<data>abc</data>\
             <none><head><none>GET\r\n<head>GET /c HTTP/1.1\r\n\r\n<request 2></message>",
        ),
        // CRs before a status line are none of its own.
        (
            Server,
            "\r\r<head>HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n<response 0></message><head><none>\tHTTP/x\r\n",
        ),
        (
            Server,
            "<head>HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<response 1><none><head><none>x\r\n",
        ),
    ]);
}

#[test]
fn a_flow_that_is_no_http_is_off_from_its_first_byte() {
    let text = marked("<no-http>\x16\x03\x01", &mut None);
    every_way(
        None,
        &[(Client, text.clone()), (Server, vec![Mark(0, What::Off(InspectorOff::NotHttp), None)])],
    );
    every_way(None, &[(Client, marked("<no-http>", &mut None)), (Server, text)]);
}

/// `:method GET`, `:path /`, `:authority a`.
const REQUEST: &[u8] = b"\x82\x84\x01\x01a";
const OK: &[u8] = b"\x88";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A frame of no message.
fn control(stream: u32, bytes: Vec<u8>) -> Vec<Part> {
    vec![Mark(stream, What::FrameBegins, None), Bytes(bytes), Mark(stream, What::FrameEnds, None)]
}

fn block(carrier: u32, stream: u32, kind: HeadKind, tx_id: Option<u64>, bytes: Vec<u8>) -> Vec<Part> {
    vec![Mark(carrier, What::HeadBegins, None), Bytes(bytes), Mark(stream, What::HeadEnds(kind), tx_id)]
}

fn data(flags: u8, stream: u32, data: &[u8], padding: Option<u8>) -> Vec<Part> {
    let pad = padding.map(|padding| (vec![padding], vec![0; usize::from(padding)]));
    let (before, after) = pad.unwrap_or_default();
    let flags = flags | if padding.is_some() { 0x8 } else { 0 };
    let whole = frame(0, flags, stream, &[&before, data, &after].concat());
    let begins = 9 + before.len();
    let mut parts = vec![Mark(stream, What::FrameBegins, None), Bytes(whole[..begins].to_vec())];
    if !data.is_empty() {
        parts.extend([Mark(stream, What::DataBegins, None), Bytes(data.to_vec())]);
        parts.push(Mark(stream, What::DataEnds, None));
    }
    parts.extend([Bytes(after), Mark(stream, What::FrameEnds, None)]);
    if flags & 1 != 0 {
        parts.push(message_ends(stream));
    }
    parts
}

fn message_ends(stream: u32) -> Part {
    Mark(stream, What::MessageEnds, None)
}

fn reset(stream: u32) -> Part {
    Mark(stream, What::Reset, None)
}

/// Both sides have greeted each other, then this.
fn http2(talk: &[(End, Vec<Vec<Part>>)]) -> Vec<(Border, Option<String>)> {
    let settings = || control(0, frame(4, 0, 0, &[]));
    let mut all = vec![(Client, [vec![Bytes(PREFACE.into())], settings()].concat()), (Server, settings())];
    all.extend(talk.iter().map(|(from, parts)| (*from, parts.concat())));
    every_way(Some(b"h2"), &all)
}

#[test]
fn streams_with_padding_continuations_and_trailers() {
    let request = HeadKind::Request;
    let padded = [&[3, 0x80, 0, 0, 0, 9][..], &REQUEST[..2], &[0; 3]].concat();
    let split = [frame(1, 0x8 | 0x20, 1, &padded), frame(9, 0, 1, &[]), frame(9, 0x4, 1, &REQUEST[2..])];
    let told = http2(&[
        (Client, vec![control(1, frame(2, 0, 1, &[0; 5])), block(1, 1, request, Some(0), split.concat())]),
        (Client, vec![block(3, 3, request, Some(1), frame(1, 0x5, 3, REQUEST)), vec![message_ends(3)]]),
        (Client, vec![data(0, 1, b"hello", Some(2)), data(0, 1, b"", None), data(0, 1, b"", Some(7))]),
        (Client, vec![data(0x1, 1, b"world", None), control(0, frame(8, 0, 0, &[0; 4]))]),
        (Server, vec![block(1, 1, HeadKind::Interim, Some(0), frame(1, 0x4, 1, b"\x08\x03103"))]),
        (Server, vec![block(3, 3, HeadKind::Response, Some(1), frame(1, 0x4, 3, OK))]),
        (
            Server,
            vec![block(1, 1, HeadKind::Response, Some(0), frame(1, 0x4, 1, OK)), data(0, 1, b"a", None)],
        ),
        (Server, vec![data(0x1, 3, b"", Some(0)), control(7, frame(0xfa, 0xff, 7, b"new"))]),
        (Server, vec![data(0, 1, b"bc", Some(1))]),
        (Server, vec![block(1, 1, HeadKind::Trailers, Some(0), frame(1, 0x5, 1, b"\x00\x01a\x01b"))]),
        (Server, vec![vec![message_ends(1)]]),
    ]);
    let targets: Vec<_> = told.into_iter().filter_map(|(_, target)| target).collect();
    assert_eq!(targets, ["/", "/"]);
}

#[test]
fn streams_that_are_pushed_or_reset() {
    let push = frame(5, 0x4, 1, &[&2u32.to_be_bytes()[..], REQUEST].concat());
    let asks = |stream: u32, tx_id| {
        [
            block(stream, stream, HeadKind::Request, Some(tx_id), frame(1, 0x5, stream, REQUEST)),
            vec![message_ends(stream)],
        ]
        .concat()
    };
    let goaway = frame(7, 0, 0, &[&5u32.to_be_bytes()[..], &[0; 4]].concat());
    http2(&[
        (Client, vec![asks(1, 0), asks(3, 1), asks(5, 2), asks(7, 3), asks(9, 4)]),
        (Server, vec![block(1, 2, HeadKind::Request, Some(5), push), vec![message_ends(2)]]),
        (
            Server,
            vec![
                block(2, 2, HeadKind::Response, Some(5), frame(1, 0x4, 2, OK)),
                data(0x1, 2, b"pushed", None),
            ],
        ),
        (Client, vec![control(3, frame(3, 0, 3, &[0, 0, 0, 8])), vec![reset(3)]]),
        // It was under way.
        (
            Server,
            vec![block(3, 3, HeadKind::Response, None, frame(1, 0x4, 3, OK)), data(0, 3, b"late", None)],
        ),
        (Server, vec![control(0, goaway), vec![reset(7), reset(9)]]),
        (Server, vec![control(5, frame(3, 0, 5, &[0, 0, 0, 8])), vec![reset(5)]]),
        (Server, vec![block(1, 1, HeadKind::Response, Some(0), frame(1, 0x5, 1, OK)), vec![message_ends(1)]]),
    ]);
}

#[test]
fn a_fault_is_told_to_both_directions_where_the_reading_ends() {
    let off = |reason| vec![Mark(0, What::Off(reason), None)];
    let asks = || block(1, 1, HeadKind::Request, Some(0), frame(1, 0x4, 1, REQUEST));
    let cases = [
        (frame(0, 0, 0, b"x"), None, InspectorOff::H2Frame),
        (frame(9, 0, 1, b"x"), None, InspectorOff::H2Frame),
        // The header is right, so what begins is told; the fault is there, too.
        (frame(4, 0, 0, b"x"), Some((0, What::FrameBegins)), InspectorOff::H2Frame),
        (frame(0, 0x8, 1, b"\x05abc"), Some((1, What::FrameBegins)), InspectorOff::H2Frame),
        (frame(1, 0x4, 1, b"\xff\xff"), Some((1, What::HeadBegins)), InspectorOff::H2Compression),
    ];
    for (bad, begins, reason) in cases {
        let begins = begins.map(|(stream, what)| Mark(stream, what, None));
        let all = begins.into_iter().chain(off(reason)).chain([Bytes(bad)]).collect();
        http2(&[
            (Client, vec![asks(), off(reason)]),
            (Server, vec![all]),
            (Server, vec![vec![Bytes(frame(1, 0x4, 1, OK))]]),
        ]);
    }
    let wrong = [Mark(0, What::Off(InspectorOff::H2Frame), None), Bytes(b"GET / HTTP/1.1\r\n".to_vec())];
    every_way(Some(b"h2"), &[(Client, wrong.to_vec()), (Server, off(InspectorOff::H2Frame))]);
}

/// Where more responses end than are fetched, the reader gives up: what was told stands, so the end lies behind it.
#[test]
fn a_reader_that_is_full_is_off_behind_what_was_told() {
    let mut sound = Sound::new(false);
    let mut inspector = HttpInspector::new(Some(b"http/1.1"));
    while inspector.off_reason().is_none() {
        for (from, text) in
            [(Client, "GET / HTTP/1.1\r\n\r\n"), (Server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]
        {
            sound.give(from, text.as_bytes());
            inspector.bytes_with(from, text.as_bytes(), &mut sound);
        }
    }
    let last: Vec<_> =
        sound.told.iter().rev().take(3).map(|(border, _)| (border.from, border.what)).collect();
    let off = What::Off(InspectorOff::TooManyOpen);
    assert_eq!(last, [(Client, off), (Server, off), (Server, What::MessageEnds)]);
}

/// Only the facts of the head itself are told with it.
#[test]
fn a_head_has_its_own_fields() {
    struct Heads(Vec<(What, HttpEvent)>);
    impl Borders for Heads {
        fn border(&mut self, border: &Border, head: Option<&mut HttpEvent>) {
            self.0.extend(head.map(|head| (border.what, head.clone())));
        }
    }
    let post = "POST /a HTTP/1.1\r\nHost: h.example:1\r\nContent-Type: a/b\r\nUser-Agent: u\r\nReferer: r\r\n\
                Content-Length: 1\r\nContent-Length: 2\r\n\r\n.";
    let moved = "HTTP/1.1 302 Found\r\nLocation: /c\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n";
    // In HTTP/2, with names of the static table (RFC 7541, appendix A).
    let post2 = frame(1, 0x5, 1, b"\x83\x04\x02/a\x01\x09h.example\x0f\x10\x03a/b\x0f\x2b\x01u\x0f\x24\x01r");
    let moved2 = frame(1, 0x5, 1, b"\x08\x03302\x0f\x1f\x02/c\x0f\x10\x03c/d");
    for (alpn, start, client, server) in
        [(&b"http/1.1"[..], &b""[..], post.as_bytes(), moved.as_bytes()), (b"h2", PREFACE, &post2, &moved2)]
    {
        let mut heads = Heads(Vec::new());
        let mut inspector = HttpInspector::new(Some(alpn));
        for (from, bytes) in [(Client, start), (Client, client), (Server, server)] {
            inspector.bytes_with(from, bytes, &mut heads);
        }
        let [(request, asked), (response, said)] = &heads.0[..] else { panic!("{:?}", heads.0) };
        assert_eq!(
            (*request, *response),
            (What::HeadEnds(HeadKind::Request), What::HeadEnds(HeadKind::Response))
        );
        assert_eq!((asked.method.as_deref(), asked.url.as_deref()), (Some("POST"), Some("/a")));
        assert_eq!(
            (asked.hostname.as_deref(), asked.content_type.as_deref()),
            (Some("h.example"), Some("a/b"))
        );
        assert_eq!((asked.user_agent.as_deref(), asked.referer.as_deref()), (Some("u"), Some("r")));
        assert_eq!(asked.ambiguous.is_empty(), alpn == b"h2");
        assert_eq!((said.status, said.redirect.as_deref()), (Some(302), Some("/c")));
        assert_eq!((said.content_type.as_deref(), said.method.as_deref()), (Some("c/d"), None));
        // The event has the response's only, as ever.
        let event = inspector.poll_transaction().unwrap();
        assert_eq!(event.content_type.as_deref(), Some("c/d"));
        let mut inspector = HttpInspector::new(Some(alpn));
        inspector.bytes(Client, &[start, client].concat());
        inspector.finish();
        assert_eq!(inspector.poll_transaction().unwrap().content_type, None);
    }
}

/// An exchange on a connection.
#[derive(Clone, Debug)]
struct Exchange {
    request: Vec<Vec<u8>>,
    response: Vec<Vec<u8>>,
    interim: bool,
    trailers: bool,
    until_end: bool,
}

fn exchanges() -> impl Strategy<Value = Vec<Exchange>> {
    let body = || vec(vec(any::<u8>(), 1..40), 0..4);
    let one = (body(), body(), any::<[bool; 3]>()).prop_map(
        |(request, response, [interim, trailers, until_end])| Exchange {
            request,
            response,
            interim,
            trailers,
            until_end,
        },
    );
    vec(one, 1..8)
}

/// Both directions of a connection. Of the server's bytes, those from a place on come only after so many of the client's.
#[derive(Default)]
struct Connection {
    bytes: PerEnd<Vec<u8>>,
    waits: Vec<(usize, usize)>,
    /// The content that passes, in the order of the directions' messages: by stream in HTTP/2.
    content: PerEnd<Vec<(u32, Vec<u8>)>>,
}

impl Connection {
    /// Chunks where there are several pieces.
    fn http1(exchanges: &[Exchange]) -> Self {
        let mut all = Self::default();
        let message = |start: &str, body: &[Vec<u8>], trailers: bool, until_end: bool| match body {
            _ if until_end => [format!("{start}\r\n").into_bytes(), body.concat()].concat(),
            [] | [_] => {
                let body = body.concat();
                [format!("{start}Content-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat()
            }
            _ => {
                let mut out = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
                for piece in body {
                    out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                    out.extend_from_slice(piece);
                    out.extend_from_slice(b"\r\n");
                }
                let end: &[u8] = if trailers { b"0\r\nA: b\r\n\r\n" } else { b"0\r\n\r\n" };
                [&out, end].concat()
            }
        };
        for (n, exchange) in exchanges.iter().enumerate() {
            let last = n + 1 == exchanges.len();
            let request =
                message(&format!("POST /{n} HTTP/1.1\r\n"), &exchange.request, exchange.trailers, false);
            let head = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            all.waits.push((all.bytes.server.len(), all.bytes.client.len() + head));
            all.bytes.client.extend(request);
            if exchange.interim {
                all.bytes.server.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            let (until_end, start) = (exchange.until_end && last, "HTTP/1.1 200 OK\r\n");
            all.bytes.server.extend(message(start, &exchange.response, exchange.trailers, until_end));
            all.content.client.push((0, exchange.request.concat()));
            all.content.server.push((0, exchange.response.concat()));
        }
        all
    }

    /// The streams' frames take turns.
    fn http2(exchanges: &[Exchange]) -> Self {
        let mut all = Self::default();
        all.bytes.client = [PREFACE, &frame(4, 0, 0, &[])].concat();
        all.bytes.server = frame(4, 0, 0, &[]);
        let mut encoders: PerEnd<loona_hpack::Encoder<'static>> =
            PerEnd::from_fn(|_| loona_hpack::Encoder::new());
        let mut ends = vec![0; exchanges.len()];
        for from in End::BOTH {
            let most =
                exchanges.iter().map(|exchange| exchange.request.len().max(exchange.response.len())).max();
            for turn in 0..most.unwrap_or(0) + 2 {
                for (n, exchange) in exchanges.iter().enumerate() {
                    let stream = 2 * n as u32 + 1;
                    let body = if from == Client { &exchange.request } else { &exchange.response };
                    let path = format!("/{n}");
                    let path = path.as_bytes();
                    let out = &mut all.bytes[from];
                    if from == Server {
                        all.waits.push((out.len(), ends[n]));
                    }
                    let mut head = |fields: &[(&[u8], &[u8])], flags: u8| {
                        let block = encoders[from].encode(fields.iter().copied());
                        let (first, rest) = block.split_at(block.len() / 2);
                        [frame(1, flags & !0x4, stream, first), frame(9, 0x4, stream, rest)].concat()
                    };
                    if turn == 0 {
                        if exchange.interim && from == Server {
                            out.extend(head(&[(b":status", b"103")], 0x4));
                        }
                        let request: [(&[u8], &[u8]); 3] =
                            [(b":method", b"POST"), (b":path", path), (b"x-number", path)];
                        let response: [(&[u8], &[u8]); 2] = [(b":status", b"200"), (b"content-type", path)];
                        let fields: &[_] = if from == Client { &request } else { &response };
                        out.extend(head(fields, 0x4));
                        all.content[from].push((stream, body.concat()));
                    } else if let Some(piece) = body.get(turn - 1) {
                        out.extend(frame(0, 0x8, stream, &[&[5], &piece[..], &[0; 5]].concat()));
                    } else if turn == body.len() + 1 && exchange.trailers && from == Server {
                        out.extend(head(&[(b"checksum", path)], 0x5));
                    } else if turn == body.len() + 1 {
                        out.extend(frame(0, 0x1, stream, &[]));
                    }
                    if from == Client {
                        ends[n] = out.len();
                    }
                }
            }
        }
        all
    }

    /// In pieces of these sizes, of the one direction or the other as far as may be; then the rest.
    fn talk(&self, pieces: &[(bool, usize)]) -> Talk {
        let mut at = PerEnd::both(0);
        let mut talk = Talk::new();
        let rest = [(true, usize::MAX), (false, usize::MAX)];
        for &(is_client, size) in pieces.iter().chain(&rest) {
            let from = if is_client { Client } else { Server };
            let mut end = self.bytes[from].len();
            if from == Server {
                let waits = self.waits.iter().find(|(_, client)| *client > at.client);
                end = waits.map_or(end, |(server, _)| *server).max(at.server);
            }
            let take = size.min(end - at[from]);
            talk.push((from, self.bytes[from][at[from]..at[from] + take].to_vec()));
            at[from] += take;
        }
        talk
    }

    fn check(&self, alpn: &[u8], exchanges: usize, pieces: &[(bool, usize)]) {
        let whole = play(Some(alpn), &self.talk(&[]), usize::MAX);
        let mixed = play(Some(alpn), &self.talk(pieces), usize::MAX);
        for from in End::BOTH {
            assert_eq!(of(from, &mixed), of(from, &whole), "{from:?}");
            let count = |what| whole.iter().filter(|(b, _)| b.from == from && b.what == what).count();
            let kind = if from == Client { HeadKind::Request } else { HeadKind::Response };
            assert_eq!((count(What::HeadEnds(kind)), count(What::MessageEnds)), (exchanges, exchanges));
            assert_eq!(self.content_by(from, &whole), self.content[from]);
        }
    }

    /// What lies between the borders of data, message by message.
    fn content_by(&self, from: End, told: &[(Border, Option<String>)]) -> Vec<(u32, Vec<u8>)> {
        let mut messages: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut begun = 0;
        for (Border { at, stream, what, .. }, _) in told.iter().filter(|(border, _)| border.from == from) {
            let at = *at as usize;
            match what {
                What::HeadEnds(HeadKind::Request | HeadKind::Response) => {
                    messages.push((*stream, Vec::new()))
                }
                What::DataBegins => begun = at,
                What::DataEnds => {
                    let message = messages.iter_mut().rev().find(|(of, _)| of == stream).unwrap();
                    message.1.extend_from_slice(&self.bytes[from][begun..at]);
                }
                _ => {}
            }
        }
        messages
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_cuts_of_http1(
        exchanges in exchanges(),
        pieces in vec((any::<bool>(), 0usize..60), 0..200),
    ) {
        Connection::http1(&exchanges).check(b"http/1.1", exchanges.len(), &pieces);
    }

    #[test]
    fn any_cuts_of_http2(
        exchanges in exchanges(),
        pieces in vec((any::<bool>(), 0usize..60), 0..200),
    ) {
        Connection::http2(&exchanges).check(b"h2", exchanges.len(), &pieces);
    }
}
