//! Thousands of chains, made at random from descriptions. What is to be found follows from the description; webpki is asked about
//! each as well, and OpenSSL about some. Where we differ, it is written down why.
#![allow(clippy::unwrap_used, clippy::panic)]
#![expect(clippy::disallowed_methods, reason = "OpenSSL wants its certificates in files")]

mod verify_support;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use verify_support::*;
use wireglass_core::reason::Reason;
use wireglass_core::x509::Provider;

/// A certificate of a path.
#[derive(Clone, Debug)]
struct Spec {
    /// Days around now.
    dates: (i64, i64),
    /// None: no basicConstraints.
    is_ca: Option<bool>,
    path_len: Option<u8>,
    usages: Vec<KeyUsagePurpose>,
    purposes: Vec<ExtendedKeyUsagePurpose>,
    unknown_critical: bool,
    /// Has the name of its issuer.
    self_issued: bool,
    /// Signed by nobody's key.
    forged: bool,
    permitted: Vec<&'static Base>,
    excluded: Vec<&'static Base>,
}

/// A subtree, and which of all names here are in it; of a wildcard that is excluded, anything of it counts.
#[derive(Debug)]
struct Base {
    kind: Kind,
    base: &'static str,
    holds: &'static [&'static str],
    touches: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dns,
    Ip,
    Mail,
    Directory,
}

