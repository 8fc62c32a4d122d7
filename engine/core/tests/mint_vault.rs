//! What the holder of the CAs' keys refuses, whoever asks.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "files of CAs")]

mod tls_support;

use std::sync::{Arc, Mutex};

use rcgen::{CidrSubnet, GeneralSubtree, KeyPair, NameConstraints, PublicKeyData};
use rustls_pki_types::CertificateDer;
use tls_support::pki::{self, DAY, NOW, Signed, World, ca_files, ca_params, dates, leaf_params};
use tls_support::{BOTH, Flow, HOST, Plan, client_config, library, server_config};
use wireglass_core::mint::{CaSigner, CaVault, LeafOrder, LeafSubject, OriginalCheck, Refusal, SignError};
use wireglass_core::policy::{DefectAction, Profile};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, Knowledge, TlsContext, TlsSettings};
use wireglass_core::x509::{Provider, RootFile};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

const OID_SAN: &str = "2.5.29.17";

/// A vault with the CAs of a world that believes nobody.
fn vault(world: &World, profiles: &[Profile], answers: bool) -> CaVault {
    let (trusted, untrusted) =
        (ca_files(world.dir.path(), "trusted"), ca_files(world.dir.path(), "untrusted"));
    let roots = [RootFile { name: "root.pem".into(), pem: pki::pem(&world.root.der) }];
    let own = [world.trusted.clone(), world.untrusted.clone()];
    let verifier = ChainVerifier::new(world.provider, None, &roots, &own).unwrap();
    let check = OriginalCheck::new(verifier, profiles.iter(), answers);
    CaVault::load(world.provider, (&trusted, &untrusted), None, NOW).unwrap().checking(check)
}

fn public_key() -> Vec<u8> {
    KeyPair::generate().unwrap().subject_public_key_info()
}

/// Asks for a copy for 90 days.
fn copy(vault: &CaVault, ca: [u8; 32], original: &[u8], key: &[u8]) -> Result<Certificate, SignError> {
    let subject = LeafSubject::Copy { original, others: &[], added: &[] };
    let order = LeafOrder { ca, subject, public_key: key, max_days: 90, now: NOW as i64 };
    vault.leaf(&order).map(|der| Certificate::from_der(&der).unwrap())
}

fn refused<T>(refusal: Refusal) -> Result<T, SignError> {
    Err(SignError::Refused(refusal))
}

#[test]
fn a_copy_is_a_leaf_that_says_what_its_original_says() {
    let world = World::new(Provider::default());
    let vault = vault(&world, &[Profile::default()], false);
    let [trusted, _] = vault.fingerprints();
    assert_eq!(vault.fingerprints(), world.context.ca_fingerprints());
    let key = public_key();
    let leaf = copy(&vault, trusted, &world.leaf.der, &key).unwrap();
    let original = Certificate::from_der(&world.leaf.der).unwrap();
    let (tbs, from) = (leaf.tbs_certificate(), original.tbs_certificate());
    assert_eq!(tbs.subject(), from.subject());
    assert_eq!(tbs.subject_public_key_info().to_der().unwrap(), key);
    let extension = |of: &x509_cert::TbsCertificate, oid: &str| {
        let found = of.extensions().unwrap().iter().find(|e| e.extn_id.to_string() == oid).unwrap();
        found.extn_value.as_bytes().to_vec()
    };
    assert_eq!(extension(tbs, OID_SAN), extension(from, OID_SAN));
    let ca = Certificate::from_der(&world.trusted).unwrap();
    assert_eq!(tbs.issuer(), ca.tbs_certificate().subject());
    // CA:FALSE, digitalSignature, serverAuth, the issuer's key id and the names; nothing else.
    let mut oids: Vec<_> = tbs.extensions().unwrap().iter().map(|e| e.extn_id.to_string()).collect();
    oids.sort();
    assert_eq!(oids, ["2.5.29.15", OID_SAN, "2.5.29.19", "2.5.29.35", "2.5.29.37"]);
    assert_eq!(extension(tbs, "2.5.29.19"), [0x30, 0]);
    assert_eq!(extension(tbs, "2.5.29.15"), [3, 2, 7, 0x80]);
}

