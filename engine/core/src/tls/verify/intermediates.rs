//! Certificates between a leaf and a root that servers forget to send: those of the configuration, and those that were seen in good
//! chains.
//!
//! They lead to nothing by themselves: a path through them is validated as if the server had sent them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashMap;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::path::MAX_BETWEEN;
use crate::generations::Generations;
use crate::shards::Shards;
use crate::tls::trust::Anchor;
use crate::x509::{Certificate, RootFile, SetupError};

/// Names of CAs of which certificates are remembered; the public Internet has some 2,000.
const REMEMBERED: usize = 4096;
/// Certificates of one name that are remembered: of changed keys, and cross-signed ones.
const EACH: usize = 4;
/// The longest certificate that is remembered, in bytes. Real ones are half of that.
const LONGEST: usize = 4096;
/// Certificates that are added to a chain, at most.
const MAX_ADDED: usize = 12;

/// SHA-256 of a name.
type Name = [u8; 32];
type Der = Arc<[u8]>;

/// What is known of certificates between leaves and roots.
pub(in crate::tls) struct Intermediates {
    configured: HashMap<Name, Vec<Der>>,
    remembered: Shards<Generations<Name, Vec<Der>>>,
    /// Grows with each certificate that is remembered: what could not be completed before may be now.
    revision: AtomicU64,
}

impl Intermediates {
    /// None of the configuration.
    pub(in crate::tls) fn none() -> Self {
        let remembered = Shards::generations(REMEMBERED);
        Self { configured: HashMap::new(), remembered, revision: AtomicU64::new(0) }
    }

    /// Takes those in files. A certificate that cannot be parsed is an error.
    pub(in crate::tls) fn load(files: &[RootFile]) -> Result<Self, SetupError> {
        let mut configured: HashMap<Name, Vec<Der>> = HashMap::new();
        for file in files {
            let wrong = |expected: &str| SetupError::new(&file.name, expected);
            for der in CertificateDer::pem_slice_iter(&file.pem) {
                let der = der.map_err(|_| wrong("PEM certificates"))?;
                let certificate = Certificate::parse(&der).map_err(|_| wrong("certificates in valid DER"))?;
                let known = configured.entry(subject(&certificate)).or_default();
                if known.iter().all(|known| **known != *der) {
                    known.push(Arc::from(&*der));
                }
            }
        }
        Ok(Self { configured, ..Self::none() })
    }

    /// Certificates of the configuration.
    pub(in crate::tls) fn configured(&self) -> usize {
        self.configured.values().map(Vec::len).sum()
    }

    /// What makes other files others.
    pub(in crate::tls) fn digest(&self) -> [u8; 32] {
        let mut all: Vec<_> = self.configured.values().flatten().map(Sha256::digest).collect();
        all.sort_unstable();
        all.iter().fold(Sha256::new(), |digest, one| digest.chain_update(one)).finalize().into()
    }

    /// Another number after something was remembered.
    pub(in crate::tls) fn revision(&self) -> u64 {
        self.revision.load(Relaxed)
    }

    /// Remembers a certificate. Whose signature was right is for the caller to say, and no more than a matter of room.
    pub(in crate::tls) fn remember(&self, certificate: &Certificate<'_>) {
        if certificate.der().len() > LONGEST || certificate.is_self_issued() {
            return;
        }
        let name = subject(certificate);
        let is_same = |known: &Der| **known == *certificate.der();
        if self.configured.get(&name).is_some_and(|known| known.iter().any(is_same)) {
            return;
        }
        let mut remembered = self.remembered.of_digest(&name);
        match remembered.find(&name) {
            Some(known) if known.iter().any(is_same) => return,
            Some(known) => {
                if known.len() == EACH {
                    known.remove(0);
                }
                known.push(Arc::from(certificate.der()));
            }
            None => remembered.insert(name, vec![Arc::from(certificate.der())]),
        }
        self.revision.fetch_add(1, Relaxed);
    }

    /// What may be missing between these certificates and a root: known ones with the names of their issuers, and of those' issuers; and
    /// what was `fetched` from where a certificate says that its issuer's is.
    pub(in crate::tls) fn missing(
        &self,
        chain: &[&Certificate<'_>],
        anchors: &[Anchor],
        fetched: &mut dyn FnMut(&Certificate<'_>) -> Vec<Der>,
    ) -> Vec<Der> {
        let mut added: Vec<Der> = Vec::new();
        let mut wanted = |certificate: &Certificate<'_>| {
            let name = certificate.tbs.issuer.value();
            let is_root = certificate.is_self_issued() || anchors.iter().any(|anchor| anchor.subject == name);
            match is_root {
                true => Vec::new(),
                false => {
                    let mut known = self.named(&issuer(certificate));
                    known.extend(fetched(certificate));
                    known
                }
            }
        };
        let mut found: Vec<Der> = chain.iter().flat_map(|certificate| wanted(certificate)).collect();
        for _ in 0..MAX_BETWEEN {
            let mut next = Vec::new();
            for der in found {
                let is_there = added.contains(&der) || chain.iter().any(|c| *c.der() == *der);
                if is_there || added.len() == MAX_ADDED {
                    continue;
                }
                next.extend(Certificate::parse(&der).ok().as_ref().map(&mut wanted).unwrap_or_default());
                added.push(der);
            }
            if next.is_empty() {
                break;
            }
            found = next;
        }
        added
    }

    fn named(&self, name: &Name) -> Vec<Der> {
        let configured = self.configured.get(name).into_iter().flatten().cloned();
        let mut found: Vec<Der> = configured.take(EACH).collect();
        found.extend(
            self.remembered.of_digest(name).find(name).into_iter().flat_map(|known| known.iter().cloned()),
        );
        found
    }
}

fn subject(certificate: &Certificate<'_>) -> Name {
    Sha256::digest(certificate.tbs.subject.value()).into()
}

fn issuer(certificate: &Certificate<'_>) -> Name {
    Sha256::digest(certificate.tbs.issuer.value()).into()
}
