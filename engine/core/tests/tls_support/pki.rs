//! A small certificate world: a public root, its children, and the engine's own two CAs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use wireglass_core::mint::ca::{NewCa, self_signed};
use wireglass_core::tls::{Knowledge, TlsContext, TlsSettings};
use wireglass_core::x509::{CaFiles, CaKey, Provider, RootFile};

use super::HOST;

/// 2027-01-15T08:00:00Z.
pub const NOW: u64 = 1_800_000_000;
pub const DAY: u64 = 86_400;

/// Sets a validity in days around [`NOW`].
pub fn dates(params: &mut CertificateParams, from_days: i64, to_days: i64) {
    let at = |days: i64| {
        let seconds = NOW as i64 + days * DAY as i64;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds as u64)
    };
    params.not_before = at(from_days);
    params.not_after = at(to_days);
}

/// A server certificate as a public CA would make it.
pub fn leaf_params(names: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "DE");
    params.distinguished_name.push(DnType::OrganizationName, "Example, Söhne & Co");
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("no name"));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    dates(&mut params, -30, 60);
    params
}

pub fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dates(&mut params, -1000, 1000);
    params
}

/// A certificate with what is needed to sign others, or to serve.
pub struct Signed {
    pub der: CertificateDer<'static>,
    pub params: CertificateParams,
    pub key: KeyPair,
}

impl Signed {
    pub fn by_itself(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, params, key }
    }

    pub fn by(params: CertificateParams, issuer: &Self) -> Self {
        Self::with_key(params, issuer, KeyPair::generate().unwrap())
    }

    pub fn with_key(params: CertificateParams, issuer: &Self, key: KeyPair) -> Self {
        let der =
            params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap().der().clone();
        Self { der, params, key }
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

pub fn pem(der: &CertificateDer<'_>) -> Vec<u8> {
    use x509_cert::der::pem::{LineEnding, encode_string};
    encode_string("CERTIFICATE", LineEnding::LF, der).unwrap().into_bytes()
}

/// Of the engine's tickets.
pub const TICKET_SECRET: [u8; 32] = [7; 32];

/// Everything that an interception needs.
pub struct World {
    pub provider: Provider,
    pub context: Arc<TlsContext>,
    pub root: Signed,
    pub leaf: Signed,
    pub trusted: CertificateDer<'static>,
    pub untrusted: CertificateDer<'static>,
    pub dir: tempfile::TempDir,
}

/// Writes the files of the engine's two CAs.
pub fn create_cas(dir: &Path, provider: Provider, days: u32, now: u64) {
    for (stem, name) in
        [("trusted", "wireglass trusted CA"), ("untrusted", "wireglass untrusted CA (do not trust)")]
    {
        let ca = self_signed(&NewCa { name, days, provider, now }).unwrap();
        std::fs::write(dir.join(format!("{stem}.pem")), ca.certificate).unwrap();
        std::fs::write(dir.join(format!("{stem}.key")), ca.key.as_bytes()).unwrap();
    }
}

pub fn ca_files(dir: &Path, stem: &str) -> CaFiles {
    let (cert, key) = (dir.join(format!("{stem}.pem")), dir.join(format!("{stem}.key")));
    CaFiles {
        cert_pem: std::fs::read(&cert).unwrap(),
        cert_name: cert.display().to_string(),
        key: CaKey::pem(std::fs::read(&key).unwrap()),
        key_name: key.display().to_string(),
    }
}

impl World {
    pub fn new(provider: Provider) -> Self {
        Self::with_roots(provider, &[])
    }

    /// With further trusted roots.
    pub fn with_roots(provider: Provider, more: &[Vec<u8>]) -> Self {
        Self::with(provider, more, Knowledge::default())
    }

    /// Likewise, and with what else is known.
    pub fn with(provider: Provider, more: &[Vec<u8>], knowledge: Knowledge) -> Self {
        let root = Signed::by_itself(ca_params("Public Root"));
        let leaf = Signed::by(leaf_params(&[HOST, "example.com", "*.wild.example.com"]), &root);
        let dir = tempfile::tempdir().unwrap();
        create_cas(dir.path(), provider, 365, NOW);
        let mut roots = vec![RootFile { name: "root.pem".into(), pem: pem(&root.der) }];
        roots.extend(more.iter().map(|pem| RootFile { name: "more.pem".into(), pem: pem.clone() }));
        let context = TlsContext::new(TlsSettings {
            provider,
            trusted: ca_files(dir.path(), "trusted"),
            untrusted: ca_files(dir.path(), "untrusted"),
            crl_url: None,
            knowledge,
            system_roots: None,
            roots,
            now: NOW,
        });
        let read = |stem: &str| CertificateDer::from_pem_file(dir.path().join(stem)).unwrap();
        Self {
            provider,
            context: Arc::new(context.unwrap().with_ticket_secret(TICKET_SECRET)),
            root,
            leaf,
            trusted: read("trusted.pem"),
            untrusted: read("untrusted.pem"),
            dir,
        }
    }
}
