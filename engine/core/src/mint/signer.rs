//! Whoever has the CAs' keys: in this process, or in another that nothing of the network reaches.
//!
//! A signer is not given bytes to sign. It is shown what is to be copied, and writes the certificate itself: so there is nothing in it that
//! it would have to look for, and find wrong.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use crate::reason::Reason;

/// What a leaf is to be for.
#[derive(Clone, Copy, Debug)]
pub enum LeafSubject<'a> {
    /// A server that has presented this certificate, in DER.
    Copy {
        /// Its own.
        original: &'a [u8],
        /// What it presented beside that.
        others: &'a [CertificateDer<'a>],
        /// What it forgot to present, and was known.
        added: &'a [Arc<[u8]>],
    },
    /// A name in whose place the engine itself answers.
    Name(&'a str),
}

/// A leaf that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct LeafOrder<'a> {
    /// The CA, by what [`CaVault::fingerprints`](super::CaVault::fingerprints) calls it.
    pub ca: [u8; 32],
    /// What it is for.
    pub subject: LeafSubject<'a>,
    /// DER of the leaf's SubjectPublicKeyInfo.
    pub public_key: &'a [u8],
    /// Longest validity, in days.
    pub max_days: u32,
    /// Now, in seconds since the Unix epoch.
    pub now: i64,
}

/// Has the keys of both CAs, and signs with them.
pub trait CaSigner: Send + Sync {
    /// DER of a leaf.
    ///
    /// # Errors
    /// See [`SignError`].
    fn leaf(&self, order: &LeafOrder<'_>) -> Result<Vec<u8>, SignError>;

    /// DER of an OCSP response of this CA: the leaf with this serial number, the content of its INTEGER, is good. `now` as in an order.
    ///
    /// # Errors
    /// See [`SignError`].
    fn status(&self, ca: [u8; 32], serial: &[u8], now: i64) -> Result<Vec<u8>, SignError>;
}

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignError {
    /// The original is not a certificate, or the name not one.
    Original,
    /// The original and the CA are never valid at the same time.
    Validity,
    /// No random numbers, or the library or the token failed.
    Crypto,
    /// The signer does not answer.
    Unanswered,
    /// The signer may not.
    Refused(Refusal),
}

/// What a signer does not do, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no such CA.
    OtherCa,
    /// The leaf's key is weak, malformed, or the CA's own.
    Key,
    /// The trusted CA signs no copy of a certificate with this defect.
    Defect(Reason),
    /// A name is not within the name constraints of the CA.
    Constraints,
    /// No rule of the configuration answers in a server's place, or it is not the trusted CA.
    Answer,
    /// More than may be signed in a second.
    Rate,
    /// More than is looked at.
    Size,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCa => f.write_str("it has another CA"),
            Self::Key => f.write_str("the leaf's key is weak, malformed or the CA's own"),
            Self::Defect(reason) => write!(f, "the original has a defect that no profile allows: {reason}"),
            Self::Constraints => f.write_str("a name is outside the CA's name constraints"),
            Self::Answer => f.write_str("no rule answers in a server's place"),
            Self::Rate => f.write_str("more than may be signed in a second"),
            Self::Size => f.write_str("the original's chain is too long"),
        }
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => f.write_str("the server's certificate cannot be copied"),
            Self::Validity => {
                f.write_str("the server's certificate and the CA's are never valid at the same time")
            }
            Self::Crypto => f.write_str("the crypto provider or the token failed"),
            Self::Unanswered => f.write_str("the signer does not answer"),
            Self::Refused(refusal) => write!(f, "the signer refuses: {refusal}"),
        }
    }
}

impl std::error::Error for SignError {}
