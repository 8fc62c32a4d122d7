//! Whatever a peer sends: no panic, and no more memory than promised.

#[path = "../../fuzz/bodies/borders.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, clippy::panic, reason = "written for the fuzz targets")]
mod borders;

use borders::Sound;
use proptest::collection::vec;
use proptest::prelude::*;
use wireglass_core::content::{Border, HttpInspector};
use wireglass_core::end::End;
use wireglass_core::event::{AnomalyEvent, HttpEvent};
use wireglass_core::reason::InspectorOff;

/// What one reader may hold at most.
const MOST: usize = 1 << 20;

const HTTP1: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff;a\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\r\n",
    b"Name: value\r\n",
    b"0\r\n",
    b"GET /old\r\n",
    b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 1,2\r\n\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length : 1\rX\r\n\r\n",
];

#[derive(Clone, Debug)]
struct Piece {
    from: End,
    bytes: Vec<u8>,
}

fn side() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Client), Just(End::Server)]
}

/// Right bytes with some of them wrong.
fn http1() -> impl Strategy<Value = Vec<u8>> {
    (proptest::sample::select(HTTP1), vec((any::<usize>(), any::<u8>()), 0..3)).prop_map(
        |(message, faults)| {
            let mut bytes = message.to_vec();
            for (place, byte) in faults {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            bytes
        },
    )
}

/// Frames with a right header around any payload, mostly of the types that matter.
fn http2() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![Just(0x4u8), Just(0x5), any::<u8>()];
    (prop_oneof![0u8..10, any::<u8>()], flags, 0u32..12, vec(any::<u8>(), 0..80)).prop_map(
        |(kind, flags, stream, payload)| {
            let mut bytes = vec![0, 0, payload.len() as u8, kind, flags];
            bytes.extend(stream.to_be_bytes());
            bytes.extend(payload);
            bytes
        },
    )
}

