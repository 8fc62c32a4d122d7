//! Ports through DPDK. The only file of the engine that knows it.

mod interface_link;
mod mbuf_cache;
mod mirror;
mod mtu;
mod ports;
pub mod probe;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dpdk::diagnose::{Report, Roots};
use dpdk::{
    Burst, Checksum, Eal, HEADROOM, IpVersion, L4Checksum, LcoreGuard, Mbuf, Mempool, MempoolConfig, Port,
    PortConfig, PortInfo, Queues, RxQueue, SharedMbuf, TxOffloads, TxQueue, TxRequest,
};
use tcp_stack::Payload;
use wireglass_core::port::{Appended, BURST, Block, Frame, Io, Offloads, PortId, Request, Slice};

use self::mbuf_cache::MbufCache;
pub use self::mirror::MirrorPort;
use crate::interfaces::OpenInterface;
use crate::metrics::{PoolStatistics, PortStatistics};
use crate::worker::Worker;

/// Frame buffers of a worker: its receive rings, its transmit rings, held frames and what is on its way.
const MBUFS: u32 = 16383;
/// Bytes of a buffer's description, `struct rte_mbuf`.
const MBUF_HEADER: usize = 128;
/// Ethernet header and two VLAN tags.
const L2_HEADER: u16 = 14 + 2 * 4;
/// Record buffers of a worker. When they are all out, records go to the heap and are copied into frames.
const BLOCKS: u32 = 4095;
/// The longest record (header, plaintext, content type, tag), on whole cache lines, with DPDK's headroom.
const BLOCK_ROOM: u16 = 16 * 1024 + 512 + HEADROOM;
/// Likewise, for records up to this size. They are no frame buffers: a reader that is slow must not keep a port from receiving.
const SHORT_BLOCKS: u32 = 8191;
const SHORT_RECORD: u16 = 2048;
/// Payload of which a copy costs more than an mbuf that refers to it.
const WORTH_A_CHAIN: usize = 256;
/// Bytes of a frame that are fetched ahead: headers and most of what a segment carries.
const PREFETCH: usize = 1536;
/// The driver whose frames lie in memory that the kernel shares.
const AF_XDP: &str = "net_af_xdp";
/// A buffer that holds an Ethernet frame of the usual MTU, which is what DPDK's drivers expect at least.
const MIN_ROOM: u16 = 2048;

/// What went wrong with the ports, and what to do.
#[derive(Debug)]
pub enum OpenError {
    /// DPDK refused.
    Dpdk(dpdk::Error),
    /// An AF_XDP port did not start.
    Xdp {
        /// What DPDK says.
        error: dpdk::Error,
        /// The kernel's interface.
        interface: String,
    },
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
            Self::Xdp { error, interface } => write!(
                f,
                "{error}. Why, the lines of net_af_xdp, libxdp and libbpf above say. Often another XDP program has the interface \
                 (`ip link show dev {interface}` shows prog/xdp; `ip link set dev {interface} xdp off` takes it away), its MTU is \
                 larger than its driver takes with XDP, or its other end's is (veth), or LRO is on (`ethtool -K {interface} lro off`). \
                 af_packet:{interface} needs none of that"
            ),
            Self::TooFewQueues { port, queues, workers } => write!(
                f,
                "port {port} has {queues} transmit queue(s), but there are {workers} workers: name fewer cores in \
                 workers.cores, or give the device more queues (net_af_packet: `qpairs={workers}`, net_af_xdp: \
                 `queue_count={workers}` and `ethtool -L`, net_tap: none needed)"
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

/// Whether DPDK has this driver of virtual devices; true also where that cannot be seen, as all are built in.
pub fn has_driver(name: &str) -> bool {
    Report::gather(&Roots::default(), &[]).drivers.is_none_or(|drivers| drivers.have(name))
}

/// Why a port works no more. It is there again for an engine that starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostPort {
    /// Its device was taken away.
    Removed,
    /// Its device was reset behind its driver's back.
    Reset,
}

impl fmt::Display for LostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "was removed: unplugged, deleted, or unbound from its driver",
            Self::Reset => "was reset by its device: the NIC's driver or firmware restarted",
        })
    }
}

