//! `wireglass doctor`, from outside: exit statuses, text and JSON, on folders that look like machines.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

use config_support::{Folder, GOOD};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wireglass")).arg("doctor").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_bare_machine_is_told_what_to_do() {
    let output = doctor(&["--root", "/nonexistent"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""));
    let said = text(&output.stdout);
    assert!(said.contains("BAD   hugepages   none\n"), "{said}");
    assert!(said.contains("-> scripts/nic.sh bind --hugepages"), "{said}");
    assert!(said.lines().last().unwrap().contains(" bad, "), "{said}");
}

#[test]
fn json_has_the_same_findings_and_the_configuration_is_judged() {
    let folder = Folder::new();
    let path = folder.write("wire.toml", GOOD);
    let output = doctor(&["--json", "-c", path.to_str().unwrap(), "--root", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["good"], false);
    let about = |topic: &str, found: &str| {
        let findings = report["findings"].as_array().unwrap().iter();
        findings.filter(|f| f["topic"] == topic && f["found"].as_str().unwrap().contains(found)).count()
    };
    assert_eq!(about("cards", "0000:03:00.0: no such network card"), 1, "{report:#}");
    assert_eq!(about("ca", "trusted"), 2, "both CAs: {report:#}");
    assert_eq!(about("roots", "1, from files only"), 1, "{report:#}");
    assert_eq!(about("records", " Gbit/s"), 3, "one for each suite: {report:#}");
}

#[test]
fn a_bad_configuration_and_a_running_engine() {
    let folder = Folder::new();
    let bad = folder.write("bad.toml", "[wires]\n");
    assert_eq!(doctor(&["-c", bad.to_str().unwrap()]).status.code(), Some(2));
    assert_eq!(doctor(&["--ports"]).status.code(), Some(2), "--ports of what?");
    let socket = folder.path("control.sock");
    let path = folder.write("wire.toml", format!("{GOOD}\n[control]\nsocket = {:?}\n", socket));
    let _engine = UnixListener::bind(&socket).unwrap();
    let output = doctor(&["--ports", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("an engine runs"), "{}", text(&output.stderr));
}
