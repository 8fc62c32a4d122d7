//! The engine as a library: one worker on a core of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dpdk::Eal;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tcp_stack::Instant as EngineInstant;
use wireglass::driver::dpdk::{DpdkIo, Ports, WirePorts, on_huge_pages};
use wireglass::engine_builder::EngineBuilder;
use wireglass::generation::Generations;
use wireglass::handshake_pool::Pool;
use wireglass::log::{Destination, LogSender, LogWriter, ring};
use wireglass::metrics::Metrics;
use wireglass::secrets::Secrets;
use wireglass::worker::{Idle, OnFailure, Worker, WorkerThread};
use wireglass_core::content::{Filters, HttpReaders};
use wireglass_core::event::Timestamp;
use wireglass_core::exclusions::Exclusions;
use wireglass_core::fairness::{Fairness, PerClient};
use wireglass_core::flow::{Limits, OutsideTls, Shared};
use wireglass_core::policy::{Decision, Policy, Profile, Rule, Tallies};
use wireglass_core::tls::{Suite, TlsContext, TlsSettings};
use wireglass_core::x509::{Provider, RootFile};
use wireglass_testbed::EngineCa;

use super::figures::Figures;
use super::timed_worker::TimedWorker;
use super::{Failure, Mode, Records, WORKER};
use crate::allocations;
use crate::machine::{self, Thread};
use crate::rules::{self, Many};
use crate::scenario::NAME;

/// Flows that the worker may have.
pub(crate) const FLOWS: u32 = 1 << 18;
/// Share of the engine's frame buffers that may be held: as `wireglass run` has it.
const HELD_SHARE: usize = 4;
/// Events that may wait for the log thread: likewise.
const LOG_RING: usize = 65_536;
/// How long the worker may take to go by other settings.
const TAKING: Duration = Duration::from_secs(5);

/// What an engine is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunConfig {
    pub(crate) mode: Mode,
    /// The worker's core.
    pub(crate) core: usize,
    /// Threads for handshakes; none: the worker runs them, as one core is what the ceilings are measured on.
    pub(crate) handshake_threads: usize,
    /// Their core, and that of all else but the worker.
    pub(crate) pool_core: usize,
    pub(crate) home_core: usize,
    /// The root that the servers' chains end at, as PEM.
    pub(crate) root: String,
    /// Much to look for is read, for [`Rig::set_rules`](super::Rig::set_rules).
    pub(crate) rules: Option<Many>,
    /// The worker has no thread: whoever starts it runs its turns.
    pub(crate) alone: bool,
    /// What protects records.
    pub(crate) records: Records,
}

/// A running engine.
pub(super) struct Engine {
    ports: Ports,
    worker: Running,
    pool: Pool,
    generations: Generations,
    /// What looks at flows without rules, and with them.
    filters: [Arc<dyn Filters>; 2],
    metrics: Arc<Metrics>,
    log: Option<(LogWriter, PathBuf)>,
    trusted: CertificateDer<'static>,
    /// The library of the records that rustls prefers.
    records: &'static str,
}

/// Who runs the worker's turns.
enum Running {
    Thread {
        worker: WorkerThread,
        stop: Arc<AtomicBool>,
        scheduled: Option<Thread>,
    },
    /// The load generator, in turns with its own.
    Alone(TimedWorker),
}

