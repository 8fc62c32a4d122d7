//! Connections, and what goes over them.

use std::time::Duration;

use super::alone::Parts;
use super::reading::{Reading, count_losses, latency, typical};
use super::spread::{PARTS, standard_error};
use super::{Failure, Setting, finish, median};
use crate::ceilings::{self, Handshake, Way};
use crate::endpoints::{Certificates, DISTINCT, Sessions};
use crate::load::{Exchange, Generator, LoadPort, Plan, Protocol, Tally, Work};
use crate::machine;
use crate::outcome::{CONNECTIONS, Contrast, Latency, Memory, OfInspect, Outcome, Resumed};
use crate::rig::{FLOWS, Figures, Mode, Rig};
use crate::scenario::{Scenario, What, warm_up};

/// How long connections may take to be there, and to end; and each of them, on a machine that is shared.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_EACH: Duration = Duration::from_millis(4);
/// Objects and connections whose throughput idle flows are held against.
const BESIDE: (usize, usize) = (64 * 1024, 32);
/// Flows are idle after that: legs give their buffers back after a second of silence.
const SILENCE: Duration = Duration::from_millis(2500);
/// The storm: this part of the handshakes that one core can do at best.
const STORM: f64 = 0.25;
/// Measurements without rules and with them, in turns; odd, so that one of them is the median. Each takes a part of the setting's time.
const PAIRS: usize = 9;
const PAIRS_PART: u32 = 2;
/// Of each part of a measurement, one such share is not for latencies.
const CATCH_UP: u32 = 10;
/// A ceiling is probed so long.
const PROBE: Duration = Duration::from_millis(300);

/// A scenario at work.
struct Bench<'a> {
    scenario: &'a Scenario,
    setting: &'a Setting,
    rig: Rig,
    load: Generator,
    protocol: Protocol,
    outcome: &'a mut Outcome,
}

/// What one pool did in a time.
struct Span {
    before: (Reading, Tally),
    after: (Reading, Tally),
    /// Payload bytes for each second of a busy core, in each part of the time.
    rates: Vec<f64>,
    latency: Latency,
    alone: Parts,
}

impl Span {
    fn seconds(&self) -> f64 {
        self.after.0.seconds_since(&self.before.0)
    }

    fn exchanges(&self) -> u64 {
        self.after.1.exchanges - self.before.1.exchanges
    }

    /// Bytes of requests and answers, whole or not.
    fn payload(&self) -> u64 {
        self.after.1.payload - self.before.1.payload
    }

    /// Of objects.
    fn gigabits(&self) -> f64 {
        (self.after.1.bytes - self.before.1.bytes) as f64 * 8.0 / 1e9
    }
}

pub(super) fn measure(
    scenario: &Scenario,
    setting: &Setting,
    certificates: &Certificates,
    rig: Rig,
    ports: [LoadPort; 2],
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let protocol = scenario.protocol(certificates)?;
    let engine = rig.timed_worker().cloned();
    let mut bench = Bench { scenario, setting, rig, load: Generator::new(ports, engine), protocol, outcome };
    let pools = match scenario.what {
        What::Rules(..) => bench.rules()?,
        What::Idle(_) => bench.idle()?,
        What::Opening(_) => bench.opening()?,
        What::Latency => bench.latency()?,
        What::Storm(_) => bench.storm()?,
        _ => bench.through()?,
    };
    bench.end(&pools)
}

