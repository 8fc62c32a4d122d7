//! ClientHellos cut in every way, from real stacks and from nowhere.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls_support;

use proptest::prelude::*;
use tls_support::*;
use wireglass_core::tls::{ClientHello, Peek, peek};
use wireglass_core::x509::Provider;

const MAX: usize = 65536;

/// The first flight of a rustls client.
fn rustls_flight(provider: Provider, versions: Versions) -> Vec<u8> {
    let mut config = client_config(&library(provider), versions, &[]);
    config.alpn_protocols = alpn(&["h2", "http/1.1"]);
    TlsEnd::client(config, HOST.try_into().unwrap()).output()
}

/// A ClientHello as Chrome lays it out: GREASE in every list, X25519MLKEM768, an ECH extension, 17 extensions.
fn chrome_like() -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut add = |kind: u16, body: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend((body.len() as u16).to_be_bytes());
        extensions.extend_from_slice(body);
    };
    add(0x1a1a, &[]);
    let name = HOST.as_bytes();
    let mut sni = vec![0, name.len() as u8 + 3, 0, 0, name.len() as u8];
    sni.extend_from_slice(name);
    add(0, &sni);
    add(10, &[0, 10, 0x3a, 0x3a, 0x11, 0xec, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18]);
    let mut shares = vec![0, 0, 0x3a, 0x3a, 0, 1, 0, 0x11, 0xec, 0x04, 0xc0];
    shares.extend([7; 1216]);
    shares.extend([0x00, 0x1d, 0, 32]);
    shares.extend([9; 32]);
    let len = (shares.len() as u16 - 2).to_be_bytes();
    shares[..2].copy_from_slice(&len);
    add(51, &shares);
    add(43, &[6, 0x6a, 0x6a, 3, 4, 3, 3]);
    add(13, &[0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1]);
    add(16, b"\x00\x0c\x02h2\x08http/1.1");
    add(11, &[1, 0]);
    add(45, &[1, 1]);
    add(0xfe0d, &[0; 186]);
    add(5, &[1, 0, 0, 0, 0]);
    add(18, &[]);
    add(23, &[]);
    add(0xff01, &[0]);
    add(27, &[2, 0, 2]);
    add(0x4469, &[0, 3, 2, b'h', b'2']);
    add(35, &[]);
    add(0x8a8a, &[0]);
    let mut body = vec![3, 3];
    body.extend([0x42; 32]);
    body.push(32);
    body.extend([0x17; 32]);
    let suites = [
        0x2a2au16, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x9c, 0x9d, 0x2f, 0x35,
    ];
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.iter().flat_map(|s| s.to_be_bytes()));
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1];
    message.extend(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend(body);
    records(&message, 16384)
}

/// A handshake message in records of `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size)
        .flat_map(|fragment| {
            let mut record = vec![22, 3, 1];
            record.extend((fragment.len() as u16).to_be_bytes());
            record.extend_from_slice(fragment);
            record
        })
        .collect()
}

fn message(flight: &[u8]) -> Vec<u8> {
    flight[5..].to_vec()
}

