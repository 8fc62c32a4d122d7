//! What is measured: the engine, or a piece of wire in its place, on a core of its own between two rings.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dpdk::{Burst, Eal, LcoreGuard, Mempool, MempoolConfig, Port, PortConfig, RxQueue, TxQueue};
use wireglass::assembly::Assembly;
use wireglass::driver::dpdk::{Ports, WirePorts};
use wireglass::flow::{Limits, OutsideTls};
use wireglass::handshake::Pool;
use wireglass::log::{LogSender, LogWriter, ring};
use wireglass::metrics::Metrics;
use wireglass::peers::{EngineCa, Pki};
use wireglass::policy::{Decision, Policy, Profile, Rule};
use wireglass::secrets::Secrets;
use wireglass::tls::{Provider, RootFile, TlsContext, TlsSettings};
use wireglass::worker::{Idle, Worker, WorkerThread};

use crate::allocations;
use crate::load::LoadPort;
use crate::machine::{self, Thread};

/// Frames that each ring holds, and one.
const RING: u32 = 8192;
/// Frame buffers of the generator.
const LOAD_MBUFS: u32 = 16_383;
/// Share of the engine's frame buffers that may be held: as `wireglass run` has it.
const HELD_SHARE: usize = 4;
/// Events that may wait for the log thread: likewise.
const LOG_RING: usize = 65_536;
/// Name of the worker's thread.
const WORKER: &str = "bench-worker";

/// What stands between the clients and the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No engine: what one port receives, the other sends.
    Wire,
    /// Everything is left alone, at the SYN.
    Forward,
    /// Two TCP legs, and bytes relayed between them.
    Tcp,
    /// Decrypted and encrypted again.
    Tls,
    /// With HTTP read, and an event log.
    Inspect,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Forward => "forward",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Inspect => "inspect",
        }
    }

    /// The engine ends the TLS of both ends.
    pub(crate) const fn decrypts(self) -> bool {
        matches!(self, Self::Tls | Self::Inspect)
    }
}

/// What is running.
pub(crate) struct Rig {
    pub(crate) version: String,
    middle: Middle,
    busy: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    load_pool: Mempool,
    load_ports: Vec<Port>,
    _lcore: LcoreGuard,
    worker: Option<Thread>,
}

enum Middle {
    Wire(JoinHandle<()>, Vec<Port>),
    Engine(Box<Engine>),
}

struct Engine {
    ports: Ports,
    worker: WorkerThread,
    pool: Pool,
    metrics: Arc<Metrics>,
    log: Option<(LogWriter, PathBuf)>,
}

/// The engine's side of the certificates.
pub(crate) struct Authorities {
    pub(crate) internet: Pki,
    pub(crate) trusted: EngineCa,
    pub(crate) untrusted: EngineCa,
}

/// What did not come back, at the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) engine: usize,
    pub(crate) load: usize,
}

type Failure = Box<dyn std::error::Error>;

