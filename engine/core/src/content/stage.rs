//! The plaintext stage: where opened records wait until the filter has decided.
//!
//! ```text
//!  opened ──► plaintext() ──► Pass: sealed where it lies, as if there were no stage
//!                 └─────────► Keep: │ decided, to be sealed │ undecided │ ◄── keep()
//!                                   └─ next_ready() ──► sealed
//!                                      held ──► set aside ──► released: sealed
//! ```
//! A block whose bytes all pass, or are held and released, is sealed as it is. Only where a decision cuts a block, and for what is
//! inserted, are bytes copied into another.

use std::collections::VecDeque;

use tcp_stack::Instant;

use super::filter::{Act, Decisions, Ending, Filter, Op, Report, Room, Scan, StreamEnd, Verdict};
use super::set_aside::SetAside;
use crate::end::{End, PerEnd};
use crate::reason::Reason;

/// Most memory of one direction's blocks that wait here, if the worker has it: a head of the size that servers take, and some
/// records of what follows it.
const MOST: usize = 256 * 1024;

/// What a block takes at least. Less than this in a block of its own wastes most of it, so it is gathered with what comes before it.
const SMALL: usize = 2 * 1024;

/// Most bytes of a record's plaintext (RFC 8446 5.1).
const MAX_PLAINTEXT: usize = 1 << 14;

/// Plaintext in a block, with the room around it that a record needs.
pub struct Opened<B> {
    /// The block.
    pub block: B,
    /// Where the plaintext begins.
    pub at: usize,
    /// Bytes of plaintext.
    pub len: usize,
    /// Where the room for plaintext ends.
    pub end: usize,
}

impl<B: AsMut<[u8]>> Opened<B> {
    /// Its first bytes of plaintext.
    pub(super) fn first(&mut self, len: usize) -> &[u8] {
        &self.block.as_mut()[self.at..self.at + len]
    }

    /// Bytes of memory that the block takes, nearly.
    pub(super) fn memory(&self) -> usize {
        self.end.max(SMALL)
    }
}

/// What becomes of an opened record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on now.
    Pass,
    /// It is to be [kept](Stage::keep).
    Keep,
}

/// What may be sealed next.
#[derive(Debug, PartialEq, Eq)]
pub enum Ready<B> {
    /// Plaintext of one record: the block, and how many bytes it has.
    Data(B, usize),
    /// The end of the direction.
    Close,
}

/// The filter of a flow, and what waits for it.
pub struct Stage<B> {
    filter: Box<dyn Filter>,
    /// By the end that has sent it.
    waiting: PerEnd<Waiting<B>>,
    decisions: Decisions,
    /// Questions without an answer.
    outstanding: usize,
    /// Most memory that the filter, and what waits of one direction, may each take.
    limit: usize,
}

/// What one end has sent and is not sealed yet.
struct Waiting<B> {
    blocks: VecDeque<Opened<B>>,
    /// Bytes of plaintext in them.
    bytes: usize,
    /// Bytes of memory of the blocks.
    memory: usize,
    /// What is held.
    aside: SetAside<B>,
    close: Close,
}

/// How far the end of a direction has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    Open,
    /// The connection has ended, without a word of it in TLS; the filter knows.
    Ended,
    /// A close_notify waits behind what else does; the filter knows.
    Announced,
    /// It has been passed on.
    Passed,
}

impl<B> Default for Waiting<B> {
    fn default() -> Self {
        let aside = SetAside::default();
        Self { blocks: VecDeque::new(), bytes: 0, memory: 0, aside, close: Close::Open }
    }
}

impl<B: AsMut<[u8]>> Stage<B> {
    /// With nothing in it.
    pub fn new(filter: Box<dyn Filter>) -> Self {
        let waiting = PerEnd::from_fn(|_| Waiting::default());
        Self { filter, waiting, decisions: Decisions::default(), outstanding: 0, limit: MOST }
    }

    /// With a filter that answers in the server's place: nothing that the client sends passes.
    pub fn one_ended(filter: Box<dyn Filter>) -> Self {
        let mut stage = Self::new(filter);
        stage.decisions.is_one_ended = true;
        stage
    }

    /// A call begins. `limit`: how much memory the filter may take, and what waits of each direction; `room`: how much more may be
    /// held for verdicts.
    pub fn begin(&mut self, now: Instant, limit: usize, room: impl Into<Room>) {
        self.limit = limit;
        let Room { bytes, lacking } = room.into();
        self.decisions.begin(now, Room { bytes: self.held().saturating_add(bytes), lacking });
    }

    /// Bytes that are held for verdicts, or were and are on their way.
    pub fn held(&self) -> usize {
        self.filter.held() + self.decisions.held
    }

