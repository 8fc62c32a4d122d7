//! The status page: one page for people, and the figures that it asks for again and again. Read-only.
//!
//! It has no names of clients or servers, only counts, and the names of wires, rules and profiles, which the metrics have, too.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use wireglass_core::counters::{ACTION_OR_NONE, Counter, PortCounters, WorkerCounters};
use wireglass_core::end::End;
use wireglass_core::event::EventKind;
use wireglass_core::histogram::BOUNDS_MICROS;
use wireglass_core::phase::FlowPhase;
use wireglass_core::policy::Tally;
use wireglass_core::port::PortSide;
use wireglass_core::reason::{PacketDrop, PortDrop, Reason};

use super::liveness::PATIENCE;
use super::page::Metrics;
use super::process::ProcessFigures;
use super::shares::action_name;
use crate::control::unix_now;

/// The page, and what it consists of.
pub(super) const HTML: &str = include_str!("status.html");
/// Its script.
pub(super) const JS: &str = include_str!("status.js");
/// How it looks.
pub(super) const CSS: &str = include_str!("status.css");

/// Rules that are shown, those that decide most.
const TOP_RULES: usize = 10;

/// All that the page shows. Whoever asks twice has rates.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    health: String,
    uptime_us: u64,
    now: u64,
    generation: Generation,
    wires: Vec<WireFigures>,
    flows: BTreeMap<&'static str, u64>,
    flows_limit: u64,
    flows_opened: u64,
    connections: BTreeMap<&'static str, u64>,
    connection_bytes: BTreeMap<&'static str, u64>,
    handshakes: Handshakes,
    hellos: BTreeMap<&'static str, u64>,
    ended: BTreeMap<&'static str, u64>,
    dropped: BTreeMap<&'static str, u64>,
    rules: Vec<RuleFigures>,
    profiles: Vec<RuleFigures>,
    exclusions: u64,
    certificates: BTreeMap<&'static str, i64>,
    memory: Memory,
    log: Log,
    orders: Vec<&'static str>,
}

#[derive(Serialize)]
struct Generation {
    number: u64,
    age_s: u64,
    older: u64,
    failed: u64,
}

/// Since the start.
#[derive(Serialize)]
struct WireFigures {
    name: String,
    /// Received from the clients' side.
    from_inside: Traffic,
    /// Received from the servers' side.
    from_outside: Traffic,
}

#[derive(Serialize)]
struct Traffic {
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Handshakes {
    done: u64,
    failed: u64,
    queue: u64,
    /// Upper bounds, in microseconds; one more count than bounds.
    bounds_us: &'static [u64],
    counts: Vec<u64>,
}

#[derive(Serialize)]
struct RuleFigures {
    name: String,
    action: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Memory {
    resident_bytes: Option<u64>,
    flow_bytes: u64,
    flow_bytes_limit: u64,
    buffers: u64,
    buffers_in_use: u64,
}

#[derive(Serialize)]
struct Log {
    written: u64,
    dropped: u64,
    lost: u64,
}

impl Metrics {
    /// What the page shows, as JSON.
    pub(super) fn status_json(&self) -> String {
        // Of texts and numbers only, which cannot fail.
        serde_json::to_string(&self.status()).unwrap_or_default()
    }

