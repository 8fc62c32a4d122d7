//! The thread that is an engine's part in its fleet: it connects to etcd, again and again if need be, hears of all changes, and does what they ask for.
//!
//! ```text
//! connect ► lease ► presence ► all keys ► watch ──┐     each TICK: Member::step ► load, put in force, acknowledge, advance
//!    ▲                                            │     each third of the lease: keep it, and say how the engine is
//!    └── a while later, a longer one each time ◄──┘ something does not answer
//! ```
//! The engine needs none of it to go on: without etcd it goes by what it has.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, TryRecvError};
use etcd_client::EventType;
use wireglass_core::x509::Provider;

use super::bundle::{self, Unpacking, Writing};
use super::keys::Place;
use super::learning::{Learned, Learning};
use super::rollout::{Act, Member};
use super::schema::{FaultRecord, FileEntry, Manifest, Presence, Refused, SCHEMA, read, write};
use super::status::FleetStatus;
use super::store::{Lease, Store, StoreError};
use super::tickets::{SharedTickets, Tickets};
use super::view::View;
use crate::config::{Fleet, Share};
use crate::confine::{self, Kind};
use crate::control::unix_now;

/// How often there is something to do.
const TICK: Duration = Duration::from_millis(100);
/// How long it is waited after the first failure, and after many.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How long a connection has to hold for the next wait to be a short one again.
const STEADY: Duration = Duration::from_secs(30);
/// How long etcd has to take the news that the engine leaves. The lease ends it otherwise.
const LEAVING: Duration = Duration::from_millis(250);

/// What comes of something that takes a while.
pub type Answer = Receiver<Result<(), FaultRecord>>;

/// What a fleet asks of its engine.
pub trait Engine: Send + 'static {
    /// Has it read, check and compile a generation, which lies in the state folder. None: not now.
    fn load(&mut self, generation: u64) -> Option<Answer>;
    /// Has it put one in force, which the state folder says is; 0: its own file. None: not now.
    fn put_in_force(&mut self, generation: u64) -> Option<Answer>;
    /// How it is.
    fn presence(&mut self) -> Presence;
    /// It is to be drained, or no longer.
    fn drain(&mut self, is_on: bool);
    /// Where it has what it learns.
    fn learned(&self) -> Learned;
    /// Where its keys of tickets are; none: it gives none.
    fn tickets(&self) -> Option<&dyn SharedTickets>;
}

/// The thread.
pub struct FleetThread {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl FleetThread {
    /// Starts it.
    ///
    /// # Errors
    /// The thread cannot be started, or the state folder cannot be read.
    pub fn start(
        fleet: Fleet,
        provider: Provider,
        engine: impl Engine,
        status: Arc<FleetStatus>,
    ) -> io::Result<Self> {
        let keys = fleet.keys.as_ref().filter(|_| fleet.shares(Share::Tickets));
        let tickets = keys.and_then(|keys| Tickets::new(&fleet.fleet, keys, provider));
        let learning = Learning::new(&fleet, provider, engine.learned());
        let in_force = crate::config::in_force(&fleet.state_dir).map_err(io::Error::other)?.unwrap_or(0);
        let mut instance = [0; 8];
        getrandom::fill(&mut instance).map_err(|error| io::Error::other(error.to_string()))?;
        status.set_generation(in_force, 0, None);
        let stop = Arc::new(AtomicBool::new(false));
        let mut part = Part {
            member: Member::new(&fleet.name, in_force, &bundle::digest_in_force(&fleet.state_dir)),
            // JSON readers take numbers up to 2^53 as they are.
            instance: u64::from_ne_bytes(instance) >> 11,
            fleet,
            engine: Box::new(engine),
            status,
            stop: Arc::clone(&stop),
            started: Instant::now(),
            pending: Pending::None,
            is_draining: false,
            learning,
            tickets,
        };
        if bundle::is_drained(&part.fleet.state_dir) {
            // Until etcd says otherwise.
            part.drain(true);
        }
        let ends = Ends(Arc::clone(&part.status));
        let thread = thread::Builder::new().name("wg-fleet".into()).spawn(move || {
            let _ends = ends;
            confine::enter(Kind::Fleet);
            let runtime =
                tokio::runtime::Builder::new_current_thread().thread_name("wg-fleet").enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(part.run()),
                Err(error) => tracing::error!("fleet: {error}"),
            }
        })?;
        Ok(Self { thread, stop })
    }

