//! The engine's counters as the control channel tells them: sums since the start, and what stands now. Whoever asks twice
//! has rates. `docs/top.md` explains them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wireglass_core::counters::{Counter, MirrorCounters, PortCounters, WorkerCounters};
use wireglass_core::event::EventKind;
use wireglass_core::phase::FlowPhase;
use wireglass_core::reason::{MirrorDrop, PacketDrop, PortDrop};

use super::operate::OrderRecord;
use super::server::unix_now;
use crate::fleet::status::FleetRecord;
use crate::metrics::{Metrics, PoolStatistics, PortStatistics};

/// A word of a fixed list, or a name.
type Word = Cow<'static, str>;

/// One worker. What an engine does not tell is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerRecord {
    /// Its number, from 0.
    pub worker: usize,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// Time of its turns that found something to do.
    pub busy_us: u64,
    /// Frames received from all ports.
    pub rx_packets: u64,
    /// Bytes of those, from the Ethernet header on.
    pub rx_bytes: u64,
    /// Frames that the ports took.
    pub tx_packets: u64,
    /// Bytes of those.
    pub tx_bytes: u64,
    /// Flows now, by phase.
    pub flows: BTreeMap<Word, u64>,
    /// Flows that it may have.
    pub flows_limit: u64,
    /// Flows that were given state.
    pub flows_opened: u64,
    /// Handshakes now that wait for a thread of the pool or for its answer.
    pub handshake_queue: u64,
    /// Interceptions begun.
    pub handshakes_started: u64,
    /// Those with both handshakes complete.
    pub handshakes_done: u64,
    /// Those that ended before.
    pub handshakes_failed: u64,
    /// Bytes that the legs of its flows hold now.
    pub flow_bytes: u64,
    /// Bytes that they may hold.
    pub flow_bytes_limit: u64,
    /// Its pools of buffers.
    pub pools: Vec<PoolRecord>,
    /// Records for which there was no buffer: on the heap, and copied into frames.
    pub heap_records: u64,
    /// TCP segments that were sent again.
    pub retransmits: u64,
    /// Packets dropped, by reason; those that never happened are left out.
    pub drops: BTreeMap<Word, u64>,
}

/// One port, as its driver counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortRecord {
    /// The device, as the configuration names it.
    pub port: String,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes of those.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes of those.
    pub tx_bytes: u64,
    /// Frames lost, by reason; those that never happened are left out.
    pub drops: BTreeMap<Word, u64>,
}

/// One mirror, of all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MirrorRecord {
    /// Its name.
    pub mirror: String,
    /// Frames that its port took.
    pub frames: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Flows that it was shown as conversations.
    pub flows: u64,
    /// Those of them that have lost something.
    pub flows_lost: u64,
    /// Frames that did not get to the port, or came from it, by reason; those that never happened are left out.
    pub drops: BTreeMap<Word, u64>,
}

/// Buffers that were made at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolRecord {
    /// What for.
    pub pool: Word,
    /// Those that are out now.
    pub in_use: u64,
    /// All of them.
    pub size: u64,
}

/// What belongs to no worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineRecord {
    /// Since the start; when all of this was read.
    pub uptime_us: u64,
    /// Number of the settings in force; 0: the engine does not say.
    pub generation: u64,
    /// How long they have been in force.
    pub generation_age_us: u64,
    /// Older ones that flows still go by.
    pub generations_older: u64,
    /// Events that found the log ring full.
    pub log_dropped: u64,
    /// Events that could not be written.
    pub log_lost: u64,
    /// Connections of which only one direction was seen, since the start.
    #[serde(skip_serializing_if = "is_zero")]
    pub asymmetric_flows: u64,
    /// Servers that are known now not to be decrypted, or that an operator has named.
    pub exclusions: u64,
    /// Orders of an operator that stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderRecord>,
    /// In the order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<MirrorRecord>,
    /// How it stands with its fleet; none: it is in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetRecord>,
    /// Workers that have failed, and whose frames pass uninspected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_workers: Vec<usize>,
    /// The signer; none: the engine has the CAs' keys itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerRecord>,
}

/// The process that signs for the CAs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignerRecord {
    /// It answers.
    pub up: bool,
    /// How often it has begun: more than once, and it has died.
    pub starts: u64,
    /// What was asked of it, by what came of that.
    pub requests: BTreeMap<Word, u64>,
}

/// An engine's counters at one moment. They are read one by one, while the workers go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The engine's version.
    pub version: String,
    /// What belongs to no worker.
    pub engine: EngineRecord,
    /// By their numbers.
    pub workers: Vec<WorkerRecord>,
    /// In the order of the wires, the inside port first.
    pub ports: Vec<PortRecord>,
}

