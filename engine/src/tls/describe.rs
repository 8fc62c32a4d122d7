//! A server's certificate in words, for the log.

use std::fmt::Write;
use std::net::IpAddr;

use jiff::Timestamp;
use sha1::{Digest, Sha1};
use x509_cert::der::asn1::{Any, AnyRef};
use x509_cert::der::{Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use super::certificate::{Certificate, oid, serial_hex};
use crate::log::event::CertificateInfo;

/// Names of a certificate that are listed; some have tens of thousands.
const MAX_NAMES: usize = 100;

/// A certificate in DER as the log tells it; at most 100 names. `None`: not a certificate.
pub fn certificate(der: &[u8]) -> Option<CertificateInfo> {
    let parsed = Certificate::parse(der).ok()?;
    let alt_names = match parsed.decode_extension::<SubjectAltName>(oid::SUBJECT_ALT_NAME) {
        Some(Ok(SubjectAltName(names))) => names.iter().filter_map(alt_name).take(MAX_NAMES).collect(),
        _ => Vec::new(),
    };
    let fingerprint: Vec<String> = Sha1::digest(der).iter().map(|b| format!("{b:02x}")).collect();
    Some(CertificateInfo {
        subject: name(parsed.tbs.subject),
        issuer: name(parsed.tbs.issuer),
        serial: serial_hex(parsed.tbs.serial),
        fingerprint: fingerprint.join(":"),
        not_before: parsed.not_before(),
        not_after: parsed.not_after(),
        alt_names,
    })
}

/// The day of a moment in seconds since the Unix epoch, as `2027-01-15`.
pub(crate) fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |time| time.strftime("%Y-%m-%d").to_string())
}

fn alt_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(host) => Some(host.as_str().to_owned()),
        GeneralName::IpAddress(octets) => {
            let bytes = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|a| a.to_string())
        }
        _ => None,
    }
}

/// `C=US, O=Example, CN=example.com`: in the certificate's own order, as Suricata prints it.
pub(crate) fn name(der: AnyRef<'_>) -> String {
    let Ok(name) = der.decode_as::<Name>() else { return String::new() };
    let mut out = String::new();
    for attribute in name.iter() {
        if !out.is_empty() {
            out.push_str(", ");
        }
        match short_name(&attribute.oid.to_string()) {
            Some(short) => out.push_str(short),
            None => {
                let _ = write!(out, "{}", attribute.oid); // writing to a String cannot fail
            }
        }
        out.push('=');
        out.push_str(&text(&attribute.value));
    }
    out
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

fn text(value: &Any) -> String {
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