const fn base(kind: Kind, base: &'static str, holds: &'static [&'static str]) -> Base {
    Base { kind, base, holds, touches: &[] }
}

const BASES: &[Base] = &[
    base(
        Kind::Dns,
        "",
        &["www.example.com", "example.com", "www.example.org", "*.example.com", "badexample.com"],
    ),
    base(Kind::Dns, "example.com", &["www.example.com", "example.com", "*.example.com"]),
    base(Kind::Dns, ".example.com", &["www.example.com", "*.example.com"]),
    Base {
        kind: Kind::Dns,
        base: "www.example.com",
        holds: &["www.example.com"],
        touches: &["*.example.com"],
    },
    base(Kind::Dns, "com", &["www.example.com", "example.com", "*.example.com", "badexample.com"]),
    base(Kind::Dns, "org", &["www.example.org"]),
    base(Kind::Ip, "192.0.2.0/24", &["192.0.2.80"]),
    base(Kind::Ip, "192.0.0.0/8", &["192.0.2.80"]),
    base(Kind::Ip, "10.0.0.0/8", &[]),
    base(Kind::Ip, "2001:db8::/32", &["2001:db8::1"]),
    base(Kind::Mail, "example.com", &["a@example.com"]),
    base(Kind::Mail, ".example.com", &["a@mail.example.com"]),
    base(Kind::Mail, "a@example.com", &["a@example.com"]),
    base(Kind::Mail, "example.org", &[]),
    base(Kind::Directory, "C=IT", &["subject"]),
    base(Kind::Directory, "C=IT,O=Office", &["subject"]),
    base(Kind::Directory, "C=DE", &[]),
    base(Kind::Directory, "O=Office", &[]),
];

const NAMES: &[&str] = &[
    "www.example.com",
    "example.com",
    "www.example.org",
    "*.example.com",
    "badexample.com",
    "192.0.2.80",
    "2001:db8::1",
    "a@example.com",
    "a@mail.example.com",
];

fn kind(name: &str) -> Kind {
    match name {
        "subject" => Kind::Directory,
        name if name.contains('@') => Kind::Mail,
        name if name.parse::<std::net::IpAddr>().is_ok() => Kind::Ip,
        _ => Kind::Dns,
    }
}

/// A path and what is beside it.
#[derive(Clone, Debug)]
struct Case {
    /// The leaf first, the root last.
    path: Vec<Spec>,
    names: Vec<&'static str>,
    asked: &'static str,
    junk: usize,
}

impl Spec {
    fn ca() -> Self {
        Self {
            dates: (-100, 100),
            is_ca: Some(true),
            path_len: None,
            usages: vec![KeyUsagePurpose::KeyCertSign],
            purposes: vec![],
            unknown_critical: false,
            self_issued: false,
            forged: false,
            permitted: vec![],
            excluded: vec![],
        }
    }

    fn leaf() -> Self {
        Self {
            is_ca: Some(false),
            usages: vec![KeyUsagePurpose::DigitalSignature],
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..Self::ca()
        }
    }

    /// Changes one thing. Of a root only what does not make it none.
    fn spoil(&mut self, dice: &mut Dice, place: usize, root: usize) {
        use ExtendedKeyUsagePurpose as Use;
        match dice.below(if place == root { 4 } else { 11 }) {
            0 => self.dates = *dice.pick(&[(-100, -1), (1, 100), (-1, 1)]),
            1 if place > 0 => self.path_len = Some(dice.below(3) as u8),
            2 if place > 0 => self.permitted = (0..=dice.below(3)).map(|_| dice.pick(BASES)).collect(),
            3 if place > 0 => self.excluded = (0..=dice.below(2)).map(|_| dice.pick(BASES)).collect(),
            4 => self.is_ca = *dice.pick(&[None, Some(false), Some(true)]),
            5 => self.usages = vec![*dice.pick(&[KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign])],
            6 => self.usages = vec![],
            7 => {
                self.purposes = dice
                    .pick(&[
                        vec![],
                        vec![Use::ClientAuth],
                        vec![Use::ServerAuth, Use::ClientAuth],
                        vec![Use::Any],
                    ])
                    .clone();
            }
            8 => self.unknown_critical = true,
            9 if place > 0 => self.self_issued = true,
            10 => self.forged = dice.one_in(4),
            _ => {}
        }
    }

    fn params(&self, subject: &str, names: &[&str]) -> CertificateParams {
        let subject = [
            (DnType::CountryName, "IT"),
            (DnType::OrganizationName, "Office"),
            (DnType::CommonName, subject),
        ];
        let mut params = params(&subject, names);
        dates(&mut params, self.dates.0, self.dates.1);
        params.is_ca = match (self.is_ca, self.path_len) {
            (None, _) => IsCa::NoCa,
            (Some(false), _) => IsCa::ExplicitNoCa,
            (Some(true), None) => IsCa::Ca(BasicConstraints::Unconstrained),
            (Some(true), Some(length)) => IsCa::Ca(BasicConstraints::Constrained(length)),
        };
        params.use_authority_key_identifier_extension = true;
        params.key_usages = self.usages.clone();
        params.extended_key_usages = self.purposes.clone();
        if self.unknown_critical {
            params.custom_extensions = vec![extension(&[1, 3, 6, 1, 4, 1, 99999, 1], true, vec![5, 0])];
        }
        // Neither list may be empty where there is one; none of them: no extension.
        if !self.permitted.is_empty() || !self.excluded.is_empty() {
            let subtrees = |bases: &[&'static Base]| bases.iter().map(|base| base.subtree()).collect();
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: subtrees(&self.permitted),
                excluded_subtrees: subtrees(&self.excluded),
            });
        }
        params
    }
}

impl Base {
    fn subtree(&self) -> GeneralSubtree {
        match self.kind {
            Kind::Dns => GeneralSubtree::DnsName(self.base.into()),
            Kind::Mail => GeneralSubtree::Rfc822Name(self.base.into()),
            Kind::Ip => GeneralSubtree::IpAddress(self.base.parse::<CidrSubnet>().unwrap()),
            Kind::Directory => {
                let mut name = DistinguishedName::new();
                for part in self.base.split(',') {
                    match part.split_once('=').unwrap() {
                        ("C", country) => name.push(DnType::CountryName, country),
                        (_, organization) => name.push(DnType::OrganizationName, organization),
                    }
                }
                GeneralSubtree::DirectoryName(name)
            }
        }
    }
}

