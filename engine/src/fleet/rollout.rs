//! The roll-out of a generation, as each engine sees and moves it. Nobody leads: whoever sees that all are ready takes the next step, and etcd lets
//! one of them.
//!
//! ```text
//! push ──► load ──────────────► force ──► done        every engine has loaded it before any has it in force
//!           │ └► canary ────────► │                   but the canary, which has it in force alone for a while
//!           └──────┴──────────────┴──► stopped        one cannot have it
//! ```
//! No clock, no store: it is told what is in etcd, and what time has passed, and says what is to be done.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::Place;
use super::schema::{Ack, AckState, Active, EngineFault, FaultRecord, Phase, Rollout, SCHEMA};
use super::view::View;

/// Generations of which it is remembered that they cannot be had.
const MAX_FAILED: usize = 16;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Fetch this generation, read, check and compile it. [`Member::loaded`] says what came of it.
    Load(u64),
    /// Put it in force; 0: the engine's own file. [`Member::put_in_force`] says what came of it.
    PutInForce(u64),
    /// Say how far this engine is.
    Acknowledge(Ack),
    /// Take the next step, if all conditions still hold.
    Advance(Step),
}

/// The next step of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is to be written.
    pub rollout: Rollout,
    /// What all engines go by from then on.
    pub activate: Option<Active>,
    /// Keys that must be as they were seen: `mod_revision`, 0 for a key that is not there.
    pub conditions: Vec<(Place, i64)>,
}

/// What an engine is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Nothing,
    Loaded(u64),
    InForce(u64),
}

/// An engine of a fleet.
#[derive(Debug)]
pub struct Member {
    name: String,
    in_force: u64,
    loaded: Option<u64>,
    failed: BTreeMap<u64, FaultRecord>,
    is_busy: bool,
    said: Option<Ack>,
    /// The revision of the roll-out that a step was taken from.
    stepped: i64,
    /// The phase that is waited for, since when, and since when the canary has it in force.
    waits: Option<Waits>,
}

#[derive(Clone, Copy, Debug)]
struct Waits {
    phase: (u64, Phase),
    since: Duration,
    canary_since: Option<Duration>,
}

impl Member {
    /// An engine with this name, which goes by this generation; 0: by its own file.
    pub fn new(name: &str, in_force: u64) -> Self {
        Self {
            name: name.to_owned(),
            in_force,
            loaded: None,
            failed: BTreeMap::new(),
            is_busy: false,
            said: None,
            stepped: 0,
            waits: None,
        }
    }

    /// The generation that it goes by; 0: its own file.
    pub fn in_force(&self) -> u64 {
        self.in_force
    }

    /// Why it does not go by this generation.
    pub fn fault(&self, generation: u64) -> Option<&FaultRecord> {
        self.failed.get(&generation)
    }

    /// The connection to etcd is a new one: what was said before may not have arrived.
    pub fn reconnected(&mut self) {
        self.said = None;
        self.stepped = 0;
    }

    /// What came of [`Act::Load`].
    pub fn loaded(&mut self, generation: u64, done: Result<(), FaultRecord>) {
        self.is_busy = false;
        match done {
            Ok(()) => self.loaded = Some(generation),
            Err(fault) => self.fail(generation, fault),
        }
    }

    /// What came of [`Act::PutInForce`].
    pub fn put_in_force(&mut self, generation: u64, done: Result<(), FaultRecord>) {
        self.is_busy = false;
        match done {
            Ok(()) => {
                self.in_force = generation;
                self.loaded = None;
            }
            Err(fault) => self.fail(generation, fault),
        }
    }

    /// Something that is not the generation's fault kept it from being had: it is tried again.
    pub fn not_done(&mut self) {
        self.is_busy = false;
    }

    fn fail(&mut self, generation: u64, fault: FaultRecord) {
        self.failed.insert(generation, fault);
        while self.failed.len() > MAX_FAILED {
            self.failed.pop_first();
        }
    }

    /// What is to be done now.
    pub fn step(&mut self, view: &View, now: Duration) -> Vec<Act> {
        let mut acts = Vec::new();
        if !self.is_busy
            && let Some(act) = self.work(self.want(view))
        {
            self.is_busy = true;
            acts.push(act);
        }
        if let Some(ack) = self.ack(view)
            && self.said.as_ref() != Some(&ack)
        {
            self.said = Some(ack.clone());
            acts.push(Act::Acknowledge(ack));
        }
        acts.extend(self.advance(view, now).map(Act::Advance));
        acts
    }

    fn work(&self, want: Want) -> Option<Act> {
        let is_ready = |generation| generation == 0 || self.loaded == Some(generation);
        match want {
            Want::Loaded(generation) | Want::InForce(generation)
                if self.in_force == generation || self.failed.contains_key(&generation) =>
            {
                None
            }
            Want::InForce(generation) if is_ready(generation) => Some(Act::PutInForce(generation)),
            Want::Loaded(generation) if is_ready(generation) => None,
            Want::Loaded(generation) | Want::InForce(generation) => Some(Act::Load(generation)),
            Want::Nothing => None,
        }
    }

