//! Two readings of the counters, and what lies between them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use wireglass_core::phase::FlowPhase;

use crate::control::operate::OrderRecord;
use crate::control::{Counters, MirrorRecord, PoolRecord, PortRecord, WorkerRecord};
use crate::fleet::status::FleetRecord;

/// A reason's code.
type Code = Cow<'static, str>;

/// How an engine stands, and what it did a second since the reading before. The names are those of `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) version: String,
    pub(super) uptime_seconds: f64,
    /// The time between the readings, as the engine measured it.
    pub(super) interval_seconds: f64,
    /// All workers, and with them the drops of all ports.
    pub(super) total: Share,
    pub(super) workers: Vec<Share>,
    pub(super) ports: Vec<PortRates>,
    /// Number of the settings in force; 0: the engine does not say.
    pub(super) generation: u64,
    pub(super) generation_age_seconds: f64,
    pub(super) generations_older: u64,
    pub(super) log_dropped: u64,
    pub(super) log_lost: u64,
    /// Connections of which only one direction was seen, since the start.
    pub(super) asymmetric_flows: u64,
    /// Now: servers that are known not to be decrypted, or that an operator has named.
    pub(super) exclusions: u64,
    /// Orders of an operator that stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) orders: Vec<OrderRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mirrors: Vec<MirrorRates>,
    /// How it stands with its fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fleet: Option<FleetRecord>,
    /// Workers whose frames pass uninspected, as they have failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failed_workers: Vec<usize>,
}

/// One worker's share of the work, or all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Share {
    /// None: all workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worker: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) core: Option<usize>,
    /// Of its time, 0 to 1; the mean, where it is of several.
    pub(super) busy: f64,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    /// Now, by phase: all that there are.
    pub(super) flows: BTreeMap<&'static str, u64>,
    pub(super) flows_limit: u64,
    pub(super) flows_opened_per_second: f64,
    /// Now.
    pub(super) handshake_queue: u64,
    pub(super) handshakes_done_per_second: f64,
    pub(super) handshakes_failed_per_second: f64,
    /// Now.
    pub(super) flow_bytes: u64,
    pub(super) flow_bytes_limit: u64,
    /// Now.
    pub(super) pools: Vec<PoolRecord>,
    pub(super) heap_records_per_second: f64,
    pub(super) retransmits_per_second: f64,
    pub(super) drops_per_second: f64,
    /// Since the start, but for those that never happened.
    pub(super) drops: BTreeMap<Code, Drops>,
}

/// Frames of the workers, or of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Traffic {
    pub(super) rx_packets_per_second: f64,
    pub(super) rx_bits_per_second: f64,
    pub(super) tx_packets_per_second: f64,
    pub(super) tx_bits_per_second: f64,
}

/// One port, as its driver counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PortRates {
    pub(super) port: String,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    pub(super) drops: BTreeMap<Code, Drops>,
}

/// One mirror.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct MirrorRates {
    pub(super) mirror: String,
    /// That its port took.
    pub(super) tx_packets_per_second: f64,
    pub(super) tx_bits_per_second: f64,
    /// Since the start.
    pub(super) flows: u64,
    pub(super) flows_lost: u64,
    pub(super) drops_per_second: f64,
    pub(super) drops: BTreeMap<Code, Drops>,
}

/// What was dropped for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Drops {
    pub(super) per_second: f64,
    /// Since the engine's start.
    pub(super) total: u64,
}

impl Rates {
    /// None: the second reading is not later than the first, so it is another engine's.
    pub(super) fn between(before: &Counters, after: &Counters) -> Option<Self> {
        let elapsed = after.engine.uptime_us.checked_sub(before.engine.uptime_us).filter(|us| *us > 0)?;
        let clock = Clock(elapsed as f64 / 1e6);
        let workers: Vec<_> = after.workers.iter().map(|now| clock.worker(before, now)).collect();
        let ports: Vec<_> = after.ports.iter().map(|now| clock.port(before, now)).collect();
        Some(Self {
            version: after.version.clone(),
            uptime_seconds: after.engine.uptime_us as f64 / 1e6,
            interval_seconds: clock.0,
            total: total(&workers, &ports),
            workers,
            ports,
            generation: after.engine.generation,
            generation_age_seconds: after.engine.generation_age_us as f64 / 1e6,
            generations_older: after.engine.generations_older,
            log_dropped: after.engine.log_dropped,
            log_lost: after.engine.log_lost,
            asymmetric_flows: after.engine.asymmetric_flows,
            exclusions: after.engine.exclusions,
            orders: after.engine.orders.clone(),
            mirrors: after.engine.mirrors.iter().map(|now| clock.mirror(before, now)).collect(),
            fleet: after.engine.fleet.clone(),
            failed_workers: after.engine.failed_workers.clone(),
        })
    }
}

/// Seconds between two readings.
struct Clock(f64);

