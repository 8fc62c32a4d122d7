//! One EAL for all tests of a process, without hugepages, hardware or root.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dpdk::{Burst, Eal, Mempool, MempoolConfig, RxQueue};

pub(crate) const EAL_ARGS: [&str; 7] =
    ["--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=warning"];

/// The process's EAL, and a lock so that tests do not attach and look at ports at the same time.
pub(crate) fn eal() -> (&'static Eal, MutexGuard<'static, ()>) {
    static EAL: OnceLock<Eal> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (EAL.get_or_init(|| Eal::init(&EAL_ARGS).expect("EAL starts")), turn)
}

/// A pool of its own for each test, so that `in_use` is the test's own.
pub(crate) fn pool(eal: &Eal, name: &str, mbufs: u32) -> Mempool {
    Mempool::new(eal, name, &MempoolConfig { mbufs, cache: 0, ..MempoolConfig::default() })
        .expect("there is memory for a small pool")
}

/// A pool of mbufs without buffers.
pub(crate) fn header_pool(eal: &Eal, name: &str, mbufs: u32) -> Mempool {
    let config = MempoolConfig { mbufs, cache: 0, data_room: 0, ..MempoolConfig::default() };
    Mempool::new(eal, name, &config).expect("there is memory for a small pool")
}

/// A frame from the pool: `len` bytes that count up from `first`.
pub(crate) fn frame(pool: &Mempool, first: u8, len: usize) -> dpdk::Mbuf {
    let mut mbuf = pool.alloc().expect("the pool is not empty");
    let bytes = mbuf.append(len).expect("the frame fits");
    bytes.iter_mut().zip(0_u8..=255).for_each(|(byte, i)| *byte = first.wrapping_add(i));
    mbuf
}

/// All of a packet's data.
pub(crate) fn bytes(mbuf: &dpdk::Mbuf) -> Vec<u8> {
    mbuf.segments().flatten().copied().collect()
}

/// Receives until there are `n` packets, for at most two seconds.
pub(crate) fn receive<const N: usize>(rx: &mut RxQueue, burst: &mut Burst<N>, n: usize) -> bool {
    let start = Instant::now();
    while burst.len() < n {
        if rx.rx(burst) == 0 {
            if start.elapsed() > Duration::from_secs(2) {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    true
}

/// Receives and frees what is left in a ring.
pub(crate) fn drain(rx: &mut RxQueue) {
    let mut burst = Burst::<32>::new();
    while rx.rx(&mut burst) > 0 {
        burst.clear();
    }
}