/// The two ports of a wire, by device name or PCI address.
pub struct WirePorts {
    /// Towards the clients.
    pub inside: String,
    /// Towards the servers.
    pub outside: String,
    /// The kernel's interfaces below them: they know of the link what a driver of DPDK's may not.
    pub interfaces: [Option<String>; 2],
    /// Largest IP packet to ask for; none: as the driver has it.
    pub mtu: Option<u16>,
    /// Whoever has the other end of these ports (rings, that is) fills in checksums and cuts segments, as a NIC would.
    pub far_end_offloads: bool,
}

/// All ports of the engine, for control.
pub struct Ports {
    ports: Vec<Port>,
    /// Each worker's.
    pools: Vec<Pools>,
    /// Frame buffers that the drivers do not give back.
    kept: usize,
    /// The kernel's interface below each port.
    interfaces: Vec<Option<String>>,
    /// Those of wires' ports, as they were opened: DPDK does not tell that one is gone.
    opened: Vec<Option<OpenInterface>>,
    eal: Arc<Eal>,
}

/// One worker's queues, on their way to its thread.
pub struct WorkerQueues {
    queues: Vec<(Option<RxQueue>, TxQueue)>,
    mirrors: Vec<(Option<RxQueue>, TxQueue)>,
    mtu: Vec<usize>,
    pools: Pools,
    eal: Arc<Eal>,
}

impl Ports {
    /// Initialises EAL, and starts the ports of all wires and mirrors with a queue for each worker, whose buffers lie on the NUMA node that
    /// `workers` names; none: anywhere.
    ///
    /// # Errors
    /// [`OpenError`], whose text says what to do.
    pub fn open(
        eal_args: &[String],
        wires: &[WirePorts],
        mirrors: &[MirrorPort],
        workers: &[Option<u16>],
    ) -> Result<(Self, Vec<WorkerQueues>), OpenError> {
        Self::open_on(Arc::new(Eal::init(eal_args)?), wires, mirrors, workers)
    }

