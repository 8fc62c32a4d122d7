//! The HTTP reader of one flow: finds out which version is spoken and hands the plaintext to its reader.

use super::border::{Borders, Teller};
use super::hpack::Wanted;
use super::http1::Http1;
use super::http1_head::Strictness;
use super::http2::{Http2, PREFACE};
use super::transactions::Transactions;
use crate::end::{End, PerEnd};
use crate::event::{Anomaly, AnomalyEvent, HttpEvent};
use crate::fields::is_token;
use crate::reason::InspectorOff;

/// So many bytes that are nothing but empty lines and the beginning of a method are HTTP/1: servers take any number of both.
const ENOUGH: usize = 1024;

/// Reads a flow's plaintext in passing and tells which HTTP transactions it held.
///
/// It takes the bytes of both sides in any pieces, in the order in which they pass. It never fails: what it cannot read it passes
/// over, or it turns itself off for the rest of the flow, with a reason; how much was not read it can say.
/// Bodies are counted, not kept; of the header fields only those that [`HttpEvent`] names are kept, clipped. One
/// flow never holds more than about a megabyte, an idle one a few hundred bytes.
pub struct HttpInspector {
    reader: Reader,
    transactions: Transactions,
    off: Option<InspectorOff>,
    /// The negotiated protocol is HTTP/1, whatever the first bytes look like; but for the preface of HTTP/2.
    is_http1: bool,
    strictness: Strictness,
    /// Plaintext that has come: the client's, the server's.
    seen: PerEnd<u64>,
    /// Of these, what came before it turned itself off, and what of that was passed over.
    off_at: PerEnd<u64>,
    skipped: PerEnd<u64>,
}

/// What a reader cannot follow, and where in its direction's plaintext that begins.
pub(super) struct Fault {
    pub(super) reason: InspectorOff,
    pub(super) at: u64,
}

enum Reader {
    /// The client's bytes so far do not yet say what they are.
    Undecided(Vec<u8>),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    Off,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// RFC 9112, and what came before it.
    Http1,
    /// RFC 9113.
    Http2,
}

impl HttpInspector {
    /// A reader for the negotiated application protocol; without one the first bytes decide.
    pub fn new(alpn: Option<&[u8]>) -> Self {
        Self::for_use(alpn, Strictness::Log)
    }

    /// The same, for those who ask rules: all fields are [told](Borders::field), more is taken for ambiguous, and what cannot be held turns
    /// it off.
    pub fn keeping_fields(alpn: Option<&[u8]>) -> Self {
        Self::for_use(alpn, Strictness::Rules)
    }

    fn for_use(alpn: Option<&[u8]>, strictness: Strictness) -> Self {
        let (reader, off) = match alpn {
            // What gRPC called HTTP/2 up to 2023, and prefers.
            Some(b"h2" | b"grpc-exp") => (Reader::new(Version::Http2, strictness), None),
            None | Some(b"http/1.1" | b"http/1.0") => (Reader::Undecided(Vec::new()), None),
            Some(_) => (Reader::Off, Some(InspectorOff::OtherAlpn)),
        };
        let transactions = Transactions::default();
        let is_http1 = matches!(alpn, Some(b"http/1.1" | b"http/1.0"));
        Self {
            reader,
            transactions,
            off,
            is_http1,
            strictness,
            seen: PerEnd::both(0),
            off_at: PerEnd::both(0),
            skipped: PerEnd::both(0),
        }
    }

    /// Plaintext that came from this side.
    pub fn bytes(&mut self, from: End, plaintext: &[u8]) {
        self.read(from, plaintext, &mut Teller::new(None));
    }

    /// Plaintext that came from this side; what begins and ends in it is told before this returns.
    pub fn bytes_with(&mut self, from: End, plaintext: &[u8], borders: &mut dyn Borders) {
        self.read(from, plaintext, &mut Teller::new(Some(borders)));
    }

