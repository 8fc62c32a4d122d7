//! `wireglass fleet`: who is in a fleet, how they are, and who is to be drained.

#[cfg(feature = "fleet")]
mod learned;
#[cfg(feature = "fleet")]
mod status;
#[cfg(feature = "fleet")]
pub(super) mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

const HELP: &str = "\
Examples:
  wireglass fleet status -c operator.toml
  wireglass fleet learned -c operator.toml
  wireglass fleet status -c operator.toml --json | jq '.engines[] | select(.draining)'
  wireglass fleet drain edge-2 -c operator.toml --wait 10m && ssh edge-2 systemctl restart wireglass
  wireglass fleet drain edge-2 -c operator.toml --undo

FILE needs only `[fleet]`: where etcd is, and who asks. An engine that is drained decrypts no new flow; with `fleet.on_drain = \"links\"` its
links go down when it has no decrypted flow left, so that routers choose others. docs/fleet.md says more.

Exit status: 0 done; 1 etcd does not answer, there is no such engine, or it is not empty in time; 2 wrong usage or configuration.";

/// See the engines of a fleet, or drain one.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct FleetArgs {
    #[command(subcommand)]
    what: What,
}

/// Where etcd is.
#[derive(Debug, Args)]
pub(super) struct FleetFile {
    /// Configuration with `[fleet]`: an engine's, or an operator's own
    #[arg(short, long = "config", value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show who is there: versions, generations, load, flows.
    Status {
        #[command(flatten)]
        file: FleetFile,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what engines tell each other of servers: how much, and whose chains were costly to verify.
    Learned {
        #[command(flatten)]
        file: FleetFile,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have an engine decrypt no new flow, until it is undone.
    Drain {
        /// Name of the engine
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        file: FleetFile,
        /// Wait until it has no decrypted flow left, for so long: 15m, 1h30m
        #[arg(long, value_name = "TIME", value_parser = super::orders::time, conflicts_with = "undo")]
        wait: Option<std::time::Duration>,
        /// Take it back
        #[arg(long)]
        undo: bool,
    },
}

#[cfg(feature = "fleet")]
pub(super) fn run(args: &FleetArgs) -> ExitCode {
    match &args.what {
        What::Status { file, json } => status::show(file, *json),
        What::Learned { file, json } => learned::show(file, *json),
        What::Drain { name, file, wait, undo } => status::drain(file, name, *wait, !undo),
    }
}

#[cfg(not(feature = "fleet"))]
pub(super) fn run(args: &FleetArgs) -> ExitCode {
    let (What::Status { file, .. } | What::Learned { file, .. } | What::Drain { file, .. }) = &args.what;
    without_etcd(file)
}

/// This build has no client of etcd's.
#[cfg(not(feature = "fleet"))]
pub(super) fn without_etcd(file: &FleetFile) -> ExitCode {
    let file = file.config.display();
    errln!("wireglass: {file}: this build was made without etcd's client: build with `--features fleet`");
    ExitCode::FAILURE
}
