//! The trust store: roots that a server's chain may end at, and certificates that are trusted for themselves.

use std::collections::BTreeSet;
use std::ops::Range;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Encode, Tag};
use x509_cert::ext::pkix::BasicConstraints;

use super::verify::{plain_name, serves_tls, unknown_critical, why_no_root};
use crate::x509::{Certificate, KeyStrength, PublicKey, RootFile, SetupError, describe_name, oid};

/// A root: what of its certificate counts below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Content of its name.
    pub(super) subject: Vec<u8>,
    /// Content of its SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
    /// DER of its NameConstraints.
    pub(super) name_constraints: Option<Vec<u8>>,
    /// How many CAs may be below it.
    pub(super) path_len: Option<u8>,
    /// `notBefore` and `notAfter`; none: unknown, and so it is always valid.
    pub(super) validity: Option<(i64, i64)>,
    /// Of the operating system or Mozilla, not of the administrator: what holds for public CAs holds for it.
    pub(super) is_public: bool,
}

impl Anchor {
    fn new(certificate: &Certificate<'_>) -> Self {
        let basic = certificate.decode_extension::<BasicConstraints>(oid::BASIC_CONSTRAINTS);
        Self {
            subject: certificate.tbs.subject.value().to_vec(),
            public_key: certificate.tbs.public_key.value().to_vec(),
            name_constraints: certificate.extension(oid::NAME_CONSTRAINTS).map(|(der, _)| der.to_vec()),
            path_len: basic.and_then(Result::ok).and_then(|basic| basic.path_len_constraint),
            validity: Some((certificate.not_before(), certificate.not_after())),
            is_public: false,
        }
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> String {
        AnyRef::new(Tag::Sequence, &self.subject)
            .map_or_else(|_| plain_name(String::new()), |name| plain_name(describe_name(name)))
    }
}

/// A certificate of a file that is not trusted as a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoot {
    /// The file.
    pub file: String,
    /// Subject of the certificate.
    pub subject: String,
    /// What is wrong with it as a root.
    pub why: String,
    /// It names servers, and is trusted where one of these shows it.
    pub for_itself: bool,
}

/// Trusted roots and certificates. Immutable once built.
#[derive(Debug, Default)]
pub(super) struct TrustStore {
    anchors: Vec<Anchor>,
    /// SHA-256 of certificates that name servers: who shows one of them needs no other.
    for_themselves: BTreeSet<[u8; 32]>,
    no_roots: Vec<NoRoot>,
    /// When an anchor begins or ceases to be valid, in order.
    changes: Vec<i64>,
}

