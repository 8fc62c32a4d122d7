//! Segments of an open connection (RFC 9293 3.10.7.4), and the window that we offer.
//!
//! ```text
//!    consumed   |  readable: recv()  |  missing, or held ahead of a gap:      |  may be promised
//!               |                    |  promised, must be taken if it comes   |  later
//!  -------------|--------------------|----------------------------------------|------------------>
//!                                 RCV.NXT                                  RCV.ADV
//!                                             (RCV.NXT + largest window ever promised)
//! ```
//! RCV.ADV never goes back (RFC 9293 3.8.6, SHLD-14), and whatever lies before it is accepted. The window
//! field counts in units of 2^scale from RCV.NXT, so the edge that the peer computes can lie up to one unit
//! before RCV.ADV; it goes back, by less than a unit, only where memory does not allow to round up (RFC 7323
//! 2.4).

use super::{Connection, State, timers::Timer};
use crate::options::SACK_BLOCKS;
use crate::{Instant, Payload, Segment, Seq, Timestamps};

impl<P: Payload> Connection<P> {
    /// The checks of RFC 9293 3.10.7.4 in their order. Each may end the segment's way.
    pub(super) fn on_segment(&mut self, now: Instant, segment: &Segment<'_>) {
        if self.state == State::SynReceived && self.is_peers_syn_again(segment) {
            return self.on_syn_again(now, segment);
        }
        // RFC 5961 4.2: whatever its sequence number, a SYN here is old or forged.
        if segment.flags.syn && !segment.flags.rst {
            return self.challenge(now);
        }
        if !self.is_recent(now, segment) || !self.is_acceptable(now, segment) {
            return;
        }
        if segment.flags.rst {
            return self.on_rst(now, segment);
        }
        let Some(ack) = segment.ack else { return };
        self.last_heard = now;
        self.keep_alive_probes = 0;
        if self.state == State::SynReceived {
            if ack != self.snd.nxt || self.snd.nxt == self.snd.una {
                self.stats.bad_acks += 1;
                return self.refuse(now, segment);
            }
            self.become_established(now, segment, ack);
        } else if !self.on_ack(now, segment, ack) || self.state == State::Closed {
            return;
        }
        self.take_peer_clock(now, segment.seq, segment.options.timestamps);
        if self.state.may_receive() {
            self.take_payload(now, segment);
            self.take_fin(now, segment);
        }
        self.watch_fin_wait_2(now);
    }

    /// A SYN like the one that has brought us to SYN-RECEIVED: sent again by a peer that has not got our
    /// answer, or crossing ours when both open at the same time (RFC 9293 3.5, figure 7).
    fn is_peers_syn_again(&self, segment: &Segment<'_>) -> bool {
        segment.flags.syn && !segment.flags.rst && segment.seq + 1 == self.rcv.nxt
    }

    fn on_syn_again(&mut self, now: Instant, segment: &Segment<'_>) {
        match segment.ack {
            Some(ack) if ack == self.snd.nxt && self.snd.nxt != self.snd.una => {
                self.become_established(now, segment, ack);
                self.ack.owe_now();
            }
            Some(_) => self.refuse(now, segment),
            None => self.snd.syn_due = true,
        }
    }

    /// PAWS (RFC 7323 5.3, R1). A segment without timestamps passes even if both ends agreed on them: RFC
    /// 7323 3.2 would have it dropped, but stacks and middleboxes that leave them out are real, and hosts
    /// accept it.
    fn is_recent(&mut self, now: Instant, segment: &Segment<'_>) -> bool {
        let (Some(clock), Some(peer)) = (self.clock, segment.options.timestamps) else { return true };
        if segment.flags.rst || !clock.is_old(now, peer.val) {
            return true;
        }
        self.stats.paws_dropped += 1;
        self.answer_unacceptable(now, segment);
        false
    }

    /// RFC 5961: the answer to a segment that a stranger may have made. It tells a true peer where we are.
    pub(super) fn challenge(&mut self, now: Instant) {
        self.stats.challenges += 1;
        if self.may_challenge(now) {
            self.ack.owe_now();
        }
    }