    /// Bytes that an end has sent next.
    pub fn plaintext(&mut self, from: End, bytes: &[u8]) -> Fate {
        let was_empty = self.is_empty(from);
        self.filter.plaintext(from, bytes, &mut self.decisions);
        let may_have_grown = !std::mem::take(&mut self.decisions.keeps_nothing);
        if may_have_grown && self.filter.memory().saturating_sub(self.filter.held()) > self.limit {
            self.filter.out_of_memory(from, &mut self.decisions);
        }
        let ops = &mut self.decisions.ops[from];
        if was_empty && ops.len() == 1 && matches!(ops[0], Op::Do(Act::Pass, passed) if passed == bytes.len())
        {
            ops.pop_front();
            self.decisions.covered[from] = 0;
            return Fate::Pass;
        }
        Fate::Keep
    }

    /// The block with those bytes.
    pub fn keep(&mut self, from: End, opened: Opened<B>) {
        let waiting = &mut self.waiting[from];
        waiting.keep(opened);
        if self.is_full(from) && self.undecided(from) > 0 {
            self.filter.full(from, &mut self.decisions);
        }
    }

    /// How much room for plaintext a block needs that is to be kept.
    pub fn room_for(len: usize) -> usize {
        len.max(SMALL)
    }

    /// No more of an end's bytes can wait here.
    pub fn is_full(&self, from: End) -> bool {
        self.waiting[from].memory >= MOST.min(self.limit) || self.decisions.is_full(from)
    }

    /// An end has said that it sends nothing more. True: nothing is before that, so it may be passed on now.
    pub fn announce_close(&mut self, from: End) -> bool {
        self.filter.ended(from, &mut self.decisions);
        let passes = self.is_empty(from);
        self.waiting[from].close = if passes { Close::Passed } else { Close::Announced };
        passes
    }

    /// An end's connection has ended, whatever it has said before. True: the filter has not known it.
    pub fn end(&mut self, from: End) -> bool {
        let is_news = self.waiting[from].close == Close::Open;
        if is_news {
            self.filter.ended(from, &mut self.decisions);
            self.waiting[from].close = Close::Ended;
        }
        is_news
    }

    /// The next question of the filter, to be answered by [`verdict`](Self::verdict).
    pub fn poll_question(&mut self) -> Option<(u64, Box<dyn Scan>)> {
        let question = self.decisions.asked.pop_front()?;
        self.outstanding += 1;
        Some(question)
    }

    /// The answer to a question.
    pub fn verdict(&mut self, question: u64, verdict: Verdict) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.filter.verdict(question, verdict, &mut self.decisions);
    }

    /// A stream of HTTP/2 is to end, and nothing else.
    pub(crate) fn end_stream(&mut self, stream: u32) -> StreamEnd {
        self.filter.end_stream(stream, &mut self.decisions)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.filter.poll_timeout()
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.filter.poll_timeout().is_some_and(|at| at <= now) {
            self.filter.handle_timeout(now, &mut self.decisions);
        }
    }

    /// How the flow is to end, if it is: by the filter's word, or because it does not decide and nothing will help it to. To be
    /// asked when all that is ready has been taken.
    pub fn ending(&self) -> Option<Ending> {
        self.decisions.ending.or_else(|| {
            let is_stuck = |from: End| {
                self.undecided(from) > 0 && (self.waiting[from].close != Close::Open || self.is_full(from))
            };
            let awaits = self.outstanding > 0
                || !self.decisions.asked.is_empty()
                || self.filter.poll_timeout().is_some();
            let reset = Ending { reason: Reason::ContentUndecided, orderly: false, resets_server: false };
            (!awaits && End::BOTH.into_iter().any(is_stuck)).then_some(reset)
        })
    }

    /// What may be sealed next of what an end has sent: a block with plaintext from `at` on. `block` makes one with room for so
    /// much plaintext there.
    pub fn next_ready(&mut self, from: End, at: usize, block: impl FnOnce(usize) -> B) -> Option<Ready<B>> {
        let (waiting, decisions) = (&mut self.waiting[from], &mut self.decisions);
        let (ops, covered) = (&mut decisions.ops[from], &mut decisions.covered[from]);
        while let Some(op) = ops.front_mut() {
            let (act, left) = match op {
                Op::Insert(bytes) => {
                    let next = bytes.split_to(bytes.len().min(MAX_PLAINTEXT));
                    decisions.held -= next.len();
                    if bytes.is_empty() {
                        ops.pop_front();
                    }
                    return Some(copied(&next, at, block));
                }
                Op::Do(act, left) => (*act, left),
            };
            let is_of_held = matches!(act, Act::Release | Act::Discard);
            let next = if is_of_held { waiting.aside.next_len() } else { waiting.next_len() };
            // Zero: a filter has decided about bytes that have not come, which are not its to decide on yet.
            let len = next.min(*left);
            let done = if len == 0 { *left } else { len };
            *left -= done;
            if *left == 0 {
                ops.pop_front();
            }
            match act {
                Act::Pass | Act::Drop | Act::Hold => *covered -= done,
                Act::Release | Act::Discard => decisions.held -= done,
            }
            match act {
                _ if len == 0 => {}
                Act::Pass => return waiting.take(len, at, block),
                Act::Drop => waiting.discard(len),
                Act::Hold => waiting.hold(len),
                Act::Release => return waiting.aside.take(len, at, block),
                Act::Discard => waiting.aside.discard(len),
            }
        }
        let is_holding = decisions.is_holding(from);
        let closes = waiting.close == Close::Announced && waiting.blocks.is_empty() && !is_holding;
        if closes {
            waiting.close = Close::Passed;
        }
        closes.then_some(Ready::Close)
    }

    /// There is something for [`next_ready`](Self::next_ready).
    pub fn is_ready(&self, from: End) -> bool {
        let waiting = &self.waiting[from];
        let closes = waiting.close == Close::Announced && waiting.blocks.is_empty();
        !self.decisions.ops[from].is_empty() || closes && !self.decisions.is_holding(from)
    }

    /// Nothing that an end has sent, or that goes to the other in its name, waits here.
    pub fn is_empty(&self, from: End) -> bool {
        let waiting = &self.waiting[from];
        waiting.blocks.is_empty()
            && self.decisions.ops[from].is_empty()
            && waiting.close != Close::Announced
            && !self.decisions.is_holding(from)
    }

    /// Something of either end is held, or was dropped and will be inserted.
    pub fn is_holding(&self) -> bool {
        End::BOTH.into_iter().any(|from| self.decisions.is_holding(from))
    }

    /// Bytes that wait for a decision.
    fn undecided(&self, from: End) -> usize {
        self.waiting[from].bytes.saturating_sub(self.decisions.covered[from])
    }

    /// Something goes by whose end is the end of the connection.
    pub fn awaits_end(&self) -> bool {
        self.filter.awaits_end()
    }

    /// The flow is over: the filter's last reports can be fetched.
    pub fn finish(&mut self) {
        self.filter.finish();
    }

    /// The next thing that the filter reports.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.filter.poll_report()
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        let Self { filter, waiting, decisions, outstanding: _, limit: _ } = self;
        let waiting: usize = waiting.iter().map(Waiting::memory).sum();
        size_of_val(&**filter) + filter.memory() + waiting + decisions.memory()
    }
}

