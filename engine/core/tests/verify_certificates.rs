//! Certificates that OpenSSL, Go and browsers take, or refuse for a reason of their own: what is found of each, and what is said.
#![allow(clippy::unwrap_used, clippy::panic)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "OpenSSL makes and wants its certificates in files"
)]

mod verify_support;

use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use verify_support::*;
use wireglass_core::policy::{DefectAction, Profile};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, Verdict};
use wireglass_core::x509::{Provider, RootFile};

const HOST: &str = "www.example.com";

fn ca(name: &str) -> CertificateParams {
    let mut params = params(&[(DnType::CommonName, name)], &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf() -> CertificateParams {
    let mut params = params(&[(DnType::CommonName, "server")], &[HOST]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A root, a CA below it, and its leaves.
struct World {
    keys: [KeyPair; 3],
    root: CertificateParams,
    between: CertificateParams,
}

impl World {
    fn new() -> Self {
        Self { keys: [key(), key(), key()], root: ca("Root"), between: ca("Between") }
    }

    fn root(&self) -> CertificateDer<'static> {
        sign(&self.root, &self.keys[2], &self.root, &self.keys[2])
    }

    /// The leaf and the CA above it.
    fn chain(&self, leaf: &CertificateParams) -> Vec<CertificateDer<'static>> {
        vec![
            sign(leaf, &self.keys[0], &self.between, &self.keys[1]),
            sign(&self.between, &self.keys[1], &self.root, &self.keys[2]),
        ]
    }

    fn found(&self, leaf: &CertificateParams) -> Vec<(u8, Reason)> {
        found(&verify(&trusting(&[self.root()]), &self.chain(leaf), HOST))
    }
}

fn changed(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

#[test]
fn what_is_said_of_each_certificate() {
    let mut world = World::new();
    dates(&mut world.between, -100, -1);
    let chain = world.chain(&changed(leaf(), |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        p.subject_alt_names = ["a.example", "b.example", "192.0.2.1", "c.example"].map(alt_name).into();
        p.distinguished_name.push(DnType::OrganizationName, "bell\u{7}\u{202e}");
    }));
    let findings = verify(&trusting(&[world.root()]), &chain, HOST);
    let told = |f: &wireglass_core::event::ChainFinding| {
        (f.certificate, f.reason, f.subject.clone().unwrap(), f.found.clone())
    };
    let server = || "CN=server, O=bell\\u{7}\\u{202e}".to_owned();
    assert_eq!(
        findings.findings.iter().map(told).collect::<Vec<_>>(),
        [
            (1, Reason::CertExpired, "CN=Between".into(), "expired, on 2027-01-14".into()),
            (0, Reason::CertUsage, server(), "extendedKeyUsage without serverAuth".into()),
            (
                0,
                Reason::CertMismatch,
                server(),
                "only the names a.example, b.example, 192.0.2.1 and others".into()
            ),
        ]
    );
    assert_eq!(findings.root.as_deref(), Some("CN=Root"));
    // No root: who is missing.
    let findings = verify(&trusting(&[world.root()]), &chain[..1], "a.example");
    assert_eq!(findings.root, None);
    assert_eq!(findings.findings[0].found, "an issuer that is neither trusted nor presented, CN=Between");
    // As many as there may be, whatever a server shows.
    assert!(findings.findings.len() <= 16);
}

#[test]
fn name_constraints_on_distinguished_names_and_mailboxes() {
    let mut world = World::new();
    let within =
        [(DnType::CountryName, "IT"), (DnType::OrganizationName, "Office"), (DnType::CommonName, "x")];
    let mut base = params(&within[..2], &[]).distinguished_name;
    world.between.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DirectoryName(base.clone()),
            GeneralSubtree::DnsName("example.com".into()),
            GeneralSubtree::Rfc822Name("example.com".into()),
        ],
        excluded_subtrees: vec![],
    });
    let server = |subject: &[(DnType, &str)], names: &[&str]| {
        changed(leaf(), |p| {
            let other = params(subject, names);
            (p.distinguished_name, p.subject_alt_names) = (other.distinguished_name, other.subject_alt_names);
        })
    };
    assert_eq!(world.found(&server(&within, &[HOST, "a@example.com"])), []);
    assert_eq!(world.found(&server(&[], &[HOST])), [], "no subject, nothing to constrain");
    assert_eq!(world.found(&server(&within[1..], &[HOST])), [(0, Reason::CertUsage)]);
    assert_eq!(world.found(&server(&within, &[HOST, "a@example.org"])), [(0, Reason::CertUsage)]);
    base.push(DnType::CommonName, "x");
    let constraints = world.between.name_constraints.as_mut().unwrap();
    constraints.excluded_subtrees = vec![GeneralSubtree::DirectoryName(base)];
    assert_eq!(world.found(&server(&within, &[HOST])), [(0, Reason::CertUsage)]);
    // A kind that is not compared: who has no such name is not concerned.
    let uri = |names: &[&str]| {
        let mut leaf = server(&within[1..], names);
        leaf.subject_alt_names.push(rcgen::SanType::URI("https://example.com/".try_into().unwrap()));
        leaf
    };
    world.between.name_constraints = None;
    // permittedSubtrees { uniformResourceIdentifier "example.com" }
    let value = [&[0x30, 17, 0xa0, 15, 0x30, 13, 0x86, 11][..], b"example.com"].concat();
    world.between.custom_extensions = vec![extension(&[2, 5, 29, 30], true, value)];
    assert_eq!(world.found(&server(&[], &[HOST])), []);
    assert_eq!(world.found(&uri(&[HOST])), [(0, Reason::CertUnsupported)]);
    // Constraints that cannot be read constrain all.
    for (value, reason) in [
        (vec![0x30, 0x03, 0xa0, 0x05, 0], Reason::CertMalformed),
        (vec![0x30, 0x02, 0xa2, 0x00], Reason::CertMalformed),
        // With a minimum.
        (vec![0x30, 10, 0xa0, 8, 0x30, 6, 0x82, 1, b'a', 0x80, 1, 1], Reason::CertUnsupported),
    ] {
        world.between.custom_extensions = vec![extension(&[2, 5, 29, 30], true, value)];
        assert_eq!(world.found(&server(&[], &[HOST])), [(1, reason)]);
    }
}

