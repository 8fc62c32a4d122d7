//! A whole engine in memory, on a clock of its caller's: the workers themselves, on in-memory ports.

use std::io;
use std::sync::Arc;

use wireglass_core::capture::{CaptureRing, CaptureSettings, WorkerCapture};
use wireglass_core::counters::WorkerCounters;
use wireglass_core::event::Timestamp;
use wireglass_core::memory_port::{Cable, MemoryIo};
use wireglass_core::order::StandingOrder;
use wireglass_core::packet::{Class, FlowKey, KeyHasher, classify};
use wireglass_core::port::{PortId, PortSide};

use crate::engine_builder::EngineBuilder;
use crate::flow_dump::FlowDumper;
use crate::generation::Generations;
use crate::handshake_pool::Pool;
use crate::metrics::Metrics;
use crate::verdicts::VerdictSender;
use crate::worker::Worker;
use tcp_stack::Instant;
use wireglass_testbed::Middle;

/// Frames that a receive queue holds.
const QUEUE_DEPTH: usize = 4096;

/// Which worker's queue a frame comes in: the NIC's RSS, good or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// That of the worker to which the flow belongs.
    #[default]
    Owner,
    /// That of its neighbour, always.
    Wrong,
    /// One after the other.
    Turns,
}

/// A whole engine with one wire.
pub struct Engine {
    // Dropped before the pool, as it asks for.
    workers: Vec<Worker<MemoryIo>>,
    _pool: Pool,
    cable: Cable,
    counters: Vec<Arc<WorkerCounters>>,
    hasher: KeyHasher,
    dumper: FlowDumper,
    verdicts: VerdictSender,
    generations: Generations,
    order: Arc<StandingOrder>,
    spread: Spread,
    turn: usize,
    started: Timestamp,
    overflows: u64,
}

/// What of an engine is not in its [`EngineBuilder`].
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// How many workers.
    pub workers: usize,
    /// Which worker's queue frames come in.
    pub spread: Spread,
    /// Largest IP packet that the wire carries.
    pub mtu: usize,
    /// Frames that the port of a mirror takes before somebody reads them.
    pub mirror_depth: usize,
    /// Time of day at the virtual time zero.
    pub started: Timestamp,
}

impl Engine {
    /// An engine that starts at the virtual time zero.
    ///
    /// # Errors
    /// When a thread of its handshake pool cannot be started.
    pub fn new(builder: EngineBuilder, settings: EngineSettings) -> io::Result<Self> {
        let EngineSettings { workers, spread, mtu, mirror_depth, started } = settings;
        let metrics = Metrics::new(&builder.wires, workers);
        let hasher = KeyHasher::new(builder.secrets.flow_hash);
        let cable = Cable::new(1, workers, QUEUE_DEPTH).with_mirrors(builder.mirrors.len(), mirror_depth);
        let (pool, parts, generations) = builder.workers(&metrics, workers)?;
        let dumper = FlowDumper::new(parts.iter().map(|parts| &parts.responder));
        let verdicts = VerdictSender::new(parts.iter().map(|parts| &parts.verdicts), hasher);
        let io = |n| cable.io(n, mtu);
        let workers = parts.into_iter().enumerate();
        let workers = workers.map(|(n, parts)| Worker::new(parts, io(n), Instant::ZERO, started)).collect();
        let counters = (0..).map_while(|worker| metrics.worker(worker)).collect();
        Ok(Self {
            workers,
            _pool: pool,
            cable,
            counters,
            hasher,
            dumper,
            verdicts,
            generations,
            order: Arc::clone(metrics.orders().standing()),
            spread,
            turn: 0,
            started,
            overflows: 0,
        })
    }

    /// Has all workers take what their flows say. Their rings are returned, in their order.
    pub fn capture(&mut self, settings: &CaptureSettings) -> Vec<Arc<CaptureRing>> {
        let rings: Vec<_> = self.workers.iter().map(|_| Arc::new(CaptureRing::default())).collect();
        let capture = |ring: &Arc<CaptureRing>| WorkerCapture::new(settings.clone(), Arc::clone(ring));
        let workers = std::mem::take(&mut self.workers).into_iter().zip(&rings);
        self.workers = workers.map(|(worker, ring)| worker.capturing(Some(capture(ring)))).collect();
        rings
    }

