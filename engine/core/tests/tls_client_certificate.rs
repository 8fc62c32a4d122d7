//! Servers that ask for a client certificate, of which the engine has none.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tls_support::*;
use wireglass_core::policy::{ClientCertificateAction, Profile};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{Failure, Input, Outcome, RelayError};
use wireglass_core::x509::Provider;

/// A server that asks, and insists on it or not.
fn asking(world: &World, versions: Versions, required: bool) -> ServerConfig {
    let library = Arc::new(library(world.provider));
    let mut roots = RootCertStore::empty();
    roots.add(world.root.der.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&library));
    let verifier = if required { verifier } else { verifier.allow_unauthenticated() }.build().unwrap();
    let key = library.key_provider.load_private_key(world.leaf.private_key()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![world.leaf.der.clone()], key);
    ServerConfig::builder_with_provider(library)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
}

fn run(world: &World, versions: Versions, required: bool, action: ClientCertificateAction) -> Flow {
    let library = library(world.provider);
    let client = client_config(&library, versions, std::slice::from_ref(&world.trusted));
    let profile = Profile { on_client_certificate: action, ..Profile::default() };
    let plan = Plan {
        client_says: b"secret",
        server_says: b"hello",
        profile,
        may_break: required,
        ..Plan::default()
    };
    Flow::run(world, client, asking(world, versions, required), plan)
}

#[test]
fn who_only_asks_gets_an_empty_list_and_the_connection_goes_on() {
    for &provider in Provider::BUILT_IN {
        for action in [ClientCertificateAction::Empty, ClientCertificateAction::Bypass] {
            for versions in [TLS12, TLS13] {
                let world = World::new(provider);
                let mut flow = run(&world, versions, false, action);
                assert_eq!(flow.failure, None);
                flow.settle().unwrap();
                assert_eq!(
                    (&*flow.server.seen.data, &*flow.client.seen.data),
                    (&b"secret"[..], &b"hello"[..])
                );
                assert!(flow.server.connection.peer_certificates().is_none());
                assert!(flow.report.certificate_asked && flow.report.client_leg.is_some());
                assert_eq!(world.context.minted(), 1);
            }
        }
    }
}

#[test]
fn a_profile_may_end_it_before_anything_is_said() {
    for &provider in Provider::BUILT_IN {
        for (versions, required) in [(TLS12, true), (TLS12, false), (TLS13, true), (TLS13, false)] {
            let world = World::new(provider);
            let flow = run(&world, versions, required, ClientCertificateAction::Block);
            let expected = Failure { reason: Reason::ServerWantsClientCert, alert: Some(40) };
            assert_eq!(flow.failure, Some(expected));
            assert_eq!((world.context.minted(), flow.report.defect), (0, None));
            assert!(flow.report.certificate_asked && flow.server.seen.data.is_empty());
        }
    }
}

/// In TLS 1.2 that is the end of the server's handshake; TLS 1.3 ends the client's side of it first.
#[test]
fn who_insists_has_a_reason_of_its_own() {
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        let flow = run(&world, TLS12, true, ClientCertificateAction::Empty);
        let alert = flow.failure.unwrap().alert.unwrap();
        assert_eq!(flow.failure.unwrap().reason, Reason::ServerRequiresClientCert, "{alert}");
        assert_eq!(flow.client.seen.error, Some(rustls::Error::AlertReceived(alert.into())));
        assert!(flow.report.certificate_asked && world.context.minted() == 0);

        let mut flow = run(&world, TLS13, true, ClientCertificateAction::Empty);
        assert_eq!(flow.failure, None);
        let refused = flow.broken.unwrap_or_else(|| flow.settle().unwrap_err());
        assert_eq!(refused, RelayError { reason: Reason::ServerRequiresClientCert, alert: Some(116) });
        assert_eq!(flow.client.seen.error, Some(rustls::Error::AlertReceived(116.into())));
        assert!(flow.server.seen.data.is_empty());
    }
}

/// The server has nothing to ask a second time: what the empty list has got, the session keeps.
#[test]
fn a_session_with_a_server_that_asked_is_resumed() {
    for versions in [TLS12, TLS13] {
        let world = World::new(Provider::default());
        let library = library(world.provider);
        let client = client_config(&library, versions, std::slice::from_ref(&world.trusted));
        let server = asking(&world, versions, false);
        for resumed in [false, true] {
            let mut flow = Flow::run(&world, client.clone(), server.clone(), Plan::default());
            flow.settle().unwrap();
            let leg = flow.report.server_leg.clone().unwrap();
            assert_eq!((leg.resumed, flow.report.certificate_asked), (resumed, !resumed));
        }
        // A profile that blocks such servers has no session of theirs.
        let profile = Profile { on_client_certificate: ClientCertificateAction::Block, ..Profile::default() };
        let flow = Flow::run(&world, client, server, Plan { profile, ..Plan::default() });
        assert_eq!(flow.failure.unwrap().reason, Reason::ServerWantsClientCert);
    }
}

/// Java's HttpsServer and others close or reset, with no alert.
#[test]
fn who_insists_without_a_word_is_told_from_who_just_closes() {
    for &provider in Provider::BUILT_IN {
        for (asks, reason) in [(true, Reason::ServerRequiresClientCert), (false, Reason::ServerClosed)] {
            let world = World::new(provider);
            let client = client_config(&library(provider), TLS12, &[]);
            let mut client = TlsEnd::client(client, HOST.try_into().unwrap());
            let mut handshake = start(&world.context, &client.output(), Profile::default());
            let mut server = TlsEnd::server(if asks {
                asking(&world, TLS12, true)
            } else {
                server_config(
                    &library(provider),
                    TLS12,
                    std::slice::from_ref(&world.leaf.der),
                    world.leaf.private_key(),
                )
            });
            server.input(&handshake.advance(Input { now: NOW, ..Input::default() }).to_server);
            let flight = server.output();
            let step = handshake.advance(Input { from_server: flight, now: NOW, ..Input::default() });
            assert!(!step.to_server.is_empty(), "{:?}", step.outcome);
            let step = handshake.advance(Input { server_closed: true, now: NOW, ..Input::default() });
            assert!(matches!(step.outcome, Outcome::Failed(f) if f.reason == reason), "{:?}", step.outcome);
        }
    }
}
