//! `wireglass run`: the engine on real ports, from start to clean stop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tracing::level_filters::LevelFilter;
use wireglass_core::capture::{CaptureRing, WorkerCapture};
use wireglass_core::exclusions::Exclusions;
use wireglass_core::order::Order;
use wireglass_core::packet::KeyHasher;
use wireglass_core::phase::FlowPhase;
use wireglass_core::policy::Tallies;
use wireglass_core::tls::{Fetcher, TlsContext};

use super::failures::FailureWatch;
use super::ports::{eal_arguments, mirror_ports, ports_are_free, ports_can_open, wire_ports};
use super::rehearsal::{
    capture_fault, control_fault, exclusions_fault, log_fault, metrics_fault, verdicts_fault,
};
use super::run_fleet::{FleetPart, make_folder};
use super::supervisor::Supervisor;
use super::take_over::take_over_from;
use crate::capture::CaptureWriter;
use crate::config::{Compiled, Config, ListFile, Workers};
use crate::confine;
use crate::control::{ControlServer, ControlSocket, WholeEngine};
use crate::cores::place_other_threads;
use crate::driver::dpdk::{Ports, WorkerQueues, on_huge_pages};
use crate::engine_builder::EngineBuilder;
use crate::exclusions::ExclusionFile;
use crate::fetch::FetchThreads;
use crate::flow_dump::FlowDumper;
use crate::generation::Generations;
use crate::handshake_pool::Pool;
use crate::icap::probe_beside;
use crate::links::{LinkWatch, Passing};
use crate::log::{self, LogSender, LogWriter, StatsSource};
use crate::metrics::{Metrics, MetricsServer, PortSources};
use crate::numa;
use crate::reload::{ReloadHandle, ReloadThread, Reloader};
use crate::secrets::Secrets;
use crate::signer::{NotStarted, PIN_REFUSED, SignerClient, SignerHandle};
use crate::verdicts::{Finder, VerdictSender, VerdictServer};
use crate::worker::{Worker, WorkerThread};

/// Events that may wait for the log thread: a second's worth at tens of thousands of connections a second.
const LOG_RING: usize = 65_536;
/// How often the main thread looks at signals and workers.
const WATCH: Duration = Duration::from_millis(100);
/// How long a stop may take before a second signal cuts it short.
const PATIENCE: Duration = Duration::from_secs(1);
/// Share of a worker's frame buffers that may be held while ClientHellos are incomplete: a quarter.
const HELD_SHARE: usize = 4;

/// Runs the engine until SIGINT or SIGTERM. Another one, a second later, kills it; SIGHUP opens the event log anew, and
/// loads the configuration anew. `set_level` changes the level of messages. `take_over`: an engine that runs is to give way, within so long.
///
/// Exit code 0 after a clean stop; 4 if a token has refused the PIN of a CA's key; 1 if it could not start, a worker died, a port was removed or reset, or frame buffers were lost.
pub(super) fn run(
    config: Config,
    take_over: Option<Duration>,
    set_level: impl Fn(LevelFilter) + Send + 'static,
) -> ExitCode {
    match start(config, take_over, set_level) {
        Ok(engine) => engine.run_until_stopped(),
        Err(Failure { message, code }) => {
            errln!("wireglass: {message}");
            code
        }
    }
}

/// The engine could not start.
struct Failure {
    message: String,
    code: ExitCode,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, code: ExitCode::FAILURE }
    }
}

impl From<NotStarted> for Failure {
    fn from(NotStarted { why, pin_refused }: NotStarted) -> Self {
        let code = if pin_refused { ExitCode::from(PIN_REFUSED) } else { ExitCode::FAILURE };
        Self { message: why, code }
    }
}

/// A running engine. The order of the fields does not matter: [`Engine::stop`] takes it apart in the right one.
struct Engine {
    ports: Arc<Ports>,
    links: LinkWatch,
    workers: Vec<WorkerThread>,
    counted: Arc<Metrics>,
    pool: Pool,
    log: LogWriter,
    metrics: Option<MetricsServer>,
    control: Option<ControlServer>,
    verdicts: Option<VerdictServer>,
    capture: Option<CaptureWriter>,
    exclusions: Option<ExclusionFile>,
    fetches: Option<FetchThreads>,
    reloads: (ReloadThread, ReloadHandle),
    fleet: FleetPart,
    signer: Signer,
    failures: FailureWatch,
    signals: Signals,
}

