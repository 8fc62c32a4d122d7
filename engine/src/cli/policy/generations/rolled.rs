//! What the commands about a fleet's policy do.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::{GoOnArgs, HistoryArgs, PushArgs, RollbackArgs, RolloutArgs, StopArgs};
use crate::cli::fleet::FleetFile;
use crate::cli::fleet::store::{operator, view, with_store};
use crate::cli::orders::print_json;
use crate::cli::plain::{Plain, sentence};
use crate::cli::{USAGE, describe, print};
use crate::config::{self, POLICY_FILE};
use crate::fleet::bundle::Packed;
use crate::fleet::push::{self, Begun, PushError, Wishes, Word, ack_name, phase_name, standing};
use crate::fleet::schema::{Manifest, Phase, Rollout};
use crate::fleet::store::Store;
use crate::fleet::view::View;

/// How long etcd may be away while a roll-out is followed.
const OUTAGE: Duration = Duration::from_secs(60);

impl RolloutArgs {
    fn wishes(&self) -> Wishes {
        Wishes {
            by: operator(),
            note: self.note.chars().filter(|c| !c.is_control()).take(200).collect(),
            canary: self.canary.clone(),
            canary_seconds: self.alone.map(|time| time.as_secs()),
            patience: self.patience.as_secs(),
        }
    }
}

pub(crate) fn push(args: &PushArgs) -> ExitCode {
    let policy = if args.policy.is_dir() { args.policy.join(POLICY_FILE) } else { args.policy.clone() };
    if let Err(faults) = config::check_policy(&args.file.config, &policy) {
        errln!("{}", describe(&faults));
        return ExitCode::from(USAGE);
    }
    let packed = match Packed::of(&args.policy) {
        Ok(packed) => packed,
        Err(why) => {
            errln!("wireglass: {}", sentence(&why));
            return ExitCode::from(USAGE);
        }
    };
    let bytes: u64 = packed.files.iter().map(|(entry, _)| entry.size).sum();
    errln!("wireglass: in order: {} file(s), {bytes} bytes", packed.files.len());
    if args.dry_run {
        let lines =
            packed.files.iter().map(|(entry, _)| format!("{} {}\n", entry.sha256, Plain(&entry.path)));
        return print(lines.collect::<String>(), ExitCode::SUCCESS);
    }
    let wishes = args.rollout.wishes();
    with_store(&args.file, async |mut store| {
        let begun = push::push(&mut store, &packed, &wishes).await;
        follow(&mut store, begun, &args.file).await
    })
}

pub(crate) fn roll_back(args: &RollbackArgs) -> ExitCode {
    let wishes = args.rollout.wishes();
    with_store(&args.file, async |mut store| {
        let begun = push::roll_back(&mut store, args.generation, &wishes).await;
        follow(&mut store, begun, &args.file).await
    })
}

async fn follow(store: &mut Store, begun: Result<Begun, PushError>, file: &FleetFile) -> ExitCode {
    let Begun { generation, not_pruned } = match begun {
        Ok(begun) => begun,
        Err(why) => return failed(&why.to_string()),
    };
    errln!("wireglass: generation {generation} is published");
    if let Some(why) = not_pruned {
        errln!("wireglass: old generations are still in etcd, until the next push: {}", sentence(&why));
    }
    match push::follow(store, generation, OUTAGE, tell).await {
        Ok((view, rollout)) => end(&view, &rollout, file),
        Err(why) => failed(&why),
    }
}

fn tell(view: &View, rollout: &Rollout) {
    let generation = rollout.generation;
    let states = rollout
        .engines
        .iter()
        .map(|engine| format!("{} {}", Plain(engine), ack_name(view, engine, generation)));
    let states: Vec<_> = states.collect();
    errln!("wireglass: generation {generation}: {}: {}", phase_name(rollout.phase), states.join(", "));
}

fn end(view: &View, rollout: &Rollout, file: &FleetFile) -> ExitCode {
    let generation = rollout.generation;
    match (rollout.phase, &rollout.fault) {
        (Phase::Done, _) => {
            errln!("wireglass: generation {generation} is in force");
            ExitCode::SUCCESS
        }
        (Phase::Canary, _) => {
            let canary = rollout.canary.as_deref().unwrap_or_default();
            let file = file.config.display();
            errln!("wireglass: generation {generation} is in force only at {}", Plain(canary));
            errln!(
                "wireglass: next: `wireglass policy go-on -c {file}` for all engines, or `wireglass policy stop -c {file}`"
            );
            ExitCode::SUCCESS
        }
        (Phase::Force, _) => {
            let standing = standing(view, rollout);
            errln!("wireglass: generation {generation}: {}", sentence(&standing));
            failed(
                "engines that do not have it in force keep trying; a new push or `wireglass policy rollback` replaces it",
            )
        }
        (_, Some(fault)) => {
            let (engine, fault) = (Plain(&fault.engine), fault.fault.to_string());
            fault.lines().for_each(|line| errln!("wireglass: {engine}: {}", sentence(line)));
            failed(&format!("generation {generation} is stopped; the previous policy stays in force"))
        }
        (_, None) => failed(&format!("generation {generation} was stopped by an operator")),
    }
}

pub(crate) fn go_on(args: &GoOnArgs) -> ExitCode {
    with_store(&args.file, async |mut store| {
        let said = push::say(&mut store, Word::GoOn).await;
        let generation = match said {
            Ok(generation) => generation,
            Err(why) => return failed(&why.to_string()),
        };
        match push::follow(&mut store, generation, OUTAGE, tell).await {
            Ok((view, rollout)) => end(&view, &rollout, &args.file),
            Err(why) => failed(&why),
        }
    })
}

pub(crate) fn stop(args: &StopArgs) -> ExitCode {
    with_store(&args.file, async |mut store| match push::say(&mut store, Word::Stop).await {
        Ok(generation) => {
            errln!("wireglass: generation {generation} is stopped");
            ExitCode::SUCCESS
        }
        Err(why) => failed(&why.to_string()),
    })
}

#[derive(Serialize)]
struct Entry<'v> {
    generation: u64,
    /// All engines are to have it.
    active: bool,
    #[serde(flatten)]
    manifest: &'v Manifest,
}

pub(crate) fn history(args: &HistoryArgs) -> ExitCode {
    with_store(&args.file, async |mut store| {
        let view = match view(&mut store).await {
            Ok(view) => view,
            Err(status) => return status,
        };
        let active = view.active.as_ref().map(|active| active.value.generation);
        let entries = view.generations.iter().rev();
        let mut text = String::new();
        for (number, kept) in entries {
            let (generation, manifest, active) = (*number, &kept.value, active == Some(*number));
            if args.json {
                print_json(&Entry { generation, active, manifest });
                continue;
            }
            let at = i64::try_from(manifest.at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
            let at = at.map_or_else(|| "-".into(), |at| at.to_string());
            let back = manifest.rolls_back_to.map_or_else(String::new, |to| format!(", back to {to}"));
            let mark = if active { "*" } else { " " };
            text.push_str(&format!(
                "{mark} {generation:<6} {at}  {}  {} file(s){back}  {}\n",
                Plain(&manifest.by),
                manifest.files.len(),
                Plain(&manifest.note),
            ));
        }
        print(text, ExitCode::SUCCESS)
    })
}

fn failed(why: &str) -> ExitCode {
    errln!("wireglass: {}", sentence(why));
    ExitCode::FAILURE
}
