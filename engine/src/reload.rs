//! Reload: the configuration and all files that it names, read anew beside the workers and put in force for the flows that begin later.
//!
//! ```text
//! SIGHUP, control channel ──► ReloadHandle ──► ReloadThread ──► Reloader ──► Generations::publish ──► workers
//!                             (bounded queue)   └ looks at lists, and frees what is old
//! ```
//! A configuration with a fault changes nothing. One reload comes after the other.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::level_filters::LevelFilter;
use wireglass_core::flow::{Limits, Shared};
use wireglass_core::mint::CaSigner;
use wireglass_core::policy::Tallies;
use wireglass_core::tls::TlsContext;
use wireglass_core::x509::SetupError;

use crate::config::{CaKeys, Compiled, Config, Faults, FoundFiles, ListFile, PolicyFrom, Startup};
use crate::confine::{self, Kind};
use crate::fleet::schema::FaultRecord;
use crate::generation::{Generations, NotTaken};
use crate::metrics::Metrics;
use crate::signer::SignerHandle;

/// Requests that may wait. More are told so: whoever sends them gets nothing by it that the waiting ones do not bring.
const WAITING: usize = 4;
/// How often the thread looks at lists, and frees what is old.
const LOOK: Duration = Duration::from_millis(250);
/// How long the workers may take to go by new settings. A worker that sleeps wakes within a millisecond.
const TAKING: Duration = Duration::from_secs(5);
/// How often it is looked whether they do.
const GLANCE: Duration = Duration::from_micros(500);

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Number of the settings that are in force now.
    pub generation: u32,
    /// Keys and files that have changed.
    pub changed: Vec<String>,
    /// Keys that have changed and are not in force: the engine has to be started anew for them.
    pub needs_restart: Vec<String>,
}

/// Why a reload has changed nothing.
#[derive(Debug)]
pub enum ReloadError {
    /// The configuration has faults.
    Faults(Faults),
    /// A rule of the file asks for a wire that the engine was not started with.
    NoSuchWire {
        /// The configuration.
        file: String,
        /// The rule's place, from 1.
        rule: usize,
        /// The wire.
        wire: String,
    },
    /// A certificate or a key of the file is no longer what it was a moment ago.
    Tls(String, SetupError),
    /// The signer cannot read the keys of the file, or has found others.
    Signer(String, String),
    /// A worker has not gone by the settings before these yet.
    NotTaken,
    /// All workers have the new settings in their queue, but not all go by them in time: one is stuck.
    Stuck,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults(faults) => write!(f, "{faults}"),
            Self::NoSuchWire { file, rule, wire } => write!(
                f,
                "{file}: rule[{rule}].wire: the running engine has no wire {wire:?}: start it anew to have it"
            ),
            Self::Tls(file, error) => write!(f, "{file}: {error}"),
            Self::Signer(file, why) => write!(f, "{file}: the signer: {why}"),
            Self::NotTaken => {
                f.write_str("a worker does not go by the settings before these yet: it is stuck")
            }
            Self::Stuck => write!(
                f,
                "not all workers go by the new settings within {} s: one is stuck; it will when it moves",
                TAKING.as_secs()
            ),
        }
    }
}

impl std::error::Error for ReloadError {}

impl From<NotTaken> for ReloadError {
    fn from(_: NotTaken) -> Self {
        Self::NotTaken
    }
}

/// Knows what is in force, and puts something else in its place.
pub struct Reloader {
    config: Config,
    startup: Startup,
    generations: Generations,
    metrics: Arc<Metrics>,
    lists: Vec<ListWatch>,
    set_level: Box<dyn Fn(LevelFilter) + Send>,
    stop: Arc<AtomicBool>,
    /// None: this process has the CAs' keys itself.
    signer: Option<SignerHandle>,
    /// A generation of the fleet's policy that is not in force yet.
    prepared: Option<(u64, Prepared)>,
}

/// A configuration that could be put in force.
struct Prepared {
    config: Config,
    changed: Vec<String>,
    tls: Arc<TlsContext>,
    compiled: Compiled,
}

/// When a list that reloads by itself is looked at.
struct ListWatch {
    due: Instant,
    /// What was there when it could not be read: it is not tried again before that changes.
    failed: FoundFiles,
}

