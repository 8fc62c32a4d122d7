//! The roll-out of a generation, as each engine sees and moves it. Nobody leads: whoever sees that all are ready takes the next step, and etcd lets
//! one of them.
//!
//! ```text
//! push ──► load ──────────────► force ──► done        every engine has loaded it before any has it in force
//!           │ └► canary ────────► │                   but the canary, which has it in force alone for a while
//!           └──────┴──► stopped                       one cannot have it
//! ```
//! From `force` on it is what all go by: some have it in force, and an engine that fails tries again, less often each time.
//! No clock, no store: it is told what is in etcd, and what time has passed, and says what is to be done.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::Place;
use super::schema::{Ack, AckState, Active, EngineFault, FaultRecord, Phase, Rollout, SCHEMA};
use super::view::View;

/// Generations of which it is remembered that they cannot be had.
const MAX_FAILED: usize = 16;
/// How long an engine waits that was kept from its work, by etcd say.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is waited before what has failed is tried again, once all are to go by it: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(300);

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

/// A generation, and which files it has. Numbers may come again in a store that was emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    generation: u64,
    digest: String,
}

impl Files {
    fn of(view: &View, generation: u64) -> Self {
        Self { generation, digest: view.digest(generation).to_owned() }
    }

    fn are(&self, view: &View, generation: u64) -> bool {
        self.generation == generation && (generation == 0 || view.is_of(generation, &self.digest))
    }
}

/// Why a generation is not had.
#[derive(Clone, Debug)]
struct Failure {
    digest: String,
    fault: FaultRecord,
    /// How often it was tried.
    tries: u32,
    /// When it is tried again; none: not known yet.
    due: Option<Duration>,
}

/// An engine of a fleet.
#[derive(Debug)]
pub struct Member {
    name: String,
    in_force: Files,
    loaded: Option<Files>,
    failed: BTreeMap<u64, Failure>,
    /// What is being loaded or put in force.
    busy: Option<Files>,
    said: Option<Ack>,
    /// The revision of the roll-out that a step was taken from.
    stepped: i64,
    waits: Option<Waits>,
    /// Something kept it from its work: it pauses, from the next step on until then.
    is_kept: bool,
    resumes: Duration,
}

/// What a phase waits for.
#[derive(Clone, Debug)]
struct Waits {
    phase: (u64, Phase),
    /// Engines that are not where the phase wants them, and since when each of them is not.
    lacking: BTreeMap<String, Duration>,
    /// Since when the canary has it in force.
    canary_since: Option<Duration>,
}

impl Member {
    /// An engine with this name, which goes by this generation with these files; 0: by its own file.
    pub fn new(name: &str, in_force: u64, digest: &str) -> Self {
        Self {
            name: name.to_owned(),
            in_force: Files { generation: in_force, digest: digest.to_owned() },
            loaded: None,
            failed: BTreeMap::new(),
            busy: None,
            said: None,
            stepped: 0,
            waits: None,
            is_kept: false,
            resumes: Duration::ZERO,
        }
    }

    /// The generation that it goes by; 0: its own file.
    pub fn in_force(&self) -> u64 {
        self.in_force.generation
    }

    /// Of the files of that generation.
    pub fn digest(&self) -> &str {
        &self.in_force.digest
    }

    /// Why it does not go by this generation.
    pub fn fault(&self, generation: u64) -> Option<&FaultRecord> {
        self.failed.get(&generation).map(|failure| &failure.fault)
    }

    /// Somebody else was quicker than an [`Act::Advance`]: if it was not the step itself, it is taken again.
    pub fn overtaken(&mut self) {
        self.stepped = 0;
    }

    /// The connection to etcd is a new one: what was said before may not have arrived.
    pub fn reconnected(&mut self) {
        self.said = None;
        self.stepped = 0;
    }

    /// What came of [`Act::Load`].
    pub fn loaded(&mut self, generation: u64, done: Result<(), FaultRecord>) {
        let files = self.begun(generation);
        match done {
            Ok(()) => self.loaded = Some(files),
            Err(fault) => self.fail(files, fault),
        }
    }

    /// What came of [`Act::PutInForce`].
    pub fn put_in_force(&mut self, generation: u64, done: Result<(), FaultRecord>) {
        let files = self.begun(generation);
        match done {
            Ok(()) => {
                self.failed.remove(&generation);
                self.in_force = files;
                self.loaded = None;
            }
            Err(fault) => {
                // What was loaded may be what has failed.
                self.loaded = None;
                self.fail(files, fault);
            }
        }
    }

