//! Mempools: where mbufs come from, and where they return when they are dropped.

use std::ffi::CStr;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use dpdk_sys as ffi;

use crate::burst::Burst;
use crate::eal::{Eal, Runtime};
use crate::errno::{Errno, Error, c_string};
use crate::mbuf::Mbuf;

/// Room that a fresh mbuf keeps free in front of its data, in bytes; less if its buffer is smaller.
pub const HEADROOM: u16 = ffi::RTE_PKTMBUF_HEADROOM as u16;

/// The longest frame that net_af_xdp receives into an mbuf of a pool [for it](MempoolConfig::umem): what a chunk of 4,096 bytes leaves behind
/// the headers of mempool and mbuf, our headroom and the kernel's.
pub const UMEM_FRAME: u16 = UMEM_ROOM - HEADROOM - ffi::SHIM_XDP_PACKET_HEADROOM as u16;
const UMEM_ROOM: u16 = (ffi::SHIM_UMEM_CHUNK - UMEM_OVERHEAD) as u16;
/// Header of an element, and mbuf. A DPDK that needs more refuses such pools.
const UMEM_OVERHEAD: u32 = 64 + 128;

/// The size of a pool.
#[derive(Clone, Debug)]
pub struct MempoolConfig {
    /// Number of mbufs. Best for memory is a power of two minus one.
    pub mbufs: u32,
    /// Mbufs that each lcore may keep for itself: 0 to 512, and at most two thirds of `mbufs`.
    pub cache: u32,
    /// Size of an mbuf's buffer in bytes, [`HEADROOM`] included. 0 for a pool of mbufs that only point into others
    /// (see [`SharedMbuf::slice`](crate::SharedMbuf::slice)).
    pub data_room: u16,
    /// NUMA node; `None` for any.
    pub socket: Option<u16>,
    /// Chunks of 4,096 bytes without a gap, one for each mbuf whatever `data_room` says: net_af_xdp shares them with the kernel (UMEM), and
    /// loses frames in pools of any other shape.
    pub umem: bool,
}

impl Default for MempoolConfig {
    /// 8191 mbufs that hold a full Ethernet frame, 256 in each lcore's cache, about 19 MB.
    fn default() -> Self {
        Self { mbufs: 8191, cache: 256, data_room: 2048 + HEADROOM, socket: None, umem: false }
    }
}

/// A pool of mbufs, for all threads. A clone is another handle to the same pool.
///
/// A pool lives until EAL is cleaned up, whatever happens to its handles: no mbuf can outlive it, and returning
/// an mbuf needs no reference count. So make pools at the start, not in the course of the work.
#[derive(Clone)]
pub struct Mempool {
    raw: NonNull<ffi::rte_mempool>,
    name: Arc<str>,
    data_room: u16,
    _runtime: Arc<Runtime>,
}

// SAFETY: a mempool of DPDK is made for concurrent use: its ring is multi-producer and multi-consumer (nothing here asks
// for the single-threaded variants), and a cache belongs to one lcore, that is to one thread.
unsafe impl Send for Mempool {}
// SAFETY: see above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool. The name (25 bytes at most) is unique in the process.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: not enough memory, a name that exists or is too long, a cache that is too large.
    pub fn new(eal: &Eal, name: &str, config: &MempoolConfig) -> Result<Self, Error> {
        const ANY_SOCKET: i32 = -1;
        const PRIVATE_SIZE: u16 = 0;
        /// What came back last is given out first: its memory is still in a cache. DPDK's default is a ring, which goes round all
        /// of a pool's memory.
        const LAST_FIRST: &CStr = c"stack";
        let c_name = c_string(name)?;
        let socket = config.socket.map_or(ANY_SOCKET, i32::from);
        let _control = eal.runtime().control();
        let (name_of, ops) = (c_name.as_ptr(), LAST_FIRST.as_ptr());
        let MempoolConfig { mbufs, cache, umem, .. } = *config;
        let data_room = if umem { UMEM_ROOM } else { config.data_room };
        // SAFETY: EAL is initialised, since there is an `Eal`; the names are terminated strings that DPDK copies.
        let (call, raw) = unsafe {
            if umem {
                (
                    "rte_mempool_populate_virt",
                    ffi::shim_umem_pool(name_of, mbufs, cache, data_room, socket, ops),
                )
            } else {
                let create = ffi::rte_pktmbuf_pool_create_by_ops;
                (
                    "rte_pktmbuf_pool_create_by_ops",
                    create(name_of, mbufs, cache, PRIVATE_SIZE, data_room, socket, ops),
                )
            }
        };
        let raw = NonNull::new(raw).ok_or_else(|| Error::call(call, name, Errno::last()))?;
        eal.runtime().adopt_pool(raw);
        Ok(Self { raw, name: name.into(), data_room, _runtime: Arc::clone(eal.runtime()) })
    }

    /// An empty mbuf; `None` if all are out.
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives, since this handle holds the runtime.
        let raw = NonNull::new(unsafe { ffi::shim_rte_pktmbuf_alloc(self.raw.as_ptr()) })?;
        // SAFETY: fresh from the pool: one segment, direct, and ours alone.
        Some(unsafe { Mbuf::from_raw(raw) })
    }

    /// Adds `n` empty mbufs to the burst, or none and returns false: if the burst has less room, or the pool fewer.
    #[must_use]
    pub fn alloc_bulk<const N: usize>(&self, burst: &mut Burst<N>, n: usize) -> bool {
        if n > burst.room() {
            return false;
        }
        let mut raw = [ptr::null_mut(); N];
        // SAFETY: the pool lives; `raw` has room for N >= n pointers, and n fits because a burst does.
        let rc = unsafe { ffi::shim_rte_pktmbuf_alloc_bulk(self.raw.as_ptr(), raw.as_mut_ptr(), n as u32) };
        if rc != 0 {
            return false;
        }
        for mbuf in raw.iter().take(n).filter_map(|&mbuf| NonNull::new(mbuf)) {
            // SAFETY: fresh from the pool: one segment, direct, and ours alone.
            let pushed = burst.push(unsafe { Mbuf::from_raw(mbuf) });
            debug_assert!(pushed.is_ok(), "room was checked");
        }
        true
    }

    /// How many mbufs are out: held by the application or by a driver's rings. Caches count as in the pool.
    ///
    /// Exact only while no other thread allocates or frees. Reads every lcore's cache: for statistics and tests.
    pub fn in_use(&self) -> usize {
        // SAFETY: the pool lives; the count only reads.
        unsafe { ffi::rte_mempool_in_use_count(self.raw.as_ptr()) as usize }
    }

    /// How many mbufs can still be taken. As exact as [`in_use`](Self::in_use).
    pub fn available(&self) -> usize {
        // SAFETY: the pool lives; the count only reads.
        unsafe { ffi::rte_mempool_avail_count(self.raw.as_ptr()) as usize }
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size of an mbuf's buffer in bytes, [`HEADROOM`] included.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::rte_mempool {
        self.raw.as_ptr()
    }
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool")
            .field("name", &self.name)
            .field("in_use", &self.in_use())
            .field("available", &self.available())
            .finish()
    }
}
