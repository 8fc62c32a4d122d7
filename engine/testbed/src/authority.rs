//! A CA of servers, with all that a CA says: certificates, OCSP responses, CRLs. Keys are on P-256 unless said otherwise.

use std::sync::Arc;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension, Error, KeyIdMethod,
    KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    SigningKey, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::OctetString;
use x509_cert::der::{Decode, Encode};

use super::Identity;
use super::pki::{ca_params, leaf_params};

/// A CA of servers: a root, or one below it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    algorithm: &'static SignatureAlgorithm,
    logs: Arc<[CtSigner]>,
}

impl Authority {
    /// A root with keys on P-256, as most of the web has.
    ///
    /// # Errors
    /// When rcgen cannot make a key or a certificate.
    pub fn root(name: &str) -> Result<Self, Error> {
        Self::root_with_algorithm(name, &PKCS_ECDSA_P256_SHA256)
    }

    /// A root whose key, and all keys below it, are of one of rcgen's algorithms.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn root_with_algorithm(name: &str, algorithm: &'static SignatureAlgorithm) -> Result<Self, Error> {
        let key = KeyPair::generate_for(algorithm)?;
        let issuer = CertifiedIssuer::self_signed(ca_params(name)?, key)?;
        Ok(Self { issuer, algorithm, logs: Arc::default() })
    }

    /// Has these logs promise to publish each leaf that is signed from now on, by this CA and by those below it.
    pub fn promised_by(mut self, logs: impl Into<Arc<[CtSigner]>>) -> Self {
        self.logs = logs.into();
        self
    }

    /// A CA below this one, changed by `change` before it is signed.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Result<Self, Error> {
        let key = KeyPair::generate_for(self.algorithm)?;
        let mut params = ca_params(name)?;
        change(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer)?;
        Ok(Self { issuer, algorithm: self.algorithm, logs: Arc::clone(&self.logs) })
    }

    /// Its certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Its certificate, as a file would hold it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A leaf of this CA, changed by `change` before it is signed; the server sends it with the certificates of `between`.
    ///
    /// # Errors
    /// As [`Self::root`], and when a name is none.
    pub fn identity(
        &self,
        names: &[&str],
        between: &[&Self],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity, Error> {
        let key = KeyPair::generate_for(self.algorithm)?;
        let leaf = self.leaf(names, &key, change)?;
        let between = between.iter().map(|ca| ca.certificate());
        Ok(Identity { chain: std::iter::once(leaf).chain(between).collect(), key: key.into() })
    }

    /// A leaf for this public key, of which nobody need have the private one.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn leaf(
        &self,
        names: &[&str],
        key: &impl PublicKeyData,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<CertificateDer<'static>, Error> {
        let mut params = leaf_params(names)?;
        change(&mut params);
        if !self.logs.is_empty() {
            let without = params.signed_by(key, &self.issuer)?;
            params.custom_extensions.push(self.promises(without.der())?);
        }
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }

    /// The OCSP response (RFC 6960) that a server may staple to a leaf of this CA: it is good, or was revoked in 2025.
    /// For keys on P-256.
    ///
    /// # Errors
    /// When `leaf` is no certificate, or cannot be signed for.
    pub fn staple(&self, leaf: &[u8], revoked: bool) -> Result<Vec<u8>, Error> {
        const FROM: &[u8] = b"20240101000000Z";
        const REVOKED: &[u8] = b"20250101000000Z";
        const UNTIL: &[u8] = b"20740101000000Z";
        const SHA1: &[u8] = &[0x30, 9, 6, 5, 0x2b, 14, 3, 2, 0x1a, 5, 0];
        const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        const BASIC: &[u8] = &[6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
        let (leaf, ca) = (parse(leaf)?, parse(self.issuer.der())?);
        let ca = ca.tbs_certificate();
        let name_hash = Sha1::digest(ca.subject().to_der().map_err(not_der)?);
        let key_hash = Sha1::digest(ca.subject_public_key_info().subject_public_key.raw_bytes());
        let serial = tlv(2, &[leaf.tbs_certificate().serial_number().as_bytes()]);
        let id = tlv(0x30, &[SHA1, &tlv(4, &[&name_hash]), &tlv(4, &[&key_hash]), &serial]);
        let status = if revoked { tlv(0xa1, &[&tlv(0x18, &[REVOKED])]) } else { tlv(0x80, &[]) };
        let this_update = tlv(0x18, &[FROM]);
        let next_update = tlv(0xa0, &[&tlv(0x18, &[UNTIL])]);
        let single = tlv(0x30, &[&id, &status, &this_update, &next_update]);
        let by_key = tlv(0xa2, &[&tlv(4, &[&key_hash])]);
        let data = tlv(0x30, &[&by_key, &this_update, &tlv(0x30, &[&single])]);
        let signature = self.issuer.key().sign(&data)?;
        let basic = tlv(0x30, &[&data, ECDSA_SHA256, &tlv(3, &[&[0], &signature])]);
        let bytes = tlv(0x30, &[BASIC, &tlv(4, &[&basic])]);
        Ok(tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&bytes])]))
    }

    /// A CRL with the certificates of these serial numbers, in DER.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn crl(&self, serials: &[&SerialNumber]) -> Result<Vec<u8>, Error> {
        let revoked = |serial: &&SerialNumber| RevokedCertParams {
            serial_number: (*serial).clone(),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2074, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.der().to_vec())
    }

    /// The extension with all logs' promises for the certificate that is `without` it (RFC 6962 §3.3).
    fn promises(&self, without: &[u8]) -> Result<CustomExtension, Error> {
        const OID: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
        let tbs = parse(without)?.tbs_certificate().to_der().map_err(not_der)?;
        let issuer = Sha256::digest(self.issuer.key().subject_public_key_info());
        let mut list = Vec::new();
        for log in &*self.logs {
            list.extend(with_length(&log.promise(&tbs, &issuer)?));
        }
        let octets = OctetString::new(with_length(&list)).and_then(|octets| octets.to_der());
        Ok(CustomExtension::from_oid_content(&OID, octets.map_err(not_der)?))
    }
}

