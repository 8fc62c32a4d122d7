//! `wireglass log-level`: how much a running engine says.

use std::process::ExitCode;

use clap::Args;

use super::orders::print_json;
use super::socket::EngineSocket;
use crate::control::client;
use crate::control::operate::{LevelRequest, LogLevel};

const HELP: &str = "\
Example:
  wireglass log-level debug

The level lasts until the next reload or start; `log.level` sets it again then. An engine that was started with RUST_LOG
ignores this command, and says so.

Exit status: 0 done; 1 no engine runs, or it uses RUST_LOG; 2 wrong usage or configuration.";

/// Make a running engine log more messages, or fewer.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct LogLevelArgs {
    #[command(flatten)]
    engine: EngineSocket,
    /// Log messages of this severity and worse
    #[arg(value_enum)]
    level: LogLevel,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &LogLevelArgs) -> ExitCode {
    match args.engine.ask(|socket| client::log_level(socket, LevelRequest { level: args.level })) {
        Ok(level) if args.json => print_json(&LevelRequest { level }),
        Ok(level) => errln!("wireglass: messages of level {level} and worse, until the next reload"),
        Err(status) => return status,
    }
    ExitCode::SUCCESS
}
