//! The command line.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum as _};

use crate::machine::Machine;
use crate::measure::{Setting, measure};
use crate::outcome::{Outcome, Paired, Pairs, Run};
use crate::rig::Records;
use crate::scenario::{self, Scenario};
use crate::{callgrind, ceilings, report, rig};

/// How EAL starts when nothing else is asked for: no hugepages, no NICs, no files that another process could meet.
const EAL: &str =
    "--no-huge -m 1024 --no-pci --no-shconf --no-telemetry --log-level=lib.eal:4 --log-level=pmd:4";

const HELP: &str = "\
Examples:
  wireglass-bench list                                          all scenarios
  wireglass-bench run throughput-inspect --json run.json
  wireglass-bench run --alone throughput                        the engine's own cost, steady on a busy machine
  wireglass-bench pairs BEFORE/wireglass-bench --alone rules    is this build faster than the one before?
  wireglass-bench compare before.json run.json
scripts/bench.sh builds this program and runs the standard set.";

/// Measures wireglass: the engine runs between two DPDK rings, its worker on one core, all clients and servers on another.
#[derive(Parser)]
#[command(name = "wireglass-bench", version, after_help = HELP)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measures the ceilings: the most that cryptography allows one core, in memory.
    ///
    /// C is the bulk ceiling. Each inspected byte is opened once and sealed once, so C = 1 / (1/open + 1/seal), with the faster of
    /// both libraries.
    /// H is the handshake ceiling. Each inspected connection costs one handshake as server and one as client.
    Ceilings {
        /// Length of each probe, in seconds.
        #[arg(long, default_value_t = 1.0, value_parser = seconds)]
        seconds: f64,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Lists all scenarios. A star marks the standard set; names of the engine alone begin with `alone-`.
    List,
    /// Runs scenarios, each in a process of its own.
    ///
    /// Exit status 1: a scenario failed, or had a retransmission, a dropped frame, a failed connection, or a frame buffer that did
    /// not come back.
    Run(RunArgs),
    /// Compares this build with another one: runs scenarios with both in turn, and prints this one's result as a share of the other's.
    ///
    /// If the machine gets faster or slower meanwhile, that affects both runs of a pair. The builds take turns at going first.
    Pairs(PairsArgs),
    /// The engine of a scenario with two processes.
    #[command(hide = true)]
    Engine,
    /// Runs one scenario in this process.
    #[command(hide = true)]
    One {
        name: String,
        #[arg(long)]
        out: PathBuf,
        /// Requests per second, where they come by the clock.
        #[arg(long)]
        rate: Option<f64>,
        #[command(flatten)]
        how: How,
    },
    /// Prints the table of an earlier run.
    Show {
        run: PathBuf,
        /// Write plots (SVG) to this folder.
        #[arg(long)]
        plots: Option<PathBuf>,
    },
    /// Compares two runs, scenario by scenario.
    Compare {
        before: PathBuf,
        after: PathBuf,
        /// A further run of the same build as `before`, to learn how much its runs differ; repeatable.
        #[arg(long)]
        again: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct RunArgs {
    /// Scenarios: whole names, or parts of names [default: the standard set].
    names: Vec<String>,
    /// One thread plays sender, engine and receiver in turn, and only the engine's turns are timed [default scenarios: all of these].
    #[arg(long)]
    alone: bool,
    /// Write the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write plots (SVG) to this folder.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Also count instructions: run scenarios of the engine alone under callgrind, and leave the profiles in this folder. Times
    /// mean nothing then.
    #[arg(long, value_name = "FOLDER")]
    callgrind: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct PairsArgs {
    /// The other build of `wireglass-bench`.
    other: PathBuf,
    /// Scenarios, as in `run`.
    names: Vec<String>,
    /// One thread plays sender, engine and receiver in turn, and only the engine's turns are timed [default scenarios: all of these].
    #[arg(long)]
    alone: bool,
    /// Number of pairs for each scenario.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=999))]
    rounds: u32,
    /// Write the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    /// Length of the measurement in each scenario, in seconds, after a warm-up.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Core of the engine's worker.
    #[arg(long, default_value_t = 0)]
    worker_core: usize,
    /// Core of the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Core of the handshake thread, in scenarios that have one [default: the load generator's].
    #[arg(long)]
    pool_core: Option<usize>,
    /// DPDK's EAL arguments; leave out `--no-huge` to use hugepages.
    #[arg(long, default_value = EAL)]
    eal: String,
    /// What encrypts the engine's records [default: auto; in `pairs`, what each build chooses].
    #[arg(long, value_enum)]
    records: Option<Records>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let expected = || "expected a number above 0 and up to 600".to_owned();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    if seconds > 0.0 && seconds <= 600.0 { Ok(seconds) } else { Err(expected()) }
}

type Failure = Box<dyn Error>;

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        match self.verb.run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("wireglass-bench: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Verb {
    /// False: something happened that should not have.
    fn run(self) -> Result<bool, Failure> {
        match self {
            Self::Ceilings { seconds, json } => {
                let report = ceilings::report(Duration::from_secs_f64(seconds));
                if json {
                    println!("{}", report.to_json());
                } else {
                    print!("{report}");
                }
            }
            Self::Engine => rig::serve()?,
            Self::List => {
                for scenario in scenario::all() {
                    println!("{} {}", if scenario.standard { '*' } else { ' ' }, scenario.name());
                }
            }
            Self::Run(args) => return args.run(),
            Self::Pairs(args) => return args.run(),
            Self::One { name, out, rate, how } => {
                let scenario = scenario::all().into_iter().find(|scenario| scenario.name() == name);
                let outcome = measure(&scenario.ok_or("no such scenario")?, &how.setting(rate))?;
                fs::write(out, serde_json::to_vec(&outcome)?)?;
            }
            Self::Show { run, plots } => show(&read(&run)?, plots.as_deref())?,
            Self::Compare { before, after, again } => {
                let again = again.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
                print!("{}", report::comparison(&read(&before)?, &read(&after)?, &again));
            }
        }
        Ok(true)
    }
}

impl RunArgs {
    fn run(&self) -> Result<bool, Failure> {
        let scenarios = chosen(&self.names, self.alone)?;
        let mut run = Run { machine: Machine::read(), outcomes: Vec::new() };
        let mut good = true;
        println!("{}", report::machine(&run.machine));
        println!("{}", report::HEAD);
        for scenario in scenarios {
            // The wire is asked for as much as the engine was.
            let rate = run.named("latency-inspect").and_then(|engine| engine.offered);
            let rate = rate.filter(|_| scenario.name() == "latency-wire");
            match self.measure(&scenario, rate) {
                Ok(outcome) => {
                    good &= outcome.faults().is_empty();
                    run.outcomes.push(outcome);
                    run.relate();
                    run.outcomes.last().into_iter().for_each(|last| println!("{}", report::line(last)));
                }
                Err(error) => {
                    good = false;
                    println!("{:<42} FAILED: {error}", scenario.name());
                }
            }
        }
        if let Some(path) = &self.json {
            fs::write(path, serde_json::to_vec_pretty(&run)?)?;
        }
        if let Some(folder) = &self.plots {
            report::plots(&run, folder)?;
        }
        Ok(good)
    }
}

impl RunArgs {
    fn measure(&self, scenario: &Scenario, rate: Option<f64>) -> Result<Outcome, Failure> {
        let (name, this) = (scenario.name(), std::env::current_exe()?);
        let Some(folder) = self.callgrind.as_ref().filter(|_| scenario.alone) else {
            return self.how.in_a_process(process::Command::new(this), &name, rate);
        };
        fs::create_dir_all(folder)?;
        let profile = folder.join(format!("callgrind.out.{name}"));
        let mut command = callgrind::command(rig::MEASURED_TURN, &profile);
        command.arg(this);
        let mut outcome = self.how.in_a_process(command, &name, rate)?;
        outcome.count_instructions(callgrind::total(&fs::read_to_string(profile)?).unwrap_or_default());
        Ok(outcome)
    }
}

impl PairsArgs {
    fn run(&self) -> Result<bool, Failure> {
        let this = std::env::current_exe()?;
        let mut pairs = Pairs { machine: Machine::read(), other: self.other.clone(), scenarios: Vec::new() };
        let mut good = true;
        println!("{}", report::machine(&pairs.machine));
        for scenario in chosen(&self.names, self.alone)? {
            let name = scenario.name();
            let mut paired = Paired { name: name.clone(), ..Paired::default() };
            for round in 0..self.rounds {
                let mut both = [0.0; 2];
                for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                    let program = process::Command::new([&self.other, &this][which]);
                    let outcome = self.how.in_a_process(program, &name, None)?;
                    for fault in outcome.faults() {
                        good = false;
                        println!("{name}, {}: {fault}", ["before", "after"][which]);
                    }
                    paired.unit.clone_from(&outcome.unit);
                    both[which] = outcome.comparable();
                }
                paired.pairs.push(both);
            }
            println!("{}", report::pair_line(&paired));
            pairs.scenarios.push(paired);
        }
        if let Some(path) = &self.json {
            fs::write(path, serde_json::to_vec_pretty(&pairs)?)?;
        }
        Ok(good)
    }
}

/// Scenarios with these names, and those of the engine alone or of two cores whose names contain one of these. A whole name of two cores
/// stands for the same scenario of the engine alone where that is asked for. Without names the standard set of two cores, or all of the
/// engine alone.
fn chosen(names: &[String], alone: bool) -> Result<Vec<Scenario>, Failure> {
    let all = scenario::all();
    let is_whole = |name: &String| all.iter().any(|scenario| scenario.name() == *name);
    let of_alone = |name: &String| Some(format!("alone-{name}")).filter(|own| alone && is_whole(own));
    let names: Vec<_> = names.iter().map(|name| of_alone(name).unwrap_or_else(|| name.clone())).collect();
    let (whole, parts): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_whole(name));
    let wanted = |scenario: &Scenario| {
        let name = scenario.name();
        let is_part = parts.iter().any(|part| name.contains(*part))
            || (names.is_empty() && (scenario.standard || alone));
        whole.contains(&&name) || (scenario.alone == alone && is_part)
    };
    let chosen: Vec<_> = all.iter().filter(|scenario| wanted(scenario)).cloned().collect();
    if chosen.is_empty() {
        return Err("no scenario has such a name; `wireglass-bench list` shows them. Those of the engine alone want --alone".into());
    }
    Ok(chosen)
}

impl How {
    fn setting(&self, rate: Option<f64>) -> Setting {
        Setting {
            time: Duration::from_secs_f64(self.seconds),
            worker_core: self.worker_core,
            load_core: self.load_core,
            pool_core: self.pool_core.unwrap_or(self.load_core),
            rate,
            eal: self.eal.split_whitespace().map(Into::into).collect(),
            records: self.records.unwrap_or_default(),
        }
    }

    /// Has this program, or another build of it, measure a scenario.
    fn in_a_process(
        &self,
        mut program: process::Command,
        name: &str,
        rate: Option<f64>,
    ) -> Result<Outcome, Failure> {
        let out = std::env::temp_dir().join(format!("wireglass-bench-{}-{name}", process::id()));
        let mut values = vec![
            ("--seconds", self.seconds.to_string()),
            ("--worker-core", self.worker_core.to_string()),
            ("--load-core", self.load_core.to_string()),
        ];
        values.extend(self.pool_core.map(|core| ("--pool-core", core.to_string())));
        values.extend(rate.map(|rate| ("--rate", rate.to_string())));
        let records = self.records.and_then(|records| records.to_possible_value());
        values.extend(records.map(|records| ("--records", records.get_name().to_owned())));
        program.arg("one").arg(name).arg("--out").arg(&out).arg(format!("--eal={}", self.eal));
        values.iter().for_each(|(key, value)| {
            program.arg(key).arg(value);
        });
        let output =
            program.output().map_err(|error| format!("{}: {error}", program.get_program().display()))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            return Err(String::from_utf8_lossy(&said).trim().to_owned().into());
        }
        let outcome = serde_json::from_slice(&fs::read(&out)?)?;
        fs::remove_file(out)?;
        Ok(outcome)
    }
}

fn read(path: &Path) -> Result<Run, Failure> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn show(run: &Run, plots: Option<&Path>) -> Result<(), Failure> {
    println!("{}\n{}", report::machine(&run.machine), report::HEAD);
    run.outcomes.iter().for_each(|outcome| println!("{}", report::line(outcome)));
    plots.map_or(Ok(()), |folder| report::plots(run, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str], alone: bool) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        chosen(&names, alone).unwrap().iter().map(Scenario::name).collect()
    }

    #[test]
    fn whole_names_are_one_scenario() {
        assert_eq!(names(&["throughput-inspect-64k"], false), ["throughput-inspect-64k"]);
        assert_eq!(names(&["throughput-inspect-64k"], true), ["alone-throughput-inspect-64k"]);
        assert_eq!(names(&["alone-throughput-inspect-64k"], false), ["alone-throughput-inspect-64k"]);
    }

    #[test]
    fn parts_of_names_are_of_one_kind() {
        assert!(names(&["inspect"], true).iter().all(|name| name.starts_with("alone-")));
        assert!(!names(&["inspect"], false).iter().any(|name| name.starts_with("alone-")));
        assert!(chosen(&["no such".into()], true).is_err());
    }
}
