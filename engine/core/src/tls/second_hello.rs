//! What a client says behind a hello that has been decided on. A HelloRetryRequest has it say a second one (RFC 8446 §4.1.4), and servers go by
//! the name in that.

use super::client_hello::{ClientHello, HelloScan, Peek, peek};
use super::passive::RETRY;
use super::record::{HEADER, content};

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// A plain record with no more than this may hold a part of a hello. What is encrypted is longer.
const SHORT: u16 = 10;

/// A client's stream, whose first hello has been decided on, until it is known that there is no second one, or that it says the same.
#[derive(Clone, Debug)]
pub struct SecondHello {
    sni: Option<String>,
    alpn: Vec<Box<[u8]>>,
    /// Records of early data may come before it: whoever wants another hello skips them.
    early_data: bool,
    /// Bytes of the stream that are none of it.
    at: usize,
    scan: HelloScan,
    max: usize,
    /// There was another one: whatever comes in its place is not believed.
    is_other: bool,
}

/// What is behind the first hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Nothing yet, or not all of a second hello.
    More,
    /// Something else than a second hello, or one that says the same.
    Same,
    /// A hello with another name or other protocols, or what a server may take for one.
    Other,
}

impl SecondHello {
    /// Of a stream that begins with a hello. None: it does not, or no server would ask for another one. `max`: the longest.
    pub fn of(stream: &[u8], max: usize) -> Option<Self> {
        let Peek::Complete { hello, flight_len } = peek(stream, max) else { return None };
        let early_data = hello.offers_early_data();
        let is_asked = hello.offers_tls13();
        let ClientHello { sni, alpn, .. } = *hello;
        let (scan, at, is_other) = (HelloScan::default(), flight_len, false);
        is_asked.then_some(Self { sni, alpn, early_data, at, scan, max, is_other })
    }

    /// Bytes of the stream that are not to wait for anything.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Most bytes of the stream that are looked at.
    pub fn limit(&self) -> usize {
        2 * self.max
    }

    /// So many bytes in front of the stream will not be shown again.
    pub fn consumed(&mut self, bytes: usize) {
        self.at -= bytes;
    }

    /// Bytes of memory that it holds, with its own size.
    pub fn memory(&self) -> usize {
        let Self { sni, alpn, early_data: _, at: _, scan: _, max: _, is_other: _ } = self;
        let alpn: usize = alpn.iter().map(|name| name.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Self>() + sni.as_ref().map_or(0, String::capacity) + alpn
    }

    /// Looks at the client's stream, which begins with what it was at the last call.
    pub fn look(&mut self, stream: &[u8]) -> Behind {
        let behind = if self.is_other { Behind::Other } else { self.next(stream) };
        self.is_other = behind == Behind::Other;
        behind
    }

    fn next(&mut self, stream: &[u8]) -> Behind {
        loop {
            let rest = stream.get(self.at..).unwrap_or_default();
            let (Some(&kind), header) = (rest.first(), rest.first_chunk::<HEADER>()) else {
                return Behind::More;
            };
            let is_passed_over = match kind {
                content::CHANGE_CIPHER_SPEC | content::ALERT => true,
                content::APPLICATION_DATA => self.early_data,
                content::HANDSHAKE => return self.handshake(rest),
                _ => false,
            };
            if !is_passed_over {
                return Behind::Same;
            }
            let Some([.., high, low]) = header else { return Behind::More };
            let payload = usize::from(u16::from_be_bytes([*high, *low]));
            if payload == 0 && kind != content::APPLICATION_DATA {
                return Behind::Other; // OpenSSL takes it
            }
            let len = HEADER + payload;
            if rest.len() < len {
                return Behind::More;
            }
            self.at += len;
        }
    }

    fn handshake(&mut self, rest: &[u8]) -> Behind {
        let Some((&[.., high, low], body)) = rest.split_first_chunk::<HEADER>() else { return Behind::More };
        match (u16::from_be_bytes([high, low]), body) {
            // OpenSSL takes it.
            (0, _) => return Behind::Other,
            // Kind, length, version. What is encrypted may begin like that, but is longer than a short piece of it.
            (..=SHORT, [CLIENT_HELLO, ..]) | (_, [CLIENT_HELLO, 0, _, _, 3, ..]) => {}
            (_, [] | [CLIENT_HELLO] | [CLIENT_HELLO, 0] | [CLIENT_HELLO, 0, _] | [CLIENT_HELLO, 0, _, _]) => {
                return Behind::More;
            }
            _ => return Behind::Same,
        }
        match self.scan.peek(rest, self.max) {
            Peek::Incomplete => Behind::More,
            Peek::Complete { hello, .. } if hello.sni == self.sni && hello.alpn == self.alpn => Behind::Same,
            Peek::Complete { .. } | Peek::NotTls | Peek::Malformed | Peek::TooBig => Behind::Other,
        }
    }

    /// The server's first bytes are its answer: it asks for no other hello.
    pub fn is_answered(server: &[u8]) -> bool {
        match server {
            [content::HANDSHAKE, 3, _, _, _, SERVER_HELLO, _, _, _, 3, _, random @ ..] => {
                random.len() >= RETRY.len() && !random.starts_with(&RETRY)
            }
            _ => false,
        }
    }
}
