//! Verification of a server's certificate.
//!
//! The paths are [searched for](path) here, within a [bound](effort) that no chain exceeds, whatever it is made of, and
//! [validated](validation). What a server has forgotten to send is [added](intermediates); whether anything of it has been revoked is asked
//! of what is [at hand](revocation). All defects are collected, not only the first, so that the strictest action of the profile can decide.

pub(in crate::tls) mod crl;
mod effort;
mod finding;
pub(in crate::tls) mod intermediates;
pub(crate) mod name_constraints;
mod names;
pub(in crate::tls) mod ocsp;
mod path;
mod policies;
pub(in crate::tls) mod revocation;
pub(in crate::tls) mod root_signatures;
pub(in crate::tls) mod sct;
mod validation;

use std::net::IpAddr;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier};

use self::crl::Crls;
use self::effort::Counted;
pub(super) use self::effort::{Budget, Effort};
pub(super) use self::finding::plain_name;
use self::finding::{Faults, Found};
use self::intermediates::Intermediates;
use self::path::Search;
use self::revocation::{Issuer, Known, Sources};
use self::root_signatures::RootSignatures;
use self::sct::CtLogs;
pub(super) use self::validation::{serves_tls, unknown_critical, why_no_root};
use super::fetch::{Consulted, Fetcher, Need};
use super::trust::{Anchor, TrustStore};
use crate::event::{ChainFinding, Revocation, RevocationSource};
use crate::policy::{DefectAction, Profile};
use crate::reason::Reason;
use crate::x509::{Certificate, describe_name, oid, whole_list};

/// Certificates of a presented chain that are looked at, besides the leaf.
const MAX_PRESENTED: usize = 32;

/// Defects in the order in which they are reported when the profile treats them alike.
const BY_SEVERITY: [Reason; 17] = [
    Reason::CertOwnCa,
    Reason::CertRevoked,
    Reason::CertMalformed,
    Reason::CertWeak,
    Reason::CertUsage,
    Reason::CertTooComplex,
    Reason::CertSelfSigned,
    Reason::CertUntrusted,
    Reason::CertIncomplete,
    Reason::CertUnsupported,
    Reason::CertMismatch,
    Reason::CertNoName,
    Reason::CertExpired,
    Reason::CertNotYet,
    Reason::CertMustStaple,
    Reason::CertNoSct,
    Reason::CertRevocationUnknown,
];

/// One of our own CAs, whose certificates must never come from outside.
pub(super) struct OwnCa {
    /// DER of its name.
    pub(super) subject: Vec<u8>,
    /// DER of its SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
    /// Its subjectKeyIdentifier.
    pub(super) key_id: Option<Vec<u8>>,
}

impl OwnCa {
    /// From its certificate in DER. None: it is not one.
    pub(super) fn of_certificate(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::parse(der).ok()?;
        let key_id = certificate.decode_extension::<SubjectKeyIdentifier>(oid::SUBJECT_KEY_ID);
        Some(Self {
            subject: certificate.tbs.subject.to_der().ok()?,
            public_key: certificate.tbs.public_key.to_der().ok()?,
            key_id: key_id.and_then(Result::ok).map(|id| id.0.as_bytes().to_vec()),
        })
    }

    /// It bears this one's name as its issuer's.
    fn may_have_issued(&self, certificate: &Certificate<'_>) -> bool {
        AnyRef::from_der(&self.subject).is_ok_and(|subject| certificate.tbs.issuer == subject)
    }
}

/// What the profile makes of the defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The defect that decided; `None`: the certificate is compliant.
    pub defect: Option<Reason>,
    /// What to do.
    pub action: DefectAction,
}

impl Verdict {
    /// The strictest action decides; among equals the gravest defect is named.
    pub fn of(defects: &[Reason], profile: &Profile) -> Self {
        let strictest = defects.iter().map(|d| profile.action(*d)).max();
        let defect =
            BY_SEVERITY.into_iter().find(|d| defects.contains(d) && Some(profile.action(*d)) == strictest);
        match (defect, strictest) {
            (Some(_), Some(action)) => Self { defect, action },
            (None, None) => Self { defect: None, action: DefectAction::Allow },
            // A defect that has no place in the list is refused like the worst that has one.
            _ => Self { defect: defects.first().copied(), action: DefectAction::Block },
        }
    }

