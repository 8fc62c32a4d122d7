//! The bench itself, for a moment: every mode and every kind of scenario, on whatever cores there are.
#![allow(clippy::panic, reason = "tests fail by panic and say why")]

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Runs scenarios for a moment, and returns what is in the file of figures.
fn run(names: &[&str], more: &[&str]) -> serde_json::Value {
    // Each has two threads that never sleep: beside another one there would be nothing left of the moment.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let file = std::env::temp_dir().join(format!("bench-smoke-{}-{}.json", std::process::id(), names[0]));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load_core = if cores > 1 { "1" } else { "0" };
    let output = Command::new(env!("CARGO_BIN_EXE_wireglass-bench"))
        .arg("run")
        .args(names)
        .args(more)
        .args(["--seconds", "0.4", "--load-core", load_core, "--json"])
        .arg(&file)
        .output()
        .expect("the bench was built");
    // On a machine that is busy with other tests a timer may fire: no figure, and no retransmission, is judged here.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures = std::fs::read(&file).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    std::fs::remove_file(file).expect("just read");
    serde_json::from_slice(&figures).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn check(names: &[&str]) -> Vec<serde_json::Value> {
    check_with(names, &[])
}

fn check_with(names: &[&str], more: &[&str]) -> Vec<serde_json::Value> {
    let run = run(names, more);
    let outcomes = run["outcomes"].as_array().expect("an array").clone();
    let mut measured: Vec<_> = outcomes.iter().filter_map(|outcome| outcome["name"].as_str()).collect();
    let mut asked = names.to_vec();
    measured.sort_unstable();
    asked.sort_unstable();
    assert_eq!(measured, asked, "{run:#}");
    for outcome in &outcomes {
        assert!(outcome["figure"].as_f64().is_some_and(|figure| figure > 0.0), "{outcome:#}");
        // Whoever says nothing at all gives the worker nothing to do.
        let is_silent = outcome["name"].as_str().is_some_and(|name| name.starts_with("opening"));
        assert!(is_silent || outcome["busy"].as_f64().is_some_and(|busy| busy > 0.0), "{outcome:#}");
        assert_eq!(
            (&outcome["mbufs_lost"], &outcome["load_mbufs_lost"]),
            (&0.into(), &0.into()),
            "{outcome:#}"
        );
        assert_eq!(outcome["failures"], serde_json::json!({}), "{outcome:#}");
        // Once into a leg, and not many times, as it would be if a buffer had to move for each segment. Exchanges that are under
        // way at the beginning and at the end blur it.
        if outcome["unit"] == "Gbit/s" && outcome["mode"] != "wire" && outcome["mode"] != "testpmd" {
            let wanted = if outcome["mode"] == "forward" { 0.0..=0.0 } else { 0.5..=5.0 };
            let copied = outcome["copied_per_payload_byte"].as_f64();
            assert!(copied.is_some_and(|copied| wanted.contains(&copied)), "{outcome:#}");
        }
        if outcome["name"].as_str().is_some_and(|name| name.ends_with("-resumed")) {
            for leg in ["client_leg", "server_leg"] {
                assert!(outcome["resumed"][leg].as_f64().is_some_and(|share| share > 0.9), "{outcome:#}");
            }
        }
    }
    outcomes
}

#[test]
fn objects_go_through_in_every_mode() {
    check(&[
        "throughput-inspect-64k",
        "throughput-tls-64k",
        "throughput-tcp-64k",
        "throughput-forward-64k",
        "throughput-wire-64k",
        "throughput-inspect-64k-offloads",
        "throughput-tls-64k-offloads",
        "throughput-tcp-64k-offloads",
    ]);
}

#[test]
fn the_library_of_records_is_the_one_that_was_asked_for() {
    for library in ["aws-lc-rs", "ring"] {
        let names = ["throughput-tls-64k", "throughput-tcp-64k", "memif-throughput-inspect-16k"];
        for outcome in check_with(&names, &["--records", library]) {
            let decrypts = outcome["mode"] != "tcp";
            assert_eq!(outcome["records"].as_str(), decrypts.then_some(library), "{outcome:#}");
            let by = outcome["ceiling"]["by"].as_str();
            assert!(decrypts == by.is_some_and(|by| ["aws-lc-rs", "ring"].contains(&by)), "{outcome:#}");
        }
    }
}

#[test]
fn connections_of_every_kind() {
    check(&[
        "connections-inspect-13-x25519-ecdsa",
        "connections-inspect-12-x25519-rsa",
        "connections-inspect-13-x25519-ecdsa-cold",
        "connections-inspect-13-x25519-ecdsa-resumed",
        "connections-inspect-12-x25519-ecdsa-resumed",
    ]);
}

#[test]
fn latency_storm_memory_and_small_frames() {
    check(&["rules-inspect-1k", "signatures-inspect-64k"]);
    check(&["latency-inspect", "storm-inspect", "opening-inspect-10000", "small-forward-udp"]);
}

#[test]
fn the_engine_and_testpmd_in_a_process_of_their_own() {
    check(&["memif-throughput-inspect-16k", "memif-small-testpmd-udp", "memif-small-forward-udp"]);
}

#[test]
fn what_the_engine_alone_costs_adds_up() {
    let outcomes = check(&[
        "alone-throughput-inspect-64k",
        "alone-throughput-tls-64k-offloads",
        "alone-throughput-forward-64k",
        "alone-connections-inspect-13-x25519-ecdsa-resumed",
        "alone-small-forward-tcp-1000",
    ]);
    for outcome in outcomes {
        let number = |path: &str| {
            let value = outcome.pointer(path).and_then(serde_json::Value::as_f64);
            value.unwrap_or_else(|| panic!("no {path}: {outcome:#}"))
        };
        let near = |a: f64, b: f64, most: f64, what: &str| {
            assert!((a / b - 1.0).abs() < most, "{what}: {a} is not {b}: {outcome:#}");
        };
        let (packets, cycles) = (number("/packets"), number("/alone/per_packet/cycles"));
        assert_eq!(packets, number("/alone/packets_sent"), "{outcome:#}");
        near(number("/alone/per_packet/nanos") * number("/alone/ghz"), cycles, 1e-6, "cycles");
        // A median of eight parts, and the whole of them.
        let busy = number("/busy") * number("/seconds") * 1e9 * number("/alone/ghz");
        near(packets * cycles, busy, 0.4, "time of all turns");
        assert_eq!(number("/figure"), number("/per_busy_core"), "{outcome:#}");
        match outcome["unit"].as_str() {
            Some("Gbit/s") => {
                near(8.0 / number("/alone/per_payload_byte/nanos"), number("/figure"), 0.1, "rate");
                // Requests and heads of answers are a few hundred bytes; eight exchanges were under way at either end.
                let (payload, exchanges) = (number("/alone/payload"), number("/exchanges"));
                let objects = exchanges * 65_536.0;
                let whole = objects - 8.0 * 66_000.0..=objects + (8.0 + exchanges) * 500.0 + 8.0 * 66_000.0;
                assert!(exchanges > 16.0 && whole.contains(&payload), "{outcome:#}");
            }
            Some("connections/s") => {
                near(1e9 / number("/alone/per_exchange/nanos"), number("/figure"), 0.1, "rate");
            }
            _ => near(1e3 / number("/alone/per_packet/nanos"), number("/figure"), 0.1, "rate"),
        }
    }
}
