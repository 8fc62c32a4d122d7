//! HTTP/2 as the `h2` crate speaks it, its client and server talking over pipes that are tapped; and frames
//! made by hand for what that crate never sends.
#![expect(clippy::disallowed_types, reason = "the pipe to a client of tokio")]

#[path = "../../fuzz/bodies/borders.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, clippy::panic, reason = "written for the fuzz targets")]
mod borders;

use std::sync::{Arc, Mutex};

use borders::Sound;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use wireglass_core::content::HttpInspector;
use wireglass_core::end::End::{self, Client, Server};
use wireglass_core::event::{AnomalyEvent, HttpEvent};
use wireglass_core::reason::InspectorOff;

type Tape = Arc<Mutex<Vec<(End, Vec<u8>)>>>;

struct Outcome {
    events: Vec<HttpEvent>,
    anomalies: Vec<AnomalyEvent>,
    off: Option<InspectorOff>,
    unread: [u64; 2],
}

fn play(alpn: Option<&[u8]>, talk: &[(End, Vec<u8>)], step: usize) -> Outcome {
    let mut inspector = HttpInspector::new(alpn);
    let mut sound = Sound::new(alpn == Some(b"h2"));
    let (mut events, mut anomalies) = (Vec::new(), Vec::new());
    for (from, bytes) in talk {
        for piece in bytes.chunks(step) {
            sound.give(*from, piece);
            inspector.bytes_with(*from, piece, &mut sound);
            while let Some(event) = inspector.poll_transaction() {
                events.push(*event);
            }
            anomalies.extend(std::iter::from_fn(|| inspector.poll_anomaly()).map(|anomaly| *anomaly));
        }
    }
    let off = inspector.off_reason();
    inspector.finish();
    while let Some(event) = inspector.poll_transaction() {
        events.push(*event);
    }
    let unread = [Client, Server].map(|from| inspector.unread(from));
    Outcome { events, anomalies, off, unread }
}

/// Whole, in steps of many sizes, by ALPN and by the preface alone: all must agree.
fn every_way(talk: &[(End, Vec<u8>)]) -> Outcome {
    let whole = play(Some(b"h2"), talk, usize::MAX);
    for step in (1..64).chain([100, 1000, 16_384]) {
        for alpn in [Some(&b"h2"[..]), None] {
            let outcome = play(alpn, talk, step);
            assert_eq!(outcome.events, whole.events, "in steps of {step}");
            assert_eq!(outcome.anomalies, whole.anomalies, "in steps of {step}");
            assert_eq!((outcome.off, outcome.unread), (whole.off, whole.unread), "in steps of {step}");
        }
    }
    whole
}

/// Copies one direction and writes down what passes.
async fn tap(
    from: End,
    mut read: tokio::io::ReadHalf<DuplexStream>,
    mut write: tokio::io::WriteHalf<DuplexStream>,
    tape: Tape,
) {
    let mut buffer = vec![0; 4096];
    while let Ok(n @ 1..) = read.read(&mut buffer).await {
        tape.lock().expect("no thread panicked").push((from, buffer[..n].to_vec()));
        if write.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
    let _ = write.shutdown().await;
}

/// Runs a client against a server that answers by path, and returns what both said.
fn record(table_size: u32, requests: usize) -> Vec<(End, Vec<u8>)> {
    let tape = Tape::default();
    let recorded = Arc::clone(&tape);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async move {
        let (client_end, client_wire) = duplex(64 * 1024);
        let (server_end, server_wire) = duplex(64 * 1024);
        let (client_read, client_write) = tokio::io::split(client_wire);
        let (server_read, server_write) = tokio::io::split(server_wire);
        tokio::spawn(tap(Client, client_read, server_write, Arc::clone(&tape)));
        tokio::spawn(tap(Server, server_read, client_write, tape));
        tokio::spawn(serve(server_end));
        let (mut client, connection) = h2::client::Builder::new()
            .header_table_size(table_size)
            .handshake::<_, Bytes>(client_end)
            .await
            .expect("client handshake");
        let driver = tokio::spawn(connection);
        let mut pending = Vec::new();
        for number in 0..requests {
            client = client.ready().await.expect("ready");
            let request = http::Request::builder()
                .method(if number % 3 == 0 { "POST" } else { "GET" })
                .uri(format!("https://host-{}.example:8443/path/{number}?q=%22", number % 4))
                .header("user-agent", "tape/1.0")
                .header("referer", format!("https://from.example/{}", number % 5))
                .header("cookie", "session=secret")
                .header("authorization", "Bearer secret")
                .body(())
                .expect("a request");
            let (response, mut body) = client.send_request(request, false).expect("sent");
            body.send_data(Bytes::from(vec![b'b'; number * 10]), true).expect("body");
            pending.push(response);
            if number % 8 == 7 {
                for response in pending.drain(..) {
                    finish(response).await;
                }
            }
        }
        for response in pending {
            finish(response).await;
        }
        drop(client);
        let _ = driver.await;
    });
    Arc::try_unwrap(recorded).map(|tape| tape.into_inner().expect("no thread panicked")).unwrap_or_default()
}

