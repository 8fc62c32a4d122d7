//! Whoever reads what a command prints may have seen enough, and disks may be full: no command panics of it.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::fs::File;
use std::io::{self, Read};
use std::process::{Command, Output, Stdio};

use config_support::{Folder, GOOD};

/// One end of a pipe whose other end is closed.
fn closed() -> Stdio {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// Commands that print, with a configuration and a folder of CAs that are in order.
fn commands(folder: &Folder) -> Vec<Vec<String>> {
    let config = folder.write("wire.toml", GOOD);
    let (config, ca) = (config.display().to_string(), folder.path("ca").display().to_string());
    let crl = folder.path("trusted.crl").display().to_string();
    let lines = [
        format!("check -c {config}"),
        format!("check --json -c {config}"),
        format!("ca show --dir {ca}"),
        format!("ca crl --dir {ca} --out {crl}"),
        format!("policy explain -c {config} --url https://www.example.com/"),
        format!("policy explain --json -c {config} --url https://www.example.com/"),
        format!("verify -c {config} {ca}/trusted.pem --name www.example.com"),
        "why".to_owned(),
        "doctor --root /nonexistent".to_owned(),
        "doctor --json --root /nonexistent".to_owned(),
    ];
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn run(arguments: &[String], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().unwrap();
    let mut said = Vec::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_end(&mut said).unwrap();
    }
    Output { status: child.wait().unwrap(), stdout: Vec::new(), stderr: said }
}

#[test]
fn who_has_seen_enough_changes_no_status() {
    let folder = Folder::new();
    for command in commands(&folder) {
        let usual = run(&command, Stdio::null(), Stdio::null()).status.code();
        let output = run(&command, closed(), Stdio::piped());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.contains("panicked")), (usual, false), "{command:?}: {said}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let folder = Folder::new();
    for command in commands(&folder) {
        let output = run(&command, full(), Stdio::piped());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("wireglass: cannot write: No space left on device"), "{command:?}: {said}");
    }
}

/// Faults, refusals and questions go to standard error, which may be closed as well.
#[test]
fn nobody_hears_of_a_fault() {
    let folder = Folder::new();
    let bad = folder.write("bad.toml", "[wires]\n").display().to_string();
    let nowhere = folder.path("nowhere").display().to_string();
    for (line, status) in [
        (format!("check -c {bad}"), 2),
        (format!("run -c {bad}"), 2),
        (format!("ca show --dir {nowhere}"), 1),
        (format!("flows --socket {nowhere}"), 1),
        (format!("reload --socket {nowhere}"), 1),
        (format!("exclusions list --socket {nowhere}"), 1),
        (format!("top --once --socket {nowhere}"), 1),
        (format!("init --root {nowhere} -c {nowhere}/wire.toml"), 2),
        ("why no.such.reason".to_owned(), 1),
        ("health 127.0.0.1:1".to_owned(), 1),
    ] {
        let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
        for stderr in [closed(), full()] {
            assert_eq!(run(&arguments, Stdio::null(), stderr).status.code(), Some(status), "{line}");
        }
    }
}
