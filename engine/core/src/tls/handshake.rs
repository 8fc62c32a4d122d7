//! Both handshakes of a flow, the server's first.
//!
//! ```text
//! Start ──► ServerLeg ──► (verified, minted) ──► ClientLeg ──► Relay
//! ```
//! The server's certificate, version and application protocol are known before the client gets its ServerHello, so that
//! they can be mirrored. Nothing is minted before the verification has ended.
//!
//! Where the engine answers in the server's place there is one handshake: `Answer ──► ClientLeg ──► Relay`.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::ServerName;

use super::blame::{blame_client, blame_incompatible, closed_by};
use super::cache_key::CacheKey;
use super::handshake_report::HandshakeReport;
use super::offer::{Offer, offer_to_server, versions_for_client};
use super::record::HEADER;
use super::secrets::{self, SecretLog};
use super::server_leg::HandshakeObserver;
use super::server_sessions::{LONGEST_CHAIN, Origin};
use super::session::Session;
use super::tickets::Tickets;
use super::verify::{name_to_prove, plain_name};
use super::verify_cache::VerifiedChain;
use super::{ClientHello, Relay, TlsContext, alert, alert_record, client_leg, description, server_leg};
use crate::end::PerEnd;
use crate::event::{ChainFinding, MintedBy, Revocation};
use crate::mint::{ANSWER_DAYS, Leaf, LeafRequest, MintError};
use crate::policy::{DefectAction, Profile, TlsVersion};
use crate::reason::Reason;
use crate::x509::KeyType;

/// Most bytes of one end that are kept until it is that end's turn. A flow's receive window is smaller.
const MAX_HELD: usize = 512 * 1024;

/// What has happened since the last call.
#[derive(Debug, Default)]
pub struct Input {
    /// In-order bytes from the client, after the ClientHello's flight.
    pub from_client: Vec<u8>,
    /// In-order bytes from the server.
    pub from_server: Vec<u8>,
    /// The client will send nothing more.
    pub client_closed: bool,
    /// The server will send nothing more.
    pub server_closed: bool,
    /// Now, in seconds since the Unix epoch.
    pub now: u64,
}

/// What is to be done.
#[derive(Debug)]
pub struct Step {
    /// Bytes for the client.
    pub to_client: Vec<u8>,
    /// Bytes for the server.
    pub to_server: Vec<u8>,
    /// How it stands.
    pub outcome: Outcome,
}

/// How a handshake stands.
pub enum Outcome {
    /// More input is needed.
    Pending,
    /// Both legs are up. Call [`Relay::relay`] for both ends at once: one may have spoken already.
    Established(Box<Relay>),
    /// It is over. The alerts for both legs are in the step's bytes.
    Failed(Failure),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pending => f.write_str("Pending"),
            Self::Established(_) => f.write_str("Established"),
            Self::Failed(failure) => f.debug_tuple("Failed").field(failure).finish(),
        }
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// The alert behind it: received from the end at fault, or else sent to the client.
    pub alert: Option<u8>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, alert: None }
    }
}

/// Where a flow goes. Networks on other wires and in other VLANs may have the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Index of the wire.
    pub wire: u8,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// The server.
    pub server: SocketAddr,
}

/// The handshakes of one flow. Does no IO and knows no clock but [`Input::now`].
pub struct Handshake {
    context: Arc<TlsContext>,
    hello: Box<ClientHello>,
    destination: Destination,
    profile: Arc<Profile>,
    /// What the server's leg has shown. Not here while that runs.
    watch: Option<HandshakeObserver>,
    waits_for_others: bool,
    /// The sessions that the server may resume.
    origin: Option<Arc<Origin>>,
    stage: Stage,
    /// From each end, and not yet read by its session; the client's begins with the ClientHello.
    held: PerEnd<Vec<u8>>,
    /// The client has a session of ours, which sends its own alerts.
    answered: bool,
    report: HandshakeReport,
    /// A capture wants the secrets of both sessions.
    pub(super) secrets: Option<Arc<SecretLog>>,
    /// Bytes of memory that it held when it ran last, with its own size.
    memory: usize,
}

