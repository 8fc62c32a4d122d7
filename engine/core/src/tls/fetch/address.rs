//! Addresses that certificates name: which of them are asked, and which hosts may be connected to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest address that is asked, in bytes.
const LONGEST: usize = 1024;
/// The longest host name, in bytes (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 253;

/// An `http:` address (RFC 9110 §4.2.1), without user information and fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    /// A name, an IPv4 address, or an IPv6 address in brackets; in lower case.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Path and query, as they stand in a request.
    pub target: String,
}

impl HttpUrl {
    /// None: it is no such address, or is longer than 1 KiB.
    pub fn parse(text: &str) -> Option<Self> {
        const SCHEME: &str = "http://";
        let rest = text.get(SCHEME.len()..)?;
        // Neither spaces nor line ends: what comes after them would be a request of the certificate's own.
        let is_plain = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !text[..SCHEME.len()].eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let after_host = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
        let colon = authority[after_host..].find(':').map(|at| after_host + at);
        let (host, port) = match colon {
            Some(at) => (&authority[..at], &authority[at + 1..]),
            None => (authority, ""),
        };
        // RFC 3986 §3.2.3: an empty port is the default one.
        let port = if port.is_empty() { 80 } else { decimal(port)? };
        is_host(host).then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
            target: match target {
                "" => "/".to_owned(),
                query if query.starts_with('?') => format!("/{query}"),
                path => path.to_owned(),
            },
        })
    }

    /// The address that a `Location` (RFC 9110 §10.2.2) in the answer of this one leads to.
    pub(super) fn redirected(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Self::parse(&format!("http://{}:{}{location}", self.host, self.port));
        }
        Self::parse(location)
    }

    /// The `Host` of a request (RFC 9110 §7.2).
    pub fn host_and_port(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host_and_port(), self.target)
    }
}

fn decimal(port: &str) -> Option<u16> {
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| is_number && *port > 0)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.len() <= LONGEST_HOST && host.bytes().all(is_name)
}

/// Whether an address is one of the public Internet. What a certificate says must not lead to any other: those are the hosts that trust
/// whoever can reach them.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the registry of special-purpose addresses (RFC 6890), those that are not globally reachable, and what is no unicast.
fn is_public_v4(address: Ipv4Addr) -> bool {
    const NOT_PUBLIC: &[([u8; 4], u32)] = &[
        ([0, 0, 0, 0], 8),       // "this network" (RFC 791)
        ([10, 0, 0, 0], 8),      // private use (RFC 1918)
        ([100, 64, 0, 0], 10),   // carrier-grade NAT (RFC 6598)
        ([127, 0, 0, 0], 8),     // loopback
        ([169, 254, 0, 0], 16),  // link-local (RFC 3927), where clouds have their metadata
        ([172, 16, 0, 0], 12),   // private use
        ([192, 0, 0, 0], 24),    // IETF protocol assignments (RFC 6890)
        ([192, 0, 2, 0], 24),    // documentation (RFC 5737)
        ([192, 31, 196, 0], 24), // AS112 (RFC 7535)
        ([192, 52, 193, 0], 24), // AMT (RFC 7450)
        ([192, 88, 99, 0], 24),  // 6to4 relays (RFC 7526)
        ([192, 168, 0, 0], 16),  // private use
        ([192, 175, 48, 0], 24), // AS112 (RFC 7534)
        ([198, 18, 0, 0], 15),   // benchmarks (RFC 2544)
        ([198, 51, 100, 0], 24), // documentation
        ([203, 0, 113, 0], 24),  // documentation
        ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
    ];
    let bits = address.to_bits();
    !NOT_PUBLIC.iter().any(|(network, len)| (bits ^ u32::from_be_bytes(*network)) >> (32 - len) == 0)
}