    /// Likewise. That nobody knows whether a certificate was revoked is so for most, and a defect only where the profile makes it one.
    pub(super) fn with_revocation(
        defects: &[Reason],
        revocation: Option<Revocation>,
        profile: &Profile,
    ) -> Self {
        const UNKNOWN: Reason = Reason::CertRevocationUnknown;
        match revocation {
            Some(Revocation::Unknown(_)) if profile.action(UNKNOWN) != DefectAction::Allow => {
                Self::of(&[defects, &[UNKNOWN]].concat(), profile)
            }
            _ => Self::of(defects, profile),
        }
    }
}

impl Findings {
    /// What the profile makes of them.
    pub fn verdict(&self, profile: &Profile) -> Verdict {
        Verdict::with_revocation(&self.defects, self.revocation, profile)
    }
}

/// Everything that a verification needs and that does not change from flow to flow.
pub(super) struct Verifier {
    pub(super) trust: TrustStore,
    pub(super) intermediates: Intermediates,
    pub(super) crls: Crls,
    /// None: nobody asks for timestamps.
    pub(super) ct_logs: Option<CtLogs>,
    /// None: nothing is fetched.
    pub(super) fetcher: Option<Arc<Fetcher>>,
    pub(super) algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    pub(super) own: Vec<OwnCa>,
    pub(super) root_signatures: RootSignatures,
}

/// What a verification has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// All defects, each once. Empty: compliant.
    pub defects: Vec<Reason>,
    /// The same in words, with the certificates that they are about.
    pub findings: Vec<ChainFinding>,
    /// Name of the root that was reached.
    pub root: Option<String>,
    /// What is known of the revocation of the leaf, or of the CA above it that was revoked. None: no root was reached, or the leaf is
    /// trusted for itself.
    pub revocation: Option<Revocation>,
    /// The verification cost far more than others do.
    pub(super) costly: bool,
    /// What the server forgot to present, in DER, where its chain needs it.
    pub(super) added: Vec<Arc<[u8]>>,
    /// From when to when nothing that has a date changes, in seconds since the Unix epoch, the end not included. None: the chain
    /// has parts whose dates are not known, or could not be looked at as a whole.
    pub(super) holds: Option<Range<i64>>,
    /// No root was reached, which may change once more intermediates are known than [so many](Intermediates::revision).
    pub(super) dead_end: Option<u64>,
}

impl Findings {
    fn only(reason: Reason, found: &'static str) -> Self {
        let mut faults = Faults::default();
        faults.push(0, reason, found);
        Self {
            defects: faults.defects(),
            findings: faults.describe(|_| None),
            root: None,
            revocation: None,
            costly: false,
            added: Vec::new(),
            holds: None,
            dead_end: None,
        }
    }
}

