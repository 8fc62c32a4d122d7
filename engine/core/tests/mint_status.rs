//! What our CA says of its copies: OCSP responses and CRLs, read by OpenSSL.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "openssl works with files"
)]

mod tls_support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, SerialNumber};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tls_support::pki::{DAY, NOW, Signed, World, ca_files, ca_params, leaf_params, pem};
use tls_support::{
    AnyCertificate, BOTH, Flow, HOST, Plan, TLS12, TLS13, Versions, client_config, library, server_config,
};
use wireglass_core::mint::status::crl;
use wireglass_core::policy::{DefectAction, Profile};
use wireglass_core::tls::{Knowledge, TlsContext, TlsSettings};
use wireglass_core::x509::{CrlFile, Provider, RootFile};

/// Takes any certificate, and keeps the OCSP response that comes with it.
#[derive(Debug, Default)]
struct StapleKeeper(Arc<Mutex<Vec<u8>>>);

impl ServerCertVerifier for StapleKeeper {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        AnyCertificate.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        AnyCertificate.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        AnyCertificate.supported_verify_schemes()
    }
}

/// A world whose root has a CRL, with these serial numbers in it, that the engine knows.
fn world_with_list(provider: Provider, revoked: &[Vec<u8>]) -> World {
    let mut world = World::new(provider);
    let at = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds);
    let entry = |serial: &Vec<u8>| rcgen::RevokedCertParams {
        serial_number: SerialNumber::from(serial.clone()),
        revocation_time: at(NOW - DAY),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: at(NOW - DAY),
        next_update: at(NOW + DAY),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::from_params(&ca_params("Public Root"), &world.root.key)).unwrap();
    let settings = TlsSettings {
        provider,
        trusted: ca_files(world.dir.path(), "trusted"),
        untrusted: ca_files(world.dir.path(), "untrusted"),
        system_roots: None,
        roots: vec![RootFile { name: "root".into(), pem: pem(&world.root.der) }],
        crl_url: Some("http://pki.example/wireglass.crl".into()),
        knowledge: Knowledge {
            crls: vec![CrlFile { name: "list".into(), contents: list.der().to_vec() }],
            ..Knowledge::default()
        },
        now: NOW,
    };
    world.context = Arc::new(TlsContext::new(settings).unwrap());
    world
}

/// The leaf that a client gets, and the OCSP response with it.
fn seen(world: &World, server: &Signed, versions: Versions, plan: Plan) -> (Vec<u8>, Vec<u8>) {
    let library = library(world.provider);
    let mut client = client_config(&library, versions, &[]);
    let staple = Arc::default();
    client.dangerous().set_certificate_verifier(Arc::new(StapleKeeper(Arc::clone(&staple))));
    let config = server_config(&library, BOTH, std::slice::from_ref(&server.der), server.private_key());
    let flow = Flow::run(world, client, config, plan);
    assert_eq!(flow.failure, None, "{:?}", flow.report);
    let staple = staple.lock().unwrap().clone();
    (flow.presented()[0].to_vec(), staple)
}

fn openssl(dir: &Path, line: &str) -> String {
    let output = Command::new("openssl").args(line.split_whitespace()).current_dir(dir).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_client_sees_that_there_was_a_check() {
    for &provider in Provider::BUILT_IN {
        let world = world_with_list(provider, &[]);
        let dir = world.dir.path();
        for versions in [TLS12, TLS13] {
            let (leaf, staple) = seen(&world, &world.leaf, versions, Plan::default());
            fs::write(dir.join("leaf.pem"), pem(&leaf.into())).unwrap();
            fs::write(dir.join("staple.der"), &staple).unwrap();
            let line =
                "ocsp -respin staple.der -issuer trusted.pem -cert leaf.pem -CAfile trusted.pem -attime";
            let said = openssl(dir, &format!("{line} {NOW}"));
            assert!(
                said.contains("Response verify OK")
                    && said.contains("good\n\tThis Update: Jan 15 07:00:00 2027"),
                "{said}"
            );
            assert!(
                openssl(dir, "x509 -in leaf.pem -noout -text")
                    .contains("URI:http://pki.example/wireglass.crl")
            );
        }
        // The same for half a day.
        let at = |now| seen(&world, &world.leaf, TLS13, Plan { now, ..Plan::default() }).1;
        assert_eq!(at(NOW), at(NOW + DAY / 2 - 1));
        assert_ne!(at(NOW), at(NOW + DAY / 2));
    }
}

#[test]
fn of_what_was_not_found_good_nothing_is_said() {
    // Nothing is known of it; it is revoked, and allowed.
    let unknown = World::new(Provider::default());
    assert_eq!(seen(&unknown, &unknown.leaf, TLS13, Plan::default()).1, b"");
    let world = world_with_list(Provider::default(), &[vec![0x11; 8]]);
    let mut params = leaf_params(&[HOST]);
    params.serial_number = Some(SerialNumber::from(vec![0x11; 8]));
    let revoked = Signed::by(params, &world.root);
    for on_revoked in [DefectAction::Allow, DefectAction::UntrustedCa] {
        let profile = Profile { on_revoked, ..Profile::default() };
        assert_eq!(seen(&world, &revoked, TLS13, Plan { profile, ..Plan::default() }).1, b"");
    }
}

#[test]
fn lists_of_our_own() {
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        let dir = world.dir.path();
        for (serials, lines) in
            [(vec![], "No Revoked Certificates"), (vec![vec![0, 0xa0, 1], vec![7]], "Serial Number: A001")]
        {
            let list = crl(provider, &ca_files(dir, "trusted"), &serials, 30, NOW).unwrap();
            fs::write(dir.join("list.der"), list).unwrap();
            let said = openssl(dir, "crl -inform DER -in list.der -CAfile trusted.pem -noout -text");
            assert!(said.contains("verify OK") && said.contains(lines), "{said}");
            assert!(said.contains("Next Update: Feb 14 08:00:00 2027 GMT"), "{said}");
        }
    }
}
