//! Certificates, their keys, and the libraries behind them: what TLS and minting both stand on.

mod certificate;
mod describe;
mod files;
#[cfg(feature = "aws-lc-rs")]
mod hkdf;
mod keys;
pub(crate) mod ocsp;
mod provider;

pub(crate) use certificate::{
    AltName, Certificate, Extension, GeneralName, KeyStrength, PublicKey, SignedBytes, Tbs, assemble,
    elements, full_name, key_bits, oid, serial_hex, tbs_bytes, whole_content, whole_list,
};
pub use describe::certificate as describe_certificate;
pub use describe::date as describe_date;
pub(crate) use describe::{attribute_text, cut, name as describe_name};
pub use files::{CaFiles, CaKey, CrlFile, RootFile, SetupError};
pub(crate) use keys::{Certified, Key, KeyError, KeyType, generate_pkcs8};
pub use provider::Provider;