impl Case {
    fn at_random(dice: &mut Dice) -> Self {
        let root = 1 + dice.below(4);
        let mut path = vec![Spec::ca(); root + 1];
        path[0] = Spec::leaf();
        for _ in 0..dice.below(4) {
            let place = dice.below(root + 1);
            path[place].spoil(dice, place, root);
        }
        // No more than two of one name are searched.
        for place in 1..root {
            path[place + 1].self_issued &= !path[place].self_issued;
        }
        let mut names = vec!["www.example.com"];
        for _ in 0..dice.below(3) {
            names.push(*dice.pick(NAMES));
        }
        if dice.one_in(8) {
            names.remove(0);
        }
        names.sort_unstable();
        names.dedup();
        let asked =
            dice.pick(&["www.example.com", "www.example.com", "example.com", "192.0.2.80", "2001:db8::1"]);
        // Which of several broken ways is told of is another question.
        let junk = if path.iter().any(|spec| spec.forged) { 0 } else { dice.below(6) };
        Self { path, names, asked, junk }
    }

    /// What is wrong at which place.
    fn expected(&self) -> Vec<(u8, Reason)> {
        let root = self.path.len() - 1;
        let mut found = Vec::new();
        let mut say = |place: usize, reason| found.push((place as u8, reason));
        let leaf = &self.path[0];
        let serves = |spec: &Spec| {
            use ExtendedKeyUsagePurpose as Use;
            spec.purposes.is_empty()
                || spec.purposes.iter().any(|purpose| [Use::ServerAuth, Use::Any].contains(purpose))
        };
        let by_itself = |place: usize, say: &mut dyn FnMut(usize, Reason)| {
            let spec = &self.path[place];
            match spec.dates {
                (_, to) if to < 0 => say(place, Reason::CertExpired),
                (from, _) if from > 0 => say(place, Reason::CertNotYet),
                _ => {}
            }
            if spec.unknown_critical {
                say(place, Reason::CertUnsupported);
            }
            if !serves(spec) {
                say(place, Reason::CertUsage);
            }
        };
        by_itself(0, &mut say);
        let signs = leaf.usages.is_empty() || leaf.usages.contains(&KeyUsagePurpose::DigitalSignature);
        if leaf.is_ca == Some(true) || !signs {
            say(0, Reason::CertUsage);
        }
        let stands_for = |name: &&str| {
            *name == self.asked || (*name == "*.example.com" && self.asked == "www.example.com")
        };
        if !self.names.iter().any(|name| stands_for(name)) {
            let is_address = kind(self.asked) == Kind::Ip;
            say(0, if is_address { Reason::CertNoName } else { Reason::CertMismatch });
        }
        if let Some(forged) = self.path[..root].iter().position(|spec| spec.forged) {
            // Of what is above nobody knows who has made it.
            say(forged, Reason::CertUntrusted);
        } else {
            for place in 1..=root {
                by_itself(place, &mut say);
                let spec = &self.path[place];
                let signs = spec.usages.is_empty() || spec.usages.contains(&KeyUsagePurpose::KeyCertSign);
                if spec.is_ca != Some(true) || !signs {
                    say(place, Reason::CertUsage);
                }
                // CAs between this one and a place below it, that place included.
                let limit = spec.path_len.filter(|_| spec.is_ca == Some(true));
                for below in 1..place {
                    let counted = self.path[below..place].iter().filter(|ca| !ca.self_issued).count();
                    if limit.is_some_and(|limit| counted > limit.into()) && !self.path[below].self_issued {
                        say(below, Reason::CertUsage);
                    }
                }
                for below in (0..place).filter(|below| *below == 0 || !self.path[*below].self_issued) {
                    if !self.is_within(spec, below) {
                        say(below, Reason::CertUsage);
                    }
                }
            }
        }
        found.sort_by_key(|(place, reason)| (*place, *reason as u8));
        found.dedup();
        found
    }

