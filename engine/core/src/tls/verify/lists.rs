//! Lists in certificates that webpki walks through, some of them once for each entry of another.

use rustls_pki_types::TrustAnchor;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};

use crate::x509::{Certificate, elements, oid};

/// Comparisons of a name with a name constraint that a path may need: some 25 ns each. webpki would go on to 250,000.
const MAX_COMPARISONS: usize = 50_000;
/// Bytes of an extendedKeyUsage, of which real ones have 100: webpki makes a vector for each purpose, at each moment.
const MAX_PURPOSES: usize = 2048;

/// Whether a path, its leaf first, may be given to webpki.
pub(super) fn are_short<'c>(
    path: impl Iterator<Item = &'c Certificate<'c>>,
    anchors: &[TrustAnchor<'static>],
) -> bool {
    let mut names = 0;
    let mut comparisons: usize = 0;
    for certificate in path {
        if extension(certificate, oid::EXTENDED_KEY_USAGE).len() > MAX_PURPOSES {
            return false;
        }
        comparisons += names * subtrees(extension(certificate, oid::NAME_CONSTRAINTS));
        // The subject is one more.
        names += 1 + entries(extension(certificate, oid::SUBJECT_ALT_NAME));
    }
    // webpki keeps those of an anchor without the header of the sequence.
    let constraints = anchors.iter().filter_map(|a| a.name_constraints.as_ref());
    let most = constraints.map(|c| both(c)).max();
    comparisons + names * most.unwrap_or(0) <= MAX_COMPARISONS
}

fn extension<'c>(certificate: &'c Certificate<'_>, oid: ObjectIdentifier) -> &'c [u8] {
    certificate.extension(oid).map_or(&[], |(value, _)| value)
}

/// Entries of a SEQUENCE.
fn entries(der: &[u8]) -> usize {
    AnyRef::from_der(der).map_or(0, |list| elements(list.value()).count())
}

/// Entries of both lists of a NameConstraints.
fn subtrees(der: &[u8]) -> usize {
    AnyRef::from_der(der).map_or(0, |lists| both(lists.value()))
}

fn both(lists: &[u8]) -> usize {
    elements(lists).map(|list| elements(list.value()).count()).sum()
}
