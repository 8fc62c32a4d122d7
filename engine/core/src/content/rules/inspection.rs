//! A body that is looked at, mostly by threads: what they have not seen yet, what of the message may go on, and how long they may take.
//!
//! ```text
//!  0 <= seen <= body: octets of the body that were looked at, and that have come
//!  none:  all may go       tail:  what lies before min(seen, body - TAIL)       all:  nothing, until all is known
//! ```

use tcp_stack::{Duration, Instant};

use super::judge::Refusal;
use super::octets::Octets;
use super::streamed::{is_media, is_streamed, is_streamed_request};
use crate::content::body::{FileType, Undecodable};
use crate::content::filter::Decisions;
use crate::content::inspect::{BodyJob, BodyScan, FileFacts, Found, Hit, Looked};
use crate::event::HttpEvent;
use crate::job::caught;
use crate::policy::{ContentRuleId, Hold, LateKey};
use crate::reason::Reason;

/// Octets at the end of a body that wait with `hold = "tail"` until all of it has been looked at. No program, archive or document of
/// those that are of use to anybody is whole without them.
const TAIL: u64 = 16 * 1024;
/// Fewer octets are put together before anybody looks at them.
const MUCH: usize = 1024;
/// More octets that have piled up are for threads: whoever has made them of beginnings of literals would keep the worker for milliseconds.
const TOO_MUCH: usize = 32 * 1024;
/// Octets that wait for a thread with `hold = "tail"` at most, beside the tail: then the sender's window closes.
const MAX_LAG: u64 = 256 * 1024;

/// The inspection of one body.
pub(super) struct Inspection {
    pub(super) rule: ContentRuleId,
    /// Of a request: until its type is known, the rules of which one will be [`Self::rule`].
    undecided: Box<[ContentRuleId]>,
    /// Which of its direction's messages it is of, where that counts.
    pub(super) number: u64,
    /// Its head need not wait.
    lets_head_go: bool,
    /// It has gone, and nothing else.
    pub(super) has_sent_head: bool,
    /// What the log says of the message.
    pub(super) head: HttpEvent,
    pub(super) file_name: Option<Box<str>>,
    /// What stands for it, should something be found late.
    pub(super) late: Option<LateKey>,
    pub(super) kind: Option<FileType>,
    question: u64,
    hold: Holding,
    /// Nothing is known to have been looked at before the end has come, so its tail is all of it.
    tail_is_all: bool,
    /// None: a thread has it.
    scan: Option<Box<BodyScan>>,
    scan_memory: usize,
    /// Octets that have come and are not on their way to a thread.
    todo: Octets,
    /// Octets that are with a thread, and their memory.
    away: u64,
    away_memory: usize,
    seen: u64,
    body: u64,
    /// Octets at the end that wait.
    tail: u64,
    /// No more of it comes; a thread knows it.
    has_ended: bool,
    end_is_told: bool,
    state: State,
    /// Some of the message has gone on.
    pub(super) has_begun: bool,
    /// Until then a thread may take its time; zero: that is not known yet.
    until: Option<Instant>,
}

/// How much waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// Until the type is known, all.
    ByType,
    As(Hold),
}

/// What is known.
enum State {
    Looking,
    /// All of it may go.
    Over,
    /// It goes nowhere, for this.
    Refused(Refusal),
}

/// What is said of a body that rules decide on.
#[derive(Debug)]
pub(super) enum Said {
    /// Nothing yet.
    SoFar,
    Clean(FileFacts),
    Hit(Hit, Option<FileFacts>),
    Undecodable(Undecodable),
    Failed(Vec<Reason>, Option<FileFacts>),
    /// The scan has panicked.
    Broken,
}

/// What of a message may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Waits,
    Refused,
}

/// What begins an inspection.
pub(super) struct Begin {
    pub(super) rule: ContentRuleId,
    /// Of a request whose type decides: the rules.
    pub(super) undecided: Box<[ContentRuleId]>,
    pub(super) head: HttpEvent,
    pub(super) file_name: Option<Box<str>>,
    pub(super) late: Option<LateKey>,
    /// As the rule says; none: by the type.
    pub(super) hold: Option<Hold>,
    /// If it is known already.
    pub(super) kind: Option<FileType>,
    /// Something of it has gone on, or must not wait.
    pub(super) has_begun: bool,
    pub(super) scan: BodyScan,
    pub(super) question: u64,
}

