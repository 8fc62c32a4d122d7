//! The record layer after the handshakes, with rustls at both far ends: suites, keys that are used up, records that are joined,
//! tampered with, or not all there.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use proptest::prelude::*;
use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, CipherSuite};
use tls_support::*;
use wireglass_core::content::Fate;
use wireglass_core::end::End;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{RecordSink, RelayError};
use wireglass_core::x509::Provider;

const TLS13_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];
const TLS12_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

fn only(library: &CryptoProvider, suites: &[CipherSuite]) -> CryptoProvider {
    let mut library = library.clone();
    library.cipher_suites.retain(|suite| suites.contains(&suite.suite()));
    library.cipher_suites.sort_by_key(|suite| suites.iter().position(|wanted| *wanted == suite.suite()));
    library
}

/// The client has `client` and then all others; the server has `server` alone.
fn established(world: &World, versions: Versions, client: &[CipherSuite], server: &[CipherSuite]) -> Flow {
    let library = library(world.provider);
    let client = client_config(&only(&library, client), versions, std::slice::from_ref(&world.trusted));
    let server = server_config(
        &only(&library, server),
        versions,
        std::slice::from_ref(&world.leaf.der),
        world.leaf.private_key(),
    );
    let flow = Flow::run(world, client, server, Plan::default());
    assert_eq!(flow.failure, None, "client {:?} server {:?}", flow.client.seen, flow.server.seen);
    flow
}

fn tls13(world: &World) -> Flow {
    established(world, TLS13, &TLS13_SUITES, &TLS13_SUITES)
}

fn tls12(world: &World) -> Flow {
    established(world, TLS12, &TLS12_SUITES, &TLS12_SUITES)
}

