//! Ports in memory: for the demo, for tests on a virtual clock, and as the smallest example of a driver.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam::queue::ArrayQueue;

use crate::port::{Appended, BURST, Frame, Io, Offloads, PortId, Request};

/// Room of a frame that the engine allocates.
const FRAME_ROOM: usize = 16 * 1024;

/// A frame on the heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFrame(pub Vec<u8>);

impl Frame for MemoryFrame {
    type Slice = Bytes;
    type Block = Vec<u8>;

    fn data(&self) -> &[u8] {
        &self.0
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn set_len(&mut self, len: usize) -> bool {
        self.0.resize(len, 0);
        len <= FRAME_ROOM
    }
}

/// The far side of in-memory ports: what would be the cable. Cheap to clone; usable from any thread.
#[derive(Clone)]
pub struct Cable {
    queues: Arc<[PortQueues]>,
    mirrors: Arc<[MirrorPort]>,
}

struct PortQueues {
    /// One receive queue a worker.
    to_engine: Vec<ArrayQueue<MemoryFrame>>,
    from_engine: ArrayQueue<MemoryFrame>,
}

struct MirrorPort {
    from_engine: ArrayQueue<MemoryFrame>,
    to_engine: ArrayQueue<MemoryFrame>,
}

impl Cable {
    /// Ports for `wires` wires, with a receive queue for each of `workers` workers, `depth` frames deep.
    pub fn new(wires: u8, workers: usize, depth: usize) -> Self {
        let port = |_| PortQueues {
            to_engine: (0..workers).map(|_| ArrayQueue::new(depth)).collect(),
            from_engine: ArrayQueue::new(depth),
        };
        Self { queues: (0..usize::from(wires) * 2).map(port).collect(), mirrors: Arc::default() }
    }

    /// With so many mirrors' ports, which take `depth` frames.
    #[must_use]
    pub fn with_mirrors(self, mirrors: usize, depth: usize) -> Self {
        let queue = || ArrayQueue::new(depth);
        let port = |_| MirrorPort { from_engine: queue(), to_engine: queue() };
        Self { mirrors: (0..mirrors).map(port).collect(), ..self }
    }

    /// The next frame that the engine sent out of a mirror's port.
    pub fn mirrored(&self, mirror: usize) -> Option<Vec<u8>> {
        self.mirrors.get(mirror)?.from_engine.pop().map(|frame| frame.0)
    }

    /// Hands a frame to a mirror's port. False: its queue was full.
    pub fn send_to_mirror(&self, mirror: usize, frame: Vec<u8>) -> bool {
        self.mirrors.get(mirror).is_some_and(|port| port.to_engine.push(MemoryFrame(frame)).is_ok())
    }

    /// Hands a frame to a worker's receive queue, as a NIC's RSS would. False: the queue was full and the frame is lost.
    pub fn send(&self, port: PortId, worker: usize, frame: Vec<u8>) -> bool {
        self.queues[port.index()].to_engine[worker].push(MemoryFrame(frame)).is_ok()
    }

    /// The next frame that the engine sent out of a port.
    pub fn receive(&self, port: PortId) -> Option<Vec<u8>> {
        self.queues[port.index()].from_engine.pop().map(|f| f.0)
    }

    /// The queues of one worker.
    pub fn io(&self, worker: usize, mtu: usize) -> MemoryIo {
        MemoryIo { cable: self.clone(), worker, mtu }
    }
}

/// One worker's queues of in-memory ports.
pub struct MemoryIo {
    cable: Cable,
    worker: usize,
    mtu: usize,
}

impl Io for MemoryIo {
    type Frame = MemoryFrame;

    fn wires(&self) -> u8 {
        (self.cable.queues.len() / 2) as u8
    }

    fn mtu(&self, _wire: u8) -> usize {
        self.mtu
    }

    fn receive(&mut self, port: PortId, into: &mut Vec<MemoryFrame>) {
        let queue = &self.cable.queues[port.index()].to_engine[self.worker];
        into.extend(std::iter::from_fn(|| queue.pop()).take(BURST));
    }

    fn allocate(&mut self) -> Option<MemoryFrame> {
        Some(MemoryFrame(Vec::new()))
    }

    fn block(&mut self, len: usize) -> Option<Vec<u8>> {
        Some(vec![0; len])
    }

    fn append(&mut self, _: PortId, frame: &mut MemoryFrame, slice: &Bytes, range: Range<usize>) -> Appended {
        frame.0.extend_from_slice(&slice[range]);
        if frame.0.len() <= FRAME_ROOM { Appended::Copy } else { Appended::NoRoom }
    }

    fn offloads(&self, _: PortId) -> Offloads {
        Offloads::default()
    }

    fn request(&mut self, _: &mut MemoryFrame, _: &Request) {}

    fn transmit(&mut self, port: PortId, frames: &mut Vec<MemoryFrame>) {
        let queue = &self.cable.queues[port.index()].from_engine;
        let room = queue.capacity() - queue.len();
        for frame in frames.drain(..room.min(frames.len())) {
            // Another worker may have taken the room meanwhile: lost, as on a NIC.
            let _ = queue.push(frame);
        }
    }

    fn mirrors(&self) -> usize {
        self.cable.mirrors.len()
    }

    fn allocate_mirrored(&mut self) -> Option<MemoryFrame> {
        self.allocate()
    }

    fn transmit_mirrored(&mut self, mirror: usize, frames: &mut Vec<MemoryFrame>) {
        let queue = &self.cable.mirrors[mirror].from_engine;
        let room = queue.capacity() - queue.len();
        for frame in frames.drain(..room.min(frames.len())) {
            let _ = queue.push(frame);
        }
    }

    fn discard_received(&mut self, mirror: usize) -> usize {
        let queue = &self.cable.mirrors[mirror].to_engine;
        std::iter::from_fn(|| queue.pop()).take(BURST).count()
    }
}
