//! Frames on their way to a mirror's port: a bounded queue that drops its oldest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::frame::{Layers, turn_into_reset};
use crate::counters::MirrorCounters;
use crate::port::{BURST, Frame, Io};
use crate::reason::MirrorDrop;

/// Frames that wait for the port at most: 1.5 MB of full ones, a millisecond at 10 Gbit/s.
const DEPTH: usize = 1024;
/// RSTs that wait beside them: each is the last of its conversation.
const RESETS: usize = 256;

/// Set when a frame of a conversation was dropped.
pub(super) type Lost = Arc<AtomicBool>;

/// What waits for one mirror's port.
pub struct MirrorQueue<F> {
    /// On their way: what the port did not take the last time, before all others.
    sending: Vec<F>,
    resets: VecDeque<F>,
    waiting: VecDeque<Waiting<F>>,
    /// Frames that came since the port was last asked.
    fresh: usize,
}

struct Waiting<F> {
    frame: F,
    /// None: a copy of a frame, which stands for itself.
    of: Option<(Lost, Layers)>,
}

impl<F: Frame> Default for MirrorQueue<F> {
    fn default() -> Self {
        Self {
            sending: Vec::with_capacity(BURST),
            resets: VecDeque::with_capacity(RESETS),
            waiting: VecDeque::with_capacity(DEPTH),
            fresh: 0,
        }
    }
}

impl<F: Frame> MirrorQueue<F> {
    /// Most frames that are out in it.
    pub const FRAMES: usize = DEPTH + RESETS + BURST;

    /// A frame of a conversation.
    pub(super) fn push(&mut self, counters: &MirrorCounters, frame: F, lost: &Lost, layers: Layers) {
        self.push_waiting(counters, Waiting { frame, of: Some((Arc::clone(lost), layers)) });
    }

    /// A copy of a frame.
    pub(super) fn push_copy(&mut self, counters: &MirrorCounters, frame: F) {
        self.push_waiting(counters, Waiting { frame, of: None });
    }

    fn push_waiting(&mut self, counters: &MirrorCounters, waiting: Waiting<F>) {
        if self.waiting.len() >= DEPTH {
            self.drop_oldest(counters);
        }
        self.waiting.push_back(waiting);
        self.fresh += 1;
    }

    /// A burst is together, so that the port may have it.
    pub(super) fn has_burst(&self) -> bool {
        self.fresh >= BURST
    }

    /// Gives up the oldest frame. If it was a conversation's, that ends with it.
    pub(super) fn drop_oldest(&mut self, counters: &MirrorCounters) {
        let Some(Waiting { mut frame, of }) = self.waiting.pop_front() else { return };
        let Some((lost, layers)) = of else { return counters.drop_frame(MirrorDrop::Overrun) };
        if lost.swap(true, Relaxed) {
            return counters.drop_frame(MirrorDrop::FlowLost);
        }
        counters.drop_frame(MirrorDrop::Overrun);
        counters.flows_lost.inc();
        if self.resets.len() < RESETS && turn_into_reset(&mut frame, layers) {
            self.resets.push_back(frame);
        }
    }

    /// The next frame to be sent.
    fn next(&mut self, counters: &MirrorCounters) -> Option<F> {
        if let Some(reset) = self.resets.pop_front() {
            return Some(reset);
        }
        while let Some(Waiting { frame, of }) = self.waiting.pop_front() {
            if of.is_none_or(|(lost, _)| !lost.load(Relaxed)) {
                return Some(frame);
            }
            counters.drop_frame(MirrorDrop::FlowLost);
        }
        None
    }

    /// Sends what the port takes.
    pub fn flush(&mut self, io: &mut impl Io<Frame = F>, mirror: usize, counters: &MirrorCounters) {
        self.fresh = 0;
        loop {
            while self.sending.len() < BURST
                && let Some(frame) = self.next(counters)
            {
                self.sending.push(frame);
            }
            if self.sending.is_empty() {
                return;
            }
            let before = volume(&self.sending);
            io.transmit_mirrored(mirror, &mut self.sending);
            let left = volume(&self.sending);
            counters.frames.add(before.0 - left.0);
            counters.bytes.add(before.1 - left.1);
            if !self.sending.is_empty() {
                return;
            }
        }
    }
}

fn volume<F: Frame>(frames: &[F]) -> (u64, u64) {
    (frames.len() as u64, frames.iter().map(|frame| frame.len() as u64).sum())
}