impl Counters {
    /// As they are now. No worker notices.
    pub fn read(metrics: &Metrics) -> Self {
        let uptime_us = metrics.uptime().as_micros() as u64;
        let generation = metrics.generation();
        let workers = metrics.workers().iter().enumerate();
        let pools = metrics.pool_statistics();
        let (log_dropped, log_lost) = metrics
            .log()
            .map_or((0, 0), |log| (EventKind::ALL.iter().map(|&kind| log.dropped(kind)).sum(), log.lost()));
        Self {
            version: crate::version::VERSION.into(),
            workers: workers.map(|(n, counters)| worker(n, metrics.core(n), &pools, counters)).collect(),
            ports: metrics.port_statistics().into_iter().map(port).collect(),
            engine: EngineRecord {
                uptime_us,
                generation: generation.number(),
                generation_age_us: generation.age().as_micros() as u64,
                generations_older: generation.older(),
                log_dropped,
                log_lost,
                fleet: metrics.fleet().map(|status| status.read()),
                asymmetric_flows: metrics
                    .workers()
                    .iter()
                    .map(|worker| worker.asymmetric_flows.value())
                    .sum(),
                failed_workers: metrics.failed_workers().collect(),
                orders: metrics.orders().list(Instant::now()).into_iter().map(OrderRecord::new).collect(),
                exclusions: metrics.exclusions().map_or(0, |all| all.holding(unix_now())) as u64,
                mirrors: (0..metrics.mirrors().len()).map(|n| mirror(metrics, n)).collect(),
                signer: metrics.signer().map(|signer| SignerRecord {
                    up: signer.is_up(),
                    starts: signer.starts(),
                    requests: signer.requests().map(|(outcome, count)| (outcome.into(), count)).into(),
                }),
            },
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn worker(
    worker: usize,
    core: Option<usize>,
    pools: &[PoolStatistics],
    counters: &WorkerCounters,
) -> WorkerRecord {
    let ports = |read: fn(&PortCounters) -> &Counter| counters.ports().map(|port| read(port).value()).sum();
    WorkerRecord {
        worker,
        core,
        busy_us: counters.busy_micros.value(),
        rx_packets: ports(|port| &port.rx_packets),
        rx_bytes: ports(|port| &port.rx_bytes),
        tx_packets: ports(|port| &port.tx_packets),
        tx_bytes: ports(|port| &port.tx_bytes),
        flows: FlowPhase::ALL
            .iter()
            .map(|&phase| (phase.name().into(), counters.flows(phase).value()))
            .collect(),
        flows_limit: counters.flows_limit.value(),
        flows_opened: counters.flows_opened.value(),
        handshake_queue: counters.handshake_queue.value(),
        handshakes_started: counters.handshakes_started.value(),
        handshakes_done: counters.handshakes_done.value(),
        handshakes_failed: counters.handshakes_failed.value(),
        flow_bytes: counters.flow_bytes.value(),
        flow_bytes_limit: counters.flow_bytes_limit.value(),
        pools: pools.iter().filter(|pool| pool.worker == worker).map(pool).collect(),
        heap_records: counters.heap_records.value(),
        retransmits: counters.retransmits.value(),
        drops: happened(PacketDrop::ALL, PacketDrop::code, |why| counters.dropped(why)),
    }
}

fn port(port: PortStatistics) -> PortRecord {
    PortRecord {
        rx_packets: port.rx_packets,
        rx_bytes: port.rx_bytes,
        tx_packets: port.tx_packets,
        tx_bytes: port.tx_bytes,
        drops: happened(PortDrop::ALL, PortDrop::code, |why| port.dropped(why)),
        port: port.port,
    }
}

fn mirror(metrics: &Metrics, n: usize) -> MirrorRecord {
    let sum = |read: &dyn Fn(&MirrorCounters) -> u64| -> u64 {
        metrics.workers().iter().map(|worker| read(worker.mirror(n))).sum()
    };
    MirrorRecord {
        mirror: metrics.mirrors().get(n).map(|name| name.to_string()).unwrap_or_default(),
        frames: sum(&|mirror| mirror.frames.value()),
        bytes: sum(&|mirror| mirror.bytes.value()),
        flows: sum(&|mirror| mirror.flows.value()),
        flows_lost: sum(&|mirror| mirror.flows_lost.value()),
        drops: happened(MirrorDrop::ALL, MirrorDrop::code, |why| sum(&|mirror| mirror.dropped(why))),
    }
}

fn pool(pool: &PoolStatistics) -> PoolRecord {
    PoolRecord { pool: pool.pool.into(), in_use: pool.in_use, size: pool.size }
}

fn happened<R: Copy>(
    all: &[R],
    code: fn(R) -> &'static str,
    count: impl Fn(R) -> u64,
) -> BTreeMap<Word, u64> {
    all.iter().map(|&why| (code(why).into(), count(why))).filter(|(_, count)| *count > 0).collect()
}