impl Rig {
    /// Starts it on `core`; the calling thread becomes the generator's. With `offloads` the generator's end of the rings is a
    /// NIC that verifies and fills in checksums, and cuts segments.
    pub(crate) fn start(
        mode: Mode,
        offloads: bool,
        core: usize,
        eal: &[String],
        authorities: &Authorities,
    ) -> Result<(Self, [LoadPort; 2]), Failure> {
        let eal = Arc::new(Eal::init(eal)?);
        let [inside, inside_load] = eal.join_by_rings("in", 1, RING)?;
        let [outside, outside_load] = eal.join_by_rings("out", 1, RING)?;
        let config = MempoolConfig { mbufs: LOAD_MBUFS, ..MempoolConfig::default() };
        let load_pool = Mempool::new(&eal, "load", &config)?;
        let lcore = eal.register_thread()?;
        let mut load_ports = Vec::new();
        let mut open = |name: &str, me, other| -> Result<LoadPort, Failure> {
            let (port, rx, tx) = start_port(&eal, name, &load_pool)?;
            load_ports.push(port);
            Ok(LoadPort::new(rx, tx, load_pool.clone(), [me, other], offloads))
        };
        let load = [open(&inside_load, 1, 2)?, open(&outside_load, 2, 1)?];
        let (stop, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let middle = match mode {
            Mode::Wire => wire(&eal, [&inside, &outside], &load_pool, core, &stop, &busy)?,
            _ => {
                let wire = WirePorts { inside, outside, mtu: None, far_end_offloads: offloads };
                Middle::Engine(Box::new(Engine::start(
                    mode,
                    core,
                    Arc::clone(&eal),
                    wire,
                    authorities,
                    &stop,
                )?))
            }
        };
        // The thread has to be there to be found.
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut worker = None;
        while worker.is_none() && Instant::now() < deadline {
            worker = Thread::named(WORKER);
        }
        let version = eal.version();
        Ok((Self { version, middle, busy, stop, load_pool, load_ports, _lcore: lcore, worker }, load))
    }

    /// Seconds of the turns that found something to do.
    pub(crate) fn busy(&self) -> f64 {
        let micros = match &self.middle {
            Middle::Wire(..) => self.busy.load(Ordering::Relaxed),
            Middle::Engine(engine) => engine.metrics.worker(0).map_or(0, |c| c.busy_micros.value()),
        };
        micros as f64 / 1e6
    }

    /// Seconds that the worker's thread could have run and had no core.
    pub(crate) fn waited(&self) -> f64 {
        self.worker.as_ref().map_or(0.0, Thread::waited)
    }

    /// The engine's counters; none of a piece of wire.
    pub(crate) fn snapshot(&self) -> Option<wireglass::metrics::Snapshot> {
        match &self.middle {
            Middle::Wire(..) => None,
            Middle::Engine(engine) => Some(engine.metrics.snapshot()),
        }
    }

    /// Tells the worker to stop, and waits for it. The generator's ports are still there to take its last frames.
    pub(crate) fn stop(self) -> Result<Stopped, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = match self.middle {
            Middle::Wire(thread, ports) => {
                thread.join().map_err(|_| "the wire's thread panicked")?;
                Ended::Wire(ports)
            }
            Middle::Engine(engine) => {
                let Engine { ports, worker, pool, log, .. } = *engine;
                if !worker.join() {
                    return Err("the worker panicked".into());
                }
                drop(pool);
                if let Some((log, path)) = log {
                    log.stop();
                    std::fs::remove_file(path)?;
                }
                Ended::Engine(ports)
            }
        };
        Ok(Stopped { ended, load_pool: self.load_pool, load_ports: self.load_ports, _lcore: self._lcore })
    }
}

/// A rig whose worker has ended.
pub(crate) struct Stopped {
    ended: Ended,
    load_pool: Mempool,
    load_ports: Vec<Port>,
    _lcore: LcoreGuard,
}

enum Ended {
    Wire(Vec<Port>),
    Engine(Ports),
}

impl Stopped {
    /// Closes all ports, the generator's queues being gone already, and counts what did not come back.
    pub(crate) fn close(self) -> Balance {
        drop(self.load_ports);
        let engine = match self.ended {
            Ended::Wire(ports) => {
                drop(ports);
                0
            }
            Ended::Engine(ports) => ports.close(),
        };
        Balance { engine, load: self.load_pool.in_use() }
    }
}

impl Authorities {
    pub(crate) fn new(leaf: Leaf) -> Result<Self, Failure> {
        let algorithm = match leaf {
            Leaf::Ecdsa => &rcgen::PKCS_ECDSA_P256_SHA256,
            Leaf::Rsa => &rcgen::PKCS_RSA_SHA256,
        };
        Ok(Self {
            internet: Pki::with_algorithm("Bench Internet", algorithm)?,
            trusted: EngineCa::new("Bench Company CA")?,
            untrusted: EngineCa::new("Bench untrusted CA")?,
        })
    }
}

/// Keys of the servers' chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Ecdsa,
    Rsa,
}