    /// Whether the names at a place are within the constraints of a CA.
    fn is_within(&self, ca: &Spec, place: usize) -> bool {
        let names: &[&str] = if place == 0 { &self.names } else { &[] };
        names.iter().chain(&["subject"]).all(|name| {
            let of_kind = |base: &&&Base| base.kind == kind(name);
            let permitted: Vec<_> = ca.permitted.iter().filter(of_kind).collect();
            (permitted.is_empty() || permitted.iter().any(|base| base.holds.contains(name)))
                && !ca.excluded.iter().any(|base| base.holds.contains(name) || base.touches.contains(name))
        })
    }

    /// Roots to trust, and the chain as it is presented.
    fn build(
        &self,
        keys: &[KeyPair],
        dice: &mut Dice,
    ) -> (Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>) {
        let root = self.path.len() - 1;
        let nobody = &keys[root + 1];
        let mut subject = "Root".to_owned();
        let mut above = self.path[root].params(&subject, &[]);
        let roots = vec![sign(&above, &keys[root], &above, &keys[root])];
        let mut chain = Vec::new();
        for place in (0..root).rev() {
            let spec = &self.path[place];
            if !spec.self_issued {
                subject = if place == 0 { "server".into() } else { format!("CA {place}") };
            }
            let params = spec.params(&subject, if place == 0 { &self.names } else { &[] });
            let by = if spec.forged { nobody } else { &keys[place + 1] };
            chain.push(sign(&params, &keys[place], &above, by));
            above = params;
        }
        chain.reverse();
        for _ in 0..self.junk {
            let at = 1 + dice.below(chain.len());
            let name = dice.pick(&["CA 1", "CA 2", "Root", "Stranger"]);
            // Its own key, one that nobody has signed with, in any of the names; or a path's certificate in the name of a stranger.
            let stranger = Spec::ca().params(name, &[]);
            let der = match dice.below(3) {
                0 => sign(&stranger, nobody, &stranger, nobody),
                1 => sign(&Spec::ca().params("CA 1", &[]), &keys[1], &stranger, nobody),
                _ => chain[at - 1].clone(),
            };
            chain.insert(at, der);
        }
        if dice.one_in(2) {
            let rest = &mut chain[1..];
            rest.reverse();
        }
        (roots, chain)
    }

    /// Why we may refuse what OpenSSL takes.
    fn stricter_than_openssl(&self) -> bool {
        let odd_ca = |ca: &Spec| ca.is_ca.is_none() && ca.usages.contains(&KeyUsagePurpose::KeyCertSign);
        let touched =
            |ca: &Spec| ca.excluded.iter().any(|base| self.names.iter().any(|n| base.touches.contains(n)));
        let leaf = &self.path[0];
        // A server's key is to sign, and no CA's.
        leaf.is_ca == Some(true)
            || !(leaf.usages.is_empty() || leaf.usages.contains(&KeyUsagePurpose::DigitalSignature))
            // It takes a CA without basicConstraints, if it has a keyUsage.
            || self.path[1..].iter().any(odd_ca)
            // It asks whether the wildcard is excluded, we whether anything that it stands for is.
            || self.path.iter().any(touched)
    }

    /// Why we may take what OpenSSL refuses: it wants serverAuth by name (RFC 5280 §4.2.1.12: any purpose is any).
    fn looser_than_openssl(&self) -> bool {
        self.path.iter().any(|spec| spec.purposes == [ExtendedKeyUsagePurpose::Any])
    }
}

fn keys() -> Vec<KeyPair> {
    (0..6).map(|_| key()).collect()
}

#[test]
fn what_is_found_is_what_is_wrong() {
    let keys = keys();
    let mut good = 0;
    let (mut seen, mut places) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for seed in 0..3000 {
        let mut dice = Dice(seed);
        let case = Case::at_random(&mut dice);
        let (roots, chain) = case.build(&keys, &mut dice);
        let findings = verify(&trusting(&roots), &chain, case.asked);
        let expected = case.expected();
        assert_eq!(found(&findings), expected, "seed {seed}: {case:#?}\n{:#?}", findings.findings);
        good += usize::from(expected.is_empty());
        seen.extend(expected.iter().map(|(_, reason)| reason.code()));
        places.extend(expected.iter().map(|(place, _)| *place));
    }
    assert!((500..2500).contains(&good), "{good} of 3000 are good: the cases say little");
    assert_eq!((seen.len(), places.len()), (7, 5), "{seen:?} {places:?}");
}

