//! The metrics page: every counter of every worker in Prometheus' text format, version 0.0.4.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wireglass_core::end::End;
use wireglass_core::exclusions::Exclusions;
use wireglass_core::flow_table::Class;
use wireglass_core::packet::{PassAction, Uninspected};
use wireglass_core::phase::FlowPhase;
use wireglass_core::policy::Tallies;
use wireglass_core::port::PortSide;
use wireglass_core::reason::{InspectorOff, MirrorDrop, PacketDrop, PathMessage, PortDrop, Reason};

use super::generation::GenerationRecord;
use super::icap::IcapServices;
use super::liveness::Liveness;
use super::log_counters::LogCounters;
use super::ports::PortSources;
use crate::capture::CaptureCounters;
use crate::confine::Confinement;
use crate::fleet::status::FleetStatus;
use crate::handshake_pool::JobTimes;
use crate::orders::{OrderedBy, Orders};
use crate::signer::SignerCounters;
use crate::verdicts::VerdictCounters;
use wireglass_core::caches::TlsCaches;
use wireglass_core::counters::{Kind, PortCounters, SCALARS, WorkerCounters};
use wireglass_core::event::MintedBy;
use wireglass_core::histogram::{BOUNDS_MICROS, HistogramReading};
use wireglass_core::order::Order;
use wireglass_core::tls::{FetchKind, FetchOutcome, Fetcher, RecordLibraries};

/// What a port's driver counts by itself, since the engine started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// The device, as the configuration names it.
    pub port: String,
    /// Frames the port received and handed over.
    pub rx_packets: u64,
    /// Bytes of those.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes of those.
    pub tx_bytes: u64,
    /// Frames lost because the receive ring was full (DPDK's `imissed`).
    pub rx_missed: u64,
    /// Frames received with an error (`ierrors`).
    pub rx_errors: u64,
    /// Frames that could not be sent (`oerrors`).
    pub tx_errors: u64,
    /// Receive buffers that could not be allocated (`rx_nombuf`).
    pub rx_no_buffer: u64,
}

impl PortStatistics {
    /// Frames lost at the port for this reason.
    pub const fn dropped(&self, why: PortDrop) -> u64 {
        match why {
            PortDrop::RxMissed => self.rx_missed,
            PortDrop::RxNoBuffer => self.rx_no_buffer,
            PortDrop::RxErrors => self.rx_errors,
            PortDrop::TxErrors => self.tx_errors,
        }
    }
}

/// Buffers of a worker, made at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStatistics {
    /// Whose.
    pub worker: usize,
    /// What for: `frames`, `records`, `short` (ones), `references` (to records, in frames) or `mirror`.
    pub pool: &'static str,
    /// Those that are out: in the rings of the ports, or with a worker. Nearly so, while workers take and give.
    pub in_use: u64,
    /// All of them.
    pub size: u64,
}

type PortSource = Box<dyn Fn() -> Vec<PortStatistics> + Send + Sync>;
type PoolSource = Box<dyn Fn() -> Vec<PoolStatistics> + Send + Sync>;

