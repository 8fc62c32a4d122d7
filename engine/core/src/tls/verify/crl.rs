//! Certificate revocation lists (RFC 5280 §5) of files, kept as they are, with an index of their serial numbers.

use std::sync::Arc;

use hashbrown::HashMap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, SignatureVerificationAlgorithm};
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Tag, TagNumber, Tagged};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::time::Time;

use super::revocation::{Answer, Asked, Status};
use crate::lock::Lock;
use crate::x509::{CrlFile, SetupError, SignedBytes, elements, full_name, oid, tbs_bytes};

/// Keys of which it is remembered whether they have signed a list: CAs of one name may have several.
const MAX_KEYS: usize = 4;
/// The longest serial number that a list may have, in bytes (RFC 5280 §4.1.2.2 allows 20).
const LONGEST_SERIAL: usize = 64;

const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const DELTA_CRL_INDICATOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const CERTIFICATE_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.29");

/// One list.
#[derive(Debug)]
pub(in crate::tls) struct Crl {
    der: Vec<u8>,
    /// Content of the issuer's name.
    issuer: Vec<u8>,
    /// Seconds since the Unix epoch.
    this_update: i64,
    next_update: Option<i64>,
    scope: Scope,
    /// Where the serial numbers stand in `der`, in their order.
    serials: Vec<Place>,
    /// Whether a key, by its SHA-256, has signed it.
    signers: Lock<Vec<([u8; 32], bool)>>,
}

/// Where bytes stand.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u32,
    len: u8,
}

/// Which certificates a list is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    /// Those whose cRLDistributionPoints have one of these addresses; none: all.
    addresses: Option<Vec<String>>,
    only_leaves: bool,
    only_cas: bool,
}

impl Crl {
    /// Parses one list. The error says what was expected of it.
    pub(in crate::tls) fn parse(der: Vec<u8>) -> Result<Self, &'static str> {
        const MALFORMED: &str = "a CRL in valid DER";
        let malformed = |_| MALFORMED;
        SignedBytes::parse(&der).map_err(malformed)?;
        let list = AnyRef::from_der(tbs_bytes(&der).map_err(malformed)?).map_err(malformed)?;
        let mut parts = elements(list.value()).peekable();
        if parts.next_if(|part| part.tag() == Tag::Integer).is_some_and(|version| version.value() != [1]) {
            return Err("a CRL of version 1 or 2");
        }
        parts.next_if(|part| part.tag() == Tag::Sequence).ok_or(MALFORMED)?;
        let issuer = parts.next_if(|part| part.tag() == Tag::Sequence).ok_or(MALFORMED)?.value().to_vec();
        let this_update = parts.next().and_then(time).ok_or(MALFORMED)?;
        let next_update = parts.next_if(|part| is_time(*part)).map(|part| time(part).ok_or(MALFORMED));
        let next_update = next_update.transpose()?;
        let revoked = parts.next_if(|part| part.tag() == Tag::Sequence);
        let scope = match parts.next() {
            None => Scope::default(),
            Some(extensions) => scope(extensions)?,
        };
        if parts.next().is_some() {
            return Err(MALFORMED);
        }
        let serials = revoked.map_or(Ok(Vec::new()), |revoked| index(&der, revoked.value()))?;
        drop(parts);
        let signers = Lock::default();
        Ok(Self { issuer, this_update, next_update, scope, serials, signers, der })
    }

    /// How many certificates it revokes.
    pub(in crate::tls) fn len(&self) -> usize {
        self.serials.len()
    }

    /// Bytes of memory.
    pub(in crate::tls) fn memory(&self) -> usize {
        self.der.len() + self.serials.len() * size_of::<Place>()
    }

    /// Whether the CA of this name has made it, as it says.
    pub(in crate::tls) fn is_by(&self, name: AnyRef<'_>) -> bool {
        self.issuer == name.value()
    }

    /// When it is out of date, in seconds since the Unix epoch.
    pub(in crate::tls) fn ends(&self) -> i64 {
        self.next_update.unwrap_or(self.this_update).saturating_add(1)
    }

    /// Whether it was made later than another one.
    pub(in crate::tls) fn is_newer_than(&self, other: &Self) -> bool {
        self.this_update > other.this_update
    }

    fn has(&self, serial: &[u8]) -> bool {
        let bytes = |place: &Place| &self.der[place.at as usize..place.at as usize + usize::from(place.len)];
        self.serials.binary_search_by(|place| order(bytes(place)).cmp(&order(serial))).is_ok()
    }

    /// What it says of a certificate of its issuer, at `now` in seconds since the Unix epoch; or why it says nothing.
    ///
    /// The signature over a list takes as long as the list is; it is checked once for each key, and does not count as an effort.
    pub(in crate::tls) fn answer(
        &self,
        asked: Asked<'_>,
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
        now: i64,
    ) -> Result<Answer, &'static str> {
        if self.scope.only_leaves && asked.is_ca || self.scope.only_cas && !asked.is_ca {
            return Err("a CRL that is about other certificates");
        }
        if let Some(addresses) = &self.scope.addresses {
            let of_certificate = asked.certificate.crl_addresses();
            if !addresses.iter().any(|address| of_certificate.contains(&address.as_str())) {
                return Err("a part of a CRL that is about other certificates");
            }
        }
        let may_sign = asked.issuer.certificate.is_none_or(|issuer| {
            !matches!(issuer.decode_extension::<KeyUsage>(oid::KEY_USAGE), Some(Ok(usage)) if !usage.crl_sign())
        });
        if !may_sign || !self.is_signed_by(asked.issuer.public_key, algorithms) {
            return Err("a CRL that its issuer has not signed");
        }
        if self.has(asked.certificate.tbs.serial.value()) {
            // Revoked once, revoked always: an old list is as good as a new one.
            return Ok(Answer { status: Status::Revoked(None), until: i64::MAX });
        }
        if now < self.this_update {
            return Err("a CRL of the future");
        }
        match self.next_update {
            Some(next_update) if now <= next_update => {
                Ok(Answer { status: Status::Good, until: next_update.saturating_add(1) })
            }
            Some(_) => Err("a CRL that is out of date"),
            // RFC 5280 §5.1.2.5 demands one.
            None => Err("a CRL without nextUpdate"),
        }
    }

    fn is_signed_by(
        &self,
        public_key: AnyRef<'_>,
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let key = Sha256::digest(public_key.value()).into();
        let mut signers = self.signers.lock();
        if let Some((_, is_signer)) = signers.iter().find(|(known, _)| *known == key) {
            return *is_signer;
        }
        if signers.len() == MAX_KEYS {
            // Whoever has signed it is not forgotten for others.
            let Some(other) = signers.iter().position(|(_, is_signer)| !is_signer) else { return false };
            signers.remove(other);
        }
        let algorithms: Vec<_> =
            algorithms.iter().map(|a| *a as &dyn SignatureVerificationAlgorithm).collect();
        let is_signer =
            SignedBytes::parse(&self.der).is_ok_and(|list| list.is_signed_by(public_key, &algorithms));
        signers.push((key, is_signer));
        is_signer
    }
}

