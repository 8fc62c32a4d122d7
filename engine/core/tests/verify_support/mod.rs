//! Chains that are made up from a description, and what OpenSSL says of them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test binary uses a part"
)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "OpenSSL wants its certificates in files"
)]

pub mod cases;

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, ServerName};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, Findings};
use wireglass_core::x509::{Provider, RootFile};

/// 2027-01-15T08:00:00Z.
pub const NOW: u64 = 1_800_000_000;
pub const DAY: i64 = 86_400;

/// Sets a validity in days around [`NOW`].
pub fn dates(params: &mut CertificateParams, from_days: i64, to_days: i64) {
    let at =
        |days: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs((NOW as i64 + days * DAY) as u64);
    (params.not_before, params.not_after) = (at(from_days), at(to_days));
}

/// A certificate with no extensions but the names, and the right dates.
pub fn params(subject: &[(DnType, &str)], names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect();
    dates(&mut params, -100, 100);
    params
}

pub fn alt_name(name: &str) -> SanType {
    match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains('@') => SanType::Rfc822Name(name.try_into().unwrap()),
        Err(_) => SanType::DnsName(name.try_into().unwrap()),
    }
}

pub fn extension(oid: &[u64], critical: bool, value: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value);
    extension.set_criticality(critical);
    extension
}

pub fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// DER of a certificate for `key`, in the name of `issuer`.
pub fn sign(
    params: &CertificateParams,
    key: &KeyPair,
    issuer: &CertificateParams,
    issuer_key: &KeyPair,
) -> CertificateDer<'static> {
    params.signed_by(key, &Issuer::from_params(issuer, issuer_key)).unwrap().der().clone()
}

pub fn pem(ders: &[CertificateDer<'_>]) -> String {
    use x509_cert::der::pem::{LineEnding, encode_string};
    ders.iter().map(|der| encode_string("CERTIFICATE", LineEnding::LF, der).unwrap()).collect()
}

/// A verifier that trusts these and nothing else.
pub fn trusting(roots: &[CertificateDer<'_>]) -> ChainVerifier {
    let file = RootFile { name: "roots".into(), pem: pem(roots).into_bytes() };
    ChainVerifier::new(Provider::default(), None, &[file], &[]).unwrap()
}

/// What is found of a chain, its leaf first.
pub fn verify(verifier: &ChainVerifier, chain: &[CertificateDer<'_>], name: &str) -> Findings {
    let name = ServerName::try_from(name).unwrap();
    verifier.verify(&chain[0], &chain[1..], &name, NOW)
}

/// Each finding as its place and reason, in order.
pub fn found(findings: &Findings) -> Vec<(u8, Reason)> {
    let mut found: Vec<_> = findings.findings.iter().map(|f| (f.certificate, f.reason)).collect();
    found.sort_by_key(|(place, reason)| (*place, *reason as u8));
    found.dedup();
    found
}

/// What `openssl verify` says of a chain: in order, or its complaint.
pub fn openssl(
    folder: &Path,
    roots: &[CertificateDer<'_>],
    chain: &[CertificateDer<'_>],
    more: &[&str],
) -> Result<(), String> {
    let write = |name: &str, ders: &[CertificateDer<'_>]| {
        let path = folder.join(name);
        std::fs::write(&path, pem(ders)).unwrap();
        path
    };
    let (root, leaf) = (write("roots.pem", roots), write("leaf.pem", &chain[..1]));
    let mut command = Command::new("openssl");
    command.args(["verify", "-purpose", "sslserver", "-no-CApath", "-no-CAstore", "-attime"]);
    command.arg(NOW.to_string()).args(more).arg("-CAfile").arg(root);
    if chain.len() > 1 {
        command.arg("-untrusted").arg(write("others.pem", &chain[1..]));
    }
    let output = command.arg(leaf).output().expect("openssl");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Numbers that look random, and are the same in each run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}