    /// Something that is not the generation's fault kept it from being had: it is tried again after a pause.
    pub fn not_done(&mut self) {
        self.busy = None;
        self.is_kept = true;
    }

    fn begun(&mut self, generation: u64) -> Files {
        self.busy.take().unwrap_or(Files { generation, digest: String::new() })
    }

    fn fail(&mut self, files: Files, fault: FaultRecord) {
        let Files { generation, digest } = files;
        let before = self.failed.get(&generation).filter(|failure| failure.digest == digest);
        let tries = before.map_or(0, |failure| failure.tries).saturating_add(1);
        self.failed.insert(generation, Failure { digest, fault, tries, due: None });
    }

    /// Forgets failures of generations that nobody wants any more, the oldest first, and of all beyond the bound.
    fn forget_failures(&mut self, view: &View) {
        self.failed.retain(|generation, failure| view.is_of(*generation, &failure.digest));
        let active = view.active.as_ref().map(|active| active.value.generation);
        let rolling = view.rollout.as_ref().map(|rollout| rollout.value.generation);
        while self.failed.len() > MAX_FAILED {
            let is_wanted = |number: &u64| [active, rolling].contains(&Some(*number));
            let Some(oldest) = self.failed.keys().find(|number| !is_wanted(number)).copied() else { break };
            self.failed.remove(&oldest);
        }
    }

