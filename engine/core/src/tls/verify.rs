//! Verification of a server's certificate: webpki judges paths, and here is what it deliberately leaves open.
//!
//! The paths are [searched for](path) here, within a [bound](effort) that no chain exceeds, whatever it is made of.
//! All defects are collected, not only the first, so that the strictest action of the profile can decide.

mod effort;
mod lists;
mod path;

use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::{ControlFlow, Range};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage as WebpkiUsage, VerifiedPath};
use x509_cert::der::Decode;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, ExtendedKeyUsage, KeyUsage};

use self::effort::{Counted, Effort};
use self::path::Search;
use super::trust::{TrustStore, is_weak_key};
use crate::policy::{DefectAction, Profile};
use crate::reason::Reason;
use crate::x509::{AltName, Certificate, oid};

/// Certificates of a presented chain that are looked at, besides the leaf.
const MAX_PRESENTED: usize = 32;
/// Other moments at which a path is judged when something in it has expired.
const MAX_MOMENTS: usize = 6;

/// Defects in the order in which they are reported when the profile treats them alike.
const BY_SEVERITY: [Reason; 10] = [
    Reason::CertOwnCa,
    Reason::CertMalformed,
    Reason::CertWeak,
    Reason::CertUsage,
    Reason::CertTooComplex,
    Reason::CertSelfSigned,
    Reason::CertUntrusted,
    Reason::CertMismatch,
    Reason::CertExpired,
    Reason::CertNotYet,
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

/// What the profile makes of the defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The defect that decided; `None`: the certificate is compliant.
    pub(super) defect: Option<Reason>,
    /// What to do.
    pub(super) action: DefectAction,
}

impl Verdict {
    /// The strictest action decides; among equals the gravest defect is named.
    pub(super) fn of(defects: &[Reason], profile: &Profile) -> Self {
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
}

/// Everything that a verification needs and that does not change from flow to flow.
pub(super) struct Verifier {
    pub(super) trust: TrustStore,
    pub(super) algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    pub(super) own: Vec<OwnCa>,
}

/// What a verification has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Findings {
    /// All defects, each once. Empty: compliant.
    pub(super) defects: Vec<Reason>,
    /// From when to when nothing that has a date changes, in seconds since the Unix epoch, the end not included. None: the chain
    /// has parts whose dates are not known.
    pub(super) holds: Option<Range<i64>>,
}

impl Findings {
    fn only(defect: Reason) -> Self {
        Self { defects: vec![defect], holds: None }
    }
}

impl Verifier {
    /// Verifies the chain that a server presented for `name`.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Findings {
        let Ok(certificate) = Certificate::parse(leaf) else { return Findings::only(Reason::CertMalformed) };
        let effort = Effort::default();
        let counted: Vec<_> =
            self.algorithms.iter().map(|inner| Counted { inner: *inner, effort: &effort }).collect();
        let algorithms: Vec<_> = counted.iter().map(|a| a as &dyn SignatureVerificationAlgorithm).collect();
        if intermediates.len() > MAX_PRESENTED {
            effort.cut();
        }
        let mut presented: Vec<Certificate<'_>> = Vec::new();
        for der in intermediates.iter().take(MAX_PRESENTED) {
            if let Ok(certificate) = Certificate::parse(der)
                && !presented.iter().any(|c| c.der() == certificate.der())
            {
                presented.push(certificate);
            }
        }
        if std::iter::once(&certificate).chain(&presented).any(|c| self.is_own(c, &algorithms)) {
            return Findings::only(Reason::CertOwnCa);
        }
        if effort.is_used_up() {
            // Nobody knows whether one of the rest is ours.
            return Findings::only(Reason::CertTooComplex);
        }
        let Ok(end_entity) = EndEntityCert::try_from(leaf) else {
            return Findings::only(Reason::CertMalformed);
        };
        let check = Check {
            verifier: self,
            certificate: &certificate,
            end_entity: &end_entity,
            presented: &presented,
            algorithms: &algorithms,
            effort: &effort,
            now,
        };
        let mut defects = check.path();
        check.leaf(&mut defects);
        if !matches_name(&end_entity, &certificate, name) {
            defects.push(Reason::CertMismatch);
        }
        defects.sort_unstable_by_key(|d| *d as u8);
        defects.dedup();
        Findings { defects, holds: Some(check.holds()) }
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

/// One verification.
struct Check<'a> {
    verifier: &'a Verifier,
    certificate: &'a Certificate<'a>,
    end_entity: &'a EndEntityCert<'a>,
    presented: &'a [Certificate<'a>],
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    effort: &'a Effort,
    now: UnixTime,
}

