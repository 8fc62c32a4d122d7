//! What waits of one direction of HTTP/1 until bodies have been looked at: in order, and what comes behind it too.

use std::collections::VecDeque;

use tcp_stack::{Duration, Instant};

use super::inspection::{Gate, Inspection};
use super::judge::{Judge, Place};
use crate::content::filter::Decisions;
use crate::end::End;

/// Pieces up to this go on together.
const PIECE: usize = 16 * 1024;
/// Bytes behind a message that waits for a thread: then the sender's window closes.
const MAX_BEHIND: usize = 256 * 1024;
/// Messages that wait for threads, likewise: each costs a look at every call.
const MAX_PENDING: usize = 64;

/// One direction's queue.
#[derive(Default)]
pub(super) struct Lane {
    items: VecDeque<Item>,
    /// Bytes of them that the stage holds.
    held: usize,
    /// And those that are to be inserted there.
    inserted: usize,
    /// Messages that are looked at, in their order.
    inspections: VecDeque<Inspection>,
    /// Number of the first of them.
    first: u64,
    /// The last of them is of the message that comes.
    is_open: bool,
}

struct Item {
    what: What,
    /// The number of the inspection that decides, and where the body stands at its end; none: it goes when it is its turn.
    of: Option<(u64, u64)>,
}

enum What {
    /// So many of the direction's bytes, which the stage holds.
    Held(usize),
    /// What is to be inserted there.
    Inserted(Vec<u8>),
}

impl Lane {
    /// The message that comes is looked at.
    pub(super) fn begin(&mut self, inspection: Inspection) {
        self.inspections.push_back(inspection);
        self.is_open = true;
    }

    /// Another looks at the message that comes, and is to be shown all of it that has come.
    pub(super) fn replace(&mut self, inspection: Inspection) {
        if let Some(current) = self.current() {
            *current = inspection;
        }
    }

    /// That of the message that comes.
    pub(super) fn current(&mut self) -> Option<&mut Inspection> {
        self.inspections.back_mut().filter(|_| self.is_open)
    }

    /// The first that something is awaited of; that of the message that comes before all others, for it grows.
    pub(super) fn unsettled(&mut self) -> Option<&mut Inspection> {
        let grows = self.is_open && self.inspections.back().is_some_and(|current| !current.is_settled());
        if grows {
            return self.inspections.back_mut();
        }
        self.inspections.iter_mut().find(|each| !each.is_settled())
    }

    /// More of the body of the message that comes.
    pub(super) fn show(&mut self, octets: &[u8], from: End, judge: &mut Judge, decisions: &Decisions) {
        if let Some(current) = self.current() {
            judge.show(current, octets, Place { from, stream: 0 }, decisions);
        }
    }

    /// What has come is looked at.
    pub(super) fn ask(&mut self, from: End, judge: &mut Judge, decisions: &mut Decisions) {
        self.inspections.iter_mut().for_each(|each| judge.ask(each, Place { from, stream: 0 }, decisions));
    }

    /// The message has come; what follows is of another one.
    pub(super) fn message_ends(&mut self) {
        self.is_open = false;
    }

    /// What comes may not go on at once.
    pub(super) fn is_busy(&self) -> bool {
        let current = self.inspections.back().filter(|_| self.is_open);
        !self.items.is_empty() || current.is_some_and(|current| current.gate(u64::MAX) != Gate::Open)
    }