impl Clock {
    /// A counter that was not there before, or has gone back, has no rate.
    fn rate<R>(&self, before: Option<&R>, now: &R, read: impl Fn(&R) -> u64) -> f64 {
        before.map_or(0.0, |before| read(now).saturating_sub(read(before)) as f64 / self.0)
    }

    fn worker(&self, before: &Counters, now: &WorkerRecord) -> Share {
        let before = before.workers.iter().find(|worker| worker.worker == now.worker);
        let rate = |read: fn(&WorkerRecord) -> u64| self.rate(before, now, read);
        let drops = self.drops(before.map(|worker| &worker.drops), &now.drops);
        Share {
            worker: Some(now.worker),
            core: now.core,
            busy: (rate(|worker| worker.busy_us) / 1e6).min(1.0),
            traffic: Traffic {
                rx_packets_per_second: rate(|worker| worker.rx_packets),
                rx_bits_per_second: 8.0 * rate(|worker| worker.rx_bytes),
                tx_packets_per_second: rate(|worker| worker.tx_packets),
                tx_bits_per_second: 8.0 * rate(|worker| worker.tx_bytes),
            },
            flows: FlowPhase::ALL
                .iter()
                .map(|phase| (phase.name(), now.flows.get(phase.name()).copied().unwrap_or(0)))
                .collect(),
            flows_limit: now.flows_limit,
            flows_opened_per_second: rate(|worker| worker.flows_opened),
            handshake_queue: now.handshake_queue,
            handshakes_done_per_second: rate(|worker| worker.handshakes_done),
            handshakes_failed_per_second: rate(|worker| worker.handshakes_failed),
            flow_bytes: now.flow_bytes,
            flow_bytes_limit: now.flow_bytes_limit,
            pools: now.pools.clone(),
            heap_records_per_second: rate(|worker| worker.heap_records),
            retransmits_per_second: rate(|worker| worker.retransmits),
            drops_per_second: drops.values().map(|drops| drops.per_second).sum(),
            drops,
        }
    }

    fn port(&self, before: &Counters, now: &PortRecord) -> PortRates {
        let before = before.ports.iter().find(|port| port.port == now.port);
        let rate = |read: fn(&PortRecord) -> u64| self.rate(before, now, read);
        PortRates {
            port: now.port.clone(),
            traffic: Traffic {
                rx_packets_per_second: rate(|port| port.rx_packets),
                rx_bits_per_second: 8.0 * rate(|port| port.rx_bytes),
                tx_packets_per_second: rate(|port| port.tx_packets),
                tx_bits_per_second: 8.0 * rate(|port| port.tx_bytes),
            },
            drops: self.drops(before.map(|port| &port.drops), &now.drops),
        }
    }

    fn mirror(&self, before: &Counters, now: &MirrorRecord) -> MirrorRates {
        let before = before.engine.mirrors.iter().find(|mirror| mirror.mirror == now.mirror);
        let rate = |read: fn(&MirrorRecord) -> u64| self.rate(before, now, read);
        let drops = self.drops(before.map(|mirror| &mirror.drops), &now.drops);
        MirrorRates {
            mirror: now.mirror.clone(),
            tx_packets_per_second: rate(|mirror| mirror.frames),
            tx_bits_per_second: 8.0 * rate(|mirror| mirror.bytes),
            flows: now.flows,
            flows_lost: now.flows_lost,
            drops_per_second: drops.values().map(|drops| drops.per_second).sum(),
            drops,
        }
    }

    /// A reason that is missing before has not happened before.
    fn drops(
        &self,
        before: Option<&BTreeMap<Code, u64>>,
        now: &BTreeMap<Code, u64>,
    ) -> BTreeMap<Code, Drops> {
        let read = |why: &Code, drops: &BTreeMap<Code, u64>| drops.get(why).copied().unwrap_or(0);
        let drops = now.iter().map(|(why, total)| {
            let per_second = self.rate(before, now, |drops| read(why, drops));
            (why.clone(), Drops { per_second, total: *total })
        });
        drops.collect()
    }
}

fn total(workers: &[Share], ports: &[PortRates]) -> Share {
    let mut total = Share::default();
    for worker in workers {
        total.busy += worker.busy / workers.len() as f64;
        total.traffic.rx_packets_per_second += worker.traffic.rx_packets_per_second;
        total.traffic.rx_bits_per_second += worker.traffic.rx_bits_per_second;
        total.traffic.tx_packets_per_second += worker.traffic.tx_packets_per_second;
        total.traffic.tx_bits_per_second += worker.traffic.tx_bits_per_second;
        for (phase, flows) in &worker.flows {
            add(total.flows.entry(phase).or_default(), *flows);
        }
        add(&mut total.flows_limit, worker.flows_limit);
        total.flows_opened_per_second += worker.flows_opened_per_second;
        add(&mut total.handshake_queue, worker.handshake_queue);
        total.handshakes_done_per_second += worker.handshakes_done_per_second;
        total.handshakes_failed_per_second += worker.handshakes_failed_per_second;
        add(&mut total.flow_bytes, worker.flow_bytes);
        add(&mut total.flow_bytes_limit, worker.flow_bytes_limit);
        for pool in &worker.pools {
            add_pool(&mut total.pools, pool);
        }
        total.heap_records_per_second += worker.heap_records_per_second;
        total.retransmits_per_second += worker.retransmits_per_second;
    }
    let drops = workers.iter().map(|worker| &worker.drops).chain(ports.iter().map(|port| &port.drops));
    for (why, drops) in drops.flatten() {
        let sum = total.drops.entry(why.clone()).or_default();
        sum.per_second += drops.per_second;
        add(&mut sum.total, drops.total);
        total.drops_per_second += drops.per_second;
    }
    total
}