enum Stage {
    /// Nothing has been sent.
    Start,
    /// Nothing has been sent, and there is no server; the client gets this application protocol.
    Answer(Option<Box<[u8]>>),
    /// The server's handshake runs.
    ServerLeg(Box<Session>),
    /// The server's certificate is being verified, in steps. What its session has to say until then waits here.
    Verifying { server: Box<Session>, unsent: Vec<u8> },
    /// The server is verified, or there is none; the client's handshake runs.
    ClientLeg { server: Option<Box<Session>>, client: Box<Session> },
    /// Established or failed.
    Over,
}

impl Handshake {
    /// Prepares the handshakes of a client whose `flight` (the records that carry `hello`) was not answered yet.
    pub fn new(
        context: Arc<TlsContext>,
        hello: Box<ClientHello>,
        flight: Vec<u8>,
        destination: Destination,
        profile: Arc<Profile>,
    ) -> Self {
        let costly = Arc::clone(&context.costly_servers);
        let waits_for_others = costly.contains(destination.server.ip(), context.clock.seconds());
        let mut handshake = Self {
            watch: Some(
                HandshakeObserver::new(Arc::clone(&profile)).minding(costly, destination.server.ip()),
            ),
            waits_for_others,
            context,
            hello,
            destination,
            profile,
            origin: None,
            stage: Stage::Start,
            held: PerEnd { client: flight, server: Vec::new() },
            answered: false,
            report: HandshakeReport::default(),
            secrets: None,
            memory: 0,
        };
        handshake.memory = handshake.measure();
        handshake
    }

    /// It is to run when no others wait: its server has presented a chain that took long to verify, or one that takes long now.
    pub fn waits_for_others(&self) -> bool {
        self.waits_for_others || self.goes_on()
    }

    /// It has paused, so that others need not wait for it: [`Self::advance`] is to be called again, input or not.
    pub fn goes_on(&self) -> bool {
        matches!(self.stage, Stage::Verifying { .. })
    }

    /// Has it answer in the server's place: the client gets a leaf for the name that it asked for, and this application
    /// protocol. Nothing is known of the server, and nothing is for it.
    pub fn in_place_of_server(mut self, alpn: Option<Box<[u8]>>) -> Self {
        self.watch = None;
        self.stage = Stage::Answer(alpn);
        self
    }

    /// Goes as far as the input allows. After an outcome other than [`Outcome::Pending`] it fails with
    /// [`Reason::Internal`].
    pub fn advance(&mut self, input: Input) -> Step {
        self.context.clock.set(input.now);
        let mut step = Step { to_client: Vec::new(), to_server: Vec::new(), outcome: Outcome::Pending };
        let result = self.hold(&input).and_then(|()| self.run(&mut step));
        step.outcome = match result {
            Ok(Some(relay)) => Outcome::Established(Box::new(relay)),
            Ok(None) => match self.closed_early(&input) {
                Some(reason) => self.fail(reason.into(), &mut step),
                None => Outcome::Pending,
            },
            Err(failure) => self.fail(failure, &mut step),
        };
        self.memory = self.measure();
        step
    }

    /// Bytes of memory that it holds, with its own size; nearly, where rustls holds them.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes from both ends that it has taken and not used up.
    pub fn received(&self) -> usize {
        self.held.client.len() + self.held.server.len()
    }

