//! Both handshakes and the relay, with rustls at the far ends: versions, providers, application protocols, endings.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::ClientConnection;
use tls_support::*;
use wireglass_core::end::End;
use wireglass_core::event::MintedBy;
use wireglass_core::policy::{Profile, TlsVersion};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{Failure, Input, Outcome, RecordLibraries, RelayError, Suite};
use wireglass_core::x509::Provider;

fn established(
    world: &World,
    client: Versions,
    server: Versions,
    protocols: [&[&str]; 2],
    plan: Plan,
) -> Flow {
    let library = library(world.provider);
    let mut client = client_config(&library, client, std::slice::from_ref(&world.trusted));
    client.alpn_protocols = alpn(protocols[0]);
    let mut server =
        server_config(&library, server, std::slice::from_ref(&world.leaf.der), world.leaf.private_key());
    server.alpn_protocols = alpn(protocols[1]);
    let flow = Flow::run(world, client, server, plan);
    assert_eq!(flow.failure, None, "client {:?} server {:?}", flow.client.seen, flow.server.seen);
    flow
}

#[test]
fn versions_protocols_and_providers() {
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        for (client, server, version) in [
            (BOTH, BOTH, "TLS 1.3"),
            (BOTH, TLS12, "TLS 1.2"),
            (TLS12, BOTH, "TLS 1.2"),
            (TLS13, BOTH, "TLS 1.3"),
            (BOTH, TLS13, "TLS 1.3"),
        ] {
            for (protocols, chosen) in [
                ([&["h2", "http/1.1"][..], &["h2", "http/1.1"][..]], Some("h2")),
                ([&["h2", "http/1.1"], &["http/1.1"]], Some("http/1.1")),
                ([&["h2"], &[]], None),
                ([&[], &["h2"]], None),
            ] {
                let mut flow = established(&world, client, server, protocols, Plan::default());
                assert_eq!(flow.relay.as_ref().unwrap().alpn(), chosen.map(str::as_bytes));
                assert_eq!(flow.client.connection.alpn_protocol(), chosen.map(str::as_bytes));
                assert_eq!(flow.server.connection.alpn_protocol(), chosen.map(str::as_bytes));
                for leg in [&flow.report.client_leg, &flow.report.server_leg] {
                    let leg = leg.as_ref().unwrap();
                    assert_eq!(leg.version, Some(version));
                    assert!(leg.cipher.unwrap().starts_with("TLS_"));
                    assert_eq!(leg.alpn.as_deref(), chosen.map(str::as_bytes));
                    assert!(leg.group.is_some() && !leg.resumed);
                }
                flow.client.send(b"GET / HTTP/1.1\r\n\r\n");
                flow.server.send(b"HTTP/1.1 200 OK\r\n\r\n");
                flow.settle().unwrap();
                assert_eq!(flow.server.seen.data, b"GET / HTTP/1.1\r\n\r\n");
                assert_eq!(flow.client.seen.data, b"HTTP/1.1 200 OK\r\n\r\n");
                assert_eq!(flow.inspected_from(End::Client), flow.server.seen.data);
                assert_eq!(flow.inspected_from(End::Server), flow.client.seen.data);
            }
        }
        // One server, one verdict, one kind of key: one leaf.
        assert_eq!(world.context.minted(), 1);
    }
}

#[test]
fn the_report_tells_the_servers_certificate_apart_from_the_minted_one() {
    let world = World::new(Provider::default());
    let flow = established(&world, BOTH, BOTH, [&[], &[]], Plan::default());
    let certificate = flow.report.certificate.unwrap();
    assert_eq!(certificate.subject, "C=DE, O=Example, Söhne & Co, CN=www.example.com");
    assert_eq!(certificate.issuer, "CN=Public Root");
    assert_eq!(certificate.alt_names, [HOST, "example.com", "*.wild.example.com"]);
    assert_eq!(certificate.fingerprint.len(), 59);
    assert_eq!(certificate.not_after, (NOW + 60 * pki::DAY) as i64);
    assert_eq!(flow.report.defect, None);
    assert_eq!(flow.report.minted_by, Some(MintedBy::Trusted));
    assert_ne!(*flow.report.minted_serial.unwrap(), *certificate.serial);
    let chain = [
        flow.client.connection.peer_certificates().unwrap(),
        flow.server.connection.peer_certificates().unwrap_or(&[]),
    ];
    assert_eq!(chain[0].last(), Some(&world.trusted));
    assert!(chain[1].is_empty());
}

