//! The load generator's end of a wire: smoltcp's device over a DPDK port, without a copy of its own.

use std::collections::VecDeque;

use dpdk::{Burst, Mbuf, Mempool, RxQueue, TxQueue};
use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// Longest IP packet.
const MTU: usize = 1500;
/// Frames that may wait for the ring before no more are made.
const ENOUGH: usize = 256;

/// A port of the generator, and what waits there.
pub(crate) struct LoadPort {
    rx: RxQueue,
    tx: TxQueue,
    pool: Mempool,
    header: [u8; ETHERNET],
    burst: Burst<64>,
    /// The frame that smoltcp is to take next.
    pub(crate) arrived: Option<Mbuf>,
    leaving: VecDeque<Mbuf>,
    /// The next frame leaves twice.
    pub(crate) twice: bool,
    /// This end is a NIC with offloads.
    offloads: bool,
    /// Frames that could not be made: the pool was empty.
    pub(crate) starved: u64,
    /// Frames that the ring took.
    pub(crate) sent: u64,
}

impl LoadPort {
    /// `me` and `other` are the last bytes of the MAC addresses of this end and of the other. With `offloads` checksums are
    /// left to a NIC, which has found those of all that leaves here right, and long segments may arrive.
    pub(crate) fn new(rx: RxQueue, tx: TxQueue, pool: Mempool, [me, other]: [u8; 2], offloads: bool) -> Self {
        let header = [2, 0, 0, 0, 0, other, 2, 0, 0, 0, 0, me, 8, 0];
        let burst = Burst::new();
        let leaving = VecDeque::with_capacity(2 * ENOUGH);
        Self {
            rx,
            tx,
            pool,
            header,
            burst,
            arrived: None,
            leaving,
            twice: false,
            offloads,
            starved: 0,
            sent: 0,
        }
    }

    /// At most a burst of what has arrived.
    pub(crate) fn receive(&mut self, into: &mut VecDeque<Mbuf>) -> bool {
        self.rx.rx(&mut self.burst);
        let any = !self.burst.is_empty();
        // smoltcp wants a packet in one piece: what is chained is copied, as a NIC would have done.
        into.extend(self.burst.drain().map(|mut mbuf| {
            let _ = mbuf.linearize();
            mbuf
        }));
        any
    }

    /// Sends what waits, as far as the ring takes it.
    pub(crate) fn flush(&mut self) {
        while !self.leaving.is_empty() {
            while let Some(mbuf) = self.leaving.pop_front() {
                if let Err(mbuf) = self.burst.push(mbuf) {
                    self.leaving.push_front(mbuf);
                    break;
                }
            }
            self.sent += self.tx.tx(&mut self.burst) as u64;
            if !self.burst.is_empty() {
                let mut left: VecDeque<Mbuf> = self.burst.drain().collect();
                left.append(&mut self.leaving);
                self.leaving = left;
                return;
            }
        }
    }

    /// There is room for more frames.
    pub(crate) fn has_room(&self) -> bool {
        self.leaving.len() < ENOUGH
    }

    /// Sends a frame as it is; false: the pool was empty.
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        let Some(mut mbuf) = self.pool.alloc() else { return false };
        let fits = mbuf.extend_from_slice(frame).is_some();
        self.leaving.push_back(mbuf);
        fits
    }

    /// Takes back a frame that was received, to send it again.
    pub(crate) fn send_mbuf(&mut self, mbuf: Mbuf) {
        self.leaving.push_back(mbuf);
    }
}

impl Device for LoadPort {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let mbuf = self.arrived.take()?;
        Some((Arrived(mbuf), Leaving(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        // Made, as the engine verifies them; not verified: that is the engine's own work, and the rings lose nothing.
        let checksum = || if self.offloads { Checksum::None } else { Checksum::Tx };
        capabilities.checksum.ipv4 = checksum();
        capabilities.checksum.tcp = checksum();
        capabilities
    }
}

pub(crate) struct Arrived(Mbuf);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        if self.0.nb_segs() == 1 {
            return f(&self.0.data()[ETHERNET..]);
        }
        // Longer than a buffer: to be cut, if this were a cable.
        let whole = self.0.segments().collect::<Vec<_>>().concat();
        f(&whole[ETHERNET..])
    }
}

pub(crate) struct Leaving<'a>(&'a mut LoadPort);

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let Self(port) = self;
        let copies = if std::mem::take(&mut port.twice) { 2 } else { 1 };
        let mbuf = port.pool.alloc().filter(|_| length <= MTU);
        let Some(mut mbuf) = mbuf else {
            // smoltcp wants to write somewhere; the frame is lost, as on the way, and counted.
            port.starved += 1;
            return f(&mut vec![0; length]);
        };
        let result = match mbuf.append(ETHERNET + length) {
            Some(frame) => {
                frame[..ETHERNET].copy_from_slice(&port.header);
                f(&mut frame[ETHERNET..])
            }
            None => f(&mut vec![0; length]),
        };
        if port.offloads {
            mbuf.mark_checksums_good();
        }
        if copies == 2
            && let Some(copy) = mbuf.copy(&port.pool, 0, mbuf.pkt_len())
        {
            port.leaving.push_back(copy);
        }
        port.leaving.push_back(mbuf);
        result
    }
}
