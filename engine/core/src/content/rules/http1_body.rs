//! What rules of HTTP/1 look at in bodies. Where the type of a response decides, its head waits for the first bytes.

use tcp_stack::{Duration, Instant};

use super::http1::{Fate, Http1Rules};
use super::judge::{Judge, Place, Refusal, Ruling};
use super::type_watch::{Found, TypeWatch};
use crate::content::filter::Decisions;
use crate::end::End;
use crate::reason::Reason;

/// How long a head waits for a body that does not come. Then it goes on, and what comes later may still end it.
const WAIT: Duration = Duration::from_millis(500);

const PLACE: Place = Place { from: End::Server, stream: 0 };

/// Such a response.
pub(super) struct Awaiting {
    watch: Box<TypeWatch>,
    /// The head as it goes on; none: as it is.
    edited: Option<Vec<u8>>,
    /// Where it ends.
    head_at: u64,
    /// Zero: the time is not known yet.
    until: Instant,
}

impl Awaiting {
    pub(super) fn new(watch: Box<TypeWatch>, edited: Option<Vec<u8>>, head_at: u64) -> Self {
        Self { watch, edited, head_at, until: Instant::ZERO }
    }

    /// When the head has waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.watch.is_held.then_some(self.until)
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { watch, edited, head_at: _, until: _ } = self;
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
                decisions.insert(End::Server, head);
            }
        }
    }

    /// The body of this end's message has come up to here: `read` are the last bytes before that.
    pub(super) fn take_body(
        &mut self,
        judge: &mut Judge,
        from: End,
        up_to: u64,
        read: &[u8],
        decisions: &mut Decisions,
    ) {
        let body = &mut self.directions[from].body;
        let Some(begun) = body.begun else { return };
        let base = up_to - read.len() as u64;
        let new = begun.max(body.shown).max(base);
        body.shown = up_to;
        let octets = read.get((new - base) as usize..).unwrap_or_default();
        if octets.is_empty() {
            return;
        }
        if from == End::Server
            && let Some(awaiting) = &mut self.awaiting
        {
            if let Some(found) = awaiting.watch.push(octets) {
                return self.type_is_known(found, octets, judge, decisions);
            }
            if awaiting.watch.is_held {
                return;
            }
        }
        self.search(judge, from, octets, decisions);
    }

    /// Looks into what goes on.
    fn search(&mut self, judge: &mut Judge, from: End, octets: &[u8], decisions: &mut Decisions) {
        let watch = &mut self.directions[from].body.watch;
        if watch.searches() && judge.search(watch, octets, Place { from, stream: 0 }) != Ruling::Pass {
            self.reset(Reason::ContentBlocked, decisions);
        }
    }

    /// The body of this end's message has ended, if there is one.
    pub(super) fn body_ends(&mut self, judge: &mut Judge, from: End, decisions: &mut Decisions) {
        if from == End::Server
            && let Some(awaiting) = &mut self.awaiting
        {
            let found = awaiting.watch.end();
            self.type_is_known(found, &[], judge, decisions);
        }
        if self.has_ended(from) {
            return;
        }
        let watch = &mut self.directions[from].body.watch;
        if watch.searches() && judge.search_end(watch, Place { from, stream: 0 }) != Ruling::Pass {
            self.reset(Reason::ContentBlocked, decisions);
        }
    }

    /// `octets`: the last that have come.
    fn type_is_known(&mut self, found: Found, octets: &[u8], judge: &mut Judge, decisions: &mut Decisions) {
        let Some(mut awaiting) = self.awaiting.take() else { return };
        let was_held = awaiting.watch.is_held;
        let (ruling, watch) = judge.by_type(&mut awaiting.watch, found, PLACE);
        match watch {
            Some(watch) => self.directions.server.body.watch = watch,
            // As it was: it goes on with these.
            None if ruling == Ruling::Pass => self.search(judge, End::Server, octets, decisions),
            None => {}
        }
        match ruling {
            Ruling::Pass if was_held => self.head_goes_on(awaiting.edited, awaiting.head_at, decisions),
            Ruling::Pass => {}
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
        // Nobody is answered before it.
        self.open.clear();
        self.within_response = false;
        self.block(judge, refusal, &mut watch.head, false, decisions);
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) said.
    pub(super) fn wait_is_over(&mut self, now: Instant, judge: &mut Judge, decisions: &mut Decisions) {
        let Some(awaiting) = self.awaiting.as_mut().filter(|awaiting| awaiting.watch.is_held) else { return };
        if awaiting.until == Instant::ZERO {
            awaiting.until = now + WAIT;
            return;
        }
        if awaiting.until > now {
            return;
        }
        match judge.let_go(&mut awaiting.watch, PLACE) {
            (Ruling::Pass, watch) => {
                let (edited, head_at) = (awaiting.edited.take(), awaiting.head_at);
                self.directions.server.body.watch = watch;
                self.head_goes_on(edited, head_at, decisions);
                // All that has come since is of the same message.
                let seen = self.directions.server.seen;
                self.pass(End::Server, seen, decisions);
            }
            (Ruling::Block(refusal), _) => {
                let Some(mut awaiting) = self.awaiting.take() else { return };
                self.answer_in_its_place(&refusal, &mut awaiting.watch, judge, decisions);
            }
        }
    }
}
