//! Every function of the C shim is called once, and does what its name says on the installed DPDK.

mod support;

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ptr;
use std::slice;

use dpdk::{Mempool, Port, PortConfig};
use dpdk_sys as ffi;
use support::{eal, pool};

/// Runs the checks, each named after the function it calls, and compares the names with the shim's header.
macro_rules! checks {
    ($($function:ident $check:block)*) => {{
        $(
            // Used, so that a name without its function does not compile.
            let _ = ffi::$function as *const ();
            println!("{}", stringify!($function));
            $check
        )*
        BTreeSet::from([$(stringify!($function)),*])
    }};
}

#[test]
fn every_function_of_the_shim_works() {
    let (eal, _turn) = eal();
    let pool: Mempool = pool(eal, "shim", 63);
    eal.attach_vdev("net_ring9", "").expect("the driver is installed");
    let mut port = Port::by_name(eal, "net_ring9").expect("just attached");
    let queues = port.start(&PortConfig::default(), slice::from_ref(&pool)).expect("starts");
    let id = port.id();
    // SAFETY: a pool of this name lives as long as EAL, and EAL as long as the process.
    let raw_pool = unsafe { ffi::rte_mempool_lookup(c"shim".as_ptr()) };
    assert!(!raw_pool.is_null());
    // SAFETY: EAL runs; the pool has mbufs for all of this; each is freed once; the port is started with a queue each
    // way, which nobody else uses meanwhile. Every block below relies on this.
    let called = unsafe { call_all(raw_pool, id) };
    let declared: BTreeSet<&str> = include_str!("../dpdk-sys/shim/shim.h")
        .lines()
        .filter(|line| line.ends_with(';') && line.contains('('))
        .filter_map(|line| line.split('(').next()?.split([' ', '*']).next_back())
        .filter(|name| name.starts_with("shim_"))
        .collect();
    assert!(declared.len() > 10, "the header was not understood: {declared:?}");
    assert_eq!(called, declared);
    drop((port, queues));
    eal.detach_vdev("net_ring9").expect("nobody holds it");
    assert_eq!(pool.in_use(), 0);
}