/// The server hears only what the client itself would have accepted.
#[test]
fn the_server_is_offered_what_the_client_offered() {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    let mut narrow = library.clone();
    narrow.cipher_suites.retain(|s| u16::from(s.suite()) == 0x1302);
    narrow.kx_groups.retain(|g| u16::from(g.name()) == 0x0018);
    let mut client = client_config(&narrow, TLS13, std::slice::from_ref(&world.trusted));
    client.alpn_protocols = alpn(&["odd", "h2"]);
    let server =
        server_config(&library, BOTH, std::slice::from_ref(&world.leaf.der), world.leaf.private_key());
    let flow = Flow::run(&world, client, server, Plan::default());
    assert_eq!(flow.failure, None);
    let wireglass_core::tls::Peek::Complete { hello, .. } = wireglass_core::tls::peek(&flow.to_server, 65536)
    else {
        panic!()
    };
    assert_eq!(hello.sni.as_deref(), Some(HOST));
    assert_eq!(hello.alpn, [Box::from(&b"odd"[..]), Box::from(&b"h2"[..])]);
    assert_eq!(hello.versions, [0x0304]);
    // 0x00ff: the renegotiation signal, no suite.
    assert_eq!(hello.cipher_suites.iter().filter(|s| **s != 0x00ff).copied().collect::<Vec<_>>(), [0x1302]);
    assert_eq!(hello.groups, [0x0018]);
    assert!(!hello.extensions.contains(&42) && !hello.extensions.contains(&41), "early data or a PSK");
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn post_quantum_only_where_the_client_is() {
    let world = World::new(Provider::AwsLcRs);
    let flow = established(&world, BOTH, BOTH, [&[], &[]], Plan::default());
    assert_eq!(flow.report.client_leg.unwrap().group, Some("X25519MLKEM768"));
    assert_eq!(flow.report.server_leg.unwrap().group, Some("X25519MLKEM768"));
    let mut classic = library(Provider::AwsLcRs);
    classic.kx_groups.retain(|g| u16::from(g.name()) < 0x100);
    let client = client_config(&classic, BOTH, std::slice::from_ref(&world.trusted));
    let server = server_config(
        &library(Provider::AwsLcRs),
        BOTH,
        std::slice::from_ref(&world.leaf.der),
        world.leaf.private_key(),
    );
    let flow = Flow::run(&world, client, server, Plan::default());
    assert_eq!(flow.report.server_leg.unwrap().group, Some("x25519"));
}

#[test]
fn every_cut_of_every_flight() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        for cut in [1, 2, 5, 6, 100] {
            let mut flow =
                established(&world, versions, versions, [&[], &[]], Plan { cut, ..Plan::default() });
            flow.client.send(b"ping");
            flow.settle().unwrap();
            assert_eq!(flow.server.seen.data, b"ping");
        }
    }
}

/// A server may send before the client's handshake is over; nothing of it is lost, and nothing goes unseen.
#[test]
fn data_that_comes_with_the_handshakes() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let plan = Plan { client_says: b"EHLO", server_says: b"220 ready", ..Plan::default() };
        let mut flow = established(&world, versions, versions, [&[], &[]], plan);
        flow.settle().unwrap();
        assert_eq!(
            (&flow.server.seen.data[..], &flow.client.seen.data[..]),
            (&b"EHLO"[..], &b"220 ready"[..])
        );
        assert_eq!(flow.inspected_from(End::Client), b"EHLO");
        assert_eq!(flow.inspected_from(End::Server), b"220 ready");
    }
}

