//! A worker that panics: the engine ends, or the worker's frames go on from port to port.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::lab::{Lab, Setup};
use support::raw::RawSegment;
use wireglass::flow_dump::FlowDumper;
use wireglass::metrics::{Metrics, PATIENCE, Pulse};
use wireglass::worker::{Idle, OnFailure, Worker, WorkerThread};
use wireglass_core::counters::WorkerCounters;
use wireglass_core::flow::Wanted;
use wireglass_core::memory_port::Cable;
use wireglass_core::phase::FlowPhase;
use wireglass_core::port::{PortId, PortSide};

const SOON: Duration = Duration::from_secs(20);

/// One worker between two wires. The second one has no name: a fault of ours, made on purpose, which a SYN there runs into.
struct Faulty {
    worker: WorkerThread,
    cable: Cable,
    counters: Arc<WorkerCounters>,
    metrics: Metrics,
    dumper: FlowDumper,
    generations: wireglass::generation::Generations,
    stop: Arc<AtomicBool>,
}

const NAMED: u8 = 0;
const NAMELESS: u8 = 1;

impl Faulty {
    fn start(on_failure: OnFailure) -> Self {
        let (builder, _log) = Lab::new().builder(&Setup::default());
        let metrics = Metrics::new(&["lab".into(), "nameless".into()], 1);
        let (pool, mut parts, generations) = builder.workers(&metrics, 1).unwrap();
        let parts = parts.pop().unwrap();
        let dumper = FlowDumper::new([&parts.responder]);
        let cable = Cable::new(2, 1, 64);
        let (io, stop) = (cable.io(0, 1500), Arc::new(AtomicBool::new(false)));
        let make = move |now, wall| Worker::new(parts, io, now, wall);
        let how = (Idle::Adaptive, on_failure);
        let worker = WorkerThread::start("faulty".into(), None, how, Arc::clone(&stop), make).unwrap();
        // It has no threads here, and waits for none.
        drop(pool);
        let counters = metrics.worker(0).unwrap();
        Self { worker, cable, counters, metrics, dumper, generations, stop }
    }

    /// Sends a frame into one port; what comes out at the other one.
    fn cross(&self, wire: u8, segment: &RawSegment) -> Option<Vec<u8>> {
        let port = PortId { wire, side: segment.port() };
        assert!(self.cable.send(port, 0, segment.frame()));
        wait(|| self.cable.receive(port.opposite()), Duration::from_secs(1))
    }

    fn fail(&self) {
        let syn = RawSegment { flags: 2, ..RawSegment::from_client([10, 0, 0, 9], 40_000) };
        assert!(self.cable.send(PortId { wire: NAMELESS, side: PortSide::Inside }, 0, syn.frame()));
    }
}

fn wait<T>(mut look: impl FnMut() -> Option<T>, limit: Duration) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The beginning of a connection that is to be decrypted: two frames that pass, and one that is held.
fn conversation() -> [RawSegment; 3] {
    let client = [10, 0, 0, 1];
    let syn = RawSegment { flags: 2, seq: support::raw::CLIENT, ..RawSegment::from_client(client, 40_001) };
    let answer =
        RawSegment { flags: 0x12, seq: support::raw::SERVER, ..RawSegment::from_server(client, 40_001) };
    let hello = vec![22, 3, 1, 2, 0, 1];
    [syn, answer, RawSegment { flags: 0x18, payload: hello, ..RawSegment::from_client(client, 40_001) }]
}

#[test]
fn frames_go_on_where_policy_says_so_and_everybody_is_told() {
    let mut faulty = Faulty::start(OnFailure::Open);
    let [syn, answer, hello] = conversation();
    assert_eq!(faulty.cross(NAMED, &syn).map(|frame| frame.len()), Some(syn.frame().len()));
    assert!(faulty.cross(NAMED, &answer).is_some());
    assert_eq!(faulty.cross(NAMED, &hello), None, "it is held until all of it is there");
    let open = || FlowPhase::ALL.iter().map(|phase| faulty.counters.flows(*phase).value()).sum::<u64>();
    assert_eq!(open(), 1);
    let liveness = faulty.metrics.liveness();
    assert_eq!(liveness.look(Instant::now(), PATIENCE), Pulse::Alive);

    faulty.fail();
    wait(|| (faulty.counters.failed.value() == 1).then_some(()), SOON).expect("a word of it");
    assert_eq!(liveness.look(Instant::now(), PATIENCE), Pulse::Failed { worker: 0 });
    assert!(!faulty.worker.is_finished());
    assert_eq!(open(), 0, "nobody keeps flows any more");
    // What the flow has said by then.
    for side in PortSide::BOTH {
        while faulty.cable.receive(PortId { wire: NAMED, side }).is_some() {}
    }
    for wire in [NAMED, NAMELESS] {
        for segment in [&syn, &answer, &hello] {
            assert_eq!(faulty.cross(wire, segment), Some(segment.frame()), "wire {wire}, as it came");
        }
    }
    assert_eq!(faulty.counters.plain_wire_frames.value(), 6);

    // Whoever asks all workers is not left waiting for this one.
    let mut dump = faulty.dumper.ask(Wanted::default()).unwrap();
    assert!(
        wait(
            || {
                dump.poll();
                dump.is_done().then_some(())
            },
            SOON
        )
        .is_some()
    );
    let again = faulty.generations.current().clone();
    faulty.generations.publish(again).unwrap();
    assert!(wait(|| faulty.generations.is_taken().then_some(()), SOON).is_some());

    faulty.stop.store(true, Ordering::Relaxed);
    assert!(faulty.worker.join(), "it stops like any other");
}

#[test]
fn where_policy_does_not_the_worker_ends() {
    let faulty = Faulty::start(OnFailure::Close);
    let [syn, ..] = conversation();
    assert!(faulty.cross(NAMED, &syn).is_some());
    faulty.fail();
    wait(|| faulty.worker.is_finished().then_some(()), SOON).expect("an end");
    assert_eq!(faulty.cross(NAMED, &syn), None);
    assert_eq!(faulty.counters.failed.value(), 0);
    assert!(!faulty.worker.join());
}
