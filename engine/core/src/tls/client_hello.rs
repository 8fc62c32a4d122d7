//! The ClientHello, read from the first bytes of a client's stream before any TLS stack runs.
//!
//! The bytes are untrusted and may be cut anywhere: several TCP segments, several records, a record per byte. Nothing is
//! allocated until the message is complete, and no input panics.

use rustls_pki_types::ServerName;

use super::ja;
use super::record::content::{ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE};
use super::wire::Reader;
use crate::event::HelloInfo;
use crate::policy::TlsVersion;
use crate::x509::{KeyType, Provider};

const CLIENT_HELLO: u8 = 1;
/// RFC 6066 §3: the one type of name.
const HOST_NAME: u8 = 0;
const RECORD_HEADER: usize = 5;
/// RFC 8446 §5.1: the longest plaintext of a record.
const MAX_FRAGMENT: usize = 1 << 14;

/// Application protocols that a client may offer; real ones have a dozen at most.
const MAX_PROTOCOLS: usize = 256;

/// What the first bytes of a client's stream are.
#[derive(Debug)]
pub enum Peek {
    /// A ClientHello so far; more bytes are needed.
    Incomplete,
    /// Not TLS at all.
    NotTls,
    /// TLS records, but no valid ClientHello in them.
    Malformed,
    /// Longer than the limit, or with more than 256 application protocols.
    TooBig,
    /// The whole ClientHello is here.
    Complete {
        /// What it says.
        hello: Box<ClientHello>,
        /// Length of the records that carry it, from the start of the stream.
        flight_len: usize,
    },
}

/// A parsed ClientHello (RFC 8446 §4.1.2). Lists keep the client's order, with GREASE values (RFC 8701).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// `legacy_session_id`: not empty in TLS 1.3's compatibility mode, or for a TLS 1.2 resumption.
    pub session_id: Vec<u8>,
    /// Host name (RFC 6066 §3) as sent, with U+FFFD for what is not UTF-8. It need not be a host's: some clients send an IP literal, a port
    /// with the name, or what no certificate could have.
    pub sni: Option<String>,
    /// Application protocols (RFC 7301).
    pub alpn: Vec<Box<[u8]>>,
    /// `supported_versions`; empty: the extension is absent.
    pub versions: Vec<u16>,
    /// Cipher suites.
    pub cipher_suites: Vec<u16>,
    /// `supported_groups`.
    pub groups: Vec<u16>,
    /// Groups with a `key_share`.
    pub key_shares: Vec<u16>,
    /// `signature_algorithms`.
    pub signature_schemes: Vec<u16>,
    /// `ec_point_formats`.
    pub point_formats: Vec<u8>,
    /// `max_fragment_length` (RFC 6066 §4): most plaintext of a record, in bytes.
    pub max_fragment_length: Option<u16>,
    /// `record_size_limit` (RFC 8449): likewise, with the type of content in TLS 1.3.
    pub record_size_limit: Option<u16>,
    /// Types of all extensions.
    pub extensions: Vec<u16>,
}

