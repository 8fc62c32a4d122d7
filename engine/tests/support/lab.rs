//! An engine between two hosts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use wireglass::engine_builder::EngineBuilder;
use wireglass::log::{LogReceiver, ring};
use wireglass::secrets::Secrets;
use wireglass::simulate::{Engine, EngineSettings, Spread};
use wireglass_core::content::{Filters, HttpReaders};
use wireglass_core::counters::WorkerCounters;
use wireglass_core::event::{Event, FlowEvent, HttpEvent, Timestamp, TlsEvent};
use wireglass_core::exclusions::Exclusions;
use wireglass_core::flow::{Limits, OutsideTls};
use wireglass_core::mirror::Mirror;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{TlsContext, TlsSettings};
use wireglass_core::x509::{Provider, RootFile};
use wireglass_testbed::{
    ClientOptions, Duration, EngineCa, Host, HostConfig, Identity, Impairment, Instant, Pki, Report,
    ServerOptions, Session, SessionId, Simulation, Step, Stop, Tag, providers,
};

use super::rules::{Action, Rules};

pub(crate) const NAME: &str = "www.example.com";
/// Virtual time that a run may take; links that lose much cost much of it, but nothing real.
pub(crate) const LIMIT: Duration = Duration::from_secs(3_000);

/// How a run is arranged.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) impairment: Impairment,
    /// Of the hosts.
    pub(crate) mtu: usize,
    /// Of the hosts' sockets, which is the window that they offer at most.
    pub(crate) buffer: usize,
    /// Of the engine's wire.
    pub(crate) wire_mtu: usize,
    pub(crate) tags: Vec<Tag>,
    pub(crate) ipv6: bool,
    pub(crate) timestamps: bool,
    pub(crate) port: u16,
    pub(crate) workers: usize,
    pub(crate) threads: usize,
    pub(crate) spread: Spread,
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
    pub(crate) outside_tls: OutsideTls,
    pub(crate) filters: Arc<dyn Filters>,
    pub(crate) flows: u32,
    pub(crate) held_frames: usize,
    pub(crate) flow_bytes: usize,
    pub(crate) native_vlan: Option<u16>,
    pub(crate) exclusions: Arc<Exclusions>,
    pub(crate) mirrors: Vec<Mirror>,
    /// Frames that a mirror's port takes before somebody reads them.
    pub(crate) mirror_depth: usize,
    /// Number of the client's host: its address ends with it. The server's is 2.
    pub(crate) client: u8,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            impairment: Impairment::default(),
            mtu: 1500,
            buffer: 65_536,
            wire_mtu: 1500,
            tags: Vec::new(),
            ipv6: false,
            timestamps: true,
            port: 443,
            workers: 1,
            threads: 0,
            spread: Spread::Owner,
            rules: Rules::default_is(Action::Decrypt),
            limits: Limits::default(),
            outside_tls: OutsideTls::default(),
            filters: Arc::new(HttpReaders),
            flows: 256,
            held_frames: 1024,
            flow_bytes: 256 << 20,
            native_vlan: None,
            exclusions: Arc::new(Exclusions::new([7; 16])),
            mirrors: Vec::new(),
            mirror_depth: 1 << 20,
            client: 1,
        }
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, impairment, mtu, tags, ipv6, workers, threads, spread, .. } = self;
        write!(f, "seed {seed}, {impairment:?}, MTU {mtu}, tags {tags:?}, IPv6 {ipv6}, ")?;
        write!(f, "{workers} workers, {threads} threads, {spread:?}")
    }
}

/// The server's PKI, the engine's CAs, and how both ends speak TLS.
pub(crate) struct Lab {
    pub(crate) pki: Pki,
    pub(crate) trusted: EngineCa,
    pub(crate) untrusted: EngineCa,
    pub(crate) provider: Provider,
    /// What the client offers; it trusts the engine's trusted CA and nothing else.
    pub(crate) client: ClientOptions,
    pub(crate) server: ServerOptions,
}

impl Lab {
    /// With the first provider that is built in.
    pub(crate) fn new() -> Self {
        Self::with_provider(Provider::default())
    }

    /// Engine and both ends with this provider.
    pub(crate) fn with_provider(provider: Provider) -> Self {
        let pki = Pki::new("Test").unwrap();
        let (trusted, untrusted) =
            (EngineCa::new("Inspection CA").unwrap(), EngineCa::new("Untrusted CA").unwrap());
        let (_, crypto) = providers().into_iter().find(|(name, _)| *name == provider.name()).unwrap();
        let Identity { chain, key } = pki.identity(&[NAME]).unwrap();
        let client = ClientOptions::new(crypto.clone(), vec![trusted.certificate()]);
        let server = ServerOptions::new(crypto, chain, key);
        Self { pki, trusted, untrusted, provider, client, server }
    }