/// Ended when the engine does, or when it cannot start.
struct Signer(Option<SignerClient>);

impl Signer {
    fn handle(&self) -> Result<SignerHandle, String> {
        self.0.as_ref().map(SignerClient::handle).ok_or_else(|| "the signer has ended".into())
    }

    fn is_gone(&self) -> bool {
        self.0.as_ref().is_some_and(SignerClient::is_gone)
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if let Some(signer) = self.0.take() {
            signer.stop();
        }
    }
}

struct Signals {
    stop: Arc<AtomicBool>,
    /// A further signal to stop kills.
    impatient: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

/// What an engine has before its ports are opened.
struct Ready {
    secrets: Secrets,
    signer: Signer,
    fetcher: Option<Arc<Fetcher>>,
    tls: TlsContext,
    compiled: Compiled,
    signals: Signals,
}

/// Makes it, and only then has an engine that runs give way.
fn make_ready(config: &mut Config, take_over: Option<Duration>) -> Result<Ready, Failure> {
    place_other_threads(&config.workers.cores);
    let secrets = Secrets::draw().map_err(|error| error.to_string())?;
    // The signer may read there only if it is there when the signer starts.
    make_folder(config)?;
    // First: it gets nothing of what is opened here.
    let signer = Signer(Some(SignerClient::start(&config.file)?));
    let fetcher = config.fetch.is_on().then(|| {
        let settings = config.fetch.settings.clone();
        Arc::new(Fetcher::new(settings, config.crypto.provider))
    });
    config.trust.knowledge.fetcher.clone_from(&fetcher);
    let records = config.crypto.record_libraries();
    tracing::info!("records: {records}");
    let tls = config.tls_context_signed_by(Arc::new(signer.handle()?)).map_err(|error| error.to_string())?;
    let tls = tls.with_record_libraries(records.libraries);
    tls.caches().measure_with(nanoseconds);
    if let Some(doubt) = config.clock_doubt(&tls) {
        tracing::warn!("{doubt}");
    }
    let list_files = config.lists.sources.iter().flat_map(|source| &source.files);
    list_files.flat_map(ListFile::bad_lines).for_each(|bad| tracing::warn!("{bad}"));
    let compiled = config.compile(&Tallies::default());
    let signals = Signals::register().map_err(|error| format!("cannot handle signals: {error}"))?;
    if let Some(limit) = take_over {
        take_over_from(config, limit, &signals.stop)?;
    }
    Ok(Ready { secrets, signer, fetcher, tls, compiled, signals })
}

fn start(
    mut config: Config,
    take_over: Option<Duration>,
    set_level: impl Fn(LevelFilter) + Send + 'static,
) -> Result<Engine, Failure> {
    let Ready { secrets, signer, fetcher, tls, compiled, signals } = make_ready(&mut config, take_over)?;
    let socket = control_socket(&config)?;
    let ids_socket = verdict_socket(&config)?;
    ports_are_free(&config)?;
    confine::prepare(&config)?;
    let (ports, queues) = open_ports(&config)?;
    // From here on files are opened, and threads started, with what they are to have.
    let confinement = confine::settle(&config)?;
    tracing::info!("confined: {confinement}");
    let wires: Vec<Arc<str>> = config.wires.iter().map(|wire| Arc::clone(&wire.name)).collect();
    let workers = config.workers.cores.len();
    let metrics = Arc::new(Metrics::new(&wires, workers));
    let signing = signer.handle()?;
    metrics.set_signer(Arc::clone(signing.counters()));
    metrics.set_confinement(confinement);
    let (sender, receiver) = log::ring(LOG_RING);
    if let Some(counters) = sender.counters() {
        metrics.set_log(counters);
    }
    let stats = config.log.stats.map(|every| StatsSource { metrics: Arc::clone(&metrics), every });
    let log = LogWriter::start(&config.log.eve, receiver, stats).map_err(log_fault(&config))?;
    let server = config
        .metrics
        .listen
        .map(|address| {
            MetricsServer::start(address, config.metrics.access(), Arc::clone(&metrics))
                .map_err(metrics_fault(address))
        })
        .transpose()?;
    metrics.set_mirrors(config.mirrors.iter().map(|mirror| Arc::clone(&mirror.mirror.name)).collect());
    metrics.set_cores(config.workers.cores.clone());
    let links = watch_ports(&config, &ports, &metrics, &sender)?;
    let (exclusions, exclusion_file) = exclusions(&config, &secrets)?;
    let fetches = fetcher.map(|fetcher| {
        metrics.set_fetcher(Arc::clone(&fetcher));
        FetchThreads::start(&fetcher, config.fetch.timeout)
    });
    let fetches = fetches.transpose().map_err(|error| format!("cannot start a thread: {error}"))?;
    let (capture, captures) = capture(&config, &wires, &sender)?;
    if let Some(capture) = &capture {
        metrics.set_capture(Arc::clone(capture.counters()));
    }
    metrics.set_icap(config.icap.services());
    probe_beside(config.icap.services()).map_err(|error| format!("cannot start a thread: {error}"))?;
    let held_frames = ports.mbufs() / HELD_SHARE;
    let wire_count = wires.len();
    metrics.set_tallies(compiled.tallies.clone());
    let failures = FailureWatch::new(sender.clone());
    let builder = builder(&config, compiled, (tls, exclusions), wires, sender, held_frames, secrets);
    let (threads, stop, reopen) = (config.workers.clone(), Arc::clone(&signals.stop), log.reopener());
    let (counted, told_to_stop) = (Arc::clone(&metrics), Arc::clone(&signals.stop));
    let finder = Finder::new(builder.mirrors.clone(), builder.native_vlans.clone());
    let served_at = server.as_ref().map(MetricsServer::address);
    let in_fleet = (config.fleet.clone(), config.crypto.provider);
    let beside = |Asking { dumper, verdicts, generations }| {
        let block = config.verdicts.block.clone();
        if ids_socket.is_some() {
            metrics.set_verdicts(Arc::clone(verdicts.counters()));
        }
        let listen = |socket| VerdictServer::start(socket, block, finder, verdicts);
        let verdicts = ids_socket.map(listen).transpose()?;
        let shared = generations.current().clone();
        let reloader =
            Reloader::new(config, generations, Arc::clone(&counted), set_level, stop).signed_by(signing);
        let reloads = ReloadThread::start(reloader, reopen)?;
        let fleet = FleetPart::start((&in_fleet.0, in_fleet.1), &reloads.1, &counted, &shared)?;
        let whole = WholeEngine { reload: reloads.1.clone(), stop: told_to_stop, metrics: served_at };
        let serve = |socket| ControlServer::start(socket, dumper, counted, Some(whole));
        Ok((socket.map(serve).transpose()?, verdicts, reloads, fleet))
    };
    let (pool, workers, (control, verdicts, reloads, fleet)) =
        start_workers(&threads, (builder, captures), &metrics, queues, &signals.stop, beside)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
    if take_over.is_some() && reloads.1.ask().is_err() {
        // What was loaded is as old as the other engine took to drain.
        tracing::warn!(
            "the configuration could not be loaded anew after taking over: `wireglass reload` does it"
        );
    }
    confine::enter(confine::Kind::Main);
    tracing::info!(dpdk = ports.version(), "started");
    errln!("wireglass: running, {wire_count} wire(s), {} worker(s)", workers.len());
    Ok(Engine {
        ports,
        links,
        workers,
        counted: metrics,
        pool,
        log,
        metrics: server,
        control,
        verdicts,
        capture,
        exclusions: exclusion_file,
        fetches,
        reloads,
        fleet,
        signer,
        failures,
        signals,
    })
}

/// The ports, with EAL and its threads, and each worker's queues of them.
fn open_ports(config: &Config) -> Result<(Arc<Ports>, Vec<WorkerQueues>), String> {
    ports_can_open(config)?;
    let nodes: Vec<_> = config.workers.cores.iter().map(|core| numa::node_of(*core)).collect();
    let ports = Ports::open(&eal_arguments(config), &wire_ports(config), &mirror_ports(config), &nodes);
    let (ports, queues) = ports.map_err(|error| error.to_string())?;
    Ok((Arc::new(ports), queues))
}

/// Has the ports counted, and their links looked at.
fn watch_ports(
    config: &Config,
    ports: &Arc<Ports>,
    metrics: &Metrics,
    log: &LogSender,
) -> Result<LinkWatch, String> {
    metrics.set_ports(while_open(ports, Ports::statistics));
    metrics.set_pools(while_open(ports, Ports::pools));
    let names: Vec<_> = config.wires.iter().map(|wire| Arc::clone(&wire.name)).collect();
    let links = while_open(ports, move |ports| ports.links(&names));
    let links = LinkWatch::start(links, passing(config, ports), log.clone())
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let extra = while_open(ports, Ports::extra);
    metrics.set_port_sources(PortSources { links: Box::new(links.source()), extra: Box::new(extra) });
    Ok(links)
}

/// Who writes what is captured, and each worker's end of that.
fn capture(
    config: &Config,
    wires: &[Arc<str>],
    log: &LogSender,
) -> Result<(Option<CaptureWriter>, Vec<WorkerCapture>), String> {
    let plan = &config.capture;
    if !plan.is_on() {
        return Ok((None, Vec::new()));
    }
    let rings: Vec<_> = config.workers.cores.iter().map(|_| Arc::new(CaptureRing::default())).collect();
    let workers = rings.iter().map(|ring| WorkerCapture::new(plan.settings(), Arc::clone(ring))).collect();
    let writer =
        CaptureWriter::start(plan.clone(), rings, wires, &config.file, log.clone()).map_err(capture_fault)?;
    Ok((Some(writer), workers))
}

/// The wires that pass the loss of a link on.
fn passing(config: &Config, ports: &Arc<Ports>) -> Passing {
    let wires = config.wires.iter().map(|wire| (Arc::clone(&wire.name), wire.link_state));
    let (looked, set) = (Arc::downgrade(ports), Arc::downgrade(ports));
    Passing::new(
        Instant::now(),
        wires,
        move |port| looked.upgrade()?.has_link(port),
        move |port, up| set.upgrade().map_or(Ok(()), |ports| ports.set_link(port, up)),
    )
}

/// Servers that are known from before, and who keeps them.
fn exclusions(
    config: &Config,
    secrets: &Secrets,
) -> Result<(Arc<Exclusions>, Option<ExclusionFile>), String> {
    let exclusions = Arc::new(Exclusions::new(secrets.exclusions));
    exclusions.set_lifetime(config.exclusions.lifetime.as_secs());
    let Some(path) = config.exclusions.file.clone() else { return Ok((exclusions, None)) };
    let fault = exclusions_fault(&path);
    let (known, wrong) = crate::exclusions::load(&path, &exclusions).map_err(&fault)?;
    wrong.iter().for_each(|line| tracing::warn!("{line}"));
    tracing::info!("{known} exclusions are known from before");
    let file = ExclusionFile::start(path.clone(), Arc::clone(&exclusions)).map_err(fault)?;
    Ok((exclusions, Some(file)))
}

/// Reads the ports, but not for longer than they live: who reads must not keep them open.
fn while_open<T: Default, R: Fn(&Ports) -> T + Send + Sync>(
    ports: &Arc<Ports>,
    read: R,
) -> impl Fn() -> T + Send + Sync + use<T, R> {
    let ports = Arc::downgrade(ports);
    move || ports.upgrade().map(|ports| read(&ports)).unwrap_or_default()
}

fn builder(
    config: &Config,
    Compiled { policy, filters, tallies: _ }: Compiled,
    (tls, exclusions): (TlsContext, Arc<Exclusions>),
    wires: Vec<Arc<str>>,
    log: LogSender,
    held_frames: usize,
    secrets: Secrets,
) -> EngineBuilder {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    EngineBuilder {
        policy,
        tls,
        limits: config.flow_limits(),
        outside_tls: config.intercept.outside_tls,
        filters,
        page: config.page(),
        exclusions,
        mirrors: config.mirrors.iter().map(|mirror| mirror.mirror.clone()).collect(),
        wires,
        handshake_threads: config.workers.handshake_threads,
        content_threads: config.content.threads,
        flows: config.limits.flows,
        held_frames,
        log,
        flow_bytes: config.limits.worker_bytes,
        native_vlans: config.wires.iter().map(|wire| wire.native_vlan).collect(),
        secrets,
        // JSON readers take numbers up to 2^53 as they are: 21 bits of seconds, 32 bits of flows.
        epoch: (since_1970.as_secs() & 0x1f_ffff) << 32,
    }
}

/// What asks the workers and tells them.
struct Asking {
    dumper: FlowDumper,
    verdicts: VerdictSender,
    generations: Generations,
}

/// `beside` starts what asks the workers and what reloads, before they run: it may fail, and they could not be left alone then.
fn start_workers<B>(
    workers: &Workers,
    (builder, captures): (EngineBuilder, Vec<WorkerCapture>),
    metrics: &Arc<Metrics>,
    queues: Vec<WorkerQueues>,
    stop: &Arc<AtomicBool>,
    beside: impl FnOnce(Asking) -> std::io::Result<B>,
) -> std::io::Result<(Pool, Vec<WorkerThread>, B)> {
    let hasher = KeyHasher::new(builder.secrets.flow_hash);
    let (pool, parts, generations) = builder.workers(metrics, queues.len())?;
    let beside = beside(Asking {
        dumper: FlowDumper::new(parts.iter().map(|parts| &parts.responder)),
        verdicts: VerdictSender::new(parts.iter().map(|parts| &parts.verdicts), hasher),
        generations,
    })?;
    let mut threads = Vec::new();
    let mut captures = captures.into_iter();
    for ((parts, queues), &core) in parts.into_iter().zip(queues).zip(&workers.cores) {
        let capture = captures.next();
        let make = move |now, wall| {
            on_huge_pages(Worker::new(parts, queues.on_this_thread(), now, wall)).capturing(capture)
        };
        let name = format!("wg-worker-{core}");
        match WorkerThread::start(
            name,
            Some(core),
            (workers.idle, workers.on_worker_failure),
            Arc::clone(stop),
            make,
        ) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                // The pool waits for all its clients when it is dropped, and those that run hold theirs.
                stop.store(true, Ordering::Relaxed);
                for thread in threads {
                    thread.join();
                }
                return Err(error);
            }
        }
    }
    Ok((pool, threads, beside))
}

