//! Resumption on both legs, with rustls at the far ends: when sessions are resumed, and above all when they are not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tls_support::pki::{Signed, TICKET_SECRET, ca_files, leaf_params};
use tls_support::*;
use wireglass_core::event::MintedBy;
use wireglass_core::policy::{ClientCertificateAction, DefectAction, Profile, TlsVersion};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{TicketSecret, TlsContext, TlsSettings};
use wireglass_core::x509::{Provider, RootFile};

/// A client and a server that remember their sessions from flow to flow.
struct Ends {
    client: ClientConfig,
    server: ServerConfig,
}

impl Ends {
    fn new(world: &World, versions: Versions) -> Self {
        Self::with_leaf(world, versions, &world.leaf)
    }

    fn with_leaf(world: &World, versions: Versions, leaf: &Signed) -> Self {
        let library = library(world.provider);
        let mut client = client_config(&library, versions, &[world.trusted.clone(), world.untrusted.clone()]);
        client.alpn_protocols = alpn(&["h2", "http/1.1"]);
        let mut server =
            server_config(&library, versions, std::slice::from_ref(&leaf.der), leaf.private_key());
        server.alpn_protocols = alpn(&["h2", "http/1.1"]);
        Self { client, server }
    }

    /// One flow that carries a request and an answer.
    fn flow(&self, world: &World, plan: Plan) -> Flow {
        let mut flow = Flow::run(world, self.client.clone(), self.server.clone(), plan);
        assert_eq!(flow.failure, None, "{:?} {:?}", flow.client.seen, flow.server.seen);
        flow.client.send(b"request");
        flow.settle().unwrap();
        flow.server.send(b"answer");
        flow.settle().unwrap();
        assert_eq!((&*flow.server.seen.data, &*flow.client.seen.data), (&b"request"[..], &b"answer"[..]));
        flow
    }
}

/// Whether client and server leg were resumed.
fn resumed(flow: &Flow) -> [bool; 2] {
    let report = &flow.report;
    let legs = [&report.client_leg, &report.server_leg].map(|leg| leg.as_ref().unwrap().resumed);
    let kind = flow.server.connection.handshake_kind();
    assert_eq!(legs[1], kind == Some(rustls::HandshakeKind::Resumed), "the server says the same");
    let kind = flow.client.connection.handshake_kind();
    assert_eq!(legs[0], kind == Some(rustls::HandshakeKind::Resumed), "the client says the same");
    legs
}

const FULL: [bool; 2] = [false; 2];

#[test]
fn both_legs_resume_and_the_log_says_the_same() {
    for &provider in Provider::BUILT_IN {
        for versions in [TLS12, TLS13, BOTH] {
            let world = World::new(provider);
            let ends = Ends::new(&world, versions);
            let first = ends.flow(&world, Plan::default());
            assert_eq!(resumed(&first), FULL);
            for _ in 0..5 {
                let again = ends.flow(&world, Plan::default());
                assert_eq!(resumed(&again), [true; 2], "{versions:?}");
                let (first, again) = (&first.report, &again.report);
                let certificate = |report: &wireglass_core::tls::HandshakeReport| {
                    report.certificate.as_ref().map(|c| (c.fingerprint.clone(), c.subject.clone()))
                };
                assert!(certificate(again).is_some());
                assert_eq!(certificate(first), certificate(again));
                assert_eq!(first.minted_serial, again.minted_serial);
                assert_eq!((first.minted_by, first.defect), (again.minted_by, again.defect));
            }
            let [_, verification, ..] = [0, 1].map(|n| world.context.caches().all()[0].1.values()[n]);
            assert_eq!(verification, 1, "verified once");
            assert_eq!(world.context.caches().server_session.values(), [5, 1, 0]);
            assert_eq!(world.context.caches().client_ticket.values(), [5, 0, 0]);
        }
    }
}

#[test]
fn a_profile_without_resumption_has_none() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let ends = Ends::new(&world, versions);
        for _ in 0..3 {
            let profile = Profile { resumption: false, ..Profile::default() };
            assert_eq!(resumed(&ends.flow(&world, Plan { profile, ..Plan::default() })), FULL);
        }
        // Nor does another profile find what came meanwhile.
        assert_eq!(resumed(&ends.flow(&world, Plan::default())), FULL);
    }
}

