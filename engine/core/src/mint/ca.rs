//! The two CAs of an installation: made once, and described when asked.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
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

/// How long a CA is valid unless asked otherwise: ten years, in days.
pub const DEFAULT_DAYS: u32 = 3650;
/// Name of the trusted CA unless asked otherwise.
pub const DEFAULT_NAME: &str = "wireglass trusted CA";
const UNTRUSTED_NAME: &str = "wireglass untrusted CA (do not trust)";

/// A day, in seconds.
const DAY: i64 = 24 * 3600;
/// RFC 5280 A.1: `ub-common-name`.
const MAX_NAME: usize = 64;

/// What [`create`] is to make.
#[derive(Clone, Debug)]
pub struct NewCas {
    /// Folder that gets `trusted.pem`, `trusted.key`, `untrusted.pem` and `untrusted.key`. Made if it is missing.
    pub dir: PathBuf,
    /// Common name of the trusted CA; the untrusted one's is derived from it.
    pub name: Option<String>,
    /// Validity in days.
    pub days: u32,
    /// Overwrite what is there.
    pub force: bool,
    /// Who makes the keys.
    pub provider: Provider,
    /// Now, in seconds since the Unix epoch.
    pub now: u64,
}

/// Why the CAs could not be made, or read.
#[derive(Debug)]
pub enum CaError {
    /// A file is there already.
    Exists(PathBuf),
    /// The name is empty or longer than 64 characters.
    Name,
    /// The validity ends after the year 9999, or at once.
    Days,
    /// The provider failed.
    Crypto,
    /// Not a PEM certificate.
    NotACertificate(PathBuf),
    /// Reading or writing failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => {
                write!(f, "{} exists already; clients may trust it. --force overwrites it", path.display())
            }
            Self::Name => write!(f, "a name has 1 to {MAX_NAME} characters"),
            Self::Days => f.write_str("the validity is at least one day and ends before the year 10000"),
            Self::Crypto => f.write_str("the crypto provider could not make a key or a certificate"),
            Self::NotACertificate(path) => write!(f, "{}: expected a PEM certificate", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl error::Error for CaError {}

/// Makes both CAs: P-256, self-signed, each with its own key. Returns the files written.
///
/// # Errors
/// See [`CaError`]. Without `force` nothing is written if any of the files exists.
pub fn create(new: &NewCas) -> Result<Vec<PathBuf>, CaError> {
    let trusted_name = new.name.clone().unwrap_or_else(|| DEFAULT_NAME.into());
    let untrusted_name =
        new.name.as_ref().map_or_else(|| UNTRUSTED_NAME.into(), |n| format!("{n} untrusted (do not trust)"));
    let mut files = Vec::new();
    for (stem, name) in [("trusted", trusted_name), ("untrusted", untrusted_name)] {
        let (certificate, key) = self_signed(&name, new)?;
        files.push((new.dir.join(format!("{stem}.pem")), Zeroizing::new(certificate), 0o644));
        files.push((new.dir.join(format!("{stem}.key")), key, 0o600));
    }
    if !new.force
        && let Some((path, ..)) = files.iter().find(|(path, ..)| path.symlink_metadata().is_ok())
    {
        return Err(CaError::Exists(path.clone()));
    }
    fs::create_dir_all(&new.dir).map_err(|e| CaError::Io(new.dir.clone(), e))?;
    for (path, contents, mode) in &files {
        write_new(path, contents.as_bytes(), *mode).map_err(|e| CaError::Io(path.clone(), e))?;
    }
    Ok(files.into_iter().map(|(path, ..)| path).collect())
}

/// Writes beside the file and renames, so that there is never half a key, and its mode is right from the start.
fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    // What an interrupted run left; that it is not there is the rule.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// A self-signed CA: PEM of its certificate and of its key.
fn self_signed(name: &str, new: &NewCas) -> Result<(String, Zeroizing<String>), CaError> {
    let pkcs8 = generate_pkcs8(new.provider, KeyType::P256).map_err(|_| CaError::Crypto)?;
    let key = Key::from_pkcs8(new.provider, &pkcs8).map_err(|_| CaError::Crypto)?;
    let public_key = key.public_key().ok_or(CaError::Crypto)?;
    let name = common_name(name).ok_or(CaError::Name)?;
    let now = i64::try_from(new.now).map_err(|_| CaError::Days)?;
    let fields = Fields {
        serial: &random_serial().ok_or(CaError::Crypto)?,
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
    Ok((pem("CERTIFICATE", &certificate)?, Zeroizing::new(pem("PRIVATE KEY", &pkcs8)?)))
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

/// Reads the first certificate of a PEM file.
///
/// # Errors
/// [`CaError::Io`] or [`CaError::NotACertificate`].
pub fn describe(path: &Path) -> Result<Description, CaError> {
    let pem = fs::read(path).map_err(|e| CaError::Io(path.to_owned(), e))?;
    let wrong = || CaError::NotACertificate(path.to_owned());
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| wrong())?;
    let certificate = Certificate::parse(&der).map_err(|_| wrong())?;
    let fingerprint: Vec<String> = Sha256::digest(&der).iter().map(|b| format!("{b:02X}")).collect();
    Ok(Description {
        subject: describe_name(certificate.tbs.subject),
        issuer: describe_name(certificate.tbs.issuer),
        serial: serial_hex(certificate.tbs.serial),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        fingerprint: fingerprint.join(":"),
        key: PublicKey::parse(certificate.tbs.public_key).map_or_else(|| "unknown".into(), |k| k.to_string()),
    })
}
