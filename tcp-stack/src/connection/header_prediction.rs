//! Segments of a peer that sends while we have nothing in flight: those that go on where the one before them has ended (header
//! prediction, RFC 7323 5.6). Of a burst, most are those that a receive offload (GRO, LRO) would merge before TCP sees them.
//!
//! They stay as they are, so that no frame is held and no header rewritten for it. What is spared is the same: all of TCP's input but
//! the copy of their bytes, and for the first of a burst what is measured once for all of it.

use super::{Connection, State};
use crate::{Instant, Payload, PlainSegment};

/// Whether a segment is the one that was expected next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// It is, and has been taken in.
    Right,
    /// Nothing was done: it is for [`Connection::handle_segment`].
    Wrong,
}

impl<P: Payload> Connection<P> {
    /// Takes in a segment, if it goes on where the one before it has ended and says nothing else. With that it has been handled: the
    /// outcome is that of [`handle_segment`](Self::handle_segment), for which the segment need not be parsed.
    ///
    /// What there is to do is little, and less where the one before has been handled at this very time.
    #[inline]
    pub fn handle_plain(&mut self, now: Instant, segment: &PlainSegment<'_>) -> Prediction {
        if !self.goes_on(now, segment) {
            return Prediction::Wrong;
        }
        self.stats.segments_in += 1;
        let is_first = !self.ack.came_at(now);
        if is_first {
            self.begin_burst(now, segment);
        }
        self.stats.merged += u64::from(!is_first);
        let len = segment.payload.len();
        let copied = self.rcv.buffer.append(segment.payload);
        self.rcv.nxt += len as u32;
        self.rcv.segment_size = self.rcv.segment_size.max(len as u32);
        self.take_window(segment.seq, segment.window, self.snd.una);
        self.take_peer_clock(now, segment.seq, segment.timestamps);
        self.stats.bytes_in += len as u64;
        self.stats.bytes_copied += copied as u64;
        self.owe_ack_for_payload(now, len);
        if is_first {
            self.watch_memory(now);
        }
        Prediction::Right
    }

    /// What the first segment of a burst says beside its payload: that the peer is there, and how fast it is.
    fn begin_burst(&mut self, now: Instant, segment: &PlainSegment<'_>) {
        self.last_heard = now;
        self.keep_alive_probes = 0;
        // It answers a probe of the window, too (RFC 9293 3.8.6.1).
        self.snd.retries = 0;
        self.snd.progress_at = now;
        if self.rcv.data_at < now {
            self.tune_window(now, segment.timestamps);
        }
        self.rcv.data_at = now;
    }

    /// Nothing but its payload is new.
    #[inline]
    fn goes_on(&self, now: Instant, segment: &PlainSegment<'_>) -> bool {
        let (snd, rcv) = (&self.snd, &self.rcv);
        let in_place = segment.seq == rcv.nxt
            && (1..=rcv.adv.since(rcv.nxt) as usize).contains(&segment.payload.len())
            && !rcv.buffer.has_gap()
            && rcv.fin.is_none();
        // With something in flight every ACK is looked at.
        let acknowledges_nothing = segment.ack == snd.una && snd.una == snd.nxt;
        // PAWS (RFC 7323 5.3, R1), which prediction must not leave out.
        let is_old = || self.clock.zip(segment.timestamps).is_some_and(|(c, peer)| c.is_old(now, peer.val));
        self.state == State::Established && in_place && acknowledges_nothing && !is_old()
    }
}
