//! An engine between two hosts in memory, and what becomes of a connection through it.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use wireglass_core::content::HttpReaders;
use wireglass_core::event::{Action, Event, FlowEvent, MintedBy, Timestamp, TlsEvent};
use wireglass_core::exclusions::Exclusions;
use wireglass_core::flow::{Limits, OutsideTls};
use wireglass_core::policy::{Decision, Policy, Ports, Profile};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{CtLog, TlsContext, TlsSettings};
use wireglass_core::x509::CrlFile;
use wireglass_testbed::bad_servers::certificates::good_elsewhere;
use wireglass_testbed::bad_servers::{ADDRESS, Internet, Maker, Play, REQUEST, RESPONSE};
use wireglass_testbed::{Duration, Host, HostConfig, Impairment, Instant, Report, Simulation};

use crate::config::Verification;
use crate::engine_builder::EngineBuilder;
use crate::log::ring;
use crate::secrets::Secrets;
use crate::simulate::{Engine, EngineSettings, Spread};

/// Time on the virtual clock until everything is over, the engine's report included.
const PATIENCE: Duration = Duration::from_secs(600);
const PORT: u16 = 443;
/// Number of the server's host.
const SERVER: u8 = 2;

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Decrypted,
    Marked,
    Bypassed,
    Blocked,
}

/// And why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    /// The server has the client's request though it was refused. It never should.
    pub(super) leaked: bool,
}

/// What all connections have in common.
pub(super) struct Stage<'s> {
    settings: &'s Verification,
    profile: &'s Arc<Profile>,
    internet: Internet,
    /// The system's roots, if they are trusted, and the servers' own.
    roots: Vec<CertificateDer<'static>>,
}

impl<'s> Stage<'s> {
    pub(super) fn new(settings: &'s Verification, profile: &'s Arc<Profile>) -> Result<Self, Box<dyn Error>> {
        let internet = Internet::new(settings.trust.knowledge.ct_logs.is_some())?;
        let mut roots = internet.roots()?;
        if settings.trust.system {
            roots.extend(rustls_native_certs::load_native_certs().certs);
        }
        Ok(Self { settings, profile, internet, roots })
    }

    /// Plays a case from the first connection to the last: how the first one went, and the last.
    pub(super) fn play(&self, made: Maker) -> Result<(Ended, Ended), Box<dyn Error>> {
        let play = made(&self.internet)?;
        // Of this case's own: what an engine has learned is not touched.
        let exclusions = Arc::new(Exclusions::new([0; 16]));
        let mut ended = Vec::new();
        for host in &play.hosts {
            if play.is_pinned {
                // It takes the engine's CA somewhere; else it would not pin, but not have been told.
                self.connect(&good_elsewhere(&self.internet)?, *host, &exclusions)?;
            }
            ended.push(self.connect(&play, *host, &exclusions)?);
        }
        let first = ended.first().copied().ok_or("a case without a connection")?;
        Ok((first, ended.last().copied().unwrap_or(first)))
    }

    fn connect(&self, play: &Play, host: u8, exclusions: &Arc<Exclusions>) -> Result<Ended, Box<dyn Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (log, events) = ring(1_000);
        let decision = Decision::Decrypt(Arc::clone(self.profile));
        let builder = EngineBuilder {
            policy: Arc::new(Policy::compile(Ports::Only(vec![PORT]), &[], decision)),
            tls: self.tls(now.as_secs())?,
            limits: Limits::default(),
            outside_tls: OutsideTls::default(),
            filters: Arc::new(HttpReaders),
            page: Arc::default(),
            exclusions: Arc::clone(exclusions),
            mirrors: Vec::new(),
            wires: vec!["grade".into()],
            handshake_threads: 0,
            content_threads: 0,
            flows: 16,
            held_frames: 256,
            log,
            flow_bytes: 64 << 20,
            native_vlans: Vec::new(),
            secrets: Secrets::fixed(0),
            epoch: 1,
        };
        let started = Timestamp(u64::try_from(now.as_micros())?);
        let settings =
            EngineSettings { workers: 1, spread: Spread::Owner, mtu: 1500, mirror_depth: 0, started };
        let ends = [host, SERVER].map(|number| Host::new(Instant::ZERO, HostConfig::numbered(number)));
        let [client, server] = ends;
        let engine = Engine::new(builder, settings)?;
        let mut simulation = Simulation::new(client, server, engine, Impairment::default(), 0);
        let server = simulation.server.listen(PORT, play.server()?);
        let to = SocketAddr::new(ADDRESS.parse()?, PORT);
        let client = simulation.client.connect(to, 50_000, play.client()?);
        simulation.run(PATIENCE);
        simulation.settle(PATIENCE);
        let (mut tls, mut flow) = (None, None);
        while let Some(event) = events.pop() {
            match event {
                Event::Tls(_, event) => tls = tls.or(Some(event)),
                Event::Flow(_, event) => flow = flow.or(Some(event)),
                _ => {}
            }
        }
        let tls = tls.ok_or("the engine has written no tls event")?;
        let flow = flow.ok_or("the engine has written no flow event")?;
        Ok(ended(play, simulation.client.report(client), simulation.server.report(server), &tls, &flow))
    }

    fn tls(&self, now: u64) -> Result<TlsContext, Box<dyn Error>> {
        let trust = &self.settings.trust;
        let mut knowledge = trust.knowledge.clone();
        let crl = |contents| CrlFile { name: "CRL of a bad server's CA".into(), contents };
        knowledge.crls.extend(self.internet.crls()?.into_iter().map(crl));
        if let Some(logs) = &mut knowledge.ct_logs {
            logs.extend(self.internet.logs().iter().map(|(key, operator)| CtLog {
                key: key.clone(),
                operator: (*operator).to_owned(),
                retired: None,
                interval: None,
            }));
        }
        let [trusted, untrusted] = self.internet.between().each_ref().map(|ca| ca.files());
        let settings = TlsSettings {
            provider: self.settings.provider,
            trusted,
            untrusted,
            // As public roots: what is asked of public CAs is asked of the servers' ones.
            system_roots: Some(self.roots.clone()),
            roots: trust.roots.clone(),
            crl_url: None,
            knowledge,
            now,
        };
        Ok(TlsContext::new(settings)?)
    }
}

/// What the two ends have seen, and what the engine says of it.
fn ended(play: &Play, client: &Report, server: &Report, tls: &TlsEvent, flow: &FlowEvent) -> Ended {
    let has_request = server.received == REQUEST;
    let seen = client.handshake.as_ref().and_then(|handshake| handshake.chain.first());
    let (outcome, reason) = if tls.action == Action::Bypass || (seen.is_some() && seen == play.leaf()) {
        (Outcome::Bypassed, tls.reason)
    } else if has_request && client.received == RESPONSE {
        let is_marked = tls.minted_by == Some(MintedBy::Untrusted);
        let outcome = if is_marked { Outcome::Marked } else { Outcome::Decrypted };
        (outcome, tls.defect.unwrap_or(tls.reason))
    } else {
        let is_later = tls.reason == Reason::PolicyDecrypt;
        (Outcome::Blocked, if is_later { flow.reason } else { tls.reason })
    };
    let leaked = outcome == Outcome::Blocked && has_request && tls.reason != Reason::PolicyDecrypt;
    Ended { outcome, reason, leaked }
}