fn pieces(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<Piece>> {
    vec((side(), bytes).prop_map(|(from, bytes)| Piece { from, bytes }), 0..40)
}

/// All that a reader tells.
#[derive(Debug, Default, PartialEq)]
struct Said {
    events: Vec<HttpEvent>,
    anomalies: Vec<AnomalyEvent>,
    off: Option<InspectorOff>,
    unread: [u64; 2],
    borders: Vec<(Border, Option<String>)>,
}

impl Said {
    fn fetch(&mut self, inspector: &mut HttpInspector) {
        self.events.extend(std::iter::from_fn(|| inspector.poll_transaction()).map(|event| *event));
        self.anomalies.extend(std::iter::from_fn(|| inspector.poll_anomaly()).map(|anomaly| *anomaly));
    }
}

/// In steps of `step` bytes, and as it is: both must say the same.
fn feed(alpn: Option<&[u8]>, prologue: &[(End, &[u8])], pieces: &[Piece], step: usize) {
    let cut = feed_in_steps(alpn, prologue, pieces, step);
    assert_eq!(cut, feed_in_steps(alpn, prologue, pieces, usize::MAX));
    assert!(cut.anomalies.len() <= 8, "{:?}", cut.anomalies);
    let came = |side| {
        let of = pieces.iter().map(|p| (p.from, p.bytes.len()));
        prologue
            .iter()
            .map(|(from, b)| (*from, b.len()))
            .chain(of)
            .filter(|(f, _)| *f == side)
            .map(|(_, n)| n as u64)
            .sum::<u64>()
    };
    for side in [End::Client, End::Server] {
        assert!(cut.unread[side as usize] <= came(side), "{:?} of {}", cut.unread, came(side));
    }
}

fn feed_in_steps(alpn: Option<&[u8]>, prologue: &[(End, &[u8])], pieces: &[Piece], step: usize) -> Said {
    let mut said = Said::default();
    let mut inspector = HttpInspector::new(alpn);
    let mut sound = Sound::new(alpn == Some(b"h2"));
    for (from, bytes) in prologue {
        sound.give(*from, bytes);
        inspector.bytes_with(*from, bytes, &mut sound);
    }
    for piece in pieces {
        for bytes in piece.bytes.chunks(step) {
            sound.give(piece.from, bytes);
            inspector.bytes_with(piece.from, bytes, &mut sound);
            assert!(inspector.memory() <= MOST, "{}", inspector.memory());
        }
        said.fetch(&mut inspector);
    }
    said.off = inspector.off_reason();
    sound.end();
    inspector.finish_with(&mut sound);
    said.borders = sound.told;
    said.fetch(&mut inspector);
    said.unread = [End::Client, End::Server].map(|side| inspector.unread(side));
    // Ended, it holds nothing but itself.
    assert!(inspector.memory() <= 512, "{}", inspector.memory());
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(pieces in pieces(vec(any::<u8>(), 0..100)), step in 1usize..50) {
        for alpn in [None, Some(&b"h2"[..]), Some(b"http/1.1"), Some(b"spdy")] {
            feed(alpn, &[], &pieces, step);
        }
    }

    #[test]
    fn broken_http1(pieces in pieces(http1()), step in 1usize..50) {
        feed(Some(b"http/1.1"), &[], &pieces, step);
    }

    #[test]
    fn broken_http2(pieces in pieces(http2()), step in 1usize..50) {
        let greetings: [(End, &[u8]); 3] = [
            (End::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            (End::Client, b"\0\0\0\x04\0\0\0\0\0"),
            (End::Server, b"\0\0\0\x04\0\0\0\0\0"),
        ];
        feed(Some(b"h2"), &greetings, &pieces, step);
    }
}

/// The largest of everything at once: compression tables, requests made of references to them, pushes.
#[test]
fn the_worst_peer_is_bounded() {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    };
    let mut inspector = HttpInspector::new(Some(b"h2"));
    let settings = frame(4, 0, 0, &[0, 1, 0, 1, 0, 0]);
    inspector.bytes(End::Client, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat());
    inspector.bytes(End::Server, &settings);
    // The table grows to 64 KB and takes a path of 60,000 bytes.
    let mut block = vec![0x3f, 0xe1, 0xff, 0x03, 0x44, 0x7f, 0xe1, 0xd3, 0x03];
    block.extend(vec![b'p'; 60_000]);
    let push = |stream: u32, fields: &[u8]| frame(5, 4, 1, &[&stream.to_be_bytes()[..], fields].concat());
    inspector.bytes(End::Server, &push(2, &block));
    assert_eq!(inspector.off_reason(), None);
    let mut most = inspector.memory();
    for stream in 1..3_000 {
        let again = [push(stream * 2 + 2, &[0xbe]), frame(1, 5, stream * 2 + 2, &[0x88])].concat();
        inspector.bytes(End::Server, &again);
        most = most.max(inspector.memory());
    }
    assert!(inspector.off_reason().is_some(), "unfetched events must not pile up");
    assert!((60_000..=MOST).contains(&most), "{most}");
}

/// Requests that nobody answers: as many texts as may be, then as many requests and streams as may be.
#[test]
fn the_worst_crowd_is_bounded() {
    let fat = format!("GET /{} HTTP/1.1\r\nReferer: {}\r\n\r\n", "u".repeat(4_000), "r".repeat(4_000));
    let mut inspector = HttpInspector::new(Some(b"http/1.1"));
    let mut most = 0;
    let requests = [fat.repeat(200), "GET / HTTP/1.1\r\n\r\n".repeat(70_000)].concat();
    for piece in requests.as_bytes().chunks(16_384) {
        inspector.bytes(End::Client, piece);
        most = most.max(inspector.memory());
    }
    assert_eq!(inspector.off_reason(), Some(InspectorOff::TooManyOpen));
    assert!((300_000..=MOST).contains(&most), "{most}");
    while inspector.poll_transaction().is_some() {}
    while inspector.poll_anomaly().is_some() {}
    assert_eq!(inspector.memory(), 0, "it is off");

    let mut inspector = HttpInspector::new(Some(b"h2"));
    inspector.bytes(End::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut most = 0;
    for number in 0..5_000u32 {
        let mut frame = vec![0, 0, 2, 1, 5];
        frame.extend((2 * number + 1).to_be_bytes());
        inspector.bytes(End::Client, &[&frame[..], b"\x82\x84"].concat());
        most = most.max(inspector.memory());
    }
    assert_eq!(inspector.off_reason(), Some(InspectorOff::TooManyOpen));
    assert!((200_000..=MOST).contains(&most), "{most}");
}
