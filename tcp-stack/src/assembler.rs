//! Which bytes beyond RCV.NXT are there already.

use core::ops::Range;

use crate::options::SACK_BLOCKS;

/// Ranges of stream offsets that arrived ahead of a gap.
///
/// Sorted, not empty, not touching: `ranges[i].start < ranges[i].end < ranges[i + 1].start`; at most `max` of
/// them.
#[derive(Debug)]
pub(crate) struct Assembler {
    ranges: Vec<Held>,
    max: usize,
    /// Counts insertions, so that the latest ranges are known (RFC 2018 4).
    clock: u32,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    start: u64,
    end: u64,
    touched: u32,
}

/// A range was refused: it would have been one too many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyRanges;

impl Assembler {
    pub(crate) fn new(max: usize) -> Self {
        Assembler { ranges: Vec::new(), max, clock: 0 }
    }

    /// Bytes of memory taken.
    pub(crate) fn memory(&self) -> usize {
        let Self { ranges, max: _, clock: _ } = self;
        ranges.capacity() * size_of::<Held>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// End of the last range.
    pub(crate) fn end(&self) -> Option<u64> {
        self.ranges.last().map(|held| held.end)
    }

    /// Whether `range` could be inserted.
    pub(crate) fn has_room_for(&self, range: &Range<u64>) -> bool {
        self.ranges.len() < self.max || !self.touching(range).is_empty()
    }

    /// Adds `range`, which is not empty; ranges that overlap or touch it become one with it.
    pub(crate) fn insert(&mut self, range: Range<u64>) -> Result<(), TooManyRanges> {
        self.clock = self.clock.wrapping_add(1);
        let touching = self.touching(&range);
        let mut merged = Held { start: range.start, end: range.end, touched: self.clock };
        if touching.is_empty() {
            if self.ranges.len() >= self.max {
                return Err(TooManyRanges);
            }
            self.ranges.insert(touching.start, merged);
            return Ok(());
        }
        merged.start = merged.start.min(self.ranges[touching.start].start);
        merged.end = merged.end.max(self.ranges[touching.end - 1].end);
        self.ranges[touching.start] = merged;
        self.ranges.drain(touching.start + 1..touching.end);
        Ok(())
    }

    /// The parts of `range` that are held already, in order.
    pub(crate) fn held_within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.ranges[self.touching(&range)]
            .iter()
            .map(move |held| held.start.max(range.start)..held.end.min(range.end))
            .filter(|part| !part.is_empty())
    }

    /// If bytes are there from `at` on, forgets their range and returns its end.
    pub(crate) fn take_from(&mut self, at: u64) -> Option<u64> {
        let first = *self.ranges.first()?;
        if first.start > at {
            return None;
        }
        self.ranges.remove(0);
        Some(first.end)
    }

    /// The ranges touched last, latest first.
    pub(crate) fn latest(&self) -> [Option<Range<u64>>; SACK_BLOCKS] {
        let mut latest: [Option<Held>; SACK_BLOCKS] = [None; SACK_BLOCKS];
        for &held in &self.ranges {
            let mut candidate = Some(held);
            for slot in &mut latest {
                let age =
                    |held: Option<Held>| held.map_or(u32::MAX, |held| self.clock.wrapping_sub(held.touched));
                if age(candidate) < age(*slot) {
                    core::mem::swap(slot, &mut candidate);
                }
            }
        }
        latest.map(|held| held.map(|held| held.start..held.end))
    }

    /// Gives memory back if there is nothing to hold. Returns whether memory is still held.
    pub(crate) fn release(&mut self) -> bool {
        if self.ranges.is_empty() {
            self.ranges = Vec::new();
        }
        self.ranges.capacity() > 0
    }

    /// Indices of the ranges that overlap or touch `range`; if none, an empty range where it belongs.
    fn touching(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.ranges.partition_point(|held| held.end < range.start);
        let after = first + self.ranges[first..].partition_point(|held| held.start <= range.end);
        first..after
    }

    /// What must hold between calls.
    pub(crate) fn check(&self) -> bool {
        self.ranges.len() <= self.max
            && self.ranges.iter().all(|held| held.start < held.end)
            && self.ranges.windows(2).all(|pair| pair[0].end < pair[1].start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set_of_bytes(
            inserts in proptest::collection::vec((0u64..60, 1u64..12), 0..24),
            max in 1usize..6,
        ) {
            let mut assembler = Assembler::new(max);
            let mut bytes = [false; 80];
            for (start, len) in inserts {
                let range = start..start + len;
                let held: Vec<u64> = assembler.held_within(range.clone()).flatten().collect();
                let expected: Vec<u64> = range.clone().filter(|&i| bytes[i as usize]).collect();
                prop_assert_eq!(held, expected);
                let fits = assembler.has_room_for(&range);
                prop_assert_eq!(assembler.insert(range.clone()).is_ok(), fits);
                if fits {
                    range.clone().for_each(|i| bytes[i as usize] = true);
                    let latest = assembler.latest()[0].clone().unwrap_or_default();
                    prop_assert!(latest.start <= range.start && range.end <= latest.end);
                }
                prop_assert!(assembler.check());
            }
            let mut at = 0;
            while at < 80 {
                match assembler.take_from(at) {
                    Some(end) => {
                        prop_assert!((at..end).all(|i| bytes[i as usize]));
                        at = end;
                    }
                    None => {
                        prop_assert!(!bytes[at as usize]);
                        at += 1;
                    }
                }
            }
            prop_assert!(assembler.is_empty());
        }
    }

    #[test]
    fn the_latest_ranges_come_first() {
        let mut assembler = Assembler::new(8);
        for start in [10, 30, 50, 70, 90] {
            assembler.insert(start..start + 5).expect("five ranges fit in eight");
        }
        assembler.insert(35..37).expect("it touches a range");
        assert_eq!(assembler.latest(), [Some(30..37), Some(90..95), Some(70..75), Some(50..55)]);
    }
}
