//! Revoked certificates: OCSP responses that `openssl ocsp` has made, and CRLs by `openssl ca`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "openssl works with files, and goes by the machine's clock"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::{CertificateDer, ServerName};
use wireglass_core::event::{Revocation, RevocationSource};
use wireglass_core::policy::{DefectAction, Profile};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, Findings, Knowledge};
use wireglass_core::x509::{CrlFile, Provider, RootFile};

const HOST: &str = "www.example.com";
const GOOD: Option<Revocation> = Some(Revocation::Good(RevocationSource::Staple));
const LISTED: Option<Revocation> = Some(Revocation::Good(RevocationSource::Crl));

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn pem(der: &[u8]) -> String {
    use x509_cert::der::pem::{LineEnding, encode_string};
    encode_string("CERTIFICATE", LineEnding::LF, der).unwrap()
}

struct Identity {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
}

impl Identity {
    fn ca(name: &str, issuer: Option<&Self>) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self::new(params, issuer)
    }

    fn leaf(issuer: &Self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = named("server");
        params.subject_alt_names = vec![rcgen::SanType::DnsName(HOST.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        Self::new(params, Some(issuer))
    }

    fn new(params: CertificateParams, issuer: Option<&Self>) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = match issuer {
            None => params.self_signed(&key).unwrap().der().clone(),
            Some(issuer) => params
                .signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key))
                .unwrap()
                .der()
                .clone(),
        };
        Self { params, key, der }
    }

    /// `NAME.pem` and `NAME.key`.
    fn write(&self, dir: &Path, name: &str) {
        fs::write(dir.join(format!("{name}.pem")), pem(&self.der)).unwrap();
        fs::write(dir.join(format!("{name}.key")), self.key.serialize_pem()).unwrap();
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(vec![0x11; 8]));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    params
}

/// RFC 7633: status_request.
fn must_staple(params: &mut CertificateParams) {
    let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
    params.custom_extensions.push(extension);
}

/// A root, an intermediate, a leaf, and openssl's index of what the intermediate has issued.
struct World {
    dir: tempfile::TempDir,
    root: Identity,
    issuer: Identity,
    leaf: Identity,
}

impl World {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = Identity::ca("Public Root", None);
        let issuer = Identity::ca("Public Issuer", Some(&root));
        let leaf = Identity::leaf(&issuer, change);
        let world = Self { dir: tempfile::tempdir().unwrap(), root, issuer, leaf };
        for (identity, name) in [(&world.root, "root"), (&world.issuer, "issuer"), (&world.leaf, "leaf")] {
            identity.write(world.dir.path(), name);
        }
        world.index("V\t490101000000Z\t");
        world
    }

    /// What openssl's database says of all serial numbers here.
    fn index(&self, status: &str) {
        fs::write(
            self.dir.path().join("index"),
            format!("{status}\t1111111111111111\tunknown\t/CN=server\n"),
        )
        .unwrap();
        fs::write(self.dir.path().join("index.attr"), "unique_subject = no\n").unwrap();
    }

    fn openssl(&self, line: &str) {
        let output = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn staple(&self, signer: &str, options: &str) -> Vec<u8> {
        self.openssl(&format!(
            "ocsp -index index -CA issuer.pem -rsigner {signer}.pem -rkey {signer}.key -issuer issuer.pem {options} -cert leaf.pem \
             -respout response.der -noverify"
        ));
        fs::read(self.dir.path().join("response.der")).unwrap()
    }

    /// A CRL of this CA with what the index says is revoked.
    fn crl(&self, ca: &str, options: &str) -> Vec<u8> {
        let config = "[ca]\ndefault_ca = lab\n[lab]\ndatabase = index\ndefault_md = sha256\n[partial]\n\
                      issuingDistributionPoint = critical, @idp\n[idp]\nfullname = URI:http://crl.example.com/1.crl\n\
                      [indirect]\nissuingDistributionPoint = critical, @ind\n[ind]\nindirectCRL = TRUE\n";
        fs::write(self.dir.path().join("ca.cnf"), config).unwrap();
        self.openssl(&format!(
            "ca -gencrl -config ca.cnf -cert {ca}.pem -keyfile {ca}.key -out {ca}.crl {options}"
        ));
        fs::read(self.dir.path().join(format!("{ca}.crl"))).unwrap()
    }

    fn verifier(&self, crls: &[Vec<u8>]) -> ChainVerifier {
        self.try_verifier(crls).unwrap()
    }

    fn try_verifier(&self, crls: &[Vec<u8>]) -> Result<ChainVerifier, String> {
        let roots = RootFile { name: "roots".into(), pem: pem(&self.root.der).into_bytes() };
        let crls =
            crls.iter().map(|crl| CrlFile { name: "list.crl".into(), contents: crl.clone() }).collect();
        let knowledge = Knowledge { crls, ..Knowledge::default() };
        ChainVerifier::new(Provider::default(), None, &[roots], &[])
            .and_then(|verifier| verifier.with(&knowledge))
            .map_err(|error| error.to_string())
    }

    fn found(&self, verifier: &ChainVerifier, staple: &[u8], now: u64) -> Findings {
        let name = ServerName::try_from(HOST).unwrap();
        verifier.verify_stapled(&self.leaf.der, std::slice::from_ref(&self.issuer.der), staple, &name, now)
    }

    /// Why a staple says nothing.
    fn why(&self, staple: &[u8], now: u64) -> &'static str {
        let findings = self.found(&self.verifier(&[]), staple, now);
        assert_eq!(findings.defects, []);
        match findings.revocation {
            Some(Revocation::Unknown(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

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
    let findings = world.found(&world.verifier(&[empty.clone()]), &[], now());
    assert_eq!((findings.defects, findings.revocation), (vec![], LISTED));
    let stale = world.found(&world.verifier(&[empty.clone()]), &[], now() + 2 * 86_400);
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