    /// Whether one more reply to a doubtful segment may be sent now.
    pub(super) fn may_challenge(&mut self, now: Instant) -> bool {
        let may = self.challenges.take(now);
        self.stats.challenges_limited += u32::from(!may);
        may
    }

    /// The first check of RFC 9293 3.10.7.4, a little wider than its table: a pure ACK may lie on the right
    /// edge itself (the peer has filled the window), a segment that reaches over both edges is acceptable,
    /// and with a closed window all that begins at RCV.NXT is looked at (its ACK counts, and so does a FIN).
    fn is_acceptable(&mut self, now: Instant, segment: &Segment<'_>) -> bool {
        let (nxt, window) = (self.rcv.nxt, self.rcv.adv.since(self.rcv.nxt));
        let acceptable = match (segment.seq_len(), window) {
            (0, _) => segment.seq.since(nxt) <= window,
            // No payload is taken, but the ACK that comes with it is, as from any peer that did not get our last one.
            (_, 0) => segment.seq.at_or_before(nxt) && segment.end().after(nxt),
            (_, _) => segment.seq.before(self.rcv.adv) && segment.end().after(nxt),
        };
        if acceptable {
            return true;
        }
        self.stats.unacceptable += 1;
        self.note_keep_alive(segment);
        if !segment.flags.rst {
            self.answer_unacceptable(now, segment);
        }
        false
    }

    /// Tells the peer where we are: at once if it has sent something that takes sequence numbers (its ACK was
    /// lost), within limits if not: two ends that each find the other's ACKs unacceptable would never stop.
    fn answer_unacceptable(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.payload.is_empty() && !segment.flags.fin {
            return self.challenge(now);
        }
        if segment.end().at_or_before(self.rcv.nxt) {
            self.stats.duplicate_segments += 1;
            self.rcv.duplicate = (!segment.payload.is_empty()).then(|| payload_of(segment));
        }
        self.ack.owe_now();
        // RFC 9293 3.10.7.4: the peer has not got our last ACK, so all of TIME-WAIT begins again.
        if self.state == State::TimeWait && segment.flags.fin {
            self.enter_time_wait(now);
        }
    }

    /// RFC 5961 3.2: only a RST exactly at RCV.NXT counts. The segment is acceptable.
    fn on_rst(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.seq == self.rcv.nxt { self.on_reset() } else { self.challenge(now) }
    }

    /// RFC 7323 4.3: TS.Recent is taken from segments that begin at or before the last acknowledgement sent.
    pub(super) fn take_peer_clock(&mut self, now: Instant, seq: Seq, timestamps: Option<Timestamps>) {
        if let (Some(clock), Some(peer)) = (&mut self.clock, timestamps)
            && seq.at_or_before(self.rcv.last_ack)
        {
            clock.take(now, peer.val);
        }
    }

    /// Sets the limit of the window by what the last round trip has brought.
    pub(super) fn tune_window(&mut self, now: Instant, timestamps: Option<Timestamps>) {
        let echo = self.clock.zip(timestamps).and_then(|(c, t)| c.round_trip(now, t.ecr));
        let rcv = &mut self.rcv;
        rcv.tuner.time_round_trip(now, echo, (rcv.nxt, rcv.adv.since(rcv.nxt)));
        // Where segments have been merged on their way, the MSS says how large they were.
        let segment_size = rcv.segment_size.min(u32::from(self.snd.mss)) as usize;
        rcv.tuner.adjust(now, self.rtt.srtt(), segment_size, self.config.release_after);
    }

