//! The trust store: roots that a server's chain may end at.

use std::ops::Range;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest, Sha256};

use crate::reason::Reason;
use crate::x509::{Certificate, PublicKey, RootFile, SetupError};

/// Trusted roots. Immutable once built.
pub(super) struct TrustStore {
    anchors: Vec<TrustAnchor<'static>>,
    /// `notBefore` and `notAfter` of each anchor's certificate; webpki does not keep them.
    validity: Vec<Option<(i64, i64)>>,
    /// When an anchor begins or ceases to be valid, in order.
    changes: Vec<i64>,
}

impl TrustStore {
    /// Takes the system's roots, if wanted, and those in files.
    ///
    /// Where the system has none, Mozilla's list as built in stands for them. A system root that cannot be parsed or has a
    /// weak key is left out; in a file that the administrator named, it is an error.
    pub(super) fn load(
        system: Option<&[CertificateDer<'_>]>,
        files: &[RootFile],
    ) -> Result<Self, SetupError> {
        let mut store = Self { anchors: Vec::new(), validity: Vec::new(), changes: Vec::new() };
        if let Some(system) = system {
            for certificate in system {
                if let Err(fault) = store.add(certificate) {
                    tracing::debug!(fault, "a root of the system's store is left out");
                }
            }
            if store.anchors.is_empty() {
                store.anchors.extend_from_slice(webpki_roots::TLS_SERVER_ROOTS);
                store.validity.resize(store.anchors.len(), None);
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
            for certificate in &certificates {
                store.add(certificate).map_err(wrong)?;
            }
        }
        let dates = store.validity.iter().flatten();
        store.changes = dates.flat_map(|&(from, to)| [from, to.saturating_add(1)]).collect();
        store.changes.sort_unstable();
        Ok(store)
    }

    fn add(&mut self, der: &CertificateDer<'_>) -> Result<(), &'static str> {
        let certificate = Certificate::parse(der).map_err(|_| "a certificate in valid DER")?;
        if is_weak_key(&certificate) {
            return Err("a root with an RSA key of 2048 bits or more, P-256, P-384, P-521 or Ed25519");
        }
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|_| "a certificate that can be a root")?;
        self.anchors.push(anchor.to_owned());
        self.validity.push(Some((certificate.not_before(), certificate.not_after())));
        Ok(())
    }

    /// The time around `now` in which each anchor stays valid, or not.
    pub(super) fn changes(&self, now: i64) -> Range<i64> {
        let next = self.changes.partition_point(|change| *change <= now);
        let before = next.checked_sub(1).map_or(i64::MIN, |last| self.changes[last]);
        before..self.changes.get(next).copied().unwrap_or(i64::MAX)
    }

    /// What makes another trust store another: its anchors.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (anchor, validity) in self.anchors.iter().zip(&self.validity) {
            let constraints = anchor.name_constraints.as_ref().map_or(&[][..], |c| c.as_ref());
            for part in [anchor.subject.as_ref(), anchor.subject_public_key_info.as_ref(), constraints] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
            let (from, to) = validity.unwrap_or((i64::MIN, i64::MAX));
            digest.update(from.to_be_bytes());
            digest.update(to.to_be_bytes());
        }
        digest.finalize().into()
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// Why an anchor may not be used at `now`; none: it may. Of several certificates with its name and key, any that is valid
    /// will do. Anchors that came without dates always may be used.
    pub(super) fn date_defect(&self, anchor: &TrustAnchor<'_>, now: i64) -> Option<Reason> {
        let mut defect = None;
        for (same, validity) in self.anchors.iter().zip(&self.validity) {
            if same.subject != anchor.subject
                || same.subject_public_key_info != anchor.subject_public_key_info
            {
                continue;
            }
            match *validity {
                Some((_, not_after)) if now > not_after => defect = Some(Reason::CertExpired),
                // One that was valid once says more.
                Some((not_before, _)) if now < not_before => defect = defect.or(Some(Reason::CertNotYet)),
                _ => return None,
            }
        }
        defect
    }

    /// Anchors that are not valid yet at `now`.
    pub(super) fn not_yet_valid(&self, now: i64) -> usize {
        self.validity.iter().flatten().filter(|(not_before, _)| now < *not_before).count()
    }
}

/// RSA below 2048 bits, a curve below P-256, DSA, or anything else that nobody should rely on.
pub(super) fn is_weak_key(certificate: &Certificate<'_>) -> bool {
    match PublicKey::parse(certificate.tbs.public_key) {
        Some(PublicKey::Rsa(bits)) => bits < 2048,
        Some(PublicKey::Ec(curve)) => ![PublicKey::P256, PublicKey::P384, PublicKey::P521].contains(&curve),
        Some(PublicKey::Other(kind)) => kind != PublicKey::ED25519,
        None => true,
    }
}