/// `SEQUENCE { content }`, short.
fn sequence(content: &[u8]) -> Vec<u8> {
    [&[0x30, content.len() as u8], content].concat()
}

/// 1.3.6.1.4.1.99999.n, and anyPolicy for 0.
fn policy(n: u8) -> Vec<u8> {
    match n {
        0 => vec![6, 4, 0x55, 0x1d, 0x20, 0],
        n => vec![6, 9, 0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, n],
    }
}

fn policies(list: &[u8]) -> CustomExtension {
    let each: Vec<u8> = list.iter().flat_map(|n| sequence(&policy(*n))).collect();
    extension(&[2, 5, 29, 32], true, sequence(&each))
}

fn policy_constraints(require: Option<u8>, inhibit_mapping: Option<u8>) -> CustomExtension {
    let part = |tag: u8, n: Option<u8>| n.map_or(vec![], |n| vec![tag, 1, n]);
    extension(&[2, 5, 29, 36], true, sequence(&[part(0x80, require), part(0x81, inhibit_mapping)].concat()))
}

fn policy_mappings(pairs: &[(u8, u8)]) -> CustomExtension {
    let each: Vec<u8> =
        pairs.iter().flat_map(|(a, b)| sequence(&[policy(*a), policy(*b)].concat())).collect();
    extension(&[2, 5, 29, 33], true, sequence(&each))
}

fn inhibit_any_policy(skip: u8) -> CustomExtension {
    extension(&[2, 5, 29, 54], true, vec![2, 1, skip])
}