/// A server may resume only what was begun with it, for the same name, with the same offer and under the same profile.
#[test]
fn a_servers_session_is_for_one_server_name_offer_and_profile() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let plan = Plan::default;
        let to = |change: &dyn Fn(&mut wireglass_core::tls::Destination)| {
            let mut plan = plan();
            change(&mut plan.destination);
            plan
        };
        let mut other_alpn = Ends::new(&world, versions);
        let ends = Ends { client: other_alpn.client.clone(), server: other_alpn.server.clone() };
        other_alpn.client.alpn_protocols = alpn(&["h2"]);
        let mut library = library(world.provider);
        library.cipher_suites.swap(0, 1);
        library.cipher_suites.truncate(8);
        let mut other_suites = Ends::new(&world, versions);
        other_suites.client = client_config(&library, versions, std::slice::from_ref(&world.trusted));
        other_suites.client.alpn_protocols = alpn(&["h2", "http/1.1"]);
        other_suites.server = ends.server.clone();
        let strict = Profile { on_expired: DefectAction::Allow, ..Profile::default() };
        let others = [
            ("port", &ends, to(&|d| d.server.set_port(8443))),
            ("address", &ends, to(&|d| d.server.set_ip([192, 0, 2, 81].into()))),
            ("wire", &ends, to(&|d| d.wire = 1)),
            ("VLAN", &ends, to(&|d| d.vlan = [Some(0), None])),
            ("inner VLAN", &ends, to(&|d| d.vlan = [Some(0), Some(0)])),
            ("name", &ends, Plan { host: Some("example.com"), ..plan() }),
            ("profile", &ends, Plan { profile: strict, ..plan() }),
            ("protocols", &other_alpn, plan()),
            ("suites", &other_suites, plan()),
        ];
        ends.flow(&world, plan());
        assert!(resumed(&ends.flow(&world, plan()))[1]);
        for (what, ends, plan) in others {
            assert!(!resumed(&ends.flow(&world, plan))[1], "another {what}");
        }
        assert!(resumed(&ends.flow(&world, plan()))[1], "and what there was is still good");
    }
}

/// A client's ticket is good only where the same leaf would be presented, for the same name, profile and choices of the server.
#[test]
fn a_clients_ticket_is_for_one_leaf_name_profile_and_choice() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let ends = Ends::new(&world, versions);
        let with_server = |server: ServerConfig| Ends { client: ends.client.clone(), server };
        let renewed = Signed::by(leaf_params(&[HOST]), &world.root);
        let renewed = with_server(Ends::with_leaf(&world, versions, &renewed).server);
        let mut http1 = Ends::new(&world, versions).server;
        http1.alpn_protocols = alpn(&["http/1.1"]);
        let http1 = with_server(http1);
        let short = Profile { max_days: 7, ..Profile::default() };
        let strict = Profile { on_expired: DefectAction::Allow, ..Profile::default() };
        let profile = |profile| Plan { profile, ..Plan::default() };
        let others = [
            ("original", &renewed, Plan::default()),
            ("choice of protocol", &http1, Plan::default()),
            ("validity", &ends, profile(short)),
            ("profile", &ends, profile(strict)),
        ];
        for (what, others, plan) in others {
            ends.flow(&world, Plan::default());
            assert!(resumed(&ends.flow(&world, Plan::default()))[0]);
            let flow = others.flow(&world, plan);
            assert!(!resumed(&flow)[0], "another {what}");
        }
    }
}

/// The client comes with a ticket that it got for a name, and asks for another: rustls as a client never does.
#[test]
fn a_ticket_under_another_name_is_no_good() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let mut ends = Ends::new(&world, versions);
        let store = Arc::new(OneForAll::default());
        ends.client.resumption = rustls::client::Resumption::store(store.clone());
        ends.flow(&world, Plan::default());
        assert!(resumed(&ends.flow(&world, Plan::default()))[0]);
        let misses = world.context.caches().client_ticket.values()[1];
        let flow = ends.flow(&world, Plan { host: Some("example.com"), ..Plan::default() });
        assert_eq!(resumed(&flow), FULL);
        assert_eq!(world.context.caches().client_ticket.values()[1], misses + 1, "it was offered");
    }
}

