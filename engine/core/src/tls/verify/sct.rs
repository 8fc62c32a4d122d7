//! Signed certificate timestamps (RFC 6962 §3.2): what logs of Certificate Transparency have promised, as it stands in a certificate.

use std::ops::Range;

use rustls_pki_types::{SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Tag};

use super::revocation::Issuer;
use crate::tls::wire::Reader;
use crate::x509::{Certificate, SignedBytes, Tbs};

/// The extension that has them.
pub(super) const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
/// Timestamps of a certificate that are looked at.
const MAX_TIMESTAMPS: usize = 8;
/// How far clocks may be apart, in milliseconds.
const SKEW: u64 = 300_000;
/// A certificate for longer, in seconds, needs one more.
const LONG: i64 = 180 * 24 * 3600;

/// A log that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtLog {
    /// DER of its SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    /// Who runs it.
    pub operator: String,
    /// When it was retired, in seconds since the Unix epoch: what it has promised later does not count.
    pub retired: Option<i64>,
    /// It takes certificates that end within this time only, in seconds since the Unix epoch.
    pub interval: Option<Range<i64>>,
}

/// Logs, by the SHA-256 of their keys.
#[derive(Debug, Default)]
pub(in crate::tls) struct CtLogs(Vec<([u8; 32], CtLog)>);

impl CtLogs {
    pub(in crate::tls) fn new(logs: &[CtLog]) -> Self {
        Self(logs.iter().map(|log| (Sha256::digest(&log.key).into(), log.clone())).collect())
    }

    /// What makes other logs others.
    pub(in crate::tls) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (id, CtLog { key: _, operator, retired, interval }) in &self.0 {
            digest.update(id);
            digest.update((operator.len() as u64).to_be_bytes());
            digest.update(operator);
            let interval = interval.clone().unwrap_or(i64::MIN..i64::MAX);
            for time in [retired.unwrap_or(i64::MAX), interval.start, interval.end] {
                digest.update(time.to_be_bytes());
            }
        }
        digest.finalize().into()
    }

    /// Whether enough logs have promised to publish a certificate, as browsers want it: two, three if it is for more than 180 days, and not
    /// all of one operator. Else what was found.
    pub(super) fn check(
        &self,
        leaf: &Certificate<'_>,
        issuer: Issuer<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: i64,
    ) -> Result<(), String> {
        let needed = if leaf.not_after().saturating_sub(leaf.not_before()) > LONG { 3 } else { 2 };
        let mut good: Vec<&([u8; 32], CtLog)> = Vec::new();
        if let (Some(timestamps), Some(entry)) = (timestamps(leaf), precertificate(leaf, issuer)) {
            for timestamp in timestamps.iter().take(MAX_TIMESTAMPS) {
                let Some(log) = self.0.iter().find(|(id, _)| *id == timestamp.log) else { continue };
                let is_new = good.iter().all(|(id, _)| *id != log.0);
                if is_new
                    && log.1.covers(leaf, timestamp.time, now)
                    && log.1.signed(timestamp, &entry, algorithms)
                {
                    good.push(log);
                }
            }
        }
        let is_one_operator = good.windows(2).all(|pair| pair[0].1.operator == pair[1].1.operator);
        match good.len() {
            found if found < needed => {
                Err(format!("{found} timestamp(s) of known CT logs, of {needed} that it takes"))
            }
            _ if is_one_operator => Err("timestamps of one operator's CT logs only".to_owned()),
            _ => Ok(()),
        }
    }
}

impl CtLog {
    /// `time`: of the promise, in milliseconds since the Unix epoch.
    fn covers(&self, leaf: &Certificate<'_>, time: u64, now: i64) -> bool {
        let milliseconds = |seconds: i64| u64::try_from(seconds).unwrap_or_default().saturating_mul(1000);
        time <= milliseconds(now).saturating_add(SKEW)
            && self.retired.is_none_or(|retired| time < milliseconds(retired))
            && self.interval.as_ref().is_none_or(|interval| interval.contains(&leaf.not_after()))
    }

    /// RFC 6962 §3.2: the `digitally-signed struct`.
    fn signed(
        &self,
        timestamp: &Timestamp<'_>,
        entry: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        /// `v1`, `certificate_timestamp`.
        const HEAD: [u8; 2] = [0, 0];
        let mut bytes = HEAD.to_vec();
        bytes.extend(timestamp.time.to_be_bytes());
        bytes.extend(entry);
        bytes.extend((timestamp.extensions.len() as u16).to_be_bytes());
        bytes.extend(timestamp.extensions);
        // RFC 5246 §7.4.1.4.1: SHA-256 with ECDSA or RSA; there are no others (RFC 6962 §2.1.4).
        let algorithm = match timestamp.algorithm {
            [4, 3] => alg_id::ECDSA_SHA256,
            [4, 1] => alg_id::RSA_PKCS1_SHA256,
            _ => return false,
        };
        let (Ok(algorithm), Ok(signature), Ok(key)) = (
            AnyRef::new(Tag::Sequence, algorithm.as_ref()),
            BitStringRef::from_bytes(timestamp.signature),
            AnyRef::from_der(&self.key),
        ) else {
            return false;
        };
        SignedBytes { bytes: &bytes, algorithm, signature }.is_signed_by(key, algorithms)
    }
}

/// `SignedCertificateTimestamp` of version 1.
struct Timestamp<'a> {
    log: [u8; 32],
    /// Milliseconds since the Unix epoch.
    time: u64,
    extensions: &'a [u8],
    /// Hash and signature.
    algorithm: [u8; 2],
    signature: &'a [u8],
}

/// Those in a certificate (RFC 6962 §3.3). None: the list is malformed, or not there.
fn timestamps<'c>(leaf: &'c Certificate<'_>) -> Option<Vec<Timestamp<'c>>> {
    let (value, _) = leaf.extension(SCT_LIST)?;
    let octets = AnyRef::from_der(value).ok()?;
    let mut reader = Reader::new(octets.value());
    let mut list = reader.vec16()?;
    let mut found = Vec::new();
    while !list.is_empty() {
        let mut one = list.vec16()?;
        if one.u8()? != 0 {
            continue;
        }
        found.push(Timestamp {
            log: one.take(32)?.try_into().ok()?,
            time: u64::from_be_bytes(one.take(8)?.try_into().ok()?),
            extensions: one.vec16()?.rest(),
            algorithm: one.take(2)?.try_into().ok()?,
            signature: one.vec16()?.rest(),
        });
    }
    Some(found)
}

/// What logs sign of a certificate that is to be made (RFC 6962 §3.2): `precert_entry`, the hash of the issuer's key, and the certificate
/// without signature and timestamps.
fn precertificate(leaf: &Certificate<'_>, issuer: Issuer<'_>) -> Option<Vec<u8>> {
    const PRECERT_ENTRY: [u8; 2] = [0, 1];
    let mut tbs: Tbs<'_> = leaf.tbs.clone();
    tbs.extensions.as_mut()?.retain(|extension| extension.extn_id != SCT_LIST);
    let tbs = tbs.to_der().ok()?;
    let len = u32::try_from(tbs.len()).ok().filter(|len| *len < 1 << 24)?.to_be_bytes();
    let key = issuer.public_key.to_der().ok()?;
    Some([&PRECERT_ENTRY[..], &Sha256::digest(key), &len[1..], &tbs].concat())
}