    /// Takes that part of the payload which is new, within the window and before the FIN.
    fn take_payload(&mut self, now: Instant, segment: &Segment<'_>) {
        let mut data = segment.payload;
        if data.is_empty() {
            return;
        }
        // What a burst brings is measured once, as it would be had the path merged its segments.
        if self.rcv.data_at < now {
            self.tune_window(now, segment.options.timestamps);
        }
        let known = (self.rcv.nxt.since_or_zero(segment.seq) as usize).min(data.len());
        data = &data[known..];
        if known > 0 {
            self.rcv.duplicate = Some((segment.seq, segment.seq + known as u32));
        }
        let ahead = (segment.seq + known as u32).since(self.rcv.nxt) as usize;
        data = &data[..data.len().min(self.room_beyond(ahead))];
        if data.is_empty() {
            if known == segment.payload.len() {
                self.stats.duplicate_segments += 1;
            }
            // Duplicate, or the window is closed: the peer has to know.
            return self.ack.owe_now();
        }
        let (had_gap, first) = (self.rcv.buffer.has_gap(), self.rcv.nxt + ahead as u32);
        match self.rcv.buffer.write(ahead, data) {
            Ok(written) => {
                self.rcv.nxt += written.delivered as u32;
                self.rcv.segment_size = self.rcv.segment_size.max(segment.payload.len() as u32);
                self.rcv.data_at = now;
                self.stats.bytes_in += written.delivered as u64;
                self.stats.bytes_copied += written.copied as u64;
                self.stats.out_of_order += u32::from(ahead > 0);
                self.stats.overlaps += u32::from(written.overlap.is_some());
                if let Some(part) = written.overlap {
                    self.rcv.duplicate = Some((first + part.start as u32, first + part.end as u32));
                }
                self.stats.overlap_conflicts += u32::from(written.conflict);
            }
            Err(_) => self.stats.out_of_order_dropped += 1,
        }
        // RFC 5681 4.2: at once for a segment ahead of a gap and for one that fills a gap, whole or in part.
        if ahead > 0 || had_gap || data.len() < segment.payload.len() {
            self.ack.owe_now();
        } else {
            self.owe_ack_for_payload(now, segment.payload.len());
        }
    }

    /// Whether there is something to tell the peer beyond the ACK.
    pub(super) fn owes_sack(&self) -> bool {
        self.sack && (self.rcv.duplicate.is_some() || self.rcv.buffer.has_gap())
    }

    /// What the peer is told beyond the ACK: bytes that came twice (RFC 2883 4), then the ranges held ahead of gaps,
    /// the latest first (RFC 2018 4). A duplicate above RCV.NXT is followed by the range that it lies in, as that is
    /// the one touched last.
    pub(super) fn sack_blocks(&self) -> [Option<(Seq, Seq)>; SACK_BLOCKS] {
        let mut blocks = [None; SACK_BLOCKS];
        if !self.owes_sack() {
            return blocks;
        }
        let held = self.rcv.buffer.latest_held().into_iter().flatten();
        let held = held.map(|range| (self.rcv.nxt + range.start, self.rcv.nxt + range.end));
        // Timestamps take the room of one block (RFC 2018 3).
        let room = SACK_BLOCKS - usize::from(self.clock.is_some());
        for (slot, block) in blocks[..room].iter_mut().zip(self.rcv.duplicate.into_iter().chain(held)) {
            *slot = Some(block);
        }
        blocks
    }

    /// Bytes that are accepted from `ahead` bytes beyond RCV.NXT on.
    fn room_beyond(&self, ahead: usize) -> usize {
        let rcv = &self.rcv;
        let window = rcv.adv.since(rcv.nxt) as usize;
        let order = if ahead > 0 { self.config.out_of_order_limit } else { usize::MAX };
        let stream = rcv.fin.map_or(usize::MAX, |fin| fin.since(rcv.nxt) as usize);
        window.min(order).min(stream).saturating_sub(ahead)
    }

