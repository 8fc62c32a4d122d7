//! Early data: a client that got its ticket from the server itself may send it. It is skipped, and never reaches the server.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use std::io::Write;

use rustls::{ClientConfig, Connection, HandshakeKind, ServerConfig};
use tls_support::*;
use wireglass_core::policy::Profile;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{Input, Outcome, Peek, peek};
use wireglass_core::x509::Provider;

/// A server that takes early data, and a client with its ticket.
fn ends(world: &World) -> (ClientConfig, ServerConfig) {
    let library = library(world.provider);
    let mut server =
        server_config(&library, TLS13, std::slice::from_ref(&world.leaf.der), world.leaf.private_key());
    server.max_early_data_size = 8 << 20;
    let mut config = client_config(&library, TLS13, &[world.trusted.clone(), world.root.der.clone()]);
    config.enable_early_data = true;
    // Without the engine: the client gets a ticket.
    let mut direct =
        (TlsEnd::client(config.clone(), HOST.try_into().unwrap()), TlsEnd::server(server.clone()));
    for _ in 0..4 {
        let bytes = direct.0.output();
        direct.1.input(&bytes);
        let bytes = direct.1.output();
        direct.0.input(&bytes);
    }
    assert!(!direct.0.connection.is_handshaking());
    (config, server)
}

/// What has come of a client that sends so many bytes early, in writes of `piece`, and whose bytes arrive `cut` at a time, after so many
/// rounds of the server.
fn run(world: &World, bytes: usize, [piece, cut, patience]: [usize; 3]) -> Result<(), Reason> {
    let (config, server) = ends(world);
    let Connection::Client(mut client) = TlsEnd::client(config, HOST.try_into().unwrap()).connection else {
        panic!()
    };
    client.set_buffer_limit(None);
    let mut all = Vec::new();
    let mut early = vec![b'e'; bytes];
    while !early.is_empty() {
        let n = piece.min(early.len());
        client.early_data().expect("a ticket for early data").write_all(&early[..n]).unwrap();
        early.drain(..n);
        while client.wants_write() {
            client.write_tls(&mut all).unwrap();
        }
    }
    let mut client = TlsEnd { connection: client.into(), seen: Seen::default() };
    let Peek::Complete { hello, flight_len } = peek(&all, 65536) else { panic!() };
    assert!(hello.extensions.contains(&42) && all.len() > flight_len + bytes);
    let mut server = TlsEnd::server(server);
    let mut handshake = start(&world.context, &all[..flight_len], Profile::default());
    let mut from_client: Vec<_> = all[flight_len..].chunks(cut).map(<[u8]>::to_vec).collect();
    for round in 0..10 {
        let from_server = server.output();
        from_client.extend(client.output().chunks(cut).map(<[u8]>::to_vec));
        // Before the engine has answered, or afterwards.
        let inputs = if round < patience { Vec::new() } else { std::mem::take(&mut from_client) };
        let client_side = inputs.into_iter().map(|from_client| Input { from_client, ..Input::default() });
        let server_side = [Input { from_server, ..Input::default() }];
        for input in server_side.into_iter().chain(client_side) {
            let step = handshake.advance(Input { now: NOW, ..input });
            client.input(&step.to_client);
            server.input(&step.to_server);
            match step.outcome {
                Outcome::Pending => {}
                Outcome::Established(_) => {
                    assert!(server.seen.data.is_empty());
                    assert_eq!(client.connection.handshake_kind(), Some(HandshakeKind::Full));
                    return Ok(());
                }
                Outcome::Failed(failure) => return Err(failure.reason),
            }
        }
    }
    panic!("stuck: {:?}", client.seen);
}

#[test]
fn any_amount_of_it_is_skipped() {
    for &provider in Provider::BUILT_IN {
        let world = World::new(provider);
        for bytes in [1, 10, 35, 36, 52, 53, 100, 4_000, 4_100, 16_000, 16_384, 16_385, 60_000, 500_000] {
            assert_eq!(run(&world, bytes, [usize::MAX, usize::MAX, 0]), Ok(()), "{bytes}");
        }
    }
}

/// In many records, short ones among them, cut anywhere.
#[test]
fn it_comes_in_any_pieces() {
    let world = World::new(Provider::default());
    for (bytes, piece, cut) in [
        (3_000, 30, usize::MAX),
        (3_000, 30, 7),
        (600, 52, usize::MAX),
        (20_000, 53, 1_400),
        (40_000, 1_000, 1_460),
        (200_000, 16_384, 10_000),
        (4_000, 52, usize::MAX),
    ] {
        for patience in [0, 3] {
            let how = [piece, cut, patience];
            assert_eq!(run(&world, bytes, how), Ok(()), "{bytes} {how:?}");
        }
    }
}

#[test]
fn more_than_anybody_sends_is_not() {
    let world = World::new(Provider::default());
    assert_eq!(run(&world, 1_000_000, [usize::MAX, 100_000, 3]), Ok(()));
    assert_eq!(run(&world, (1 << 20) + 20_000, [usize::MAX, 100_000, 3]), Err(Reason::ClientProtocol));
}