impl Inspection {
    pub(super) fn new(begin: Begin) -> Self {
        let Begin { rule, undecided, head, file_name, late, hold, kind, has_begun, scan, question } = begin;
        let content_type = head.content_type.as_deref().unwrap_or_default().as_bytes();
        let is_request = head.status.is_none();
        let is_stream = match is_request {
            true => is_streamed_request(content_type, head.protocol == "HTTP/2"),
            false => is_streamed(content_type),
        };
        let hold = match hold.or_else(|| kind.map(Hold::of)) {
            _ if is_stream => Holding::As(Hold::None),
            Some(hold) => Holding::As(hold),
            None if !is_request && is_media(content_type) => Holding::As(Hold::None),
            None => Holding::ByType,
        };
        let scan = Box::new(scan);
        Self {
            rule,
            undecided,
            number: 0,
            lets_head_go: false,
            has_sent_head: false,
            head,
            file_name,
            late,
            kind,
            question,
            hold,
            tail_is_all: scan.keeps_back(),
            scan_memory: scan.memory(),
            scan: Some(scan),
            todo: Octets::default(),
            away: 0,
            away_memory: 0,
            seen: 0,
            body: 0,
            tail: TAIL,
            has_ended: false,
            end_is_told: false,
            state: State::Looking,
            has_begun,
            until: None,
        }
        .begun()
    }

    /// What has gone on in part cannot wait as a whole.
    fn begun(mut self) -> Self {
        let waits_for_nothing = self.hold == Holding::As(Hold::None);
        if self.has_begun && !waits_for_nothing {
            (self.hold, self.tail_is_all) = (Holding::As(Hold::Tail), false);
        }
        self.has_begun |= waits_for_nothing;
        self
    }

    /// The number of its questions.
    pub(super) fn question(&self) -> u64 {
        self.question
    }

    /// More of the body has come. Where that is much, and may be looked at `here`, nothing of it is kept.
    pub(super) fn push(&mut self, octets: &[u8], here: &mut bool) -> Option<Said> {
        self.body += octets.len() as u64;
        if self.is_settled() || octets.is_empty() {
            return None;
        }
        if octets.len() < MUCH || !self.todo.pieces.is_empty() {
            self.todo.push(octets);
            return None;
        }
        let said = self.look(&[octets], here);
        if said.is_none() {
            self.todo.push(octets);
        }
        said
    }

    /// No more of it comes.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// No more of it comes.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Octets of the body so far.
    pub(super) fn body(&self) -> u64 {
        self.body
    }

    /// What has come is looked at, `here` or by a thread, if none has the scan.
    pub(super) fn ask(&mut self, here: &mut bool, decisions: &mut Decisions) -> Option<Said> {
        let is_due = !self.todo.pieces.is_empty() || self.has_ended && !self.end_is_told;
        if !is_due || self.is_settled() {
            return None;
        }
        let todo = std::mem::take(&mut self.todo);
        if todo.len <= TOO_MUCH
            && let Some(said) = self.look(&todo.pieces, here)
        {
            return Some(said);
        }
        let Some(scan) = self.scan.take() else {
            self.todo = todo;
            return None;
        };
        let (Octets { pieces: octets, len, memory }, ends) = (todo, self.has_ended);
        (self.away, self.away_memory) = (len as u64, memory);
        self.end_is_told |= ends;
        self.scan_memory = scan.memory() + scan.growth(len);
        self.until = Some(Instant::ZERO);
        decisions.ask(self.question, Box::new(BodyJob { scan, octets, ends }));
        None
    }

    /// Looks at the next octets, if that is quick. `here`: it may be tried; afterwards, it may be tried again.
    fn look(&mut self, octets: &[impl AsRef<[u8]>], here: &mut bool) -> Option<Said> {
        let scan = self.scan.as_mut().filter(|scan| *here && scan.is_quick())?;
        let ends = self.has_ended;
        let Some(found) = caught(|| scan.look(octets, ends)) else { return Some(Said::Broken) };
        *here = scan.is_quick();
        self.scan_memory = scan.memory();
        self.end_is_told |= ends;
        self.seen += octets.iter().map(|octets| octets.as_ref().len() as u64).sum::<u64>();
        let kind = scan.kind();
        Some(self.learn(kind, found))
    }

    /// Its head goes on at once: whoever has sent it waits for an answer before the body comes.
    pub(super) fn let_head_go(&mut self) {
        self.lets_head_go = true;
    }

    /// Something of it has gone on.
    pub(super) fn has_gone_in_part(&self) -> bool {
        self.has_begun || self.has_sent_head
    }

    /// Its head, or some of its body, goes on.
    pub(super) fn goes(&mut self, is_head: bool) {
        if is_head && self.lets_head_go {
            self.has_sent_head = true;
        } else {
            self.has_begun = true;
        }
    }

    /// The rules of which its type chooses one, once.
    pub(super) fn take_undecided(&mut self) -> Box<[ContentRuleId]> {
        std::mem::take(&mut self.undecided)
    }

    /// By this rule, which says how much is held, or leaves it to the type.
    pub(super) fn goes_by(&mut self, rule: ContentRuleId, hold: Option<Hold>) {
        self.rule = rule;
        // What goes on in part already cannot wait as a whole.
        if self.hold == Holding::As(Hold::None) || self.has_begun {
            return;
        }
        self.hold = hold.or_else(|| self.kind.map(Hold::of)).map_or(Holding::ByType, Holding::As);
    }