    /// Notes the FIN of a segment, and acts on it once everything before it is here.
    fn take_fin(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.flags.fin {
            self.ack.owe_now();
        }
        if segment.flags.fin && self.rcv.fin.is_none() {
            let seq = segment.seq + segment.payload.len() as u32;
            // One step over the edge is allowed: a FIN takes no memory, and a peer that has filled the window
            // sends it there.
            let in_window = seq.since(self.rcv.nxt) <= self.rcv.adv.since(self.rcv.nxt);
            // Bytes received first win over a FIN that comes later and denies them.
            let after_all = self.rcv.buffer.held_end().is_none_or(|end| end <= seq.since(self.rcv.nxt));
            if in_window && after_all {
                self.rcv.fin = Some(seq);
            }
        }
        if self.rcv.fin == Some(self.rcv.nxt) {
            self.rcv.nxt += 1;
            self.rcv.adv = self.rcv.adv.later(self.rcv.nxt);
            self.timers.cancel(Timer::DelayedAck);
            self.ack.owe_now();
            self.on_peer_fin(now);
        }
    }

    /// The right edge that could be promised now.
    fn possible_edge(&self) -> Seq {
        let rcv = &self.rcv;
        // A window below the unit of its field could not be told, so a limit that is not zero means two units
        // at least.
        let limit = if rcv.limit() == 0 { 0 } else { rcv.limit().max(2 << rcv.scale) };
        let room = limit.saturating_sub(rcv.buffer.len()).min(usize::from(u16::MAX) << rcv.scale);
        (rcv.nxt + room as u32).later(rcv.adv)
    }

    /// The window field for a segment that is sent now. Promises more only if it is worth a segment to the
    /// peer: receiver's silly window avoidance (RFC 9293 3.8.6.2.2).
    pub(super) fn advertise(&mut self, is_syn: bool) -> u16 {
        let edge = self.possible_edge();
        if edge.since(self.rcv.adv) >= self.worthwhile() {
            self.rcv.adv = edge;
        }
        // RFC 7323 2.2: the window of a SYN is not scaled.
        let scale = if is_syn { 0 } else { self.rcv.scale };
        let mut window = (self.rcv.adv.since(self.rcv.nxt) >> scale).min(u32::from(u16::MAX));
        if (self.rcv.nxt + (window << scale)).before(self.rcv.told) {
            // Rounded down it would take back part of the last unit. Rounded up it grants a little more each
            // time, which memory has to allow.
            let more = (window + 1) << scale;
            if window < u32::from(u16::MAX) && self.rcv.buffer.len() + more as usize <= self.most_held() {
                window += 1;
                self.rcv.adv = self.rcv.adv.later(self.rcv.nxt + more);
            }
        }
        self.rcv.told = self.rcv.nxt + (window << scale);
        window as u16
    }

    /// Bytes that may be held so that a promise need not be taken back: the limit and a quarter, two units at
    /// least.
    fn most_held(&self) -> usize {
        self.rcv.limit() + (self.rcv.limit() / 4).max(2 << self.rcv.scale)
    }

    /// The window field of a first SYN, when no peer is known to promise anything to.
    pub(super) fn first_window(&self) -> u16 {
        self.rcv.limit().min(usize::from(u16::MAX)) as u16
    }

    /// Sends a window update if the peer may be waiting for one: it has less than a segment left, or less
    /// than half of the limit while two segments can be added. Otherwise the next ACK will carry it.
    pub(super) fn consider_window_update(&mut self) {
        if !self.state.may_receive() {
            return;
        }
        let left = self.rcv.adv.since(self.rcv.nxt);
        let gain = self.possible_edge().since(self.rcv.adv);
        let stalled = left < self.rcv.segment_size && gain >= self.worthwhile();
        let running_low = (left as usize) < self.rcv.limit() / 2 && gain >= 2 * self.rcv.segment_size;
        if gain > 0 && (stalled || running_low) {
            self.ack.owe_now();
        }
    }

    fn worthwhile(&self) -> u32 {
        self.rcv.segment_size.min((self.rcv.limit() / 2).min(u32::MAX as usize) as u32)
    }
}

/// First sequence number of a segment's payload, and one after its last.
fn payload_of(segment: &Segment<'_>) -> (Seq, Seq) {
    (segment.seq, segment.seq + segment.payload.len() as u32)
}