#[test]
fn every_suite_on_either_leg() {
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        for (versions, suites) in [(TLS13, TLS13_SUITES), (TLS12, TLS12_SUITES)] {
            for server in suites {
                for at in 0..suites.len() {
                    let mut client = suites;
                    client.rotate_left(at);
                    let mut flow = established(&world, versions, &client, &[server]);
                    let data: Vec<u8> = (0..70_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
                    for piece in data.chunks(23_456) {
                        flow.client.send(piece);
                        flow.server.send(piece);
                        flow.settle().unwrap();
                    }
                    assert!(
                        flow.server.seen.data == data && flow.client.seen.data == data,
                        "{client:?} {server:?}"
                    );
                    assert_eq!(flow.inspected_from(End::Client), data);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Pieces of any size, cut anywhere, keys renewed by both far ends in between: what rustls seals is what rustls opens.
    #[test]
    fn any_pieces_cut_anywhere(
        pieces in proptest::collection::vec((0usize..40_000, any::<bool>(), 1usize..20_000, any::<bool>()), 1..8),
        is_tls13: bool,
    ) {
        let world = World::new(Provider::default());
        let mut flow = if is_tls13 { tls13(&world) } else { tls12(&world) };
        let mut said = [Vec::new(), Vec::new()];
        for (len, from_client, cut, renew) in pieces {
            let piece: Vec<u8> = (0..len).map(|n| (n ^ cut) as u8).collect();
            let (side, end) = if from_client { (End::Client, &mut flow.client) } else { (End::Server, &mut flow.server) };
            if renew && is_tls13 {
                end.connection.refresh_traffic_keys().unwrap();
            }
            end.connection.set_buffer_limit(None);
            end.send(&piece);
            said[side as usize].extend_from_slice(&piece);
            for part in end.output().chunks(cut) {
                flow.relay_bytes(side, part).unwrap();
            }
            flow.settle().unwrap();
        }
        prop_assert!(flow.server.seen.data == said[0] && flow.client.seen.data == said[1]);
        prop_assert!(flow.inspected_from(End::Client) == said[0] && flow.inspected_from(End::Server) == said[1]);
    }
}

/// RFC 8446 5.5: the far ends, which count by themselves, follow each KeyUpdate.
#[test]
fn keys_are_renewed_before_they_are_used_up() {
    let world = World::new(Provider::default());
    let mut flow = tls13(&world);
    flow.relay.as_mut().unwrap().limit_keys(4);
    for n in 0..30u8 {
        flow.client.send(&[n]);
        flow.server.send(&[n]);
        flow.settle().unwrap();
    }
    let all: Vec<u8> = (0..30).collect();
    assert_eq!((&flow.server.seen.data, &flow.client.seen.data), (&all, &all));
}

/// TLS 1.2 has no other keys.
#[test]
fn used_up_keys_of_tls12_end_the_connection() {
    let world = World::new(Provider::default());
    let mut flow = tls12(&world);
    flow.relay.as_mut().unwrap().limit_keys(4);
    let error = (0..10u8).find_map(|n| {
        flow.client.send(&[n]);
        flow.settle().err()
    });
    assert_eq!(error, Some(RelayError { reason: Reason::KeysUsedUp, alert: None }));
    assert!(flow.server.seen.data.len() < 4 && !flow.server.seen.closed, "cut off, and not in order");
}

#[test]
fn a_changed_bit_anywhere_is_found_and_nothing_of_it_is_seen() {
    let world = World::new(Provider::default());
    for connect in [tls13, tls12] {
        let mut len = None;
        for at in 0.. {
            if len.is_some_and(|len| at >= len) {
                break;
            }
            let mut flow = connect(&world);
            flow.client.send(b"before");
            flow.settle().unwrap();
            flow.client.send(b"a secret");
            let mut record = flow.client.output();
            len = Some(record.len());
            record[at] ^= 0x04;
            // A changed length makes another record of it, whose end may have to come.
            record.extend([0; 1100]);
            let error = flow.relay_bytes(End::Client, &record).map(drop).unwrap_err();
            assert_eq!(error, RelayError { reason: Reason::ClientProtocol, alert: None }, "byte {at}");
            assert_eq!(flow.server.seen.data, b"before", "byte {at}");
            assert_eq!(flow.inspected_from(End::Client), b"before", "byte {at}");
            assert!(!flow.server.seen.closed && flow.server.seen.error.is_none(), "byte {at}");
            assert!(matches!(flow.client.seen.error, Some(rustls::Error::AlertReceived(_))), "byte {at}");
        }
    }
}

/// An alert for an alert: the end that is still well learns what the other one has said.
#[test]
fn a_fatal_alert_is_passed_on() {
    let world = World::new(Provider::default());
    for connect in [tls13, tls12] {
        let mut flow = connect(&world);
        // What rustls cannot open makes it give up.
        flow.client.input(&[&[23, 3, 3, 0, 40][..], &[0x5a; 40]].concat());
        let words = flow.client.output();
        let error = flow.relay_bytes(End::Client, &words).map(drop).unwrap_err();
        let number = u8::from(AlertDescription::BadRecordMac);
        assert_eq!(error, RelayError { reason: Reason::ClientAlert, alert: Some(number) });
        let heard = rustls::Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(flow.server.seen.error, Some(heard));
    }
}

/// After the handshake nothing is believed that is not protected.
#[test]
fn plaintext_after_the_handshake_is_refused() {
    let world = World::new(Provider::default());
    for record in [&[21, 3, 3, 0, 2, 2, 80][..], &[20, 3, 3, 0, 1, 1], &[22, 3, 3, 0, 4, 0, 0, 0, 0]] {
        for connect in [tls13, tls12] {
            let mut flow = connect(&world);
            let error = flow.relay_bytes(End::Server, record).map(drop).unwrap_err();
            assert_eq!(error, RelayError { reason: Reason::ServerProtocol, alert: None }, "{record:?}");
            assert!(flow.client.seen.error.is_none() && !flow.client.seen.closed);
        }
    }
}

#[test]
fn empty_records_without_end_are_refused() {
    let world = World::new(Provider::default());
    let mut flow = tls13(&world);
    // Each KeyUpdate is a record without data.
    let error = (0..100).find_map(|_| {
        flow.client.connection.refresh_traffic_keys().unwrap();
        let update = flow.client.output();
        flow.relay_bytes(End::Client, &update).err()
    });
    assert_eq!(error, Some(RelayError { reason: Reason::ClientProtocol, alert: None }));
}

/// An outlet of which one end does not keep up.
#[derive(Default)]
struct Behind {
    records: Vec<Vec<u8>>,
    seen: Vec<u8>,
}

impl RecordSink for Behind {
    type Block = Vec<u8>;

    fn block(&mut self, len: usize) -> Vec<u8> {
        // Never zeroed in the engine either.
        vec![0xee; len]
    }

    fn plaintext(&mut self, _: End, plaintext: &[u8]) -> Fate {
        self.seen.extend_from_slice(plaintext);
        Fate::Pass
    }

    fn send(&mut self, to: End, block: Vec<u8>, len: usize) {
        assert_eq!(to, End::Client);
        self.records.push(block[..len].to_vec());
    }

    fn is_behind(&self, _: End) -> bool {
        true
    }
}

/// A server that keeps to small records may do so for a client that has no room for others.
#[test]
fn no_record_is_longer_than_the_longest_that_the_other_end_has_sent() {
    let world = World::new(Provider::default());
    for connect in [tls13, tls12] {
        let mut flow = connect(&world);
        let mut lengths = Vec::new();
        for sizes in [[500, 500, 500, 200, 200, 100], [2_000, 400, 400, 400, 400, 400]] {
            let mut out = Behind::default();
            for (n, size) in sizes.into_iter().enumerate() {
                flow.server.send(&vec![n as u8; size]);
            }
            let wire = flow.server.output();
            let relay = flow.relay.as_mut().unwrap();
            assert_eq!(relay.relay(End::Server, &wire, usize::MAX, &mut out), Ok(wire.len()));
            lengths.push(out.records.iter().map(Vec::len).collect::<Vec<_>>());
            out.records.iter().for_each(|record| flow.client.input(record));
        }
        let around = lengths[0][0] - 500;
        let plain: Vec<_> =
            lengths.iter().map(|all| all.iter().map(|len| len - around).collect::<Vec<_>>()).collect();
        assert_eq!(plain, [vec![500, 500, 500, 500], vec![2_000, 2_000]]);
        assert_eq!(flow.client.seen.data.len(), 2_000 + 4_000);
    }
}

#[test]
fn small_records_are_joined_for_an_end_that_is_behind() {
    let world = World::new(Provider::default());
    for connect in [tls13, tls12] {
        let mut flow = connect(&world);
        flow.server.connection.set_buffer_limit(None);
        let mut said = vec![0xff; 16_384];
        flow.server.send(&said);
        for n in 0..40u8 {
            let piece = vec![n; 1000 + usize::from(n)];
            flow.server.send(&piece);
            said.extend(piece);
        }
        let wire = flow.server.output();
        let mut out = Behind::default();
        let relay = flow.relay.as_mut().unwrap();
        // All but the last byte: the last record has to wait.
        let cut = &wire[..wire.len() - 1];
        let taken = relay.relay(End::Server, cut, usize::MAX, &mut out).unwrap();
        assert!(taken < cut.len() && cut.len() - taken < 1100);
        // 39 records of a thousand bytes and more need three of 2^14, after the one that is as long itself.
        assert_eq!(out.records.len(), 4);
        let rest = relay.relay(End::Server, &wire[taken..], usize::MAX, &mut out).unwrap();
        assert_eq!((taken + rest, out.records.len()), (wire.len(), 5));
        out.records.iter().for_each(|record| flow.client.input(record));
        assert!(flow.client.seen.data == said && out.seen == said);
    }
}

#[test]
fn a_budget_ends_after_the_record_that_exceeds_it() {
    let world = World::new(Provider::default());
    let mut flow = tls13(&world);
    for n in 0..4u8 {
        flow.server.send(&[n; 500]);
    }
    let wire = flow.server.output();
    let relay = flow.relay.as_mut().unwrap();
    let mut out = Behind::default();
    assert_eq!(relay.relay(End::Server, &wire, 0, &mut out), Ok(0));
    assert_eq!(relay.relay(End::Server, &wire, 1, &mut out), Ok(wire.len() / 4));
    let rest = &wire[wire.len() / 4..];
    assert_eq!(relay.relay(End::Server, rest, rest.len() / 3 + 1, &mut out), Ok(rest.len() / 3 * 2));
    assert_eq!(out.seen.len(), 1500);
}

/// What a call costs grows with what it is given, however small the records are: nobody gets to hold a worker up.
#[test]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "how long it takes is the question")]
fn a_million_bytes_of_the_smallest_records_cost_no_more_than_they_should() {
    let world = World::new(Provider::default());
    let mut flow = tls13(&world);
    flow.server.connection.set_buffer_limit(None);
    let mut wire = Vec::new();
    let mut said = Vec::new();
    while wire.len() < 1_000_000 {
        for n in 0..100u8 {
            flow.server.send(&[n]);
            said.push(n);
        }
        wire.extend(flow.server.output());
    }
    let mut out = Behind::default();
    let began = std::time::Instant::now();
    let taken = flow.relay.as_mut().unwrap().relay(End::Server, &wire, usize::MAX, &mut out);
    let took = began.elapsed();
    assert_eq!(taken, Ok(wire.len()));
    assert!(out.seen == said);
    // Ten milliseconds in a debug build; three seconds where each record looks at all that follow it.
    assert!(took < std::time::Duration::from_secs(1), "{} records: {took:?}", said.len());
}