/// Global unicast is 2000::/3 (RFC 4291 §2.4). What has an IPv4 address within is as that one is: it may be sent on to there.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match segments {
        // IPv4-mapped (RFC 4291 §2.5.5.2).
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        // NAT64 (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => embedded(high, low),
        // IETF protocol assignments: Teredo, benchmarks, ORCHID (RFC 2928).
        [0x2001, second, ..] if second < 0x200 => false,
        // Documentation (RFC 3849, RFC 9637).
        [0x2001, 0xdb8, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_a_request_needs_them() {
        for (text, host, port, target) in [
            ("http://crl.example.com/a.crl", "crl.example.com", 80, "/a.crl"),
            ("HTTP://CRL.Example.com", "crl.example.com", 80, "/"),
            ("http://a.test:8080?x=1", "a.test", 8080, "/?x=1"),
            ("http://a.test:/b#part", "a.test", 80, "/b"),
            ("http://[2001:DB8::1]:81/b", "[2001:db8::1]", 81, "/b"),
            ("http://192.0.2.1/@b:c", "192.0.2.1", 80, "/@b:c"),
        ] {
            let url = HttpUrl::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((&*url.host, url.port, &*url.target), (host, port, target), "{text}");
            assert_eq!(HttpUrl::parse(&url.to_string()).as_ref(), Some(&url), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_or_would_be_more_than_one_request_is_none() {
        let long = format!("http://a.test/{}", "a".repeat(LONGEST));
        for text in [
            "",
            "http://",
            "http:///a",
            "https://a.test/",
            "ldap://a.test/",
            "ftp://a.test/",
            "file:///etc/passwd",
            "http://a.test/b c",
            "http://a.test/\r\nHost: b.test",
            "http://user@a.test/",
            "http://user:word@a.test/",
            "http://a.test:0/",
            "http://a.test:65536/",
            "http://a.test:+80/",
            "http://a.test:80:80/",
            "http://[::1/",
            "http://[::1%25eth0]/",
            "http://[::1]x/",
            "http://a%2etest/",
            "http://ä.test/",
            &long,
        ] {
            assert_eq!(HttpUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn redirections_stay_with_http() {
        let url = HttpUrl::parse("http://a.test:81/b/c").unwrap();
        let to = |location| url.redirected(location).map(|url| url.to_string());
        assert_eq!(to("/d?e").as_deref(), Some("http://a.test:81/d?e"));
        assert_eq!(to("http://b.test/f").as_deref(), Some("http://b.test/f"));
        for other in ["https://a.test/", "//b.test/", "d", "", "gopher://a.test/"] {
            assert_eq!(to(other), None, "{other}");
        }
    }

    #[test]
    fn addresses_that_are_not_of_the_internet_are_known() {
        for (private, public) in [
            ("127.0.0.1", "126.255.255.255"),
            ("127.255.255.255", "128.0.0.0"),
            ("10.0.0.0", "9.255.255.255"),
            ("10.255.255.255", "11.0.0.0"),
            ("172.16.0.0", "172.15.255.255"),
            ("172.31.255.255", "172.32.0.0"),
            ("192.168.0.0", "192.167.255.255"),
            ("192.168.255.255", "192.169.0.0"),
            ("169.254.169.254", "169.253.255.255"),
            ("100.64.0.0", "100.63.255.255"),
            ("100.127.255.255", "100.128.0.0"),
            ("0.0.0.0", "1.0.0.0"),
            ("192.0.0.8", "192.0.1.0"),
            ("192.0.2.1", "192.0.3.0"),
            ("198.18.0.0", "198.17.255.255"),
            ("198.19.255.255", "198.20.0.0"),
            ("198.51.100.255", "198.51.101.0"),
            ("203.0.113.0", "203.0.114.0"),
            ("224.0.0.1", "223.255.255.255"),
            ("240.0.0.1", "8.8.8.8"),
            ("255.255.255.255", "1.1.1.1"),
            ("::", "2606:4700::1111"),
            ("::1", "2a00::1"),
            ("::ffff:127.0.0.1", "::ffff:8.8.8.8"),
            ("::ffff:10.1.2.3", "::ffff:1.1.1.1"),
            ("::127.0.0.1", "2000::1"),
            ("64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8"),
            ("64:ff9b:1::1", "2400::1"),
            ("2002:7f00:1::1", "2002:808:808::1"),
            ("2002:c0a8:101::1", "2003::1"),
            ("2001::1", "2001:200::1"),
            ("2001:db8::1", "2001:db7::1"),
            ("3fff::1", "3fff:1000::1"),
            ("fe80::1", "2600::1"),
            ("fc00::1", "3ffe::1"),
            ("fdff::1", "2c0f::1"),
            ("fec0::1", "2001:4860::8888"),
            ("ff02::1", "2620::1"),
            ("100::1", "2800::1"),
            ("5f00::1", "2a10::1"),
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
