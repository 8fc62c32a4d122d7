//! Certificates for the servers of the demo and the tests, made by rcgen: a root, an intermediate, and leaves with or
//! without defects; and CAs for the engine.

use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wireglass_core::x509::{CaFiles, CaKey};

use super::Authority;

/// A public-key infrastructure: a root that clients trust, and an intermediate that signs leaves.
pub struct Pki {
    root: Authority,
    intermediate: Authority,
}

/// A chain, the leaf first and the root left out, and the leaf's key.
#[derive(Debug)]
pub struct Identity {
    /// What the server sends.
    pub chain: Vec<CertificateDer<'static>>,
    /// What it proves it with.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Pki {
    /// With keys on P-256, as most of the web has.
    ///
    /// # Errors
    /// When rcgen cannot make a key or a certificate.
    pub fn new(name: &str) -> Result<Self, Error> {
        Self::with_algorithm(name, &PKCS_ECDSA_P256_SHA256)
    }

    /// With keys of one of rcgen's algorithms.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_algorithm(name: &str, algorithm: &'static SignatureAlgorithm) -> Result<Self, Error> {
        let root = Authority::root_with_algorithm(&format!("{name} root"), algorithm)?;
        let intermediate = root.below(&format!("{name} intermediate"), |_| {})?;
        Ok(Self { root, intermediate })
    }

    /// The root.
    pub fn root(&self) -> CertificateDer<'static> {
        self.root.certificate()
    }

    /// The root, as a file would hold it.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A compliant identity for these host names.
    ///
    /// # Errors
    /// As [`Self::new`], and when a name is none.
    pub fn identity(&self, names: &[&str]) -> Result<Identity, Error> {
        self.identity_with(names, |_| {})
    }

    /// An identity whose leaf is changed by `change` before it is signed.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn identity_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity, Error> {
        self.intermediate.identity(names, &[&self.intermediate], change)
    }
}

impl Identity {
    /// A leaf that signs itself.
    ///
    /// # Errors
    /// As [`Pki::identity`].
    pub fn self_signed(names: &[&str]) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let certificate = leaf_params(names)?.self_signed(&key)?;
        Ok(Self { chain: vec![certificate.der().clone()], key: key.into() })
    }
}

/// A CA for the engine.
pub struct EngineCa {
    name: String,
    der: CertificateDer<'static>,
    cert_pem: String,
    key_pem: String,
}

impl EngineCa {
    /// On P-256.
    ///
    /// # Errors
    /// As [`Pki::new`].
    pub fn new(name: &str) -> Result<Self, Error> {
        let ca = CertifiedIssuer::self_signed(ca_params(name)?, KeyPair::generate()?)?;
        let key_pem = ca.key().serialize_pem();
        Ok(Self { name: name.to_owned(), der: ca.der().clone(), cert_pem: ca.pem(), key_pem })
    }

    /// Its certificate: what clients install.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// What the engine reads from files otherwise.
    pub fn files(&self) -> CaFiles {
        CaFiles {
            cert_name: format!("{} (certificate)", self.name),
            cert_pem: self.cert_pem.clone().into_bytes(),
            key_name: format!("{} (key)", self.name),
            key: CaKey::pem(self.key_pem.clone()),
        }
    }

    /// An identity that this CA has signed by hand: an outside server must not get away with it.
    ///
    /// # Errors
    /// As [`Pki::identity`].
    pub fn identity(&self, names: &[&str]) -> Result<Identity, Error> {
        let issuer = Issuer::new(ca_params(&self.name)?, KeyPair::from_pem(&self.key_pem)?);
        let key = KeyPair::generate()?;
        let leaf = leaf_params(names)?.signed_by(&key, &issuer)?;
        Ok(Identity { chain: vec![leaf.der().clone(), self.der.clone()], key: key.into() })
    }
}

pub(super) fn leaf_params(names: &[&str]) -> Result<CertificateParams, Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_serial(&mut params);
    set_dates(&mut params);
    Ok(params)
}

pub(super) fn ca_params(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_serial(&mut params);
    set_dates(&mut params);
    Ok(params)
}

/// A new one each time, always of the same length: rcgen's own begins with a hash, and a certificate that is a byte shorter
/// now and then makes another run of the same seed.
fn set_serial(params: &mut CertificateParams) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    params.serial_number = Some(SerialNumber::from([&[0x40][..], &number.to_be_bytes()].concat()));
}

/// rustls as a client judges by the real date, whatever the virtual clock says.
fn set_dates(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2074, 1, 1);
}
