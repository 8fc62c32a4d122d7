//! OCSP responses (RFC 6960) about one certificate, as a server staples them or a responder gives them.

use rustls_pki_types::SignatureVerificationAlgorithm;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use x509_cert::der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Tag, TagNumber, Tagged};

use super::revocation::{Answer, Asked, Status};
use crate::x509::ocsp::{BASIC, Basic, CertId, Data, Response, SHA1, SHA256, Single};
use crate::x509::{Certificate, SignedBytes, elements, key_bits, oid, tbs_bytes, whole_list};

/// The longest response that is read, in bytes. Real ones are a quarter of that, with the responder's certificate.
const LONGEST: usize = 16 * 1024;
/// Answers of a response that are looked at, and certificates that come with it.
const MAX_SINGLE: usize = 32;
const MAX_CERTIFICATES: usize = 4;
/// How far clocks may be apart, in seconds.
const SKEW: i64 = 300;
/// How long a response without `nextUpdate` holds, in seconds: newer ones are to be had at any time (RFC 6960 §4.2.2.1).
const WITHOUT_END: i64 = 24 * 3600;

pub(in crate::tls) const OUT_OF_DATE: &str = "an OCSP response that is out of date";

/// What a response says of a certificate, at `now` in seconds since the Unix epoch; or why it says nothing.
pub(in crate::tls) fn answer(
    der: &[u8],
    asked: Asked<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: i64,
) -> Result<Answer, &'static str> {
    if der.len() > LONGEST {
        return Err("an OCSP response that is too long");
    }
    let basic = basic(der)?;
    let parsed = Basic::from_der(basic).map_err(|_| MALFORMED)?;
    let data: Data<'_> = parsed.data.decode_as().map_err(|_| MALFORMED)?;
    if data.version.is_some_and(|version| version != 0) {
        return Err("an OCSP response of an unknown version");
    }
    let single = about(&data, asked).ok_or("an OCSP response about another certificate")?;
    let signed = SignedBytes {
        bytes: tbs_bytes(basic).map_err(|_| MALFORMED)?,
        algorithm: parsed.algorithm,
        signature: parsed.signature,
    };
    verify_signer(&signed, &data, parsed.certificates, asked, algorithms, now)?;
    let this_update = seconds(single.this_update);
    let next_update = single.next_update.map_or_else(|| this_update.saturating_add(WITHOUT_END), seconds);
    if this_update > now.saturating_add(SKEW) {
        return Err("an OCSP response of the future");
    }
    let status = match single.status.tag() {
        Tag::ContextSpecific { number: TagNumber(0), .. } => Status::Good,
        // Revoked once, revoked always: an old answer is as good as a new one.
        Tag::ContextSpecific { number: TagNumber(1), .. } => Status::Revoked(revoked_at(single.status)),
        _ => return Err("an OCSP response whose responder does not know the certificate"),
    };
    let until = next_update.saturating_add(SKEW);
    if status == Status::Good && now >= until {
        return Err(OUT_OF_DATE);
    }
    Ok(Answer { status, until: if status == Status::Good { until } else { i64::MAX } })
}

const MALFORMED: &str = "a malformed OCSP response";

/// DER of the BasicOCSPResponse.
fn basic(der: &[u8]) -> Result<&[u8], &'static str> {
    let response = Response::from_der(der).map_err(|_| MALFORMED)?;
    if response.status.tag() != Tag::Enumerated || response.status.value() != [0] {
        return Err("an OCSP response that says that the responder failed");
    }
    let bytes = response.bytes.ok_or(MALFORMED)?;
    if bytes.kind != BASIC || bytes.response.tag() != Tag::OctetString {
        return Err("an OCSP response of an unknown kind");
    }
    Ok(bytes.response.value())
}

/// The answer about the certificate that was asked for.
fn about<'r>(data: &Data<'r>, asked: Asked<'_>) -> Option<Single<'r>> {
    let name = asked.issuer.name.to_der().ok()?;
    let key = asked.issuer.public_key.to_der().ok()?;
    let key = key_bits(&key)?;
    let is_asked = |id: &CertId<'_>| {
        let same = |name_hash: &[u8], key_hash: &[u8]| {
            id.name_hash.value() == name_hash && id.key_hash.value() == key_hash
        };
        id.serial == asked.certificate.tbs.serial
            && match id.hash.algorithm {
                SHA1 => same(&Sha1::digest(&name), &Sha1::digest(key)),
                SHA256 => same(&Sha256::digest(&name), &Sha256::digest(key)),
                _ => false,
            }
    };
    elements(data.responses.value())
        .take(MAX_SINGLE)
        .filter_map(|single| single.decode_as::<Single<'r>>().ok())
        .find(|single| is_asked(&single.id))
}

/// Signed by the issuer, or by one whom the issuer has certified for it (RFC 6960 §4.2.2.2).
fn verify_signer(
    signed: &SignedBytes<'_>,
    data: &Data<'_>,
    certificates: Option<AnyRef<'_>>,
    asked: Asked<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: i64,
) -> Result<(), &'static str> {
    if is_responder(data, asked.issuer.name, asked.issuer.public_key)
        && signed.is_signed_by(asked.issuer.public_key, algorithms)
    {
        return Ok(());
    }
    let ders: Vec<Vec<u8>> = elements(certificates.map_or(&[], |list| list.value()))
        .take(MAX_CERTIFICATES)
        .filter_map(|der| der.to_der().ok())
        .collect();
    for der in &ders {
        let Ok(delegate) = Certificate::parse(der) else { continue };
        if delegate.tbs.issuer != asked.issuer.name
            || !is_responder(data, delegate.tbs.subject, delegate.tbs.public_key)
        {
            continue;
        }
        if !signs_responses(&delegate) {
            return Err("an OCSP response by a certificate that is not for it (no OCSPSigning)");
        }
        if now < delegate.not_before().saturating_sub(SKEW) || now > delegate.not_after() {
            return Err("an OCSP response by a certificate that is not valid now");
        }
        if delegate.is_signed_by(asked.issuer.public_key, algorithms)
            && signed.is_signed_by(delegate.tbs.public_key, algorithms)
        {
            return Ok(());
        }
    }
    Err("an OCSP response that its issuer has not signed")
}

/// Whether the ResponderID is this name, or this key's SHA-1.
fn is_responder(data: &Data<'_>, name: AnyRef<'_>, public_key: AnyRef<'_>) -> bool {
    let inner = elements(data.responder.value()).next();
    match (data.responder.tag(), inner) {
        (Tag::ContextSpecific { number: TagNumber(1), .. }, Some(by_name)) => by_name == name,
        (Tag::ContextSpecific { number: TagNumber(2), .. }, Some(by_key)) => public_key
            .to_der()
            .is_ok_and(|key| key_bits(&key).is_some_and(|key| by_key.value() == &Sha1::digest(key)[..])),
        _ => false,
    }
}

fn signs_responses(certificate: &Certificate<'_>) -> bool {
    let uses = certificate.extension(oid::EXTENDED_KEY_USAGE).and_then(|(value, _)| whole_list(value).ok());
    let is_ocsp =
        |purpose: &AnyRef<'_>| purpose.decode_as::<ObjectIdentifier>().is_ok_and(|p| p == oid::OCSP_SIGNING);
    uses.is_some_and(|uses| uses.iter().any(is_ocsp))
}

/// The time in a RevokedInfo, in seconds since the Unix epoch.
fn revoked_at(info: AnyRef<'_>) -> Option<i64> {
    elements(info.value()).next()?.decode_as::<GeneralizedTime>().ok().map(seconds)
}

fn seconds(time: GeneralizedTime) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}
