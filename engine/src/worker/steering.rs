//! Bringing frames to the worker that owns their flow, whatever queue the NIC chose.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use wireglass_core::port::PortId;

/// Frames that wait for a worker at most.
const DEPTH: usize = 4096;

type Ring<F> = ArrayQueue<(PortId, F)>;

/// The rings of all workers, as seen by one.
pub struct Steering<F> {
    rings: Arc<[Ring<F>]>,
    me: usize,
}

impl<F> Steering<F> {
    /// One for each of `workers` workers.
    pub fn new(workers: usize) -> Vec<Self> {
        let rings: Arc<[Ring<F>]> = (0..workers).map(|_| ArrayQueue::new(DEPTH)).collect();
        (0..workers).map(|me| Self { rings: Arc::clone(&rings), me }).collect()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.rings.len()
    }

    /// This worker's number.
    pub fn me(&self) -> usize {
        self.me
    }

    /// Hands a frame to another worker. False: its ring is full, and the frame is lost.
    pub fn send(&self, worker: usize, port: PortId, frame: F) -> bool {
        self.rings[worker].push((port, frame)).is_ok()
    }

    /// The next frame that another worker has handed over.
    pub fn receive(&self) -> Option<(PortId, F)> {
        self.rings[self.me].pop()
    }
}
