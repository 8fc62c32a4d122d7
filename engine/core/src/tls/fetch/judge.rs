//! Whether an answer is what was asked for.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm};
use sha1::{Digest, Sha1};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{self, Encode, Tag, TagNumber, Tagged};

use super::store::Content;
use crate::tls::verify::crl::Crl;
use crate::tls::verify::ocsp;
use crate::tls::verify::revocation::{Asked, Issuer};
use crate::x509::ocsp::{AlgorithmId, CertId, SHA1};
use crate::x509::{Certificate, elements, key_bits};

/// Certificates of one answer that are kept: of changed keys, and cross-signed ones.
const MAX_ISSUERS: usize = 4;
/// The longest of them, in bytes. Real ones are half of that.
const LONGEST_ISSUER: usize = 4096;
/// How PEM begins (RFC 7468 §2).
const PEM: &[u8] = b"-----BEGIN ";
/// `id-signedData` (RFC 5652 §5.1).
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

/// What an answer is to be about.
#[derive(Debug)]
pub(super) enum Subject {
    Crl(Owned),
    Ocsp {
        about: Owned,
        request: Vec<u8>,
    },
    /// Content of the issuer's name.
    Issuer(Vec<u8>),
}

/// A certificate and its issuer, as they outlive a verification.
#[derive(Debug)]
pub(super) struct Owned {
    der: Vec<u8>,
    is_ca: bool,
    issuer: OwnedIssuer,
}

#[derive(Debug)]
enum OwnedIssuer {
    Certificate(Vec<u8>),
    /// Contents of its name and of its SubjectPublicKeyInfo.
    Root(Vec<u8>, Vec<u8>),
}

impl Owned {
    fn new(asked: Asked<'_>) -> Self {
        let issuer = match asked.issuer.certificate {
            Some(certificate) => OwnedIssuer::Certificate(certificate.der().to_vec()),
            None => {
                let Issuer { name, public_key, certificate: _ } = asked.issuer;
                OwnedIssuer::Root(name.value().to_vec(), public_key.value().to_vec())
            }
        };
        Self { der: asked.certificate.der().to_vec(), is_ca: asked.is_ca, issuer }
    }

    /// None: it is malformed, which it was not.
    fn ask<T>(&self, ask: impl FnOnce(Asked<'_>) -> Option<T>) -> Option<T> {
        let certificate = &Certificate::parse(&self.der).ok()?;
        let is_ca = self.is_ca;
        match &self.issuer {
            OwnedIssuer::Certificate(der) => {
                let issuer = Certificate::parse(der).ok()?;
                ask(Asked { certificate, is_ca, issuer: Issuer::certificate(&issuer) })
            }
            OwnedIssuer::Root(name, public_key) => {
                let name = AnyRef::new(Tag::Sequence, name).ok()?;
                let public_key = AnyRef::new(Tag::Sequence, public_key).ok()?;
                ask(Asked { certificate, is_ca, issuer: Issuer { name, public_key, certificate: None } })
            }
        }
    }
}

impl Subject {
    pub(super) fn crl(asked: Asked<'_>) -> Self {
        Self::Crl(Owned::new(asked))
    }

    pub(super) fn ocsp(asked: Asked<'_>) -> Option<Self> {
        let request = ocsp_request(asked).ok()?;
        Some(Self::Ocsp { about: Owned::new(asked), request })
    }

    pub(super) fn issuer(name: &[u8]) -> Self {
        Self::Issuer(name.to_vec())
    }

    /// What is sent to ask for it.
    pub(super) fn request(&self) -> Option<Vec<u8>> {
        match self {
            Self::Ocsp { request, .. } => Some(request.clone()),
            _ => None,
        }
    }