#[test]
fn a_defect_that_no_profile_allows_is_refused_for_the_trusted_ca_alone() {
    let world = World::new(Provider::default());
    let itself = Signed::by_itself(leaf_params(&[HOST]));
    let stranger = Signed::by_itself(ca_params("Stranger"));
    let stranger = Signed::by(leaf_params(&[HOST]), &stranger);
    let mut params = leaf_params(&[HOST]);
    dates(&mut params, -60, -30);
    let expired = Signed::by(params, &world.root);
    // What the engine itself has signed is nobody's original.
    let strict = vault(&world, &[Profile::default()], false);
    let [trusted, untrusted] = strict.fingerprints();
    let key = public_key();
    for (original, defect) in [
        (&itself, Reason::CertSelfSigned),
        (&stranger, Reason::CertUntrusted),
        (&expired, Reason::CertExpired),
    ] {
        assert_eq!(copy(&strict, trusted, &original.der, &key), refused(Refusal::Defect(defect)));
        assert!(copy(&strict, untrusted, &original.der, &key).is_ok(), "{defect}");
    }
    let lenient = Profile { on_expired: DefectAction::Allow, ..Profile::default() };
    let lenient = vault(&world, &[Profile::default(), lenient], false);
    assert!(copy(&lenient, trusted, &expired.der, &key).is_ok());
    assert_eq!(copy(&lenient, trusted, &itself.der, &key), refused(Refusal::Defect(Reason::CertSelfSigned)));
    let own = copy(&strict, trusted, &world.leaf.der, &key).unwrap().to_der().unwrap();
    assert_eq!(copy(&strict, trusted, &own, &key), refused(Refusal::Defect(Reason::CertOwnCa)));
}

#[test]
fn what_a_server_forgot_comes_with_the_order() {
    let world = World::new(Provider::default());
    let between = Signed::by(ca_params("Between"), &world.root);
    let leaf = Signed::by(leaf_params(&[HOST]), &between);
    let vault = vault(&world, &[Profile::default()], false);
    let [ca, _] = vault.fingerprints();
    let key = public_key();
    assert_eq!(copy(&vault, ca, &leaf.der, &key), refused(Refusal::Defect(Reason::CertUntrusted)));
    let added = [Arc::from(&between.der[..])];
    let subject = LeafSubject::Copy { original: &leaf.der, others: &[], added: &added };
    let order = LeafOrder { ca, subject, public_key: &key, max_days: 90, now: NOW as i64 };
    assert!(vault.leaf(&order).is_ok());
    let others = [between.der.clone()];
    let subject = LeafSubject::Copy { original: &leaf.der, others: &others, added: &[] };
    assert!(vault.leaf(&LeafOrder { subject, ..order }).is_ok());
}

#[test]
fn no_leaf_lives_longer_than_a_profile_says_or_than_its_ca() {
    let world = World::new(Provider::default());
    let days = |vault: &CaVault, max_days| {
        let [ca, _] = vault.fingerprints();
        let subject = LeafSubject::Copy { original: &world.leaf.der, others: &[], added: &[] };
        let key = public_key();
        let order = LeafOrder { ca, subject, public_key: &key, max_days, now: NOW as i64 };
        let leaf = Certificate::from_der(&vault.leaf(&order).unwrap()).unwrap();
        let validity = leaf.tbs_certificate().validity();
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        assert!(seconds(&validity.not_after) <= NOW + 365 * DAY);
        (seconds(&validity.not_after) - seconds(&validity.not_before)) / DAY
    };
    let week = Profile { max_days: 7, ..Profile::default() };
    assert_eq!(days(&vault(&world, std::slice::from_ref(&week), false), 3650), 7);
    let both = [week, Profile { max_days: 30, ..Profile::default() }];
    assert_eq!(days(&vault(&world, &both, false), u32::MAX), 30);
}

#[test]
fn keys_that_are_no_leafs_are_refused() {
    let world = World::new(Provider::default());
    let vault = vault(&world, &[Profile::default()], false);
    let [trusted, untrusted] = vault.fingerprints();
    let spki = |der: &CertificateDer<'_>| {
        let certificate = Certificate::from_der(der).unwrap();
        certificate.tbs_certificate().subject_public_key_info().to_der().unwrap()
    };
    let mut long = public_key();
    long.resize(5000, 0);
    for key in [spki(&world.trusted), spki(&world.untrusted), vec![], b"\x30\x00".to_vec(), long] {
        for ca in [trusted, untrusted] {
            assert_eq!(copy(&vault, ca, &world.leaf.der, &key), refused(Refusal::Key));
        }
    }
    assert_eq!(copy(&vault, [0; 32], &world.leaf.der, &public_key()), refused(Refusal::OtherCa));
    assert_eq!(copy(&vault, trusted, b"no certificate", &public_key()), Err(SignError::Original));
}

