//! Rules on HTTP/2 (RFC 9113): a relay of frames that cuts single streams out.
//!
//! A header block is held until it is complete, and then goes on as it is. So does everything else, as long as no rule says otherwise. A
//! direction in which a block was left out *diverges*: from there on every block is encoded anew, without a dynamic table, so that no
//! state is needed that the receiver does not have. What is inserted touches no table either.
//!
//! No SETTINGS are changed. A server that pushes asks the rules about what it promises as a client does about what it requests, and both
//! tables are followed up to the size that browsers ask for: lower ones would make a client known by its settings into another.

use super::http2_output::{Encoding, Outbox, Queue};
use super::http2_server_windows::ServerWindows;
use super::http2_streams::{State, Streams};
use super::http2_uploads::DueUploads;
use super::http2_windows::Windows;
use super::http2_writer::{
    ALTSVC, DATA, GOAWAY, HEADERS, PRIORITY_FRAME, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::judge::{Judge, Place, Ruling};
use crate::content::border::{Border, Borders, Exchange, FrameHead, HeadKind, What};
use crate::content::filter::{Decisions, Ending};
use crate::content::http2_frames::END_STREAM;
use crate::end::{End, PerEnd};
use crate::event::HttpEvent;
use crate::fields::{Field, Fields};
use crate::reason::{InspectorOff, Reason};
use tcp_stack::Instant;

/// Octets of fields (RFC 7541, 4.1) in the header blocks of one call. A table lets a small block unfold into a large one, and what is
/// encoded anew is that large; a record full of the requests of a browser has a tenth of it.
const MAX_UNFOLDED: usize = 1024 * 1024;
/// Bytes of answers that wait for a place or for windows. Of further ones the stream is reset.
pub(super) const MAX_WAITING: usize = 64 * 1024;
/// Octets of the server's data that are held: because of what was inserted, or until a type is known.
const MAX_HELD: u64 = 128 * 1024;

/// The rules of one connection.
pub(super) struct Http2Rules {
    /// By who sends.
    pub(super) directions: PerEnd<Direction>,
    pub(super) streams: Streams,
    pub(super) windows: Windows,
    pub(super) server_windows: ServerWindows,
    /// By who receives.
    pub(super) outboxes: PerEnd<Outbox>,
    /// For the client.
    pub(super) queue: Queue,
    mode: Mode,
    unfolded: usize,
    /// Until then responses wait for their types; zero: the time is not known yet.
    pub(super) wait_until: Option<Instant>,
    /// Of the streams that threads look at, those of which something has changed.
    pub(super) changed: Vec<u32>,
    /// How the windows stood when it was last seen whether they keep servers from going on.
    pub(super) windows_seen: (i64, bool),
    /// When the first of the threads that were asked before has had its time, or earlier.
    pub(super) threads_until: Option<Instant>,
    /// Streams that threads have just been asked about.
    pub(super) asked: Vec<(End, u32)>,
    pub(super) due_uploads: DueUploads,
    ended: PerEnd<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Rules,
    /// Nothing is read, and policy lets it pass.
    Through,
    /// Nothing goes on.
    Ended,
}

/// What one end sends.
pub(super) struct Direction {
    /// Bytes that have come, and of these, those that are decided.
    seen: u64,
    decided: u64,
    /// SETTINGS has gone on: nothing may come before it (RFC 9113, 3.4).
    has_greeted: bool,
    /// The last frame that began, CONTINUATION not counted.
    pub(super) frame: FrameHead,
    /// Where it begins.
    frame_at: u64,
    pub(super) fate: Fate,
    /// Where data begins that is not taken yet.
    data_at: Option<u64>,
    /// Of the header block that comes.
    fields: Fields,
    /// What comes before the block: priority fields, or the promised stream.
    pub(super) lead: ([u8; 5], usize),
    pub(super) encoding: Encoding,
}

/// What becomes of the bytes that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are not known yet, or not decided.
    Held,
    Pass,
    Drop,
    /// They are data that is put into the queue.
    Queue,
    /// They are the rest of a frame of which the beginning has gone on: zeros take their place.
    Blank,
}

