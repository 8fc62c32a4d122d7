//! HKDF of TLS 1.3 (RFC 8446 7.1) by AWS-LC's HMAC.
//!
//! A handshake derives some twenty keys from eight secrets. An HMAC key is hashed once here, however many keys come of it. rustls's own HKDF for
//! AWS-LC hashes it again for each of them, and repeats the extraction that it came from.
#![expect(
    clippy::disallowed_types,
    reason = "what comes of no secret is the same for all threads: made once"
)]

use std::sync::OnceLock;

use aws_lc_rs::hmac::{self, sign_to_buffer};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::crypto::{self, CryptoProvider};
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};
use zeroize::{Zeroize, Zeroizing};

/// Longest input of one HMAC beside what RFC 8446 7.1 lets a label have: previous block, length, label, context, counter.
const MAX_INPUT: usize = OkmBlock::MAX_LEN + 2 + 256 + 256 + 1;

/// rustls's provider with these suites of TLS 1.3 in the place of its own.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    for suite in &mut provider.cipher_suites {
        if let Some(ours) = SUITES.iter().find(|ours| ours.common.suite == suite.suite()) {
            *suite = SupportedCipherSuite::Tls13(ours);
        }
    }
    provider
}

static SUITES: [Tls13CipherSuite; 3] = [
    with_hkdf(cipher_suite::TLS13_AES_256_GCM_SHA384, &SHA384),
    with_hkdf(cipher_suite::TLS13_AES_128_GCM_SHA256, &SHA256),
    with_hkdf(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, &SHA256),
];

static SHA256: HmacHkdf = HmacHkdf::new(hmac::HMAC_SHA256);
static SHA384: HmacHkdf = HmacHkdf::new(hmac::HMAC_SHA384);

/// At compile time.
const fn with_hkdf(suite: SupportedCipherSuite, hkdf_provider: &'static dyn Hkdf) -> Tls13CipherSuite {
    let SupportedCipherSuite::Tls13(Tls13CipherSuite { common, aead_alg, quic, .. }) = suite else {
        // Only suites of TLS 1.3 are named above.
        unreachable!();
    };
    let CipherSuiteCommon { suite, hash_provider, confidentiality_limit } = *common;
    let common = CipherSuiteCommon { suite, hash_provider, confidentiality_limit };
    Tls13CipherSuite { common, hkdf_provider, aead_alg: *aead_alg, quic: *quic }
}

struct HmacHkdf {
    algorithm: hmac::Algorithm,
    /// What is extracted from no secret with no salt: where a handshake without a PSK begins. Everybody knows it.
    from_nothing: OnceLock<hmac::Key>,
}

impl HmacHkdf {
    const fn new(algorithm: hmac::Algorithm) -> Self {
        Self { algorithm, from_nothing: OnceLock::new() }
    }

    fn extract(&self, salt: Option<&[u8]>, secret: &[u8]) -> hmac::Key {
        let zeros = [0; OkmBlock::MAX_LEN];
        let len = self.algorithm.tag_len();
        let salt = hmac::Key::new(self.algorithm, salt.unwrap_or(&zeros[..len]));
        let mut prk = Zeroizing::new([0; OkmBlock::MAX_LEN]);
        sign(&salt, secret, &mut prk[..len]);
        hmac::Key::new(self.algorithm, &prk[..len])
    }
}

impl Hkdf for HmacHkdf {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        let zeros = [0; OkmBlock::MAX_LEN];
        let zeros = &zeros[..self.algorithm.tag_len()];
        Box::new(Expander(match salt {
            Some(salt) => self.extract(Some(salt), zeros),
            None => self.from_nothing.get_or_init(|| self.extract(None, zeros)).clone(),
        }))
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        Box::new(Expander(self.extract(salt, secret)))
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(Expander(hmac::Key::new(self.algorithm, okm.as_ref())))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> crypto::hmac::Tag {
        let key = hmac::Key::new(self.algorithm, key.as_ref());
        crypto::hmac::Tag::new(hmac::sign(&key, message).as_ref())
    }
}

/// HMAC into a buffer of the hash's length.
fn sign(key: &hmac::Key, message: &[u8], tag: &mut [u8]) {
    // Only a shorter buffer would make it fail, or memory that is used up.
    sign_to_buffer(key, message, tag).expect("a buffer of the tag's length");
}

