//! The certificates of a path, one by one and together (RFC 5280 §6.1), signatures aside: these were checked on the way.

use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::finding::Faults;
use super::name_constraints::{Accumulated, NameConstraints, Unfit};
use super::policies;
use crate::reason::Reason;
use crate::tls::trust::Anchor;
use crate::x509::{Certificate, KeyStrength, PublicKey, describe_date, oid, whole_list};

/// Extensions that are looked at, or need not be: those may be critical.
const KNOWN: [ObjectIdentifier; 11] = [
    oid::KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    oid::BASIC_CONSTRAINTS,
    oid::NAME_CONSTRAINTS,
    // Where to ask for revocation, which is a matter of its own.
    oid::CRL_DISTRIBUTION_POINTS,
    oid::CERTIFICATE_POLICIES,
    oid::POLICY_MAPPINGS,
    oid::POLICY_CONSTRAINTS,
    oid::EXTENDED_KEY_USAGE,
    oid::INHIBIT_ANY_POLICY,
    oid::TLS_FEATURE,
];

/// What is wrong with a path, its leaf first, below `anchor`. The leaf by itself is left to [`certificate`].
pub(super) fn path(path: &[&Certificate<'_>], anchor: &Anchor, now: i64, faults: &mut Faults) {
    let root = path.len();
    if let Some((from, to)) = anchor.validity {
        dates((from, to), now, root, faults);
    }
    let mut constraints = Accumulated::default();
    if let Some(der) = &anchor.name_constraints {
        add(&mut constraints, der, root, faults);
    }
    // How many CAs may follow. A self-issued one does not count.
    let mut more = anchor.path_len.map(u32::from);
    for (place, c) in path.iter().enumerate().rev() {
        let is_leaf = place == 0;
        if (is_leaf || !c.is_self_issued())
            && let Err(unfit) = constraints.check(c)
        {
            let (reason, found) = told(unfit);
            faults.push(place, reason, found);
        }
        if is_leaf {
            break;
        }
        certificate(c, now, place, faults);
        if !c.is_self_issued() {
            match more {
                Some(0) => {
                    faults.push(
                        place,
                        Reason::CertUsage,
                        "one CA more than the path length of a CA above it",
                    );
                }
                _ => more = more.map(|more| more - 1),
            }
        }
        let limit = issuer(c, place, faults).map(u32::from);
        more = [more, limit].into_iter().flatten().min();
        if let Some((der, _)) = c.extension(oid::NAME_CONSTRAINTS) {
            add(&mut constraints, der, place, faults);
        }
    }
    if let Err((place, fault)) = policies::check(path) {
        faults.push(place, fault.reason, fault.found);
    }
}

fn add<'c>(constraints: &mut Accumulated<'c>, der: &'c [u8], place: usize, faults: &mut Faults) {
    match NameConstraints::parse(der) {
        Ok(more) => constraints.add(more),
        Err(unfit) => {
            let (reason, found) = told(unfit);
            faults.push(place, reason, found);
        }
    }
}

fn told(unfit: Unfit) -> (Reason, &'static str) {
    match unfit {
        Unfit::NotPermitted => (Reason::CertUsage, "a name that the name constraints above it do not permit"),
        Unfit::Excluded => (Reason::CertUsage, "a name that the name constraints above it exclude"),
        Unfit::Unsupported => {
            (Reason::CertUnsupported, "name constraints on a kind of name that is not compared")
        }
        Unfit::Malformed => (Reason::CertMalformed, "names or name constraints that are malformed"),
        Unfit::TooMany => (Reason::CertTooComplex, "more names and name constraints than are compared"),
    }
}

/// A certificate that signs the next one: what is wrong with that. Returns its path length.
fn issuer(c: &Certificate<'_>, place: usize, faults: &mut Faults) -> Option<u8> {
    let mut path_len = None;
    match c.decode_extension::<BasicConstraints>(oid::BASIC_CONSTRAINTS) {
        Some(Ok(BasicConstraints { ca: true, path_len_constraint })) => path_len = path_len_constraint,
        Some(Ok(_)) => {
            faults.push(place, Reason::CertUsage, "basicConstraints without CA:TRUE, which a CA needs")
        }
        Some(Err(_)) => faults.push(place, Reason::CertMalformed, "malformed basicConstraints"),
        None => faults.push(place, Reason::CertUsage, "no basicConstraints, which a CA needs"),
    }
    // §4.2.1.3: a CA with a keyUsage must have keyCertSign in it.
    match c.decode_extension::<KeyUsage>(oid::KEY_USAGE) {
        Some(Ok(usage)) if !usage.key_cert_sign() => {
            faults.push(place, Reason::CertUsage, "keyUsage without keyCertSign, which a CA needs");
        }
        Some(Err(_)) => faults.push(place, Reason::CertMalformed, "a malformed keyUsage"),
        _ => {}
    }
    purposes(c, place, faults);
    path_len
}

/// A certificate says that it is no CA's. One that says nothing of that may be an old CA's, which a profile may allow.
pub(super) fn is_no_ca(c: &Certificate<'_>) -> bool {
    let constraints = c.decode_extension::<BasicConstraints>(oid::BASIC_CONSTRAINTS);
    let usage = c.decode_extension::<KeyUsage>(oid::KEY_USAGE);
    constraints.is_some_and(|constraints| !constraints.is_ok_and(|constraints| constraints.ca))
        || usage.is_some_and(|usage| !usage.is_ok_and(|usage| usage.key_cert_sign()))
}

