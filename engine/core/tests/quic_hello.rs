//! The hello of QUIC, and which datagrams go with it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/quic.rs"]
mod client;

use client::{ID, SERVER_ID, SHORT, crypto, hello, initial, initial_to, long, v1};
use proptest::prelude::*;
use rustls::quic::Version;
use wireglass_core::quic::{FromClient, InitialSuite, QuicFlow};
use wireglass_core::x509::Provider;

fn suite() -> InitialSuite {
    InitialSuite::new(Provider::default()).unwrap()
}

#[derive(Debug, PartialEq)]
enum Is {
    Pass,
    Hold,
    Refused,
    Hello(String),
    Unread,
}

fn say(flow: &mut QuicFlow, datagram: &[u8]) -> Is {
    match flow.from_client(suite(), datagram) {
        FromClient::Pass => Is::Pass,
        FromClient::Hold => Is::Hold,
        FromClient::Refused => Is::Refused,
        FromClient::Hello(hello) => Is::Hello(hello.sni.clone().unwrap()),
        FromClient::Unread => Is::Unread,
    }
}

/// RFC 9001, A.2.
#[test]
fn the_packet_of_the_rfc() {
    let hex = include_str!("support/rfc9001-a2.hex");
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let packet: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(packet.len(), 1200);
    let FromClient::Hello(hello) = QuicFlow::default().from_client(suite(), &packet) else { panic!() };
    assert_eq!(
        (hello.sni.as_deref(), hello.cipher_suites.as_slice()),
        (Some("example.com"), &[0x1301, 0x1302][..])
    );
    assert_eq!(hello.quic_info().ja4[..4], *"q13d");
}

proptest! {
    /// Whatever the pieces, their order, their repetitions and what is between them: the hello is the same.
    #[test]
    fn a_hello_in_any_pieces(
        cuts in proptest::collection::vec((0usize..2000, 1usize..400), 0..12),
        order in any::<u64>(),
        is_v2 in any::<bool>(),
        per_packet in 1usize..5,
    ) {
        let message = hello("www.example");
        let version = if is_v2 { Version::V2 } else { Version::V1 };
        let mut pieces: Vec<(usize, usize)> =
            (0..message.len()).step_by(300).map(|at| (at, 300)).chain(cuts).collect();
        let mut seed = order;
        for n in (1..pieces.len()).rev() {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            pieces.swap(n, (seed >> 33) as usize % (n + 1));
        }
        let frames: Vec<Vec<u8>> = pieces
            .iter()
            .filter(|(at, _)| *at < message.len())
            .map(|(at, len)| crypto(*at, &message[*at..(at + len).min(message.len())]))
            .collect();
        let mut flow = QuicFlow::default();
        let mut seen = None;
        let mut known = vec![false; message.len()];
        for (number, together) in frames.chunks(per_packet).enumerate() {
            let packet = initial(version, ID, number as u64, &[&[0, 1][..], &together.concat(), &[0; 9]].concat());
            for (at, len) in pieces.iter().filter(|(at, _)| *at < message.len()).skip(number * per_packet).take(per_packet) {
                known[*at..(at + len).min(message.len())].fill(true);
            }
            let is = say(&mut flow, &packet);
            if seen.is_some() {
                prop_assert_eq!(is, Is::Pass);
            } else if known.iter().all(|known| *known) {
                prop_assert_eq!(is, Is::Hello("www.example".into()));
                flow.decide(true);
                seen = Some(());
            } else {
                prop_assert_eq!(is, Is::Hold);
            }
        }
        prop_assert!(seen.is_some());
    }

    #[test]
    fn nothing_that_comes_panics(noise in proptest::collection::vec(any::<u8>(), 0..200), flips in proptest::collection::vec((0usize..1500, any::<u8>()), 0..4), cut in 0usize..1500) {
        let mut flow = QuicFlow::default();
        say(&mut flow, &noise);
        flow.from_server(&noise);
        let mut packet = v1(0, &crypto(0, &hello("www.example")));
        for (at, mask) in flips {
            if let Some(byte) = packet.get_mut(at) { *byte ^= mask; }
        }
        packet.truncate(cut);
        say(&mut flow, &packet);
        flow.decide(true);
        flow.from_server(&packet);
        say(&mut flow, &packet);
    }

    /// Frames that nobody would send, well encrypted.
    #[test]
    fn no_frame_panics(frames in proptest::collection::vec(any::<u8>(), 4..300)) {
        say(&mut QuicFlow::default(), &v1(0, &frames));
    }
}

