//! An operator's part: publishing a generation, and following it; who is there; who is to be drained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::bundle::{self, Packed};
use super::keys::Place;
use super::schema::{AckState, Drain, FileEntry, Manifest, Phase, Rollout, SCHEMA, write};
use super::store::{Store, StoreError};
use super::view::{MAX_GENERATIONS, View};
use crate::control::unix_now;

/// How often it is looked how far a roll-out is.
const LOOK: Duration = Duration::from_secs(1);
/// How far ahead an engine's generation may be of what is known, in a store that was emptied.
const FURTHEST: u64 = 1_000_000;
/// Generations that are kept for a way back.
const KEPT: usize = MAX_GENERATIONS / 2;

/// How a generation is to be rolled out.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Who wants it.
    pub by: String,
    /// What they say about it.
    pub note: String,
    /// The engine that has it in force first.
    pub canary: Option<String>,
    /// How long it has it alone; none: until an operator says so.
    pub canary_seconds: Option<u64>,
    /// How long engines may take for a phase, in seconds.
    pub patience: u64,
}

/// Why nothing is rolled out.
#[derive(Debug, PartialEq, Eq)]
pub enum PushError {
    /// etcd.
    Store(StoreError),
    /// A file of the policy.
    File(String),
    /// There is no engine that takes policy.
    NoEngines,
    /// The canary is none of those.
    NoSuchCanary(BTreeSet<String>),
    /// Another one is on its way.
    InProgress(u64, Phase),
    /// There is none on its way.
    NoneInProgress,
    /// There is no such generation, or none before the one in force.
    NoSuchGeneration,
    /// There is no number left.
    NoNumber,
    /// Somebody else was quicker.
    Overtaken,
}

impl std::fmt::Display for PushError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(why) => write!(f, "etcd: {why}"),
            Self::File(why) => f.write_str(why),
            Self::NoEngines => {
                f.write_str("no engine of this fleet is there that takes policy: `wireglass fleet status`")
            }
            Self::NoSuchCanary(engines) => {
                let names: Vec<_> = engines.iter().map(String::as_str).collect();
                write!(f, "--canary: no such engine is there; there are: {}", names.join(", "))
            }
            Self::InProgress(generation, Phase::Force) => write!(
                f,
                "generation {generation} is what all go by already: push another one, or `wireglass policy rollback`"
            ),
            Self::InProgress(generation, phase) => write!(
                f,
                "generation {generation} is being rolled out ({}): wait, or stop it with `wireglass policy stop`",
                phase_name(*phase)
            ),
            Self::NoneInProgress => f.write_str("no generation is being rolled out"),
            Self::NoSuchGeneration => f.write_str("there is no such generation: `wireglass policy history`"),
            Self::NoNumber => {
                f.write_str("a generation has the largest number that there is: remove it from etcd")
            }
            Self::Overtaken => f.write_str("somebody else changed the roll-out at the same time: try again"),
        }
    }
}

impl From<StoreError> for PushError {
    fn from(why: StoreError) -> Self {
        Self::Store(why)
    }
}

/// As commands say it.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Load => "loading",
        Phase::Canary => "canary",
        Phase::Force => "putting in force",
        Phase::Done => "in force",
        Phase::Stopped => "stopped",
    }
}

/// How far an engine is, as commands say it.
pub fn ack_name(view: &View, engine: &str, generation: u64) -> &'static str {
    match view.ack(engine, generation).map(|ack| ack.value.state) {
        _ if !view.engines.contains_key(engine) => "gone",
        None => "waiting",
        Some(AckState::Loaded) => "loaded",
        Some(AckState::InForce) => "in force",
        Some(AckState::Fault) => "cannot have it",
    }
}

/// A roll-out that has begun.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    /// The number of the generation.
    pub generation: u64,
    /// Why old generations are still in etcd. The next push tries again.
    pub not_pruned: Option<StoreError>,
}

