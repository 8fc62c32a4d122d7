//! What was fetched reaches verdicts that are kept, and sessions that would be resumed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use std::sync::Arc;

use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, Issuer, KeyIdMethod, RevokedCertParams,
    SerialNumber,
};
use tcp_stack::Instant;
use tls_support::pki::{DAY, Signed, leaf_params};
use tls_support::*;
use wireglass_core::event::{Revocation, RevocationSource};
use wireglass_core::policy::Profile;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{FetchAnswer, FetchOutcome, FetchSettings, Fetcher, Knowledge};
use wireglass_core::x509::Provider;

const URL: &str = "http://crl.example.com/root.crl";

/// A CRL of the root, made at this time, with what it revokes.
fn crl(world: &World, at: u64, revoked: &[&Signed]) -> Vec<u8> {
    let time = |seconds| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds);
    let revoked_certs = revoked.iter().map(|certificate| RevokedCertParams {
        serial_number: certificate.params.serial_number.clone().unwrap(),
        revocation_time: time(at),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: time(at),
        next_update: time(at + 8 * DAY),
        crl_number: SerialNumber::from(at),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = Issuer::from_params(&world.root.params, &world.root.key);
    params.signed_by(&issuer).unwrap().der().to_vec()
}

struct Fetching {
    world: World,
    fetcher: Arc<Fetcher>,
    leaf: Signed,
    client: rustls::ClientConfig,
    server: rustls::ServerConfig,
}

impl Fetching {
    fn new() -> Self {
        let settings = FetchSettings { crls: true, ..FetchSettings::default() };
        let fetcher = Arc::new(Fetcher::new(settings, Provider::default()));
        let knowledge = Knowledge { fetcher: Some(Arc::clone(&fetcher)), ..Knowledge::default() };
        let world = World::with(Provider::default(), &[], knowledge);
        let mut params = leaf_params(&[HOST]);
        params.serial_number = Some(SerialNumber::from(4711));
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![URL.into()] }];
        let leaf = Signed::by(params, &world.root);
        let library = library(world.provider);
        let client = client_config(&library, TLS13, &[world.trusted.clone(), world.untrusted.clone()]);
        let server = server_config(&library, TLS13, std::slice::from_ref(&leaf.der), leaf.private_key());
        Self { world, fetcher, leaf, client, server }
    }

    /// What is known of the certificate's revocation, whether the session with the server was resumed, and why the flow failed.
    fn flow(&self, resumption: bool, now: u64) -> (Option<Revocation>, bool, Option<Reason>) {
        let profile = Profile { resumption, ..Profile::default() };
        let plan = Plan { profile, now, server_says: b"hello", ..Plan::default() };
        let mut flow = Flow::run(&self.world, self.client.clone(), self.server.clone(), plan);
        if flow.failure.is_none() {
            flow.settle().unwrap();
        }
        let resumed = flow.report.server_leg.as_ref().is_some_and(|leg| leg.resumed);
        let revocation = flow.report.certificate.as_ref().and_then(|info| info.revocation);
        (revocation, resumed, flow.failure.map(|failure| failure.reason))
    }

    fn answer(&self, body: Vec<u8>, now: u64) {
        let fetch = self.fetcher.next(Instant::from_secs(i64::try_from(now).unwrap()), now).unwrap();
        assert_eq!(fetch.url.to_string(), URL);
        assert_eq!(self.fetcher.done(fetch, FetchAnswer::Body(body), now), FetchOutcome::Stored);
    }
}

const PENDING: Option<Revocation> = Some(Revocation::Unknown("its CRL is being fetched"));
const GOOD: Option<Revocation> = Some(Revocation::Good(RevocationSource::Crl));
const REVOKED: Option<Revocation> = Some(Revocation::Revoked(RevocationSource::Crl));

#[test]
fn the_next_handshake_has_it_and_verdicts_are_kept_as_before() {
    let test = Fetching::new();
    let counted = || test.world.context.caches().verification.values()[1];
    for _ in 0..3 {
        assert_eq!(test.flow(false, NOW), (PENDING, false, None));
    }
    assert_eq!(counted(), 1, "a verdict that waits is a verdict");
    test.answer(crl(&test.world, NOW, &[]), NOW);
    for _ in 0..3 {
        assert_eq!(test.flow(false, NOW + 1), (GOOD, false, None));
    }
    assert_eq!(counted(), 2);
}

#[test]
fn revoked_since_ends_resumption_too() {
    let test = Fetching::new();
    test.flow(true, NOW);
    test.answer(crl(&test.world, NOW, &[]), NOW);
    assert_eq!(test.flow(true, NOW), (GOOD, false, None), "what began before is not resumed");
    assert_eq!(test.flow(true, NOW), (GOOD, true, None));
    // Another server's flow would have it fetched anew; here the same, without resumption.
    let later = NOW + 6 * 3600;
    assert_eq!(test.flow(false, later), (GOOD, false, None));
    assert_eq!(test.flow(true, later), (GOOD, false, None));
    assert_eq!(test.flow(true, later), (GOOD, true, None));
    test.answer(crl(&test.world, later, &[&test.leaf]), later);
    for resumption in [true, false] {
        assert_eq!(test.flow(resumption, later), (REVOKED, false, Some(Reason::CertRevoked)));
    }
}

#[test]
fn what_could_not_be_had_is_tried_again_later() {
    let test = Fetching::new();
    test.flow(false, NOW);
    let fetch = test.fetcher.next(Instant::ZERO, NOW).unwrap();
    test.fetcher.done(fetch, FetchAnswer::Failed(FetchOutcome::Timeout), NOW);
    let failed = Some(Revocation::Unknown("its CRL could not be fetched"));
    assert_eq!(test.flow(false, NOW + 299), (failed, false, None));
    assert!(test.fetcher.next(Instant::from_secs(299), NOW + 299).is_none());
    assert_eq!(test.flow(false, NOW + 300), (PENDING, false, None));
    test.answer(crl(&test.world, NOW, &[]), NOW + 300);
    assert_eq!(test.flow(false, NOW + 300), (GOOD, false, None));
}