impl Reloader {
    /// For an engine that runs with this configuration. `set_level` changes the level of messages; whoever sets `stop` is not kept
    /// waiting for workers.
    pub fn new(
        config: Config,
        generations: Generations,
        metrics: Arc<Metrics>,
        set_level: impl Fn(LevelFilter) + Send + 'static,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let startup = config.startup();
        let lists = Vec::new();
        let set_level = Box::new(set_level);
        let (signer, prepared) = (None, None);
        let mut reloader =
            Self { config, startup, generations, metrics, lists, set_level, stop, signer, prepared };
        reloader.watch_lists();
        reloader
    }

    /// Has the CAs' keys read by this signer, and by nobody else.
    pub fn signed_by(mut self, signer: SignerHandle) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Puts in force what the configuration's file says now.
    ///
    /// # Errors
    /// There is a fault, and nothing has changed; or the workers are [stuck](ReloadError::Stuck).
    pub fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let done = self.load();
        if done.is_err() {
            self.metrics.generation().fail();
        }
        done
    }

    /// Reads a generation of the fleet's policy, checks and compiles it. Nothing changes yet.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub fn prepare(&mut self, generation: u64) -> Result<(), ReloadError> {
        self.prepared = None;
        self.prepared = Some((generation, self.make(PolicyFrom::Generation(generation))?));
        Ok(())
    }

    /// Puts in force what the fleet's state folder says is: what was prepared, if that is it, and the engine's own file has not changed since.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub fn put_in_force(&mut self, generation: u64) -> Result<Reloaded, ReloadError> {
        let prepared = self.prepared.take().filter(|(number, prepared)| {
            let own = std::fs::read_to_string(&self.config.file);
            *number == generation && own.is_ok_and(|own| prepared.config.has_text(&own))
        });
        let done = match prepared {
            Some((_, prepared)) => self.publish_prepared(prepared),
            None => self.load(),
        };
        if done.is_err() {
            self.metrics.generation().fail();
        }
        done
    }

    fn load(&mut self) -> Result<Reloaded, ReloadError> {
        self.prepared = None;
        let prepared = self.make(PolicyFrom::InForce)?;
        self.publish_prepared(prepared)
    }

    /// Reads all anew, beside what is in force.
    fn make(&self, policy: PolicyFrom) -> Result<Prepared, ReloadError> {
        let file = self.config.file.clone();
        let keys = if self.signer.is_some() { CaKeys::Leave } else { CaKeys::Read };
        let mut config = Config::load_with(&file, policy, keys).map_err(ReloadError::Faults)?;
        let running: Vec<_> = self.startup.wires().cloned().collect();
        let strange = config.policy.rules.iter().enumerate().find_map(|(n, rule)| {
            let wire = rule.wire.as_ref().filter(|wire| running.iter().all(|name| **name != ***wire))?;
            Some((n + 1, wire.clone()))
        });
        if let Some((rule, wire)) = strange {
            let file = config.pushed.as_ref().map_or(&file, |pushed| &pushed.file).display().to_string();
            return Err(ReloadError::NoSuchWire { file, rule, wire });
        }
        let changed = self.config.live_changes(&config);
        if self.config.has_same_lists(&config) {
            // So that there are not as many of them as generations with flows.
            config.lists.lists = Arc::clone(&self.config.lists.lists);
        }
        let current = self.generations.current();
        let signer = self.signer.clone().map(|signer| Arc::new(signer) as Arc<dyn CaSigner>);
        let tls = config.tls_context_after(&current.tls, signer);
        let tls = tls.map_err(|error| ReloadError::Tls(file.display().to_string(), error))?;
        let records = config.crypto.record_libraries();
        if records.libraries != current.tls.record_libraries() {
            tracing::info!("records: {records}");
        }
        let tls = Arc::new(tls.with_record_libraries(records.libraries));
        let compiled = config.compile(&self.metrics.tallies());
        Ok(Prepared { config, changed, tls, compiled })
    }

    fn publish_prepared(&mut self, prepared: Prepared) -> Result<Reloaded, ReloadError> {
        // Before the signer has read anything: it would go by settings that the engine does not have.
        if !self.generations.is_taken() {
            return Err(ReloadError::NotTaken);
        }
        let Prepared { config, changed, tls, compiled } = prepared;
        let file = &config.file;
        if let Some(signer) = &self.signer {
            let cas = signer.reload(&self.generations.current().tls.ca_fingerprints(), &self.stop);
            let cas = cas.map_err(|why| ReloadError::Signer(file.display().to_string(), why))?;
            if cas != tls.ca_fingerprints() {
                let why = "it has read other certificates of the CAs than the engine".into();
                return Err(ReloadError::Signer(file.display().to_string(), why));
            }
        }
        let Compiled { policy, filters, tallies } = compiled;
        let current = self.generations.current();
        let shared = Shared {
            policy,
            tls,
            limits: Limits {
                challenge_key: current.limits.challenge_key,
                isn_key: current.limits.isn_key,
                ..config.flow_limits()
            },
            outside_tls: config.intercept.outside_tls,
            page: config.page(),
            filters,
            exclusions: Arc::clone(&current.exclusions),
            mirrors: Arc::clone(&current.mirrors),
            wires: Arc::clone(&current.wires),
        };
        let mut needs_restart = self.startup.changed_keys(&config.startup());
        needs_restart.extend(confine::lacks(&config));
        self.metrics.set_icap(config.icap.services());
        let generation = self.publish(shared, tallies)?;
        (self.set_level)(config.log.level);
        self.generations.current().exclusions.set_lifetime(config.exclusions.lifetime.as_secs());
        self.config = config;
        self.watch_lists();
        self.warn_of_bad_lines();
        self.wait()?;
        Ok(Reloaded { generation, changed, needs_restart })
    }

    /// Reads lists anew that ask for it and whose files have changed. None: there are none.
    pub fn look_at_lists(&mut self, now: Instant) -> Option<Result<Reloaded, ReloadError>> {
        let folder = self.config.policy_folder().to_owned();
        let mut changed = false;
        for (watch, source) in self.lists.iter_mut().zip(&self.config.lists.sources) {
            let Some(every) = source.reload.filter(|_| watch.due <= now) else { continue };
            watch.due = now + every;
            let found = source.look(&folder);
            if found != source.loaded() && found != watch.failed && found.are_settled() {
                watch.failed = found;
                changed = true;
            }
        }
        if !changed {
            return None;
        }
        let done = self.load_lists();
        if done.is_err() {
            self.metrics.generation().fail();
        }
        Some(done)
    }

    /// All of them: they are one table.
    fn load_lists(&mut self) -> Result<Reloaded, ReloadError> {
        let lists = self.config.read_lists().map_err(ReloadError::Faults)?;
        // It was compiled with the lists of before.
        self.prepared = None;
        let before = std::mem::replace(&mut self.config.lists, lists);
        let changed = before.files_that_differ(&self.config.lists);
        // Rules know lists by their places, which are the same in the same text.
        let Compiled { policy, filters, tallies } = self.config.compile(&self.metrics.tallies());
        let shared = Shared { policy, filters, ..self.generations.current().clone() };
        let generation = match self.publish(shared, tallies) {
            Ok(generation) => generation,
            Err(error) => {
                self.config.lists = before;
                return Err(error);
            }
        };
        self.watch_lists();
        self.warn_of_bad_lines();
        self.wait()?;
        Ok(Reloaded { generation, changed, needs_restart: Vec::new() })
    }

    /// Frees what no flow goes by any more.
    pub fn collect(&mut self) {
        self.metrics.generation().set_older(self.generations.collect());
    }

    fn publish(&mut self, shared: Shared, tallies: Tallies) -> Result<u32, ReloadError> {
        let (records, ends) = (shared.tls.record_libraries(), shared.tls.authorities_end());
        let generation = self.generations.publish(shared)?;
        self.metrics.set_records(records);
        self.metrics.set_authorities_end(ends);
        self.metrics.set_tallies(tallies);
        self.metrics.generation().begin(generation);
        Ok(generation)
    }

    /// Until all workers go by what was published.
    fn wait(&self) -> Result<(), ReloadError> {
        let deadline = Instant::now() + TAKING;
        while !self.generations.is_taken() && !self.stop.load(Ordering::Relaxed) {
            if Instant::now() >= deadline {
                return Err(ReloadError::Stuck);
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn watch_lists(&mut self) {
        let now = Instant::now();
        let watch = |every: Option<Duration>| ListWatch {
            due: now + every.unwrap_or_default(),
            failed: FoundFiles::default(),
        };
        self.lists = self.config.lists.sources.iter().map(|source| watch(source.reload)).collect();
    }

    fn warn_of_bad_lines(&self) {
        let files = self.config.lists.sources.iter().flat_map(|source| &source.files);
        files.flat_map(ListFile::bad_lines).for_each(|bad| tracing::warn!("{bad}"));
    }
}

/// What the thread is asked for.
enum Request {
    /// A reload, and where the answer goes: nowhere, if nobody waits for it.
    Reload(Sender<Result<Reloaded, String>>),
    /// Messages of this level and worse, until the next reload.
    Level(LevelFilter),
    /// A generation of the fleet's policy, to be loaded or put in force.
    Fleet(FleetStep, u64, Sender<Result<(), FaultRecord>>),
}

/// What is to become of a generation of the fleet's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetStep {
    /// It is read, checked and compiled.
    Prepare,
    /// It is put in force.
    PutInForce,
}

/// Asks for reloads.
#[derive(Clone)]
pub struct ReloadHandle(Sender<Request>);

/// So many reloads are waiting already that no more are taken, or the engine is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl ReloadHandle {
    /// Asks for one. The answer comes when it is done; an error's text has file, line and key of each fault.
    ///
    /// # Errors
    /// Too many are waiting.
    pub fn ask(&self) -> Result<Receiver<Result<Reloaded, String>>, Busy> {
        let (answer, answers) = bounded(1);
        self.0.try_send(Request::Reload(answer)).map_err(|_| Busy)?;
        Ok(answers)
    }

    /// Has a generation of the fleet's policy loaded, or put in force.
    ///
    /// # Errors
    /// Too many requests are waiting.
    pub fn fleet(&self, step: FleetStep, generation: u64) -> Result<Receiver<Result<(), FaultRecord>>, Busy> {
        let (answer, answers) = bounded(1);
        self.0.try_send(Request::Fleet(step, generation, answer)).map_err(|_| Busy)?;
        Ok(answers)
    }

    /// Changes the level of messages, until the next reload.
    ///
    /// # Errors
    /// Too many reloads are waiting.
    pub fn set_level(&self, level: LevelFilter) -> Result<(), Busy> {
        self.0.try_send(Request::Level(level)).map_err(|_| Busy)
    }
}

