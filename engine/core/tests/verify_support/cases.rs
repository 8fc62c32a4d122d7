//! Descriptions of paths at random, the chains that they say, and what is to be found of them.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls_pki_types::CertificateDer;
use wireglass_core::reason::Reason;

use super::{Dice, dates, extension, params, sign};

/// A certificate of a path.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Days around now.
    pub dates: (i64, i64),
    /// None: no basicConstraints.
    pub is_ca: Option<bool>,
    pub path_len: Option<u8>,
    pub usages: Vec<KeyUsagePurpose>,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    pub unknown_critical: bool,
    /// Has the name of its issuer.
    pub self_issued: bool,
    /// Signed by nobody's key.
    pub forged: bool,
    pub permitted: Vec<&'static Base>,
    pub excluded: Vec<&'static Base>,
}

/// A subtree, and which of all names here are in it; of a wildcard that is excluded, anything of it counts.
#[derive(Debug)]
pub struct Base {
    pub kind: Kind,
    pub base: &'static str,
    pub holds: &'static [&'static str],
    pub touches: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dns,
    Ip,
    Mail,
    Directory,
}

const fn base(kind: Kind, base: &'static str, holds: &'static [&'static str]) -> Base {
    Base { kind, base, holds, touches: &[] }
}

pub const BASES: &[Base] = &[
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

pub const NAMES: &[&str] = &[
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

pub fn kind(name: &str) -> Kind {
    match name {
        "subject" => Kind::Directory,
        name if name.contains('@') => Kind::Mail,
        name if name.parse::<std::net::IpAddr>().is_ok() => Kind::Ip,
        _ => Kind::Dns,
    }
}

/// A path and what is beside it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The leaf first, the root last.
    pub path: Vec<Spec>,
    pub names: Vec<&'static str>,
    pub asked: &'static str,
    pub junk: usize,
}

impl Spec {
    pub fn ca() -> Self {
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

    pub fn leaf() -> Self {
        Self {
            is_ca: Some(false),
            usages: vec![KeyUsagePurpose::DigitalSignature],
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..Self::ca()
        }
    }

    /// Changes one thing. Of a root only what does not make it none.
    pub fn spoil(&mut self, dice: &mut Dice, place: usize, root: usize) {
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

    pub fn params(&self, subject: &str, names: &[&str]) -> CertificateParams {
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
    pub fn subtree(&self) -> GeneralSubtree {
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
    pub fn at_random(dice: &mut Dice) -> Self {
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
    pub fn expected(&self) -> Vec<(u8, Reason)> {
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
        if !self.names.iter().any(stands_for) {
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
    pub fn is_within(&self, ca: &Spec, place: usize) -> bool {
        let names: &[&str] = if place == 0 { &self.names } else { &[] };
        names.iter().chain(&["subject"]).all(|name| {
            let of_kind = |base: &&&Base| base.kind == kind(name);
            let permitted: Vec<_> = ca.permitted.iter().filter(of_kind).collect();
            (permitted.is_empty() || permitted.iter().any(|base| base.holds.contains(name)))
                && !ca.excluded.iter().any(|base| base.holds.contains(name) || base.touches.contains(name))
        })
    }

    /// Roots to trust, and the chain as it is presented.
    pub fn build(
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
    pub fn stricter_than_openssl(&self) -> bool {
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
    pub fn looser_than_openssl(&self) -> bool {
        self.path.iter().any(|spec| spec.purposes == [ExtendedKeyUsagePurpose::Any])
    }
}
