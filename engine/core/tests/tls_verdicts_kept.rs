//! What a verification has found is kept for one chain and name, and not for a second longer than it holds.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use rustls_pki_types::CertificateDer;
use tls_support::pki::{Signed, ca_params, dates, leaf_params};
use tls_support::*;
use wireglass_core::policy::Profile;
use wireglass_core::reason::Reason;
use wireglass_core::tls::Failure;
use wireglass_core::x509::Provider;

/// Full handshakes only, so that each asks for a verdict.
fn flow(
    world: &World,
    chain: &[CertificateDer<'static>],
    leaf: &Signed,
    host: &'static str,
    now: u64,
) -> Flow {
    let library = library(world.provider);
    let client = client_config(&library, TLS13, &[world.trusted.clone(), world.untrusted.clone()]);
    let server = server_config(&library, TLS13, chain, leaf.private_key());
    let profile = Profile { resumption: false, ..Profile::default() };
    Flow::run(world, client, server, Plan { host: Some(host), profile, now, ..Plan::default() })
}

fn verdict(flow: &Flow) -> Option<Reason> {
    flow.failure.map(|Failure { reason, .. }| reason)
}

fn counted(world: &World) -> [u64; 2] {
    let [hits, misses, _] = world.context.caches().verification.values();
    [hits, misses]
}

#[test]
fn one_chain_and_name_are_verified_once_an_hour() {
    let world = World::new(Provider::default());
    let chain = [world.leaf.der.clone()];
    for (now, expected) in [(0, [0, 1]), (1, [1, 1]), (3599, [2, 1]), (3600, [2, 2]), (7199, [3, 2])] {
        assert_eq!(verdict(&flow(&world, &chain, &world.leaf, HOST, NOW + now)), None);
        assert_eq!(counted(&world), expected, "after {now} s");
    }
    // Another name that it proves as well, and one that it does not.
    assert_eq!(verdict(&flow(&world, &chain, &world.leaf, "example.com", NOW)), None);
    assert_eq!(verdict(&flow(&world, &chain, &world.leaf, "bank.example", NOW)), Some(Reason::CertMismatch));
    assert_eq!(verdict(&flow(&world, &chain, &world.leaf, HOST, NOW + 3700)), None);
}

/// The same leaf with another chain: what stands between it and a root counts, until it was seen in a good chain.
#[test]
fn another_chain_is_another_verdict() {
    let world = World::new(Provider::default());
    let between = Signed::by(ca_params("Intermediate"), &world.root);
    let leaf = Signed::by(leaf_params(&[HOST]), &between);
    let whole = [leaf.der.clone(), between.der.clone()];
    for _ in 0..2 {
        assert_eq!(verdict(&flow(&world, &whole[..1], &leaf, HOST, NOW)), Some(Reason::CertUntrusted));
    }
    assert_eq!(counted(&world), [1, 1], "a refusal is kept like a consent");
    for _ in 0..2 {
        assert_eq!(verdict(&flow(&world, &whole, &leaf, HOST, NOW)), None);
        assert_eq!(verdict(&flow(&world, &whole[..1], &leaf, HOST, NOW)), None);
    }
    assert_eq!(counted(&world), [3, 3], "but not longer than it holds");
}

/// One of them ceases to be valid while the verdict is kept: the leaf, what signed it, or the root.
#[test]
fn no_verdict_outlives_a_certificate() {
    let ended = |name| {
        let mut params = ca_params(name);
        dates(&mut params, -100, 0);
        params
    };
    // A world for each: the end of one of them would hide that another's is not looked at.
    let old_root = Signed::by_itself(ended("Old Root"));
    let worlds = [
        World::new(Provider::default()),
        World::new(Provider::default()),
        World::with_roots(Provider::default(), &[pki::pem(&old_root.der)]),
    ];
    let mut params = leaf_params(&[HOST]);
    dates(&mut params, -100, 0);
    let between = Signed::by(ended("Intermediate"), &worlds[1].root);
    let leaves = [
        (Signed::by(params, &worlds[0].root), None),
        (Signed::by(leaf_params(&[HOST]), &between), Some(between.der.clone())),
        (Signed::by(leaf_params(&[HOST]), &old_root), None),
    ];
    for (world, (leaf, above)) in worlds.iter().zip(leaves) {
        let chain: Vec<_> = std::iter::once(leaf.der.clone()).chain(above).collect();
        for _ in 0..2 {
            assert_eq!(verdict(&flow(world, &chain, &leaf, HOST, NOW - 10)), None);
        }
        assert_eq!(verdict(&flow(world, &chain, &leaf, HOST, NOW)), None, "its last second");
        assert_eq!(verdict(&flow(world, &chain, &leaf, HOST, NOW + 1)), Some(Reason::CertExpired));
        assert_eq!(counted(world), [2, 2]);
    }
}

/// The same, the other way round.
#[test]
fn no_verdict_is_given_before_its_time() {
    let world = World::new(Provider::default());
    let mut params = leaf_params(&[HOST]);
    dates(&mut params, 0, 30);
    let leaf = Signed::by(params, &world.root);
    let chain = [leaf.der.clone()];
    for (now, expected) in [(NOW, None), (NOW - 1, Some(Reason::CertNotYet)), (NOW, None)] {
        assert_eq!(verdict(&flow(&world, &chain, &leaf, HOST, now)), expected);
    }
}

/// A root that begins, while another with its name and key has ended: a gap in which neither holds.
#[test]
fn no_verdict_outlives_a_change_of_roots() {
    let with_dates = |from, to| {
        let mut params = ca_params("Renewed Root");
        dates(&mut params, from, to);
        params
    };
    let old = Signed::by_itself(with_dates(-100, 0));
    let key = rcgen::KeyPair::from_pem(&old.key.serialize_pem()).unwrap();
    let new = with_dates(1, 100).self_signed(&key).unwrap().der().clone();
    let world = World::with_roots(Provider::default(), &[pki::pem(&old.der), pki::pem(&new)]);
    let leaf = Signed::by(leaf_params(&[HOST]), &old);
    let chain = [leaf.der.clone()];
    let (end, begin) = (NOW, NOW + pki::DAY);
    for (now, expected) in [
        (end, None),
        (end + 1, Some(Reason::CertExpired)),
        (begin - 1, Some(Reason::CertExpired)),
        (begin, None),
        (begin + 1, None),
    ] {
        assert_eq!(verdict(&flow(&world, &chain, &leaf, HOST, now)), expected, "{now}");
    }
}