/// Reloads, beside the workers and the main thread. It ends when all its handles are gone.
pub struct ReloadThread {
    thread: JoinHandle<()>,
}

impl ReloadThread {
    /// Starts it. `before` is called before each reload that somebody asks for: what a reload does beside the configuration.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(reloader: Reloader, before: impl Fn() + Send + 'static) -> io::Result<(Self, ReloadHandle)> {
        let (sender, receiver) = bounded(WAITING);
        let run = move || {
            confine::enter(Kind::Reload);
            serve(reloader, &receiver, &before);
        };
        let thread = thread::Builder::new().name("wg-reload".into()).spawn(run)?;
        Ok((Self { thread }, ReloadHandle(sender)))
    }

    /// Waits for its end.
    pub fn join(self) {
        // A panic has been told; the engine is stopping anyway.
        let _ = self.thread.join();
    }
}

fn serve(mut reloader: Reloader, requests: &Receiver<Request>, before: &dyn Fn()) {
    loop {
        match requests.recv_timeout(LOOK) {
            Ok(Request::Level(level)) => (reloader.set_level)(level),
            Ok(Request::Reload(answer)) => {
                before();
                let done = reloader.reload();
                tell(&done);
                // Nobody may be waiting.
                let _ = answer.try_send(done.map_err(|error| error.to_string()));
            }
            Ok(Request::Fleet(FleetStep::Prepare, generation, answer)) => {
                let done = reloader.prepare(generation);
                let _ = answer.try_send(done.map_err(|error| (&error).into()));
            }
            Ok(Request::Fleet(FleetStep::PutInForce, generation, answer)) => {
                let done = reloader.put_in_force(generation);
                tell(&done);
                let done = match done {
                    // The workers have it in their queues: it is in force, late at one of them.
                    Ok(_) | Err(ReloadError::Stuck) => Ok(()),
                    Err(error) => Err((&error).into()),
                };
                let _ = answer.try_send(done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(done) = reloader.look_at_lists(Instant::now()) {
            tell(&done);
        }
        reloader.collect();
    }
}

fn tell(done: &Result<Reloaded, ReloadError>) {
    match done {
        Ok(Reloaded { generation, changed, needs_restart }) => {
            let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
            tracing::info!("reloaded: generation {generation}; changed: {changed}");
            if !needs_restart.is_empty() {
                tracing::warn!(
                    "changed, but in effect only after a restart of the engine: {}",
                    needs_restart.join(", ")
                );
            }
        }
        Err(error) => {
            tracing::error!(
                "not reloaded: the previous configuration stays in effect. Fix the faults and reload again"
            );
            error.to_string().lines().for_each(|line| tracing::error!("{line}"));
        }
    }
}
