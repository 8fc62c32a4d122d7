//! Received bytes: those in order as one slice, those ahead of a gap already at their final place.

use core::ops::Range;

use crate::assembler::Assembler;
use crate::options::SACK_BLOCKS;

/// Least memory that is taken at once.
const MIN_CAPACITY: usize = 2048;

/// ```text
///  bytes:   |<- consumed ->|<--- in order --->|<- gap ->|<- held ->|<- gap ->|<- held ->|
///           0            head               tail                                  bytes.len()
///                                         = RCV.NXT
/// ```
/// `head <= tail <= bytes.len()`, and `bytes.len() == tail` unless something is held ahead of a gap.
///
/// A byte is copied once, on arrival, to its place; when the last gap before it is filled only `tail` moves.
/// Consumed room is won back by moving what is left, but only when that is no more than what was consumed, so
/// that the moves cost O(1) per byte; with a quarter to grow, the buffer is never larger than two and a half
/// times what may be held.
pub(crate) struct RecvBuffer {
    bytes: Vec<u8>,
    head: usize,
    tail: usize,
    /// Stream offset of `tail`.
    next: u64,
    assembler: Assembler,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes by which the in-order part grew.
    pub(crate) delivered: usize,
    /// The first of the bytes that were there already, ahead of a gap: places in what was written.
    pub(crate) overlap: Option<Range<usize>>,
    /// Some of the bytes were there already with other values.
    pub(crate) conflict: bool,
    /// Bytes that were copied for it: to their place, and what had to move.
    pub(crate) copied: usize,
}

