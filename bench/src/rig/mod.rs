//! What is measured: the engine, or what stands in its place, on a core of its own, and the ports that join it to the
//! generator.

mod engine;
mod engine_process;
mod figures;
mod memif;
mod records;
mod testpmd;
mod timed_worker;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use dpdk::{Eal, LcoreGuard, Mempool, MempoolConfig, Port, PortConfig, RxQueue, TxQueue};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use wireglass::driver::dpdk::{Ports, WirePorts};

use self::engine::Engine;
use self::engine_process::EngineProcess;
use self::testpmd::Testpmd;
use self::wire::Wire;
use crate::allocations::Allocations;
use crate::load::LoadPort;

pub(crate) use self::engine::{FLOWS, RunConfig};
pub(crate) use self::engine_process::serve;
pub(crate) use self::figures::Figures;
pub(crate) use self::records::Records;
pub(crate) use self::timed_worker::{MEASURED_TURN, TimedWorker};

/// Frames that each ring holds, and one.
const RING: u32 = 8192;
/// Frame buffers of the generator.
const LOAD_MBUFS: u32 = 16_383;
/// A worker takes less to make its tables.
const START: Duration = Duration::from_millis(100);
/// Name of the worker's thread.
const WORKER: &str = "bench-worker";

/// What stands between the clients and the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// No engine: what one port receives, the other sends.
    Wire,
    /// Likewise, by DPDK's testpmd, in a process of its own.
    Testpmd,
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
            Self::Testpmd => "testpmd",
            Self::Forward => "forward",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Inspect => "inspect",
        }
    }

    /// There is an engine.
    pub(crate) const fn is_engine(self) -> bool {
        !matches!(self, Self::Wire | Self::Testpmd)
    }

    /// The engine ends the TLS of both ends.
    pub(crate) const fn decrypts(self) -> bool {
        matches!(self, Self::Tls | Self::Inspect)
    }
}

/// How frames get from the generator to what is measured, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortKind {
    /// One process: rings of pointers, no frame is copied.
    Rings,
    /// Likewise, and the generator's ends are NICs that verify and fill in checksums, and cut segments.
    Offloads,
    /// Two processes, and memory that they share: each frame is copied into it and out of it.
    Memif,
}

impl PortKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rings => "rings",
            Self::Offloads => "rings, offloads",
            Self::Memif => "memif",
        }
    }
}

/// What is running.
pub(crate) struct Rig {
    /// DPDK's version.
    pub(crate) version: String,
    dut: Dut,
    /// What the worker had allocated when it had started.
    at_start: Allocations,
    load_pool: Mempool,
    load_ports: Vec<Port>,
    _lcore: LcoreGuard,
}

enum Dut {
    Wire(Wire),
    Engine(Box<Engine>),
    EngineProcess(EngineProcess),
    Testpmd(Testpmd),
}

/// What did not come back, at the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) engine: usize,
    pub(crate) load: usize,
}

type Failure = Box<dyn std::error::Error>;

impl Rig {
    /// Starts it; the calling thread becomes the generator's.
    pub(crate) fn start(
        ports: PortKind,
        order: &RunConfig,
        eal: &[String],
    ) -> Result<(Self, [LoadPort; 2]), Failure> {
        let (socket, mut arguments) = (memif::socket(), eal.to_vec());
        if ports == PortKind::Memif {
            arguments.extend(memif::arguments(&socket, memif::Role::Server));
        }
        let running = Arc::new(Eal::init(&arguments)?);
        let version = running.version();
        let ([inside, inside_load], [outside, outside_load]) = match ports {
            PortKind::Rings | PortKind::Offloads => {
                (running.join_by_rings("in", 1, RING)?, running.join_by_rings("out", 1, RING)?)
            }
            // Both ends of a memif have the same name, each in its process.
            PortKind::Memif => memif::names().map(|name| [name.to_owned(), name.to_owned()]).into(),
        };
        let config = MempoolConfig { mbufs: LOAD_MBUFS, ..MempoolConfig::default() };
        let load_pool = Mempool::new(&running, "load", &config)?;
        let lcore = running.register_thread()?;
        let (mut load_ports, offloads) = (Vec::new(), ports == PortKind::Offloads);
        let mut open = |name: &str, me, other| -> Result<LoadPort, Failure> {
            let (port, rx, tx) = start_port(&running, name, &load_pool)?;
            load_ports.push(port);
            Ok(LoadPort::new(rx, tx, load_pool.clone(), [me, other], offloads))
        };
        let load = [open(&inside_load, 1, 2)?, open(&outside_load, 2, 1)?];
        let dut = match (ports, order.mode) {
            (PortKind::Rings, Mode::Wire) => {
                Dut::Wire(Wire::start(&running, [&inside, &outside], &load_pool, order.core)?)
            }
            (PortKind::Rings | PortKind::Offloads, Mode::Testpmd)
            | (PortKind::Offloads | PortKind::Memif, Mode::Wire) => {
                return Err("testpmd needs memif, and the wire rings".into());
            }
            (PortKind::Rings | PortKind::Offloads, _) => {
                let wire = WirePorts {
                    inside,
                    outside,
                    interfaces: [None, None],
                    mtu: None,
                    far_end_offloads: offloads,
                };
                Dut::Engine(Box::new(Engine::start(order, Arc::clone(&running), wire)?))
            }
            (PortKind::Memif, Mode::Testpmd) => {
                Dut::Testpmd(Testpmd::start(order.core, order.home_core, &socket)?)
            }
            (PortKind::Memif, _) => Dut::EngineProcess(EngineProcess::start(order, eal, &socket)?),
        };
        if ports == PortKind::Memif {
            memif::wait_for_links(&load_ports)?;
        }
        let at_start = Allocations::default();
        let mut rig = Self { version, dut, at_start, load_pool, load_ports, _lcore: lcore };
        std::thread::sleep(START);
        rig.at_start = rig.figures()?.allocations;
        Ok((rig, load))
    }

