//! Ports: where frames come from and go to.

use std::ops::Range;

use bytes::Bytes;
use tcp_stack::Payload;

use crate::end::End;

/// Frames that one call takes from a port at most.
pub const BURST: usize = 32;

/// Which port of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortSide {
    /// Towards those whose connections are decrypted.
    Inside,
    /// Towards the rest of the world.
    Outside,
}

impl PortSide {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Inside, Self::Outside];

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }

    /// As the configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        }
    }
}

/// One port of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortId {
    /// Index of the wire.
    pub wire: u8,
    /// Which of the wire's ports.
    pub side: PortSide,
}

impl PortId {
    /// The port at the wire's other end.
    pub const fn opposite(self) -> Self {
        Self { wire: self.wire, side: self.side.other() }
    }

    /// `2 x wire`, plus one outside: the index of arrays that have one entry a port.
    pub const fn index(self) -> usize {
        self.wire as usize * 2 + self.side as usize
    }
}

/// How a flow lies on its wire: a client may be on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// Index of the wire.
    pub wire: u8,
    /// Where its client is.
    pub client: PortSide,
}

impl Orientation {
    /// Of a flow whose client is behind this port.
    pub const fn of_client_at(port: PortId) -> Self {
        Self { wire: port.wire, client: port.side }
    }

    /// The port towards an end.
    pub const fn port(self, towards: End) -> PortId {
        let side = match towards {
            End::Client => self.client,
            End::Server => self.client.other(),
        };
        PortId { wire: self.wire, side }
    }

    /// The end behind one of the wire's ports.
    pub fn end_behind(self, side: PortSide) -> End {
        if side == self.client { End::Client } else { End::Server }
    }
}

/// What a leg queues to be sent: bytes that frames can carry without a copy. They are kept until they are acknowledged.
pub trait Slice: Payload + From<Vec<u8>> + Send + 'static {}

impl Slice for Bytes {}

/// Room for one record, ours alone until it is sealed.
pub trait Block: AsMut<[u8]> + Send {
    /// What it becomes when it may be read only.
    type Slice: Slice;

    /// Its first `len` bytes, not to be changed any more. `len` is at most the room that was asked for.
    fn freeze(self, len: usize) -> Self::Slice;
}

impl Block for Vec<u8> {
    type Slice = Bytes;

    fn freeze(mut self, len: usize) -> Bytes {
        self.truncate(len);
        self.into()
    }
}

/// A frame's buffer. Owned: dropping it gives it back to where it came from.
pub trait Frame: Send {
    /// What it can carry.
    type Slice: Slice;

    /// What such slices are made of; on the heap where there is no other.
    type Block: Block<Slice = Self::Slice> + From<Vec<u8>>;

    /// Has what is looked at first fetched into the cache: the frame is handled soon.
    fn prefetch(&self) {}

    /// The port has found the checksums of IP and TCP right.
    fn is_verified(&self) -> bool {
        false
    }

    /// The bytes of its first piece. Buffers fit the wire's MTU, so that is all of them, but for jumbo frames that a NIC
    /// scatters all the same: those can only be forwarded.
    fn data(&self) -> &[u8];

    /// Likewise, to change.
    fn data_mut(&mut self) -> &mut [u8];

    /// Bytes of the whole frame.
    fn len(&self) -> usize;

    /// Copies all its pieces to the front of `to`. Returns how many bytes that were; none: there is no room for them.
    fn copy_to(&self, to: &mut [u8]) -> Option<usize> {
        let data = self.data();
        to.get_mut(..data.len()).filter(|_| data.len() == self.len())?.copy_from_slice(data);
        Some(data.len())
    }

    /// A frame without bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the length of a frame that was just allocated; what it holds is undefined until written.
    /// False: the buffer is smaller than that.
    fn set_len(&mut self, len: usize) -> bool;
}

/// What a port does to the segments that it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Fills in the checksums of IPv4 and TCP.
    pub checksums: bool,
    /// Cuts TCP payload into segments (TSO); it fills in checksums then, too.
    pub segmentation: bool,
}

/// Work for the port on a frame with a TCP segment. Lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Ethernet header with its tags.
    pub l2: usize,
    /// IP header; 20 is IPv4 without options, 40 IPv6 without extensions.
    pub l3: usize,
    /// TCP header.
    pub l4: usize,
    /// Payload of each segment, if it is to be cut.
    pub segment: Option<u16>,
}

/// How bytes were put into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The frame refers to them.
    Reference,
    /// It has a copy.
    Copy,
    /// Not at all: there is no room, and the frame is of no use.
    NoRoom,
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

    /// Room for a record of `len` bytes; none when the pool is empty.
    fn block(&mut self, len: usize) -> Option<<Self::Frame as Frame>::Block>;

    /// Puts `range` of the slice behind the frame's bytes: by reference where the port can send that and it pays, else as a
    /// copy.
    fn append(
        &mut self,
        port: PortId,
        frame: &mut Self::Frame,
        slice: &<Self::Frame as Frame>::Slice,
        range: Range<usize>,
    ) -> Appended;

    /// What the port does to segments.
    fn offloads(&self, port: PortId) -> Offloads;

    /// Asks the port for work on a frame that leaves through it, within its [`offloads`](Self::offloads).
    fn request(&mut self, frame: &mut Self::Frame, request: &Request);

    /// Sends what the port takes, in order, and leaves the rest in `frames`.
    fn transmit(&mut self, port: PortId, frames: &mut Vec<Self::Frame>);

    /// How many mirrors have a port.
    fn mirrors(&self) -> usize;

    /// An empty frame for a mirror, from a pool of their own; none when that is empty.
    fn allocate_mirrored(&mut self) -> Option<Self::Frame>;

    /// Sends what a mirror's port takes, in order, and leaves the rest in `frames`.
    fn transmit_mirrored(&mut self, mirror: usize, frames: &mut Vec<Self::Frame>);

    /// Drops what has come in at a mirror's port, [`BURST`] frames at most. Returns how many they were.
    fn discard_received(&mut self, mirror: usize) -> usize;
}
