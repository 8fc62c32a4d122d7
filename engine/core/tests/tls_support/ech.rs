//! Clients' encrypted hellos, for the tests of the core and of the engine.
#![allow(unreachable_pub)]

use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::ALL_SUPPORTED_SUITES;
use rustls::pki_types::EchConfigListBytes;

/// An ECHConfigList (RFC 9849 4) with one config for `public_name`, of a key that nobody has.
fn config_list(public_name: &str) -> EchConfigListBytes<'static> {
    let (key, _) = ALL_SUPPORTED_SUITES[0].generate_key_pair().unwrap();
    let suite = ALL_SUPPORTED_SUITES[0].suite();
    let mut contents = vec![7];
    contents.extend(u16::from(suite.kem).to_be_bytes());
    contents.extend((key.0.len() as u16).to_be_bytes());
    contents.extend(&key.0);
    contents.extend([0, 4]);
    contents.extend(u16::from(suite.sym.kdf_id).to_be_bytes());
    contents.extend(u16::from(suite.sym.aead_id).to_be_bytes());
    contents.extend([64, public_name.len() as u8]);
    contents.extend(public_name.as_bytes());
    contents.extend([0, 0]);
    let mut config = vec![0xfe, 0x0d];
    config.extend((contents.len() as u16).to_be_bytes());
    config.extend(contents);
    let mut list = (config.len() as u16).to_be_bytes().to_vec();
    list.extend(config);
    list.into()
}

/// A real one: the server has to know the key.
pub fn real(public_name: &str) -> EchMode {
    EchMode::from(EchConfig::new(config_list(public_name), ALL_SUPPORTED_SUITES).unwrap())
}

/// What looks like one.
pub fn grease() -> EchMode {
    let (key, _) = ALL_SUPPORTED_SUITES[0].generate_key_pair().unwrap();
    EchMode::from(EchGreaseConfig::new(ALL_SUPPORTED_SUITES[0], key))
}