impl Engine {
    fn start(
        mode: Mode,
        core: usize,
        eal: Arc<Eal>,
        wire: WirePorts,
        authorities: &Authorities,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let wires: Vec<Arc<str>> = vec!["bench".into()];
        let metrics = Arc::new(Metrics::new(&wires, 1));
        let (ports, mut queues) = Ports::open_on(eal, &[wire], &[None])?;
        let (sender, log) = if mode == Mode::Inspect {
            let (sender, receiver) = ring(LOG_RING);
            if let Some(counters) = sender.counters() {
                metrics.set_log(counters);
            }
            let path = std::env::temp_dir().join(format!("wireglass-bench-{}.json", std::process::id()));
            (sender, Some((LogWriter::start(&path, receiver, None)?, path)))
        } else {
            (LogSender::disabled(), None)
        };
        let held_frames = ports.mbufs() / HELD_SHARE;
        let assembly = assembly(mode, authorities, wires, sender, held_frames)?;
        let (pool, mut parts) = assembly.workers(&metrics, 1)?;
        let (parts, queues) = parts.pop().zip(queues.pop()).ok_or("one worker was asked for")?;
        let make = move |now, wall| {
            allocations::count_this_thread();
            Worker::new(parts, queues.on_this_thread(), now, wall)
        };
        let worker = WorkerThread::start(WORKER.into(), Some(core), Idle::Spin, Arc::clone(stop), make)?;
        Ok(Self { ports, worker, pool, metrics, log })
    }
}

fn assembly(
    mode: Mode,
    authorities: &Authorities,
    wires: Vec<Arc<str>>,
    log: LogSender,
    held_frames: usize,
) -> Result<Assembly, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let tls = TlsContext::new(TlsSettings {
        provider: Provider::default(),
        trusted: authorities.trusted.files(),
        untrusted: authorities.untrusted.files(),
        system_roots: false,
        roots: vec![RootFile {
            name: "Bench Internet root".into(),
            pem: authorities.internet.root_pem().into_bytes(),
        }],
        now: now.as_secs(),
    })?;
    let profile = Profile { http: mode == Mode::Inspect, ..Profile::default() };
    let decrypt = Decision::Decrypt(Arc::new(profile));
    let ports = wireglass::policy::Ports::Only(vec![443]);
    let policy = match mode {
        Mode::Wire | Mode::Forward => Policy::compile(ports, &[], Decision::Bypass),
        // The rule needs the ClientHello, so the flow is looked at before it is left alone.
        Mode::Tcp => {
            let rule = Rule { sni: vec!["bench.example".parse()?], ..Rule::new("bench", Decision::Bypass) };
            Policy::compile(ports, &[rule], decrypt)
        }
        Mode::Tls | Mode::Inspect => Policy::compile(ports, &[], decrypt),
    };
    Ok(Assembly {
        policy,
        tls,
        limits: Limits::default(),
        outside_tls: OutsideTls { reset_midstream: false, bypass_not_tls: false },
        wires,
        // In the worker: one core is what the ceilings are measured on.
        handshake_threads: 0,
        flows: 1 << 18,
        held_frames,
        log,
        // As a configuration has it that says nothing.
        leg_bytes: 256 << 20,
        secrets: Secrets::fixed(7),
        epoch: 1,
    })
}

fn start_port(eal: &Eal, name: &str, pool: &Mempool) -> Result<(Port, RxQueue, TxQueue), Failure> {
    let mut port = Port::by_name(eal, name)?;
    let queues = port.start(&PortConfig::default(), std::slice::from_ref(pool))?;
    let (rx, tx) = queues.rx.into_iter().zip(queues.tx).next().ok_or("one queue was asked for")?;
    Ok((port, rx, tx))
}

/// As DPDK's testpmd in io mode: the best that this kind of port can do.
fn wire(
    eal: &Arc<Eal>,
    names: [&str; 2],
    pool: &Mempool,
    core: usize,
    stop: &Arc<AtomicBool>,
    busy: &Arc<AtomicU64>,
) -> Result<Middle, Failure> {
    let (inside, mut inside_rx, mut inside_tx) = start_port(eal, names[0], pool)?;
    let (outside, mut outside_rx, mut outside_tx) = start_port(eal, names[1], pool)?;
    let (eal, stop, busy) = (Arc::clone(eal), Arc::clone(stop), Arc::clone(busy));
    let run = move || {
        machine::pin(core);
        let _lcore = eal.register_thread();
        let mut burst = Burst::<32>::new();
        let mut total = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let mut any = false;
            for (rx, tx) in [(&mut inside_rx, &mut outside_tx), (&mut outside_rx, &mut inside_tx)] {
                rx.rx(&mut burst);
                any |= !burst.is_empty();
                tx.tx(&mut burst);
                burst.clear();
            }
            if any {
                total += began.elapsed();
                busy.store(total.as_micros() as u64, Ordering::Relaxed);
            }
        }
    };
    let thread = std::thread::Builder::new().name(WORKER.into()).spawn(run)?;
    Ok(Middle::Wire(thread, vec![inside, outside]))
}
