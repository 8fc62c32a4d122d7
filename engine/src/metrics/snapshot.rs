//! The sums over all workers at one moment, in the shape of the `stats` event.

use std::collections::BTreeMap;

use serde::Serialize;
use wireglass_core::counters::{Counter, PortCounters, WorkerCounters};
use wireglass_core::end::End;
use wireglass_core::event::EventKind;
use wireglass_core::packet::{PassAction, Uninspected};
use wireglass_core::phase::FlowPhase;
use wireglass_core::reason::{InspectorOff, PacketDrop, PathMessage, PortDrop, Reason};

use super::page::{Metrics, PortStatistics};

/// Sums since the start. Names as Suricata's `stats` event has them, where it has them; ours under `wireglass`.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Seconds since the start.
    pub uptime: u64,
    /// What the ports' drivers count; absent without real ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// What the workers received.
    pub decoder: Decoder,
    /// Flows.
    pub flow: Flows,
    /// What Suricata has no name for.
    pub wireglass: Own,
}

/// Frames that reached the ports, and those of them that were lost there.
#[derive(Clone, Debug, Serialize)]
pub struct Capture {
    /// Received by the ports.
    pub kernel_packets: u64,
    /// Lost by the ports: receive ring full or no buffer.
    pub kernel_drops: u64,
}

