//! Timestamps of Certificate Transparency logs (RFC 6962) in certificates, made by hand as the logs do.
#![allow(clippy::unwrap_used)]

mod verify_support;

use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, PublicKeyData, SerialNumber, SigningKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};
use verify_support::{NOW, dates, key, params, sign};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, CtLog, Knowledge};
use wireglass_core::x509::{Provider, RootFile};
use x509_cert::der::{Decode, Encode};

const HOST: &str = "www.example.com";
const MILLISECONDS: u64 = 1000;

struct Log {
    key: KeyPair,
    operator: &'static str,
}

impl Log {
    fn new(operator: &'static str) -> Self {
        Self { key: key(), operator }
    }

    fn known(&self) -> CtLog {
        CtLog {
            key: self.key.subject_public_key_info(),
            operator: self.operator.into(),
            retired: None,
            interval: None,
        }
    }

    /// `SignedCertificateTimestamp` for the certificate with this `TBSCertificate`.
    fn promise(&self, tbs: &[u8], issuer: &KeyPair, time: u64) -> Vec<u8> {
        let mut signed = vec![0, 0];
        signed.extend(time.to_be_bytes());
        signed.extend([0, 1]);
        signed.extend(Sha256::digest(issuer.subject_public_key_info()));
        signed.extend(&(tbs.len() as u32).to_be_bytes()[1..]);
        signed.extend(tbs);
        signed.extend([0, 0]);
        let signature = self.key.sign(&signed).unwrap();
        let mut sct = vec![0];
        sct.extend(Sha256::digest(self.key.subject_public_key_info()));
        sct.extend(time.to_be_bytes());
        sct.extend([0, 0, 4, 3]);
        sct.extend((signature.len() as u16).to_be_bytes());
        sct.extend(signature);
        sct
    }
}

struct World {
    root: CertificateParams,
    root_key: KeyPair,
    root_der: CertificateDer<'static>,
}

impl World {
    fn new() -> Self {
        let mut root = params(&[(DnType::CommonName, "Public Root")], &[]);
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_key = key();
        let root_der = root.self_signed(&root_key).unwrap().der().clone();
        Self { root, root_key, root_der }
    }

    /// A leaf for so many days with promises of these logs at these times, in milliseconds from now.
    fn leaf(&self, days: i64, promises: &[(&Log, i64)]) -> CertificateDer<'static> {
        let mut leaf = params(&[(DnType::CommonName, "server")], &[HOST]);
        leaf.is_ca = rcgen::IsCa::ExplicitNoCa;
        leaf.serial_number = Some(SerialNumber::from(vec![0x11; 8]));
        dates(&mut leaf, -10, days - 10);
        let leaf_key = key();
        let without = sign(&leaf, &leaf_key, &self.root, &self.root_key);
        let tbs = x509_cert::Certificate::from_der(&without).unwrap().tbs_certificate().to_der().unwrap();
        let mut list = Vec::new();
        for (log, at) in promises {
            let time = (NOW * MILLISECONDS).checked_add_signed(*at).unwrap();
            let sct = log.promise(&tbs, &self.root_key, time);
            list.extend((sct.len() as u16).to_be_bytes());
            list.extend(sct);
        }
        let mut value = (list.len() as u16).to_be_bytes().to_vec();
        value.extend(list);
        let octets = x509_cert::der::asn1::OctetString::new(value).unwrap().to_der().unwrap();
        let oid = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
        leaf.custom_extensions.push(CustomExtension::from_oid_content(&oid, octets));
        sign(&leaf, &leaf_key, &self.root, &self.root_key)
    }

    /// What is found wrong with it by an engine that knows these logs.
    fn found(&self, logs: Option<Vec<CtLog>>, leaf: &CertificateDer<'_>) -> Vec<String> {
        let knowledge = Knowledge { ct_logs: logs, ..Knowledge::default() };
        let public = [self.root_der.clone()];
        let verifier = ChainVerifier::new(Provider::default(), Some(&public), &[], &[]);
        let verifier = verifier.and_then(|verifier| verifier.with(&knowledge)).unwrap();
        let findings = verifier.verify(leaf, &[], &ServerName::try_from(HOST).unwrap(), NOW);
        assert!(findings.defects.iter().all(|defect| *defect == Reason::CertNoSct), "{findings:?}");
        findings.findings.into_iter().map(|finding| finding.found).collect()
    }
}