#[test]
fn a_name_alone_is_signed_where_a_rule_answers() {
    let world = World::new(Provider::default());
    let key = public_key();
    let ask = |vault: &CaVault, ca, name| {
        let subject = LeafSubject::Name(name);
        let order = LeafOrder { ca, subject, public_key: &key, max_days: 3650, now: NOW as i64 };
        vault.leaf(&order).map(|der| Certificate::from_der(&der).unwrap())
    };
    let silent = vault(&world, &[Profile::default()], false);
    let [trusted, untrusted] = silent.fingerprints();
    assert_eq!(ask(&silent, trusted, HOST), refused(Refusal::Answer));
    let answering = vault(&world, &[Profile::default()], true);
    assert_eq!(ask(&answering, untrusted, HOST), refused(Refusal::Answer));
    assert_eq!(ask(&answering, trusted, "*.example.com"), Err(SignError::Original));
    let leaf = ask(&answering, trusted, HOST).unwrap();
    let validity = leaf.tbs_certificate().validity();
    let lives = validity.not_after.to_unix_duration() - validity.not_before.to_unix_duration();
    assert_eq!(lives.as_secs(), 7 * DAY);
}

#[test]
fn name_constraints_of_the_ca_are_kept() {
    let world = World::new(Provider::default());
    let mut params = ca_params("Constrained");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".into())],
        excluded_subtrees: vec![GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4]))],
    });
    let ca = Signed::by_itself(params);
    std::fs::write(world.dir.path().join("trusted.pem"), pki::pem(&ca.der)).unwrap();
    std::fs::write(world.dir.path().join("trusted.key"), ca.key.serialize_pem()).unwrap();
    let vault = vault(&world, &[Profile::default()], false);
    let [trusted, untrusted] = vault.fingerprints();
    let inside = Signed::by(leaf_params(&["www.example.com"]), &world.root);
    let outside = Signed::by(leaf_params(&["www.example.org"]), &world.root);
    let address = Signed::by(leaf_params(&["www.example.com", "192.0.2.1"]), &world.root);
    let key = public_key();
    assert!(copy(&vault, trusted, &inside.der, &key).is_ok());
    assert_eq!(copy(&vault, trusted, &outside.der, &key), refused(Refusal::Constraints));
    assert_eq!(copy(&vault, trusted, &address.der, &key), refused(Refusal::Constraints));
    assert!(copy(&vault, untrusted, &outside.der, &key).is_ok());
}

#[test]
fn an_ocsp_response_is_for_one_serial_number() {
    let world = World::new(Provider::default());
    let vault = vault(&world, &[Profile::default()], false);
    let [trusted, untrusted] = vault.fingerprints();
    assert!(vault.status(trusted, &[1; 16], NOW as i64).is_ok());
    assert_eq!(vault.status(untrusted, &[1; 16], NOW as i64), refused(Refusal::OtherCa));
    for serial in [&[][..], &[1; 8], &[1; 20], &[1; 21]] {
        assert_eq!(vault.status(trusted, serial, NOW as i64), refused(Refusal::Size));
    }
    assert_eq!(vault.status([9; 32], &[1], NOW as i64), refused(Refusal::OtherCa));
}

/// Says what it is told to.
struct Says(Mutex<SignError>);

impl CaSigner for Says {
    fn leaf(&self, _: &LeafOrder<'_>) -> Result<Vec<u8>, SignError> {
        Err(*self.0.lock().unwrap())
    }

    fn status(&self, _: [u8; 32], _: &[u8], _: i64) -> Result<Vec<u8>, SignError> {
        Err(*self.0.lock().unwrap())
    }
}

/// Without a copy there is no flow, and the log says which of both it was.
#[test]
fn a_signer_that_does_not_sign_ends_the_flow_by_name() {
    let mut world = World::new(Provider::default());
    for (error, reason) in [
        (SignError::Unanswered, Reason::MintUnanswered),
        (SignError::Refused(Refusal::Rate), Reason::MintRefused),
        (SignError::Crypto, Reason::MintFailed),
    ] {
        let settings = TlsSettings {
            provider: world.provider,
            trusted: ca_files(world.dir.path(), "trusted"),
            untrusted: ca_files(world.dir.path(), "untrusted"),
            crl_url: None,
            knowledge: Knowledge::default(),
            system_roots: None,
            roots: vec![RootFile { name: "root.pem".into(), pem: pki::pem(&world.root.der) }],
            now: NOW,
        };
        let signer = Arc::new(Says(Mutex::new(error)));
        world.context = Arc::new(TlsContext::signed_by(settings, signer).unwrap());
        let library = library(world.provider);
        let client = client_config(&library, BOTH, &[]);
        let (der, key) = (std::slice::from_ref(&world.leaf.der), world.leaf.private_key());
        let server = server_config(&library, BOTH, der, key);
        let flow = Flow::run(&world, client, server, Plan { client_says: b"secret", ..Plan::default() });
        assert_eq!(flow.failure.unwrap().reason, reason);
        assert_eq!(flow.client.seen.error, Some(rustls::Error::AlertReceived(80.into())));
        assert!(flow.server.seen.closed && flow.server.seen.data.is_empty());
    }
}