/// webpki takes nothing that we refuse, nor the other way around, but for what we check beyond it, and it cannot judge.
#[test]
fn webpki_agrees() {
    let keys = keys();
    let algorithms = Provider::default();
    let algorithms = match algorithms {
        #[cfg(feature = "aws-lc-rs")]
        Provider::AwsLcRs => rustls::crypto::aws_lc_rs::default_provider(),
        #[cfg(feature = "ring")]
        Provider::Ring => rustls::crypto::ring::default_provider(),
    }
    .signature_verification_algorithms
    .all;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
    let mut compared = 0;
    for seed in 10_000..12_000 {
        let mut dice = Dice(seed);
        let case = Case::at_random(&mut dice);
        let (roots, chain) = case.build(&keys, &mut dice);
        let ours = verify(&trusting(&roots), &chain, case.asked);
        // It has neither distinguished names nor mailboxes; it looks at self-issued CAs; and for one with a keyUsage, dates of
        // roots and any purpose it leaves the decision to us.
        let beyond = case.path.iter().any(|spec| {
            spec.permitted
                .iter()
                .chain(&spec.excluded)
                .any(|b| [Kind::Directory, Kind::Mail].contains(&b.kind))
                || spec.self_issued
                || spec.purposes == [ExtendedKeyUsagePurpose::Any]
                || (spec.permitted.len() + spec.excluded.len() > 0 && case.names.contains(&"*.example.com"))
        }) || case.path[0].purposes.is_empty();
        if beyond {
            continue;
        }
        let anchor = webpki::anchor_from_trusted_cert(&roots[0]).unwrap();
        let theirs = webpki::EndEntityCert::try_from(&chain[0]).and_then(|leaf| {
            leaf.verify_for_usage(
                algorithms,
                &[anchor],
                &chain[1..],
                now,
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )?;
            leaf.verify_is_valid_for_subject_name(&ServerName::try_from(case.asked).unwrap())
        });
        let root = case.path.len() - 1;
        let only_ours = |spec: &Spec| !spec.usages.is_empty();
        let ours_alone =
            case.path.iter().any(only_ours) || case.path[root].dates.1 < 0 || case.path[root].dates.0 > 0;
        let ours_alone = ours_alone || case.path[root].path_len.is_some();
        match theirs {
            Ok(_) if !ours_alone => assert_eq!(ours.defects, [], "seed {seed}: {case:#?}"),
            Ok(_) => {}
            Err(error) => assert_ne!(ours.defects, [], "seed {seed}: {error:?} {case:#?}"),
        }
        compared += 1;
    }
    assert!(compared > 800, "{compared}");
}

#[test]
fn openssl_agrees() {
    let keys = keys();
    let folder = tempfile::tempdir().unwrap();
    let mut outcomes = [0; 2];
    for seed in 20_000..20_300 {
        let mut dice = Dice(seed);
        let mut case = Case::at_random(&mut dice);
        // OpenSSL does not go back where a certificate of the same name and key leads nowhere.
        case.junk = 0;
        let (roots, chain) = case.build(&keys, &mut dice);
        let ours = verify(&trusting(&roots), &chain, case.asked);
        let name = if kind(case.asked) == Kind::Ip { "-verify_ip" } else { "-verify_hostname" };
        match openssl(folder.path(), &roots, &chain, &[name, case.asked]) {
            Ok(()) if case.stricter_than_openssl() => {}
            Ok(()) => {
                assert_eq!(ours.defects, [], "seed {seed}: {case:#?}");
                outcomes[0] += 1;
            }
            Err(_) if case.looser_than_openssl() => {}
            Err(error) => {
                assert_ne!(ours.defects, [], "seed {seed}: {error} {case:#?}");
                outcomes[1] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|n| *n > 50), "{outcomes:?}");
}
