//! Commands that operate, against a control channel before workers that do nothing but end flows.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wireglass::control::client::{self, AskError};
use wireglass::control::operate::{KillRequest, KilledRecord, OrderRequest, StopRequest};
use wireglass::control::protocol::Refusal;
use wireglass::control::{ControlServer, ControlSocket};
use wireglass::flow_dump::{DumpResponder, FlowDumper};
use wireglass::metrics::Metrics;
use wireglass_core::end::PerEnd;
use wireglass_core::flow::{FlowSnapshot, Identity, Short, Wanted};
use wireglass_core::flow_table::{Class, FlowTable};
use wireglass_core::order::Order;
use wireglass_core::packet::{FlowKey, Headers, KeyHasher};
use wireglass_core::phase::FlowPhase;

/// Flow `n` has number `n`, client port `n`, and the name `hostN.example`; every third one is decrypted.
struct Engine {
    folder: TempDir,
    metrics: Arc<Metrics>,
    server: Option<ControlServer>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<usize>>,
}

impl Engine {
    /// Workers with so many flows each.
    fn start(flows: &[u16]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("control.sock")).unwrap();
        let responders: Vec<_> = flows.iter().map(|_| DumpResponder::default()).collect();
        let dumper = FlowDumper::new(&responders);
        let metrics = Arc::new(Metrics::new(&[], flows.len()));
        let stop = Arc::new(AtomicBool::new(false));
        let workers = responders.into_iter().zip(flows).enumerate();
        let workers = workers.map(|(n, (responder, flows))| {
            let (flows, stop) = (*flows, Arc::clone(&stop));
            thread::spawn(move || work(n as u16, responder, flows, &stop))
        });
        let workers = workers.collect();
        let server = Some(ControlServer::start(socket, dumper, Arc::clone(&metrics), None).unwrap());
        Self { folder, metrics, server, stop, workers }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn kill(&self, request: KillRequest) -> Result<KilledRecord, AskError> {
        client::kill(&self.path(), &request)
    }

