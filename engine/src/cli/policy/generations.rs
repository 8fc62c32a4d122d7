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

A policy is a file with the sections that all engines share: [policy], [[rule]], [content], [[header]],
[profile.NAME], [[list]], [signatures.NAME], [icap.NAME] and [yara.NAME]. They replace those sections in the
engines' own files. Files that it names (lists, the block page, YARA rules) go with it, and must lie beside or below
it. Of a folder, which must have a `policy.toml`, all files go.

What happens:
  1. The policy is checked here. If FILE is an engine's configuration, it is checked as that engine would.
  2. All engines load it. If one cannot, the roll-out stops and says why: engine, file, line and key.
  3. When all have loaded it, they all put it in force. New flows use it; existing flows keep their policy until they end.

Next: `wireglass fleet status` shows the generation of each engine, `wireglass policy rollback` goes back.

Exit status: 0 in force at all engines, or at the canary; 1 stopped, in force at some engines only, or etcd does not
answer; 2 wrong usage, or faults.";

/// Roll a policy out to all engines of a fleet.
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
    /// Check the policy and show what would be sent; publish nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct RolloutArgs {
    /// Note for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Let this engine use it first
    #[arg(long, value_name = "ENGINE")]
    canary: Option<String>,
    /// How long only the canary uses it, before all do: 10m, 2h [default: until `wireglass policy go-on`]
    #[arg(long = "for", value_name = "TIME", value_parser = time, requires = "canary")]
    alone: Option<Duration>,
    /// How long engines may take to load it, and then to use it
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2m")]
    patience: Duration,
}

const HISTORY_HELP: &str = "\
Exit status: 0 done; 1 etcd does not answer; 2 wrong usage or configuration.";

/// Show the generations of a fleet's policy, newest first.
#[derive(Debug, Args)]
#[command(after_help = HISTORY_HELP)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    file: FleetFile,
    /// Print one JSON object for each generation
    #[arg(long)]
    json: bool,
}

const ROLL_BACK_HELP: &str = "\
Example:
  wireglass policy rollback -c operator.toml --note 'blocked too much'

The files of the earlier generation get a new number, and are rolled out as by `wireglass policy push`.

Exit status: 0 in force at all engines, or at the canary; 1 stopped, in force at some engines only, or etcd does not
answer; 2 wrong usage or configuration.";

/// Roll out the policy of an earlier generation again.
#[derive(Debug, Args)]
#[command(after_help = ROLL_BACK_HELP)]
pub(super) struct RollbackArgs {
    /// Number of the generation, from `wireglass policy history` [default: the previous one]
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
    #[command(flatten)]
    file: FleetFile,
    #[command(flatten)]
    rollout: RolloutArgs,
}

const WORD_HELP: &str = "\
Exit status: 0 done; 1 no roll-out is under way, or etcd does not answer; 2 wrong usage or configuration.";

/// Roll the canary's policy out to all engines.
#[derive(Debug, Args)]
#[command(after_help = WORD_HELP)]
pub(super) struct GoOnArgs {
    #[command(flatten)]
    file: FleetFile,
}

/// Stop a roll-out that is under way; the canary goes back to the policy of the others.
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