fn complete(stream: &[u8]) -> (Box<ClientHello>, usize) {
    match peek(stream, MAX) {
        Peek::Complete { hello, flight_len } => (hello, flight_len),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chrome_hello() {
    let flight = chrome_like();
    assert!(flight.len() > 1700, "more than a segment");
    let (hello, len) = complete(&flight);
    assert_eq!(len, flight.len());
    assert_eq!(hello.sni.as_deref(), Some(HOST));
    assert_eq!(hello.groups, [0x3a3a, 0x11ec, 0x1d, 0x17, 0x18]);
    assert_eq!(hello.key_shares, [0x3a3a, 0x11ec, 0x1d]);
    assert_eq!(hello.session_id, [0x17; 32]);
    assert!(hello.offers_tls13() && hello.offers_tls12());
    let info = hello.info();
    // FoxIO's published example differs from this one in two extensions only; suites and their hash are the same.
    assert!(info.ja4.starts_with("t13d1516h2_8daaf6152771_"), "{}", info.ja4);
    assert!(info.ja3.starts_with("771,4865-4866-4867-49195-"), "{}", info.ja3);
    assert!(info.ja3.ends_with(",4588-29-23-24,0"), "{}", info.ja3);
}

#[test]
fn real_stacks_agree_with_us() {
    for &provider in Provider::BUILT_IN {
        for (versions, tls13, tls12) in [(BOTH, true, true), (TLS12, false, true), (TLS13, true, false)] {
            let flight = rustls_flight(provider, versions);
            let (hello, len) = complete(&flight);
            assert_eq!(len, flight.len());
            assert_eq!((hello.offers_tls13(), hello.offers_tls12()), (tls13, tls12));
            assert_eq!(hello.sni.as_deref(), Some(HOST));
            // rustls's own reading of the same bytes.
            let mut acceptor = rustls::server::Acceptor::default();
            acceptor.read_tls(&mut &flight[..]).unwrap();
            let accepted = acceptor.accept().ok().flatten().unwrap();
            let theirs = accepted.client_hello();
            assert_eq!(theirs.server_name(), hello.sni.as_deref());
            assert!(theirs.alpn().unwrap().eq(hello.alpn.iter().map(|a| &a[..])));
            assert!(
                theirs.cipher_suites().iter().map(|s| u16::from(*s)).eq(hello.cipher_suites.iter().copied())
            );
            assert!(
                theirs
                    .signature_schemes()
                    .iter()
                    .map(|s| u16::from(*s))
                    .eq(hello.signature_schemes.iter().copied())
            );
            let groups = theirs.named_groups().unwrap();
            assert!(groups.iter().map(|g| u16::from(*g)).eq(hello.groups.iter().copied()));
        }
    }
}

#[test]
fn every_prefix_is_incomplete_and_what_follows_does_not_matter() {
    for flight in [chrome_like(), rustls_flight(Provider::default(), BOTH)] {
        let (whole, len) = complete(&flight);
        for cut in 0..flight.len() {
            assert!(matches!(peek(&flight[..cut], MAX), Peek::Incomplete), "{cut}");
        }
        let more = [&flight[..], &[20, 3, 3, 0, 1, 1], &[23, 3, 3, 0, 9]].concat();
        assert_eq!(complete(&more), (whole, len));
    }
}

#[test]
fn records_of_every_size_and_a_cut_at_every_byte() {
    let flight = chrome_like();
    let (whole, _) = complete(&flight);
    let message = message(&flight);
    for size in 1..message.len() {
        let stream = records(&message, size);
        assert_eq!(complete(&stream), (whole.clone(), stream.len()));
        // Two records, cut at every byte.
        let two = [records(&message[..size], size), records(&message[size..], message.len())].concat();
        assert_eq!(complete(&two), (whole.clone(), two.len()));
    }
    let bytes = records(&message, 1);
    for cut in 0..bytes.len() {
        assert!(matches!(peek(&bytes[..cut], MAX), Peek::Incomplete), "{cut}");
    }
}

#[test]
fn what_is_not_tls() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[23, 3, 3, 0, 1, 0], // application data
        &[0xff, 0xfd, 1],     // Telnet: do echo
        &[0x80, 0x2e, 2, 3],  // no hello of SSL 2, and no version after it
        &[0x80, 0x2e, 1, 4],
        &[0x80, 0x2e, 2],
        &[20, 1, 0, 0, 1, 0], // messages of 276 to 278 bytes whose length comes first (MongoDB)
        &[21, 1, 0, 0, 2, 0],
        &[22, 1, 0, 0, 1, 0],
        &[22, 16, 1, 0, 100, 1], // a version that nobody takes
        &[21, 16],
        &[0],
    ] {
        assert!(matches!(peek(bytes, MAX), Peek::NotTls), "{bytes:?}");
    }
}

