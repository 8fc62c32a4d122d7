//! Routers' messages about the segments that legs have sent (see `packet/icmp.rs`).

use wireglass_core::packet::{FlowKey, IcmpHeaders, too_big};
use wireglass_core::port::{Frame, Io, PortId};
use wireglass_core::reason::PathMessage;

use super::Worker;

impl<IO: Io> Worker<IO> {
    /// An ICMP message. Those that say that a segment of ours was too big end here; all others pass, as they are about what
    /// an endpoint has sent, or errors that an established connection outlives (RFC 5461 4): its end knows what to do.
    pub(super) fn handle_icmp(&mut self, port: PortId, frame: IO::Frame, at: &IcmpHeaders) {
        let message = match too_big(frame.data(), at) {
            Ok(Some(message)) if self.is_candidate(message.source, message.destination) => message,
            Ok(_) => return self.cx.forward(port.opposite(), frame),
            Err(why) => return self.pass_on(port, frame, why),
        };
        let key = FlowKey::between(port.wire, message.vlan, message.source, message.destination);
        let hash = self.hasher.flow(&key);
        let Some(frame) = self.steer(port, frame, hash) else { return };
        let Some(id) = self.table.find(hash, &key) else {
            return self.pass_on(port, frame, PathMessage::NoLeg);
        };
        self.with_flow(id, |flow, cx| {
            let from = cx.orientation.end_behind(port.side);
            flow.handle_too_big(cx, from, frame, &message);
        });
    }

    fn pass_on(&mut self, port: PortId, frame: IO::Frame, why: PathMessage) {
        self.cx.counters.path_message(why);
        self.cx.forward(port.opposite(), frame);
    }
}