/// Lists by their issuers.
#[derive(Debug, Default)]
pub(in crate::tls) struct Crls {
    by_issuer: HashMap<Vec<u8>, Vec<Arc<Crl>>>,
}

impl Crls {
    /// Takes those in files. The error names the file, and what was expected of it.
    pub(in crate::tls) fn load(files: &[CrlFile]) -> Result<Self, SetupError> {
        let mut crls = Self::default();
        for file in files {
            let wrong = |expected: &str| SetupError::new(&file.name, expected);
            let pem = CertificateRevocationListDer::pem_slice_iter(&file.contents)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| wrong("CRLs in PEM, or one in DER"))?;
            let ders = match pem.is_empty() {
                true => vec![file.contents.clone()],
                false => pem.into_iter().map(|der| der.to_vec()).collect(),
            };
            for der in ders {
                crls.add(Arc::new(Crl::parse(der).map_err(wrong)?));
            }
        }
        Ok(crls)
    }

    /// Adds one. Older ones of its issuer stay: what they revoke is revoked.
    pub(in crate::tls) fn add(&mut self, crl: Arc<Crl>) {
        self.by_issuer.entry(crl.issuer.clone()).or_default().push(crl);
    }

    pub(super) fn of(&self, issuer: AnyRef<'_>) -> &[Arc<Crl>] {
        self.by_issuer.get(issuer.value()).map_or(&[], Vec::as_slice)
    }

    /// Lists, and certificates that they revoke.
    pub(in crate::tls) fn count(&self) -> (usize, usize) {
        let all = self.by_issuer.values().flatten();
        all.fold((0, 0), |(lists, revoked), crl| (lists + 1, revoked + crl.len()))
    }

    /// What makes other lists others.
    pub(in crate::tls) fn digest(&self) -> [u8; 32] {
        let mut all: Vec<_> = self.by_issuer.values().flatten().map(|crl| Sha256::digest(&crl.der)).collect();
        all.sort_unstable();
        all.iter().fold(Sha256::new(), |digest, one| digest.chain_update(one)).finalize().into()
    }
}

fn is_time(part: AnyRef<'_>) -> bool {
    [Tag::UtcTime, Tag::GeneralizedTime].contains(&part.tag())
}

fn time(part: AnyRef<'_>) -> Option<i64> {
    let time = part.to_der().ok().and_then(|der| Time::from_der(&der).ok())?;
    i64::try_from(time.to_unix_duration().as_secs()).ok()
}

/// An order of serial numbers, for the search.
fn order(serial: &[u8]) -> (usize, &[u8]) {
    (serial.len(), serial)
}