    /// Leaves the fleet, so that it is not waited for. This takes half a second at most, whatever etcd does.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + 2 * LEAVING;
        while Instant::now() < deadline && !self.thread.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Tells that the thread has ended as it should not.
struct Ends(Arc<FleetStatus>);

impl Drop for Ends {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.disconnect("its thread has ended: a fault of wireglass");
            tracing::error!(
                "fleet: its thread has ended: a fault of wireglass; the engine goes on with what it has"
            );
        }
    }
}

/// What was begun and is not done.
enum Pending {
    None,
    Fetch(u64, tokio::task::JoinHandle<Result<(), FetchError>>),
    Load(u64, Answer),
    PutInForce(u64, Answer),
}

/// Why a generation is not here.
enum FetchError {
    /// It is not what it was said to be, or cannot be kept.
    Fault(FaultRecord),
    /// etcd does not answer: it is tried again.
    Store(StoreError),
}

struct Part {
    fleet: Fleet,
    engine: Box<dyn Engine>,
    status: Arc<FleetStatus>,
    stop: Arc<AtomicBool>,
    member: Member,
    /// Tells this process from another one with the same name.
    instance: u64,
    started: Instant,
    pending: Pending,
    is_draining: bool,
    learning: Learning,
    /// None: no secret is shared.
    tickets: Option<Tickets>,
}

