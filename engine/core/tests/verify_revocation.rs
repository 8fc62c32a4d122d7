//! Revoked certificates: OCSP responses that `openssl ocsp` has made, and CRLs by `openssl ca`.
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "openssl works with files, and goes by the machine's clock"
)]

mod revocation_support;

use std::fs;

use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, SerialNumber};
use revocation_support::*;
use rustls_pki_types::ServerName;
use wireglass_core::event::Revocation;
use wireglass_core::policy::{DefectAction, Profile};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, Knowledge};
use wireglass_core::x509::RootFile;

#[test]
fn a_staple_by_the_issuer_or_one_whom_it_has_certified() {
    let world = World::new(|_| {});
    let responder = Identity::leaf(&world.issuer, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    });
    responder.write(world.dir.path(), "responder");
    for signer in ["issuer", "responder"] {
        for options in ["-ndays 1", "-ndays 1 -sha256", "-ndays 1 -resp_key_id", ""] {
            let staple = world.staple(signer, options);
            let findings = world.found(&world.verifier(&[]), &staple, now());
            assert_eq!((findings.defects, findings.revocation), (vec![], GOOD), "{signer} {options}");
        }
    }
    world.index("R\t490101000000Z\t260101000000Z,keyCompromise");
    for signer in ["issuer", "responder"] {
        let staple = world.staple(signer, "-ndays 1");
        // An old answer is as good as a new one.
        for now in [now(), now() + 10 * 86_400] {
            let findings = world.found(&world.verifier(&[]), &staple, now);
            assert_eq!(findings.defects, [Reason::CertRevoked]);
            assert_eq!(
                findings.findings[0].found,
                "revoked on 2026-01-01, says the OCSP response that the server sent"
            );
        }
    }
}

#[test]
fn a_staple_that_says_nothing_of_the_certificate() {
    let world = World::new(|_| {});
    let good = world.staple("issuer", "-ndays 1");
    assert_eq!(world.why(&[], now()), "no stapled OCSP response, and no CRL of its issuer");
    assert_eq!(world.why(&good, now() + 2 * 86_400), "an OCSP response that is out of date");
    assert_eq!(world.why(&good, now() - 7200), "an OCSP response of the future");
    assert_eq!(world.why(&good[..good.len() - 1], now()), "a malformed OCSP response");
    assert_eq!(
        world.why(&[0x30, 3, 10, 1, 3], now()),
        "an OCSP response that says that the responder failed"
    );
    assert_eq!(world.why(&vec![0; 20_000], now()), "an OCSP response that is too long");
    // No bit of it may be another: it is not good any more, and nothing breaks.
    let good = world.staple("issuer", "-ndays 1 -resp_no_certs");
    for place in 0..good.len() {
        let mut bent = good.clone();
        bent[place] ^= 1;
        assert_ne!(world.found(&world.verifier(&[]), &bent, now()).revocation, GOOD, "byte {place}");
    }
    // Of another certificate of the issuer's; by nobody that it knows; by one that is not certified for it.
    let other = World::new(|params| params.serial_number = Some(SerialNumber::from(vec![0x12; 8])));
    let name = ServerName::try_from(HOST).unwrap();
    let strange = other.verifier(&[]).verify_stapled(
        &other.leaf.der,
        std::slice::from_ref(&other.issuer.der),
        &good,
        &name,
        now(),
    );
    assert_eq!(strange.revocation, Some(Revocation::Unknown("an OCSP response about another certificate")));
    Identity::leaf(&other.issuer, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    })
    .write(world.dir.path(), "stranger");
    assert_eq!(
        world.why(&world.staple("stranger", ""), now()),
        "an OCSP response that its issuer has not signed"
    );
    Identity::leaf(&world.issuer, |_| {}).write(world.dir.path(), "server");
    assert_eq!(
        world.why(&world.staple("server", ""), now()),
        "an OCSP response by a certificate that is not for it (no OCSPSigning)"
    );
}

#[test]
fn who_demands_a_staple_is_no_good_without() {
    let world = World::new(must_staple);
    let verifier = world.verifier(&[]);
    let good = world.staple("issuer", "-ndays 1");
    assert_eq!(world.found(&verifier, &good, now()).defects, []);
    assert_eq!(world.found(&verifier, &[], now()).defects, [Reason::CertMustStaple]);
    assert_eq!(world.found(&verifier, &good, now() + 2 * 86_400).defects, [Reason::CertMustStaple]);
    // A list that says that it is good is no staple.
    let listed = world.verifier(&[world.crl("issuer", "-crldays 1")]);
    assert_eq!(world.found(&listed, &[], now()).defects, [Reason::CertMustStaple]);
}

