//! What decides on a flow's plaintext between its two sessions.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tcp_stack::Instant;

use super::inspect::Looked;
use crate::end::{End, PerEnd};
use crate::event::{AlertEvent, AnomalyEvent, FileEvent, HttpEvent, Unread};
use crate::policy::DecryptedFlow;
use crate::reason::{InspectorOff, Reason};

/// Decides on the plaintext of one flow, both directions, in the order in which they come.
///
/// Whatever it has not decided is held: it is neither sealed nor sent, and once the [stage](super::Stage) is full its sender's
/// window closes. Decisions may come with the bytes, with later ones, with a verdict from another thread or with time. What is
/// undecided although nothing more can be held, or will come, ends the flow, unless a verdict or a time is awaited:
/// `content.undecided`.
pub trait Filter: Send {
    /// What an end has sent next; never nothing.
    fn plaintext(&mut self, from: End, bytes: &[u8], decisions: &mut Decisions);

    /// An end sends nothing more.
    fn ended(&mut self, from: End, decisions: &mut Decisions);

    /// No more of this end's bytes can be held.
    fn full(&mut self, from: End, decisions: &mut Decisions);

    /// The answer to what it [asked](Decisions::ask).
    fn verdict(&mut self, question: u64, verdict: Verdict, decisions: &mut Decisions);

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    fn poll_timeout(&self) -> Option<Instant>;

    /// That time has come.
    fn handle_timeout(&mut self, now: Instant, decisions: &mut Decisions);

    /// It has more than it may, after bytes of this end: it has to make do with less, or do without.
    fn out_of_memory(&mut self, from: End, decisions: &mut Decisions);

    /// A stream of HTTP/2 is to end, and nothing else. A filter that knows no streams cannot see to that.
    fn end_stream(&mut self, _stream: u32, _decisions: &mut Decisions) -> StreamEnd {
        StreamEnd::Unable
    }

    /// Bytes of memory that it holds beside its own size. Called for each record.
    fn memory(&self) -> usize;

    /// Those of them that count as held bodies: what waits for a verdict, and what scans hold. They have a bound of their own, with what
    /// it has [the stage hold](Decisions::hold): [`Decisions::lacks_room_for`].
    fn held(&self) -> usize {
        0
    }

    /// Something goes by whose end is the end of the connection, so an orderly end would pass for its own.
    fn awaits_end(&self) -> bool;

    /// The flow is over. What there is left to report follows.
    fn finish(&mut self);

    /// The next thing to report. To be fetched until there is none after each call, so that nothing piles up.
    fn poll_report(&mut self) -> Option<Report>;
}

/// Makes the filters of an engine's flows.
pub trait Filters: Send + Sync {
    /// The filter of a flow whose handshakes have ended; none: it is not looked at.
    ///
    /// `alpn`: the application protocol that both ends have agreed on.
    fn filter(&self, flow: &Arc<DecryptedFlow>, alpn: Option<&[u8]>) -> Option<Box<dyn Filter>>;
}

/// What a filter tells beside its decisions.
#[derive(Debug)]
pub enum Report {
    /// An HTTP transaction.
    Http(Box<HttpEvent>),
    /// Something odd in the plaintext.
    Anomaly(Box<AnomalyEvent>),
    /// Something that a rule names.
    Alert(Box<AlertEvent>),
    /// A body that rules had looked at.
    File(Box<FileEvent>),
    /// It reads no more.
    Off(InspectorOff),
    /// At the end: what it has not read.
    Unread(Unread),
}

/// What a filter asks whoever has more time than a worker. It runs on a thread of the pool.
pub trait Scan: Send {
    /// Looks at what it was given.
    fn run(self: Box<Self>) -> Verdict;
}

/// What came of a scan.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing was found.
    Pass,
    /// This was found.
    Block(Box<str>),
    /// A thread has looked at some of a body.
    Looked(Box<Looked>),
    /// The scan did not take place: the pool is full.
    Refused,
    /// The scan broke.
    Failed,
}

/// What comes of a stream's end that somebody asks for.
#[derive(Debug)]
pub enum StreamEnd {
    /// Both ends are told. This is its transaction, as far as it has come.
    Told(Box<HttpEvent>),
    /// It was over, or has never begun.
    Over,
    /// Single streams cannot be ended in this flow.
    Unable,
}

