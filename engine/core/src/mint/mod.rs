//! Minting: the copies of server certificates that clients see.
//!
//! A copy is only ordered for a certificate that was verified, or whose defect the profile tolerates. Where the engine itself answers
//! in place of a server, there is no original, and the leaf has the name that was asked for. The leaf key is made
//! once per process and kind; the CA's keys sign certificates and nothing else.

mod authority;
pub mod ca;
mod cache;
mod leaf;
pub mod status;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc};

use rustls::crypto::SecureRandom;
use sha2::{Digest, Sha256};

pub(crate) use authority::Authority;
pub(crate) use leaf::Leaf;

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
    /// The original is not a certificate. Verification would not have let it through.
    Original,
    /// The original and the CA are never valid at the same time.
    Validity,
    /// No random numbers, or signing failed.
    Crypto,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchKey(_) => "no key of the kind that the client can verify could be made",
            Self::Original => "the server's certificate cannot be copied",
            Self::Validity => "the server's certificate and the CA's are never valid at the same time",
            Self::Crypto => "the crypto provider failed",
        })
    }
}

/// Kinds of leaf keys.
const KEY_TYPES: usize = KeyType::Rsa2048 as usize + 1;

/// Makes copies, and keeps them for the next client of the same server.
pub(crate) struct Mint {
    provider: Provider,
    random: &'static dyn SecureRandom,
    trusted: Authority,
    untrusted: Authority,
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
    pub(crate) fn new(
        provider: Provider,
        trusted: Authority,
        untrusted: Authority,
        counters: Arc<TlsCaches>,
    ) -> Self {
        let shared =
            Minted { leaf_keys: Default::default(), cache: Cache::new(counters), count: AtomicU64::new(0) };
        Self { provider, random: provider.load().secure_random, trusted, untrusted, shared: Arc::new(shared) }
    }

    /// A mint with these CAs that has the leaves of this one, as far as they are of one of them.
    pub(crate) fn succeeded_by(&self, trusted: Authority, untrusted: Authority) -> Self {
        let Self { provider, random, trusted: _, untrusted: _, shared } = self;
        Self { provider: *provider, random: *random, trusted, untrusted, shared: Arc::clone(shared) }
    }

    /// Whose keys it makes.
    pub(crate) fn provider(&self) -> Provider {
        self.provider
    }

    /// A copy of `original`, a certificate in DER: out of the cache or freshly signed.
    pub(crate) fn copy(&self, original: &[u8], order: LeafRequest) -> Result<Arc<Leaf>, MintError> {
        self.find_or_mint(Sha256::digest(original).into(), order, |authority, key| {
            leaf::mint(authority, key, original, &order, self.random)
        })
    }

    /// A leaf for a server of which no more is known than its name, likewise.
    pub(crate) fn for_name(&self, name: &str, order: LeafRequest) -> Result<Arc<Leaf>, MintError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // No certificate in DER begins like this.
        let digest = Sha256::new_with_prefix(b"name alone: ").chain_update(&name).finalize().into();
        self.find_or_mint(digest, order, |authority, key| {
            leaf::mint_named(authority, key, &name, &order, self.random)
        })
    }

    fn find_or_mint(
        &self,
        original: [u8; 32],
        order: LeafRequest,
        mint: impl FnOnce(&Authority, &Key) -> Result<Leaf, MintError>,
    ) -> Result<Arc<Leaf>, MintError> {
        let authority = match order.by {
            MintedBy::Trusted => &self.trusted,
            MintedBy::Untrusted => &self.untrusted,
        };
        let key = cache::Key::new(original, authority.fingerprint(), &order);
        self.shared.cache.find_or(key, order.now, || {
            let leaf = mint(authority, self.leaf_key(order.key_type)?)?;
            self.shared.count.fetch_add(1, Ordering::Relaxed);
            Ok(leaf)
        })
    }

    /// The leaf with the CA's word that it is not revoked, for a client that asks for it. The same for some hours.
    pub(crate) fn stapled(&self, leaf: &Leaf, by: MintedBy, now: i64) -> Option<Certified> {
        let authority = match by {
            MintedBy::Trusted => &self.trusted,
            MintedBy::Untrusted => return None,
        };
        leaf.stapled(now, |serial| status::staple(authority, serial, now))
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