#[test]
fn unknown_is_what_the_profile_makes_of_it() {
    let world = World::new(|_| {});
    let unknown = world.found(&world.verifier(&[]), &[], now());
    assert_eq!(unknown.verdict(&Profile::default()).defect, None);
    for action in [DefectAction::UntrustedCa, DefectAction::Block] {
        let verdict = unknown.verdict(&Profile { on_revocation_unknown: action, ..Profile::default() });
        assert_eq!((verdict.defect, verdict.action), (Some(Reason::CertRevocationUnknown), action));
    }
}

#[test]
fn lists_of_the_issuer_and_of_the_root() {
    let world = World::new(|_| {});
    let empty = world.crl("issuer", "-crldays 1");
    let findings = world.found(&world.verifier(std::slice::from_ref(&empty)), &[], now());
    assert_eq!((findings.defects, findings.revocation), (vec![], LISTED));
    let stale = world.found(&world.verifier(std::slice::from_ref(&empty)), &[], now() + 2 * 86_400);
    assert_eq!(stale.revocation, Some(Revocation::Unknown("a CRL that is out of date")));
    world.index("R\t490101000000Z\t260101000000Z");
    let good = {
        world.index("V\t490101000000Z\t");
        world.staple("issuer", "-ndays 1")
    };
    world.index("R\t490101000000Z\t260101000000Z");
    let revoked = world.crl("issuer", "-crldays 1");
    for now in [now(), now() + 9 * 86_400] {
        let findings = world.found(&world.verifier(&[empty.clone(), revoked.clone()]), &[], now);
        assert_eq!((findings.defects, findings.findings[0].certificate), (vec![Reason::CertRevoked], 0));
    }
    // Who says "revoked" is right, whoever says "good".
    assert_eq!(world.found(&world.verifier(&[revoked]), &good, now()).defects, [Reason::CertRevoked]);
    // The issuer has that serial number with the root, too.
    let of_root = world.crl("root", "-crldays 1");
    let findings = world.found(&world.verifier(&[of_root, empty]), &good, now());
    assert_eq!((findings.defects, findings.findings[0].certificate), (vec![Reason::CertRevoked], 1));
    // A list in the name of the issuer, by somebody else.
    let other = World::new(|_| {});
    other.index("R\t490101000000Z\t260101000000Z");
    let forged = world.verifier(&[other.crl("issuer", "-crldays 1")]);
    assert_eq!(
        world.found(&forged, &[], now()).revocation,
        Some(Revocation::Unknown("a CRL that its issuer has not signed"))
    );
}

/// Whoever has a certificate for a server can sign CAs of any name with it, and who runs a CA can have many keys: neither keeps a list from being
/// read for those whose it is.
#[test]
fn other_keys_of_the_issuers_name_take_no_list_from_it() {
    let world = World::new(|_| {});
    world.index("R\t490101000000Z\t260101000000Z");
    let revoked = world.crl("issuer", "-crldays 1");
    let name = ServerName::try_from(HOST).unwrap();
    let server = Identity::leaf(&world.issuer, |params| params.serial_number = Some(vec![7; 8].into()));
    for signer in [&world.root, &server] {
        let verifier = world.verifier(std::slice::from_ref(&revoked));
        for _ in 0..6 {
            let double = Identity::ca("Public Issuer", Some(signer));
            let leaf = Identity::leaf(&double, |_| {});
            let chain = [double.der, server.der.clone(), world.issuer.der.clone()];
            let found = verifier.verify(&leaf.der, &chain, &name, now());
            assert!(matches!(found.revocation, Some(Revocation::Unknown(_))), "{found:?}");
        }
        assert_eq!(world.found(&verifier, &[], now()).defects, [Reason::CertRevoked]);
    }
}