    /// Likewise, with an EAL that others use too: DPDK allows one in a process.
    ///
    /// # Errors
    /// [`OpenError`], whose text says what to do.
    pub fn open_on(
        eal: Arc<Eal>,
        wires: &[WirePorts],
        mirrors: &[MirrorPort],
        workers: &[Option<u16>],
    ) -> Result<(Self, Vec<WorkerQueues>), OpenError> {
        let names = wires.iter().flat_map(|wire| [&wire.inside, &wire.outside]);
        let names = names.chain(mirrors.iter().map(|mirror| &mirror.name));
        let wanted = wires.iter().flat_map(|wire| [(wire.mtu, wire.far_end_offloads); 2]);
        let mut ports = names.map(|name| Port::by_name(&eal, name)).collect::<Result<Vec<_>, _>>()?;
        let infos = ports.iter().map(Port::info).collect::<Result<Vec<_>, _>>()?;
        let largest = infos.iter().zip(wanted.clone()).map(|(info, (mtu, _))| mtu.unwrap_or(info.mtu)).max();
        let largest = largest.unwrap_or_default();
        let room = largest.saturating_add(L2_HEADER).max(MIN_ROOM).saturating_add(HEADROOM);
        // Of its own, so that workers write to no memory that others read.
        let umem = infos.iter().any(|info| info.driver == AF_XDP);
        let pools = workers.iter().enumerate().map(|(worker, node)| {
            let mirrored = mirror::pool(&eal, worker, *node, (mirrors, largest), umem)?;
            Ok(Pools { mirrored, ..Pools::new(&eal, worker, *node, room, umem)? })
        });
        let pools = pools.collect::<Result<Vec<_>, dpdk::Error>>()?;
        let frames: Vec<_> = pools.iter().map(|pools| pools.frames.clone()).collect();
        let mirrored: Vec<_> = pools.iter().filter_map(|pools| Some(pools.mirrored.clone()?.0)).collect();

        let interfaces = wires.iter().flat_map(|wire| wire.interfaces.clone());
        let interfaces: Vec<_> =
            interfaces.chain(mirrors.iter().map(|mirror| mirror.interface.clone())).collect();
        let mut per_worker: Vec<Vec<_>> = workers.iter().map(|_| Vec::new()).collect();
        let mut applied = Vec::new();
        let mut kept = 0;
        let of_wires = wanted.map(|(mtu, far_end_offloads)| {
            let config = PortConfig { mtu, ..PortConfig::default() };
            let tx_offloads = config.tx_offloads | TxOffloads::TCP_TSO;
            let done_behind = if far_end_offloads { SEGMENT_OFFLOADS } else { TxOffloads::NONE };
            (PortConfig { tx_offloads, done_behind, ..config }, &frames)
        });
        let of_mirrors = mirrors.iter().zip(&infos[2 * wires.len()..]).map(|(mirror, info)| {
            let mtu = (mirror.mtu > info.mtu).then_some(mirror.mtu);
            (PortConfig { mtu, ..PortConfig::default() }, &mirrored)
        });
        let configs = of_wires.chain(of_mirrors);
        for (((port, info), interface), (config, pools)) in
            ports.iter_mut().zip(&infos).zip(&interfaces).zip(configs)
        {
            let queues = start(port, info, config, pools, interface.as_deref())?;
            applied.push(queues.applied.mtu);
            kept += queues.applied.kept;
            let mut rx = queues.rx.into_iter();
            for (worker, tx) in per_worker.iter_mut().zip(queues.tx) {
                worker.push((rx.next(), tx));
            }
        }
        let mtu = mtu::of_wires(wires, &infos, &applied);
        let worker = |(mut queues, pools): (Vec<_>, &Pools)| WorkerQueues {
            mirrors: queues.split_off(2 * wires.len()),
            queues,
            mtu: mtu.clone(),
            pools: pools.clone(),
            eal: Arc::clone(&eal),
        };
        let workers = per_worker.into_iter().zip(&pools).map(worker).collect();
        let of_wires = interfaces.iter().take(2 * wires.len());
        let opened = of_wires.map(|name| name.clone().map(OpenInterface::new)).collect();
        Ok((Self { ports, pools, kept, interfaces, opened, eal }, workers))
    }

    /// How many frame buffers each worker has.
    pub const fn mbufs(&self) -> usize {
        MBUFS as usize
    }

    /// Bytes of the buffers that are out, in a port's ring or with a worker; nearly, while workers are at it.
    pub fn bytes_in_use(&self) -> usize {
        self.pools.iter().map(Pools::bytes_in_use).sum()
    }

    /// A port that works no more, and why.
    pub fn lost(&self) -> Option<(&str, LostPort)> {
        self.ports.iter().enumerate().find_map(|(i, port)| {
            let interface = self.opened.get(i).and_then(Option::as_ref);
            let is_gone = interface.is_some_and(OpenInterface::is_gone) || port.is_removed();
            let why = match (is_gone, port.wants_reset()) {
                (true, _) => LostPort::Removed,
                (false, true) => LostPort::Reset,
                (false, false) => return None,
            };
            Some((port.name(), why))
        })
    }

    /// The running DPDK.
    pub fn version(&self) -> String {
        self.eal.version()
    }

    /// Stops the ports, whose queues the workers have dropped already; says how many mbufs did not come back.
    pub fn close(self) -> usize {
        let Self { ports, pools, kept, interfaces: _, opened: _, eal } = self;
        drop(ports);
        let out: usize = pools.iter().map(Pools::in_use).sum();
        drop((pools, eal));
        // Fewer than the drivers keep: as wrong as more.
        out.abs_diff(kept)
    }

