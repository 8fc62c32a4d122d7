//! `wireglass doctor`: what stands between this machine and full speed.
//!
//! [`facts`] reads the machine, [`plan`] the configuration and its files, [`findings`] judges both, [`render`] prints.

mod asymmetry;
mod capture;
mod confined;
pub(super) mod facts;
pub(super) mod findings;
mod fleet;
mod icap;
mod link_state;
pub(super) mod plan;
mod render;
mod sockets;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use self::confined::Running;
use self::facts::Facts;
use self::findings::{Finding, Level, Question};
use self::icap::icap_finding;
use self::plan::Plan;
use super::{USAGE, describe, printed};
use crate::config::{Config, IcapServer};
use crate::driver::PortCapabilities;
use crate::icap::{Settings, probe};

const HELP: &str = "\
Examples:
  wireglass doctor                          check the machine alone
  wireglass doctor -c wire.toml             check it against a configuration
  wireglass doctor -c wire.toml --ports     also start the ports, before the engine runs
  wireglass doctor --json | jq '.findings[] | select(.level == \"bad\") | .fix'

Each finding is one of:
  good  nothing to do
  POOR  costs speed or safety
  BAD   keeps the engine from working
  -     worth knowing
Below a finding stand its meaning and the command that fixes it. The doctor changes nothing. Without --ports it
touches no port, so you can run it beside a running engine.

Exit status, for scripts: 0 nothing is in the way; 1 something is BAD, or the ports cannot be checked; 2 wrong usage
or configuration; 3 something is POOR, nothing BAD.";

/// Exit status where nothing is worse than poor.
const POOR: u8 = 3;

/// Check this machine: what keeps the engine from running, or from running at full speed, and how to fix it.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct DoctorArgs {
    /// Configuration that the engine will run with on this machine
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Start the ports, check their links and offloads, and close them again; refused while an engine uses them
    #[arg(long, requires = "config")]
    ports: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// A folder that looks like another machine
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'f> {
    /// Nothing is poor or bad.
    good: bool,
    findings: &'f [Finding],
}

/// Runs the command.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let config = match args.config.as_deref().map(Config::load).transpose() {
        Ok(config) => config,
        Err(faults) => {
            errln!("{}", describe(&faults));
            return ExitCode::from(USAGE);
        }
    };
    let ports = match config.as_ref().filter(|_| args.ports).map(open_ports).transpose() {
        Ok(ports) => ports,
        Err(message) => {
            errln!("wireglass: --ports: {message}");
            return ExitCode::FAILURE;
        }
    };
    let plan = config.as_ref().map(Plan::of);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let records = config.as_ref().map(|config| config.crypto.clone()).unwrap_or_default();
    let question = Question {
        facts: &Facts::read(&args.root),
        plan: plan.as_ref(),
        ports: ports.as_deref(),
        records: records.record_libraries_probed(),
        now: now.try_into().unwrap_or(i64::MAX),
    };
    let mut findings = question.judge();
    findings.extend(config.iter().flat_map(|config| &config.icap.servers).flat_map(probed));
    let socket = config.as_ref().and_then(|config| config.control.socket.as_deref());
    let running = socket.and_then(|socket| Running::at(&args.root, socket));
    findings.extend(running.iter().flat_map(Running::findings));
    findings.extend(socket.and_then(fleet::of_engine));
    findings.extend(socket.and_then(asymmetry::of_engine));
    let has = |level| findings.iter().any(|finding| finding.level == level);
    let status = match (has(Level::Bad), has(Level::Poor)) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(POOR),
        (false, false) => ExitCode::SUCCESS,
    };
    printed(print(&findings, status == ExitCode::SUCCESS, args.json), status)
}

/// What an ICAP server makes of the test file of EICAR.
fn probed(server: &IcapServer) -> impl Iterator<Item = Finding> {
    server.services().map(|each| {
        let Settings { service, method, .. } = each.settings();
        let name = format!("{} at {service}", server.name);
        icap_finding(&name, *method, &probe(each).map_err(|failure| failure.to_string()))
    })
}

fn print(findings: &[Finding], good: bool, json: bool) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer(&mut out, &Report { good, findings })?;
        writeln!(out)?;
    } else {
        write!(out, "{}", render::Text(findings))?;
    }
    out.flush()
}

/// A running engine would lose frames to a second user of its ports, so it is not tried beside one.
fn open_ports(config: &Config) -> Result<Vec<PortCapabilities>, String> {
    if config.control.socket.as_ref().is_some_and(|socket| UnixStream::connect(socket).is_ok()) {
        return Err(
            "an engine runs with this configuration, and has the ports; without --ports it is not disturbed"
                .into(),
        );
    }
    look(config)
}

#[cfg(feature = "dpdk")]
fn look(config: &Config) -> Result<Vec<PortCapabilities>, String> {
    super::ports::ports_are_free(config)?;
    super::ports::ports_can_open(config)?;
    let arguments = super::ports::eal_arguments(config);
    let ports = super::ports::wire_ports(config);
    crate::driver::dpdk::probe::look(&arguments, &ports, config.workers.cores.len())
        .map_err(|error| error.to_string())
}

#[cfg(not(feature = "dpdk"))]
fn look(_: &Config) -> Result<Vec<PortCapabilities>, String> {
    Err("this build has no ports: build with `cargo build --release --features dpdk`".into())
}
