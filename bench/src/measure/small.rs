//! Frames of 64 bytes.

use super::alone::Parts;
use super::reading::{Reading, count_losses};
use super::spread::{PARTS, standard_error};
use super::{Failure, Setting, finish};
use crate::load::{Kind, LoadPort, SmallFrames};
use crate::outcome::Outcome;
use crate::rig::Rig;
use crate::scenario::warm_up;

pub(super) fn measure(
    kind: Kind,
    setting: &Setting,
    mut rig: Rig,
    ports: [LoadPort; 2],
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let engine = rig.timed_worker().cloned();
    let mut frames =
        SmallFrames::start(ports, kind, engine.clone()).ok_or("the generator's pool is empty")?;
    frames.run(warm_up(setting.time));
    let (before, passed) = (Reading::take(&mut rig, frames.busy())?, frames.passed);
    let mut rates = Vec::new();
    let mut mark = (before.clone(), passed);
    let (mut alone, mut sent) = (Parts::default(), frames.sent());
    engine.iter().for_each(|engine| engine.set_measuring(true));
    for _ in 0..PARTS {
        frames.run(setting.time / PARTS);
        let now = (Reading::take(&mut rig, frames.busy())?, frames.passed);
        rates.push((now.1 - mark.1) as f64 / now.0.core_seconds_since(&mark.0));
        let sent_before = std::mem::replace(&mut sent, frames.sent());
        alone.note([&mark.0, &now.0], sent - sent_before, None);
        mark = now;
    }
    engine.iter().for_each(|engine| engine.set_measuring(false));
    let (after, now) = mark;
    after.since(&before, outcome);
    outcome.standard_error = standard_error(&rates);
    let alone = alone.conclude(outcome, |part| part.packets as f64 / 1e6);
    outcome.figure = alone.unwrap_or((now - passed) as f64 / outcome.seconds / 1e6);
    outcome.unit = "Mpackets/s".into();
    count_losses(&after.figures, outcome);
    let lost = frames.stop();
    if lost > 0 {
        outcome.failures.insert("frames lost".into(), lost as u64);
    }
    finish(rig, outcome, || ())
}
