//! Packets: owned, never cloned, returned to their pool when dropped.

mod offload;
mod segment;
mod shared;

pub use self::offload::{Checksum, IpVersion, L4Checksum, TxRequest};
pub use self::shared::SharedMbuf;

use std::fmt;
use std::iter;
use std::mem;
use std::ptr::NonNull;

use dpdk_sys as ffi;

use self::segment::Segment;
use crate::mempool::Mempool;

/// A packet: a chain of one or more segments, owned as a whole.
///
/// ```text
/// buffer  |<- headroom ->|<---- data ---->|<- tailroom ->|     pkt_len = sum of the segments' data
///                        prepend/adj      append/trim          data() is the first segment's only
/// ```
///
/// A segment is *exclusive* if nobody else can see its buffer. Fresh and received ones are; those made by
/// [`SharedMbuf::slice`] are not. What would write to a buffer that is not exclusive returns `None`.
///
/// The bytes of a buffer are whatever the last packet left there, until something writes them.
#[repr(transparent)]
pub struct Mbuf {
    raw: NonNull<ffi::rte_mbuf>,
}

// SAFETY: a mbuf is not tied to a thread: its pool takes it back from any, and its reference count is atomic.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// # Safety
    ///
    /// `raw` is the head of a whole packet outside its pool, and the caller hands over its reference to it.
    pub(crate) const unsafe fn from_raw(raw: NonNull<ffi::rte_mbuf>) -> Self {
        Self { raw }
    }

    /// Gives up the packet without freeing it.
    pub(crate) const fn into_raw(self) -> NonNull<ffi::rte_mbuf> {
        let raw = self.raw;
        mem::forget(self);
        raw
    }

    const fn head(&self) -> Segment {
        // SAFETY: an `Mbuf` owns its packet, so it is outside its pool as long as `self` is borrowed.
        unsafe { Segment::new(self.raw) }
    }

    fn chain_of_segments(&self) -> impl Iterator<Item = Segment> {
        iter::successors(Some(self.head()), |segment| segment.next())
    }

    fn last(&self) -> Segment {
        let mut last = self.head();
        while let Some(next) = last.next() {
            last = next;
        }
        last
    }

    /// The first segment's data.
    pub fn data(&self) -> &[u8] {
        // SAFETY: lives as long as `self`; whoever can write it needs `&mut self`, or an exclusive segment,
        // which a shared one is not.
        unsafe { self.head().data() }
    }

    /// The first segment's data for writing; `None` if it is not exclusive.
    pub fn data_mut(&mut self) -> Option<&mut [u8]> {
        let head = self.head();
        // SAFETY: exclusive, and `&mut self` for as long as the slice lives; the whole data.
        head.is_exclusive().then(|| unsafe { head.data_mut(0, usize::from(head.data_len())) })
    }

    /// Has the first segment's data, its first `len` bytes at most, fetched into the cache: for a packet that is looked at soon.
    pub fn prefetch(&self, len: usize) {
        // SAFETY: owned, so its data is there; prefetching changes nothing.
        unsafe { ffi::shim_prefetch_data(self.raw.as_ptr(), len.min(u32::MAX as usize) as u32) }
    }

    /// Length of the whole packet in bytes.
    pub fn pkt_len(&self) -> usize {
        self.head().pkt_len() as usize
    }

    /// Number of segments, at least 1.
    pub fn nb_segs(&self) -> usize {
        usize::from(self.head().nb_segs())
    }

    /// The id of the port that received the packet; `u16::MAX` if none did.
    pub fn port(&self) -> u16 {
        self.head().port()
    }

    /// Bytes that [`prepend`](Self::prepend) can still add.
    pub fn headroom(&self) -> usize {
        self.head().headroom()
    }

    /// Bytes that [`append`](Self::append) can still add.
    pub fn tailroom(&self) -> usize {
        self.last().tailroom()
    }

    /// The data of each segment, in order.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: as in `data`: the chain is owned by `self`.
        self.chain_of_segments().map(|segment| unsafe { segment.data() })
    }

    /// Adds `len` bytes behind the data and returns them, to be overwritten; `None` if there is no room.
    pub fn append(&mut self, len: usize) -> Option<&mut [u8]> {
        let (head, last) = (self.head(), self.last());
        if len > last.tailroom() {
            return None;
        }
        let old = last.data_len();
        // len <= tailroom, so both sums stay below buf_len, a u16.
        last.set_data_len(old + len as u16);
        head.set_pkt_len(head.pkt_len() + len as u32);
        // SAFETY: there is tailroom, so the segment is exclusive; `&mut self`; the new data's last `len` bytes.
        Some(unsafe { last.data_mut(usize::from(old), len) })
    }

    /// Adds these bytes behind the data; `None`, and nothing is added, if there is no room.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Option<()> {
        self.append(bytes.len()).map(|room| room.copy_from_slice(bytes))
    }

    /// Adds `len` bytes in front of the data and returns them, to be overwritten; `None` if there is no room.
    pub fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        let head = self.head();
        if len > head.headroom() {
            return None;
        }
        // len <= data_off, so none of these leaves the buffer.
        head.set_data_off(head.data_off() - len as u16);
        head.set_data_len(head.data_len() + len as u16);
        head.set_pkt_len(head.pkt_len() + len as u32);
        // SAFETY: there is headroom, so the segment is exclusive; `&mut self`; the new data's first `len` bytes.
        Some(unsafe { head.data_mut(0, len) })
    }

    /// Removes `len` bytes from the front; `None`, and nothing changes, if the first segment has fewer.
    pub fn adj(&mut self, len: usize) -> Option<()> {
        let head = self.head();
        if len > usize::from(head.data_len()) {
            return None;
        }
        head.set_data_off(head.data_off() + len as u16);
        head.set_data_len(head.data_len() - len as u16);
        head.set_pkt_len(head.pkt_len() - len as u32);
        Some(())
    }

    /// Removes `len` bytes from the end; `None`, and nothing changes, if the last segment has fewer.
    pub fn trim(&mut self, len: usize) -> Option<()> {
        let (head, last) = (self.head(), self.last());
        if len > usize::from(last.data_len()) {
            return None;
        }
        last.set_data_len(last.data_len() - len as u16);
        head.set_pkt_len(head.pkt_len() - len as u32);
        Some(())
    }

    /// Makes the first segment's data `len` bytes long, whatever it was. `None`, and nothing changes, if the packet
    /// is a chain, or there is no room.
    pub fn set_len(&mut self, len: usize) -> Option<()> {
        if self.nb_segs() != 1 {
            return None;
        }
        match len.checked_sub(self.pkt_len()) {
            Some(more) => self.append(more).map(drop),
            None => self.trim(self.pkt_len() - len),
        }
    }

    /// Shortens the packet to `len` bytes. Segments that it no longer needs are freed.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.pkt_len() {
            return;
        }
        let head = self.head();
        let (mut last, mut before, mut kept) = (head, 0, 1);
        while let Some(next) = last.next().filter(|_| before + usize::from(last.data_len()) < len) {
            before += usize::from(last.data_len());
            last = next;
            kept += 1;
        }
        let rest = NonNull::new(last.next_ptr());
        last.set_next_ptr(std::ptr::null_mut());
        // `last` reaches to `len` or beyond: len - before <= data_len.
        last.set_data_len((len - before) as u16);
        head.set_nb_segs(kept);
        head.set_pkt_len(len as u32);
        if let Some(rest) = rest {
            // SAFETY: cut off above, so the only reference to the rest of the chain is this one.
            drop(unsafe { Self::from_raw(rest) });
        }
    }

    /// Puts `tail` behind this packet, without copying.
    ///
    /// # Errors
    ///
    /// Gives `tail` back if the chain would have more segments than DPDK counts (65535).
    pub fn chain(&mut self, tail: Self) -> Result<(), Self> {
        // SAFETY: two packets, both owned. On success the head owns the tail, which is therefore forgotten.
        if unsafe { ffi::shim_rte_pktmbuf_chain(self.raw.as_ptr(), tail.raw.as_ptr()) } != 0 {
            return Err(tail);
        }
        mem::forget(tail);
        Ok(())
    }

    /// Copies all data into the first segment. `None`, and nothing changes, if it lacks the room.
    pub fn linearize(&mut self) -> Option<()> {
        if self.nb_segs() == 1 {
            return Some(());
        }
        let head = self.head();
        if self.pkt_len() - usize::from(head.data_len()) > head.tailroom() {
            return None;
        }
        // SAFETY: owned; the first segment is exclusive, since it has tailroom, and that is enough, as DPDK checks too.
        (unsafe { ffi::shim_rte_pktmbuf_linearize(self.raw.as_ptr()) } == 0).then_some(())
    }

    /// A copy of `len` bytes from `offset` on, in exclusive mbufs of `pool`; a chain if one is too small. Metadata
    /// is copied too. `None` if the pool runs out or the packet is shorter.
    pub fn copy(&self, pool: &Mempool, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len)?;
        // An empty copy from the very end is one that DPDK would refuse.
        if end > self.pkt_len() || offset == self.pkt_len() {
            return None;
        }
        // SAFETY: an owned packet, a pool that lives; the range is inside the packet, whose length is a u32.
        let raw =
            unsafe { ffi::rte_pktmbuf_copy(self.raw.as_ptr(), pool.as_ptr(), offset as u32, len as u32) };
        // SAFETY: a new packet, ours alone.
        NonNull::new(raw).map(|raw| unsafe { Self::from_raw(raw) })
    }

    /// Copies bytes from `offset` on into `out`, across segments. Returns how many there were.
    pub fn read(&self, mut offset: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        for segment in self.segments() {
            let Some(from) = segment.get(offset..) else {
                offset -= segment.len();
                continue;
            };
            let n = from.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&from[..n]);
            done += n;
            offset = 0;
        }
        done
    }

    /// Turns a packet of one segment into one that can be referred to many times and no longer written.
    ///
    /// # Errors
    ///
    /// Gives the packet back if it is a chain, or its buffer is not its own (a slice, or a driver's external buffer).
    pub fn share(self) -> Result<SharedMbuf, Self> {
        if self.nb_segs() != 1 || !self.head().is_direct() || !self.head().is_exclusive() {
            return Err(self);
        }
        Ok(SharedMbuf::new(self))
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: owned, and gone after this. DPDK frees each segment, or gives up its reference to a shared one.
        unsafe { ffi::shim_rte_pktmbuf_free(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    /// Lengths only: what is in a packet may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("pkt_len", &self.pkt_len()).field("nb_segs", &self.nb_segs()).finish()
    }
}

#[cfg(test)]
mod tests {
    use dpdk_sys as ffi;

    use crate::{Eal, Mempool, MempoolConfig};

    /// Some drivers receive into buffers of their own. Ours here is a pretended one, since no virtual device does.
    #[test]
    fn an_external_buffer_is_written_by_its_only_user_and_never_shared() {
        let eal = Eal::init(&["--no-huge", "-m", "64", "--no-pci", "--no-shconf", "--no-telemetry"])
            .expect("starts");
        let config = MempoolConfig { mbufs: 7, cache: 0, ..MempoolConfig::default() };
        let pool = Mempool::new(&eal, "external", &config).expect("there is memory for a small pool");
        let mut mbuf = pool.alloc().expect("full pool");
        mbuf.append(10).expect("room");
        let head = mbuf.head();
        let flags = head.flags();
        for (users, writable) in [(1, true), (2, false)] {
            // A descriptor full of the number of users: DPDK's count among it, wherever it is.
            let descriptor = [users; 64];
            let shinfo = head.as_ptr().wrapping_byte_add(ffi::SHIM_MBUF_SHINFO as usize).cast::<*const u16>();
            // SAFETY: the offset is that of a pointer; it is put back before the packet is freed.
            let before = unsafe { shinfo.replace(descriptor.as_ptr()) };
            head.set_flags(flags | ffi::SHIM_MBUF_F_EXTERNAL);
            assert_eq!(mbuf.data_mut().is_some(), writable, "with {users} users");
            assert_eq!((mbuf.tailroom() > 0, mbuf.headroom() > 0), (writable, writable));
            mbuf = mbuf.share().expect_err("not its own buffer");
            head.set_flags(flags);
            // SAFETY: see above.
            unsafe { shinfo.write(before) };
        }
        assert!(mbuf.share().is_ok());
        assert_eq!(pool.in_use(), 0);
    }
}
