//! Engines that come, go, fail and see the store late: what may never happen does not.

use proptest::prelude::*;

use super::*;
use crate::fleet::schema::{Manifest, Presence, write};

/// A store as etcd is: revisions, comparisons, and whatever was there.
#[derive(Default)]
struct Store {
    revision: i64,
    view: View,
    /// All changes, for those that hear of them later.
    log: Vec<(Place, Option<Vec<u8>>, i64)>,
}

impl Store {
    fn write(&mut self, changes: Vec<(Place, Option<Vec<u8>>)>) {
        self.revision += 1;
        for (place, value) in changes {
            self.view.hear(&place, value.as_deref(), self.revision);
            self.log.push((place, value, self.revision));
        }
    }

    fn revision_of(&self, place: &Place) -> i64 {
        match place {
            Place::Rollout => self.view.rollout.as_ref().map_or(0, |kept| kept.revision),
            Place::Ack(name) => self.view.acks.get(name).map_or(0, |kept| kept.revision),
            Place::Presence(name) => self.view.engines.get(name).map_or(0, |kept| kept.revision),
            place => unreachable!("{place:?} is no condition"),
        }
    }

    fn advance(&mut self, step: &Step) -> bool {
        let holds = step.conditions.iter().all(|(place, revision)| self.revision_of(place) == *revision);
        if holds {
            let mut changes = vec![(Place::Rollout, Some(write(&step.rollout)))];
            changes.extend(step.activate.map(|active| (Place::Active, Some(write(&active)))));
            self.write(changes);
        }
        holds
    }

    fn push(&mut self, generation: u64, canary: Option<&str>, canary_seconds: Option<u64>) {
        self.push_file("0", generation, canary, canary_seconds);
    }

    /// With a file whose hash consists of this digit.
    fn push_file(&mut self, digit: &str, generation: u64, canary: Option<&str>, canary_seconds: Option<u64>) {
        let file =
            crate::fleet::schema::FileEntry { path: "policy.toml".into(), sha256: digit.repeat(64), size: 0 };
        let manifest = Manifest {
            schema: SCHEMA,
            at: 0,
            by: "test".into(),
            note: String::new(),
            rolls_back_to: None,
            files: vec![file],
        };
        let rollout = Rollout {
            schema: SCHEMA,
            generation,
            phase: Phase::Load,
            engines: self.view.engines.keys().cloned().collect(),
            canary: canary.map(str::to_owned),
            canary_seconds,
            patience: 60,
            fault: None,
        };
        self.write(vec![
            (Place::Generation(generation), Some(write(&manifest))),
            (Place::Rollout, Some(write(&rollout))),
        ]);
    }

    fn phase(&self) -> Phase {
        self.view.rollout.as_ref().expect("one was begun").value.phase
    }
}

/// An engine and what it has heard so far.
struct Engine {
    member: Member,
    view: View,
    heard: usize,
    name: String,
    /// It loads, but cannot put in force what it has loaded.
    is_broken: bool,
}

impl Engine {
    fn new(name: &str, in_force: u64, digest: &str) -> Self {
        let member = Member::new(name, in_force, digest);
        Self { member, view: View::default(), heard: 0, name: name.into(), is_broken: false }
    }

    /// A new process, with what was in force.
    fn again(&self) -> Self {
        Self::new(&self.name, self.member.in_force(), self.member.digest())
    }

    fn come(&mut self, store: &mut Store) {
        let presence = Presence { schema: SCHEMA, ..Presence::default() };
        store.write(vec![
            (Place::Ack(self.name.clone()), None),
            (Place::Presence(self.name.clone()), Some(write(&presence))),
        ]);
    }

    fn go(&self, store: &mut Store) {
        store.write(vec![(Place::Presence(self.name.clone()), None), (Place::Ack(self.name.clone()), None)]);
    }

    /// Hears of so many changes more.
    fn hear(&mut self, store: &Store, changes: usize) {
        for (place, value, revision) in store.log.iter().skip(self.heard).take(changes) {
            self.view.hear(place, value.as_deref(), *revision);
            self.heard += 1;
        }
    }

