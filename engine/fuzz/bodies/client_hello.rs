//! The ClientHello: the same verdict however little more has arrived, and none before it is whole.

use wireglass_core::tls::{Peek, peek};

const MAX: usize = 16 * 1024;

pub fn run(data: &[u8]) {
    let verdict = peek(data, MAX);
    let Peek::Complete { hello, flight_len } = &verdict else { return };
    assert!(*flight_len <= data.len());
    let again = peek(&data[..*flight_len], MAX);
    let same = matches!(&again, Peek::Complete { hello: h, flight_len: l } if h == hello && l == flight_len);
    assert!(same, "what follows was taken for a part of it");
    for len in [0, 1, 5, 6, 9, flight_len / 2, flight_len - 1] {
        let early = peek(&data[..len.min(flight_len - 1)], MAX);
        assert!(matches!(early, Peek::Incomplete), "a verdict after {len} of {flight_len} bytes");
    }
    let _ = (hello.info(), hello.offers_tls12(), hello.offers_tls13());
}
