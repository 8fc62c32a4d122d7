//! Queues: the packet path. One thread at a time per queue; any thread.

use std::fmt;
use std::sync::Arc;

use dpdk_sys as ffi;

use crate::burst::Burst;
use crate::mbuf::Mbuf;
use crate::offloads::TxOffloads;
use crate::port::{Applied, Device};

/// Shortest frame that is handed to a driver: an Ethernet header.
const SHORTEST: usize = 14;

/// A receive queue of a started port. It keeps the port running.
pub struct RxQueue {
    device: Arc<Device>,
    id: u16,
}

impl RxQueue {
    pub(crate) fn new(device: Arc<Device>, id: u16) -> Self {
        Self { device, id }
    }

    /// Adds received packets to the burst, as many as are there and fit. Returns how many.
    ///
    /// Best with an empty burst of 32 or more: vectorised drivers receive nothing into less room than 4.
    pub fn rx<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        let (slots, room) = burst.free_slots();
        if room == 0 {
            return 0;
        }
        // SAFETY: the port is started and the queue set up, as long as `device` is held; `&mut self` and the one
        // `RxQueue` per id keep other threads away; there is room for `room` pointers.
        let n = unsafe { ffi::shim_rte_eth_rx_burst(self.device.id(), self.id, slots, room) };
        // SAFETY: DPDK wrote n <= room packets and gave them away.
        unsafe { burst.filled(n) };
        usize::from(n)
    }

    /// The queue's number in its port.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The port's id, as in [`Mbuf::port`].
    pub fn port(&self) -> u16 {
        self.device.id()
    }
}

/// A transmit queue of a started port. It keeps the port running.
pub struct TxQueue {
    device: Arc<Device>,
    id: u16,
    offloads: TxOffloads,
    /// IPv4 header checksums are filled in here.
    sums_ip: bool,
    unsendable: u64,
}

impl TxQueue {
    pub(crate) fn new(device: Arc<Device>, id: u16, applied: &Applied) -> Self {
        let sums_ip = applied.done_here.contains(TxOffloads::IPV4_CKSUM);
        Self { device, id, offloads: applied.tx_offloads, sums_ip, unsendable: 0 }
    }

    /// Sends the packets, first to last. Returns how many; they belong to the driver now. The others stay in the
    /// burst, because the ring is full: try them again later, or drop them.
    ///
    /// Some packets are freed and counted in [`unsendable`](Self::unsendable) instead: those shorter than an Ethernet
    /// header, those that ask for offloads the port was not started with, those the driver refuses, and chains on a
    /// port without [`TxOffloads::MULTI_SEGS`] whose first segment has no room for the rest.
    pub fn tx<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        if self.check(burst) {
            self.prepare(burst);
        }
        let (packets, len) = burst.raw_parts();
        if len == 0 {
            return 0;
        }
        // SAFETY: the port is started and the queue set up, as long as `device` is held; `&mut self` and the one
        // `TxQueue` per id keep other threads away; `len` owned packets, each fit for the port's offloads.
        let n = unsafe { ffi::shim_rte_eth_tx_burst(self.device.id(), self.id, packets, len) };
        // SAFETY: DPDK took the first n.
        unsafe { burst.taken(n) };
        usize::from(n)
    }

    /// How many packets [`tx`](Self::tx) freed because they can never be sent.
    pub fn unsendable(&self) -> u64 {
        self.unsendable
    }

    /// What packets may ask for.
    pub fn offloads(&self) -> TxOffloads {
        self.offloads
    }

    /// The queue's number in its port.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The port's id.
    pub fn port(&self) -> u16 {
        self.device.id()
    }

    /// Frees what cannot be sent. True if the driver has to look at the rest before it is sent.
    fn check<const N: usize>(&mut self, burst: &mut Burst<N>) -> bool {
        let (mut index, mut to_prepare) = (0, false);
        while let Some(mbuf) = burst.get_mut(index) {
            let flags = mbuf.tx_flags();
            let chain = mbuf.nb_segs() > 1;
            if mbuf.pkt_len() < SHORTEST
                || chain && !self.offloads.contains(TxOffloads::MULTI_SEGS) && mbuf.linearize().is_none()
                || flags != 0 && !self.grants(flags, mbuf)
                || self.sums_ip
                    && flags & ffi::SHIM_MBUF_F_TX_IP_CKSUM != 0
                    && mbuf.fill_ip_checksum().is_none()
            {
                drop(burst.remove(index));
                self.unsendable += 1;
                continue;
            }
            to_prepare |= chain || flags != 0;
            index += 1;
        }
        to_prepare
    }

    /// The port was started with what these flags ask for, and the headers that the NIC will edit are where it
    /// will look for them.
    fn grants(&self, flags: u64, mbuf: &Mbuf) -> bool {
        let l4 = match flags & ffi::SHIM_MBUF_F_TX_L4_MASK {
            0 => TxOffloads::NONE,
            ffi::SHIM_MBUF_F_TX_TCP_CKSUM => TxOffloads::TCP_CKSUM,
            ffi::SHIM_MBUF_F_TX_UDP_CKSUM => TxOffloads::UDP_CKSUM,
            _ => return false,
        };
        let asked = |flag, offload| if flags & flag == 0 { TxOffloads::NONE } else { offload };
        let needed = l4
            | asked(ffi::SHIM_MBUF_F_TX_IP_CKSUM, TxOffloads::IPV4_CKSUM)
            | asked(ffi::SHIM_MBUF_F_TX_TCP_SEG, TxOffloads::TCP_TSO)
            | asked(ffi::SHIM_MBUF_F_TX_VLAN, TxOffloads::VLAN_INSERT);
        self.offloads.contains(needed)
            && (l4 == TxOffloads::NONE || mbuf.tx_header_len() <= mbuf.data().len())
    }

    /// Lets the driver check its own limits, and fill in what its NIC wants to find (pseudo-header checksums).
    fn prepare<const N: usize>(&mut self, burst: &mut Burst<N>) {
        let mut ready = 0;
        loop {
            let (packets, len) = burst.raw_parts();
            if ready == len {
                return;
            }
            // SAFETY: as for tx_burst in `tx`; ready < len, so the pointer stays inside the burst.
            ready += unsafe {
                let unprepared = packets.add(usize::from(ready));
                ffi::shim_rte_eth_tx_prepare(self.device.id(), self.id, unprepared, len - ready)
            };
            // Stopped at one that it refuses.
            if ready < len {
                drop(burst.remove(usize::from(ready)));
                self.unsendable += 1;
            }
        }
    }
}

impl fmt::Debug for RxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxQueue").field("port", &self.device.name()).field("id", &self.id).finish()
    }
}

impl fmt::Debug for TxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxQueue").field("port", &self.device.name()).field("id", &self.id).finish()
    }
}