    fn status(&self) -> Status {
        let workers = self.workers();
        let sum = |read: &dyn Fn(&WorkerCounters) -> u64| workers.iter().map(|w| read(w)).sum::<u64>();
        let generation = self.generation();
        let times = self.handshake_times();
        let mut dropped = happened(PacketDrop::ALL, PacketDrop::code, |why| sum(&|w| w.dropped(why)));
        let ports = self.port_statistics();
        dropped.extend(happened(PortDrop::ALL, PortDrop::code, |why| {
            ports.iter().map(|port| port.dropped(why)).sum()
        }));
        let pools = self.pool_statistics();
        let tallies = self.tallies();
        let now = Instant::now();
        Status {
            version: crate::version::VERSION,
            health: self.liveness().look(now, PATIENCE).to_string(),
            uptime_us: self.uptime().as_micros() as u64,
            now: unix_now(),
            generation: Generation {
                number: generation.number(),
                age_s: generation.age().as_secs(),
                older: generation.older(),
                failed: generation.failed(),
            },
            wires: self.wires().iter().enumerate().map(|(n, name)| self.wire(n, name)).collect(),
            flows: FlowPhase::ALL.iter().map(|&phase| (phase.name(), self.flows_now(phase))).collect(),
            flows_limit: sum(&|w| w.flows_limit.value()),
            flows_opened: sum(&|w| w.flows_opened.value()),
            connections: ACTION_OR_NONE
                .iter()
                .map(|&action| (action_name(action), sum(&|w| w.ended_after(action).value())))
                .collect(),
            connection_bytes: ACTION_OR_NONE
                .iter()
                .map(|&action| {
                    let both = [End::Client, End::Server];
                    let bytes =
                        |w: &WorkerCounters| both.map(|end| w.carried(action, end).value()).iter().sum();
                    (action_name(action), sum(&bytes))
                })
                .collect(),
            handshakes: Handshakes {
                done: sum(&|w| w.handshakes_done.value()),
                failed: sum(&|w| w.handshakes_failed.value()),
                queue: sum(&|w| w.handshake_queue.value()),
                bounds_us: &BOUNDS_MICROS,
                counts: times.counts.to_vec(),
            },
            hellos: happened(Reason::ALL, Reason::code, |why| sum(&|w| w.judged(why).value())),
            ended: happened(Reason::ALL, Reason::code, |why| sum(&|w| w.ended(why))),
            dropped,
            rules: busiest(&tallies.connections),
            profiles: busiest(&tallies.profiles),
            exclusions: self.exclusions().map_or(0, |all| all.holding(unix_now())) as u64,
            certificates: self.authorities_end().map(|(ca, end)| (ca.name(), end)).collect(),
            memory: Memory {
                resident_bytes: ProcessFigures::read().resident_bytes,
                flow_bytes: sum(&|w| w.flow_bytes.value()),
                flow_bytes_limit: sum(&|w| w.flow_bytes_limit.value()),
                buffers: pools.iter().map(|pool| pool.size).sum(),
                buffers_in_use: pools.iter().map(|pool| pool.in_use).sum(),
            },
            log: Log {
                written: self.log().map_or(0, |log| log.written()),
                dropped: self
                    .log()
                    .map_or(0, |log| EventKind::ALL.iter().map(|&kind| log.dropped(kind)).sum()),
                lost: self.log().map_or(0, |log| log.lost()),
            },
            orders: self.orders().list(now).into_iter().map(|held| held.name()).collect(),
        }
    }

    fn wire(&self, n: usize, name: &str) -> WireFigures {
        let from = |side| {
            let sum = |read: fn(&PortCounters) -> &Counter| {
                self.workers().iter().map(|w| read(w.port(n, side)).value()).sum()
            };
            Traffic { packets: sum(|port| &port.rx_packets), bytes: sum(|port| &port.rx_bytes) }
        };
        WireFigures {
            name: name.to_string(),
            from_inside: from(PortSide::Inside),
            from_outside: from(PortSide::Outside),
        }
    }
}

/// Those that have decided anything, the busiest first.
fn busiest(tally: &Tally) -> Vec<RuleFigures> {
    let figures = tally.iter().map(|(name, action, count)| RuleFigures { name: name.into(), action, count });
    let mut figures: Vec<_> = figures.filter(|rule| rule.count > 0).collect();
    figures.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    figures.truncate(TOP_RULES);
    figures
}

fn happened<R: Copy>(
    all: &[R],
    code: fn(R) -> &'static str,
    count: impl Fn(R) -> u64,
) -> BTreeMap<&'static str, u64> {
    all.iter().map(|&why| (code(why), count(why))).filter(|(_, count)| *count > 0).collect()
}