/// What becomes of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockFate {
    Pass,
    Drop,
    /// It goes on behind what is held of its stream.
    Queue,
}

impl Direction {
    fn new() -> Self {
        Self {
            seen: 0,
            decided: 0,
            has_greeted: false,
            frame: FrameHead { stream: 0, kind: DATA, flags: 0, length: 0 },
            frame_at: 0,
            fate: Fate::Held,
            data_at: None,
            fields: Fields::default(),
            lead: ([0; 5], 0),
            encoding: Encoding::default(),
        }
    }

    /// Something of the frame that comes has gone on.
    pub(super) fn has_begun_to_go_on(&self) -> bool {
        self.decided > self.frame_at
    }

    fn memory(&self) -> usize {
        self.fields.memory()
    }
}

impl Http2Rules {
    pub(super) fn new() -> Self {
        Self {
            directions: PerEnd::from_fn(|_| Direction::new()),
            streams: Streams::default(),
            windows: Windows::new(),
            server_windows: ServerWindows::new(),
            outboxes: PerEnd::default(),
            queue: Queue::default(),
            mode: Mode::Rules,
            unfolded: 0,
            wait_until: None,
            changed: Vec::new(),
            windows_seen: (0, false),
            threads_until: None,
            asked: Vec::new(),
            due_uploads: DueUploads::default(),
            ended: PerEnd::both(false),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.mode != Mode::Rules {
            return None;
        }
        self.wait_until.into_iter().chain(self.threads_due()).min()
    }

    /// That time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant, judge: &mut Judge, decisions: &mut Decisions) {
        if self.mode == Mode::Rules {
            self.wait_is_over(now, judge, decisions);
            self.threads_are_late(now, judge);
            self.settle(judge, decisions);
        }
    }

    /// Bytes of ours that wait in the queue.
    pub(super) fn waiting_answers(&self) -> usize {
        self.queue.bytes().saturating_sub(self.windows.held() as usize)
    }

