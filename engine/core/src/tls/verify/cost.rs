//! What the worst chains cost, in signature checks: a server can make any chain, and have it verified anew for each name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SignatureAlgorithm as KeyKind,
};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature};

use super::*;
use crate::x509::RootFile;

const NOW: u64 = 1_800_000_000;
const ROOT: &str = "Public Root";
const HOST: &str = "www.example.com";

/// Counts what gets as far as the library.
#[derive(Debug)]
struct Counting {
    inner: &'static dyn SignatureVerificationAlgorithm,
    checks: Arc<AtomicU32>,
}

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.inner.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

/// A name with a key, and a certificate for both.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
}

impl Ca {
    fn new(name: &str) -> Self {
        Self::of_kind(name, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    fn of_kind(name: &str, kind: &'static KeyKind) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = false;
        dates(&mut params, -1000, 1000);
        Self { params, key: KeyPair::generate_for(kind).unwrap() }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// Its certificate, made by `issuer`.
    fn by(&self, issuer: &Self) -> CertificateDer<'static> {
        self.params.signed_by(&self.key, &issuer.issuer()).unwrap().der().clone()
    }

    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "server");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        dates(&mut params, -30, 60);
        change(&mut params);
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer()).unwrap().der().clone()
    }
}

fn dates(params: &mut CertificateParams, from_days: i64, to_days: i64) {
    let at = |days: i64| {
        let seconds = NOW as i64 + days * 86_400;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds as u64)
    };
    params.not_before = at(from_days);
    params.not_after = at(to_days);
}

fn pem(der: &[u8]) -> Vec<u8> {
    use x509_cert::der::pem::{LineEnding, encode_string};
    encode_string("CERTIFICATE", LineEnding::LF, der).unwrap().into_bytes()
}

/// A verifier that trusts one root and has one CA of its own.
struct World {
    verifier: Verifier,
    checks: Arc<AtomicU32>,
    root: Ca,
    own: Ca,
}

impl World {
    fn new() -> Self {
        let (root, own) = (Ca::new(ROOT), Ca::new("Own CA"));
        let file = RootFile { name: "root".into(), pem: pem(&root.by(&root)) };
        let checks = Arc::<AtomicU32>::default();
        let all = crate::x509::Provider::default().load().signature_verification_algorithms.all;
        let counting = all.iter().map(|inner| {
            let counting: &'static Counting =
                Box::leak(Box::new(Counting { inner: *inner, checks: Arc::clone(&checks) }));
            counting as &dyn SignatureVerificationAlgorithm
        });
        let own_ca = OwnCa::of_certificate(&own.by(&own)).unwrap();
        let verifier = Verifier {
            trust: TrustStore::load(None, &[file]).unwrap(),
            intermediates: Intermediates::none(),
            crls: Crls::default(),
            ct_logs: None,
            fetcher: None,
            algorithms: Vec::leak(counting.collect()),
            own: vec![own_ca],
            root_signatures: RootSignatures::none(),
        };
        Self { verifier, checks, root, own }
    }

    /// The defects, and the signatures checked.
    fn verify(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> (Vec<Reason>, u32) {
        let name = ServerName::try_from(HOST).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        self.checks.store(0, Ordering::Relaxed);
        let effort = Effort::within(Budget::Whole);
        let (findings, _) = self.verifier.verify(leaf, rest, &[], &name, now, &effort);
        (findings.defects, self.checks.load(Ordering::Relaxed))
    }

    /// Bounded, and with this outcome.
    #[track_caller]
    fn bounded(
        &self,
        what: &str,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        defects: &[Reason],
    ) {
        let (found, checks) = self.verify(leaf, rest);
        assert!(checks <= 32, "{what}: {checks} signatures checked");
        assert_eq!(found, defects, "{what}");
    }
}

/// So many CAs of one name; each has a certificate by the next, the last one by the first.
fn ring(name: &str, n: usize, kind: &'static KeyKind) -> (Vec<Ca>, Vec<CertificateDer<'static>>) {
    let cas: Vec<Ca> = (0..n).map(|_| Ca::of_kind(name, kind)).collect();
    let certificates = (0..n).map(|i| cas[i].by(&cas[(i + 1) % n])).collect();
    (cas, certificates)
}

/// CAs of one name, each with a certificate by each other.
fn mesh(name: &str, n: usize, kind: &'static KeyKind) -> (Vec<Ca>, Vec<CertificateDer<'static>>) {
    let cas: Vec<Ca> = (0..n).map(|_| Ca::of_kind(name, kind)).collect();
    let pairs = (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j)));
    let certificates = pairs.map(|(i, j)| cas[i].by(&cas[j])).collect();
    (cas, certificates)
}