/// Bytes of bodies that may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// So many.
    pub bytes: usize,
    /// Why no more.
    pub lacking: Reason,
}

/// As far as the worker as a whole has room.
impl From<usize> for Room {
    fn from(bytes: usize) -> Self {
        Self { bytes, lacking: Reason::ContentOverload }
    }
}

/// How a filter ends a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What the log says.
    pub reason: Reason,
    /// What has been decided to pass goes first, then close_notify and FIN to both ends. Else RST to both, at once.
    pub orderly: bool,
    /// The server gets a RST all the same: it has the beginning of a request that does not go on.
    pub resets_server: bool,
}

/// What a filter has decided, in each direction in the order of its bytes.
#[derive(Default)]
pub struct Decisions {
    /// By the end that has sent the bytes.
    pub(super) ops: PerEnd<VecDeque<Op>>,
    /// Bytes that they cover.
    pub(super) covered: PerEnd<usize>,
    pub(super) ending: Option<Ending>,
    pub(super) asked: VecDeque<(u64, Box<dyn Scan>)>,
    /// There is no server: what would pass goes nowhere.
    pub(super) is_one_ended: bool,
    /// Bytes that are held, and those that were inserted, released or discarded and are still here.
    pub(super) held: usize,
    /// An end's bytes are held, or were dropped and are inserted later: what comes behind them waits, its end too.
    pub(super) holding: PerEnd<bool>,
    /// No more of an end's bytes are wanted now.
    pub(super) full: PerEnd<bool>,
    /// How much may be held: by the filter, and here. None: any.
    pub(super) room: Option<Room>,
    pub(super) now: Option<Instant>,
    /// The filter takes no more memory for the bytes of this call.
    pub(super) keeps_nothing: bool,
}

/// One decision.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// This becomes of so many bytes.
    Do(Act, usize),
    /// These go, after all that was decided before.
    Insert(Bytes),
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The next undecided ones go on.
    Pass,
    /// They go nowhere.
    Drop,
    /// They are held, and those behind them may go on before them.
    Hold,
    /// The first ones that are held go on.
    Release,
    /// They go nowhere.
    Discard,
}

impl Decisions {
    /// The next `bytes` undecided bytes of this end go on to the other.
    pub fn pass(&mut self, from: End, bytes: usize) {
        if self.is_one_ended {
            return self.drop(from, bytes);
        }
        self.cover(Act::Pass, from, bytes);
    }

    /// Likewise all of one call's, for which the filter takes no more memory than before, so that nobody needs to ask how much that is.
    pub(super) fn pass_on(&mut self, from: End, bytes: usize) {
        self.keeps_nothing = true;
        self.pass(from, bytes);
    }

    /// The next `bytes` undecided bytes of this end go nowhere.
    pub fn drop(&mut self, from: End, bytes: usize) {
        self.cover(Act::Drop, from, bytes);
    }

    /// The next `bytes` undecided bytes of this end are held until they are [released](Self::release) or
    /// [discarded](Self::discard), in their order. What comes behind them can be decided on before that.
    pub fn hold(&mut self, from: End, bytes: usize) {
        self.held += bytes;
        self.cover(Act::Hold, from, bytes);
    }

    /// The first `bytes` held bytes of this end, no more than there are, go on: behind all that has been decided, before all that has not.
    pub fn release(&mut self, from: End, bytes: usize) {
        self.add(Act::Release, from, bytes);
    }

    /// The first `bytes` held bytes of this end, no more than there are, go nowhere.
    pub fn discard(&mut self, from: End, bytes: usize) {
        self.add(Act::Discard, from, bytes);
    }

    fn cover(&mut self, act: Act, from: End, bytes: usize) {
        self.covered[from] += bytes;
        self.add(act, from, bytes);
    }

    fn add(&mut self, act: Act, from: End, bytes: usize) {
        match self.ops[from].back_mut() {
            Some(Op::Do(before, sum)) if *before == act => *sum += bytes,
            _ if bytes > 0 => self.ops[from].push_back(Op::Do(act, bytes)),
            _ => {}
        }
    }