    fn read(&mut self, from: End, plaintext: &[u8], borders: &mut Teller<'_>) {
        if plaintext.is_empty() {
            return;
        }
        self.seen[from] += plaintext.len() as u64;
        let transactions = &mut self.transactions;
        let result = match &mut self.reader {
            Reader::Off => return,
            Reader::Http1(http) => http.bytes(from, plaintext, transactions, borders),
            Reader::Http2(http) => http.bytes(from, plaintext, transactions, borders),
            Reader::Undecided(_) => self.decide(from, plaintext, borders),
        };
        if let Err(Fault { reason, at }) = result {
            self.stop(reason, from, at);
            for end in [from, from.other()] {
                borders.off(reason, end, self.off_at[end]);
            }
        }
    }

    /// Likewise, if it lies within the content of one HTTP/1 message of known length, where nothing ends; else false, and it is not read.
    pub(super) fn content(&mut self, from: End, plaintext: &[u8]) -> bool {
        let Reader::Http1(http) = &mut self.reader else { return false };
        let is_content = http.content(from, plaintext.len());
        self.seen[from] += if is_content { plaintext.len() as u64 } else { 0 };
        is_content
    }

    /// A stream of HTTP/2 was ended between two frames. Returns its transaction, as far as it has come.
    pub(super) fn cut_off(&mut self, stream: u32) -> Option<Box<HttpEvent>> {
        let Reader::Http2(http) = &mut self.reader else { return None };
        let event = http.exchange(stream).cloned().map(Box::new);
        if let Err(reason) = http.cut_off(stream, &mut self.transactions) {
            self.turn_off(reason, End::Client);
        }
        event
    }

    /// The next complete transaction, in the order of completion. Fetch until there is none after each piece of
    /// plaintext: what waits is bounded.
    pub fn poll_transaction(&mut self) -> Option<Box<HttpEvent>> {
        self.transactions.fetch()
    }

    /// The next thing that was odd; a flow has eight at most. Fetch like transactions.
    pub fn poll_anomaly(&mut self) -> Option<Box<AnomalyEvent>> {
        self.transactions.fetch_anomaly()
    }

    /// The flow ended: what is still open is reported as far as it is known.
    pub fn finish(&mut self) {
        self.close();
    }

    /// The same; a response that [awaits](Self::awaits_end) this ends here, and that is told.
    pub fn finish_with(&mut self, borders: &mut dyn Borders) {
        if let Reader::Http1(http) = &self.reader {
            http.tell_end(&mut Teller::new(Some(borders)));
        }
        self.close();
    }

    fn close(&mut self) {
        let reader = std::mem::replace(&mut self.reader, Reader::Off);
        match reader {
            Reader::Http1(http) => {
                self.skipped = PerEnd::from_fn(|from| http.skipped(from));
                http.finish(&mut self.transactions);
            }
            Reader::Http2(http) => http.finish(&mut self.transactions),
            // Nothing of what came was read.
            Reader::Undecided(_) | Reader::Off => return,
        }
        self.off_at = self.seen;
    }

    /// Plaintext of an end that was not read: it came after the reader was off, or was no message.
    pub fn unread(&self, from: End) -> u64 {
        let (skipped, read_up_to) = match &self.reader {
            Reader::Http1(http) => (http.skipped(from), self.seen[from]),
            Reader::Undecided(_) | Reader::Http2(_) => (0, self.seen[from]),
            Reader::Off => (self.skipped[from], self.off_at[from]),
        };
        skipped + (self.seen[from] - read_up_to)
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
        let Self { reader, transactions, off: _, is_http1: _, strictness: _, seen: _, off_at: _, skipped: _ } =
            self;
        let reader = match reader {
            Reader::Undecided(start) => start.capacity(),
            Reader::Http1(http) => http.memory(),
            Reader::Http2(http) => http.memory(),
            Reader::Off => 0,
        };
        reader + transactions.memory()
    }

    /// Reads no more, for a reason of its owner's, who is told no border. The last plaintext came from this side.
    pub(crate) fn turn_off(&mut self, reason: InspectorOff, from: End) {
        if !matches!(self.reader, Reader::Off) {
            self.stop(reason, from, self.seen[from]);
        }
    }

    fn stop(&mut self, reason: InspectorOff, from: End, at: u64) {
        let app_proto = if matches!(self.reader, Reader::Http2(_)) { "http2" } else { "http" };
        self.close();
        self.off_at[from] = at;
        self.off = Some(reason);
        // A tunnel that was asked for is as it should be.
        if reason != InspectorOff::Opaque {
            let what = Anomaly::Off(reason);
            self.transactions.raise(AnomalyEvent { app_proto, what, tx_id: None, from, offset: at });
        }
    }

