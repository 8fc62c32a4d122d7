//! Certificates and keys as they come from files, and what is wrong with one.

use std::fmt;
use std::sync::Arc;

use rustls::sign::SigningKey;
use zeroize::Zeroizing;

/// A CA's certificate (with those above it, if it is no root) and its private key, as read from files.
#[derive(Clone)]
pub struct CaFiles {
    /// Name of the certificate's file, for messages.
    pub cert_name: String,
    /// Its contents: PEM, the CA first.
    pub cert_pem: Vec<u8>,
    /// Name of the key's file, for messages.
    pub key_name: String,
    /// The key.
    pub key: CaKey,
}

/// The private key of a CA.
#[derive(Clone)]
pub enum CaKey {
    /// PEM of a PKCS#8, SEC 1 or PKCS#1 key.
    Pem(Zeroizing<Vec<u8>>),
    /// A key that somebody else signs with: a token.
    Token(Arc<dyn SigningKey>),
    /// Another process has it.
    Elsewhere,
}

impl CaKey {
    /// Of the contents of a PEM file.
    pub fn pem(contents: impl Into<Vec<u8>>) -> Self {
        Self::Pem(Zeroizing::new(contents.into()))
    }

    /// Both are the same bytes. Of keys that are not here, nobody knows.
    pub fn differs(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pem(a), Self::Pem(b)) => a != b,
            _ => false,
        }
    }
}

impl fmt::Debug for CaFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaFiles")
            .field("cert", &self.cert_name)
            .field("key", &self.key_name)
            .finish_non_exhaustive()
    }
}

/// A file with certificates: trusted roots, or intermediates that servers may forget.
#[derive(Clone, Debug)]
pub struct RootFile {
    /// Name of the file, for messages.
    pub name: String,
    /// Its contents: PEM certificates.
    pub pem: Vec<u8>,
}

/// A file with certificate revocation lists.
#[derive(Clone, Debug)]
pub struct CrlFile {
    /// Name of the file, for messages.
    pub name: String,
    /// Its contents: CRLs in PEM, or one in DER.
    pub contents: Vec<u8>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    /// Name of the file, as it was given.
    pub file: String,
    /// What was expected of it.
    pub expected: String,
}

impl SetupError {
    pub(crate) fn new(file: &str, expected: &str) -> Self {
        Self { file: file.to_owned(), expected: expected.to_owned() }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.file, self.expected)
    }
}

impl std::error::Error for SetupError {}
