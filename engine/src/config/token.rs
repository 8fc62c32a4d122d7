//! Keys of the CAs at tokens, as a configuration names them.

use std::path::{Path, PathBuf};

use wireglass_core::x509::CaKey;

use super::passphrase::Passphrase;
use super::reader::Value;

/// What such a name begins with.
pub(super) const SCHEME: &str = "pkcs11:";

/// A key of this name is at a token, and not in a file.
pub fn is_at_token(key_name: &str) -> bool {
    // Schemes have no case (RFC 3986 §3.1).
    key_name.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

/// What `[ca]` says of both keys.
pub(super) struct Means<'c> {
    /// Opens encrypted keys, and tokens that are given no PIN of their own.
    pub(super) passphrase: &'c Passphrase,
    /// Reaches the tokens whose names have no module.
    #[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "nothing reaches tokens without it"))]
    pub(super) module: Option<&'c Path>,
}

/// A key at a token.
pub(super) struct Named {
    /// As messages call it.
    pub(super) name: String,
    pub(super) key: CaKey,
    /// What it is reached by.
    pub(super) module: PathBuf,
}

/// The key that a URI names; opened, unless the keys are another process's business.
#[cfg(feature = "pkcs11")]
pub(super) fn read(value: &Value<'_>, means: &Means<'_>) -> Result<Named, String> {
    use super::passphrase::credential;
    use crate::pkcs11::{KeyUri, open};

    let uri = KeyUri::parse(value.text().unwrap_or_default())?;
    let module = uri.module.as_deref().or(means.module);
    let module =
        module.ok_or("expected a PKCS#11 module: `ca.pkcs11_module`, or `?module-path=` in the URI")?;
    let module = value.path_within(&module.to_string_lossy());
    let name = uri.to_string();
    if value.leaves_ca_keys() {
        return Ok(Named { name, key: CaKey::Elsewhere, module });
    }
    let own = match &uri.pin_source {
        None => None,
        Some(written) => Some(Passphrase::File(credential(value.path_within(written), written)?)),
    };
    let pin = match own.as_ref().unwrap_or(means.passphrase) {
        // A token may want none.
        Passphrase::None => None,
        source => Some(source.fetch().map_err(|why| format!("{why}, as the PIN of {name}"))?),
    };
    Ok(Named { key: CaKey::Token(open(uri, &module, pin)?), name, module })
}

/// The key that a URI names, in a build that cannot reach it.
#[cfg(not(feature = "pkcs11"))]
pub(super) fn read(_: &Value<'_>, _: &Means<'_>) -> Result<Named, String> {
    Err("this build was made without PKCS#11: build it with `--features pkcs11`".into())
}
