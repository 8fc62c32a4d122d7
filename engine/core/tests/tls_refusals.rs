//! Every certificate that has to be refused: nothing minted, not one byte of the client's data for the server.
#![allow(clippy::unwrap_used, clippy::panic)]
#![expect(clippy::disallowed_methods, reason = "CAs lie in files, as other programs want them")]

mod tls_support;

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tls_support::pki::{Signed, ca_params, dates, leaf_params};
use tls_support::*;
use wireglass_core::event::MintedBy;
use wireglass_core::policy::{DefectAction, NoNameAction, Profile};
use wireglass_core::reason::Reason;
use wireglass_core::tls::Failure;
use wireglass_core::x509::Provider;

const FIXTURE_ROOT: &[u8] = include_bytes!("tls_fixtures/root.pem");

fn world(provider: Provider) -> World {
    World::with_roots(provider, &[FIXTURE_ROOT.to_vec()])
}

fn fixture(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

/// Runs a client against a server with this chain.
fn serve(
    world: &World,
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    versions: Versions,
    plan: Plan,
) -> Flow {
    let library = library(world.provider);
    let roots = [world.trusted.clone(), world.untrusted.clone()];
    let client = client_config(&library, versions, &roots);
    Flow::run(world, client, server_config(&library, versions, chain, key), plan)
}

/// Expects a refusal for this reason, in both versions, whatever the other actions of the profile are.
fn refused(
    world: &World,
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    reason: Reason,
    alert: u8,
) {
    for versions in [TLS12, TLS13] {
        let minted = world.context.minted();
        let plan = Plan { client_says: b"secret", ..Plan::default() };
        let flow = serve(world, chain, key.clone_key(), versions, plan);
        assert_eq!(flow.failure, Some(Failure { reason, alert: Some(alert) }), "{:?}", flow.report);
        assert_eq!(flow.report.defect, Some(reason));
        assert_eq!(flow.report.certificate.is_some(), x509_cert_parses(&chain[0]));
        assert_eq!(world.context.minted(), minted, "nothing is minted");
        assert!(flow.server.seen.data.is_empty(), "no application data");
        assert!(
            matches!(flow.server.seen.error, Some(rustls::Error::AlertReceived(_))),
            "{:?}",
            flow.server.seen
        );
        assert_eq!(flow.client.seen.error, Some(rustls::Error::AlertReceived(alert.into())));
        assert_eq!(flow.to_client, [21, 3, 3, 0, 2, 2, alert], "the client got an alert and nothing else");
    }
}

fn x509_cert_parses(der: &[u8]) -> bool {
    use x509_cert::der::Decode;
    x509_cert::Certificate::from_der(der).is_ok()
}

fn refused_leaf(world: &World, params: CertificateParams, reason: Reason, alert: u8) {
    let leaf = Signed::by(params, &world.root);
    refused(world, std::slice::from_ref(&leaf.der), leaf.private_key(), reason, alert);
}

fn changed(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = leaf_params(&[HOST]);
    change(&mut params);
    params
}

#[test]
fn dates_of_the_leaf() {
    for &provider in Provider::BUILT_IN {
        let world = world(provider);
        refused_leaf(&world, changed(|p| dates(p, -60, -1)), Reason::CertExpired, 45);
        refused_leaf(&world, changed(|p| dates(p, 1, 60)), Reason::CertNotYet, 45);
    }
}

#[test]
fn issuers_that_nobody_trusts() {
    for &provider in Provider::BUILT_IN {
        let world = world(provider);
        let stranger = Signed::by_itself(ca_params("Stranger"));
        let leaf = Signed::by(leaf_params(&[HOST]), &stranger);
        let chain = [leaf.der.clone(), stranger.der.clone()];
        refused(&world, &chain[..1], leaf.private_key(), Reason::CertUntrusted, 48);
        refused(&world, &chain, leaf.private_key(), Reason::CertUntrusted, 48);
        // The trusted root's name with another key.
        let namesake = Signed::by_itself(ca_params("Public Root"));
        let leaf = Signed::by(leaf_params(&[HOST]), &namesake);
        refused(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), Reason::CertUntrusted, 48);
        // The intermediate is not sent.
        let intermediate = Signed::by(ca_params("Intermediate"), &world.root);
        let leaf = Signed::by(leaf_params(&[HOST]), &intermediate);
        refused(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), Reason::CertUntrusted, 48);
    }
}

