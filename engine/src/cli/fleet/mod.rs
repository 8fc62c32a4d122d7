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

FILE needs only the section `[fleet]`: where etcd is, and who asks. A drained engine decrypts no new flow. With
`fleet.on_drain = \"links\"` it also takes its links down once no decrypted flow is left, so that routers choose another
engine. docs/fleet.md says more.

Exit status: 0 done; 1 etcd does not answer, there is no such engine, or decrypted flows were left when --wait was over;
2 wrong usage or configuration.";

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
    /// Configuration with a `[fleet]` section: an engine's, or an operator's own
    #[arg(short, long = "config", value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the engines: versions, policy generations, load, flows.
    Status {
        #[command(flatten)]
        file: FleetFile,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what the engines share about servers: how much, and whose chains were costly to verify.
    Learned {
        #[command(flatten)]
        file: FleetFile,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Drain an engine: it decrypts no new flow until --undo.
    Drain {
        /// Name of the engine
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        file: FleetFile,
        /// Wait until it has no decrypted flow left, at most this long: 15m, 1h30m
        #[arg(long, value_name = "TIME", value_parser = super::orders::time, conflicts_with = "undo")]
        wait: Option<std::time::Duration>,
        /// End the drain
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
