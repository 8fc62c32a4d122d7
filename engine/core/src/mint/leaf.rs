//! One minted leaf, field by field.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::SecureRandom;
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::{AnyRef, GeneralizedTime, Ia5String, OctetString, OctetStringRef, UtcTime};
use x509_cert::der::{self, Decode, Encode, Tag};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName,
};
use x509_cert::name::RdnSequence;
use x509_cert::time::{Time, Validity};

use super::Authority;
use super::signer::{LeafOrder, SignError};
use super::status;
use super::vault::SigningCa;
use crate::lock::Lock;
use crate::x509::{self, Certificate, Certified, Key, Tbs, assemble, oid, serial_hex};

const DAY: i64 = 24 * 3600;
/// Octets of a serial number.
pub(super) const SERIAL_LEN: usize = 16;

/// A minted certificate, ready to be presented.
pub(crate) struct Leaf {
    certified: Certified,
    /// DER of its serial number's content.
    number: Vec<u8>,
    /// With an OCSP response, and until when that is to be shown, in seconds since the Unix epoch.
    stapled: Lock<Option<(Certified, i64)>>,
    fingerprint: [u8; 32],
    says: [u8; 32],
    serial: Arc<str>,
    not_after: i64,
}

impl Leaf {
    /// `der` certifies `key`, and `issuers` are the certificates above it; `says`: a digest of what it was made of.
    pub(super) fn new(
        der: Vec<u8>,
        issuers: &[Vec<u8>],
        key: &Key,
        number: &[u8],
        not_after: i64,
        says: [u8; 32],
    ) -> Self {
        let serial = AnyRef::new(Tag::Integer, number).map(serial_hex).unwrap_or_default().into();
        let fingerprint = Sha256::digest(&der).into();
        let chain = std::iter::once(der).chain(issuers.iter().cloned());
        let (certified, stapled) = (Certified::new(chain, key), Lock::default());
        Self { certified, number: number.to_vec(), stapled, fingerprint, says, serial, not_after }
    }

    /// Likewise, of what a signer has made. None: it is not a certificate.
    pub(super) fn signed(der: Vec<u8>, issuers: &[Vec<u8>], key: &Key, says: [u8; 32]) -> Option<Self> {
        let certificate = Certificate::parse(&der).ok()?;
        let (number, not_after) = (certificate.tbs.serial.value().to_vec(), certificate.not_after());
        Some(Self::new(der, issuers, key, &number, not_after, says))
    }

    /// Its chain and key, as a leg presents them.
    pub(crate) fn certified(&self) -> &Certified {
        &self.certified
    }

