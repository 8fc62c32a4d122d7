//! What our CA says of the revocation of its copies: OCSP responses for clients that ask for one in the handshake, and CRLs.
//!
//! Nothing is ever revoked by it: a copy lives for days, and is for those who have the CA by choice. Clients of SChannel, and those who
//! insist on a check, want to be told so all the same.

use std::fmt;
use std::time::Duration;

use sha1::{Digest, Sha1};
use x509_cert::der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use x509_cert::der::{self, Decode, Encode, Sequence, Tag, TagNumber};
use x509_cert::ext::Extension;
use x509_cert::time::Time;

use super::vault::SigningCa;
use crate::x509::ocsp::{AlgorithmId, BASIC, Basic, CertId, Data, Response, ResponseBytes, SHA1, Single};
use crate::x509::{CaFiles, Provider, SetupError, assemble, key_bits, oid};

const HOUR: i64 = 3600;
/// For clients whose clocks are behind.
const BEFORE: i64 = HOUR;
/// How long an OCSP response holds, and after how long there is a new one.
const HOLDS: i64 = 24 * HOUR;
pub(super) const RENEWED: i64 = 12 * HOUR;

/// DER of an OCSP response: the CA says at `now` that the certificate with this serial number, DER of an INTEGER's content, is good.
/// None: it cannot sign.
pub(super) fn staple(ca: &SigningCa, serial: &[u8], now: i64) -> Option<Vec<u8>> {
    response(ca, serial, now).ok()?
}

fn response(ca: &SigningCa, serial: &[u8], now: i64) -> der::Result<Option<Vec<u8>>> {
    let SigningCa { authority, key: signing } = ca;
    let Some(key) = key_bits(authority.public_key()) else { return Ok(None) };
    let Ok(algorithm) = signing.certificate_algorithm() else { return Ok(None) };
    let (name_hash, key_hash) = (Sha1::digest(authority.subject()), Sha1::digest(key));
    let this_update = generalized(now - BEFORE)?;
    let single = Single {
        id: CertId {
            // The one that all clients know (RFC 5019 §2.1.1). It names the issuer, and protects nothing.
            hash: AlgorithmId { algorithm: SHA1, parameters: Some(AnyRef::new(Tag::Null, &[])?) },
            name_hash: AnyRef::new(Tag::OctetString, &name_hash)?,
            key_hash: AnyRef::new(Tag::OctetString, &key_hash)?,
            serial: AnyRef::new(Tag::Integer, serial)?,
        },
        status: AnyRef::new(Tag::ContextSpecific { constructed: false, number: TagNumber(0) }, &[])?,
        this_update,
        next_update: Some(generalized(now.saturating_add(HOLDS))?),
        extensions: None,
    };
    let responses = single.to_der()?;
    let by_key = AnyRef::new(Tag::OctetString, &key_hash)?.to_der()?;
    let data = Data {
        version: None,
        responder: AnyRef::new(Tag::ContextSpecific { constructed: true, number: TagNumber(2) }, &by_key)?,
        produced_at: this_update,
        responses: AnyRef::new(Tag::Sequence, &responses)?,
        extensions: None,
    };
    let data = data.to_der()?;
    let Ok(signature) = signing.sign_certificate(&data) else { return Ok(None) };
    let basic = Basic {
        data: AnyRef::from_der(&data)?,
        algorithm: AnyRef::new(Tag::Sequence, algorithm.as_ref())?,
        signature: BitStringRef::from_bytes(&signature.value)?,
        certificates: None,
    };
    let basic = basic.to_der()?;
    let response = AnyRef::new(Tag::OctetString, &basic)?;
    let bytes = Some(ResponseBytes { kind: BASIC, response });
    Response { status: AnyRef::new(Tag::Enumerated, &[0])?, bytes }.to_der().map(Some)
}

/// `TBSCertList` (RFC 5280 §5.1.2).
#[derive(Sequence)]
struct List<'a> {
    version: u8,
    signature: AnyRef<'a>,
    issuer: AnyRef<'a>,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<Vec<Entry<'a>>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct Entry<'a> {
    serial: AnyRef<'a>,
    date: Time,
}

/// Why there is no CRL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrlError {
    /// The CA's files cannot be used.
    Files(SetupError),
    /// The CA's certificate has a keyUsage without cRLSign.
    NoCrlSign,
    /// The dates are beyond the year 9999, a serial number is not one, or the provider failed.
    Signing,
}

impl fmt::Display for CrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(error) => write!(f, "{error}"),
            Self::NoCrlSign => f.write_str("the CA's certificate does not allow it to sign CRLs (cRLSign)"),
            Self::Signing => f.write_str(
                "the CRL could not be made: a date beyond the year 9999, or a wrong serial number",
            ),
        }
    }
}

impl std::error::Error for CrlError {}

/// DER of a CRL by this CA that holds for so many days, with these serial numbers, the bytes of each without a sign.
///
/// # Errors
/// See [`CrlError`].
pub fn crl(
    provider: Provider,
    files: &CaFiles,
    serials: &[Vec<u8>],
    days: u32,
    now: u64,
) -> Result<Vec<u8>, CrlError> {
    let ca = SigningCa::load(provider, files, None, now).map_err(CrlError::Files)?;
    if !ca.authority.signs_crls() {
        return Err(CrlError::NoCrlSign);
    }
    let now = i64::try_from(now).map_err(|_| CrlError::Signing)?;
    list(&ca, serials, i64::from(days), now).map_err(|_| CrlError::Signing)?.ok_or(CrlError::Signing)
}

fn list(ca: &SigningCa, serials: &[Vec<u8>], days: i64, now: i64) -> der::Result<Option<Vec<u8>>> {
    let SigningCa { authority, key } = ca;
    let Ok(algorithm) = key.certificate_algorithm() else { return Ok(None) };
    let mut entries = Vec::with_capacity(serials.len());
    for serial in serials {
        entries.push(Entry { serial: AnyRef::new(Tag::Integer, serial)?, date: time(now - BEFORE)? });
    }
    let mut extensions =
        vec![super::leaf::extension(CRL_NUMBER, false, &u64::try_from(now).unwrap_or_default())?];
    if let Some(id) = authority.key_id() {
        extensions.push(super::leaf::extension(
            oid::AUTHORITY_KEY_ID,
            false,
            &super::leaf::authority_key_id(id)?,
        )?);
    }
    let list = List {
        version: 1,
        signature: AnyRef::new(Tag::Sequence, algorithm.as_ref())?,
        issuer: AnyRef::from_der(authority.subject())?,
        this_update: time(now - BEFORE)?,
        next_update: time(now.saturating_add(days.saturating_mul(24 * HOUR)))?,
        revoked: (!entries.is_empty()).then_some(entries),
        extensions: Some(extensions),
    };
    let list = list.to_der()?;
    let Ok(signature) = key.sign_certificate(&list) else { return Ok(None) };
    assemble(&list, signature.algorithm, &signature.value).map(Some)
}

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");

fn generalized(seconds: i64) -> der::Result<GeneralizedTime> {
    GeneralizedTime::from_unix_duration(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// RFC 5280 §5.1.2.4: UTCTime through 2049.
fn time(seconds: i64) -> der::Result<Time> {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    UtcTime::from_unix_duration(since)
        .map(Time::UtcTime)
        .or_else(|_| generalized(seconds).map(Time::GeneralTime))
}
