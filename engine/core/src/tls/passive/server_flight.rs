//! What a server's first flight tells: version, suite, and before TLS 1.3 its certificates.

use std::ops::ControlFlow;

use super::message_scan::{MessageScan, Seen};
use crate::event::LegInfo;
use crate::tls::names;
use crate::tls::wire::Reader;

const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_STATUS: u8 = 22;

const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const TLS13: u16 = 0x0304;
/// RFC 8422 §5.4: the parameters of a key exchange name a curve.
const NAMED_CURVE: u8 = 3;
/// RFC 6066 §8: the one type of status.
const OCSP: u8 = 1;
/// RFC 8446 §4.1.3: the random of a HelloRetryRequest.
pub(in crate::tls) const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Certificates that are kept of a chain.
const MAX_CHAIN: usize = 16;
/// Most extensions of a ServerHello. It answers those of the client, each once (RFC 8446 §4.2), and clients send some 20.
const MAX_EXTENSIONS: usize = 256;

/// What a server has said in plain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `legacy_version` of its ServerHello, which JA3S has.
    pub legacy_version: u16,
    /// The version of TLS; 0: it has sent no ServerHello.
    pub version: u16,
    /// The cipher suite.
    pub suite: u16,
    /// The key exchange group, where it is shown.
    pub group: Option<u16>,
    /// Types of its extensions, in their order; at most 256.
    pub extensions: Vec<u16>,
    /// The application protocol; TLS 1.3 encrypts it.
    pub alpn: Option<Box<[u8]>>,
    /// Its certificates in DER, its own first; at most 16. TLS 1.3 encrypts them.
    pub chain: Vec<Box<[u8]>>,
    /// The OCSP response that it has stapled.
    pub staple: Option<Box<[u8]>>,
    /// It asks for a client certificate.
    pub asks_for_certificate: bool,
    /// An earlier session goes on, so there is no certificate.
    pub resumed: bool,
    /// The alert that it answered with.
    pub alert: Option<u8>,
}

/// Why a flight was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerUnread {
    /// It is no TLS, or no TLS that can be read.
    Malformed,
    /// It is longer than what is looked at.
    TooLong,
    /// Something of it was lost or came in another order.
    Gap,
    /// The connection ended in the middle of it.
    Ended,
    /// It did not come in time.
    Timeout,
    /// Memory was short.
    Memory,
    /// Its certificate was read, and is left out: it is longer than what an event may carry.
    CertificateTooLong,
}

impl ServerUnread {
    /// As the log has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Gap => "gap",
            Self::Ended => "ended",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::CertificateTooLong => "certificate_too_long",
        }
    }
}

/// Whether there is more to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its end has not come.
    More,
    /// All that is in plain was read.
    Done,
    /// It is not read any further.
    Unread(ServerUnread),
}

/// Reads a server's first flight as it goes by.
#[derive(Clone, Debug, Default)]
pub struct ServerFlight {
    scan: MessageScan,
    facts: ServerFacts,
    taken: usize,
}

impl ServerFlight {
    /// Bytes that are looked at: a long chain with its OCSP response has 20 KB.
    pub const LONGEST: usize = 48 * 1024;

    /// The next bytes of the server's stream. After [`Progress::More`] alone there is more to give.
    pub fn take(&mut self, bytes: &[u8]) -> Progress {
        let rest = Self::LONGEST - self.taken;
        let (looked_at, beyond) = bytes.split_at(bytes.len().min(rest));
        self.taken += looked_at.len();
        let facts = &mut self.facts;
        let mut is_malformed = false;
        let flow = self.scan.take(looked_at, |seen| {
            facts.note(seen).unwrap_or_else(|| {
                is_malformed = true;
                ControlFlow::Break(())
            })
        });
        match flow {
            Err(_) => Progress::Unread(ServerUnread::Malformed),
            Ok(_) if is_malformed => Progress::Unread(ServerUnread::Malformed),
            Ok(ControlFlow::Break(())) => Progress::Done,
            Ok(ControlFlow::Continue(())) if !beyond.is_empty() => Progress::Unread(ServerUnread::TooLong),
            Ok(ControlFlow::Continue(())) => Progress::More,
        }
    }

    /// What was read so far.
    pub fn into_facts(self) -> ServerFacts {
        self.facts
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        let Self { scan, facts, taken: _ } = self;
        scan.memory() + facts.memory()
    }
}