#[test]
fn self_signed() {
    let world = world(Provider::default());
    let leaf = Signed::by_itself(leaf_params(&[HOST]));
    refused(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), Reason::CertSelfSigned, 48);
    let openssl = fixture(include_bytes!("tls_fixtures/self-signed.pem"));
    refused(&world, &[openssl], world.leaf.private_key(), Reason::CertSelfSigned, 48);
}

#[test]
fn names() {
    let world = world(Provider::default());
    for names in
        [&["other.example.com"][..], &["example.com"], &["*.com"], &["*.www.example.com"], &["192.0.2.80"]]
    {
        refused_leaf(&world, leaf_params(names), Reason::CertMismatch, 42);
    }
    // Only the common name is right: RFC 9525 §2 does not look at it.
    let only_cn = changed(|p| {
        p.subject_alt_names.clear();
        p.distinguished_name.push(rcgen::DnType::CommonName, HOST);
    });
    refused_leaf(&world, only_cn, Reason::CertMismatch, 42);
    let wrong_san = changed(|p| p.subject_alt_names = leaf_params(&["other.example.com"]).subject_alt_names);
    refused_leaf(&world, wrong_san, Reason::CertMismatch, 42);
    // Wildcards that a registry's customers would share.
    refused_leaf(&world, leaf_params(&["*.co.uk", "*.uk"]), Reason::CertMismatch, 42);
}

/// Without SNI the profile decides: the client has the server's names before it, and no others.
#[test]
fn a_client_that_asks_for_no_name() {
    let world = world(Provider::default());
    let run = |leaf: &Signed, on_no_name| {
        let profile = Profile { on_no_name, ..Profile::default() };
        let plan = Plan { host: None, profile, ..Plan::default() };
        serve(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), TLS13, plan)
    };
    // The client of this test wants the address, and does not find it.
    let flow = run(&world.leaf, NoNameAction::ServerNames);
    assert_eq!(flow.failure.unwrap().reason, Reason::ClientAlert);
    assert_eq!(
        (flow.report.defect, flow.report.minted_by),
        (Some(Reason::CertNoName), Some(MintedBy::Trusted))
    );
    let flow = run(&world.leaf, NoNameAction::Block);
    assert_eq!(flow.failure, Some(Failure { reason: Reason::CertNoName, alert: Some(42) }));
    let with_address = Signed::by(leaf_params(&[HOST, "192.0.2.80"]), &world.root);
    for action in [NoNameAction::ServerNames, NoNameAction::Block] {
        let flow = run(&with_address, action);
        assert_eq!((flow.failure, flow.report.defect), (None, None), "{:?}", flow.report);
    }
}

/// One name that is no name: the others count.
#[test]
fn a_name_that_is_not_ascii_beside_the_right_one() {
    let world = world(Provider::default());
    let with = |names: &[&[u8]]| {
        let list: Vec<u8> = names.iter().flat_map(|n| [&[0x82, n.len() as u8][..], n].concat()).collect();
        let value = [&[0x30, list.len() as u8][..], &list].concat();
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], value);
        let leaf = Signed::by(
            changed(|p| {
                p.subject_alt_names.clear();
                p.custom_extensions = vec![extension];
            }),
            &world.root,
        );
        serve(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), BOTH, Plan::default())
    };
    for names in [[&b"b\xfccher.example"[..], HOST.as_bytes()], [HOST.as_bytes(), b"\xff"]] {
        let flow = with(&names);
        assert_eq!(flow.failure, None);
        assert_eq!(flow.report.certificate.unwrap().alt_names, [HOST]);
    }
    assert_eq!(with(&[b"www.example.co\xed"]).failure.unwrap().reason, Reason::CertMismatch);
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let world = world(Provider::default());
    let leaf = Signed::by(leaf_params(&["*.example.com"]), &world.root);
    let flow = serve(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), TLS13, Plan::default());
    assert_eq!(flow.failure, None);
}

