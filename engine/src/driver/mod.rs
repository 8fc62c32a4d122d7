//! Ports: where frames come from and go to.

#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod memory;
mod offer;

pub use self::offer::PortOffer;
use crate::side::Side;

/// Frames that one call takes from a port at most.
pub const BURST: usize = 32;

/// One port of the engine: a wire's inside or outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortId {
    /// Index of the wire.
    pub wire: u8,
    /// Inside (client side) or outside (server side).
    pub side: Side,
}

impl PortId {
    /// The port at the wire's other end.
    pub const fn opposite(self) -> Self {
        Self { wire: self.wire, side: self.side.other() }
    }

    /// `2 x wire`, plus one outside: the index of arrays that have one entry a port.
    pub const fn index(self) -> usize {
        self.wire as usize * 2 + matches!(self.side, Side::Server) as usize
    }
}

/// A frame's buffer. Owned: dropping it gives it back to where it came from.
pub trait Frame: Send {
    /// The bytes of its first piece. Buffers fit the wire's MTU, so that is all of them, but for jumbo frames that a NIC
    /// scatters all the same: those can only be forwarded.
    fn data(&self) -> &[u8];

    /// Likewise, to change.
    fn data_mut(&mut self) -> &mut [u8];

    /// Bytes of the whole frame.
    fn len(&self) -> usize;

    /// A frame without bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the length of a frame that was just allocated; what it holds is undefined until written.
    /// False: the buffer is smaller than that.
    fn set_len(&mut self, len: usize) -> bool;
}

/// What one worker has of all ports: its own receive and transmit queue of each.
pub trait Io {
    /// Buffers of this kind of port.
    type Frame: Frame;

    /// How many wires there are; ports are `wire 0 inside, wire 0 outside, wire 1 inside, ...`.
    fn wires(&self) -> u8;

    /// Largest IP packet that both ports of a wire carry, in bytes.
    fn mtu(&self, wire: u8) -> usize;

    /// Moves at most [`BURST`] received frames into `into`, which is empty.
    fn receive(&mut self, port: PortId, into: &mut Vec<Self::Frame>);

    /// An empty frame to be filled; none when the pool is empty.
    fn allocate(&mut self) -> Option<Self::Frame>;

    /// Sends what the port takes, in order, and leaves the rest in `frames`.
    fn transmit(&mut self, port: PortId, frames: &mut Vec<Self::Frame>);
}