impl TrustStore {
    /// Takes the system's roots, if wanted, and those in files.
    ///
    /// Where the system has none, Mozilla's list as built in stands for them. What cannot be a root is left out. In a file that the
    /// administrator named, a certificate that cannot be parsed or has a weak key is an error.
    pub(super) fn load(
        system: Option<&[CertificateDer<'_>]>,
        files: &[RootFile],
    ) -> Result<Self, SetupError> {
        let mut store = Self::default();
        if let Some(system) = system {
            for certificate in system {
                match store.add(certificate) {
                    Ok(None) => {}
                    Ok(Some(no_root)) => tracing::debug!(?no_root, "left out of the system's roots"),
                    Err(fault) => tracing::debug!(fault, "a root of the system's store is left out"),
                }
            }
            store.anchors.iter_mut().for_each(|anchor| anchor.is_public = true);
            if store.anchors.is_empty() {
                store.anchors.extend(webpki_roots::TLS_SERVER_ROOTS.iter().map(built_in));
            }
        }
        for file in files {
            let wrong = |expected: &str| SetupError::new(&file.name, expected);
            let certificates = CertificateDer::pem_slice_iter(&file.pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| wrong("PEM certificates"))?;
            if certificates.is_empty() {
                return Err(wrong("at least one PEM certificate"));
            }
            let mut of_use = 0;
            for certificate in &certificates {
                let no_root = store.add(certificate).map_err(wrong)?;
                of_use += usize::from(no_root.as_ref().is_none_or(|no_root| no_root.for_itself));
                store.no_roots.extend(no_root.map(|no_root| NoRoot { file: file.name.clone(), ..no_root }));
            }
            if of_use == 0 {
                let why = store.no_roots.last().map_or("", |no_root| &no_root.why);
                return Err(wrong(&format!(
                    "a certificate that can be a root, or names a server (it has {why})"
                )));
            }
        }
        let dates = store.anchors.iter().filter_map(|anchor| anchor.validity);
        store.changes = dates.flat_map(|(from, to)| [from, to.saturating_add(1)]).collect();
        store.changes.sort_unstable();
        Ok(store)
    }

    /// Takes one certificate; what it returns is no root.
    fn add(&mut self, der: &CertificateDer<'_>) -> Result<Option<NoRoot>, &'static str> {
        let certificate = Certificate::parse(der).map_err(|_| "a certificate in valid DER")?;
        let strength = PublicKey::parse(certificate.tbs.public_key).map(|key| key.strength());
        if strength != Some(KeyStrength::Good) {
            return Err("a root with an RSA key of 2048 bits or more, P-256, P-384, P-521 or Ed25519");
        }
        let names_servers = certificate.alt_names().next().is_some()
            && unknown_critical(&certificate).is_none()
            && serves_tls(&certificate).is_none_or(|serves| serves == Ok(true));
        if names_servers {
            self.for_themselves.insert(Sha256::digest(der).into());
        }
        match why_no_root(&certificate) {
            None => {
                self.anchors.push(Anchor::new(&certificate));
                Ok(None)
            }
            Some(why) => Ok(Some(NoRoot {
                file: String::new(),
                subject: plain_name(describe_name(certificate.tbs.subject)),
                why,
                for_itself: names_servers,
            })),
        }
    }

    /// The time around `now` in which each anchor stays valid, or not.
    pub(super) fn changes(&self, now: i64) -> Range<i64> {
        let next = self.changes.partition_point(|change| *change <= now);
        let before = next.checked_sub(1).map_or(i64::MIN, |last| self.changes[last]);
        before..self.changes.get(next).copied().unwrap_or(i64::MAX)
    }

    /// What makes another trust store another.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for anchor in &self.anchors {
            let Anchor { subject, public_key, name_constraints, path_len, validity, is_public } = anchor;
            let constraints = name_constraints.as_deref().unwrap_or_default();
            for part in [subject, public_key, constraints] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
            digest.update(path_len.map_or(-1, i16::from).to_be_bytes());
            let (from, to) = validity.unwrap_or((i64::MIN, i64::MAX));
            digest.update(from.to_be_bytes());
            digest.update(to.to_be_bytes());
            digest.update([u8::from(*is_public)]);
        }
        digest.update([0]);
        self.for_themselves.iter().for_each(|fingerprint| digest.update(fingerprint));
        digest.finalize().into()
    }

    pub(super) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// Whether this very certificate was put there.
    pub(super) fn has(&self, der: &[u8]) -> bool {
        !self.for_themselves.is_empty()
            && self.for_themselves.contains(&<[u8; 32]>::from(Sha256::digest(der)))
    }

    /// Certificates of files that are no roots.
    pub(super) fn no_roots(&self) -> &[NoRoot] {
        &self.no_roots
    }

    /// Anchors that are not valid yet at `now`.
    pub(super) fn not_yet_valid(&self, now: i64) -> usize {
        let dates = self.anchors.iter().filter_map(|anchor| anchor.validity);
        dates.filter(|(not_before, _)| now < *not_before).count()
    }
}

/// One of Mozilla's roots.
fn built_in(root: &rustls_pki_types::TrustAnchor<'_>) -> Anchor {
    let constraints = root.name_constraints.as_ref().and_then(|content| {
        // They come without the header of the sequence.
        AnyRef::new(Tag::Sequence, content.as_ref()).and_then(|list| list.to_der()).ok()
    });
    Anchor {
        subject: root.subject.to_vec(),
        public_key: root.subject_public_key_info.to_vec(),
        name_constraints: constraints,
        path_len: None,
        validity: None,
        is_public: true,
    }
}