    /// What there is to keep of an answer, at `now` in seconds since the Unix epoch. None: it is not what was asked for.
    pub(super) fn judge(
        &self,
        body: Vec<u8>,
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
        now: i64,
    ) -> Option<Content> {
        match self {
            Self::Crl(about) => {
                let crl = Crl::parse(crl_der(body)).ok()?;
                about.ask(|asked| {
                    crl.is_by(asked.issuer.name).then(|| crl.answer(asked, algorithms, now).ok()).flatten()
                })?;
                Some(Content::Crl(Arc::new(crl)))
            }
            Self::Ocsp { about, .. } => {
                let algorithms: Vec<_> =
                    algorithms.iter().map(|a| *a as &dyn SignatureVerificationAlgorithm).collect();
                about.ask(|asked| ocsp::answer(&body, asked, &algorithms, now).ok()).map(Content::Ocsp)
            }
            Self::Issuer(name) => {
                let is_wanted = |der: &[u8]| {
                    der.len() <= LONGEST_ISSUER
                        && Certificate::parse(der).is_ok_and(|c| c.tbs.subject.value() == name)
                };
                let found = certificates(&body).into_iter().filter(|der| is_wanted(der)).take(MAX_ISSUERS);
                let found: Arc<[Arc<[u8]>]> = found.map(Arc::from).collect();
                (!found.is_empty()).then_some(Content::Issuers(found))
            }
        }
    }
}

/// RFC 5280 §4.2.1.13 wants DER, and some servers have PEM.
fn crl_der(body: Vec<u8>) -> Vec<u8> {
    match body.starts_with(PEM) {
        true => CertificateRevocationListDer::from_pem_slice(&body).map_or(body, |der| der.to_vec()),
        false => body,
    }
}

/// One certificate in DER, those of a "certs-only" CMS message (RFC 5280 §4.2.2.1), or those in PEM.
fn certificates(body: &[u8]) -> Vec<Vec<u8>> {
    if body.starts_with(PEM) {
        let pem = CertificateDer::pem_slice_iter(body).map_while(Result::ok);
        return pem.map(|der| der.to_vec()).collect();
    }
    match certs_only(body) {
        Some(certificates) => certificates,
        None => vec![body.to_vec()],
    }
}

/// The certificates of SignedData (RFC 5652 §5.1); its signature, if there is one, says nothing here.
fn certs_only(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    const FIRST: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    let message = elements(body).next()?;
    let mut parts = elements(message.value());
    let kind = parts.next()?.decode_as::<ObjectIdentifier>().ok()?;
    let content = parts.next().filter(|content| kind == SIGNED_DATA && content.tag() == FIRST)?;
    let signed = elements(content.value()).next()?;
    let set = elements(signed.value()).find(|part| part.tag() == FIRST)?;
    Some(elements(set.value()).filter_map(|certificate| certificate.to_der().ok()).collect())
}

/// `OCSPRequest` (RFC 6960 §4.1.1) about one certificate, without a signature. Without a nonce, too: who answers from a cache could not
/// send it back (RFC 5019 §2.1.1), and dates say how old an answer is.
fn ocsp_request(asked: Asked<'_>) -> der::Result<Vec<u8>> {
    let sequence = |content: &[u8]| AnyRef::new(Tag::Sequence, content)?.to_der();
    let key = asked.issuer.public_key.to_der()?;
    let key_hash = Sha1::digest(key_bits(&key).unwrap_or_default());
    let name_hash = Sha1::digest(asked.issuer.name.to_der()?);
    let id = CertId {
        // The one that all responders know. It names the issuer, and protects nothing.
        hash: AlgorithmId { algorithm: SHA1, parameters: Some(AnyRef::new(Tag::Null, &[])?) },
        name_hash: AnyRef::new(Tag::OctetString, &name_hash)?,
        key_hash: AnyRef::new(Tag::OctetString, &key_hash)?,
        serial: asked.certificate.tbs.serial,
    };
    // Request, requestList, tbsRequest, OCSPRequest.
    let request = sequence(&id.to_der()?)?;
    sequence(&sequence(&sequence(&request)?)?)
}
