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
            errln!("{message}");
            return ExitCode::from(USAGE);
        }
    };
    match client::reload(&socket) {
        Ok(done) => {
            let mut said = format!("wireglass: generation {} is in effect\n", done.generation);
            match done.changed.as_slice() {
                [] => said.push_str("wireglass: nothing has changed\n"),
                changed => said.push_str(&format!("wireglass: changed: {}\n", Plain(&changed.join(", ")))),
            }
            if !done.needs_restart.is_empty() {
                said.push_str(&format!(
                    "wireglass: changed, but not in effect before the engine is started anew: {}\n",
                    Plain(&done.needs_restart.join(", "))
                ));
            }
            super::print(said, ExitCode::SUCCESS)
        }
        Err(AskError::Refused(Refusal::Fault, faults)) => {
            faults.lines().for_each(|fault| errln!("{fault}"));
            errln!("wireglass: not reloaded; what was in effect stays so");
            ExitCode::FAILURE
        }
        Err(error) => {
            errln!("wireglass: {}: {error}", socket.display());
            if matches!(error, AskError::Refused(Refusal::Request, _)) {
                errln!("wireglass: that engine is older than this command: restart it with this `wireglass`");
            }
            ExitCode::FAILURE
        }
    }
}
