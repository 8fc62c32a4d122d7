//! Rules on HTTP/1 (RFC 9112): heads are held until they are judged, and go on as they are; what follows them goes with them.
//!
//! Where a request is blocked, its connection ends: all before it goes on, nothing behind it does. Its answer waits until the responses
//! to the requests before it are complete, and is the last thing that the client gets.

use std::collections::VecDeque;

use tcp_stack::{Duration, Instant};

use super::content_watch::ContentWatch;
use super::http1_answer::encode;
use super::http1_body::{Awaiting, Body};
use super::http1_edit::edited;
use super::inspection::Inspection;
use super::judge::{Answer, Judge, Judged, Place, Refusal, Ruling};
use super::lane::Lane;
use crate::content::border::{Border, Borders, HeadKind, What};
use crate::content::filter::{Decisions, Ending};
use crate::end::{End, PerEnd};
use crate::event::HttpEvent;
use crate::fields::{Field, Fields};
use crate::policy::{FieldEdit, Standing};
use crate::reason::{InspectorOff, Reason};

/// Bytes of a client that are swallowed behind a request that was answered, so that it finds the answer and no RST (RFC 9112, 9.6).
const MAX_SWALLOWED: u64 = 64 * 1024;
/// Most memory that is kept for the fields of the next head: more than most heads take.
const MAX_KEPT: usize = 2048;
/// Most places that are kept for requests when all have their responses: those of whoever sends one at a time.
const MAX_KEPT_OPEN: usize = 4;
/// How long it may take to find it.
const LINGER: Duration = Duration::from_secs(5);

/// The rules of one connection.
pub(super) struct Http1Rules {
    /// By who sends.
    pub(super) directions: PerEnd<Direction>,
    /// Requests whose response is not complete, oldest first.
    pub(super) open: VecDeque<Open>,
    mode: Mode,
    /// What the client is to get when all of `open` are over. Nothing that it sends goes on.
    last: Option<Last>,
    /// The response of the server's that passes has not ended.
    pub(super) within_response: bool,
    /// Who sends nothing more.
    pub(super) ended: PerEnd<bool>,
    /// Heads of requests that have come.
    pub(super) requests: u64,
    /// The server has the beginning of a request that does not go on.
    pub(super) resets_server: bool,
    /// The server's response whose type is not known yet.
    pub(super) awaiting: Option<Box<Awaiting>>,
    /// What waits until bodies have been looked at, by who has sent it.
    pub(super) lanes: PerEnd<Lane>,
}

/// A request that has gone on.
pub(super) struct Open {
    /// Which of the client's requests it is.
    pub(super) number: u64,
    standing: Standing,
    /// Its response can begin a tunnel.
    is_connect: bool,
    is_head: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Rules,
    /// Nothing is read, and policy lets it pass.
    Through,
    /// The client has its last answer: it may read that in peace, until then. Zero: the time is not known yet.
    Lingering {
        until: Instant,
        swallowed: u64,
        reason: Reason,
    },
    /// Nothing goes on.
    Ended,
}

/// The end of a connection that rules end.
struct Last {
    /// None: a RST.
    answer: Option<Vec<u8>>,
    reason: Reason,
}

/// What one end sends.
#[derive(Default)]
pub(super) struct Direction {
    /// Bytes that have come, and of these, those that are decided.
    pub(super) seen: u64,
    pub(super) decided: u64,
    pub(super) fate: Fate,
    /// Of the head that comes.
    fields: Fields,
    /// The bytes that are not decided, where heads may be edited; those of the last call may be missing.
    pub(super) held: Vec<u8>,
    pub(super) body: Body,
}

/// What becomes of the bytes that come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are not known yet, or not decided.
    #[default]
    Held,
    Pass,
    Drop,
}

impl Direction {
    /// Keeps what is not decided: these are the bytes of the call.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        let undecided = (self.seen - self.decided) as usize;
        let new = undecided.saturating_sub(self.held.len()).min(bytes.len());
        self.held.extend_from_slice(&bytes[bytes.len() - new..]);
    }
}

impl Http1Rules {
    pub(super) fn new() -> Self {
        Self {
            directions: PerEnd::default(),
            open: VecDeque::new(),
            mode: Mode::Rules,
            last: None,
            within_response: false,
            ended: PerEnd::both(false),
            requests: 0,
            resets_server: false,
            awaiting: None,
            lanes: PerEnd::default(),
        }
    }