    /// The other end gets these bytes as if this end had sent them here: behind all that has been decided, before all that has
    /// not.
    pub fn insert(&mut self, from: End, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.held += bytes.len();
            self.ops[from].push_back(Op::Insert(bytes));
        }
    }

    /// Bytes of this end are held, or were dropped and will be inserted: until that is said to be over, its end does not go on.
    pub fn set_holding(&mut self, from: End, is_holding: bool) {
        self.holding[from] = is_holding;
    }

    pub(super) fn is_holding(&self, from: End) -> bool {
        self.holding[from]
    }

    /// No more of this end's bytes are wanted until that is taken back: its window closes.
    pub fn set_full(&mut self, from: End, is_full: bool) {
        self.full[from] = is_full;
    }

    pub(super) fn is_full(&self, from: End) -> bool {
        self.full[from]
    }

    /// A call begins, at this time; so many bytes may be held, by the filter and here.
    pub(super) fn begin(&mut self, now: Instant, room: Room) {
        (self.now, self.room) = (Some(now), Some(room));
    }

    /// Why a filter may not [hold](Filter::held) so much itself, beside what is held here for it; none: it may.
    pub fn lacks_room_for(&self, held: usize) -> Option<Reason> {
        self.room.filter(|room| held + self.held > room.bytes).map(|room| room.lacking)
    }

    /// The time of the call; none: nobody has told it.
    pub fn now(&self) -> Option<Instant> {
        self.now
    }

    /// The flow ends. What is undecided goes nowhere.
    pub fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// Has a scan run elsewhere; the answer comes under this number.
    pub fn ask(&mut self, question: u64, scan: Box<dyn Scan>) {
        self.asked.push_back((question, scan));
    }

    /// Bytes of memory that they hold.
    pub(super) fn memory(&self) -> usize {
        let Self { ops, asked, held, .. } = self;
        let ops: usize = ops.iter().map(|ops| ops.capacity() * size_of::<Op>()).sum();
        ops + held + asked.capacity() * size_of::<(u64, Box<dyn Scan>)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_where_there_is_no_server() {
        let mut decisions = Decisions { is_one_ended: true, ..Decisions::default() };
        decisions.pass(End::Client, 7);
        decisions.insert(End::Server, &b"answer"[..]);
        assert_eq!(decisions.ops[End::Client], [Op::Do(Act::Drop, 7)]);
        assert_eq!((decisions.covered[End::Client], decisions.ops[End::Server].len()), (7, 1));
    }

    #[test]
    fn decisions_of_one_kind_become_one() {
        let mut decisions = Decisions::default();
        decisions.pass(End::Client, 0);
        decisions.drop(End::Client, 0);
        decisions.insert(End::Client, Bytes::new());
        assert!(decisions.ops[End::Client].is_empty());
        for bytes in [3, 4, 0] {
            decisions.pass(End::Client, bytes);
        }
        for bytes in [2, 0, 3] {
            decisions.drop(End::Client, bytes);
        }
        decisions.insert(End::Client, &b"ab"[..]);
        decisions.pass(End::Client, 1);
        let inserted = Op::Insert(Bytes::from_static(b"ab"));
        assert_eq!(
            decisions.ops[End::Client],
            [Op::Do(Act::Pass, 7), Op::Do(Act::Drop, 5), inserted, Op::Do(Act::Pass, 1)]
        );
        assert_eq!((decisions.covered[End::Client], decisions.held), (13, 2));
        let ops = decisions.memory() - 2;
        assert!(ops >= 4 * size_of::<Op>() && ops.is_multiple_of(size_of::<Op>()));
    }

    #[test]
    fn what_is_inserted_takes_of_the_room_for_what_is_held() {
        let mut decisions = Decisions::default();
        assert_eq!((decisions.now(), decisions.lacks_room_for(usize::MAX)), (None, None));
        decisions.begin(Instant::from_secs(7), 10.into());
        assert_eq!(decisions.now(), Some(Instant::from_secs(7)));
        assert_eq!(decisions.lacks_room_for(10), None);
        assert_eq!(decisions.lacks_room_for(11), Some(Reason::ContentOverload));
        decisions.insert(End::Server, &b"ab"[..]);
        assert_eq!(decisions.lacks_room_for(8), None);
        assert_eq!(decisions.lacks_room_for(9), Some(Reason::ContentOverload));
    }
}
