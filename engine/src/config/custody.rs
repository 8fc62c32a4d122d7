//! What the signer reads of a configuration: both CAs with their keys, and what decides which certificates they may sign.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use wireglass_core::mint::{CaSigner, CaVault, LeafOrder, OriginalCheck, SignError};
use wireglass_core::policy::Profile;
use wireglass_core::tls::{ChainVerifier, Knowledge};
use wireglass_core::x509::{Provider, SetupError};

use super::reader::{Notes, Table};
use super::sections::{Profiles, pushed_to};
use super::{Ca, Crypto, Faults, Trust, now, read_noting};
use crate::confine::Mode;

/// The CAs, and what they may sign.
#[derive(Debug)]
pub struct Custody {
    provider: Provider,
    /// Both CAs.
    pub ca: Ca,
    trust: Trust,
    profiles: Vec<Arc<Profile>>,
    /// A rule answers in a server's place, with a page.
    answers: bool,
    /// How far the signer is confined.
    pub mode: Mode,
    /// What it reads, this file first.
    pub(crate) read: Vec<PathBuf>,
}

impl Custody {
    /// Reads it, the keys too.
    ///
    /// # Errors
    /// The file cannot be read, or has faults in `[crypto]`, `[ca]`, `[trust]` or a profile.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        read_noting(file, |notes| notes, |document, notes| Self::read(file, document, notes))
    }

    /// Likewise, and leaves the keys where they are.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_without_keys(file: &Path) -> Result<Self, Faults> {
        let take = |document: &Table<'_>, notes: &Notes<'_>| Self::read(file, document, notes);
        read_noting(file, |notes| notes.without_ca_keys(), take)
    }

    fn read(file: &Path, document: &Table<'_>, notes: &Notes<'_>) -> Option<Self> {
        let profiles = Profiles::read(document.table("profile"));
        let ca = Ca::read(document.table("ca"));
        let trust = Trust::read(document.table("trust"), profiles.want_timestamps());
        let is_page = |rule: &Table<'_>| {
            let with = rule.value("block_with", "\"alert\"");
            with.and_then(|value| value.text()).is_some_and(|text| text == "page")
        };
        let answers = document.tables("rule").iter().any(is_page);
        let provider = Crypto::read(document.table("crypto")).provider;
        let mode = document.table("confine").choice("mode", &Mode::NAMED, Mode::default());
        // The profiles may be in a policy that was pushed.
        let pushed = pushed_to(&document.table("fleet"));
        let read = std::iter::once(file.to_owned()).chain(pushed).chain(notes.paths_read()).collect();
        Some(Self { provider, ca: ca?, trust: trust?, profiles: profiles.into_list(), answers, mode, read })
    }

    /// The keys, ready to sign.
    ///
    /// # Errors
    /// The file at fault, and what was expected of it.
    pub fn vault(&self) -> Result<CaVault, SetupError> {
        let Self { provider, ca, trust, profiles, answers, .. } = self;
        let cas = (&ca.trusted, &ca.untrusted);
        let vault = CaVault::load(*provider, cas, ca.crl_url.as_deref(), now().unsigned_abs())?;
        let own = [&ca.trusted, &ca.untrusted].into_iter();
        let own: Vec<_> =
            own.filter_map(|files| CertificateDer::from_pem_slice(&files.cert_pem).ok()).collect();
        let system = trust.system.then(|| rustls_native_certs::load_native_certs().certs);
        // What servers staple, and what logs say there, is not shown to the signer.
        let knowledge = Knowledge { ct_logs: None, fetcher: None, ..trust.knowledge.clone() };
        let verifier =
            ChainVerifier::new(*provider, system.as_deref(), &trust.roots, &own)?.with(&knowledge)?;
        let profiles = profiles.iter().map(|profile| &**profile);
        Ok(vault.checking(OriginalCheck::new(verifier, profiles, *answers)))
    }
}

/// Has no keys: for whoever only wants to know whether all else is in order.
pub(super) struct Nobody;

impl CaSigner for Nobody {
    fn leaf(&self, _: &LeafOrder<'_>) -> Result<Vec<u8>, SignError> {
        Err(SignError::Unanswered)
    }

    fn status(&self, _: [u8; 32], _: &[u8], _: i64) -> Result<Vec<u8>, SignError> {
        Err(SignError::Unanswered)
    }
}