/// Publishes what was packed, and begins its roll-out.
///
/// # Errors
/// Nothing is rolled out.
pub async fn push(store: &mut Store, packed: &Packed, wishes: &Wishes) -> Result<Begun, PushError> {
    let (view, _) = store.snapshot(|_, _| {}).await?;
    may_begin(&view, wishes)?;
    for (entry, path) in &packed.files {
        let failed = |error: std::io::Error| PushError::File(format!("{}: {error}", path.display()));
        let mut read = bundle::Hashing::default();
        for (number, part) in (0..).zip(bundle::parts(path).map_err(failed)?) {
            let part = part.map_err(failed)?;
            read.take(&part);
            // Also over one that is damaged.
            if store.blob(&entry.sha256, number).await?.as_ref() != Some(&part) {
                store.put_blob(&entry.sha256, number, part).await?;
            }
        }
        if !read.is(entry) {
            let text = "it has changed while it was read: push again";
            return Err(failed(std::io::Error::other(text)));
        }
    }
    let files = packed.files.iter().map(|(entry, _)| entry.clone()).collect();
    begin(store, &view, files, None, wishes).await
}

/// Begins the roll-out of an earlier generation's files, under a new number. None: of the one that was in force before.
///
/// # Errors
/// Nothing is rolled out.
pub async fn roll_back(store: &mut Store, to: Option<u64>, wishes: &Wishes) -> Result<Begun, PushError> {
    let (view, _) = store.snapshot(|_, _| {}).await?;
    may_begin(&view, wishes)?;
    let to = to.or_else(|| view.active.as_ref()?.value.before).ok_or(PushError::NoSuchGeneration)?;
    let earlier = view.generations.get(&to).ok_or(PushError::NoSuchGeneration)?;
    begin(store, &view, earlier.value.files.clone(), Some(to), wishes).await
}

fn takers(view: &View) -> BTreeSet<String> {
    let takes = |name: &&String| view.engines[*name].value.policy;
    view.engines.keys().filter(takes).cloned().collect()
}

fn may_begin(view: &View, wishes: &Wishes) -> Result<(), PushError> {
    // One that all have loaded and go by may be followed by the next, also where an engine cannot put it in force.
    let is_on_its_way = |phase: Phase| !phase.is_over() && phase != Phase::Force;
    if let Some(rollout) = view.rollout.as_ref().filter(|rollout| is_on_its_way(rollout.value.phase)) {
        return Err(PushError::InProgress(rollout.value.generation, rollout.value.phase));
    }
    let engines = takers(view);
    match &wishes.canary {
        _ if engines.is_empty() => Err(PushError::NoEngines),
        Some(canary) if !engines.contains(canary) => Err(PushError::NoSuchCanary(engines)),
        _ => Ok(()),
    }
}

async fn begin(
    store: &mut Store,
    view: &View,
    files: Vec<FileEntry>,
    rolls_back_to: Option<u64>,
    wishes: &Wishes,
) -> Result<Begun, PushError> {
    let generation = next_number(view).ok_or(PushError::NoNumber)?;
    let (by, note) = (wishes.by.clone(), wishes.note.clone());
    let manifest = Manifest { schema: SCHEMA, at: unix_now(), by, note, rolls_back_to, files };
    let rollout = Rollout {
        schema: SCHEMA,
        generation,
        phase: Phase::Load,
        engines: takers(view),
        canary: wishes.canary.clone(),
        canary_seconds: wishes.canary_seconds,
        patience: wishes.patience,
        fault: None,
    };
    // Also over what is no roll-out.
    let conditions = [(Place::Rollout, view.rollout_revision), (Place::Generation(generation), 0)];
    let values = vec![(Place::Generation(generation), write(&manifest)), (Place::Rollout, write(&rollout))];
    if !store.write_if(&conditions, values).await? {
        return Err(PushError::Overtaken);
    }
    let not_pruned = prune(store, view, manifest).await.err();
    Ok(Begun { generation, not_pruned })
}

/// A number that no generation has or had, as far as is known: engines may have those in force that are gone. None: there is none left.
fn next_number(view: &View) -> Option<u64> {
    let known = [
        view.generations.keys().next_back().copied().unwrap_or(0),
        view.active.as_ref().map_or(0, |active| active.value.generation),
        view.rollout.as_ref().map_or(0, |rollout| rollout.value.generation),
    ];
    let known = known.into_iter().max().unwrap_or(0);
    // One that lies about its own may not use up all numbers at once.
    let had = view.engines.values().map(|kept| kept.value.generation);
    let had = had.filter(|had| *had <= known.saturating_add(FURTHEST)).max().unwrap_or(0);
    known.max(had).checked_add(1)
}

