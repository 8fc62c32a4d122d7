//! Sharing a buffer between packets: DPDK's reference counts and indirect mbufs.

use std::fmt;
use std::mem;
use std::ops::Range;
use std::ptr::NonNull;

use dpdk_sys as ffi;

use super::Mbuf;
use super::segment::Segment;

/// References to one buffer at the most. DPDK counts in 16 bits and does not notice an overflow; half of them are left
/// for threads that pass this check at the same moment.
const MAX_REFERENCES: u16 = u16::MAX / 2;

/// A read-only reference to an mbuf of one segment. It returns to its pool when the last reference is gone:
/// these, and the packets that [`slice`](Self::slice) made.
pub struct SharedMbuf {
    raw: NonNull<ffi::rte_mbuf>,
}

// SAFETY: the data is read-only while shared, and DPDK counts references atomically while there are two or more. It
// raises a count of one without an atomic operation, so one `SharedMbuf` must not be used by two threads at once: not
// `Sync`, which it is not, as `NonNull` is not. A thread that wants one gets its own from `try_clone`.
unsafe impl Send for SharedMbuf {}

impl SharedMbuf {
    /// `mbuf` is one segment, direct and exclusive. (To a buffer behind an indirect or external one, DPDK would count
    /// the slices' references apart from ours, and not atomically.)
    pub(super) fn new(mbuf: Mbuf) -> Self {
        Self { raw: mbuf.into_raw() }
    }

    const fn segment(&self) -> Segment {
        // SAFETY: this holds a reference, so the mbuf is outside its pool as long as `self` is borrowed.
        unsafe { Segment::new(self.raw) }
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        // SAFETY: lives as long as `self`; an mbuf with references besides an `Mbuf`'s own is not exclusive, so
        // nobody writes it.
        unsafe { self.segment().data() }
    }

    /// Number of references: `SharedMbuf`s and slices.
    pub fn references(&self) -> usize {
        usize::from(self.segment().refcnt())
    }

    /// One more reference; `None` if there are 32767, far more than a buffer has bytes to send twice.
    pub fn try_clone(&self) -> Option<Self> {
        if self.segment().refcnt() >= MAX_REFERENCES {
            return None;
        }
        // SAFETY: alive by our own reference; the count is far from overflowing. The new reference is the clone's.
        unsafe { ffi::shim_rte_mbuf_refcnt_update(self.raw.as_ptr(), 1) };
        Some(Self { raw: self.raw })
    }

    /// A packet whose data is this range of ours, without a copy. It holds a reference.
    ///
    /// The packet itself is `mbuf`, whose own buffer it does not need: a pool with `data_room: 0` will do. `None`, and `mbuf`
    /// is freed, if it is not one segment, direct and exclusive, if the range is outside the data, or if there are too many
    /// references.
    pub fn slice(&self, mbuf: Mbuf, range: Range<usize>) -> Option<Mbuf> {
        let len = range.end.checked_sub(range.start)?;
        if range.end > self.data().len() || self.segment().refcnt() >= MAX_REFERENCES {
            return None;
        }
        let own = mbuf.head();
        if !own.is_direct() || own.refcnt() != 1 || own.nb_segs() != 1 {
            return None;
        }
        // SAFETY: a direct mbuf with one reference, as was checked, and a live direct one to attach it to. DPDK counts the
        // reference in ours, and gives it up when the packet is freed.
        unsafe { ffi::shim_rte_pktmbuf_attach(mbuf.raw.as_ptr(), self.raw.as_ptr()) };
        let head = mbuf.head();
        // Attaching copied our flags as well; a packet to be sent starts with none.
        head.set_flags(ffi::SHIM_MBUF_F_INDIRECT);
        // range.end <= data_len, and data_off + data_len <= buf_len: all fit a u16.
        head.set_data_off(head.data_off() + range.start as u16);
        head.set_data_len(len as u16);
        head.set_pkt_len(len as u32);
        Some(mbuf)
    }

    /// The mbuf back for writing, if this is the only reference.
    ///
    /// # Errors
    ///
    /// Gives itself back while there are others.
    pub fn try_unwrap(self) -> Result<Mbuf, Self> {
        if self.segment().refcnt() != 1 {
            return Err(self);
        }
        let raw = self.raw;
        mem::forget(self);
        // SAFETY: the one reference passes from `self`, forgotten, to the `Mbuf`.
        Ok(unsafe { Mbuf::from_raw(raw) })
    }
}

impl Drop for SharedMbuf {
    fn drop(&mut self) {
        // SAFETY: gives up one reference, ours. A mbuf of one segment, so nothing else hangs on it.
        unsafe { ffi::shim_rte_pktmbuf_free(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for SharedMbuf {
    /// The length only: what is in it may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMbuf")
            .field("len", &self.data().len())
            .field("references", &self.references())
            .finish()
    }
}
