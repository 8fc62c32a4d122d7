//! One scenario, from the start of its engine to what came of it.

mod alone;
mod reading;
mod small;
mod spread;
mod traffic;

pub(crate) use self::spread::median;

use std::error::Error;
use std::time::Duration;

use crate::ceilings::{self, Ceiling, Handshake, Way};
use crate::endpoints::{Certificates, Sessions};
use crate::machine;
use crate::outcome::Outcome;
use crate::rig::{Records, Rig, RunConfig};
use crate::scenario::{Scenario, What};

/// Probing a ceiling takes so long, before and after.
const PROBE: Duration = Duration::from_millis(300);
/// What rustls prefers on all legs, and so what C is probed with.
const SUITE: &str = "AES_256_GCM_SHA384";

/// Where and how to measure.
pub(crate) struct Setting {
    pub(crate) time: Duration,
    pub(crate) worker_core: usize,
    pub(crate) load_core: usize,
    /// Core of the thread for handshakes, where there is one.
    pub(crate) pool_core: usize,
    pub(crate) eal: Vec<String>,
    /// What protects the engine's records.
    pub(crate) records: Records,
    /// Requests in a second, where they come by the clock; none: a part of what goes through at most.
    pub(crate) rate: Option<f64>,
}

type Failure = Box<dyn Error>;

/// Runs a scenario. Once per process: DPDK starts once.
pub(crate) fn measure(scenario: &Scenario, setting: &Setting) -> Result<Outcome, Failure> {
    let ceiling = on_core(setting.worker_core, || probe(scenario))?;
    // Everything that is started from here on stays off the worker's core: the log's thread too.
    machine::pin(setting.load_core);
    let internet = scenario.tls.leaf.pki("Bench Internet")?;
    let order = RunConfig {
        mode: scenario.mode,
        core: setting.worker_core,
        handshake_threads: scenario.handshake_threads(),
        pool_core: setting.pool_core,
        home_core: setting.load_core,
        root: internet.root_pem(),
        rules: if let What::Rules(many, _) = scenario.what { Some(many) } else { None },
        alone: scenario.alone,
        records: setting.records,
    };
    let (rig, ports) = Rig::start(scenario.ports, &order, &setting.eal)?;
    if scenario.alone {
        machine::pin(setting.worker_core);
    }
    let certificates = Certificates { internet, trusted: rig.trusted() };
    let mut outcome = Outcome {
        name: scenario.name(),
        mode: scenario.mode.name().into(),
        ports: scenario.ports.name().into(),
        dpdk: rig.version.clone(),
        records: rig.records().filter(|_| scenario.mode.decrypts()).map(Into::into),
        ..Outcome::default()
    };
    match scenario.what {
        What::Small(kind) => small::measure(kind, setting, rig, ports, &mut outcome)?,
        _ => traffic::measure(scenario, setting, &certificates, rig, ports, &mut outcome)?,
    }
    let again = on_core(setting.worker_core, || probe(scenario))?;
    outcome.set_ceiling(ceiling.zip(again).map(|(a, b)| if b.value > a.value { b } else { a }));
    Ok(outcome)
}

fn probe(scenario: &Scenario) -> Option<Ceiling> {
    match scenario.what {
        What::Throughput(_) if scenario.mode.decrypts() => ceilings::bulk(SUITE, PROBE),
        What::Connections => {
            let crate::endpoints::Tls { version, group, leaf, sessions, .. } = scenario.tls;
            let way = match sessions {
                Sessions::EachAnotherName => Way::Cold,
                Sessions::OneName => Way::Warm,
                Sessions::Resumed => Way::Resumed,
            };
            Some(ceilings::handshakes(Handshake { version, group, leaf, way }, PROBE))
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

/// Stops the worker, then lets go of the generator's ports, then closes all.
fn finish(rig: Rig, outcome: &mut Outcome, release: impl FnOnce()) -> Result<(), Failure> {
    let stopped = rig.stop()?;
    release();
    let balance = stopped.close();
    (outcome.mbufs_lost, outcome.load_mbufs_lost) = (balance.engine as u64, balance.load as u64);
    Ok(())
}
