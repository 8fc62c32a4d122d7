//! A burst: the packets of one receive or transmit call, in a fixed array that the caller owns.

use std::fmt;
use std::mem::{self, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::slice;

use dpdk_sys as ffi;

use crate::mbuf::Mbuf;

/// Up to `N` packets, in order. Nothing is allocated. Packets that are left when it is dropped are freed.
///
/// It is a slice of [`Mbuf`]s as well.
pub struct Burst<const N: usize = 32> {
    /// `slots[..len]` are initialised.
    slots: [MaybeUninit<Mbuf>; N],
    /// `len <= N`
    len: usize,
}

impl<const N: usize> Burst<N> {
    /// An empty burst. `N` is at most 65535, as DPDK counts.
    pub const fn new() -> Self {
        const { assert!(N > 0 && N <= u16::MAX as usize, "DPDK counts a burst in 16 bits") }
        Self { slots: [const { MaybeUninit::uninit() }; N], len: 0 }
    }

    /// How many more packets fit.
    pub const fn room(&self) -> usize {
        N - self.len
    }

    /// Adds a packet at the end.
    ///
    /// # Errors
    ///
    /// Gives it back if the burst is full.
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        let Some(slot) = self.slots.get_mut(self.len) else { return Err(mbuf) };
        slot.write(mbuf);
        self.len += 1;
        Ok(())
    }

    /// Takes the last packet.
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the slot was within len, so initialised, and is not any more.
        Some(unsafe { self.slots[self.len].assume_init_read() })
    }

    /// Takes out the packet at `index`; those behind it move up. `None` if there is none.
    pub fn remove(&mut self, index: usize) -> Option<Mbuf> {
        if index >= self.len {
            return None;
        }
        // SAFETY: within len, so initialised; the slot is overwritten by the next or falls out of len.
        let mbuf = unsafe { self.slots[index].assume_init_read() };
        self.len -= 1;
        let from = self.slots[index..].as_mut_ptr();
        // SAFETY: both ranges are inside the array: index + 1 + (len - index) <= N, len being the new one.
        unsafe { ptr::copy(from.add(1), from, self.len - index) };
        Some(mbuf)
    }

    /// Takes all packets, first to last. Those not taken when the iterator is dropped are freed.
    pub fn drain(&mut self) -> Drain<'_, N> {
        // If the iterator is forgotten, packets leak, but none is freed twice.
        let len = mem::take(&mut self.len);
        Drain { burst: self, next: 0, len }
    }

    /// Frees all packets.
    pub fn clear(&mut self) {
        drop(self.drain());
    }

    /// Where DPDK puts packets that it hands over.
    pub(crate) fn free_slots(&mut self) -> (*mut *mut ffi::rte_mbuf, u16) {
        let room = self.room();
        // `Mbuf` is a transparent pointer to rte_mbuf; N fits a u16.
        (self.slots[self.len..].as_mut_ptr().cast(), room as u16)
    }

    /// The free slots' first `n` now hold packets.
    ///
    /// # Safety
    ///
    /// DPDK wrote `n <= room()` packets to [`free_slots`](Self::free_slots) and handed them over.
    pub(crate) unsafe fn filled(&mut self, n: u16) {
        self.len += usize::from(n);
    }

    /// The packets for DPDK to take.
    pub(crate) fn raw_parts(&mut self) -> (*mut *mut ffi::rte_mbuf, u16) {
        (self.slots.as_mut_ptr().cast(), self.len as u16)
    }

    /// The first `n` packets now belong to DPDK.
    ///
    /// # Safety
    ///
    /// DPDK took exactly these `n <= len()`.
    pub(crate) unsafe fn taken(&mut self, n: u16) {
        let n = usize::from(n);
        self.len -= n;
        let first = self.slots.as_mut_ptr();
        // SAFETY: both ranges are inside the array, n + (len - n) <= N.
        unsafe { ptr::copy(first.add(n), first, self.len) };
    }
}

impl<const N: usize> Default for Burst<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Burst<N> {
    type Target = [Mbuf];

    fn deref(&self) -> &[Mbuf] {
        // SAFETY: the first len slots are initialised, and MaybeUninit<Mbuf> is laid out as Mbuf.
        unsafe { slice::from_raw_parts(self.slots.as_ptr().cast(), self.len) }
    }
}

impl<const N: usize> DerefMut for Burst<N> {
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first len slots are initialised, and MaybeUninit<Mbuf> is laid out as Mbuf.
        unsafe { slice::from_raw_parts_mut(self.slots.as_mut_ptr().cast(), self.len) }
    }
}

impl<'a, const N: usize> IntoIterator for &'a Burst<N> {
    type Item = &'a Mbuf;
    type IntoIter = slice::Iter<'a, Mbuf>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, const N: usize> IntoIterator for &'a mut Burst<N> {
    type Item = &'a mut Mbuf;
    type IntoIter = slice::IterMut<'a, Mbuf>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<const N: usize> Drop for Burst<N> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<const N: usize> fmt::Debug for Burst<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Packets on their way out of a [`Burst`], first to last.
pub struct Drain<'a, const N: usize> {
    burst: &'a mut Burst<N>,
    /// `slots[next..len]` are initialised; `next <= len`.
    next: usize,
    len: usize,
}

impl<const N: usize> Iterator for Drain<'_, N> {
    type Item = Mbuf;

    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.len {
            return None;
        }
        let slot = &self.burst.slots[self.next];
        self.next += 1;
        // SAFETY: initialised, and behind `next` from now on.
        Some(unsafe { slot.assume_init_read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.len - self.next;
        (left, Some(left))
    }
}

impl<const N: usize> ExactSizeIterator for Drain<'_, N> {}

impl<const N: usize> Drop for Drain<'_, N> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl<const N: usize> fmt::Debug for Drain<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("left", &self.size_hint().0).finish()
    }
}