/// Before the ports are opened: a second engine shall not get so far.
fn control_socket(config: &Config) -> Result<Option<ControlSocket>, String> {
    let bind = |path: &Path| ControlSocket::bind_for(path, config.control.read_group);
    let socket = config.control.socket.as_deref().map(bind).transpose();
    socket.map_err(control_fault)
}

/// Likewise.
fn verdict_socket(config: &Config) -> Result<Option<ControlSocket>, String> {
    let socket = config.verdicts.listen.as_deref().map(ControlSocket::bind).transpose();
    socket.map_err(verdicts_fault)
}

/// Since the first call.
fn nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl Signals {
    fn register() -> std::io::Result<Self> {
        let signals = Self { stop: Arc::default(), impatient: Arc::default(), reload: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&signals.impatient))?;
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        Ok(signals)
    }

    /// The engine is stopping. Wrappers often send a signal twice (to the process and to its group), so only one that
    /// comes later is meant to kill.
    fn stopping(&self) {
        let impatient = Arc::clone(&self.impatient);
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            impatient.store(true, Ordering::Relaxed);
        });
    }
}

/// Ends orders of an operator whose time is up, and tells what becomes of them.
#[derive(Default)]
struct OrderWatch {
    /// It was told that no decrypted flow is left.
    is_drained: bool,
}

