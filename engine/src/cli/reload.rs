//! `wireglass reload`: has a running engine load its configuration anew.

use std::process::ExitCode;

use clap::Args;

use super::USAGE;
use super::plain::Plain;
use super::socket::EngineSocket;
use crate::control::client::{self, AskError};
use crate::control::protocol::Refusal;

const HELP: &str = "\
Example:
  wireglass check -c wire.toml && wireglass reload -c wire.toml

The engine reads the file that it was started with, and all files that it names, and says what has changed. Flows that begin later go
by the new settings, those that are there by their own until they end. A file with a fault changes nothing. What a running engine
cannot change (ports, threads) is named; docs/configuration.md lists it. The event log is reopened, as by SIGHUP, which does the same.

Exit status: 0 done; 1 faults (nothing has changed), or no engine; 2 wrong usage, or a configuration that names no socket.";

/// Have a running engine load its configuration anew.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    engine: EngineSocket,
}

pub(super) fn run(args: &ReloadArgs) -> ExitCode {
    let socket = match args.engine.path() {
        Ok(socket) => socket,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(USAGE);
        }
    };
    match client::reload(&socket) {
        Ok(done) => {
            println!("wireglass: generation {} is in effect", done.generation);
            match done.changed.as_slice() {
                [] => println!("wireglass: nothing has changed"),
                changed => println!("wireglass: changed: {}", Plain(&changed.join(", "))),
            }
            if !done.needs_restart.is_empty() {
                let keys = done.needs_restart.join(", ");
                println!(
                    "wireglass: changed, but not in effect before the engine is started anew: {}",
                    Plain(&keys)
                );
            }
            ExitCode::SUCCESS
        }
        Err(AskError::Refused(Refusal::Fault, faults)) => {
            faults.lines().for_each(|fault| eprintln!("{fault}"));
            eprintln!("wireglass: not reloaded; what was in effect stays so");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("wireglass: {}: {error}", socket.display());
            if matches!(error, AskError::Refused(Refusal::Request, _)) {
                eprintln!(
                    "wireglass: that engine is older than this command: restart it with this `wireglass`"
                );
            }
            ExitCode::FAILURE
        }
    }
}
