//! Minted leaves field by field, as a client gets them; and the CAs that sign them.
#![allow(clippy::unwrap_used, clippy::panic)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "OpenSSL looks at the leaf, and CAs lie in files"
)]

mod tls_support;

use std::path::Path;

use rcgen::{CrlDistributionPoint, CustomExtension, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use tls_support::pki::{DAY, Signed, ca_files, ca_params, dates, leaf_params};
use tls_support::*;
use wireglass_core::mint::ca::{CaError, NewCa, describe, self_signed};
use wireglass_core::policy::{DefectAction, Profile};
use wireglass_core::tls::{TlsContext, TlsSettings};
use wireglass_core::x509::Provider;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};

/// The leaf that a client gets for this original.
fn minted(world: &World, original: &Signed, profile: Profile) -> Vec<u8> {
    let library = library(world.provider);
    let mut client = client_config(&library, BOTH, &[]);
    client.dangerous().set_certificate_verifier(std::sync::Arc::new(AnyCertificate));
    let server = server_config(&library, BOTH, std::slice::from_ref(&original.der), original.private_key());
    let flow = Flow::run(world, client, server, Plan { profile, ..Plan::default() });
    assert_eq!(flow.failure, None, "{:?}", flow.report);
    flow.presented()[0].to_vec()
}

fn extension(certificate: &Certificate, oid: &str) -> Option<(bool, Vec<u8>)> {
    let found = certificate.tbs_certificate().extensions()?.iter().find(|e| e.extn_id.to_string() == oid)?;
    Some((found.critical, found.extn_value.as_bytes().to_vec()))
}

fn seconds(time: x509_cert::time::Time) -> u64 {
    time.to_unix_duration().as_secs()
}

#[test]
fn field_by_field() {
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        // An original with everything that must not be copied.
        let mut params = leaf_params(&[HOST, "*.example.com", "192.0.2.80"]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec!["http://crl.example/".into()] }];
        let aia = [
            0x30, 0x14, 0x30, 0x12, 6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, 6, b'h', b't', b't', b'p',
            b':', b'x',
        ];
        params.custom_extensions = vec![
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], aia.to_vec()), // authorityInfoAccess
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]), // must-staple
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], vec![4, 2, 0, 0]), // SCTs
            CustomExtension::from_oid_content(&[2, 5, 29, 32], vec![0x30, 6, 0x30, 4, 6, 2, 0x2a, 3]), // policies
        ];
        let original = Signed::by(params, &world.root);
        // It has no staple to show.
        let profile = Profile { on_must_staple: DefectAction::Allow, ..Profile::default() };
        let der = minted(&world, &original, profile);
        let leaf = Certificate::from_der(&der).unwrap();
        let (tbs, source) = (leaf.tbs_certificate(), Certificate::from_der(&original.der).unwrap());
        let source_tbs = source.tbs_certificate();
        let ca = Certificate::from_der(&world.trusted).unwrap();

        assert_eq!(tbs.version(), x509_cert::certificate::Version::V3);
        assert_eq!(tbs.subject().to_der().unwrap(), source_tbs.subject().to_der().unwrap());
        assert_eq!(tbs.issuer(), ca.tbs_certificate().subject());
        let serial = tbs.serial_number().as_bytes();
        assert!(serial.len() == 16 && serial[0] < 0x80 && serial != source_tbs.serial_number().as_bytes());
        assert_eq!(seconds(tbs.validity().not_before), NOW - DAY);
        assert_eq!(seconds(tbs.validity().not_after), NOW + 60 * DAY, "the original's");
        assert_ne!(tbs.subject_public_key_info(), source_tbs.subject_public_key_info());
        assert_ne!(
            tbs.subject_public_key_info(),
            ca.tbs_certificate().subject_public_key_info(),
            "never the CA's key"
        );

        assert_eq!(tbs.extensions().unwrap().len(), 5, "and no others");
        let (critical, value) = extension(&leaf, "2.5.29.19").unwrap();
        assert!(critical && !BasicConstraints::from_der(&value).unwrap().ca);
        let (critical, value) = extension(&leaf, "2.5.29.15").unwrap();
        assert!(critical);
        assert_eq!(KeyUsage::from_der(&value).unwrap(), KeyUsage(KeyUsages::DigitalSignature.into()));
        let (_, value) = extension(&leaf, "2.5.29.37").unwrap();
        let uses: Vec<String> =
            ExtendedKeyUsage::from_der(&value).unwrap().0.iter().map(ToString::to_string).collect();
        assert_eq!(uses, ["1.3.6.1.5.5.7.3.1"]);
        let (_, value) = extension(&leaf, "2.5.29.35").unwrap();
        let ours = AuthorityKeyIdentifier::from_der(&value).unwrap().key_identifier.unwrap();
        let (_, value) = extension(&ca, "2.5.29.14").unwrap();
        assert_eq!(ours, SubjectKeyIdentifier::from_der(&value).unwrap().0);
        assert_eq!(extension(&leaf, "2.5.29.17"), extension(&source, "2.5.29.17"), "byte for byte");
    }
}