impl OrderWatch {
    fn look(&mut self, now: Instant, metrics: &Metrics) {
        for order in metrics.orders().end_due(now) {
            let stands = metrics.orders().list(now).iter().any(|held| held.order == order);
            let then = if stands { "the fleet's still stands" } else { "policy decides again" };
            tracing::warn!(order = order.name(), "the time of an operator's order is up: {then}");
        }
        let drains = metrics.orders().list(now).iter().any(|held| held.order == Order::Drain);
        let is_drained = drains && metrics.flows_now(FlowPhase::Decrypted) == 0;
        if is_drained && !self.is_drained {
            tracing::info!("drained: no decrypted flow is left");
        }
        self.is_drained = is_drained;
    }
}

impl Engine {
    fn run_until_stopped(mut self) -> ExitCode {
        let mut dead_worker = None;
        let mut lost = false;
        let mut supervisor = Supervisor::ready();
        let mut orders = OrderWatch::default();
        while !self.signals.stop.load(Ordering::Relaxed) {
            if self.signals.reload.swap(false, Ordering::Relaxed) {
                self.log.reopen();
                if self.reloads.1.ask().is_err() {
                    tracing::warn!("SIGHUP: the event log is reopened; other reloads are waiting already");
                }
            }
            if let Some(worker) = self.workers.iter().position(WorkerThread::is_finished) {
                dead_worker = Some(worker);
                self.signals.stop.store(true, Ordering::Relaxed);
            }
            if let Some((port, why)) = self.ports.lost() {
                // Of a removed device, the kernel waits for this process to let go. A wire with one end is none.
                errln!("wireglass: port {port} {why}");
                lost = true;
                self.signals.stop.store(true, Ordering::Relaxed);
            }
            if self.signer.is_gone() && !lost {
                // It is started again where it dies. Who starts it has died, too, and nothing could be decrypted.
                errln!("wireglass: the signer is gone");
                lost = true;
                self.signals.stop.store(true, Ordering::Relaxed);
            }
            let pulse = supervisor.look(Instant::now(), self.counted.liveness());
            self.failures.look(pulse, &self.counted, &self.links);
            orders.look(Instant::now(), &self.counted);
            self.fleet.look(&self.counted, &self.links);
            std::thread::sleep(WATCH);
        }
        supervisor.stopping();
        if let Some(worker) = dead_worker {
            self.failures.stopped(worker);
        }
        let stopped = self.stop(dead_worker.is_some());
        if dead_worker.is_some() {
            errln!(
                "wireglass: a worker died, which is a fault of wireglass; the messages above say where. Please report it. \
                 The ports' links are down until the next start"
            );
        }
        if stopped && dead_worker.is_none() && !lost { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Who asks the workers goes first, then the workers: they reset their flows and give their queues back. Then what they fed. Then the ports.
    /// Links that are to stay down go down when the resets are out.
    fn stop(self, links_down: bool) -> bool {
        errln!("wireglass: stopping");
        let Self {
            ports,
            links,
            workers,
            counted: _,
            pool,
            log,
            metrics,
            control,
            verdicts,
            capture,
            exclusions,
            fetches,
            reloads,
            fleet,
            signer,
            failures,
            signals,
        } = self;
        signals.stopping();
        drop(failures);
        let links = links_down.then_some(links);
        if let Some(control) = control {
            control.stop();
        }
        if let Some(verdicts) = verdicts {
            verdicts.stop();
        }
        fleet.stop();
        let (reload_thread, reload_handle) = reloads;
        drop(reload_handle);
        reload_thread.join();
        let mut ended_well = true;
        for worker in workers {
            ended_well &= worker.join();
        }
        if let Some(links) = links {
            links.close(true);
        }
        drop(pool);
        drop(signer);
        if let Some(capture) = capture {
            capture.stop();
        }
        if let Some(file) = exclusions {
            file.stop();
        }
        if let Some(fetches) = fetches {
            fetches.stop();
        }
        if let Some(metrics) = metrics {
            metrics.stop();
        }
        log.stop();
        let Some(ports) = Arc::into_inner(ports) else {
            errln!("wireglass: the ports are still in use");
            return false;
        };
        match ports.close() {
            0 => errln!("wireglass: stopped, mbufs balanced"),
            leaked => {
                errln!("wireglass: stopped, mbufs leaked: {leaked}; please report it");
                return false;
            }
        }
        ended_well
    }
}