/// What is wrong with a path.
#[derive(Clone, Debug)]
enum Refusal {
    /// A certificate of it is not valid at the moment in question.
    Date(Reason),
    /// Something else, at any moment.
    Lasting(Vec<Reason>),
}

impl Check<'_> {
    fn now(&self) -> i64 {
        i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX)
    }

    /// The time around now in which no certificate, presented or trusted, begins or ceases to be valid.
    fn holds(&self) -> Range<i64> {
        let trusted = self.verifier.trust.changes(self.now());
        std::iter::once(self.certificate).chain(self.presented).fold(trusted, |holds, c| {
            [c.not_before(), c.not_after().saturating_add(1)].into_iter().fold(holds, |holds, change| {
                if change <= self.now() {
                    holds.start.max(change)..holds.end
                } else {
                    holds.start..holds.end.min(change)
                }
            })
        })
    }

    /// What is wrong with the way from the leaf to a root.
    fn path(&self) -> Vec<Reason> {
        let anchors = self.verifier.trust.anchors();
        let search = Search::new(self.certificate, self.presented, anchors, self.algorithms, self.effort);
        let mut refused = Vec::new();
        let mut accepted = false;
        search.each(&mut |path, anchor| match self.judge_at(path, std::slice::from_ref(anchor), self.now) {
            Ok(_) => {
                accepted = true;
                ControlFlow::Break(())
            }
            Err(refusal) => {
                refused.push((path.to_vec(), anchor.clone(), refusal));
                ControlFlow::Continue(())
            }
        });
        if accepted {
            return Vec::new();
        }
        // Of several paths, the one that is wrong in the fewest lasting respects.
        let lasting = |defects: &Vec<Reason>| defects.iter().filter(|d| !is_date(**d)).count();
        let best = refused
            .into_iter()
            .map(|(path, anchor, refusal)| self.defects(&path, std::slice::from_ref(&anchor), refusal))
            .min_by_key(|defects| (lasting(defects), defects.len()));
        let mut defects = best.unwrap_or_else(|| {
            let path = search.by_names();
            match self.judge_at(&path, anchors, self.now) {
                Ok(dates) => dates,
                Err(refusal) => self.defects(&path, anchors, refusal),
            }
        });
        if self.effort.was_cut() && lasting(&defects) > 0 {
            defects.retain(|d| *d != Reason::CertUntrusted);
            defects.push(Reason::CertTooComplex);
        }
        defects
    }

    /// All that is wrong with a path that is refused now: where that is a date, it may hide more.
    fn defects(&self, path: &[usize], anchors: &[TrustAnchor<'static>], refusal: Refusal) -> Vec<Reason> {
        let at_now = match refusal {
            Refusal::Lasting(defects) => return defects,
            Refusal::Date(at_now) => at_now,
        };
        for moment in self.other_moments(path) {
            match self.judge_at(path, anchors, moment) {
                Ok(dates) => return dates,
                Err(Refusal::Date(_)) => {}
                Err(Refusal::Lasting(mut defects)) => {
                    defects.push(at_now);
                    return defects;
                }
            }
        }
        // There is no moment at which all of the chain is valid, so nothing says whether a root stands behind it.
        vec![at_now, Reason::CertUntrusted]
    }

    /// Has webpki judge one path at `moment`. If it is right then: the dates that are wrong now.
    fn judge_at(
        &self,
        path: &[usize],
        anchors: &[TrustAnchor<'static>],
        moment: UnixTime,
    ) -> Result<Vec<Reason>, Refusal> {
        let between = path.iter().map(|i| &self.presented[*i]);
        if !lists::are_short(std::iter::once(self.certificate).chain(between), anchors) {
            return Err(Refusal::Lasting(vec![Reason::CertTooComplex]));
        }
        let refused = RefCell::new(Vec::new());
        let by_policy = |path: &VerifiedPath<'_>| {
            let found = self.path_policy(path);
            let verdict = if found.is_empty() { Ok(()) } else { Err(webpki::Error::UnknownIssuer) };
            *refused.borrow_mut() = found;
            verdict
        };
        let intermediates: Vec<_> =
            path.iter().map(|i| CertificateDer::from(self.presented[*i].der())).collect();
        let built = self.end_entity.verify_for_usage(
            self.algorithms,
            anchors,
            &intermediates,
            moment,
            WebpkiUsage::server_auth(),
            None,
            Some(&by_policy),
        );
        match built {
            Ok(path) => Ok(self.expired_on(&path)),
            Err(error) => Err(match date_defect(&error) {
                Some(defect) => Refusal::Date(defect),
                None => {
                    let found = refused.take();
                    Refusal::Lasting(if found.is_empty() { self.no_path(&error) } else { found })
                }
            }),
        }
    }

    /// Moments inside the leaf's validity at which the rest of the path may be valid: with them the other defects of an
    /// expired chain show.
    fn other_moments(&self, path: &[usize]) -> impl Iterator<Item = UnixTime> {
        let (from, to) = (self.certificate.not_before(), self.certificate.not_after());
        let mut moments: Vec<i64> = std::iter::once(self.certificate)
            .chain(path.iter().map(|i| &self.presented[*i]))
            .flat_map(|c| [c.not_after(), c.not_before()])
            .map(|t| t.clamp(from.min(to), to))
            .collect();
        moments.sort_unstable_by_key(|t| t.abs_diff(self.now()));
        moments.dedup();
        moments.truncate(MAX_MOMENTS);
        moments.into_iter().map(|t| UnixTime::since_unix_epoch(Duration::from_secs(t.max(0) as u64)))
    }

    /// Dates of a path that was built at another moment than now. The leaf's are checked by themselves.
    fn expired_on(&self, path: &VerifiedPath<'_>) -> Vec<Reason> {
        let mut defects = Vec::new();
        for issuer in path.intermediate_certificates() {
            if let Ok(certificate) = Certificate::parse(&issuer.der()) {
                defects.extend(dates(&certificate, self.now()));
            }
        }
        defects
    }

    /// What webpki does not look at in a path that it would accept.
    fn path_policy(&self, path: &VerifiedPath<'_>) -> Vec<Reason> {
        let mut defects = Vec::from_iter(self.verifier.trust.date_defect(path.anchor(), self.now()));
        for issuer in path.intermediate_certificates() {
            let der = issuer.der();
            let Ok(certificate) = Certificate::parse(&der) else { return vec![Reason::CertMalformed] };
            // RFC 5280 §4.2.1.3: a CA with a keyUsage must have keyCertSign in it.
            match certificate.decode_extension::<KeyUsage>(oid::KEY_USAGE) {
                Some(Ok(usage)) if !usage.key_cert_sign() => defects.push(Reason::CertUsage),
                Some(Err(_)) => defects.push(Reason::CertMalformed),
                _ => {}
            }
            if is_weak_key(&certificate) || is_weak_signature(&certificate) {
                defects.push(Reason::CertWeak);
            }
        }
        defects
    }

    /// Why webpki found no path.
    fn no_path(&self, error: &webpki::Error) -> Vec<Reason> {
        if self.is_self_signed() {
            return vec![Reason::CertSelfSigned];
        }
        let mut defects = vec![path_defect(error)];
        // A weak issuer makes its signatures unverifiable, which webpki reports as an unknown issuer.
        let weak_issuer =
            |c: &Certificate<'_>| is_weak_key(c) || (!c.is_self_issued() && is_weak_signature(c));
        if self.presented.iter().any(weak_issuer) {
            defects.push(Reason::CertWeak);
        }
        defects
    }

    fn is_self_signed(&self) -> bool {
        let c = self.certificate;
        c.is_self_issued() && c.is_signed_by(c.tbs.public_key, self.algorithms)
    }

    /// The leaf by itself. A self-signed one is its own issuer, so that it may be a CA and lack the extensions that a CA
    /// would have put in: browsers let their users through to such servers too, if the profile does.
    fn leaf(&self, defects: &mut Vec<Reason>) {
        let leaf = self.certificate;
        defects.extend(dates(leaf, self.now()));
        if is_weak_key(leaf) || is_weak_signature(leaf) {
            defects.push(Reason::CertWeak);
        }
        match leaf.decode_extension::<ExtendedKeyUsage>(oid::EXTENDED_KEY_USAGE) {
            // CA/Browser Forum BR §7.1.2.7.10: serverAuth must be there, anyExtendedKeyUsage must not.
            Some(Ok(ExtendedKeyUsage(uses))) => {
                if !uses.contains(&oid::SERVER_AUTH) || uses.contains(&oid::ANY_USAGE) {
                    defects.push(Reason::CertUsage);
                }
            }
            Some(Err(_)) => defects.push(Reason::CertMalformed),
            None if defects.contains(&Reason::CertSelfSigned) => {}
            None => defects.push(Reason::CertUsage),
        }
        match leaf.decode_extension::<KeyUsage>(oid::KEY_USAGE) {
            // Every suite that is spoken here has the server sign.
            Some(Ok(usage)) if !usage.digital_signature() => defects.push(Reason::CertUsage),
            Some(Err(_)) => defects.push(Reason::CertMalformed),
            _ => {}
        }
    }
}