    /// Takes a step; `can_load` says which generations it can have. Returns what it put in force.
    fn step(&mut self, store: &mut Store, seconds: u64, can_load: impl Fn(u64) -> bool) -> Option<u64> {
        let mut forced = None;
        for act in self.member.step(&self.view, Duration::from_secs(seconds)) {
            match act {
                Act::Load(generation) if can_load(generation) => self.member.loaded(generation, Ok(())),
                Act::Load(generation) => {
                    let fault = FaultRecord {
                        file: Some("policy.toml".into()),
                        line: Some(3),
                        key: Some("rule[1].action".into()),
                        text: "no".into(),
                    };
                    self.member.loaded(generation, Err(fault));
                }
                Act::PutInForce(generation) if self.is_broken => {
                    let fault = FaultRecord { text: "broken".into(), ..FaultRecord::default() };
                    self.member.put_in_force(generation, Err(fault));
                }
                Act::PutInForce(generation) => {
                    self.member.put_in_force(generation, Ok(()));
                    forced = Some(generation);
                }
                Act::Acknowledge(ack) => {
                    store.write(vec![(Place::Ack(self.name.clone()), Some(write(&ack)))])
                }
                Act::Advance(step) => {
                    if !store.advance(&step) {
                        self.member.overtaken();
                    }
                }
            }
        }
        forced
    }
}

fn fleet(names: &[&str]) -> (Store, Vec<Engine>) {
    let mut store = Store::default();
    let mut engines: Vec<_> = names.iter().map(|name| Engine::new(name, 0, "")).collect();
    engines.iter_mut().for_each(|engine| engine.come(&mut store));
    (store, engines)
}

/// Until nothing changes any more.
fn settle(store: &mut Store, engines: &mut [Engine], seconds: u64, can_load: impl Fn(&str, u64) -> bool) {
    for _ in 0..20 {
        for engine in engines.iter_mut() {
            engine.hear(store, usize::MAX);
            let name = engine.name.clone();
            engine.step(store, seconds, |generation| can_load(&name, generation));
        }
    }
}

fn in_force(engines: &[Engine]) -> Vec<u64> {
    engines.iter().map(|engine| engine.member.in_force()).collect()
}

#[test]
fn all_load_it_before_any_has_it_in_force() {
    let (mut store, mut engines) = fleet(&["a", "b", "c"]);
    store.push(1, None, None);
    // Two of them are quick.
    settle(&mut store, &mut engines[..2], 0, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Load, vec![0, 0, 0]));
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Done, vec![1, 1, 1]));
}

#[test]
fn one_that_cannot_load_it_stops_it_with_its_name() {
    let (mut store, mut engines) = fleet(&["a", "b", "c"]);
    store.push(1, None, None);
    settle(&mut store, &mut engines, 0, |_, _| true);
    store.push(2, None, None);
    settle(&mut store, &mut engines, 0, |name, generation| (name, generation) != ("b", 2));
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Stopped, vec![1, 1, 1]));
    let fault = store.view.rollout.as_ref().unwrap().value.fault.clone().unwrap();
    assert_eq!(
        (fault.engine.as_str(), fault.fault.to_string().as_str()),
        ("b", "policy.toml:3: rule[1].action: no")
    );
}

#[test]
fn the_canary_has_it_alone_and_goes_back_when_it_is_stopped() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, Some("b"), Some(30));
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Canary, vec![0, 1]));
    settle(&mut store, &mut engines, 29, |_, _| true);
    assert_eq!(store.phase(), Phase::Canary);
    settle(&mut store, &mut engines, 30, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Done, vec![1, 1]));

    store.push(2, Some("a"), None);
    settle(&mut store, &mut engines, 10_000, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Canary, vec![2, 1]), "until an operator says so");
    let stopped = Rollout { phase: Phase::Stopped, ..store.view.rollout.as_ref().unwrap().value.clone() };
    store.write(vec![(Place::Rollout, Some(write(&stopped)))]);
    settle(&mut store, &mut engines, 10_000, |_, _| true);
    assert_eq!(in_force(&engines), [1, 1]);
}

#[test]
fn the_first_canary_goes_back_to_its_own_file() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, Some("a"), None);
    settle(&mut store, &mut engines, 0, |_, _| true);
    let stopped = Rollout { phase: Phase::Stopped, ..store.view.rollout.as_ref().unwrap().value.clone() };
    store.write(vec![(Place::Rollout, Some(write(&stopped)))]);
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!(in_force(&engines), [0, 0]);
}