fn add_pool(sums: &mut Vec<PoolRecord>, more: &PoolRecord) {
    match sums.iter_mut().find(|sum| sum.pool == more.pool) {
        Some(sum) => {
            add(&mut sum.in_use, more.in_use);
            add(&mut sum.size, more.size);
        }
        None => sums.push(more.clone()),
    }
}

/// What answers on the socket may say any number.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl Share {
    /// Flows that have state now.
    pub(super) fn active(&self) -> u64 {
        self.flows.values().fold(0, |sum, flows| sum.saturating_add(*flows))
    }

    /// What is in use of the pool that is nearest to its end, 0 to 1.
    pub(super) fn fullest_pool(&self) -> f64 {
        self.pools.iter().map(|pool| share(pool.in_use, pool.size)).fold(0.0, f64::max)
    }

    /// What its legs hold, of what they may hold; 0 to 1.
    pub(super) fn legs(&self) -> f64 {
        share(self.flow_bytes, self.flow_bytes_limit)
    }
}

/// A part of a whole; 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::EngineRecord;

    fn reading(uptime_us: u64, workers: &[WorkerRecord]) -> Counters {
        let engine = EngineRecord { uptime_us, ..EngineRecord::default() };
        Counters { engine, workers: workers.to_vec(), ..Counters::default() }
    }

    #[test]
    fn rates_are_differences_over_the_engines_own_time() {
        let drops = |n: u64| BTreeMap::from([("packet.no_buffer".into(), n)]);
        let worker = |worker, n: u64| WorkerRecord {
            worker,
            rx_packets: 1000 * n,
            rx_bytes: 125_000 * n,
            busy_us: 500_000 * n,
            drops: drops(20 * n),
            ..WorkerRecord::default()
        };
        let mut before = reading(5_000_000, &[worker(0, 1), worker(1, 7)]);
        let mut after = reading(7_000_000, &[worker(0, 3), worker(1, 7)]);
        let port = |n| PortRecord {
            port: "p".into(),
            drops: BTreeMap::from([("port.rx_missed".into(), n)]),
            ..PortRecord::default()
        };
        (before.ports, after.ports) = (vec![port(0)], vec![port(8)]);
        let rates = Rates::between(&before, &after).expect("two seconds");
        let [first, second] = rates.workers.as_slice() else { panic!("{rates:?}") };
        assert_eq!(
            (first.traffic.rx_packets_per_second, first.traffic.rx_bits_per_second),
            (1000.0, 1_000_000.0)
        );
        assert_eq!((first.busy, second.busy, rates.total.busy), (0.5, 0.0, 0.25));
        assert_eq!(first.drops["packet.no_buffer"], Drops { per_second: 20.0, total: 60 });
        assert_eq!(second.drops["packet.no_buffer"], Drops { per_second: 0.0, total: 140 });
        assert_eq!(rates.total.drops["packet.no_buffer"], Drops { per_second: 20.0, total: 200 });
        assert_eq!(rates.total.drops["port.rx_missed"], Drops { per_second: 4.0, total: 8 });
        assert_eq!(rates.total.drops_per_second, 24.0);
    }

    #[test]
    fn another_engine_has_no_rates_and_absurd_numbers_do_no_harm() {
        let all = |worker| WorkerRecord {
            worker,
            rx_bytes: u64::MAX,
            busy_us: u64::MAX,
            flow_bytes: u64::MAX,
            flow_bytes_limit: 1,
            flows: BTreeMap::from([("decrypted".into(), u64::MAX), ("opening".into(), 1)]),
            drops: BTreeMap::from([("x".into(), u64::MAX)]),
            ..WorkerRecord::default()
        };
        let (early, late) = (reading(5, &[]), reading(9, &[all(0), all(0)]));
        assert_eq!(Rates::between(&late, &early), None);
        assert_eq!(Rates::between(&late, &late), None);
        let rates = Rates::between(&early, &late).expect("later");
        assert_eq!(
            (rates.workers[0].busy, rates.total.active()),
            (0.0, u64::MAX),
            "new workers have no rate"
        );
        let backwards = reading(20, &[WorkerRecord::default()]);
        assert_eq!(Rates::between(&late, &backwards).expect("later").total.busy, 0.0);
    }
}
