//! A worker's end of a capture.

use std::sync::Arc;

use super::frame::BufferFrame;
use super::ring::{CaptureRing, Note};
use crate::event::Timestamp;
use crate::port::{Frame, PortId};
use crate::reason::CaptureDrop;
use crate::tls::Secrets;

/// What is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureSettings {
    /// Names of the profiles whose flows are taken; empty: all.
    pub profiles: Vec<String>,
    /// Frames and plaintext; otherwise only the secrets.
    pub frames: bool,
}

impl CaptureSettings {
    /// Flows that are decrypted with this profile are taken.
    pub fn wants(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.iter().any(|wanted| wanted == profile)
    }
}

/// Where something went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// At a port, in either direction.
    Port(PortId),
    /// Nowhere: it is plaintext.
    Plaintext,
}

/// A worker's end.
pub struct WorkerCapture {
    settings: CaptureSettings,
    ring: Arc<CaptureRing>,
    /// The flow that is called now, if it is taken.
    flow: Option<u64>,
}

impl WorkerCapture {
    /// Takes this into that ring.
    pub fn new(settings: CaptureSettings, ring: Arc<CaptureRing>) -> Self {
        Self { settings, ring, flow: None }
    }

    /// What is taken.
    pub fn settings(&self) -> &CaptureSettings {
        &self.settings
    }

    /// Something is taken at all.
    pub fn is_on(&self) -> bool {
        self.ring.is_on()
    }

    /// What is sent from now on is this flow's.
    pub fn enter(&mut self, flow: Option<u64>) {
        self.flow = flow;
    }

    /// The flow that is called now is taken, if its profile is this one.
    pub(crate) fn wants(&self, profile: &str) -> bool {
        self.flow.is_some() && self.is_on() && self.settings.wants(profile)
    }

    /// Plaintext of the flow that is called now is taken, if its profile is this one.
    pub(crate) fn wants_plaintext(&self, profile: &str) -> bool {
        self.settings.frames && self.wants(profile)
    }

    /// The flow is called, and sends this.
    pub fn sent(&self, time: Timestamp, port: PortId, frame: &impl Frame) {
        if let Some(flow) = self.flow {
            self.frame(flow, time, port, frame);
        }
    }

    /// This has come in, and is a flow's.
    pub fn frame(&self, flow: u64, time: Timestamp, port: PortId, frame: &impl Frame) {
        if !self.settings.frames || !self.is_on() {
            return;
        }
        let Some(mut buffer) = self.ring.buffer() else { return };
        match frame.copy_to(&mut buffer) {
            Some(len) => self.ring.push((flow, Interface::Port(port), time), buffer, len),
            None => {
                self.ring.drop_frame(CaptureDrop::TooLong);
                self.ring.give_back(buffer);
            }
        }
    }

    /// Has `write` make a frame of plaintext of the flow that is called now.
    pub(crate) fn plaintext(&self, time: Timestamp, write: impl FnOnce(&mut BufferFrame) -> bool) {
        let Some(flow) = self.flow.filter(|_| self.is_on()) else { return };
        let Some(buffer) = self.ring.buffer() else { return };
        let mut frame = BufferFrame { buffer, len: 0 };
        if write(&mut frame) {
            self.ring.push((flow, Interface::Plaintext, time), frame.buffer, frame.len);
        } else {
            self.ring.drop_frame(CaptureDrop::TooLong);
            self.ring.give_back(frame.buffer);
        }
    }

    /// The secrets of the flow that is called now.
    pub(crate) fn secrets(&self, secrets: Secrets) {
        if let Some(flow) = self.flow.filter(|_| self.is_on()) {
            self.ring.note(Note::Secrets(flow, secrets));
        }
    }

    /// No more is taken of a flow.
    pub fn over(&self, flow: u64) {
        if self.is_on() {
            self.ring.note(Note::Over(flow));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{BUFFER, Note};
    use crate::memory_port::MemoryFrame;
    use crate::port::PortSide;

    const PORT: PortId = PortId { wire: 0, side: PortSide::Inside };

    fn capture() -> (WorkerCapture, Arc<CaptureRing>) {
        let ring = Arc::new(CaptureRing::default());
        let settings = CaptureSettings { frames: true, ..CaptureSettings::default() };
        (WorkerCapture::new(settings, Arc::clone(&ring)), ring)
    }

    #[test]
    fn a_frame_that_is_too_long_costs_no_buffer() {
        let (capture, ring) = capture();
        for _ in 0..5_000 {
            capture.frame(1, Timestamp(0), PORT, &MemoryFrame(vec![0; BUFFER + 1]));
        }
        capture.frame(1, Timestamp(0), PORT, &MemoryFrame(vec![7; BUFFER]));
        assert_eq!((ring.dropped(CaptureDrop::TooLong), ring.dropped(CaptureDrop::Overrun)), (5_000, 0));
        assert_eq!(ring.next_frame(|frame| (frame.flow, frame.bytes().len())), Some((1, BUFFER)));
    }

    #[test]
    fn only_what_the_called_flow_sends_is_its_own_and_nothing_after_the_end() {
        let (mut capture, ring) = capture();
        let frame = MemoryFrame(vec![1; 60]);
        capture.sent(Timestamp(0), PORT, &frame);
        capture.enter(Some(7));
        assert!(capture.wants("any"));
        capture.sent(Timestamp(0), PORT, &frame);
        ring.turn_off();
        capture.sent(Timestamp(0), PORT, &frame);
        assert!(!capture.wants("any"));
        assert_eq!((ring.taken(), ring.next_frame(|frame| frame.flow)), (1, Some(7)));
    }

    #[test]
    fn notes_that_nobody_takes_are_counted() {
        let (capture, ring) = capture();
        for flow in 0..5_000 {
            capture.over(flow);
        }
        let waiting =
            std::iter::from_fn(|| ring.next_note()).filter(|note| matches!(note, Note::Over(_))).count();
        assert_eq!(waiting as u64 + ring.dropped(CaptureDrop::NoteLost), 5_000);
        assert!(ring.dropped(CaptureDrop::NoteLost) > 0);
    }
}
