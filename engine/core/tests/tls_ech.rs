//! Clients that encrypt their hello for the server (ECH, RFC 9849), or pretend to: rustls in both parts.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(feature = "aws-lc-rs")]

#[allow(unreachable_pub, reason = "of the testbed, where it is reachable")]
#[path = "../../testbed/src/ech.rs"]
mod ech;
mod tls_support;

use std::sync::Arc;

use ech::{grease, real};
use rustls::client::EchMode;
use rustls::{ClientConfig, RootCertStore};
use tls_support::*;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{Peek, peek};
use wireglass_core::x509::Provider;

/// What the client asks for inside.
const HIDDEN: &str = "hidden.example.net";

/// A client that trusts the engine's trusted CA alone.
fn client(world: &World, mode: EchMode) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(world.trusted.clone()).unwrap();
    ClientConfig::builder_with_details(Arc::new(library(Provider::AwsLcRs)), Arc::new(Fixed))
        .with_ech(mode)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn server(world: &World) -> rustls::ServerConfig {
    let chain = std::slice::from_ref(&world.leaf.der);
    server_config(&library(world.provider), BOTH, chain, world.leaf.private_key())
}

/// The outer name decides: the server is asked for it, verified for it, and copied for it. The client takes the copy, and says then that
/// it needs another one. Nothing is learned from that about the CA.
#[test]
fn a_real_one_gets_the_public_name_and_says_that_it_is_real() {
    let world = World::new(Provider::AwsLcRs);
    let plan = Plan { host: Some(HIDDEN), may_break: true, ..Plan::default() };
    let flow = Flow::run(&world, client(&world, real(HOST).unwrap()), server(&world), plan);
    let said = flow.broken.map(|error| (error.reason, error.alert));
    assert_eq!(said, Some((Reason::ClientEch, Some(121))), "rustls says it after its Finished");
    assert_eq!(flow.report.defect, None, "the certificate is verified for the outer name");
    assert!(flow.report.server_leg.is_some());
}

/// A server that has nothing for the outer name is refused as any other.
#[test]
fn the_server_has_to_prove_the_outer_name() {
    let world = World::new(Provider::AwsLcRs);
    let plan = Plan { host: Some(HOST), ..Plan::default() };
    let flow = Flow::run(&world, client(&world, real("public.example.org").unwrap()), server(&world), plan);
    assert_eq!(flow.failure.map(|failure| failure.reason), Some(Reason::CertMismatch));
}

/// GREASE changes nothing.
#[test]
fn grease_is_never_a_reason() {
    let world = World::new(Provider::AwsLcRs);
    let flow = Flow::run(&world, client(&world, grease().unwrap()), server(&world), Plan::default());
    assert_eq!(flow.failure, None);
    assert_eq!(flow.report.defect, None);
}

#[test]
fn hellos_say_that_they_have_one_and_not_which() {
    let world = World::new(Provider::AwsLcRs);
    for (mode, outer) in
        [(real("public.example.org").unwrap(), "public.example.org"), (grease().unwrap(), HIDDEN)]
    {
        let mut end = TlsEnd::client(client(&world, mode), HIDDEN.try_into().unwrap());
        let Peek::Complete { hello, .. } = peek(&end.output(), 65_536) else { panic!("a hello") };
        assert!(hello.offers_ech() && hello.info().ech && hello.quic_info().ech);
        assert_eq!(hello.info().sni.as_deref(), Some(outer));
    }
    let mut plain =
        TlsEnd::client(client_config(&library(world.provider), BOTH, &[]), HOST.try_into().unwrap());
    let Peek::Complete { hello, .. } = peek(&plain.output(), 65_536) else { panic!("a hello") };
    assert!(!hello.offers_ech() && !hello.info().ech);
}
