//! Server names: patterns, and names as they are compared.

use std::fmt;

/// Longest host name in bytes, without the trailing dot (RFC 1035 section 2.3.4, less the root's length and label).
const MAX_NAME: usize = 253;
/// Longest label in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
/// Bytes at the end of a name that decide: the longest suffix, its dot and a byte before it.
const KEPT: usize = MAX_NAME + 2;

/// A server name, or all names below one. Lower case, without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// This name.
    Exact(String),
    /// All names that end in a dot and this one, however many labels come before; not the name itself.
    Below(String),
}

/// Why a text is no [`NamePattern`]: what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError(&'static str);

impl NameError {
    /// What would have been right.
    pub(super) fn expected(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NameError {}

impl std::str::FromStr for NamePattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "*" || text == "*." {
            return Err(NameError(
                "a name or `*.suffix`; for every name leave `sni` out (that matches hellos without a name, too)",
            ));
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        check_name(&name)?;
        Ok(if below { Self::Below(name) } else { Self::Exact(name) })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// A host name as it stands in a ClientHello (RFC 6066 section 3): A-labels, no address, no port. Names with underscores, and with
/// hyphens where the DNS has none, are in use.
pub(super) fn check_name(name: &str) -> Result<(), NameError> {
    if !name.is_ascii() {
        return Err(NameError(
            "a name in A-labels, as in the ClientHello (`xn--bcher-kva.example`, not `bücher.example`)",
        ));
    }
    if name.contains('*') {
        return Err(NameError("a wildcard only as the whole first label (`*.example.com`)"));
    }
    if name.contains([':', '/']) {
        return Err(NameError("a host name alone, without scheme, port or path"));
    }
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError("a host name of 1 to 253 bytes"));
    }
    let label_is_right = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !name.split('.').all(label_is_right) {
        return Err(NameError("a host name: labels of 1 to 63 letters, digits, `-` and `_`"));
    }
    // RFC 6066 section 3: literal addresses are not permitted; a client that connects to one sends no name.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(NameError(
            "a host name: a ClientHello names no addresses; match them with `destination`",
        ));
    }
    Ok(())
}

/// A name as a client wrote it, to be compared: lower case, without a dot at the end.
pub(super) struct HostName {
    bytes: [u8; KEPT],
    len: usize,
}

impl HostName {
    pub(super) fn new(name: &str) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
        // A name that is too long for the DNS may still have a suffix that a rule forbids.
        let len = name.len().min(KEPT);
        let mut bytes = [0; KEPT];
        bytes[..len].copy_from_slice(&name[name.len() - len..]);
        bytes[..len].make_ascii_lowercase();
        Self { bytes, len }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// What the name is below, longest first, in `labels` labels at most.
    pub(super) fn suffixes(&self, labels: usize) -> impl Iterator<Item = &[u8]> {
        let name = self.as_bytes();
        let dots = name.iter().filter(|byte| **byte == b'.').count();
        let places = name.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        places.skip(dots.saturating_sub(labels)).filter(|at| *at > 0).map(|at| &name[at + 1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_patterns_say_what_is_right() {
        let cases = [
            ("*", "leave `sni` out"),
            ("*.", "leave `sni` out"),
            ("", "1 to 253"),
            ("*.*.example.com", "whole first label"),
            ("www.*.com", "whole first label"),
            ("w*.example.com", "whole first label"),
            ("bücher.example", "A-labels"),
            ("https://example.com", "without scheme"),
            ("example.com:443", "without scheme"),
            ("exa mple.com", "labels of 1 to 63"),
            ("a+b.example.com", "labels of 1 to 63"),
            ("a..example.com", "labels of 1 to 63"),
            (".example.com", "labels of 1 to 63"),
            ("192.0.2.1", "`destination`"),
        ];
        for (text, hint) in cases {
            let error = text.parse::<NamePattern>().expect_err(text);
            assert!(error.to_string().contains(hint), "{text}: {error}");
        }
        assert!("a".repeat(64).parse::<NamePattern>().is_err());
        assert!("a.".repeat(127).parse::<NamePattern>().is_ok(), "253 bytes and a trailing dot");
        assert!("a.".repeat(128).parse::<NamePattern>().is_err());
    }

    #[test]
    fn patterns_print_as_they_are_matched() {
        assert_eq!(
            "*.Example.Com.".parse::<NamePattern>().map(|p| p.to_string()),
            Ok("*.example.com".into())
        );
        assert_eq!(
            "_dmarc.example".parse::<NamePattern>().map(|p| p.to_string()),
            Ok("_dmarc.example".into())
        );
        assert_eq!("foo-.Example".parse::<NamePattern>().map(|p| p.to_string()), Ok("foo-.example".into()));
    }
}
