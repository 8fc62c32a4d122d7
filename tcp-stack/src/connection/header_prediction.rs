//! Segments that only go on where the one before them in the burst has ended: those that a receive offload (GRO, LRO) would merge
//! before TCP sees them.
//!
//! They stay as they are, so that no frame is held and no header rewritten for it. What is spared is the same: all of TCP's input but
//! the copy of their bytes (header prediction, RFC 7323 5.6).

use super::{Connection, State};
use crate::{Instant, Payload, Segment};

impl<P: Payload> Connection<P> {
    /// Takes the payload of such a segment. False: it is none, and nothing was done.
    ///
    /// Does what [`on_segment`](Self::on_segment) would do, which is little: the one before has been handled at this very time.
    pub(super) fn merge(&mut self, now: Instant, segment: &Segment<'_>) -> bool {
        if !self.goes_on(now, segment) {
            return false;
        }
        let len = segment.payload.len();
        let copied = self.rcv.buffer.append(segment.payload);
        self.rcv.nxt += len as u32;
        self.rcv.segment_size = self.rcv.segment_size.max(len as u32);
        self.take_window(segment, self.snd.una);
        self.take_peer_clock(now, segment);
        self.stats.merged += 1;
        self.stats.bytes_in += len as u64;
        self.stats.bytes_copied += copied as u64;
        self.owe_ack_for_payload(now, len);
        true
    }

    /// Nothing but its payload is new.
    fn goes_on(&self, now: Instant, segment: &Segment<'_>) -> bool {
        let (snd, rcv, flags) = (&self.snd, &self.rcv, segment.flags);
        let in_a_burst = self.state == State::Established && self.ack.came_at(now);
        let in_place = segment.seq == rcv.nxt
            && (1..=rcv.adv.since(rcv.nxt) as usize).contains(&segment.payload.len())
            && !(flags.syn || flags.fin || flags.rst || rcv.buffer.has_gap())
            && rcv.fin.is_none();
        // With something in flight every ACK is looked at.
        let acknowledges_nothing =
            segment.ack == Some(snd.una) && snd.una == snd.nxt && segment.options.sack[0].is_none();
        // PAWS (RFC 7323 5.3, R1), which prediction must not leave out.
        let is_old =
            || self.clock.zip(segment.options.timestamps).is_some_and(|(c, peer)| c.is_old(now, peer.val));
        in_a_burst && in_place && acknowledges_nothing && !is_old()
    }
}
