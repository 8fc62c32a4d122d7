//! An operator's part: publishing a generation, and following it; who is there; who is to be drained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::bundle::{self, Packed};
use super::keys::Place;
use super::schema::{AckState, Drain, FileEntry, Manifest, Phase, Rollout, SCHEMA, write};
use super::store::{Store, StoreError};
use super::view::{MAX_GENERATIONS, View};

/// How often it is looked how far a roll-out is.
const LOOK: Duration = Duration::from_millis(200);
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
            Self::InProgress(generation, phase) => write!(
                f,
                "generation {generation} is being rolled out ({}): wait, or stop it with `wireglass policy stop`",
                phase_name(*phase)
            ),
            Self::NoneInProgress => f.write_str("no generation is being rolled out"),
            Self::NoSuchGeneration => f.write_str("there is no such generation: `wireglass policy history`"),
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

/// Publishes what was packed, and begins its roll-out. Returns its number.
///
/// # Errors
/// Nothing is rolled out.
pub async fn push(store: &mut Store, packed: &Packed, wishes: &Wishes) -> Result<u64, PushError> {
    let (view, _) = store.snapshot(|_, _| {}).await?;
    may_begin(&view, wishes)?;
    for (entry, path) in &packed.files {
        let failed = |error: std::io::Error| PushError::File(format!("{}: {error}", path.display()));
        for (number, part) in (0..).zip(bundle::parts(path).map_err(failed)?) {
            let part = part.map_err(failed)?;
            if !store.has_blob(&entry.sha256, number).await? {
                store.put_blob(&entry.sha256, number, part).await?;
            }
        }
    }
    let files = packed.files.iter().map(|(entry, _)| entry.clone()).collect();
    begin(store, &view, files, None, wishes).await
}

/// Begins the roll-out of an earlier generation's files, under a new number. None: of the one that was in force before.
///
/// # Errors
/// Nothing is rolled out.
pub async fn roll_back(store: &mut Store, to: Option<u64>, wishes: &Wishes) -> Result<u64, PushError> {
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
    if let Some(rollout) = view.rollout.as_ref().filter(|rollout| !rollout.value.phase.is_over()) {
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
) -> Result<u64, PushError> {
    let newest = view.generations.keys().next_back().copied().unwrap_or(0);
    let known = [
        newest,
        view.active.as_ref().map_or(0, |active| active.value.generation),
        view.rollout.as_ref().map_or(0, |rollout| rollout.value.generation),
    ];
    // Numbers of generations that are gone are not used again: engines may have them in force.
    let generation = known.into_iter().max().unwrap_or(0) + 1;
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
    let seen = view.rollout.as_ref().map_or(0, |rollout| rollout.revision);
    let conditions = [(Place::Rollout, seen), (Place::Generation(generation), 0)];
    let values = vec![(Place::Generation(generation), write(&manifest)), (Place::Rollout, write(&rollout))];
    if !store.write_if(&conditions, values).await? {
        return Err(PushError::Overtaken);
    }
    prune(store, view, manifest).await?;
    Ok(generation)
}

/// Removes the oldest generations, and files that none of those needs that stay. No other push can be on its way: this one is.
async fn prune(store: &mut Store, view: &View, newest: Manifest) -> Result<(), StoreError> {
    let active = view.active.as_ref().map_or(0, |active| active.value.generation);
    let excess = (view.generations.len() + 1).saturating_sub(KEPT);
    let old: BTreeSet<_> =
        view.generations.keys().copied().filter(|number| *number != active).take(excess).collect();
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

/// Follows a roll-out until it is over, or waits for the operator. `tell` hears of what has changed; returns the last that was seen.
///
/// # Errors
/// etcd does not answer for that long.
pub async fn follow(
    store: &mut Store,
    generation: u64,
    outage: Duration,
    mut tell: impl FnMut(&View, &Rollout),
) -> Result<Rollout, StoreError> {
    let (mut seen, mut lost) = (None, Instant::now());
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
        if rollout.phase.is_over() || canary_has_it {
            return Ok(rollout);
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

/// Seconds since the Unix epoch.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