/// More ways than are searched: blocked whatever the profile says of untrusted servers.
#[test]
fn chains_that_are_too_complex() {
    let world = world(Provider::default());
    let ring: Vec<_> = (0..8).map(|_| Signed::by_itself(ca_params("Public Root"))).collect();
    let leaf = Signed::by(leaf_params(&[HOST]), &ring[0]);
    let mut chain = vec![leaf.der.clone()];
    for (i, ca) in ring.iter().enumerate() {
        let next = &ring[(i + 1) % ring.len()];
        let key = rcgen::KeyPair::from_pem(&ca.key.serialize_pem()).unwrap();
        chain.push(Signed::with_key(ca_params("Public Root"), next, key).der);
    }
    refused(&world, &chain, leaf.private_key(), Reason::CertTooComplex, 48);
    let profile = Profile { on_untrusted: DefectAction::Allow, ..Profile::default() };
    let plan = Plan { profile, ..Plan::default() };
    let flow = serve(&world, &chain, leaf.private_key(), TLS13, plan);
    assert_eq!(flow.failure.unwrap().reason, Reason::CertTooComplex);
}

/// "Self-acceptance": what we sign ourselves must never be believed when it comes from outside.
#[test]
fn our_own_cas_certificates() {
    for &provider in Provider::BUILT_IN {
        // Even when somebody has put our CA among the trusted roots.
        let inner = world(provider);
        for stem in ["trusted", "untrusted"] {
            let pem = std::fs::read(inner.dir.path().join(format!("{stem}.pem"))).unwrap();
            let key = std::fs::read_to_string(inner.dir.path().join(format!("{stem}.key"))).unwrap();
            let mut context = World::with_roots(provider, &[pem]);
            // Same CAs, other trust store.
            context.context = Arc::new(
                wireglass_core::tls::TlsContext::new(wireglass_core::tls::TlsSettings {
                    provider,
                    trusted: pki::ca_files(inner.dir.path(), "trusted"),
                    untrusted: pki::ca_files(inner.dir.path(), "untrusted"),
                    crl_url: None,
                    knowledge: Default::default(),
                    system_roots: None,
                    roots: vec![wireglass_core::x509::RootFile {
                        name: "own".into(),
                        pem: std::fs::read(inner.dir.path().join(format!("{stem}.pem"))).unwrap(),
                    }],
                    now: NOW,
                })
                .unwrap(),
            );
            let mut params = ca_params(if stem == "trusted" {
                "wireglass trusted CA"
            } else {
                "wireglass untrusted CA (do not trust)"
            });
            params.key_identifier_method = rcgen::KeyIdMethod::Sha256;
            let own =
                Signed { der: inner.trusted.clone(), params, key: rcgen::KeyPair::from_pem(&key).unwrap() };
            let leaf = Signed::by(leaf_params(&[HOST]), &own);
            refused(&context, std::slice::from_ref(&leaf.der), leaf.private_key(), Reason::CertOwnCa, 49);
            // Below an intermediate, too.
            let between = Signed::by(ca_params("Between"), &own);
            let leaf = Signed::by(leaf_params(&[HOST]), &between);
            let chain = [leaf.der.clone(), between.der.clone()];
            refused(&context, &chain, leaf.private_key(), Reason::CertOwnCa, 49);
            // Beside another path it changes nothing.
            let ca = if stem == "trusted" { inner.trusted.clone() } else { inner.untrusted.clone() };
            let chain = [inner.leaf.der.clone(), ca];
            let flow = serve(&inner, &chain, inner.leaf.private_key(), BOTH, Plan::default());
            assert_eq!((flow.failure, flow.report.defect), (None, None));
        }
    }
}

/// Another engine's CA of the same name is a CA like any other: unknown here, but not ours.
#[test]
fn a_namesake_of_our_ca_is_not_ours() {
    let world = world(Provider::default());
    let namesake = Signed::by_itself(ca_params("wireglass trusted CA"));
    let leaf = Signed::by(leaf_params(&[HOST]), &namesake);
    refused(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), Reason::CertUntrusted, 48);
}

