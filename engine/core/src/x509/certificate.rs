//! X.509 certificates at the level of DER: names and keys stay the bytes they were.

use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm};
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::{self, Decode, Encode, Sequence, Tag, TagNumber, Tagged};
use x509_cert::time::Validity;

/// Object identifiers of extensions and purposes.
pub(crate) mod oid {
    use super::ObjectIdentifier;

    pub(crate) const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
    pub(crate) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
    pub(crate) const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
    pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
    pub(crate) const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
    pub(crate) const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
    pub(crate) const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
    pub(crate) const ANY_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32.0");
    pub(crate) const POLICY_MAPPINGS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.33");
    pub(crate) const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
    pub(crate) const POLICY_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.36");
    pub(crate) const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
    pub(crate) const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
    pub(crate) const INHIBIT_ANY_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.54");
    pub(crate) const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");
    pub(crate) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
    pub(crate) const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
    pub(crate) const AUTHORITY_INFO_ACCESS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
    pub(crate) const TLS_FEATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");

    pub(crate) const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
    pub(crate) const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");
}

/// `TBSCertificate` (RFC 5280 §4.1.2). Read from servers' certificates, written for ours.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(crate) struct Tbs<'a> {
    /// 2 means version 3; absent means version 1.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) version: Option<u8>,
    pub(crate) serial: AnyRef<'a>,
    pub(crate) signature: AnyRef<'a>,
    pub(crate) issuer: AnyRef<'a>,
    pub(crate) validity: Validity,
    pub(crate) subject: AnyRef<'a>,
    pub(crate) public_key: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) issuer_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) subject_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extensions: Option<Vec<Extension<'a>>>,
}

/// `Extension` (RFC 5280 §4.1), with its value where it lies: a costly chain is parsed in each step of its verification.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(crate) struct Extension<'a> {
    pub(crate) extn_id: ObjectIdentifier,
    #[asn1(default = "bool::default")]
    pub(crate) critical: bool,
    pub(crate) extn_value: &'a OctetStringRef,
}

/// `Certificate` (RFC 5280 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct Signed<'a> {
    tbs: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

/// `SubjectPublicKeyInfo` (RFC 5280 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Sequence)]
struct PublicKeyInfo<'a> {
    algorithm: AnyRef<'a>,
    key: BitStringRef<'a>,
}