    /// What is spoken, if these are a client's first bytes. None: more are needed.
    pub(super) fn version_of(&self, start: &[u8]) -> Result<Option<Version>, InspectorOff> {
        match &self.reader {
            Reader::Http1(_) => return Ok(Some(Version::Http1)),
            Reader::Http2(_) => return Ok(Some(Version::Http2)),
            Reader::Undecided(_) | Reader::Off => {}
        }
        match recognise(start) {
            Err(_) if self.is_http1 => Ok(Some(Version::Http1)),
            Ok(None) if start.len() >= ENOUGH => Ok(Some(Version::Http1)),
            recognised => recognised,
        }
    }

    fn decide(&mut self, from: End, plaintext: &[u8], borders: &mut Teller<'_>) -> Result<(), Fault> {
        let Reader::Undecided(earlier) = &mut self.reader else { return Ok(()) };
        let earlier = std::mem::take(earlier);
        let recognised = match from {
            End::Client => {
                let mut start = earlier.clone();
                start.extend_from_slice(&plaintext[..plaintext.len().min(ENOUGH)]);
                match self.version_of(&start).map_err(begins_wrong)? {
                    Some(version) => Reader::new(version, self.strictness),
                    None => Reader::Undecided(start),
                }
            }
            // A server that speaks first can only be one that times out an idle connection (408).
            End::Server if self.is_http1 || plaintext[0] == b'H' => {
                Reader::new(Version::Http1, self.strictness)
            }
            End::Server => return Err(begins_wrong(InspectorOff::NotHttp)),
        };
        self.reader = recognised;
        let transactions = &mut self.transactions;
        match &mut self.reader {
            Reader::Http1(http) => {
                http.bytes(End::Client, &earlier, transactions, borders)?;
                http.bytes(from, plaintext, transactions, borders)
            }
            Reader::Http2(http) => {
                http.bytes(End::Client, &earlier, transactions, borders)?;
                http.bytes(from, plaintext, transactions, borders)
            }
            Reader::Undecided(_) | Reader::Off => Ok(()),
        }
    }
}

impl Reader {
    fn new(version: Version, strictness: Strictness) -> Self {
        match version {
            Version::Http1 => Self::Http1(Box::new(Http1::new(strictness))),
            Version::Http2 => Self::Http2(Box::new(Http2::new(match strictness {
                Strictness::Log => Wanted::Known,
                Strictness::Rules => Wanted::All,
            }))),
        }
    }
}

/// What the client's first bytes are; none: more are needed.
fn recognise(start: &[u8]) -> Result<Option<Version>, InspectorOff> {
    if start.starts_with(PREFACE) {
        return Ok(Some(Version::Http2));
    }
    if PREFACE.starts_with(start) {
        return Ok(None);
    }
    // RFC 9112, 2.2: empty lines before the first request are to be ignored. Some servers ignore spaces and tabs, too, and end a method at
    // a tab or a form feed. That is a request that cannot be read, and no other protocol.
    let is_blank = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ');
    let Some(first) = start.iter().position(|byte| !is_blank(byte)) else { return Ok(None) };
    let method = &start[first..];
    let Some(end) = method.iter().position(|&byte| !is_token(byte)) else { return Ok(None) };
    let (method, rest) = method.split_at(end);
    // A short one before such a byte may be a tag before a length.
    let is_word = || method.len() > 2 && method.iter().all(u8::is_ascii_alphabetic);
    match rest[0] {
        // Likewise before a space: so LDAP begins a message of 32 bytes. No target begins with a control character.
        b' ' if (1..3).contains(&method.len()) => match rest.get(1) {
            None => Ok(None),
            Some(next) if next.is_ascii_control() && !is_blank(next) => Err(InspectorOff::NotHttp),
            Some(_) => Ok(Some(Version::Http1)),
        },
        b' ' if !method.is_empty() => Ok(Some(Version::Http1)),
        b'\t' | 0x0b | 0x0c if is_word() => Ok(Some(Version::Http1)),
        _ => Err(InspectorOff::NotHttp),
    }
}

fn begins_wrong(reason: InspectorOff) -> Fault {
    Fault { reason, at: 0 }
}
