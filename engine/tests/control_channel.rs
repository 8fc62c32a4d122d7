//! The control channel over a real Unix socket: answers, and peers that mean ill.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wireglass::control::client::{AskError, Flows, flows};
use wireglass::control::protocol::{FlowsRequest, Refusal, Sort};
use wireglass::control::{ControlServer, ControlSocket};
use wireglass::flow_dump::{DumpResponder, FlowDumper};
use wireglass::metrics::Metrics;
use wireglass_core::end::PerEnd;
use wireglass_core::event::Volume;
use wireglass_core::flow::{FlowSnapshot, Identity, Short};
use wireglass_core::flow_table::{Class, FlowTable};
use wireglass_core::packet::{FlowKey, Headers, KeyHasher};
use wireglass_core::phase::FlowPhase;

/// How soon something must be over that waits for nobody; the machine may be busy.
const SOON: Duration = Duration::from_millis(1_500);

/// A control channel before workers that do nothing but answer. Flow `n` has `n` bytes, and client port `n`.
struct Engine {
    folder: TempDir,
    server: Option<ControlServer>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Workers with so many flows each; one with none at all never answers.
    fn start(flows: &[Option<u16>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("control.sock")).unwrap();
        let responders: Vec<_> = flows.iter().map(|_| DumpResponder::default()).collect();
        let dumper = FlowDumper::new(&responders);
        let metrics = Arc::new(Metrics::new(&[], flows.len()));
        let stop = Arc::new(AtomicBool::new(false));
        let workers = responders.into_iter().zip(flows).enumerate();
        let workers = workers.map(|(n, (responder, flows))| {
            let (flows, stop) = (*flows, Arc::clone(&stop));
            thread::spawn(move || work(n as u8, responder, flows, &stop))
        });
        let workers = workers.collect();
        let server = Some(ControlServer::start(socket, dumper, metrics, None).unwrap());
        Self { folder, server, stop, workers }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// Once there is a place: that of a connection that has just ended is free a moment later.
    fn ask(&self, request: &FlowsRequest) -> Result<Flows, AskError> {
        for _ in 0..100 {
            match flows(&self.path(), request) {
                Err(AskError::Refused(Refusal::Busy, _)) => thread::sleep(Duration::from_millis(20)),
                other => return other,
            }
        }
        panic!("always busy")
    }

    /// A connection that has a place, and says nothing.
    fn occupy(&self) -> UnixStream {
        loop {
            let stream = self.connect();
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            if (&stream).read(&mut [0]).is_err() {
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                return stream;
            }
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// It answers: `seen` flows.
    #[track_caller]
    fn assert_answers(&self, seen: u64) {
        let answer = self.ask(&FlowsRequest::default()).unwrap();
        assert_eq!((answer.seen, answer.complete), (seen, true));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.server.take());
        self.stop.store(true, Ordering::Relaxed);
        self.workers.drain(..).for_each(|worker| worker.join().unwrap());
    }
}

fn work(number: u8, mut responder: DumpResponder, flows: Option<u16>, stop: &AtomicBool) {
    let mut table = FlowTable::new(u32::from(u16::MAX));
    for port in 0..flows.unwrap_or(0) {
        let (source, destination) = (([10, 0, number, 1], port).into(), ([10, 0, 0, 2], 443).into());
        let headers = Headers { l3: 14, l4: 34, end: 54, vlan: [None; 2], source, destination };
        let key = FlowKey::new(0, &headers);
        table.insert(KeyHasher::new([7; 16]).hash(&key), key, Class::Opening, (source, port)).unwrap();
    }
    while !stop.load(Ordering::Relaxed) {
        if flows.is_some() && responder.is_asked() {
            responder.turn(&table, |(source, port), wanted| {
                wanted.port.is_none_or(|wanted| wanted == *port).then(|| snapshot(*source, *port))
            });
        } else {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn snapshot(client: SocketAddr, port: u16) -> FlowSnapshot {
    let name = format!("host{port}.example.com");
    FlowSnapshot {
        identity: Identity {
            refused_before: false,
            flow_id: port.into(),
            wire: 0,
            vlan: [None; 2],
            client,
            server: ([10, 0, 0, 2], 443).into(),
        },
        wire: "lan".into(),
        phase: FlowPhase::Bypassed,
        handshaking: false,
        rule: Some("a rule".into()),
        profile: None,
        sni: port.is_multiple_of(2).then(|| Short::new(name.as_bytes())),
        age: u64::from(u16::MAX - port),
        idle: 0,
        volume: PerEnd { client: Volume { packets: 1, bytes: port.into() }, server: Volume::default() },
        legs: None,
    }
}

/// All that a connection says until its end.
fn rest(stream: UnixStream) -> String {
    let mut text = String::new();
    let _ = BufReader::new(stream).read_to_string(&mut text);
    text
}

#[test]
fn the_first_flows_come_first_and_the_others_are_counted() {
    let engine = Engine::start(&[Some(3_000), Some(3_000)]);
    let ids = |answer: &Flows| answer.flows.iter().map(|flow| flow.flow_id).collect::<Vec<_>>();
    let answer = engine.ask(&FlowsRequest { limit: Some(4), ..FlowsRequest::default() }).unwrap();
    assert_eq!((answer.seen, answer.matched, answer.complete), (6_000, 6_000, true));
    assert_eq!(ids(&answer), [2_999, 2_999, 2_998, 2_998], "by bytes");
    let by_age = FlowsRequest { limit: Some(4), sort: Sort::Age, ..FlowsRequest::default() };
    assert_eq!(ids(&engine.ask(&by_age).unwrap()), [0, 0, 1, 1]);
    let named = FlowsRequest { sni: Some("HOST1?.*.com".into()), ..FlowsRequest::default() };
    let answer = engine.ask(&named).unwrap();
    assert_eq!(ids(&answer), [18, 18, 16, 16, 14, 14, 12, 12, 10, 10]);
    assert_eq!((answer.seen, answer.matched), (6_000, 10));
    let one = engine.ask(&FlowsRequest { port: Some(8), ..FlowsRequest::default() }).unwrap();
    assert_eq!((one.matched, one.flows[0].sni.as_deref()), (2, Some("host8.example.com")));
    // More than one block, and more than the rings hold.
    let all = engine.ask(&FlowsRequest { limit: Some(10_000), ..FlowsRequest::default() }).unwrap();
    assert_eq!(all.flows.len(), 6_000);
}

#[test]
fn garbage_and_megabytes_get_one_line_and_the_door() {
    let engine = Engine::start(&[Some(10)]);
    let inputs: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", "no request"),
        (b"\xff\xfe\x00\n", "no request"),
        (b"{\"version\":9,\"command\":\"flows\"}\n", "version"),
        (b"{\"version\":1,\"command\":\"restart\"}\n", "unknown command"),
        (b"{\"version\":1,\"command\":\"reload\"}\n", "does not load"),
    ];
    for (input, hint) in inputs {
        let mut stream = engine.connect();
        stream.write_all(input).unwrap();
        let said = rest(stream);
        assert!(
            said.contains("\"kind\":\"error\"") && said.contains(hint) && said.lines().count() == 1,
            "{said}"
        );
    }
    let mut stream = engine.connect();
    let block = vec![b'a'; 1 << 20];
    let began = Instant::now();
    let refused = (0..64).any(|_| stream.write_all(&block).is_err());
    assert!(refused, "64 MB were taken");
    assert!(rest(stream).contains("longer than 4096 bytes"));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // A line that ends before the request does.
    let stream = engine.connect();
    (&stream).write_all(b"{\"version\":1").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(stream).contains("ended before"));
    engine.assert_answers(10);
}

#[test]
fn silent_peers_are_sent_away_and_others_are_answered_meanwhile() {
    let engine = Engine::start(&[Some(10)]);
    let mut silent: Vec<_> = (0..3).map(|_| engine.occupy()).collect();
    // One byte at a time is not more time.
    silent[0].write_all(b"{").unwrap();
    engine.assert_answers(10);
    silent.push(engine.occupy());
    match flows(&engine.path(), &FlowsRequest::default()) {
        Err(AskError::Refused(Refusal::Busy, message)) => assert!(message.contains("try again"), "{message}"),
        other => panic!("a fifth connection: {other:?}"),
    }
    let began = Instant::now();
    for stream in silent {
        assert!(rest(stream).contains("no request within 2 s"));
    }
    assert!(began.elapsed() < Duration::from_secs(2) + SOON, "{:?}", began.elapsed());
    engine.assert_answers(10);
}

#[test]
fn a_peer_that_does_not_take_its_answer_holds_up_neither_others_nor_the_stop() {
    let mut engine = Engine::start(&[Some(20_000)]);
    let stream = engine.connect();
    let request = FlowsRequest { limit: Some(10_000), ..FlowsRequest::default() };
    (&stream).write_all(request.line().as_bytes()).unwrap();
    let mut reader = BufReader::with_capacity(64, &stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"kind\":\"begin\",\"version\":1,"), "{first}");
    engine.assert_answers(20_000);
    let began = Instant::now();
    engine.server.take().unwrap().stop();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(!engine.path().exists(), "the socket goes with the engine");
    assert!(matches!(engine.ask(&request), Err(AskError::NotRunning(_))));
}

#[test]
fn a_worker_that_does_not_answer_does_not_hold_up_the_stop() {
    let mut engine = Engine::start(&[Some(10), None]);
    let (path, server) = (engine.path(), engine.server.take().unwrap());
    let asking = thread::spawn(move || flows(&path, &FlowsRequest::default()));
    let silent = engine.connect();
    thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    match asking.join().unwrap() {
        Err(AskError::Refused(Refusal::Stopping, _) | AskError::Io(_)) => {}
        other => panic!("{other:?}"),
    }
    drop(silent);
}

/// Says these lines to whoever connects.
fn fake(folder: &Path, lines: &'static str) -> PathBuf {
    let path = tempfile::Builder::new().tempfile_in(folder).unwrap().path().with_extension("sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut request = String::new();
            let _ = BufReader::new(&stream).read_line(&mut request);
            let _ = (&stream).write_all(lines.as_bytes());
        }
    });
    path
}