/// A parsed certificate that borrows its DER.
#[derive(Clone, Debug)]
pub(crate) struct Certificate<'a> {
    /// What is signed, parsed.
    pub(crate) tbs: Tbs<'a>,
    signed: Signed<'a>,
    der: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Parses one certificate and nothing after it.
    pub(crate) fn parse(der: &'a [u8]) -> der::Result<Self> {
        let signed = Signed::from_der(der)?;
        // Its content is the body of a SEQUENCE, but the type parses with the header, which is where it stands in `der`.
        let tbs = Tbs::from_der(tbs_bytes(der)?)?;
        tbs.serial.tag().assert_eq(Tag::Integer)?;
        Ok(Self { tbs, signed, der })
    }

    /// All of it, as it was given.
    pub(crate) fn der(&self) -> &'a [u8] {
        self.der
    }

    /// The bytes that the issuer signed.
    fn tbs_bytes(&self) -> &'a [u8] {
        tbs_bytes(self.der).unwrap_or_default()
    }

    /// Issuer and subject are the same name.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.tbs.issuer == self.tbs.subject
    }

    /// Whether `public_key`, a SubjectPublicKeyInfo, made this certificate's signature.
    pub(crate) fn is_signed_by(
        &self,
        public_key: AnyRef<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let Signed { tbs: _, algorithm, signature } = self.signed;
        SignedBytes { bytes: self.tbs_bytes(), algorithm, signature }.is_signed_by(public_key, algorithms)
    }

    /// The algorithm of the issuer's signature.
    pub(crate) fn signature_algorithm(&self) -> Option<ObjectIdentifier> {
        algorithm_oid(self.signed.algorithm)
    }

    /// Whether one of `algorithms` is the one of the issuer's signature, parameters included.
    pub(crate) fn is_signed_with_any(&self, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        algorithms.iter().any(|a| a.signature_alg_id().as_ref() == self.signed.algorithm.value())
    }

    /// RFC 5280 §4.1.1.2: the algorithm of the signature stands in what is signed, too.
    pub(crate) fn names_one_signature_algorithm(&self) -> bool {
        self.signed.algorithm == self.tbs.signature
    }

    /// The extension's value, and whether it is critical.
    pub(crate) fn extension(&self, oid: ObjectIdentifier) -> Option<(&'a [u8], bool)> {
        let found = self.tbs.extensions.as_deref()?.iter().find(|e| e.extn_id == oid)?;
        Some((found.extn_value.as_bytes(), found.critical))
    }

    /// An extension, decoded. `None`: absent. `Some(Err)`: malformed.
    pub(crate) fn decode_extension<'e, T: Decode<'e>>(
        &'e self,
        oid: ObjectIdentifier,
    ) -> Option<Result<T, T::Error>> {
        self.extension(oid).map(|(value, _)| T::from_der(value))
    }

    /// DNS names and addresses of the subjectAltName, up to the first entry that is malformed. Others are passed over, so is a DNS
    /// name that is not ASCII. One after the other: a server may list thousands.
    pub(crate) fn alt_names(&self) -> impl Iterator<Item = AltName<'_>> {
        let list = self.extension(oid::SUBJECT_ALT_NAME).and_then(|(value, _)| AnyRef::from_der(value).ok());
        elements(list.map_or(&[], |list| list.value())).filter_map(|name| match name.tag() {
            AltName::DNS => {
                str::from_utf8(name.value()).ok().filter(|name| name.is_ascii()).map(AltName::Dns)
            }
            AltName::IP => Some(AltName::Ip(name.value())),
            _ => None,
        })
    }

    /// `http:` addresses under which its authorityInfoAccess (RFC 5280 §4.2.2.1) has what `method` says.
    pub(crate) fn access(&self, method: ObjectIdentifier) -> Vec<&str> {
        let list = self.extension(oid::AUTHORITY_INFO_ACCESS).and_then(|(value, _)| whole_list(value).ok());
        let entries = list.into_iter().flatten().filter_map(|entry| {
            let mut parts = elements(entry.value());
            let kind = parts.next()?.decode_as::<ObjectIdentifier>().ok()?;
            (kind == method).then(|| parts.next().and_then(http_uri)).flatten()
        });
        entries.take(MAX_ADDRESSES).collect()
    }

    /// `http:` addresses of its whole CRLs, for all reasons and by its own issuer (RFC 5280 §4.2.1.13).
    pub(crate) fn crl_addresses(&self) -> Vec<&str> {
        let points =
            self.extension(oid::CRL_DISTRIBUTION_POINTS).and_then(|(value, _)| whole_list(value).ok());
        let names = points.into_iter().flatten().flat_map(|point| {
            let parts: Vec<_> = elements(point.value()).collect();
            match parts[..] {
                [name] => full_name(name),
                // Of some reasons, or by another issuer.
                _ => Vec::new(),
            }
        });
        names.take(MAX_ADDRESSES).collect()
    }

    /// RFC 7633: it demands that servers staple an OCSP response.
    pub(crate) fn must_staple(&self) -> bool {
        /// `status_request` (RFC 6066 §8).
        const STATUS_REQUEST: &[u8] = &[5];
        self.extension(oid::TLS_FEATURE)
            .and_then(|(value, _)| whole_list(value).ok())
            .is_some_and(|features| features.iter().any(|feature| feature.value() == STATUS_REQUEST))
    }

    /// `notBefore`, seconds since the Unix epoch.
    pub(crate) fn not_before(&self) -> i64 {
        seconds(self.tbs.validity.not_before.to_unix_duration())
    }

    /// `notAfter`, likewise.
    pub(crate) fn not_after(&self) -> i64 {
        seconds(self.tbs.validity.not_after.to_unix_duration())
    }
}

/// Bytes and a signature over them: of a certificate, a CRL, an OCSP response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedBytes<'a> {
    /// What is signed, DER with its header.
    pub(crate) bytes: &'a [u8],
    /// AlgorithmIdentifier.
    pub(crate) algorithm: AnyRef<'a>,
    pub(crate) signature: BitStringRef<'a>,
}

impl<'a> SignedBytes<'a> {
    /// A SEQUENCE of the three (RFC 5280 §4.1, §5.1) and nothing after it.
    pub(crate) fn parse(der: &'a [u8]) -> der::Result<Self> {
        let Signed { tbs: _, algorithm, signature } = Signed::from_der(der)?;
        Ok(Self { bytes: tbs_bytes(der)?, algorithm, signature })
    }

