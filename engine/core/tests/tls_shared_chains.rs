//! A chain that one engine of a fleet has verified is not verified anew at another that would find the same, and at no other.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tls_support::pki::{Signed, ca_files, ca_params, dates, leaf_params, pem};
use tls_support::*;
use wireglass_core::event::{Revocation, RevocationSource};
use wireglass_core::foreign::Heard;
use wireglass_core::policy::Profile;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{
    FetchSettings, Fetcher, FleetKey, GoodChain, Knowledge, SharedChains, TlsContext, TlsSettings,
};
use wireglass_core::x509::{CrlFile, Provider, RootFile};

/// An engine of the world's, with these roots besides, and this knowledge.
fn engine(world: &World, more: &[&Signed], knowledge: Knowledge) -> Arc<TlsContext> {
    let roots = std::iter::once(&world.root).chain(more.iter().copied());
    let settings = TlsSettings {
        provider: world.provider,
        trusted: ca_files(world.dir.path(), "trusted"),
        untrusted: ca_files(world.dir.path(), "untrusted"),
        crl_url: None,
        knowledge,
        system_roots: None,
        roots: roots.map(|root| RootFile { name: "root.pem".into(), pem: pem(&root.der) }).collect(),
        now: NOW,
    };
    let context = TlsContext::new(settings).unwrap();
    if let Some(shared) = context.shared_chains() {
        shared.turn_on();
    }
    Arc::new(context)
}

fn shared(engine: &TlsContext) -> &SharedChains {
    engine.shared_chains().unwrap()
}

