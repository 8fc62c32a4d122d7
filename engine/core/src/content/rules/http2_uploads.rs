//! Requests of HTTP/2 that threads look at. Their heads go on, as streams are opened in the order of their numbers (RFC 9113, 5.1.1), and
//! their content waits: the server sees no end of what is refused, but RST_STREAM.
//!
//! A client is credited what waits for a verdict in the server's place, up to what may be held, and the server's own credits pay that
//! afterwards: see [`ServerWindows`](super::http2_server_windows::ServerWindows).

use std::collections::BTreeSet;

use super::http2::{Fate, Http2Rules, Relay};
use super::http2_inspected::MAX_INSPECTED;
use super::http2_output::Encoding;
use super::http2_streams::State;
use super::http2_upload::Upload;
use super::judge::{Judge, Place, Refusal, Ruling};
use super::judge_inspection::Begun;
use crate::content::border::FrameHead;
use crate::content::filter::Decisions;
use crate::content::http2_frames::END_STREAM;
use crate::end::End;
use crate::event::HttpEvent;
use crate::fields::Fields;
use crate::policy::Standing;
use crate::reason::{InspectorOff, Reason};

/// The uploads of which something can have changed about what may go to the server. Records are full of small frames, so that each of
/// them must not cost what all uploads do.
#[derive(Default)]
pub(super) struct DueUploads {
    /// In which something has come, or been let go, or credited.
    streams: BTreeSet<u32>,
    /// A window of all of them has grown.
    are_all: bool,
    /// All of them have been written while the bytes of one call were read; the next time is when all of these are.
    were_all: bool,
}

impl DueUploads {
    pub(super) fn one(&mut self, stream: u32) {
        self.streams.insert(stream);
    }

    pub(super) fn all(&mut self) {
        self.are_all = true;
    }

    /// A call begins, or the bytes of one have been read.
    pub(super) fn new_turn(&mut self) {
        self.were_all = false;
    }

    pub(super) fn are_there(&self) -> bool {
        !self.streams.is_empty() || self.are_all && !self.were_all
    }

    /// Those that are due: all of them, if this says so.
    fn take(&mut self) -> (BTreeSet<u32>, bool) {
        let are_all = self.are_all && !self.were_all;
        if are_all {
            (self.are_all, self.were_all) = (false, true);
        }
        (std::mem::take(&mut self.streams), are_all)
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        self.streams.len() * 2 * size_of::<u32>()
    }
}

fn place(stream: u32) -> Place {
    Place { from: End::Client, stream }
}

impl Http2Rules {
    /// Octets of requests that will not go on: the client may send as many others.
    pub(super) fn credit_discarded(&mut self) {
        let octets = self.streams.take_discarded();
        if octets > 0 {
            let credit = self.server_windows.discarded(octets);
            self.outboxes[End::Client].credit_connection(credit);
        }
    }

    /// Writes what may go to the server.
    pub(super) fn write_uploads(&mut self, out: &mut Vec<u8>, encoding: &mut Encoding) {
        let (mut due, are_all) = self.due_uploads.take();
        if are_all {
            due.extend(self.streams.uploads());
        }
        let initial = self.server_windows.initial();
        for stream in due {
            let windows = &mut self.server_windows;
            let is_over = self.streams.change(stream, |open| {
                let upload = open.upload.as_mut()?;
                let (gone, has_ended) =
                    upload.write(out, stream, initial - open.uncredited, windows, encoding);
                open.uncredited += gone as i64;
                // Threads may still look at what has not waited for them.
                let is_over = has_ended && upload.inspection.is_none();
                if is_over {
                    open.upload = None;
                }
                Some(is_over && open.ended.server && open.inspection.is_none())
            });
            if is_over.flatten() == Some(true) {
                self.streams.remove(stream);
            }
        }
    }

    /// The client says nothing more: what it has not said to its end is not looked at to its end, and does not go on.
    pub(super) fn give_up_incomplete_uploads(&mut self) {
        for stream in self.streams.uploads().iter().copied().collect::<Vec<_>>() {
            if self.streams.get_mut(stream).is_some_and(|open| !open.ended.client) {
                self.outboxes[End::Server].reset(stream);
                self.streams.remove(stream);
            }
        }
    }

