//! Captures: what is wanted is whole and opens, what is not wanted leaves no trace, and it ends by itself.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, PcapBlockOwned, PcapNGReader};
use support::Exchange;
use support::lab::{Lab, Run, Setup};
use support::mirror::{Heeded, hear};
use support::rules::{Action, Rules};
use wireglass::capture::{Bounds, CaptureWriter, Plan};
use wireglass::log::{LogReceiver, ring};
use wireglass_core::capture::{CaptureEvent, CaptureRing, CaptureStep, WorkerCapture};
use wireglass_core::event::{Event, Timestamp};
use wireglass_core::memory_port::MemoryFrame;
use wireglass_core::policy::Profile;
use wireglass_core::port::{PortId, PortSide};
use wireglass_core::reason::CaptureDrop;
use wireglass_testbed::{Impairment, Step};

/// What a file has, in order.
#[derive(Debug, PartialEq)]
enum Found {
    Secrets(String),
    Frame { interface: u32, bytes: Vec<u8>, named: bool },
}

fn plan(folder: Option<&Path>, keylog: Option<&Path>) -> Plan {
    let bounds = Bounds { file_bytes: 1 << 30, file_time: Duration::from_secs(600), total_bytes: 4 << 30 };
    Plan {
        folder: folder.map(Into::into),
        keylog: keylog.map(Into::into),
        profiles: Vec::new(),
        time: Duration::from_secs(600),
        bounds,
    }
}

/// Runs an exchange with a capture beside it.
fn captured(lab: &Lab, setup: &Setup, plan: &Plan, exchange: &Exchange) -> (Run, Vec<CaptureEvent>) {
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.connect(setup, client, server);
    let rings = run.simulation.middle.capture(&plan.settings());
    let (log, events) = ring(16);
    let config = Path::new("the.toml");
    let writer = CaptureWriter::start(plan.clone(), rings, &["lan".into()], config, log).unwrap();
    let counters = Arc::clone(writer.counters());
    run.run();
    run.settle(wireglass_testbed::Duration::from_secs(200));
    writer.stop();
    exchange.assert_done(run.client(), run.server(), setup);
    for why in CaptureDrop::ALL {
        assert_eq!(counters.dropped(*why), 0, "{why}");
    }
    assert!(!counters.is_on());
    (run, steps(&events))
}