/// A connection through this engine, in full.
fn flow(
    world: &mut World,
    engine: &Arc<TlsContext>,
    chain: &[CertificateDer<'static>],
    leaf: &Signed,
    now: u64,
) -> (Option<Reason>, Option<String>) {
    world.context = Arc::clone(engine);
    let library = library(world.provider);
    let client = client_config(&library, TLS13, &[world.trusted.clone(), world.untrusted.clone()]);
    let server = server_config(&library, TLS13, chain, leaf.private_key());
    let profile = Profile { resumption: false, ..Profile::default() };
    let flow = Flow::run(world, client, server, Plan { host: Some(HOST), profile, now, ..Plan::default() });
    let certificate = flow.report.certificate.as_ref();
    let by = certificate.and_then(|certificate| certificate.verified_by.as_ref());
    (flow.failure.map(|failure| failure.reason), by.map(ToString::to_string))
}

/// Has `to` hear all that `from` has to tell, as `a`, through sealed words. Returns them.
fn tell(from: &TlsContext, to: &TlsContext) -> Vec<GoodChain> {
    let key = FleetKey::new(&[1; 32], Provider::default()).unwrap();
    let told = shared(from).take_own(usize::MAX);
    for chain in &told {
        let sealed = chain.seal(&key, "north", "a").unwrap();
        let chain = GoodChain::open(&sealed, std::slice::from_ref(&key), "north", "a").unwrap();
        assert_eq!(shared(to).hear("a", chain, NOW), Heard::Now);
    }
    told
}

fn misses(engine: &TlsContext) -> u64 {
    engine.caches().verification.values()[1]
}

#[test]
fn what_one_has_verified_another_does_not_verify_anew_until_that_is_taken_back() {
    let mut world = World::new(Provider::default());
    let [a, b] = [(), ()].map(|()| engine(&world, &[], Knowledge::default()));
    let leaf = Signed::by(leaf_params(&[HOST]), &world.root);
    let chain = [leaf.der.clone()];
    assert_eq!(flow(&mut world, &a, &chain, &leaf, NOW), (None, None));
    let told = tell(&a, &b);
    assert_eq!(told.len(), 1);
    for _ in 0..2 {
        assert_eq!(flow(&mut world, &b, &chain, &leaf, NOW), (None, Some("a".into())));
    }
    assert_eq!(
        (misses(&b), shared(&b).used(), shared(&b).take_own(9).len()),
        (0, 2, 0),
        "nothing is told on"
    );
    // No longer than at the engine that has verified it.
    assert_eq!(flow(&mut world, &b, &chain, &leaf, NOW + 3600), (None, None));
    assert_eq!(misses(&b), 1);
    let other = Signed::by(leaf_params(&[HOST]), &world.root);
    let chain = [other.der.clone()];
    flow(&mut world, &a, &chain, &other, NOW);
    let told = tell(&a, &b);
    shared(&b).withdraw("a", &told[0]);
    assert_eq!(flow(&mut world, &b, &chain, &other, NOW), (None, None));
    assert_eq!((misses(&b), shared(&b).used()), (2, 2));
}

#[test]
fn an_engine_that_may_judge_otherwise_takes_nothing() {
    let mut world = World::new(Provider::default());
    let root = Signed::by_itself(ca_params("Another Root"));
    let leaf = Signed::by(leaf_params(&[HOST]), &world.root);
    let chain = [leaf.der.clone()];
    let crl = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 12, 1),
        next_update: rcgen::date_time_ymd(2027, 12, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let crl = crl.signed_by(&rcgen::Issuer::from_params(&world.root.params, &world.root.key)).unwrap();
    let with_crl = || Knowledge {
        crls: vec![CrlFile { name: "crl.pem".into(), contents: crl.pem().unwrap().into() }],
        ..Knowledge::default()
    };
    let a = engine(&world, &[], Knowledge::default());
    for other in [engine(&world, &[&root], Knowledge::default()), engine(&world, &[], with_crl())] {
        flow(&mut world, &a, &chain, &leaf, NOW);
        let verified = misses(&other);
        if tell(&a, &other).is_empty() {
            // It is known at `a`: what was told of it before is told again.
            let fresh = engine(&world, &[], Knowledge::default());
            flow(&mut world, &fresh, &chain, &leaf, NOW);
            assert_eq!(tell(&fresh, &other).len(), 1);
        }
        assert_eq!(flow(&mut world, &other, &chain, &leaf, NOW), (None, None));
        assert_eq!((misses(&other), shared(&other).used()), (verified + 1, 0));
    }
    // What is known of its revocation goes along.
    let [c, d] = [(), ()].map(|()| engine(&world, &[], with_crl()));
    flow(&mut world, &c, &chain, &leaf, NOW);
    assert_eq!(tell(&c, &d).len(), 1);
    let told = flow(&mut world, &d, &chain, &leaf, NOW);
    assert_eq!(told.1.as_deref(), Some("a"));
    let by_crl = d.caches().revocations().find(|(_, source, _)| *source == RevocationSource::Crl.name());
    assert_eq!(by_crl, Some((Revocation::Good(RevocationSource::Crl).name(), "crl", 1)));
    // What fetches may know more than others do.
    let fetcher = Fetcher::new(FetchSettings { crls: true, ..FetchSettings::default() }, world.provider);
    let knowledge = Knowledge { fetcher: Some(Arc::new(fetcher)), ..Knowledge::default() };
    assert!(engine(&world, &[], knowledge).shared_chains().is_none());
}

#[test]
fn no_chain_is_told_that_is_not_good_in_itself() {
    let mut world = World::new(Provider::default());
    let a = engine(&world, &[], Knowledge::default());
    let stranger = Signed::by_itself(ca_params("Stranger"));
    let mut old = leaf_params(&[HOST]);
    dates(&mut old, -100, -1);
    let between = Signed::by(ca_params("Intermediate"), &world.root);
    let of_between = Signed::by(leaf_params(&[HOST]), &between);
    let bad = [
        (Signed::by(leaf_params(&[HOST]), &stranger), Reason::CertUntrusted),
        (Signed::by(old, &world.root), Reason::CertExpired),
        (Signed::by(leaf_params(&["bank.example"]), &world.root), Reason::CertMismatch),
    ];
    for (leaf, reason) in bad {
        assert_eq!(flow(&mut world, &a, std::slice::from_ref(&leaf.der), &leaf, NOW).0, Some(reason));
    }
    assert_eq!(shared(&a).take_own(9), []);
    // Whole, it is good; what this engine has added, others may not know.
    let whole = [of_between.der.clone(), between.der.clone()];
    assert_eq!(flow(&mut world, &a, &whole, &of_between, NOW).0, None);
    assert_eq!(shared(&a).take_own(9).len(), 1);
    assert_eq!(flow(&mut world, &a, &whole[..1], &of_between, NOW).0, None);
    assert_eq!(shared(&a).take_own(9), []);
}
