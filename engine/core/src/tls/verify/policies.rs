//! Certificate policies (RFC 5280 §6.1). We ask for none, so that they matter only where a CA of the path says that there must be
//! one: `requireExplicitPolicy`.
//!
//! The RFC has a tree. Which nodes are below which does not matter to whether any is left at the end, so a set of them will do.

use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::constraints::PolicyConstraints;
use x509_cert::ext::pkix::{CertificatePolicies, InhibitAnyPolicy, PolicyMappings};

use super::finding::Fault;
use crate::reason::Reason;
use crate::x509::{Certificate, oid};

/// Policies, or mappings, of a certificate. Those of the US Federal PKI have 50.
const MAX_POLICIES: usize = 128;

/// Policies that the next certificate may have; all of them, with `any`. Nothing at all: the tree is empty.
struct Expected {
    any: bool,
    policies: Vec<ObjectIdentifier>,
}

/// Checks a path, its leaf first. What is wrong, and at which place.
pub(super) fn check(path: &[&Certificate<'_>]) -> Result<(), (usize, Fault)> {
    let asks = |c: &&Certificate<'_>| c.extension(oid::POLICY_CONSTRAINTS).is_some();
    if !path.iter().any(asks) {
        return Ok(());
    }
    let n = path.len();
    let (mut explicit_policy, mut inhibit_any, mut policy_mapping) = (n + 1, n + 1, n + 1);
    let mut expected = Expected { any: true, policies: Vec::new() };
    for (place, certificate) in path.iter().enumerate().rev() {
        let at = |fault| (place, fault);
        let is_leaf = place == 0;
        let any_counts = inhibit_any > 0 || (!is_leaf && certificate.is_self_issued());
        expected = named(certificate, &expected, any_counts).map_err(at)?;
        let constraints = decode::<PolicyConstraints>(certificate, oid::POLICY_CONSTRAINTS).map_err(at)?;
        let required = constraints.as_ref().and_then(|c| c.require_explicit_policy);
        let nothing = !expected.any && expected.policies.is_empty();
        if nothing && explicit_policy == 0 {
            return Err(at(Fault::new(Reason::CertUsage, "no policy that its issuers require")));
        }
        if is_leaf {
            // §6.1.5 (a) and (b).
            if nothing && (explicit_policy <= 1 || required == Some(0)) {
                return Err(at(Fault::new(Reason::CertUsage, "no policy that its issuers require")));
            }
            break;
        }
        map(certificate, &mut expected, policy_mapping > 0).map_err(at)?;
        if !certificate.is_self_issued() {
            for counter in [&mut explicit_policy, &mut inhibit_any, &mut policy_mapping] {
                *counter = counter.saturating_sub(1);
            }
        }
        let lower = |counter: &mut usize, to: Option<u32>| {
            *counter = to.map_or(*counter, |to| (*counter).min(usize::try_from(to).unwrap_or(usize::MAX)));
        };
        lower(&mut explicit_policy, required);
        lower(&mut policy_mapping, constraints.and_then(|c| c.inhibit_policy_mapping));
        let inhibit = decode::<InhibitAnyPolicy>(certificate, oid::INHIBIT_ANY_POLICY).map_err(at)?;
        lower(&mut inhibit_any, inhibit.map(|inhibit| inhibit.0));
    }
    Ok(())
}

/// §6.1.3 (d) and (e): what is expected and a certificate names.
fn named(certificate: &Certificate<'_>, expected: &Expected, any_counts: bool) -> Result<Expected, Fault> {
    let nothing = Expected { any: false, policies: Vec::new() };
    let list = decode::<CertificatePolicies>(certificate, oid::CERTIFICATE_POLICIES)?;
    let Some(CertificatePolicies(list)) = list else { return Ok(nothing) };
    if list.len() > MAX_POLICIES {
        return Err(Fault::new(Reason::CertTooComplex, "more policies than are looked at"));
    }
    let mut found = nothing;
    let mut any = false;
    for policy in list.into_iter().map(|info| info.policy_identifier) {
        if policy == oid::ANY_POLICY {
            any = any_counts;
        } else if expected.any || expected.policies.contains(&policy) {
            found.policies.push(policy);
        }
    }
    if any {
        found.any = expected.any;
        let more = expected.policies.iter().filter(|p| !found.policies.contains(p)).copied();
        let more: Vec<_> = more.collect();
        found.policies.extend(more);
    }
    Ok(found)
}

/// §6.1.4 (a) and (b): what the policies of this certificate are called below it.
fn map(certificate: &Certificate<'_>, expected: &mut Expected, may_map: bool) -> Result<(), Fault> {
    let Some(PolicyMappings(mappings)) = decode::<PolicyMappings>(certificate, oid::POLICY_MAPPINGS)? else {
        return Ok(());
    };
    if mappings.len() > MAX_POLICIES {
        return Err(Fault::new(Reason::CertTooComplex, "more policy mappings than are looked at"));
    }
    if mappings.iter().any(|m| [m.issuer_domain_policy, m.subject_domain_policy].contains(&oid::ANY_POLICY)) {
        return Err(Fault::new(Reason::CertUsage, "a mapping of any policy"));
    }
    let before = std::mem::take(&mut expected.policies);
    let is_mapped = |p: &ObjectIdentifier| mappings.iter().any(|m| m.issuer_domain_policy == *p);
    expected.policies = before.iter().filter(|p| !is_mapped(p)).copied().collect();
    if may_map {
        for m in &mappings {
            if (expected.any || before.contains(&m.issuer_domain_policy))
                && !expected.policies.contains(&m.subject_domain_policy)
            {
                expected.policies.push(m.subject_domain_policy);
            }
        }
    }
    Ok(())
}

fn decode<'c, T: Decode<'c>>(
    certificate: &'c Certificate<'_>,
    oid: ObjectIdentifier,
) -> Result<Option<T>, Fault> {
    let malformed = |_| Fault::new(Reason::CertMalformed, "an extension on policies that is malformed");
    certificate.decode_extension::<T>(oid).transpose().map_err(malformed)
}