impl<B: AsMut<[u8]>> Waiting<B> {
    fn keep(&mut self, mut opened: Opened<B>) {
        self.bytes += opened.len;
        if let Some(last) = self.blocks.back_mut()
            && opened.len < SMALL
            && last.end - last.at - last.len >= opened.len
        {
            let (from, to, len) = (opened.at, last.at + last.len, opened.len);
            last.block.as_mut()[to..to + len].copy_from_slice(&opened.block.as_mut()[from..from + len]);
            last.len += len;
            return;
        }
        self.memory += opened.memory();
        self.blocks.push_back(opened);
    }

    /// Bytes of the first block.
    fn next_len(&self) -> usize {
        self.blocks.front().map_or(0, |first| first.len)
    }

    /// The next bytes, which lie in the first block, as plaintext of a record.
    fn take(&mut self, len: usize, at: usize, block: impl FnOnce(usize) -> B) -> Option<Ready<B>> {
        let first = self.blocks.front_mut()?;
        if first.at == at && first.len == len {
            return self.pop().map(|whole| Ready::Data(whole.block, len));
        }
        let ready = copied(first.first(len), at, block);
        self.discard(len);
        Some(ready)
    }

    /// The next bytes, which lie in the first block, are held.
    fn hold(&mut self, len: usize) {
        match self.blocks.front_mut() {
            Some(first) if len < first.len => {
                self.aside.copy(first.first(len));
                self.discard(len);
            }
            _ => {
                if let Some(whole) = self.pop() {
                    self.aside.push(whole);
                }
            }
        }
    }

    fn pop(&mut self) -> Option<Opened<B>> {
        let first = self.blocks.pop_front()?;
        self.bytes -= first.len;
        self.memory -= first.memory();
        Some(first)
    }

    /// The next bytes, which lie in the first block, go.
    fn discard(&mut self, len: usize) {
        let Some(first) = self.blocks.front_mut() else { return };
        self.bytes -= len;
        first.at += len;
        first.len -= len;
        if first.len == 0 {
            self.memory -= first.memory();
            self.blocks.pop_front();
        }
    }

    fn memory(&self) -> usize {
        let Self { blocks, bytes: _, memory, aside, close: _ } = self;
        blocks.capacity() * size_of::<Opened<B>>() + memory + aside.memory()
    }
}

/// A block of its own for these bytes.
pub(super) fn copied<B: AsMut<[u8]>>(bytes: &[u8], at: usize, block: impl FnOnce(usize) -> B) -> Ready<B> {
    let mut made = block(bytes.len());
    made.as_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    Ready::Data(made, bytes.len())
}
