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

The engine reads the file that it was started with, and all files named in it, and says what has changed. New flows use
the new settings; existing flows keep theirs until they end. If the file has a fault, nothing changes. Settings that need
a restart (ports, threads) are named; docs/configuration.md lists them. The event log is reopened as well. SIGHUP does
the same.

Exit status: 0 done; 1 faults (nothing has changed), or no engine runs; 2 wrong usage, or a configuration without
`control.socket`.";

/// Make a running engine load its configuration again. Flows keep running.
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
                    "wireglass: changed, but in effect only after a restart of the engine: {}\n",
                    Plain(&done.needs_restart.join(", "))
                ));
            }
            super::print(said, ExitCode::SUCCESS)
        }
        Err(AskError::Refused(Refusal::Fault, faults)) => {
            faults.lines().for_each(|fault| errln!("{fault}"));
            errln!(
                "wireglass: not reloaded: the previous configuration stays in effect. Fix the faults and reload again"
            );
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
