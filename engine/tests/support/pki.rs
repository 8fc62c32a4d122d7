//! Certificates for the servers of the tests: a root, an intermediate and leaves with or without defects.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A public-key infrastructure made for one test.
pub struct Pki {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    algorithm: &'static SignatureAlgorithm,
}

/// A chain, the leaf first, and the leaf's key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Pki {
    /// Keys on P-256, as most of the web.
    pub fn new(name: &str) -> Self {
        Self::with_algorithm(name, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub fn with_algorithm(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = || KeyPair::generate_for(algorithm).unwrap();
        let root = CertifiedIssuer::self_signed(ca_params(&format!("{name} root")), key()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(ca_params(&format!("{name} intermediate")), key(), &root).unwrap();
        Self { root, intermediate, algorithm }
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    /// A compliant identity for these host names.
    pub fn identity(&self, names: &[&str]) -> Identity {
        self.identity_with(names, |_| {})
    }

    /// An identity whose leaf was changed by `change` before it was signed.
    pub fn identity_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let mut params = leaf_params(names);
        change(&mut params);
        let leaf = params.signed_by(&key, &self.intermediate).unwrap();
        let chain = vec![leaf.der().clone(), self.intermediate.der().clone()];
        Identity { chain, key: key.into() }
    }
}

/// A leaf that signed itself.
pub fn self_signed(names: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf_params(names).self_signed(&key).unwrap();
    Identity { chain: vec![certificate.der().clone()], key: key.into() }
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    dates(&mut params);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dates(&mut params);
    params
}

/// Certificates are judged by the real date, so these outlive the tests.
fn dates(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2074, 1, 1);
}