#[test]
fn what_answers_wrongly_is_told_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |lines| flows(&fake(folder.path(), lines), &FlowsRequest::default());
    let newer = ask("{\"kind\":\"begin\",\"version\":2,\"engine\":\"9.0\"}\n");
    assert!(matches!(newer, Err(AskError::Version(2))), "{newer:?}");
    let refused = ask("{\"kind\":\"error\",\"version\":3,\"code\":\"version\",\"message\":\"\"}\n");
    assert!(matches!(refused, Err(AskError::Version(3))), "{refused:?}");
    for lines in
        ["220 smtp.example.com\n", "{}\n", "{\"kind\":\"end\",\"seen\":1,\"matched\":1,\"complete\":true}\n"]
    {
        assert!(matches!(ask(lines), Err(AskError::Garbled)), "{lines}");
    }
    for cut in ["", "{\"kind\":\"begin\",\"version\":1,\"engine\":\"0.1\"}\n"] {
        assert!(matches!(ask(cut), Err(AskError::Io(_))), "{cut}");
    }
    let more = ask(
        "{\"kind\":\"begin\",\"version\":1,\"engine\":\"0.2\",\"new\":1}\n{\"kind\":\"end\",\"seen\":3,\"matched\":0,\"complete\":true,\"new\":[]}\n",
    );
    assert_eq!(more.unwrap().seen, 3, "fields that are not known do no harm");
}

