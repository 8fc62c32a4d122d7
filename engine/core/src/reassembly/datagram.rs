//! One packet that comes in fragments, while they come.

use tcp_stack::Instant;

use crate::packet::Fragment;
use crate::port::Frame;
use crate::reason::PacketDrop;

/// Fragments of one packet at most. The largest packet there is needs 52 where the path carries 1280 bytes.
pub const MAX_PIECES: usize = 64;
/// A TCP header without options.
const TCP_HEADER: usize = 20;

/// A fragment that is held.
pub struct Piece<F> {
    /// As it came.
    pub frame: F,
    /// Its place in the packet's data, `start..end`.
    pub(super) start: u32,
    pub(super) end: u32,
    more: bool,
    /// Which one of the packet's it was, to come.
    pub(super) arrived: u8,
    /// See [`Fragment`].
    pub(super) l3: u16,
    pub(super) headers_end: u16,
    pub(super) next_header: u16,
    pub(super) data: u16,
}

impl<F: Frame> Piece<F> {
    pub(super) fn new(fragment: &Fragment, frame: F) -> Self {
        let start = fragment.offset as u32;
        // Frames are shorter than 64 KB: an IP packet and what is before it.
        Self {
            frame,
            start,
            end: start + (fragment.end - fragment.data) as u32,
            more: fragment.more,
            arrived: 0,
            l3: fragment.l3 as u16,
            headers_end: fragment.headers_end as u16,
            next_header: fragment.next_header as u16,
            data: fragment.data as u16,
        }
    }

    /// What it brings.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.frame.data()[usize::from(self.data)..][..(self.end - self.start) as usize]
    }

    /// The length of the IP packet that it came in.
    pub(super) fn packet_len(&self) -> usize {
        usize::from(self.data - self.l3) + (self.end - self.start) as usize
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.start, self.end, self.more) == (other.start, other.end, other.more)
            && self.bytes() == other.bytes()
    }

    /// It holds the TCP header with its options.
    fn has_tcp_header(&self) -> bool {
        let bytes = self.bytes();
        let len = bytes.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        (TCP_HEADER..=bytes.len()).contains(&len)
    }
}

/// What is done with a packet's fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Held: the first one, which has the ports, has not come.
    Waiting,
    /// Held until all are there.
    Assembling,
    /// Forwarded.
    Passing,
    /// Dropped.
    Refused(PacketDrop),
}

/// What became of a fragment that is to be held.
pub(super) enum Added {
    New,
    Repeated,
    /// The whole packet is refused.
    Refused(PacketDrop),
}

/// A packet, as far as it has come.
pub(super) struct Datagram<F> {
    pub(super) since: Instant,
    pub(super) state: State,
    /// Held ones, by their place; they do not overlap.
    pub(super) pieces: Vec<Piece<F>>,
    /// Length of the packet's data, when the last fragment has come.
    end: Option<u32>,
    /// Bytes that have come.
    bytes: u32,
}

impl<F: Frame> Datagram<F> {
    pub(super) fn new(since: Instant, pieces: Vec<Piece<F>>) -> Self {
        Self { since, state: State::Waiting, pieces, end: None, bytes: 0 }
    }

    /// All of it has come, and nothing twice.
    pub(super) fn is_whole(&self) -> bool {
        self.end == Some(self.bytes)
    }

    /// Notes a piece that is not held.
    pub(super) fn count(&mut self, piece: &Piece<F>) {
        self.bytes = self.bytes.saturating_add(piece.end - piece.start);
        if !piece.more {
            self.end = Some(piece.end);
        }
    }

    /// Puts a piece in its place.
    pub(super) fn add(&mut self, mut piece: Piece<F>) -> Added {
        if piece.start == 0 && !piece.has_tcp_header() {
            return Added::Refused(PacketDrop::FragmentTiny);
        }
        let at = self.pieces.partition_point(|known| known.start < piece.start);
        let (before, after) = (at.checked_sub(1).and_then(|n| self.pieces.get(n)), self.pieces.get(at));
        if after.is_some_and(|after| after.is_same(&piece)) {
            return Added::Repeated;
        }
        let overlaps = before.is_some_and(|before| before.end > piece.start)
            || after.is_some_and(|after| after.start < piece.end);
        let ends_elsewhere =
            self.end.is_some_and(|end| piece.end > end || !piece.more) || (!piece.more && after.is_some());
        if overlaps || ends_elsewhere {
            return Added::Refused(PacketDrop::FragmentOverlap);
        }
        if self.pieces.len() >= MAX_PIECES {
            return Added::Refused(PacketDrop::FragmentTooMany);
        }
        self.count(&piece);
        piece.arrived = self.pieces.len() as u8;
        self.pieces.insert(at, piece);
        Added::New
    }
}