/// # Safety
///
/// See the caller.
unsafe fn call_all(pool: *mut ffi::rte_mempool, port: u16) -> BTreeSet<&'static str> {
    // SAFETY: an mbuf outside its pool, and the offset and type of a field.
    let field = |mbuf: *mut ffi::rte_mbuf, offset: u32| unsafe { mbuf.cast::<u8>().add(offset as usize) };
    // SAFETY: see the caller.
    unsafe {
        let mbuf = ffi::shim_rte_pktmbuf_alloc(pool);
        let frame = || {
            let frame = ffi::shim_rte_pktmbuf_alloc(pool);
            field(frame, ffi::SHIM_MBUF_DATA_LEN).cast::<u16>().write(60);
            field(frame, ffi::SHIM_MBUF_PKT_LEN).cast::<u32>().write(60);
            frame
        };
        checks! {
            shim_eal_pmd_path {
                let path = CStr::from_ptr(ffi::shim_eal_pmd_path()).to_str().expect("a path");
                assert!(path.is_empty() || path.starts_with('/'), "{path}");
            }
            shim_eth_link {
                let (mut speed, mut duplex, mut up) = (0, false, false);
                assert_eq!(ffi::shim_eth_link(port, &mut speed, &mut duplex, &mut up), 0);
                assert_eq!((speed, duplex, up), (10_000, true, true), "net_ring says 10 Gbit/s");
            }
            shim_eth_pause_off {
                assert_eq!(ffi::shim_eth_pause_off(port), -libc::ENOTSUP, "net_ring has no flow control");
            }
            shim_fill_ipv4_cksum {
                let mbuf = frame();
                // With something in the place of the checksum, which is 0xb1e6.
                let mut header = [0x45, 0, 0, 60, 0x1c, 0x46, 0x40, 0, 64, 6, 0xff, 0xff, 172, 16, 10, 99, 172, 16, 10, 12];
                let start = field(mbuf, ffi::SHIM_MBUF_DATA_OFF).cast::<u16>().read();
                let data = field(mbuf, ffi::SHIM_MBUF_BUF_ADDR).cast::<*mut u8>().read().add(usize::from(start) + 14);
                data.copy_from_nonoverlapping(header.as_ptr(), header.len());
                let flags = field(mbuf, ffi::SHIM_MBUF_OL_FLAGS).cast::<u64>();
                flags.write(ffi::SHIM_MBUF_F_TX_IPV4 | ffi::SHIM_MBUF_F_TX_IP_CKSUM);
                ffi::shim_set_tx_offload(mbuf, 14, 20, 0, 0);
                ffi::shim_fill_ipv4_cksum(mbuf);
                header[10..12].copy_from_slice(&[0xb1, 0xe6]);
                assert_eq!(slice::from_raw_parts(data, header.len()), header);
                assert_eq!(flags.read(), ffi::SHIM_MBUF_F_TX_IPV4);
                ffi::shim_rte_pktmbuf_free(mbuf);
            }
            shim_rte_errno {
                assert!(ffi::rte_mempool_lookup(c"no such pool".as_ptr()).is_null());
                assert_eq!(ffi::shim_rte_errno(), libc::ENOENT);
            }
            shim_rte_eth_tx_burst {
                let mut frames = [frame(), frame()];
                assert_eq!(ffi::shim_rte_eth_tx_burst(port, 0, frames.as_mut_ptr(), 2), 2);
            }
            shim_rte_eth_rx_burst {
                let mut frames = [ptr::null_mut(); 4];
                assert_eq!(ffi::shim_rte_eth_rx_burst(port, 0, frames.as_mut_ptr(), 4), 2);
                frames[..2].iter().for_each(|&frame| ffi::shim_rte_pktmbuf_free(frame));
            }
            shim_rte_eth_tx_prepare {
                let mut frames = [frame()];
                assert_eq!(ffi::shim_rte_eth_tx_prepare(port, 0, frames.as_mut_ptr(), 1), 1);
                ffi::shim_rte_pktmbuf_free(frames[0]);
            }
            shim_rte_lcore_id {
                assert_eq!(ffi::shim_rte_lcore_id(), ffi::LCORE_ID_ANY, "a test's thread is no lcore");
            }
            shim_rte_mbuf_ext_refcnt_read {
                // An external buffer's descriptor full of the number 3: the count among it, wherever it is.
                let descriptor = [3_u16; 64];
                let shinfo = field(mbuf, ffi::SHIM_MBUF_SHINFO).cast::<*const u16>();
                let before = shinfo.replace(descriptor.as_ptr());
                assert_eq!(ffi::shim_rte_mbuf_ext_refcnt_read(mbuf), 3);
                shinfo.write(before);
            }
            shim_rte_mbuf_refcnt_update {
                assert_eq!(ffi::shim_rte_mbuf_refcnt_update(mbuf, 1), 2);
                assert_eq!(ffi::shim_rte_mbuf_refcnt_update(mbuf, -1), 1);
            }
            shim_rte_pktmbuf_alloc {
                let mbuf = ffi::shim_rte_pktmbuf_alloc(pool);
                assert_eq!(field(mbuf, ffi::SHIM_MBUF_BUF_LEN).cast::<u16>().read(), 2048 + 128);
                ffi::shim_rte_pktmbuf_free(mbuf);
            }
            shim_rte_pktmbuf_alloc_bulk {
                let mut mbufs = [ptr::null_mut(); 3];
                assert_eq!(ffi::shim_rte_pktmbuf_alloc_bulk(pool, mbufs.as_mut_ptr(), 3), 0);
                mbufs.iter().for_each(|&mbuf| ffi::shim_rte_pktmbuf_free(mbuf));
            }
            shim_rte_pktmbuf_attach {
                let indirect = ffi::shim_rte_pktmbuf_alloc(pool);
                ffi::shim_rte_pktmbuf_attach(indirect, mbuf);
                let flags = field(indirect, ffi::SHIM_MBUF_OL_FLAGS).cast::<u64>().read();
                assert_eq!(flags & ffi::SHIM_MBUF_F_INDIRECT, ffi::SHIM_MBUF_F_INDIRECT);
                assert_eq!(field(mbuf, ffi::SHIM_MBUF_REFCNT).cast::<u16>().read(), 2);
                ffi::shim_rte_pktmbuf_free(indirect);
                assert_eq!(field(mbuf, ffi::SHIM_MBUF_REFCNT).cast::<u16>().read(), 1);
            }
            shim_rte_pktmbuf_chain {
                let (head, tail) = (frame(), frame());
                assert_eq!(ffi::shim_rte_pktmbuf_chain(head, tail), 0);
                assert_eq!(field(head, ffi::SHIM_MBUF_NEXT).cast::<*mut ffi::rte_mbuf>().read(), tail);
                assert_eq!(field(head, ffi::SHIM_MBUF_PKT_LEN).cast::<u32>().read(), 120);
                ffi::shim_rte_pktmbuf_free(head);
            }
            shim_rte_pktmbuf_free {
                let before = ffi::rte_mempool_avail_count(pool);
                let mbuf = ffi::shim_rte_pktmbuf_alloc(pool);
                assert_eq!(ffi::rte_mempool_avail_count(pool), before - 1);
                ffi::shim_rte_pktmbuf_free(mbuf);
                assert_eq!(ffi::rte_mempool_avail_count(pool), before);
            }
            shim_prefetch_data {
                // Nothing to be seen, however much is asked for.
                let mbuf = frame();
                ffi::shim_prefetch_data(mbuf, 0);
                ffi::shim_prefetch_data(mbuf, u32::MAX);
                ffi::shim_rte_pktmbuf_free(mbuf);
            }
            shim_rte_pktmbuf_linearize {
                let (head, tail) = (frame(), frame());
                ffi::shim_rte_pktmbuf_chain(head, tail);
                assert_eq!(ffi::shim_rte_pktmbuf_linearize(head), 0);
                assert_eq!(field(head, ffi::SHIM_MBUF_NB_SEGS).cast::<u16>().read(), 1);
                assert_eq!(field(head, ffi::SHIM_MBUF_DATA_LEN).cast::<u16>().read(), 120);
                ffi::shim_rte_pktmbuf_free(head);
            }
            shim_rte_rdtsc_precise {
                let before = ffi::shim_rte_rdtsc_precise();
                assert!(ffi::shim_rte_rdtsc_precise() > before, "cycles go on");
            }
            shim_set_tx_offload {
                ffi::shim_set_tx_offload(mbuf, 18, 40, 32, 1440);
            }
            shim_tx_header_len {
                assert_eq!(ffi::shim_tx_header_len(mbuf), 18 + 40 + 32);
                ffi::shim_rte_pktmbuf_free(mbuf);
            }
            shim_umem_pool {
                let (stack, chunk) = (c"stack".as_ptr(), ffi::SHIM_UMEM_CHUNK);
                assert!(ffi::shim_umem_pool(c"umem-room".as_ptr(), 300, 0, 1000, -1, stack).is_null());
                assert_eq!(ffi::shim_rte_errno(), libc::EINVAL, "room that does not fill the chunk");
                let pool = ffi::shim_umem_pool(c"umem".as_ptr(), 300, 0, (chunk - 64 - 128) as u16, -1, stack);
                assert!(!pool.is_null());
                let mut mbufs = [ptr::null_mut(); 300];
                assert_eq!(ffi::shim_rte_pktmbuf_alloc_bulk(pool, mbufs.as_mut_ptr(), 300), 0);
                let mut places = mbufs.map(|mbuf| mbuf as usize);
                places.sort_unstable();
                assert_eq!(places[0] % 4096, 64, "behind the header of its element, at the start of a page");
                assert!(places.windows(2).all(|pair| pair[1] - pair[0] == chunk as usize), "no gap");
                mbufs.iter().for_each(|&mbuf| ffi::shim_rte_pktmbuf_free(mbuf));
                assert_eq!(ffi::rte_mempool_in_use_count(pool), 0);
            }
        }
    }
}