/// A pseudorandom key. AWS-LC wipes it.
struct Expander(hmac::Key);

impl Expander {
    /// RFC 5869 2.3.
    fn expand(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        let len = self.hash_len();
        let mut block = Zeroizing::new([0; OkmBlock::MAX_LEN]);
        let mut input = [0; MAX_INPUT];
        for (n, chunk) in output.chunks_mut(len).enumerate() {
            let counter = [u8::try_from(n + 1).map_err(|_| OutputLengthError)?];
            let before = if n == 0 { &[][..] } else { &block[..len] };
            let mut used = 0;
            for part in [before].into_iter().chain(info.iter().copied()).chain([&counter[..]]) {
                let to = input.get_mut(used..used + part.len()).ok_or(OutputLengthError)?;
                to.copy_from_slice(part);
                used += part.len();
            }
            sign(&self.0, &input[..used], &mut block[..len]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        // Labels and transcripts are no secrets, blocks are: TLS itself asks for one.
        if output.len() > len {
            input.zeroize();
        }
        Ok(())
    }
}

impl HkdfExpander for Expander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        self.expand(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        let mut output = Zeroizing::new([0; OkmBlock::MAX_LEN]);
        let output = &mut output[..self.hash_len()];
        self.expand(info, output).expect("one block, of what TLS has for a label");
        OkmBlock::new(output)
    }

    fn hash_len(&self) -> usize {
        self.0.algorithm().tag_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rustls's own and ours, for each suite.
    fn both() -> impl Iterator<Item = [&'static dyn Hkdf; 2]> {
        let hkdf = |suite: &SupportedCipherSuite| suite.tls13().map(|suite| suite.hkdf_provider);
        let of =
            |provider: CryptoProvider| provider.cipher_suites.iter().filter_map(hkdf).collect::<Vec<_>>();
        let (theirs, ours) = (of(default_provider()), of(provider()));
        assert_eq!((theirs.len(), ours.len()), (3, 3));
        theirs.into_iter().zip(ours).map(|(theirs, ours)| [theirs, ours])
    }

    fn assert_same(expanders: [Box<dyn HkdfExpander>; 2]) {
        let infos: [&[&[u8]]; 4] =
            [&[], &[b"a"], &[b"", b"tls13 derived", &[7; 48]], &[&[1; 255], &[2; 255]]];
        for info in infos {
            let [theirs, ours] = expanders.each_ref().map(|expander| expander.expand_block(info));
            assert_eq!(theirs.as_ref(), ours.as_ref());
            let len = expanders[0].hash_len();
            assert_eq!(expanders[1].hash_len(), len);
            for len in [1, 12, 16, 32, len, len + 1, 3 * len, 255 * len, 255 * len + 1] {
                let [theirs, ours] = expanders.each_ref().map(|expander| {
                    let mut output = vec![0; len];
                    expander.expand_slice(info, &mut output).ok().map(|()| output)
                });
                assert_eq!(theirs, ours, "{len}");
            }
        }
    }

    #[test]
    fn the_same_as_rustls() {
        for hkdfs in both() {
            for salt in [None, Some(&b"salt"[..]), Some(&[3; 48]), Some(&[4; 200])] {
                for _ in 0..2 {
                    assert_same(hkdfs.map(|hkdf| hkdf.extract_from_zero_ikm(salt)));
                }
                for secret in [&b""[..], b"secret", &[5; 48], &[6; 1100]] {
                    assert_same(hkdfs.map(|hkdf| hkdf.extract_from_secret(salt, secret)));
                }
            }
            let okm = hkdfs[0].extract_from_secret(None, b"secret").expand_block(&[b"traffic"]);
            assert_same(hkdfs.map(|hkdf| hkdf.expander_for_okm(&okm)));
            let [theirs, ours] = hkdfs.map(|hkdf| hkdf.hmac_sign(&okm, b"transcript"));
            assert_eq!(theirs.as_ref(), ours.as_ref());
        }
    }

    #[test]
    fn all_suites_are_there_in_the_same_order() {
        let names = |provider: CryptoProvider| -> Vec<_> {
            provider.cipher_suites.iter().map(|suite| suite.suite()).collect()
        };
        assert_eq!(names(provider()), names(default_provider()));
    }
}
