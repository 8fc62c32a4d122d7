//! What rules of HTTP/1 look at in bodies. Where the type of a response decides, its head waits for the first bytes.

use tcp_stack::{Duration, Instant};

use super::content_watch::ContentWatch;
use super::http1::{Fate, Http1Rules};
use super::judge::{Judge, Place, Refusal, Ruling};
use super::streamed::is_media;
use super::type_watch::{Found, TypeWatch};
use crate::content::body::FileType;
use crate::content::filter::Decisions;
use crate::end::End;
use crate::policy::{ContentAction, Hold, Inside, LastFound};
use crate::reason::Reason;

/// How long a head waits for a body that does not come. Then it goes on, and what comes later may still end it.
const WAIT: Duration = Duration::from_millis(500);

const PLACE: Place = Place { from: End::Server, stream: 0 };

/// Content of the message that passes.
#[derive(Default)]
pub(super) struct Body {
    /// Where the piece begins that is not complete.
    pub(super) begun: Option<u64>,
    /// What lies before this was shown to whoever looks into it.
    pub(super) shown: u64,
    /// Bytes of the pieces before it.
    pub(super) bytes: u64,
    pub(super) watch: ContentWatch,
}

impl Body {
    /// Bytes of it, if this is how far it has come.
    pub(super) fn up_to(&self, at: u64) -> u64 {
        self.bytes + self.begun.map_or(0, |begun| at.saturating_sub(begun))
    }
}

/// A response whose type decides.
pub(super) struct Awaiting {
    watch: Box<TypeWatch>,
    /// The head as it goes on; none: as it is.
    edited: Option<Vec<u8>>,
    /// Where it ends.
    head_at: u64,
    /// Zero: the time is not known yet.
    until: Instant,
    /// Whoever looks into it would hold it, too: it waits until its type says who that is.
    waits_on: bool,
}

impl Awaiting {
    pub(super) fn new(watch: Box<TypeWatch>, edited: Option<Vec<u8>>, head_at: u64) -> Self {
        Self { watch, edited, head_at, until: Instant::ZERO, waits_on: false }
    }

    /// When the head has waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.watch.is_held && !self.waits_on).then_some(self.until)
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { watch, edited, head_at: _, until: _, waits_on: _ } = self;
        size_of::<Self>() + watch.memory() + edited.as_ref().map_or(0, Vec::capacity)
    }
}

impl Http1Rules {
    /// A response's head is complete, and its type decides.
    pub(super) fn await_type(&mut self, awaiting: Awaiting, decisions: &mut Decisions) {
        let awaiting = self.awaiting.insert(Box::new(awaiting));
        if !awaiting.watch.is_held {
            let edited = awaiting.edited.take();
            let head_at = awaiting.head_at;
            self.head_goes_on(edited, head_at, decisions);
        }
    }

    fn head_goes_on(&mut self, edited: Option<Vec<u8>>, head_at: u64, decisions: &mut Decisions) {
        self.directions.server.fate = Fate::Pass;
        match edited {
            None => self.pass(End::Server, head_at, decisions),
            Some(head) => {
                self.drop(End::Server, head_at, decisions);
                self.insert(End::Server, head, decisions);
            }
        }
    }

    /// More of the body has come, whose type is awaited.
    pub(super) fn show_to_type(&mut self, judge: &mut Judge, octets: &[u8], decisions: &mut Decisions) {
        let Some(awaiting) = &mut self.awaiting else { return };
        let before = awaiting.watch.first().len();
        if let Some(found) = awaiting.watch.push(octets) {
            let kept = awaiting.watch.first().len() - before;
            self.type_is_known(found, (octets, &octets[kept..]), judge, decisions);
        } else if !awaiting.watch.is_held {
            self.search(judge, End::Server, octets, decisions);
        }
    }

    /// Looks into what goes on.
    pub(super) fn search(&mut self, judge: &mut Judge, from: End, octets: &[u8], decisions: &mut Decisions) {
        let watch = &mut self.directions[from].body.watch;
        if watch.searches() && judge.search(watch, octets, Place { from, stream: 0 }) != Ruling::Pass {
            self.reset(Reason::ContentBlocked, decisions);
        }
    }

    /// Nothing more of this end's body goes on.
    pub(super) fn search_ends(&mut self, judge: &mut Judge, from: End, decisions: &mut Decisions) {
        if self.has_ended(from) {
            return;
        }
        let watch = &mut self.directions[from].body.watch;
        if watch.searches() && judge.search_end(watch, Place { from, stream: 0 }) != Ruling::Pass {
            self.reset(Reason::ContentBlocked, decisions);
        }
    }