impl ServerFacts {
    /// None: it is malformed. Break: nothing more is to be read.
    fn note(&mut self, seen: Seen<'_>) -> Option<ControlFlow<()>> {
        let goes_on = ControlFlow::Continue(());
        let ends = ControlFlow::Break(());
        match seen {
            Seen::Message(SERVER_HELLO, body) if self.version == 0 => {
                let retry = self.note_hello(body)?;
                return Some(if self.version == TLS13 && !retry { ends } else { goes_on });
            }
            // RFC 8446 §D.4: in TLS 1.3 it says nothing, and may stand between a retry and the ServerHello.
            Seen::ChangeCipherSpec if self.version == 0 && self.legacy_version != 0 => return Some(goes_on),
            Seen::Alert(description) => {
                self.alert = Some(description);
                return Some(ends);
            }
            // Before a ServerHello there is nothing but alerts.
            _ if self.version == 0 => return None,
            Seen::Message(CERTIFICATE, body) => self.chain = chain(body)?,
            Seen::Message(CERTIFICATE_STATUS, body) => {
                let mut r = Reader::new(body);
                if r.u8()? == OCSP {
                    let length = r.u24()?;
                    self.staple = Some(r.take(length)?.into());
                }
            }
            Seen::Message(SERVER_KEY_EXCHANGE, [NAMED_CURVE, high, low, ..])
                if suite_name(self.suite).is_some_and(|name| name.contains("_ECDHE_")) =>
            {
                self.group = Some(u16::from_be_bytes([*high, *low]));
            }
            Seen::Message(CERTIFICATE_REQUEST, _) => self.asks_for_certificate = true,
            Seen::Message(SERVER_HELLO_DONE, _) => return Some(ends),
            Seen::Message(..) => {}
            Seen::ChangeCipherSpec => {
                self.resumed = self.chain.is_empty();
                return Some(ends);
            }
            Seen::ApplicationData => return Some(ends),
        }
        Some(goes_on)
    }

    /// True: it is a HelloRetryRequest, and the ServerHello is still to come.
    fn note_hello(&mut self, body: &[u8]) -> Option<bool> {
        let mut r = Reader::new(body);
        self.legacy_version = r.u16()?;
        let is_retry = *r.take(32)? == RETRY;
        let _session_id = r.vec8()?;
        self.suite = r.u16()?;
        let _compression = r.u8()?;
        let mut version = self.legacy_version;
        self.extensions.clear();
        // RFC 5246 §7.4.1.3: a ServerHello without extensions ends here.
        let mut extensions = if r.is_empty() { Reader::new(&[]) } else { r.vec16()? };
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let mut value = extensions.vec16()?;
            if self.extensions.len() >= MAX_EXTENSIONS {
                return None;
            }
            self.extensions.push(kind);
            match kind {
                SUPPORTED_VERSIONS => version = value.u16()?,
                KEY_SHARE => self.group = Some(value.u16()?),
                ALPN => self.alpn = Some(value.vec16()?.vec8()?.rest().into()),
                _ => {}
            }
        }
        if !is_retry {
            self.version = version;
        }
        Some(is_retry)
    }

    /// Version, suite, group and protocol in words.
    pub fn leg(&self) -> LegInfo {
        LegInfo {
            version: version_name(self.version),
            cipher: suite_name(self.suite),
            group: self.group.and_then(names::group),
            alpn: self.alpn.clone(),
            resumed: self.resumed,
        }
    }

    /// An engine may negotiate what this server has chosen, as far as its version allows.
    pub fn is_supported_suite(&self) -> bool {
        names::cipher_suite(self.suite).is_some()
    }

    pub(crate) fn memory(&self) -> usize {
        let Self {
            legacy_version: _,
            version: _,
            suite: _,
            group: _,
            extensions,
            alpn,
            chain,
            staple,
            asks_for_certificate: _,
            resumed: _,
            alert: _,
        } = self;
        let certificates: usize = chain.iter().map(|der| der.len()).sum();
        extensions.capacity() * size_of::<u16>()
            + chain.capacity() * size_of::<Box<[u8]>>()
            + certificates
            + [alpn, staple].into_iter().flatten().map(|bytes| bytes.len()).sum::<usize>()
    }
}

/// RFC 5246 §7.4.2.
fn chain(body: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut r = Reader::new(body);
    let length = r.u24()?;
    let mut list = Reader::new(r.take(length)?);
    let mut chain = Vec::new();
    while !list.is_empty() && chain.len() < MAX_CHAIN {
        let length = list.u24()?;
        chain.push(list.take(length)?.into());
    }
    Some(chain)
}

/// As Suricata names it.
fn version_name(version: u16) -> Option<&'static str> {
    Some(match version {
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        TLS13 => "TLS 1.3",
        _ => return None,
    })
}