/// A client's memory that does not look at names.
#[derive(Debug)]
struct OneForAll(rustls::client::ClientSessionMemoryCache);

impl Default for OneForAll {
    fn default() -> Self {
        Self(rustls::client::ClientSessionMemoryCache::new(8))
    }
}

impl OneForAll {
    fn name() -> rustls_pki_types::ServerName<'static> {
        "one.example".try_into().unwrap()
    }
}

impl rustls::client::ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: rustls_pki_types::ServerName<'static>, _: rustls::NamedGroup) {}

    fn kx_hint(&self, _: &rustls_pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }

    fn set_tls12_session(
        &self,
        _: rustls_pki_types::ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(Self::name(), value);
    }

    fn tls12_session(
        &self,
        _: &rustls_pki_types::ServerName<'_>,
    ) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::name())
    }

    fn remove_tls12_session(&self, _: &rustls_pki_types::ServerName<'_>) {
        self.0.remove_tls12_session(&Self::name());
    }

    fn insert_tls13_ticket(
        &self,
        _: rustls_pki_types::ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }

    fn take_tls13_ticket(
        &self,
        _: &rustls_pki_types::ServerName<'_>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

/// The server would resume; but its certificate has expired since, and so a full handshake refuses it.
#[test]
fn a_certificate_that_expires_between_two_connections() {
    for versions in [TLS12, TLS13] {
        let world = World::new(Provider::default());
        let mut params = leaf_params(&[HOST]);
        pki::dates(&mut params, -30, 0); // to the end of this very second
        let leaf = Signed::by(params, &world.root);
        let ends = Ends::with_leaf(&world, versions, &leaf);
        ends.flow(&world, Plan { now: NOW - 10, ..Plan::default() });
        assert_eq!(resumed(&ends.flow(&world, Plan { now: NOW - 1, ..Plan::default() })), [true; 2]);
        let late = Plan { now: NOW + 1, client_says: b"secret", ..Plan::default() };
        let flow = Flow::run(&world, ends.client.clone(), ends.server.clone(), late);
        assert_eq!(flow.failure.unwrap().reason, Reason::CertExpired);
        assert_eq!(flow.report.defect, Some(Reason::CertExpired));
        assert!(flow.server.seen.data.is_empty() && flow.report.minted_serial.is_none());
        // Where it is tolerated, it is so by the untrusted CA's copy, not by the ticket of the trusted one's.
        let profile = Profile { on_expired: DefectAction::UntrustedCa, ..Profile::default() };
        let flow = ends.flow(&world, Plan { now: NOW + 1, profile, ..Plan::default() });
        assert_eq!((resumed(&flow), flow.report.minted_by), (FULL, Some(MintedBy::Untrusted)));
    }
}

#[test]
fn a_verdict_is_good_for_an_hour() {
    for versions in [TLS12, TLS13] {
        let world = World::new(Provider::default());
        let ends = Ends::new(&world, versions);
        ends.flow(&world, Plan::default());
        assert!(resumed(&ends.flow(&world, Plan { now: NOW + 3599, ..Plan::default() }))[1]);
        let flow = ends.flow(&world, Plan { now: NOW + 3600, ..Plan::default() });
        // The client's ticket is as good as the new verdict: the leaf is the same.
        assert_eq!(resumed(&flow), [true, false]);
        assert_eq!(world.context.caches().verification.values()[1], 2, "verified again");
        // A clock that was set back, to before what is known to hold.
        let before = Plan { now: NOW - 40 * pki::DAY, ..Plan::default() };
        let flow = Flow::run(&world, ends.client.clone(), ends.server.clone(), before);
        assert_eq!(flow.failure.unwrap().reason, Reason::CertNotYet);
    }
}

/// What one profile tolerates and another blocks.
#[test]
fn a_tolerated_defect_stays_one() {
    let world = World::new(Provider::default());
    let stranger = Signed::by_itself(pki::ca_params("Nobody's Root"));
    let leaf = Signed::by(leaf_params(&[HOST]), &stranger);
    let lenient = || Profile { on_untrusted: DefectAction::UntrustedCa, ..Profile::default() };
    for versions in [TLS12, TLS13] {
        let ends = Ends::with_leaf(&world, versions, &leaf);
        for expected in [FULL, [true; 2]] {
            let flow = ends.flow(&world, Plan { profile: lenient(), ..Plan::default() });
            assert_eq!(resumed(&flow), expected);
            assert_eq!(flow.report.defect, Some(Reason::CertUntrusted));
            assert_eq!(flow.report.minted_by, Some(MintedBy::Untrusted));
        }
        let blocked = Plan { client_says: b"secret", ..Plan::default() };
        let flow = Flow::run(&world, ends.client.clone(), ends.server.clone(), blocked);
        assert_eq!(flow.failure.unwrap().reason, Reason::CertUntrusted);
        assert!(flow.server.seen.data.is_empty());
        // The same name for the profile, and another content: a configuration that was changed.
        let profile = Profile { on_untrusted: DefectAction::Allow, ..Profile::default() };
        let flow = ends.flow(&world, Plan { profile, ..Plan::default() });
        assert_eq!((resumed(&flow), flow.report.minted_by), (FULL, Some(MintedBy::Trusted)));
    }
}

/// Another engine, or this one with other trust: the tickets' keys are the same, and nothing is resumed.
#[test]
fn another_trust_store_or_ca_takes_no_ticket() {
    for versions in [TLS12, TLS13] {
        let world = World::new(Provider::default());
        let ends = Ends::new(&world, versions);
        let context = |ca: &World, more: Option<&Signed>| {
            let roots = [Some(&world.root), more].into_iter().flatten();
            let settings = TlsSettings {
                provider: world.provider,
                trusted: ca_files(ca.dir.path(), "trusted"),
                untrusted: ca_files(ca.dir.path(), "untrusted"),
                crl_url: None,
                knowledge: Default::default(),
                system_roots: None,
                roots: roots.map(|r| RootFile { name: "root".into(), pem: pki::pem(&r.der) }).collect(),
                now: NOW,
            };
            TlsContext::new(settings).unwrap().with_ticket_secret(TICKET_SECRET)
        };
        let mut other = World::new(Provider::default());
        let more = Signed::by_itself(pki::ca_params("Further Root"));
        for context in [context(&world, Some(&more)), context(&other, None)] {
            ends.flow(&world, Plan::default());
            assert!(resumed(&ends.flow(&world, Plan::default()))[0]);
            other.context = Arc::new(context);
            let mut client = ends.client.clone();
            client.resumption = ends.client.resumption.clone();
            let flow = Flow::run(&other, client, ends.server.clone(), Plan::default());
            // The client does not trust the other CA, which it would not have noticed in a resumption.
            let unknown_ca = flow.failure.is_some_and(|f| f.reason == Reason::ClientAlert);
            assert!(unknown_ca || resumed(&flow) == FULL);
            assert_eq!(other.context.caches().client_ticket.values()[..2], [0, 1], "offered, and no good");
        }
    }
}

/// Another engine with the same roots, and with the CAs of `cas`; leaf keys and secrets are its own.
fn another_engine(world: &World, cas: &World, own_secret: u8) -> World {
    let context = TlsContext::new(TlsSettings {
        provider: world.provider,
        trusted: ca_files(cas.dir.path(), "trusted"),
        untrusted: ca_files(cas.dir.path(), "untrusted"),
        crl_url: None,
        knowledge: Default::default(),
        system_roots: None,
        roots: vec![RootFile { name: "root".into(), pem: pki::pem(&world.root.der) }],
        now: NOW,
    });
    let context = context.unwrap().with_ticket_secret([own_secret; 32]);
    World { context: Arc::new(context), ..World::new(world.provider) }
}

/// Two engines have leaves of their own for one server, with keys of their own. What they share is the CA and the tickets' secret.
#[test]
fn a_client_resumes_at_another_engine() {
    for &provider in Provider::BUILT_IN {
        for versions in [TLS12, TLS13] {
            let here = World::new(provider);
            let there = another_engine(&here, &here, 2);
            let ends = Ends::new(&here, versions);
            let secret = TicketSecret::new([9; 32], NOW);
            let first = ends.flow(&here, Plan::default());
            assert_eq!(resumed(&ends.flow(&there, Plan::default())), FULL, "nothing is shared");
            for engine in [&here, &there] {
                engine.context.ticket_sharing().unwrap().share(&secret, NOW).unwrap();
            }
            // Of the engine that it got its ticket at before: that is still good, and the next one is for both.
            let ends = Ends::new(&here, versions);
            assert_eq!(resumed(&ends.flow(&here, Plan::default())), FULL);
            for engine in [&there, &here, &there] {
                let again = ends.flow(engine, Plan::default());
                assert!(resumed(&again)[0], "{versions:?}");
                assert_eq!(again.report.minted_by, Some(MintedBy::Trusted));
                assert!(again.report.certificate.is_some(), "the server was verified");
            }
            let serials = [first, ends.flow(&there, Plan::default())].map(|flow| flow.report.minted_serial);
            assert_ne!(serials[0], serials[1], "another leaf");
        }
    }
}

/// What makes a ticket worthless at the engine that has issued it does so at another one.
#[test]
fn a_client_resumes_at_another_engine_only_what_it_has_seen() {
    for versions in [TLS12, TLS13] {
        let here = World::new(Provider::default());
        let there = another_engine(&here, &here, 2);
        let other_ca = another_engine(&here, &World::new(Provider::default()), 3);
        let other_secret = another_engine(&here, &here, 4);
        for engine in [&here, &there, &other_ca] {
            engine.context.ticket_sharing().unwrap().share(&TicketSecret::new([9; 32], NOW), NOW).unwrap();
        }
        other_secret.context.ticket_sharing().unwrap().share(&TicketSecret::new([8; 32], NOW), NOW).unwrap();
        let ends = Ends::new(&here, versions);
        let renewed = Signed::by(leaf_params(&[HOST]), &here.root);
        let renewed =
            Ends { client: ends.client.clone(), server: Ends::with_leaf(&here, versions, &renewed).server };
        let strict = Profile { on_expired: DefectAction::Allow, ..Profile::default() };
        let strict = Plan { profile: strict, ..Plan::default() };
        for (what, engine, others, plan) in [
            ("secret", &other_secret, &ends, Plan::default()),
            ("CA", &other_ca, &ends, Plan::default()),
            ("original", &there, &renewed, Plan::default()),
            ("profile", &there, &ends, strict),
        ] {
            ends.flow(&here, Plan::default());
            assert!(resumed(&ends.flow(&there, Plan::default()))[0]);
            let misses = engine.context.caches().client_ticket.values()[1];
            let flow = Flow::run(engine, others.client.clone(), others.server.clone(), plan);
            // The client does not trust the other CA, which it would not have noticed in a resumption.
            let unknown_ca = flow.failure.as_ref().is_some_and(|f| f.reason == Reason::ClientAlert);
            assert_eq!(unknown_ca, what == "CA");
            assert!(unknown_ca || !resumed(&flow)[0], "another {what}");
            assert!(
                engine.context.caches().client_ticket.values()[1] > misses,
                "offered, and no good: {what}"
            );
        }
        // A defect that is found there alone: an engine whose clock says that the original has expired.
        ends.flow(&here, Plan::default());
        let late = Plan { now: NOW + 61 * pki::DAY, ..Plan::default() };
        let flow = Flow::run(&there, ends.client.clone(), ends.server.clone(), late);
        assert_eq!(flow.failure.map(|failure| failure.reason), Some(Reason::CertExpired));
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_has_no_sessions() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let ends = Ends::new(&world, versions);
        let mut roots = RootCertStore::empty();
        roots.add(world.root.der.clone()).unwrap();
        let library = Arc::new(library(world.provider));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&library))
            .allow_unauthenticated()
            .build()
            .unwrap();
        let key = library.key_provider.load_private_key(world.leaf.private_key()).unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![world.leaf.der.clone()], key);
        let server = ServerConfig::builder_with_provider(library)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        let profile = Profile { on_client_certificate: ClientCertificateAction::Block, ..Profile::default() };
        for _ in 0..2 {
            let plan = Plan { profile: profile.clone(), ..Plan::default() };
            let flow = Flow::run(&world, ends.client.clone(), server.clone(), plan);
            assert_eq!(flow.failure.unwrap().reason, Reason::ServerWantsClientCert);
        }
        assert_eq!(world.context.caches().server_session.values()[0], 0);
    }
}

