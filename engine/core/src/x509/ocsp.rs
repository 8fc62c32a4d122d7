//! The messages of OCSP (RFC 6960 §4.2.1, §4.1.1) in DER: read from servers' staples, written for ours.

use x509_cert::der::Sequence;
use x509_cert::der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier};

/// `id-pkix-ocsp-basic`.
pub(crate) const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
pub(crate) const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
pub(crate) const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// `OCSPResponse`.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Response<'a> {
    /// ENUMERATED; 0: successful.
    pub(crate) status: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) bytes: Option<ResponseBytes<'a>>,
}

/// `ResponseBytes`.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct ResponseBytes<'a> {
    pub(crate) kind: ObjectIdentifier,
    /// OCTET STRING: of the kind [`BASIC`] a [`Basic`].
    pub(crate) response: AnyRef<'a>,
}

/// `BasicOCSPResponse`.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Basic<'a> {
    /// What is signed: [`Data`].
    pub(crate) data: AnyRef<'a>,
    pub(crate) algorithm: AnyRef<'a>,
    pub(crate) signature: BitStringRef<'a>,
    /// SEQUENCE OF Certificate.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) certificates: Option<AnyRef<'a>>,
}

/// `ResponseData`.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Data<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) version: Option<u8>,
    /// `[1] Name` or `[2] KeyHash`, both with an inner tag.
    pub(crate) responder: AnyRef<'a>,
    pub(crate) produced_at: GeneralizedTime,
    /// SEQUENCE OF [`Single`].
    pub(crate) responses: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extensions: Option<AnyRef<'a>>,
}

/// `SingleResponse`.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Single<'a> {
    pub(crate) id: CertId<'a>,
    /// `[0]`: good; `[1]`: revoked; `[2]`: unknown.
    pub(crate) status: AnyRef<'a>,
    pub(crate) this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extensions: Option<AnyRef<'a>>,
}

/// `CertID`.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct CertId<'a> {
    pub(crate) hash: AlgorithmId<'a>,
    /// OCTET STRING: hash of the issuer's name, DER with its header.
    pub(crate) name_hash: AnyRef<'a>,
    /// OCTET STRING: hash of the bits of the issuer's key.
    pub(crate) key_hash: AnyRef<'a>,
    pub(crate) serial: AnyRef<'a>,
}

/// `AlgorithmIdentifier` of a hash.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct AlgorithmId<'a> {
    pub(crate) algorithm: ObjectIdentifier,
    #[asn1(optional = "true")]
    pub(crate) parameters: Option<AnyRef<'a>>,
}
