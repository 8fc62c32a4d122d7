//! nginx and the reader, side by side: what nginx serves, the reader has seen.
//!
//! Skipped, with a line that says so, where there is no `nginx` command.
#![allow(clippy::unwrap_used, clippy::panic)]
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the other end is a program of its own"
)]

#[path = "../../fuzz/bodies/borders.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "written for the fuzz targets")]
mod borders;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use borders::Sound;
use wireglass_core::content::{
    Fate, Filters as _, HeadKind, HttpInspector, Opened, Ready, Report, RuleFilters, Stage, What,
};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::event::{ContentVerdict, HttpEvent};
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Direction, FieldEdit,
    HeaderRule, Profile, Respond,
};

/// nginx in a folder of its own, behind Unix sockets: one for HTTP/1, one for HTTP/2 in plain text.
struct Nginx {
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nginx {
    fn start() -> Option<Self> {
        let program =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| PathBuf::from(path).exists());
        let Some(program) = program else {
            eprintln!("skipped: no nginx command");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {at}/{of};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error crit;
             events {{ worker_connections 64; }}
             http {{ access_log off; {temporary} keepalive_requests 100000;
             client_header_timeout 2s; client_body_timeout 2s; lingering_close off;
             server {{ listen unix:{at}/1; listen unix:{at}/2 http2;
             location / {{ add_header X-Seen \"$request_method $request_uri\" always;
             add_header X-Got \"$http_x_tenant,$http_x_secret,$http_a\" always; return 200 ok; }} }} }}"
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(folder.path().join("config"))
            .args(["-e", "stderr"])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let nginx = Self { folder, process };
        let patience = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(nginx.folder.path().join("2")).is_err() {
            assert!(Instant::now() < patience, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }

    /// What it says to these bytes, until it closes.
    fn answer(&self, socket: &str, request: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.folder.path().join(socket)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let request = request.to_vec();
        // It may answer before it has read all, and close before that.
        let sender = std::thread::spawn(move || {
            let _ = writer.write_all(&request);
            let _ = writer.shutdown(std::net::Shutdown::Write);
        });
        let mut answer = Vec::new();
        let mut piece = [0; 65_536];
        while let Ok(n @ 1..) = stream.read(&mut piece) {
            answer.extend_from_slice(&piece[..n]);
        }
        sender.join().unwrap();
        answer
    }
}

/// What the reader makes of both directions; and of borders, which must be sound.
fn read(alpn: &[u8], request: &[u8], answer: &[u8]) -> (Vec<HttpEvent>, HttpInspector, Sound) {
    let mut inspector = HttpInspector::new(Some(alpn));
    let mut borders = Sound::new(alpn == b"h2");
    let mut events = Vec::new();
    for (from, bytes) in [(End::Client, request), (End::Server, answer)] {
        for piece in bytes.chunks(16_384) {
            borders.give(from, piece);
            inspector.bytes_with(from, piece, &mut borders);
            events.extend(std::iter::from_fn(|| inspector.poll_transaction()).map(|event| *event));
        }
    }
    (events, inspector, borders)
}

/// Status, and method with target, of each of nginx's responses.
fn served(answer: &[u8]) -> Vec<(u16, String)> {
    let text = String::from_utf8_lossy(answer).into_owned();
    let heads = text.split("HTTP/1.1 ").skip(1);
    let seen = |head: &str| {
        head.lines().find_map(|line| line.strip_prefix("X-Seen: ")).unwrap_or_default().to_owned()
    };
    heads.map(|head| (head[..3].parse().unwrap(), seen(head))).filter(|(status, _)| *status >= 200).collect()
}

const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[rustfmt::skip]
const HTTP1: &[(&str, &[u8])] = &[
    ("no colon", b"GET /x HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n"),
    ("ctl value", b"GET /x HTTP/1.1\r\nHost: h\r\nA: a\x01b\r\n\r\n"),
    ("nul value", b"GET /x HTTP/1.1\r\nHost: h\r\nA: a\x00b\r\n\r\n"),
    ("name >127", b"GET /x HTTP/1.1\r\nHost: h\r\n\xc3\xa9: a\r\n\r\n"),
    ("name ()@", b"GET /x HTTP/1.1\r\nHost: h\r\n(a)@[b]: x\r\n\r\n"),
    ("space before colon", b"GET /x HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n"),
    ("empty name", b"GET /x HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n"),
    ("leading space 1st", b"GET /x HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n"),
    ("obs-fold", b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n"),
    ("tab fold CL", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\t5\r\n\r\nhello"),
    ("two spaces 1", b"GET  /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("two spaces 2", b"GET /x  HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("trailing space", b"GET /x HTTP/1.1 \r\nHost: h\r\n\r\n"),
    ("tab sep", b"GET\t/x\tHTTP/1.1\r\nHost: h\r\n\r\n"),
    ("space in uri", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("uri not utf8", b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("uri ctl", b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("0.9", b"GET /x\r\n"),
    ("0.9 then", b"GET /x\r\n\r\n"),
    ("lower method", b"get /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("odd method", b"FOO-BAR_1 /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("method @", b"F@O /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("HTTP/1.2", b"GET /x HTTP/1.2\r\nHost: h\r\n\r\n"),
    ("HTTP/1.10", b"GET /x HTTP/1.10\r\nHost: h\r\n\r\n"),
    ("HTTP/2.0", b"GET /x HTTP/2.0\r\nHost: h\r\n\r\n"),
    ("http/1.1 lower", b"GET /x http/1.1\r\nHost: h\r\n\r\n"),
    ("HTTP/01.1", b"GET /x HTTP/01.1\r\nHost: h\r\n\r\n"),
    ("bare LF", b"GET /x HTTP/1.1\nHost: h\n\n"),
    ("bare CR in value", b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n"),
    ("bare CR end", b"GET /x HTTP/1.1\rHost: h\r\r"),
    ("leading CRLF", b"\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CR CR LF", b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n"),
    ("no host", b"GET /x HTTP/1.1\r\n\r\n"),
    ("two hosts", b"GET /x HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n"),
    ("absolute", b"GET http://abs/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CL+TE", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE+CL", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("TE 1.0", b"POST /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE twice", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE chunked,chunked", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("TE identity", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n"),
    ("TE gzip,chunked", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("TE chunked,gzip", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("TE xchunked", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("TE CHUNKED", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    ("TE chunked space", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n"),
    ("TE tab", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n"),
    ("TE quoted", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("TE vtab", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("TE name space", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("TE fold", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("TE underscore", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n"),
    ("TE empty", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n"),
    ("CL 1,2", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1,2\r\n\r\nab"),
    ("CL 5,5", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5,5\r\n\r\nhello"),
    ("CL twice same", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("CL twice diff", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("CL +5", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello"),
    ("CL 5 x", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5 x\r\n\r\nhello"),
    ("CL 0x5", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("CL -1", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n"),
    ("CL huge", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    ("CL empty", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n"),
    ("CL 05", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 05\r\n\r\nhello"),
    ("CL 5 on GET", b"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
    ("CL space name", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello"),
    ("CL tab trailing", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\t\r\n\r\nhello"),
    ("CL leading tab", b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length:\t5\r\n\r\nhello"),
    ("chunk ext", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n"),
    ("chunk ext nl", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n"),
    ("chunk LF", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"),
    ("chunk space", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"),
    ("chunk lead space", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n"),
    ("chunk 0x", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("chunk +", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    ("chunk long zeros", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("chunk no crlf", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n"),
    ("chunk data cr", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r0\r\n\r\n"),
    ("chunk junk after", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n"),
    ("chunk CR only", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n"),
    ("trailer", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n"),
    ("trailer nocolon", b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nnocolon\r\n\r\n"),
    ("CONNECT", b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("TRACE", b"TRACE /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("upgrade", b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
    ("upgrade h2c", b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"),
    ("expect", b"POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"),
    ("close", b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
    ("1.0", b"GET /x HTTP/1.0\r\n\r\n"),
    ("HEAD", b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("uri #", b"GET /x#y HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("uri no slash", b"GET x HTTP/1.1\r\nHost: h\r\n\r\n"),
];

#[test]
fn what_nginx_serves_the_reader_has_seen() {
    let Some(nginx) = Nginx::start() else { return };
    let mut cases: Vec<(&str, Vec<u8>)> = HTTP1.iter().map(|(case, bytes)| (*case, bytes.to_vec())).collect();
    let fields = (0..300).map(|n| format!("A{n}: b\r\n")).collect::<String>();
    let wide = format!("A: {}\r\n", "a".repeat(7_000)).repeat(4);
    let body = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    cases.extend([
        ("300 fields", format!("GET /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes()),
        ("28 KB of head", format!("GET /x HTTP/1.1\r\nHost: h\r\n{wide}\r\n").into_bytes()),
        ("7 KB of target", format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "u".repeat(4_000)).into_bytes()),
        ("9 KB of extension", format!("{body}5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(9_000)).into_bytes()),
        ("9 KB of trailer", format!("{body}0\r\nA: {}\r\n\r\n", "a".repeat(9_000)).into_bytes()),
        ("300 trailers", format!("{body}0\r\n{fields}\r\n").into_bytes()),
        ("127 pipelined", b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".repeat(127)),
        ("500 pipelined", b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".repeat(500)),
    ]);
    let mut to_the_end = 0;
    for (case, bytes) in cases {
        let request = [&bytes, LAST].concat();
        let answer = nginx.answer("1", &request);
        let (mut events, mut inspector, mut borders) = read(b"http/1.1", &request, &answer);
        assert_eq!(inspector.off_reason(), None, "{case}");
        borders.end();
        inspector.finish_with(&mut borders);
        events.extend(std::iter::from_fn(|| inspector.poll_transaction()).map(|event| *event));
        let served = served(&answer);
        to_the_end += usize::from(served.iter().any(|(_, seen)| seen == "GET /last"));
        for (n, (status, seen)) in served.iter().enumerate() {
            let event = events.get(n).unwrap_or_else(|| panic!("{case}: {served:?}, but {events:?}"));
            assert_eq!(event.status, Some(*status), "{case}: {served:?}, but {events:?}");
            if *status == 200 && !event.shortened {
                let method = event.method.as_deref().unwrap_or_default();
                let url = event.url.as_deref().unwrap_or_default();
                // The absolute form is what the request says.
                let read = format!("{method} {}", url.strip_prefix("http://abs").unwrap_or(url));
                assert_eq!(read, *seen, "{case}");
                assert_eq!(inspector.unread(End::Client), 0, "{case}");
            }
        }
        assert_eq!(inspector.unread(End::Server), 0, "{case}");
        // To HTTP/0.9 nginx answers without a head.
        let bare = !answer.is_empty() && !answer.starts_with(b"HTTP/");
        let ended = borders.told.iter().filter(|(b, _)| b.from == End::Server && b.what == What::MessageEnds);
        assert_eq!(ended.count(), served.len() + usize::from(bare), "{case}");
    }
    assert!(to_the_end >= 35, "nginx served {to_the_end} to the end: these are the ones that count");
}

/// Rules, and what they let pass.
struct Ruled {
    stage: Stage<Vec<u8>>,
    sent: PerEnd<Vec<u8>>,
    events: Vec<HttpEvent>,
}

impl Ruled {
    fn new() -> Self {
        let mut blocked = ContentRule::new("blocked", ContentAction::Block(Respond::Page));
        blocked.path = vec!["/blocked*".parse().unwrap()];
        let edits =
            vec![FieldEdit::Set("X-Tenant".into(), "corp".into()), FieldEdit::Remove("x-secret".into())];
        let header = HeaderRule {
            profile: Vec::new(),
            host: Vec::new(),
            host_list: None,
            direction: Direction::Request,
            edits,
        };
        let policy = ContentPolicy::compile(&[blocked], Arc::default()).with_headers(&[header]);
        let flow = DecryptedFlow {
            profile: Arc::new(Profile::default()),
            sni: None,
            certificate_names: Vec::new(),
            client: ([192, 0, 2, 1], 1000).into(),
            server: ([192, 0, 2, 2], 443).into(),
            flow_id: 1,
            connection: ConnectionFacts::default(),
        };
        let filters = RuleFilters::new(Arc::new(policy), Arc::default());
        let stage = Stage::new(filters.filter(&Arc::new(flow), Some(b"http/1.1")).unwrap());
        Self { stage, sent: PerEnd::default(), events: Vec::new() }
    }

    /// Until rules end the flow.
    fn says(&mut self, from: End, bytes: &[u8]) {
        for piece in bytes.chunks(1_000) {
            if self.stage.ending().is_some() {
                return;
            }
            match self.stage.plaintext(from, piece) {
                Fate::Pass => self.sent[from].extend_from_slice(piece),
                Fate::Keep => {
                    let mut block = piece.to_vec();
                    block.resize(2048, 0);
                    self.stage.keep(from, Opened { block, at: 0, len: piece.len(), end: 2048 });
                }
            }
            for from in End::BOTH {
                while let Some(Ready::Data(block, len)) = self.stage.next_ready(from, 0, |len| vec![0; len]) {
                    self.sent[from].extend_from_slice(&block[..len]);
                }
            }
            self.take_events();
        }
    }

    fn take_events(&mut self) {
        while let Some(report) = self.stage.poll_report() {
            if let Report::Http(event) = report {
                self.events.push(*event);
            }
        }
    }
}

/// What nginx has been asked for is what the events say, and nothing that a rule blocks, however it is wrapped up.
#[test]
fn what_rules_let_pass_is_what_nginx_gets() {
    let Some(nginx) = Nginx::start() else { return };
    const BLOCKED: &[u8] = b"GET /blocked HTTP/1.1\r\nHost: h\r\nX-Secret: s\r\n\r\n";
    let hidden = |head: &str| [head.as_bytes(), BLOCKED].concat();
    let mut cases: Vec<(&str, Vec<u8>)> = HTTP1.iter().map(|(case, bytes)| (*case, bytes.to_vec())).collect();
    let length = BLOCKED.len();
    let post = |fields: &str| format!("POST /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    cases.extend([
        ("in the body", hidden(&post(&format!("Content-Length: {length}\r\n")))),
        (
            "CL.TE",
            hidden(
                &(post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", length + 5))
                    + "0\r\n\r\n"),
            ),
        ),
        (
            "TE.CL",
            hidden(
                &(post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n") + &format!("{length:x}\r\n")),
            ),
        ),
        ("CL.0", hidden(&post("Content-Length: 0\r\n"))),
        ("a field that goes on", hidden(&post("A: b\r\n Content-Length: 60\r\n"))),
        ("behind a NUL", hidden("GET /x HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n")),
        ("a longer length", hidden(&post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n")))),
        ("escaped", b"GET /%62locked HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
        ("a way around", b"GET /x/..//blocked/y HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
    ]);
    let (mut passed, mut stopped) = (0, 0);
    for (case, bytes) in cases {
        let get = b"GET /y HTTP/1.1\r\nHost: h\r\nX-Secret: s\r\nx-tenant: own\r\nA: b\r\n\r\n";
        let request = [&get[..], &bytes, BLOCKED, LAST].concat();
        let mut ruled = Ruled::new();
        ruled.says(End::Client, &request);
        let answer = nginx.answer("1", &ruled.sent.client);
        ruled.says(End::Server, &answer);
        ruled.stage.finish();
        ruled.take_events();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let seen: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("X-Seen: ")).collect();
        assert!(
            seen.iter().all(|seen| !seen.contains("locked") && !seen.contains("/last")),
            "{case}: {seen:?}"
        );
        let got: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("X-Got: ")).collect();
        assert!(got.iter().all(|got| got.starts_with("corp,,")), "{case}: {got:?}");
        assert_eq!(got.first(), Some(&"corp,,b"), "{case}");
        // Of what nginx serves, each has its event, in order; and no event that was not blocked is of something else.
        let served = served(&answer);
        for (n, (status, seen)) in served.iter().enumerate() {
            let event = ruled.events.get(n).unwrap_or_else(|| panic!("{case}: {served:?}"));
            if *status == 200 {
                let [method, url] =
                    [&event.method, &event.url].map(|text| text.as_deref().unwrap_or_default());
                let read = format!("{method} {}", url.strip_prefix("http://abs").unwrap_or(url));
                assert_eq!(read, *seen, "{case}");
                // A body that can be read in two ways ends the flow when its head has passed.
                let is_cut = ruled.stage.ending().is_some_and(|ending| !ending.orderly);
                assert!(event.verdict.is_none() || is_cut && n + 1 == served.len(), "{case}: {event:?}");
            }
        }
        let blocked =
            ruled.events.iter().filter(|event| event.verdict == Some(ContentVerdict::Blocked)).count();
        assert!(blocked <= 1, "{case}: {:?}", ruled.events);
        passed += usize::from(served.len() > 1);
        stopped += blocked;
    }
    assert!(passed >= 15 && stopped >= 60, "{passed} {stopped}: these are the ones that count");
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[rustfmt::skip]
const HTTP2: &[(&str, &[u8])] = &[
    ("plain", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("no settings", b"\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("ping first", b"\x00\x00\x08\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("wupd first", b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("settings ack first", b"\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("even stream", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x02\x82\x86\x04\x02/x\x01\x01h"),
    ("lower stream", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x05\x82\x86\x04\x02/x\x01\x01h\x00\x00\t\x01\x05\x00\x00\x00\x03\x82\x86\x04\x02/x\x01\x01h"),
    ("same stream", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("data idle", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x01x"),
    ("data on 0", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00x"),
    ("headers on 0", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x00\x82\x86\x04\x02/x\x01\x01h"),
    ("unknown", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00d\xfa\xff\x00\x00\x00\x01xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("unknown in block", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01\x00\x00\x00\x01\x82\x86\x04\x00\x00\x00\xfa\x00\x00\x00\x00\x01\x00\x00\x06\t\x04\x00\x00\x00\x01\x02/x\x01\x01h"),
    ("cont alone", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\t\x04\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("cont other", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01\x00\x00\x00\x01\x82\x86\x04\x00\x00\x06\t\x04\x00\x00\x00\x03\x02/x\x01\x01h"),
    ("data in block", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x01\x00\x00\x00\x00\x01\x82\x86\x04\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x06\t\x04\x00\x00\x00\x01\x02/x\x01\x01h"),
    ("ping in block", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01\x00\x00\x00\x01\x82\x86\x04\x00\x00\x08\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\t\x04\x00\x00\x00\x01\x02/x\x01\x01h"),
    ("rst idle", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x03\x00\x00\x00\x00\x07\x00\x00\x00\x00"),
    ("rst short", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x02\x03\x00\x00\x00\x00\x01\x00\x00"),
    ("rst on 0", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("push from client", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\r\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02\x82\x86\x04\x02/x\x01\x01h"),
    ("settings odd", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x04\x00\x00\x00\x00\x00\x00\x01\x00"),
    ("settings on 1", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x01"),
    ("settings ack payload", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x06\x04\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"),
    ("goaway short", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x07\x00\x00\x00\x00\x00\x00"),
    ("goaway", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("goaway on 1", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("pad too long", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\n\x01\r\x00\x00\x00\x01\x7f\x82\x86\x04\x02/x\x01\x01h"),
    ("pad data long", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x04\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x04\x00\t\x00\x00\x00\x01\tabc"),
    ("pad data eq", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x04\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x04\x00\t\x00\x00\x00\x01\x03abc"),
    ("pad empty", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x01\r\x00\x00\x00\x01"),
    ("prio short", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01%\x00\x00\x00\x01\x82"),
    ("prio frame short", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x01\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("prio on 0", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("prio self", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("ping short", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x06\x00\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("ping on 1", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x06\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("wupd 0", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("wupd 0 str", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x00\x00\x00"),
    ("wupd short", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x08\x00\x00\x00\x00\x00\x00"),
    ("hpack idx 0", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\n\x01\x05\x00\x00\x00\x01\x80\x82\x86\x04\x02/x\x01\x01h"),
    ("hpack idx big", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0c\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\xff\xff\x01"),
    ("hpack upd mid", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\n\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h "),
    ("hpack upd big", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\r\x01\x05\x00\x00\x00\x01?\xe1\xff\x03\x82\x86\x04\x02/x\x01\x01h"),
    ("hpack upd 4096", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0c\x01\x05\x00\x00\x00\x01?\xe1\x1f\x82\x86\x04\x02/x\x01\x01h"),
    ("huff bad pad", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x81\x18\x01a"),
    ("huff eos", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x11\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x84\xff\xff\xff\xff\x01a"),
    ("str too long", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0c\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x7f\xff"),
    ("upper name", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x01A\x01b"),
    ("ctl value", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x01a\x01\x00"),
    ("empty name", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\r\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x01b"),
    ("pseudo late", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x00\x01a\x01b\x04\x02/x\x01\x01h"),
    ("dup path", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\r\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x04\x02/y"),
    ("no path", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x01\x05\x00\x00\x00\x01\x82\x86\x01\x01h"),
    ("no method", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x01\x05\x00\x00\x00\x01\x86\x04\x02/x\x01\x01h"),
    ("unknown pseudo", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0f\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x02:z\x01b"),
    ("connection field", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x1b\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\nconnection\x05close"),
    ("CL mismatch", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\r\x01\x04\x00\x00\x00\x01\x83\x86\x04\x02/x\x01\x01h\x0f\r\x015\x00\x00\x03\x00\x01\x00\x00\x00\x01abc"),
    ("host+auth", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\r\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x0f\x17\x01i"),
    ("trailers", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x04\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x05\x01\x05\x00\x00\x00\x01\x00\x01a\x01b"),
    ("trailers no es", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x04\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x05\x01\x04\x00\x00\x00\x01\x00\x01a\x01b"),
    ("rbit", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x80\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h"),
    ("data after es", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\t\x01\x05\x00\x00\x00\x01\x82\x86\x04\x02/x\x01\x01h\x00\x00\x01\x00\x01\x00\x00\x00\x01x"),
];

/// Type, stream and payload of each frame.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, &[u8])> {
    let mut found = Vec::new();
    while let Some((&[l0, l1, l2, kind, _, s0, s1, s2, s3], rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        found.push((kind, u32::from_be_bytes([s0, s1, s2, s3]), payload));
        bytes = rest;
    }
    found
}

#[test]
fn what_nginx_serves_over_http2_the_reader_has_seen() {
    let Some(nginx) = Nginx::start() else { return };
    let mut cases: Vec<(&str, Vec<u8>)> = HTTP2.iter().map(|(case, bytes)| (*case, bytes.to_vec())).collect();
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let request =
        |path: &str| [b"\x82\x86\x04", &[path.len() as u8][..], path.as_bytes(), b"\x01\x01h"].concat();
    let many =
        |count: u32| (0..count).flat_map(|n| frame(1, 5, 2 * n + 1, &request("/x"))).collect::<Vec<u8>>();
    cases.extend([
        ("120 streams", many(120)),
        ("400 streams", many(400)),
        ("1100 fields", frame(1, 5, 1, &[&request("/x")[..], &b"\x00\x01a\x01b".repeat(1100)].concat())),
        ("an unknown frame of 60 KB", frame(0xfa, 0, 0, &[0; 60_000])),
    ]);
    let mut to_the_end = 0;
    for (case, bytes) in cases {
        let last = frame(1, 5, 1001, &request("/last"));
        let request = [PREFACE, &bytes, &last].concat();
        let answer = nginx.answer("2", &request);
        let (events, inspector, borders) = read(b"h2", &request, &answer);
        let served = frames(&answer).iter().any(|(kind, stream, _)| (*kind, *stream) == (1, 1001));
        let seen = events.iter().any(|event| event.url.as_deref() == Some("/last") || event.shortened);
        to_the_end += usize::from(served);
        assert!(!served || seen, "{case}: {:?}", inspector.off_reason());
        if served {
            assert_eq!((inspector.off_reason(), inspector.unread(End::Client)), (None, 0), "{case}");
            let ends = |what| {
                borders.told.iter().any(|(b, _)| (b.stream, b.what, b.from) == (1001, what, End::Server))
            };
            assert!(ends(What::HeadEnds(HeadKind::Response)) && ends(What::MessageEnds), "{case}");
        }
    }
    assert!(to_the_end >= 25, "nginx served {to_the_end} to the end: these are the ones that count");
}
