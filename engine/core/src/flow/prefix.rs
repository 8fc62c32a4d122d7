//! The beginning of the client's stream, put together from segments that nobody has acknowledged yet.

use std::ops::Range;

/// Ranges that may wait behind a gap; a sender has its initial window in flight, ten segments (RFC 6928).
const MAX_RANGES: usize = 64;

/// What a segment did to the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It brought bytes that were not there.
    New,
    /// All its bytes were there already.
    Repeated,
    /// It lies outside of what the other end could take.
    Outside,
    /// It says other bytes than an earlier segment at the same place.
    Ambiguous,
    /// It reaches further than is held, or leaves more gaps than are kept.
    TooMuch,
}

/// Bytes from the start of the stream, with gaps.
pub(super) struct Prefix {
    bytes: Vec<u8>,
    /// What has been filled in: sorted, disjoint, not adjacent; `ranges.len() <= MAX_RANGES`.
    ranges: Vec<Range<usize>>,
    limit: usize,
}

impl Prefix {
    /// Holds at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), ranges: Vec::new(), limit }
    }

    /// The bytes before the first gap.
    pub(super) fn contiguous(&self) -> &[u8] {
        match self.ranges.first() {
            Some(first) if first.start == 0 => &self.bytes[..first.end],
            _ => &[],
        }
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { bytes, ranges, limit: _ } = self;
        bytes.capacity() + ranges.capacity() * size_of::<Range<usize>>()
    }

    /// Adds `data` at `offset`. Two readers of an ambiguous stream could see two ClientHellos, so it is told.
    pub(super) fn insert(&mut self, offset: usize, data: &[u8]) -> Inserted {
        let new = offset..offset + data.len();
        if new.end > self.limit {
            return Inserted::TooMuch;
        }
        for known in &self.ranges {
            let (from, to) = (known.start.max(new.start), known.end.min(new.end));
            if from < to && self.bytes[from..to] != data[from - offset..to - offset] {
                return Inserted::Ambiguous;
            }
            if known.start <= new.start && new.end <= known.end {
                return Inserted::Repeated;
            }
        }
        if self.bytes.len() < new.end {
            self.bytes.resize(new.end, 0);
        }
        self.bytes[new.clone()].copy_from_slice(data);
        self.merge(new)
    }

    fn merge(&mut self, mut new: Range<usize>) -> Inserted {
        let first = self.ranges.partition_point(|r| r.end < new.start);
        let last = self.ranges.partition_point(|r| r.start <= new.end);
        if let Some(touched) = self.ranges.get(first..last).filter(|t| !t.is_empty()) {
            new.start = new.start.min(touched[0].start);
            new.end = new.end.max(touched[touched.len() - 1].end);
        } else if self.ranges.len() >= MAX_RANGES {
            return Inserted::TooMuch;
        }
        self.ranges.splice(first..last, [new]);
        Inserted::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_segments_together_in_any_order() {
        let mut p = Prefix::new(100);
        assert_eq!(p.insert(3, b"def"), Inserted::New);
        assert_eq!(p.contiguous(), b"");
        assert_eq!(p.insert(8, b"ij"), Inserted::New);
        assert_eq!(p.insert(0, b"abcd"), Inserted::New);
        assert_eq!(p.contiguous(), b"abcdef");
        assert_eq!(p.insert(1, b"bcd"), Inserted::Repeated);
        assert_eq!(p.insert(5, b"fghi"), Inserted::New);
        assert_eq!(p.contiguous(), b"abcdefghij");
    }

    #[test]
    fn other_bytes_at_the_same_place_are_told() {
        let mut p = Prefix::new(100);
        p.insert(0, b"abc");
        p.insert(6, b"ghi");
        assert_eq!(p.insert(2, b"cdefgX"), Inserted::Ambiguous);
        assert_eq!(p.insert(0, b"abX"), Inserted::Ambiguous);
        assert_eq!(p.contiguous(), b"abc");
    }

    #[test]
    fn is_bounded() {
        let mut p = Prefix::new(1000);
        assert_eq!(p.insert(999, b"ab"), Inserted::TooMuch);
        for i in 0..MAX_RANGES {
            assert_eq!(p.insert(i * 2, b"x"), Inserted::New);
        }
        assert_eq!(p.insert(900, b"x"), Inserted::TooMuch);
        assert_eq!(p.insert(1, b"x"), Inserted::New);
    }

    proptest::proptest! {
        #[test]
        fn equals_the_stream(cuts in proptest::collection::vec((0usize..60, 1usize..20), 1..60)) {
            let stream: Vec<u8> = (0..80).collect();
            let mut p = Prefix::new(80);
            let mut have = [false; 80];
            for (at, len) in cuts {
                let fresh = have[at..at + len].iter().any(|h| !h);
                let inserted = p.insert(at, &stream[at..at + len]);
                proptest::prop_assert_eq!(inserted, if fresh { Inserted::New } else { Inserted::Repeated });
                have[at..at + len].fill(true);
                let n = have.iter().position(|h| !h).unwrap_or(80);
                proptest::prop_assert_eq!(p.contiguous(), &stream[..n]);
            }
        }
    }
}