    /// Whether `public_key`, a SubjectPublicKeyInfo, made the signature.
    pub(crate) fn is_signed_by(
        &self,
        public_key: AnyRef<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let (Ok(key), Some(signature)) =
            (public_key.decode_as::<PublicKeyInfo<'_>>(), self.signature.as_bytes())
        else {
            return false;
        };
        let Some(key_bytes) = key.key.as_bytes() else { return false };
        if self.algorithm.tag() != Tag::Sequence {
            return false;
        }
        algorithms
            .iter()
            .filter(|a| {
                a.signature_alg_id().as_ref() == self.algorithm.value()
                    && a.public_key_alg_id().as_ref() == key.algorithm.value()
            })
            .any(|a| a.verify_signature(key_bytes, self.bytes, signature).is_ok())
    }
}

/// A name in a subjectAltName (RFC 5280 §4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AltName<'a> {
    /// `dNSName`, in ASCII.
    Dns(&'a str),
    /// `iPAddress`: the octets as they stand there.
    Ip(&'a [u8]),
}

impl AltName<'_> {
    const DNS: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber(2) };
    const IP: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber(7) };
}

/// A name of a subjectAltName or of a subtree, by the number of its tag (RFC 5280 §4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GeneralName<'a> {
    /// What kind of name.
    pub(crate) kind: TagNumber,
    /// Its content; of a directoryName the DER of the Name.
    pub(crate) value: &'a [u8],
}

impl<'a> GeneralName<'a> {
    pub(crate) const RFC822: TagNumber = TagNumber(1);
    pub(crate) const DNS: TagNumber = TagNumber(2);
    pub(crate) const URI: TagNumber = TagNumber(6);
    pub(crate) const DIRECTORY: TagNumber = TagNumber(4);
    pub(crate) const IP: TagNumber = TagNumber(7);

    /// None: another tag than a GeneralName has.
    pub(crate) fn of(element: AnyRef<'a>) -> Option<Self> {
        match element.tag() {
            Tag::ContextSpecific { number, .. } => Some(Self { kind: number, value: element.value() }),
            _ => None,
        }
    }
}

/// Addresses of one kind that are read from a certificate.
const MAX_ADDRESSES: usize = 4;

/// The `http:` addresses in the `fullName` of a DistributionPointName, with its outer tag (RFC 5280 §4.2.1.13, §5.2.5).
pub(crate) fn full_name(point: AnyRef<'_>) -> Vec<&str> {
    const FIRST: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    let inner = elements(point.value()).next();
    match inner {
        Some(names) if point.tag() == FIRST && names.tag() == FIRST => {
            elements(names.value()).filter_map(http_uri).collect()
        }
        _ => Vec::new(),
    }
}

/// A GeneralName that is an address of HTTP without TLS.
fn http_uri(name: AnyRef<'_>) -> Option<&str> {
    let name = GeneralName::of(name).filter(|name| name.kind == GeneralName::URI)?;
    let uri = str::from_utf8(name.value).ok().filter(|uri| uri.is_ascii())?;
    uri.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).map(|_| uri)
}

/// All elements in a SEQUENCE or SET, and nothing after it.
pub(crate) fn whole_list(der: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let list = AnyRef::from_der(der)?;
    if ![Tag::Sequence, Tag::Set].contains(&list.tag()) {
        return Err(list.tag().value_error().into());
    }
    whole_content(list.value())
}

/// All elements of what is in one.
pub(crate) fn whole_content(content: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let mut reader = der::SliceReader::new(content)?;
    let mut found = Vec::new();
    while !der::Reader::is_finished(&reader) {
        found.push(AnyRef::decode(&mut reader)?);
    }
    Ok(found)
}

/// The elements in the content of a SEQUENCE or SET, up to the first that is malformed.
pub(crate) fn elements(content: &[u8]) -> impl Iterator<Item = AnyRef<'_>> {
    let mut reader = der::SliceReader::new(content).ok();
    std::iter::from_fn(move || {
        let reader = reader.as_mut().filter(|reader| !der::Reader::is_finished(*reader))?;
        AnyRef::decode(reader).ok()
    })
    .fuse()
}

/// `tbsCertificate` with its header: the first element inside the outer SEQUENCE.
pub(crate) fn tbs_bytes(der: &[u8]) -> der::Result<&[u8]> {
    use der::{Reader, SliceReader};
    let mut outer = SliceReader::new(der)?;
    let header = der::Header::decode(&mut outer)?;
    header.tag().assert_eq(Tag::Sequence)?;
    outer.tlv_bytes()
}

fn seconds(since_epoch: std::time::Duration) -> i64 {
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

fn algorithm_oid(algorithm: AnyRef<'_>) -> Option<ObjectIdentifier> {
    let mut reader = der::SliceReader::new(algorithm.value()).ok()?;
    ObjectIdentifier::decode(&mut reader).ok()
}

/// Kind and size of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// RSA, length of the modulus in bits.
    Rsa(usize),
    /// A point on a named curve.
    Ec(ObjectIdentifier),
    /// Something else.
    Other(ObjectIdentifier),
}