    /// These bytes have come before, and nothing was known about them.
    pub(super) fn came_before(&mut self, from: End, bytes: &[u8]) {
        let direction = &mut self.directions[from];
        direction.seen += bytes.len() as u64;
        direction.held.extend_from_slice(bytes);
    }

    /// Content of the message that comes goes on, and no rule wants to see it.
    pub(super) fn passes_content(&self, from: End) -> bool {
        self.directions[from].fate == Fate::Pass && self.is_plain(from)
    }

    /// So much content has come, and nothing else, while it [passes](Self::passes_content).
    pub(super) fn pass_content(&mut self, from: End, bytes: usize, decisions: &mut Decisions) {
        let direction = &mut self.directions[from];
        direction.seen += bytes as u64;
        // What has come before it is decided, so this is all.
        direction.decided = direction.seen;
        decisions.pass_on(from, bytes);
    }

    /// Decides while the reader tells what is in these bytes. [`read`](Self::read) follows.
    pub(super) fn receiver<'a>(
        &'a mut self,
        judge: &'a mut Judge,
        (from, bytes): (End, &'a [u8]),
        decisions: &'a mut Decisions,
    ) -> Receiver<'a> {
        let direction = &mut self.directions[from];
        let base = direction.seen;
        direction.seen += bytes.len() as u64;
        Receiver { rules: self, judge, from, bytes, base, decisions }
    }

    /// Decides on what is left of the bytes that the reader has read.
    pub(super) fn read(&mut self, judge: &mut Judge, from: End, bytes: &[u8], decisions: &mut Decisions) {
        let Direction { seen, decided, fate, .. } = self.directions[from];
        if (fate == Fate::Pass || decided == seen) && self.is_plain(from) {
            return decisions.pass(from, self.decide(from, seen));
        }
        if !self.has_ended(from) {
            self.take_body(judge, (from, seen), bytes, decisions);
        }
        match self.mode {
            Mode::Ended => {}
            Mode::Through => self.pass(from, seen, decisions),
            Mode::Lingering { .. } => self.swallow(from, decisions),
            Mode::Rules => {
                let fate = self.directions[from].fate;
                match fate {
                    Fate::Pass if self.is_too_long(judge, from, seen) => {
                        self.reset(Reason::ContentBlocked, decisions)
                    }
                    Fate::Pass => self.pass(from, seen, decisions),
                    Fate::Drop => self.drop(from, seen, decisions),
                    // Of a response whose type is awaited the head is there already.
                    Fate::Held if from == End::Server && self.awaiting.is_some() => {}
                    Fate::Held if judge.edits_heads(from) => self.directions[from].keep(bytes),
                    Fate::Held => {}
                }
            }
        }
        self.keep_within_room(from, judge, decisions);
        self.move_on(from, judge, decisions);
        self.answer_if_due(decisions);
    }

    /// An end sends nothing more. What it has left incomplete goes nowhere.
    pub(super) fn ended(&mut self, judge: &mut Judge, from: End, decisions: &mut Decisions) {
        if self.mode == Mode::Rules {
            self.body_ends(from, judge, decisions);
        }
        let seen = self.directions[from].seen;
        self.ended[from] = true;
        match self.mode {
            Mode::Ended => {}
            Mode::Through => self.pass(from, seen, decisions),
            Mode::Rules if from == End::Server && self.directions.server.fate == Fate::Pass => {
                self.pass(from, seen, decisions)
            }
            Mode::Rules => self.drop(from, seen, decisions),
            Mode::Lingering { reason, .. } => {
                self.drop(from, seen, decisions);
                if from == End::Client {
                    self.part(reason, decisions);
                }
            }
        }
        self.lanes[from].message_ends();
        self.move_on(from, judge, decisions);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.mode {
            Mode::Lingering { until, .. } => Some(until),
            Mode::Rules | Mode::Through => {
                let lanes = self.lanes.iter().filter_map(Lane::poll_timeout).min();
                let awaiting = self.awaiting.as_ref().and_then(|awaiting| awaiting.poll_timeout());
                lanes.into_iter().chain(awaiting).min()
            }
            Mode::Ended => None,
        }
    }

    /// That time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant, judge: &mut Judge, decisions: &mut Decisions) {
        self.threads_are_late(now, judge, decisions);
        match &mut self.mode {
            Mode::Rules => self.wait_is_over(now, judge, decisions),
            Mode::Lingering { until, .. } if *until == Instant::ZERO => *until = now + LINGER,
            Mode::Lingering { until, reason, .. } if *until <= now => {
                let reason = *reason;
                self.part(reason, decisions);
            }
            _ => {}
        }
    }

    /// Nothing more is read.
    pub(super) fn off(&mut self, judge: &mut Judge, from: End, off: InspectorOff, decisions: &mut Decisions) {
        if self.mode != Mode::Rules {
            return;
        }
        self.awaiting = None;
        // The head that opens a tunnel has been judged already.
        let ruling = match off {
            InspectorOff::Opaque => Ruling::Pass,
            _ => judge.unread(off, Place { from, stream: 0 }),
        };
        match ruling {
            Ruling::Pass | Ruling::Inspect(_) => {
                self.mode = Mode::Through;
                for end in End::BOTH {
                    self.cannot_be_looked_at(end);
                    let seen = self.directions[end].seen;
                    self.pass(end, seen, decisions);
                }
            }
            // The client's fault, and nothing is between it and the answer.
            Ruling::Block(refusal)
                if from == End::Client && self.open.is_empty() && !self.within_response =>
            {
                let answer = (refusal.reason == Reason::ContentUnparsed)
                    .then(|| judge.answer(&refusal, &HttpEvent::default()))
                    .flatten();
                self.end_with(answer.as_ref(), false, refusal.reason, decisions);
            }
            Ruling::Block(refusal) => self.reset(refusal.reason, decisions),
        }
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self {
            directions,
            open,
            mode: _,
            last,
            within_response: _,
            ended: _,
            requests: _,
            resets_server: _,
            awaiting,
            lanes,
        } = self;
        let directions: usize = directions
            .iter()
            .map(|each| each.fields.memory() + each.held.capacity() + each.body.watch.memory())
            .sum();
        let standings: usize = open.iter().map(|open| open.standing.memory()).sum();
        let last = last.as_ref().and_then(|last| last.answer.as_ref()).map_or(0, Vec::capacity);
        let awaiting = awaiting.as_ref().map_or(0, |awaiting| awaiting.memory());
        let lanes: usize = lanes.iter().map(Lane::memory).sum();
        directions + open.capacity() * size_of::<Open>() + standings + last + awaiting + lanes
    }

    pub(super) fn pass(&mut self, from: End, up_to: u64, decisions: &mut Decisions) {
        let bytes = self.decide(from, up_to);
        if self.lanes[from].is_busy() {
            self.lanes[from].hold(from, bytes, decisions);
        } else {
            decisions.pass(from, bytes);
        }
    }

    /// The other end gets this behind what has passed.
    pub(super) fn insert(&mut self, from: End, bytes: Vec<u8>, decisions: &mut Decisions) {
        if self.lanes[from].is_busy() {
            self.lanes[from].insert(bytes);
        } else {
            decisions.insert(from, bytes);
        }
    }

    pub(super) fn drop(&mut self, from: End, up_to: u64, decisions: &mut Decisions) {
        decisions.drop(from, self.decide(from, up_to));
    }

    /// How many bytes up to there were not decided; now they are.
    fn decide(&mut self, from: End, up_to: u64) -> usize {
        let direction = &mut self.directions[from];
        let more = up_to.saturating_sub(direction.decided) as usize;
        direction.decided += more as u64;
        if direction.held.is_empty() {
            return more;
        }
        if more >= direction.held.len() {
            direction.held = Vec::new();
        } else {
            direction.held.drain(..more);
        }
        more
    }

    /// A rule blocks what has come of the content.
    fn is_too_long(&mut self, judge: &mut Judge, from: End, at: u64) -> bool {
        let body = &mut self.directions[from].body;
        let bytes = body.up_to(at);
        judge.late(&mut body.watch, bytes, Place { from, stream: 0 }) != Ruling::Pass
    }

    pub(super) fn block(
        &mut self,
        judge: &Judge,
        refusal: &Refusal,
        head: &mut HttpEvent,
        to_head: bool,
        decisions: &mut Decisions,
    ) {
        let answer = judge.answer(refusal, head);
        head.status = answer.as_ref().map(|answer| answer.status);
        self.end_with(answer.as_ref(), to_head, refusal.reason, decisions);
    }

    /// Nothing goes on any more but an answer of ours.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.mode, Mode::Ended | Mode::Lingering { .. })
    }

    /// Nothing that this end has sent waits, no rule looks into its content, and no answer of ours is due. So the content goes on, and
    /// neither rules nor lanes nor timers need to be asked about it: the common case.
    fn is_plain(&self, from: End) -> bool {
        let is_watched = !self.directions[from].body.watch.is_idle() || self.awaiting.is_some();
        self.mode == Mode::Rules && self.last.is_none() && !is_watched && self.lanes[from].is_idle()
    }

    /// Nothing more of this end is looked at.
    pub(super) fn has_ended(&self, from: End) -> bool {
        self.mode != Mode::Rules || self.directions[from].fate == Fate::Drop
    }

    /// The connection ends with this, when it is its turn; nothing else of the client's goes on.
    fn end_with(
        &mut self,
        answer: Option<&Answer>,
        to_head: bool,
        reason: Reason,
        decisions: &mut Decisions,
    ) {
        // In what is not read there is no place for an answer, and what comes behind it must not go on.
        if self.mode == Mode::Through {
            return self.reset(reason, decisions);
        }
        self.directions.client.fate = Fate::Drop;
        self.last = Some(Last { answer: answer.map(|answer| encode(answer, to_head)), reason });
        self.answer_if_due(decisions);
    }

    pub(super) fn answer_if_due(&mut self, decisions: &mut Decisions) {
        let is_later = !self.open.is_empty() || self.within_response || self.lanes.server.is_waiting();
        if self.mode != Mode::Rules || is_later {
            return;
        }
        let Some(Last { answer, reason }) = self.last.take() else { return };
        let Some(answer) = answer else { return self.reset(reason, decisions) };
        decisions.insert(End::Server, answer);
        if self.ended.client {
            return self.part(reason, decisions);
        }
        self.mode = Mode::Lingering { until: Instant::ZERO, swallowed: 0, reason };
        End::BOTH.into_iter().for_each(|from| self.swallow(from, decisions));
    }

    fn swallow(&mut self, from: End, decisions: &mut Decisions) {
        let seen = self.directions[from].seen;
        let more = self.decide(from, seen);
        decisions.drop(from, more);
        if from == End::Client
            && let Mode::Lingering { swallowed, reason, .. } = &mut self.mode
        {
            *swallowed += more as u64;
            if *swallowed > MAX_SWALLOWED {
                let reason = *reason;
                self.part(reason, decisions);
            }
        }
    }

    /// The flow ends in order: what was inserted arrives.
    fn part(&mut self, reason: Reason, decisions: &mut Decisions) {
        self.mode = Mode::Ended;
        decisions.end(Ending { reason, orderly: true, resets_server: self.resets_server });
    }

    /// The flow ends by RST: what has gone on in part must not seem whole.
    pub(super) fn reset(&mut self, reason: Reason, decisions: &mut Decisions) {
        self.mode = Mode::Ended;
        decisions.end(Ending { reason, orderly: false, resets_server: false });
    }
}

