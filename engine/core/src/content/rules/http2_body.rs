//! What rules of HTTP/2 look at in contents. Where the type of a response decides, its head and first octets wait in the queue, and nothing
//! else of the connection does.

use tcp_stack::{Duration, Instant};

use super::http2::{Fate, Http2Rules, Relay};
use super::http2_message::Request;
use super::http2_writer::DATA;
use super::judge::{Judge, Place, Refusal, Ruling};
use super::type_watch::Found;
use crate::content::filter::Decisions;
use crate::content::http2_frames::END_STREAM;
use crate::end::End;
use crate::event::HttpEvent;
use crate::reason::Reason;

/// A head waits at least so long for a body that does not come, and at most twice as long. Then it goes on, and what comes later may
/// still cut the stream off.
const WAIT: Duration = Duration::from_millis(250);
/// Octets of the server's that wait because of types. The stream that brings more goes on, as if it had waited long enough.
const MAX_WAITING: u64 = 64 * 1024;

fn place(stream: u32) -> Place {
    Place { from: End::Server, stream }
}

impl Http2Rules {
    /// What comes of this stream waits in the queue.
    pub(super) fn hold_for_type(&mut self, stream: u32) {
        self.queue.hold(stream);
        // The time is not known yet.
        self.wait_until.get_or_insert(Instant::ZERO);
    }

    /// That time has come.
    pub(super) fn wait_is_over(&mut self, now: Instant, judge: &mut Judge, decisions: &mut Decisions) {
        match self.wait_until {
            Some(until) if until == Instant::ZERO => self.wait_until = Some(now + WAIT),
            Some(until) if until <= now => {
                for stream in self.queue.held_streams() {
                    if self.streams.awaits_type(stream) && self.streams.has_waited(stream) {
                        Relay::between_calls(self, judge, decisions).let_go(stream);
                    }
                }
                let held = self.queue.held_streams();
                let waits = held.into_iter().any(|stream| self.streams.awaits_type(stream));
                self.wait_until = waits.then_some(now + WAIT);
            }
            _ => {}
        }
    }
}

