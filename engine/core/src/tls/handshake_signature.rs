//! The server's signature in the handshake, made with the key of its certificate.
//!
//! rustls has the certificate parsed for that by webpki, which refuses some that were judged, and allowed, already: X.509 v1, or with
//! a critical extension that it does not know. Only the key is needed.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_cert::der::Encode;

use crate::x509::Certificate;

/// In TLS 1.3 the scheme names the algorithm.
///
/// # Errors
/// What the server did wrong.
pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signed, algorithms)
}

/// In TLS 1.2 the scheme leaves the curve open (RFC 5246 §7.4.1.4.1): that of the key counts.
///
/// # Errors
/// What the server did wrong.
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let unadvertised = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
    let (_, candidates) =
        algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme).ok_or(unadvertised)?;
    let key = public_key(certificate)?;
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    for algorithm in *candidates {
        match key.verify_signature(*algorithm, message, signed.signature()) {
            Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => break,
        }
    }
    Err(CertificateError::BadSignature.into())
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let certificate = Certificate::parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let der = certificate.tbs.public_key.to_der().map_err(|_| CertificateError::BadEncoding)?;
    Ok(der.into())
}