/// What a server somewhere takes, with a ClientHello in it or behind it, is not "not TLS", which policy may let pass.
#[test]
fn what_is_tls_to_some_servers() {
    for bytes in [
        &[0x80, 0x2e, 1, 3, 1][..], // SSL 2's hello, long and longer
        &[0xbf, 0xff, 1, 3],
        &[22, 3, 1, 0, 0],       // empty
        &[22, 3, 1, 0x40, 0x01], // longer than a record can be
        &[20, 3, 3, 0, 1, 1],    // change_cipher_spec
        &[20, 3],
        &[21, 3, 1, 0, 2, 1, 100], // a warning, an alert
        &[21, 0, 2, 0, 2, 2, 40],
        &[22, 2, 0, 0, 5, 1], // a hello with an odd version
        &[22, 15, 0, 0, 5, 1],
    ] {
        assert!(matches!(peek(bytes, MAX), Peek::Malformed), "{bytes:?}");
    }
    for begin in [&[0x80, 0x2e, 1, 3][..], &[20, 3], &[21, 0, 2, 0, 2, 2], &[22, 2, 0, 0, 5, 1]] {
        for cut in 0..begin.len() {
            assert!(matches!(peek(&begin[..cut], MAX), Peek::Incomplete), "{begin:?}, {cut}");
        }
    }
}

/// With these bytes in the name's place.
fn naming(name: &[u8]) -> Vec<u8> {
    let mut stream = chrome_like();
    let at = stream.windows(HOST.len()).position(|w| w == HOST.as_bytes()).unwrap();
    stream[at..at + HOST.len()].copy_from_slice(name);
    stream
}

/// mitmproxy#3885: there are such hosts, and rules may be about them.
#[test]
fn names_that_no_certificate_could_have_are_names() {
    for name in [
        "www.exa/ple.com",
        ".ww.example.com",
        "ww w.xample.com",
        "www.example.-om",
        "www.exampl:8443",
        "-1.2.3..a b.com",
    ] {
        assert_eq!(complete(&naming(name.as_bytes())).0.sni.as_deref(), Some(name));
    }
    let (hello, _) = complete(&naming(b"\xff\xfewwex\x1bmple.com"));
    assert_eq!(hello.sni.as_deref(), Some("\u{fffd}\u{fffd}wwex\u{1b}mple.com"));
}