#[test]
fn a_megabyte_each_way_in_odd_pieces() {
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        for versions in [TLS12, TLS13] {
            let mut flow = established(&world, versions, versions, [&[], &[]], Plan::default());
            let data: Vec<u8> = (0..1_000_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
            for (i, piece) in data.chunks(33_333).enumerate() {
                flow.client.connection.set_buffer_limit(None);
                flow.client.send(piece);
                let wire = flow.client.output();
                for part in wire.chunks(1 + i * 997) {
                    let out = flow.relay_bytes(End::Client, part).unwrap();
                    assert!(out.to_server.len() < part.len() + 20_000, "what goes in comes out, and no more");
                }
                flow.server.send(piece);
                flow.settle().unwrap();
            }
            assert!(flow.server.seen.data == data && flow.client.seen.data == data);
        }
    }
}

#[test]
fn closing_is_mirrored_one_direction_at_a_time() {
    let world = World::new(Provider::default());
    for versions in [TLS12, TLS13] {
        let mut flow = established(&world, versions, versions, [&[], &[]], Plan::default());
        flow.client.send(b"last words");
        flow.client.connection.send_close_notify();
        flow.settle().unwrap();
        assert!(flow.server.seen.closed && !flow.client.seen.closed);
        assert_eq!(flow.server.seen.data, b"last words");
        // The other direction is still open.
        flow.server.send(b"answer");
        flow.server.connection.send_close_notify();
        flow.settle().unwrap();
        assert!(flow.client.seen.closed);
        assert_eq!(flow.client.seen.data, b"answer");
    }
}

#[test]
fn key_updates_pass() {
    let world = World::new(Provider::default());
    let mut flow = established(&world, TLS13, TLS13, [&[], &[]], Plan::default());
    for round in 0..4u8 {
        flow.client.connection.refresh_traffic_keys().unwrap();
        flow.client.send(&[round]);
        flow.server.connection.refresh_traffic_keys().unwrap();
        flow.server.send(&[round]);
        flow.settle().unwrap();
    }
    assert_eq!(
        (&flow.server.seen.data[..], &flow.client.seen.data[..]),
        (&[0, 1, 2, 3][..], &[0, 1, 2, 3][..])
    );
}

/// Handshakes by one library, records by another, over each AEAD; only the suite in question has it, so that no other's choice is taken.
/// What the keys hold of memory tells the libraries apart.
#[test]
fn records_by_any_library_after_handshakes_by_any() {
    let mut keys = BTreeMap::new();
    for (&handshakes, &records, suite, versions) in pairings() {
        let mut world = World::new(handshakes);
        let libraries = RecordLibraries::by_suite(|other| if other == suite { records } else { handshakes });
        let context = Arc::into_inner(world.context).unwrap();
        world.context = Arc::new(context.with_record_libraries(libraries));
        let mut library = library(handshakes);
        let name = suite.name().to_uppercase().replace('-', "_");
        library.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains(&name));
        let client = client_config(&library, versions, std::slice::from_ref(&world.trusted));
        let chain = std::slice::from_ref(&world.leaf.der);
        let server = server_config(&library, versions, chain, world.leaf.private_key());
        let mut flow = Flow::run(&world, client, server, Plan::default());
        let case = format!("{handshakes:?} {records:?} {suite:?} {:?}", flow.report);
        assert_eq!(flow.failure, None, "{case}");
        for leg in [&flow.report.client_leg, &flow.report.server_leg] {
            assert!(leg.as_ref().unwrap().cipher.unwrap().contains(&name), "{case}");
        }
        let is_tls13 = std::ptr::eq(versions, TLS13);
        let certificates = if is_tls13 { chain[0].len() } else { 0 };
        keys.entry((is_tls13, name, records.name()))
            .or_insert_with(Vec::new)
            .push(flow.relay.as_ref().unwrap().held() - certificates);
        for round in 0..2 {
            if is_tls13 && round == 1 {
                flow.client.connection.refresh_traffic_keys().unwrap();
                flow.server.connection.refresh_traffic_keys().unwrap();
            }
            flow.client.send(&[round; 40_000]);
            flow.server.send(&[round; 50_000]);
            flow.settle().unwrap();
        }
        let said = |len| [vec![0; len], vec![1; len]].concat();
        assert!(flow.server.seen.data == said(40_000) && flow.client.seen.data == said(50_000), "{case}");
    }
    let all: Vec<_> = keys.values().collect();
    assert!(all.iter().all(|held| held.windows(2).all(|pair| pair[0] == pair[1])), "{keys:?}");
    for pair in all.chunks(Provider::BUILT_IN.len()).filter(|pair| pair.len() > 1) {
        assert_ne!(pair[0][0], pair[1][0], "{keys:?}");
    }
}

