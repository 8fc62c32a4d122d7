//! A segment as it arrives.

use core::fmt;

use smoltcp::wire::TCP_HEADER_LEN;

use crate::options::timestamps_alone;
use crate::{Options, Seq, Timestamps};

/// Bits of the flags.
const ACK: u8 = 1 << 4;
const PSH: u8 = 1 << 3;

/// The control bits, except ACK: a segment that acknowledges has [`Segment::ack`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, clippy::struct_excessive_bools, reason = "the bits have the names of RFC 9293 3.1")]
pub struct Flags {
    pub fin: bool,
    pub syn: bool,
    pub rst: bool,
    pub psh: bool,
    pub urg: bool,
    pub ece: bool,
    pub cwr: bool,
}

impl Flags {
    /// From the header's octet of them: its 14th.
    #[inline]
    pub fn from_bits(bits: u8) -> Self {
        let has = |bit: u8| bits & 1 << bit != 0;
        Flags { fin: has(0), syn: has(1), rst: has(2), psh: has(3), urg: has(5), ece: has(6), cwr: has(7) }
    }
}

/// A parsed TCP segment. Addresses and checksum were the caller's to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte of the payload, or of the SYN.
    pub seq: Seq,
    /// Acknowledgement number, where the ACK bit is set.
    pub ack: Option<Seq>,
    /// The other control bits.
    pub flags: Flags,
    /// Window field as on the wire, not scaled.
    pub window: u16,
    /// What was understood of the options.
    pub options: Options,
    /// The bytes carried.
    pub payload: &'a [u8],
}

/// Why bytes are not a TCP segment. The sender or the path is to blame; the segment is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Shorter than a header without options, or than the length that the header claims.
    Truncated,
    /// The header claims to be shorter than 20 bytes.
    HeaderLength,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::Truncated => "segment is shorter than its header",
            ParseError::HeaderLength => "header length is below 20 bytes",
        })
    }
}

impl core::error::Error for ParseError {}

impl<'a> Segment<'a> {
    /// Reads TCP header, options and payload; `bytes` ends where the IP payload ends.
    ///
    /// Odd but possible combinations of flags are not refused here: RFC 9293 says at its place what to do
    /// with each.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (header, rest) = bytes.split_first_chunk::<TCP_HEADER_LEN>().ok_or(ParseError::Truncated)?;
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
        let options = usize::from(header[12] >> 4) * 4;
        let options = options.checked_sub(header.len()).ok_or(ParseError::HeaderLength)?;
        let (options, payload) = rest.split_at_checked(options).ok_or(ParseError::Truncated)?;
        Ok(Segment {
            src_port: half(0),
            dst_port: half(2),
            seq: Seq(word(4)),
            ack: (header[13] & ACK != 0).then_some(Seq(word(8))),
            flags: Flags::from_bits(header[13]),
            window: half(14),
            options: Options::parse(options),
            payload,
        })
    }
}

/// A segment as nearly all are while data goes one way: ACK, perhaps PSH, and no option but timestamps. [`Connection::handle_plain`]
/// takes it where it is the next one.
///
/// [`Connection::handle_plain`]: crate::Connection::handle_plain
#[derive(Clone, Copy)]
pub struct PlainSegment<'a> {
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) window: u16,
    pub(crate) timestamps: Option<Timestamps>,
    pub(crate) payload: &'a [u8],
}

impl<'a> PlainSegment<'a> {
    /// Reads what [`Segment::parse`] reads; none where it is not such a segment.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<TCP_HEADER_LEN>()?;
        let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *header;
        let (timestamps, payload) = match (flags & !PSH, offset >> 4) {
            (ACK, 5) => (None, rest),
            (ACK, 8) => {
                let (options, payload) = rest.split_first_chunk::<12>()?;
                (Some(timestamps_alone(options)?), payload)
            }
            _ => return None,
        };
        Some(PlainSegment {
            seq: Seq(u32::from_be_bytes([s0, s1, s2, s3])),
            ack: Seq(u32::from_be_bytes([a0, a1, a2, a3])),
            window: u16::from_be_bytes([w0, w1]),
            timestamps,
            payload,
        })
    }

    /// A segment that has been parsed, if it is such a one, or has what changes as little: ECE, CWR, other options.
    #[inline]
    pub(crate) fn of(segment: &Segment<'a>) -> Option<Self> {
        let Segment { seq, ack: Some(ack), flags, window, options, payload, .. } = *segment else {
            return None;
        };
        let is_plain = !(flags.syn | flags.fin | flags.rst | flags.urg) && options.sack[0].is_none();
        is_plain.then_some(PlainSegment { seq, ack, window, timestamps: options.timestamps, payload })
    }

    /// Bytes of payload.
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }
}

impl fmt::Debug for Segment<'_> {
    /// Numbers only: payload never shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("seq", &self.seq)
            .field("len", &self.payload.len())
            .field("ack", &self.ack)
            .field("flags", &self.flags)
            .field("window", &self.window)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Segment<'_> {
    /// SEG.LEN of RFC 9293 3.3.1: payload plus one each for SYN and FIN.
    #[inline]
    pub fn seq_len(&self) -> u32 {
        // An IP packet holds less than 2^17 bytes, jumbograms aside, which no caller builds.
        self.payload.len() as u32 + u32::from(self.flags.syn) + u32::from(self.flags.fin)
    }

    /// The sequence number after the last one that this segment takes.
    #[inline]
    pub fn end(&self) -> Seq {
        self.seq + self.seq_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked() {
        let mut bytes = [0u8; 24];
        bytes[12] = 5 << 4;
        assert_eq!(Segment::parse(&bytes[..19]), Err(ParseError::Truncated));
        assert_eq!(Segment::parse(&bytes[..20]).map(|s| s.payload.len()), Ok(0));
        assert_eq!(Segment::parse(&bytes).map(|s| s.payload.len()), Ok(4));
        bytes[12] = 4 << 4;
        assert_eq!(Segment::parse(&bytes), Err(ParseError::HeaderLength));
        bytes[12] = 7 << 4;
        assert_eq!(Segment::parse(&bytes), Err(ParseError::Truncated));
    }

    #[test]
    fn payload_does_not_show() {
        let mut bytes = [0u8; 26];
        bytes[12] = 5 << 4;
        bytes[20..].copy_from_slice(b"secret");
        let shown = format!("{:?}", Segment::parse(&bytes).expect("lengths are right"));
        assert!(shown.contains("len: 6") && !shown.contains("115") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn all_flags_at_once_are_no_error() {
        let mut bytes = [0u8; 21];
        bytes[12] = 5 << 4;
        bytes[13] = 0xff;
        let segment = Segment::parse(&bytes).expect("lengths are right");
        assert!(segment.ack.is_some() && segment.flags.syn && segment.flags.fin && segment.flags.cwr);
        assert_eq!(segment.seq_len(), 3);
    }
}
