//! What has been sent and is not acknowledged: a record for each segment, in the order of sequence numbers.
//!
//! ```text
//!    SND.UNA                                                                            end
//!      | in flight | lost | in flight (sent again) | sacked | sacked | in flight | in flight |
//! ```
//! Each record is in one of three states, which its links show: what is in flight hangs in a list ordered by the time
//! of sending (the order in which RACK looks at it, RFC 8985 6.2), what is lost hangs in a list in the order in which it
//! is to be sent again, and what is sacked leads over the run of sacked records that it belongs to. So no ACK makes
//! anybody walk through the window: every step of a loop here changes a record's state, or ends the loop.
//!
//! Segments that were sent together, once, hang in the list as one: a run. An ACK takes as much of a run as it covers in one step;
//! whatever else becomes of one of its segments splits it first.
//!
//! Bytes leave only by the cumulative ACK: a receiver may take a SACK back (RFC 2018 8).

use std::collections::VecDeque;

use crate::{Instant, Seq};

/// Records kept for the next burst when nothing is in flight.
const KEEP_RECORDS: usize = 64;

/// Most segments of a run: to find its first one takes so many steps at most.
pub(crate) const MOST_IN_RUN: usize = 32;

/// Names of records count in 31 bits, so that this is none.
const NONE: u32 = u32::MAX;
const NAMES: u32 = NONE >> 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight,
    Lost,
    Sacked,
}

/// One segment as it was sent first.
#[derive(Clone, Copy, Debug)]
struct Record {
    seq: Seq,
    /// Sequence numbers taken: payload, and one for a FIN.
    len: u32,
    /// When it was sent last.
    sent_at: Instant,
    /// Neighbours in the list of its state; `next` of a sacked record is a later record such that all between are
    /// sacked.
    prev: u32,
    next: u32,
    /// Of a lost record: how much has been sent again, where it does not fit into one segment any more.
    resent: u32,
    /// Records of the run that begins here; 0 of those that follow its first one, whose links mean nothing.
    run: u16,
    state: State,
    /// Sent more than once, ever: what is known of its round trip is ambiguous (RFC 6298 3).
    retransmitted: bool,
}

impl Record {
    fn end(&self) -> Seq {
        self.seq + self.len
    }
}

/// A record that has arrived, as far as an ACK can tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) end: Seq,
    pub(crate) sent_at: Instant,
    pub(crate) retransmitted: bool,
    /// It was taken for lost.
    pub(crate) was_lost: bool,
}

/// A lost record's part that is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) seq: Seq,
    pub(crate) len: u32,
}

/// Ends of a list.
#[derive(Clone, Copy, Debug)]
struct Ends {
    head: u32,
    tail: u32,
}

const EMPTY: Ends = Ends { head: NONE, tail: NONE };

/// The records; see above.
///
/// `in_flight + lost + sacked == end - start`
#[derive(Debug)]
pub(crate) struct Flight {
    records: VecDeque<Record>,
    /// Name of the first record.
    base: u32,
    start: Seq,
    end: Seq,
    /// By time of sending, the oldest first.
    flying: Ends,
    /// By order of sending again.
    waiting: Ends,
    /// The lost record that was put into its list last.
    finger: u32,
    in_flight: u32,
    /// Of these, sent more than once.
    again: u32,
    lost: u32,
    sacked: u32,
    sacked_records: u32,
}

impl Flight {
    /// Bytes of memory taken.
    pub(crate) fn memory(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
    }

    /// Nothing sent; the next sequence number is `start`.
    pub(crate) fn new(start: Seq) -> Self {
        Flight {
            records: VecDeque::new(),
            base: 0,
            start,
            end: start,
            flying: EMPTY,
            waiting: EMPTY,
            finger: NONE,
            in_flight: 0,
            again: 0,
            lost: 0,
            sacked: 0,
            sacked_records: 0,
        }
    }

    /// Sequence number of the first one that is not acknowledged.
    pub(crate) fn start(&self) -> Seq {
        self.start
    }

    /// Sequence number after the last one recorded.
    pub(crate) fn end(&self) -> Seq {
        self.end
    }

    /// Records held.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Sequence numbers believed to be in the network.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Of these, those sent more than once.
    pub(crate) fn in_flight_again(&self) -> u32 {
        self.again
    }

