//! The HTTP reader of one flow: finds out which version is spoken and hands the plaintext to its reader.

use super::http1::Http1;
use super::http2::{Http2, PREFACE};
use super::transactions::Transactions;
use crate::log::event::HttpEvent;
use crate::reason::InspectorOff;
use crate::side::Side;

/// After so many bytes it must be clear what the client speaks: room for the longest method that is known.
const ENOUGH: usize = 64;

/// Reads a flow's plaintext in passing and tells which HTTP transactions it held.
///
/// It takes the bytes of both sides in any pieces, in the order in which they pass. It never fails: what it
/// cannot follow turns it off for the rest of the flow, with a reason; the flow itself is none of its business.
/// Bodies are counted, not kept; of the header fields only those that [`HttpEvent`] names are kept, clipped. One
/// flow never holds more than about a megabyte, an idle one a few hundred bytes.
pub struct HttpInspector {
    reader: Reader,
    transactions: Transactions,
    off: Option<InspectorOff>,
}

enum Reader {
    /// The client's bytes so far do not yet say what they are.
    Undecided(Vec<u8>),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    Off,
}

impl HttpInspector {
    /// A reader for the negotiated application protocol; without one, or with HTTP/1, the first bytes decide.
    pub fn new(alpn: Option<&[u8]>) -> Self {
        let (reader, off) = match alpn {
            Some(b"h2") => (Reader::Http2(Box::default()), None),
            None | Some(b"http/1.1" | b"http/1.0") => (Reader::Undecided(Vec::new()), None),
            Some(_) => (Reader::Off, Some(InspectorOff::OtherAlpn)),
        };
        Self { reader, transactions: Transactions::default(), off }
    }

    /// Plaintext that came from this side.
    pub fn bytes(&mut self, from: Side, plaintext: &[u8]) {
        if plaintext.is_empty() {
            return;
        }
        let transactions = &mut self.transactions;
        let result = match &mut self.reader {
            Reader::Off => return,
            Reader::Http1(http) => http.bytes(from, plaintext, transactions),
            Reader::Http2(http) => http.bytes(from, plaintext, transactions),
            Reader::Undecided(_) => self.decide(from, plaintext),
        };
        if let Err(reason) = result {
            self.turn_off(reason);
        }
    }

    /// The next complete transaction, in the order of completion. Fetch until there is none after each piece of
    /// plaintext: what waits is bounded.
    pub fn poll_transaction(&mut self) -> Option<Box<HttpEvent>> {
        self.transactions.fetch()
    }

    /// The flow ended: what is still open is reported as far as it is known.
    pub fn finish(&mut self) {
        let reader = std::mem::replace(&mut self.reader, Reader::Off);
        match reader {
            Reader::Http1(http) => http.finish(&mut self.transactions),
            Reader::Http2(http) => http.finish(&mut self.transactions),
            Reader::Undecided(_) | Reader::Off => {}
        }
    }

    /// A response is going by whose end is the end of the connection (RFC 9112, 6.3).
    pub fn awaits_end(&self) -> bool {
        matches!(&self.reader, Reader::Http1(http) if http.awaits_end())
    }

    /// Why it turned itself off; none while it reads.
    pub fn off_reason(&self) -> Option<InspectorOff> {
        self.off
    }

    /// Bytes of memory that it holds beside its own size. Called for each record, so all of it is sums.
    pub fn memory(&self) -> usize {
        let Self { reader, transactions, off: _ } = self;
        let reader = match reader {
            Reader::Undecided(start) => start.capacity(),
            Reader::Http1(http) => http.memory(),
            Reader::Http2(http) => http.memory(),
            Reader::Off => 0,
        };
        reader + transactions.memory()
    }

    /// Reads no more, for this reason: its own, or its owner's.
    pub fn turn_off(&mut self, reason: InspectorOff) {
        self.finish();
        self.off = Some(reason);
    }

    fn decide(&mut self, from: Side, plaintext: &[u8]) -> Result<(), InspectorOff> {
        let Reader::Undecided(earlier) = &mut self.reader else { return Ok(()) };
        let earlier = std::mem::take(earlier);
        let recognised = match from {
            Side::Client => {
                let mut start = earlier.clone();
                start.extend_from_slice(&plaintext[..plaintext.len().min(ENOUGH)]);
                match recognise(&start)? {
                    Some(reader) => reader,
                    None if start.len() >= ENOUGH => return Err(InspectorOff::NotHttp),
                    None => Reader::Undecided(start),
                }
            }
            // A server that speaks first can only be one that times out an idle connection (408).
            Side::Server if plaintext[0] == b'H' => Reader::Http1(Box::default()),
            Side::Server => return Err(InspectorOff::NotHttp),
        };
        self.reader = recognised;
        let transactions = &mut self.transactions;
        match &mut self.reader {
            Reader::Http1(http) => {
                http.bytes(Side::Client, &earlier, transactions)?;
                http.bytes(from, plaintext, transactions)
            }
            Reader::Http2(http) => {
                http.bytes(Side::Client, &earlier, transactions)?;
                http.bytes(from, plaintext, transactions)
            }
            Reader::Undecided(_) | Reader::Off => Ok(()),
        }
    }
}

/// The reader for what the client's first bytes are; none: more are needed.
fn recognise(start: &[u8]) -> Result<Option<Reader>, InspectorOff> {
    if start.starts_with(PREFACE) {
        return Ok(Some(Reader::Http2(Box::default())));
    }
    if PREFACE.starts_with(start) {
        return Ok(None);
    }
    // RFC 9112, 2.2: empty lines before the first request are to be ignored.
    let Some(first) = start.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else { return Ok(None) };
    let method = &start[first..];
    match method.iter().position(|&byte| !is_token(byte)) {
        Some(end) if end > 0 && method[end] == b' ' => Ok(Some(Reader::Http1(Box::default()))),
        None => Ok(None),
        Some(_) => Err(InspectorOff::NotHttp),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