/// RFC 6066 3; other libraries want just this one, too.
#[test]
fn a_list_of_names_has_one_host_name() {
    let sni = |names: &[(u8, &[u8])]| {
        let mut list = Vec::new();
        for (kind, name) in names {
            list.extend([*kind, 0, name.len() as u8]);
            list.extend_from_slice(name);
        }
        let body = [&(list.len() as u16).to_be_bytes()[..], &list].concat();
        let mut message = vec![3, 3];
        message.extend([7; 32]);
        message.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        message.extend((body.len() as u16 + 4).to_be_bytes());
        message.extend([0, 0]);
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        let message = [&[1, 0, 0, message.len() as u8][..], &message].concat();
        match peek(&records(&message, 16_384), MAX) {
            Peek::Complete { hello, .. } => hello.sni,
            Peek::Malformed => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(sni(&[(0, b"a")]), Some("a".into()));
    let wrong: [&[(u8, &[u8])]; 5] =
        [&[], &[(0, b"")], &[(0, b"a"), (0, b"b")], &[(7, b"a")], &[(0, b"a"), (7, b"b")]];
    for wrong in wrong {
        assert_eq!(sni(wrong), None, "{wrong:?}");
    }
}

#[test]
fn what_is_tls_but_no_client_hello() {
    let good = message(&chrome_like());
    let whole = |m: &[u8]| records(m, 16384);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut m = good.clone();
        change(&mut m);
        let len = (m.len() - 4) as u32;
        m[1..4].copy_from_slice(&len.to_be_bytes()[1..]);
        whole(&m)
    };
    for (what, stream) in [
        ("a ServerHello", whole(&[&[2][..], &good[1..]].concat())),
        ("bytes after it in its record", whole(&[&good[..], &[0]].concat())),
        (
            "another record type in the middle",
            [records(&good[..100], 100), vec![21, 3, 1, 0, 2, 1, 0]].concat(),
        ),
        ("an empty record in the middle", [records(&good[..100], 100), vec![22, 3, 1, 0, 0]].concat()),
        ("a cut tail", changed(&|m| m.truncate(m.len() - 1))),
        ("a longer tail", changed(&|m| m.push(0))),
        (
            "a session id of 33 bytes",
            changed(&|m| {
                m[38] = 33;
                m.insert(39, 1);
            }),
        ),
        (
            "no suites",
            changed(&|m| {
                m.drain(73..105);
                m[72] = 0;
            }),
        ),
        ("an odd suite list", changed(&|m| m[72] -= 1)),
        (
            "no compression methods",
            changed(&|m| {
                m.remove(106);
                m[105] = 0;
            }),
        ),
    ] {
        assert!(matches!(peek(&stream, MAX), Peek::Malformed), "{what}");
    }
    // What one reader would take for the end of the name.
    assert!(matches!(peek(&naming(b"www.exa\0ple.com"), MAX), Peek::Malformed));
    // An extension twice.
    let mut stream = chrome_like();
    let at = stream.windows(4).position(|w| w == [0, 18, 0, 0]).unwrap();
    stream[at + 1] = 23;
    assert!(matches!(peek(&stream, MAX), Peek::Malformed));
}

#[test]
fn limits() {
    let flight = chrome_like();
    assert!(matches!(peek(&flight, flight.len()), Peek::Complete { .. }));
    assert!(matches!(peek(&flight, flight.len() - 1), Peek::TooBig));
    // Announced to be too long: known from the first nine bytes.
    assert!(matches!(peek(&[22, 3, 1, 0x40, 0, 1, 2, 0, 0], MAX), Peek::TooBig));
    // Records of one byte each until the limit.
    let drip = records(&message(&flight), 1);
    assert!(matches!(peek(&drip[..4096], 4096), Peek::TooBig));
    assert!(matches!(peek(&[], 0), Peek::TooBig));
}

/// 256 application protocols are taken, one more is not: each is kept by itself.
#[test]
fn more_protocols_than_are_kept() {
    for (protocols, taken) in [(256, true), (257, false), (20_000, false)] {
        let list = [1, b'x'].repeat(protocols);
        let mut body = vec![3, 3];
        body.extend([1; 32]);
        body.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
        // Length of the extensions; type and length of the only one; length of its list.
        for number in [list.len() + 6, 16, list.len() + 2, list.len()] {
            body.extend((number as u16).to_be_bytes());
        }
        body.extend(list);
        let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
        match peek(&records(&message, 16384), MAX) {
            Peek::Complete { hello, .. } => assert_eq!((hello.alpn.len(), taken), (protocols, true)),
            other => assert!(matches!(other, Peek::TooBig) && !taken, "{protocols}: {other:?}"),
        }
    }
}

/// RFC 5246: no extensions at all.
#[test]
fn an_old_hello_without_extensions() {
    let mut body = vec![3, 1];
    body.extend([1; 32]);
    body.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    let (hello, _) = complete(&records(&message, 16384));
    assert!(!hello.offers_tls12() && !hello.offers_tls13() && hello.sni.is_none());
    assert_eq!(hello.info().ja4, "t10i010000_".to_owned() + &hello.info().ja4[11..]);
    assert_eq!(hello.info().ja3, "769,47,,,");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), max in 0usize..700) {
        let _ = peek(&bytes, max);
        // As records, to get further.
        let _ = peek(&records(&[&[1, 0, 2, 0][..], &bytes].concat(), 300), MAX);
    }

    #[test]
    fn a_damaged_hello_never_panics(at in 0usize..1800, value in any::<u8>(), keep in 0usize..1900) {
        let mut flight = chrome_like();
        let at = at % flight.len();
        flight[at] = value;
        flight.truncate(keep);
        if let Peek::Complete { hello, flight_len } = peek(&flight, MAX) {
            prop_assert!(flight_len <= flight.len());
            let _ = hello.info();
        }
    }
}