impl Engine {
    pub(super) fn start(order: &RunConfig, eal: Arc<Eal>, wire: WirePorts) -> Result<Self, Failure> {
        let wires: Vec<Arc<str>> = vec!["bench".into()];
        let metrics = Arc::new(Metrics::new(&wires, 1));
        let (ports, mut queues) = Ports::open_on(eal, &[wire], &[], &[None])?;
        let (sender, log) = if order.mode == Mode::Inspect {
            let (sender, receiver) = ring(LOG_RING);
            if let Some(counters) = sender.counters() {
                metrics.set_log(counters);
            }
            let path = std::env::temp_dir().join(format!("wireglass-bench-{}.json", std::process::id()));
            (sender, Some((LogWriter::start(&Destination::File(path.clone()), receiver, None)?, path)))
        } else {
            (LogSender::disabled(), None)
        };
        let [trusted, untrusted] = [EngineCa::new("Bench Company CA")?, EngineCa::new("Bench untrusted CA")?];
        let builder = builder(order, [&trusted, &untrusted], wires, sender, ports.mbufs() / HELD_SHARE)?;
        let ruled: Arc<dyn Filters> = match order.rules {
            Some(many) => rules::load(many)?.compile(&Tallies::default()).filters,
            None => Arc::clone(&builder.filters),
        };
        let filters = [Arc::clone(&builder.filters), ruled];
        let records = builder.tls.record_libraries().of(Suite::Aes256Gcm).name();
        // Threads inherit their core from whoever starts them.
        machine::pin(order.pool_core);
        let (pool, mut parts, generations) = builder.workers(&metrics, 1)?;
        machine::pin(order.home_core);
        let (parts, queues) = parts.pop().zip(queues.pop()).ok_or("one worker was asked for")?;
        let make = move |now, wall| {
            allocations::count_this_thread(true);
            on_huge_pages(Worker::new(parts, queues.on_this_thread(), now, wall))
        };
        let worker = if order.alone { Running::alone(make)? } else { Running::thread(order.core, make)? };
        let trusted = trusted.certificate();
        Ok(Self { ports, worker, pool, generations, filters, metrics, log, trusted, records })
    }

    /// The library of the records that rustls prefers.
    pub(super) fn records(&self) -> &'static str {
        self.records
    }

    /// The worker, if it takes turns with the load.
    pub(super) fn timed_worker(&self) -> Option<&TimedWorker> {
        match &self.worker {
            Running::Thread { .. } => None,
            Running::Alone(worker) => Some(worker),
        }
    }

    /// The CA that its copies end at.
    pub(super) fn trusted(&self) -> CertificateDer<'static> {
        self.trusted.clone()
    }

    /// Flows that begin from now on are looked at with rules, or without.
    pub(super) fn set_rules(&mut self, rules: bool) -> Result<(), Failure> {
        let filters = Arc::clone(&self.filters[usize::from(rules)]);
        let shared = Shared { filters, ..self.generations.current().clone() };
        self.generations.publish(shared).map_err(|_| "the worker is stuck")?;
        let deadline = Instant::now() + TAKING;
        while !self.generations.is_taken() {
            self.timed_worker().into_iter().for_each(TimedWorker::run);
            if Instant::now() > deadline {
                return Err("the worker does not take other settings".into());
            }
        }
        self.generations.collect();
        Ok(())
    }

    pub(super) fn figures(&self) -> Figures {
        let snapshot = self.metrics.snapshot();
        let own = snapshot.wireglass;
        let mut dropped = owned(&own.dropped);
        if own.log_dropped > 0 {
            dropped.insert("log events".into(), own.log_dropped);
        }
        let counter = |read: fn(&wireglass_core::counters::WorkerCounters) -> u64| {
            self.metrics.worker(0).map_or(0, |counters| read(&counters))
        };
        let turn_times = self.timed_worker().map(TimedWorker::times);
        let (busy, waited) = match &self.worker {
            Running::Thread { scheduled, .. } => {
                let waited = scheduled.as_ref().map_or(0.0, Thread::waited);
                (counter(|c| c.busy_micros.value()) as f64 / 1e6, waited)
            }
            // Waits have been taken off.
            Running::Alone(_) => (turn_times.map_or(0.0, |times| times.cycles as f64 / times.hz), 0.0),
        };
        Figures {
            busy,
            waited,
            turn_times,
            allocations: allocations::counted(),
            packets: snapshot.decoder.pkts,
            turns: counter(|c| c.loop_busy.value()),
            copied: counter(|c| c.payload_copied.value()),
            legs: counter(|c| c.flow_bytes.value()) as usize,
            buffers: self.ports.bytes_in_use(),
            retransmits: own.tcp_retransmits,
            timeouts: own.tcp_timeouts,
            dropped,
            ended: owned(&own.ended),
        }
    }

    /// Stops the worker, whose last frames still find the generator's ports. Returns what is to be closed.
    pub(super) fn stop(self) -> Result<Ports, Failure> {
        match self.worker {
            Running::Thread { worker, stop, .. } => {
                stop.store(true, Ordering::Relaxed);
                if !worker.join() {
                    return Err("the worker panicked".into());
                }
            }
            Running::Alone(worker) => worker.stop(),
        }
        drop(self.pool);
        if let Some((log, path)) = self.log {
            log.stop();
            std::fs::remove_file(path)?;
        }
        Ok(self.ports)
    }
}

