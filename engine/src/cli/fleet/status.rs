//! `wireglass fleet status` and `wireglass fleet drain`.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::FleetFile;
use super::store::{failed, operator, view, with_store};
use crate::cli::orders::print_json;
use crate::cli::plain::{Plain, sentence};
use crate::cli::print;
use crate::control::unix_now;
use crate::fleet::push::{self, phase_name, standing};
use crate::fleet::schema::{Phase, Presence, Rollout};
use crate::fleet::view::View;

/// How often it is looked whether an engine is empty.
const LOOK: Duration = Duration::from_millis(500);

/// A fleet, as JSON has it.
#[derive(Serialize)]
struct Fleet<'v> {
    /// The generation that all are to have; none: none was pushed.
    active: Option<u64>,
    engines: Vec<Engine<'v>>,
    /// The last roll-out.
    rollout: Option<&'v Rollout>,
    /// Where the generation is in force that is being put in force, and where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<String>,
    /// Engines that are to be drained, and are not there.
    drained_away: Vec<&'v String>,
}

#[derive(Serialize)]
struct Engine<'v> {
    name: &'v str,
    #[serde(flatten)]
    presence: &'v Presence,
    /// Seconds since it came.
    age: u64,
    /// Why it does not go by the generation that all are to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

impl<'v> Fleet<'v> {
    fn of(view: &'v View, now: u64) -> Self {
        let engine = |name: &'v String| {
            let presence = &view.engines[name].value;
            let fault = view.acks.get(name).and_then(|ack| ack.value.fault.as_ref());
            let age = now.saturating_sub(presence.since);
            Engine { name, presence, age, fault: fault.map(ToString::to_string) }
        };
        let rollout = view.rollout.as_ref().map(|rollout| &rollout.value);
        let forced = rollout.filter(|rollout| rollout.phase == Phase::Force);
        Self {
            active: view.active.as_ref().map(|active| active.value.generation),
            engines: view.engines.keys().map(engine).collect(),
            rollout,
            standing: forced.map(|rollout| standing(view, rollout)),
            drained_away: view.drains.iter().filter(|name| !view.engines.contains_key(*name)).collect(),
        }
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "ENGINE                VERSION   AGE        GENERATION  LOAD  FLOWS      DECRYPTED  NEW/S    STATE\n",
        );
        for Engine { name, presence: p, age, fault } in &self.engines {
            let load = p.load.map_or_else(|| "-".into(), |load| format!("{load}%"));
            let is_drained = p.draining || p.operator_drains;
            let state = match (is_drained, fault, self.active) {
                (true, _, _) => drained(p),
                (_, Some(fault), _) => format!("cannot have it: {}", sentence(fault)),
                (_, _, Some(active)) if p.policy && p.generation != active => "behind".to_owned(),
                _ => "up".to_owned(),
            };
            let _ = writeln!(
                text,
                "{name:<21} {:<9} {:<10} {:<11} {load:<5} {:<10} {:<10} {:<8} {state}",
                Plain(&p.version).to_string(),
                time(*age),
                p.generation,
                p.flows,
                p.decrypted,
                p.flows_per_second,
            );
        }
        for name in &self.drained_away {
            let _ = writeln!(text, "{name:<21} not there, and to be drained when it comes");
        }
        if let Some(rollout) = self.rollout {
            let _ = write!(text, "generation {}: {}", rollout.generation, phase_name(rollout.phase));
            if let Some(standing) = &self.standing {
                let _ = write!(text, ": {}", sentence(standing));
            }
            if let Some(fault) = &rollout.fault {
                let _ = write!(text, ": {}: {}", Plain(&fault.engine), sentence(&fault.fault.to_string()));
            }
            text.push('\n');
        }
        text
    }
}

/// How far it is, and whose order it is.
fn drained(p: &Presence) -> String {
    let how = if p.decrypted == 0 { "drained" } else { "draining" };
    match (p.draining, p.operator_drains) {
        (true, true) => format!("{how}, by its operator, too"),
        (false, _) => format!("{how} by its operator"),
        (true, false) => how.to_owned(),
    }
}

pub(super) fn time(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
        (days, hours, _) => format!("{days}d{hours:02}h"),
    }
}

pub(super) fn show(file: &FleetFile, json: bool) -> ExitCode {
    with_store(file, async |mut store| {
        let view = match view(&mut store).await {
            Ok(view) => view,
            Err(status) => return status,
        };
        let fleet = Fleet::of(&view, unix_now());
        if json {
            print_json(&fleet);
            return ExitCode::SUCCESS;
        }
        print(fleet.table(), ExitCode::SUCCESS)
    })
}

pub(super) fn drain(file: &FleetFile, name: &str, wait: Option<Duration>, is_on: bool) -> ExitCode {
    with_store(file, async |mut store| {
        let known = match store.snapshot(|_, _| {}).await {
            Ok((view, _)) => view.engines.contains_key(name) || view.drains.contains(name),
            Err(why) => return failed(&why),
        };
        if !known {
            errln!("wireglass: no engine {} is there: `wireglass fleet status`", Plain(name));
            return ExitCode::FAILURE;
        }
        if let Err(why) = push::drain(&mut store, name, &operator(), is_on).await {
            return failed(&why);
        }
        if !is_on {
            errln!("wireglass: {name} is no longer drained");
            return ExitCode::SUCCESS;
        }
        errln!("wireglass: {name} is drained: it decrypts no new flow");
        let Some(wait) = wait else { return ExitCode::SUCCESS };
        let until = Instant::now() + wait;
        let mut told = None;
        while Instant::now() < until {
            let left = match store.snapshot(|_, _| {}).await {
                Ok((view, _)) => view.engines.get(name).map(|kept| kept.value.clone()),
                Err(why) => return failed(&why),
            };
            match left {
                None => {
                    errln!("wireglass: {name} is gone");
                    return ExitCode::SUCCESS;
                }
                Some(presence) if presence.draining && presence.decrypted == 0 => {
                    errln!("wireglass: {name} is empty");
                    return ExitCode::SUCCESS;
                }
                Some(presence) if told != Some(presence.decrypted) => {
                    told = Some(presence.decrypted);
                    errln!("wireglass: {} decrypted flow(s) are left", presence.decrypted);
                }
                Some(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
        errln!("wireglass: {name} is not empty yet; the order stands");
        ExitCode::FAILURE
    })
}