#[test]
fn rings_of_one_name() {
    let world = World::new();
    let (cas, certificates) = ring("Ring", 8, &rcgen::PKCS_ECDSA_P256_SHA256);
    let leaf = cas[0].leaf(|_| {});
    world.bounded("a ring that no root's name leads to", &leaf, &certificates, &[Reason::CertUntrusted]);
    assert!(world.verify(&leaf, &certificates).1 <= 2, "names say that it is in vain");
    for (what, kind) in [
        ("P-256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("P-384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("P-521", &rcgen::PKCS_ECDSA_P521_SHA512),
        ("Ed25519", &rcgen::PKCS_ED25519),
    ] {
        let (cas, certificates) = ring(ROOT, 8, kind);
        let leaf = cas[0].leaf(|_| {});
        world.bounded(
            &format!("with a root's name, {what}"),
            &leaf,
            &certificates,
            &[Reason::CertTooComplex],
        );
    }
    // Two names in turn.
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        left.push(Ca::new("Left"));
        right.push(Ca::new(ROOT));
    }
    let certificates: Vec<_> =
        (0..8).flat_map(|i| [left[i].by(&right[i]), right[i].by(&left[(i + 1) % 8])]).collect();
    let leaf = left[0].leaf(|_| {});
    world.bounded("two names in turn", &leaf, &certificates, &[Reason::CertTooComplex]);
}

#[test]
fn everybody_signs_everybody() {
    let world = World::new();
    let (cas, certificates) = mesh("Mesh", 6, &rcgen::PKCS_ECDSA_P256_SHA256);
    world.bounded("a mesh", &cas[0].leaf(|_| {}), &certificates, &[Reason::CertUntrusted]);
    for (what, kind, most) in [
        ("P-256", &rcgen::PKCS_ECDSA_P256_SHA256, 32),
        ("P-384", &rcgen::PKCS_ECDSA_P384_SHA384, 12),
        ("P-521", &rcgen::PKCS_ECDSA_P521_SHA512, 12),
    ] {
        let (cas, mut certificates) = mesh(ROOT, 6, kind);
        certificates.reverse();
        let leaf = cas[0].leaf(|_| {});
        world.bounded(
            &format!("with a root's name, {what}"),
            &leaf,
            &certificates,
            &[Reason::CertTooComplex],
        );
        let checks = world.verify(&leaf, &certificates).1;
        assert!(checks <= most, "{what}: {checks} signatures checked");
    }
}

/// Each step has several certificates, of one key and of several.
#[test]
fn ladders() {
    let world = World::new();
    let names = ["A", "B", "C", "D", "E", ROOT];
    let steps: Vec<Vec<Ca>> = names.iter().map(|n| (0..4).map(|_| Ca::new(n)).collect()).collect();
    let mut certificates = Vec::new();
    for pair in steps.windows(2) {
        certificates.extend(pair[0].iter().flat_map(|ca| pair[1].iter().map(|by| ca.by(by))));
    }
    let leaf = steps[0][0].leaf(|_| {});
    world.bounded("a ladder to a root's name", &leaf, &certificates, &[Reason::CertTooComplex]);
    // Two of each: all signatures are right, but for the last.
    let few: Vec<_> = steps
        .windows(2)
        .flat_map(|pair| pair[0][..2].iter().flat_map(|ca| pair[1][..2].iter().map(|by| ca.by(by))))
        .collect();
    world.bounded("a ladder of two, searched to its end", &leaf, &few, &[Reason::CertUntrusted]);
}