#[test]
fn one_that_is_gone_is_not_waited_for_and_catches_up() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, None, None);
    engines[1].go(&mut store);
    settle(&mut store, &mut engines[..1], 0, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Done, vec![1, 0]));
    engines[1].come(&mut store);
    let mut late = Engine::new("c", 0, "");
    late.come(&mut store);
    engines.push(late);
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!(in_force(&engines), [1, 1, 1]);
}

#[test]
fn one_that_is_there_and_says_nothing_stops_it_after_a_while() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, None, None);
    settle(&mut store, &mut engines[..1], 60, |_, _| true);
    assert_eq!(store.phase(), Phase::Load);
    settle(&mut store, &mut engines[..1], 121, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Stopped, vec![0, 0]));
    let fault = store.view.rollout.as_ref().unwrap().value.fault.clone().unwrap();
    assert_eq!((fault.engine.as_str(), fault.fault.text.as_str()), ("b", "has not loaded it within 60 s"));
}

#[test]
fn a_store_that_was_emptied_changes_nothing() {
    let (mut store, mut engines) = fleet(&["a"]);
    store.push(1, None, None);
    settle(&mut store, &mut engines, 0, |_, _| true);
    store.write(vec![(Place::Active, None), (Place::Rollout, None), (Place::Generation(1), None)]);
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!(in_force(&engines), [1]);
}

/// Some have it in force: stopping it would leave them with it, and the others without.
#[test]
fn what_all_go_by_is_not_stopped_and_one_that_fails_tries_again() {
    let (mut store, mut engines) = fleet(&["a", "b", "c"]);
    engines[1].is_broken = true;
    store.push(1, None, None);
    for seconds in [0, 61, 10_000] {
        settle(&mut store, &mut engines, seconds, |_, _| true);
        assert_eq!((store.phase(), in_force(&engines)), (Phase::Force, vec![1, 0, 1]));
    }
    let ack = store.view.ack("b", 1).expect("it says so").value.clone();
    assert_eq!((ack.state, ack.fault.expect("why").text.as_str()), (AckState::Fault, "broken"));
    engines[1].is_broken = false;
    settle(&mut store, &mut engines, 10_001, |_, _| true);
    assert_eq!(store.phase(), Phase::Force, "less often each time");
    settle(&mut store, &mut engines, 10_400, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Done, vec![1, 1, 1]));
    assert!(engines[1].member.fault(1).is_none());
}

#[test]
fn a_step_that_came_too_late_is_taken_again() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, None, None);
    for engine in &mut engines {
        engine.hear(&store, usize::MAX);
    }
    engines[1].step(&mut store, 0, |_| true);
    engines[1].step(&mut store, 0, |_| true);
    engines[0].hear(&store, usize::MAX);
    // Meanwhile the other one says the same again.
    let ack = store.view.ack("b", 1).expect("it has loaded it").value.clone();
    store.write(vec![(Place::Ack("b".into()), Some(write(&ack)))]);
    let steps = (0..3).map(|_| engines[0].step(&mut store, 0, |_| true)).filter(Option::is_some).count();
    assert_eq!((store.phase(), steps), (Phase::Load, 0));
    engines[1].go(&mut store);
    settle(&mut store, &mut engines[..1], 0, |_, _| true);
    assert_eq!((store.phase(), engines[0].member.in_force()), (Phase::Done, 1));
}

#[test]
fn a_canary_that_is_started_anew_after_a_while_is_not_late() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, Some("b"), None);
    settle(&mut store, &mut engines, 0, |_, _| true);
    settle(&mut store, &mut engines, 3600, |_, _| true);
    engines[1].go(&mut store);
    settle(&mut store, &mut engines[..1], 3601, |_, _| true);
    assert_eq!(store.phase(), Phase::Canary);
    engines[1] = engines[1].again();
    engines[1].come(&mut store);
    settle(&mut store, &mut engines, 3630, |_, _| true);
    assert_eq!((store.phase(), in_force(&engines)), (Phase::Canary, vec![0, 1]));
    // The other one is, too, and says nothing for longer than is waited for.
    engines[0].go(&mut store);
    engines[0].come(&mut store);
    settle(&mut store, &mut engines[1..], 3700, |_, _| true);
    assert_eq!(store.phase(), Phase::Canary);
    settle(&mut store, &mut engines[1..], 3761, |_, _| true);
    assert_eq!(store.phase(), Phase::Stopped);
    let fault = store.view.rollout.as_ref().unwrap().value.fault.clone().unwrap();
    assert_eq!((fault.engine.as_str(), fault.fault.text.as_str()), ("a", "has not loaded it within 60 s"));
}