impl Verifier {
    /// Verifies the chain that a server presented for `name`. `staple` is the OCSP response that it sent with it; empty: none. If the effort
    /// [pauses](Effort::take_pause), it is to be done again; else what it lacked [is to be ordered](Self::order).
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        name: &ServerName<'_>,
        now: UnixTime,
        effort: &Effort,
    ) -> (Findings, Consulted) {
        let mut consulted = Consulted::default();
        let Ok(certificate) = Certificate::parse(leaf) else {
            return (Findings::only(Reason::CertMalformed, "not a certificate in DER"), consulted);
        };
        let counted: Vec<_> = self.algorithms.iter().map(|inner| Counted { inner: *inner, effort }).collect();
        let algorithms: Vec<_> = counted.iter().map(|a| a as &dyn SignatureVerificationAlgorithm).collect();
        if intermediates.len() > MAX_PRESENTED {
            effort.cut();
        }
        let presented = each_once(intermediates);
        let revision = self.intermediates.revision();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let check = Check {
            verifier: self,
            certificate: &certificate,
            presented: &presented,
            algorithms: &algorithms,
            effort,
            now,
        };
        let judged = check.path();
        if effort.has_paused() {
            return (Findings::only(Reason::CertTooComplex, "not all of it has been looked at"), consulted);
        }
        let mut added = match judged.may_be_completed() {
            true => self.missing(&certificate, &presented, now, &mut consulted),
            false => Vec::new(),
        };
        added.retain(|der| Certificate::parse(der).is_ok());
        let completed: Vec<_>;
        let (check, judged) = if added.is_empty() {
            (check, judged)
        } else {
            let parsed = added.iter().filter_map(|der| Certificate::parse(der).ok());
            completed = presented.iter().cloned().chain(parsed).collect();
            let check = Check { presented: &completed, ..check };
            let again = check.path();
            (check, if again.is_better_than(&judged) { again } else { judged })
        };
        let Judged { mut faults, path, root } = judged;
        if root.is_some() && faults.0.is_empty() {
            path.iter().for_each(|i| self.intermediates.remember(&check.presented[*i]));
        }
        if let Some(fetcher) = &self.fetcher
            && let Some(place) = faults.place_of(Reason::CertIncomplete)
        {
            let last = place.checked_sub(1).map_or(&certificate, |above| &check.presented[path[above]]);
            fetcher.issuers(last, Need::Wanted, now, &mut consulted);
        }
        let known = root.and_then(|root| check.known(&path, root, staple, &mut faults, &mut consulted));
        let revocation = known.as_ref().map(|known| known.revocation);
        if faults.has(Reason::CertOwnCa) {
            // Nothing else is to be said of what was signed here.
            faults.0.retain(|found| found.fault.reason == Reason::CertOwnCa);
        } else {
            check.leaf(&mut faults);
            if let Some(revocation) = revocation.filter(|_| certificate.must_staple()) {
                must_staple(revocation, staple, &mut faults);
            }
            if !names::proves(&certificate, name) {
                let reason = match name {
                    ServerName::IpAddress(_) => Reason::CertNoName,
                    _ => Reason::CertMismatch,
                };
                faults.push(0, reason, names::listed(&certificate));
            }
        }
        let subject_of = |place: usize| match place.checked_sub(1) {
            None => Some(finding::subject(&certificate)),
            Some(above) if above < path.len() => Some(finding::subject(&check.presented[path[above]])),
            Some(_) => root.map(Anchor::name),
        };
        let findings = Findings {
            defects: faults.defects(),
            findings: faults.describe(subject_of),
            root: root.map(Anchor::name),
            revocation,
            costly: effort.was_costly(),
            added: path
                .iter()
                .filter_map(|i| i.checked_sub(presented.len()))
                .filter_map(|i| added.get(i).cloned())
                .collect(),
            // With more to spend there may be nothing wrong.
            holds: (effort.budget() == Budget::Whole || !effort.was_cut()).then(|| {
                let Range { start, end } = check.holds();
                start..end.min(known.map_or(i64::MAX, |known: Known| known.until))
            }),
            dead_end: root.is_none().then_some(revision),
        };
        (findings, consulted)
    }

    /// Whether a leaf proves this name, is valid at `now` in seconds since the Unix epoch, is none of our own CAs' and asks for no staple, as
    /// none came: what costs no signature is looked at whoever vouches for its chain.
    pub(super) fn names_and_dates_fit(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: u64,
    ) -> bool {
        let (Ok(leaf), Ok(now)) = (Certificate::parse(leaf), i64::try_from(now)) else { return false };
        let is_valid = leaf.not_before() <= now && now <= leaf.not_after();
        is_valid
            && !leaf.must_staple()
            && names::proves(&leaf, name)
            && !self.own.iter().any(|own| own.may_have_issued(&leaf))
    }

    /// Has fetched what a verification lacked, at `now` in seconds since the Unix epoch.
    pub(super) fn order(&self, consulted: &mut Consulted, now: u64) {
        if let Some(fetcher) = &self.fetcher {
            fetcher.order(consulted, i64::try_from(now).unwrap_or(i64::MAX));
        }
    }

    fn missing(
        &self,
        leaf: &Certificate<'_>,
        presented: &[Certificate<'_>],
        now: i64,
        consulted: &mut Consulted,
    ) -> Vec<Arc<[u8]>> {
        let chain: Vec<_> = std::iter::once(leaf).chain(presented).collect();
        let mut fetched = |certificate: &Certificate<'_>| match &self.fetcher {
            Some(fetcher) => fetcher.issuers(certificate, Need::IfKnown, now, consulted),
            None => Vec::new(),
        };
        self.intermediates.missing(&chain, self.trust.anchors(), &mut fetched)
    }

    /// Signed by one of our CAs, or one of them itself. The issuer's name or key id nominates, the signature convicts:
    /// another engine's CA may bear the same name.
    fn is_own(
        &self,
        certificate: &Certificate<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let key_id = match certificate.decode_extension::<AuthorityKeyIdentifier>(oid::AUTHORITY_KEY_ID) {
            Some(Ok(AuthorityKeyIdentifier { key_identifier: Some(id), .. })) => Some(id),
            _ => None,
        };
        self.own.iter().any(|own| {
            let (Ok(subject), Ok(public_key)) =
                (AnyRef::from_der(&own.subject), AnyRef::from_der(&own.public_key))
            else {
                return false;
            };
            let same_id = key_id.as_ref().is_some_and(|id| Some(id.as_bytes()) == own.key_id.as_deref());
            let nominated = same_id || certificate.tbs.issuer == subject;
            certificate.tbs.public_key == public_key
                || (nominated && certificate.is_signed_by(public_key, algorithms))
        })
    }
}