#[test]
fn two_logs_of_two_operators_or_three_for_long() {
    let world = World::new();
    let (one, other, third) = (Log::new("One"), Log::new("Two"), Log::new("One"));
    let logs = || Some(vec![one.known(), other.known(), third.known()]);
    let found = |days, promises: &[(&Log, i64)]| world.found(logs(), &world.leaf(days, promises));
    assert!(found(90, &[(&one, 0), (&other, -5)]).is_empty());
    assert!(found(400, &[(&one, 0), (&other, 0), (&third, 0)]).is_empty());
    let few = |n, of| vec![format!("{n} timestamp(s) of known CT logs, of {of} that it takes")];
    assert_eq!(found(90, &[]), few(0, 2));
    assert_eq!(found(90, &[(&one, 0)]), few(1, 2));
    assert_eq!(found(90, &[(&one, 0), (&one, -1)]), few(1, 2), "twice the same");
    assert_eq!(found(400, &[(&one, 0), (&other, 0)]), few(2, 3));
    assert_eq!(found(90, &[(&one, 0), (&Log::new("Stranger"), 0)]), few(1, 2));
    assert_eq!(found(90, &[(&one, 0), (&other, 3_600_000)]), few(1, 2), "of the future");
    assert_eq!(found(90, &[(&one, 0), (&third, 0)]), ["timestamps of one operator's CT logs only"]);
    // Nobody asks.
    assert!(world.found(None, &world.leaf(90, &[])).is_empty());
}

#[test]
fn what_a_log_is_known_for() {
    let world = World::new();
    let (one, other) = (Log::new("One"), Log::new("Two"));
    let leaf = world.leaf(90, &[(&one, -1000), (&other, -1000)]);
    let found = |change: fn(&mut CtLog)| {
        let mut changed = other.known();
        change(&mut changed);
        world.found(Some(vec![one.known(), changed]), &leaf).len()
    };
    assert_eq!(found(|_| {}), 0);
    assert_eq!(found(|log| log.retired = Some(NOW as i64)), 0, "retired later");
    assert_eq!(found(|log| log.retired = Some(NOW as i64 - 10)), 1);
    let ends = NOW as i64 + 80 * verify_support::DAY;
    assert_eq!(found(|log| log.interval = Some(0..i64::MAX)), 0);
    assert_eq!(world_interval(&world, &one, &other, &leaf, 0..ends), 1);
    assert_eq!(world_interval(&world, &one, &other, &leaf, 0..ends + 1), 0);
}

fn world_interval(
    world: &World,
    one: &Log,
    other: &Log,
    leaf: &CertificateDer<'_>,
    interval: std::ops::Range<i64>,
) -> usize {
    let changed = CtLog { interval: Some(interval), ..other.known() };
    world.found(Some(vec![one.known(), changed]), leaf).len()
}

/// What an administrator trusts is not public.
#[test]
fn private_roots_need_no_logs() {
    let world = World::new();
    let leaf = world.leaf(90, &[]);
    let file = RootFile { name: "own".into(), pem: verify_support::pem(&[world.root_der.clone()]).into() };
    let knowledge = Knowledge { ct_logs: Some(vec![Log::new("One").known()]), ..Knowledge::default() };
    let verifier = ChainVerifier::new(Provider::default(), None, &[file], &[]);
    let verifier = verifier.and_then(|verifier| verifier.with(&knowledge)).unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    assert_eq!(verifier.verify(&leaf, &[], &name, NOW).defects, []);
}