#[test]
fn weak_keys_and_signatures() {
    for &provider in Provider::BUILT_IN {
        let world = world(provider);
        let key = || world.leaf.private_key();
        for pem in [
            &include_bytes!("tls_fixtures/leaf-rsa1024.pem")[..],
            include_bytes!("tls_fixtures/leaf-p224.pem"),
            include_bytes!("tls_fixtures/leaf-sha1.pem"),
        ] {
            refused(&world, &[fixture(pem)], key(), Reason::CertWeak, 42);
        }
        let chain = [
            fixture(include_bytes!("tls_fixtures/leaf-below-rsa1024.pem")),
            fixture(include_bytes!("tls_fixtures/intermediate-rsa1024.pem")),
        ];
        refused(&world, &chain, key(), Reason::CertWeak, 42);
    }
}

#[test]
fn usages_of_the_leaf() {
    let world = world(Provider::default());
    use ExtendedKeyUsagePurpose as Use;
    for uses in [vec![Use::ClientAuth], vec![Use::CodeSigning], vec![Use::ClientAuth, Use::OcspSigning]] {
        refused_leaf(&world, changed(|p| p.extended_key_usages = uses), Reason::CertUsage, 43);
    }
    // RFC 5280 §4.2.1.12: nothing said is nothing forbidden.
    for uses in [vec![], vec![Use::Any], vec![Use::ServerAuth, Use::Any]] {
        let leaf = Signed::by(changed(|p| p.extended_key_usages = uses), &world.root);
        let flow = serve(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), BOTH, Plan::default());
        assert_eq!((flow.failure, flow.report.defect), (None, None));
    }
    refused_leaf(
        &world,
        changed(|p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
        Reason::CertUsage,
        43,
    );
    refused_leaf(
        &world,
        changed(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        Reason::CertUsage,
        43,
    );
}

#[test]
fn intermediates_that_may_not_sign() {
    for &provider in Provider::BUILT_IN {
        let world = world(provider);
        let below = |change: &dyn Fn(&mut CertificateParams), reason, alert| {
            let mut params = ca_params("Intermediate");
            change(&mut params);
            let intermediate = Signed::by(params, &world.root);
            let leaf = Signed::by(leaf_params(&[HOST]), &intermediate);
            refused(&world, &[leaf.der.clone(), intermediate.der.clone()], leaf.private_key(), reason, alert);
        };
        below(&|p| p.is_ca = IsCa::ExplicitNoCa, Reason::CertUsage, 43);
        below(&|p| p.is_ca = IsCa::NoCa, Reason::CertUsage, 43);
        below(&|p| p.key_usages = vec![KeyUsagePurpose::CrlSign], Reason::CertUsage, 43);
        below(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], Reason::CertUsage, 43);
        below(&|p| dates(p, -100, -1), Reason::CertExpired, 45);
        below(&|p| dates(p, 1, 100), Reason::CertNotYet, 45);
        let constraints = |names: &[&str]| NameConstraints {
            permitted_subtrees: names.iter().map(|n| GeneralSubtree::DnsName((*n).into())).collect(),
            excluded_subtrees: vec![],
        };
        below(&|p| p.name_constraints = Some(constraints(&["example.org"])), Reason::CertUsage, 43);

        // A path length of 0, and one CA more below it.
        let mut params = ca_params("Short");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let short = Signed::by(params, &world.root);
        let extra = Signed::by(ca_params("One too many"), &short);
        let leaf = Signed::by(leaf_params(&[HOST]), &extra);
        let chain = [leaf.der.clone(), extra.der.clone(), short.der.clone()];
        refused(&world, &chain, leaf.private_key(), Reason::CertUsage, 43);

        // And one that may.
        let mut params = ca_params("Good");
        params.name_constraints = Some(constraints(&["example.com"]));
        let good = Signed::by(params, &world.root);
        let leaf = Signed::by(leaf_params(&[HOST]), &good);
        // Out of order and with junk.
        let chain = [leaf.der.clone(), world.leaf.der.clone(), world.root.der.clone(), good.der.clone()];
        assert_eq!(serve(&world, &chain, leaf.private_key(), BOTH, Plan::default()).failure, None);
    }
}