impl Part {
    async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        while !self.is_stopping() {
            let began = Instant::now();
            let stop = Arc::clone(&self.stop);
            let done = tokio::select! {
                done = self.session() => done,
                // Whatever it waits for.
                () = stopped(&stop) => return,
            };
            let Err(why) = done else { return };
            self.learning.disconnected();
            if self.status.disconnect(&why) {
                let generation = self.member.in_force();
                tracing::warn!(
                    "fleet: etcd: {why}; the engine goes on with what it has (generation {generation})"
                );
            }
            if began.elapsed() > STEADY {
                wait = FIRST_WAIT;
            }
            self.pause(wait.mul_f64(jitter())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_stopping() {
            tokio::time::sleep(TICK).await;
        }
    }

    /// From a connection to its end. It ends well only when the engine stops.
    async fn session(&mut self) -> Result<(), StoreError> {
        let mut store = Store::connect(&self.fleet).await?;
        let mut lease = store.lease(self.fleet.lease).await?;
        if !self.claim(&mut store, &mut lease).await? {
            return Ok(());
        }
        // Of an earlier process of this name.
        store.delete(&Place::Ack(self.fleet.name.clone())).await?;
        self.member.reconnected();
        self.learning.reconnected();
        if let Some(tickets) = &mut self.tickets {
            tickets.reconnected();
        }
        let status = Arc::clone(&self.status);
        let (mut view, revision) = store.snapshot(|key, why| refuse(&status, key, why)).await?;
        let mut watch = store.watch(revision).await?;
        if self.status.connect() {
            let (fleet, name) = (&self.fleet.fleet, &self.fleet.name);
            tracing::info!("fleet: {name} is in the fleet {fleet}, with {} engine(s)", view.engines.len());
        }
        let keep_every = self.fleet.lease / 3;
        let mut kept = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = watch.message() => {
                    let heard = heard.map_err(|error| format!("watching: {error}"))?;
                    let Some(heard) = heard.filter(|heard| !heard.canceled()) else {
                        return Err("watching: it has ended".into());
                    };
                    for event in heard.events() {
                        let Some(kv) = event.kv() else { continue };
                        let value = (event.event_type() == EventType::Put).then(|| kv.value());
                        store.hear(&mut view, kv.key(), value, kv.mod_revision(), |key, why| refuse(&status, key, why));
                    }
                }
                _ = ticks.tick() => {
                    if self.is_stopping() {
                        let _ = tokio::time::timeout(LEAVING, store.revoke(&lease)).await;
                        return Ok(());
                    }
                    if kept.elapsed() >= keep_every {
                        kept = Instant::now();
                        lease.keep().await?;
                        self.say_presence(&mut store, &lease).await?;
                    }
                    self.tick(&mut store, &lease, &view).await?;
                }
            }
        }
    }

    /// Says that the engine is there, if no other one of its name is. False: the engine stops.
    async fn claim(&mut self, store: &mut Store, lease: &mut Lease) -> Result<bool, StoreError> {
        let place = Place::Presence(self.fleet.name.clone());
        let mut said = false;
        while !self.is_stopping() {
            let value = write(&self.presence());
            let there = store.look(&place).await?;
            let other = there.as_ref().and_then(|(value, _)| read::<Presence>(&place, value).ok());
            // That was this process, on an earlier connection; or nothing that can be read.
            if other.is_none_or(|other| other.instance == self.instance) {
                let revision = there.map_or(0, |(_, revision)| revision);
                if store.claim(&place, revision, value, lease).await? {
                    return Ok(true);
                }
                continue;
            }
            if !std::mem::replace(&mut said, true) {
                let name = &self.fleet.name;
                tracing::warn!(
                    "fleet: there is an engine {name} already, or its lease has not run out: waiting; if it stays, give one of them another fleet.name"
                );
            }
            self.pause(Duration::from_secs(1)).await;
            lease.keep().await?;
        }
        Ok(false)
    }

    fn presence(&mut self) -> Presence {
        Presence {
            schema: SCHEMA,
            version: crate::version::VERSION.into(),
            at: unix_now(),
            instance: self.instance,
            policy: self.fleet.shares(Share::Policy),
            generation: self.member.in_force(),
            draining: self.is_draining,
            ..self.engine.presence()
        }
    }

    async fn say_presence(&mut self, store: &mut Store, lease: &Lease) -> Result<(), StoreError> {
        let presence = write(&self.presence());
        store.put(&Place::Presence(self.fleet.name.clone()), presence, Some(lease)).await
    }

    fn drain(&mut self, is_on: bool) {
        self.is_draining = is_on;
        self.engine.drain(is_on);
        self.status.set_draining(is_on);
    }

    async fn tick(&mut self, store: &mut Store, lease: &Lease, view: &View) -> Result<(), StoreError> {
        let drains = view.drains.contains(&self.fleet.name);
        if drains != self.is_draining {
            if let Err(error) = bundle::keep_drained(&self.fleet.state_dir, drains) {
                tracing::warn!("fleet: {}: {error}", self.fleet.state_dir.display());
            }
            self.drain(drains);
            self.say_presence(store, lease).await?;
        }
        if self.fleet.shares(Share::Policy) {
            let before = self.member.in_force();
            self.look_at_pending().await;
            for act in self.member.step(view, self.started.elapsed()) {
                self.act(act, store, lease, view).await?;
            }
            if self.member.in_force() != before {
                self.say_presence(store, lease).await?;
            }
        }
        self.exchange(store, lease, view).await?;
        let active = view.active.as_ref().map_or(0, |active| active.value.generation);
        let fault = self.member.fault(active).map(ToString::to_string);
        self.status.set_generation(self.member.in_force(), active, fault);
        self.status.set_engines(view.engines.len());
        Ok(())
    }

    /// Tells what was learned, takes what others tell, and the secret of tickets.
    async fn exchange(&mut self, store: &mut Store, lease: &Lease, view: &View) -> Result<(), StoreError> {
        let (now, status) = (unix_now(), Arc::clone(&self.status));
        let changes = self.learning.exchange(view, now, |key, why| refuse(&status, key, why));
        // At once: one after the other, they could take longer than the lease.
        store.write_all(changes, lease).await?;
        let costly = view.costly.iter().filter(|(engine, _)| **engine != self.fleet.name);
        let costly = costly.map(|(_, kept)| kept.value.servers.len()).sum();
        self.status.set_learned(self.learning.chains(), costly);
        if let (Some(tickets), Some(engine)) = (&mut self.tickets, self.engine.tickets()) {
            let refused = |why: &str| {
                status.refuse(Refused::Malformed);
                tracing::warn!(
                    "fleet: the secret of tickets is not taken: {why}; this engine goes on with the one that it has"
                );
            };
            let random = || {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).ok().map(|()| bytes)
            };
            if let Some((value, revision)) = tickets.look(view, engine, now, random, refused) {
                store.write_if(&[(Place::Tickets, revision)], vec![(Place::Tickets, value)]).await?;
            }
        }
        Ok(())
    }

    async fn act(
        &mut self,
        act: Act,
        store: &mut Store,
        lease: &Lease,
        view: &View,
    ) -> Result<(), StoreError> {
        match act {
            Act::Load(generation) => match view.generations.get(&generation) {
                Some(manifest) => {
                    let (state, manifest) = (self.fleet.state_dir.clone(), manifest.value.clone());
                    let keep = vec![self.member.in_force(), generation];
                    let fetch = fetch(store.clone(), state, generation, manifest, keep);
                    self.pending = Pending::Fetch(generation, tokio::spawn(fetch));
                }
                None => {
                    let text = format!("generation {generation} is not in etcd, or cannot be read");
                    self.member.loaded(generation, Err(FaultRecord { text, ..FaultRecord::default() }));
                }
            },
            Act::PutInForce(generation) => self.put_in_force(generation, view.digest(generation)),
            Act::Acknowledge(ack) => {
                store.put(&Place::Ack(self.fleet.name.clone()), write(&ack), Some(lease)).await?;
            }
            Act::Advance(step) => match store.advance(&step).await? {
                true => {
                    let (generation, phase) = (step.rollout.generation, step.rollout.phase);
                    tracing::info!("fleet: generation {generation}: {phase:?}");
                }
                false => self.member.overtaken(),
            },
        }
        Ok(())
    }

    fn put_in_force(&mut self, generation: u64, digest: &str) {
        // First: what reads the configuration anew from now on, as the signer does, is to have it.
        if let Err(error) = bundle::keep_in_force(&self.fleet.state_dir, generation, digest) {
            let fault = cannot_keep(&self.fleet.state_dir, &error);
            return self.member.put_in_force(generation, Err(fault));
        }
        match self.engine.put_in_force(generation) {
            Some(answer) => self.pending = Pending::PutInForce(generation, answer),
            None => self.goes_on(),
        }
    }

    /// Nothing was put in force: what reads the configuration anew is to have what is.
    fn goes_on(&mut self) {
        self.keep_what_is();
        self.member.not_done();
    }

    fn keep_what_is(&self) {
        let state = &self.fleet.state_dir;
        if let Err(error) = bundle::keep_in_force(state, self.member.in_force(), self.member.digest()) {
            tracing::error!("fleet: {}: {error}", state.display());
        }
    }

    async fn look_at_pending(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::None) {
            Pending::None => {}
            Pending::Fetch(generation, fetch) if fetch.is_finished() => match fetch.await {
                Ok(Ok(())) => match self.engine.load(generation) {
                    Some(answer) => self.pending = Pending::Load(generation, answer),
                    None => self.member.not_done(),
                },
                Ok(Err(FetchError::Fault(fault))) => self.member.loaded(generation, Err(fault)),
                Ok(Err(FetchError::Store(why))) => {
                    tracing::warn!("fleet: generation {generation}: {why}");
                    self.member.not_done();
                }
                Err(error) => {
                    tracing::error!("fleet: generation {generation}: {error}");
                    self.member.not_done();
                }
            },
            Pending::Load(generation, answer) => match answer.try_recv() {
                Ok(done) => {
                    if let Err(fault) = &done {
                        tracing::error!("fleet: generation {generation} cannot be loaded: {fault}");
                    }
                    self.member.loaded(generation, done);
                }
                Err(TryRecvError::Empty) => self.pending = Pending::Load(generation, answer),
                Err(TryRecvError::Disconnected) => self.member.not_done(),
            },
            Pending::PutInForce(generation, answer) => match answer.try_recv() {
                Ok(done) => self.is_in_force(generation, done),
                Err(TryRecvError::Empty) => self.pending = Pending::PutInForce(generation, answer),
                Err(TryRecvError::Disconnected) => self.goes_on(),
            },
            pending => self.pending = pending,
        }
    }

    fn is_in_force(&mut self, generation: u64, done: Result<(), FaultRecord>) {
        let state = &self.fleet.state_dir;
        let before = self.member.in_force();
        match &done {
            Ok(()) => {
                tracing::info!("fleet: generation {generation} is in force");
                if let Err(error) = bundle::prune(state, &[generation, before]) {
                    tracing::warn!("fleet: {}: {error}", state.display());
                }
            }
            Err(fault) => {
                tracing::error!("fleet: generation {generation} cannot be put in force: {fault}");
                self.keep_what_is();
            }
        }
        self.member.put_in_force(generation, done);
    }
}

