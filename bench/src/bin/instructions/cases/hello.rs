//! A ClientHello, from bytes to what policy asks of it.

use std::hint::black_box;

use wireglass_core::tls::{Peek, peek};

use crate::counted;

const ROUNDS: usize = 100;
/// As much of a flow's beginning as is looked at by default.
const MAX: usize = 64 * 1024;

pub(super) fn client_hello() -> usize {
    let hello = chrome();
    counted(|| {
        (0..ROUNDS)
            .filter(|_| match peek(black_box(&hello), MAX) {
                Peek::Complete { hello, .. } => black_box(hello.info()).sni.is_some(),
                _ => false,
            })
            .count()
    })
}

/// A flight as Chrome lays it out, always the same one: GREASE, X25519MLKEM768, an ECH extension.
fn chrome() -> Vec<u8> {
    let name = b"www.example.com";
    let lengths =
        |outer: usize, inner: usize| [(outer as u16).to_be_bytes(), (inner as u16).to_be_bytes()].concat();
    let sni = [&lengths(name.len() + 3, 0)[..2], &[0], &lengths(name.len(), 0)[..2], name].concat();
    let shares = [
        &lengths(5 + 4 + 1216 + 4 + 32, 0)[..2],
        &[0x3a, 0x3a, 0, 1, 0],
        &lengths(0x11ec, 1216),
        &[7; 1216],
        &lengths(29, 32),
        &[9; 32],
    ]
    .concat();
    let extensions: [(u16, &[u8]); 18] = [
        (0x1a1a, &[]),
        (0, &sni),
        (10, &[0, 10, 0x3a, 0x3a, 0x11, 0xec, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18]),
        (51, &shares),
        (43, &[6, 0x6a, 0x6a, 3, 4, 3, 3]),
        (13, &[0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1]),
        (16, b"\x00\x0c\x02h2\x08http/1.1"),
        (11, &[1, 0]),
        (45, &[1, 1]),
        (0xfe0d, &[0; 186]),
        (5, &[1, 0, 0, 0, 0]),
        (18, &[]),
        (23, &[]),
        (0xff01, &[0]),
        (27, &[2, 0, 2]),
        (0x4469, &[0, 3, 2, b'h', b'2']),
        (35, &[]),
        (0x8a8a, &[0]),
    ];
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| [&lengths((*kind).into(), body.len()), *body].concat())
        .collect();
    let suites: [u16; 16] = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x9c,
        0x9d, 0x2f, 0x35,
    ];
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    // Version, random, session id, suites, no compression, extensions (RFC 8446 4.1.2).
    let body = [
        &[3, 3][..],
        &[0x42; 32],
        &[32],
        &[0x17; 32],
        &lengths(suites.len(), 0)[..2],
        &suites,
        &[1, 0],
        &lengths(extensions.len(), 0)[..2],
        &extensions,
    ]
    .concat();
    let message = [&[1, 0][..], &lengths(body.len(), 0)[..2], &body].concat();
    [&[22, 3, 1][..], &lengths(message.len(), 0)[..2], &message].concat()
}