impl Relay<'_> {
    /// More content has come.
    pub(super) fn look(&mut self, from: End, stream: u32, octets: &[u8]) {
        if from == End::Client {
            self.show_upload(stream, octets);
            return self.search(from, stream, octets);
        }
        self.show_response(stream, octets);
        let watch = |open: &super::http2_streams::Stream| {
            open.type_watch.as_ref().map_or(0, |watch| watch.first().len())
        };
        let before = self.rules.streams.get_mut(stream).map_or(0, |open| watch(open));
        if let Some(found) = self.rules.streams.show(stream, octets) {
            let kept = self.rules.streams.get_mut(stream).map_or(0, |open| watch(open)) - before;
            self.type_is_known(stream, found, (octets, &octets[kept..]));
        } else if !self.rules.streams.awaits_type(stream) {
            self.search(from, stream, octets);
        } else if self.rules.held_without_verdict() > MAX_WAITING {
            self.let_go(stream);
        }
    }

    /// Looks into what goes on.
    fn search(&mut self, from: End, stream: u32, octets: &[u8]) {
        let Some(watch) = self.rules.streams.watch_mut(from, stream) else { return };
        if watch.searches() && self.judge.search(watch, octets, Place { from, stream }) != Ruling::Pass {
            self.cut_content_off(from, stream);
        }
    }

    /// No more content comes.
    pub(super) fn content_ends(&mut self, from: End, stream: u32) {
        let Some(watch) = self.rules.streams.watch_mut(from, stream) else { return };
        if watch.searches() && self.judge.search_end(watch, Place { from, stream }) != Ruling::Pass {
            self.cut_content_off(from, stream);
        }
    }

    /// The stream ends in the middle of its content, and what has come of the frame that comes goes nowhere.
    fn cut_content_off(&mut self, from: End, stream: u32) {
        self.cut_off(stream);
        self.drop_rest(from, stream);
    }

    /// What has not come yet of a DATA frame of a stream that was cut off goes nowhere.
    pub(super) fn drop_rest(&mut self, from: End, stream: u32) {
        let rules = &mut *self.rules;
        let direction = &mut rules.directions[from];
        let frame = direction.frame;
        if direction.fate != Fate::Pass || frame.stream != stream || frame.kind != DATA {
            return;
        }
        if !direction.has_begun_to_go_on() {
            direction.fate = Fate::Drop;
            match from {
                End::Client => {
                    let credit = rules.server_windows.taken_back(frame.length);
                    // The server takes as much of others.
                    rules.due_uploads.all();
                    rules.outboxes[End::Client].credit_connection(credit);
                }
                End::Server => {
                    let credit = rules.windows.taken_back(frame.length);
                    rules.outboxes[End::Server].credit_connection(credit);
                }
            }
        } else if frame.flags & END_STREAM == 0 {
            direction.fate = Fate::Blank;
        } else {
            // Its head has promised that this is the end, and whoever gets it would take it for whole.
            rules.end(Reason::ContentBlocked, self.decisions);
        }
    }

    /// A response has ended.
    pub(super) fn response_ends(&mut self, stream: u32) {
        if let Some(found) = self.rules.streams.show_end(stream) {
            self.type_is_known(stream, found, (&[], &[]));
        }
        self.inspection_ends(stream);
    }

    /// `last`: what has come last; `rest`: what of that the watch has not kept.
    fn type_is_known(&mut self, stream: u32, found: Found, (last, rest): (&[u8], &[u8])) {
        let Some(mut watch) = self.rules.streams.take_type_watch(stream) else { return };
        let was_held = watch.is_held;
        let (mut ruling, content) = self.judge.by_type(&mut watch, found, place(stream));
        let is_as_it_was = content.is_none();
        if let Some(content) = content {
            self.rules.streams.begin_response(stream, content);
        }
        if let Ruling::Inspect(rule) = ruling {
            ruling = self.inspect_watched(stream, rule, found.ok(), &mut watch);
            if matches!(ruling, Ruling::Inspect(_)) {
                self.show_response(stream, rest);
            }
        }
        match ruling {
            Ruling::Inspect(_) => self.goes_on(stream),
            Ruling::Pass => {
                self.goes_on(stream);
                if is_as_it_was {
                    self.search(End::Server, stream, last);
                }
            }
            Ruling::Block(refusal) => self.blocked(stream, was_held, &refusal, &mut watch.head),
        }
    }

    /// It has waited long enough.
    fn let_go(&mut self, stream: u32) {
        let Some(mut watch) = self.rules.streams.take_type_watch(stream) else { return };
        let (mut ruling, content) = self.judge.let_go(&mut watch, place(stream));
        if let Ruling::Inspect(rule) = ruling {
            ruling = self.inspect_watched(stream, rule, None, &mut watch);
        }
        match ruling {
            Ruling::Pass | Ruling::Inspect(_) => {
                self.rules.streams.begin_response(stream, content);
                self.rules.streams.await_type(stream, watch);
                self.goes_on(stream);
            }
            Ruling::Block(refusal) => self.blocked(stream, true, &refusal, &mut watch.head),
        }
    }

    /// What waits of it may go, unless threads look at it or it is more than rules allow.
    pub(super) fn goes_on(&mut self, stream: u32) {
        // What waits for a verdict waits on, whatever has become known beside that.
        if self.rules.streams.inspection(stream).is_none_or(|inspection| inspection.waits_for_nothing()) {
            self.rules.queue.release(stream);
        }
        let Some(open) = self.rules.streams.get_mut(stream) else { return };
        let content = open.response_content;
        if self.judge.late(&mut open.response_watch, content, place(stream)) != Ruling::Pass {
            self.cut_off(stream);
        }
    }

    pub(super) fn blocked(&mut self, stream: u32, was_held: bool, refusal: &Refusal, head: &mut HttpEvent) {
        if !was_held || stream.is_multiple_of(2) {
            return self.cut_content_off(End::Server, stream);
        }
        let held = self.rules.queue.discard(stream);
        let credit = self.rules.windows.discarded(held);
        self.rules.outboxes[End::Server].credit_connection(credit);
        let frame = self.rules.directions[End::Server].frame;
        let has_ended = frame.stream == stream && frame.flags & END_STREAM != 0;
        self.answer_in_its_place(stream, refusal, head, |open| {
            (has_ended || open.ended.server) && open.ended.client
        });
    }

    /// Nothing of a response has gone on: an answer takes its place. A response that does not end by itself is reset.
    pub(super) fn answer_in_its_place(
        &mut self,
        stream: u32,
        refusal: &Refusal,
        head: &mut HttpEvent,
        ends_by_itself: impl FnOnce(&super::http2_streams::Stream) -> bool,
    ) {
        let Some(open) = self.rules.streams.get_mut(stream) else { return };
        let request: Request = open.request;
        // The server will not credit it any more, and the client may wait for that.
        if let Ok(octets @ 1..) = u32::try_from(open.uncredited)
            && !open.ended.client
        {
            self.rules.outboxes[End::Client].credit_stream(stream, octets);
        }
        if !ends_by_itself(open) {
            self.rules.outboxes[End::Server].reset(stream);
        }
        self.rules.streams.block(stream);
        self.answer(stream, &request, refusal, head);
    }
}
