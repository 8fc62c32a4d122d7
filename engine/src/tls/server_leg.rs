//! The leg to the server: what is offered, and who watches over its certificate.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::ClientHello;
use super::provider::Offer;
use super::verify::{Verdict, Verifier};
use crate::policy::{DefectAction, Profile};
use crate::reason::Reason;

/// The time that the TLS stack goes by: that of the last input, never the machine's clock.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    pub(super) fn seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.seconds())))
    }
}

/// What was seen of the server while its handshake ran.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// DER of the leaf certificate.
    pub(super) leaf: Option<Vec<u8>>,
    /// The verdict over it.
    pub(super) verdict: Option<Verdict>,
    /// It asked for a client certificate.
    pub(super) asked_for_certificate: bool,
}

/// Verifies the server for one handshake and remembers what it saw.
pub(super) struct Observer {
    verifier: Arc<Verifier>,
    algorithms: WebPkiSupportedAlgorithms,
    profile: Arc<Profile>,
    seen: Mutex<Seen>,
}

impl Observer {
    pub(super) fn new(
        verifier: Arc<Verifier>,
        algorithms: WebPkiSupportedAlgorithms,
        profile: Arc<Profile>,
    ) -> Self {
        Self { verifier, algorithms, profile, seen: Mutex::default() }
    }

    pub(super) fn seen(&self) -> Seen {
        self.with_seen(|seen| seen.clone())
    }

    /// Lets go of what it saw: rustls holds on to its configuration, and so to this, as long as the session lives.
    pub(super) fn forget(&self) {
        self.with_seen(|seen| *seen = Seen::default());
    }

    fn with_seen<T>(&self, f: impl FnOnce(&mut Seen) -> T) -> T {
        // Nothing can panic while it is held, and the contents would still be whole.
        f(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let defects = self.verifier.defects(end_entity, intermediates, server_name, now);
        let verdict = Verdict::of(&defects, &self.profile);
        let asked = self.with_seen(|seen| {
            seen.leaf = Some(end_entity.to_vec());
            seen.verdict = Some(verdict);
            seen.asked_for_certificate
        });
        match verdict.defect {
            Some(defect) if verdict.action == DefectAction::Block => Err(certificate_error(defect).into()),
            // rustls would go on with an empty certificate list, and the server would decide on a client that is not the
            // client. Refusing here, in TLS 1.3 as in 1.2, is before anything of ours is sent.
            _ if asked => Err(CertificateError::ApplicationVerificationFailure.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Only notes that a certificate was asked for: there is none to give.
impl ResolvesClientCert for Observer {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.with_seen(|seen| seen.asked_for_certificate = true);
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
        Reason::CertUntrusted | Reason::CertSelfSigned => CertificateError::UnknownIssuer,
        Reason::CertMismatch => CertificateError::NotValidForName,
        Reason::CertUsage => CertificateError::InvalidPurpose,
        Reason::CertWeak | Reason::CertMalformed => CertificateError::BadEncoding,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

/// The client configuration of one handshake.
///
/// No resumption and no early data: every server is verified anew, before a byte of the client's data leaves. SNI is sent
/// if the client sent one: rustls leaves it out when the name to prove is an address.
pub(super) fn config(
    offer: Offer,
    hello: &ClientHello,
    observer: Arc<Observer>,
    clock: Arc<Clock>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_details(offer.provider, clock)
        .with_protocol_versions(&offer.versions)?
        .dangerous() // as rustls calls it: the verifier is ours, and stricter than its own
        .with_custom_certificate_verifier(Arc::clone(&observer) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(observer);
    config.alpn_protocols = hello.alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config.enable_sni = hello.sni.is_some();
    Ok(config)
}