    /// Sums up what it holds: at the pool, once a step.
    fn measure(&self) -> usize {
        let Self {
            context: _,
            hello,
            destination: _,
            profile: _,
            watch,
            origin: _,
            stage,
            held,
            answered: _,
            report,
            secrets,
            waits_for_others: _,
            memory: _,
        } = self;
        let secrets = secrets.as_ref().map_or(0, |_| SecretLog::SIZE);
        let sessions = match stage {
            Stage::Start | Stage::Over => 0,
            Stage::Answer(alpn) => alpn.as_ref().map_or(0, |name| name.len()),
            Stage::ServerLeg(server) => server.memory(),
            Stage::Verifying { server, unsent } => server.memory() + unsent.capacity(),
            Stage::ClientLeg { server, client } => {
                server.as_ref().map_or(0, |server| server.memory()) + client.memory()
            }
        };
        let received = held.iter().map(Vec::capacity).sum::<usize>();
        let watch = watch.as_ref().map_or(0, HandshakeObserver::memory);
        size_of::<Self>() + hello.memory() + watch + sessions + received + report.memory() + secrets
    }

    /// What the log says of it so far.
    pub fn report(&self) -> HandshakeReport {
        self.report.clone()
    }

    /// Likewise, once it is over: nothing is left to be told.
    pub(crate) fn take_report(&mut self) -> HandshakeReport {
        std::mem::take(&mut self.report)
    }

    /// The server's certificate was seen.
    pub(crate) fn has_certificate(&self) -> bool {
        self.report.certificate.is_some()
    }

    fn hold(&mut self, input: &Input) -> Result<(), Failure> {
        self.held.client.extend_from_slice(&input.from_client);
        self.held.server.extend_from_slice(&input.from_server);
        if self.held.client.len().max(self.held.server.len()) > MAX_HELD {
            return Err(Reason::ResourceMemory.into());
        }
        Ok(())
    }

    /// An end that closes before its own handshake is over.
    fn closed_early(&self, input: &Input) -> Option<Reason> {
        if input.client_closed {
            return Some(Reason::ClientClosed);
        }
        // Once the server's leg is up, its end may come before the client's handshake has ended; the relay passes it on.
        (input.server_closed && matches!(self.stage, Stage::ServerLeg(_) | Stage::Verifying { .. }))
            .then(|| self.blame_silent_server(Reason::ServerClosed))
    }

    /// Why a server has ended the connection without a word, by a FIN or RST. One that has been told in its handshake that there is no
    /// client certificate insists on one: Java's HttpsServer and others say no more than that.
    pub(crate) fn blame_silent_server(&self, ended: Reason) -> Reason {
        let has_empty_list = self.report.certificate_asked
            && matches!(self.stage, Stage::ServerLeg(_) | Stage::Verifying { .. });
        if has_empty_list { Reason::ServerRequiresClientCert } else { ended }
    }

