//! A server's first flight that goes by: what is told of it does not depend on how it was cut, and no more is held than has come.

use wireglass_core::tls::{Progress, ServerFacts, ServerFlight};
use wireglass_core::x509::describe_certificate;

/// A few fields of the first sizes.
const SMALL: usize = 1024;

/// A byte that says how long the pieces are; then the server's stream.
pub fn run(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let (progress, facts) = read(stream, usize::from(*size).max(1));
    assert_eq!((progress, facts.clone()), read(stream, stream.len().max(1)), "in pieces, and as a whole");
    assert!(facts.chain.len() <= 16 && facts.extensions.len() <= 256, "a list without an end");
    if progress == Progress::Done {
        assert!(facts.version != 0 || facts.alert.is_some(), "nothing was said");
    }
    let _ = (facts.leg(), facts.is_supported_suite());
    for der in &facts.chain {
        let _ = describe_certificate(der);
    }
}

fn read(stream: &[u8], size: usize) -> (Progress, ServerFacts) {
    let (mut flight, mut progress, mut taken) = (ServerFlight::default(), Progress::More, 0);
    for piece in stream.chunks(size) {
        progress = flight.take(piece);
        taken += piece.len();
        assert!(flight.memory() <= 4 * taken.min(ServerFlight::LONGEST) + SMALL, "{}", flight.memory());
        if progress != Progress::More {
            break;
        }
    }
    (progress, flight.into_facts())
}
