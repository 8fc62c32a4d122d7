//! Which library protects the records of each suite, and how fast each one is: the same AES-GCM can be twice as fast in the one as
//! in the other, and which depends on the processor. Handshakes have their own.

use zeroize::Zeroizing;

use super::aead::{Aead, NONCE, TrafficKey};
use super::{HEADER, MAX_PLAINTEXT, Suite, TAG};
use crate::x509::Provider;

/// The library of each suite's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLibraries {
    /// Of AES-128-GCM.
    pub aes_128_gcm: Provider,
    /// Of AES-256-GCM.
    pub aes_256_gcm: Provider,
    /// Of ChaCha20-Poly1305.
    pub chacha20_poly1305: Provider,
}

impl RecordLibraries {
    /// One for all suites.
    pub const fn all(provider: Provider) -> Self {
        Self { aes_128_gcm: provider, aes_256_gcm: provider, chacha20_poly1305: provider }
    }

    /// As `library` has it for each suite.
    pub fn by_suite(library: impl Fn(Suite) -> Provider) -> Self {
        Self {
            aes_128_gcm: library(Suite::Aes128Gcm),
            aes_256_gcm: library(Suite::Aes256Gcm),
            chacha20_poly1305: library(Suite::ChaCha20Poly1305),
        }
    }

    /// The library of this suite's records.
    pub const fn of(&self, suite: Suite) -> Provider {
        match suite {
            Suite::Aes128Gcm => self.aes_128_gcm,
            Suite::Aes256Gcm => self.aes_256_gcm,
            Suite::ChaCha20Poly1305 => self.chacha20_poly1305,
        }
    }
}

/// A full record that is opened and sealed as the relay does it, for whoever wants to know how long that takes.
pub struct RecordTrial {
    aead: Aead,
    sealed: Vec<u8>,
    block: Vec<u8>,
}

impl RecordTrial {
    /// Bytes of plaintext in it.
    pub const PLAINTEXT: usize = MAX_PLAINTEXT;
    const NONCE: [u8; NONCE] = [3; NONCE];
    /// As long as the one of TLS 1.3: a header.
    const AAD: [u8; HEADER] = [23, 3, 3, 0x40, 0x11];

    /// `None`: the library does not do what it should.
    pub fn new(provider: Provider, suite: Suite) -> Option<Self> {
        // The records are nobody's, and their key no secret.
        let key = Zeroizing::new([7; 32]);
        let key = TrafficKey::new(suite, &key[..suite.key_len()], &[0; NONCE], 0)?;
        let aead = key.aead(provider)?;
        let mut sealed = vec![0x5a; Self::PLAINTEXT];
        let tag = aead.seal(Self::NONCE, &Self::AAD, &mut sealed)?;
        sealed.extend(tag);
        Some(Self { aead, block: vec![0; Self::PLAINTEXT + TAG], sealed })
    }

    /// Opens the record into a block, and seals it there. `None`: the library does not do what it should.
    pub fn open_and_seal(&mut self) -> Option<()> {
        self.aead.open(Self::NONCE, &Self::AAD, &self.sealed, &mut self.block)?;
        let tag = self.aead.seal(Self::NONCE, &Self::AAD, &mut self.block[..Self::PLAINTEXT])?;
        (tag[..] == self.sealed[Self::PLAINTEXT..]).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_library_seals_every_other_opens_and_seals_alike() {
        for suite in Suite::ALL {
            let trials: Vec<_> =
                Provider::BUILT_IN.iter().filter_map(|&provider| RecordTrial::new(provider, suite)).collect();
            assert_eq!(trials.len(), Provider::BUILT_IN.len());
            for RecordTrial { sealed, .. } in &trials {
                for &provider in Provider::BUILT_IN {
                    let mut trial = RecordTrial::new(provider, suite).expect("as before");
                    trial.sealed.clone_from(sealed);
                    assert_eq!(trial.open_and_seal(), Some(()), "{provider:?} {suite:?}");
                    assert!(trial.block[..RecordTrial::PLAINTEXT] == sealed[..RecordTrial::PLAINTEXT]);
                    trial.sealed[100] ^= 1;
                    assert_eq!(trial.open_and_seal(), None, "a changed bit");
                }
            }
        }
    }
}
