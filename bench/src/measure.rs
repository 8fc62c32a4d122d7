//! One scenario, from the start of its engine to what came of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::allocations::{self, Allocations};
use crate::ceilings::{self, Ceiling, Handshake};
use crate::load::{Exchange, Generator, Kind, LoadPort, Pace, Plan, SmallFrames, Tally, Work};
use crate::machine;
use crate::outcome::{Latency, Outcome, Percentiles};
use crate::rig::{Authorities, Mode, Rig};
use crate::scenario::{Scenario, What, warm_up};

/// How long connections may take to be there, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Probing a ceiling takes so long, before and after.
const PROBE: Duration = Duration::from_millis(300);
/// What rustls prefers on all legs, and so what C is probed with.
const SUITE: &str = "AES_256_GCM_SHA384";

/// Where and how to measure.
pub(crate) struct Setting {
    pub(crate) time: Duration,
    pub(crate) worker_core: usize,
    pub(crate) load_core: usize,
    pub(crate) eal: Vec<String>,
}

type Failure = Box<dyn Error>;

/// Runs a scenario. Once per process: DPDK starts once.
pub(crate) fn measure(scenario: &Scenario, setting: &Setting) -> Result<Outcome, Failure> {
    let ceiling = on_core(setting.worker_core, || probe(scenario))?;
    // Everything that is started from here on stays off the worker's core: the log's thread too.
    machine::pin(setting.load_core);
    let authorities = Authorities::new(scenario.tls.leaf)?;
    let (rig, ports) =
        Rig::start(scenario.mode, scenario.offloads, setting.worker_core, &setting.eal, &authorities)?;
    let mut outcome =
        Outcome { name: scenario.name(), mode: scenario.mode.name().into(), ..Outcome::default() };
    outcome.dpdk.clone_from(&rig.version);
    match scenario.what {
        What::Small(kind) => small(kind, setting, rig, ports, &mut outcome)?,
        _ => connections(scenario, setting, &authorities, rig, ports, &mut outcome)?,
    }
    let again = on_core(setting.worker_core, || probe(scenario))?;
    outcome.set_ceiling(ceiling.zip(again).map(|(a, b)| Ceiling { value: a.value.max(b.value), ..a }));
    Ok(outcome)
}

fn probe(scenario: &Scenario) -> Option<Ceiling> {
    match scenario.what {
        What::Throughput(_) if scenario.mode.decrypts() => {
            let value = ceilings::bulk(SUITE, PROBE)?;
            Some(Ceiling { name: "C".into(), value })
        }
        What::Connections => {
            let crate::scenario::Tls { version, group, leaf, .. } = scenario.tls;
            let value = ceilings::handshakes(Handshake { version, group, leaf }, PROBE);
            Some(Ceiling { name: "H".into(), value })
        }
        _ => None,
    }
}

fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            machine::pin(core);
            work()
        });
        thread.join().map_err(|_| "a probe panicked".into())
    })
}

/// All that is read before and after.
struct Reading {
    at: Instant,
    busy: f64,
    waited: f64,
    allocations: Allocations,
    packets: u64,
    tally: Option<Tally>,
}

impl Reading {
    fn take(rig: &Rig, tally: Option<Tally>) -> Self {
        Self {
            at: Instant::now(),
            busy: rig.busy(),
            waited: rig.waited(),
            allocations: allocations::counted(),
            packets: rig.snapshot().map_or(0, |snapshot| snapshot.decoder.pkts),
            tally,
        }
    }

    /// What happened since, into the outcome. Returns the seconds.
    fn since(&self, before: &Self, outcome: &mut Outcome) -> f64 {
        let seconds = (self.at - before.at).as_secs_f64();
        let per_packet = |n: u64| n as f64 / (self.packets - before.packets).max(1) as f64;
        outcome.seconds = seconds;
        outcome.busy = (self.busy - before.busy) / seconds;
        outcome.waited = (self.waited - before.waited) / seconds;
        outcome.packets = self.packets - before.packets;
        let (now, then) = (self.allocations, before.allocations);
        outcome.allocations_per_packet = per_packet(now.calls - then.calls);
        outcome.allocated_bytes_per_packet = per_packet(now.bytes - then.bytes);
        if let (Some(now), Some(then)) = (&self.tally, &before.tally) {
            outcome.load_busy = (now.busy - then.busy) as f64 / 1e9 / seconds;
        }
        seconds
    }
}

fn small(
    kind: Kind,
    setting: &Setting,
    rig: Rig,
    ports: [LoadPort; 2],
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut frames = SmallFrames::start(ports, kind).ok_or("the generator's pool is empty")?;
    frames.run(warm_up(setting.time));
    let (before, passed) = (Reading::take(&rig, None), frames.passed);
    frames.run(setting.time);
    let seconds = Reading::take(&rig, None).since(&before, outcome);
    outcome.figure = (frames.passed - passed) as f64 / seconds / 1e6;
    outcome.unit = "Mpackets/s".into();
    count_losses(&rig, outcome);
    let lost = frames.stop();
    if lost > 0 {
        outcome.failures.insert("frames lost".into(), lost as u64);
    }
    finish(rig, outcome, || ())
}