/// What all go by is tried again, however many others have failed since.
#[test]
fn what_failed_is_remembered_of_few_generations_but_of_the_active_one() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    engines[1].is_broken = true;
    store.push(1, None, None);
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!(store.phase(), Phase::Force);
    for generation in 2..40 {
        store.push(generation, None, None);
        settle(&mut store, &mut engines, generation, |name, n| n == 1 || name != "b");
        assert_eq!(store.phase(), Phase::Stopped);
        assert!(engines[1].member.fault(1).is_some(), "after {generation}");
        assert!(engines[1].member.failed.len() <= MAX_FAILED);
    }
    engines[1].is_broken = false;
    settle(&mut store, &mut engines, 10_000, |name, n| n == 1 || name != "b");
    assert_eq!(in_force(&engines), [1, 1]);
}

/// The canary had not gone back before the next generation was pushed, and that was stopped, too.
#[test]
fn a_canary_goes_back_to_its_own_file_from_each_generation_that_was_stopped() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, Some("a"), None);
    settle(&mut store, &mut engines, 0, |_, _| true);
    for generation in [2, 3] {
        let stopped = Rollout { phase: Phase::Stopped, ..store.view.rollout.as_ref().unwrap().value.clone() };
        store.write(vec![(Place::Rollout, Some(write(&stopped)))]);
        if generation == 2 {
            store.push(2, None, None);
        }
    }
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!(in_force(&engines), [0, 0]);
}

/// Its number is no proof that an engine has a generation.
#[test]
fn another_generation_with_the_same_number_is_another_one() {
    let (mut store, mut engines) = fleet(&["a", "b"]);
    store.push(1, None, None);
    settle(&mut store, &mut engines, 0, |_, _| true);
    engines[1].go(&mut store);
    let before = engines[1].member.digest().to_owned();
    // Emptied, and filled anew while one is away.
    store.write(vec![(Place::Active, None), (Place::Rollout, None), (Place::Generation(1), None)]);
    store.push_file("1", 1, None, None);
    settle(&mut store, &mut engines[..1], 0, |_, _| true);
    assert_eq!(store.phase(), Phase::Done);
    assert_ne!(engines[0].member.digest(), before);
    engines[1] = engines[1].again();
    engines[1].come(&mut store);
    settle(&mut store, &mut engines, 0, |_, _| true);
    assert_eq!(engines[1].member.digest(), engines[0].member.digest());
    let ack = store.view.ack("b", 1).expect("of these files");
    assert_eq!(ack.value.state, AckState::InForce);
}

#[derive(Clone, Debug)]
enum Event {
    /// This engine hears of so many changes, and takes a step.
    Step(usize, usize),
    /// It ends, or comes anew, with what it had in force.
    Restart(usize),
    Go(usize),
    /// With a canary or without, if none is on its way or the last one is being put in force: as `push` lets operators.
    Push(bool),
    /// An operator stops it, where that may be.
    Stop,
    /// From now on, this engine cannot put in force what it loads, or can again.
    Break(usize, bool),
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (0..4usize, 0..6usize).prop_map(|(engine, changes)| Event::Step(engine, changes)),
        1 => (0..4usize).prop_map(Event::Restart),
        1 => (0..4usize).prop_map(Event::Go),
        2 => any::<bool>().prop_map(Event::Push),
        1 => Just(Event::Stop),
        1 => (0..4usize, any::<bool>()).prop_map(|(engine, is_broken)| Event::Break(engine, is_broken)),
        1 => (0..40u64).prop_map(Event::Time),
    ]
}