#[test]
fn policies_matter_where_a_ca_requires_one() {
    let mut world = World::new();
    let with = |extensions: Vec<CustomExtension>| changed(leaf(), |p| p.custom_extensions = extensions);
    assert_eq!(world.found(&with(vec![policies(&[1])])), [], "critical, and of no consequence");
    world.between.custom_extensions = vec![
        policies(&[1, 2]),
        policy_constraints(Some(0), None),
        policy_mappings(&[(2, 3)]),
        inhibit_any_policy(0),
    ];
    assert_eq!(world.found(&with(vec![policies(&[1])])), []);
    assert_eq!(world.found(&with(vec![policies(&[3, 4])])), [], "as it is called below");
    for wrong in [vec![], vec![policies(&[2])], vec![policies(&[4])], vec![policies(&[0])]] {
        assert_eq!(world.found(&with(wrong)), [(0, Reason::CertUsage)]);
    }
    world.between.custom_extensions = vec![policies(&[1]), policy_constraints(Some(0), None)];
    assert_eq!(world.found(&with(vec![policies(&[0])])), [], "any policy");
    let malformed = extension(&[2, 5, 29, 32], true, vec![0x30, 1, 6]);
    assert_eq!(world.found(&with(vec![malformed])), [(0, Reason::CertMalformed)]);
    let list: Vec<u8> = (0..200).flat_map(|_| sequence(&policy(1))).collect();
    let length = list.len() as u16;
    let value = [&[0x30, 0x82][..], &length.to_be_bytes(), &list].concat();
    let many = extension(&[2, 5, 29, 32], true, value);
    assert_eq!(world.found(&with(vec![many])), [(0, Reason::CertTooComplex)]);
}

/// All that the extensions say, at random, in paths of three CAs: OpenSSL builds the tree that we do without.
#[test]
fn openssl_agrees_on_policies() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<_> = (0..4).map(|_| key()).collect();
    let mut outcomes = [0; 2];
    for seed in 0..250 {
        let mut dice = Dice(seed);
        let names = ["server", "A", "B", "Root"];
        let mut certificates: Vec<_> = names.iter().map(|name| ca(name)).collect();
        certificates[0] = leaf();
        for (place, params) in certificates[..3].iter_mut().enumerate() {
            params.use_authority_key_identifier_extension = true;
            let mut list: Vec<u8> = (0..4).filter(|_| dice.one_in(2)).collect();
            if list.is_empty() {
                list.push(1);
            }
            if !dice.one_in(12) {
                params.custom_extensions.push(policies(&list));
            }
            if dice.one_in(2) {
                let some = |dice: &mut Dice| dice.one_in(2).then(|| dice.below(3) as u8);
                let (require, inhibit) = (some(&mut dice), some(&mut dice));
                if require.is_some() || inhibit.is_some() {
                    params.custom_extensions.push(policy_constraints(require, inhibit));
                }
            }
            if place > 0 && dice.one_in(3) {
                let pair = |dice: &mut Dice| (1 + dice.below(3) as u8, 1 + dice.below(3) as u8);
                let mut pairs: Vec<_> = (0..=dice.below(2)).map(|_| pair(&mut dice)).collect();
                // OpenSSL maps what any policy stands for where that does not count (inhibitAnyPolicy); RFC 5280 §6.1.4 (b) does not.
                if list.contains(&0) {
                    pairs.retain(|(issuer, _)| list.contains(issuer));
                }
                if !pairs.is_empty() {
                    params.custom_extensions.push(policy_mappings(&pairs));
                }
            }
            if dice.one_in(3) {
                params.custom_extensions.push(inhibit_any_policy(dice.below(3) as u8));
            }
        }
        let signed =
            |i: usize| sign(&certificates[i], &keys[i], &certificates[(i + 1).min(3)], &keys[(i + 1).min(3)]);
        let (roots, chain) = ([signed(3)], [signed(0), signed(1), signed(2)]);
        let ours = verify(&trusting(&roots), &chain, HOST);
        let theirs = openssl(folder.path(), &roots, &chain, &["-policy_check", "-policy", "2.5.29.32.0"]);
        assert_eq!(ours.defects.is_empty(), theirs.is_ok(), "seed {seed}: {:?} {theirs:?}", ours.findings);
        outcomes[usize::from(theirs.is_ok())] += 1;
    }
    assert!(outcomes.iter().all(|n| *n > 30), "{outcomes:?}");
}