/// Fetches what is not here already. Files are large: they are written, and looked at, beside what keeps the lease.
async fn fetch(
    mut store: Store,
    state: PathBuf,
    generation: u64,
    manifest: Manifest,
    keep: Vec<u64>,
) -> Result<(), FetchError> {
    let failed = |error: io::Error| FetchError::Fault(cannot_keep(&state, &error));
    let (folder, files) = (state.clone(), manifest.clone());
    let begin = move || match bundle::is_here(&folder, generation, &files) {
        true => Ok(None),
        false => Unpacking::begin(&folder, generation, &keep).map(Some),
    };
    let Some(unpacking) = beside(begin).await.map_err(failed)? else { return Ok(()) };
    let unpacking = Arc::new(unpacking);
    for entry in &manifest.files {
        let wrong = |text: String| {
            FetchError::Fault(FaultRecord { file: Some(entry.path.clone()), text, ..FaultRecord::default() })
        };
        let Some(mut file) = begin_file(&unpacking, entry).await.map_err(failed)? else { continue };
        for part in 0..bundle::part_count(entry.size) {
            let piece = store.blob(&entry.sha256, part).await.map_err(FetchError::Store)?;
            let piece = piece.ok_or_else(|| wrong(format!("piece {part} is not in etcd")))?;
            let pushed = beside(move || file.push(&piece).map(|()| file)).await;
            file = pushed.map_err(|error| wrong(error.to_string()))?;
        }
        beside(|| file.end()).await.map_err(|error| wrong(error.to_string()))?;
    }
    let unpacking =
        Arc::into_inner(unpacking).ok_or_else(|| failed(io::Error::other("it is still written")))?;
    beside(|| unpacking.end()).await.map_err(failed)
}