#[test]
fn parts_of_lists_are_about_their_own_certificates() {
    let with_address = |params: &mut CertificateParams| {
        params.crl_distribution_points =
            vec![rcgen::CrlDistributionPoint { uris: vec!["http://crl.example.com/1.crl".into()] }];
    };
    let world = World::new(with_address);
    let part = world.crl("issuer", "-crldays 1 -crlexts partial");
    assert_eq!(world.found(&world.verifier(&[part]), &[], now()).revocation, LISTED);
    let world = World::new(|_| {});
    let part = world.crl("issuer", "-crldays 1 -crlexts partial");
    assert_eq!(
        world.found(&world.verifier(&[part]), &[], now()).revocation,
        Some(Revocation::Unknown("a part of a CRL that is about other certificates"))
    );
    let indirect = world.crl("issuer", "-crldays 1 -crlexts indirect");
    let error = world.try_verifier(&[indirect]).err().unwrap();
    assert!(error.starts_with("list.crl: expected a CRL of its own issuer's"), "{error}");
    let whole = world.crl("issuer", "-crldays 1");
    let cut = whole[..whole.len() / 2].to_vec();
    assert!(world.try_verifier(&[cut]).is_err());
}

/// In their order or not, with one serial number or ten thousand.
#[test]
fn long_lists() {
    let world = World::new(|_| {});
    let line = |n: u32| {
        format!(
            "R\t490101000000Z\t260101000000Z,keyCompromise\t{:08X}\tunknown\t/CN=x\n",
            n.wrapping_mul(0x9e37_79b1) | 1
        )
    };
    let mut lines: String = (0..10_000).map(line).collect();
    fs::write(world.dir.path().join("index"), &lines).unwrap();
    let verifier = world.verifier(&[world.crl("issuer", "-crldays 1")]);
    assert_eq!(world.found(&verifier, &[], now()).revocation, LISTED);
    lines.insert_str(0, "R\t490101000000Z\t260101000000Z\t1111111111111111\tunknown\t/CN=server\n");
    fs::write(world.dir.path().join("index"), &lines).unwrap();
    let verifier = world.verifier(&[world.crl("issuer", "-crldays 1")]);
    assert_eq!(world.found(&verifier, &[], now()).defects, [Reason::CertRevoked]);
}

#[test]
fn what_a_server_forgets_to_send() {
    let with_issuer = |params: &mut CertificateParams| {
        let der = b"\x30\x20\x30\x1e\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x12http://ca.example/";
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der.to_vec()));
    };
    let world = World::new(with_issuer);
    let name = ServerName::try_from(HOST).unwrap();
    let alone = |verifier: &ChainVerifier| verifier.verify(&world.leaf.der, &[], &name, now());
    let verifier = world.verifier(&[]);
    let findings = alone(&verifier);
    assert_eq!(findings.defects, [Reason::CertIncomplete]);
    assert_eq!(findings.findings[0].found, "its issuer's certificate was not sent, CN=Public Issuer");
    // Seen in a good chain of another server.
    let other = Identity::leaf(&world.issuer, |_| {});
    let whole = |verifier: &ChainVerifier, now| {
        verifier.verify(&other.der, std::slice::from_ref(&world.issuer.der), &name, now).defects
    };
    let too_early = 1_000_000_000;
    assert_ne!(whole(&verifier, too_early), []);
    assert_eq!(alone(&verifier).defects, [Reason::CertIncomplete], "of a bad chain nothing is remembered");
    assert_eq!(whole(&verifier, now()), []);
    assert_eq!(alone(&verifier).defects, []);
    // From a file, two of them missing, with junk of the same name.
    let below = Identity::ca("Public Issuer 2", Some(&world.issuer));
    let leaf = Identity::leaf(&below, |_| {});
    let junk: String = (0..3).map(|_| pem(&Identity::ca("Public Issuer", Some(&world.leaf)).der)).collect();
    let file = RootFile {
        name: "between.pem".into(),
        pem: (junk + &pem(&below.der) + &pem(&world.issuer.der)).into(),
    };
    let knowledge = Knowledge { intermediates: vec![file], ..Knowledge::default() };
    let verifier = world.verifier(&[]).with(&knowledge).unwrap();
    assert_eq!(verifier.verify(&leaf.der, &[], &name, now()).defects, []);
    // A stranger's is as untrusted as before.
    let stranger = Identity::leaf(&Identity::ca("Stranger", None), |_| {});
    assert_eq!(verifier.verify(&stranger.der, &[], &name, now()).defects, [Reason::CertUntrusted]);
}