    /// Nothing waits, and nobody looks.
    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty() && self.inspections.is_empty()
    }

    /// Something waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.items.is_empty()
    }

    /// Bytes of all that waits.
    pub(super) fn bytes(&self) -> usize {
        self.held + self.inserted
    }

    /// The next bytes of the direction are held.
    pub(super) fn hold(&mut self, from: End, bytes: usize, decisions: &mut Decisions) {
        if bytes == 0 {
            return;
        }
        decisions.hold(from, bytes);
        self.held += bytes;
        let of = self.of();
        if let Some(Item { what: What::Held(before), of: last }) = self.items.back_mut()
            && last.map(|of| (of.0, of.1 == 0)) == of.map(|of| (of.0, of.1 == 0))
            && *before + bytes <= PIECE
        {
            (*before, *last) = (*before + bytes, of);
            return;
        }
        self.items.push_back(Item { what: What::Held(bytes), of });
    }

    /// These go on behind what was held before.
    pub(super) fn insert(&mut self, bytes: Vec<u8>) {
        self.inserted += bytes.len();
        let of = self.of();
        self.items.push_back(Item { what: What::Inserted(bytes), of });
    }

    /// What decides on the bytes that come next.
    fn of(&self) -> Option<(u64, u64)> {
        let number = self.first + self.inspections.len() as u64;
        let current = self.inspections.back().filter(|_| self.is_open);
        current.map(|current| (number - 1, current.body()))
    }

    /// Lets go what may go. Returns the first message that may not, if there is one: what waits behind it is its caller's to discard.
    pub(super) fn advance(&mut self, from: End, decisions: &mut Decisions) -> Option<Inspection> {
        let mut refused = self.begun_and_refused();
        while refused.is_none()
            && let Some(item) = self.items.front()
        {
            let gate = item.of.and_then(|(number, body)| {
                let inspection = self.inspections.get((number - self.first) as usize)?;
                Some(inspection.gate(body))
            });
            match (gate, item.of) {
                (Some(Gate::Waits), _) => break,
                (Some(Gate::Refused), Some((number, _))) => refused = Some((number - self.first) as usize),
                _ => self.let_go(from, decisions),
            }
        }
        if let Some(at) = refused {
            return self.inspections.remove(at);
        }
        self.forget_settled();
        decisions.set_holding(from, !self.items.is_empty());
        decisions.set_full(from, self.is_long() || self.inspections.iter().any(Inspection::is_behind));
        None
    }

    /// So much waits for a message of which all has come that no more is to come behind it.
    fn is_long(&self) -> bool {
        let next = self.items.front().and_then(|item| item.of).map(|(number, _)| number + 1);
        let needs_more = self.is_open && next == Some(self.first + self.inspections.len() as u64);
        self.inspections.len() >= MAX_PENDING || self.bytes() > MAX_BEHIND && next.is_some() && !needs_more
    }

    fn let_go(&mut self, from: End, decisions: &mut Decisions) {
        let Some(Item { what, of }) = self.items.pop_front() else { return };
        if let Some((number, body)) = of
            && let Some(inspection) = self.inspections.get_mut((number - self.first) as usize)
        {
            inspection.goes(body == 0);
        }
        match what {
            What::Held(bytes) => {
                self.held -= bytes;
                decisions.release(from, bytes);
            }
            What::Inserted(bytes) => {
                self.inserted -= bytes.len();
                decisions.insert(from, bytes);
            }
        }
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
    }

    /// The place of a message of which some has gone on and no more may. What all has gone on of, nothing can be done about.
    fn begun_and_refused(&self) -> Option<usize> {
        // Items are in the order of messages: those before this one have none.
        let waits_from = self.items.iter().find_map(|item| item.of).map_or(u64::MAX, |(number, _)| number);
        let has_gone = |at: usize| self.first + (at as u64) < waits_from;
        self.inspections.iter().enumerate().position(|(at, each)| {
            each.has_gone_in_part() && each.refusal().is_some() && !(each.has_ended() && has_gone(at))
        })
    }

    fn forget_settled(&mut self) {
        while let Some(first) = self.inspections.front()
            && first.is_settled()
            && !(self.is_open && self.inspections.len() == 1)
            && self.items.front().and_then(|item| item.of).is_none_or(|(number, _)| number != self.first)
        {
            self.inspections.pop_front();
            self.first += 1;
        }
    }

    /// All that waits goes nowhere.
    pub(super) fn clear(&mut self, from: End, decisions: &mut Decisions) {
        let first = self.first + self.inspections.len() as u64 + 1;
        decisions.discard(from, self.held);
        *self = Self { first, ..Self::default() };
        decisions.set_holding(from, false);
        decisions.set_full(from, false);
    }

    /// That of a question.
    pub(super) fn of_question(&mut self, question: u64) -> Option<&mut Inspection> {
        self.inspections.iter_mut().find(|each| each.question() == question)
    }

    /// When a thread has had its time.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.inspections.iter().filter_map(Inspection::poll_timeout).min()
    }

    /// Those for which a thread has taken too long.
    pub(super) fn timed_out(&mut self, now: Instant, timeout: Duration) -> Vec<&mut Inspection> {
        self.inspections
            .iter_mut()
            .filter_map(|each| each.has_timed_out(now, timeout).then_some(each))
            .collect()
    }

    /// Bytes of memory that count as held, beside what the stage holds. Asked with each record, as is [`memory`](Self::memory): mostly nothing
    /// is looked at.
    pub(super) fn held(&self) -> usize {
        if self.inspections.is_empty() {
            return self.inserted;
        }
        self.inserted + self.inspections.iter().map(Inspection::held).sum::<usize>()
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { items, held: _, inserted, inspections, first: _, is_open: _ } = self;
        let empty = inserted
            + items.capacity() * size_of::<Item>()
            + inspections.capacity() * size_of::<Inspection>();
        if inspections.is_empty() {
            return empty;
        }
        empty + inspections.iter().map(Inspection::memory).sum::<usize>()
    }
}
