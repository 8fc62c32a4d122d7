//! Packets in a datagram, as far as they can be read without keys.

use crate::tls::wire::Reader;

/// RFC 9000, 17.2: in versions 1 and 2.
const MAX_ID: usize = 20;

/// A connection ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionId {
    bytes: [u8; MAX_ID],
    len: u8,
}

impl ConnectionId {
    fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_ID];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, len: id.len() as u8 })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A version that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// What kind of packet with a long header it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
}

/// A packet with a long header, of a version that can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongPacket<'a> {
    pub(super) kind: Kind,
    pub(super) version: Version,
    pub(super) destination: ConnectionId,
    pub(super) source: ConnectionId,
    /// All of it.
    pub(super) bytes: &'a [u8],
    /// Where its packet number begins.
    pub(super) number_at: usize,
}

/// What comes next in a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next<'a> {
    Long(LongPacket<'a>),
    /// A packet with a short header, which has no length: the rest of the datagram. Also what is no packet, and is passed over
    /// (RFC 9000, 12.2).
    Short,
    /// A version that nobody here knows, or a negotiation of versions: it has no form (RFC 8999).
    OtherVersion,
}

/// Takes the next packet off a datagram. None: it is at its end, or broken.
pub(super) fn next<'a>(datagram: &mut &'a [u8]) -> Option<Next<'a>> {
    let bytes = *datagram;
    let mut r = Reader::new(bytes);
    let first = r.u8()?;
    if first & 0x80 == 0 {
        *datagram = &[];
        return Some(Next::Short);
    }
    let version = u32::from_be_bytes(*r.take(4)?.first_chunk()?);
    let destination = r.vec8()?.rest();
    let source = r.vec8()?.rest();
    let (version, kinds) = match version {
        // RFC 9000, 17.2; RFC 9369, 3.2.
        1 => (Version::V1, [Kind::Initial, Kind::ZeroRtt, Kind::Handshake, Kind::Retry]),
        0x6b33_43cf => (Version::V2, [Kind::Retry, Kind::Initial, Kind::ZeroRtt, Kind::Handshake]),
        _ => {
            *datagram = &[];
            return Some(Next::OtherVersion);
        }
    };
    let kind = kinds[usize::from(first >> 4 & 3)];
    let (destination, source) = (ConnectionId::new(destination)?, ConnectionId::new(source)?);
    if kind == Kind::Initial {
        let token = varint(&mut r)?;
        r.take(usize::try_from(token).ok()?)?;
    }
    let (number_at, end) = match kind {
        Kind::Retry => (bytes.len(), bytes.len()),
        _ => {
            let len = usize::try_from(varint(&mut r)?).ok()?;
            let at = bytes.len() - r.rest().len();
            (at, at.checked_add(len)?)
        }
    };
    let (packet, rest) = bytes.split_at_checked(end)?;
    *datagram = rest;
    Some(Next::Long(LongPacket { kind, version, destination, source, bytes: packet, number_at }))
}

/// RFC 9000, 16.
pub(super) fn varint(r: &mut Reader<'_>) -> Option<u64> {
    let first = r.u8()?;
    let more = r.take((1 << (first >> 6)) - 1)?;
    Some(more.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
}