impl Running {
    fn thread(
        core: usize,
        make: impl FnOnce(EngineInstant, Timestamp) -> Worker<DpdkIo> + Send + 'static,
    ) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = WorkerThread::start(
            WORKER.into(),
            Some(core),
            (Idle::Spin, OnFailure::Close),
            Arc::clone(&stop),
            make,
        )?;
        Ok(Self::Thread { worker, stop, scheduled: Thread::wait_for(None, WORKER) })
    }

    fn alone(make: impl FnOnce(EngineInstant, Timestamp) -> Worker<DpdkIo>) -> Result<Self, Failure> {
        let wall = Timestamp(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64);
        let worker = make(EngineInstant::ZERO, wall);
        allocations::count_this_thread(false);
        Ok(Self::Alone(TimedWorker::new(worker, wall)?))
    }
}

fn owned(map: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    map.iter().map(|(what, n)| ((*what).to_owned(), *n)).collect()
}

fn builder(
    order: &RunConfig,
    [trusted, untrusted]: [&EngineCa; 2],
    wires: Vec<Arc<str>>,
    log: LogSender,
    held_frames: usize,
) -> Result<EngineBuilder, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let tls = TlsContext::new(TlsSettings {
        provider: Provider::default(),
        trusted: trusted.files(),
        untrusted: untrusted.files(),
        crl_url: None,
        knowledge: Default::default(),
        system_roots: None,
        roots: vec![RootFile { name: "Bench Internet root".into(), pem: order.root.clone().into_bytes() }],
        now: now.as_secs(),
    })?;
    let tls = tls.with_record_libraries(order.records.libraries());
    let profile = Profile { http: order.mode == Mode::Inspect, ..Profile::default() };
    let decrypt = Decision::Decrypt(Arc::new(profile));
    let ports = wireglass_core::policy::Ports::Only(vec![443]);
    let policy = match order.mode {
        Mode::Wire | Mode::Testpmd | Mode::Forward => Policy::compile(ports, &[], Decision::Bypass),
        // The rule needs the ClientHello, so the flow is looked at before it is left alone.
        Mode::Tcp => {
            let rule = Rule { sni: vec![NAME.parse()?], ..Rule::new("bench", Decision::Bypass) };
            Policy::compile(ports, &[rule], decrypt)
        }
        Mode::Tls | Mode::Inspect => Policy::compile(ports, &[], decrypt),
    };
    Ok(EngineBuilder {
        policy: Arc::new(policy),
        tls,
        // The load comes from one client.
        limits: Limits {
            fairness: Fairness { per_client: PerClient::NoLimit, ..Fairness::default() },
            ..Limits::default()
        },
        outside_tls: OutsideTls::default(),
        filters: Arc::new(HttpReaders),
        page: Arc::default(),
        exclusions: Arc::new(Exclusions::new([7; 16])),
        mirrors: Vec::new(),
        wires,
        handshake_threads: order.handshake_threads,
        content_threads: 0,
        flows: FLOWS,
        held_frames,
        log,
        // As a configuration has it that says nothing.
        flow_bytes: 1 << 30,
        native_vlans: Vec::new(),
        secrets: Secrets::fixed(7),
        epoch: 1,
    })
}
