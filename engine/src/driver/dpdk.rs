//! Ports through DPDK. The only file of the engine that knows it.

pub mod probe;

use std::fmt;
use std::sync::Arc;

use dpdk::{
    Burst, Eal, HEADROOM, LcoreGuard, Mbuf, Mempool, MempoolConfig, Port, PortConfig, RxQueue, TxQueue,
};

use super::{BURST, Frame, Io, PortId};
use crate::metrics::PortStatistics;

/// Frame buffers of an engine: receive rings, transmit rings, held frames and what is on its way.
const MBUFS: u32 = 16383;
/// Ethernet header and two VLAN tags.
const L2_HEADER: u16 = 14 + 2 * 4;
/// A buffer that holds an Ethernet frame of the usual MTU, which is what DPDK's drivers expect at least.
const MIN_ROOM: u16 = 2048;

/// What went wrong with the ports, and what to do.
#[derive(Debug)]
pub enum OpenError {
    /// DPDK refused.
    Dpdk(dpdk::Error),
    /// A port has fewer transmit queues than there are workers.
    TooFewQueues {
        /// The port.
        port: String,
        /// Its transmit queues.
        queues: u16,
        /// The workers.
        workers: usize,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dpdk(error) => error.fmt(f),
            Self::TooFewQueues { port, queues, workers } => write!(
                f,
                "port {port} has {queues} transmit queue(s), but there are {workers} workers: name fewer cores in \
                 workers.cores, or give the device more queues (net_af_packet: `qpairs={workers}`, net_tap: none needed)"
            ),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<dpdk::Error> for OpenError {
    fn from(error: dpdk::Error) -> Self {
        Self::Dpdk(error)
    }
}

/// The two ports of a wire, by device name or PCI address.
pub struct WirePorts {
    /// Towards the clients.
    pub inside: String,
    /// Towards the servers.
    pub outside: String,
    /// Largest IP packet to ask for; none: as the driver has it.
    pub mtu: Option<u16>,
}

/// All ports of the engine, for control.
pub struct Ports {
    ports: Vec<Port>,
    pool: Mempool,
    eal: Arc<Eal>,
}

/// One worker's queues, on their way to its thread.
pub struct WorkerQueues {
    queues: Vec<(Option<RxQueue>, TxQueue)>,
    mtu: Vec<usize>,
    pool: Mempool,
    eal: Arc<Eal>,
}

impl Ports {
    /// Initialises EAL, and starts the ports of all wires with a queue for each worker.
    ///
    /// # Errors
    /// [`OpenError`], whose text says what to do.
    pub fn open(
        eal_args: &[String],
        wires: &[WirePorts],
        workers: usize,
    ) -> Result<(Self, Vec<WorkerQueues>), OpenError> {
        Self::open_on(Arc::new(Eal::init(eal_args)?), wires, workers)
    }

    /// Likewise, with an EAL that others use too: DPDK allows one in a process.
    ///
    /// # Errors
    /// [`OpenError`], whose text says what to do.
    pub fn open_on(
        eal: Arc<Eal>,
        wires: &[WirePorts],
        workers: usize,
    ) -> Result<(Self, Vec<WorkerQueues>), OpenError> {
        let names = wires.iter().flat_map(|wire| [&wire.inside, &wire.outside]);
        let wanted = wires.iter().flat_map(|wire| [wire.mtu; 2]);
        let mut ports = names.map(|name| Port::by_name(&eal, name)).collect::<Result<Vec<_>, _>>()?;
        let infos = ports.iter().map(Port::info).collect::<Result<Vec<_>, _>>()?;
        let largest = infos.iter().zip(wanted.clone()).map(|(info, mtu)| mtu.unwrap_or(info.mtu)).max();
        let largest = largest.unwrap_or_default();
        let room = largest.saturating_add(L2_HEADER).max(MIN_ROOM).saturating_add(HEADROOM);
        let config =
            MempoolConfig { mbufs: MBUFS, data_room: room, socket: None, ..MempoolConfig::default() };
        let pool = Mempool::new(&eal, "wireglass", &config)?;

        let mut per_worker: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let mut mtus = Vec::new();
        for ((port, info), mtu) in ports.iter_mut().zip(&infos).zip(wanted) {
            if usize::from(info.max_tx_queues) < workers {
                let (port, queues) = (info.name.clone(), info.max_tx_queues);
                return Err(OpenError::TooFewQueues { port, queues, workers });
            }
            let workers = workers as u16;
            // A worker without a receive queue gets its frames over the steering rings.
            let rx_queues = workers.min(info.max_rx_queues);
            let config = PortConfig { rx_queues, tx_queues: workers, mtu, ..PortConfig::default() };
            let queues = port.start(&config, std::slice::from_ref(&pool))?;
            tracing::info!(port = %info, applied = ?queues.applied, "port started");
            mtus.push(usize::from(queues.applied.mtu));
            let mut rx = queues.rx.into_iter();
            for (worker, tx) in per_worker.iter_mut().zip(queues.tx) {
                worker.push((rx.next(), tx));
            }
        }
        let mtu: Vec<usize> = mtus.chunks(2).map(|wire| wire.iter().copied().min().unwrap_or(1500)).collect();
        let worker =
            |queues| WorkerQueues { queues, mtu: mtu.clone(), pool: pool.clone(), eal: Arc::clone(&eal) };
        let workers = per_worker.into_iter().map(worker).collect();
        Ok((Self { ports, pool, eal }, workers))
    }

    /// How many mbufs are out. 0 after all workers and queues are gone.
    pub fn mbufs_in_use(&self) -> usize {
        self.pool.in_use()
    }

    /// How many frame buffers there are.
    pub const fn mbufs(&self) -> usize {
        MBUFS as usize
    }

    /// The running DPDK.
    pub fn version(&self) -> String {
        self.eal.version()
    }

    /// Stops the ports, whose queues the workers have dropped already; says how many mbufs did not come back.
    pub fn close(self) -> usize {
        let Self { ports, pool, eal } = self;
        drop(ports);
        let leaked = pool.in_use();
        drop((pool, eal));
        leaked
    }

    /// What the drivers count. A port that does not answer is left out.
    pub fn statistics(&self) -> Vec<PortStatistics> {
        let read = |port: &Port| {
            let stats = port.stats().ok()?;
            Some(PortStatistics {
                port: port.name().to_owned(),
                rx_packets: stats.rx_packets,
                rx_bytes: stats.rx_bytes,
                tx_packets: stats.tx_packets,
                tx_bytes: stats.tx_bytes,
                rx_missed: stats.rx_missed,
                rx_errors: stats.rx_errors,
                tx_errors: stats.tx_errors,
                rx_no_buffer: stats.rx_no_mbuf,
            })
        };
        self.ports.iter().filter_map(read).collect()
    }
}

impl WorkerQueues {
    /// Makes the calling thread an lcore, and gives it the queues.
    pub fn on_this_thread(self) -> DpdkIo {
        let lcore = self.eal.register_thread();
        if let Err(error) = &lcore {
            tracing::warn!(%error, "no buffer cache for this worker: it will be slower");
        }
        let port = |(rx, tx)| PortQueues { rx, tx, burst: Burst::new() };
        DpdkIo {
            ports: self.queues.into_iter().map(port).collect(),
            mtu: self.mtu,
            pool: self.pool,
            _lcore: lcore.ok(),
        }
    }
}

/// One worker's queues of all ports.
pub struct DpdkIo {
    ports: Vec<PortQueues>,
    mtu: Vec<usize>,
    pool: Mempool,
    /// Dropped last: the queues' mbufs go through this thread's cache.
    _lcore: Option<LcoreGuard>,
}

struct PortQueues {
    rx: Option<RxQueue>,
    tx: TxQueue,
    burst: Burst<BURST>,
}

impl Io for DpdkIo {
    type Frame = MbufFrame;

    fn wires(&self) -> u8 {
        (self.ports.len() / 2) as u8
    }

    fn mtu(&self, wire: u8) -> usize {
        self.mtu[usize::from(wire)]
    }

    fn receive(&mut self, port: PortId, into: &mut Vec<MbufFrame>) {
        let PortQueues { rx: Some(rx), burst, .. } = &mut self.ports[port.index()] else { return };
        rx.rx(burst);
        into.extend(burst.drain().map(MbufFrame));
    }

    fn allocate(&mut self) -> Option<MbufFrame> {
        self.pool.alloc().map(MbufFrame)
    }

    fn transmit(&mut self, port: PortId, frames: &mut Vec<MbufFrame>) {
        let PortQueues { tx, burst, .. } = &mut self.ports[port.index()];
        while !frames.is_empty() {
            let n = burst.room().min(frames.len());
            for frame in frames.drain(..n) {
                // There is room for `n`.
                let _ = burst.push(frame.0);
            }
            tx.tx(burst);
            if !burst.is_empty() {
                // The ring is full: what it did not take goes back to the front.
                frames.splice(..0, burst.drain().map(MbufFrame));
                return;
            }
        }
    }
}

/// An mbuf as a frame.
pub struct MbufFrame(Mbuf);

impl Frame for MbufFrame {
    fn data(&self) -> &[u8] {
        self.0.data()
    }

    fn data_mut(&mut self) -> &mut [u8] {
        // Only shared buffers cannot be changed, and the engine shares none.
        self.0.data_mut().unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.0.pkt_len()
    }

    fn set_len(&mut self, len: usize) -> bool {
        self.0.set_len(len).is_some()
    }
}
