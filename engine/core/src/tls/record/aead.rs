//! The three AEADs over both libraries, their keys and their nonces.

use zeroize::Zeroizing;

use super::TAG;
use crate::x509::Provider;

/// Bytes of an IV and of a nonce.
pub(super) const NONCE: usize = 12;

/// An AEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// Its name, as documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "AES-128-GCM",
            Self::Aes256Gcm => "AES-256-GCM",
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        }
    }

    /// Bytes of a key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Records that one key may protect: RFC 8446 5.5, rounded down as in draft-irtf-cfrg-aead-limits. ChaCha20-Poly1305 has
    /// no such limit below that of the sequence numbers.
    pub(crate) const fn max_records(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 24,
            Self::ChaCha20Poly1305 => u64::MAX - 1,
        }
    }
}

/// A key for one direction of a leg, before it is put to use. Wiped when dropped.
pub struct TrafficKey {
    suite: Suite,
    key: Zeroizing<[u8; 32]>,
    pub(super) iv: Zeroizing<[u8; NONCE]>,
    pub(super) seq: u64,
}

impl TrafficKey {
    /// `key` has [`Suite::key_len`] bytes; `iv` is the static IV of TLS 1.3 (RFC 8446 5.3) or of ChaCha20-Poly1305 in TLS 1.2
    /// (RFC 7905 2), or else the 4 implicit bytes of a nonce (RFC 5288 3) and the 8 from which ours are counted. `seq` is the
    /// number of the next record. `None`: a wrong length.
    pub fn new(suite: Suite, key: &[u8], iv: &[u8], seq: u64) -> Option<Self> {
        let mut all = Zeroizing::new([0; 32]);
        if key.len() != suite.key_len() {
            return None;
        }
        all[..key.len()].copy_from_slice(key);
        Some(Self { suite, key: all, iv: Zeroizing::new(iv.try_into().ok()?), seq })
    }

    /// What it is a key of.
    pub(in crate::tls) const fn suite(&self) -> Suite {
        self.suite
    }

    pub(super) fn aead(&self, provider: Provider) -> Option<Aead> {
        Aead::new(provider, self.suite, &self.key[..self.suite.key_len()])
    }
}

/// A static IV and a sequence number make a nonce (RFC 8446 5.3).
pub(super) fn nonce(iv: &[u8; NONCE], seq: u64) -> [u8; NONCE] {
    let mut nonce = *iv;
    for (byte, of_seq) in nonce[NONCE - 8..].iter_mut().zip(seq.to_be_bytes()) {
        *byte ^= of_seq;
    }
    nonce
}

/// Bytes of an `EVP_AEAD_CTX`, which holds AES-GCM's tables.
#[cfg(feature = "aws-lc-rs")]
const AWS_LC_KEY: usize = 640;

/// A key at work. The libraries keep it; neither prints it. AWS-LC wipes it when dropped, ring does not.
pub(super) enum Aead {
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs(aws_lc_rs::aead::LessSafeKey),
    /// Boxed: its schedule is inline.
    #[cfg(feature = "ring")]
    Ring(Box<ring::aead::LessSafeKey>),
}

impl Aead {
    fn new(provider: Provider, suite: Suite, key: &[u8]) -> Option<Self> {
        match provider {
            #[cfg(feature = "aws-lc-rs")]
            Provider::AwsLcRs => {
                use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
                let algorithm = match suite {
                    Suite::Aes128Gcm => &AES_128_GCM,
                    Suite::Aes256Gcm => &AES_256_GCM,
                    Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
                };
                UnboundKey::new(algorithm, key).ok().map(|key| Self::AwsLcRs(LessSafeKey::new(key)))
            }
            #[cfg(feature = "ring")]
            Provider::Ring => {
                use ring::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
                let algorithm = match suite {
                    Suite::Aes128Gcm => &AES_128_GCM,
                    Suite::Aes256Gcm => &AES_256_GCM,
                    Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
                };
                UnboundKey::new(algorithm, key).ok().map(|key| Self::Ring(Box::new(LessSafeKey::new(key))))
            }
        }
    }

    /// Bytes of memory that it holds beside its own size, nearly where the library does not say.
    pub(super) const fn held(&self) -> usize {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs(_) => AWS_LC_KEY,
            #[cfg(feature = "ring")]
            Self::Ring(_) => size_of::<ring::aead::LessSafeKey>(),
        }
    }

    /// Opens `sealed`, which ends with its tag, into `out`, which is as long: the plaintext is all but the last 16 bytes.
    /// `None`: not what was sealed, and what is in `out` then is nothing to be looked at.
    pub(super) fn open(&self, nonce: [u8; NONCE], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Option<()> {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let (ciphertext, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
                let out = &mut out[..ciphertext.len()];
                key.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, out).ok()
            }
            #[cfg(feature = "ring")]
            Self::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                // ring opens in place only.
                out[..sealed.len()].copy_from_slice(sealed);
                key.open_in_place(nonce, Aad::from(aad), &mut out[..sealed.len()]).ok().map(drop)
            }
        }
    }

    /// Seals in place. Gives the tag.
    pub(super) fn seal(&self, nonce: [u8; NONCE], aad: &[u8], in_out: &mut [u8]) -> Option<[u8; TAG]> {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), in_out).ok()?;
                tag.as_ref().try_into().ok()
            }
            #[cfg(feature = "ring")]
            Self::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), in_out).ok()?;
                tag.as_ref().try_into().ok()
            }
        }
    }
}