fn is_date(defect: Reason) -> bool {
    matches!(defect, Reason::CertExpired | Reason::CertNotYet)
}

/// Whether `certificate` is valid at `now`.
fn dates(certificate: &Certificate<'_>, now: i64) -> Option<Reason> {
    if now > certificate.not_after() {
        Some(Reason::CertExpired)
    } else if now < certificate.not_before() {
        Some(Reason::CertNotYet)
    } else {
        None
    }
}

fn date_defect(error: &webpki::Error) -> Option<Reason> {
    match error {
        webpki::Error::CertExpired { .. } => Some(Reason::CertExpired),
        webpki::Error::CertNotValidYet { .. } => Some(Reason::CertNotYet),
        _ => None,
    }
}

fn path_defect(error: &webpki::Error) -> Reason {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer
        | E::InvalidSignatureForPublicKey
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | E::CertDistrusted => Reason::CertUntrusted,
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => Reason::CertTooComplex,
        E::UnsupportedSignatureAlgorithmContext(_) => Reason::CertWeak,
        E::CaUsedAsEndEntity
        | E::EndEntityUsedAsCa
        | E::EmptyEkuExtension
        | E::RequiredEkuNotFoundContext(_)
        | E::PathLenConstraintViolated
        | E::NameConstraintViolation
        | E::UnsupportedNameType => Reason::CertUsage,
        _ => Reason::CertMalformed,
    }
}