    /// Exit status, and what was said on both streams.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        let Output { status, stdout, stderr } =
            command.args(arguments).arg("--socket").arg(self.path()).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// Flows that the workers have left at the end.
    fn end(&mut self) -> usize {
        drop(self.server.take());
        self.stop.store(true, Ordering::Relaxed);
        self.workers.drain(..).map(|worker| worker.join().unwrap()).sum()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(worker: u16, mut responder: DumpResponder, flows: u16, stop: &AtomicBool) -> usize {
    let mut table = FlowTable::new(u32::from(u16::MAX));
    for number in 0..flows {
        let number = number + 1000 * worker;
        let (source, destination) = (([10, 0, 0, 1], number).into(), ([10, 0, 0, 2], 443).into());
        let headers = Headers { l3: 14, l4: 34, end: 54, vlan: [None; 2], source, destination };
        let key = FlowKey::new(0, &headers);
        table.insert(KeyHasher::new([7; 16]).hash(&key), key, Class::Opening, number).unwrap();
    }
    while !stop.load(Ordering::Relaxed) {
        if responder.is_asked() {
            responder.turn(&table, |number, wanted| snapshot(*number, wanted));
        }
        while let Some(kill) = responder.next_kill() {
            // The worker has ended two of them by itself meanwhile.
            let ended = table.remove(kill.id).is_some_and(|number| !matches!(number, 7 | 8));
            kill.done(ended);
        }
        thread::sleep(Duration::from_micros(200));
    }
    table.len()
}

fn snapshot(number: u16, wanted: &Wanted) -> Option<FlowSnapshot> {
    let phase = if number.is_multiple_of(3) { FlowPhase::Decrypted } else { FlowPhase::Bypassed };
    let is_wanted = wanted.flow_id.is_none_or(|id| id == u64::from(number))
        && wanted.phase.is_none_or(|wanted| wanted == phase)
        && wanted.port.is_none_or(|port| port == number);
    is_wanted.then(|| FlowSnapshot {
        identity: Identity {
            refused_before: false,
            flow_id: number.into(),
            wire: 0,
            vlan: [None; 2],
            client: ([10, 0, 0, 1], number).into(),
            server: ([10, 0, 0, 2], 443).into(),
        },
        wire: "lan".into(),
        phase,
        handshaking: false,
        rule: None,
        profile: None,
        sni: Some(Short::new(format!("host{number}.example").as_bytes())),
        age: 0,
        idle: 0,
        volume: PerEnd::default(),
        legs: None,
    })
}

fn killed(matched: u64, killed: u64) -> KilledRecord {
    KilledRecord { matched, killed, complete: true }
}

#[test]
fn one_flow_is_ended_and_several_take_a_yes() {
    let mut engine = Engine::start(&[700, 700]);
    let by_id = |flow_id| KillRequest { flow_id: Some(flow_id), ..KillRequest::default() };
    assert_eq!(engine.kill(by_id(1003)).unwrap(), killed(1, 1));
    assert_eq!(engine.kill(by_id(1003)).unwrap(), killed(0, 0), "it has gone");
    assert_eq!(engine.kill(by_id(7)).unwrap(), killed(1, 0), "it has ended by itself meanwhile");
    let by_name = |yes| KillRequest { sni: Some("HOST1?.*".into()), yes, ..KillRequest::default() };
    match engine.kill(by_name(false)) {
        Err(AskError::Refused(Refusal::Unconfirmed, message)) => {
            assert!(message.starts_with("10 flows match") && message.contains("--yes"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.kill(by_name(true)).unwrap(), killed(10, 10));
    // More than wait for a worker at once.
    let all =
        KillRequest { server: Some("10.0.0.0/8".parse().unwrap()), yes: true, ..KillRequest::default() };
    assert_eq!(engine.kill(all).unwrap(), killed(1388, 1387));
    assert_eq!(engine.end(), 0);
}

#[test]
fn orders_begin_are_told_and_end() {
    let engine = Engine::start(&[9, 9]);
    let path = engine.path();
    let minute = OrderRequest { seconds: Some(60), now: false };
    let told = client::order(&path, Order::Bypass, minute).unwrap();
    assert_eq!((told.orders.len(), told.killed), (1, 0));
    assert_eq!(engine.metrics.orders().standing().get(), Some(Order::Bypass));
    assert!(told.orders[0].left_seconds.is_some_and(|left| (50..=60).contains(&left)), "{told:?}");
    client::order(&path, Order::Drain, OrderRequest::default()).unwrap();
    let counters = client::counters(&path).unwrap();
    let names: Vec<_> = counters.engine.orders.iter().map(|order| order.order.as_str()).collect();
    assert_eq!(names, ["drain", "bypass"]);
    assert_eq!(client::end_order(&path, Order::Bypass).unwrap().orders.len(), 1);
    assert_eq!(engine.metrics.orders().standing().get(), Some(Order::Drain));
    match client::end_order(&path, Order::Bypass) {
        Err(AskError::Refused(Refusal::Absent, message)) => assert!(message.contains("bypass"), "{message}"),
        other => panic!("{other:?}"),
    }
    // The fleet's order is not an operator's to take back.
    engine.metrics.orders().set_fleet_drains(true);
    let told = client::end_order(&path, Order::Drain).unwrap();
    assert!(told.orders.len() == 1 && told.orders[0].is_of_fleet(), "{told:?}");
    match client::end_order(&path, Order::Drain) {
        Err(AskError::Refused(Refusal::Absent, message)) => {
            assert!(message.contains("wireglass fleet drain"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let (_, _, err) = engine.ask(&["bypass"]);
    assert!(err.contains("drain (by the fleet)") && err.contains("--undo"), "{err}");
    engine.metrics.orders().set_fleet_drains(false);
    // With --now, all that is decrypted goes: a third of them.
    let now = OrderRequest { now: true, ..minute };
    assert_eq!(client::order(&path, Order::Bypass, now).unwrap().killed, 6);
    for wrong in [OrderRequest::default(), OrderRequest { seconds: Some(86_401), now: false }] {
        let refused = client::order(&path, Order::Bypass, wrong);
        assert!(matches!(refused, Err(AskError::Refused(Refusal::Request, _))), "{refused:?}");
    }
}

#[test]
fn the_commands_say_what_they_did_to_people_and_to_programs() {
    let engine = Engine::start(&[9]);
    let (status, out, err) = engine.ask(&["flows", "kill", "3", "--json"]);
    assert_eq!((status, out.trim()), (Some(0), r#"{"matched":1,"killed":1,"complete":true}"#), "{err}");
    let (status, _, err) = engine.ask(&["flows", "kill", "--phase", "bypassed"]);
    assert!(status == Some(1) && err.contains("6 flows match"), "{err}");
    let (status, _, err) = engine.ask(&["flows", "kill", "--phase", "bypassed", "--yes"]);
    assert!(status == Some(0) && err.contains("4 ended, 2 had ended by themselves"), "{err}");
    let (status, _, err) = engine.ask(&["flows", "kill", "4711"]);
    assert!(status == Some(1) && err.contains("no flow matches"), "{err}");

    let (status, _, err) = engine.ask(&["bypass"]);
    assert!(status == Some(0) && err.contains("no order stands"), "{err}");
    let (status, _, err) = engine.ask(&["bypass", "--all", "--for", "15m"]);
    assert!(
        status == Some(0) && err.contains("all new flows are bypassed") && err.contains("15m left"),
        "{err}"
    );
    let (status, out, _) = engine.ask(&["bypass", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &object["orders"][0]["order"]), (Some(0), &"bypass".into()), "{out}");
    assert_eq!(engine.ask(&["bypass", "--end"]).0, Some(0));
    assert_eq!(engine.ask(&["bypass", "--end"]).0, Some(1));

    // Nothing of this engine's is decrypted, so there is nothing to wait for.
    let (status, _, err) = engine.ask(&["drain", "--for", "1h30m"]);
    assert!(status == Some(0) && err.contains("no decrypted flow is left"), "{err}");
    assert_eq!(engine.metrics.orders().standing().get(), Some(Order::Drain));
    let (status, _, err) = engine.ask(&["log-level", "debug"]);
    assert!(status == Some(1) && err.contains("no messages"), "{err}");
}

/// A worker has a decrypted flow until it is told otherwise.
#[test]
fn only_a_whole_engine_can_be_told_to_stop() {
    let engine = Engine::start(&[3]);
    let told = client::stop(&engine.path(), StopRequest { process: std::process::id(), only_ask: false });
    assert!(
        matches!(&told, Err(AskError::Refused(Refusal::Request, why)) if why.contains("signal")),
        "{told:?}"
    );
}

#[test]
fn a_drain_waits_for_the_last_decrypted_flow_and_no_longer_than_its_order() {
    let engine = Engine::start(&[1]);
    let counters = engine.metrics.worker(0).unwrap();
    for ends in [true, false] {
        counters.flows(FlowPhase::Decrypted).inc();
        let (status, err) = thread::scope(|scope| {
            let waiting = scope.spawn(|| engine.ask(&["drain"]));
            thread::sleep(Duration::from_millis(800));
            assert!(!waiting.is_finished(), "one is left");
            match ends {
                true => counters.flows(FlowPhase::Decrypted).dec(),
                false => assert!(engine.metrics.orders().end(Order::Drain)),
            }
            let (status, _, err) = waiting.join().unwrap();
            (status, err)
        });
        match ends {
            true => assert!(status == Some(0) && err.contains("no decrypted flow is left"), "{err}"),
            false => assert!(status == Some(1) && err.contains("1 decrypted flow(s) are left"), "{err}"),
        }
    }
}

#[test]
fn what_is_wrong_is_told_before_anybody_is_asked() {
    let engine = Engine::start(&[]);
    for (arguments, hint) in [
        (vec!["flows", "kill"], "required"),
        (vec!["flows", "kill", "--sni", "["], "sni"),
        (vec!["flows", "kill", "--yes"], "required"),
        (vec!["bypass", "--all"], "--for"),
        (vec!["bypass", "--for", "1h"], "--all"),
        (vec!["bypass", "--all", "--for", "25h"], "86400"),
        (vec!["bypass", "--all", "--for", "soon"], "15m"),
        (vec!["bypass", "--all", "--for", "1h", "--end"], "cannot be used with"),
        (vec!["bypass", "--now"], "--all"),
        (vec!["drain", "--for", "31d"], "15m"),
        (vec!["drain", "--for", "721h"], "2592000"),
        (vec!["drain", "--end", "--no-wait"], "cannot be used with"),
        (vec!["log-level", "loud"], "debug"),
        (vec!["log-level"], "required"),
    ] {
        let (status, _, err) = engine.ask(&arguments);
        assert!(status == Some(2) && err.contains(hint), "{arguments:?}: {status:?} {err}");
    }
    assert_eq!(engine.metrics.orders().list(Instant::now()), []);
    // Nor by whoever writes the lines himself.
    for (line, hint) in [
        (r#"{"version":1,"command":"flows.kill","arguments":{"yes":true}}"#, "expected a flow's number"),
        (r#"{"version":1,"command":"flows.kill","arguments":{"who":1}}"#, "unknown field"),
        (r#"{"version":1,"command":"bypass"}"#, "seconds"),
        (r#"{"version":1,"command":"drain","arguments":{"now":true}}"#, "now"),
        (r#"{"version":1,"command":"log.level","arguments":{"level":"off"}}"#, "unknown variant"),
        (r#"{"version":1,"command":"bypass.begin"}"#, "unknown command"),
    ] {
        let mut stream = UnixStream::connect(engine.path()).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.contains("\"code\":\"request\"") && said.contains(hint), "{line}: {said}");
    }
}
