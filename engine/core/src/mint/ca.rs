//! CAs of ours: made, and described.

use std::{error, fmt};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, ObjectIdentifier, OctetString};
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{Encode, Tag};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};
use zeroize::Zeroizing;

use super::leaf::{Fields, extension, random_serial};
use crate::x509::{
    Certificate, Key, KeyType, Provider, PublicKey, describe_name, generate_pkcs8, key_bits, oid, serial_hex,
};

/// A day, in seconds.
const DAY: i64 = 24 * 3600;
/// RFC 5280 A.1: `ub-common-name`.
const MAX_NAME: usize = 64;

/// What [`self_signed`] is to make.
#[derive(Clone, Copy, Debug)]
pub struct NewCa<'a> {
    /// Common name.
    pub name: &'a str,
    /// Validity in days.
    pub days: u32,
    /// Who makes the key.
    pub provider: Provider,
    /// Now, in seconds since the Unix epoch.
    pub now: u64,
}

/// Why a CA could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaError {
    /// The name is empty or longer than 64 characters.
    Name,
    /// The validity ends after the year 9999, or at once.
    Days,
    /// The provider failed.
    Crypto,
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(f, "a name has 1 to {MAX_NAME} characters"),
            Self::Days => f.write_str("the validity is at least one day and ends before the year 10000"),
            Self::Crypto => f.write_str("the crypto provider could not make a key or a certificate"),
        }
    }
}

impl error::Error for CaError {}

/// A CA in PEM.
pub struct CaPem {
    /// Its certificate.
    pub certificate: String,
    /// Its private key, PKCS#8.
    pub key: Zeroizing<String>,
}

/// Makes a CA: P-256, self-signed, with a key of its own.
///
/// # Errors
/// See [`CaError`].
pub fn self_signed(new: &NewCa<'_>) -> Result<CaPem, CaError> {
    let pkcs8 = generate_pkcs8(new.provider, KeyType::P256).map_err(|_| CaError::Crypto)?;
    let key = Key::from_pkcs8(new.provider, &pkcs8).map_err(|_| CaError::Crypto)?;
    let public_key = key.public_key().ok_or(CaError::Crypto)?;
    let name = common_name(new.name).ok_or(CaError::Name)?;
    let now = i64::try_from(new.now).map_err(|_| CaError::Days)?;
    let fields = Fields {
        serial: &random_serial(new.provider.load().secure_random).ok_or(CaError::Crypto)?,
        issuer: &name,
        subject: &name,
        public_key: &public_key,
        // For clients whose clocks are behind.
        not_before: now - DAY,
        not_after: now + i64::from(new.days.max(1)) * DAY,
        extensions: ca_extensions(&public_key).ok_or(CaError::Crypto)?,
    };
    let certificate = fields.sign(&key).ok_or(CaError::Days)?;
    let pem = |label, der: &[u8]| encode_string(label, LineEnding::LF, der).map_err(|_| CaError::Crypto);
    Ok(CaPem {
        certificate: pem("CERTIFICATE", &certificate)?,
        key: Zeroizing::new(pem("PRIVATE KEY", &pkcs8)?),
    })
}

/// A CA for leaves only: it cannot make further CAs.
fn ca_extensions(public_key: &[u8]) -> Option<Vec<x509_cert::ext::Extension>> {
    // RFC 5280 §4.2.1.2, method 1: SHA-1 of the key's bits. A name for the key, not a protection.
    let id = OctetString::new(Sha1::digest(key_bits(public_key)?).to_vec()).ok()?;
    let constraints = BasicConstraints { ca: true, path_len_constraint: Some(0) };
    Some(vec![
        extension(oid::BASIC_CONSTRAINTS, true, &constraints).ok()?,
        extension(oid::KEY_USAGE, true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)).ok()?,
        extension(oid::SUBJECT_KEY_ID, false, &SubjectKeyIdentifier(id)).ok()?,
    ])
}

/// DER of a name that is a common name only.
fn common_name(name: &str) -> Option<Vec<u8>> {
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return None;
    }
    let value = Any::new(Tag::Utf8String, name.as_bytes()).ok()?;
    let mut part = RelativeDistinguishedName::default();
    part.insert(AttributeTypeAndValue { oid: COMMON_NAME, value }).ok()?;
    let mut whole = RdnSequence::default();
    whole.push(part);
    whole.to_der().ok()
}

/// What people want to know of a CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Subject, as `CN=..., O=...`.
    pub subject: String,
    /// Issuer, likewise.
    pub issuer: String,
    /// Upper-case hex pairs with colons.
    pub serial: String,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    /// Likewise.
    pub not_after: i64,
    /// SHA-256 of the DER, upper-case hex pairs with colons.
    pub fingerprint: String,
    /// Such as `EC P-256` or `RSA 4096`.
    pub key: String,
}

/// Reads the first certificate in PEM. `None`: there is none.
pub fn describe(pem: &[u8]) -> Option<Description> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let certificate = Certificate::parse(&der).ok()?;
    let fingerprint: Vec<String> = Sha256::digest(&der).iter().map(|b| format!("{b:02X}")).collect();
    Some(Description {
        subject: describe_name(certificate.tbs.subject),
        issuer: describe_name(certificate.tbs.issuer),
        serial: serial_hex(certificate.tbs.serial),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        fingerprint: fingerprint.join(":"),
        key: PublicKey::parse(certificate.tbs.public_key).map_or_else(|| "unknown".into(), |k| k.to_string()),
    })
}