/// All paths lead to the root, and each has another that is out of date.
#[test]
fn paths_out_of_date() {
    let world = World::new();
    let mut steps: Vec<Vec<Ca>> =
        (0..6).map(|i| (0..2).map(|_| Ca::new(&format!("Step {i}"))).collect()).collect();
    for (i, ca) in steps.iter_mut().flatten().enumerate() {
        dates(&mut ca.params, -100 - i as i64, -1 - i as i64);
    }
    let mut certificates: Vec<_> = steps
        .windows(2)
        .flat_map(|pair| pair[0].iter().flat_map(|ca| pair[1].iter().map(|by| ca.by(by))))
        .collect();
    certificates.extend(steps[5].iter().map(|ca| ca.by(&world.root)));
    let leaf = steps[0][0].leaf(|p| dates(p, -200, -50));
    world.bounded("a ladder out of date", &leaf, &certificates, &[Reason::CertExpired]);
    let apart = steps[0][0].leaf(|p| dates(p, 10, 50));
    let expected = [Reason::CertExpired, Reason::CertNotYet];
    world.bounded("never valid together", &apart, &certificates, &expected);
}

#[test]
fn all_moments() {
    let world = World::new();
    let (mut cas, _) = ring(ROOT, 8, &rcgen::PKCS_ECDSA_P256_SHA256);
    for (i, ca) in cas.iter_mut().enumerate() {
        dates(&mut ca.params, -100 + i as i64, -1 - i as i64);
    }
    let certificates: Vec<_> = (0..8).map(|i| cas[i].by(&cas[(i + 1) % 8])).collect();
    let leaf = cas[0].leaf(|p| dates(p, -200, -50));
    let expected = [Reason::CertExpired, Reason::CertTooComplex];
    world.bounded("a ring out of date", &leaf, &certificates, &expected);
}

#[test]
fn our_own_name_above_all() {
    let world = World::new();
    let namesake = Ca::new("Own CA");
    let leaf = namesake.leaf(|_| {});
    let certificates: Vec<_> = (0..120).map(|_| Ca::new("Own CA").by(&namesake)).collect();
    world.bounded("our CA's name", &leaf, &certificates, &[Reason::CertTooComplex]);
    let own = world.own.leaf(|_| {});
    assert_eq!(world.verify(&own, &certificates).0, [Reason::CertOwnCa], "the leaf is looked at first");
}

#[test]
fn as_many_as_a_message_holds() {
    let world = World::new();
    let issuer = Ca::new(ROOT);
    let certificates: Vec<_> = (0..150).map(|_| Ca::new(ROOT).by(&issuer)).collect();
    let leaf = issuer.leaf(|_| {});
    world.bounded("150 with a root's name", &leaf, &certificates, &[Reason::CertTooComplex]);
    let long = issuer.leaf(|p| {
        let more = (0..4000).map(|i| SanType::DnsName(format!("x{i}").try_into().unwrap()));
        p.subject_alt_names.extend(more);
    });
    world.bounded(
        "a long leaf, 40 with a root's name",
        &long,
        &certificates[..40],
        &[Reason::CertTooComplex],
    );
    assert!(world.verify(&long, &certificates).1 <= 16, "hashing counts");
    let strangers: Vec<_> = (0..150).map(|i| Ca::new(&format!("CA {i}")).by(&issuer)).collect();
    let leaf = world.root.leaf(|_| {});
    world.bounded("150 strangers beside a good leaf", &leaf, &strangers, &[]);
}