async fn finish(response: h2::client::ResponseFuture) {
    let mut body = response.await.expect("a response").into_body();
    while let Some(data) = body.data().await {
        let length = data.expect("data").len();
        let _ = body.flow_control().release_capacity(length);
    }
}

async fn serve(end: DuplexStream) {
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(1 << 20);
    let mut connection = builder.handshake::<_, Bytes>(end).await.expect("server handshake");
    let mut number = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let status = if number % 5 == 4 { 302 } else { 200 };
        let response = http::Response::builder()
            .status(status)
            .header("content-type", format!("text/{}", number % 3))
            .header("location", format!("/moved/{number}"))
            .header("set-cookie", "session=secret")
            .body(())
            .expect("a response");
        let length = request.uri().path().len() * 100;
        let mut body = respond.send_response(response, false).expect("sent");
        body.send_data(Bytes::from(vec![b'x'; length]), false).expect("data");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("checksum", "1".parse().expect("a value"));
        body.send_trailers(trailers).expect("trailers");
        number += 1;
    }
}

#[test]
fn a_real_client_and_server() {
    for table_size in [4096, 0, 100, 65_536] {
        let tape = record(table_size, 40);
        let outcome = if table_size == 4096 { every_way(&tape) } else { play(Some(b"h2"), &tape, 7) };
        assert_eq!(outcome.off, None, "table of {table_size}");
        assert_eq!(outcome.events.len(), 40);
        let mut events = outcome.events;
        events.sort_by_key(|event| event.tx_id);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event.tx_id, number as u64);
            assert_eq!(event.protocol, "HTTP/2");
            assert_eq!(event.method.as_deref(), Some(if number % 3 == 0 { "POST" } else { "GET" }));
            assert_eq!(event.hostname, Some(format!("host-{}.example", number % 4).into()));
            let url = format!("/path/{number}?q=%22");
            assert_eq!(event.url.as_deref(), Some(&*url));
            assert_eq!(event.user_agent.as_deref(), Some("tape/1.0"));
            assert_eq!(event.referer, Some(format!("https://from.example/{}", number % 5).into()));
            assert_eq!(event.status, Some(if number % 5 == 4 { 302 } else { 200 }));
            assert_eq!(event.content_type, Some(format!("text/{}", number % 3).into()));
            assert_eq!(event.redirect.is_some(), number % 5 == 4);
            assert_eq!(event.length, format!("/path/{number}").len() as u64 * 100);
        }
        assert!(!format!("{events:?}").contains("secret"));
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// `:method GET`, `:path /`, `:authority a`.
const REQUEST: &[u8] = b"\x82\x84\x01\x01a";
/// `:status 200`.
const OK: &[u8] = b"\x88";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Both sides have greeted each other, then these frames.
fn talk(frames: &[(End, Vec<u8>)]) -> Vec<(End, Vec<u8>)> {
    let mut out = vec![
        (Client, [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        (Server, frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0x20, 0])),
        (Server, frame(SETTINGS, 1, 0, &[])),
    ];
    out.extend_from_slice(frames);
    out
}