    /// What the worker had allocated when it had started: its tables above all.
    pub(crate) fn at_start(&self) -> Allocations {
        self.at_start
    }

    /// The CA that the engine's copies end at; none of what is no engine.
    pub(crate) fn trusted(&self) -> Option<CertificateDer<'static>> {
        match &self.dut {
            Dut::Wire(_) | Dut::Testpmd(_) => None,
            Dut::Engine(engine) => Some(engine.trusted()),
            Dut::EngineProcess(process) => Some(process.trusted()),
        }
    }

    /// The library of the engine's records, of the suite that rustls prefers; none of what is no engine.
    pub(crate) fn records(&self) -> Option<&str> {
        match &self.dut {
            Dut::Wire(_) | Dut::Testpmd(_) => None,
            Dut::Engine(engine) => Some(engine.records()),
            Dut::EngineProcess(process) => Some(process.records()),
        }
    }

    /// The worker, if it takes turns with the load on the calling thread.
    pub(crate) fn timed_worker(&self) -> Option<&TimedWorker> {
        match &self.dut {
            Dut::Engine(engine) => engine.timed_worker(),
            Dut::Wire(_) | Dut::EngineProcess(_) | Dut::Testpmd(_) => None,
        }
    }

    /// Flows that begin from now on are looked at with rules, or without: the order has asked for them.
    pub(crate) fn set_rules(&mut self, rules: bool) -> Result<(), Failure> {
        match &mut self.dut {
            Dut::Engine(engine) => engine.set_rules(rules),
            _ => Err("rules need the engine in this process".into()),
        }
    }

    /// What it has done so far.
    pub(crate) fn figures(&mut self) -> Result<Figures, Failure> {
        match &mut self.dut {
            Dut::Wire(wire) => Ok(wire.figures()),
            Dut::Engine(engine) => Ok(engine.figures()),
            Dut::EngineProcess(process) => process.figures(),
            Dut::Testpmd(testpmd) => testpmd.figures(),
        }
    }

    /// Stops what is measured. The generator's ports are still there to take its last frames.
    pub(crate) fn stop(self) -> Result<Stopped, Failure> {
        let (ports, lost) = match self.dut {
            Dut::Wire(wire) => (Ended::Wire(wire.stop()?), 0),
            Dut::Engine(engine) => (Ended::Engine(engine.stop()?), 0),
            Dut::EngineProcess(process) => (Ended::Elsewhere, process.stop()?),
            Dut::Testpmd(testpmd) => (Ended::Elsewhere, testpmd.stop().map(|()| 0)?),
        };
        let Self { load_pool, load_ports, _lcore, .. } = self;
        Ok(Stopped { ports, lost, load_pool, load_ports, _lcore })
    }
}

/// A rig whose worker has ended.
pub(crate) struct Stopped {
    ports: Ended,
    lost: usize,
    load_pool: Mempool,
    load_ports: Vec<Port>,
    _lcore: LcoreGuard,
}

enum Ended {
    Wire(Vec<Port>),
    Engine(Ports),
    /// In another process: it has closed them.
    Elsewhere,
}

impl Stopped {
    /// Closes all ports, the generator's queues being gone already, and counts what did not come back.
    pub(crate) fn close(self) -> Balance {
        drop(self.load_ports);
        let engine = match self.ports {
            Ended::Wire(ports) => {
                drop(ports);
                0
            }
            Ended::Engine(ports) => ports.close(),
            Ended::Elsewhere => self.lost,
        };
        Balance { engine, load: self.load_pool.in_use() }
    }
}

fn start_port(eal: &Eal, name: &str, pool: &Mempool) -> Result<(Port, RxQueue, TxQueue), Failure> {
    let mut port = Port::by_name(eal, name)?;
    let queues = port.start(&PortConfig::default(), std::slice::from_ref(pool))?;
    let (rx, tx) = queues.rx.into_iter().zip(queues.tx).next().ok_or("one queue was asked for")?;
    Ok((port, rx, tx))
}