proptest! {
    /// Whatever comes when: before a generation is active, all engines that take part and are there have loaded it; no engine but the
    /// canary has one in force that is not active; and a generation that somebody cannot load is never active.
    #[test]
    fn no_generation_is_in_force_before_all_have_loaded_it(
        events in proptest::collection::vec(event(), 1..400), bad in 0..4usize
    ) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let (mut store, mut engines) = fleet(&NAMES);
        let (mut seconds, mut generation, mut were_active) = (0, 0, vec![0]);
        for event in events {
            match event {
                Event::Step(engine, changes) => {
                    let before = store.view.active.as_ref().map(|active| active.value.generation);
                    let engine = &mut engines[engine];
                    engine.hear(&store, changes);
                    let acks = store.view.clone();
                    // Each third generation is one that an engine cannot load.
                    let name = engine.name.clone();
                    let forced = engine.step(&mut store, seconds, |n| n % 3 != 0 || name != NAMES[bad]);
                    let after = store.view.active.as_ref().map(|active| active.value.generation);
                    let rollout = store.view.rollout.as_ref().map(|kept| &kept.value);
                    if let Some(stopped) = rollout.filter(|rollout| rollout.phase == Phase::Stopped) {
                        prop_assert!(after != Some(stopped.generation), "stopped, and all go by it");
                    }
                    if after != before {
                        let active = after.unwrap();
                        let rollout = store.view.rollout.as_ref().unwrap().value.clone();
                        for engine in rollout.engines.iter().filter(|engine| acks.engines.contains_key(*engine)) {
                            let ack = acks.ack(engine, active);
                            prop_assert!(ack.is_some_and(|ack| ack.value.state != AckState::Fault), "{engine}");
                        }
                        were_active.push(active);
                    }
                    if let Some(forced) = forced {
                        let canary = engine.view.rollout.as_ref().and_then(|rollout| rollout.value.canary.clone());
                        prop_assert!(
                            were_active.contains(&forced) || canary.as_ref() == Some(&engine.name),
                            "{} has {forced} in force", engine.name
                        );
                    }
                }
                Event::Restart(engine) => {
                    engines[engine].go(&mut store);
                    engines[engine] = engines[engine].again();
                    engines[engine].come(&mut store);
                }
                Event::Go(engine) => engines[engine].go(&mut store),
                Event::Push(canary) => {
                    let phase = store.view.rollout.as_ref().map(|kept| kept.value.phase);
                    let may_be = phase.is_none_or(|phase| phase.is_over() || phase == Phase::Force);
                    if may_be && !store.view.engines.is_empty() {
                        generation += 1;
                        store.push(generation, canary.then_some("a"), canary.then_some(5));
                    }
                }
                Event::Stop => {
                    let rollout = store.view.rollout.as_ref().map(|kept| kept.value.clone());
                    if let Some(rollout) = rollout.filter(|one| matches!(one.phase, Phase::Load | Phase::Canary)) {
                        let stopped = Rollout { phase: Phase::Stopped, ..rollout };
                        store.write(vec![(Place::Rollout, Some(write(&stopped)))]);
                    }
                }
                Event::Break(engine, is_broken) => engines[engine].is_broken = is_broken,
                Event::Time(more) => seconds += more,
            }
        }
        // Whatever was: when all are there and can, each roll-out comes to its end, and what all go by is in force everywhere.
        for engine in &mut engines {
            engine.is_broken = false;
            if !store.view.engines.contains_key(&engine.name) {
                engine.member.reconnected();
                engine.come(&mut store);
            }
        }
        for _ in 0..8 {
            seconds += 61;
            settle(&mut store, &mut engines, seconds, |name, n| n % 3 != 0 || name != NAMES[bad]);
        }
        if let Some(rollout) = store.view.rollout.as_ref().map(|kept| &kept.value) {
            // One that was away while the others loaded it, and cannot have it, keeps trying.
            let tries = rollout.phase == Phase::Force
                && rollout.generation % 3 == 0
                && rollout.engines.contains(NAMES[bad]);
            prop_assert!(rollout.phase.is_over() || tries, "{rollout:?}");
        }
        let is_over = store.view.rollout.as_ref().is_some_and(|kept| kept.value.phase.is_over());
        if is_over && store.view.active.is_none() {
            for engine in &engines {
                prop_assert_eq!(engine.member.in_force(), 0, "{}: none was ever decided on", engine.name);
            }
        }
        if let Some(active) = store.view.active.as_ref().map(|kept| kept.value.generation) {
            // One that was away when it was pushed may be the one that cannot have it.
            let can = |engine: &&Engine| active % 3 != 0 || engine.name != NAMES[bad];
            for engine in engines.iter().filter(can) {
                prop_assert_eq!(engine.member.in_force(), active, "{}", engine.name);
            }
        }
    }
}
