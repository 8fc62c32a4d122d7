//! The search for paths from a leaf to trusted roots: depth first, along signatures that were checked, within the
//! [effort](super::effort) that a verification may take.
//!
//! Names alone are no guide: of a few certificates of one name there are too many permutations.

use std::ops::ControlFlow;

use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Tag, TagNumber, Tagged};

use super::effort::{Effort, Spend};
use super::root_signatures::RootSignatures;
use crate::tls::trust::Anchor;
use crate::x509::{Certificate, elements, oid};

/// Certificates between a leaf and a root.
pub(super) const MAX_BETWEEN: usize = 6;
/// Certificates of one subject in a path: a CA that changes its key signs the new one under its own name (RFC 4210 §4.4).
const MAX_NAMESAKES: usize = 2;

/// A search among the certificates that a server presented.
pub(super) struct Search<'a> {
    leaf: &'a Certificate<'a>,
    presented: &'a [Certificate<'a>],
    anchors: &'a [Anchor],
    known: &'a RootSignatures,
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    effort: &'a Effort,
    /// Which of the presented names lead to the name of a root.
    leads: Vec<bool>,
    /// Of the presented.
    key_ids: Vec<Option<&'a [u8]>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        leaf: &'a Certificate<'a>,
        presented: &'a [Certificate<'a>],
        (anchors, known): (&'a [Anchor], &'a RootSignatures),
        algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
        effort: &'a Effort,
    ) -> Self {
        let mut leads: Vec<bool> = presented.iter().map(|c| roots(anchors, c).next().is_some()).collect();
        // Each round is one certificate further from the roots.
        for _ in 0..MAX_BETWEEN {
            for i in 0..presented.len() {
                leads[i] = leads[i]
                    || presented.iter().zip(&leads).any(|(c, leads)| *leads && issued(c, &presented[i]));
            }
        }
        let key_ids = presented.iter().map(subject_key_id).collect();
        Self { leaf, presented, anchors, known, algorithms, effort, leads, key_ids }
    }

    /// Shows `visit` the paths, as places of the presented certificates from the leaf on, each with its root, until it
    /// breaks off.
    pub(super) fn each(&self, visit: &mut Visit<'_, 'a>) {
        // What is left out when it ends early is known to the effort.
        let _ = self.from(self.leaf, &mut Vec::new(), visit);
    }

    fn from(
        &self,
        below: &Certificate<'_>,
        path: &mut Vec<usize>,
        visit: &mut Visit<'_, 'a>,
    ) -> ControlFlow<()> {
        // No key but one makes the same signature: those found wanting are not tried once it is known.
        let mut signer: Option<AnyRef<'_>> = None;
        let mut is_counted = false;
        for root in roots(self.anchors, below) {
            let Ok(key) = AnyRef::new(Tag::Sequence, &root.public_key) else { continue };
            let check = || below.is_signed_by(key, self.algorithms);
            // Of a leaf it is asked once, or not for long: its verdict is kept.
            let is_signed = || if path.is_empty() { check() } else { self.known.signed(below, key, check) };
            if signer.is_none_or(|signer| signer == key) && is_signed() {
                signer = Some(key);
                // Roots of one name and key, of which there may be many, are one path.
                if !is_counted && self.effort.path() == Spend::UsedUp {
                    return ControlFlow::Break(());
                }
                is_counted = true;
                visit(path, root)?;
            }
        }
        for i in self.issuers(below) {
            if self.effort.has_paused() {
                return ControlFlow::Break(());
            }
            let above = &self.presented[i];
            let key = above.tbs.public_key;
            let namesakes =
                || path.iter().map(|p| &self.presented[*p]).filter(|c| c.tbs.subject == above.tbs.subject);
            if !self.leads[i] || namesakes().any(|c| c.tbs.public_key == key) {
                continue;
            }
            if path.len() == MAX_BETWEEN || namesakes().count() == MAX_NAMESAKES {
                self.effort.cut();
                continue;
            }
            if signer.is_none_or(|signer| signer == key) && below.is_signed_by(key, self.algorithms) {
                signer = Some(key);
                if self.effort.step() == Spend::UsedUp {
                    return ControlFlow::Break(());
                }
                path.push(i);
                let flow = self.from(above, path, visit);
                path.pop();
                flow?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The path that names suggest, signatures or not, as far as it goes: what is wrong with it is what is said where there
    /// is no better one.
    pub(super) fn by_names(&self) -> Vec<usize> {
        let mut path: Vec<usize> = Vec::new();
        let mut below = self.leaf;
        while path.len() < MAX_BETWEEN && roots(self.anchors, below).next().is_none() {
            let fits = |i: &usize| {
                let subject = self.presented[*i].tbs.subject;
                let namesakes = path.iter().filter(|p| self.presented[**p].tbs.subject == subject).count();
                !path.contains(i) && namesakes < MAX_NAMESAKES
            };
            let Some(next) = self.issuers(below).into_iter().find(fits) else { break };
            path.push(next);
            below = &self.presented[next];
        }
        path
    }

    /// Presented certificates that have the issuer's name: first those that lead to a root's name, and among them those
    /// with the right key id.
    fn issuers(&self, below: &Certificate<'_>) -> Vec<usize> {
        let mut found: Vec<usize> =
            (0..self.presented.len()).filter(|i| issued(&self.presented[*i], below)).collect();
        if found.len() > 1 {
            let wanted = authority_key_id(below);
            found.sort_by_key(|i| {
                let rank = match (wanted, self.key_ids[*i]) {
                    (Some(wanted), Some(id)) if wanted == id => 0,
                    (Some(_), Some(_)) => 2,
                    _ => 1,
                };
                (!self.leads[*i], rank)
            });
        }
        found
    }
}

/// What [`Search::each`] shows paths to.
pub(super) type Visit<'v, 'a> = dyn FnMut(&[usize], &'a Anchor) -> ControlFlow<()> + 'v;

/// Whether `above` has the name of the issuer of `below`. Compared as bytes.
fn issued(above: &Certificate<'_>, below: &Certificate<'_>) -> bool {
    above.tbs.subject == below.tbs.issuer
}

/// Roots with the name of the issuer of `below`.
fn roots<'r>(anchors: &'r [Anchor], below: &Certificate<'_>) -> impl Iterator<Item = &'r Anchor> {
    let name = below.tbs.issuer.value();
    anchors.iter().filter(move |anchor| anchor.subject == name)
}

/// `keyIdentifier` of the authorityKeyIdentifier (RFC 5280 §4.2.1.1).
fn authority_key_id<'a>(certificate: &Certificate<'a>) -> Option<&'a [u8]> {
    const KEY_IDENTIFIER: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber(0) };
    let (value, _) = certificate.extension(oid::AUTHORITY_KEY_ID)?;
    let list = AnyRef::from_der(value).ok().filter(|list| list.tag() == Tag::Sequence)?;
    elements(list.value()).find(|part| part.tag() == KEY_IDENTIFIER).map(|id| id.value())
}

/// The subjectKeyIdentifier (RFC 5280 §4.2.1.2).
fn subject_key_id<'a>(certificate: &Certificate<'a>) -> Option<&'a [u8]> {
    let (value, _) = certificate.extension(oid::SUBJECT_KEY_ID)?;
    AnyRef::from_der(value).ok().filter(|id| id.tag() == Tag::OctetString).map(|id| id.value())
}
