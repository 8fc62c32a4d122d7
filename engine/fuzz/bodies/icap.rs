//! A server of ICAP says this: the first byte says in which pieces, the second what it was asked.

use wireglass_core::icap::{Exchange, IcapError, MAX_HEAD, Method, OptionsQuery, Outcome, Service};

pub fn run(data: &[u8]) {
    let Some(([piece, asked], said)) = data.split_first_chunk::<2>() else { return };
    let whole = exchange(*asked, said, said.len().max(1));
    let pieces = exchange(*asked, said, usize::from(*piece) + 1);
    assert_eq!(whole.is_err(), pieces.is_err(), "pieces differ");
    assert!(whole.is_err() || whole == pieces, "pieces differ");
    let (mut query, _) = OptionsQuery::new(&service());
    for bytes in said.chunks(usize::from(*piece) + 1) {
        if !matches!(query.receive(bytes), Ok(None)) {
            break;
        }
    }
}

fn service() -> Service {
    Service { host: "a".into(), port: 1344, path: "/x".into() }
}

fn exchange(asked: u8, said: &[u8], piece: usize) -> Result<Option<Outcome>, IcapError> {
    let method = if asked & 1 == 0 { Method::Respmod } else { Method::Reqmod };
    let heads: [&[u8]; 2] = [b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"];
    let preview = (asked & 2 != 0).then_some(usize::from(asked >> 4));
    let mut exchange = Exchange::new(&service(), method, heads, preview);
    exchange.push(b"some content");
    if asked & 4 == 0 {
        exchange.end();
    }
    let mut sent = exchange.take_output().len();
    for bytes in said.chunks(piece) {
        exchange.receive(bytes)?;
        sent += exchange.take_output().len();
        assert!(exchange.memory() <= 4 * MAX_HEAD, "memory");
    }
    assert!(sent < 4096, "more than there is");
    Ok(exchange.outcome().cloned())
}