    /// A thread has answered.
    pub(super) fn looked(&mut self, looked: Looked) -> Said {
        let Looked { scan, kind, found } = looked;
        // Nobody asks it again when it was given up: what it keeps is freed.
        let is_over = self.is_settled();
        if !is_over {
            self.scan_memory = scan.memory();
            self.scan = Some(scan);
        }
        self.seen += std::mem::take(&mut self.away);
        self.away_memory = 0;
        self.until = None;
        match self.learn(kind, found) {
            // That was told, or does not matter any more.
            Said::Undecodable(_) if is_over => Said::SoFar,
            said => said,
        }
    }

    fn learn(&mut self, kind: Option<FileType>, found: Found) -> Said {
        self.kind = self.kind.or(kind);
        if let (Holding::ByType, Some(kind)) = (self.hold, self.kind)
            && self.undecided.is_empty()
        {
            self.hold = Holding::As(Hold::of(kind));
        }
        match found {
            Found::Nothing => Said::SoFar,
            Found::Clean(facts) => Said::Clean(facts),
            Found::Hit(hit, facts) => Said::Hit(hit, facts),
            Found::Undecodable(why) => Said::Undecodable(why),
            Found::Failed(reasons, facts) => Said::Failed(reasons, facts),
        }
    }

    /// Nothing is looked at any more: all of it may go.
    pub(super) fn give_up(&mut self) {
        self.settle(State::Over);
    }

    /// It goes nowhere.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.settle(State::Refused(refusal));
    }

    fn settle(&mut self, state: State) {
        self.state = state;
        (self.scan, self.scan_memory, self.until) = (None, 0, None);
        self.todo = Octets::default();
    }

    /// Nothing is awaited of it.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.state, State::Looking)
    }

    /// Why it goes nowhere.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        if let State::Refused(refusal) = &self.state { Some(refusal) } else { None }
    }

    /// More came than is held: from here on only the end waits.
    pub(super) fn hold_tail(&mut self) {
        (self.hold, self.tail_is_all) = (Holding::As(Hold::Tail), false);
    }

    /// All of it waits.
    pub(super) fn holds_all(&self) -> bool {
        let waits = match self.hold {
            Holding::ByType | Holding::As(Hold::All) => true,
            Holding::As(Hold::Tail) => self.tail_is_all,
            Holding::As(Hold::None) => false,
        };
        waits && !self.is_settled()
    }

    /// Octets of the body that may have gone on.
    pub(super) fn may_go(&self) -> u64 {
        match (&self.state, self.hold) {
            (State::Refused(_), _) => 0,
            (State::Over, _) | (_, Holding::As(Hold::None)) => u64::MAX,
            (_, Holding::As(Hold::Tail)) if !self.tail_is_all => {
                self.seen.min(self.body.saturating_sub(self.tail))
            }
            _ => 0,
        }
    }

    /// What may become of a piece of the message with the body up to here.
    pub(super) fn gate(&self, up_to: u64) -> Gate {
        let may_go = self.may_go();
        match &self.state {
            State::Refused(_) => Gate::Refused,
            _ if up_to == 0 && self.lets_head_go && !self.has_ended => Gate::Open,
            // The head waits for the first octets that go, so that what is short is answered with the page.
            _ if 0 < may_go && up_to <= may_go => Gate::Open,
            _ => Gate::Waits,
        }
    }

    /// Nothing of it waits.
    pub(super) fn waits_for_nothing(&self) -> bool {
        self.may_go() == u64::MAX
    }

    /// While its sender cannot send more before some of it goes on, what has been looked at goes, whatever comes behind it.
    pub(super) fn set_stuck(&mut self, is_stuck: bool) {
        self.tail = if is_stuck { 0 } else { TAIL };
    }

    /// Threads lag so far behind that no more of the body is wanted.
    pub(super) fn is_behind(&self) -> bool {
        !self.is_settled() && !self.holds_all() && self.away + self.todo.len as u64 > MAX_LAG
    }

    /// When a thread has had its time.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it has.
    pub(super) fn has_timed_out(&mut self, now: Instant, timeout: Duration) -> bool {
        match self.until {
            Some(until) if until == Instant::ZERO => {
                self.until = Some(now + timeout);
                false
            }
            Some(until) => until <= now,
            None => false,
        }
    }

    /// Bytes of memory that count as held.
    pub(super) fn held(&self) -> usize {
        self.scan_memory + self.todo.memory + self.away_memory
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { head, file_name, undecided, .. } = self;
        size_of_val(&**undecided)
            + head.text_bytes()
            + file_name.as_ref().map_or(0, |name| name.len())
            + self.held()
    }
}