#[test]
fn openssl_finds_nothing_wrong_with_it() {
    let world = World::new(Provider::default());
    let der = minted(&world, &world.leaf, Profile::default());
    let leaf = world.dir.path().join("leaf.pem");
    std::fs::write(&leaf, pki::pem(&CertificateDer::from(der))).unwrap();
    let result = std::process::Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            HOST,
            "-attime",
            &NOW.to_string(),
        ])
        .args([Path::new("-CAfile"), &world.dir.path().join("trusted.pem"), &leaf])
        .output();
    // Machines without OpenSSL have the other tests.
    if let Ok(output) = result {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn validity_is_clipped_to_original_ca_and_profile() {
    let world = World::new(Provider::default());
    let tolerant = |max_days| Profile {
        on_expired: DefectAction::UntrustedCa,
        on_not_yet_valid: DefectAction::UntrustedCa,
        max_days,
        ..Profile::default()
    };
    let day = |n: i64| (NOW as i64 + n * DAY as i64) as u64;
    for (original, max_days, expected) in [
        ((-2000, 2000), 90, (day(-1), day(89))),      // the profile's maximum
        ((-2000, 2000), 10_000, (day(-1), day(365))), // the CA's end
        ((-30, 5), 90, (day(-1), day(5))),            // the original's end
        ((0, 5), 90, (day(0), day(5))),               // the original's beginning
        ((-200, -3), 90, (day(-93), day(-3))),        // expired, before the CA was made: stays so
        ((3, 60), 90, (day(3), day(60))),             // not yet valid: stays so
        ((-2000, 2000), 1, (NOW - DAY / 4, NOW + DAY * 3 / 4)),
    ] {
        let mut params = leaf_params(&[HOST]);
        dates(&mut params, original.0, original.1);
        let der = minted(&world, &Signed::by(params, &world.root), tolerant(max_days));
        let leaf = Certificate::from_der(&der).unwrap();
        let validity = *leaf.tbs_certificate().validity();
        assert_eq!(
            (seconds(validity.not_before), seconds(validity.not_after)),
            expected,
            "{original:?} {max_days}"
        );
    }
}

/// The original begins when the CA has ended: no certificate can be within both.
#[test]
fn what_the_ca_cannot_sign_is_refused() {
    let world = World::new(Provider::default());
    let mut params = leaf_params(&[HOST]);
    dates(&mut params, 400, 500);
    let original = Signed::by(params, &world.root);
    let library = library(world.provider);
    let client = client_config(&library, BOTH, &[]);
    let server = server_config(&library, BOTH, std::slice::from_ref(&original.der), original.private_key());
    let profile = Profile { on_not_yet_valid: DefectAction::UntrustedCa, ..Profile::default() };
    let flow = Flow::run(&world, client, server, Plan { profile, client_says: b"secret", ..Plan::default() });
    assert_eq!(flow.failure.unwrap().reason, wireglass_core::reason::Reason::MintFailed);
    assert_eq!(flow.client.seen.error, Some(rustls::Error::AlertReceived(80.into())));
    assert!(flow.server.seen.closed && flow.server.seen.data.is_empty());
    assert_eq!(world.context.minted(), 0);
}

/// The same copy for the same original, another for another verdict or profile, and never by name.
#[test]
fn the_cache() {
    let world = World::new(Provider::default());
    let first = minted(&world, &world.leaf, Profile::default());
    assert_eq!(first, minted(&world, &world.leaf, Profile::default()));
    assert_eq!(world.context.minted(), 1);
    assert_ne!(first, minted(&world, &world.leaf, Profile { max_days: 7, ..Profile::default() }));
    let renewed = Signed::by(leaf_params(&[HOST]), &world.root);
    assert_ne!(first, minted(&world, &renewed, Profile::default()));
    assert_eq!(world.context.minted(), 3);
}

#[test]
fn a_ca_of_ours_in_words() {
    let new = |name, days| {
        self_signed(&NewCa { name, days, provider: Provider::default(), now: NOW })
            .map(|ca| describe(ca.certificate.as_bytes()).unwrap())
    };
    let (ca, other) = (new("Prüfstelle", 3650).unwrap(), new("Prüfstelle", 1).unwrap());
    assert_eq!((&*ca.subject, &*ca.issuer), ("CN=Prüfstelle", "CN=Prüfstelle"));
    assert_eq!((&*ca.key, ca.not_after as u64), ("EC P-256", NOW + 3650 * DAY));
    assert_eq!(ca.fingerprint.len(), 95);
    assert_ne!(ca.fingerprint, other.fingerprint);
    assert_ne!(ca.serial, other.serial);
    assert_eq!(new("", 1), Err(CaError::Name));
    let long = "x".repeat(65);
    assert_eq!(new(&long, 1), Err(CaError::Name));
    assert_eq!(new("x", u32::MAX), Err(CaError::Days));
    assert_eq!(describe(b"-----BEGIN PRIVATE KEY-----"), None);
}

/// What a context says of files that cannot be used: the file, and what was expected.
#[test]
fn unusable_cas_are_named() {
    let world = World::new(Provider::default());
    let dir = world.dir.path();
    let settings = |stem: &str| TlsSettings {
        provider: Provider::default(),
        trusted: ca_files(dir, stem),
        untrusted: ca_files(dir, "untrusted"),
        crl_url: None,
        knowledge: Default::default(),
        system_roots: None,
        roots: vec![],
        now: NOW,
    };
    let write = |stem: &str, signed: &Signed, key: &str| {
        std::fs::write(dir.join(format!("{stem}.pem")), pki::pem(&signed.der)).unwrap();
        std::fs::write(dir.join(format!("{stem}.key")), key).unwrap();
    };
    let fault = |settings| {
        let error = TlsContext::new(settings).unwrap_err();
        (error.file.rsplit('/').next().unwrap().to_owned(), error.expected)
    };
    let good = Signed::by_itself(ca_params("Good"));
    write("other-key", &good, &world.root.key.serialize_pem());
    let (file, expected) = fault(settings("other-key"));
    assert!(file == "other-key.key" && expected.contains("the key of the certificate"), "{file} {expected}");
    let mut old = ca_params("Old");
    dates(&mut old, -10, -1);
    let mut early = ca_params("Early");
    dates(&mut early, 5, 10);
    let mut no_sign = ca_params("No sign");
    no_sign.key_usages = vec![KeyUsagePurpose::CrlSign];
    for (stem, params, word) in [
        ("leaf", leaf_params(&[HOST]), "CA:TRUE"),
        ("old", old, "valid now; this one ended on 2027-01-14, and it is 2027-01-15"),
        (
            "early",
            early,
            "this one begins on 2027-01-20, and this machine believes that it is 2027-01-15: the clock may be wrong",
        ),
        ("no-sign", no_sign, "keyCertSign"),
    ] {
        let signed = Signed::by_itself(params);
        write(stem, &signed, &signed.key.serialize_pem());
        let (file, expected) = fault(settings(stem));
        assert!(file == format!("{stem}.pem") && expected.contains(word), "{file} {expected}");
    }
    std::fs::write(dir.join("good.pem"), "nothing").unwrap();
    std::fs::write(dir.join("good.key"), good.key.serialize_pem()).unwrap();
    assert!(fault(settings("good")).1.contains("PEM"));
    // One CA for both would make the untrusted one trusted.
    let (file, expected) = fault(settings("untrusted"));
    assert!(file == "untrusted.pem" && expected.contains("another key"), "{file} {expected}");
    // Nothing of the key in what is printed.
    let debug = format!("{:?}", settings("untrusted"));
    assert!(!debug.contains("PRIVATE") && debug.contains("untrusted.key"));
}

/// A sub-CA: its chain goes to the client, who knows only the top.
#[cfg(feature = "aws-lc-rs")]
#[test]
fn a_sub_ca_of_every_key_kind_sends_its_chain() {
    use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
    let mut world = World::new(Provider::default());
    let top = Signed::by_itself(ca_params("Company Root"));
    for key in [
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
    ] {
        let sub = Signed::with_key(ca_params("Company Inspection"), &top, key);
        let dir = world.dir.path().to_owned();
        std::fs::write(dir.join("sub.pem"), [pki::pem(&sub.der), pki::pem(&top.der)].concat()).unwrap();
        std::fs::write(dir.join("sub.key"), sub.key.serialize_pem()).unwrap();
        for &provider in Provider::BUILT_IN {
            let settings = TlsSettings {
                provider,
                trusted: ca_files(&dir, "sub"),
                untrusted: ca_files(&dir, "untrusted"),
                crl_url: None,
                knowledge: Default::default(),
                system_roots: None,
                roots: vec![wireglass_core::x509::RootFile {
                    name: "root".into(),
                    pem: pki::pem(&world.root.der),
                }],
                now: NOW,
            };
            world.context = std::sync::Arc::new(TlsContext::new(settings).unwrap());
            let library = library(provider);
            let client = client_config(&library, BOTH, std::slice::from_ref(&top.der));
            let server = server_config(
                &library,
                BOTH,
                std::slice::from_ref(&world.leaf.der),
                world.leaf.private_key(),
            );
            let flow = Flow::run(&world, client, server, Plan::default());
            assert_eq!(flow.failure, None, "{:?}", flow.client.seen);
            assert_eq!(flow.presented().len(), 3);
        }
    }
}