/// Signed with MD2, MD4, MD5 or SHA-1.
fn is_weak_signature(certificate: &Certificate<'_>) -> bool {
    const WEAK: [ObjectIdentifier; 7] = [
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"), // md2WithRSAEncryption
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.3"), // md4WithRSAEncryption
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), // md5WithRSAEncryption
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), // sha1WithRSAEncryption
        ObjectIdentifier::new_unwrap("1.3.14.3.2.29"),        // sha1WithRSASignature
        ObjectIdentifier::new_unwrap("1.2.840.10040.4.3"),    // dsaWithSha1
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),    // ecdsa-with-SHA1
    ];
    certificate.signature_algorithm().is_none_or(|a| WEAK.contains(&a))
}

/// RFC 9525: only the subjectAltName counts, and a wildcard is a whole leftmost label. Ours beyond webpki: a wildcard has
/// to leave at least two labels, so that `*.com` names nobody.
fn matches_name(
    end_entity: &EndEntityCert<'_>,
    certificate: &Certificate<'_>,
    name: &ServerName<'_>,
) -> bool {
    if end_entity.verify_is_valid_for_subject_name(name).is_err() {
        return false;
    }
    match name {
        ServerName::DnsName(host) => certificate.alt_names().any(|n| match n {
            AltName::Dns(pattern) => matches_pattern(pattern, host.as_ref()),
            AltName::Ip(_) => false,
        }),
        ServerName::IpAddress(_) => true,
        _ => false,
    }
}

fn matches_pattern(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(host),
        Some(parent) => {
            parent.contains('.')
                && host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
        }
    }
}

/// The name that a server has to prove: what the client asked for, or else the address it connected to.
pub(super) fn name_to_prove(sni: Option<&str>, address: IpAddr) -> ServerName<'static> {
    sni.and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::from(address))
}

#[cfg(test)]
mod cost;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_leave_two_labels() {
        assert!(matches_pattern("a.example", "A.EXAMPLE"));
        assert!(matches_pattern("*.a.example", "x.a.example."));
        assert!(!matches_pattern("*.a.example", "a.example"));
        assert!(!matches_pattern("*.a.example", "x.y.a.example"));
        assert!(!matches_pattern("*.com", "a.com"));
        assert!(!matches_pattern("*", "com"));
    }

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