    /// Has the server show this identity.
    pub(crate) fn with_identity(mut self, identity: Identity) -> Self {
        (self.server.chain, self.server.key) = (identity.chain, identity.key);
        self
    }

    /// Has the client trust the server's own root, as without an engine.
    pub(crate) fn trusting_the_server(mut self) -> Self {
        self.client.roots = vec![self.pki.root()];
        self
    }

    /// TLS sessions with these scripts.
    pub(crate) fn sessions(&self, client: Vec<Step>, server: Vec<Step>) -> (Session, Session) {
        (self.client_session(&self.client.build().unwrap(), client), self.server_session(server))
    }

    pub(crate) fn client_session(&self, config: &Arc<ClientConfig>, script: Vec<Step>) -> Session {
        Session::tls_client(Arc::clone(config), NAME, script).unwrap()
    }

    pub(crate) fn server_session(&self, script: Vec<Step>) -> Session {
        Session::tls_server(self.server.build().unwrap(), script).unwrap()
    }

    /// TLS for an engine, with the CAs and the root of this lab; `before`: that of the generation before.
    pub(crate) fn tls(&self, before: Option<&TlsContext>) -> TlsContext {
        self.tls_trusting(&self.pki, before)
    }

    /// The same with another root.
    pub(crate) fn tls_trusting(&self, pki: &Pki, before: Option<&TlsContext>) -> TlsContext {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let settings = TlsSettings {
            provider: self.provider,
            trusted: self.trusted.files(),
            untrusted: self.untrusted.files(),
            crl_url: None,
            knowledge: Default::default(),
            system_roots: None,
            roots: vec![RootFile { name: "test root".into(), pem: pki.root_pem().into_bytes() }],
            now: now.as_secs(),
        };
        match before {
            Some(before) => TlsContext::succeeding(settings, before).unwrap(),
            None => TlsContext::new(settings).unwrap(),
        }
    }

    /// What the engine is built from.
    pub(crate) fn builder(&self, setup: &Setup) -> (EngineBuilder, LogReceiver) {
        let (log, receiver) = ring(10_000);
        let builder = EngineBuilder {
            policy: Arc::new(setup.rules.compile()),
            tls: self.tls(None),
            limits: setup.limits,
            outside_tls: setup.outside_tls,
            filters: Arc::clone(&setup.filters),
            page: Arc::default(),
            exclusions: Arc::clone(&setup.exclusions),
            mirrors: setup.mirrors.clone(),
            wires: vec!["lab".into()],
            handshake_threads: setup.threads,
            content_threads: setup.threads,
            flows: setup.flows,
            held_frames: setup.held_frames,
            log,
            flow_bytes: setup.flow_bytes,
            native_vlans: vec![setup.native_vlan],
            secrets: Secrets::fixed(7),
            epoch: 1,
        };
        (builder, receiver)
    }

    /// The engine alone.
    pub(crate) fn engine(&self, setup: &Setup) -> (Engine, LogReceiver) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let (builder, receiver) = self.builder(setup);
        let settings = EngineSettings {
            workers: setup.workers,
            spread: setup.spread,
            mtu: setup.wire_mtu,
            mirror_depth: setup.mirror_depth,
            started: Timestamp(now.as_micros() as u64),
        };
        (Engine::new(builder, settings).unwrap(), receiver)
    }

    /// Two hosts with the engine between them, and nothing to do yet.
    pub(crate) fn hosts(&self, setup: &Setup) -> Run {
        let (engine, log) = self.engine(setup);
        let host = |number: u8| {
            let seed = setup.seed ^ u64::from(number);
            let Setup { mtu, buffer, timestamps, tags, .. } = setup.clone();
            Host::new(
                Instant::ZERO,
                HostConfig { mtu, buffer, timestamps, tags, seed, ..HostConfig::numbered(number) },
            )
        };
        let simulation = Simulation::new(host(setup.client), host(2), engine, setup.impairment, setup.seed);
        Run { simulation, pairs: Vec::new(), log, events: Vec::new(), setup: setup.clone() }
    }

    /// Two hosts with these sessions, ready to run.
    pub(crate) fn connect(&self, setup: &Setup, client: Session, server: Session) -> Run {
        let mut run = self.hosts(setup);
        run.connect(client, server);
        run
    }

    /// The same, with these scripts in TLS.
    pub(crate) fn connect_tls(&self, setup: &Setup, client: Vec<Step>, server: Vec<Step>) -> Run {
        let (client, server) = self.sessions(client, server);
        self.connect(setup, client, server)
    }
}

