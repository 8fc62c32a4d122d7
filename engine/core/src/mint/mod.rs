//! Minting: the copies of server certificates that clients see.
//!
//! A copy is only ordered for a certificate that was verified, or whose defect the profile tolerates. Where the engine itself answers
//! in place of a server, there is no original, and the leaf has the name that was asked for. The leaf key is made
//! once per process and kind; the CA's keys sign certificates and nothing else.

mod authority;
pub mod ca;
mod cache;
mod leaf;

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
use crate::x509::{Key, KeyError, KeyType, Provider};
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
    /// The provider has no such keys: ring makes no RSA keys.
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
            Self::NoSuchKey(KeyType::Rsa2048) => {
                "the client cannot verify ECDSA, and this build cannot make RSA keys (it lacks aws-lc-rs)"
            }
            Self::NoSuchKey(KeyType::P256) => "no P-256 key could be made",
            Self::Original => "the server's certificate cannot be copied",
            Self::Validity => "the server's certificate and the CA's are never valid at the same time",
            Self::Crypto => "the crypto provider failed",
        })
    }
}

/// Makes copies, and keeps them for the next client of the same server.
#[expect(clippy::disallowed_types, reason = "whichever thread needs a leaf key first makes it for all")]
pub(crate) struct Mint {
    provider: Provider,
    random: &'static dyn SecureRandom,
    trusted: Authority,
    untrusted: Authority,
    p256: sync::OnceLock<Result<Key, KeyError>>,
    rsa2048: sync::OnceLock<Result<Key, KeyError>>,
    cache: Cache,
    minted: AtomicU64,
}

impl Mint {
    pub(crate) fn new(
        provider: Provider,
        trusted: Authority,
        untrusted: Authority,
        counters: Arc<TlsCaches>,
    ) -> Self {
        Self {
            provider,
            random: provider.load().secure_random,
            trusted,
            untrusted,
            p256: Default::default(),
            rsa2048: Default::default(),
            cache: Cache::new(counters),
            minted: AtomicU64::new(0),
        }
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
        self.cache.find_or(cache::Key::new(original, &order), order.now, || {
            let authority = match order.by {
                MintedBy::Trusted => &self.trusted,
                MintedBy::Untrusted => &self.untrusted,
            };
            let leaf = mint(authority, self.leaf_key(order.key_type)?)?;
            self.minted.fetch_add(1, Ordering::Relaxed);
            Ok(leaf)
        })
    }

    /// Leaves signed so far.
    pub(crate) fn minted(&self) -> u64 {
        self.minted.load(Ordering::Relaxed)
    }

    /// The leaf key of this kind; made when it is first needed, since an RSA key takes a while and few clients want one.
    fn leaf_key(&self, kind: KeyType) -> Result<&Key, MintError> {
        let slot = match kind {
            KeyType::P256 => &self.p256,
            KeyType::Rsa2048 => &self.rsa2048,
        };
        slot.get_or_init(|| Key::generate(self.provider, kind))
            .as_ref()
            .map_err(|_| MintError::NoSuchKey(kind))
    }
}
