//! Both handshakes of a flow, the server's first.
//!
//! ```text
//! Start ──► ServerLeg ──► (verified, minted) ──► ClientLeg ──► Relay
//! ```
//! The server's certificate, version and application protocol are known before the client gets its ServerHello, so that
//! they can be mirrored. Nothing is minted before the verification has ended.

use std::net::SocketAddr;
use std::sync::Arc;

use super::provider::{offer_to_server, versions_for_client};
use super::server_leg::{Clock, Observer, Seen};
use super::session::Session;
use super::verify::name_to_prove;
use super::{
    ClientHello, Relay, TlsContext, alert, alert_record, client_leg, describe, description, server_leg,
};
use crate::log::event::{CertificateInfo, LegInfo, MintedBy};
use crate::mint::Order;
use crate::policy::{DefectAction, Profile, TlsVersion};
use crate::reason::Reason;
use crate::tls::keys::KeyType;

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
    /// Both legs are up. Call [`Relay::start`] at once.
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

/// What the log says of a handshake. Valid once it is established or has failed.
#[derive(Clone, Debug, Default)]
pub struct HandshakeReport {
    /// Leg to the client; present when its handshake ended well.
    pub client_leg: Option<LegInfo>,
    /// Leg to the server, likewise.
    pub server_leg: Option<LegInfo>,
    /// The server's own certificate, when one was seen.
    pub certificate: Option<CertificateInfo>,
    /// What was wrong with it; with several defects the one that decided.
    pub defect: Option<Reason>,
    /// Serial of the minted leaf, upper-case hex pairs with colons.
    pub minted_serial: Option<String>,
    /// Who signed that.
    pub minted_by: Option<MintedBy>,
}

/// The handshakes of one flow. Does no IO and knows no clock but [`Input::now`].
pub struct Handshake {
    context: Arc<TlsContext>,
    hello: Box<ClientHello>,
    server: SocketAddr,
    profile: Arc<Profile>,
    clock: Arc<Clock>,
    observer: Arc<Observer>,
    stage: Stage,
    /// From the client, and not yet read by its session; begins with the ClientHello.
    held_client: Vec<u8>,
    /// From the server, likewise.
    held_server: Vec<u8>,
    /// The client has a session of ours, which sends its own alerts.
    answered: bool,
    report: HandshakeReport,
}

enum Stage {
    /// Nothing has been sent.
    Start,
    /// The server's handshake runs.
    ServerLeg(Box<Session>),
    /// The server is verified; the client's handshake runs.
    ClientLeg { server: Box<Session>, client: Box<Session> },
    /// Established or failed.
    Over,
}

impl Handshake {
    /// Prepares the handshakes of a client whose `flight` (the records that carry `hello`) was not answered yet.
    pub fn new(
        context: Arc<TlsContext>,
        hello: Box<ClientHello>,
        flight: Vec<u8>,
        server: SocketAddr,
        profile: Arc<Profile>,
    ) -> Self {
        let observer = Observer::new(
            Arc::clone(&context.verifier),
            context.provider.signature_verification_algorithms,
            Arc::clone(&profile),
        );
        Self {
            context,
            hello,
            server,
            profile,
            clock: Arc::default(),
            observer: Arc::new(observer),
            stage: Stage::Start,
            held_client: flight,
            held_server: Vec::new(),
            answered: false,
            report: HandshakeReport::default(),
        }
    }

    /// Goes as far as the input allows. After an outcome other than [`Outcome::Pending`] it fails with
    /// [`Reason::Internal`].
    pub fn advance(&mut self, input: Input) -> Step {
        self.clock.set(input.now);
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
        step
    }

    /// What the log says of it.
    pub fn report(&self) -> HandshakeReport {
        self.report.clone()
    }