fn steps(events: &LogReceiver) -> Vec<CaptureEvent> {
    let event = |event| if let Event::Capture(_, event) = event { *event } else { panic!("{event:?}") };
    std::iter::from_fn(|| events.pop()).map(event).collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// All of a file, by somebody else's reader.
fn read(file: &Path) -> Vec<Found> {
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(file).unwrap();
    let mut reader = PcapNGReader::new(1 << 20, &bytes[..]).unwrap();
    let mut found = Vec::new();
    loop {
        match reader.next() {
            Ok((length, PcapBlockOwned::NG(block))) => {
                match block {
                    Block::DecryptionSecrets(it) => found.push(Found::Secrets(
                        String::from_utf8_lossy(&it.data[..it.secrets_len as usize]).into(),
                    )),
                    Block::EnhancedPacket(it) => found.push(Found::Frame {
                        interface: it.if_id,
                        bytes: it.packet_data()[..it.caplen as usize].into(),
                        named: !it.options.is_empty(),
                    }),
                    _ => {}
                }
                reader.consume(length);
            }
            Ok(_) => panic!("no pcapng"),
            Err(pcap_parser::PcapError::Eof) => return found,
            Err(pcap_parser::PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn frames(found: &[Found], wanted: u32) -> Vec<Vec<u8>> {
    let of = |found: &Found| match found {
        Found::Frame { interface, bytes, .. } if *interface == wanted && bytes[12..14] != [8, 6] => {
            Some(bytes.clone())
        }
        _ => None,
    };
    found.iter().filter_map(of).collect()
}

#[test]
fn secrets_come_before_the_frames_of_both_legs_and_the_plaintext() {
    let lab = Lab::new();
    for seed in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let impairment = Impairment { loss: 0.02, ..Impairment::default() };
        let setup = Setup { seed, impairment, ipv6: seed % 2 == 1, ..Setup::default() };
        let exchange = Exchange::new(seed, 20_000, 200_000);
        let keylog = folder.path().join("keys");
        let there = folder.path().join("files");
        fs::create_dir(&there).unwrap();
        let (_, steps) = captured(&lab, &setup, &plan(Some(&there), Some(&keylog)), &exchange);
        let [file] = &files(&there)[..] else { panic!("{:?}", files(&there)) };
        let found = read(file);
        let Found::Secrets(lines) = &found[0] else { panic!("{:?}", found[0]) };
        assert!(found[1..].iter().all(|each| matches!(each, Found::Frame { .. })));
        assert!(matches!(found[1], Found::Frame { named: true, .. }), "the first one says whose it is");
        // Both legs: two client randoms, each with what opens both directions.
        let mut randoms: Vec<_> = lines.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
        randoms.dedup();
        assert_eq!(randoms.len(), 2, "{}", lines.lines().count());
        for label in [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET ",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET ",
            "CLIENT_TRAFFIC_SECRET_0 ",
            "SERVER_TRAFFIC_SECRET_0 ",
        ] {
            assert_eq!(lines.lines().filter(|line| line.starts_with(label)).count(), 2, "{label}");
        }
        assert_eq!(fs::read_to_string(&keylog).unwrap(), *lines);
        assert_eq!(fs::metadata(&keylog).unwrap().permissions().mode() & 0o777, 0o600);
        let heeded = Heeded::all(&frames(&found, 0));
        assert!(heeded.streams == [exchange.request.clone(), exchange.response.clone()], "{setup:?}");
        // Each leg from its SYN on, both directions, and all that was said: no less than the plaintext.
        for interface in [1, 2] {
            let of: Vec<_> = frames(&found, interface).iter().map(|frame| hear(frame)).collect();
            assert_eq!(of[0].flags, "S", "{setup:?}");
            let mut senders: Vec<_> = of.iter().map(|heard| heard.source).collect();
            senders.sort();
            senders.dedup();
            assert_eq!(senders.len(), 2);
            let bytes: usize = of.iter().map(|heard| heard.payload.len()).sum();
            assert!(bytes > 220_000, "{bytes}");
        }
        assert_eq!(
            steps.iter().map(|event| event.step).collect::<Vec<_>>(),
            [CaptureStep::Started, CaptureStep::Stopped]
        );
        assert_eq!((steps[0].configuration.as_str(), steps[0].minutes), ("the.toml", 10));
    }
}

#[test]
fn what_is_not_wanted_leaves_nothing_behind() {
    let exchange = Exchange::new(1, 1_000, 1_000);
    let strict = Rules {
        profile: Profile { name: "strict".into(), ..Profile::default() },
        ..Rules::default_is(Action::Decrypt)
    };
    for rules in [Rules::by_name(Action::Bypass), Rules::default_is(Action::Bypass), strict] {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("files");
        fs::create_dir(&there).unwrap();
        let keylog = folder.path().join("keys");
        let plan = Plan { profiles: vec!["lax".into()], ..plan(Some(&there), Some(&keylog)) };
        let is_bypassed = rules.default == Action::Bypass || rules.by_name.is_some();
        let lab = if is_bypassed { Lab::new().trusting_the_server() } else { Lab::new() };
        captured(&lab, &Setup { rules, ..Setup::default() }, &plan, &exchange);
        assert_eq!(files(&there), Vec::<std::path::PathBuf>::new());
        assert_eq!(fs::read_to_string(&keylog).unwrap(), "");
    }
}

#[test]
fn a_key_log_alone_takes_no_frames() {
    let folder = tempfile::tempdir().unwrap();
    let keylog = folder.path().join("keys");
    let exchange = Exchange::new(2, 1_000, 1_000);
    captured(&Lab::new(), &Setup::default(), &plan(None, Some(&keylog)), &exchange);
    assert!(fs::read_to_string(&keylog).unwrap().lines().count() >= 8);
    assert_eq!(files(folder.path()), [keylog]);
}

#[test]
fn it_ends_by_itself_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (log, events) = ring(16);
    let short = Plan { time: Duration::ZERO, ..plan(Some(folder.path()), None) };
    let mut run =
        Lab::new().connect_tls(&Setup::default(), vec![Step::Send(vec![1; 100])], vec![Step::Receive(100)]);
    let rings = run.simulation.middle.capture(&short.settings());
    let writer = CaptureWriter::start(short, rings, &["lan".into()], Path::new("x"), log).unwrap();
    let mut seen = Vec::new();
    for _ in 0..1_000 {
        seen.extend(steps(&events));
        if seen.len() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        seen.iter().map(|event| event.step).collect::<Vec<_>>(),
        [CaptureStep::Started, CaptureStep::Ended]
    );
    run.settle(wireglass_testbed::Duration::from_secs(5));
    assert_eq!((writer.counters().taken(), files(folder.path()).len()), (0, 0));
}

#[test]
fn a_key_log_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keylog = folder.path().join("keys");
    fs::write(&keylog, "").unwrap();
    fs::set_permissions(&keylog, fs::Permissions::from_mode(0o644)).unwrap();
    let plan = plan(None, Some(&keylog));
    assert!(plan.rehearse().unwrap_err().to_string().contains("mode 644"));
    let started = CaptureWriter::start(plan, Vec::new(), &[], Path::new("x"), ring(1).0);
    assert!(started.err().unwrap().to_string().contains("mode 644"));
}

/// Nobody writes: the oldest goes, and no flow feels it.
#[test]
fn a_writer_that_is_stuck_costs_frames_and_nothing_else() {
    let lab = Lab::new();
    let exchange = Exchange::new(3, 1_000, 4_000_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.connect(&Setup::default(), client, server);
    let settings = plan(Some(Path::new("/nowhere")), None).settings();
    let rings = run.simulation.middle.capture(&settings);
    run.run();
    exchange.assert_done(run.client(), run.server(), &"captured");
    assert!(rings[0].dropped(CaptureDrop::Overrun) > 1_000);
    assert_eq!(rings[0].waiting() as u64, rings[0].taken() - rings[0].dropped(CaptureDrop::Overrun));
}

/// A flow that has more to say than may wait, before anybody knows its secrets; and one that is over before.
#[test]
fn what_has_no_secrets_is_bounded_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let ring_of = Arc::new(CaptureRing::default());
    let worker = WorkerCapture::new(plan(Some(folder.path()), None).settings(), Arc::clone(&ring_of));
    let (rings, log) = (vec![ring_of], ring(4).0);
    let writer =
        CaptureWriter::start(plan(Some(folder.path()), None), rings, &["lan".into()], Path::new("x"), log)
            .unwrap();
    let port = PortId { wire: 0, side: PortSide::Inside };
    let send = |flow, frames| {
        for _ in 0..frames {
            worker.frame(flow, Timestamp(1), port, &MemoryFrame(vec![0; 1_400]));
        }
    };
    send(1, 100);
    worker.over(1);
    send(2, 400);
    worker.over(2);
    let counters = Arc::clone(writer.counters());
    writer.stop();
    // Of 256 KiB that may wait.
    let lost = counters.dropped(CaptureDrop::NoSecrets);
    assert!((200..230).contains(&lost), "{lost}");
    assert_eq!(files(folder.path()), Vec::<std::path::PathBuf>::new());
}

/// The disk is full, say: the capture ends, and no flow feels it.
#[test]
fn a_file_that_cannot_be_written_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(Some(&folder.path().join("gone")), None);
    let lab = Lab::new();
    let exchange = Exchange::new(4, 1_000, 1_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.connect(&Setup::default(), client, server);
    let rings = run.simulation.middle.capture(&plan.settings());
    let (log, events) = ring(16);
    let writer = CaptureWriter::start(plan, rings, &["lan".into()], Path::new("x"), log).unwrap();
    run.run();
    exchange.assert_done(run.client(), run.server(), &"captured");
    let counters = Arc::clone(writer.counters());
    writer.stop();
    let steps: Vec<_> = steps(&events).iter().map(|event| event.step).collect();
    assert_eq!(steps, [CaptureStep::Started, CaptureStep::Failed]);
    assert_eq!((counters.is_on(), counters.dropped(CaptureDrop::WriteFailed)), (false, 1));
}
