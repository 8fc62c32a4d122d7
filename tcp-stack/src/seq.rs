//! Sequence numbers.

use core::ops::{Add, AddAssign, Sub};

/// A TCP sequence number: a place on a circle of 2^32.
///
/// It has no total order on purpose: "less" means nothing on a circle. [`Seq::before`] and its kin compare
/// two numbers that are known to lie within 2^31 of each other (RFC 9293 3.4), [`Seq::in_window`] needs no
/// such knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// Whether `self` lies before `other`.
    #[inline]
    pub const fn before(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether `self` lies after `other`.
    #[inline]
    pub const fn after(self, other: Seq) -> bool {
        other.before(self)
    }

    /// Whether `self` is `other` or lies before it.
    #[inline]
    pub const fn at_or_before(self, other: Seq) -> bool {
        !other.before(self)
    }

    /// Whether `self` is `other` or lies after it.
    #[inline]
    pub const fn at_or_after(self, other: Seq) -> bool {
        !self.before(other)
    }

    /// Whether `start <= self < start + len` on the circle.
    #[inline]
    pub const fn in_window(self, start: Seq, len: u32) -> bool {
        self.since(start) < len
    }

    /// Steps forward from `earlier` to `self`, in sequence numbers.
    #[inline]
    pub const fn since(self, earlier: Seq) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Steps forward from `earlier` to `self`, or 0 if `self` lies before it.
    #[inline]
    pub const fn since_or_zero(self, earlier: Seq) -> u32 {
        if self.before(earlier) { 0 } else { self.since(earlier) }
    }

    /// The later of two.
    #[inline]
    pub const fn later(self, other: Seq) -> Seq {
        if self.before(other) { other } else { self }
    }

    /// The earlier of two.
    #[inline]
    pub const fn earlier(self, other: Seq) -> Seq {
        if self.before(other) { self } else { other }
    }
}

impl Add<u32> for Seq {
    type Output = Seq;

    #[inline]
    fn add(self, steps: u32) -> Seq {
        Seq(self.0.wrapping_add(steps))
    }
}

impl AddAssign<u32> for Seq {
    #[inline]
    fn add_assign(&mut self, steps: u32) {
        *self = *self + steps;
    }
}

impl Sub<u32> for Seq {
    type Output = Seq;

    #[inline]
    fn sub(self, steps: u32) -> Seq {
        Seq(self.0.wrapping_sub(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_across_both_wraps() {
        for base in [0, 1, (1 << 31) - 2, 1 << 31, u32::MAX - 1, u32::MAX] {
            let here = Seq(base);
            let there = here + 3;
            assert!(here.before(there) && there.after(here), "at {base}");
            assert!(here.at_or_before(here) && here.at_or_after(here));
            assert!(!there.before(here) && !here.before(here));
            assert_eq!(there.since(here), 3);
            assert_eq!(here.since_or_zero(there), 0);
            assert_eq!(here.later(there), there);
            assert_eq!(here.earlier(there), here);
        }
    }

    #[test]
    fn a_window_includes_its_start_and_not_its_end() {
        let start = Seq(u32::MAX - 1);
        assert!(start.in_window(start, 4));
        assert!((start + 3).in_window(start, 4));
        assert!(!(start + 4).in_window(start, 4));
        assert!(!(start - 1).in_window(start, 4));
        assert!(!start.in_window(start, 0));
    }
}
