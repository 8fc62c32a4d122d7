//! What a client says behind a hello that was let go, cut anywhere.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use proptest::prelude::*;
use tls_support::*;
use wireglass_core::tls::{Behind, SecondHello};
use wireglass_core::x509::Provider;

const MAX: usize = 65536;
const CCS: [u8; 6] = [20, 3, 3, 0, 1, 1];
const WARNING: [u8; 7] = [21, 3, 3, 0, 2, 1, 90];
const EARLY: [u8; 9] = [23, 3, 3, 0, 4, 1, 2, 3, 4];

/// The first flight of a rustls client.
fn hello(name: &'static str, protocols: &[&str], versions: Versions) -> Vec<u8> {
    let mut config = client_config(&library(Provider::default()), versions, &[]);
    config.alpn_protocols = alpn(protocols);
    TlsEnd::client(config, name.try_into().unwrap()).output()
}

/// The same message in records of so many bytes.
fn in_records(flight: &[u8], size: usize) -> Vec<u8> {
    let records = flight[5..].chunks(size).map(|piece| {
        let [high, low] = (piece.len() as u16).to_be_bytes();
        [&[22, 3, 3, high, low][..], piece].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// As it comes byte by byte; and the same of all of it at once.
#[track_caller]
fn look(first: &[u8], behind: &[u8]) -> Behind {
    let stream = [first, behind].concat();
    let mut second = SecondHello::of(first, MAX).unwrap();
    let whole = second.clone().look(&stream);
    let steps = first.len()..=stream.len();
    let verdict = steps.map(|len| second.look(&stream[..len])).find(|behind| *behind != Behind::More);
    assert_eq!(verdict.unwrap_or(Behind::More), whole);
    whole
}

#[test]
fn a_second_hello_says_the_same() {
    let first = hello(HOST, &["h2", "http/1.1"], BOTH);
    let other_name = hello("other.example", &["h2", "http/1.1"], TLS13);
    let other_protocols = hello(HOST, &["http/1.1"], TLS13);
    let same = hello(HOST, &["h2", "http/1.1"], TLS13);
    for before in [&[][..], &CCS, &WARNING, &[CCS, CCS].concat()] {
        for size in [1, 7, 10, 11, 50, 16_384] {
            let behind = |flight: &[u8]| look(&first, &[before, &in_records(flight, size)].concat());
            assert_eq!(behind(&other_name), Behind::Other, "{before:?}, {size}");
            assert_eq!(behind(&other_protocols), Behind::Other, "{before:?}, {size}");
            assert_eq!(behind(&same), Behind::Same, "{before:?}, {size}");
        }
        assert_eq!(look(&first, &[before, &other_name[..other_name.len() - 1]].concat()), Behind::More);
    }
    // Empty records, which OpenSSL takes.
    assert_eq!(look(&first, &[&[22, 3, 3, 0, 0], &other_name[..]].concat()), Behind::Other);
    assert_eq!(look(&first, &[&[20, 3, 3, 0, 0], &other_name[..]].concat()), Behind::Other);
    // Data, a key exchange, an empty list of certificates, a Finished that is encrypted and begins as a hello does.
    let finished = [&[22, 3, 3, 0, 40, 1, 0, 5, 5, 9][..], &[1; 35]].concat();
    for behind in [&EARLY[..], &[22, 3, 3, 0, 70, 16], &[22, 3, 3, 0, 7, 11], &[&CCS, &finished[..]].concat()]
    {
        assert_eq!(look(&first, behind), Behind::Same, "{behind:?}");
    }
    // What was said once is not taken back.
    let mut second = SecondHello::of(&first, MAX).unwrap();
    assert_eq!(second.look(&[&first[..], &other_name].concat()), Behind::Other);
    assert_eq!(second.look(&[&first[..], &same].concat()), Behind::Other);
    // Nobody asks a client for one that does not speak TLS 1.3.
    assert!(SecondHello::of(&hello(HOST, &[], TLS12), MAX).is_none());
    assert!(SecondHello::of(b"GET / HTTP/1.1\r\n\r\n", MAX).is_none());
}

#[test]
fn a_server_asks_for_another_hello_or_does_not() {
    let answer = |random: &[u8]| [&[22, 3, 3, 0, 58, 2, 0, 0, 54, 3, 3], random, &[0; 20]].concat();
    let retry = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
        0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    assert!(SecondHello::is_answered(&answer(&[7; 32])));
    assert!(!SecondHello::is_answered(&answer(&retry)));
    assert!(!SecondHello::is_answered(&answer(&[7; 32])[..42]));
    assert!(!SecondHello::is_answered(&[21, 3, 3, 0, 2, 2, 40]));
}

proptest! {
    /// Whatever it is, and however much of it goes on before.
    #[test]
    fn nothing_behind_a_hello_panics(behind in proptest::collection::vec(
        prop_oneof![Just(20u8), Just(21), Just(22), Just(23), Just(3), Just(0), Just(1), any::<u8>()], 0..200,
    )) {
        let first = hello(HOST, &["h2"], BOTH);
        let verdict = look(&first, &behind);
        let (mut second, mut stream) = (SecondHello::of(&first, MAX).unwrap(), [&first[..], &behind].concat());
        let mut again = Behind::More;
        while again == Behind::More && second.at() > 0 {
            again = second.look(&stream);
            let passing = second.at();
            stream.drain(..passing);
            second.consumed(passing);
        }
        prop_assert_eq!(again, verdict);
    }
}
