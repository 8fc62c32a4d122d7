//! Sets of lists, as bits.

use std::ops::{BitAnd, BitOr, Not};

/// Lists that there may be, of all kinds together.
pub const MAX_LISTS: usize = u128::BITS as usize;

/// The number of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListId(u8);

impl ListId {
    /// None above [`MAX_LISTS`].
    pub(super) fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|_| index < MAX_LISTS).map(Self)
    }

    pub(in crate::policy) fn index(self) -> usize {
        self.0.into()
    }
}

/// A set of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListMask(u128);

impl ListMask {
    /// Returns whether it was not in the set.
    pub(super) fn insert(&mut self, list: ListId) -> bool {
        let before = self.0;
        self.0 |= 1 << list.0;
        self.0 != before
    }

    /// No list is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a list is in it.
    pub fn has(self, list: ListId) -> bool {
        self.0 >> list.0 & 1 == 1
    }

    /// The lists in it, in their order.
    pub fn iter(self) -> impl Iterator<Item = ListId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            // At most 128, which is "none".
            ListId::new(next as usize)
        })
    }
}

impl BitOr for ListMask {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for ListMask {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for ListMask {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}
