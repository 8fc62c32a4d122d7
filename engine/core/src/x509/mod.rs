//! Certificates, their keys, and the libraries behind them: what TLS and minting both stand on.

mod certificate;
mod describe;
mod files;
mod keys;
mod provider;

pub(crate) use certificate::{
    AltName, Certificate, GeneralName, KeyStrength, PublicKey, Tbs, assemble, key_bits, oid, serial_hex,
    whole_content, whole_list,
};
pub use describe::certificate as describe_certificate;
pub use describe::date as describe_date;
pub(crate) use describe::{attribute_text, cut, name as describe_name};
pub use files::{CaFiles, RootFile, SetupError};
pub(crate) use keys::{Certified, Key, KeyError, KeyType, generate_pkcs8};
pub use provider::Provider;
