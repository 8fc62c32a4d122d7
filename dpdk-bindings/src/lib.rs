//! Safe wrapper of the parts of DPDK that wireglass uses: ports, queues, packets, pools.
//!
//! # Who owns what
//!
//! * [`Eal`] is DPDK, initialised once per process. What is made from it keeps it alive.
//! * [`Mempool`]s live as long as EAL. An [`Mbuf`] is owned, cannot be cloned, and returns to its pool when it is dropped.
//! * A [`Burst`] is the caller's array of mbufs. [`RxQueue::rx`] fills it; [`TxQueue::tx`] takes what the driver
//!   accepts, and leaves the rest in it. So no packet leaks on a full ring, and none is freed twice.
//! * [`Mbuf::share`] makes a buffer read-only and counted; [`SharedMbuf::slice`] makes packets that point into it.
//! * A [`Port`] is claimed by one handle. Its queues are separate objects that move to their threads, and keep it
//!   running. The last one gone stops and closes it.
//!
//! Nothing on the packet path allocates, locks or formats.
//!
//! # A wire
//!
//! ```no_run
//! use dpdk::{Burst, Eal, Mempool, MempoolConfig, Port, PortConfig};
//!
//! # fn main() -> Result<(), dpdk::Error> {
//! let vdevs = ["--vdev", "net_af_packet0,iface=p0", "--vdev", "net_af_packet1,iface=p1"];
//! let eal = Eal::init(&[["--no-huge", "-m", "512", "--no-pci"].as_slice(), &vdevs].concat())?;
//! let pool = Mempool::new(&eal, "packets", &MempoolConfig::default())?;
//! let mut inside = Port::by_name(&eal, "net_af_packet0")?;
//! let mut outside = Port::by_name(&eal, "net_af_packet1")?;
//! let pools = [pool.clone()];
//! let mut rx = inside.start(&PortConfig::default(), &pools)?.rx.remove(0);
//! let mut tx = outside.start(&PortConfig::default(), &pools)?.tx.remove(0);
//!
//! std::thread::scope(|scope| {
//!     scope.spawn(|| -> Result<(), dpdk::Error> {
//!         let _lcore = eal.register_thread()?; // for a cache of its own in the pool
//!         let mut burst = Burst::<32>::new();
//!         loop {
//!             rx.rx(&mut burst);
//!             for frame in burst.iter_mut().filter_map(|mbuf| mbuf.data_mut()) {
//!                 frame[..6].fill(0xff); // any change to the Ethernet header
//!             }
//!             tx.tx(&mut burst);
//!             burst.clear(); // what did not fit into the ring is dropped here
//!         }
//!     });
//! });
//! println!("{:?}, {} mbufs out", inside.stats()?, pool.in_use());
//! # Ok(())
//! # }
//! ```

/// Its examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod burst;
mod cycles;
pub mod diagnose;
mod eal;
mod errno;
mod huge_pages;
mod lcore;
mod mbuf;
mod mempool;
mod offloads;
mod port;
mod queue;
mod removal;
#[cfg(feature = "ring")]
mod ring;
mod rss;
mod start;
mod stats;

pub use self::burst::{Burst, Drain};
pub use self::cycles::tsc;
pub use self::eal::{Eal, LogLevel, set_log_level, set_log_level_of};
pub use self::errno::{Errno, Error};
pub use self::huge_pages::advise_huge_pages;
pub use self::lcore::{LcoreGuard, lcore_id};
pub use self::mbuf::{Checksum, IpVersion, L4Checksum, Mbuf, SharedMbuf, TxRequest};
pub use self::mempool::{HEADROOM, Mempool, MempoolConfig, UMEM_FRAME};
pub use self::offloads::{RxOffloads, TxOffloads};
pub use self::port::{Applied, Link, Mac, Port, PortConfig, PortInfo, Queues};
pub use self::queue::{RxQueue, TxQueue};
pub use self::rss::Rss;
pub use self::stats::Stats;
