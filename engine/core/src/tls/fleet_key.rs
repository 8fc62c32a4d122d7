//! The key of a fleet: what its engines leave where others can read and write is sealed with it.
//!
//! ```text
//! version (1) | name of the key (8) | nonce (12) | sealed, tag (16): AES-256-GCM
//! ```
//! What it is for, the fleet's name and, where that counts, who has sealed it are associated data: nothing is good in another place.

use std::fmt;

use aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::aead;
#[cfg(not(feature = "aws-lc-rs"))]
use ring::aead;
use rustls::crypto::SecureRandom;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::x509::Provider;

/// Of what is sealed. Another one is refused: a newer engine has sealed it.
pub(super) const VERSION: u8 = 1;
const NAME_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// Bytes that sealing adds.
pub(super) const OVERHEAD: usize = 1 + NAME_LEN + NONCE_LEN + TAG_LEN;

/// From a secret of full entropy another that does not lead back.
pub(super) fn derive(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(secret).chain_update(b"wireglass ").chain_update(purpose).finalize().into()
}

/// What seals for a fleet. Each of its engines has it, and nobody else.
pub struct FleetKey {
    name: [u8; NAME_LEN],
    aead: LessSafeKey,
    /// Hides digests of what others could guess.
    blinding: Zeroizing<[u8; 32]>,
    random: &'static dyn SecureRandom,
}

impl FleetKey {
    /// From 32 bytes that nobody may guess. None: the library takes no such key.
    pub fn new(secret: &[u8; 32], provider: Provider) -> Option<Self> {
        let key = Zeroizing::new(derive(secret, b"fleet key"));
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&derive(secret, b"fleet key's name")[..NAME_LEN]);
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).ok()?);
        let blinding = Zeroizing::new(derive(secret, b"fleet key's blinding"));
        Some(Self { name, aead, blinding, random: provider.load().secure_random })
    }

    /// A name for a digest that tells nothing of it to who has not got the key.
    pub(super) fn blind(&self, digest: &[u8; 32]) -> [u8; 16] {
        let mut name = [0; 16];
        name.copy_from_slice(&derive(&self.blinding, digest)[..16]);
        name
    }

    /// Seals this. None: the library has no random bytes.
    pub(super) fn seal(&self, mut plain: Zeroizing<Vec<u8>>, associated: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let unique = Nonce::assume_unique_for_key(nonce);
        let tag = self.aead.seal_in_place_separate_tag(unique, Aad::from(associated), &mut plain).ok()?;
        Some([&[VERSION][..], &self.name, &nonce, &plain, tag.as_ref()].concat())
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey")
    }
}

/// Opens what was sealed with one of these keys: while a key is being replaced, there are two.
pub(super) fn open(
    sealed: &[u8],
    keys: &[FleetKey],
    associated: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SecretRefused> {
    let malformed = SecretRefused::Malformed;
    let (version, rest) = sealed.split_first().ok_or(malformed)?;
    if *version != VERSION {
        return Err(SecretRefused::Version);
    }
    let (name, rest) = rest.split_first_chunk::<NAME_LEN>().ok_or(malformed)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(malformed)?;
    let key = keys.iter().find(|key| key.name == *name).ok_or(SecretRefused::UnknownKey)?;
    let mut opened = Zeroizing::new(rest.to_vec());
    let unique = Nonce::assume_unique_for_key(*nonce);
    let plain = key.aead.open_in_place(unique, Aad::from(associated), &mut opened);
    let length = plain.map_err(|_| SecretRefused::Forged)?.len();
    opened.truncate(length);
    Ok(opened)
}

/// Why something sealed is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretRefused {
    /// It is not of this form.
    Malformed,
    /// An engine of another version has sealed it.
    Version,
    /// It is sealed with a key that this engine does not have.
    UnknownKey,
    /// It was changed, or is another fleet's.
    Forged,
    /// It is of a time to come: a clock is wrong.
    Ahead,
    /// It has not been renewed for a year.
    TooOld,
}

impl fmt::Display for SecretRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is nothing that was sealed",
            Self::Version => "an engine of another version has sealed it",
            Self::UnknownKey => "it is sealed with a key that this engine does not have",
            Self::Forged => "it was changed, or is another fleet's",
            Self::Ahead => "it is of a time to come: look at the clocks",
            Self::TooOld => "it has not been renewed for a year",
        })
    }
}

impl std::error::Error for SecretRefused {}
