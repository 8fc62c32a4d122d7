//! Frames of 64 bytes.

use super::reading::{Reading, count_losses};
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
    frames.run(setting.time);
    let (after, now) = (Reading::take(&mut rig, frames.busy())?, frames.passed);
    after.since(&before, outcome);
    outcome.figure = (now - passed) as f64 / outcome.seconds / 1e6;
    outcome.unit = "Mpackets/s".into();
    count_losses(&after.figures, outcome);
    let lost = frames.stop();
    if lost > 0 {
        outcome.failures.insert("frames lost".into(), lost as u64);
    }
    finish(rig, outcome, || ())
}