/// Decides on the bytes of one call.
pub(super) struct Receiver<'a> {
    pub(super) rules: &'a mut Http1Rules,
    pub(super) judge: &'a mut Judge,
    from: End,
    pub(super) bytes: &'a [u8],
    /// Where in their direction these bytes begin.
    base: u64,
    pub(super) decisions: &'a mut Decisions,
}

impl Borders for Receiver<'_> {
    fn border(&mut self, border: &Border, head: Option<&mut HttpEvent>) {
        let Border { from, at, what, .. } = *border;
        if self.has_stopped(from) {
            return;
        }
        let direction = &mut self.rules.directions[from];
        match what {
            What::HeadBegins => {
                // Empty lines before it.
                self.rules.pass(from, at, self.decisions);
                let direction = &mut self.rules.directions[from];
                direction.fate = Fate::Held;
                direction.fields.clear();
            }
            What::HeadEnds(kind) => {
                let mut fields = std::mem::take(&mut direction.fields);
                if let Some(head) = head {
                    match from {
                        End::Client => self.request(at, head, &fields),
                        End::Server => self.response(at, kind, head, &fields),
                    }
                }
                if fields.memory() <= MAX_KEPT {
                    fields.clear();
                    self.rules.directions[from].fields = fields;
                }
            }
            What::DataBegins => {
                direction.body.begun = Some(at);
                // HTTP/0.9: the response has no head.
                if from == End::Server && direction.fate == Fate::Held && self.rules.awaiting.is_none() {
                    direction.fate = Fate::Pass;
                    self.rules.within_response = true;
                }
            }
            What::DataEnds => {
                let is_plain = self.rules.is_plain(from);
                if !is_plain {
                    let read = &self.bytes[..(at - self.base) as usize];
                    self.rules.take_body(self.judge, (from, at), read, self.decisions);
                    if self.rules.has_ended(from) {
                        return;
                    }
                }
                let body = &mut self.rules.directions[from].body;
                (body.bytes, body.begun) = (body.up_to(at), None);
                if !is_plain && self.rules.is_too_long(self.judge, from, at) {
                    self.rules.reset(Reason::ContentBlocked, self.decisions);
                }
            }
            What::MessageEnds => {
                if !self.rules.is_plain(from) {
                    self.rules.body_ends(from, self.judge, self.decisions);
                    if self.rules.has_ended(from) {
                        return;
                    }
                }
                self.rules.pass(from, at, self.decisions);
                self.rules.lanes[from].message_ends();
                let direction = &mut self.rules.directions[from];
                (direction.fate, direction.body) = (Fate::Held, Body::default());
                if from == End::Server {
                    self.rules.within_response = false;
                    self.rules.open.pop_front();
                    if self.rules.open.is_empty() && self.rules.open.capacity() > MAX_KEPT_OPEN {
                        self.rules.open = VecDeque::new();
                    }
                    self.rules.answer_if_due(self.decisions);
                }
            }
            What::NoMessage => self.no_message(from),
            What::Off(off) => self.rules.off(self.judge, from, off, self.decisions),
            What::FrameBegins | What::FrameEnds | What::Reset => {}
        }
    }

    fn field(&mut self, from: End, _: u32, field: Field<'_>) {
        self.rules.directions[from].fields.push(field);
    }

    fn folded(&mut self, from: End, more: &[u8]) {
        self.rules.directions[from].fields.fold(more);
    }

    fn has_stopped(&self, from: End) -> bool {
        self.rules.has_ended(from)
    }

    fn ambiguous(&mut self, from: End, _: u64, exchange: &mut HttpEvent) {
        let ruling = self.judge.refuse(Reason::ContentUnparsed, Place { from, stream: 0 }, exchange);
        if let Ruling::Block(refusal) = ruling {
            self.rules.reset(refusal.reason, self.decisions);
        }
    }
}

