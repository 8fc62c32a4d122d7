//! The way from a worker to the writer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crossbeam::queue::ArrayQueue;

use super::worker::Interface;
use crate::counters::Counter;
use crate::event::Timestamp;
use crate::reason::CaptureDrop;
use crate::tls::Secrets;

/// Bytes of a buffer: the largest frame that leaves an engine whose port cuts it into segments.
pub const BUFFER: usize = 66 * 1024;
/// Buffers of a worker. Of each, only the pages that frames have reached are in memory.
const BUFFERS: usize = 2048;
/// Notes that may wait: more flows begin or end in the time in which the writer looks only under a flood.
const NOTES: usize = 4096;

/// A frame.
pub struct Captured {
    /// Number of its flow.
    pub flow: u64,
    /// Where it went by.
    pub interface: Interface,
    /// When.
    pub time: Timestamp,
    buffer: Box<[u8]>,
    len: usize,
}

/// What the writer has to know of a flow.
pub enum Note {
    /// The secrets of both its legs.
    Secrets(u64, Secrets),
    /// No more is taken of it: it has ended, or is none that is wanted.
    Over(u64),
}

/// Frames and notes of one worker, in its order; notes come beside the frames.
pub struct CaptureRing {
    is_on: AtomicBool,
    free: ArrayQueue<Box<[u8]>>,
    frames: ArrayQueue<Captured>,
    notes: ArrayQueue<Note>,
    taken: AtomicU64,
    drops: [Counter; CaptureDrop::COUNT],
}

impl Captured {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Default for CaptureRing {
    /// On, with all buffers free.
    fn default() -> Self {
        let free = ArrayQueue::new(BUFFERS);
        for _ in 0..BUFFERS {
            let _ = free.push(vec![0; BUFFER].into_boxed_slice());
        }
        Self {
            is_on: AtomicBool::new(true),
            free,
            frames: ArrayQueue::new(BUFFERS),
            notes: ArrayQueue::new(NOTES),
            taken: AtomicU64::new(0),
            drops: Default::default(),
        }
    }
}

impl CaptureRing {
    /// Something is taken. One load.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// Nothing more is taken.
    pub fn turn_off(&self) {
        self.is_on.store(false, Relaxed);
    }

    /// Frames that were taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// How many were lost so.
    pub fn dropped(&self, why: CaptureDrop) -> u64 {
        self.drops[why as usize].value()
    }

    /// One was lost so: by the worker. What the writer loses it counts itself.
    pub(super) fn drop_frame(&self, why: CaptureDrop) {
        self.drops[why as usize].inc();
    }

    /// A buffer to be filled: a free one, or else that of the oldest frame.
    pub(super) fn buffer(&self) -> Option<Box<[u8]>> {
        self.free.pop().or_else(|| {
            let oldest = self.frames.pop()?;
            self.drop_frame(CaptureDrop::Overrun);
            Some(oldest.buffer)
        })
    }

    pub(super) fn push(
        &self,
        (flow, interface, time): (u64, Interface, Timestamp),
        buffer: Box<[u8]>,
        len: usize,
    ) {
        let len = len.min(buffer.len());
        // There are as many places as buffers.
        if self.frames.push(Captured { flow, interface, time, buffer, len }).is_ok() {
            self.taken.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn give_back(&self, buffer: Box<[u8]>) {
        let _ = self.free.push(buffer);
    }

    pub(super) fn note(&self, note: Note) {
        if self.notes.push(note).is_err() {
            self.drop_frame(CaptureDrop::NoteLost);
        }
    }

    /// The next note. For the writer: those that are there are to be taken before frames, so that a flow's last frames come before
    /// the word that it is over.
    pub fn next_note(&self) -> Option<Note> {
        self.notes.pop()
    }

    /// Frames that wait.
    pub fn waiting(&self) -> usize {
        self.frames.len()
    }

    /// Has the next frame read, if there is one.
    pub fn next_frame<T>(&self, read: impl FnOnce(&Captured) -> T) -> Option<T> {
        let frame = self.frames.pop()?;
        let result = read(&frame);
        self.give_back(frame.buffer);
        Some(result)
    }
}