#[test]
fn a_server_that_has_forgotten_gets_a_full_handshake() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let mut ends = Ends::new(&world, versions);
        ends.flow(&world, Plan::default());
        ends.server = Ends::new(&world, versions).server;
        assert_eq!(resumed(&ends.flow(&world, Plan::default())), [true, false]);
        // A server that has gone back to TLS 1.2, and one that has come to TLS 1.3.
        ends.client = Ends::new(&world, BOTH).client;
        for server in [TLS13, TLS12, TLS13] {
            ends.server = Ends::new(&world, server).server;
            assert!(!resumed(&ends.flow(&world, Plan::default()))[1]);
        }
    }
}

/// Cut anywhere, tickets in the middle of the handshake's last flight included.
#[test]
fn resumption_byte_by_byte() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let ends = Ends::new(&world, versions);
        for expected in [FULL, [true; 2], [true; 2]] {
            assert_eq!(resumed(&ends.flow(&world, Plan { cut: 1, ..Plan::default() })), expected);
        }
    }
}

#[test]
fn no_more_servers_than_asked_for_are_remembered() {
    let mut world = World::new(Provider::default());
    let context = Arc::into_inner(world.context).unwrap();
    world.context = Arc::new(context.with_server_sessions(4));
    let ends = Ends::new(&world, TLS13);
    let to = |port: u16| {
        let mut plan = Plan::default();
        plan.destination.server.set_port(port);
        plan
    };
    for port in 1..=20 {
        ends.flow(&world, to(port));
    }
    assert!(!resumed(&ends.flow(&world, to(1)))[1]);
    assert!(resumed(&ends.flow(&world, to(20)))[1]);
    assert!(world.context.caches().server_session.values()[2] >= 16);
    // None at all.
    let context = Arc::into_inner(world.context).unwrap();
    world.context = Arc::new(context.with_server_sessions(0));
    for _ in 0..2 {
        assert!(!resumed(&ends.flow(&world, Plan::default()))[1]);
    }
}