    fn want(&self, view: &View) -> Want {
        let active = view.active.as_ref().map(|active| active.value.generation);
        if let Some(rollout) = view.rollout.as_ref().map(|rollout| &rollout.value) {
            let generation = rollout.generation;
            let is_canary = rollout.canary.as_deref() == Some(&self.name);
            let takes_part = rollout.engines.contains(&self.name);
            match rollout.phase {
                Phase::Load if takes_part => return Want::Loaded(generation),
                Phase::Canary if takes_part && is_canary => return Want::InForce(generation),
                Phase::Canary if takes_part => return Want::Loaded(generation),
                Phase::Force if takes_part => return Want::InForce(generation),
                // The canary goes back to what all go by, if only its own file.
                Phase::Stopped if self.in_force == generation && active != Some(generation) => {
                    return Want::InForce(active.unwrap_or(0));
                }
                _ => {}
            }
        }
        // What is gone from etcd stays in force here.
        active.filter(|generation| *generation > 0).map_or(Want::Nothing, Want::InForce)
    }

    /// How far it is with the generation that matters now.
    fn ack(&self, view: &View) -> Option<Ack> {
        let rollout = view.rollout.as_ref().map(|rollout| &rollout.value);
        let rolling =
            rollout.filter(|rollout| !rollout.phase.is_over() && rollout.engines.contains(&self.name));
        let active = view.active.as_ref().map(|active| active.value.generation);
        let generation = rolling.map(|rollout| rollout.generation).or(active)?;
        let fault = self.failed.get(&generation).cloned();
        let state = match &fault {
            _ if self.in_force == generation => AckState::InForce,
            Some(_) => AckState::Fault,
            None if self.loaded == Some(generation) => AckState::Loaded,
            None => return None,
        };
        let fault = fault.filter(|_| state == AckState::Fault);
        Some(Ack { schema: SCHEMA, generation, state, fault })
    }

    /// The next step, if it is time for it.
    fn advance(&mut self, view: &View, now: Duration) -> Option<Step> {
        let kept = view.rollout.as_ref().filter(|rollout| !rollout.value.phase.is_over())?;
        let (rollout, generation) = (&kept.value, kept.value.generation);
        let phase = (generation, rollout.phase);
        let waits = match self.waits {
            Some(waits) if waits.phase == phase => waits,
            _ => Waits { phase, since: now, canary_since: None },
        };
        self.waits = Some(waits);
        if self.stepped == kept.revision {
            return None;
        }
        let next = self.next_phase(view, rollout, waits, now)?;
        self.stepped = kept.revision;
        let (phase, fault) = match next {
            Ok(phase) => (phase, None),
            Err(fault) => (Phase::Stopped, Some(fault)),
        };
        let conditions = std::iter::once((Place::Rollout, kept.revision));
        // A fault stops it whatever else has changed; a step on needs all to be as they were seen.
        let seen =
            rollout.engines.iter().filter(|_| fault.is_none()).map(|engine| match view.engines.get(engine) {
                Some(_) => {
                    let revision = view.ack(engine, generation).map_or(0, |ack| ack.revision);
                    (Place::Ack(engine.clone()), revision)
                }
                None => (Place::Presence(engine.clone()), 0),
            });
        Some(Step {
            conditions: conditions.chain(seen).collect(),
            rollout: Rollout { phase, fault, ..rollout.clone() },
            activate: (phase == Phase::Force).then(|| Active {
                schema: SCHEMA,
                generation,
                before: view.active.as_ref().map(|active| active.value.generation),
            }),
        })
    }

    fn next_phase(
        &mut self,
        view: &View,
        rollout: &Rollout,
        waits: Waits,
        now: Duration,
    ) -> Option<Result<Phase, EngineFault>> {
        let state = |engine: &String| view.ack(engine, rollout.generation).map(|ack| ack.value.state);
        for engine in &rollout.engines {
            let ack = view.ack(engine, rollout.generation).map(|ack| &ack.value);
            if let Some(ack) = ack.filter(|ack| ack.state == AckState::Fault) {
                let fault = ack.fault.clone().unwrap_or_default();
                return Some(Err(EngineFault { engine: engine.clone(), fault }));
            }
        }
        let mut present =
            rollout.engines.iter().filter(|engine| view.engines.contains_key(*engine)).peekable();
        // Nobody of those who are meant is there: they may come back.
        present.peek()?;
        let is_late = now.saturating_sub(waits.since) > Duration::from_secs(rollout.patience);
        let late = |engine: &String, what: &str| {
            let text = format!("has not {what} within {} s", rollout.patience);
            Err(EngineFault { engine: engine.clone(), fault: FaultRecord { text, ..FaultRecord::default() } })
        };
        match rollout.phase {
            Phase::Load => match present.find(|engine| state(engine).is_none()) {
                None if rollout.canary.is_some() => Some(Ok(Phase::Canary)),
                None => Some(Ok(Phase::Force)),
                Some(engine) if is_late => Some(late(engine, "loaded it")),
                Some(_) => None,
            },
            Phase::Canary => {
                let canary = rollout.canary.as_ref()?;
                if state(canary) != Some(AckState::InForce) {
                    return is_late.then(|| late(canary, "put it in force"));
                }
                let since = *self.waits.as_mut()?.canary_since.get_or_insert(now);
                let time = Duration::from_secs(rollout.canary_seconds?);
                // One that was started anew meanwhile has to load it again.
                let all_ready = present.all(|engine| state(engine).is_some());
                (all_ready && now.saturating_sub(since) >= time).then_some(Ok(Phase::Force))
            }
            Phase::Force => match present.find(|engine| state(engine) != Some(AckState::InForce)) {
                None => Some(Ok(Phase::Done)),
                Some(engine) if is_late => Some(late(engine, "put it in force")),
                Some(_) => None,
            },
            Phase::Done | Phase::Stopped => None,
        }
    }
}

#[cfg(test)]
mod tests;
