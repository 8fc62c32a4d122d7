//! Which names a server's certificate proves (RFC 9525).

use rustls_pki_types::{IpAddr, ServerName};

use crate::x509::{AltName, Certificate};

/// Whether the certificate has `name` in its subjectAltName; a common name does not count.
pub(super) fn proves(certificate: &Certificate<'_>, name: &ServerName<'_>) -> bool {
    certificate.alt_names().any(|alt| match (alt, name) {
        (AltName::Dns(pattern), ServerName::DnsName(host)) => matches_pattern(pattern, host.as_ref()),
        (AltName::Ip(octets), ServerName::IpAddress(IpAddr::V4(v4))) => octets == v4.as_ref(),
        (AltName::Ip(octets), ServerName::IpAddress(IpAddr::V6(v6))) => octets == v6.as_ref(),
        _ => false,
    })
}

/// A wildcard is a whole leftmost label, and stands for one (RFC 9525 §6.3). Under a suffix of a registry, as `*.com` or `*.co.uk`, it
/// names nobody.
fn matches_pattern(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(host),
        Some(parent) => {
            parent.contains('.')
                && host
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
                && !is_suffix_of_registry(parent)
        }
    }
}

/// Whether anybody may register names directly below `parent`. Suffixes of companies, as `github.io`, have certificates for all that
/// is below them, and browsers take these.
fn is_suffix_of_registry(parent: &str) -> bool {
    let parent = parent.to_ascii_lowercase();
    psl::suffix(parent.as_bytes())
        .is_some_and(|suffix| suffix == parent.as_bytes() && suffix.typ() == Some(psl::Type::Icann))
}

/// What is wrong where no name fits: the names that are there.
pub(super) fn listed(certificate: &Certificate<'_>) -> String {
    /// Names that are told.
    const SHOWN: usize = 3;
    let text = |name: AltName<'_>| match name {
        AltName::Dns(host) => host.to_owned(),
        AltName::Ip(octets) => address(octets),
    };
    let shown: Vec<String> =
        certificate.alt_names().take(SHOWN).map(text).map(super::finding::plain_name).collect();
    let more = if certificate.alt_names().nth(SHOWN).is_some() { " and others" } else { "" };
    match shown.as_slice() {
        [] => "no name in a subjectAltName".to_owned(),
        names => format!("only the names {}{more}", names.join(", ")),
    }
}

fn address(octets: &[u8]) -> String {
    let v4 = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from);
    v4.or_else(|_| v6()).map_or_else(|_| "(no address)".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, host) in [
            ("a.example", "A.EXAMPLE"),
            ("*.a.example", "x.a.example."),
            ("*.example.com", "www.example.com"),
            ("*.GITHUB.io", "x.github.io"),
            ("*.example.co.uk", "www.example.co.uk"),
            ("*.corp.local", "a.corp.local"),
            ("a", "a"),
        ] {
            assert!(matches_pattern(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.a.example", "a.example"),
            ("*.a.example", "x.y.a.example"),
            ("*.com", "a.com"),
            ("*", "com"),
            ("*.co.uk", "a.co.uk"),
            ("*.CO.UK", "a.co.uk"),
            ("*.foo.ck", "a.foo.ck"),
            ("w*.example.com", "www.example.com"),
            ("*.*.example.com", "a.b.example.com"),
            ("www.*.com", "www.example.com"),
            ("*.example.com.", "www.example.com"),
            ("a.example.", "a.example"),
            ("", ""),
        ] {
            assert!(!matches_pattern(pattern, host) || host.is_empty(), "{pattern} {host}");
        }
    }
}