/// Those of a presented chain that can be looked at.
fn each_once<'a>(chain: &'a [CertificateDer<'_>]) -> Vec<Certificate<'a>> {
    let mut found: Vec<Certificate<'_>> = Vec::new();
    for certificate in chain.iter().take(MAX_PRESENTED).filter_map(|der| Certificate::parse(der).ok()) {
        if !found.iter().any(|other| other.der() == certificate.der()) {
            found.push(certificate);
        }
    }
    found
}

/// One verification.
struct Check<'a> {
    verifier: &'a Verifier,
    certificate: &'a Certificate<'a>,
    presented: &'a [Certificate<'a>],
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    effort: &'a Effort,
    /// In seconds since the Unix epoch.
    now: i64,
}

/// A path, and what is wrong with it.
struct Judged<'a> {
    faults: Faults,
    /// The presented certificates between leaf and root.
    path: Vec<usize>,
    /// None: it reaches no root.
    root: Option<&'a Anchor>,
}

impl Judged<'_> {
    /// The less, the better.
    fn rank(&self) -> (bool, usize, usize, bool) {
        let faults = &self.faults;
        (self.root.is_none(), faults.lasting(), faults.0.len(), faults.has(Reason::CertNotYet))
    }

    /// Whether it has less wrong with it; or it ends like the other one, but later.
    fn is_better_than(&self, other: &Self) -> bool {
        let ends = |judged: &Self| {
            [Reason::CertIncomplete, Reason::CertUntrusted]
                .into_iter()
                .find_map(|end| judged.faults.place_of(end))
        };
        self.rank() < other.rank() || self.rank() == other.rank() && ends(self) > ends(other)
    }

    /// Whether there may be a better path with certificates that were not sent.
    fn may_be_completed(&self) -> bool {
        !self.faults.0.is_empty()
            && !self.faults.has(Reason::CertOwnCa)
            && !self.faults.has(Reason::CertSelfSigned)
    }
}

impl<'a> Check<'a> {
    /// The time around now in which no certificate, presented or trusted, begins or ceases to be valid.
    fn holds(&self) -> Range<i64> {
        let trusted = self.verifier.trust.changes(self.now);
        std::iter::once(self.certificate).chain(self.presented).fold(trusted, |holds, c| {
            [c.not_before(), c.not_after().saturating_add(1)].into_iter().fold(holds, |holds, change| {
                if change <= self.now {
                    holds.start.max(change)..holds.end
                } else {
                    holds.start..holds.end.min(change)
                }
            })
        })
    }

    /// What is known of the revocation of a path to a root. With it come the faults that revocation, and logs of Certificate Transparency
    /// that do not have the leaf, are.
    fn known(
        &self,
        path: &[usize],
        root: &Anchor,
        staple: &[u8],
        faults: &mut Faults,
        consulted: &mut Consulted,
    ) -> Option<Known> {
        let Self { verifier, certificate, algorithms, now, .. } = *self;
        let whole: Vec<_> =
            std::iter::once(certificate).chain(path.iter().map(|i| &self.presented[*i])).collect();
        let fetcher = verifier.fetcher.as_deref();
        let sources = Sources {
            staple,
            crls: &verifier.crls,
            fetcher,
            algorithms,
            uncounted: verifier.algorithms,
            now,
        };
        let known = sources.ask(&whole, root, faults, consulted);
        if let (Some(logs), Some(issuer)) = (&verifier.ct_logs, Issuer::of(&whole, 0, root))
            && root.is_public
            && let Err(found) = logs.check(certificate, issuer, algorithms, now)
        {
            faults.push(0, Reason::CertNoSct, found);
        }
        known
    }