/// Removes the oldest generations, and files that none of those needs that stay.
/// Another push that finds a file of an old generation just now, and loses it to this one, ends with a fault and can be repeated.
async fn prune(store: &mut Store, view: &View, newest: Manifest) -> Result<(), StoreError> {
    let active = view.active.as_ref().map(|active| &active.value);
    let stays = |number: &u64| {
        active.is_some_and(|active| active.generation == *number || active.before == Some(*number))
    };
    let excess = (view.generations.len() + 1).saturating_sub(KEPT);
    let old: BTreeSet<_> =
        view.generations.keys().copied().filter(|number| !stays(number)).take(excess).collect();
    if old.is_empty() {
        return Ok(());
    }
    for number in &old {
        store.delete(&Place::Generation(*number)).await?;
    }
    let stay = view.generations.iter().filter(|(number, _)| !old.contains(number));
    let manifests = stay.map(|(_, kept)| &kept.value).chain([&newest]);
    let used: BTreeSet<_> = manifests.flat_map(|each| &each.files).map(|file| file.sha256.clone()).collect();
    store.remove_blobs(|hash| used.contains(hash)).await.map(drop)
}

/// How it stands where a generation is being put in force: `in force at a, c; b: FAULT`.
pub fn standing(view: &View, rollout: &Rollout) -> String {
    let generation = rollout.generation;
    let of = |engine: &String| view.ack(engine, generation).map(|ack| &ack.value);
    let has_it = |engine: &&String| of(engine).is_some_and(|ack| ack.state == AckState::InForce);
    let (have, lack): (Vec<_>, Vec<_>) = rollout.engines.iter().partition(has_it);
    let names: Vec<_> = have.iter().map(|engine| engine.as_str()).collect();
    let at = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let mut text = format!("in force at {at}");
    for engine in lack {
        let fault = of(engine).and_then(|ack| ack.fault.as_ref());
        let why = fault.map_or_else(|| ack_name(view, engine, generation).into(), ToString::to_string);
        text.push_str(&format!("; {engine}: {why}"));
    }
    text
}

/// All that are there have it in force, or cannot have it: nothing more happens soon.
fn is_stuck(view: &View, rollout: &Rollout) -> bool {
    let state = |engine: &String| view.ack(engine, rollout.generation).map(|ack| ack.value.state);
    let mut there = rollout.engines.iter().filter(|engine| view.engines.contains_key(*engine)).map(state);
    rollout.phase == Phase::Force
        && there.clone().any(|state| state == Some(AckState::Fault))
        && there.all(|state| matches!(state, Some(AckState::Fault | AckState::InForce)))
}