    /// The pools of buffers, and how many of them are out: nearly, while workers are at it.
    pub fn pools(&self) -> Vec<PoolStatistics> {
        let pools = self.pools.iter().enumerate();
        let pools = pools.flat_map(|(worker, pools)| {
            pools.all().map(move |(pool, buffers, size)| (worker, pool, buffers, size))
        });
        let read = |(worker, pool, buffers, size): (_, _, &Mempool, u32)| PoolStatistics {
            worker,
            pool,
            in_use: buffers.in_use() as u64,
            size: size.into(),
        };
        pools.map(read).collect()
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

/// Starts a port with a queue for each worker, of which there are as many as pools.
fn start(
    port: &mut Port,
    info: &PortInfo,
    config: PortConfig,
    pools: &[Mempool],
    interface: Option<&str>,
) -> Result<Queues, OpenError> {
    let workers = pools.len();
    if usize::from(info.max_tx_queues) < workers {
        let (port, queues) = (info.name.clone(), info.max_tx_queues);
        return Err(OpenError::TooFewQueues { port, queues, workers });
    }
    // A worker without a receive queue gets its frames over the steering rings.
    let rx_queues = (workers as u16).min(info.max_rx_queues);
    let config = PortConfig { rx_queues, tx_queues: workers as u16, ..config };
    let queues = port.start(&config, pools).map_err(|error| match interface {
        Some(interface) if info.driver == AF_XDP => OpenError::Xdp { error, interface: interface.to_owned() },
        _ => OpenError::Dpdk(error),
    })?;
    tracing::info!(port = %info, applied = ?queues.applied, "port started");
    Ok(queues)
}

/// Where a worker's buffers come from.
#[derive(Clone)]
struct Pools {
    frames: Mempool,
    /// Records.
    blocks: Mempool,
    /// Short ones.
    short_blocks: Mempool,
    /// Mbufs without room of their own: pieces of records on their way.
    references: Mempool,
    /// Frames for mirrors, if there are any, and how many.
    mirrored: Option<(Mempool, u32)>,
}

impl Pools {
    fn new(eal: &Eal, worker: usize, node: Option<u16>, room: u16, umem: bool) -> Result<Self, dpdk::Error> {
        let pool = |name, mbufs, data_room, umem| {
            let name = format!("wireglass-{worker}-{name}");
            let config = MempoolConfig { mbufs, data_room, socket: node, umem, ..MempoolConfig::default() };
            Mempool::new(eal, &name, &config).or_else(|error| {
                let Some(node) = node else { return Err(error) };
                tracing::warn!(%error, "no memory for {name} on node {node}, where worker {worker} is: it comes from elsewhere");
                Mempool::new(eal, &name, &MempoolConfig { socket: None, ..config })
            })
        };
        Ok(Self {
            frames: pool("frames", MBUFS, room, umem)?,
            blocks: pool("records", BLOCKS, BLOCK_ROOM, false)?,
            short_blocks: pool("short", SHORT_BLOCKS, SHORT_RECORD + HEADROOM, false)?,
            references: pool("refs", MBUFS, 0, false)?,
            mirrored: None,
        })
    }

    fn in_use(&self) -> usize {
        self.all().map(|(_, pool, _)| pool.in_use()).sum()
    }

    /// What each is for, and how many buffers it has.
    fn all(&self) -> impl Iterator<Item = (&'static str, &Mempool, u32)> {
        let mirrored = self.mirrored.iter().map(|(pool, size)| ("mirror", pool, *size));
        let all = [
            ("frames", &self.frames, MBUFS),
            ("records", &self.blocks, BLOCKS),
            ("short", &self.short_blocks, SHORT_BLOCKS),
            ("references", &self.references, MBUFS),
        ];
        all.into_iter().chain(mirrored)
    }

    fn bytes_in_use(&self) -> usize {
        let bytes = |pool: &Mempool| pool.in_use() * (MBUF_HEADER + usize::from(pool.data_room()));
        self.all().map(|(_, pool, _)| bytes(pool)).sum()
    }
}

/// What segments ask a port for.
const SEGMENT_OFFLOADS: TxOffloads =
    TxOffloads::IPV4_CKSUM.union(TxOffloads::TCP_CKSUM).union(TxOffloads::TCP_TSO);

/// What of a queue's offloads segments make use of.
fn offloads(granted: TxOffloads) -> Offloads {
    let checksums = granted.contains(TxOffloads::TCP_CKSUM | TxOffloads::IPV4_CKSUM);
    let segmentation = checksums && granted.contains(TxOffloads::TCP_TSO | TxOffloads::MULTI_SEGS);
    Offloads { checksums, segmentation }
}

/// Asks for huge pages behind what a worker looks up for each frame. Tells where there are none: then it is slower with very many flows, no more.
pub fn on_huge_pages(worker: Worker<DpdkIo>) -> Worker<DpdkIo> {
    if let Err(error) = dpdk::advise_huge_pages(worker.table_memory()) {
        tracing::debug!(%error, "no huge pages for the table of flows");
    }
    worker
}

impl WorkerQueues {
    /// Makes the calling thread an lcore, and gives it the queues.
    pub fn on_this_thread(self) -> DpdkIo {
        let lcore = self.eal.register_thread();
        if let Err(error) = &lcore {
            tracing::warn!(%error, "no buffer cache for this worker: it will be slower");
        }
        let port = |(rx, tx): (_, TxQueue)| {
            let offloads = offloads(tx.offloads());
            PortQueues { rx, tx, offloads, burst: Burst::new() }
        };
        DpdkIo {
            ports: self.queues.into_iter().map(port).collect(),
            mirrors: self.mirrors.into_iter().map(port).collect(),
            mirrored: self.pools.mirrored.map(|(pool, _)| MbufCache::new(pool)),
            mtu: self.mtu,
            frames: MbufCache::new(self.pools.frames),
            references: MbufCache::new(self.pools.references),
            blocks: self.pools.blocks,
            short_blocks: self.pools.short_blocks,
            _lcore: lcore.ok(),
        }
    }
}

/// One worker's queues of all ports.
pub struct DpdkIo {
    ports: Vec<PortQueues>,
    mirrors: Vec<PortQueues>,
    /// Frames for those.
    mirrored: Option<MbufCache>,
    mtu: Vec<usize>,
    frames: MbufCache,
    references: MbufCache,
    blocks: Mempool,
    short_blocks: Mempool,
    /// Dropped last: the queues' mbufs go through this thread's cache.
    _lcore: Option<LcoreGuard>,
}

struct PortQueues {
    rx: Option<RxQueue>,
    tx: TxQueue,
    offloads: Offloads,
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
        self.frames.alloc().map(MbufFrame)
    }

    fn block(&mut self, len: usize) -> Option<MbufBlock> {
        let pool = if len <= SHORT_RECORD.into() { &self.short_blocks } else { &self.blocks };
        let mut mbuf = pool.alloc()?;
        mbuf.append(len)?;
        Some(MbufBlock::Mbuf(mbuf))
    }

    fn append(
        &mut self,
        port: PortId,
        frame: &mut MbufFrame,
        slice: &MbufSlice,
        range: Range<usize>,
    ) -> Appended {
        let chains = self.ports[port.index()].tx.offloads().contains(TxOffloads::MULTI_SEGS);
        if let MbufSlice::Mbuf(shared) = slice
            && chains
            && range.len() >= WORTH_A_CHAIN
            && let Some(mbuf) = self.references.alloc()
            && let Some(piece) = shared.slice(mbuf, range.clone())
        {
            return if frame.0.chain(piece).is_ok() { Appended::Reference } else { Appended::NoRoom };
        }
        let bytes = &slice.as_slice()[range];
        let mut copied = frame.0.extend_from_slice(bytes).is_some();
        // Behind a reference there is no room.
        if !copied && chains {
            let more = self.frames.alloc();
            copied = more.is_some_and(|mut more| {
                more.extend_from_slice(bytes).is_some() && frame.0.chain(more).is_ok()
            });
        }
        if copied { Appended::Copy } else { Appended::NoRoom }
    }

    fn offloads(&self, port: PortId) -> Offloads {
        self.ports[port.index()].offloads
    }

    fn request(&mut self, frame: &mut MbufFrame, request: &Request) {
        let ip = if request.l3 == 20 { IpVersion::V4 { checksum: true } } else { IpVersion::V6 };
        let l4 = request.segment.map_or(L4Checksum::Tcp, |segsz| L4Checksum::TcpSegments { segsz });
        // Headers of these lengths fit, and are in the first segment: the caller has written them there.
        let _ = frame.0.request_tx(&TxRequest {
            l2_len: request.l2 as u8,
            l3_len: request.l3 as u16,
            l4_len: request.l4 as u8,
            ip,
            l4,
        });
    }

    fn transmit(&mut self, port: PortId, frames: &mut Vec<MbufFrame>) {
        self.ports[port.index()].transmit(frames);
    }

    fn mirrors(&self) -> usize {
        self.mirrors.len()
    }

    fn allocate_mirrored(&mut self) -> Option<MbufFrame> {
        self.mirrored.as_mut()?.alloc().map(MbufFrame)
    }

    fn transmit_mirrored(&mut self, mirror: usize, frames: &mut Vec<MbufFrame>) {
        self.mirrors[mirror].transmit(frames);
    }

    fn discard_received(&mut self, mirror: usize) -> usize {
        let port = &mut self.mirrors[mirror];
        let Some(rx) = &mut port.rx else { return 0 };
        rx.rx(&mut port.burst);
        port.burst.drain().count()
    }
}

impl PortQueues {
    /// Sends what the port takes, in order, and leaves the rest in `frames`.
    fn transmit(&mut self, frames: &mut Vec<MbufFrame>) {
        let Self { tx, burst, .. } = self;
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

/// Room for a record: an mbuf, or what there is when the pool is empty.
pub enum MbufBlock {
    /// An mbuf whose data is as long as was asked for.
    Mbuf(Mbuf),
    /// Bytes on the heap, which have to be copied into frames.
    Heap(Vec<u8>),
}

/// Queued bytes.
pub enum MbufSlice {
    /// In an mbuf, which frames can refer to.
    Mbuf(SharedMbuf),
    /// On the heap: what a handshake says, mostly.
    Heap(Bytes),
}

impl From<Vec<u8>> for MbufBlock {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Heap(bytes)
    }
}

impl AsMut<[u8]> for MbufBlock {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            // Nobody else has it, so it can be changed.
            Self::Mbuf(mbuf) => mbuf.data_mut().unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl Block for MbufBlock {
    type Slice = MbufSlice;

    fn freeze(self, len: usize) -> MbufSlice {
        match self {
            Self::Mbuf(mut mbuf) => {
                mbuf.truncate(len);
                match mbuf.share() {
                    Ok(shared) => MbufSlice::Mbuf(shared),
                    Err(mbuf) => MbufSlice::Heap(Bytes::copy_from_slice(mbuf.data())),
                }
            }
            Self::Heap(bytes) => MbufSlice::Heap(bytes.freeze(len)),
        }
    }
}

impl Payload for MbufSlice {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mbuf(shared) => shared.data(),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for MbufSlice {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Heap(bytes.into())
    }
}

impl Slice for MbufSlice {}

/// An mbuf as a frame.
pub struct MbufFrame(Mbuf);

impl Frame for MbufFrame {
    type Slice = MbufSlice;
    type Block = MbufBlock;

    fn prefetch(&self) {
        self.0.prefetch(PREFETCH);
    }

    fn is_verified(&self) -> bool {
        (self.0.rx_ip_checksum(), self.0.rx_l4_checksum()) == (Checksum::Good, Checksum::Good)
    }

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

    fn copy_to(&self, to: &mut [u8]) -> Option<usize> {
        let len = self.0.pkt_len();
        to.get_mut(..len).map(|to| self.0.read(0, to))
    }

    fn set_len(&mut self, len: usize) -> bool {
        self.0.set_len(len).is_some()
    }
}