    pub(super) fn keep_upload_within_bounds(
        &mut self,
        stream: u32,
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) {
        let (most, held) = (judge.policy.inspection.hold_bytes as u64, self.held_for_verdicts());
        self.streams.change(stream, |open| {
            let Some(inspection) = open.inspection_mut(End::Client) else { return };
            if inspection.is_settled() {
                return;
            }
            if inspection.holds_all() && inspection.body() > most {
                judge.fails(inspection, Reason::ContentOversize, place(stream));
            }
            if let Some(lacking) = decisions.lacks_room_for(held)
                && !inspection.is_settled()
            {
                judge.fails(inspection, lacking, place(stream));
            }
        });
    }
}

impl Relay<'_> {
    /// The content of the request that begins is to be looked at.
    pub(super) fn begin_upload(
        &mut self,
        stream: u32,
        standing: &Standing,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> Result<Box<Upload>, Ruling> {
        if self.rules.streams.inspected().len() >= MAX_INSPECTED {
            return Err(self.judge.refuse(Reason::ContentOverload, place(stream), head));
        }
        match self.judge.inspect_request(&standing.at_content, place(stream), head, fields) {
            Begun::Not(ruling) => Err(ruling),
            Begun::Inspects(inspection) => {
                self.rules.changed.push(stream);
                Ok(Box::new(Upload::new(inspection)))
            }
        }
    }

    /// A DATA frame of a request that goes on, at once or behind what waits.
    pub(super) fn upload_data(&mut self, frame: &FrameHead, data: u32) -> Fate {
        let (stream, length) = (frame.stream, frame.length);
        let rules = &mut *self.rules;
        let (initial, most) = (rules.server_windows.initial(), rules.server_windows.most_initial());
        let Some(open) = rules.streams.get_mut(stream) else { return Fate::Drop };
        let window = initial - open.uncredited;
        let ahead = open.upload.as_ref().map_or(0, |upload| upload.uncredited());
        let may_send = (most - open.uncredited - ahead).min(rules.server_windows.of_client());
        let waits = open
            .upload
            .as_ref()
            .is_some_and(|upload| upload.is_busy() || upload.beyond() > 0 && i64::from(length) > window);
        if !waits && !rules.server_windows.must_hold(length) {
            open.uncredited += i64::from(length);
            rules.server_windows.passed(length);
            return Fate::Pass;
        }
        if length > 0 && i64::from(length) > may_send {
            // A server would end the connection (RFC 9113, 6.9.1). Nothing else bounds what waits where nobody looks at it.
            self.off(End::Client, InspectorOff::H2Frame);
            return Fate::Held;
        }
        rules.streams.change(stream, |open| {
            open.upload.get_or_insert_default();
        });
        // What goes on has no padding.
        self.credit_client(frame, length - data);
        Fate::Queue
    }

    /// The client is credited octets of a frame that do not go on.
    pub(super) fn credit_client(&mut self, frame: &FrameHead, octets: u32) {
        let is_known = matches!(self.rules.streams.state(frame.stream), State::Open | State::Blocked);
        let outbox = &mut self.rules.outboxes[End::Client];
        outbox.credit_connection(octets);
        if octets > 0 && is_known && frame.flags & END_STREAM == 0 {
            outbox.credit_stream(frame.stream, octets);
        }
    }

    /// Octets of a frame that waits have come.
    pub(super) fn hold_upload(&mut self, stream: u32, octets: &[u8]) {
        let held = self.rules.streams.change(stream, |open| {
            let upload = open.upload.as_mut()?;
            upload.push(octets);
            Some(())
        });
        if held.flatten().is_some() {
            self.rules.server_windows.hold(octets.len());
            self.rules.due_uploads.one(stream);
        }
    }

    /// The end of a request waits behind its content; with these trailers, if there are any.
    pub(super) fn hold_upload_end(&mut self, stream: u32, trailers: Option<&Fields>) {
        self.rules.streams.change(stream, |open| {
            let Some(upload) = &mut open.upload else { return };
            match trailers {
                Some(fields) => upload.push_trailers(fields),
                None => upload.push_end(),
            }
        });
        self.rules.due_uploads.one(stream);
    }

    /// More of a request's content has come.
    pub(super) fn show_upload(&mut self, stream: u32, octets: &[u8]) {
        let (judge, decisions) = (&mut *self.judge, &*self.decisions);
        let shown = self.rules.streams.change(stream, |open| {
            let inspection = open.inspection_mut(End::Client)?;
            judge.show(inspection, octets, place(stream), decisions);
            Some(())
        });
        if shown.flatten().is_some() {
            self.rules.changed.push(stream);
        }
    }

    /// No more of it comes.
    pub(super) fn upload_ends(&mut self, stream: u32) {
        let Some(open) = self.rules.streams.get_mut(stream) else { return };
        let Some(upload) = &mut open.upload else { return };
        if let Some(inspection) = &mut upload.inspection {
            inspection.end();
            self.rules.changed.push(stream);
        } else if !upload.is_waiting() {
            self.rules.streams.discard_upload(stream);
        }
    }

    /// What has come of a request is looked at, and the client gets what it needs to send more; what may not go on is answered.
    pub(super) fn move_upload_on(&mut self, stream: u32) {
        let (judge, decisions) = (&mut *self.judge, &mut *self.decisions);
        let most = judge.policy.inspection.hold_bytes;
        let moved = self.rules.streams.change(stream, |open| {
            let has_ended = open.ended.client;
            let upload = open.upload.as_mut()?;
            let inspection = upload.inspection.as_mut()?;
            judge.ask(inspection, place(stream), decisions);
            let is_asked = inspection.poll_timeout() == Some(tcp_stack::Instant::ZERO);
            if inspection.is_settled() {
                return Some((is_asked, 0, has_ended, upload.inspection.take()));
            }
            let is_behind = inspection.is_behind();
            Some((is_asked, if is_behind { 0 } else { upload.advance(most) }, has_ended, None))
        });
        let Some(Some((is_asked, advanced, has_ended, settled))) = moved else { return };
        let rules = &mut *self.rules;
        rules.due_uploads.one(stream);
        if is_asked {
            rules.asked.push((End::Client, stream));
        }
        if advanced > 0 {
            rules.server_windows.advance(advanced);
            rules.outboxes[End::Client].credit_connection(advanced);
            if !has_ended {
                rules.outboxes[End::Client].credit_stream(stream, advanced);
            }
        }
        let Some(mut inspection) = settled else { return };
        match inspection.refusal().cloned() {
            Some(refusal) => self.upload_is_refused(stream, &refusal, &mut inspection.head),
            None => self.forget_upload_if_over(stream),
        }
    }

    /// All of it had gone on when nothing was found in it.
    fn forget_upload_if_over(&mut self, stream: u32) {
        let is_over = self.rules.streams.change(stream, |open| {
            if open.ended.client && open.upload.as_ref().is_some_and(|upload| !upload.is_waiting()) {
                open.upload = None;
            }
            open.ended.client && open.ended.server && open.upload.is_none() && open.inspection.is_none()
        });
        if is_over == Some(true) {
            self.rules.streams.remove(stream);
        }
    }

    /// The server gets no more of it, and the client an answer, unless the server's has begun.
    fn upload_is_refused(&mut self, stream: u32, refusal: &Refusal, head: &mut HttpEvent) {
        let Some(open) = self.rules.streams.get_mut(stream) else { return };
        if open.ended.client && open.upload.as_ref().is_none_or(|upload| !upload.is_waiting()) {
            // The server has all of it.
            return self.forget_upload_if_over(stream);
        }
        if open.has_response {
            self.cut_off(stream);
        } else {
            open.uncredited += open.upload.as_ref().map_or(0, |upload| upload.uncredited());
            self.rules.streams.discard_upload(stream);
            self.answer_in_its_place(stream, refusal, head, |_| false);
        }
        self.drop_rest(End::Client, stream);
    }
}
