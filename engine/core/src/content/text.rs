//! Strings for the log, cut to size.

use crate::event::{self, Text};
use crate::fields;

/// Longest request target, referrer or redirect that is kept.
pub(super) const MAX_URL: usize = 4096;
/// Longest of the other strings.
pub(super) const MAX_TEXT: usize = 1024;
/// Longest method.
pub(super) const MAX_METHOD: usize = 64;

/// At most `max` bytes of text; what is not UTF-8 is replaced.
pub(super) fn clip(bytes: &[u8], max: usize) -> Text {
    let bytes = &bytes[..bytes.len().min(max)];
    if let Ok(text) = str::from_utf8(bytes) {
        return event::text(text);
    }
    let text = fields::text(bytes);
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    event::text(&text[..end])
}

/// The host of `Host` or `:authority`: without the port, as Suricata logs it.
pub(super) fn hostname(authority: &[u8]) -> Text {
    let authority = authority.trim_ascii();
    let host = match authority.iter().rposition(|&byte| byte == b':') {
        // The colons of an IPv6 address stand within its brackets.
        Some(colon) if authority[colon + 1..].iter().all(u8::is_ascii_digit) => &authority[..colon],
        _ => authority,
    };
    clip(host, MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_at_a_character() {
        assert_eq!(clip("aaé".as_bytes(), 4), "aaé");
        assert_eq!(clip("aé".as_bytes(), 3), "aé");
        // A cut character, or a wrong byte, becomes the replacement character if that fits.
        assert_eq!(clip("aé".as_bytes(), 2), "a");
        assert_eq!(clip(b"a\xff", 10), "a\u{fffd}");
        assert!(clip(&[0xff; 100], 10).len() <= 10);
    }

    #[test]
    fn a_port_is_no_part_of_a_host() {
        assert_eq!(hostname(b"example.com:8443"), "example.com");
        assert_eq!(hostname(b" example.com "), "example.com");
        assert_eq!(hostname(b"[::1]:443"), "[::1]");
        assert_eq!(hostname(b"[2001:db8::1]"), "[2001:db8::1]");
        assert_eq!(hostname(b""), "");
    }
}