type Pairing = (&'static Provider, &'static Provider, Suite, Versions);

fn pairings() -> impl Iterator<Item = Pairing> {
    let libraries = || Provider::BUILT_IN.iter();
    let both = libraries().flat_map(move |handshakes| libraries().map(move |records| (handshakes, records)));
    let suites = both.flat_map(|(h, r)| Suite::ALL.map(|suite| (h, r, suite)));
    suites.flat_map(|(h, r, suite)| [TLS12, TLS13].map(|versions| (h, r, suite, versions)))
}

#[test]
fn a_broken_record_ends_the_relay_and_names_the_end_at_fault() {
    let world = World::new(Provider::default());
    for (side, reason) in [(End::Client, Reason::ClientProtocol), (End::Server, Reason::ServerProtocol)] {
        let mut flow = established(&world, TLS13, TLS13, [&[], &[]], Plan::default());
        let garbage = [&[23, 3, 3, 0, 40][..], &[0x5a; 40]].concat();
        let error = flow.relay_bytes(side, &garbage).map(drop).unwrap_err();
        assert_eq!(error, RelayError { reason, alert: None });
        let (faulty, other) = match side {
            End::Client => (&flow.client, &flow.server),
            End::Server => (&flow.server, &flow.client),
        };
        assert!(matches!(faulty.seen.error, Some(rustls::Error::AlertReceived(_))));
        // No orderly closing where data was cut off.
        assert!(!other.seen.closed && other.seen.error.is_none());
    }
}

#[test]
fn a_client_that_does_not_trust_the_ca_says_so() {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    for versions in [TLS12, TLS13] {
        let client = client_config(&library, versions, std::slice::from_ref(&world.root.der));
        let server = server_config(
            &library,
            versions,
            std::slice::from_ref(&world.leaf.der),
            world.leaf.private_key(),
        );
        let flow = Flow::run(&world, client, server, Plan { client_says: b"secret", ..Plan::default() });
        assert_eq!(flow.failure, Some(Failure { reason: Reason::ClientAlert, alert: Some(48) }));
        assert!(flow.report.server_leg.is_some() && flow.report.client_leg.is_none());
        assert!(flow.server.seen.data.is_empty() && flow.server.seen.closed);
    }
}

#[test]
fn a_servers_alert_reaches_the_client_as_it_is() {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    let client = client_config(&library, BOTH, std::slice::from_ref(&world.trusted));
    let mut client = TlsEnd::client(client, HOST.try_into().unwrap());
    let mut handshake = start(&world.context, &client.output(), Profile::default());
    handshake.advance(Input { now: NOW, ..Input::default() });
    // unrecognized_name(112)
    let step =
        handshake.advance(Input { from_server: vec![21, 3, 3, 0, 2, 2, 112], now: NOW, ..Input::default() });
    let Outcome::Failed(failure) = step.outcome else { panic!() };
    assert_eq!(failure, Failure { reason: Reason::ServerAlert, alert: Some(112) });
    assert_eq!(step.to_client, [21, 3, 3, 0, 2, 2, 112]);
    client.input(&step.to_client);
    assert_eq!(client.seen.error, Some(rustls::Error::AlertReceived(112.into())));
    // It stays over.
    let step = handshake.advance(Input { now: NOW, ..Input::default() });
    assert!(matches!(step.outcome, Outcome::Failed(Failure { reason: Reason::Internal, .. })));
}