#[test]
fn what_a_client_says_goes_with_its_hello() {
    let message = hello("www.example");
    let (front, back) = message.split_at(100);
    for passes in [true, false] {
        let mut flow = QuicFlow::default();
        assert_eq!(say(&mut flow, SHORT), Is::Unread);
        assert!(!flow.from_server(&long(0, b"c", SERVER_ID)));
        assert_eq!(say(&mut flow, &v1(0, &crypto(0, front))), Is::Hold);
        // Early data, alone and behind the hello; that of another connection.
        assert_eq!(say(&mut flow, &long(1, ID, b"c")), Is::Hold);
        assert_eq!(say(&mut flow, &long(1, b"other id", b"c")), Is::Unread);
        assert_eq!(say(&mut flow, &long(2, ID, b"c")), Is::Unread);
        let both = [v1(1, &crypto(100, back)), long(1, ID, b"c")].concat();
        assert_eq!(say(&mut flow, &both), Is::Hello("www.example".into()));
        flow.decide(passes);
        let then = if passes { Is::Pass } else { Is::Refused };
        assert_eq!(say(&mut flow, &v1(2, &crypto(0, front))), then);
        assert_eq!(say(&mut flow, &long(1, ID, b"c")), then);
        assert_eq!(flow.from_server(&long(0, b"c", SERVER_ID)), passes);
        for (packet, is_for) in
            [(long(0, SERVER_ID, b"c"), true), (long(2, SERVER_ID, b"c"), true), (SHORT.to_vec(), true)]
        {
            assert_eq!(say(&mut flow, &packet), if passes && is_for { Is::Pass } else { Is::Unread });
        }
    }
}

/// Each of them would be another connection to a server that takes it, or the same one with another hello.
#[test]
fn a_second_hello_is_judged_for_itself() {
    let (good, bad) = (hello("good.example"), hello("bad.example"));
    let begun = || {
        let mut flow = QuicFlow::default();
        assert_eq!(say(&mut flow, &v1(0, &crypto(0, &good))), Is::Hello("good.example".into()));
        flow.decide(true);
        flow
    };
    // The first one need not have arrived at the server: the same connection, another hello.
    assert_eq!(say(&mut begun(), &v1(0, &crypto(0, &bad))), Is::Unread);
    assert_eq!(say(&mut begun(), &v1(9, &crypto(good.len() - 1, b"xyz"))), Is::Unread);
    for is_answered in [false, true] {
        let mut flow = begun();
        assert!(!is_answered || flow.from_server(&long(0, b"c", SERVER_ID)));
        // Another connection ID, and a packet number that only who knows of 200 reads as 261.
        let other = |number, frames: &[u8]| initial(Version::V1, b"other id", number, frames);
        assert_eq!(say(&mut flow, &other(200, &[1, 0, 0, 0])), Is::Hold);
        assert_eq!(say(&mut flow, &other(261, &crypto(0, &bad))), Is::Hello("bad.example".into()));
        flow.decide(false);
        assert_eq!(say(&mut flow, &other(261, &crypto(0, &bad))), Is::Refused);
        assert_eq!(say(&mut flow, &long(1, b"other id", b"c")), Is::Refused);
        // One that cannot be opened, and that the server has not named.
        assert_eq!(say(&mut flow, &long(0, b"third id", b"c")), Is::Unread);
        assert_eq!(say(&mut flow, SHORT), Is::Pass);
    }
    // Two connections in one datagram.
    let two = [v1(0, &crypto(0, &good)), initial(Version::V1, b"other id", 0, &crypto(0, &bad))].concat();
    assert_eq!(say(&mut QuicFlow::default(), &two), Is::Unread);
    // A version that nobody here knows: the server may.
    let mut strange = v1(0, &crypto(0, &good));
    strange[4] = 9;
    assert_eq!(say(&mut begun(), &strange), Is::Unread);
    // Behind a Retry the hello comes again, under the ID that the server has given.
    let mut flow = begun();
    assert!(flow.from_server(&long(3, b"c", b"retry id")));
    let again = |hello: &[u8]| initial(Version::V1, b"retry id", 1, &crypto(0, hello));
    assert_eq!(say(&mut flow, &again(&bad)), Is::Hello("bad.example".into()));
}

