//! One `struct rte_mbuf`, field by field. All pointer arithmetic of this crate is here.

use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use dpdk_sys as ffi;

/// A live segment: `new` promises that the pointer stays valid, and not written by others, while this is used.
///
/// DPDK's invariant for every segment: `data_off + data_len <= buf_len`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment(NonNull<ffi::rte_mbuf>);

/// Plain fields: name, setter, type, offset.
macro_rules! fields {
    ($($get:ident $(, $set:ident)?: $type:ty = $offset:ident;)*) => {$(
        pub(super) fn $get(self) -> $type {
            // SAFETY: the offset is that of a field of this type, by the installed headers; `new` keeps it valid.
            unsafe { self.field::<$type>(ffi::$offset).read() }
        }
        $(pub(super) fn $set(self, value: $type) {
            // SAFETY: as for reading; callers hold the packet by `&mut` or by value.
            unsafe { self.field::<$type>(ffi::$offset).write(value) }
        })?
    )*};
}

impl Segment {
    /// # Safety
    ///
    /// `raw` is a mbuf outside its pool, and stays so while the segment and its copies are used.
    pub(super) const unsafe fn new(raw: NonNull<ffi::rte_mbuf>) -> Self {
        Self(raw)
    }

    pub(super) const fn as_ptr(self) -> *mut ffi::rte_mbuf {
        self.0.as_ptr()
    }

    const fn field<T>(self, offset: u32) -> *mut T {
        self.0.as_ptr().cast::<u8>().wrapping_add(offset as usize).cast()
    }

    fields! {
        buf_addr: *mut u8 = SHIM_MBUF_BUF_ADDR;
        buf_len: u16 = SHIM_MBUF_BUF_LEN;
        data_len, set_data_len: u16 = SHIM_MBUF_DATA_LEN;
        data_off, set_data_off: u16 = SHIM_MBUF_DATA_OFF;
        flags, set_flags: u64 = SHIM_MBUF_OL_FLAGS;
        hash: u32 = SHIM_MBUF_HASH_RSS;
        nb_segs, set_nb_segs: u16 = SHIM_MBUF_NB_SEGS;
        next_ptr, set_next_ptr: *mut ffi::rte_mbuf = SHIM_MBUF_NEXT;
        pkt_len, set_pkt_len: u32 = SHIM_MBUF_PKT_LEN;
        port: u16 = SHIM_MBUF_PORT;
        vlan_tci, set_vlan_tci: u16 = SHIM_MBUF_VLAN_TCI;
    }

    /// The segment behind this one in its packet.
    pub(super) fn next(self) -> Option<Self> {
        // SAFETY: a chain belongs to its head as a whole, so what keeps this segment keeps the next.
        NonNull::new(self.next_ptr()).map(|next| unsafe { Self::new(next) })
    }

    pub(super) fn refcnt(self) -> u16 {
        // SAFETY: DPDK changes the count atomically only (the shim refuses to compile without), so it is read so.
        // Acquire: who sees 1 also sees what former holders did with the data.
        unsafe { AtomicU16::from_ptr(self.field(ffi::SHIM_MBUF_REFCNT)) }.load(Ordering::Acquire)
    }

    /// Nobody else can read or write the buffer: it is this mbuf's own, or an external one without other users.
    pub(super) fn is_exclusive(self) -> bool {
        let attached = self.flags() & (ffi::SHIM_MBUF_F_INDIRECT | ffi::SHIM_MBUF_F_EXTERNAL);
        self.refcnt() == 1
            && match attached {
                0 => true,
                // SAFETY: the flag says that the mbuf has an external buffer's descriptor, which holds the count.
                ffi::SHIM_MBUF_F_EXTERNAL => unsafe {
                    ffi::shim_rte_mbuf_ext_refcnt_read(self.as_ptr()) == 1
                },
                _ => false,
            }
    }

    /// The buffer is the mbuf's own.
    pub(super) fn is_direct(self) -> bool {
        self.flags() & (ffi::SHIM_MBUF_F_INDIRECT | ffi::SHIM_MBUF_F_EXTERNAL) == 0
    }

    fn data_ptr(self) -> *mut u8 {
        self.buf_addr().wrapping_add(usize::from(self.data_off()))
    }

    /// # Safety
    ///
    /// Nobody writes the data during `'a`, and the segment lives that long.
    pub(super) unsafe fn data<'a>(self) -> &'a [u8] {
        if self.data_len() == 0 {
            // The buffer of a pool without data room may be null.
            return &[];
        }
        // SAFETY: data_off + data_len <= buf_len; initialised, since the pool's memory came zeroed from the kernel.
        unsafe { slice::from_raw_parts(self.data_ptr(), usize::from(self.data_len())) }
    }

    /// # Safety
    ///
    /// The segment is exclusive, lives during `'a`, and nobody else touches it meanwhile.
    /// `offset + len <= data_len`.
    pub(super) unsafe fn data_mut<'a>(self, offset: usize, len: usize) -> &'a mut [u8] {
        if len == 0 {
            return &mut [];
        }
        // SAFETY: inside the data, see `data`; exclusive by the caller's promise.
        unsafe { slice::from_raw_parts_mut(self.data_ptr().wrapping_add(offset), len) }
    }

    /// Bytes that can be added in front; 0 if the buffer is shared.
    pub(super) fn headroom(self) -> usize {
        if self.is_exclusive() { usize::from(self.data_off()) } else { 0 }
    }

    /// Bytes that can be added behind; 0 if the buffer is shared.
    pub(super) fn tailroom(self) -> usize {
        if !self.is_exclusive() {
            return 0;
        }
        usize::from(self.buf_len()) - usize::from(self.data_off()) - usize::from(self.data_len())
    }
}