impl ClientHello {
    /// The host name, if it is one: no address, and nothing that no certificate could have.
    pub(crate) fn server_name(&self) -> Option<&str> {
        let name = self.sni.as_deref()?;
        matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_))).then_some(name)
    }

    /// A whole message with its header, as QUIC carries it. None: it is malformed, or offers too many protocols.
    pub(crate) fn of_message(message: &[u8]) -> Option<Self> {
        parse(message).filter(|hello| hello.alpn.len() <= MAX_PROTOCOLS)
    }

    /// It asks for an OCSP response (RFC 6066 §8, RFC 8446 §4.4.2.1).
    pub(super) fn asks_for_status(&self) -> bool {
        self.extensions.contains(&extension::STATUS_REQUEST)
    }

    /// It has an encrypted hello inside (RFC 9849), or one that is made to look so: GREASE, which nobody can tell from a real one.
    pub fn offers_ech(&self) -> bool {
        self.extensions.contains(&extension::ENCRYPTED_CLIENT_HELLO)
    }

    /// It asks for a name that is neither a host's nor an address: no certificate is for it.
    pub(super) fn names_no_host(&self) -> bool {
        self.sni.as_deref().is_some_and(|name| ServerName::try_from(name).is_err())
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self {
            legacy_version: _,
            session_id,
            sni,
            alpn,
            versions,
            cipher_suites,
            groups,
            key_shares,
            signature_schemes,
            point_formats,
            max_fragment_length: _,
            record_size_limit: _,
            extensions,
        } = self;
        let numbers = [versions, cipher_suites, groups, key_shares, signature_schemes, extensions];
        let numbers: usize = numbers.into_iter().map(|list| list.capacity() * size_of::<u16>()).sum();
        let protocols: usize = alpn.iter().map(|name| name.len() + size_of::<Box<[u8]>>()).sum();
        let bytes =
            session_id.capacity() + point_formats.capacity() + sni.as_ref().map_or(0, String::capacity);
        size_of::<Self>() + numbers + protocols + bytes
    }
}

/// Extension types (IANA "TLS ExtensionType Values").
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const MAX_FRAGMENT_LENGTH: u16 = 1;
    pub(super) const STATUS_REQUEST: u16 = 5;
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const EC_POINT_FORMATS: u16 = 11;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const RECORD_SIZE_LIMIT: u16 = 28;
    pub(super) const EARLY_DATA: u16 = 42;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    pub(super) const KEY_SHARE: u16 = 51;
    pub(super) const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

/// Looks for a ClientHello at the start of `stream`, a contiguous prefix of what the client sent.
///
/// `max` bounds the records that carry it, in bytes. For a stream that grows, there is [`HelloScan`].
pub fn peek(stream: &[u8], max: usize) -> Peek {
    HelloScan::default().peek(stream, max)
}

/// A [`peek`] that goes on where it stopped: a client may put each byte into a record of its own, and send each in a segment
/// of its own.
#[derive(Clone, Debug, Default)]
pub struct HelloScan {
    /// Bytes of whole records that were looked at.
    at: usize,
    /// Bytes of the message in them.
    collected: usize,
    /// The first ones.
    head: [u8; 4],
}

impl HelloScan {
    /// As [`peek`]. `stream` begins with what it was at the last call.
    pub fn peek(&mut self, stream: &[u8], max: usize) -> Peek {
        match find_message(self, stream, max) {
            Err(verdict) => verdict,
            Ok(flight_len) => match parse(&join_fragments(&stream[..flight_len])) {
                Some(hello) if hello.alpn.len() > MAX_PROTOCOLS => Peek::TooBig,
                Some(hello) => Peek::Complete { hello: Box::new(hello), flight_len },
                None => Peek::Malformed,
            },
        }
    }
}

