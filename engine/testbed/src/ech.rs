//! Clients' encrypted hellos (ECH, RFC 9849).

use rustls::Error;
use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::ALL_SUPPORTED_SUITES;
use rustls::pki_types::EchConfigListBytes;

/// An ECHConfigList (RFC 9849 4) with one config for `public_name`, of a key that nobody has.
fn config_list(public_name: &str) -> Result<EchConfigListBytes<'static>, Error> {
    let (key, _) = ALL_SUPPORTED_SUITES[0].generate_key_pair()?;
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
    Ok(list.into())
}

/// A real one: the server has to know the key.
///
/// # Errors
/// When rustls takes no such name.
pub fn real(public_name: &str) -> Result<EchMode, Error> {
    EchConfig::new(config_list(public_name)?, ALL_SUPPORTED_SUITES).map(EchMode::from)
}

/// What looks like one (GREASE).
///
/// # Errors
/// When no key can be made.
pub fn grease() -> Result<EchMode, Error> {
    let (key, _) = ALL_SUPPORTED_SUITES[0].generate_key_pair()?;
    Ok(EchMode::from(EchGreaseConfig::new(ALL_SUPPORTED_SUITES[0], key)))
}