#[test]
fn a_root_out_of_its_time() {
    let with_dates = |from, to| {
        let mut params = ca_params("Old Root");
        dates(&mut params, from, to);
        params
    };
    for (from, to, reason) in [(-100, -1, Reason::CertExpired), (1, 100, Reason::CertNotYet)] {
        let root = Signed::by_itself(with_dates(from, to));
        let world = World::with_roots(Provider::default(), &[pki::pem(&root.der)]);
        let leaf = Signed::by(leaf_params(&[HOST]), &root);
        refused(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), reason, 45);
        // Below an intermediate, and with a leaf that is out of its time as well.
        let between = Signed::by(ca_params("Between"), &root);
        let leaf = Signed::by(leaf_params(&[HOST]), &between);
        let chain = [leaf.der.clone(), between.der.clone()];
        refused(&world, &chain, leaf.private_key(), reason, 45);
        let old = Signed::by(changed(|p| dates(p, -50, -20)), &root);
        refused(&world, std::slice::from_ref(&old.der), old.private_key(), Reason::CertExpired, 45);
    }
    // One name and key, several certificates: any that is valid will do, whichever stands first.
    let valid = Signed::by_itself(with_dates(-100, 100));
    let another = |from, to| {
        let key = rcgen::KeyPair::from_pem(&valid.key.serialize_pem()).unwrap();
        with_dates(from, to).self_signed(&key).unwrap().der().clone()
    };
    let leaf = Signed::by(leaf_params(&[HOST]), &valid);
    let (old, new) = (another(-100, -1), another(3, 100));
    for roots in [[&old, &valid.der, &new], [&new, &old, &valid.der], [&valid.der, &old, &new]] {
        let world = World::with_roots(Provider::default(), &roots.map(|r| pki::pem(r)));
        let flow = serve(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), BOTH, Plan::default());
        assert_eq!(flow.failure, None);
    }
    // None is: there was one.
    for roots in [[&old, &new], [&new, &old]] {
        let world = World::with_roots(Provider::default(), &roots.map(|r| pki::pem(r)));
        refused(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), Reason::CertExpired, 45);
    }
}

#[test]
fn malformed() {
    let world = world(Provider::default());
    let key = || world.leaf.private_key();
    refused(&world, &[CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])], key(), Reason::CertMalformed, 42);
    let unknown = |critical| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        unknown.set_criticality(critical);
        unknown
    };
    let twice = changed(|p| p.custom_extensions = vec![unknown(false), unknown(false)]);
    refused_leaf(&world, twice, Reason::CertMalformed, 42);
    let critical = changed(|p| p.custom_extensions = vec![unknown(true)]);
    refused_leaf(&world, critical, Reason::CertUnsupported, 43);
    // X.509 v1 has no extensions, and so no names.
    refused(&world, &[fixture(include_bytes!("tls_fixtures/leaf-v1.pem"))], key(), Reason::CertMismatch, 42);
    // A bit of the signature, and one of what is signed.
    let at = world.leaf.der.windows(7).position(|w| w == b"Example").unwrap();
    for place in [at, world.leaf.der.len() - 1] {
        let mut der = world.leaf.der.to_vec();
        der[place] ^= 1;
        refused(&world, &[der.into()], key(), Reason::CertUntrusted, 48);
    }
}

/// The certificate is fine, but the server does not have its key.
#[test]
fn the_handshake_signature_is_verified_whatever_the_profile() {
    for &provider in Provider::BUILT_IN {
        let world = world(provider);
        let lenient = all_actions(DefectAction::Allow);
        let other = Signed::by_itself(leaf_params(&[HOST]));
        for versions in [TLS12, TLS13] {
            let plan = Plan { profile: lenient.clone(), client_says: b"secret", ..Plan::default() };
            let flow =
                serve(&world, std::slice::from_ref(&world.leaf.der), other.private_key(), versions, plan);
            assert_eq!(flow.failure.unwrap().reason, Reason::ServerProtocol);
            assert_eq!(world.context.minted(), 0);
            assert!(flow.server.seen.data.is_empty());
        }
    }
}

fn all_actions(action: DefectAction) -> Profile {
    Profile {
        on_untrusted: action,
        on_self_signed: action,
        on_expired: action,
        on_not_yet_valid: action,
        on_name_mismatch: action,
        on_usage: action,
        on_unsupported_certificate: action,
        ..Profile::default()
    }
}

