//! Flows that go by, frame by frame.

use super::frame;
use crate::flow::Context;
use crate::port::{Frame, Io};
use crate::reason::MirrorDrop;

impl<IO: Io> Context<IO> {
    /// Shows a frame of a bypassed flow to the mirrors that want such.
    #[inline]
    pub fn show_frame(&mut self, frame: &IO::Frame) {
        if self.shows_bypassed {
            // A frame in several pieces shows only its first one.
            let whole = (frame.data().len() == frame.len()).then(|| frame.data());
            self.copy_to_mirrors(whole);
        }
    }

    /// Likewise, a frame that has gone by before it was known that the flow is one of those.
    pub(crate) fn show_again(&mut self, frame: &[u8]) {
        self.copy_to_mirrors(Some(frame));
    }

    fn copy_to_mirrors(&mut self, bytes: Option<&[u8]>) {
        let Self { io, shared, mirrors, counters, .. } = self;
        for (n, queue) in mirrors.iter_mut().enumerate() {
            let Some(mirror) = shared.mirrors.get(n).filter(|mirror| mirror.bypassed) else { continue };
            let counters = counters.mirror(n);
            let mut copy = io.allocate_mirrored();
            if copy.is_none() {
                queue.drop_oldest(counters);
                copy = io.allocate_mirrored();
            }
            let Some(mut copy) = copy else {
                counters.drop_frame(MirrorDrop::NoBuffer);
                continue;
            };
            if !bytes.is_some_and(|bytes| frame::copy(&mut copy, mirror, bytes)) {
                counters.drop_frame(MirrorDrop::TooLong);
                continue;
            }
            queue.push_copy(counters, copy);
            if queue.has_burst() {
                queue.flush(io, n, counters);
            }
        }
    }
}