impl Receiver<'_> {
    fn request(&mut self, at: u64, head: &mut HttpEvent, fields: &Fields) {
        let place = Place { from: End::Client, stream: 0 };
        let (ruling, watch, standing) = self.judge.request(place, head, fields);
        let is_method = |name| head.method.as_deref() == Some(name);
        let (is_head, is_connect) = (is_method("HEAD"), is_method("CONNECT"));
        self.rules.requests += 1;
        let has_content =
            || ["content-length", "transfer-encoding"].iter().any(|name| fields.value(name).is_some());
        let ruling = match ruling {
            // What is in a tunnel is no content of a request.
            Ruling::Inspect(_) if is_connect && !has_content() => ruling,
            Ruling::Inspect(_) => self.inspect_request(&standing, head, fields),
            ruling => ruling,
        };
        match ruling {
            Ruling::Pass | Ruling::Inspect(_) => {
                self.rules.directions.client.body.watch = watch;
                let edits = self.judge.request_edits(head, &standing, fields);
                self.head_passes(End::Client, at, &edits);
                let number = self.rules.requests;
                self.rules.open.push_back(Open { number, standing, is_connect, is_head });
            }
            Ruling::Block(refusal) => self.block(&refusal, head, is_head),
        }
    }

    fn response(&mut self, at: u64, kind: HeadKind, head: &mut HttpEvent, fields: &Fields) {
        let place = Place { from: End::Server, stream: 0 };
        let first = self.rules.open.front();
        let (is_head, is_connect) = first.map_or((false, false), |open| (open.is_head, open.is_connect));
        let status = head.status.unwrap_or_default();
        let is_interim = kind == HeadKind::Interim;
        let is_tunnel = !is_interim && (status == 101 || is_connect && (200..300).contains(&status));
        let nothing = Standing::default();
        let standing = first.filter(|_| !is_interim).map_or(&nothing, |open| &open.standing);
        let (mut ruling, watch) = match self.judge.response(standing, place, head, fields) {
            Judged::ByType(watch, content) if !is_tunnel => {
                self.rules.directions.server.body.watch = content;
                let edits = self.judge.response_edits(head);
                let edited = (!edits.is_empty()).then(|| edited(&self.head_up_to(at), &edits));
                // What goes on at once, and is looked at meanwhile.
                let ruling = watch.inspected_by.map(|rule| self.inspect(rule, head, fields));
                if let Some(Ruling::Block(refusal)) = ruling {
                    return self.block_response(&refusal, head, is_head);
                }
                self.rules.within_response = true;
                return self.rules.await_type(Awaiting::new(watch, edited, at), self.decisions);
            }
            Judged::ByType(..) => (Ruling::Pass, ContentWatch::default()),
            Judged::Now(ruling, watch) => (ruling, watch),
        };
        let is_within = |upload: &mut Inspection| !upload.has_ended() || upload.body() > 0;
        if is_tunnel && self.rules.lanes.client.unsettled().is_some_and(is_within) {
            // What waits of the request would go on as a part of the tunnel.
            return self.rules.reset(Reason::ContentOpaque, self.decisions);
        }
        // There is no body to look at in a tunnel, and nothing is asked about it later.
        if is_tunnel && !matches!(ruling, Ruling::Block(_)) {
            ruling = self.judge.refuse(Reason::ContentOpaque, place, head);
        }
        if let Ruling::Inspect(rule) = ruling {
            ruling = self.inspect(rule, head, fields);
        }
        match ruling {
            Ruling::Pass | Ruling::Inspect(_) => {
                if is_interim {
                    self.head_passes(End::Server, at, &[]);
                    self.rules.directions.server.fate = Fate::Held;
                } else {
                    let edits = self.judge.response_edits(head);
                    self.head_passes(End::Server, at, &edits);
                    self.rules.within_response = true;
                    self.rules.directions.server.body.watch = watch;
                }
            }
            Ruling::Block(refusal) => self.block_response(&refusal, head, is_head),
        }
    }

    fn block_response(&mut self, refusal: &Refusal, head: &mut HttpEvent, to_head: bool) {
        self.rules.server_ends();
        self.block(refusal, head, to_head);
    }

    fn block(&mut self, refusal: &Refusal, head: &mut HttpEvent, to_head: bool) {
        self.rules.block(self.judge, refusal, head, to_head, self.decisions);
    }

    /// The head that ends here goes on, with these changes.
    fn head_passes(&mut self, from: End, at: u64, edits: &[FieldEdit]) {
        self.rules.directions[from].fate = Fate::Pass;
        if edits.is_empty() || from != self.from {
            return self.rules.pass(from, at, self.decisions);
        }
        let head = self.head_up_to(at);
        self.rules.drop(from, at, self.decisions);
        self.rules.insert(from, edited(&head, edits), self.decisions);
    }

    /// The head that ends here. Where nothing is edited, its beginning may be missing.
    fn head_up_to(&self, at: u64) -> Vec<u8> {
        let direction = &self.rules.directions[self.from];
        let len = (at - direction.decided) as usize;
        let mut head = direction.held[..len.min(direction.held.len())].to_vec();
        if head.len() < len {
            let begin = direction.decided.max(self.base);
            let place = |at: u64| (at - self.base) as usize;
            head.extend_from_slice(&self.bytes[place(begin)..place(at)]);
        }
        head
    }

    /// What has come of this direction's head is none, and what was a body ends here.
    fn no_message(&mut self, from: End) {
        self.rules.body_ends(from, self.judge, self.decisions);
        if self.rules.has_ended(from) {
            return;
        }
        let place = Place { from, stream: 0 };
        let mut event = HttpEvent { protocol: "HTTP/1.1", ..HttpEvent::default() };
        match self.judge.refuse(Reason::ContentUnparsed, place, &mut event) {
            Ruling::Pass | Ruling::Inspect(_) => {
                self.rules.lanes[from].message_ends();
                self.rules.directions[from].fate = Fate::Pass;
                self.rules.directions[from].body = Body::default();
                if from == End::Server && self.rules.within_response {
                    self.rules.within_response = false;
                    self.rules.open.pop_front();
                }
            }
            // Of a head that is none nothing has gone on, so it can be answered; of a body some has.
            Ruling::Block(refusal)
                if from == End::Client && self.rules.directions.client.fate == Fate::Held =>
            {
                self.block(&refusal, &mut event, false);
            }
            Ruling::Block(refusal) => self.rules.reset(refusal.reason, self.decisions),
        }
    }
}