    fn run(&mut self, step: &mut Step) -> Result<Option<Relay>, Failure> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Start => {
                    let mut server = self.open_server_leg()?;
                    server.flush(&mut self.held.server, &mut step.to_server);
                    self.stage = Stage::ServerLeg(Box::new(server));
                }
                Stage::Answer(alpn) => {
                    let client = self.open_answering_leg(alpn.as_deref())?;
                    self.answered = true;
                    self.stage = Stage::ClientLeg { server: None, client: Box::new(client) };
                }
                Stage::ServerLeg(mut server) => {
                    let said_before = step.to_server.len();
                    let result = self.watched(|held| server.handshake(held, &mut step.to_server));
                    self.note_server();
                    result.map_err(|error| self.blame_server(&error, server.version().is_some()))?;
                    if self.watch.as_ref().is_some_and(|watch| watch.seen.unfinished.is_some()) {
                        let unsent = step.to_server.split_off(said_before);
                        self.stage = Stage::Verifying { server, unsent };
                        return Ok(None);
                    }
                    if server.is_handshaking() {
                        let closed = server.peer_has_closed();
                        self.stage = Stage::ServerLeg(server);
                        return if closed { Err(closed_by(Reason::ServerAlert)) } else { Ok(None) };
                    }
                    if let Err(failure) = self.settle_server(&server) {
                        server.close(&mut self.held.server, &mut step.to_server);
                        return Err(failure);
                    }
                    self.report.server_leg = Some(server.info());
                    let client = match self.open_client_leg(&server) {
                        Ok(client) => client,
                        Err(failure) => {
                            server.close(&mut self.held.server, &mut step.to_server);
                            return Err(failure);
                        }
                    };
                    self.answered = true;
                    self.stage = Stage::ClientLeg { server: Some(server), client: Box::new(client) };
                }
                Stage::Verifying { server, unsent } => {
                    let watch = self.watch.as_mut().ok_or(Reason::Internal)?;
                    watch.go_on(&self.context.verify_cache, self.context.clock.seconds());
                    if watch.seen.unfinished.is_some() {
                        self.stage = Stage::Verifying { server, unsent };
                        return Ok(None);
                    }
                    self.note_server();
                    if let Err(failure) = self.verdict() {
                        // Its session has no word for it any more. Nothing protected has been sent, so an alert may be in the clear.
                        let number = alert::for_client(failure.reason);
                        step.to_server.extend(number.into_iter().flat_map(alert_record));
                        return Err(failure);
                    }
                    step.to_server.extend_from_slice(&unsent);
                    self.stage = Stage::ServerLeg(server);
                }
                Stage::ClientLeg { mut server, mut client } => {
                    let result = client.handshake(&mut self.held.client, &mut step.to_client);
                    if result.is_ok() && client.is_handshaking() && !client.peer_has_closed() {
                        self.stage = Stage::ClientLeg { server, client };
                        return Ok(None);
                    }
                    let failure = match result {
                        Err(error) => Some(blame_client(&error)),
                        Ok(()) => client.is_handshaking().then(|| closed_by(Reason::ClientAlert)),
                    };
                    if let Some(failure) = failure {
                        if let Some(server) = &mut server {
                            server.close(&mut self.held.server, &mut step.to_server);
                        }
                        return Err(failure);
                    }
                    self.report.client_leg = Some(client.info());
                    self.watch = None;
                    return self.relay(*client, server.map(|server| *server)).map(Some);
                }
                Stage::Over => return Err(Reason::Internal.into()),
            }
        }
    }

    /// What has been negotiated, put to use. What came after the handshakes goes first.
    fn relay(&mut self, client: Session, server: Option<Session>) -> Result<Relay, Failure> {
        let alpn = client.alpn().map(Into::into);
        let most = client.version().and_then(|version| self.hello.record_limit(version));
        let keys = |session: Session| session.into_keys(&self.context.records).map_err(|_| Reason::Internal);
        let (client, server) = (keys(client)?, server.map(keys).transpose()?);
        let early = PerEnd::from_fn(|end| {
            let held = &mut self.held[end];
            // A whole handshake has gone through it: that much room is not kept for as long as the flow lives.
            held.shrink_to_fit();
            std::mem::take(held)
        });
        match server {
            Some(server) => Relay::new(client, server, alpn, early).map(|relay| {
                if self.report.certificate_asked { relay.with_certificate_asked() } else { relay }
            }),
            None => Relay::one_ended(client, alpn, early.client),
        }
        .map(|relay| relay.with_record_limit(most))
        .ok_or(Reason::Internal.into())
    }

    fn open_server_leg(&mut self) -> Result<Session, Failure> {
        let offer = offer_to_server(&self.context.provider, &self.hello, &self.profile)?;
        let name = name_to_prove(self.hello.sni.as_deref(), self.destination.server.ip());
        self.origin = self
            .context
            .sessions
            .as_ref()
            .filter(|_| self.profile.resumption)
            .map(|sessions| Arc::new(sessions.origin(self.origin_key(&offer, &name))));
        let (server_verifier, clock) =
            (Arc::clone(&self.context.server_verifier), Arc::clone(&self.context.clock));
        server_leg::config(offer, &self.hello, server_verifier, clock, self.origin.clone())
            .map(|mut config| {
                config.key_log = secrets::key_log(self.secrets.as_ref());
                config
            })
            .and_then(|config| Session::to_server(Arc::new(config), name))
            .map_err(|_| Reason::Internal.into())
    }

    /// All that the verification of the server and our offer to it depend on.
    fn origin_key(&self, offer: &Offer, name: &ServerName<'_>) -> [u8; 32] {
        let Destination { wire, vlan, server } = self.destination;
        let vlan = vlan.map(|id| id.map_or([0; 3], |id| [1, (id >> 8) as u8, id as u8]));
        let suites = offer.provider.cipher_suites.iter().map(|s| u16::from(s.suite()).to_be_bytes());
        let groups = offer.provider.kx_groups.iter().map(|g| u16::from(g.name()).to_be_bytes());
        let versions = offer.versions.iter().map(|v| u16::from(v.version).to_be_bytes());
        CacheKey::new("server session")
            .bytes(&self.context.generation)
            .bytes(&[wire])
            .bytes(vlan.as_flattened())
            .bytes(server.to_string().as_bytes())
            .name(name)
            .bytes(&[u8::from(self.hello.sni.is_some())])
            .profile(&self.profile)
            .list(versions)
            .list(suites)
            .list(groups)
            .list(self.hello.alpn.iter())
            .finish()
    }

    /// Runs the server's leg, and sees what it shows.
    fn watched<T>(&mut self, run: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let watch = self.watch.take().unwrap_or_else(|| HandshakeObserver::new(Arc::clone(&self.profile)));
        let (watch, outcome) = watch.during(|| run(&mut self.held.server));
        self.watch = Some(watch);
        outcome
    }

    /// The server's handshake has ended well. If it resumed a session, rustls has not verified it: the verdict on its first
    /// handshake is asked for again, now.
    fn settle_server(&mut self, server: &Session) -> Result<(), Failure> {
        let watch = self.watch.as_mut().ok_or(Reason::Internal)?;
        let certificates = server.peer_certificates();
        let resumed = server.is_resumed();
        if resumed {
            let vetted = self.origin.as_ref().and_then(|origin| origin.found_before());
            watch.judge(self.context.verify_cache.again(vetted.ok_or(Reason::Internal)?));
        }
        self.note_server();
        let vetted = self.verdict()?;
        if let Some(origin) = &self.origin {
            let sessions = &self.context.caches().server_session;
            if resumed {
                sessions.hit()
            } else {
                sessions.miss()
            }
            if certificates.iter().map(|c| c.len()).sum::<usize>() <= LONGEST_CHAIN {
                origin.keep(&vetted);
            } else {
                origin.refuse();
            }
        }
        Ok(())
    }

    /// What was found of the server, if the profile lets it pass.
    fn verdict(&self) -> Result<VerifiedChain, Failure> {
        match self.watch.as_ref().and_then(|watch| watch.seen.verdict.as_ref()) {
            Some((_, verdict)) if verdict.action == DefectAction::Block => {
                Err(verdict.defect.unwrap_or(Reason::Internal).into())
            }
            Some((vetted, _)) => Ok(vetted.clone()),
            None => Err(Reason::Internal.into()),
        }
    }

    /// Mints the leaf and prepares the client's session. The server's handshake has ended, so its verdict is final.
    fn open_client_leg(&mut self, server: &Session) -> Result<Session, Failure> {
        let verdict = self.watch.as_ref().and_then(|watch| watch.seen.verdict.as_ref());
        let (Some((vetted, verdict)), [original, others @ ..]) = (verdict, server.peer_certificates()) else {
            return Err(Reason::Internal.into());
        };
        let by = match verdict.action {
            DefectAction::Allow => MintedBy::Trusted,
            DefectAction::UntrustedCa => MintedBy::Untrusted,
            DefectAction::Block => return Err(Reason::Internal.into()),
        };
        let was_checked = matches!(vetted.revocation(), Some(Revocation::Good(_)));
        let version = server.version().ok_or(Reason::Internal)?;
        let versions = versions_for_client(&self.profile, version);
        let order = LeafRequest {
            by,
            defect: verdict.defect,
            key_type: self.leaf_key_type(version)?,
            max_days: self.profile.max_days,
            now: self.now(),
        };
        let leaf = self.context.mint.copy(original, others, vetted.added(), order);
        let leaf = self.minted(by, leaf)?;
        let tickets = self.tickets(&leaf, version, server.alpn());
        let clock = Arc::clone(&self.context.clock);
        // So that a client which asks sees that the original was checked.
        let stapled = (was_checked && self.hello.asks_for_status())
            .then(|| self.context.mint.stapled(&leaf, by, self.now()))
            .flatten();
        let certified = stapled.as_ref().unwrap_or(leaf.certified());
        client_leg::config(&self.context.provider, &versions, certified, server.alpn(), clock, tickets)
            .map(|config| self.for_this_client(config, version))
            .and_then(|config| Session::to_client(Arc::new(config), self.hello.offers_early_data()))
            .map_err(|_| Reason::Internal.into())
    }

    /// Mints a leaf for the name that the client asked for, and prepares its session.
    fn open_answering_leg(&mut self, alpn: Option<&[u8]>) -> Result<Session, Failure> {
        let by = MintedBy::Trusted;
        let name = self.hello.sni.as_deref().ok_or(Reason::Internal)?;
        let (version, max_days) = (self.profile.max_version, ANSWER_DAYS.min(self.profile.max_days));
        let key_type = self.leaf_key_type(version)?;
        let order = LeafRequest { by, defect: None, key_type, max_days, now: self.now() };
        let leaf = self.minted(by, self.context.mint.for_name(name, order))?;
        let versions = versions_for_client(&self.profile, version);
        let clock = Arc::clone(&self.context.clock);
        client_leg::config(&self.context.provider, &versions, leaf.certified(), alpn, clock, None)
            .map(|config| self.for_this_client(config, version))
            .and_then(|config| Session::to_client(Arc::new(config), self.hello.offers_early_data()))
            .map_err(|_| Reason::Internal.into())
    }

    /// With records as small as the client wants them, and with its secrets told, where those are wanted. Its session has at most this
    /// version; which it takes is the client's choice.
    fn for_this_client(&self, mut config: ServerConfig, at_most: TlsVersion) -> ServerConfig {
        config.max_fragment_size = self.hello.record_limit(at_most).map(|most| most + HEADER);
        config.key_log = secrets::key_log(self.secrets.as_ref());
        config
    }

    /// The kind of key that the client can verify. Its session has at most this version; which it takes is the client's choice.
    fn leaf_key_type(&self, version: TlsVersion) -> Result<KeyType, Reason> {
        let at_most = if self.hello.offers_tls13() { version } else { TlsVersion::Tls12 };
        self.hello.leaf_key(at_most, self.context.mint.provider()).ok_or(Reason::CipherNoneClient)
    }

    /// Now, in seconds since the Unix epoch.
    fn now(&self) -> i64 {
        i64::try_from(self.context.clock.seconds()).unwrap_or(i64::MAX)
    }

    /// Notes what came of minting.
    fn minted(&mut self, by: MintedBy, leaf: Result<Arc<Leaf>, MintError>) -> Result<Arc<Leaf>, Failure> {
        let leaf = leaf.map_err(|error| {
            tracing::warn!(%error, "no certificate could be minted");
            error.reason()
        })?;
        self.report.minted_serial = Some(Arc::clone(leaf.serial()));
        self.report.minted_by = Some(by);
        Ok(leaf)
    }

    /// The tickets that this client may come back with, and gets: those of a leaf that says the same (so the same original, verdict and CA),
    /// for the same name, under the same profile, and with the same choices of the server. Here or at an engine that shares the keys.
    fn tickets(&self, leaf: &Leaf, server_leg: TlsVersion, alpn: Option<&[u8]>) -> Option<Tickets> {
        let keys = self.context.tickets.as_ref().filter(|_| self.profile.resumption)?;
        let binding = CacheKey::new("client ticket")
            .bytes(&self.context.generation)
            .bytes(leaf.says())
            .option(self.hello.sni.as_deref().map(str::as_bytes))
            .profile(&self.profile)
            .bytes(&[server_leg as u8])
            .option(alpn);
        Some(keys.bound_to(binding.finish()))
    }

    /// Notes what is known of the server's certificate, also when it was refused.
    fn note_server(&mut self) {
        let Some(seen) = self.watch.as_ref().map(|watch| &watch.seen) else { return };
        self.report.certificate_asked = seen.asked_for_certificate;
        if let Some((vetted, verdict)) = &seen.verdict
            && self.report.certificate.is_none()
        {
            self.report.certificate = vetted.info().cloned();
            if verdict.defect == Some(Reason::CertRevocationUnknown)
                && let (Some(info), Some(Revocation::Unknown(why))) =
                    (&mut self.report.certificate, vetted.revocation())
            {
                let info = Arc::make_mut(info);
                info.findings.push(ChainFinding {
                    reason: Reason::CertRevocationUnknown,
                    certificate: 0,
                    subject: Some(plain_name(info.subject.clone())),
                    found: why.into(),
                });
            }
            self.report.defect = verdict.defect;
        }
    }

    /// Why the server's handshake failed; `has_answered`: its ServerHello had come.
    fn blame_server(&self, error: &rustls::Error, has_answered: bool) -> Failure {
        use rustls::Error as E;
        let seen = self.watch.as_ref().map(|watch| &watch.seen);
        match seen.and_then(|seen| seen.verdict.as_ref()) {
            Some((_, verdict)) if verdict.action == DefectAction::Block => {
                return verdict.defect.unwrap_or(Reason::Internal).into();
            }
            _ if self.watch.as_ref().is_some_and(HandshakeObserver::blocks_for_certificate)
                && matches!(error, E::InvalidCertificate(_)) =>
            {
                return Reason::ServerWantsClientCert.into();
            }
            _ => {}
        }
        match error {
            E::AlertReceived(received) => {
                let number = u8::from(*received);
                let was_asked = seen.is_some_and(|seen| seen.asked_for_certificate);
                let reason = match number {
                    description::PROTOCOL_VERSION => Reason::VersionUnsupportedServer,
                    description::INSUFFICIENT_SECURITY => Reason::CipherNoneServer,
                    description::CERTIFICATE_REQUIRED => Reason::ServerRequiresClientCert,
                    _ if was_asked && alert::misses_certificate(number) => Reason::ServerRequiresClientCert,
                    // RFC 5246 7.2.2, RFC 8446 4.1.1: instead of a ServerHello, there is nothing to choose from.
                    description::HANDSHAKE_FAILURE if !has_answered => Reason::CipherNoneServer,
                    _ => Reason::ServerAlert,
                };
                Failure { reason, alert: Some(number) }
            }
            E::PeerIncompatible(incompatible) => blame_incompatible(incompatible).into(),
            E::General(_) | E::FailedToGetCurrentTime | E::FailedToGetRandomBytes => Reason::Internal.into(),
            _ => Reason::ServerProtocol.into(),
        }
    }

    /// Ends it, with an alert for the client where it has not got one from its own session.
    fn fail(&mut self, mut failure: Failure, step: &mut Step) -> Outcome {
        if !self.answered {
            // The server's alert is mirrored; an orderly closing is none.
            let number = match failure.alert {
                Some(received) => (received != description::CLOSE_NOTIFY).then_some(received),
                None => alert::for_client(failure.reason),
            };
            if let Some(number) = number {
                step.to_client.extend_from_slice(&alert_record(number));
                failure.alert = Some(number);
            }
        }
        self.stage = Stage::Over;
        self.held = PerEnd::default();
        Outcome::Failed(failure)
    }
}
