//! Names of keys at tokens: `pkcs11:` URIs (RFC 7512).

use std::fmt;
use std::path::PathBuf;

/// What such a name begins with.
const SCHEME: &str = "pkcs11:";

/// Which key, at which token, and how to get at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUri {
    /// The part that names the key, as it was written: what messages say. What follows `?` may name a PIN.
    name: String,
    /// Label of the token.
    pub(super) token: Option<String>,
    /// Its manufacturer.
    pub(super) manufacturer: Option<String>,
    /// Its model.
    pub(super) model: Option<String>,
    /// Its serial number.
    pub(super) serial: Option<String>,
    /// Number of the slot that it is in.
    pub(super) slot: Option<u64>,
    /// Label of the key (CKA_LABEL).
    pub(super) object: Option<String>,
    /// Its id (CKA_ID).
    pub(super) id: Option<Vec<u8>>,
    /// The module, a shared library.
    pub module: Option<PathBuf>,
    /// Where the PIN is to be read: a path, or the name of a credential.
    pub pin_source: Option<String>,
}

impl KeyUri {
    /// Reads a URI.
    ///
    /// # Errors
    /// In words: what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest =
            text.split_at_checked(SCHEME.len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
        let (_, rest) = rest.ok_or_else(|| format!("expected {SCHEME}..."))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { name: format!("{SCHEME}{path}"), ..Self::default() };
        let mut seen = Vec::new();
        for (part, is_path) in
            path.split(';').map(|part| (part, true)).chain(query.split('&').map(|part| (part, false)))
        {
            if part.is_empty() {
                continue;
            }
            let (key, value) = part.split_once('=').ok_or("expected KEY=VALUE between `;`")?;
            if seen.contains(&key) {
                return Err(format!("expected `{key}` once"));
            }
            seen.push(key);
            let value =
                decoded(value).ok_or_else(|| format!("expected `{key}` with %XX as RFC 7512 has it"))?;
            if is_path { uri.put_path(key, value)? } else { uri.put_query(key, value)? }
        }
        if uri.object.is_none() && uri.id.is_none() {
            return Err("expected `object=LABEL` or `id=%XX...` of the private key".into());
        }
        Ok(uri)
    }

    fn put_path(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        if key == "id" {
            self.id = Some(value);
            return Ok(());
        }
        let value = text(key, value)?;
        match key {
            "token" => self.token = Some(value),
            "manufacturer" => self.manufacturer = Some(value),
            "model" => self.model = Some(value),
            "serial" => self.serial = Some(value),
            "object" => self.object = Some(value),
            "slot-id" => self.slot = Some(value.parse().map_err(|_| "expected a number as `slot-id`")?),
            "type" if value == "private" => {}
            "type" => return Err("expected `type=private`, or none".into()),
            // More would only narrow down what the module alone decides.
            "library-manufacturer"
            | "library-description"
            | "library-version"
            | "slot-description"
            | "slot-manufacturer" => {}
            other => return Err(format!("expected no `{other}`")),
        }
        Ok(())
    }

    fn put_query(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        let value = text(key, value)?;
        match key {
            "module-path" => self.module = Some(PathBuf::from(value)),
            "module-name" => return Err("expected `module-path`, or `ca.pkcs11_module`, and no `module-name`".into()),
            "pin-source" if value.starts_with('|') => {
                return Err("expected a program that says the PIN in `ca.passphrase_command`".into());
            }
            "pin-source" => {
                let file = value.strip_prefix("file:");
                let path = file.map(|path| path.strip_prefix("//").unwrap_or(path));
                self.pin_source = Some(path.unwrap_or(&value).to_owned());
            }
            "pin-value" => return Err("expected no PIN in the configuration: `pin-source=file:PATH`, `ca.passphrase_file` or `ca.passphrase_command`".into()),
            other => return Err(format!("expected no `{other}`")),
        }
        Ok(())
    }
}

/// As messages call it.
impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn text(key: &str, value: Vec<u8>) -> Result<String, String> {
    String::from_utf8(value).map_err(|_| format!("expected `{key}` in UTF-8"))
}

/// Without its `%XX`. None: a `%` that is followed by something else.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_uri_names() {
        let text = "pkcs11:token=My%20HSM;object=ca;type=private;id=%01%aB?module-path=/usr/lib/m.so&pin-source=file:/etc/pin";
        let uri = KeyUri::parse(text).expect("as RFC 7512 has it");
        assert_eq!((uri.token.as_deref(), uri.object.as_deref()), (Some("My HSM"), Some("ca")));
        assert_eq!(uri.id.as_deref(), Some(&[1, 0xab][..]));
        assert_eq!(uri.module, Some("/usr/lib/m.so".into()));
        assert_eq!(uri.pin_source.as_deref(), Some("/etc/pin"));
        assert_eq!(uri.to_string(), "pkcs11:token=My%20HSM;object=ca;type=private;id=%01%aB");
        let source = |text: &str| {
            let uri = KeyUri::parse(&format!("pkcs11:object=ca?pin-source={text}")).expect("a URI");
            uri.pin_source.expect("given")
        };
        assert_eq!(
            (source("file:///run/pin"), source("pin"), source("credential:pin")),
            ("/run/pin".into(), "pin".into(), "credential:pin".into())
        );
        assert_eq!(KeyUri::parse("pkcs11:slot-id=7;id=%02").expect("a URI").slot, Some(7));
    }

    #[test]
    fn what_none_is() {
        for (text, said) in [
            ("file:/x", "expected pkcs11:..."),
            ("pkcs11:", "expected `object=LABEL`"),
            ("pkcs11:token=x", "expected `object=LABEL`"),
            ("pkcs11:object", "expected KEY=VALUE"),
            ("pkcs11:object=a;object=b", "expected `object` once"),
            ("pkcs11:object=%4", "expected `object` with %XX"),
            ("pkcs11:object=%zz", "expected `object` with %XX"),
            ("pkcs11:object=%ff", "expected `object` in UTF-8"),
            ("pkcs11:object=a;type=cert", "expected `type=private`"),
            ("pkcs11:object=a;slot-id=x", "expected a number"),
            ("pkcs11:object=a;color=red", "expected no `color`"),
            ("pkcs11:object=a?pin-value=1234", "expected no PIN in the configuration"),
            ("PKCS11:object=a?pin-value=1234", "expected no PIN in the configuration"),
            ("pkcs11:object=a?pin-source=|/bin/pin", "`ca.passphrase_command`"),
            ("pkcs11:object=a?module-name=p11-kit", "`module-path`"),
        ] {
            let why = KeyUri::parse(text).expect_err(text);
            assert!(why.contains(said) && !why.contains("1234"), "{text}: {why}");
        }
    }
}