    fn hold(&mut self, input: &Input) -> Result<(), Failure> {
        self.held_client.extend_from_slice(&input.from_client);
        self.held_server.extend_from_slice(&input.from_server);
        if self.held_client.len().max(self.held_server.len()) > MAX_HELD {
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
        (input.server_closed && matches!(self.stage, Stage::ServerLeg(_))).then_some(Reason::ServerClosed)
    }

    fn run(&mut self, step: &mut Step) -> Result<Option<Relay>, Failure> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Start => {
                    let mut server = self.open_server_leg()?;
                    server.flush(&mut step.to_server);
                    self.stage = Stage::ServerLeg(Box::new(server));
                }
                Stage::ServerLeg(mut server) => {
                    let result = server.handshake(&mut self.held_server, &mut step.to_server);
                    self.note_server();
                    result.map_err(|error| self.blame_server(&error))?;
                    if server.is_handshaking() {
                        let closed = server.peer_has_closed();
                        self.stage = Stage::ServerLeg(server);
                        return if closed { Err(closed_by(Reason::ServerAlert)) } else { Ok(None) };
                    }
                    self.report.server_leg = Some(server.info());
                    let client =
                        self.open_client_leg(&server).inspect_err(|_| server.close(&mut step.to_server))?;
                    self.answered = true;
                    self.stage = Stage::ClientLeg { server, client: Box::new(client) };
                }
                Stage::ClientLeg { mut server, mut client } => {
                    let result = client.handshake(&mut self.held_client, &mut step.to_client);
                    if result.is_ok() && client.is_handshaking() && !client.peer_has_closed() {
                        self.stage = Stage::ClientLeg { server, client };
                        return Ok(None);
                    }
                    if let Err(failure) = result.map_err(|error| blame_client(&error)) {
                        server.close(&mut step.to_server);
                        return Err(failure);
                    }
                    if client.is_handshaking() {
                        server.close(&mut step.to_server);
                        return Err(closed_by(Reason::ClientAlert));
                    }
                    self.report.client_leg = Some(client.info());
                    self.observer.forget();
                    let held = (std::mem::take(&mut self.held_client), std::mem::take(&mut self.held_server));
                    return Ok(Some(Relay::new(*client, *server, held.0, held.1)));
                }
                Stage::Over => return Err(Reason::Internal.into()),
            }
        }
    }

    fn open_server_leg(&self) -> Result<Session, Failure> {
        let offer = offer_to_server(&self.context.provider, &self.hello, &self.profile)?;
        let name = name_to_prove(self.hello.sni.as_deref(), self.server.ip());
        server_leg::config(offer, &self.hello, Arc::clone(&self.observer), Arc::clone(&self.clock))
            .and_then(|config| Session::to_server(Arc::new(config), name))
            .map_err(|_| Reason::Internal.into())
    }

    /// Mints the leaf and prepares the client's session. The server's handshake has ended, so its verdict is final.
    fn open_client_leg(&mut self, server: &Session) -> Result<Session, Failure> {
        let Seen { leaf: Some(original), verdict: Some(verdict), .. } = self.observer.seen() else {
            return Err(Reason::Internal.into());
        };
        let by = match verdict.action {
            DefectAction::Allow => MintedBy::Trusted,
            DefectAction::UntrustedCa => MintedBy::Untrusted,
            DefectAction::Block => return Err(Reason::Internal.into()),
        };
        let version = server.version().ok_or(Reason::Internal)?;
        let versions = versions_for_client(&self.profile, version);
        // The client's session has at most this version; which it takes is the client's choice then.
        let at_most = if self.hello.offers_tls13() { version } else { TlsVersion::Tls12 };
        let key_type = if self.hello.can_ecdsa(at_most) { KeyType::P256 } else { KeyType::Rsa2048 };
        let order = Order {
            by,
            defect: verdict.defect,
            key_type,
            max_days: self.profile.max_days,
            now: i64::try_from(self.clock.seconds()).unwrap_or(i64::MAX),
        };
        let leaf = self.context.mint.copy(&original, order).map_err(|error| {
            tracing::warn!(%error, "no certificate could be minted");
            Reason::MintFailed
        })?;
        self.report.minted_serial = Some(leaf.serial().to_owned());
        self.report.minted_by = Some(by);
        client_leg::config(&self.context.provider, &versions, &leaf, server.alpn(), Arc::clone(&self.clock))
            .and_then(|config| Session::to_client(Arc::new(config)))
            .map_err(|_| Reason::Internal.into())
    }

    /// Notes what is known of the server's certificate, also when it was refused.
    fn note_server(&mut self) {
        if self.report.certificate.is_none() {
            let seen = self.observer.seen();
            self.report.certificate = seen.leaf.as_deref().and_then(describe::certificate);
            self.report.defect = seen.verdict.and_then(|v| v.defect);
        }
    }

    /// Why the server's handshake failed.
    fn blame_server(&self, error: &rustls::Error) -> Failure {
        use rustls::Error as E;
        let seen = self.observer.seen();
        match seen.verdict {
            Some(verdict) if verdict.action == DefectAction::Block => {
                return verdict.defect.unwrap_or(Reason::Internal).into();
            }
            Some(_) if seen.asked_for_certificate && matches!(error, E::InvalidCertificate(_)) => {
                return Reason::ServerWantsClientCert.into();
            }
            _ => {}
        }
        match error {
            E::AlertReceived(received) => {
                let number = u8::from(*received);
                let reason = match number {
                    description::PROTOCOL_VERSION => Reason::VersionUnsupportedServer,
                    description::INSUFFICIENT_SECURITY => Reason::CipherNoneServer,
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
        self.held_client = Vec::new();
        self.held_server = Vec::new();
        Outcome::Failed(failure)
    }
}

fn closed_by(reason: Reason) -> Failure {
    Failure { reason, alert: Some(description::CLOSE_NOTIFY) }
}

fn blame_incompatible(incompatible: &rustls::PeerIncompatible) -> Reason {
    use rustls::PeerIncompatible as P;
    match incompatible {
        P::ServerDoesNotSupportTls12Or13 | P::ServerTlsVersionIsDisabledByOurConfig => {
            Reason::VersionUnsupportedServer
        }
        P::NoCertificateRequestSignatureSchemesInCommon => Reason::ServerWantsClientCert,
        P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon | P::NoSignatureSchemesInCommon => {
            Reason::CipherNoneServer
        }
        _ => Reason::ServerProtocol,
    }
}

/// Why the client's handshake failed.
fn blame_client(error: &rustls::Error) -> Failure {
    use rustls::Error as E;
    match error {
        E::AlertReceived(received) => {
            Failure { reason: Reason::ClientAlert, alert: Some(u8::from(*received)) }
        }
        E::PeerIncompatible(_) => Reason::CipherNoneClient.into(),
        E::General(_) | E::FailedToGetCurrentTime | E::FailedToGetRandomBytes => Reason::Internal.into(),
        _ => Reason::ClientProtocol.into(),
    }
}