/// The engine's numbers: made once at the start, read by the metrics page and by the `stats` event.
pub struct Metrics {
    started: Instant,
    pub(super) started_unix: f64,
    wires: Vec<Arc<str>>,
    workers: Vec<Arc<WorkerCounters>>,
    liveness: Liveness,
    generation: GenerationRecord,
    orders: Orders,
    log: OnceLock<Arc<LogCounters>>,
    tls: OnceLock<Arc<TlsCaches>>,
    exclusions: OnceLock<Arc<Exclusions>>,
    fetcher: OnceLock<Arc<Fetcher>>,
    pub(super) signer: OnceLock<Arc<SignerCounters>>,
    ports: OnceLock<PortSource>,
    port_sources: OnceLock<PortSources>,
    pools: OnceLock<PoolSource>,
    cores: OnceLock<Vec<usize>>,
    mirrors: OnceLock<Vec<Arc<str>>>,
    pub(super) capture: OnceLock<Arc<CaptureCounters>>,
    pub(super) verdicts: OnceLock<Arc<VerdictCounters>>,
    pub(super) fleet: OnceLock<Arc<FleetStatus>>,
    tallies: Mutex<Tallies>,
    pub(super) icap: Mutex<IcapServices>,
    records: Mutex<Option<RecordLibraries>>,
    pub(super) confinement: OnceLock<Confinement>,
    job_times: OnceLock<[(&'static str, Arc<JobTimes>); 2]>,
    /// Seconds since the Unix epoch; 0: nobody has said.
    authorities_end: [AtomicI64; 2],
}

impl Metrics {
    /// Zeros, for these wires and so many workers; the uptime starts here.
    pub fn new(wires: &[Arc<str>], workers: usize) -> Self {
        let started = Instant::now();
        let workers: Vec<_> = (0..workers).map(|_| Arc::new(WorkerCounters::new(wires.len()))).collect();
        Self {
            started,
            started_unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()),
            wires: wires.to_vec(),
            liveness: Liveness::new(&workers, started),
            workers,
            generation: GenerationRecord::new(started),
            orders: Orders::default(),
            log: OnceLock::new(),
            tls: OnceLock::new(),
            exclusions: OnceLock::new(),
            fetcher: OnceLock::new(),
            signer: OnceLock::new(),
            ports: OnceLock::new(),
            port_sources: OnceLock::new(),
            pools: OnceLock::new(),
            cores: OnceLock::new(),
            mirrors: OnceLock::new(),
            capture: OnceLock::new(),
            verdicts: OnceLock::new(),
            fleet: OnceLock::new(),
            tallies: Mutex::default(),
            icap: Mutex::default(),
            records: Mutex::default(),
            confinement: OnceLock::new(),
            job_times: OnceLock::new(),
            authorities_end: Default::default(),
        }
    }

    /// The counters of worker `index`, for that worker alone to write.
    pub fn worker(&self, index: usize) -> Option<Arc<WorkerCounters>> {
        self.workers.get(index).cloned()
    }

    /// Whether the workers move.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// The settings that are in force.
    pub fn generation(&self) -> &GenerationRecord {
        &self.generation
    }

    /// What an operator has ordered over policy.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Flows of all workers that are in this phase now.
    pub fn flows_now(&self, phase: FlowPhase) -> u64 {
        self.workers.iter().map(|counters| counters.flows(phase).value()).sum()
    }

    /// Adds the log's counters to what is reported. Only the first call counts.
    pub fn set_log(&self, counters: Arc<LogCounters>) {
        let _ = self.log.set(counters);
    }

    /// Adds the counters of TLS's caches to what is reported. Only the first call counts.
    pub fn set_tls(&self, caches: Arc<TlsCaches>) {
        let _ = self.tls.set(caches);
    }

    /// Adds what is known of servers to what is reported. Only the first call counts.
    pub fn set_exclusions(&self, exclusions: Arc<Exclusions>) {
        let _ = self.exclusions.set(exclusions);
    }

    /// Adds what is fetched to what is reported. Only the first call counts.
    pub fn set_fetcher(&self, fetcher: Arc<Fetcher>) {
        let _ = self.fetcher.set(fetcher);
    }

    /// Adds the ports' own statistics to what is reported; `source` is called for every page, on the thread
    /// that renders it. Only the first call counts.
    pub fn set_ports(&self, source: impl Fn() -> Vec<PortStatistics> + Send + Sync + 'static) {
        let _ = self.ports.set(Box::new(source));
    }

    /// Adds links and drivers' own counters, likewise.
    pub fn set_port_sources(&self, sources: PortSources) {
        let _ = self.port_sources.set(sources);
    }

    pub(super) fn port_sources(&self) -> Option<&PortSources> {
        self.port_sources.get()
    }

    /// Adds the pools of buffers, likewise.
    pub fn set_pools(&self, source: impl Fn() -> Vec<PoolStatistics> + Send + Sync + 'static) {
        let _ = self.pools.set(Box::new(source));
    }

    /// Says on which cores the workers run. Only the first call counts.
    pub fn set_cores(&self, cores: Vec<usize>) {
        let _ = self.cores.set(cores);
    }

    /// Says what the mirrors are called. Only the first call counts.
    pub fn set_mirrors(&self, names: Vec<Arc<str>>) {
        let _ = self.mirrors.set(names);
    }

    pub(crate) fn mirrors(&self) -> &[Arc<str>] {
        self.mirrors.get().map_or(&[], Vec::as_slice)
    }

    /// From now on these counts are those of the rules.
    pub fn set_tallies(&self, tallies: Tallies) {
        *self.tallies.lock().unwrap_or_else(PoisonError::into_inner) = tallies;
    }

    /// The counts of the rules that are in force.
    pub fn tallies(&self) -> Tallies {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these libraries protect the records.
    pub fn set_records(&self, libraries: RecordLibraries) {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = Some(libraries);
    }

    pub(super) fn records(&self) -> Option<RecordLibraries> {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds how long jobs have waited and run, by kind. Only the first call counts.
    pub fn set_job_times(&self, times: [(&'static str, Arc<JobTimes>); 2]) {
        let _ = self.job_times.set(times);
    }

    pub(super) fn job_times(&self) -> &[(&'static str, Arc<JobTimes>)] {
        self.job_times.get().map_or(&[], |times| times)
    }

    /// From now on the CAs' certificates end then, in seconds since the Unix epoch.
    pub fn set_authorities_end(&self, ends: [(MintedBy, i64); 2]) {
        for (by, seconds) in ends {
            self.authorities_end[by as usize].store(seconds, Relaxed);
        }
    }

    /// When they end, those that are known.
    pub(super) fn authorities_end(&self) -> impl Iterator<Item = (MintedBy, i64)> {
        let ends = [MintedBy::Trusted, MintedBy::Untrusted].into_iter();
        ends.map(|by| (by, self.authorities_end[by as usize].load(Relaxed))).filter(|(_, end)| *end != 0)
    }

    pub(super) fn wires(&self) -> &[Arc<str>] {
        &self.wires
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn core(&self, worker: usize) -> Option<usize> {
        self.cores.get()?.get(worker).copied()
    }

    pub(crate) fn workers(&self) -> &[Arc<WorkerCounters>] {
        &self.workers
    }

    /// Those whose frames pass uninspected.
    pub(crate) fn failed_workers(&self) -> impl Iterator<Item = usize> {
        (0..).zip(&self.workers).filter(|(_, counters)| counters.failed.value() > 0).map(|(worker, _)| worker)
    }

    pub(crate) fn log(&self) -> Option<&LogCounters> {
        self.log.get().map(|counters| &**counters)
    }

    /// What is known of servers.
    pub(crate) fn exclusions(&self) -> Option<&Arc<Exclusions>> {
        self.exclusions.get()
    }

    pub(super) fn tls(&self) -> Option<&TlsCaches> {
        self.tls.get().map(|caches| &**caches)
    }

    pub(crate) fn port_statistics(&self) -> Vec<PortStatistics> {
        self.ports.get().map_or_else(Vec::new, |source| source())
    }

    pub(crate) fn pool_statistics(&self) -> Vec<PoolStatistics> {
        self.pools.get().map_or_else(Vec::new, |source| source())
    }

    /// Appends the whole page.
    pub fn render_prometheus(&self, out: &mut String) {
        let mut page = Page { out };
        self.process(&mut page);
        self.settings(&mut page);
        for scalar in SCALARS {
            page.family(scalar.name, scalar.help, scalar.kind);
            for (worker, counters) in self.workers.iter().enumerate() {
                page.sample(scalar.name, &[("worker", &worker)], (scalar.read)(counters));
            }
        }
        self.worker_time(&mut page);
        self.wire_traffic(&mut page);
        self.shares(&mut page);
        self.durations(&mut page);
        self.certificates(&mut page);
        self.by_reason(&mut page);
        self.mirror_counters(&mut page);
        self.verdict_counters(&mut page);
        self.fleet_state(&mut page);
        self.capture_counters(&mut page);
        self.phases_and_plaintext(&mut page);
        self.rules(&mut page);
        self.record_libraries(&mut page);
        self.confined(&mut page);
        self.tls_caches(&mut page);
        self.fetches(&mut page);
        self.signing(&mut page);
        self.icap_services(&mut page);
        self.exclusions_by_cause(&mut page);
        self.orders_page(&mut page);
        self.log_counters(&mut page);
        self.driver_statistics(&mut page);
        self.port_links(&mut page);
        self.port_extra(&mut page);
        self.pools(&mut page);
    }

    fn tls_caches(&self, page: &mut Page<'_>) {
        const FAMILIES: [(&str, &str); 3] = [
            ("wireglass_tls_cache_hits_total", "Times that a TLS cache had what a handshake needed."),
            (
                "wireglass_tls_cache_misses_total",
                "Times that a TLS cache did not have what a handshake needed, or no longer.",
            ),
            ("wireglass_tls_cache_evictions_total", "Entries that a TLS cache dropped because it was full."),
        ];
        let Some(caches) = self.tls() else { return };
        for (n, (name, help)) in FAMILIES.into_iter().enumerate() {
            page.family(name, help, Kind::Counter);
            for (cache, counters) in caches.all() {
                page.sample(name, &[("cache", &cache)], counters.values()[n]);
            }
        }
        let name = "wireglass_costly_chains_total";
        let help = "Servers' chains that took far more work to verify than others; their handshakes come last for a while.";
        page.family(name, help, Kind::Counter);
        page.sample(name, &[], caches.costly_chains());
        let name = "wireglass_revocation_total";
        let help = "Full handshakes with servers whose chain leads to a root, by the certificate's revocation status and its source.";
        page.family(name, help, Kind::Counter);
        for (status, source, handshakes) in caches.revocations() {
            page.sample(name, &[("status", &status), ("source", &source)], handshakes);
        }
    }

    fn fetches(&self, page: &mut Page<'_>) {
        let Some(fetcher) = self.fetcher.get() else { return };
        let name = "wireglass_fetches_total";
        let help = "Requests for CRLs, OCSP responses and issuer certificates, by result.";
        page.family(name, help, Kind::Counter);
        for kind in FetchKind::ALL {
            for outcome in FetchOutcome::ALL {
                let labels: [(&str, &dyn fmt::Display); 2] =
                    [("kind", &kind.name()), ("outcome", &outcome.name())];
                page.sample(name, &labels, fetcher.counted(kind, outcome));
            }
        }
        const GAUGES: [(&str, &str); 3] = [
            ("wireglass_fetch_queue", "Waiting requests for CRLs, OCSP responses and issuer certificates."),
            ("wireglass_fetch_cache_entries", "Fetched answers, and recent failures, that are kept."),
            ("wireglass_fetch_cache_bytes", "Bytes of the fetched answers."),
        ];
        for ((name, help), value) in GAUGES.into_iter().zip(fetcher.sizes()) {
            page.family(name, help, Kind::Gauge);
            page.sample(name, &[], value as u64);
        }
    }

    fn orders_page(&self, page: &mut Page<'_>) {
        let name = "wireglass_operator_order";
        let help = "1 while an operator's order is in force: `wireglass drain`, `wireglass bypass --all`.";
        page.family(name, help, Kind::Gauge);
        let standing = self.orders.list(Instant::now());
        for order in Order::ALL {
            let stands = standing.iter().any(|held| held.order == order && held.by == OrderedBy::Operator);
            page.sample(name, &[("order", &order.name())], u64::from(stands));
        }
        let name = "wireglass_operator_bypassed_total";
        page.family(name, "Flows bypassed by an operator's order.", Kind::Counter);
        for (worker, counters) in self.workers.iter().enumerate() {
            for order in Order::ALL {
                let labels: [Label<'_>; 2] = [("worker", &worker), ("order", &order.name())];
                page.sample(name, &labels, counters.ordered(order).value());
            }
        }
    }

    fn wire_traffic(&self, page: &mut Page<'_>) {
        type Field = (&'static str, &'static str, fn(&PortCounters) -> u64);
        const FIELDS: &[Field] = &[
            ("wireglass_rx_packets_total", "Frames that a worker received.", |p| p.rx_packets.value()),
            ("wireglass_rx_bytes_total", "Bytes of the frames that a worker received.", |p| {
                p.rx_bytes.value()
            }),
            ("wireglass_tx_packets_total", "Frames that a worker sent.", |p| p.tx_packets.value()),
            ("wireglass_tx_bytes_total", "Bytes of the frames that a worker sent.", |p| p.tx_bytes.value()),
        ];
        for (name, help, read) in FIELDS {
            page.family(name, help, Kind::Counter);
            for (worker, counters) in self.workers.iter().enumerate() {
                for (index, wire) in self.wires.iter().enumerate() {
                    for side in PortSide::BOTH {
                        let labels: [Label<'_>; 3] =
                            [("worker", &worker), ("wire", wire), ("side", &side.name())];
                        page.sample(name, &labels, read(counters.port(index, side)));
                    }
                }
            }
        }
    }

    fn by_reason(&self, page: &mut Page<'_>) {
        let name = "wireglass_packets_dropped_total";
        page.family(name, "Packets dropped, by reason.", Kind::Counter);
        self.labelled(page, name, PacketDrop::ALL, |counters, why| counters.dropped(why), PacketDrop::code);
        let name = "wireglass_uninspected_packets_total";
        page.family(
            name,
            "Frames that the engine did not inspect, by class and what happened to them.",
            Kind::Counter,
        );
        for (worker, counters) in self.workers.iter().enumerate() {
            for &class in Uninspected::ALL {
                for action in PassAction::ALL {
                    let labels: [Label<'_>; 3] =
                        [("worker", &worker), ("class", &class.name()), ("action", &action.name())];
                    page.sample(name, &labels, counters.uninspected(class, action).value());
                }
            }
        }
        let name = "wireglass_flows_ended_total";
        page.family(name, "Flows that ended, by reason.", Kind::Counter);
        self.labelled(page, name, Reason::ALL, |counters, why| counters.ended(why), Reason::code);
        let name = "wireglass_http_inspectors_off_total";
        page.family(name, "Flows whose HTTP reader turned itself off, by reason.", Kind::Counter);
        self.labelled(page, name, InspectorOff::ALL, |c, why| c.inspectors_off(why), InspectorOff::code);
        let name = "wireglass_too_big_messages_total";
        page.family(
            name,
            "Routers' messages that a TCP segment was too big, by what happened to them.",
            Kind::Counter,
        );
        self.labelled(page, name, PathMessage::ALL, |c, what| c.path_messages(what), PathMessage::code);
        self.reason_help(page);
    }

    /// The help texts of all reasons, so that a dashboard can show them beside the codes.
    fn reason_help(&self, page: &mut Page<'_>) {
        let name = "wireglass_reason_info";
        page.family(
            name,
            "Always 1; what each reason code means. `wireglass why CODE` says what to do.",
            Kind::Gauge,
        );
        let drops = PacketDrop::ALL.iter().map(|r| (r.code(), r.help()));
        let lost = PortDrop::ALL.iter().map(|r| (r.code(), r.help()));
        let ends = Reason::ALL.iter().map(|r| (r.code(), r.help()));
        let offs = InspectorOff::ALL.iter().map(|r| (r.code(), r.help()));
        let path = PathMessage::ALL.iter().map(|r| (r.code(), r.help()));
        let mirror = MirrorDrop::ALL.iter().map(|r| (r.code(), r.help()));
        for (code, help) in drops.chain(lost).chain(ends).chain(offs).chain(path).chain(mirror) {
            page.sample(name, &[("reason", &code), ("help", &help)], 1);
        }
    }

    pub(super) fn labelled<R: Copy>(
        &self,
        page: &mut Page<'_>,
        name: &str,
        all: &[R],
        read: impl Fn(&WorkerCounters, R) -> u64,
        code: impl Fn(R) -> &'static str,
    ) {
        for (worker, counters) in self.workers.iter().enumerate() {
            for &why in all {
                page.sample(name, &[("worker", &worker), ("reason", &code(why))], read(counters, why));
            }
        }
    }

    fn phases_and_plaintext(&self, page: &mut Page<'_>) {
        let name = "wireglass_flows";
        page.family(name, "Flows that have state now, by phase.", Kind::Gauge);
        for (worker, counters) in self.workers.iter().enumerate() {
            for &phase in FlowPhase::ALL {
                let labels: [Label<'_>; 2] = [("worker", &worker), ("phase", &phase.name())];
                page.sample(name, &labels, counters.flows(phase).value());
            }
        }
        let name = "wireglass_evictions_total";
        page.family(name, "Flows ended early to make room for others, by class.", Kind::Counter);
        for (worker, counters) in self.workers.iter().enumerate() {
            for class in Class::ALL {
                let labels: [Label<'_>; 2] = [("worker", &worker), ("class", &class.name())];
                page.sample(name, &labels, counters.evicted(class).value());
            }
        }
        let name = "wireglass_plaintext_bytes_total";
        page.family(name, "Application bytes decrypted, by the side they came from.", Kind::Counter);
        for (worker, counters) in self.workers.iter().enumerate() {
            for (side, from) in [(End::Client, "client"), (End::Server, "server")] {
                page.sample(name, &[("worker", &worker), ("from", &from)], counters.plaintext(side).value());
            }
        }
    }

    fn driver_statistics(&self, page: &mut Page<'_>) {
        type Field = (&'static str, &'static str, fn(&PortStatistics) -> u64);
        const FIELDS: &[Field] = &[
            ("wireglass_port_rx_packets_total", "Frames the port received, by its driver's count.", |p| {
                p.rx_packets
            }),
            ("wireglass_port_rx_bytes_total", "Bytes the port received, by its driver's count.", |p| {
                p.rx_bytes
            }),
            ("wireglass_port_tx_packets_total", "Frames the port sent, by its driver's count.", |p| {
                p.tx_packets
            }),
            ("wireglass_port_tx_bytes_total", "Bytes the port sent, by its driver's count.", |p| p.tx_bytes),
        ];
        let ports = self.port_statistics();
        if ports.is_empty() {
            return;
        }
        for (name, help, read) in FIELDS {
            page.family(name, help, Kind::Counter);
            for port in &ports {
                page.sample(name, &[("port", &port.port)], read(port));
            }
        }
        let name = "wireglass_port_dropped_total";
        page.family(name, "Frames lost at a port, by reason.", Kind::Counter);
        for port in &ports {
            for &why in PortDrop::ALL {
                page.sample(name, &[("port", &port.port), ("reason", &why.code())], port.dropped(why));
            }
        }
    }

    fn pools(&self, page: &mut Page<'_>) {
        type Field = (&'static str, &'static str, fn(&PoolStatistics) -> u64);
        const FIELDS: &[Field] = &[
            (
                "wireglass_pool_in_use",
                "Buffers in use, in a port's ring or with a worker; approximate.",
                |p| p.in_use,
            ),
            ("wireglass_pool_size", "Buffers in the pool.", |p| p.size),
        ];
        let pools = self.pool_statistics();
        if pools.is_empty() {
            return;
        }
        for (name, help, read) in FIELDS {
            page.family(name, help, Kind::Gauge);
            for pool in &pools {
                page.sample(name, &[("worker", &pool.worker), ("pool", &pool.pool)], read(pool));
            }
        }
    }
}

pub(super) type Label<'a> = (&'static str, &'a dyn fmt::Display);

/// Writes the exposition format. Writing to a `String` cannot fail, so the results are not looked at.
pub(super) struct Page<'a> {
    out: &'a mut String,
}

impl Page<'_> {
    pub(super) fn family(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// The header of a histogram.
    pub(super) fn histogram_family(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} histogram");
    }

    /// One histogram of it. `name` is the family's.
    pub(super) fn histogram(&mut self, name: &str, labels: &[Label<'_>], reading: &HistogramReading) {
        let mut below = 0;
        let bucket = format!("{name}_bucket");
        for (bound, count) in BOUNDS_MICROS.iter().zip(reading.counts) {
            below += count;
            let bound = *bound as f64 / 1e6;
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), below);
        }
        self.sample(&bucket, &[labels, &[("le", &"+Inf")]].concat(), reading.total());
        self.sample(&format!("{name}_sum"), labels, format_args!("{:.9}", reading.nanos as f64 / 1e9));
        self.sample(&format!("{name}_count"), labels, reading.total());
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl fmt::Display) {
        self.out.push_str(name);
        for (index, (key, value)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.out, "{key}=\"");
            let _ = write!(Escaped(self.out), "{value}");
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

/// Label values escape the backslash, the quote and the line feed.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}