    /// Sequence numbers to be sent again.
    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }

    /// Sequence numbers that the receiver holds ahead of a gap, so it says.
    pub(crate) fn sacked(&self) -> u32 {
        self.sacked
    }

    pub(crate) fn sacked_records(&self) -> u32 {
        self.sacked_records
    }

    /// Sequence numbers in the first record; 0 without one.
    pub(crate) fn head_len(&self) -> u32 {
        self.records.front().map_or(0, |record| record.len)
    }

    /// `count` segments of `len` sequence numbers each were sent after all others, at most [`MOST_IN_RUN`]. `again`: some of them had been
    /// sent before, in a probe.
    pub(crate) fn push(&mut self, len: u32, count: usize, now: Instant, again: bool) {
        let first = self.records.len();
        let end = self.end;
        self.records.extend((0..count as u32).map(|n| Record {
            seq: end + n * len,
            len,
            sent_at: now,
            prev: NONE,
            next: NONE,
            resent: 0,
            run: 0,
            state: State::InFlight,
            retransmitted: again,
        }));
        let bytes = len * count as u32;
        self.end += bytes;
        self.in_flight += bytes;
        if again {
            self.again += bytes;
        } else if let Some(head) = self.run_to_join(first, count, now) {
            self.records[head].run += count as u16;
            return;
        }
        self.records[first].run = count as u16;
        self.link_after(first, self.flying.tail);
    }

    /// The run that ends before `first`, if `count` segments that are sent now may join it.
    fn run_to_join(&self, first: usize, count: usize, now: Instant) -> Option<usize> {
        let head = self.place(self.flying.tail)?;
        let record = &self.records[head];
        let joins = head + usize::from(record.run) == first
            && usize::from(record.run) + count <= MOST_IN_RUN
            && record.sent_at == now
            && !record.retransmitted;
        joins.then_some(head)
    }

    /// All before `ack` is acknowledged. Tells each record that arrives with this, the first first, and returns how many
    /// sequence numbers were not known to have arrived.
    pub(crate) fn acknowledge(&mut self, ack: Seq, mut arrived: impl FnMut(Arrived)) -> u32 {
        let mut news = 0;
        while let Some(&record) = self.records.front() {
            let covered = ack.since_or_zero(record.seq).min(record.len);
            if covered == 0 {
                break;
            }
            if record.state != State::Sacked {
                news += covered;
            }
            if covered < record.len {
                self.cut_head(covered);
                break;
            }
            if record.run > 1 {
                let covered = self.records.range(..usize::from(record.run));
                let whole = covered.take_while(|record| record.end().at_or_before(ack)).count();
                self.split(whole);
                let last = self.records[whole - 1];
                news += last.end().since(record.end());
                self.leave(0);
                // All of them were sent at the same time: the last one tells what the others would.
                arrived(Arrived::of(&last));
                self.records.drain(..whole);
                self.base = self.base.wrapping_add(whole as u32) & NAMES;
                continue;
            }
            self.leave(0);
            if record.state != State::Sacked {
                arrived(Arrived::of(&record));
            }
            self.records.pop_front();
            self.base = self.base.wrapping_add(1) & NAMES;
        }
        self.start = self.start.later(ack);
        self.end = self.end.later(ack);
        news
    }

    /// The receiver holds `left..right`. Marks the records that lie in it wholly and were not marked; tells each, and
    /// returns their sequence numbers.
    pub(crate) fn sack(&mut self, left: Seq, right: Seq, mut arrived: impl FnMut(Arrived)) -> u32 {
        let before = left.since_or_zero(self.start);
        let first = self.records.partition_point(|record| record.seq.since(self.start) < before);
        let (mut pos, mut news) = (first, 0);
        loop {
            pos = self.skip_sacked(pos);
            let Some(&record) = self.records.get(pos).filter(|record| record.end().at_or_before(right))
            else {
                return news;
            };
            arrived(Arrived::of(&record));
            self.single_out(pos);
            self.leave(pos);
            let over = self.name(pos + 1);
            let slot = &mut self.records[pos];
            (slot.state, slot.next) = (State::Sacked, over);
            self.sacked += record.len;
            self.sacked_records += 1;
            news += record.len;
        }
    }

    /// The receiver cannot be believed: nothing counts as sacked, and what was is in flight again.
    pub(crate) fn forget_sacks(&mut self) {
        for pos in (0..self.records.len()).rev() {
            if self.records[pos].state == State::Sacked {
                self.leave(pos);
                self.take_off(pos, NONE);
            }
        }
    }

    /// Whether the first record is said to have arrived, though the cumulative ACK says it has not (RFC 2018 8).
    pub(crate) fn head_is_sacked(&self) -> bool {
        self.records.front().is_some_and(|record| record.state == State::Sacked)
    }

    /// The record that was sent longest ago of those in flight: when, and its end.
    pub(crate) fn oldest(&self) -> Option<(Instant, Seq)> {
        let record = self.records.get(self.place(self.flying.head)?)?;
        Some((record.sent_at, record.end()))
    }

    /// Marks the oldest record lost; returns its first sequence number.
    pub(crate) fn lose_oldest(&mut self) -> Option<Seq> {
        let pos = self.place(self.flying.head)?;
        Some(self.lose(pos))
    }

    /// Marks the first record lost if it is in flight.
    pub(crate) fn lose_head(&mut self) -> bool {
        let in_flight = self.records.front().is_some_and(|record| record.state == State::InFlight);
        if in_flight {
            self.lose(0);
        }
        in_flight
    }

    /// After a timeout: marks the first record lost, and of the others in flight those last sent at `until` or before. All that is
    /// lost is to be sent from its beginning, in the order of sequence numbers: the window has room for one segment, which must be
    /// the first (RFC 5681 3.1, RFC 6298 5.4).
    pub(crate) fn lose_sent_until(&mut self, until: Instant) {
        for pos in 0..self.records.len() {
            let record = &self.records[pos];
            let is_lost = match record.state {
                State::InFlight => pos == 0 || record.sent_at <= until,
                State::Lost => true,
                State::Sacked => false,
            };
            if is_lost {
                self.lose(pos);
            }
        }
    }

    /// Marks all in flight lost that takes more than `size` sequence numbers; returns whether there was any.
    pub(crate) fn lose_larger(&mut self, size: u32) -> bool {
        let before = self.lost;
        for pos in 0..self.records.len() {
            if self.records[pos].state == State::InFlight && self.records[pos].len > size {
                self.lose(pos);
            }
        }
        self.lost > before
    }

    /// What was taken for lost is not: it is in flight, and was sent before all that is.
    pub(crate) fn regain_lost(&mut self) {
        while let Some(pos) = self.place(self.waiting.tail) {
            self.leave(pos);
            self.take_off(pos, NONE);
        }
    }

    /// What is to be sent again first, and whether that is the first record.
    pub(crate) fn first_lost(&self) -> Option<(Lost, bool)> {
        let pos = self.place(self.waiting.head)?;
        let record = &self.records[pos];
        Some((Lost { seq: record.seq + record.resent, len: record.len - record.resent }, pos == 0))
    }

    /// `len` sequence numbers of [`Self::first_lost`] were sent again. In flight once all of them were.
    pub(crate) fn resend(&mut self, len: u32, now: Instant) {
        let Some(pos) = self.place(self.waiting.head) else { return };
        let record = &mut self.records[pos];
        record.retransmitted = true;
        record.resent += len;
        if record.resent >= record.len {
            self.leave(pos);
            self.send_again(pos, now);
        }
    }

    /// The last record, if it is in flight: its place for a probe (RFC 8985 7.3).
    pub(crate) fn last_in_flight(&self) -> Option<Lost> {
        let record = self.records.back().filter(|record| record.state == State::InFlight)?;
        Some(Lost { seq: record.seq, len: record.len })
    }

    /// The last record was sent again though it is not known to be lost.
    pub(crate) fn resend_last(&mut self, now: Instant) {
        let pos = self.records.len() - 1;
        self.single_out(pos);
        self.leave(pos);
        self.send_again(pos, now);
    }

    /// A part of the first record was sent in a probe of the window: its round trip tells nothing.
    pub(crate) fn blur_head(&mut self) {
        self.single_out(0);
        if let Some(record) = self.records.front_mut().filter(|record| !record.retransmitted) {
            record.retransmitted = true;
            self.again += if record.state == State::InFlight { record.len } else { 0 };
        }
    }

    /// Gives memory back if there is nothing to hold. Returns whether memory is still held.
    pub(crate) fn release(&mut self) -> bool {
        if self.records.is_empty() {
            self.records = VecDeque::new();
        } else if self.records.capacity() > KEEP_RECORDS && self.records.len() < KEEP_RECORDS / 2 {
            self.records.shrink_to(KEEP_RECORDS);
        }
        self.has_memory()
    }

    pub(crate) fn has_memory(&self) -> bool {
        self.records.capacity() > 0
    }

    fn lose(&mut self, pos: usize) -> Seq {
        self.single_out(pos);
        self.leave(pos);
        let record = &mut self.records[pos];
        (record.state, record.resent) = (State::Lost, 0);
        let (seq, len) = (record.seq, record.len);
        self.lost += len;
        self.queue_lost(pos);
        seq
    }

    /// Puts a record into the list of lost ones by its sequence number: where the last one was put, or in front of all,
    /// else behind all. That is the right order for all that one ACK or one timeout finds; elsewhere nearly right is
    /// good enough.
    fn queue_lost(&mut self, pos: usize) {
        let seq = self.records[pos].seq;
        let before = |name: u32| self.place(name).is_none_or(|at| self.records[at].seq.before(seq));
        let after_finger = self
            .place(self.finger)
            .filter(|&at| self.records[at].state == State::Lost && self.records[at].seq.before(seq))
            .filter(|&at| {
                let next = self.records[at].next;
                next == NONE || !before(next)
            });
        match after_finger {
            Some(at) => self.link_after(pos, self.name(at)),
            None if !before(self.waiting.head) => self.link_after(pos, NONE),
            None => self.link_after(pos, self.waiting.tail),
        }
        self.finger = self.name(pos);
    }

    /// A record that hangs nowhere was sent now.
    fn send_again(&mut self, pos: usize, now: Instant) {
        let record = &mut self.records[pos];
        (record.sent_at, record.retransmitted) = (now, true);
        self.take_off(pos, self.flying.tail);
    }

    /// A record that hangs nowhere is in flight, sent after `prev`, or before all.
    fn take_off(&mut self, pos: usize, prev: u32) {
        let record = &mut self.records[pos];
        (record.state, record.resent) = (State::InFlight, 0);
        self.in_flight += record.len;
        self.again += if record.retransmitted { record.len } else { 0 };
        self.link_after(pos, prev);
    }

    /// The first `bytes` of the first record are acknowledged.
    fn cut_head(&mut self, bytes: u32) {
        let record = &mut self.records[0];
        record.seq += bytes;
        record.len -= bytes;
        record.resent = record.resent.saturating_sub(bytes);
        if record.state == State::InFlight && record.retransmitted {
            self.again -= bytes;
        }
        *match record.state {
            State::InFlight => &mut self.in_flight,
            State::Lost => &mut self.lost,
            State::Sacked => &mut self.sacked,
        } -= bytes;
    }

    /// First record from `pos` on that is not sacked; shortens the way for the next one who asks.
    fn skip_sacked(&mut self, mut pos: usize) -> usize {
        while let Some(record) = self.records.get(pos).filter(|record| record.state == State::Sacked) {
            let next = self.distance(record.next);
            if let Some(following) = self.records.get(next).filter(|record| record.state == State::Sacked) {
                self.records[pos].next = following.next;
            }
            pos = next;
        }
        pos
    }

    /// Has a run begin at `pos`, if something is there.
    fn split(&mut self, pos: usize) {
        if self.records.get(pos).is_none_or(|record| record.run > 0) {
            return;
        }
        let mut head = pos;
        while self.records[head].run == 0 {
            head -= 1;
        }
        let (before, all) = (pos - head, usize::from(self.records[head].run));
        (self.records[head].run, self.records[pos].run) = (before as u16, (all - before) as u16);
        self.link_after(pos, self.name(head));
    }

    /// Makes a run of a record alone.
    fn single_out(&mut self, pos: usize) {
        self.split(pos);
        self.split(pos + 1);
    }

    /// Takes a record, or the run that it begins, out of the sums and the list of its state.
    fn leave(&mut self, pos: usize) {
        let Record { seq, run, state, prev, next, retransmitted, .. } = self.records[pos];
        let len = self.records[pos + usize::from(run) - 1].end().since(seq);
        match state {
            State::InFlight => {
                self.in_flight -= len;
                self.again -= if retransmitted { len } else { 0 };
            }
            State::Lost => self.lost -= len,
            State::Sacked => {
                self.sacked -= len;
                self.sacked_records -= 1;
                return;
            }
        }
        match self.place(prev) {
            Some(at) => self.records[at].next = next,
            None => self.ends(state).head = next,
        }
        match self.place(next) {
            Some(at) => self.records[at].prev = prev,
            None => self.ends(state).tail = prev,
        }
        if self.finger == self.name(pos) {
            self.finger = prev;
        }
    }

    /// Hangs a record into the list of its state, behind `prev`, or in front of all.
    fn link_after(&mut self, pos: usize, prev: u32) {
        let (name, state) = (self.name(pos), self.records[pos].state);
        let next = match self.place(prev) {
            Some(at) => core::mem::replace(&mut self.records[at].next, name),
            None => core::mem::replace(&mut self.ends(state).head, name),
        };
        match self.place(next) {
            Some(at) => self.records[at].prev = name,
            None => self.ends(state).tail = name,
        }
        (self.records[pos].prev, self.records[pos].next) = (prev, next);
    }

    fn ends(&mut self, state: State) -> &mut Ends {
        if state == State::InFlight { &mut self.flying } else { &mut self.waiting }
    }

    fn name(&self, pos: usize) -> u32 {
        self.base.wrapping_add(pos as u32) & NAMES
    }

    fn distance(&self, name: u32) -> usize {
        (name.wrapping_sub(self.base) & NAMES) as usize
    }

    fn place(&self, name: u32) -> Option<usize> {
        (name != NONE).then(|| self.distance(name))
    }

    /// Makes a run of each record; for tests.
    pub(crate) fn split_runs(&mut self) {
        (0..self.records.len()).for_each(|pos| self.split(pos));
    }

    /// Checks what must hold; walks through everything, for tests.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let sum = |state: State| -> u32 {
            self.records.iter().filter(|record| record.state == state).map(|record| record.len).sum()
        };
        let in_flight_again = self.records.iter().filter(|r| r.state == State::InFlight && r.retransmitted);
        let again: u32 = in_flight_again.map(|record| record.len).sum();
        let mut at = self.start;
        for record in &self.records {
            if record.seq != at || record.len == 0 || record.resent >= record.len {
                return Err("records without gap");
            }
            at = record.end();
        }
        if !self.has_sound_runs() {
            return Err("runs of what was sent together once");
        }
        let listed = |ends: Ends, state: State| {
            let (mut prev, mut name, mut count) = (NONE, ends.head, 0);
            while let Some(pos) = self.place(name) {
                let record = self.records.get(pos)?;
                if record.state != state || record.prev != prev {
                    return None;
                }
                (prev, name) = (name, record.next);
                count += usize::from(record.run);
            }
            (prev == ends.tail).then_some(count)
        };
        let count = |state| Some(self.records.iter().filter(|record| record.state == state).count());
        let sacked_lead_forward = self.records.iter().enumerate().all(|(pos, record)| {
            let over = self.distance(record.next);
            record.state != State::Sacked
                || over > pos
                    && over <= self.records.len()
                    && self.records.range(pos..over).all(|record| record.state == State::Sacked)
        });
        let rules = [
            (at == self.end, "records reach the end"),
            (sum(State::InFlight) == self.in_flight, "in flight is the sum"),
            (again == self.again, "sent again is the sum"),
            (sum(State::Lost) == self.lost, "lost is the sum"),
            (sum(State::Sacked) == self.sacked, "sacked is the sum"),
            (count(State::Sacked) == Some(self.sacked_records as usize), "sacked records are counted"),
            (listed(self.flying, State::InFlight) == count(State::InFlight), "list of what is in flight"),
            (listed(self.waiting, State::Lost) == count(State::Lost), "list of what is lost"),
            (sacked_lead_forward, "sacked records lead over sacked ones"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
    }

    fn has_sound_runs(&self) -> bool {
        let mut pos = 0;
        while let Some(first) = self.records.get(pos) {
            let end = pos + usize::from(first.run);
            if !(1..=MOST_IN_RUN).contains(&usize::from(first.run)) || end > self.records.len() {
                return false;
            }
            let follows = |record: &Record| {
                let state = (record.run, record.state, record.sent_at, record.retransmitted);
                state == (0, State::InFlight, first.sent_at, false)
            };
            if first.run > 1 && (first.state != State::InFlight || first.retransmitted)
                || !self.records.range(pos + 1..end).all(follows)
            {
                return false;
            }
            pos = end;
        }
        true
    }
}

impl Arrived {
    fn of(record: &Record) -> Self {
        Arrived {
            end: record.end(),
            sent_at: record.sent_at,
            retransmitted: record.retransmitted,
            was_lost: record.state == State::Lost,
        }
    }
}

#[cfg(test)]
mod tests;