    /// Its chain and key with an OCSP response, which `sign` makes for its serial number where there is none that holds at `now`.
    pub(super) fn stapled(&self, now: i64, sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Option<Certified> {
        let mut stapled = self.stapled.lock();
        if let Some((certified, renew)) = &*stapled
            && (*renew - status::RENEWED..*renew).contains(&now)
        {
            return Some(certified.clone());
        }
        let certified = self.certified.with_staple(sign(&self.number)?);
        *stapled = Some((certified.clone(), now.saturating_add(status::RENEWED)));
        Some(certified)
    }

    /// SHA-256 of its DER.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// A digest of what it says: original, tolerated defect, CA, kind of key, longest validity. Copies of other engines with the same CA have
    /// the same.
    pub(crate) fn says(&self) -> &[u8; 32] {
        &self.says
    }

    /// Upper-case hex pairs with colons.
    pub(crate) fn serial(&self) -> &Arc<str> {
        &self.serial
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn not_after(&self) -> i64 {
        self.not_after
    }
}

/// DER of a copy of `original` for the key of the order.
pub(super) fn copy(
    ca: &SigningCa,
    original: &Certificate<'_>,
    order: &LeafOrder<'_>,
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, SignError> {
    let dates = (original.not_before(), original.not_after());
    // Byte for byte, and the name that was asked for is never added: that would hide a mismatch.
    let names = original.extension(oid::SUBJECT_ALT_NAME);
    let subject = original.tbs.subject.to_der().map_err(|_| SignError::Original)?;
    sign(ca, &subject, names, dates, order, random)
}

/// DER of a leaf that says one name and nothing else, as nothing else is known.
pub(super) fn named(
    ca: &SigningCa,
    name: &str,
    order: &LeafOrder<'_>,
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, SignError> {
    let name = Ia5String::new(name).map_err(|_| SignError::Original)?;
    let names = SubjectAltName(vec![GeneralName::DnsName(name)]).to_der().map_err(|_| SignError::Original)?;
    // RFC 5280 §4.2.1.6: critical, as there is no other subject. A common name has no room for long names.
    let subject = RdnSequence::default().to_der().map_err(|_| SignError::Original)?;
    sign(ca, &subject, Some((&names, true)), (0, i64::MAX), order, random)
}

/// `names`: the leaf's subjectAltName, and whether that is critical; `dates`: of what it stands for.
fn sign(
    ca: &SigningCa,
    subject: &[u8],
    names: Option<(&[u8], bool)>,
    dates: (i64, i64),
    order: &LeafOrder<'_>,
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, SignError> {
    let authority = &ca.authority;
    let (not_before, not_after) = clip(dates, authority.validity(), order).ok_or(SignError::Validity)?;
    let fields = Fields {
        serial: &random_serial(random).ok_or(SignError::Crypto)?,
        issuer: authority.subject(),
        subject,
        public_key: order.public_key,
        not_before,
        not_after,
        extensions: extensions(authority, names).map_err(|_| SignError::Original)?,
    };
    fields.sign(&ca.key).ok_or(SignError::Crypto)
}

/// The part of the original's validity that the copy gets; `None`: nothing is left.
///
/// Inside the original's and the CA's validity, and not longer than `max_days`. It begins a little before now, for clients
/// whose clocks are behind. The dates of an original that is expired or not yet valid stay what they are, so that clients
/// see for themselves; an expired one may be older than the CA.
fn clip(original: (i64, i64), ca: (i64, i64), order: &LeafOrder<'_>) -> Option<(i64, i64)> {
    let longest = i64::from(order.max_days.max(1)) * DAY;
    let earliest = if original.1 < order.now {
        original.1.saturating_sub(longest)
    } else {
        ca.0.max(order.now - DAY.min(longest / 4))
    };
    let not_before = original.0.max(earliest).max(0);
    let not_after = original.1.min(ca.1).min(not_before.saturating_add(longest));
    (not_before <= not_after).then_some((not_before, not_after))
}

/// Only these: no CRL or OCSP pointers but to our own CRL, no policies, no SCTs, no must-staple. They are promises of the original's CA, which
/// ours cannot keep. No subjectKeyIdentifier: leaves need none (RFC 5280 §4.2.1.2), and one that is not derived from the
/// key breaks SChannel.
fn extensions(authority: &Authority, names: Option<(&[u8], bool)>) -> der::Result<Vec<Extension>> {
    let mut out = vec![
        extension(oid::BASIC_CONSTRAINTS, true, &BasicConstraints { ca: false, path_len_constraint: None })?,
        extension(oid::KEY_USAGE, true, &KeyUsage(KeyUsages::DigitalSignature.into()))?,
        extension(oid::EXTENDED_KEY_USAGE, false, &ExtendedKeyUsage(vec![oid::SERVER_AUTH]))?,
    ];
    if let Some(id) = authority.key_id() {
        out.push(extension(oid::AUTHORITY_KEY_ID, false, &authority_key_id(id)?)?);
    }
    if let Some(address) = authority.crl_url() {
        let names = vec![GeneralName::UniformResourceIdentifier(Ia5String::new(address)?)];
        let point = DistributionPoint {
            distribution_point: Some(DistributionPointName::FullName(names)),
            reasons: None,
            crl_issuer: None,
        };
        out.push(extension(oid::CRL_DISTRIBUTION_POINTS, false, &CrlDistributionPoints(vec![point]))?);
    }
    if let Some((value, critical)) = names {
        out.push(Extension {
            extn_id: oid::SUBJECT_ALT_NAME,
            critical,
            extn_value: OctetString::new(value)?,
        });
    }
    Ok(out)
}

pub(super) fn authority_key_id(id: &[u8]) -> der::Result<AuthorityKeyIdentifier> {
    Ok(AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(id)?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    })
}

pub(super) fn extension(
    oid: der::asn1::ObjectIdentifier,
    critical: bool,
    value: &impl Encode,
) -> der::Result<Extension> {
    Ok(Extension { extn_id: oid, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// What a certificate of ours says. Names and keys are DER.
pub(super) struct Fields<'a> {
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) public_key: &'a [u8],
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) extensions: Vec<Extension>,
}

impl Fields<'_> {
    /// DER of the certificate; `None`: it cannot be encoded or signed.
    pub(super) fn sign(self, key: &Key) -> Option<Vec<u8>> {
        let algorithm = key.certificate_algorithm().ok()?;
        let extensions = self.extensions.iter().map(|extension| {
            let extn_value = OctetStringRef::new(extension.extn_value.as_bytes())?;
            Ok(x509::Extension { extn_id: extension.extn_id, critical: extension.critical, extn_value })
        });
        let tbs = Tbs {
            version: Some(2),
            serial: AnyRef::new(Tag::Integer, self.serial).ok()?,
            signature: AnyRef::new(Tag::Sequence, algorithm.as_ref()).ok()?,
            issuer: AnyRef::from_der(self.issuer).ok()?,
            validity: Validity::new(time(self.not_before)?, time(self.not_after)?),
            subject: AnyRef::from_der(self.subject).ok()?,
            public_key: AnyRef::from_der(self.public_key).ok()?,
            issuer_id: None,
            subject_id: None,
            extensions: Some(extensions.collect::<der::Result<_>>().ok()?),
        };
        let tbs = tbs.to_der().ok()?;
        let signature = key.sign_certificate(&tbs).ok()?;
        assemble(&tbs, signature.algorithm, &signature.value).ok()
    }
}

/// RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from then on.
fn time(seconds: i64) -> Option<Time> {
    let since_epoch = Duration::from_secs(u64::try_from(seconds).ok()?);
    let utc = UtcTime::from_unix_duration(since_epoch).map(Time::UtcTime);
    utc.or_else(|_| GeneralizedTime::from_unix_duration(since_epoch).map(Time::GeneralTime)).ok()
}

/// 126 random bits in 16 octets: positive, and the same length always (RFC 5280 §4.1.2.2 allows 20 octets).
pub(super) fn random_serial(random: &dyn SecureRandom) -> Option<[u8; SERIAL_LEN]> {
    let mut serial = [0; SERIAL_LEN];
    random.fill(&mut serial).ok()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Some(serial)
}
