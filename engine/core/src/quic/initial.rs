//! Initial packets of a client, opened: their keys follow from the first connection ID (RFC 9001, 5.2).

use rustls::SupportedCipherSuite;
use rustls::quic::{self, DirectionalKeys, Keys, Suite};
use rustls::{CipherSuite, Side};

use super::crypto_stream::{CryptoStream, Unreadable};
use super::packet::{ConnectionId, LongPacket, Version, varint};
use crate::tls::wire::Reader;
use crate::x509::Provider;

/// Of a ciphertext, for the protection of the header (RFC 9001, 5.4.2): it begins so many bytes behind the packet number's first.
const SAMPLE_AT: usize = 4;

/// Frames that an Initial packet may have (RFC 9000, 17.2.2).
mod frame {
    pub(super) const PADDING: u64 = 0x00;
    pub(super) const PING: u64 = 0x01;
    pub(super) const ACK: u64 = 0x02;
    pub(super) const ACK_ECN: u64 = 0x03;
    pub(super) const CRYPTO: u64 = 0x06;
    pub(super) const CONNECTION_CLOSE: u64 = 0x1c;
}

/// The cipher suite of Initial packets.
#[derive(Clone, Copy)]
pub struct InitialSuite(Suite);

impl InitialSuite {
    /// As a provider has it; none: it has not.
    pub fn new(provider: Provider) -> Option<Self> {
        let suites = provider.load().cipher_suites;
        let suite = suites.into_iter().find(|s| s.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256)?;
        let SupportedCipherSuite::Tls13(suite) = suite else { return None };
        suite.quic_suite().map(Self)
    }

    fn keys(self, version: Version, destination: &ConnectionId) -> Keys {
        let version = match version {
            Version::V1 => quic::Version::V1,
            Version::V2 => quic::Version::V2,
        };
        Keys::initial(version, self.0.suite, self.0.quic, destination.as_slice(), Side::Server)
    }
}

/// A connection that a client begins.
pub(super) struct Opening {
    version: Version,
    destination: ConnectionId,
    keys: DirectionalKeys,
    /// The highest packet number so far.
    largest: Option<u64>,
    stream: CryptoStream,
}

impl Opening {
    pub(super) fn new(suite: InitialSuite, packet: &LongPacket<'_>) -> Self {
        let LongPacket { version, destination, .. } = *packet;
        let keys = suite.keys(version, &destination).remote;
        Self { version, destination, keys, largest: None, stream: CryptoStream::default() }
    }

    /// The packet belongs to this connection.
    pub(super) fn is_of(&self, packet: &LongPacket<'_>) -> bool {
        self.destination == packet.destination && self.version == packet.version
    }

    /// The packet begins a connection at a server that knows of none with its destination: its keys follow from that.
    pub(super) fn is_begun_by(suite: InitialSuite, packet: &LongPacket<'_>) -> bool {
        Self::new(suite, packet).open(packet, &mut packet.bytes.to_vec()).is_ok()
    }

    /// What an Initial packet brings.
    pub(super) fn take(&mut self, packet: &LongPacket<'_>) -> Result<(), Unreadable> {
        let mut bytes = packet.bytes.to_vec();
        let frames = self.open(packet, &mut bytes)?;
        read_frames(&mut self.stream, frames)
    }

    /// The frames of an Initial packet, decrypted in `bytes`, a copy of it.
    fn open<'b>(&mut self, packet: &LongPacket<'_>, bytes: &'b mut [u8]) -> Result<&'b [u8], Unreadable> {
        let number_at = packet.number_at;
        let (header, protected) = bytes.split_at_mut_checked(number_at).ok_or(Unreadable)?;
        let [first, ..] = header else { return Err(Unreadable) };
        let sample_len = self.keys.header.sample_len();
        let (number, sampled) = protected.split_at_mut_checked(SAMPLE_AT).ok_or(Unreadable)?;
        let sample = sampled.get(..sample_len).ok_or(Unreadable)?;
        self.keys.header.decrypt_in_place(sample, first, number).map_err(|_| Unreadable)?;
        let number_len = usize::from(*first & 3) + 1;
        let number = &number[..number_len];
        let truncated = number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let number = full_number(self.largest, truncated, number_len);
        let (header, payload) = bytes.split_at_mut(number_at + number_len);
        let frames = self.keys.packet.decrypt_in_place(number, header, payload).map_err(|_| Unreadable)?;
        self.largest = self.largest.max(Some(number));
        Ok(frames)
    }

    /// The ClientHello, with its header, if all of it has come.
    pub(super) fn hello(&self) -> Result<Option<&[u8]>, Unreadable> {
        self.stream.hello()
    }

    /// Bytes of memory that it holds beside its own size; the keys' are a guess.
    pub(super) fn memory(&self) -> usize {
        const KEYS: usize = 1024;
        self.stream.memory() + KEYS
    }
}

/// RFC 9000, A.3. Whoever has had no packet expects 0.
fn full_number(largest: Option<u64>, truncated: u64, len: usize) -> u64 {
    let expected = largest.map_or(0, |largest| largest + 1);
    let window = 1u64 << (len * 8);
    let half = window / 2;
    let candidate = expected & !(window - 1) | truncated;
    if candidate + half <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected + half && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

fn read_frames(stream: &mut CryptoStream, frames: &[u8]) -> Result<(), Unreadable> {
    let mut r = Reader::new(frames);
    while !r.is_empty() {
        read_frame(stream, &mut r).ok_or(Unreadable)??;
    }
    Ok(())
}

/// None: it is cut off.
fn read_frame(stream: &mut CryptoStream, r: &mut Reader<'_>) -> Option<Result<(), Unreadable>> {
    match varint(r)? {
        frame::PADDING | frame::PING => {}
        frame::CRYPTO => {
            let (at, len) = (varint(r)?, usize::try_from(varint(r)?).ok()?);
            return Some(stream.insert(at, r.take(len)?));
        }
        kind @ (frame::ACK | frame::ACK_ECN) => {
            let (_largest, _delay, ranges, _first) = (varint(r)?, varint(r)?, varint(r)?, varint(r)?);
            // Each takes bytes, so the packet's end is theirs, too.
            for _ in 0..ranges {
                let (_gap, _length) = (varint(r)?, varint(r)?);
            }
            if kind == frame::ACK_ECN {
                let (_ect0, _ect1, _ce) = (varint(r)?, varint(r)?, varint(r)?);
            }
        }
        frame::CONNECTION_CLOSE => {
            let (_error, _frame, len) = (varint(r)?, varint(r)?, usize::try_from(varint(r)?).ok()?);
            r.take(len)?;
        }
        _ => return Some(Err(Unreadable)),
    }
    Some(Ok(()))
}
