//! Frames of 64 bytes.

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
    let mut frames = SmallFrames::start(ports, kind).ok_or("the generator's pool is empty")?;
    frames.run(warm_up(setting.time));
    let (before, passed) = (Reading::take(&mut rig, frames.busy())?, frames.passed);
    let mut rates = Vec::new();
    let mut mark = (before.clone(), passed);
    for _ in 0..PARTS {
        frames.run(setting.time / PARTS);
        let now = (Reading::take(&mut rig, frames.busy())?, frames.passed);
        rates.push((now.1 - mark.1) as f64 / now.0.core_seconds_since(&mark.0));
        mark = now;
    }
    let (after, now) = mark;
    after.since(&before, outcome);
    outcome.standard_error = standard_error(&rates);
    outcome.figure = (now - passed) as f64 / outcome.seconds / 1e6;
    outcome.unit = "Mpackets/s".into();
    count_losses(&after.figures, outcome);
    let lost = frames.stop();
    if lost > 0 {
        outcome.failures.insert("frames lost".into(), lost as u64);
    }
    finish(rig, outcome, || ())
}