/// None: an earlier generation has it.
async fn begin_file(unpacking: &Arc<Unpacking>, entry: &FileEntry) -> io::Result<Option<Writing>> {
    let (unpacking, entry) = (Arc::clone(unpacking), entry.clone());
    beside(move || match unpacking.reuse(&entry)? {
        true => Ok(None),
        false => unpacking.file(&entry).map(Some),
    })
    .await
}

/// Does it on another thread, which has the same bounds.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A while after the engine is to stop: so long, whoever is connected may say so.
async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
    }
    tokio::time::sleep(LEAVING).await;
}

fn cannot_keep(state: &Path, error: &io::Error) -> FaultRecord {
    let text = format!("cannot keep it in {}: {error}", state.display());
    FaultRecord { key: Some("fleet.state_dir".into()), text, ..FaultRecord::default() }
}

/// Counts a value that was not taken. The first of its kind is told, then each thousandth.
fn refuse(status: &FleetStatus, key: &str, why: Refused) {
    if status.refuse(why) % 1000 == 1 {
        tracing::warn!(
            "fleet: the value of {:?} is not taken: {why}",
            key.chars().take(128).collect::<String>()
        );
    }
}

/// Between a half and one and a half: engines that lost etcd at the same time do not come back at the same time.
fn jitter() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness, they do.
    let _ = getrandom::fill(&mut bytes);
    0.5 + f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}
