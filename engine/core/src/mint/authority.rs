//! A CA of ours: its certificate, checked. The key is [elsewhere](super::vault).

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_cert::der::Encode;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};

use crate::x509::{CaFiles, Certificate, PublicKey, SetupError, describe_date as date, oid};

/// A CA in whose name leaves are minted.
#[derive(Clone)]
pub(crate) struct Authority {
    /// DER of its certificate and of those above it, as clients get them.
    chain: Vec<Vec<u8>>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    key_id: Option<Vec<u8>>,
    not_before: i64,
    not_after: i64,
    fingerprint: [u8; 32],
    signs_crls: bool,
    /// Where its CRL is to be had, as its leaves say.
    crl_url: Option<String>,
}

impl Authority {
    /// Reads and checks its certificate. `now` is in seconds since the Unix epoch.
    pub(crate) fn load(files: &CaFiles, now: u64) -> Result<Self, SetupError> {
        let wrong = |expected: &str| SetupError::new(&files.cert_name, expected);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&files.cert_pem)
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("PEM certificates"))?;
        let first = chain.first().ok_or_else(|| wrong("a PEM certificate"))?;
        let certificate = Certificate::parse(first).map_err(|_| wrong("a certificate in valid DER"))?;
        check_is_ca(&certificate, now).map_err(|expected| wrong(&expected))?;

        let unusable = |_| wrong("a certificate in valid DER");
        let public_key = certificate.tbs.public_key.to_der().map_err(unusable)?;
        let key_id = match certificate.decode_extension::<SubjectKeyIdentifier>(oid::SUBJECT_KEY_ID) {
            Some(Ok(SubjectKeyIdentifier(id))) => Some(id.as_bytes().to_vec()),
            _ => None,
        };
        let fingerprint = chain.iter().fold(Sha256::new(), |digest, certificate| {
            digest.chain_update((certificate.len() as u64).to_be_bytes()).chain_update(certificate)
        });
        Ok(Self {
            fingerprint: fingerprint.finalize().into(),
            signs_crls: matches!(
                certificate.decode_extension::<KeyUsage>(oid::KEY_USAGE),
                Some(Ok(usage)) if usage.crl_sign()
            ),
            crl_url: None,
            subject: certificate.tbs.subject.to_der().map_err(unusable)?,
            public_key,
            key_id,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            chain: chain.iter().map(|c| c.to_vec()).collect(),
        })
    }

    /// Has its leaves say where its CRL is to be had. They are others than those that do not.
    pub(crate) fn with_crl_url(mut self, url: Option<&str>) -> Self {
        if let Some(url) = url {
            let digest = Sha256::new().chain_update(self.fingerprint).chain_update(url);
            self.fingerprint = digest.finalize().into();
            self.crl_url = Some(url.to_owned());
        }
        self
    }

    pub(crate) fn crl_url(&self) -> Option<&str> {
        self.crl_url.as_deref()
    }

    /// Its keyUsage has cRLSign.
    pub(crate) fn signs_crls(&self) -> bool {
        self.signs_crls
    }

    /// What clients get after the leaf.
    pub(crate) fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// SHA-256 of its certificates: its leaves go with these, and are of no use to another CA.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// DER of its name.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// DER of its SubjectPublicKeyInfo.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Its subjectKeyIdentifier.
    pub(crate) fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_deref()
    }

    /// From when to when it is valid, seconds since the Unix epoch.
    pub(crate) fn validity(&self) -> (i64, i64) {
        (self.not_before, self.not_after)
    }

    /// Itself and those above it, as far as they are known.
    pub(super) fn certificates(&self) -> impl Iterator<Item = Certificate<'_>> {
        self.chain.iter().filter_map(|der| Certificate::parse(der).ok())
    }
}

/// What a certificate lacks to sign others.
fn check_is_ca(certificate: &Certificate<'_>, now: u64) -> Result<(), String> {
    match certificate.decode_extension::<BasicConstraints>(oid::BASIC_CONSTRAINTS) {
        Some(Ok(constraints)) if constraints.ca => {}
        _ => return Err("a CA certificate (basicConstraints CA:TRUE)".into()),
    }
    match certificate.decode_extension::<KeyUsage>(oid::KEY_USAGE) {
        Some(Ok(usage)) if usage.key_cert_sign() => {}
        _ => return Err("a CA certificate with keyCertSign in its keyUsage".into()),
    }
    if matches!(PublicKey::parse(certificate.tbs.public_key), Some(PublicKey::Rsa(bits)) if bits < 2048) {
        return Err("an RSA key of 2048 bits or more".into());
    }
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if now < certificate.not_before() {
        let (begins, now) = (date(certificate.not_before()), date(now));
        return Err(format!(
            "a CA certificate that is valid now; this one begins on {begins}, and this machine believes that it is {now}: \
             the clock may be wrong"
        ));
    }
    if now > certificate.not_after() {
        let (ended, now) = (date(certificate.not_after()), date(now));
        return Err(format!(
            "a CA certificate that is valid now; this one ended on {ended}, and it is {now}"
        ));
    }
    Ok(())
}
