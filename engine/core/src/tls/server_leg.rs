//! The leg to the server: what is offered, and who watches over its certificate.
#![expect(
    clippy::disallowed_types,
    reason = "rustls calls the verifier in the thread that called it, and names no handshake"
)]

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, Tls12Resumption};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::ClientHello;
use super::clock::Clock;
use super::costly_servers::CostlyServers;
use super::handshake_signature;
use super::offer::Offer;
use super::server_sessions::Origin;
use super::verify::Verdict;
use super::verify_cache::{VerifiedChain, VerifyCache};
use crate::policy::{ClientCertificateAction, DefectAction, Profile};
use crate::reason::Reason;

/// What was seen of the server while its handshake ran.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// What was found of its certificate, and the verdict over it.
    pub(super) verdict: Option<(VerifiedChain, Verdict)>,
    /// It asked for a client certificate.
    pub(super) asked_for_certificate: bool,
}

thread_local! {
    /// The handshake that this thread runs now.
    static OBSERVER: RefCell<Option<HandshakeObserver>> = const { RefCell::new(None) };
}

/// The view that one handshake has of its server.
///
/// rustls resumes a session only with the very verifier that it began with, so all handshakes have one. What it sees gets from
/// there to the handshake through the thread: rustls calls it while it is being called.
pub(super) struct HandshakeObserver {
    profile: Arc<Profile>,
    /// What is remembered of servers, and which this is.
    server: Option<(Arc<CostlyServers>, IpAddr)>,
    pub(super) seen: Observed,
}

impl HandshakeObserver {
    pub(super) fn new(profile: Arc<Profile>) -> Self {
        Self { profile, server: None, seen: Observed::default() }
    }

    /// Has the server's chain cost less if one of it was costly before, and be remembered if it is.
    pub(super) fn minding(mut self, costly: Arc<CostlyServers>, server: IpAddr) -> Self {
        self.server = Some((costly, server));
        self
    }

    /// Runs a part of this handshake's server leg.
    pub(super) fn during<T>(self, run: impl FnOnce() -> T) -> (Self, T) {
        let profile = Arc::clone(&self.profile);
        OBSERVER.set(Some(self));
        let outcome = run();
        (OBSERVER.take().unwrap_or_else(|| Self::new(profile)), outcome)
    }

    /// The server has asked for a client certificate, which ends it by the profile.
    pub(super) fn blocks_for_certificate(&self) -> bool {
        self.seen.asked_for_certificate
            && self.profile.on_client_certificate == ClientCertificateAction::Block
    }

    /// The verdict over what was found, by the handshake's own profile.
    pub(super) fn judge(&mut self, vetted: VerifiedChain) -> Verdict {
        let verdict = vetted.verdict(&self.profile);
        self.seen.verdict = Some((vetted, verdict));
        verdict
    }
}

/// Verifies the servers of all handshakes.
pub(super) struct ServerVerifier {
    verify_cache: Arc<VerifyCache>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(verify_cache: Arc<VerifyCache>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { verify_cache, algorithms }
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerVerifier")
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        OBSERVER.with_borrow_mut(|watch| {
            // Nobody whose handshake this is: nobody to say what is tolerated.
            let Some(watch) = watch else { return Err(rustls::Error::General("no handshake".into())) };
            let now = now.as_secs();
            let budget = watch.server.as_ref().map(|(costly, server)| costly.budget(*server, now));
            let budget = budget.unwrap_or_default();
            let vetted = self.verify_cache.vet(end_entity, intermediates, staple, server_name, now, budget);
            if let Some((costly, server)) = watch.server.as_ref().filter(|_| vetted.is_costly()) {
                costly.note(*server, now);
            }
            let verdict = watch.judge(vetted);
            match verdict.defect {
                Some(defect) if verdict.action == DefectAction::Block => {
                    Err(certificate_error(defect).into())
                }
                // rustls would go on with an empty certificate list. Refusing here, in TLS 1.3 as in 1.2, is before it.
                _ if watch.blocks_for_certificate() => {
                    Err(CertificateError::ApplicationVerificationFailure.into())
                }
                _ => Ok(ServerCertVerified::assertion()),
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        handshake_signature::verify_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        handshake_signature::verify_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Only notes that a certificate was asked for: there is none to give.
impl ResolvesClientCert for ServerVerifier {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        OBSERVER.with_borrow_mut(|watch| {
            if let Some(watch) = watch {
                watch.seen.asked_for_certificate = true;
            }
        });
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Chooses the alert that the server gets.
fn certificate_error(defect: Reason) -> CertificateError {
    match defect {
        Reason::CertExpired => CertificateError::Expired,
        Reason::CertNotYet => CertificateError::NotValidYet,
        Reason::CertUntrusted | Reason::CertIncomplete | Reason::CertSelfSigned => {
            CertificateError::UnknownIssuer
        }
        Reason::CertRevoked => CertificateError::Revoked,
        Reason::CertRevocationUnknown => CertificateError::UnknownRevocationStatus,
        Reason::CertMustStaple => CertificateError::InvalidOcspResponse,
        Reason::CertMismatch | Reason::CertNoName => CertificateError::NotValidForName,
        Reason::CertUsage => CertificateError::InvalidPurpose,
        Reason::CertUnsupported => CertificateError::UnhandledCriticalExtension,
        Reason::CertWeak | Reason::CertMalformed => CertificateError::BadEncoding,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

/// The client configuration of one handshake.
///
/// `sessions` are those that may be resumed: none means a full handshake. No early data: not a byte of the client's data leaves
/// before the server is known. SNI is sent if the client sent one: rustls leaves it out when the name to prove is an address.
pub(super) fn config(
    offer: Offer,
    hello: &ClientHello,
    server_verifier: Arc<ServerVerifier>,
    clock: Arc<Clock>,
    sessions: Option<Arc<Origin>>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_details(offer.provider, clock)
        .with_protocol_versions(&offer.versions)?
        .dangerous() // as rustls calls it: the verifier is ours, and stricter than its own
        .with_custom_certificate_verifier(Arc::clone(&server_verifier) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(server_verifier);
    config.alpn_protocols = hello.alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = match sessions {
        Some(origin) => Resumption::store(origin).tls12_resumption(Tls12Resumption::SessionIdOrTickets),
        None => Resumption::disabled(),
    };
    config.enable_sni = hello.sni.is_some();
    // The record layer is ours once the handshake is over.
    config.enable_secret_extraction = true;
    Ok(config)
}