/// A simulation with its sessions and its log.
pub(crate) struct Run {
    pub(crate) simulation: Simulation<Engine>,
    pairs: Vec<(SessionId, SessionId)>,
    log: LogReceiver,
    events: Vec<Event>,
    setup: Setup,
}

impl Run {
    /// One more connection, each to the next port.
    pub(crate) fn connect(&mut self, client: Session, server: Session) {
        let number = self.pairs.len() as u16;
        self.connect_ports(40_000 + number, self.setup.port + number, client, server);
    }

    /// One more connection between these ports.
    pub(crate) fn connect_ports(&mut self, local: u16, port: u16, client: Session, server: Session) {
        self.connect_over(self.setup.ipv6, (local, port), client, server);
    }

    /// The same from one of the client's two addresses to that of the server: as two clients would.
    pub(crate) fn connect_over(
        &mut self,
        ipv6: bool,
        (local, port): (u16, u16),
        client: Session,
        server: Session,
    ) {
        let address = SocketAddr::new(self.simulation.server.address(ipv6).unwrap(), port);
        let server = self.simulation.server.listen(port, server);
        let client = self.simulation.client.connect(address, local, client);
        self.pairs.push((client, server));
    }

    /// Puts another engine between the hosts, which knows nothing of what was before. Its events are the run's from now on.
    pub(crate) fn replace_engine(&mut self, (engine, log): (Engine, LogReceiver)) {
        (self.simulation.middle, self.log) = (engine, log);
        self.events.clear();
    }

    /// Runs until both ends are through.
    pub(crate) fn run(&mut self) -> Stop {
        let stop = self.simulation.run(LIMIT);
        self.collect();
        stop
    }

    /// Runs on for this long.
    pub(crate) fn settle(&mut self, limit: Duration) -> Stop {
        let stop = self.simulation.settle(limit);
        self.collect();
        stop
    }

    pub(crate) fn client(&self) -> &Report {
        self.client_of(0)
    }

    pub(crate) fn server(&self) -> &Report {
        self.server_of(0)
    }

    pub(crate) fn client_of(&self, pair: usize) -> &Report {
        self.simulation.client.report(self.pairs[pair].0)
    }

    pub(crate) fn server_of(&self, pair: usize) -> &Report {
        self.simulation.server.report(self.pairs[pair].1)
    }

    pub(crate) fn client_id(&self) -> SessionId {
        self.pairs[0].0
    }

    pub(crate) fn server_id(&self) -> SessionId {
        self.pairs[0].1
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.simulation.middle
    }

    pub(crate) fn counters(&self) -> &WorkerCounters {
        &self.engine().counters()[0]
    }

    /// Takes the events off the ring.
    fn collect(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.log.pop()));
    }

    /// All that the log was told.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn tls_events(&self) -> Vec<&TlsEvent> {
        let mut found = Vec::new();
        for event in &self.events {
            if let Event::Tls(_, tls) = event {
                found.push(&**tls);
            }
        }
        found
    }

    pub(crate) fn flow_events(&self) -> Vec<&FlowEvent> {
        let mut found = Vec::new();
        for event in &self.events {
            if let Event::Flow(_, flow) = event {
                found.push(&**flow);
            }
        }
        found
    }

    pub(crate) fn http_events(&self) -> Vec<&HttpEvent> {
        let mut found = Vec::new();
        for event in &self.events {
            if let Event::Http(_, http) = event {
                found.push(&**http);
            }
        }
        found
    }

    /// The one `tls` event.
    #[track_caller]
    pub(crate) fn tls_event(&self) -> &TlsEvent {
        let events = self.tls_events();
        assert_eq!(events.len(), 1, "{:?}: {events:?}", self.setup);
        events[0]
    }

    /// The one `flow` event's phase and reason.
    #[track_caller]
    pub(crate) fn flow_end(&self) -> (&'static str, Reason) {
        let events = self.flow_events();
        assert_eq!(events.len(), 1, "{:?}: {events:?}", self.setup);
        (events[0].phase.name(), events[0].reason)
    }
}
