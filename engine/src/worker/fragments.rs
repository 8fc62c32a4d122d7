//! Fragments of TCP segments: all of a packet meet at one worker, and what becomes of them goes its way.

use tcp_stack::Instant;
use wireglass_core::packet::{Fragment, FragmentKey};
use wireglass_core::port::{Frame, Io, PortId};
use wireglass_core::reassembly::{Limits, Reassembler, Taken, Whole};

use super::Worker;

/// Share of the frames that a worker may hold for hellos that it may hold in fragments besides.
const SHARE: usize = 4;

/// The fragments that wait at a worker.
pub(super) struct Fragments<F> {
    reassembler: Reassembler<F>,
    /// Reused for each packet.
    rebuilt: Vec<F>,
}

impl<F: Frame> Fragments<F> {
    pub(super) fn new(held_frames: usize) -> Self {
        let reassembler = Reassembler::new(Limits::of_held(held_frames / SHARE));
        Self { reassembler, rebuilt: Vec::new() }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.reassembler.poll_timeout()
    }
}

impl<IO: Io> Worker<IO> {
    /// A fragment of a TCP segment. Which worker puts it together does not depend on the ports: most fragments have none.
    pub(super) fn handle_fragment(&mut self, port: PortId, frame: IO::Frame, fragment: &Fragment) {
        let key = FragmentKey::new(port, fragment);
        let hash = self.hasher.hash(&key);
        let Some(frame) = self.steer(port, frame, hash) else { return };
        let ends = fragment.ends(frame.data());
        let intercepted = ends.is_some_and(|(source, destination)| self.is_candidate(source, destination));
        let (now, counters) = (self.cx.now, &self.cx.counters);
        let reassembler = &mut self.fragments.reassembler;
        match reassembler.take(now, (hash, key), fragment, frame, intercepted, counters) {
            Taken::Nothing => {}
            Taken::Forward(mut pieces) => {
                pieces.drain(..).for_each(|piece| self.cx.forward(port.opposite(), piece.frame));
                self.fragments.reassembler.recycle(pieces);
            }
            Taken::Whole(whole) => self.handle_whole(port, whole),
        }
    }

    /// Drops the fragments whose time is up.
    pub(super) fn expire_fragments(&mut self) {
        self.fragments.reassembler.expire(self.cx.now, &self.cx.counters);
    }

    /// A segment that is whole now is as good as one that came in one piece, and no better.
    fn handle_whole(&mut self, port: PortId, whole: Whole<IO::Frame>) {
        let mut rebuilt = std::mem::take(&mut self.fragments.rebuilt);
        let mtu = self.cx.io.mtu(port.wire);
        if let Err(reason) = whole.rebuild(mtu, || self.cx.io.allocate(), &mut rebuilt) {
            self.cx.counters.drop_packet(reason);
            rebuilt.clear();
        }
        self.fragments.reassembler.recycle(whole.into_pieces());
        for frame in rebuilt.drain(..) {
            self.handle_frame(port, frame);
        }
        self.fragments.rebuilt = rebuilt;
    }
}
