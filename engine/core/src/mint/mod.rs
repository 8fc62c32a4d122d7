//! Minting: the copies of server certificates that clients see.
//!
//! A copy is only ordered for a certificate that was verified, or whose defect the profile tolerates. Where the engine itself answers
//! in place of a server, there is no original, and the leaf has the name that was asked for. The leaf key is made
//! once per process and kind. The CAs' keys are a signer's: in this process only where there is no other.

mod authority;
pub mod ca;
mod cache;
mod leaf;
mod signer;
pub mod status;
mod vault;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc};

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

pub(crate) use authority::Authority;
pub(crate) use leaf::Leaf;
pub use signer::{CaSigner, LeafOrder, LeafSubject, Refusal, SignError};
pub(crate) use vault::ANSWER_DAYS;
pub use vault::{CaVault, OriginalCheck};

use crate::caches::TlsCaches;
use crate::event::MintedBy;
use crate::reason::Reason;
use crate::x509::{Certified, Key, KeyError, KeyType, Provider};
use cache::Cache;

/// How a copy is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeafRequest {
    /// Which CA signs.
    pub(crate) by: MintedBy,
    /// The defect that was tolerated.
    pub(crate) defect: Option<Reason>,
    /// Kind of the leaf's key.
    pub(crate) key_type: KeyType,
    /// Longest validity, in days.
    pub(crate) max_days: u32,
    /// Now, in seconds since the Unix epoch.
    pub(crate) now: i64,
}

/// Why no copy could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MintError {
    /// The provider could not make such a key.
    NoSuchKey(KeyType),
    /// The signer made none.
    Signer(SignError),
    /// What the signer made is no certificate, or it has no public key to make one for.
    Leaf,
}

impl From<SignError> for MintError {
    fn from(error: SignError) -> Self {
        Self::Signer(error)
    }
}

impl MintError {
    /// Why the flow ends.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Signer(SignError::Unanswered) => Reason::MintUnanswered,
            Self::Signer(SignError::Refused(_)) => Reason::MintRefused,
            Self::Signer(_) | Self::NoSuchKey(_) | Self::Leaf => Reason::MintFailed,
        }
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchKey(_) => f.write_str("no key of the kind that the client can verify could be made"),
            Self::Signer(error) => write!(f, "{error}"),
            Self::Leaf => f.write_str("the signer made something else than a certificate"),
        }
    }
}

/// Both CAs, and who signs in their names.
pub(crate) struct SignedFor {
    pub(crate) trusted: Authority,
    pub(crate) untrusted: Authority,
    pub(crate) signer: Arc<dyn CaSigner>,
}

/// Kinds of leaf keys.
const KEY_TYPES: usize = KeyType::Rsa2048 as usize + 1;

/// Makes copies, and keeps them for the next client of the same server.
pub(crate) struct Mint {
    provider: Provider,
    trusted: Authority,
    untrusted: Authority,
    signer: Arc<dyn CaSigner>,
    shared: Arc<Minted>,
}

/// What mints of one provider share, whichever CAs they have.
#[expect(clippy::disallowed_types, reason = "whichever thread needs a leaf key first makes it for all")]
struct Minted {
    leaf_keys: [sync::OnceLock<Result<Key, KeyError>>; KEY_TYPES],
    cache: Cache,
    count: AtomicU64,
}

impl Mint {
    pub(crate) fn new(provider: Provider, cas: SignedFor, counters: Arc<TlsCaches>) -> Self {
        let shared =
            Minted { leaf_keys: Default::default(), cache: Cache::new(counters), count: AtomicU64::new(0) };
        let SignedFor { trusted, untrusted, signer } = cas;
        Self { provider, trusted, untrusted, signer, shared: Arc::new(shared) }
    }

    /// A mint with these CAs that has the leaves of this one, as far as they are of one of them.
    pub(crate) fn succeeded_by(&self, cas: SignedFor) -> Self {
        let Self { provider, trusted: _, untrusted: _, signer: _, shared } = self;
        let SignedFor { trusted, untrusted, signer } = cas;
        Self { provider: *provider, trusted, untrusted, signer, shared: Arc::clone(shared) }
    }

    /// Whose keys it makes.
    pub(crate) fn provider(&self) -> Provider {
        self.provider
    }

    /// A copy of a certificate, in DER: out of the cache or freshly signed. `others` were presented with it, `added` were not.
    pub(crate) fn copy(
        &self,
        original: &[u8],
        others: &[CertificateDer<'_>],
        added: &[Arc<[u8]>],
        order: LeafRequest,
    ) -> Result<Arc<Leaf>, MintError> {
        self.find_or_mint(
            Sha256::digest(original).into(),
            order,
            LeafSubject::Copy { original, others, added },
        )
    }

    /// A leaf for a server of which no more is known than its name, likewise.
    pub(crate) fn for_name(&self, name: &str, order: LeafRequest) -> Result<Arc<Leaf>, MintError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // No certificate in DER begins like this.
        let digest = Sha256::new_with_prefix(b"name alone: ").chain_update(&name).finalize().into();
        self.find_or_mint(digest, order, LeafSubject::Name(&name))
    }

    fn find_or_mint(
        &self,
        original: [u8; 32],
        request: LeafRequest,
        subject: LeafSubject<'_>,
    ) -> Result<Arc<Leaf>, MintError> {
        let authority = match request.by {
            MintedBy::Trusted => &self.trusted,
            MintedBy::Untrusted => &self.untrusted,
        };
        let ca = authority.fingerprint();
        let LeafRequest { max_days, now, .. } = request;
        let cached = cache::Key::new(original, ca, &request);
        self.shared.cache.find_or(cached, now, || {
            let key = self.leaf_key(request.key_type)?;
            let public_key = &key.public_key().ok_or(MintError::Leaf)?;
            let der = self.signer.leaf(&LeafOrder { ca, subject, public_key, max_days, now })?;
            let leaf = Leaf::signed(der, authority.chain(), key, cached.digest()).ok_or(MintError::Leaf)?;
            self.shared.count.fetch_add(1, Ordering::Relaxed);
            Ok(leaf)
        })
    }

    /// The leaf with the CA's word that it is not revoked, for a client that asks for it. The same for some hours.
    pub(crate) fn stapled(&self, leaf: &Leaf, by: MintedBy, now: i64) -> Option<Certified> {
        match by {
            MintedBy::Trusted => {
                let ca = self.trusted.fingerprint();
                leaf.stapled(now, |serial| self.signer.status(ca, serial, now).ok())
            }
            MintedBy::Untrusted => None,
        }
    }

    /// Both CAs as orders call them.
    pub(crate) fn ca_fingerprints(&self) -> [[u8; 32]; 2] {
        [&self.trusted, &self.untrusted].map(Authority::fingerprint)
    }

    /// When the CAs' certificates end, in seconds since the Unix epoch.
    pub(crate) fn authorities_end(&self) -> [(MintedBy, i64); 2] {
        [(MintedBy::Trusted, &self.trusted), (MintedBy::Untrusted, &self.untrusted)]
            .map(|(by, authority)| (by, authority.validity().1))
    }

    /// Leaves signed so far.
    pub(crate) fn minted(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// The leaf key of this kind; made when it is first needed, since an RSA key takes a while and few clients want one.
    fn leaf_key(&self, kind: KeyType) -> Result<&Key, MintError> {
        self.shared.leaf_keys[kind as usize]
            .get_or_init(|| Key::generate(self.provider, kind))
            .as_ref()
            .map_err(|_| MintError::NoSuchKey(kind))
    }
}