    /// Flows of all workers.
    pub fn flows(&self) -> usize {
        self.workers.iter().map(Worker::flows).sum()
    }

    /// Entries in the timer wheels of all workers.
    pub fn timers(&self) -> usize {
        self.workers.iter().map(Worker::timers).sum()
    }

    /// Asks what the flows look like.
    pub fn dumper(&self) -> &FlowDumper {
        &self.dumper
    }

    /// Tells the workers what an IDS says of their flows.
    pub fn verdicts(&self) -> &VerdictSender {
        &self.verdicts
    }

    /// The settings that it goes by. What is published there, it takes when it runs next.
    pub fn generations(&mut self) -> &mut Generations {
        &mut self.generations
    }

    /// What an operator has ordered.
    pub fn order(&self) -> &StandingOrder {
        &self.order
    }

    /// The workers' counters.
    pub fn counters(&self) -> &[Arc<WorkerCounters>] {
        &self.counters
    }

    /// Frames that found their receive queue full.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Ends all flows, as the engine's stop does.
    pub fn shut_down(&mut self, now: Instant) {
        let wall = self.wall(now);
        self.workers.iter_mut().for_each(|worker| worker.shut_down(now, wall));
    }

    fn wall(&self, now: Instant) -> Timestamp {
        Timestamp(self.started.0 + now.total_micros().unsigned_abs())
    }

    fn queue(&mut self, frame: &[u8]) -> usize {
        let workers = self.workers.len();
        self.turn = (self.turn + 1) % workers;
        let owner = match classify(frame) {
            Class::Tcp(headers) => KeyHasher::owner(self.hasher.flow(&FlowKey::new(0, &headers)), workers),
            _ => 0,
        };
        match self.spread {
            Spread::Owner => owner,
            Spread::Wrong => (owner + 1) % workers,
            Spread::Turns => self.turn,
        }
    }

    /// A frame has arrived at a port.
    pub fn enter(&mut self, port: PortSide, frame: Vec<u8>) {
        let queue = self.queue(&frame);
        self.overflows += u64::from(!self.cable.send(port_id(port), queue, frame));
    }

    /// Turns until nobody has anything to do. The pool's threads live in real time, so they are waited for: in the
    /// simulation a handshake takes none.
    pub fn run(&mut self, now: Instant) {
        let wall = self.wall(now);
        loop {
            let done: usize = self.workers.iter_mut().map(|worker| worker.poll(now, wall)).sum();
            let waiting = self.workers.iter().any(|worker| worker.outstanding_jobs() > 0);
            match (done, waiting) {
                (0, false) => return,
                (0, true) => std::thread::yield_now(),
                _ => {}
            }
        }
    }

    /// The next frame that leaves, and its port.
    pub fn leave(&mut self) -> Option<(PortSide, Vec<u8>)> {
        let take = |port: PortSide| self.cable.receive(port_id(port)).map(|frame| (port, frame));
        take(PortSide::Inside).or_else(|| take(PortSide::Outside))
    }

    /// The ports, from their other side.
    pub fn cable(&self) -> &Cable {
        &self.cable
    }

    /// When [`run`](Self::run) is due, frames aside.
    pub fn due(&self) -> Option<Instant> {
        self.workers.iter().filter_map(Worker::poll_timeout).min()
    }
}

impl Middle for Engine {
    fn receive(&mut self, _: Instant, port: PortSide, frame: Vec<u8>) {
        self.enter(port, frame);
    }

    fn poll(&mut self, now: Instant) {
        self.run(now);
    }

    fn transmit(&mut self) -> Option<(PortSide, Vec<u8>)> {
        self.leave()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.due()
    }
}

/// A port of the only wire.
const fn port_id(side: PortSide) -> PortId {
    PortId { wire: 0, side }
}