/// As IANA names it.
fn suite_name(suite: u16) -> Option<&'static str> {
    names::cipher_suite(suite).or_else(|| rustls::CipherSuite::from(suite).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&[kind, 3, 3], length.as_slice(), body].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        record(22, &[&[kind], &length[1..], body].concat())
    }

    fn hello(random: [u8; 32], suite: u16, extensions: &[u8]) -> Vec<u8> {
        let length = (extensions.len() as u16).to_be_bytes();
        let extensions = if extensions.is_empty() { vec![] } else { [&length, extensions].concat() };
        message(2, &[[3, 3].as_slice(), &random, &[0], &suite.to_be_bytes(), &[0], &extensions].concat())
    }

    fn read(stream: &[u8], size: usize) -> (Progress, ServerFacts) {
        let mut flight = ServerFlight::default();
        let mut progress = Progress::More;
        for piece in stream.chunks(size) {
            progress = flight.take(piece);
            if progress != Progress::More {
                break;
            }
        }
        (progress, flight.into_facts())
    }

    fn tls12() -> Vec<u8> {
        [
            hello([7; 32], 0xc02f, &[0, 16, 0, 5, 0, 3, 2, b'h', b'2']),
            message(11, &[0, 0, 9, 0, 0, 3, 1, 2, 3, 0, 0, 0]),
            message(22, &[1, 0, 0, 2, 8, 9]),
            message(12, &[3, 0, 29, 0]),
            message(13, &[1, 1, 0, 0, 0, 0]),
            message(14, &[]),
            record(23, b"not looked at"),
        ]
        .concat()
    }

    /// Each byte changed to each value, and the stream cut at each place: an end with a name, and no more memory than was given.
    #[test]
    fn no_byte_does_harm() {
        let stream = tls12();
        for at in 0..stream.len() {
            let _ = read(&stream[..at], 7);
            for value in 0..=u8::MAX {
                let mut damaged = stream.clone();
                damaged[at] = value;
                let mut flight = ServerFlight::default();
                while flight.take(&damaged) == Progress::More && flight.taken < 10 * damaged.len() {
                    assert!(flight.memory() < 4 * flight.taken, "byte {at} is {value}");
                }
            }
        }
    }

    #[test]
    fn tls12_shows_its_certificates() {
        let stream = tls12();
        for size in 1..=stream.len() {
            let (progress, facts) = read(&stream, size);
            assert_eq!(progress, Progress::Done);
            assert_eq!(facts.chain, [[1, 2, 3].into(), [].into()] as [Box<[u8]>; 2]);
            assert_eq!(facts.staple.as_deref(), Some([8, 9].as_slice()));
            assert!(facts.asks_for_certificate && !facts.resumed);
            let leg = facts.leg();
            assert_eq!((leg.version, leg.group), (Some("TLS 1.2"), Some("x25519")));
            assert_eq!(leg.cipher, Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
            assert_eq!(leg.alpn.as_deref(), Some(b"h2".as_slice()));
        }
    }

    #[test]
    fn tls13_shows_its_hello_behind_a_retry() {
        let of_13 = [0, 43, 0, 2, 3, 4];
        let retry = hello(RETRY, 0x1301, &of_13);
        let middle = record(20, &[1]);
        let shared = [of_13.as_slice(), &[0, 51, 0, 4, 0x11, 0xec, 0, 0]].concat();
        let stream = [retry, middle, hello([7; 32], 0x1302, &shared), record(23, &[0; 99])].concat();
        let (progress, facts) = read(&stream, 10);
        assert_eq!((progress, facts.version, facts.suite), (Progress::Done, 0x0304, 0x1302));
        assert_eq!(facts.leg().group, Some("X25519MLKEM768"));
        assert_eq!(facts.extensions, [43, 51]);
    }

    #[test]
    fn resumed_and_refused() {
        let stream = [hello([7; 32], 0x002f, &[]), record(20, &[1]), record(22, &[0; 40])].concat();
        let (progress, facts) = read(&stream, 99);
        assert_eq!((progress, facts.resumed), (Progress::Done, true));
        assert_eq!(facts.leg().cipher, Some("TLS_RSA_WITH_AES_128_CBC_SHA"));
        assert!(!facts.is_supported_suite());
        let (progress, facts) = read(&record(21, &[2, 70]), 99);
        assert_eq!((progress, facts.alert, facts.version), (Progress::Done, Some(70), 0));
    }

    #[test]
    fn what_cannot_be_read_has_a_name() {
        let unread = |stream: &[u8]| read(stream, 1000).0;
        let malformed = Progress::Unread(ServerUnread::Malformed);
        assert_eq!(unread(b"220 mail.example ESMTP\r\n"), malformed);
        assert_eq!(unread(&message(11, &[0, 0, 0])), malformed, "a certificate before the hello");
        let truncated = [hello([7; 32], 0xc02f, &[]), message(11, &[0, 0, 9, 0])].concat();
        assert_eq!(unread(&truncated), malformed);
        let many = |count: usize| hello([7; 32], 0xc02f, &[0, 99, 0, 0].repeat(count));
        assert_eq!((unread(&many(256)), unread(&many(257))), (Progress::More, malformed));
        let long = [hello([7; 32], 0xc02f, &[]), message(11, &[0; 60])].concat();
        let endless = long.into_iter().chain(message(99, &[0; 9]).into_iter().cycle()).take(60_000);
        let endless: Vec<u8> = endless.collect();
        assert_eq!(unread(&endless), Progress::Unread(ServerUnread::TooLong));
    }
}
