//! What RFC 9112 asks for and servers do not: where they look away in different ways, policy must not choose one.

/// A host as `Host` may have it (RFC 9110, 7.2), with a port or without: a name of the characters that names of hosts have, or an address.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', ..] => match value.iter().position(|&byte| byte == b']') {
            Some(end) => value.split_at(end + 1),
            None => return false,
        },
        _ => value.split_at(value.iter().position(|&byte| byte == b':').unwrap_or(value.len())),
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_host = match host {
        [b'[', address @ .., b']'] => {
            !address.is_empty()
                && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        _ => {
            // No label is empty.
            let mut before = b'.';
            let is_of_name = |&byte: &u8| {
                let is_empty = byte == b'.' && before == b'.';
                before = byte;
                IN_NAMES[usize::from(byte)] && !is_empty
            };
            // RFC 1035, 2.3.4, with a dot at the end.
            (1..=254).contains(&host.len()) && host.iter().all(is_of_name)
        }
    };
    is_host && is_port
}

/// Bytes of names of hosts.
const IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let letter = byte as u8;
        table[byte] = letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'.' | b'_');
        byte += 1;
    }
    table
};

/// The authority that a target names: of the absolute form (RFC 9112, 3.2.2), or of CONNECT (3.2.3).
pub(super) fn target_authority<'a>(method: &[u8], target: &'a [u8]) -> Option<&'a [u8]> {
    if method == b"CONNECT" {
        return Some(target);
    }
    if target.starts_with(b"/") {
        return None;
    }
    let scheme = target.windows(3).position(|three| three == b"://")?;
    let rest = &target[scheme + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// A target in one of its forms (RFC 9112, 3.2). Lenient servers take `a?b` for `/a?b`, which rules on paths would not.
pub(super) fn is_target(method: &[u8], target: &[u8]) -> bool {
    if method == b"CONNECT" || target.starts_with(b"/") || method == b"OPTIONS" && target == b"*" {
        return true;
    }
    let scheme = target.windows(3).position(|three| three == b"://").map(|end| &target[..end]);
    scheme.is_some_and(is_scheme)
}

/// RFC 3986, 3.1.
pub(super) fn is_scheme(scheme: &[u8]) -> bool {
    let is_of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(is_of_scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "a",
            "www.example.com",
            "www.example.com.",
            "a_b.c:8443",
            "192.0.2.1",
            "[::1]",
            "[2001:db8::1]:443",
            "a:",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":443", "a b", "a,b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "[]", "[::1]x", "a\0", "a..",
            ".a", "a:123456", "\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
        assert!(!is_host(&[b'a'; 255]));
    }

    #[test]
    fn targets() {
        for (method, target) in [
            ("GET", "/a?b"),
            ("OPTIONS", "*"),
            ("CONNECT", "a:443"),
            ("GET", "https://a"),
            ("GET", "HTTP://a/b"),
        ] {
            assert!(is_target(method.as_bytes(), target.as_bytes()), "{method} {target}");
        }
        for target in ["", "*", "a", "a?b", "?b", "a:443", "**", "://a", "a/http://b", "2a?u=http://b", "\\a"]
        {
            assert!(!is_target(b"GET", target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn authorities() {
        let of = |method: &str, target| target_authority(method.as_bytes(), target).map(<[u8]>::to_vec);
        assert_eq!(of("GET", b"/x?y=http://z/"), None);
        assert_eq!(of("GET", b"*"), None);
        assert_eq!(of("GET", b"https://a:1/x"), Some(b"a:1".to_vec()));
        assert_eq!(of("GET", b"HTTP://a?x"), Some(b"a".to_vec()));
        assert_eq!(of("CONNECT", b"a:443"), Some(b"a:443".to_vec()));
    }
}