/// Frames received by the workers.
#[derive(Clone, Debug, Serialize)]
pub struct Decoder {
    /// Frames.
    pub pkts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Flows since the start and now.
#[derive(Clone, Debug, Serialize)]
pub struct Flows {
    /// Flows that were given state.
    pub total: u64,
    /// Flows that have state now.
    pub active: u64,
}

/// Our own numbers. The maps hold only what is not zero.
#[derive(Clone, Debug, Serialize)]
pub struct Own {
    /// Flows now, by phase; all phases.
    pub flows: BTreeMap<&'static str, u64>,
    /// Flows ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// Packets dropped, by reason; those lost at the ports included.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Frames that were not looked into and went on, by class.
    pub passthrough: BTreeMap<&'static str, u64>,
    /// HTTP readers that turned themselves off, by reason.
    pub http_off: BTreeMap<&'static str, u64>,
    /// Messages that a segment was too big, by what became of them.
    pub too_big: BTreeMap<&'static str, u64>,
    /// HTTP transactions read.
    pub http_transactions: u64,
    /// Frames sent.
    pub tx_pkts: u64,
    /// Bytes of those.
    pub tx_bytes: u64,
    /// TLS interceptions begun.
    pub handshakes_started: u64,
    /// Those complete on both legs.
    pub handshakes_done: u64,
    /// Those that failed.
    pub handshakes_failed: u64,
    /// Handshakes that wait now.
    pub handshake_queue: u64,
    /// Interceptions that presented a minted certificate.
    pub certificates_minted: u64,
    /// What the caches of TLS had, by cache; only what is not zero, as for the other maps.
    pub tls_cache_hits: BTreeMap<&'static str, u64>,
    /// What they had not.
    pub tls_cache_misses: BTreeMap<&'static str, u64>,
    /// Plaintext bytes from clients.
    pub plaintext_toserver: u64,
    /// Plaintext bytes from servers.
    pub plaintext_toclient: u64,
    /// TCP segments sent again.
    pub tcp_retransmits: u64,
    /// TCP retransmission timers that fired.
    pub tcp_timeouts: u64,
    /// Black holes found on the paths.
    pub tcp_black_holes: u64,
    /// Bytes of memory that flows hold now.
    pub flow_bytes: u64,
    /// Times that a leg was held to less than its limit.
    pub leg_limits: u64,
    /// Flows ended early to make room for others.
    pub evictions: u64,
    /// Connections that pass although their beginning was not seen.
    pub midstream_flows: u64,
    /// Events that were only counted.
    pub events_summed: u64,
    /// Events that found the log ring full.
    pub log_dropped: u64,
    /// Lines that could not be written.
    pub log_lost: u64,
}

impl Metrics {
    /// The sums now. Counters are read one by one while the workers go on.
    pub fn snapshot(&self) -> Snapshot {
        let workers = self.workers();
        let sum = |read: &dyn Fn(&WorkerCounters) -> u64| workers.iter().map(|w| read(w)).sum::<u64>();
        let ports =
            |read: fn(&PortCounters) -> &Counter| sum(&|w| w.ports().map(|port| read(port).value()).sum());
        let flows: BTreeMap<_, _> =
            FlowPhase::ALL.iter().map(|&p| (p.name(), sum(&|w| w.flows(p).value()))).collect();
        let caches = |n: usize| {
            let all = self.tls().map(|caches| caches.all());
            let counted = all.into_iter().flatten().map(|(name, counters)| (name, counters.values()[n]));
            counted.filter(|&(_, value)| value != 0).collect()
        };
        let mut dropped = nonzero(PacketDrop::ALL, PacketDrop::code, |r| sum(&|w| w.dropped(r)));
        let drivers = self.port_statistics();
        dropped
            .extend(nonzero(PortDrop::ALL, PortDrop::code, |r| drivers.iter().map(|p| p.dropped(r)).sum()));
        Snapshot {
            uptime: self.uptime().as_secs(),
            capture: capture(&drivers),
            decoder: Decoder { pkts: ports(|p| &p.rx_packets), bytes: ports(|p| &p.rx_bytes) },
            flow: Flows { total: sum(&|w| w.flows_opened.value()), active: flows.values().sum() },
            wireglass: Own {
                flows,
                ended: nonzero(Reason::ALL, Reason::code, |r| sum(&|w| w.ended(r))),
                dropped,
                passthrough: nonzero(Uninspected::ALL, Uninspected::name, |class| {
                    sum(&|w| w.uninspected(class, PassAction::Forward).value())
                }),
                http_off: nonzero(InspectorOff::ALL, InspectorOff::code, |r| sum(&|w| w.inspectors_off(r))),
                too_big: nonzero(PathMessage::ALL, PathMessage::code, |r| sum(&|w| w.path_messages(r))),
                http_transactions: sum(&|w| w.http_transactions.value()),
                tx_pkts: ports(|p| &p.tx_packets),
                tx_bytes: ports(|p| &p.tx_bytes),
                handshakes_started: sum(&|w| w.handshakes_started.value()),
                handshakes_done: sum(&|w| w.handshakes_done.value()),
                handshakes_failed: sum(&|w| w.handshakes_failed.value()),
                handshake_queue: sum(&|w| w.handshake_queue.value()),
                certificates_minted: sum(&|w| w.certificates_minted.value()),
                tls_cache_hits: caches(0),
                tls_cache_misses: caches(1),
                plaintext_toserver: sum(&|w| w.plaintext(End::Client).value()),
                plaintext_toclient: sum(&|w| w.plaintext(End::Server).value()),
                tcp_retransmits: sum(&|w| w.retransmits.value()),
                tcp_timeouts: sum(&|w| w.tcp_timeouts.value()),
                tcp_black_holes: sum(&|w| w.tcp_black_holes.value()),
                flow_bytes: sum(&|w| w.flow_bytes.value()),
                leg_limits: sum(&|w| w.leg_limits.value()),
                evictions: sum(&WorkerCounters::evictions),
                midstream_flows: sum(&|w| w.midstream_flows.value()),
                events_summed: sum(&|w| w.events_summed.value()),
                log_dropped: self.log().map_or(0, |l| EventKind::ALL.iter().map(|&k| l.dropped(k)).sum()),
                log_lost: self.log().map_or(0, |l| l.lost()),
            },
        }
    }
}

fn capture(ports: &[PortStatistics]) -> Option<Capture> {
    if ports.is_empty() {
        return None;
    }
    let kernel_drops = ports.iter().map(|p| p.rx_missed + p.rx_no_buffer).sum();
    Some(Capture { kernel_packets: ports.iter().map(|p| p.rx_packets).sum(), kernel_drops })
}

fn nonzero<R: Copy>(
    all: &[R],
    code: fn(R) -> &'static str,
    value: impl Fn(R) -> u64,
) -> BTreeMap<&'static str, u64> {
    all.iter().map(|&r| (code(r), value(r))).filter(|&(_, n)| n != 0).collect()
}