/// Thousands of names, purposes and constraints.
#[test]
fn long_lists() {
    let world = World::new();
    let names = |n: usize| {
        move |p: &mut CertificateParams| {
            let more = (0..n).map(|i| SanType::DnsName(format!("x{i}").try_into().unwrap()));
            p.subject_alt_names.extend(more);
        }
    };
    world.bounded("6000 names", &world.root.leaf(names(6000)), &[], &[]);
    let mut sub = Ca::new("Constrained");
    sub.params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(String::new())],
        excluded_subtrees: (0..2000).map(|i| GeneralSubtree::DnsName(format!("y{i}"))).collect(),
    });
    let above = [sub.by(&world.root)];
    world.bounded("2000 constraints, 10 names", &sub.leaf(names(9)), &above, &[]);
    let mut fewer = Ca::new("Constrained");
    fewer.params.name_constraints = sub.params.name_constraints.clone().map(|mut constraints| {
        constraints.excluded_subtrees.truncate(300);
        constraints
    });
    let leaf = fewer.leaf(names(200));
    world.bounded("300 constraints, 200 names", &leaf, &[fewer.by(&world.root)], &[Reason::CertTooComplex]);
    world.bounded("2000 constraints, 2000 names", &sub.leaf(names(2000)), &above, &[Reason::CertTooComplex]);
    let purposes = |p: &mut CertificateParams| {
        let other = (0..8000).map(|i| ExtendedKeyUsagePurpose::Other(vec![1, 2, 840, i]));
        p.extended_key_usages.splice(0..0, other);
    };
    let leaf = world.root.leaf(purposes);
    world.bounded("8000 purposes", &leaf, &[], &[]);
    world.bounded("9000 names", &world.root.leaf(names(9000)), &[], &[]);
}

/// What is judged: few paths, and none of them long.
#[test]
fn paths_are_few_and_narrow() {
    let world = World::new();
    let short: Vec<Ca> = (0..3).map(|_| Ca::new(ROOT)).collect();
    let ladder: Vec<_> = short.iter().flat_map(|ca| [ca.by(&world.root), ca.by(&short[0])]).collect();
    let rings = ["Ring", ROOT].map(|name| ring(name, 8, &rcgen::PKCS_ECDSA_P256_SHA256));
    for (cas, certificates) in rings.into_iter().chain([(short, ladder)]) {
        let leaf = cas[0].leaf(|_| {});
        let leaf = Certificate::parse(&leaf).unwrap();
        let presented: Vec<_> = certificates.iter().map(|c| Certificate::parse(c).unwrap()).collect();
        let effort = Effort::default();
        let algorithms: Vec<_> = world.verifier.algorithms.to_vec();
        let roots = (world.verifier.trust.anchors(), &world.verifier.root_signatures);
        let search = Search::new(&leaf, &presented, roots, &algorithms, &effort);
        let mut paths = vec![search.by_names()];
        search.each(&mut |path, _| {
            paths.push(path.to_vec());
            ControlFlow::Continue(())
        });
        assert!(paths.len() <= 9, "{paths:?}");
        for path in paths {
            let namesakes = |i: &usize| {
                path.iter().filter(|p| presented[**p].tbs.subject == presented[*i].tbs.subject).count()
            };
            assert!(path.len() <= 6 && path.iter().all(|i| namesakes(i) <= 2), "{path:?}");
        }
    }
}

