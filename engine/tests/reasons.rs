//! Each reason has a test that names it; those that no other test raises are raised here.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use support::lab::{Lab, NAME, Setup};
use support::raw::{CLIENT, RawSegment, SERVER, hello};
use wireglass::metrics::PortStatistics;
use wireglass::simulate::Engine;
use wireglass_core::fairness::PerClient;
use wireglass_core::reason::{
    CaptureDrop, InspectorOff, MirrorDrop, PacketDrop, PathMessage, PortDrop, Reason, VerdictFate,
};
use wireglass_testbed::{Duration, Instant, Middle};

/// Sources of all tests: those in files of their own, and those at the end of the engine's and the core's.
fn tests(folder: &Path, is_source: bool, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            tests(&path, is_source, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let of_tests = path.file_name().is_some_and(|name| name == "tests.rs");
            let start = if is_source && !of_tests { text.find("#[cfg(test)]") } else { Some(0) };
            all.push_str(start.map_or("", |start| &text[start..]));
        }
    }
}

/// As a word: `PacketDrop::Truncated` is not named by `PacketDrop::TruncatedX`.
fn names(all: &str, word: &str) -> bool {
    all.match_indices(word)
        .any(|(at, _)| !all[at + word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[test]
fn each_reason_is_named_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    for package in [root, &root.join("core")] {
        tests(&package.join("tests"), false, &mut all);
        tests(&package.join("src"), true, &mut all);
    }
    let mut reasons: Vec<(String, &str)> = Vec::new();
    reasons.extend(PacketDrop::ALL.iter().map(|r| (format!("PacketDrop::{r:?}"), r.code())));
    reasons.extend(PortDrop::ALL.iter().map(|r| (format!("PortDrop::{r:?}"), r.code())));
    reasons.extend(Reason::ALL.iter().map(|r| (format!("Reason::{r:?}"), r.code())));
    reasons.extend(PathMessage::ALL.iter().map(|r| (format!("PathMessage::{r:?}"), r.code())));
    reasons.extend(InspectorOff::ALL.iter().map(|r| (format!("InspectorOff::{r:?}"), r.code())));
    reasons.extend(MirrorDrop::ALL.iter().map(|r| (format!("MirrorDrop::{r:?}"), r.code())));
    reasons.extend(CaptureDrop::ALL.iter().map(|r| (format!("CaptureDrop::{r:?}"), r.code())));
    reasons.extend(VerdictFate::ALL.iter().map(|r| (format!("VerdictFate::{r:?}"), r.code())));
    let unnamed: Vec<_> = reasons
        .iter()
        .filter(|(variant, code)| !names(&all, variant) && !all.contains(&format!("\"{code}\"")))
        .map(|(variant, _)| variant)
        .collect();
    assert!(unnamed.is_empty(), "no test names {unnamed:?}");
    assert!(!names(&all, &["Reason", "NoSuchReason"].join("::")), "the search finds what is not there");
}

/// The engine alone.
struct Wire(Engine, Instant);

impl Wire {
    fn new() -> Self {
        Self(Lab::new().engine(&Setup::default()).0, Instant::ZERO)
    }

    fn send(&mut self, segment: RawSegment) -> usize {
        self.0.receive(self.1, segment.port(), segment.frame());
        self.1 += Duration::from_micros(10);
        self.0.poll(self.1);
        std::iter::from_fn(|| self.0.transmit()).count()
    }

    fn dropped(&self, why: PacketDrop) -> u64 {
        self.0.counters()[0].dropped(why)
    }
}

const WHO: ([u8; 4], u16) = ([10, 0, 0, 1], 50_000);

fn from_client() -> RawSegment {
    RawSegment::from_client(WHO.0, WHO.1)
}

fn from_server() -> RawSegment {
    RawSegment::from_server(WHO.0, WHO.1)
}

/// A SYN-ACK of another connection, and a second one with another number.
#[test]
fn handshakes_that_cannot_be_followed() {
    let mut wire = Wire::new();
    assert_eq!(wire.send(RawSegment { flags: 2, seq: CLIENT, ack: 0, ..from_client() }), 1);
    let syn_ack = RawSegment { flags: 0x12, seq: SERVER, ..from_server() };
    assert_eq!(wire.send(RawSegment { ack: CLIENT + 9, ..syn_ack.clone() }), 0);
    assert_eq!(wire.send(syn_ack.clone()), 1);
    assert_eq!(wire.send(RawSegment { seq: SERVER + 9, ..syn_ack }), 0);
    assert_eq!(wire.dropped(PacketDrop::BrokenHandshake), 2);
}

/// The beginning of a ClientHello, twice: the first copy counts.
#[test]
fn what_is_held_need_not_come_again() {
    let mut wire = Wire::new();
    wire.send(RawSegment { flags: 2, seq: CLIENT, ack: 0, ..from_client() });
    wire.send(RawSegment { flags: 0x12, seq: SERVER, ..from_server() });
    wire.send(from_client());
    let start = RawSegment { payload: vec![22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], ..from_client() };
    assert_eq!(wire.send(start.clone()), 0);
    wire.send(start);
    assert_eq!(wire.dropped(PacketDrop::RepeatedWhileHeld), 1);
}

/// More handshakes at once than a client may have at the pool: those beyond are reset, and the others go on.
#[test]
fn a_storm_of_handshakes_is_shed() {
    let mut setup = Setup { flows: 2_048, ..Setup::default() };
    setup.limits.fairness.per_client = PerClient::NoLimit;
    let mut wire = Wire(Lab::new().engine(&setup).0, Instant::ZERO);
    let (hello, ports) = (hello(NAME), 1_024..2_048);
    for port in ports.clone() {
        let client = RawSegment::from_client(WHO.0, port);
        wire.send(RawSegment { flags: 2, seq: CLIENT, ack: 0, ..client.clone() });
        wire.send(RawSegment { flags: 0x12, seq: SERVER, ..RawSegment::from_server(WHO.0, port) });
        wire.send(client);
    }
    for port in ports {
        let segment = RawSegment { payload: hello.clone(), ..RawSegment::from_client(WHO.0, port) };
        wire.0.receive(wire.1, segment.port(), segment.frame());
    }
    wire.0.poll(wire.1);
    let counters = &wire.0.counters()[0];
    let shed = counters.ended(Reason::ResourceHandshakes);
    assert!((1..1_000).contains(&shed), "{shed}");
    assert_eq!(counters.handshakes_started.value(), 1_024);
}

#[test]
fn what_drivers_count() {
    let port = PortStatistics { rx_errors: 3, tx_errors: 4, ..Default::default() };
    assert_eq!((port.dropped(PortDrop::RxErrors), port.dropped(PortDrop::TxErrors)), (3, 4));
}
