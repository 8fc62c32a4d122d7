//! JA3 and JA4 fingerprints of a ClientHello.
//!
//! JA4 (the client one) follows FoxIO's description, published under the BSD 3-clause licence; JA4S, JA4X and the others
//! are under another licence and deliberately absent.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::client_hello::{ClientHello, is_grease};

const SERVER_NAME: u16 = 0x0000;
const ALPN: u16 = 0x0010;

/// Longest JA3 string that is kept: a ClientHello of 64 KB makes one of 180 KB, real ones make 200 bytes.
const MAX_JA3: usize = 4096;

/// The JA3 string: version, suites, extensions, groups and point formats as decimal numbers. JA3 itself is its MD5. Empty
/// if it is longer than 4096 bytes.
pub(super) fn ja3(hello: &ClientHello) -> String {
    let mut out = hello.legacy_version.to_string();
    for list in [&hello.cipher_suites, &hello.extensions, &hello.groups] {
        out.push(',');
        join(&mut out, list.iter().copied().filter(|v| !is_grease(*v)));
    }
    out.push(',');
    join(&mut out, hello.point_formats.iter().copied().map(u16::from));
    if out.len() > MAX_JA3 { String::new() } else { out }
}

/// JA4: three parts that sort and hash what clients shuffle. `protocol`: `t` for TLS over TCP, `q` for QUIC.
pub(super) fn ja4(hello: &ClientHello, protocol: char) -> String {
    let mut suites: Vec<u16> = without_grease(&hello.cipher_suites);
    let mut extensions: Vec<u16> = without_grease(&hello.extensions);
    let head = format!(
        "{protocol}{}{}{:02}{:02}{}",
        version(hello),
        if hello.has_server_name() { 'd' } else { 'i' },
        suites.len().min(99),
        extensions.len().min(99),
        alpn(hello),
    );
    suites.sort_unstable();
    extensions.retain(|e| !matches!(*e, SERVER_NAME | ALPN));
    extensions.sort_unstable();
    let mut features = hex_list(&extensions);
    let schemes = without_grease(&hello.signature_schemes);
    if !schemes.is_empty() && !features.is_empty() {
        features.push('_');
        features.push_str(&hex_list(&schemes));
    }
    format!("{head}_{}_{}", short_hash(&hex_list(&suites)), short_hash(&features))
}

/// A digest of all that a server chooses from, in no order: versions, suites, groups and signature schemes.
pub(super) fn offer(hello: &ClientHello) -> [u8; 8] {
    let mut digest = Sha256::new();
    let lists = [&hello.versions, &hello.cipher_suites, &hello.groups, &hello.signature_schemes];
    for list in lists {
        let mut values = without_grease(list);
        values.sort_unstable();
        digest.update((values.len() as u32).to_be_bytes());
        values.iter().for_each(|value| digest.update(value.to_be_bytes()));
    }
    digest.update(hello.legacy_version.to_be_bytes());
    let mut short = [0; 8];
    short.copy_from_slice(&digest.finalize()[..8]);
    short
}

fn without_grease(values: &[u16]) -> Vec<u16> {
    values.iter().copied().filter(|v| !is_grease(*v)).collect()
}

/// The highest version offered.
fn version(hello: &ClientHello) -> &'static str {
    let offered = hello.versions.iter().copied().filter(|v| !is_grease(*v)).max();
    match offered.unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first protocol; of its hex form where either is not alphanumeric.
fn alpn(hello: &ClientHello) -> String {
    let Some(name) = hello.alpn.first() else { return "00".into() };
    let (first, last) = (name[0], name[name.len() - 1]);
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [first as char, last as char].iter().collect()
    } else {
        format!("{:x}{:x}", first >> 4, last & 0x0f)
    }
}

/// Without a formatter: a client chooses how many there are, and a worker waits.
fn hex_list(values: &[u16]) -> String {
    let mut out = String::with_capacity(values.len() * 5);
    for value in values {
        if !out.is_empty() {
            out.push(',');
        }
        out.extend(
            [12, 8, 4, 0].map(|shift| char::from(b"0123456789abcdef"[usize::from(value >> shift & 15)])),
        );
    }
    out
}

/// The first 12 hex digits of SHA-256; zeros for an empty list.
fn short_hash(list: &str) -> String {
    if list.is_empty() {
        return "000000000000".into();
    }
    let mut out = String::with_capacity(12);
    for byte in &Sha256::digest(list.as_bytes())[..6] {
        let _ = write!(out, "{byte:02x}"); // writing to a String cannot fail
    }
    out
}

/// Stops beyond [`MAX_JA3`].
fn join(out: &mut String, values: impl Iterator<Item = u16>) {
    for (i, value) in values.enumerate() {
        if out.len() > MAX_JA3 {
            return;
        }
        if i > 0 {
            out.push('-');
        }
        let _ = write!(out, "{value}"); // writing to a String cannot fail
    }
}

#[cfg(test)]
mod tests {
    use md5::Md5;

    use super::*;

    /// The example of FoxIO's JA4 description: a Chrome ClientHello, with GREASE put in where Chrome puts it.
    #[test]
    fn ja4_of_the_published_example() {
        let hello = ClientHello {
            legacy_version: 0x0303,
            sni: Some("example.com".into()),
            alpn: vec![(*b"h2").into(), (*b"http/1.1").into()],
            versions: vec![0x6a6a, 0x0304, 0x0303],
            cipher_suites: vec![
                0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            signature_schemes: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            extensions: vec![
                0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x3a3a,
            ],
            ..ClientHello::default()
        };
        assert_eq!(ja4(&hello, 't'), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    /// The two examples of the JA3 authors.
    #[test]
    fn ja3_of_the_published_examples() {
        let suites = vec![47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4];
        let mut hello = ClientHello {
            legacy_version: 769,
            cipher_suites: suites,
            extensions: vec![0, 10, 11],
            groups: vec![23, 24, 25],
            point_formats: vec![0],
            ..ClientHello::default()
        };
        assert_eq!(ja3(&hello), "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(md5_hex(&ja3(&hello)), "ada70206e40642a3e4461f35503241d5");

        hello = ClientHello {
            legacy_version: 769,
            cipher_suites: vec![4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99],
            ..ClientHello::default()
        };
        assert_eq!(md5_hex(&ja3(&hello)), "de350869b8c85de67a350c8d186f11e6");
    }

    /// 64 KB of suites: no JA3, and JA4 as ever.
    #[test]
    fn what_is_too_long_for_ja3() {
        let mut hello =
            ClientHello { cipher_suites: (0..600).map(|i| 12_000 + i).collect(), ..ClientHello::default() };
        assert_eq!(ja3(&hello).len(), "0,,,,".len() + 600 * 6 - 1);
        hello.cipher_suites = (0..32_000).map(|i| 0x1300 + i).collect();
        assert_eq!(ja3(&hello), "");
        let all: Vec<String> =
            hello.cipher_suites.iter().filter(|v| !is_grease(**v)).map(|v| format!("{v:04x}")).collect();
        assert!(ja4(&hello, 't').starts_with(&format!("t00i990000_{}_", short_hash(&all.join(",")))));
    }

    #[test]
    fn odd_protocols_and_empty_lists() {
        let mut hello = ClientHello { alpn: vec![[0xab].into()], ..ClientHello::default() };
        assert_eq!(ja4(&hello, 't'), "t00i0000ab_000000000000_000000000000");
        hello.alpn = vec![(*b"h").into()];
        assert!(ja4(&hello, 't').starts_with("t00i0000hh"));
    }

    fn md5_hex(text: &str) -> String {
        Md5::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }
}
