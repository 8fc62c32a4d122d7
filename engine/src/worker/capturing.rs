//! What of a flow is captured: from its SYN on, until it is known that it is none of those that are wanted.

use wireglass_core::capture::WorkerCapture;
use wireglass_core::flow_table::FlowId;
use wireglass_core::port::{Io, PortId};

use super::{Entry, Worker};

impl<IO: Io> Worker<IO> {
    /// Has it take what its flows say.
    #[must_use]
    pub fn capturing(mut self, capture: Option<WorkerCapture>) -> Self {
        self.cx.capture = capture;
        self
    }

    /// A frame of this flow has come in.
    pub(super) fn capture_received(&self, id: FlowId, port: PortId, frame: &IO::Frame) {
        if let Some(capture) = &self.cx.capture
            && let Some(entry) = self.table.get(id)
            && entry.captured
        {
            capture.frame(entry.flow.flow_id(), self.cx.wall, port, frame);
        }
    }
}

impl<IO: Io> Entry<IO> {
    /// What is sent from now on is this flow's.
    pub(super) fn enter_capture(&self, capture: &mut Option<WorkerCapture>) {
        if let Some(capture) = capture {
            capture.enter(self.captured.then(|| self.flow.flow_id()));
        }
    }

    /// It has been called. If it is over, or not wanted, no more of it is taken.
    pub(super) fn leave_capture(&mut self, capture: &mut Option<WorkerCapture>, is_over: bool) {
        let Some(capture) = capture else { return };
        capture.enter(None);
        if self.captured && (is_over || self.flow.is_not_for(capture.settings())) {
            self.captured = false;
            capture.over(self.flow.flow_id());
        }
    }
}