/// A server that has forgotten a connection knows nothing of the name that it gave it: who uses it again begins another one.
#[test]
fn the_name_of_a_connection_begins_no_other() {
    let (good, bad) = (hello("good.example"), hello("bad.example"));
    let begun = || {
        let mut flow = QuicFlow::default();
        assert_eq!(say(&mut flow, &v1(0, &crypto(0, &good))), Is::Hello("good.example".into()));
        flow.decide(true);
        assert!(flow.from_server(&long(0, b"c", SERVER_ID)));
        flow
    };
    let again = |number, frames: &[u8]| initial(Version::V1, SERVER_ID, number, frames);
    let mut flow = begun();
    assert_eq!(say(&mut flow, &again(0, &crypto(0, &bad))), Is::Hello("bad.example".into()));
    flow.decide(false);
    assert_eq!(say(&mut flow, &again(0, &crypto(0, &bad))), Is::Refused);
    // With frames that are not read here, behind a packet that is for the connection that stands, and in pieces.
    assert_eq!(say(&mut begun(), &again(0, &[0x30, 0, 0, 0])), Is::Unread);
    let behind = [long(2, SERVER_ID, b"c"), again(0, &crypto(0, &bad))].concat();
    assert_eq!(say(&mut begun(), &behind), Is::Hello("bad.example".into()));
    let mut flow = begun();
    assert_eq!(say(&mut flow, &again(0, &crypto(100, &bad[100..]))), Is::Hold);
    assert_eq!(say(&mut flow, &again(1, &crypto(0, &bad[..100]))), Is::Hello("bad.example".into()));
    // What the connection itself has to say there has the keys that it began with.
    let goes_on = |number, frames: &[u8]| initial_to(Version::V1, (ID, SERVER_ID), number, frames);
    assert_eq!(say(&mut begun(), &goes_on(1, &[2, 0, 0, 0, 0])), Is::Pass);
    assert_eq!(say(&mut begun(), &goes_on(1, &crypto(good.len(), &good))), Is::Pass);
}

/// After a Retry a server may keep the name that it has given there, and the client's keys follow from that.
#[test]
fn a_server_may_keep_the_name_of_its_retry() {
    let (good, bad) = (hello("good.example"), hello("bad.example"));
    let to_retry = |number, frames: &[u8]| initial(Version::V1, b"retry id", number, frames);
    let begun = || {
        let mut flow = QuicFlow::default();
        assert_eq!(say(&mut flow, &to_retry(1, &crypto(0, &good))), Is::Hello("good.example".into()));
        flow.decide(true);
        assert!(flow.from_server(&long(0, b"c", b"retry id")));
        flow
    };
    // An acknowledgement, the same again, and a second hello, which a HelloRetryRequest has asked for.
    let second = crypto(good.len(), &good);
    for frames in [&[2, 0, 0, 0, 0][..], &crypto(0, &good), &second] {
        assert_eq!(say(&mut begun(), &to_retry(2, frames)), Is::Pass);
    }
    assert_eq!(say(&mut begun(), &to_retry(2, &crypto(0, &bad))), Is::Unread);
}

#[test]
fn pieces_that_do_not_agree_never_make_a_hello() {
    let (good, bad) = (hello("good.example"), hello("evil.example"));
    let mut flow = QuicFlow::default();
    assert_eq!(say(&mut flow, &v1(0, &crypto(0, &good[..good.len() - 1]))), Is::Hold);
    assert_eq!(say(&mut flow, &v1(1, &crypto(0, &bad))), Is::Unread);
    assert_eq!(
        say(&mut flow, &v1(2, &crypto(good.len() - 1, &good[good.len() - 1..]))),
        Is::Hello("good.example".into())
    );
    // Too long, too far, no hello, no frame of an Initial packet.
    for frames in
        [crypto(20_000, b"x"), crypto(0, &[2, 0, 0, 1, 0]), crypto(0, &[1, 1, 0, 0]), vec![8, 0, 0, 0]]
    {
        assert_eq!(say(&mut QuicFlow::default(), &v1(0, &frames)), Is::Unread);
    }
    assert!(flow.memory() > good.len());
}