impl Bench<'_> {
    fn work(&self, plan: Plan) -> Work {
        let (connections, buffer) = self.scenario.connections();
        let (exchange, protocol) = (Exchange::new(self.scenario.object()), self.protocol.clone());
        Work { exchange, protocol, plan, connections, buffer, arrivals: None, yields: false }
    }

    /// Lets a pool in, and waits until all of it is there and in its stride.
    fn bring(&mut self, work: Work) -> usize {
        let connections = work.connections;
        let pool = self.load.add(work);
        let there = |load: &Generator| load.tally(pool).opened >= connections as u64;
        if !self.load.run(patience(connections), there) {
            let missing = connections.saturating_sub(self.load.tally(pool).opened as usize);
            self.fail("connections that were never there", missing as u64);
        }
        self.settle();
        pool
    }

    fn settle(&mut self) {
        self.load.run(warm_up(self.setting.time), |_| false);
    }

    fn fail(&mut self, what: &str, count: u64) {
        *self.outcome.failures.entry(what.to_owned()).or_default() += count;
    }

    fn read(&mut self, pool: usize) -> Result<(Reading, Tally), Failure> {
        let tally = self.load.tally(pool).clone();
        Ok((Reading::take(&mut self.rig, self.load.busy())?, tally))
    }

    /// What the pool does in the time of the setting.
    fn span(&mut self, pool: usize) -> Result<Span, Failure> {
        self.span_of(pool, self.setting.time)
    }

    /// What the pool does in a time.
    fn span_of(&mut self, pool: usize, time: Duration) -> Result<Span, Failure> {
        let before = self.read(pool)?;
        let mut now = before.clone();
        let (mut rates, mut parts, mut alone) = (Vec::new(), Vec::new(), Parts::default());
        let (time, mut sent) = (time / PARTS, self.load.sent());
        self.set_measuring(true);
        for _ in 0..PARTS {
            // Reading takes part of a millisecond, for which requests by the clock wait.
            self.load.run(time / CATCH_UP, |_| false);
            self.load.reset_latency(pool);
            self.load.run(time - time / CATCH_UP, |_| false);
            let then = std::mem::replace(&mut now, self.read(pool)?);
            let sent_before = std::mem::replace(&mut sent, self.load.sent());
            alone.note([&then.0, &now.0], sent - sent_before, Some([&then.1, &now.1]));
            parts.push(latency(&now.1.first_byte, &now.1.last_byte));
            rates.push((now.1.payload - then.1.payload) as f64 / now.0.core_seconds_since(&then.0));
        }
        self.set_measuring(false);
        Ok(Span { before, after: now, rates, latency: typical(&parts), alone })
    }

    fn set_measuring(&self, measuring: bool) {
        self.rig.timed_worker().into_iter().for_each(|engine| engine.set_measuring(measuring));
    }

    /// What all scenarios have in common.
    fn note(&mut self, span: &Span, exchange: &Exchange) {
        span.after.0.since(&span.before.0, self.outcome);
        self.outcome.exchanges = span.exchanges();
        self.outcome.latency = Some(span.latency.clone());
        let copied = span.after.0.figures.copied - span.before.0.figures.copied;
        let payload = span.exchanges() * (exchange.request.len() + exchange.response.len()) as u64;
        if payload > 0 && (copied > 0 || self.scenario.mode == Mode::Forward) {
            self.outcome.copied_per_payload_byte = Some(copied as f64 / payload as f64);
        }
    }

    /// As much as goes through, on kept connections or on new ones.
    fn through(&mut self) -> Result<Vec<usize>, Failure> {
        let is_new = self.scenario.what == What::Connections;
        let pool = self.bring(self.work(if is_new { Plan::Fresh } else { Plan::Kept }));
        let span = self.span(pool)?;
        self.note(&span, &Exchange::new(self.scenario.object()));
        let (now, then) = (&span.after.1, &span.before.1);
        if is_new {
            let opened = (now.opened - then.opened).max(1) as f64;
            let [client_leg, server_leg] =
                [0, 1].map(|leg: usize| (now.resumed[leg] - then.resumed[leg]) as f64 / opened);
            self.outcome.resumed = Some(Resumed { client_leg, server_leg });
            self.outcome.unit = CONNECTIONS.into();
            let alone = span.alone.conclude(self.outcome, |part| part.exchanges as f64);
            self.outcome.figure = alone.unwrap_or(span.exchanges() as f64 / span.seconds());
            let begun = self.load.begun(pool);
            if self.scenario.tls.sessions == Sessions::EachAnotherName && begun > DISTINCT {
                self.fail("names that came again", (begun - DISTINCT) as u64);
            }
        } else {
            let alone = span.alone.conclude(self.outcome, |part| part.payload as f64 * 8.0 / 1e9);
            self.outcome.figure = alone.unwrap_or(span.gigabits() / span.seconds());
            self.outcome.unit = "Gbit/s".into();
        }
        self.outcome.standard_error = standard_error(&span.rates);
        Ok(vec![pool])
    }

    /// What goes through without rules and with them. A pair's turns follow each other, and the one that comes first changes: what the
    /// machine does meanwhile, faster or slower, falls on both.
    fn rules(&mut self) -> Result<Vec<usize>, Failure> {
        let exchange = Exchange::new(self.scenario.object());
        let per_core = |span: &Span| span.payload() as f64 / span.after.0.core_seconds_since(&span.before.0);
        let (mut ratios, mut figures) = (Vec::new(), Vec::new());
        for pair in 0..PAIRS {
            let mut rates = [0.0; 2];
            for rules in if pair % 2 == 0 { [false, true] } else { [true, false] } {
                self.rig.set_rules(rules)?;
                let pool = self.bring(self.work(Plan::Kept));
                let span = self.span_of(pool, self.setting.time / PAIRS_PART)?;
                self.part_from(pool);
                rates[usize::from(rules)] = per_core(&span);
                if rules {
                    self.note(&span, &exchange);
                    let alone = span.alone.conclude(self.outcome, |part| part.exchanges as f64);
                    figures.push(alone.unwrap_or(span.exchanges() as f64 / span.seconds()));
                }
            }
            ratios.push(rates[1] / rates[0]);
        }
        self.outcome.figure = median(&figures).unwrap_or_default();
        self.outcome.unit = "requests/s".into();
        self.outcome.of_inspect = OfInspect::new(&ratios);
        Ok(Vec::new())
    }

    /// Requests by the clock, at half of what goes through at most, or as the setting has it.
    fn latency(&mut self) -> Result<Vec<usize>, Failure> {
        let pool = self.bring(self.work(Plan::Kept));
        self.pace(pool, 0.5);
        let span = self.span(pool)?;
        self.note(&span, &Exchange::new(self.scenario.object()));
        self.outcome.figure = span.latency.last_byte.p50;
        self.outcome.unit = "us".into();
        self.outcome.lower_is_better = true;
        Ok(vec![pool])
    }

    fn pace(&mut self, pool: usize, part: f64) {
        let begin = (self.load.tally(pool).exchanges, std::time::Instant::now());
        self.load.run(self.setting.time / 2, |_| false);
        let most = (self.load.tally(pool).exchanges - begin.0) as f64 / begin.1.elapsed().as_secs_f64();
        let rate = self.setting.rate.unwrap_or(most * part);
        self.outcome.offered = Some(rate);
        self.load.pace(pool, rate);
        self.settle();
    }

    /// p99 of exchanges by the clock, without and with new connections beside them.
    fn storm(&mut self) -> Result<Vec<usize>, Failure> {
        let crate::endpoints::Tls { version, group, leaf, .. } = self.scenario.tls;
        let core = self.setting.worker_core;
        let kind = Handshake { version, group, leaf, way: Way::Cold };
        let most = super::on_core(core, || ceilings::handshakes(kind, PROBE))?.value;
        let pool = self.bring(self.work(Plan::Kept));
        self.pace(pool, 0.25);
        let without = self.span(pool)?;
        let storm =
            Work { arrivals: Some(self.load.clock(most * STORM)), yields: true, ..self.work(Plan::Fresh) };
        let storm = self.load.add(storm);
        self.settle();
        let opened = self.load.tally(storm).opened;
        let with = self.span(pool)?;
        let opened = (self.load.tally(storm).opened - opened) as f64 / with.seconds();
        self.note(&with, &Exchange::new(self.scenario.object()));
        let p99 = |span: &Span| span.latency.last_byte.p99;
        self.outcome.figure = p99(&with);
        self.outcome.unit = "us".into();
        self.outcome.lower_is_better = true;
        self.outcome.contrast = Some(Contrast {
            what: format!("p99 beside {opened:.0} new connections/s"),
            unit: "us".into(),
            without: p99(&without),
            with: p99(&with),
        });
        Ok(vec![storm, pool])
    }

    /// Memory of connections that have had one exchange, and what goes through without and with them.
    fn idle(&mut self) -> Result<Vec<usize>, Failure> {
        let without = self.beside()?;
        let flows = self.scenario.connections().0;
        let idle = self.flows_memory(Plan::Idle)?;
        let with = self.beside()?;
        self.note(&with, &Exchange::new(BESIDE.0));
        let per_core = |span: &Span| span.gigabits() / span.after.0.core_seconds_since(&span.before.0);
        self.outcome.contrast = Some(Contrast {
            what: format!("64 KB objects for a busy core beside {flows} idle flows"),
            unit: "Gbit/s".into(),
            without: per_core(&without),
            with: per_core(&with),
        });
        Ok(vec![idle])
    }

    fn opening(&mut self) -> Result<Vec<usize>, Failure> {
        let pool = self.flows_memory(Plan::Silent)?;
        let span = self.span(pool)?;
        self.note(&span, &Exchange::new(self.scenario.object()));
        Ok(vec![pool])
    }

    /// What goes through on some connections, which are gone afterwards.
    fn beside(&mut self) -> Result<Span, Failure> {
        let (object, connections) = BESIDE;
        let exchange = Exchange::new(object);
        let work = Work { exchange, connections, buffer: object, ..self.work(Plan::Kept) };
        let pool = self.bring(work);
        let span = self.span(pool)?;
        self.part_from(pool);
        Ok(span)
    }

    /// Brings the scenario's pool, and notes what each of it takes.
    fn flows_memory(&mut self, plan: Plan) -> Result<usize, Failure> {
        let (before, resident) = (self.rig.figures()?, machine::resident());
        let pool = self.bring(self.work(plan));
        self.load.run(SILENCE, |_| false);
        let after = self.rig.figures()?;
        let flows = self.scenario.connections().0 as f64;
        let held = |figures: &Figures| figures.buffers as f64;
        let memory = Memory {
            heap: after.allocations.held().saturating_sub(before.allocations.held()) as f64 / flows,
            legs: after.legs.saturating_sub(before.legs) as f64 / flows,
            table: self.rig.at_start().held() as f64 / f64::from(FLOWS),
            buffers: (held(&after) - held(&before)).max(0.0) / flows,
            process: machine::resident().saturating_sub(resident) as f64 / flows,
        };
        self.outcome.figure = memory.heap + memory.table + memory.buffers;
        self.outcome.unit = "B/flow".into();
        self.outcome.lower_is_better = true;
        self.outcome.memory = Some(memory);
        Ok(pool)
    }

    fn part_from(&mut self, pool: usize) {
        self.load.wind_down(pool);
        let open = self.load.open(pool);
        self.load.run(patience(open), |load| load.open(pool) == 0);
    }

    /// Ends all connections, counts what went wrong, and stops.
    fn end(mut self, pools: &[usize]) -> Result<(), Failure> {
        pools.iter().for_each(|pool| self.part_from(*pool));
        count_losses(&self.rig.figures()?, self.outcome);
        self.outcome.load_late = self.load.late().as_secs_f64() * 1e3;
        if self.scenario.mode == Mode::Tcp {
            // Each ClientHello came twice on purpose.
            self.outcome.dropped.remove("packet.repeated_while_held");
        }
        for (what, count) in self.load.failures() {
            self.fail(what, count);
        }
        let open = self.load.open_in_all();
        if open > 0 {
            self.fail("connections that never ended", open as u64);
        }
        // Whatever is still on the way.
        let Self { mut load, rig, outcome, .. } = self;
        load.run(Duration::from_millis(500), |_| false);
        finish(rig, outcome, move || {
            load.clear();
            drop(load);
        })
    }
}

fn patience(connections: usize) -> Duration {
    PATIENCE + PATIENCE_EACH * connections as u32
}