    /// What is to be done now.
    pub fn step(&mut self, view: &View, now: Duration) -> Vec<Act> {
        let mut acts = Vec::new();
        self.forget_failures(view);
        for failure in self.failed.values_mut() {
            let wait = FIRST_RETRY.saturating_mul(1 << (failure.tries - 1).min(10)).min(LAST_RETRY);
            failure.due.get_or_insert(now + wait);
        }
        if std::mem::take(&mut self.is_kept) {
            self.resumes = now + PAUSE;
        }
        if self.busy.is_none()
            && now >= self.resumes
            && let Some((act, generation)) = self.work(view, now)
        {
            self.busy = Some(Files::of(view, generation));
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

    fn work(&self, view: &View, now: Duration) -> Option<(Act, u64)> {
        let want = self.want(view);
        let (Want::Loaded(generation) | Want::InForce(generation)) = want else { return None };
        // What all go by is tried again: nothing else will put this engine right.
        let active = view.active.as_ref().map_or(0, |active| active.value.generation);
        let is_decided = want == Want::InForce(active);
        let has_failed = self.failed.get(&generation).is_some_and(|failure| {
            let is_due = failure.due.is_some_and(|due| now >= due);
            !(is_decided && is_due)
        });
        if has_failed || self.in_force.are(view, generation) {
            return None;
        }
        let is_ready =
            generation == 0 || self.loaded.as_ref().is_some_and(|loaded| loaded.are(view, generation));
        match want {
            Want::InForce(_) if is_ready => Some((Act::PutInForce(generation), generation)),
            _ if is_ready => None,
            _ => Some((Act::Load(generation), generation)),
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
                Phase::Stopped if self.in_force.generation == generation && active != Some(generation) => {
                    return Want::InForce(active.unwrap_or(0));
                }
                // Likewise one that was stopped before this one. In a store that was emptied there is no generation of that number.
                Phase::Stopped if active.is_none() && self.is_known(view) => return Want::InForce(0),
                _ => {}
            }
        }
        // What is gone from etcd stays in force here.
        active.filter(|generation| *generation > 0).map_or(Want::Nothing, Want::InForce)
    }

    /// What it has in force is a generation of this store.
    fn is_known(&self, view: &View) -> bool {
        let Files { generation, digest } = &self.in_force;
        view.generations.contains_key(generation) && view.digest(*generation) == digest
    }

    /// How far it is with the generation that matters now.
    fn ack(&self, view: &View) -> Option<Ack> {
        let rollout = view.rollout.as_ref().map(|rollout| &rollout.value);
        let rolling =
            rollout.filter(|rollout| !rollout.phase.is_over() && rollout.engines.contains(&self.name));
        let active = view.active.as_ref().map(|active| active.value.generation);
        let generation = rolling.map(|rollout| rollout.generation).or(active)?;
        let fault = self.fault(generation).cloned();
        let is_loaded = self.loaded.as_ref().is_some_and(|loaded| loaded.are(view, generation));
        let state = match &fault {
            _ if self.in_force.are(view, generation) => AckState::InForce,
            Some(_) => AckState::Fault,
            None if is_loaded => AckState::Loaded,
            None => return None,
        };
        let fault = fault.filter(|_| state == AckState::Fault);
        let digest = view.digest(generation).to_owned();
        Some(Ack { schema: SCHEMA, generation, digest, state, fault })
    }

    /// The next step, if it is time for it.
    fn advance(&mut self, view: &View, now: Duration) -> Option<Step> {
        let kept = view.rollout.as_ref().filter(|rollout| !rollout.value.phase.is_over())?;
        let (rollout, generation) = (&kept.value, kept.value.generation);
        let phase = (generation, rollout.phase);
        let waits = self.waits.take().filter(|waits| waits.phase == phase);
        let mut waits = waits.unwrap_or(Waits { phase, lacking: BTreeMap::new(), canary_since: None });
        let next = next_phase(view, rollout, &mut waits, now);
        self.waits = Some(waits);
        if self.stepped == kept.revision {
            return None;
        }
        let next = next?;
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
}

/// The phase after this one, or why there is none; none: not yet.
fn next_phase(
    view: &View,
    rollout: &Rollout,
    waits: &mut Waits,
    now: Duration,
) -> Option<Result<Phase, EngineFault>> {
    let state = |engine: &String| view.ack(engine, rollout.generation).map(|ack| ack.value.state);
    let is_in_force = |engine: &String| state(engine) == Some(AckState::InForce);
    if rollout.phase != Phase::Force {
        for engine in &rollout.engines {
            let ack = view.ack(engine, rollout.generation).map(|ack| &ack.value);
            if let Some(ack) = ack.filter(|ack| ack.state == AckState::Fault) {
                let fault = ack.fault.clone().unwrap_or_default();
                return Some(Err(EngineFault { engine: engine.clone(), fault }));
            }
        }
    }
    let is_canary =
        |engine: &String| rollout.phase == Phase::Canary && rollout.canary.as_ref() == Some(engine);
    let is_ready = |engine: &String| match rollout.phase {
        Phase::Load => state(engine).is_some(),
        Phase::Canary if is_canary(engine) => is_in_force(engine),
        // One that was started anew meanwhile has to load it again.
        Phase::Canary => state(engine).is_some(),
        _ => is_in_force(engine),
    };
    let is_there = |engine: &String| view.engines.contains_key(engine);
    // Who is not there is not waited for, but the canary is.
    let lacks = |engine: &String| (is_there(engine) || is_canary(engine)) && !is_ready(engine);
    waits.lacking.retain(|engine, _| lacks(engine));
    for engine in rollout.engines.iter().chain(&rollout.canary).filter(|engine| lacks(engine)) {
        waits.lacking.entry(engine.clone()).or_insert(now);
    }
    // Nobody of those who are meant is there: they may come back.
    if !rollout.engines.iter().any(is_there) {
        waits.lacking.clear();
        return None;
    }
    let canary_since = match &rollout.canary {
        Some(canary) if rollout.phase == Phase::Canary && is_in_force(canary) => {
            Some(*waits.canary_since.get_or_insert(now))
        }
        _ => None,
    };
    if !waits.lacking.is_empty() {
        let patience = Duration::from_secs(rollout.patience);
        let late = waits.lacking.iter().find(|(_, since)| now.saturating_sub(**since) > patience);
        let (engine, _) = late.filter(|_| rollout.phase != Phase::Force)?;
        let what = if is_canary(engine) { "put it in force" } else { "loaded it" };
        let text = format!("has not {what} within {} s", rollout.patience);
        let fault = FaultRecord { text, ..FaultRecord::default() };
        return Some(Err(EngineFault { engine: engine.clone(), fault }));
    }
    match rollout.phase {
        Phase::Load if rollout.canary.is_some() => Some(Ok(Phase::Canary)),
        Phase::Load => Some(Ok(Phase::Force)),
        Phase::Canary => {
            let time = Duration::from_secs(rollout.canary_seconds?);
            (now.saturating_sub(canary_since?) >= time).then_some(Ok(Phase::Force))
        }
        Phase::Force => Some(Ok(Phase::Done)),
        Phase::Done | Phase::Stopped => None,
    }
}

#[cfg(test)]
mod tests;