/// A log of Certificate Transparency.
pub struct CtSigner {
    key: KeyPair,
    operator: &'static str,
}

impl CtSigner {
    /// Run by `operator`.
    ///
    /// # Errors
    /// As [`Authority::root`].
    pub fn new(operator: &'static str) -> Result<Self, Error> {
        Ok(Self { key: KeyPair::generate()?, operator })
    }

    /// Who runs it.
    pub fn operator(&self) -> &'static str {
        self.operator
    }

    /// DER of its SubjectPublicKeyInfo.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// `SignedCertificateTimestamp` (RFC 6962 §3.2) of 2024 for the certificate with this `TBSCertificate`.
    fn promise(&self, tbs: &[u8], issuer: &[u8]) -> Result<Vec<u8>, Error> {
        /// In milliseconds: 2024-01-02.
        const TIME: u64 = 1_704_153_600_000;
        let length = u32::try_from(tbs.len()).map_err(|_| Error::CouldNotParseCertificate)?;
        let (time, length) = (TIME.to_be_bytes(), length.to_be_bytes());
        let signed: [&[u8]; 7] = [&[0, 0], &time, &[0, 1], issuer, &length[1..], tbs, &[0, 0]];
        let signature = with_length(&self.key.sign(&signed.concat())?);
        let id = Sha256::digest(self.public_key());
        Ok([&[0][..], &id, &time, &[0, 0, 4, 3], &signature].concat())
    }
}

/// Behind its length in two bytes.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn parse(der: &[u8]) -> Result<x509_cert::Certificate, Error> {
    x509_cert::Certificate::from_der(der).map_err(|_| Error::CouldNotParseCertificate)
}

fn not_der(_: x509_cert::der::Error) -> Error {
    Error::CouldNotParseCertificate
}

/// DER of a tag and its content, of up to 65535 bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match content.len() {
        n @ ..0x80 => vec![n as u8],
        n @ ..0x100 => vec![0x81, n as u8],
        n => vec![0x82, (n >> 8) as u8, n as u8],
    };
    [&[tag], &*length, &content].concat()
}