/// Follows a roll-out until it is over, waits for the operator, or an engine cannot put in force what all go by. `tell` hears of what has changed; returns the last that was seen.
///
/// # Errors
/// etcd does not answer for that long.
pub async fn follow(
    store: &mut Store,
    generation: u64,
    outage: Duration,
    mut tell: impl FnMut(&View, &Rollout),
) -> Result<(View, Rollout), StoreError> {
    let (mut seen, mut lost, mut forced) = (None, Instant::now(), None);
    loop {
        let view = match store.snapshot(|_, _| {}).await {
            Ok((view, _)) => view,
            Err(_) if lost.elapsed() < outage => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(why) => return Err(why),
        };
        lost = Instant::now();
        let Some(rollout) = view.rollout.as_ref().map(|kept| kept.value.clone()) else {
            return Err("the roll-out is gone".into());
        };
        if rollout.generation != generation {
            return Err(format!("generation {} is rolled out instead", rollout.generation));
        }
        let states: BTreeMap<_, _> = rollout
            .engines
            .iter()
            .map(|engine| (engine.clone(), ack_name(&view, engine, generation)))
            .collect();
        let now = (rollout.phase, states);
        if seen.as_ref() != Some(&now) {
            tell(&view, &rollout);
            seen = Some(now);
        }
        let canary_has_it = rollout.phase == Phase::Canary
            && rollout.canary_seconds.is_none()
            && rollout.canary.as_ref().is_some_and(|canary| {
                view.ack(canary, generation).is_some_and(|ack| ack.value.state == AckState::InForce)
            });
        let patience = Duration::from_secs(rollout.patience);
        let is_late =
            rollout.phase == Phase::Force && forced.get_or_insert_with(Instant::now).elapsed() > patience;
        if rollout.phase.is_over() || canary_has_it || is_late || is_stuck(&view, &rollout) {
            return Ok((view, rollout));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What an operator says about a roll-out that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The canary has had it alone for long enough.
    GoOn,
    /// It is not to be.
    Stop,
}

/// Says so. Returns the generation.
///
/// # Errors
/// None is on its way, or it has just changed.
pub async fn say(store: &mut Store, word: Word) -> Result<u64, PushError> {
    let (view, _) = store.snapshot(|_, _| {}).await?;
    let kept = view.rollout.filter(|rollout| !rollout.value.phase.is_over());
    let kept = kept.ok_or(PushError::NoneInProgress)?;
    let generation = kept.value.generation;
    let rollout = match word {
        Word::GoOn => Rollout { canary_seconds: Some(0), ..kept.value },
        // What is in force already cannot be stopped: it can be rolled back.
        Word::Stop if kept.value.phase == Phase::Force => {
            return Err(PushError::InProgress(generation, Phase::Force));
        }
        Word::Stop => Rollout { phase: Phase::Stopped, ..kept.value },
    };
    match store.write_if(&[(Place::Rollout, kept.revision)], vec![(Place::Rollout, write(&rollout))]).await? {
        true => Ok(generation),
        false => Err(PushError::Overtaken),
    }
}

/// Has an engine drained, or no longer.
///
/// # Errors
/// etcd does not answer.
pub async fn drain(store: &mut Store, engine: &str, by: &str, is_on: bool) -> Result<(), StoreError> {
    let place = Place::Drain(engine.to_owned());
    match is_on {
        true => {
            store.put(&place, write(&Drain { schema: SCHEMA, at: unix_now(), by: by.into() }), None).await
        }
        false => store.delete(&place).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::schema::{Ack, FaultRecord, Presence};

    fn view(engines: &[(&str, u64)]) -> View {
        let mut view = View::default();
        for (name, generation) in engines {
            let presence =
                Presence { schema: SCHEMA, policy: true, generation: *generation, ..Presence::default() };
            view.hear(&Place::Presence((*name).into()), Some(&write(&presence)), 1);
        }
        view
    }

    fn rollout(phase: Phase) -> Rollout {
        Rollout {
            schema: SCHEMA,
            generation: 7,
            phase,
            engines: ["a", "b", "c"].map(String::from).into(),
            canary: None,
            canary_seconds: None,
            patience: 60,
            fault: None,
        }
    }

    #[test]
    fn no_number_comes_again() {
        assert_eq!(next_number(&view(&[])), Some(1));
        assert_eq!(
            next_number(&view(&[("a", 12), ("b", 7)])),
            Some(13),
            "etcd was emptied, the engines were not"
        );
        assert_eq!(next_number(&view(&[("a", 12), ("liar", u64::MAX)])), Some(13));
        let mut last = view(&[]);
        last.hear(
            &Place::Rollout,
            Some(&write(&Rollout { generation: u64::MAX, ..rollout(Phase::Done) })),
            2,
        );
        assert_eq!(next_number(&last), None);
    }

    #[test]
    fn who_has_it_and_who_cannot_is_told() {
        let mut view = view(&[("a", 7), ("b", 0)]);
        let rollout = rollout(Phase::Force);
        let ack = |state, fault| Ack { schema: SCHEMA, generation: 7, digest: String::new(), state, fault };
        view.hear(&Place::Ack("a".into()), Some(&write(&ack(AckState::InForce, None))), 2);
        assert_eq!(standing(&view, &rollout), "in force at a; b: waiting; c: gone");
        assert!(!is_stuck(&view, &rollout));
        let fault = FaultRecord { text: "no".into(), ..FaultRecord::default() };
        view.hear(&Place::Ack("b".into()), Some(&write(&ack(AckState::Fault, Some(fault)))), 3);
        assert_eq!(standing(&view, &rollout), "in force at a; b: no; c: gone");
        assert!(is_stuck(&view, &rollout));
        let wishes = Wishes {
            by: String::new(),
            note: String::new(),
            canary: None,
            canary_seconds: None,
            patience: 60,
        };
        for (phase, may) in
            [(Phase::Load, false), (Phase::Canary, false), (Phase::Force, true), (Phase::Done, true)]
        {
            view.hear(&Place::Rollout, Some(&write(&Rollout { phase, ..rollout.clone() })), 4);
            assert_eq!(may_begin(&view, &wishes).is_ok(), may, "{phase:?}");
        }
    }
}