fn one_line(outcome: &Outcome) -> Vec<(u64, Option<u16>, u64)> {
    outcome.events.iter().map(|event| (event.tx_id, event.status, event.length)).collect()
}

#[test]
fn padding_priority_and_continuation() {
    let padded = [&[3, 0x80, 0, 0, 0, 9][..], &REQUEST[..2], &[0, 0, 0]].concat();
    let outcome = every_way(&talk(&[
        (Client, frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        (Client, frame(HEADERS, 0x8 | 0x20 | 0x1, 1, &padded)),
        (Client, frame(CONTINUATION, 0, 1, &[])),
        (Client, frame(CONTINUATION, 0x4, 1, &REQUEST[2..])),
        (Server, frame(HEADERS, 0x4, 1, b"\x08\x03103")),
        (Server, frame(HEADERS, 0x4, 1, OK)),
        (Server, frame(PING, 0, 0, &[0; 8])),
        (Server, frame(DATA, 0x8, 1, b"\x02hello\0\0")),
        (Server, frame(DATA, 0, 1, b"12345")),
        (Server, frame(0xfa, 0xff, 1, b"a frame type of the future")),
        (Server, frame(DATA, 0x1 | 0x8, 1, b"\0")),
    ]));
    assert_eq!(outcome.off, None);
    assert_eq!(one_line(&outcome), [(0, Some(200), 10)]);
    assert_eq!(outcome.events[0].hostname.as_deref(), Some("a"));
}

#[test]
fn resets_goaway_and_pushes() {
    let push = [&2u32.to_be_bytes()[..], REQUEST].concat();
    let goaway = [&5u32.to_be_bytes()[..], &[0; 4]].concat();
    let outcome = every_way(&talk(&[
        (Client, frame(HEADERS, 0x5, 1, REQUEST)),
        (Client, frame(HEADERS, 0x5, 3, REQUEST)),
        (Client, frame(HEADERS, 0x5, 5, REQUEST)),
        (Client, frame(HEADERS, 0x5, 7, REQUEST)),
        (Server, frame(PUSH_PROMISE, 0x4, 1, &push)),
        (Server, frame(HEADERS, 0x4, 2, OK)),
        (Server, frame(DATA, 0x1, 2, b"pushed")),
        (Server, frame(HEADERS, 0x4, 3, OK)),
        (Client, frame(RST_STREAM, 0, 3, &[0, 0, 0, 8])),
        (Server, frame(DATA, 0, 3, b"late")),
        (Server, frame(GOAWAY, 0, 0, &goaway)),
        (Server, frame(HEADERS, 0x5, 1, OK)),
    ]));
    assert_eq!(outcome.off, None);
    // The push; the reset; what GOAWAY refused; the first; and 5, which is still open at the end.
    let expected = [(4, Some(200), 6), (1, Some(200), 0), (3, None, 0), (0, Some(200), 0), (2, None, 0)];
    assert_eq!(one_line(&outcome), expected);
}

#[test]
fn faults_turn_the_reader_off_by_name() {
    let headers = || (Client, frame(HEADERS, 0x5, 1, REQUEST));
    let cases = [
        (vec![(Client, frame(HEADERS, 0x4, 0, REQUEST))], InspectorOff::H2Frame),
        (vec![(Client, frame(HEADERS, 0x4, 2, REQUEST))], InspectorOff::H2Frame),
        (vec![(Client, frame(CONTINUATION, 0x4, 1, REQUEST))], InspectorOff::H2Frame),
        (vec![(Client, frame(HEADERS, 0x0, 1, REQUEST)), headers()], InspectorOff::H2Frame),
        (
            vec![(Client, frame(HEADERS, 0x0, 1, b"")), (Client, frame(DATA, 0, 1, b""))],
            InspectorOff::H2Frame,
        ),
        (vec![(Client, frame(HEADERS, 0xc, 1, b"\x09\x82"))], InspectorOff::H2Frame),
        (vec![(Client, frame(HEADERS, 0x24, 1, b"\x82"))], InspectorOff::H2Frame),
        (vec![(Client, frame(PUSH_PROMISE, 0x4, 1, b"\0\0\0\x02"))], InspectorOff::H2Frame),
        (vec![headers(), (Server, frame(PUSH_PROMISE, 0x4, 1, b"\0\0\0\x03"))], InspectorOff::H2Frame),
        (vec![headers(), (Server, frame(PUSH_PROMISE, 0x4, 1, b"\0\0\0\0\x82"))], InspectorOff::H2Frame),
        (vec![(Server, frame(SETTINGS, 0, 0, b"\0\x01"))], InspectorOff::H2Frame),
        (vec![(Server, frame(SETTINGS, 0, 1, b""))], InspectorOff::H2Frame),
        (vec![(Server, frame(GOAWAY, 0, 0, b"\0"))], InspectorOff::H2Frame),
        (vec![headers(), (Server, frame(DATA, 0x8, 1, b"\x05abc"))], InspectorOff::H2Frame),
        (vec![headers(), (Server, frame(DATA, 0x8, 1, b""))], InspectorOff::H2Frame),
        (vec![headers(), (Server, frame(HEADERS, 0x4, 1, b"\xff\xff"))], InspectorOff::H2Compression),
        (vec![(Server, frame(HEADERS, 0x4, 1, b"\xbe"))], InspectorOff::H2Compression),
        (
            vec![(Server, frame(HEADERS, 0x0, 1, b"")), (Client, frame(SETTINGS, 0, 0, &[0; 65_540]))],
            InspectorOff::HeaderTooBig,
        ),
    ];
    for (number, (frames, reason)) in cases.into_iter().enumerate() {
        // It is told where the frame at fault begins; all from there on is not read.
        let mut all = talk(&frames);
        let of = |side: End, all: &[(End, Vec<u8>)]| {
            all.iter().filter(|(from, _)| *from == side).map(|(_, bytes)| bytes.len() as u64).sum::<u64>()
        };
        let from = all[all.len() - 1].0;
        let total = of(from, &all);
        let offset = total - all[all.len() - 1].1.len() as u64;
        all.push((from, vec![0; 100]));
        let outcome = every_way(&all);
        assert_eq!(outcome.off, Some(reason), "case {number}");
        let [anomaly] = &outcome.anomalies[..] else { panic!("{:?}", outcome.anomalies) };
        assert_eq!((anomaly.app_proto, anomaly.what.code()), ("http2", reason.code()), "case {number}");
        assert_eq!((anomaly.from, anomaly.offset), (from, offset), "case {number}");
        assert_eq!(outcome.unread[from as usize], total - offset + 100, "case {number}");
        assert_eq!(outcome.unread[from.other() as usize], 0, "case {number}");
    }
    let wrong = [(Client, b"GET / HTTP/1.1\r\n".to_vec())];
    let outcome = play(Some(b"h2"), &wrong, 3);
    assert_eq!((outcome.off, outcome.unread), (Some(InspectorOff::H2Frame), [16, 0]));
}

#[test]
fn bounds_have_names() {
    let endless = |payload: &[u8]| {
        let mut frames = vec![(Client, frame(HEADERS, 0, 1, b""))];
        frames.extend((0..5).map(|_| (Client, frame(CONTINUATION, 0, 1, payload))));
        play(Some(b"h2"), &talk(&frames), usize::MAX).off
    };
    assert_eq!(endless(&[0; 16_384]), Some(InspectorOff::HeaderTooBig));
    assert_eq!(endless(&[0; 1000]), None);
    let table = [0x3f, 0xe1, 0xff, 0xff, 0x07]; // a size update to 16 MB
    let allowed = frame(SETTINGS, 0, 0, &[0, 1, 0x7f, 0xff, 0xff, 0xff]);
    let outcome =
        play(Some(b"h2"), &talk(&[(Server, allowed), (Client, frame(HEADERS, 0x4, 1, &table))]), usize::MAX);
    assert_eq!(outcome.off, Some(InspectorOff::H2TableSize));
    let streams: Vec<_> = (0..5000).map(|n| (Client, frame(HEADERS, 0x5, 2 * n + 1, REQUEST))).collect();
    let outcome = play(Some(b"h2"), &talk(&streams), usize::MAX);
    assert_eq!(outcome.off, Some(InspectorOff::TooManyOpen));
    assert_eq!(outcome.anomalies[0].what.code(), "http.too_many_open");
}

/// More streams than have room for their texts are followed without.
#[test]
fn any_number_of_streams() {
    for count in [128, 129, 1000] {
        let mut frames: Vec<_> =
            (0..count).map(|n| (Client, frame(HEADERS, 0x5, 2 * n + 1, REQUEST))).collect();
        for n in (0..count).rev() {
            frames.push((Server, frame(HEADERS, 0x4, 2 * n + 1, OK)));
            frames.push((Server, frame(DATA, 0x1, 2 * n + 1, b"hello")));
        }
        frames.push((Client, frame(HEADERS, 0x5, 9001, REQUEST)));
        frames.push((Server, frame(HEADERS, 0x5, 9001, OK)));
        let outcome = play(Some(b"h2"), &talk(&frames), usize::MAX);
        assert_eq!((outcome.off, outcome.unread, outcome.events.len()), (None, [0; 2], count as usize + 1));
        for event in &outcome.events[..count as usize] {
            assert_eq!((event.status, event.length), (Some(200), 5));
            assert_eq!((event.shortened, event.url.is_none()), (event.tx_id >= 128, event.tx_id >= 128));
        }
        assert_eq!(outcome.events[count as usize].hostname.as_deref(), Some("a"));
    }
}

/// nginx 1.22 serves what follows each of these; nghttpd refuses the first four.
#[test]
fn odd_frames_do_not_hide_what_follows() {
    let greeting = |frames: &[Vec<u8>]| vec![(Client, [&[PREFACE.to_vec()], frames].concat().concat())];
    let wide = [REQUEST, &b"\x00\x01a\x01b".repeat(1100)].concat();
    let cases = [
        ("no SETTINGS", greeting(&[])),
        ("PING before SETTINGS", greeting(&[frame(PING, 0, 0, &[0; 8])])),
        ("ACK before SETTINGS", greeting(&[frame(SETTINGS, 1, 0, &[])])),
        ("a size update behind a field", greeting(&[frame(HEADERS, 0x5, 1, &[REQUEST, b"\x20"].concat())])),
        ("DATA on no stream that is open", greeting(&[frame(DATA, 0x1, 5, b"x")])),
        ("RST_STREAM likewise", greeting(&[frame(RST_STREAM, 0, 5, &[0; 4])])),
        ("GOAWAY of the client", greeting(&[frame(GOAWAY, 0, 0, &[0; 8])])),
        ("an unknown frame, longer than may be", greeting(&[frame(0xfa, 0xff, 1, &[0; 60_000])])),
        ("1100 fields", greeting(&[frame(HEADERS, 0x5, 1, &wide)])),
        ("the reserved bit", greeting(&[frame(HEADERS, 0x5, 0x8000_0001, REQUEST)])),
    ];
    for (case, mut frames) in cases {
        frames.push((Client, frame(HEADERS, 0x5, 1001, b"\x82\x04\x05/next\x01\x01a")));
        frames.push((Server, frame(SETTINGS, 0, 0, &[])));
        frames.push((Server, frame(HEADERS, 0x5, 1001, OK)));
        let outcome = every_way(&frames);
        assert_eq!((outcome.off, outcome.unread), (None, [0; 2]), "{case}");
        let next = |event: &&HttpEvent| event.url.as_deref() == Some("/next") && event.status == Some(200);
        assert_eq!(outcome.events.iter().filter(next).count(), 1, "{case}");
    }
}
