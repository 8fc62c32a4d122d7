//! Private keys: made, loaded and used to sign. They are never printed and never leave their provider again.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, alg_id};
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{Decode, Tag};
use zeroize::Zeroizing;

use super::{Provider, SignedBytes};

/// Kind of a key that is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyType {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// RSA with 2048 bits, for clients that cannot verify ECDSA.
    Rsa2048,
}

impl KeyType {
    /// The provider can make such keys, and sign with them.
    pub(crate) const fn is_made_by(self, provider: Provider) -> bool {
        match (provider, self) {
            (_, Self::P256 | Self::P384) => true,
            #[cfg(feature = "aws-lc-rs")]
            (Provider::AwsLcRs, Self::P521) => true,
            #[cfg(feature = "ring")]
            (Provider::Ring, Self::P521) => false,
            (_, Self::Rsa2048) => cfg!(feature = "aws-lc-rs"),
        }
    }
}

/// A private key that can sign.
#[derive(Clone)]
pub(crate) struct Key(Arc<dyn SigningKey>);

/// What went wrong with a key. Says nothing of its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// Not a private key that the provider can use.
    Unusable,
    /// The provider cannot make keys of this kind.
    NotSupported,
    /// The provider failed.
    Failed,
}

/// A signature over a certificate.
pub(crate) struct CertificateSignature {
    /// Contents of its AlgorithmIdentifier, DER without the outer SEQUENCE header.
    pub(crate) algorithm: AlgorithmIdentifier,
    /// As it stands in the BIT STRING.
    pub(crate) value: Vec<u8>,
}

/// Schemes with which certificates are signed, and how X.509 calls them; the first that fits the key is taken.
const CERTIFICATE_SCHEMES: [(SignatureScheme, AlgorithmIdentifier); 3] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
    (SignatureScheme::RSA_PKCS1_SHA256, alg_id::RSA_PKCS1_SHA256),
];

impl Key {
    /// Loads a PKCS#8, SEC 1 or PKCS#1 key.
    pub(crate) fn load(provider: Provider, der: PrivateKeyDer<'static>) -> Result<Self, KeyError> {
        provider.load().key_provider.load_private_key(der).map(Self).map_err(|_| KeyError::Unusable)
    }

    /// One that somebody else signs with.
    pub(crate) fn held_by(signing: Arc<dyn SigningKey>) -> Self {
        Self(signing)
    }

    /// Loads what [`generate_pkcs8`] made.
    pub(crate) fn from_pkcs8(provider: Provider, der: &[u8]) -> Result<Self, KeyError> {
        Self::load(provider, PrivatePkcs8KeyDer::from(der.to_vec()).into())
    }

    /// Makes a new one.
    pub(crate) fn generate(provider: Provider, kind: KeyType) -> Result<Self, KeyError> {
        let pkcs8 = generate_pkcs8(provider, kind)?;
        Self::from_pkcs8(provider, &pkcs8)
    }

    /// It signs for `public_key`, DER of a SubjectPublicKeyInfo: tried once, as a token need not know the public half of a key.
    pub(crate) fn signs_for(&self, provider: Provider, public_key: &[u8]) -> Result<bool, KeyError> {
        const PROBE: &[u8] = b"wireglass: does this key belong to that certificate?";
        let made = self.sign_certificate(PROBE)?;
        let algorithms = provider.load().signature_verification_algorithms.all;
        let is_signed = || {
            let signed = SignedBytes {
                bytes: PROBE,
                algorithm: AnyRef::new(Tag::Sequence, made.algorithm.as_ref()).ok()?,
                signature: BitStringRef::from_bytes(&made.value).ok()?,
            };
            Some(signed.is_signed_by(AnyRef::from_der(public_key).ok()?, algorithms))
        };
        Ok(is_signed().unwrap_or(false))
    }

    /// The public half: DER of its SubjectPublicKeyInfo.
    pub(crate) fn public_key(&self) -> Option<Vec<u8>> {
        self.0.public_key().map(|spki| spki.to_vec())
    }

    /// Signs a to-be-signed certificate.
    pub(crate) fn sign_certificate(&self, tbs: &[u8]) -> Result<CertificateSignature, KeyError> {
        let algorithm = self.certificate_algorithm()?;
        let schemes: Vec<_> = CERTIFICATE_SCHEMES.iter().map(|(scheme, _)| *scheme).collect();
        let signer = self.0.choose_scheme(&schemes).ok_or(KeyError::NotSupported)?;
        Ok(CertificateSignature { algorithm, value: signer.sign(tbs).map_err(|_| KeyError::Failed)? })
    }

    /// The algorithm that [`sign_certificate`](Self::sign_certificate) uses.
    pub(crate) fn certificate_algorithm(&self) -> Result<AlgorithmIdentifier, KeyError> {
        CERTIFICATE_SCHEMES
            .iter()
            .find(|(scheme, _)| self.0.choose_scheme(&[*scheme]).is_some())
            .map(|(_, algorithm)| *algorithm)
            .ok_or(KeyError::NotSupported)
    }
}

/// A certificate chain with its key, made once for all legs that present it.
#[derive(Clone)]
pub(crate) struct Certified(pub(crate) Arc<CertifiedKey>);

impl Certified {
    /// `chain` is in DER, the certificate of `key` first.
    pub(crate) fn new(chain: impl Iterator<Item = Vec<u8>>, key: &Key) -> Self {
        Self(Arc::new(CertifiedKey::new(chain.map(CertificateDer::from).collect(), Arc::clone(&key.0))))
    }
}

impl Certified {
    /// With an OCSP response in DER, for clients that ask for one.
    pub(crate) fn with_staple(&self, response: Vec<u8>) -> Self {
        let mut certified = CertifiedKey::clone(&self.0);
        certified.ocsp = Some(response);
        Self(Arc::new(certified))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A new key as DER of a PKCS#8 PrivateKeyInfo, to be written to a file.
pub(crate) fn generate_pkcs8(provider: Provider, kind: KeyType) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match (provider, kind) {
        #[cfg(feature = "aws-lc-rs")]
        (Provider::AwsLcRs, KeyType::P256 | KeyType::P384 | KeyType::P521) => {
            use aws_lc_rs::{rand::SystemRandom, signature};
            let algorithm = match kind {
                KeyType::P521 => &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
                KeyType::P384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                _ => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            };
            signature::EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
                .map(|document| Zeroizing::new(document.as_ref().to_vec()))
                .map_err(|_| KeyError::Failed)
        }
        #[cfg(feature = "ring")]
        (Provider::Ring, KeyType::P256 | KeyType::P384) => {
            use ring::{rand::SystemRandom, signature};
            let algorithm = match kind {
                KeyType::P384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                _ => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            };
            signature::EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
                .map(|document| Zeroizing::new(document.as_ref().to_vec()))
                .map_err(|_| KeyError::Failed)
        }
        #[cfg(feature = "ring")]
        (Provider::Ring, KeyType::P521) => Err(KeyError::NotSupported),
        // ring cannot make RSA keys; where aws-lc-rs is built in too, it makes them for both.
        #[cfg(feature = "aws-lc-rs")]
        (_, KeyType::Rsa2048) => {
            use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
            use aws_lc_rs::rsa::{KeyPair, KeySize};
            let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Failed)?;
            let der: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| KeyError::Failed)?;
            Ok(Zeroizing::new(der.as_ref().to_vec()))
        }
        #[cfg(not(feature = "aws-lc-rs"))]
        (_, KeyType::Rsa2048) => Err(KeyError::NotSupported),
    }
}