fn connections(
    scenario: &Scenario,
    setting: &Setting,
    authorities: &Authorities,
    rig: Rig,
    ports: [LoadPort; 2],
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let (connections, buffer) = scenario.connections();
    let plan = match scenario.what {
        What::Connections => Plan::Fresh,
        What::Idle(_) => Plan::Idle,
        _ => Plan::Kept,
    };
    let (exchange, speech) = (Exchange::new(scenario.object()), scenario.speech(authorities)?);
    // The worker makes its table when it starts, which is no flow's memory.
    std::thread::sleep(Duration::from_millis(100));
    let memory = (allocations::counted(), machine::resident());
    let mut load = Generator::new(ports, Work { exchange, speech, plan, connections, buffer });
    // Thousands of connections in a second, if not more.
    let patience = PATIENCE + Duration::from_millis(2) * connections as u32;
    let there = load.run(patience, |load| load.tally_opened() >= connections as u64);
    if !there {
        outcome
            .failures
            .insert("connections that were never there".into(), (connections - load.established()) as u64);
    }
    load.run(warm_up(setting.time), |_| false);
    if scenario.what == What::Latency {
        latency(setting, &mut load, outcome);
    }
    load.reset_latency();
    let before = Reading::take(&rig, Some(load.tally()));
    load.run(setting.time, |_| false);
    let after = Reading::take(&rig, Some(load.tally()));
    let seconds = after.since(&before, outcome);
    let (Some(now), Some(then)) = (&after.tally, &before.tally) else {
        return Err("a tally was taken".into());
    };
    match scenario.what {
        What::Throughput(_) => {
            outcome.figure = (now.bytes - then.bytes) as f64 * 8.0 / seconds / 1e9;
            outcome.unit = "Gbit/s".into();
        }
        What::Idle(flows) => {
            let (counted, resident) = memory;
            let engine = allocations::counted();
            let held = (engine.bytes - engine.freed).saturating_sub(counted.bytes - counted.freed);
            outcome.figure = held as f64 / flows as f64 / 1024.0;
            outcome.unit = "KB/flow".into();
            outcome.lower_is_better = true;
            outcome.resident_per_flow = Some((machine::resident() - resident) as f64 / flows as f64 / 1024.0);
        }
        What::Latency => {
            outcome.figure = now.last_byte.value_at_quantile(0.5) as f64 / 1e3;
            outcome.unit = "us".into();
            outcome.lower_is_better = true;
        }
        What::Connections | What::Small(_) => {
            outcome.figure = (now.exchanges - then.exchanges) as f64 / seconds;
            outcome.unit = "connections/s".into();
        }
    }
    outcome.exchanges = now.exchanges - then.exchanges;
    outcome.latency =
        Some(Latency { first_byte: percentiles(&now.first_byte), last_byte: percentiles(&now.last_byte) });
    load.pause();
    load.wind_down();
    load.run(patience, |load| load.open() == 0);
    count_losses(&rig, outcome);
    if scenario.mode == Mode::Tcp {
        // Each ClientHello came twice on purpose.
        outcome.dropped.remove("packet.repeated_while_held");
    }
    let tally = load.tally();
    outcome.failures.extend(tally.failures.iter().map(|(what, n)| ((*what).to_owned(), *n)));
    if load.open() > 0 {
        outcome.failures.insert("connections that never ended".into(), load.open() as u64);
    }
    // Whatever is still on the way.
    load.run(Duration::from_millis(50), |_| false);
    finish(rig, outcome, move || {
        load.clear();
        drop(load);
    })
}

/// Goes over to half of what goes through at most, which was measured during the warm-up.
fn latency(setting: &Setting, load: &mut Generator, outcome: &mut Outcome) {
    let (begin, before) = (Instant::now(), load.tally().exchanges);
    load.run(setting.time / 2, |_| false);
    let most = (load.tally().exchanges - before) as f64 / begin.elapsed().as_secs_f64();
    outcome.offered = Some(most / 2.0);
    load.pace(Pace::new(most / 2.0));
    load.run(warm_up(setting.time), |_| false);
}

fn count_losses(rig: &Rig, outcome: &mut Outcome) {
    let Some(snapshot) = rig.snapshot() else { return };
    let own = snapshot.wireglass;
    outcome.retransmits = own.tcp_retransmits;
    outcome.timeouts = own.tcp_timeouts;
    outcome.dropped = owned(&own.dropped);
    outcome.ended = owned(&own.ended);
    if own.log_dropped > 0 {
        outcome.dropped.insert("log events".into(), own.log_dropped);
    }
}

fn owned(map: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    map.iter().map(|(what, n)| ((*what).to_owned(), *n)).collect()
}

/// Stops the worker, then lets go of the generator's ports, then closes all.
fn finish(rig: Rig, outcome: &mut Outcome, release: impl FnOnce()) -> Result<(), Failure> {
    let stopped = rig.stop()?;
    release();
    let balance = stopped.close();
    outcome.mbufs_lost = (balance.engine + balance.load) as u64;
    Ok(())
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Percentiles {
        count: histogram.len(),
        p50: micros(0.5),
        p99: micros(0.99),
        p999: micros(0.999),
        max: histogram.max() as f64 / 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds");
        (1..=1000).for_each(|n| histogram.saturating_record(n * 1000));
        let p = percentiles(&histogram);
        assert_eq!((p.count, p.p50.round(), p.p99.round()), (1000, 500.0, 990.0));
    }
}
