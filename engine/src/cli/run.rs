//! `wireglass run`: the engine on real ports.

use std::process::ExitCode;

use crate::config::Config;

/// Placeholder: the ports are not wired to the workers yet.
pub fn run(config: Config) -> ExitCode {
    eprintln!("wireglass: {} is in order, but this build cannot run", config.file.display());
    ExitCode::FAILURE
}
