//! Requests and responses of HTTP/2, and what takes their place.

use super::content_watch::ContentWatch;
use super::http2::{BlockFate, Fate, MAX_WAITING, Relay};
use super::http2_edit::edited;
use super::http2_message::{Request, check_request, check_response, check_trailers, declared_length};
use super::http2_streams::{State, Stream};
use super::http2_writer::{Carrier, PUSH_PROMISE, header_block};
use super::judge::{Answer, Judged, Place, Refusal, Ruling};
use super::judge_inspection::Subject;
use crate::content::border::{Exchange, FrameHead, HeadKind};
use crate::content::http2_frames::END_STREAM;
use crate::end::{End, PerEnd};
use crate::event::HttpEvent;
use crate::fields::Fields;
use crate::policy::Standing;
use crate::reason::{Ambiguity, InspectorOff, Reason};

/// Streams that are open at once; the reader follows fewer.
const MAX_STREAMS: usize = 8192;
/// Of these, those that are blocked. Clients have some hundred open at once, if the server lets them.
const MAX_BLOCKED: usize = 1000;

/// A blocked response that is no longer than this comes to its end; a longer one is reset.
const MAX_SWALLOWED: u64 = 64 * 1024;

impl Relay<'_> {
    /// A head is complete.
    pub(super) fn head_ends(
        &mut self,
        from: End,
        stream: u32,
        kind: HeadKind,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> BlockFate {
        match (from, kind) {
            (End::Client, HeadKind::Request) => self.request(stream, head, fields),
            (End::Client, _) => self.request_trailers(stream, head, fields),
            (End::Server, HeadKind::Request) => self.promise(stream, head, fields),
            (End::Server, _) => self.response(stream, kind, head, fields),
        }
    }

    /// The fields of a head that passes, if rules change them.
    pub(super) fn edited(
        &mut self,
        from: End,
        stream: u32,
        kind: HeadKind,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> Option<Fields> {
        if !self.judge.edits_heads(from) {
            return None;
        }
        let edits = match (from, kind) {
            (End::Client, HeadKind::Request) => {
                let open = self.rules.streams.get_mut(stream)?;
                self.judge.request_edits(head, &open.standing, fields)
            }
            (End::Server, HeadKind::Response) => {
                let open = self.rules.streams.get_mut(stream)?;
                let host = || open.host.as_deref().map(Into::into);
                head.hostname = head.hostname.take().or_else(host);
                self.judge.response_edits(head)
            }
            _ => return None,
        };
        edited(fields, &edits)
    }

    /// Rules change the field of a response that an ALTSVC frame on this stream stands for.
    pub(super) fn changes_alt_svc(&mut self, stream: u32) -> bool {
        let host = self.rules.streams.get_mut(stream).and_then(|open| open.host.as_deref());
        let head = HttpEvent { hostname: host.map(Into::into), ..HttpEvent::default() };
        self.judge.edits_heads(End::Server)
            && self.judge.response_edits(&head).iter().any(|edit| edit.name().eq_ignore_ascii_case("alt-svc"))
    }

    fn ends_stream(&self, from: End) -> bool {
        self.rules.directions[from].frame.flags & END_STREAM != 0
    }

    fn request(&mut self, stream: u32, head: &mut HttpEvent, fields: &Fields) -> BlockFate {
        let (request, end_stream) = (Request::of(fields), self.ends_stream(End::Client));
        self.rules.streams.opened = stream;
        let ruling =
            self.judge_request(Place { from: End::Client, stream }, &request, head, fields, end_stream);
        let (mut ruling, watch, standing) = ruling;
        let mut upload = None;
        if let Ruling::Inspect(_) = ruling
            && !end_stream
        {
            match self.begin_upload(stream, &standing, head, fields) {
                Ok(begun) => upload = Some(begun),
                Err(not) => ruling = not,
            }
        }
        let ended = PerEnd { client: end_stream, server: false };
        if self.rules.streams.len() >= MAX_STREAMS {
            self.off(End::Client, InspectorOff::TooManyOpen);
            return BlockFate::Drop;
        }
        let is_blocked = matches!(ruling, Ruling::Block(_));
        let host = head.hostname.as_deref().map(Into::into);
        let entry = Stream { is_blocked, request, host, watch, standing, ended, upload, ..Stream::default() };
        self.rules.streams.insert(stream, entry);
        match ruling {
            Ruling::Pass | Ruling::Inspect(_) => {
                self.rules.streams.passed = stream;
                BlockFate::Pass
            }
            Ruling::Block(refusal) => {
                self.answer(stream, &request, &refusal, head);
                BlockFate::Drop
            }
        }
    }

    fn judge_request(
        &mut self,
        place: Place,
        request: &Request,
        head: &mut HttpEvent,
        fields: &Fields,
        end_stream: bool,
    ) -> (Ruling, ContentWatch, Standing) {
        // RFC 9113, 8.1.1: content of another length than was declared.
        let lacks_content = end_stream && request.declared.is_some_and(|declared| declared > 0);
        if check_request(fields).is_err() || lacks_content {
            head.ambiguous.insert(Ambiguity::FieldsMalformed);
        }
        let (ruling, watch, standing) = self.judge.request(place, head, fields);
        if !matches!(ruling, Ruling::Block(_)) && request.is_connect {
            // What is in a tunnel is no content.
            let ruling = self.judge.refuse(Reason::ContentOpaque, place, head);
            return (ruling, ContentWatch::default(), standing);
        }
        (ruling, watch, standing)
    }

    /// A request that the server promises to answer (RFC 9113, 8.4). What the client is not told of, it does not miss.
    fn promise(&mut self, stream: u32, head: &mut HttpEvent, fields: &Fields) -> BlockFate {
        let carrier = self.rules.streams.state(self.rules.directions[End::Server].frame.stream);
        let is_new = self.rules.streams.state(stream) == State::Unknown;
        let place = Place { from: End::Server, stream };
        if is_new && matches!(carrier, State::Open | State::LetGo) && self.rules.streams.len() < MAX_STREAMS {
            let request = Request::of(fields);
            let (ruling, _, standing) = self.judge_request(place, &request, head, fields, true);
            if !matches!(ruling, Ruling::Block(_)) {
                let ended = PerEnd { client: true, server: false };
                let host = head.hostname.as_deref().map(Into::into);
                let entry = Stream { request, host, standing, ended, ..Stream::default() };
                self.rules.streams.insert(stream, entry);
                return BlockFate::Pass;
            }
        }
        self.rules.outboxes[End::Server].reset(stream);
        BlockFate::Drop
    }

    /// Also a second request on a stream, which nobody may send.
    fn request_trailers(&mut self, stream: u32, head: &mut HttpEvent, fields: &Fields) -> BlockFate {
        let is_last = self.ends_stream(End::Client);
        if self.rules.streams.state(stream) != State::Open {
            return BlockFate::Drop;
        }
        let Some(open) = self.rules.streams.get_mut(stream) else { return BlockFate::Drop };
        let is_whole = open.request.declared.is_none_or(|declared| declared == open.content);
        let passes = match &open.upload {
            Some(upload) if upload.is_busy() => BlockFate::Queue,
            _ => BlockFate::Pass,
        };
        if check_trailers(fields).is_ok() && is_last && is_whole && !open.ended.client {
            return passes;
        }
        head.ambiguous.insert(Ambiguity::FieldsMalformed);
        match self.judge.refuse(Reason::ContentUnparsed, Place { from: End::Client, stream }, head) {
            // A block in the middle of what waits has no place.
            Ruling::Pass | Ruling::Inspect(_) if passes == BlockFate::Pass || is_last => passes,
            Ruling::Pass | Ruling::Inspect(_) | Ruling::Block(_) => {
                self.cut_off(stream);
                BlockFate::Drop
            }
        }
    }

    /// A response, an interim one, or trailers.
    fn response(&mut self, stream: u32, kind: HeadKind, head: &mut HttpEvent, fields: &Fields) -> BlockFate {
        match self.rules.streams.state(stream) {
            State::Open => {}
            State::LetGo => return BlockFate::Pass,
            State::Blocked | State::Unknown => return BlockFate::Drop,
        }
        let end_stream = self.ends_stream(End::Server);
        let Some(open) = self.rules.streams.get_mut(stream) else { return BlockFate::Drop };
        let is_well_formed = match kind {
            HeadKind::Trailers => open.has_response && end_stream && check_trailers(fields).is_ok(),
            HeadKind::Interim => !open.has_response && !end_stream && check_response(fields).is_ok(),
            HeadKind::Request | HeadKind::Response => !open.has_response && check_response(fields).is_ok(),
        };
        let (had_response, place) = (open.has_response, Place { from: End::Server, stream });
        if kind == HeadKind::Response {
            open.response_declared = length_told(&open.request, head, fields);
        }
        let ruling = if !is_well_formed {
            head.ambiguous.insert(Ambiguity::FieldsMalformed);
            self.judge.refuse(Reason::ContentUnparsed, place, head)
        } else if kind == HeadKind::Response {
            let standing = std::mem::take(&mut open.standing);
            let is_tunnel = open.request.is_connect && head.status.is_some_and(|status| status / 100 == 2);
            match self.judge.response(&standing, place, head, fields) {
                judged if is_tunnel => {
                    self.rules.streams.begin_response(stream, ContentWatch::default());
                    match judged {
                        Judged::Now(blocked @ Ruling::Block(_), _) => blocked,
                        Judged::Now(..) | Judged::ByType(..) => Ruling::Pass,
                    }
                }
                Judged::Now(Ruling::Inspect(rule), watch) => {
                    self.rules.streams.begin_response(stream, watch);
                    let subject = Subject { rule, place, head, fields, kind: None, has_begun: false };
                    // Without content there is nothing to look at.
                    if end_stream { Ruling::Pass } else { self.inspect(stream, subject) }
                }
                Judged::Now(ruling, watch) => {
                    self.rules.streams.begin_response(stream, watch);
                    ruling
                }
                Judged::ByType(mut watch, _) if end_stream => {
                    let found = watch.end();
                    let (ruling, watch) = self.judge.by_type(&mut watch, found, place);
                    self.rules.streams.begin_response(stream, watch.unwrap_or_default());
                    ruling
                }
                Judged::ByType(watch, content) => {
                    self.rules.streams.begin_response(stream, content);
                    if watch.is_held {
                        self.rules.hold_for_type(stream);
                    }
                    let inspected_by = watch.inspected_by;
                    self.rules.streams.await_type(stream, watch);
                    match inspected_by {
                        Some(rule) => {
                            let subject = Subject { rule, place, head, fields, kind: None, has_begun: true };
                            self.inspect(stream, subject)
                        }
                        None => Ruling::Pass,
                    }
                }
            }
        } else {
            Ruling::Pass
        };
        match ruling {
            Ruling::Pass | Ruling::Inspect(_)
                if self.rules.queue.has(stream) || self.rules.queue.is_held(stream) =>
            {
                BlockFate::Queue
            }
            Ruling::Pass | Ruling::Inspect(_) => BlockFate::Pass,
            Ruling::Block(refusal) => {
                if had_response || stream.is_multiple_of(2) {
                    self.cut_off(stream);
                } else {
                    self.replace_response(stream, &refusal, head, fields);
                }
                BlockFate::Drop
            }
        }
    }

    /// Nothing of a response has gone on: an answer takes its place.
    fn replace_response(&mut self, stream: u32, refusal: &Refusal, head: &mut HttpEvent, fields: &Fields) {
        let (ends, initial) = (self.ends_stream(End::Server), self.rules.windows.initial());
        let Some(open) = self.rules.streams.get_mut(stream) else { return };
        // What the server may send without further credit of the stream is swallowed. Servers count resets: nginx and nghttpd give up
        // connections with many (CVE-2023-44487).
        let window = u64::try_from(initial + open.credit).unwrap_or(0).min(MAX_SWALLOWED);
        let is_short = ends || declared_length(fields).is_some_and(|length| length <= window);
        self.answer_in_its_place(stream, refusal, head, |open| is_short && open.ended.client);
    }

    /// Something of the exchange has gone on: both ends are to know that it is not whole.
    pub(super) fn cut_off(&mut self, stream: u32) {
        let rules = &mut *self.rules;
        let held = rules.queue.discard(stream);
        let credit = rules.windows.discarded(held);
        rules.outboxes[End::Server].credit_connection(credit);
        End::BOTH.into_iter().for_each(|to| rules.outboxes[to].reset(stream));
        rules.streams.remove(stream);
    }

    /// What the client gets on a stream that is blocked.
    pub(super) fn answer(&mut self, stream: u32, request: &Request, refusal: &Refusal, head: &mut HttpEvent) {
        let answer = self.judge.answer(refusal, head);
        head.status = answer.as_ref().map(|answer| answer.status);
        let rules = &mut *self.rules;
        match answer {
            Some(answer) if rules.waiting_answers() + answer.body.len() < MAX_WAITING => {
                push_answer(&mut rules.queue, stream, request, refusal, answer);
            }
            _ => {
                rules.outboxes[End::Client].reset(stream);
                rules.streams.remove(stream);
            }
        }
        if rules.streams.blocked() > MAX_BLOCKED {
            rules.outboxes[End::Client].goaway(rules.streams.passed);
            rules.end_in_order(Reason::ContentBlocked, self.decisions);
        }
    }

    pub(super) fn message_ends(&mut self, from: End, stream: u32) {
        if self.rules.directions[from].frame.kind == PUSH_PROMISE {
            // The message is the request that is promised.
            return;
        }
        match from {
            End::Client => self.upload_ends(stream),
            End::Server => self.response_ends(stream),
        }
        self.content_ends(from, stream);
        if let Some(entry) = self.rules.streams.get_mut(stream) {
            entry.ended[from] |= from == End::Client || !entry.is_blocked;
            if entry.ended.client
                && entry.ended.server
                && entry.inspection.is_none()
                && entry.upload.is_none()
            {
                self.rules.streams.remove(stream);
            }
        }
    }

    /// Octets of a request.
    pub(super) fn client_data(&mut self, frame: &FrameHead, data: u32) -> (Fate, Exchange) {
        let (stream, end_stream) = (frame.stream, frame.flags & END_STREAM != 0);
        let is_unwanted = self.rules.streams.get_mut(stream).is_some_and(|open| open.is_answered_early);
        match self.rules.streams.state(stream) {
            // What tells the client to stop is on its way, or waits.
            State::Open if is_unwanted => {}
            State::Open => {
                if self.content_goes_on(stream, data, end_stream) {
                    return (self.upload_data(frame, data), Exchange::GoesOn);
                }
                self.cut_off(stream);
                self.rules.outboxes[End::Client].credit_connection(frame.length);
                return (Fate::Drop, Exchange::CutOff);
            }
            // What the server does not take yet, though the client was told so, is of no use to it.
            State::LetGo if self.rules.server_windows.must_hold(frame.length) => {}
            State::LetGo => {
                self.rules.server_windows.passed(frame.length);
                return (Fate::Pass, Exchange::GoesOn);
            }
            // The client waits for credit until it has said all, even if it has read the answer.
            State::Blocked if !end_stream => {
                self.rules.outboxes[End::Client].credit_stream(stream, frame.length);
            }
            State::Blocked | State::Unknown => {}
        }
        self.rules.outboxes[End::Client].credit_connection(frame.length);
        (Fate::Drop, Exchange::GoesOn)
    }

    /// RFC 9113, 8.1.1: content is as long as was declared. Whoever passes it on to HTTP/1 may find another request in what is more.
    fn content_goes_on(&mut self, stream: u32, data: u32, end_stream: bool) -> bool {
        let Some(open) = self.rules.streams.get_mut(stream) else { return false };
        open.content += u64::from(data);
        let place = Place { from: End::Client, stream };
        if self.judge.late(&mut open.watch, open.content, place) != Ruling::Pass {
            return false;
        }
        let is_said = open.ended.client;
        let fits = open
            .request
            .declared
            .is_none_or(|declared| open.content == declared || open.content < declared && !end_stream);
        if fits && !is_said {
            return true;
        }
        open.request.declared = None;
        self.may_go_on(place)
    }

    /// Content comes behind its head, no more of it than that has told of (RFC 9113, 8.1.1), and no more than rules allow. Rules have
    /// taken the head at its word, and look at nothing where it has told of nothing.
    fn response_goes_on(&mut self, place: Place, data: u32) -> bool {
        let Some(open) = self.rules.streams.get_mut(place.stream) else { return false };
        open.response_content += u64::from(data);
        if self.judge.late(&mut open.response_watch, open.response_content, place) != Ruling::Pass {
            return false;
        }
        let fits = open.response_declared.is_none_or(|declared| open.response_content <= declared);
        if fits && open.has_response {
            return true;
        }
        open.response_declared = None;
        self.may_go_on(place)
    }

    /// What policy says about a message that breaks rules in the middle.
    fn may_go_on(&mut self, place: Place) -> bool {
        let mut head = HttpEvent { protocol: "HTTP/2", ..HttpEvent::default() };
        head.ambiguous.insert(Ambiguity::FieldsMalformed);
        self.judge.refuse(Reason::ContentUnparsed, place, &mut head) == Ruling::Pass
    }

    /// Octets of a response.
    pub(super) fn server_data(&mut self, frame: &FrameHead, data: u32) -> (Fate, Exchange) {
        let (stream, place) = (frame.stream, Place { from: End::Server, stream: frame.stream });
        let mut exchange = Exchange::GoesOn;
        let passes = match self.rules.streams.state(stream) {
            State::LetGo => true,
            State::Blocked | State::Unknown => false,
            State::Open => {
                let passes = self.response_goes_on(place, data);
                if !passes {
                    self.cut_off(stream);
                    exchange = Exchange::CutOff;
                }
                passes
            }
        };
        let rules = &mut *self.rules;
        if !passes {
            let credit = rules.windows.swallowed(frame.length);
            rules.outboxes[End::Server].credit_connection(credit);
            return (Fate::Drop, exchange);
        }
        let waits = rules.queue.is_held(stream) || rules.queue.has(stream);
        if rules.windows.must_hold(frame.length) || waits {
            let credit = rules.windows.swallowed(frame.length - data);
            rules.outboxes[End::Server].credit_connection(credit);
            return (Fate::Queue, exchange);
        }
        rules.windows.passed(frame.length);
        (Fate::Pass, exchange)
    }

    /// A block goes on, as it is if the receiver's table is what the sender thinks it is.
    pub(super) fn block_passes(&mut self, from: End, at: u64, fields: &Fields) {
        let rules = &mut *self.rules;
        let direction = &mut rules.directions[from];
        if from == End::Server {
            // The server says it now.
            rules.windows.take_shrunk_table();
        }
        if !direction.encoding.has_diverged {
            return rules.pass(from, at, self.decisions);
        }
        let block = direction.encoding.encode(fields);
        let (lead, len) = direction.lead;
        let carrier = match direction.frame.kind {
            PUSH_PROMISE => Carrier::PushPromise(u32::from_be_bytes([lead[0], lead[1], lead[2], lead[3]])),
            _ => Carrier::Headers {
                end_stream: direction.frame.flags & END_STREAM != 0,
                priority: (len == lead.len()).then_some(lead),
            },
        };
        let mut out = Vec::new();
        header_block(&mut out, direction.frame.stream, carrier, &block);
        rules.drop(from, at, self.decisions);
        self.decisions.insert(from, out);
    }
}

/// How much content the head of a response tells of, as rules understand it; none: it does not tell.
fn length_told(request: &Request, head: &HttpEvent, fields: &Fields) -> Option<u64> {
    let has_none = request.is_head || head.method.as_deref() == Some("HEAD");
    match head.status {
        _ if request.is_connect => None,
        Some(100..=199 | 204 | 304) => Some(0),
        _ if has_none => Some(0),
        // A policy may let what is malformed pass.
        _ => str::from_utf8(fields.value("content-length")?).ok()?.trim().parse().ok(),
    }
}

/// An answer in the words of HTTP/2; of gRPC, if that is what was asked in.
fn push_answer(
    queue: &mut super::http2_output::Queue,
    stream: u32,
    request: &Request,
    refusal: &Refusal,
    answer: Answer,
) {
    if request.is_grpc {
        // Trailers only, with PERMISSION_DENIED: a client of gRPC shows no page, and takes a status of HTTP for trouble on the way.
        let why = refusal.rule.as_deref().unwrap_or(refusal.reason.code());
        let message = percent_encoded(&format!("blocked: {why}"));
        let fields = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "7"),
            ("grpc-message", &message),
        ];
        return queue.push_answer(stream, &fields, bytes::Bytes::new());
    }
    let Answer { status, fields, body } = answer;
    let (status, length) = (status.to_string(), body.len().to_string());
    let mut all = vec![(":status", &*status)];
    all.extend(fields.iter().map(|(name, value)| (*name, &**value)));
    if status != "204" && status != "304" {
        all.push(("content-length", &length));
    }
    queue.push_answer(stream, &all, if request.is_head { bytes::Bytes::new() } else { body });
}

/// As grpc-message is written (gRPC over HTTP/2): printable ASCII but for the percent sign.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => out.push(char::from(byte)),
            _ => {
                let digit =
                    |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
                out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out
}