/// §4.2.1.12: without the extension there is no limit. That of a CA limits what is below, as all others have it, too.
pub(super) fn purposes(c: &Certificate<'_>, place: usize, faults: &mut Faults) {
    match serves_tls(c) {
        Some(Ok(false)) => {
            faults.push(place, Reason::CertUsage, "extendedKeyUsage without serverAuth");
        }
        Some(Err(())) => faults.push(place, Reason::CertMalformed, "a malformed extendedKeyUsage"),
        Some(Ok(true)) | None => {}
    }
}

/// Whether the extendedKeyUsage lets it be used for servers. `None`: it has none; `Err`: it is malformed.
pub(in crate::tls) fn serves_tls(c: &Certificate<'_>) -> Option<Result<bool, ()>> {
    let (value, _) = c.extension(oid::EXTENDED_KEY_USAGE)?;
    let Ok(uses) = whole_list(value) else { return Some(Err(())) };
    let mut serves = false;
    for purpose in &uses {
        match purpose.decode_as::<ObjectIdentifier>() {
            Ok(purpose) => serves |= [oid::SERVER_AUTH, oid::ANY_USAGE].contains(&purpose),
            Err(_) => return Some(Err(())),
        }
    }
    // SIZE (1..MAX).
    Some(if uses.is_empty() { Err(()) } else { Ok(serves) })
}

/// What is wrong with a certificate, whatever it is used for.
pub(super) fn certificate(c: &Certificate<'_>, now: i64, place: usize, faults: &mut Faults) {
    dates((c.not_before(), c.not_after()), now, place, faults);
    if let Some(found) = contradiction(c) {
        faults.push(place, Reason::CertMalformed, found);
    }
    if let Some(unknown) = unknown_critical(c) {
        faults.push(
            place,
            Reason::CertUnsupported,
            format!("the critical extension {unknown}, which is not known"),
        );
    }
    key(c, place, faults);
}

/// Extensions that are there twice, or in a version that has none; two different signature algorithms.
fn contradiction(c: &Certificate<'_>) -> Option<&'static str> {
    let extensions = c.tbs.extensions.as_deref().unwrap_or_default();
    if !c.names_one_signature_algorithm() {
        return Some("two different signature algorithms");
    }
    if !matches!(c.tbs.version, None | Some(1 | 2)) || (!extensions.is_empty() && c.tbs.version != Some(2)) {
        return Some("a version that is none, or has no extensions");
    }
    let mut oids: Vec<_> = extensions.iter().map(|e| e.extn_id).collect();
    oids.sort_unstable();
    oids.windows(2).any(|pair| pair[0] == pair[1]).then_some("an extension that is there twice")
}

/// The first critical extension that is not known here: §4.2 wants such a certificate to be refused.
pub(in crate::tls) fn unknown_critical(c: &Certificate<'_>) -> Option<ObjectIdentifier> {
    let extensions = c.tbs.extensions.as_deref().unwrap_or_default();
    extensions.iter().find(|e| e.critical && !KNOWN.contains(&e.extn_id)).map(|e| e.extn_id)
}

/// What is wrong with its key.
pub(super) fn key(c: &Certificate<'_>, place: usize, faults: &mut Faults) {
    let key = PublicKey::parse(c.tbs.public_key);
    let strength = key.map_or(KeyStrength::Unsupported, |key| key.strength());
    let name = || key.map_or_else(|| "of an unknown kind".to_owned(), |key| key.to_string());
    match strength {
        KeyStrength::Good => {}
        KeyStrength::Weak => faults.push(place, Reason::CertWeak, format!("a weak key: {}", name())),
        KeyStrength::Unsupported => {
            faults.push(
                place,
                Reason::CertUnsupported,
                format!("a key that cannot be used here: {}", name()),
            );
        }
    }
}

/// The algorithm with which a certificate was signed.
pub(super) fn signature(
    c: &Certificate<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    place: usize,
    faults: &mut Faults,
) {
    let name = || c.signature_algorithm().map_or_else(|| "unknown".to_owned(), |a| a.to_string());
    if is_weak_signature(c) {
        faults.push(place, Reason::CertWeak, format!("signed with a weak algorithm: {}", name()));
    } else if !c.is_signed_with_any(algorithms) {
        let found =
            format!("signed with an algorithm, or parameters of it, that cannot be verified: {}", name());
        faults.push(place, Reason::CertUnsupported, found);
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
    certificate.signature_algorithm().is_some_and(|a| WEAK.contains(&a))
}

fn dates((from, to): (i64, i64), now: i64, place: usize, faults: &mut Faults) {
    if now > to {
        faults.push(place, Reason::CertExpired, format!("expired, on {}", describe_date(to)));
    } else if now < from {
        faults.push(place, Reason::CertNotYet, format!("not valid yet, not before {}", describe_date(from)));
    }
}

/// Why a certificate that is trusted cannot be a root; none: it can. OpenSSL and Go ask for the same.
pub(in crate::tls) fn why_no_root(c: &Certificate<'_>) -> Option<String> {
    let mut faults = Faults::default();
    // A CA of X.509 v1 has no extensions: who trusts it says that it is one.
    let is_old = c.tbs.version.is_none() && c.tbs.extensions.is_none() && c.is_self_issued();
    if !is_old {
        issuer(c, 0, &mut faults);
    }
    if let Some(found) = contradiction(c) {
        faults.push(0, Reason::CertMalformed, found);
    }
    if let Some((der, _)) = c.extension(oid::NAME_CONSTRAINTS) {
        add(&mut Accumulated::default(), der, 0, &mut faults);
    }
    match unknown_critical(c) {
        Some(unknown) => Some(format!("the critical extension {unknown}, which is not known")),
        None => faults.0.into_iter().next().map(|found| found.fault.found.into_owned()),
    }
}