    /// Decides while the reader tells what is in these bytes. [`read`](Self::read) follows.
    pub(super) fn receiver<'a>(
        &'a mut self,
        judge: &'a mut Judge,
        bytes: (End, &'a [u8]),
        decisions: &'a mut Decisions,
    ) -> Relay<'a> {
        let (from, bytes) = bytes;
        let direction = &mut self.directions[from];
        let base = direction.seen;
        direction.seen += bytes.len() as u64;
        self.unfolded = 0;
        self.due_uploads.new_turn();
        Relay { rules: self, judge, bytes, base, decisions }
    }

    /// Decides on what is left of the bytes that the reader has read.
    pub(super) fn read(&mut self, judge: &mut Judge, from: End, bytes: &[u8], decisions: &mut Decisions) {
        let seen = self.directions[from].seen;
        let base = seen - bytes.len() as u64;
        if self.mode == Mode::Rules {
            Relay { rules: &mut *self, judge, bytes, base, decisions: &mut *decisions }.take_data(from, seen);
        }
        match (self.mode, self.directions[from].fate) {
            (Mode::Ended, _) | (Mode::Rules, Fate::Held) => {}
            (Mode::Through, _) | (Mode::Rules, Fate::Pass) => self.pass(from, seen, decisions),
            (Mode::Rules, Fate::Drop | Fate::Queue) => self.drop(from, seen, decisions),
            (Mode::Rules, Fate::Blank) => self.blank(from, seen, decisions),
        }
        self.settle(judge, decisions);
    }

    pub(super) fn settle(&mut self, judge: &mut Judge, decisions: &mut Decisions) {
        if self.mode == Mode::Rules {
            self.move_on(judge, decisions);
            self.credit_discarded();
            self.due_uploads.new_turn();
            if self.streams.uploads().is_empty() {
                self.due_uploads = DueUploads::default();
            }
            End::BOTH.into_iter().for_each(|to| self.flush(to, decisions));
            self.check_bounds(decisions);
        }
        self.tell_holding(decisions);
    }

    /// Whether something of the server's waits here, so that its end is to wait, too.
    fn tell_holding(&self, decisions: &mut Decisions) {
        let direction = &self.directions[End::Server];
        let has_place = !(self.ended.server && matches!(direction.fate, Fate::Pass | Fate::Blank));
        // A client that says nothing more credits nothing: what waits for windows then will never go.
        let will_go = !self.ended.client || self.wait_until.is_some();
        let is_holding = self.streams.inspections(End::Server) > 0 || !self.queue.is_empty() && will_go;
        decisions.set_holding(End::Server, self.mode == Mode::Rules && has_place && is_holding);
        let direction = &self.directions[End::Client];
        let has_place = !(self.ended.client && matches!(direction.fate, Fate::Pass | Fate::Blank));
        let is_holding = !self.streams.uploads().is_empty() && !self.ended.server;
        decisions.set_holding(End::Client, self.mode == Mode::Rules && has_place && is_holding);
    }

    /// Nothing more is read.
    pub(super) fn off(&mut self, judge: &mut Judge, from: End, off: InspectorOff, decisions: &mut Decisions) {
        let base = self.directions[from].seen;
        Relay { rules: &mut *self, judge, bytes: &[], base, decisions: &mut *decisions }.off(from, off);
        self.tell_holding(decisions);
    }

    /// An end sends nothing more. What it has left incomplete goes nowhere.
    pub(super) fn ended(&mut self, from: End, decisions: &mut Decisions) {
        self.ended[from] = true;
        if self.mode != Mode::Ended {
            let seen = self.directions[from].seen;
            self.drop(from, seen, decisions);
        }
        if self.mode == Mode::Rules && from == End::Server {
            self.give_up_incomplete();
            self.flush(End::Client, decisions);
        }
        if self.mode == Mode::Rules && from == End::Client {
            self.give_up_incomplete_uploads();
            self.flush(End::Server, decisions);
        }
        self.tell_holding(decisions);
    }

    /// A stream is to end. False: it is over, blocked already, or has never begun. None: nothing is read any more.
    pub(super) fn end_stream(
        &mut self,
        judge: &mut Judge,
        stream: u32,
        decisions: &mut Decisions,
    ) -> Option<bool> {
        if self.mode != Mode::Rules {
            return None;
        }
        let is_open = self.streams.state(stream) == State::Open;
        if is_open {
            let mut relay = Relay::between_calls(self, judge, decisions);
            relay.cut_off(stream);
            End::BOTH.into_iter().for_each(|from| relay.drop_rest(from, stream));
            self.settle(judge, decisions);
        }
        Some(is_open)
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self {
            directions,
            streams,
            windows,
            server_windows,
            outboxes,
            queue,
            mode: _,
            unfolded: _,
            wait_until: _,
            changed,
            windows_seen: _,
            threads_until: _,
            asked,
            due_uploads,
            ended: _,
        } = self;
        let directions: usize = directions.iter().map(Direction::memory).sum();
        let outboxes: usize = outboxes.iter().map(Outbox::memory).sum();
        let inspected = changed.capacity() * size_of::<u32>()
            + asked.capacity() * size_of::<(End, u32)>()
            + due_uploads.memory();
        let windows = windows.memory() + server_windows.memory();
        directions + streams.memory() + windows + outboxes + queue.memory() + inspected
    }

    /// Nothing was changed that has to go on being changed.
    fn is_untouched(&self) -> bool {
        self.directions.iter().all(|direction| !direction.encoding.has_diverged)
            && self.streams.blocked() == 0
            && self.queue.is_empty()
            && self.windows.debt() == 0
            && self.server_windows.beyond() == 0
            && self.streams.uploads().is_empty()
            && self.outboxes.iter().all(Outbox::is_empty)
    }

    pub(super) fn pass(&mut self, from: End, up_to: u64, decisions: &mut Decisions) {
        let direction = &mut self.directions[from];
        let more = up_to.saturating_sub(direction.decided);
        direction.decided += more;
        decisions.pass(from, more as usize);
    }

    pub(super) fn drop(&mut self, from: End, up_to: u64, decisions: &mut Decisions) {
        let direction = &mut self.directions[from];
        let more = up_to.saturating_sub(direction.decided);
        direction.decided += more;
        decisions.drop(from, more as usize);
    }

    fn blank(&mut self, from: End, up_to: u64, decisions: &mut Decisions) {
        let more = up_to.saturating_sub(self.directions[from].decided) as usize;
        self.drop(from, up_to, decisions);
        decisions.insert(from, vec![0; more]);
    }

    /// Inserts what waits for an end, if this is a place for it: a frame that has gone on in part has none.
    fn flush(&mut self, to: End, decisions: &mut Decisions) {
        let from = to.other();
        let direction = &mut self.directions[from];
        let is_queue_due = to == End::Client && self.queue.is_due() && self.windows.are_settled();
        let is_upload_due =
            to == End::Server && self.due_uploads.are_there() && !self.streams.uploads().is_empty();
        let is_due = !self.outboxes[to].is_empty() || is_queue_due || is_upload_due;
        if !is_due || !direction.has_greeted || matches!(direction.fate, Fate::Pass | Fate::Blank) {
            return;
        }
        let mut out = Vec::new();
        self.outboxes[to].write(&mut out);
        if is_queue_due {
            self.queue.write(&mut out, &mut self.windows, &mut self.streams, &mut direction.encoding);
        }
        if is_upload_due {
            let mut encoding = direction.encoding;
            self.write_uploads(&mut out, &mut encoding);
            self.directions[from].encoding = encoding;
        }
        decisions.insert(from, out);
    }

    fn check_bounds(&mut self, decisions: &mut Decisions) {
        let waiting = self.outboxes.iter().map(Outbox::bytes).max().unwrap_or(0);
        if waiting > MAX_WAITING || self.held_without_verdict() > MAX_HELD {
            self.end(Reason::ContentUndecided, decisions);
        }
    }

    /// The flow ends, at once.
    pub(super) fn end(&mut self, reason: Reason, decisions: &mut Decisions) {
        self.mode = Mode::Ended;
        decisions.end(Ending { reason, orderly: false, resets_server: false });
    }

    /// The flow ends in order: what was inserted arrives.
    pub(super) fn end_in_order(&mut self, reason: Reason, decisions: &mut Decisions) {
        End::BOTH.into_iter().for_each(|to| self.flush(to, decisions));
        self.mode = Mode::Ended;
        decisions.end(Ending { reason, orderly: true, resets_server: false });
    }
}