#[test]
fn protocol_version_and_security_alerts_have_their_own_reasons() {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    for (alert, reason) in [
        (70, Reason::VersionUnsupportedServer),
        (71, Reason::CipherNoneServer),
        (40, Reason::CipherNoneServer),
    ] {
        let mut client = TlsEnd::client(client_config(&library, BOTH, &[]), HOST.try_into().unwrap());
        let mut handshake = start(&world.context, &client.output(), Profile::default());
        handshake.advance(Input { now: NOW, ..Input::default() });
        let step = handshake.advance(Input {
            from_server: vec![21, 3, 3, 0, 2, 2, alert],
            now: NOW,
            ..Input::default()
        });
        assert!(matches!(step.outcome, Outcome::Failed(f) if f.reason == reason && f.alert == Some(alert)));
    }
}

#[test]
fn an_end_that_closes_early() {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    let mut client = TlsEnd::client(client_config(&library, BOTH, &[]), HOST.try_into().unwrap());
    let flight = client.output();
    for (input, reason) in [
        (Input { client_closed: true, now: NOW, ..Input::default() }, Reason::ClientClosed),
        (Input { server_closed: true, now: NOW, ..Input::default() }, Reason::ServerClosed),
        (
            Input { from_server: b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), now: NOW, ..Input::default() },
            Reason::ServerProtocol,
        ),
    ] {
        let mut handshake = start(&world.context, &flight, Profile::default());
        handshake.advance(Input { now: NOW, ..Input::default() });
        let step = handshake.advance(input);
        assert!(matches!(step.outcome, Outcome::Failed(f) if f.reason == reason), "{:?}", step.outcome);
    }
}

#[test]
fn profiles_limit_both_legs() {
    let world = World::new(Provider::default());
    let only12 = Profile { max_version: TlsVersion::Tls12, ..Profile::default() };
    let flow = established(&world, BOTH, BOTH, [&[], &[]], Plan { profile: only12, ..Plan::default() });
    assert_eq!(flow.report.client_leg.unwrap().version, Some("TLS 1.2"));
    assert_eq!(flow.report.server_leg.unwrap().version, Some("TLS 1.2"));

    let library = library(world.provider);
    let only13 = Profile { min_version: TlsVersion::Tls13, ..Profile::default() };
    let mut client = TlsEnd::client(client_config(&library, TLS12, &[]), HOST.try_into().unwrap());
    let mut handshake = start(&world.context, &client.output(), only13);
    let step = handshake.advance(Input { now: NOW, ..Input::default() });
    let Outcome::Failed(failure) = step.outcome else { panic!() };
    assert_eq!(failure, Failure { reason: Reason::VersionUnsupportedClient, alert: Some(70) });
    assert!(step.to_server.is_empty());
    assert_eq!(step.to_client, [21, 3, 3, 0, 2, 2, 70]);
}

/// Who comes back does not get ahead of the server's handshake.
#[test]
fn our_tickets_are_not_for_early_data() {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    let mut config = client_config(&library, TLS13, std::slice::from_ref(&world.trusted));
    config.enable_early_data = true;
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let server =
            server_config(&library, TLS13, std::slice::from_ref(&world.leaf.der), world.leaf.private_key());
        // The same session store behind each clone.
        let mut client = ClientConnection::new(Arc::new(config.clone()), HOST.try_into().unwrap()).unwrap();
        assert!(client.early_data().is_none());
        let mut flow = Flow::run(&world, config.clone(), server, Plan::default());
        flow.server.send(b"x");
        flow.settle().unwrap();
        assert_eq!(flow.client.connection.handshake_kind(), Some(expected));
    }
}