fn wireglass(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wireglass")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_command_prints_lines_or_objects_and_says_what_it_left_out() {
    let engine = Engine::start(&[Some(300)]);
    let (path, config) = (engine.path(), engine.folder.path().join("wire.toml"));
    // A configuration that is being worked on: only this key counts.
    std::fs::write(&config, "[control]\nsocket = \"control.sock\"\n[[wire]]\nname = 7\n").unwrap();
    let (status, out, err) = said(&wireglass(&["flows", "-c", config.to_str().unwrap(), "--limit", "2"]));
    assert_eq!(status, Some(0), "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(
        lines[0].starts_with("299 10.0.0.1:299 > 10.0.0.2:443 lan bypassed rule:\"a rule\" age:"),
        "{out}"
    );
    assert!(lines[1].contains(" sni:\"host298.example.com\" "), "{out}");
    assert!(err.contains("2 of 300 flows"), "{err}");

    let socket = path.to_str().unwrap();
    let (status, out, err) = said(&wireglass(&["flows", "--socket", socket, "--json", "--sni", "host10.*"]));
    assert_eq!((status, err.as_str(), out.lines().count()), (Some(0), "", 1), "{out}");
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&object["flow_id"], &object["phase"], &object["kind"]),
        (&10.into(), &"bypassed".into(), &serde_json::Value::Null)
    );

    let (status, out, err) =
        said(&wireglass(&["flows", "--socket", socket, "--phase", "decrypted", "--port", "9999"]));
    assert_eq!((status, out.as_str()), (Some(0), ""));
    assert!(err.contains("no flow matches; the engine has 300"), "{err}");
}

#[test]
fn the_command_says_what_to_do_when_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (status, out, err) = said(&wireglass(&["flows", "--socket", &path("none.sock")]));
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.contains("none.sock") && err.contains("is `wireglass run` running?"), "{err}");
    drop(UnixListener::bind(path("dead.sock")).unwrap());
    let (status, _, err) = said(&wireglass(&["flows", "--socket", &path("dead.sock")]));
    assert!(status == Some(1) && err.contains("is `wireglass run` running?"), "{err}");
    let old = fake(folder.path(), "{\"kind\":\"begin\",\"version\":7,\"engine\":\"9.0\"}\n");
    let (status, _, err) = said(&wireglass(&["flows", "--socket", old.to_str().unwrap()]));
    assert!(status == Some(1) && err.contains("version 7") && err.contains("restart the engine"), "{err}");

    std::fs::write(path("off.toml"), "[control]\nsocket = \"off\"\n").unwrap();
    std::fs::write(path("wrong.toml"), "[control]\nsocket = 7\n").unwrap();
    for (arguments, hint) in [
        (vec!["-c", &path("off.toml")], "is \"off\""),
        (vec!["-c", &path("wrong.toml")], "wrong.toml:2: control.socket"),
        (vec!["-c", &path("no.toml")], "cannot read"),
        (vec!["--sni", "["], "--sni"),
        (vec!["--client", "10.0.0.0/33"], "10.0.0.0/8"),
        (vec!["--phase", "adopted"], "decrypted"),
        (vec!["--limit", "0"], "10000"),
        (vec!["--watch", "0"], "3600"),
        (vec!["--socket", "a", "-c", "b"], "cannot be used with"),
    ] {
        let (status, _, err) = said(&wireglass(&[&["flows"], arguments.as_slice()].concat()));
        assert!(status == Some(2) && err.contains(hint), "{arguments:?}: {status:?} {err}");
    }
}