/// What others take is taken: cross-signed CAs, key changes under one name, any order, junk beside the path.
#[test]
fn good_chains() {
    let mut world = World::new();
    let old = Ca::new("Old root, not trusted here");
    let (inner, outer) = (Ca::new("Inner"), Ca::new("Outer"));
    let leaf = inner.leaf(|_| {});
    let straight = [inner.by(&outer), outer.by(&world.root)];
    // The root's own signature is not checked again when the chain comes again.
    for (name, expected) in [("straight", 3), ("unordered", 2)] {
        let mut chain = straight.to_vec();
        if name == "unordered" {
            chain.reverse();
        }
        let (found, checks) = world.verify(&leaf, &chain);
        assert_eq!((found, checks), (vec![], expected), "{name}: each signature is checked once");
    }
    // Cross-signed, the way to an unknown root first.
    let crossed = [inner.by(&outer), outer.by(&old), old.by(&old), outer.by(&world.root)];
    assert_eq!(world.verify(&leaf, &crossed).0, []);
    // Another key under the intermediate's name, and a CA that changed keys (RFC 4210 §4.4).
    let (namesake, next) = (Ca::new("Inner"), Ca::new("Outer"));
    let changed = [namesake.by(&outer), inner.by(&next), next.by(&outer), outer.by(&world.root)];
    assert_eq!(world.verify(&leaf, &changed).0, []);
    // The way over a certificate that has expired first.
    let mut stale =
        Ca { params: outer.params.clone(), key: KeyPair::from_pem(&outer.key.serialize_pem()).unwrap() };
    dates(&mut stale.params, -500, -10);
    let renewed = [inner.by(&outer), stale.by(&world.root), outer.by(&world.root)];
    // What it has seen in the chains before would take the place of the one that has expired.
    world.verifier.intermediates = Intermediates::none();
    assert_eq!(world.verify(&leaf, &renewed[..2]).0, [Reason::CertExpired]);
    assert_eq!(world.verify(&leaf, &renewed).0, []);
    // Junk: a ring, certificates of the same name, bytes that are no certificate, an unknown root.
    let (_, mut junk) = ring("Ring", 8, &rcgen::PKCS_ECDSA_P256_SHA256);
    junk.extend((0..6).map(|_| Ca::new("Inner").by(&old)));
    junk.extend([old.by(&old), CertificateDer::from(vec![0x30, 0]), CertificateDer::from(vec![7; 40])]);
    junk.extend(straight.clone());
    let (found, checks) = world.verify(&leaf, &junk);
    assert_eq!(found, []);
    assert!(checks <= 16, "{checks}");
    // The same one again and again: what is wrong with it is all that is wrong.
    let mut no_ca = Ca::new("No CA");
    no_ca.params.is_ca = IsCa::ExplicitNoCa;
    let again = vec![no_ca.by(&world.root); 20];
    assert_eq!(world.verify(&no_ca.leaf(|_| {}), &again).0, [Reason::CertUsage]);
    // As deep as a path may be.
    let mut cas: Vec<Ca> = (0..6).map(|i| Ca::new(&format!("CA {i}"))).collect();
    cas.push(Ca {
        params: world.root.params.clone(),
        key: KeyPair::from_pem(&world.root.key.serialize_pem()).unwrap(),
    });
    let deep: Vec<_> = cas.windows(2).map(|pair| pair[0].by(&pair[1])).collect();
    assert_eq!(world.verify(&cas[0].leaf(|_| {}), &deep).0, []);
}

/// With a key id in the leaf, the right one of many namesakes is found at once.
#[test]
fn key_ids_show_the_way() {
    let world = World::new();
    let mut cas: Vec<Ca> = (0..20).map(|_| Ca::new("Many")).collect();
    for ca in &mut cas {
        ca.params.key_identifier_method = KeyIdMethod::Sha256;
    }
    let chain: Vec<_> = cas.iter().map(|ca| ca.by(&world.root)).collect();
    let leaf = cas[19].leaf(|p| p.use_authority_key_identifier_extension = true);
    let (found, checks) = world.verify(&leaf, &chain);
    assert_eq!((found, checks), (vec![], 2));
}

/// A server that has been costly gets less, which is enough for a path, and a chain that is cut short is not remembered as bad.
#[test]
fn less_for_a_server_that_was_costly() {
    let world = World::new();
    let (cas, certificates) = mesh(ROOT, 6, &rcgen::PKCS_ECDSA_P256_SHA256);
    let hostile = cas[0].leaf(|_| {});
    let name = ServerName::try_from(HOST).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let verify = |world: &World, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], budget| {
        world.checks.store(0, Ordering::Relaxed);
        world.verifier.verify(leaf, rest, &[], &name, now, &Effort::within(budget)).0
    };
    let findings = verify(&world, &hostile, &certificates, Budget::Whole);
    assert!(findings.costly && findings.holds.is_some() && world.checks.load(Ordering::Relaxed) > 16);
    let findings = verify(&world, &hostile, &certificates, Budget::Reduced);
    assert!(findings.costly && findings.holds.is_none());
    assert_eq!(findings.defects, [Reason::CertTooComplex]);
    assert!(world.checks.load(Ordering::Relaxed) <= 8);
    let mut inner: Vec<Ca> = (0..4).map(|i| Ca::new(&format!("CA {i}"))).collect();
    let chain: Vec<_> = (0..4).map(|i| inner[i].by(inner.get(i + 1).unwrap_or(&world.root))).collect();
    let good = inner.remove(0).leaf(|_| {});
    for budget in [Budget::Whole, Budget::Reduced] {
        let findings = verify(&world, &good, &chain, budget);
        assert!(!findings.costly && findings.holds.is_some() && findings.defects.is_empty(), "{findings:?}");
    }
}