/// To the end of both handshakes.
fn advance(
    handshake: &mut wireglass_core::tls::Handshake,
    mut from_client: Vec<u8>,
    client: &mut TlsEnd,
    server: &mut TlsEnd,
) -> wireglass_core::tls::Relay {
    let mut from_server = Vec::new();
    loop {
        let step = handshake.advance(Input { from_client, from_server, now: NOW, ..Input::default() });
        client.input(&step.to_client);
        server.input(&step.to_server);
        match step.outcome {
            Outcome::Established(relay) => return *relay,
            Outcome::Failed(failure) => panic!("{failure:?}"),
            Outcome::Pending => (from_client, from_server) = (client.output(), server.output()),
        }
    }
}

/// With 100,000 idle flows, what the handshakes went through would be most of a worker's memory.
#[test]
fn a_relay_keeps_no_room_of_its_handshakes() {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    let mut server =
        server_config(&library, TLS13, std::slice::from_ref(&world.leaf.der), world.leaf.private_key());
    // A ticket would be waiting in the relay.
    server.send_tls13_tickets = 0;
    let config = client_config(&library, TLS13, std::slice::from_ref(&world.trusted));
    let (mut client, mut server) = (TlsEnd::client(config, HOST.try_into().unwrap()), TlsEnd::server(server));
    let mut handshake = start(&world.context, &client.output(), Profile::default());
    let relay = advance(&mut handshake, Vec::new(), &mut client, &mut server);
    // Secrets, keys and the chain: none of what the flights went through.
    assert!(relay.held() < 7_000, "{}", relay.held());
}

#[test]
fn rsa_leaf_for_clients_without_ecdsa() {
    use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
    use x509_cert::der::Decode;
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let rsa = pki::Signed::with_key(pki::leaf_params(&[HOST]), &world.root, key);
        let mut rsa_only = library(provider);
        // TLS 1.2 with ECDHE_RSA suites only.
        rsa_only.cipher_suites.retain(|s| [0xc02f, 0xc030].contains(&u16::from(s.suite())));
        let client = client_config(&rsa_only, TLS12, std::slice::from_ref(&world.trusted));
        let server =
            server_config(&library(provider), BOTH, std::slice::from_ref(&rsa.der), rsa.private_key());
        let flow = Flow::run(&world, client, server, Plan::default());
        if cfg!(not(feature = "aws-lc-rs")) {
            assert_eq!(flow.failure, Some(Failure { reason: Reason::MintFailed, alert: Some(80) }));
            continue;
        }
        assert_eq!(flow.failure, None);
        let cipher = flow.report.client_leg.as_ref().unwrap().cipher;
        assert_eq!(cipher, Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
        let leaf = x509_cert::Certificate::from_der(&flow.presented()[0]).unwrap();
        let algorithm = leaf.tbs_certificate().subject_public_key_info().algorithm.oid;
        assert_eq!(algorithm.to_string(), "1.2.840.113549.1.1.1", "rsaEncryption");
    }
}

/// Without SNI the server has to prove the address.
#[test]
fn no_sni_is_no_sni_upstream() {
    let mut world = World::new(Provider::default());
    world.leaf = pki::Signed::by(pki::leaf_params(&["192.0.2.80"]), &world.root);
    let flow = established(&world, BOTH, BOTH, [&[], &[]], Plan { host: None, ..Plan::default() });
    let wireglass_core::tls::Peek::Complete { hello, .. } = wireglass_core::tls::peek(&flow.to_server, 65536)
    else {
        panic!()
    };
    assert_eq!(hello.sni, None);
    assert!(!hello.extensions.contains(&0));
}