/// Runs OpenSSL in `folder`, with words between spaces.
fn run(folder: &Path, command: &str) {
    let output =
        Command::new("openssl").args(command.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(folder: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

/// What `openssl` makes, with the options that people find on the net. Its dates are around the machine's own now.
#[test]
fn what_openssl_makes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 60;
    let name = rustls_pki_types::ServerName::try_from(HOST).unwrap();
    let of = |roots: &[CertificateDer<'_>], leaf: &CertificateDer<'_>| {
        found(&trusting(roots).verify(leaf, &[], &name, now))
    };
    std::fs::write(folder.join("san"), format!("subjectAltName=DNS:{HOST}")).unwrap();
    run(folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Root -days 30");
    run(folder, "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=www.example.com");
    let root = read(folder, "ca.pem");
    let signed = |more: &str| {
        let base = "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -out leaf.pem";
        run(folder, &[base, more].concat());
        of(std::slice::from_ref(&root), &read(folder, "leaf.pem"))
    };
    assert_eq!(signed(" -extfile san"), [], "no extendedKeyUsage");
    // X.509 v1: it has no names.
    assert_eq!(signed(""), [(0, Reason::CertMismatch)]);
    let pss = |salt: &str| {
        signed(&format!(" -extfile san -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}"))
    };
    assert_eq!(pss("32"), []);
    // It cannot be verified, so that no root stands behind it; weak it is not.
    assert_eq!(pss("20"), [(0, Reason::CertUntrusted), (0, Reason::CertUnsupported)]);
    assert_eq!(signed(" -extfile san -sha1"), [(0, Reason::CertUntrusted), (0, Reason::CertWeak)]);
    // Curves that nobody says are weak.
    run(folder, "ecparam -name brainpoolP256r1 -genkey -noout -out bp.key");
    run(folder, "req -new -key bp.key -out leaf.csr -subj /CN=bp");
    assert_eq!(signed(" -extfile san"), [(0, Reason::CertUnsupported)]);
    run(folder, "genpkey -algorithm ed448 -out ed448.key");
    run(folder, "req -new -key ed448.key -out leaf.csr -subj /CN=ed448");
    assert_eq!(signed(" -extfile san"), [(0, Reason::CertUnsupported)]);
    run(folder, "ecparam -name secp224r1 -genkey -noout -out p224.key");
    run(folder, "req -new -key p224.key -out leaf.csr -subj /CN=p224");
    assert_eq!(signed(" -extfile san"), [(0, Reason::CertWeak)]);
    // A CA with such a key: nothing that it signs can be verified, and that is why.
    std::fs::write(folder.join("ca"), "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign").unwrap();
    run(folder, "req -new -key p224.key -out weak.csr -subj /CN=Weak");
    let by = |ca: &str, what: &str| format!("x509 -req {what} {ca} -CAcreateserial -days 20");
    run(folder, &by("-CA ca.pem -CAkey ca.key", "-in weak.csr -extfile ca -out weak.pem"));
    run(folder, "req -new -key leaf.key -out leaf.csr -subj /CN=leaf");
    run(folder, &by("-CA weak.pem -CAkey p224.key", "-in leaf.csr -extfile san -out leaf.pem"));
    let (leaf, weak) = (read(folder, "leaf.pem"), read(folder, "weak.pem"));
    let chain = trusting(std::slice::from_ref(&root)).verify(&leaf, &[weak], &name, now);
    assert_eq!(found(&chain), [(0, Reason::CertUntrusted), (1, Reason::CertWeak)]);
    // One appliance, trusted for its names: `req -x509` says CA:TRUE.
    let box_ =
        "req -x509 -newkey rsa:2048 -nodes -keyout box.key -out box.pem -subj /CN=box -days 30 -addext";
    for extra in ["", " -addext basicConstraints=critical,CA:FALSE"] {
        run(folder, &format!("{box_} subjectAltName=DNS:{HOST}{extra}"));
        let appliance = read(folder, "box.pem");
        assert_eq!(of(std::slice::from_ref(&appliance), &appliance), []);
        assert_eq!(of(std::slice::from_ref(&root), &appliance), [(0, Reason::CertSelfSigned)]);
        let other = rustls_pki_types::ServerName::try_from("other.example").unwrap();
        let findings = trusting(std::slice::from_ref(&appliance)).verify(&appliance, &[], &other, now);
        assert_eq!(findings.defects, [Reason::CertMismatch]);
        let later =
            trusting(std::slice::from_ref(&appliance)).verify(&appliance, &[], &name, now + 31 * 86_400);
        assert_eq!(later.defects, [Reason::CertExpired]);
    }
}

/// A signature that cannot be verified is no signature: to allow what cannot be judged does not allow strangers.
#[test]
fn what_cannot_be_judged_is_not_trusted_either() {
    let lenient = Profile { on_unsupported_certificate: DefectAction::Allow, ..Profile::default() };
    let verdict = Verdict::of(&[Reason::CertUntrusted, Reason::CertUnsupported], &lenient);
    assert_eq!((verdict.defect, verdict.action), (Some(Reason::CertUntrusted), DefectAction::Block));
    let verdict = Verdict::of(&[Reason::CertUnsupported], &lenient);
    assert_eq!(verdict.action, DefectAction::Allow);
}

fn load(roots: &[CertificateDer<'_>]) -> Result<ChainVerifier, String> {
    let file = RootFile { name: "roots".into(), pem: pem(roots).into_bytes() };
    ChainVerifier::new(Provider::default(), None, &[file], &[]).map_err(|error| error.to_string())
}

#[test]
fn what_is_no_root() {
    let mut world = World::new();
    let good = world.root();
    let no_root: [fn(&mut CertificateParams); 6] = [
        |p| p.is_ca = IsCa::NoCa,
        |p| p.is_ca = IsCa::ExplicitNoCa,
        |p| p.key_usages = vec![KeyUsagePurpose::CrlSign],
        |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        |p| p.custom_extensions = vec![extension(&[1, 2, 3], true, vec![5, 0])],
        |p| p.custom_extensions = vec![extension(&[2, 5, 29, 30], true, vec![5, 0])],
    ];
    for change in no_root {
        world.root = changed(ca("Root"), change);
        let bad = world.root();
        let error = load(std::slice::from_ref(&bad)).err().expect("an error");
        assert!(error.contains("a certificate that can be a root, or names a server"), "{error}");
        // Beside one that is a root it is left out, and told of.
        let verifier = load(&[bad, good.clone()]).unwrap();
        let [no_root] = verifier.no_roots() else { panic!("{:?}", verifier.no_roots()) };
        assert_eq!((no_root.file.as_str(), no_root.subject.as_str()), ("roots", "CN=Root"));
        assert!(!no_root.for_itself && !no_root.why.is_empty());
    }
    // It has issued, but not as a root.
    let mut server = leaf();
    let itself = sign(&server, &world.keys[2], &server, &world.keys[2]);
    let below = sign(&leaf(), &world.keys[0], &server, &world.keys[2]);
    let verifier = load(std::slice::from_ref(&itself)).unwrap();
    assert!(verifier.no_roots()[0].for_itself);
    assert_eq!(verify(&verifier, std::slice::from_ref(&itself), HOST).defects, []);
    assert_eq!(verify(&verifier, &[below, itself.clone()], HOST).defects, [Reason::CertUntrusted]);
    // Another certificate of the same key and names is another one.
    server.serial_number = Some(7_u64.into());
    let twin = sign(&server, &world.keys[2], &server, &world.keys[2]);
    assert_eq!(verify(&verifier, &[twin], HOST).defects, [Reason::CertSelfSigned]);
}

/// Roots of one name and key, each with limits of its own: any that is right will do.
#[test]
fn several_roots_of_one_name() {
    let world = World::new();
    let chain = world.chain(&leaf());
    let root = |change: &dyn Fn(&mut CertificateParams)| {
        let params = changed(ca("Root"), change);
        sign(&params, &world.keys[2], &params, &world.keys[2])
    };
    let expired = root(&|p| dates(p, -100, -1));
    let future = root(&|p| dates(p, 1, 100));
    let short = root(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let elsewhere = root(&|p| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("example.org".into())];
        p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    });
    let other_key = key();
    let namesake = sign(&ca("Root"), &other_key, &ca("Root"), &other_key);
    let found = |roots: &[&CertificateDer<'static>]| {
        let roots: Vec<_> = roots.iter().map(|root| (*root).clone()).collect();
        found(&verify(&trusting(&roots), &chain, HOST))
    };
    let good = world.root();
    for bad in [&expired, &future, &short, &elsewhere, &namesake] {
        assert_eq!(found(&[bad, &good]), []);
        assert_eq!(found(&[&good, bad]), []);
    }
    assert_eq!(found(&[&expired, &future, &short, &elsewhere, &namesake, &good]), []);
    assert_eq!(found(&[&future]), [(2, Reason::CertNotYet)]);
    assert_eq!(found(&[&future, &expired]), [(2, Reason::CertExpired)], "there was one");
    assert_eq!(found(&[&short]), [(1, Reason::CertUsage)]);
    assert_eq!(found(&[&elsewhere]), [(0, Reason::CertUsage)]);
    assert_eq!(found(&[&namesake]), [(1, Reason::CertUntrusted)]);
    // As many as there may be of one key, the right one last.
    let mut many: Vec<_> = (0..20).map(|_| &expired).collect();
    many.push(&good);
    assert_eq!(found(&many), []);
}

/// What may make another reader see other names, or another certificate.
#[test]
fn contradictions() {
    let world = World::new();
    let twice = || extension(&[1, 2, 3], false, vec![5, 0]);
    assert_eq!(
        world.found(&changed(leaf(), |p| p.custom_extensions = vec![twice(), twice()])),
        [(0, Reason::CertMalformed)]
    );
    // A list of names that breaks off.
    let names = [&[0x30, 19, 0x82, 15][..], HOST.as_bytes(), &[0x82, 9]].concat();
    let broken = changed(leaf(), |p| {
        p.subject_alt_names.clear();
        p.custom_extensions = vec![extension(&[2, 5, 29, 17], false, names)];
    });
    assert_eq!(world.found(&broken), [(0, Reason::CertMalformed)]);
    let of = |oid: &[u64], value: Vec<u8>| {
        changed(leaf(), |p| {
            (p.key_usages, p.extended_key_usages) = (vec![], vec![]);
            p.custom_extensions = vec![extension(oid, true, value)];
        })
    };
    for oid in [[2, 5, 29, 15], [2, 5, 29, 19], [2, 5, 29, 37]] {
        assert_eq!(world.found(&of(&oid, vec![4, 1])), [(0, Reason::CertMalformed)], "{oid:?}");
    }
    assert_eq!(world.found(&of(&[2, 5, 29, 37], vec![0x30, 0])), [(0, Reason::CertMalformed)], "no purpose");
    // The outer signature algorithm is not signed: it must be the one inside.
    let mut chain = world.chain(&leaf());
    let der = chain[0].to_vec();
    let ecdsa_sha256 = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let at = der.windows(10).rposition(|w| w == ecdsa_sha256).unwrap();
    let mut changed = der.clone();
    changed[at + 9] = 3;
    chain[0] = changed.into();
    let defects = verify(&trusting(&[world.root()]), &chain, HOST).defects;
    assert!(
        defects.contains(&Reason::CertMalformed) && defects.contains(&Reason::CertUntrusted),
        "{defects:?}"
    );
    let findings = verify(&trusting(&[world.root()]), &[vec![0x30, 3, 1, 2, 3].into()], HOST);
    assert_eq!((findings.defects, findings.findings.len()), (vec![Reason::CertMalformed], 1));
}
