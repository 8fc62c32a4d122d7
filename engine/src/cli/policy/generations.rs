//! `wireglass policy push` and what belongs to it: the policy of a fleet, in generations.

#[cfg(feature = "fleet")]
mod rolled;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::fleet::FleetFile;
use crate::cli::orders::time;

const HELP: &str = "\
Examples:
  wireglass policy push policy/ -c operator.toml --note 'block ads'
  wireglass policy push edge.toml -c operator.toml --canary edge-1 --for 10m
  wireglass policy push edge.toml -c /etc/wireglass/wireglass.toml --dry-run

A policy is a file with the sections that engines have in common: [policy], [[rule]], [content], [[header]], [profile.NAME], [[list]],
[signatures.NAME], [icap.NAME] and [yara.NAME]; they stand in place of those in the engines' own files. What it names (lists, the block page,
rules of YARA) goes with it, and lies beside or below it. Of a folder, which has a `policy.toml`, all files go.

First it is checked here: where FILE is an engine's, as that engine would. Then all engines load it, and only when all have, it is put in force.
One that cannot load it stops the roll-out, and says why: engine, file, line and key. Flows that begin later go by it, those that are there by
their own until they end.

Exit status: 0 in force at all engines, or at the canary; 1 stopped, in force at some only, or etcd does not answer; 2 wrong usage, or faults.";

/// Publish a policy to all engines of a fleet, and put it in force.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct PushArgs {
    /// File or folder with the policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    file: FleetFile,
    #[command(flatten)]
    rollout: RolloutArgs,
    /// Check it, show what would go, and publish nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct RolloutArgs {
    /// What to say about it in the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Put it in force at this engine first
    #[arg(long, value_name = "ENGINE")]
    canary: Option<String>,
    /// For so long, then at all [default: until `wireglass policy go-on`]
    #[arg(long = "for", value_name = "TIME", value_parser = time, requires = "canary")]
    alone: Option<Duration>,
    /// How long engines may take to load it, and to put it in force
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2m")]
    patience: Duration,
}

const HISTORY_HELP: &str = "\
Exit status: 0 done; 1 etcd does not answer; 2 wrong usage or configuration.";

/// Show the generations of a fleet's policy, the newest first.
#[derive(Debug, Args)]
#[command(after_help = HISTORY_HELP)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    file: FleetFile,
    /// One JSON object each
    #[arg(long)]
    json: bool,
}

const ROLL_BACK_HELP: &str = "\
The files of the earlier generation get a new number, and are rolled out as `wireglass policy push` does it.

Exit status: 0 in force at all engines, or at the canary; 1 stopped, in force at some only, or etcd does not answer; 2 wrong usage or configuration.";

/// Put the policy of an earlier generation in force again.
#[derive(Debug, Args)]
#[command(after_help = ROLL_BACK_HELP)]
pub(super) struct RollbackArgs {
    /// Its number [default: the one that was in force before]
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
    #[command(flatten)]
    file: FleetFile,
    #[command(flatten)]
    rollout: RolloutArgs,
}

const WORD_HELP: &str = "\
Exit status: 0 done; 1 no roll-out is on its way, or etcd does not answer; 2 wrong usage or configuration.";

/// Put what the canary has in force at all engines.
#[derive(Debug, Args)]
#[command(after_help = WORD_HELP)]
pub(super) struct GoOnArgs {
    #[command(flatten)]
    file: FleetFile,
}

/// Stop a roll-out that is on its way; the canary goes back to what the others have.
#[derive(Debug, Args)]
#[command(after_help = WORD_HELP)]
pub(super) struct StopArgs {
    #[command(flatten)]
    file: FleetFile,
}

#[cfg(feature = "fleet")]
pub(super) use rolled::{go_on, history, push, roll_back, stop};

#[cfg(not(feature = "fleet"))]
mod without {
    use std::process::ExitCode;

    use super::{GoOnArgs, HistoryArgs, PushArgs, RollbackArgs, StopArgs};
    use crate::cli::fleet::without_etcd;

    pub(crate) fn push(args: &PushArgs) -> ExitCode {
        let PushArgs { policy: _, file, rollout, dry_run: _ } = args;
        let super::RolloutArgs { note: _, canary: _, alone: _, patience: _ } = rollout;
        without_etcd(file)
    }

    pub(crate) fn history(args: &HistoryArgs) -> ExitCode {
        let HistoryArgs { file, json: _ } = args;
        without_etcd(file)
    }

    pub(crate) fn roll_back(args: &RollbackArgs) -> ExitCode {
        let RollbackArgs { generation: _, file, rollout: _ } = args;
        without_etcd(file)
    }

    pub(crate) fn go_on(args: &GoOnArgs) -> ExitCode {
        without_etcd(&args.file)
    }

    pub(crate) fn stop(args: &StopArgs) -> ExitCode {
        without_etcd(&args.file)
    }
}

#[cfg(not(feature = "fleet"))]
pub(super) use without::{go_on, history, push, roll_back, stop};