    /// The way from the leaf to a root: one with which nothing is wrong, or else the one that is wrong in the fewest lasting respects.
    fn path(&self) -> Judged<'a> {
        if self.verifier.is_own(self.certificate, self.algorithms) {
            let mut faults = Faults::default();
            faults.push(0, Reason::CertOwnCa, "the key, or a signature, of this engine's own CA");
            return Judged { faults, path: Vec::new(), root: None };
        }
        if self.verifier.trust.has(self.certificate.der()) {
            return Judged { faults: Faults::default(), path: Vec::new(), root: None };
        }
        let anchors = self.verifier.trust.anchors();
        let known = &self.verifier.root_signatures;
        let search =
            Search::new(self.certificate, self.presented, (anchors, known), self.algorithms, self.effort);
        let mut best: Option<Judged<'a>> = None;
        search.each(&mut |path, anchor| {
            let faults = self.judge(path, anchor);
            let is_good = faults.0.is_empty();
            let judged = Judged { faults, path: path.to_vec(), root: Some(anchor) };
            if best.as_ref().is_none_or(|best| judged.rank() < best.rank()) {
                best = Some(judged);
            }
            if is_good { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if self.effort.has_paused() {
            return Judged { faults: Faults::default(), path: Vec::new(), root: None };
        }
        let mut judged = best.unwrap_or_else(|| self.unverified(search.by_names(), anchors));
        if self.effort.was_cut() && judged.faults.lasting() > 0 {
            // A better way may be among what was not looked at.
            let untrusted =
                |found: &Found| [Reason::CertUntrusted, Reason::CertIncomplete].contains(&found.fault.reason);
            let place = judged.faults.0.iter().find(|f| untrusted(f)).map_or(0, |found| found.place);
            judged.faults.0.retain(|found| !untrusted(found));
            judged.faults.push(place, Reason::CertTooComplex, "more ways to a root than are searched");
        }
        judged
    }

    /// What is wrong with a path of which all signatures are right, the leaf by itself aside.
    fn judge(&self, path: &[usize], anchor: &Anchor) -> Faults {
        let mut faults = Faults::default();
        let whole: Vec<_> =
            std::iter::once(self.certificate).chain(path.iter().map(|i| &self.presented[*i])).collect();
        self.own(&whole, &mut faults);
        validation::path(&whole, anchor, self.now, &mut faults);
        faults
    }

    /// Our own CA's certificates in a path.
    fn own(&self, path: &[&Certificate<'_>], faults: &mut Faults) {
        for (place, certificate) in path.iter().enumerate() {
            if self.verifier.is_own(certificate, self.algorithms) {
                faults.push(place, Reason::CertOwnCa, "the key, or a signature, of this engine's own CA");
            }
        }
    }

    /// No root stands behind the leaf. What can be said of the path that names suggest.
    fn unverified(&self, path: Vec<usize>, anchors: &[Anchor]) -> Judged<'a> {
        let mut faults = Faults::default();
        let whole: Vec<_> =
            std::iter::once(self.certificate).chain(path.iter().map(|i| &self.presented[*i])).collect();
        self.own(&whole, &mut faults);
        if self.is_self_signed() {
            faults.push(0, Reason::CertSelfSigned, "signed by its own key, and not trusted");
            return Judged { faults, path, root: None };
        }
        let broken =
            whole.windows(2).position(|pair| !pair[0].is_signed_by(pair[1].tbs.public_key, self.algorithms));
        let place = broken.unwrap_or(path.len());
        let last = whole[place];
        let issuer = plain_name(describe_name(last.tbs.issuer));
        let named = anchors.iter().any(|anchor| anchor.subject == last.tbs.issuer.value());
        // Who says where the certificate of its issuer is to be had, does not take that for a root that clients have.
        let has_issuer = || !last.access(oid::CA_ISSUERS).is_empty();
        let (reason, found) = if broken.is_some() || named {
            let found = format!("no signature by a key that is known as its issuer's, {issuer}");
            (Reason::CertUntrusted, found)
        } else if last.is_self_issued() {
            (Reason::CertUntrusted, "a root that is not trusted".to_owned())
        } else if has_issuer() {
            (Reason::CertIncomplete, format!("its issuer's certificate was not sent, {issuer}"))
        } else {
            (Reason::CertUntrusted, format!("an issuer that is neither trusted nor presented, {issuer}"))
        };
        faults.push(place, reason, found);
        // Why a signature may not have been right.
        for (place, certificate) in whole.iter().enumerate() {
            if place > 0 {
                validation::key(certificate, place, &mut faults);
            }
            // Nobody asks who has signed a root.
            if place == 0 || !certificate.is_self_issued() {
                validation::signature(certificate, self.algorithms, place, &mut faults);
            }
        }
        Judged { faults, path, root: None }
    }

    fn is_self_signed(&self) -> bool {
        let c = self.certificate;
        c.is_self_issued() && c.is_signed_by(c.tbs.public_key, self.algorithms)
    }

    /// The leaf by itself.
    fn leaf(&self, faults: &mut Faults) {
        let leaf = self.certificate;
        validation::certificate(leaf, self.now, 0, faults);
        validation::purposes(leaf, 0, faults);
        // A self-signed one is its own issuer, so that it may be a CA.
        let may_be_ca = faults.has(Reason::CertSelfSigned) || self.verifier.trust.has(leaf.der());
        match leaf.decode_extension::<BasicConstraints>(oid::BASIC_CONSTRAINTS) {
            Some(Ok(BasicConstraints { ca: true, .. })) if !may_be_ca => {
                faults.push(0, Reason::CertUsage, "CA:TRUE, but it is a server's");
            }
            Some(Err(_)) => faults.push(0, Reason::CertMalformed, "malformed basicConstraints"),
            _ => {}
        }
        match leaf.decode_extension::<KeyUsage>(oid::KEY_USAGE) {
            // Every suite that is spoken here has the server sign.
            Some(Ok(usage)) if !usage.digital_signature() => {
                faults.push(0, Reason::CertUsage, "keyUsage without digitalSignature");
            }
            Some(Err(_)) => faults.push(0, Reason::CertMalformed, "a malformed keyUsage"),
            _ => {}
        }
        if whole_list_of_names(leaf).is_err() {
            faults.push(0, Reason::CertMalformed, "a malformed subjectAltName");
        }
    }
}

/// RFC 7633 §4.3.3: a certificate that demands a staple is no good without one.
fn must_staple(revocation: Revocation, staple: &[u8], faults: &mut Faults) {
    match revocation {
        Revocation::Good(RevocationSource::Staple) | Revocation::Revoked(_) => {}
        Revocation::Unknown(why) if !staple.is_empty() => faults.push(0, Reason::CertMustStaple, why),
        _ if staple.is_empty() => {
            faults.push(0, Reason::CertMustStaple, "no stapled OCSP response, which it demands");
        }
        _ => faults.push(0, Reason::CertMustStaple, "a stapled OCSP response that is no good"),
    }
}

/// A list that breaks off would show other readers other names.
fn whole_list_of_names(certificate: &Certificate<'_>) -> Result<(), x509_cert::der::Error> {
    certificate.extension(oid::SUBJECT_ALT_NAME).map_or(Ok(()), |(value, _)| whole_list(value).map(drop))
}

/// The name that a server has to prove: what the client asked for, or else the address it connected to.
pub fn name_to_prove(sni: Option<&str>, address: IpAddr) -> ServerName<'static> {
    sni.and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::from(address))
}

#[cfg(test)]
mod cost;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_action_decides_and_names_the_defect() {
        let mut profile = Profile::default();
        assert_eq!(Verdict::of(&[], &profile), Verdict { defect: None, action: DefectAction::Allow });
        let both = [Reason::CertUntrusted, Reason::CertExpired];
        let verdict = Verdict::of(&both, &profile);
        assert_eq!((verdict.defect, verdict.action), (Some(Reason::CertUntrusted), DefectAction::Block));
        profile.on_untrusted = DefectAction::Allow;
        profile.on_expired = DefectAction::UntrustedCa;
        let verdict = Verdict::of(&both, &profile);
        assert_eq!((verdict.defect, verdict.action), (Some(Reason::CertExpired), DefectAction::UntrustedCa));
        // Not a defect of certificates: refused all the same.
        assert_eq!(Verdict::of(&[Reason::Internal], &profile).action, DefectAction::Block);
    }
}
