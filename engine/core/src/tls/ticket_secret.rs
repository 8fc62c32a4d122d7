//! A secret of tickets that engines share, and how it is kept where others can read: sealed with a key that only the engines have.
//!
//! ```text
//! version (1) | name of the fleet key (8) | nonce (12) | secret (32), rotation (8), tag (16): AES-256-GCM
//! ```
//! The fleet's name is associated data, so that what belongs to one fleet is no good in another with the same key.

use std::fmt;

use aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::aead;
#[cfg(not(feature = "aws-lc-rs"))]
use ring::aead;
use rustls::crypto::SecureRandom;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::tickets::ROTATION;
use crate::x509::Provider;

/// Of what is sealed. Another one is refused: a newer engine has sealed it.
const VERSION: u8 = 1;
const NAME_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// Secret and rotation.
const PLAIN_LEN: usize = 32 + 8;
/// Bytes of a sealed secret.
const SEALED_LEN: usize = 1 + NAME_LEN + NONCE_LEN + PLAIN_LEN + TAG_LEN;

/// From a secret of full entropy another that does not lead back.
pub(super) fn derive(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(secret).chain_update(b"wireglass ").chain_update(purpose).finalize().into()
}

/// A secret that engines share, and its time: from both, each makes the same keys.
#[derive(Clone)]
pub struct TicketSecret {
    secret: Zeroizing<[u8; 32]>,
    rotation: u64,
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSecret").field("rotation", &self.rotation).finish_non_exhaustive()
    }
}

impl TicketSecret {
    /// From random bytes, at `now` in seconds since the Unix epoch.
    pub fn new(random: [u8; 32], now: u64) -> Self {
        Self::of_rotation(random, now / ROTATION)
    }

    pub(super) fn of_rotation(secret: [u8; 32], rotation: u64) -> Self {
        Self { secret: Zeroizing::new(secret), rotation }
    }

    /// Its time: six hours each, since the Unix epoch.
    pub fn rotation(&self) -> u64 {
        self.rotation
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Seals it for a fleet. None: the library has no random bytes.
    pub fn seal(&self, key: &FleetKey, fleet: &str) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        key.random.fill(&mut nonce).ok()?;
        let mut plain = Zeroizing::new([0; PLAIN_LEN]);
        let (secret, rotation) = plain.split_at_mut(32);
        secret.copy_from_slice(&*self.secret);
        rotation.copy_from_slice(&self.rotation.to_be_bytes());
        let unique = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated(fleet));
        let tag = key.aead.seal_in_place_separate_tag(unique, aad, &mut *plain).ok()?;
        Some([&[VERSION][..], &key.name, &nonce, &*plain, tag.as_ref()].concat())
    }

    /// Opens what an engine of this fleet has sealed with one of these keys: while a key is being replaced, there are two.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn open(sealed: &[u8], keys: &[FleetKey], fleet: &str) -> Result<Self, SecretRefused> {
        match sealed.first() {
            None => return Err(SecretRefused::Malformed),
            Some(version) if *version != VERSION => return Err(SecretRefused::Version),
            Some(_) if sealed.len() != SEALED_LEN => return Err(SecretRefused::Malformed),
            Some(_) => {}
        }
        let malformed = SecretRefused::Malformed;
        let (name, rest) = sealed[1..].split_first_chunk::<NAME_LEN>().ok_or(malformed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(malformed)?;
        let key = keys.iter().find(|key| key.name == *name).ok_or(SecretRefused::UnknownKey)?;
        let mut opened = Zeroizing::new(rest.to_vec());
        let unique = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(associated(fleet));
        let plain = key.aead.open_in_place(unique, aad, &mut opened).map_err(|_| SecretRefused::Forged)?;
        let (secret, rotation) = plain.split_first_chunk::<32>().ok_or(malformed)?;
        let rotation = rotation.try_into().map(u64::from_be_bytes).map_err(|_| malformed)?;
        Ok(Self::of_rotation(*secret, rotation))
    }
}

fn associated(fleet: &str) -> Vec<u8> {
    [b"wireglass fleet ticket secret ", &[VERSION][..], fleet.as_bytes()].concat()
}

/// What seals the secrets of a fleet. Each of its engines has it, and nobody else.
pub struct FleetKey {
    name: [u8; NAME_LEN],
    aead: LessSafeKey,
    random: &'static dyn SecureRandom,
}

impl FleetKey {
    /// From 32 bytes that nobody may guess. None: the library takes no such key.
    pub fn new(secret: &[u8; 32], provider: Provider) -> Option<Self> {
        let key = Zeroizing::new(derive(secret, b"fleet key"));
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&derive(secret, b"fleet key's name")[..NAME_LEN]);
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).ok()?);
        Some(Self { name, aead, random: provider.load().secure_random })
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey")
    }
}

/// Why a shared secret is not taken.
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
            Self::Malformed => "it is no sealed secret",
            Self::Version => "an engine of another version has sealed it",
            Self::UnknownKey => "it is sealed with a key that this engine does not have",
            Self::Forged => "it was changed, or is another fleet's",
            Self::Ahead => "it is of a time to come: look at the clocks",
            Self::TooOld => "it has not been renewed for a year",
        })
    }
}

impl std::error::Error for SecretRefused {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: u8) -> FleetKey {
        FleetKey::new(&[secret; 32], Provider::default()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_the_fleet_and_nobody_else() {
        let secret = TicketSecret::new([7; 32], 123_456_789);
        let sealed = secret.seal(&key(1), "edge").unwrap();
        assert!(!sealed.windows(4).any(|part| part == [7; 4]));
        assert_ne!(sealed, secret.seal(&key(1), "edge").unwrap(), "another nonce");
        let opened = TicketSecret::open(&sealed, &[key(2), key(1)], "edge").unwrap();
        assert_eq!((opened.bytes(), opened.rotation()), (&[7; 32], 123_456_789 / ROTATION));
        let refused = |sealed: &[u8], keys: &[FleetKey], fleet| {
            TicketSecret::open(sealed, keys, fleet).map(drop).unwrap_err()
        };
        assert_eq!(refused(&sealed, &[key(2)], "edge"), SecretRefused::UnknownKey);
        assert_eq!(refused(&sealed, &[], "edge"), SecretRefused::UnknownKey);
        assert_eq!(refused(&sealed, &[key(1)], "core"), SecretRefused::Forged);
        assert_eq!(refused(&[], &[key(1)], "edge"), SecretRefused::Malformed);
        let mut longer = sealed.clone();
        longer.push(0);
        assert_eq!(refused(&longer, &[key(1)], "edge"), SecretRefused::Malformed);
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            let expected = match at {
                0 => SecretRefused::Version,
                1..9 => SecretRefused::UnknownKey,
                _ => SecretRefused::Forged,
            };
            assert_eq!(refused(&other, &[key(1)], "edge"), expected, "byte {at}");
            assert!(TicketSecret::open(&sealed[..at], &[key(1)], "edge").is_err());
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let (secret, key) = (TicketSecret::new([77; 32], 0), key(77));
        let shown = format!("{secret:?} {key:?}");
        assert!(!shown.contains("77"), "{shown}");
    }
}