#[test]
fn tolerated_defects_are_signed_by_the_ca_that_the_profile_names() {
    let world = world(Provider::default());
    let stranger = Signed::by_itself(ca_params("Stranger"));
    let cases = [
        (Signed::by(changed(|p| dates(p, -60, -1)), &world.root), Reason::CertExpired),
        (Signed::by(changed(|p| dates(p, 1, 60)), &world.root), Reason::CertNotYet),
        (Signed::by(leaf_params(&["other.example.com"]), &world.root), Reason::CertMismatch),
        (Signed::by(leaf_params(&[HOST]), &stranger), Reason::CertUntrusted),
        (Signed::by_itself(leaf_params(&[HOST])), Reason::CertSelfSigned),
        (
            Signed::by(
                changed(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
                &world.root,
            ),
            Reason::CertUsage,
        ),
        (
            Signed::by(
                changed(|p| {
                    let mut unknown =
                        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                    unknown.set_criticality(true);
                    p.custom_extensions = vec![unknown];
                }),
                &world.root,
            ),
            Reason::CertUnsupported,
        ),
    ];
    for (leaf, defect) in &cases {
        for (action, by, issuer) in [
            (DefectAction::UntrustedCa, MintedBy::Untrusted, &world.untrusted),
            (DefectAction::Allow, MintedBy::Trusted, &world.trusted),
        ] {
            let plan = Plan { profile: all_actions(action), ..Plan::default() };
            let library = library(world.provider);
            let mut client = client_config(&library, BOTH, std::slice::from_ref(issuer));
            // What the client thinks of it is not the question here: it shows what it was given.
            client.dangerous().set_certificate_verifier(Arc::new(AnyCertificate));
            let server = server_config(&library, BOTH, std::slice::from_ref(&leaf.der), leaf.private_key());
            let flow = Flow::run(&world, client, server, plan);
            assert_eq!(flow.failure, None);
            assert_eq!((flow.report.defect, flow.report.minted_by), (Some(*defect), Some(by)));
            assert_eq!(flow.presented()[1], *issuer);
        }
    }
}

#[test]
fn the_strictest_of_several_actions_decides() {
    let world = world(Provider::default());
    let stranger = Signed::by_itself(ca_params("Stranger"));
    // Expired, unknown issuer, wrong name: all at once.
    let mut params = leaf_params(&["other.example.com"]);
    dates(&mut params, -60, -1);
    let leaf = Signed::by(params, &stranger);
    for (profile, reason) in [
        (
            Profile { on_expired: DefectAction::Block, ..all_actions(DefectAction::Allow) },
            Reason::CertExpired,
        ),
        (
            Profile { on_untrusted: DefectAction::Block, ..all_actions(DefectAction::Allow) },
            Reason::CertUntrusted,
        ),
        (
            Profile { on_name_mismatch: DefectAction::Block, ..all_actions(DefectAction::UntrustedCa) },
            Reason::CertMismatch,
        ),
        (Profile::default(), Reason::CertUntrusted),
    ] {
        let plan = Plan { profile, ..Plan::default() };
        let flow = serve(&world, &[leaf.der.clone(), stranger.der.clone()], leaf.private_key(), TLS13, plan);
        assert_eq!(flow.failure.map(|f| f.reason), Some(reason));
        assert_eq!(flow.report.defect, Some(reason));
    }
    assert_eq!(world.context.minted(), 0);
}

/// A weak or malformed certificate is never tolerated, however lenient the profile.
#[test]
fn what_no_profile_lets_pass() {
    let world = world(Provider::default());
    let lenient = || Plan { profile: all_actions(DefectAction::Allow), ..Plan::default() };
    let sha1 = fixture(include_bytes!("tls_fixtures/leaf-sha1.pem"));
    let flow = serve(&world, &[sha1], world.leaf.private_key(), TLS13, lenient());
    assert_eq!(flow.failure.unwrap().reason, Reason::CertWeak);
    let twice = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    let leaf = Signed::by(changed(|p| p.custom_extensions = vec![twice.clone(), twice]), &world.root);
    let flow = serve(&world, std::slice::from_ref(&leaf.der), leaf.private_key(), TLS13, lenient());
    assert_eq!(flow.failure.unwrap().reason, Reason::CertMalformed);
    assert_eq!(world.context.minted(), 0);
}
