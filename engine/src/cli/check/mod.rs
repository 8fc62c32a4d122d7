//! `wireglass check`: whether a configuration is in order, and what it means.

mod content;
mod machine;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::summary::{NOTE, Summary};
use super::{USAGE, describe, print};
use crate::config::{Config, Faults};

const HELP: &str = "\
Examples:
  wireglass check -c wire.toml && wireglass run -c wire.toml
  wireglass check -c wire.toml --strict --json | jq -r '.faults[].message, .notes[]'

A fault is one line: FILE:LINE: KEY: what was expected, found ...
A note is something that works but was hardly meant: a rule that matches nothing, a CA that expires soon, a folder that
others may write to. The engine starts in spite of notes, but for those on cores and ports of this machine.

Certificates and keys are read as well (a key on a token signs once). Ports and cores are tried only by `run`;
`wireglass doctor -c FILE` checks the machine for them.

Exit status: 0 no faults; 1 there are notes, with --strict; 2 faults.";

/// Exit status of a configuration that is in order, but for notes, where none are wanted.
const NOTES: u8 = 1;

/// Check a configuration as `run` would, and say what it means. Starts nothing.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct CheckArgs {
    /// Configuration, in TOML; docs/configuration.md lists all keys
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Fail on notes as well, for automated roll-outs
    #[arg(long)]
    strict: bool,
    /// Do not read the CAs' keys, for users who may not; the signer reports faults in them at the start
    #[arg(long)]
    without_keys: bool,
    /// Print one JSON object with faults and notes, without the summary
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// The file, as it was given.
    file: String,
    /// The engine would start with it.
    in_order: bool,
    faults: Vec<FaultRecord>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct FaultRecord {
    /// Where it is not the configuration itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// From 1; none: the file as a whole.
    line: Option<usize>,
    /// Dotted; none: it is about no key.
    key: Option<String>,
    message: String,
}

impl Report {
    fn of_faults(faults: Faults) -> Self {
        let record = |fault: crate::config::Fault| FaultRecord {
            file: fault.file,
            line: fault.line,
            key: fault.key,
            message: fault.message,
        };
        Self {
            file: faults.file,
            in_order: false,
            faults: faults.list.into_iter().map(record).collect(),
            notes: Vec::new(),
        }
    }

    fn print(&self, status: ExitCode) -> ExitCode {
        match serde_json::to_string(self) {
            Ok(json) => print(format_args!("{json}\n"), status),
            Err(error) => {
                errln!("wireglass: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let load = if args.without_keys { Config::load_without_ca_keys } else { Config::load };
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(faults) if args.json => return Report::of_faults(faults).print(ExitCode::from(USAGE)),
        Err(faults) => {
            errln!("{}", describe(&faults));
            return ExitCode::from(USAGE);
        }
    };
    let file = config.file.display().to_string();
    let tls = if args.without_keys { config.tls_context_without_keys() } else { config.tls_context() };
    let (roots, no_roots, clock) = match tls {
        Ok(tls) => (tls.roots(), tls.no_roots().to_vec(), config.clock_doubt(&tls)),
        Err(error) if args.json => {
            let fault = FaultRecord { file: None, line: None, key: None, message: error.to_string() };
            let report = Report { file, in_order: false, faults: vec![fault], notes: Vec::new() };
            return report.print(ExitCode::from(USAGE));
        }
        Err(error) => {
            errln!("{file}: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let machine = machine::notes(&config);
    let text = Summary { config: &config, roots, no_roots, clock, machine }.to_string();
    let notes: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(NOTE)).map(str::to_owned).collect();
    let status = if args.strict && !notes.is_empty() { ExitCode::from(NOTES) } else { ExitCode::SUCCESS };
    if args.json {
        Report { file, in_order: true, faults: Vec::new(), notes }.print(status)
    } else {
        print(text, status)
    }
}
