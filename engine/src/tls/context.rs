//! What all handshakes share: provider, trust store, authorities, and the cache of minted leaves.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use super::provider::offer_to_server;
use super::trust::TrustStore;
use super::verify::{OwnCa, Verifier};
use super::{ClientHello, Provider};
use crate::mint::{Authority, Mint};
use crate::policy::Profile;
use crate::reason::Reason;

/// A CA's certificate (with those above it, if it is no root) and its private key, as read from files.
pub struct CaFiles {
    /// Name of the certificate's file, for messages.
    pub cert_name: String,
    /// Its contents: PEM, the CA first.
    pub cert_pem: Vec<u8>,
    /// Name of the key's file, for messages.
    pub key_name: String,
    /// Its contents: PEM of a PKCS#8, SEC 1 or PKCS#1 key.
    pub key_pem: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for CaFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaFiles")
            .field("cert", &self.cert_name)
            .field("key", &self.key_name)
            .finish_non_exhaustive()
    }
}

/// A file with trusted roots.
#[derive(Clone, Debug)]
pub struct RootFile {
    /// Name of the file, for messages.
    pub name: String,
    /// Its contents: PEM certificates.
    pub pem: Vec<u8>,
}

/// What a [`TlsContext`] is made of.
#[derive(Debug)]
pub struct TlsSettings {
    /// Which library does the cryptography.
    pub provider: Provider,
    /// The CA that the clients trust.
    pub trusted: CaFiles,
    /// The CA that nobody trusts.
    pub untrusted: CaFiles,
    /// Trust the roots of the operating system.
    pub system_roots: bool,
    /// Further roots.
    pub roots: Vec<RootFile>,
    /// Now, in seconds since the Unix epoch: an expired CA is refused.
    pub now: u64,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    /// Name of the file, as it was given.
    pub file: String,
    /// What was expected of it.
    pub expected: String,
}

impl SetupError {
    pub(crate) fn new(file: &str, expected: &str) -> Self {
        Self { file: file.to_owned(), expected: expected.to_owned() }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.file, self.expected)
    }
}

impl std::error::Error for SetupError {}

/// Shared by all handshakes of a process.
///
/// There are no resumption caches: both legs always run a full handshake. A client that could resume would skip the
/// verification of the server, so resumption waits until a ticket is bound to server, verdict and policy.
pub struct TlsContext {
    pub(super) provider: CryptoProvider,
    pub(super) verifier: Arc<Verifier>,
    pub(super) mint: Mint,
}

impl TlsContext {
    /// Loads authorities and trust store.
    ///
    /// # Errors
    /// The file at fault, and what was expected of it.
    pub fn new(settings: TlsSettings) -> Result<Self, SetupError> {
        let provider = settings.provider.load();
        let trusted = Authority::load(settings.provider, &settings.trusted, settings.now)?;
        let untrusted = Authority::load(settings.provider, &settings.untrusted, settings.now)?;
        if trusted.public_key() == untrusted.public_key() {
            return Err(SetupError::new(&settings.untrusted.cert_name, "another key than the trusted CA's"));
        }
        let own = [&trusted, &untrusted].map(|a| OwnCa {
            subject: a.subject().to_vec(),
            public_key: a.public_key().to_vec(),
            key_id: a.key_id().map(<[u8]>::to_vec),
        });
        let verifier = Verifier {
            trust: TrustStore::load(settings.system_roots, &settings.roots)?,
            algorithms: provider.signature_verification_algorithms.all,
            own: own.into(),
        };
        Ok(Self {
            provider,
            verifier: Arc::new(verifier),
            mint: Mint::new(settings.provider, trusted, untrusted),
        })
    }

    /// Whether this client can be served within the profile, to be asked before its flow is adopted.
    ///
    /// # Errors
    /// [`Reason::VersionUnsupportedClient`] or [`Reason::CipherNoneClient`].
    pub fn can_serve(&self, hello: &ClientHello, profile: &Profile) -> Result<(), Reason> {
        offer_to_server(&self.provider, hello, profile).map(drop)
    }

    /// Leaves minted so far; those out of the cache do not count again.
    pub fn minted(&self) -> u64 {
        self.mint.minted()
    }

    /// Trusted roots.
    pub fn roots(&self) -> usize {
        self.verifier.trust.anchors().len()
    }
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext").field("roots", &self.roots()).finish_non_exhaustive()
    }
}