impl PublicKey {
    const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
    const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    pub(crate) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
    pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn parse(info: AnyRef<'_>) -> Option<Self> {
        let info: PublicKeyInfo<'_> = info.decode_as().ok()?;
        let mut algorithm = der::SliceReader::new(info.algorithm.value()).ok()?;
        let kind = ObjectIdentifier::decode(&mut algorithm).ok()?;
        match kind {
            Self::EC => ObjectIdentifier::decode(&mut algorithm).ok().map(Self::Ec),
            Self::RSA => {
                let key = RsaPublicKey::from_der(info.key.as_bytes()?).ok()?;
                let modulus = key.modulus.as_bytes();
                let leading = modulus.first()?.leading_zeros() as usize;
                Some(Self::Rsa(modulus.len() * 8 - leading))
            }
            other => Some(Self::Other(other)),
        }
    }
}

/// Whether a key can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyStrength {
    /// RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519.
    Good,
    /// Shorter, or DSA.
    Weak,
    /// Nothing is said against it, but no signature of it can be verified.
    Unsupported,
}

impl PublicKey {
    /// Curves of fewer than 256 bits that certificates have been made with (RFC 5480 §2.1.1.1, RFC 5639 §3).
    const WEAK_CURVES: [&str; 9] = [
        "1.2.840.10045.3.1.1",
        "1.3.132.0.33",
        "1.3.132.0.8",
        "1.3.132.0.9",
        "1.3.132.0.30",
        "1.3.132.0.31",
        "1.3.132.0.32",
        "1.3.132.0.1",
        "1.3.132.0.15",
    ];
    const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");

    /// Whether it can be relied on.
    pub(crate) fn strength(&self) -> KeyStrength {
        match *self {
            Self::Rsa(bits) if bits >= 2048 => KeyStrength::Good,
            Self::Ec(Self::P256 | Self::P384 | Self::P521) | Self::Other(Self::ED25519) => KeyStrength::Good,
            Self::Rsa(_) | Self::Other(Self::DSA) => KeyStrength::Weak,
            Self::Ec(curve) if Self::WEAK_CURVES.contains(&curve.to_string().as_str()) => KeyStrength::Weak,
            Self::Ec(_) | Self::Other(_) => KeyStrength::Unsupported,
        }
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(Self::P256) => f.write_str("EC P-256"),
            Self::Ec(Self::P384) => f.write_str("EC P-384"),
            Self::Ec(Self::P521) => f.write_str("EC P-521"),
            Self::Ec(other) => write!(f, "EC {other}"),
            Self::Other(Self::ED25519) => f.write_str("Ed25519"),
            Self::Other(other) => write!(f, "{other}"),
        }
    }
}

/// The bits of the key in a SubjectPublicKeyInfo.
pub(crate) fn key_bits(public_key: &[u8]) -> Option<&[u8]> {
    PublicKeyInfo::from_der(public_key).ok()?.key.as_bytes()
}

/// RFC 8017 §A.1.1.
#[derive(Clone, Debug, Sequence)]
struct RsaPublicKey<'a> {
    modulus: der::asn1::UintRef<'a>,
    exponent: der::asn1::UintRef<'a>,
}

/// Puts a signature to a to-be-signed certificate.
pub(crate) fn assemble(tbs: &[u8], algorithm: AlgorithmIdentifier, signature: &[u8]) -> der::Result<Vec<u8>> {
    Signed {
        tbs: AnyRef::from_der(tbs)?,
        algorithm: AnyRef::new(Tag::Sequence, algorithm.as_ref())?,
        signature: BitStringRef::from_bytes(signature)?,
    }
    .to_der()
}

/// Octets of a serial number that are shown.
const MAX_SERIAL: usize = 64;

/// Upper-case hex pairs with colons, as Suricata prints serials.
pub(crate) fn serial_hex(serial: AnyRef<'_>) -> String {
    debug_assert_eq!(serial.tag(), Tag::Integer);
    let mut bytes = serial.value();
    // The sign byte of a positive INTEGER is not part of the number.
    if let [0, rest @ ..] = bytes
        && !rest.is_empty()
    {
        bytes = rest;
    }
    // RFC 5280 §4.1.2.2 allows 20 octets; a server may show 60,000.
    let pairs: Vec<String> = bytes.iter().take(MAX_SERIAL).map(|b| format!("{b:02X}")).collect();
    pairs.join(":")
}