    /// The body has ended whose type is awaited.
    pub(super) fn type_ends(&mut self, judge: &mut Judge, decisions: &mut Decisions) {
        if let Some(awaiting) = &mut self.awaiting {
            let found = awaiting.watch.end();
            self.type_is_known(found, (&[], &[]), judge, decisions);
        }
    }

    /// `last`: what has come of the body last; `rest`: what of that the watch has not kept.
    fn type_is_known(
        &mut self,
        found: Found,
        (last, rest): (&[u8], &[u8]),
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) {
        let Some(mut awaiting) = self.awaiting.take() else { return };
        let was_held = awaiting.watch.is_held;
        let (mut ruling, watch) = judge.by_type(&mut awaiting.watch, found, PLACE);
        match watch {
            Some(watch) => self.directions.server.body.watch = watch,
            // As it was: it goes on with these.
            None if ruling == Ruling::Pass => self.search(judge, End::Server, last, decisions),
            None => {}
        }
        if let Ruling::Inspect(rule) = ruling {
            let known = (found.ok(), !was_held);
            ruling = self.inspect_watched(rule, known, &mut awaiting.watch, judge, decisions);
            if matches!(ruling, Ruling::Inspect(_)) {
                self.lanes.server.show(rest, End::Server, judge, decisions);
            }
        }
        match ruling {
            Ruling::Pass | Ruling::Inspect(_) if was_held => {
                self.head_goes_on(awaiting.edited, awaiting.head_at, decisions);
            }
            Ruling::Pass | Ruling::Inspect(_) => {}
            Ruling::Block(refusal) if was_held => {
                self.answer_in_its_place(&refusal, &mut awaiting.watch, judge, decisions);
            }
            // Something of it has gone on.
            Ruling::Block(refusal) => self.reset(refusal.reason, decisions),
        }
    }

    fn answer_in_its_place(
        &mut self,
        refusal: &Refusal,
        watch: &mut TypeWatch,
        judge: &Judge,
        decisions: &mut Decisions,
    ) {
        self.server_ends();
        self.block(judge, refusal, &mut watch.head, false, decisions);
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) said.
    pub(super) fn wait_is_over(&mut self, now: Instant, judge: &mut Judge, decisions: &mut Decisions) {
        let is_due = |awaiting: &&mut Box<Awaiting>| awaiting.watch.is_held && !awaiting.waits_on;
        let Some(awaiting) = self.awaiting.as_mut().filter(is_due) else { return };
        if awaiting.until == Instant::ZERO {
            awaiting.until = now + WAIT;
            return;
        }
        if awaiting.until > now {
            return;
        }
        if would_be_held(&awaiting.watch, judge) {
            awaiting.waits_on = true;
            return;
        }
        let (mut ruling, content) = judge.let_go(&mut awaiting.watch, PLACE);
        let Some(mut awaiting) = self.awaiting.take() else { return };
        if let Ruling::Inspect(rule) = ruling {
            // Nothing of it has gone on yet.
            ruling = self.inspect_watched(rule, (None, false), &mut awaiting.watch, judge, decisions);
        }
        if let Ruling::Block(refusal) = ruling {
            return self.answer_in_its_place(&refusal, &mut awaiting.watch, judge, decisions);
        }
        self.directions.server.body.watch = content;
        self.head_goes_on(awaiting.edited.take(), awaiting.head_at, decisions);
        // All that has come since is of the same message.
        let seen = self.directions.server.seen;
        self.pass(End::Server, seen, decisions);
        self.awaiting = Some(awaiting);
        self.move_on(End::Server, judge, decisions);
    }
}

/// The rule that a response would go on by while its type is unknown has it looked at, and held meanwhile. Where it began with that, the
/// rule of its type could not look any more.
fn would_be_held(watch: &TypeWatch, judge: &Judge) -> bool {
    let facts = watch.facts(Inside::Is(FileType::Unknown));
    let rule = judge.policy.at_response(&watch.standing, &facts, &mut LastFound::default()).rule;
    let Some(ContentAction::Inspect(inspect)) = rule.map(|rule| judge.policy.action(rule)) else {
        return false;
    };
    let content_type = watch.head.content_type.as_deref().unwrap_or_default().as_bytes();
    match inspect.hold {
        Some(hold) => hold != Hold::None,
        None => !is_media(content_type),
    }
}
