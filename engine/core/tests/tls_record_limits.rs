//! max_fragment_length (RFC 6066 4) and record_size_limit (RFC 8449): a client that asks for short records gets no others.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use tls_support::*;
use wireglass_core::end::End;
use wireglass_core::policy::Profile;
use wireglass_core::tls::{ClientHello, Handshake, Input, Outcome, Peek, peek};
use wireglass_core::x509::Provider;

/// With one extension more.
fn extended(flight: &[u8], kind: u16, body: &[u8]) -> Vec<u8> {
    // Record header 5, message header 4, version 2, random 32.
    let mut at = 43;
    at += 1 + usize::from(flight[at]);
    at += 2 + usize::from(u16::from_be_bytes([flight[at], flight[at + 1]]));
    at += 1 + usize::from(flight[at]);
    let mut out = flight.to_vec();
    let more = 4 + body.len();
    for place in [3, 7, at] {
        let len = u16::from_be_bytes([out[place], out[place + 1]]) + more as u16;
        out[place..place + 2].copy_from_slice(&len.to_be_bytes());
    }
    // First: a pre-shared key has to be last.
    let extension = [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat();
    out.splice(at + 2..at + 2, extension);
    out
}

fn hello_with(kind: u16, body: &[u8]) -> Option<Box<ClientHello>> {
    let library = library(Provider::default());
    let mut client = TlsEnd::client(client_config(&library, BOTH, &[]), HOST.try_into().unwrap());
    match peek(&extended(&client.output(), kind, body), 65_536) {
        Peek::Complete { hello, .. } => Some(hello),
        Peek::Malformed => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_asked_for_is_read() {
    for (code, limit) in
        [(0, None), (1, Some(512)), (2, Some(1024)), (3, Some(2048)), (4, Some(4096)), (5, None)]
    {
        assert_eq!(hello_with(1, &[code]).unwrap().max_fragment_length, limit);
    }
    for (value, limit) in
        [(0u16, None), (63, None), (64, Some(64)), (16_385, Some(16_385)), (65_535, Some(65_535))]
    {
        assert_eq!(hello_with(28, &value.to_be_bytes()).unwrap().record_size_limit, limit);
    }
    for (kind, body) in [(1, &[][..]), (1, &[1, 1]), (28, &[1]), (28, &[0, 64, 0])] {
        assert!(hello_with(kind, body).is_none(), "{kind} {body:?}");
    }
}

/// Plaintext lengths, at most, of the records with this content type.
fn lengths(mut wire: &[u8], kinds: &[u8], around: usize) -> Vec<usize> {
    let mut all = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = wire {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if kinds.contains(kind) {
            all.push(len.saturating_sub(if *kind == 23 { around } else { 0 }));
        }
        wire = &rest[len..];
    }
    all
}

/// rustls asks for nothing of the kind, and a hello that is changed under it would break its handshake. So the engine alone is told of
/// the wish, in a hello whose other bytes are the same.
fn served(versions: Versions, kind: u16, body: &[u8], most: usize) {
    let world = World::new(Provider::default());
    let library = library(world.provider);
    let client = client_config(&library, versions, std::slice::from_ref(&world.trusted));
    let server =
        server_config(&library, versions, std::slice::from_ref(&world.leaf.der), world.leaf.private_key());
    let mut client = TlsEnd::client(client, HOST.try_into().unwrap());
    let mut server = TlsEnd::server(server);
    let flight = client.output();
    let Peek::Complete { hello, .. } = peek(&extended(&flight, kind, body), 65_536) else { panic!() };
    let mut handshake =
        Handshake::new(world.context.clone(), hello, flight, destination(), Profile::default().into());
    let mut input = Input { now: NOW, ..Input::default() };
    let mut to_client = Vec::new();
    let relay = loop {
        let step = handshake.advance(input);
        to_client.extend_from_slice(&step.to_client);
        client.input(&step.to_client);
        server.input(&step.to_server);
        match step.outcome {
            Outcome::Pending => {}
            Outcome::Established(relay) => break relay,
            Outcome::Failed(failure) => panic!("{failure:?}"),
        }
        let (from_client, from_server) = (client.output(), server.output());
        input = Input { from_client, from_server, now: NOW, ..Input::default() };
    };
    let flights = lengths(&to_client, &[22, 23], 17);
    assert!(flights.len() > 2 && flights.iter().all(|len| *len <= most), "{most}: {flights:?}");
    let mut relay = FedRelay::new(*relay);
    let said: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    server.connection.set_buffer_limit(None);
    server.send(&said);
    let mut out = Output::default();
    relay.receive(End::Server, &server.output(), &mut |_, _| {}, &mut out).unwrap();
    let around = if std::ptr::eq(versions, TLS13) { 17 } else { 24 };
    let all = lengths(&out.to_client, &[23], around);
    assert!(all.iter().all(|len| *len <= most) && all.contains(&most), "{most}: {all:?}");
    client.input(&out.to_client);
    assert!(client.seen.data == said);
    // The other direction has no such wish.
    client.send(&said[..16_384]);
    let mut out = Output::default();
    relay.receive(End::Client, &client.output(), &mut |_, _| {}, &mut out).unwrap();
    assert_eq!(lengths(&out.to_server, &[23], around), [16_384]);
}

#[test]
fn records_are_as_short_as_the_client_wants_them() {
    served(TLS13, 1, &[1], 512);
    served(TLS12, 1, &[1], 512);
    served(TLS13, 28, &[0, 64], 63);
    served(TLS12, 28, &[0, 64], 64);
    served(TLS13, 28, &[4, 1], 1024);
}

#[test]
fn the_newer_wish_counts() {
    let library = library(Provider::default());
    let mut client = TlsEnd::client(client_config(&library, BOTH, &[]), HOST.try_into().unwrap());
    let both = extended(&extended(&client.output(), 1, &[1]), 28, &[8, 0]);
    let Peek::Complete { hello, .. } = peek(&both, 65_536) else { panic!() };
    assert_eq!((hello.max_fragment_length, hello.record_size_limit), (Some(512), Some(2048)));
}