/// A profile's versions bind both legs, whatever was negotiated before.
#[test]
fn versions_of_the_profile_hold_for_those_who_come_back() {
    let world = World::new(Provider::default());
    let ends = Ends::new(&world, BOTH);
    assert_eq!(resumed(&ends.flow(&world, Plan::default())), FULL);
    let profile = Profile { max_version: TlsVersion::Tls12, ..Profile::default() };
    let flow = ends.flow(&world, Plan { profile, ..Plan::default() });
    assert_eq!(resumed(&flow), FULL);
    assert_eq!(flow.report.server_leg.unwrap().version, Some("TLS 1.2"));
}

/// What a reload makes: the same files again, another provider, another root.
#[test]
fn a_successor_has_what_still_holds() {
    for &before in Provider::BUILT_IN {
        for &after in Provider::BUILT_IN {
            let mut world = World::new(before);
            let ends = Ends::new(&world, BOTH);
            let settings = |roots: &[&Signed]| TlsSettings {
                provider: after,
                trusted: ca_files(world.dir.path(), "trusted"),
                untrusted: ca_files(world.dir.path(), "untrusted"),
                crl_url: None,
                knowledge: Default::default(),
                system_roots: None,
                roots: roots
                    .iter()
                    .map(|r| RootFile { name: "root".into(), pem: pki::pem(&r.der) })
                    .collect(),
                now: NOW,
            };
            let first = ends.flow(&world, Plan::default());
            let more = Signed::by_itself(pki::ca_params("Further Root"));
            let same = TlsContext::succeeding(settings(&[&world.root]), &world.context).unwrap();
            let others = TlsContext::succeeding(settings(&[&more]), &world.context).unwrap();
            world.context = Arc::new(same);
            let again = ends.flow(&world, Plan::default());
            let serial = |flow: &Flow| flow.report.minted_serial.clone();
            if before == after {
                assert_eq!((resumed(&again), serial(&again)), ([true; 2], serial(&first)));
                assert_eq!(world.context.minted(), 1);
            } else {
                // Neither sessions nor leaf keys of one library are another's. The client has seen a copy of the same, by the same CA.
                assert_eq!(resumed(&again), [true, false], "{before:?} {after:?}");
            }
            world.context = Arc::new(others);
            let flow = Flow::run(&world, ends.client.clone(), ends.server.clone(), Plan::default());
            assert_eq!(flow.failure.map(|failure| failure.reason), Some(Reason::CertUntrusted));
        }
    }
}