/// The bytes were not kept: too many ranges are held already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl RecvBuffer {
    pub(crate) fn new(max_ranges: usize) -> Self {
        RecvBuffer { bytes: Vec::new(), head: 0, tail: 0, next: 0, assembler: Assembler::new(max_ranges) }
    }

    /// The bytes in order, not consumed.
    pub(crate) fn readable(&self) -> &[u8] {
        &self.bytes[self.head..self.tail]
    }

    /// Number of bytes in order, not consumed.
    pub(crate) fn len(&self) -> usize {
        self.tail - self.head
    }

    /// Whether something is held ahead of a gap.
    pub(crate) fn has_gap(&self) -> bool {
        !self.assembler.is_empty()
    }

    /// How far beyond RCV.NXT the last held byte ends.
    pub(crate) fn held_end(&self) -> Option<u32> {
        self.assembler.end().map(|end| (end - self.next) as u32)
    }

    /// The ranges that arrived last, in bytes beyond RCV.NXT, latest first.
    pub(crate) fn latest_held(&self) -> [Option<Range<u32>>; SACK_BLOCKS] {
        let next = self.next;
        self.assembler
            .latest()
            .map(|held| held.map(|held| (held.start - next) as u32..(held.end - next) as u32))
    }

    /// Puts `data`, which is not empty, `ahead` bytes beyond RCV.NXT. Bytes that are held already stay as
    /// they are: what was received first wins, so that nobody can change a byte after the fact. The caller
    /// bounds `ahead + data.len()`.
    #[inline]
    pub(crate) fn write(&mut self, ahead: usize, data: &[u8]) -> Result<Written, NoRoom> {
        if ahead == 0 && self.assembler.is_empty() {
            let copied = self.append(data);
            return Ok(Written { delivered: data.len(), overlap: None, conflict: false, copied });
        }
        self.write_around_gaps(ahead, data)
    }

    /// Puts `data` at RCV.NXT, where nothing is held ahead of a gap. Returns how many bytes were copied for it.
    #[inline]
    pub(crate) fn append(&mut self, data: &[u8]) -> usize {
        debug_assert!(!self.has_gap(), "bytes are held where these would lie");
        let moved = self.make_room(data.len());
        self.bytes.extend_from_slice(data);
        self.advance(data.len());
        moved + data.len()
    }

    /// Not inlined, so that what it returns is not fetched from memory in the other case, too: that would wait for all of the
    /// copied bytes to be stored.
    #[inline(never)]
    fn write_around_gaps(&mut self, ahead: usize, data: &[u8]) -> Result<Written, NoRoom> {
        let start = self.next + ahead as u64;
        let range = start..start + data.len() as u64;
        // In-order bytes need no range: they are delivered at once.
        if ahead > 0 && !self.assembler.has_room_for(&range) {
            return Err(NoRoom);
        }
        let copied = self.make_room(ahead + data.len()) + data.len();
        let end = self.tail + ahead + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let (overlap, conflict) = self.fill_gaps(range.clone(), data);
        let mut delivered = 0;
        if ahead > 0 {
            self.assembler.insert(range).map_err(|_| NoRoom)?;
        } else {
            let mut end = range.end;
            while let Some(held_end) = self.assembler.take_from(end) {
                end = end.max(held_end);
            }
            delivered = (end - self.next) as usize;
            self.advance(delivered);
        }
        Ok(Written { delivered, overlap, conflict, copied })
    }

    /// Forgets the first `bytes` bytes in order, at most `len()`.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.head = (self.head + bytes).min(self.tail);
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
            self.tail = 0;
        }
    }

    /// Forgets what is held ahead of a gap.
    pub(crate) fn drop_held(&mut self) {
        self.bytes.truncate(self.tail);
        while self.assembler.take_from(u64::MAX).is_some() {}
        self.consume(0);
    }

    /// Gives memory back if there is nothing to hold. Returns whether memory is still held.
    pub(crate) fn release(&mut self) -> bool {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        self.assembler.release() | self.has_memory()
    }

    pub(crate) fn has_memory(&self) -> bool {
        self.memory() > 0
    }

    /// Bytes of memory taken.
    pub(crate) fn memory(&self) -> usize {
        let Self { bytes, head: _, tail: _, next: _, assembler } = self;
        bytes.capacity() + assembler.memory()
    }

    /// What must hold between calls.
    pub(crate) fn check(&self) -> bool {
        self.head <= self.tail
            && self.tail <= self.bytes.len()
            && self.assembler.check()
            && self.assembler.end().map_or(self.tail, |end| self.tail + (end - self.next) as usize)
                == self.bytes.len()
    }

    fn advance(&mut self, bytes: usize) {
        self.tail += bytes;
        self.next += bytes as u64;
    }

    /// Copies those parts of `data` that are not held. Returns the first part that was, and whether any such part
    /// differed.
    fn fill_gaps(&mut self, range: Range<u64>, data: &[u8]) -> (Option<Range<usize>>, bool) {
        let base = self.tail + (range.start - self.next) as usize;
        let (mut overlap, mut conflict, mut done) = (None, false, 0);
        for held in self.assembler.held_within(range.clone()) {
            let from = (held.start - range.start) as usize;
            let to = (held.end - range.start) as usize;
            self.bytes[base + done..base + from].copy_from_slice(&data[done..from]);
            overlap.get_or_insert(from..to);
            conflict |= self.bytes[base + from..base + to] != data[from..to];
            done = to;
        }
        self.bytes[base + done..base + data.len()].copy_from_slice(&data[done..]);
        (overlap, conflict)
    }

    /// Makes sure that `beyond` bytes beyond `tail` need no further memory. Returns how many bytes that moved.
    #[inline]
    fn make_room(&mut self, beyond: usize) -> usize {
        if self.tail + beyond <= self.bytes.capacity() { 0 } else { self.win_room(beyond) }
    }

    /// Not inlined: what is seldom needed.
    #[inline(never)]
    fn win_room(&mut self, beyond: usize) -> usize {
        let mut moved = 0;
        let live = self.bytes.len() - self.head;
        if self.head > 0 && self.head >= live {
            self.bytes.copy_within(self.head.., 0);
            self.bytes.truncate(live);
            self.tail -= self.head;
            self.head = 0;
            moved = live;
        }
        let needed = self.tail + beyond;
        if needed > self.bytes.capacity() {
            let capacity = (needed + needed / 4).max(MIN_CAPACITY);
            moved += self.bytes.len();
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_in_place_and_the_first_bytes_win() {
        let mut buffer = RecvBuffer::new(4);
        assert_eq!(
            buffer.write(3, b"DE"),
            Ok(Written { delivered: 0, overlap: None, conflict: false, copied: 2 })
        );
        assert_eq!(
            buffer.write(2, b"cxx"),
            Ok(Written { delivered: 0, overlap: Some(1..3), conflict: true, copied: 3 })
        );
        assert_eq!(buffer.readable(), b"");
        assert_eq!(
            buffer.write(0, b"abcDEf"),
            Ok(Written { delivered: 6, overlap: Some(2..5), conflict: false, copied: 6 })
        );
        assert_eq!(buffer.readable(), b"abcDEf");
        assert!(!buffer.has_gap() && buffer.check());
        buffer.consume(2);
        assert_eq!(buffer.write(0, b"g").map(|w| w.delivered), Ok(1));
        assert_eq!(buffer.readable(), b"cDEfg");
        buffer.consume(99);
        assert_eq!(buffer.len(), 0);
        assert!(!buffer.release());
    }

    #[test]
    fn ranges_are_bounded_but_the_missing_bytes_always_fit() {
        let mut buffer = RecvBuffer::new(2);
        buffer.write(2, b"c").expect("first range");
        buffer.write(4, b"e").expect("second range");
        assert_eq!(buffer.write(6, b"g"), Err(NoRoom));
        assert!(buffer.check());
        assert_eq!(buffer.write(0, b"a").map(|w| w.delivered), Ok(1));
        assert_eq!(buffer.write(0, b"b").map(|w| w.delivered), Ok(2));
        assert_eq!(buffer.readable(), b"abc");
        assert_eq!(buffer.held_end(), Some(2));
        buffer.drop_held();
        assert!(buffer.check() && !buffer.has_gap());
    }

    /// Enough to fill the buffer and go round; Miri takes a minute for ten thousand.
    const WRITES: usize = if cfg!(miri) { 500 } else { 10_000 };

    #[test]
    fn a_byte_is_moved_twice_on_average_at_most() {
        let mut buffer = RecvBuffer::new(4);
        let (mut written, mut copied) = (0, 0);
        for _ in 0..WRITES {
            copied += buffer.write(0, &[7; 100]).expect("in order").copied;
            written += 100;
            if buffer.len() > 5_000 {
                buffer.consume(100);
            }
        }
        assert!((written..=3 * written).contains(&copied), "{copied} for {written}");
        // Somebody who takes what comes at once has it copied once.
        let before = buffer.len();
        buffer.consume(before);
        for _ in 0..100 {
            assert_eq!(buffer.write(0, &[7; 100]).map(|written| written.copied), Ok(100));
            buffer.consume(100);
        }
    }

    #[test]
    fn memory_stays_within_its_bound() {
        let mut buffer = RecvBuffer::new(4);
        for _ in 0..WRITES {
            buffer.write(0, &[7; 100]).expect("in order");
            if buffer.len() > 5_000 {
                buffer.consume(100);
            }
        }
        assert!(buffer.memory() <= 5_100 * 5 / 2, "{}", buffer.memory());
    }
}
