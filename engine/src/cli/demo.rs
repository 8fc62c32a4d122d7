//! `wireglass demo`: an interception in one process, on ports in memory.

use std::process::ExitCode;

/// See an interception at work, in one process: no network card, no root.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Placeholder: there is nothing to show yet.
pub fn run(_args: Args) -> ExitCode {
    eprintln!("wireglass: this build has no demo");
    ExitCode::FAILURE
}