/// Decides on the bytes of one call.
pub(super) struct Relay<'a> {
    pub(super) rules: &'a mut Http2Rules,
    pub(super) judge: &'a mut Judge,
    bytes: &'a [u8],
    /// Where in their direction these bytes begin.
    base: u64,
    pub(super) decisions: &'a mut Decisions,
}

impl Borders for Relay<'_> {
    fn border(&mut self, border: &Border, head: Option<&mut HttpEvent>) {
        let Border { from, at, stream, tx_id: _, what } = *border;
        if self.rules.mode != Mode::Rules {
            return;
        }
        match what {
            What::HeadBegins | What::FrameBegins => {
                // What is before the first frame is the client's preface.
                self.rules.pass(from, at, self.decisions);
                let direction = &mut self.rules.directions[from];
                (direction.fate, direction.frame_at) = (Fate::Held, at);
            }
            What::HeadEnds(kind) => {
                if kind == HeadKind::Trailers {
                    self.content_ends(from, stream);
                }
                if let Some(head) = head {
                    let fields = std::mem::take(&mut self.rules.directions[from].fields);
                    self.unfolds(from, &fields);
                    let fate = self.head_ends(from, stream, kind, head, &fields);
                    let edited = match fate {
                        BlockFate::Pass | BlockFate::Queue => self.edited(from, stream, kind, head, &fields),
                        BlockFate::Drop => None,
                    };
                    if edited.is_some() {
                        self.rules.directions[from].encoding.diverge();
                    }
                    self.block_ends(from, stream, at, fate, edited.as_ref().unwrap_or(&fields));
                }
            }
            What::DataBegins => self.rules.directions[from].data_at = Some(at),
            What::DataEnds => {
                self.take_data(from, at);
                self.rules.directions[from].data_at = None;
            }
            What::FrameEnds => self.frame_ends(from, at),
            What::MessageEnds => self.message_ends(from, stream),
            What::Reset => {
                // Of a GOAWAY: all others are over already, or wait for a verdict.
                let waits = self.rules.streams.get_mut(stream).is_some_and(|open| open.is_answered_early);
                if self.rules.streams.state(stream) == State::Open && !waits {
                    self.rules.streams.close(stream);
                }
            }
            What::NoMessage => {}
            What::Off(off) => self.off(from, off),
        }
    }

    fn field(&mut self, from: End, _: u32, field: Field<'_>) {
        if self.rules.mode == Mode::Rules {
            self.rules.directions[from].fields.push(field);
        }
    }

    fn frame_begins(&mut self, from: End, frame: &FrameHead) {
        let is_dropped = self.rules.streams.state(frame.stream) == State::Blocked
            || frame.kind == ALTSVC && from == End::Server && self.changes_alt_svc(frame.stream);
        let direction = &mut self.rules.directions[from];
        direction.frame = *frame;
        direction.lead.1 = 0;
        direction.fate = match frame.kind {
            DATA | HEADERS | RST_STREAM | SETTINGS | PUSH_PROMISE | GOAWAY | WINDOW_UPDATE => Fate::Held,
            // RFC 9113, 6.3: allowed on any stream. Of types that are not known nothing can be said, but that they are about the stream.
            PRIORITY_FRAME => Fate::Pass,
            _ if is_dropped => Fate::Drop,
            _ => Fate::Pass,
        };
    }

    fn frame(&mut self, from: End, frame: &FrameHead, payload: &[u8]) {
        if self.rules.mode != Mode::Rules {
            return;
        }
        let fate = match frame.kind {
            HEADERS | PUSH_PROMISE => {
                let (lead, len) = &mut self.rules.directions[from].lead;
                *len = payload.len().min(lead.len());
                lead[..*len].copy_from_slice(&payload[..*len]);
                return;
            }
            SETTINGS => self.settings(from, frame, payload),
            RST_STREAM => self.reset(from, frame, payload),
            WINDOW_UPDATE => self.window_update(from, frame, payload),
            GOAWAY => self.goaway(from, payload),
            _ => return,
        };
        self.rules.directions[from].fate = fate;
    }

    fn data(&mut self, from: End, frame: &FrameHead, data: u32) -> Exchange {
        if self.rules.mode != Mode::Rules {
            return Exchange::GoesOn;
        }
        let (fate, exchange) = match from {
            End::Client => self.client_data(frame, data),
            End::Server => self.server_data(frame, data),
        };
        self.rules.directions[from].fate = fate;
        exchange
    }
}

