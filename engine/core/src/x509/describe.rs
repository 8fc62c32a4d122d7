//! A server's certificate in words, for the log.

use std::fmt::Write;
use std::net::IpAddr;

use jiff::Timestamp;
use sha1::{Digest, Sha1};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Tag, Tagged};

use super::certificate::{AltName, Certificate, elements, serial_hex};
use crate::event::CertificateInfo;

/// Names of a certificate that are listed; some have tens of thousands.
const MAX_NAMES: usize = 100;

/// Longest name in the log, in bytes: of DNS (RFC 1035 §3.1 has 255), and a distinguished one.
const MAX_NAME: usize = 255;
const MAX_TEXT: usize = 1024;

/// A certificate in DER as the log tells it; at most 100 names. `None`: not a certificate.
pub fn certificate(der: &[u8]) -> Option<CertificateInfo> {
    let parsed = Certificate::parse(der).ok()?;
    let alt_names = parsed.alt_names().filter_map(alt_name).take(MAX_NAMES).collect();
    let fingerprint: Vec<String> = Sha1::digest(der).iter().map(|b| format!("{b:02x}")).collect();
    Some(CertificateInfo {
        subject: name(parsed.tbs.subject),
        issuer: name(parsed.tbs.issuer),
        serial: serial_hex(parsed.tbs.serial),
        fingerprint: fingerprint.join(":"),
        not_before: parsed.not_before(),
        not_after: parsed.not_after(),
        alt_names,
        findings: Vec::new(),
        root: None,
        revocation: None,
        verified_by: None,
    })
}

/// The day of a moment in seconds since the Unix epoch, as `2027-01-15`.
pub fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |time| time.strftime("%Y-%m-%d").to_string())
}

fn alt_name(name: AltName<'_>) -> Option<String> {
    match name {
        AltName::Dns(host) => Some(cut(host.to_owned(), MAX_NAME)),
        AltName::Ip(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|a| a.to_string())
        }
    }
}

/// `C=US, O=Example, CN=example.com`: in the certificate's own order, as Suricata prints it. At most 1024 bytes, and up to
/// what is malformed.
pub(crate) fn name(der: AnyRef<'_>) -> String {
    let mut out = String::new();
    for attribute in elements(der.value()).flat_map(|relative| elements(relative.value())) {
        let mut parts = elements(attribute.value());
        let (Some(kind), Some(value)) = (parts.next(), parts.next()) else { break };
        let Ok(kind) = kind.decode_as::<ObjectIdentifier>() else { break };
        if !out.is_empty() {
            out.push_str(", ");
        }
        match short_name(&kind.to_string()) {
            Some(short) => out.push_str(short),
            None => {
                let _ = write!(out, "{kind}"); // writing to a String cannot fail
            }
        }
        out.push('=');
        out.push_str(&attribute_text(value));
        if out.len() > MAX_TEXT {
            break;
        }
    }
    cut(out, MAX_TEXT)
}

/// At most so many bytes of it, in whole characters.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.15" => "businessCategory",
        "2.5.4.17" => "postalCode",
        "2.5.4.42" => "GN",
        "2.5.4.97" => "organizationIdentifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// The text of an attribute of a name, whichever of the string types it has.
pub(crate) fn attribute_text(value: AnyRef<'_>) -> String {
    let bytes = value.value();
    match value.tag() {
        Tag::BmpString => {
            let units = bytes.as_chunks::<2>().0.iter().map(|b| u16::from_be_bytes(*b));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        // T.61 in theory, Latin-1 in practice.
        Tag::TeletexString => bytes.iter().map(|b| char::from(*b)).collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn described(change: impl FnOnce(&mut CertificateParams)) -> CertificateInfo {
        let mut params = CertificateParams::new(vec![]).unwrap();
        change(&mut params);
        certificate(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
    }

    /// Whatever a server shows, an event of it stays small, and so does the time that it takes.
    #[test]
    fn what_is_long_is_cut() {
        let info = described(|p| {
            p.distinguished_name = rcgen::DistinguishedName::new();
            p.distinguished_name.push(DnType::CommonName, "\u{fc}".repeat(20_000));
            p.subject_alt_names =
                (0..5000).map(|i| SanType::DnsName(format!("x{i}").try_into().unwrap())).collect();
            p.subject_alt_names[0] = SanType::DnsName("a".repeat(10_000).try_into().unwrap());
            p.serial_number = Some(vec![0x5a; 10_000].into());
        });
        assert_eq!(info.subject, format!("CN={}", "\u{fc}".repeat(510)), "whole characters");
        assert_eq!(info.alt_names.len(), MAX_NAMES);
        assert_eq!((info.alt_names[0].len(), info.alt_names[99].as_str()), (MAX_NAME, "x99"));
        assert_eq!(info.serial.len(), 64 * 3 - 1);
        let many = described(|p| {
            p.distinguished_name = rcgen::DistinguishedName::new();
            for i in 0..3000 {
                p.distinguished_name.push(DnType::CustomDnType(vec![1, 3, i]), "x");
            }
        });
        assert!(many.subject.starts_with("1.3.0=x, 1.3.1=x, "), "{}", many.subject);
        assert_eq!(many.subject.len(), MAX_TEXT);
    }
}
