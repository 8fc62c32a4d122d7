//! Damaged bytes from both ends: no panic, and never an established relay with a server that was not verified.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use std::sync::LazyLock;

use proptest::prelude::*;
use tls_support::*;
use wireglass_core::end::End;
use wireglass_core::policy::Profile;
use wireglass_core::tls::{Input, Outcome};
use wireglass_core::x509::Provider;

static WORLDS: LazyLock<Vec<World>> =
    LazyLock::new(|| Provider::BUILT_IN.iter().map(|p| World::new(*p)).collect());

/// What is done to the bytes of one end in one round.
#[derive(Clone, Debug)]
struct Damage {
    from: End,
    round: usize,
    at: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Flip(u8),
    Cut,
    Insert(Vec<u8>),
    Double,
}

fn damage() -> impl Strategy<Value = Damage> {
    let kind = prop_oneof![
        (1u8..).prop_map(Kind::Flip),
        Just(Kind::Cut),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(Kind::Insert),
        Just(Kind::Double),
    ];
    let side = prop_oneof![Just(End::Client), Just(End::Server)];
    (side, 0usize..3, any::<prop::sample::Index>(), kind).prop_map(|(from, round, at, kind)| Damage {
        from,
        round,
        at: at.index(4000),
        kind,
    })
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.at % bytes.len();
        match &self.kind {
            Kind::Flip(mask) => bytes[at] ^= mask,
            Kind::Cut => bytes.truncate(at),
            Kind::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
            Kind::Double => {
                let tail = bytes[at..].to_vec();
                bytes.extend(tail);
            }
        }
    }
}

/// True: established in spite of the damage (it may have hit nothing).
fn intercept(world: &World, versions: Versions, damage: &Damage, own_server: bool) -> bool {
    let library = library(world.provider);
    let mut client = TlsEnd::client(
        client_config(&library, versions, std::slice::from_ref(&world.trusted)),
        HOST.try_into().unwrap(),
    );
    let leaf = if own_server { &world.leaf } else { &*STRANGER };
    let mut server = TlsEnd::server(server_config(
        &library,
        versions,
        std::slice::from_ref(&leaf.der),
        leaf.private_key(),
    ));
    let mut handshake = start(&world.context, &client.output(), Profile::default());
    client.send(b"secret");
    server.send(b"secret");
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    for round in 0..8 {
        let step = handshake.advance(Input { from_client, from_server, now: NOW, ..Input::default() });
        client.input(&step.to_client);
        server.input(&step.to_server);
        (from_client, from_server) = (client.output(), server.output());
        if round == damage.round {
            match damage.from {
                End::Client => damage.apply(&mut from_client),
                End::Server => damage.apply(&mut from_server),
            }
        }
        match step.outcome {
            Outcome::Pending => {}
            Outcome::Failed(_) => return false,
            Outcome::Established(relay) => {
                let mut relay = FedRelay::new(*relay);
                let mut out = Output::default();
                let _ = relay.receive(End::Client, &from_client, &mut |_, _| {}, &mut out);
                let _ = relay.receive(End::Server, &from_server, &mut |_, _| {}, &mut out);
                return true;
            }
        }
    }
    let end = handshake.advance(Input { client_closed: true, now: NOW, ..Input::default() });
    assert!(matches!(end.outcome, Outcome::Failed(_)), "closing always ends it");
    false
}

static STRANGER: LazyLock<pki::Signed> = LazyLock::new(|| pki::Signed::by_itself(pki::leaf_params(&[HOST])));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_handshakes(damage in damage(), tls13 in any::<bool>(), which in any::<prop::sample::Index>()) {
        let world = &WORLDS[which.index(WORLDS.len())];
        intercept(world, if tls13 { TLS13 } else { TLS12 }, &damage, true);
    }

    #[test]
    fn damage_never_makes_a_stranger_trusted(damage in damage(), tls13 in any::<bool>()) {
        let established = intercept(&WORLDS[0], if tls13 { TLS13 } else { TLS12 }, &damage, false);
        prop_assert!(!established);
    }

    #[test]
    fn garbage_from_both(client in proptest::collection::vec(any::<u8>(), 0..300), server in proptest::collection::vec(any::<u8>(), 0..300)) {
        let world = &WORLDS[0];
        let mut end = TlsEnd::client(client_config(&library(world.provider), BOTH, &[]), HOST.try_into().unwrap());
        let mut handshake = start(&world.context, &end.output(), Profile::default());
        handshake.advance(Input { now: NOW, ..Input::default() });
        // As records, to get past the framing.
        let record = [&[22, 3, 3, (server.len() >> 8) as u8, server.len() as u8][..], &server].concat();
        for from_server in [record, server] {
            handshake.advance(Input { from_client: client.clone(), from_server, now: NOW, ..Input::default() });
        }
    }
}
