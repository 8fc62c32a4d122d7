//! `wireglass exclusions` against a control channel.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use wireglass::control::{ControlServer, ControlSocket};
use wireglass::flow_dump::{DumpResponder, FlowDumper};
use wireglass::metrics::Metrics;
use wireglass_core::exclusions::{CAPACITY, Cause, Client, Contact, Exclusions, Offer};

struct Engine {
    folder: TempDir,
    exclusions: Arc<Exclusions>,
    _server: ControlServer,
}

impl Engine {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("control.sock")).unwrap();
        let exclusions = Arc::new(Exclusions::new([7; 16]));
        let metrics = Metrics::new(&[], 0);
        metrics.set_exclusions(Arc::clone(&exclusions));
        let dumper = FlowDumper::new(&Vec::<DumpResponder>::new());
        let server = ControlServer::start(socket, dumper, Arc::new(metrics), None).unwrap();
        Self { folder, exclusions, _server: server }
    }

    /// Exit status, and what was said on both streams.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        command
            .arg("exclusions")
            .args(arguments)
            .arg("--socket")
            .arg(self.folder.path().join("control.sock"));
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn servers_are_added_listed_and_removed() {
    let engine = Engine::start();
    let (status, said, told) = engine.ask(&["list"]);
    assert_eq!((status, said.as_str(), told.as_str()), (Some(0), "", "wireglass: no exclusions\n"));
    assert_eq!(engine.ask(&["list", "--json"]), (Some(0), String::new(), String::new()));
    let before = now();
    assert_eq!(engine.ask(&["add", "Bank.example.", "--hours", "2"]).0, Some(0));
    assert_eq!(engine.ask(&["add", "--address", "2001:db8::7", "--port", "8443"]).0, Some(0));
    let wire = "lan".into();
    let contact =
        Contact { wire: &wire, vlan: [Some(7), None], name: None, address: [192, 0, 2, 1].into(), port: 443 };
    let client = Client { address: [192, 0, 2, 9].into(), ja4: "", offer: Offer([7; 10]) };
    engine.exclusions.learn(Cause::Unsupported, &contact, &client, now() + 60);
    let (status, said, _) = engine.ask(&["list"]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!((status, lines.len()), (Some(0), 3), "{said}");
    let rows = [
        "manual \"bank.example\" *:443 for 2 h 0 min",
        "manual - [2001:db8::7]:8443 for 12 h 0 min",
        "unsupported - 192.0.2.1:443 lan vlan:7 offer:07070707070707070707 for 12 h 1 min",
    ];
    rows.iter().for_each(|row| assert!(lines.contains(row), "{row}: {said}"));
    assert_eq!(lines[2], rows[2], "the youngest comes last");
    let (_, json, _) = engine.ask(&["list", "--json"]);
    let named: serde_json::Value = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|line: &serde_json::Value| line["name"] == "bank.example")
        .unwrap();
    let until = named["until"].as_u64().unwrap();
    assert!((before + 7200..=now() + 7200).contains(&until), "{named}");

    let (status, _, told) = engine.ask(&["remove", "bank.example"]);
    assert_eq!((status, told.as_str()), (Some(0), "wireglass: 1 removed\n"));
    let (status, _, told) = engine.ask(&["remove", "bank.example"]);
    assert_eq!((status, told.as_str()), (Some(1), "wireglass: no exclusion matches\n"));
    assert_eq!(engine.ask(&["remove", "--cause", "unsupported"]).2, "wireglass: 1 removed\n");
    assert_eq!(engine.ask(&["remove", "--all"]).2, "wireglass: 1 removed\n");
    assert!(engine.exclusions.is_empty());
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let engine = Engine::start();
    let long = "a".repeat(254);
    for (arguments, hint) in [
        (&["add"][..], "NAME"),
        (&["add", "*.example"], "rule"),
        (&["add", &long], "1 to 253"),
        (&["add", "a.example", "--hours", "0"], "0"),
        (&["add", "a.example", "--hours", "721"], "721"),
        (&["remove"], "NAME"),
        (&["remove", "--cause", "boredom"], "boredom"),
        (&["remove", "--all", "--port", "443"], "--all"),
    ] {
        let (status, said, told) = engine.ask(arguments);
        assert!(status == Some(2) && said.is_empty() && told.contains(hint), "{arguments:?}: {told}");
    }
    assert!(engine.exclusions.is_empty());
}

/// As many as there can be come whole.
#[test]
fn a_full_table_is_told_whole() {
    let engine = Engine::start();
    let wire = "lan".into();
    let client = Client { address: [192, 0, 2, 9].into(), ja4: "", offer: Offer([7; 10]) };
    for n in 0..4 * CAPACITY {
        let name = format!("{n}.{}", "a".repeat(240));
        let contact = Contact {
            wire: &wire,
            vlan: [None; 2],
            name: Some(&name),
            address: [192, 0, 2, 1].into(),
            port: 443,
        };
        engine.exclusions.learn(Cause::ClientCertificate, &contact, &client, now());
    }
    let (status, said, _) = engine.ask(&["list", "--json"]);
    assert_eq!((status, said.lines().count()), (Some(0), engine.exclusions.len()));
}