/// Walks the records until they hold one whole handshake message; says how many bytes they take.
fn find_message(scan: &mut HelloScan, stream: &[u8], max: usize) -> Result<usize, Peek> {
    let incomplete = || Err(if stream.len() >= max { Peek::TooBig } else { Peek::Incomplete });
    let HelloScan { mut at, mut collected, mut head } = *scan;
    loop {
        let record = stream.get(at..).unwrap_or_default();
        // The record version is 0x0301 in a first flight, or anything 3.x: RFC 8446 §5.1 says to ignore it.
        match record {
            [] => return incomplete(),
            [HANDSHAKE] | [HANDSHAKE, 3, ..] => {}
            _ if at > 0 => return Err(Peek::Malformed),
            _ => return is_tls_to_some(record).map_or_else(incomplete, Err),
        }
        let Some(header) = record.get(..RECORD_HEADER) else { return incomplete() };
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // RFC 8446 §5.1: no empty fragments of handshake messages.
        if len == 0 || len > MAX_FRAGMENT {
            return Err(Peek::Malformed);
        }
        let end = (at + RECORD_HEADER + len).min(stream.len());
        let fragment = &stream[at + RECORD_HEADER..end];
        for (slot, byte) in head.iter_mut().skip(collected).zip(fragment) {
            *slot = *byte;
        }
        collected += fragment.len();
        if collected > 0 && head[0] != CLIENT_HELLO {
            return Err(Peek::Malformed);
        }
        if collected >= head.len() {
            let message = head.len()
                + usize::from(head[1]) * 65536
                + usize::from(u16::from_be_bytes([head[2], head[3]]));
            if message > max {
                return Err(Peek::TooBig);
            }
            if fragment.len() == len && collected >= message {
                let flight = at + RECORD_HEADER + len;
                // Nothing may follow a ClientHello in its last record (RFC 8446 §5.1: messages end at a key change).
                return if collected > message {
                    Err(Peek::Malformed)
                } else if flight > max {
                    Err(Peek::TooBig)
                } else {
                    Ok(flight)
                };
            }
        }
        if fragment.len() < len {
            return incomplete();
        }
        at += RECORD_HEADER + len;
        *scan = HelloScan { at, collected, head };
    }
}

/// What does not begin as a ClientHello does: [`Peek::Malformed`] where some server finds one in it all the same, or else [`Peek::NotTls`],
/// which policy may let pass. None: that takes more bytes.
fn is_tls_to_some(stream: &[u8]) -> Option<Peek> {
    match stream {
        // SSL 2's form of it (RFC 5246 §E.2): OpenSSL, GnuTLS. One of more than 16 KB is too long for them.
        [0x80..=0xbf, _, CLIENT_HELLO, 3, ..]
        // A record before it, empty or not: OpenSSL, GnuTLS.
        | [CHANGE_CIPHER_SPEC, 3, ..]
        // A warning before it, and a version that was never there: Go.
        | [ALERT, ..16, _, 0, 2, 1 | 2, ..]
        | [HANDSHAKE, ..16, _, _, _, CLIENT_HELLO, ..] => Some(Peek::Malformed),
        [0x80..=0xbf] | [0x80..=0xbf, _] | [0x80..=0xbf, _, CLIENT_HELLO] => None,
        [CHANGE_CIPHER_SPEC..=HANDSHAKE] => None,
        [ALERT | HANDSHAKE, ..16, rest @ ..] if rest.len() < 4 => None,
        _ => Some(Peek::NotTls),
    }
}

/// The handshake message without its record headers; `records` was checked by [`find_message`].
fn join_fragments(records: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(records.len());
    let mut rest = Reader::new(records);
    while let (Some(_type_and_version), Some(fragment)) = (rest.take(3), rest.vec16()) {
        message.extend_from_slice(fragment.rest());
    }
    message
}

fn parse(message: &[u8]) -> Option<ClientHello> {
    let mut r = Reader::new(message);
    let _type_and_length = (r.u8()?, r.u24()?);
    let mut hello = ClientHello { legacy_version: r.u16()?, ..ClientHello::default() };
    let _random = r.take(32)?;
    hello.session_id = r.vec8()?.rest().to_vec();
    hello.cipher_suites = r.vec16()?.into_u16s()?;
    let compression = r.vec8()?;
    if hello.session_id.len() > 32 || hello.cipher_suites.is_empty() || compression.is_empty() {
        return None;
    }
    // RFC 5246 §7.4.1.2: a ClientHello without extensions ends here.
    if r.is_empty() {
        return Some(hello);
    }
    let mut extensions = r.vec16()?;
    if !r.is_empty() {
        return None;
    }
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.vec16()?;
        hello.extensions.push(kind);
        parse_extension(&mut hello, kind, body)?;
    }
    // RFC 8446 §4.2: no type twice.
    let mut kinds = hello.extensions.clone();
    kinds.sort_unstable();
    kinds.windows(2).all(|w| w[0] != w[1]).then_some(hello)
}