/// The serial numbers in `revoked`, a part of `der`.
fn index(der: &[u8], revoked: &[u8]) -> Result<Vec<Place>, &'static str> {
    const MALFORMED: &str = "a CRL in valid DER";
    let start = der.as_ptr() as usize;
    let mut read = 0;
    let mut serials = Vec::new();
    for entry in elements(revoked) {
        read += entry
            .encoded_len()
            .map_err(|_| MALFORMED)
            .and_then(|len| usize::try_from(len).map_err(|_| MALFORMED))?;
        let mut parts = elements(entry.value());
        let serial = parts.next().filter(|serial| serial.tag() == Tag::Integer).ok_or(MALFORMED)?;
        parts.next().filter(|part| is_time(*part)).ok_or(MALFORMED)?;
        if let Some(extensions) = parts.next() {
            for extension in elements(extensions.value()) {
                let extension: Extension = extension.decode_as().map_err(|_| MALFORMED)?;
                if extension.extn_id == CERTIFICATE_ISSUER || extension.critical {
                    return Err(
                        "a CRL of its own issuer's certificates; this one is indirect, or has a critical extension that is not known",
                    );
                }
            }
        }
        let value = serial.value();
        let at = u32::try_from(value.as_ptr() as usize - start).map_err(|_| MALFORMED)?;
        let len = u8::try_from(value.len()).ok().filter(|len| usize::from(*len) <= LONGEST_SERIAL);
        serials.push(Place { at, len: len.ok_or("a CRL with serial numbers of at most 64 bytes")? });
    }
    // The elements end at what is malformed: a list that breaks off would let certificates pass.
    if read != revoked.len() {
        return Err(MALFORMED);
    }
    serials.sort_unstable_by(|a, b| {
        let bytes = |place: &Place| &der[place.at as usize..place.at as usize + usize::from(place.len)];
        order(bytes(a)).cmp(&order(bytes(b)))
    });
    Ok(serials)
}

/// What the extensions say about the scope of a list (RFC 5280 §5.2).
fn scope(extensions: AnyRef<'_>) -> Result<Scope, &'static str> {
    const MALFORMED: &str = "a CRL in valid DER";
    const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    if extensions.tag() != EXTENSIONS {
        return Err(MALFORMED);
    }
    let list = Vec::<Extension>::from_der(extensions.value()).map_err(|_| MALFORMED)?;
    let mut scope = Scope::default();
    for extension in list {
        match extension.extn_id {
            ISSUING_DISTRIBUTION_POINT => {
                let value = extension.extn_value.as_bytes();
                let point = AnyRef::from_der(value).map_err(|_| MALFORMED)?;
                for part in elements(point.value()) {
                    let Tag::ContextSpecific { number: TagNumber(number), .. } = part.tag() else {
                        return Err(MALFORMED);
                    };
                    match number {
                        0 => {
                            scope.addresses = Some(full_name(part).into_iter().map(str::to_owned).collect());
                        }
                        1 => scope.only_leaves = part.value() != [0],
                        2 => scope.only_cas = part.value() != [0],
                        _ if part.value() == [0] => {}
                        _ => {
                            return Err(
                                "a CRL of its own issuer's certificates and for all reasons; this one is indirect, of some reasons, or of attribute certificates",
                            );
                        }
                    }
                }
            }
            DELTA_CRL_INDICATOR => return Err("a complete CRL; this one is a delta CRL"),
            _ if extension.critical => return Err("a CRL without critical extensions that are not known"),
            _ => {}
        }
    }
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams,
        SerialNumber, date_time_ymd,
    };

    use super::*;

    fn list(serials: &[u64]) -> Crl {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2027, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2027, 1, 1),
            next_update: date_time_ymd(2027, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let (ca, key) = (CertificateParams::new(vec![]).unwrap(), KeyPair::generate().unwrap());
        let made = params.signed_by(&Issuer::from_params(&ca, &key)).unwrap();
        Crl::parse(made.der().to_vec()).unwrap()
    }

    #[test]
    fn memory_has_the_list_and_its_index() {
        let (none, three) = (list(&[]), list(&[7, 8, 9]));
        assert_eq!((none.memory(), none.len()), (none.der.len(), 0));
        assert_eq!((three.memory(), three.len()), (three.der.len() + 3 * size_of::<Place>(), 3));
    }

    #[test]
    fn lists_differ_in_what_they_are_and_not_in_their_order() {
        let [a, b] = [list(&[7]), list(&[8, 9])].map(Arc::new);
        let of = |all: &[&Arc<Crl>]| {
            let mut crls = Crls::default();
            all.iter().for_each(|crl| crls.add(Arc::clone(crl)));
            (crls.count(), crls.digest())
        };
        let both = of(&[&a, &b]);
        assert_eq!((both.0, both), ((2, 3), of(&[&b, &a])));
        assert!(of(&[]).1 != of(&[&a]).1 && of(&[&a]).1 != of(&[&b]).1 && of(&[&a]).1 != both.1);
    }
}