impl Relay<'_> {
    /// All that is in a call's blocks is bounded.
    fn unfolds(&mut self, from: End, fields: &Fields) {
        self.rules.unfolded += fields.bytes() + 32 * fields.len();
        if self.rules.unfolded > MAX_UNFOLDED {
            self.off(from, InspectorOff::HeaderTooBig);
        }
    }

    /// A header block is complete, and judged.
    fn block_ends(&mut self, from: End, stream: u32, at: u64, fate: BlockFate, fields: &Fields) {
        if self.rules.mode != Mode::Rules {
            return;
        }
        match fate {
            BlockFate::Pass => self.block_passes(from, at, fields),
            BlockFate::Drop => {
                self.rules.drop(from, at, self.decisions);
                self.rules.directions[from].encoding.diverge();
            }
            BlockFate::Queue => {
                self.rules.drop(from, at, self.decisions);
                let direction = &mut self.rules.directions[from];
                direction.encoding.diverge();
                let end_stream = direction.frame.flags & END_STREAM != 0;
                match from {
                    End::Client => self.hold_upload_end(stream, Some(fields)),
                    End::Server => self.rules.queue.push_head(stream, fields, end_stream),
                }
            }
        }
        self.rules.directions[from].fate = Fate::Held;
        self.rules.flush(from.other(), self.decisions);
    }

    fn frame_ends(&mut self, from: End, at: u64) {
        let FrameHead { kind, stream, flags, .. } = self.rules.directions[from].frame;
        if kind == DATA && flags & END_STREAM != 0 {
            self.content_ends(from, stream);
        }
        if self.rules.mode != Mode::Rules {
            return;
        }
        let rules = &mut *self.rules;
        let direction = &mut rules.directions[from];
        let (frame, fate) = (direction.frame, direction.fate);
        match fate {
            // No type stays so up to here.
            Fate::Held | Fate::Pass => {
                direction.has_greeted |= frame.kind == SETTINGS;
                rules.pass(from, at, self.decisions);
            }
            Fate::Drop => rules.drop(from, at, self.decisions),
            Fate::Blank => rules.blank(from, at, self.decisions),
            Fate::Queue => {
                rules.drop(from, at, self.decisions);
                let goes_on = !matches!(rules.streams.state(frame.stream), State::Blocked | State::Unknown);
                if frame.flags & END_STREAM != 0 && goes_on {
                    match from {
                        End::Client => self.hold_upload_end(frame.stream, None),
                        End::Server => rules.queue.push_end(frame.stream),
                    }
                }
            }
        }
        let rules = &mut *self.rules;
        rules.directions[from].fate = Fate::Held;
        rules.flush(from.other(), self.decisions);
    }

    /// Where no bytes are at hand.
    pub(super) fn between_calls<'a>(
        rules: &'a mut Http2Rules,
        judge: &'a mut Judge,
        decisions: &'a mut Decisions,
    ) -> Relay<'a> {
        let base = rules.directions[End::Server].seen;
        Relay { rules, judge, bytes: &[], base, decisions }
    }

    /// Puts data up to here into the queue, if that is where it goes, and shows it to whoever looks into it.
    fn take_data(&mut self, from: End, up_to: u64) {
        let direction = &mut self.rules.directions[from];
        let (Fate::Queue | Fate::Pass, Some(begin)) = (direction.fate, direction.data_at) else { return };
        let is_queued = direction.fate == Fate::Queue;
        let place = |at: u64| usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
        direction.data_at = Some(up_to);
        let stream = direction.frame.stream;
        let bytes = self.bytes;
        let Some(octets) = bytes.get(place(begin)..place(up_to)) else { return };
        if is_queued && matches!(self.rules.streams.state(stream), State::Blocked | State::Unknown) {
            // It was blocked by what came before in this frame.
            if from == End::Client {
                let frame = self.rules.directions[from].frame;
                return self.credit_client(&frame, octets.len() as u32);
            }
            let credit = self.rules.windows.swallowed(octets.len() as u32);
            self.rules.outboxes[End::Server].credit_connection(credit);
            return;
        }
        match from {
            End::Client if is_queued => self.hold_upload(stream, octets),
            End::Server if is_queued => {
                self.rules.windows.hold(octets.len());
                self.rules.queue.push_held(stream, octets);
            }
            _ => {}
        }
        if !octets.is_empty() {
            self.look(from, stream, octets);
        }
    }

    /// Nothing more is read.
    pub(super) fn off(&mut self, from: End, off: InspectorOff) {
        if self.rules.mode != Mode::Rules {
            return;
        }
        match self.judge.unread(off, Place { from, stream: 0 }) {
            Ruling::Block(refusal) => self.rules.end(refusal.reason, self.decisions),
            // Tables and windows of the two ends are no longer the same, and nobody could go on keeping them apart.
            Ruling::Pass | Ruling::Inspect(_) if !self.rules.is_untouched() => {
                self.rules.end(Reason::ContentUnparsed, self.decisions);
            }
            Ruling::Pass | Ruling::Inspect(_) => {
                self.rules.mode = Mode::Through;
                for end in End::BOTH {
                    let seen = self.rules.directions[end].seen;
                    self.rules.pass(end, seen, self.decisions);
                }
            }
        }
    }
}