fn parse_extension(hello: &mut ClientHello, kind: u16, mut body: Reader<'_>) -> Option<()> {
    match kind {
        extension::SERVER_NAME => hello.sni = Some(parse_server_name(&mut body)?),
        extension::SUPPORTED_GROUPS => hello.groups = body.vec16()?.into_u16s()?,
        extension::EC_POINT_FORMATS => hello.point_formats = body.vec8()?.rest().to_vec(),
        extension::SIGNATURE_ALGORITHMS => hello.signature_schemes = body.vec16()?.into_u16s()?,
        extension::SUPPORTED_VERSIONS => hello.versions = body.vec8()?.into_u16s()?,
        extension::ALPN => {
            let mut names = body.vec16()?;
            while !names.is_empty() {
                let name = names.vec8()?.rest();
                // RFC 7301 §3.1: no empty names.
                if name.is_empty() {
                    return None;
                }
                // One more than may be says that there are too many.
                if hello.alpn.len() <= MAX_PROTOCOLS {
                    hello.alpn.push(name.into());
                }
            }
        }
        // Values that are none (RFC 6066 §4, RFC 8449 §4) ask for nothing.
        extension::MAX_FRAGMENT_LENGTH => {
            hello.max_fragment_length =
                Some(body.u8()?).filter(|code| (1..=4).contains(code)).map(|n| 256 << n);
        }
        extension::RECORD_SIZE_LIMIT => {
            hello.record_size_limit = Some(body.u16()?).filter(|limit| *limit >= 64);
        }
        extension::KEY_SHARE => {
            let mut shares = body.vec16()?;
            while !shares.is_empty() {
                hello.key_shares.push(shares.u16()?);
                shares.vec16()?;
            }
        }
        _ => return Some(()),
    }
    body.is_empty().then_some(())
}

/// RFC 6066 §3: a list with one name, of type host_name, as other libraries have it. The name need not be one that the DNS or a certificate
/// could have: there are such hosts, and it is policy's to say what becomes of them. But a zero byte is the end to one reader and none to
/// another; servers refuse it.
fn parse_server_name(body: &mut Reader<'_>) -> Option<String> {
    let mut list = body.vec16()?;
    let kind = list.u8()?;
    let name = list.vec16()?.rest();
    let is_one = kind == HOST_NAME && list.is_empty();
    (is_one && !name.is_empty() && !name.contains(&0)).then(|| String::from_utf8_lossy(name).into_owned())
}

/// RFC 8701: `0x?A?A` with both bytes equal.
pub(super) fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// The TLS 1.2 suites in which the server signs with an ECDSA key, and with an RSA key.
const ECDHE_ECDSA: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];
const ECDHE_RSA: [u16; 3] = [0xc02f, 0xc030, 0xcca8];
/// Kinds of keys with their curves and signatures (RFC 8446 §4.2.3), in the order in which they are preferred.
const ECDSA: [(KeyType, u16, u16); 3] =
    [(KeyType::P256, 0x0017, 0x0403), (KeyType::P384, 0x0018, 0x0503), (KeyType::P521, 0x0019, 0x0603)];
/// `rsa_pss_rsae_*`, and `rsa_pkcs1_*`, which TLS 1.3 does not have for handshakes.
const RSA_PSS: [u16; 3] = [0x0804, 0x0805, 0x0806];
const RSA_PKCS1: [u16; 3] = [0x0401, 0x0501, 0x0601];
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

impl ClientHello {
    /// The client can speak TLS 1.3.
    pub fn offers_tls13(&self) -> bool {
        self.versions.contains(&TLS13)
    }

    /// The client can speak TLS 1.2. RFC 8446 §4.1.2: `legacy_version` counts only without `supported_versions`.
    pub fn offers_tls12(&self) -> bool {
        if self.versions.is_empty() { self.legacy_version >= TLS12 } else { self.versions.contains(&TLS12) }
    }

    /// The best kind of leaf key whose signatures the client can verify in a session of this version, and that this provider can
    /// make; none: there is none, as for a client that takes Ed25519 alone.
    ///
    /// RFC 5246 §7.4.1.4.1: without `signature_algorithms` a client means SHA-1 only, which nobody here signs with.
    pub(crate) fn leaf_key(&self, version: TlsVersion, provider: Provider) -> Option<KeyType> {
        let offers = |ours: &[u16], theirs: &[u16]| theirs.iter().any(|value| ours.contains(value));
        let is_tls13 = version == TlsVersion::Tls13;
        let ecdsa = ECDSA.into_iter().filter(|(kind, curve, scheme)| {
            kind.is_made_by(provider)
                && self.signature_schemes.contains(scheme)
                // RFC 8422 §5.1.1: in TLS 1.2 the group list also limits the curve of the certificate's key.
                && (is_tls13
                    || offers(&ECDHE_ECDSA, &self.cipher_suites)
                        && (self.groups.is_empty() || self.groups.contains(curve)))
        });
        let can_rsa = KeyType::Rsa2048.is_made_by(provider)
            && (offers(&RSA_PSS, &self.signature_schemes)
                || !is_tls13 && offers(&RSA_PKCS1, &self.signature_schemes))
            && (is_tls13 || offers(&ECDHE_RSA, &self.cipher_suites));
        ecdsa.map(|(kind, ..)| kind).next().or(can_rsa.then_some(KeyType::Rsa2048))
    }

    /// The client sends data before it has heard the server, or would have liked to.
    pub(super) fn offers_early_data(&self) -> bool {
        self.extensions.contains(&extension::EARLY_DATA)
    }

    /// Most plaintext that the client wants in a record of this version; none: as much as there may be. Nobody has promised it that, but
    /// its server may keep to it.
    pub(super) fn record_limit(&self, version: TlsVersion) -> Option<usize> {
        // RFC 8449 §5: where both are there, this one counts. TLS 1.3 counts the type of content.
        let by_size = self.record_size_limit.map(|limit| limit - u16::from(version == TlsVersion::Tls13));
        by_size.or(self.max_fragment_length).map(usize::from).filter(|limit| *limit < MAX_FRAGMENT)
    }

    /// The server_name extension is present.
    pub(super) fn has_server_name(&self) -> bool {
        self.extensions.contains(&extension::SERVER_NAME)
    }

    /// What policy and the log need of it.
    pub fn info(&self) -> HelloInfo {
        self.info_over('t')
    }

    /// Likewise, of one that came over QUIC.
    pub fn quic_info(&self) -> HelloInfo {
        self.info_over('q')
    }

    fn info_over(&self, protocol: char) -> HelloInfo {
        HelloInfo {
            sni: self.sni.clone(),
            alpn: self.alpn.clone(),
            ja3: ja::ja3(self),
            ja4: ja::ja4(self, protocol),
            offer: ja::offer(self),
            ech: self.offers_ech(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record for each byte, a look after each byte: every look begins at the last whole record.
    #[test]
    fn a_scan_goes_on_where_it_stopped() {
        let mut message = vec![1, 0, 0, 43, 3, 3];
        message.extend([7; 32]);
        message.extend([0, 0, 2, 0x13, 0x01, 1, 0, 0, 0]);
        let stream: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
        let mut scan = HelloScan::default();
        for len in 0..stream.len() {
            assert!(matches!(scan.peek(&stream[..len], 1000), Peek::Incomplete), "{len}");
            assert_eq!((scan.at, scan.collected), (len / 6 * 6, len / 6));
        }
        let Peek::Complete { hello, flight_len } = scan.peek(&stream, 1000) else { panic!("not complete") };
        assert_eq!((hello.cipher_suites.as_slice(), flight_len), (&[0x1301][..], stream.len()));
        assert!(matches!(scan.peek(&[], 1000), Peek::Incomplete), "a stream that shrank does no harm");
    }
}
