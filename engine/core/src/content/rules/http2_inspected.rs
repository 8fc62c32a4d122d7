//! Responses of HTTP/2 that threads look at: their frames wait in the queue, and those of other streams do not. What comes of asking them,
//! about requests, too.
//!
//! Nothing is credited for what waits, so a server sends no more of it than the client takes. Where that is less than the body, the
//! body is too large to be held as a whole.

use std::collections::BTreeSet;

use tcp_stack::Instant;

use super::http2::{Http2Rules, Relay};
use super::judge::{Judge, Place, Ruling};
use super::judge_inspection::{Begun, Subject};
use super::type_watch::TypeWatch;
use crate::content::body::FileType;
use crate::content::filter::{Decisions, Verdict};
use crate::end::End;
use crate::policy::ContentRuleId;
use crate::reason::Reason;

/// A server that may send less than this waits for more.
const LEAST_WINDOW: i64 = 1024;
/// Messages of a connection that are looked at at once. Servers let their clients have one or two hundred streams open.
pub(super) const MAX_INSPECTED: usize = 256;

fn place(stream: u32) -> Place {
    Place { from: End::Server, stream }
}

impl Http2Rules {
    /// When a thread has had its time, or earlier.
    pub(super) fn threads_due(&self) -> Option<Instant> {
        let is_awaited = self.streams.inspected().len() > 0;
        // The time at which some were asked is not known yet.
        let until = if self.asked.is_empty() { self.threads_until } else { Some(Instant::ZERO) };
        until.filter(|_| is_awaited)
    }

    /// Octets that wait for something else than verdicts.
    pub(super) fn held_without_verdict(&self) -> u64 {
        self.windows.held().saturating_sub(self.streams.waiting_for_verdicts())
    }

    /// Bytes of memory that count as held bodies.
    pub(super) fn held_for_verdicts(&self) -> usize {
        self.streams.held_for_verdicts()
    }

    /// A thread has answered.
    pub(super) fn verdict(
        &mut self,
        question: u64,
        verdict: Verdict,
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) {
        // Of a stream that is over, or of which another rule looks at the response by now.
        let Some((from, stream)) = self.streams.of_question(question) else { return };
        let place = Place { from, stream };
        self.changed.push(stream);
        self.streams.change(stream, |open| {
            let Some(inspection) = open.inspection_mut(from) else { return };
            match verdict {
                Verdict::Looked(looked) => {
                    let said = inspection.looked(*looked);
                    judge.said(inspection, said, place, decisions);
                }
                Verdict::Refused => judge.fails(inspection, Reason::ContentOverload, place),
                Verdict::Failed | Verdict::Pass | Verdict::Block(_) => judge.breaks(inspection, place),
            }
        });
        self.settle(judge, decisions);
    }

    /// Threads that have had their time.
    pub(super) fn threads_are_late(&mut self, now: Instant, judge: &mut Judge) {
        let timeout = judge.policy.inspection.timeout;
        for (from, stream) in std::mem::take(&mut self.asked) {
            // Now its time begins.
            self.streams.change(stream, |open| {
                open.inspection_mut(from).is_some_and(|inspection| inspection.has_timed_out(now, timeout))
            });
            self.threads_until.get_or_insert(now + timeout);
        }
        if self.threads_until.is_none_or(|until| until > now) {
            return;
        }
        for (from, stream) in self.streams.inspected().collect::<Vec<_>>() {
            let failed = self.streams.change(stream, |open| {
                let inspection = open.inspection_mut(from)?;
                let is_late = inspection.has_timed_out(now, timeout);
                let place = Place { from, stream };
                is_late.then(|| judge.fails(inspection, Reason::ContentTimeout, place))
            });
            if failed.flatten().is_some() {
                self.changed.push(stream);
            }
        }
        let until = |(from, stream)| self.streams.inspection_of(from, stream)?.poll_timeout();
        self.threads_until = self.streams.inspected().filter_map(until).min();
    }

    /// What has come is looked at, what may go goes, and what may not is answered or cut off.
    pub(super) fn move_on(&mut self, judge: &mut Judge, decisions: &mut Decisions) {
        let windows = (self.windows.initial(), self.windows.of_server() < LEAST_WINDOW);
        if std::mem::replace(&mut self.windows_seen, windows) != windows {
            // A server may be unable to go on with streams that it has said nothing more of.
            self.changed.extend(self.streams.inspected_responses());
        }
        if self.changed.is_empty() {
            return;
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for stream in changed {
            self.keep_within_bounds(stream, judge, decisions);
            self.keep_upload_within_bounds(stream, judge, decisions);
            let mut relay = Relay::between_calls(self, judge, decisions);
            relay.move_on(stream);
            relay.move_upload_on(stream);
        }
        if self.streams.inspected().len() == 0 {
            (self.asked, self.threads_until) = (Vec::new(), None);
        }
    }

    /// The server says nothing more: what it has not said to its end is not looked at to its end, and does not go on.
    pub(super) fn give_up_incomplete(&mut self) {
        let held = self.queue.held_streams();
        for stream in held.into_iter().chain(self.streams.inspected_responses()).collect::<BTreeSet<_>>() {
            if self.streams.get_mut(stream).is_some_and(|open| !open.ended.server) {
                let held = self.queue.discard(stream);
                self.windows.discarded(held);
                self.outboxes[End::Client].reset(stream);
                self.streams.remove(stream);
            }
        }
    }

    fn keep_within_bounds(&mut self, stream: u32, judge: &mut Judge, decisions: &mut Decisions) {
        let (most, held) = (judge.policy.inspection.hold_bytes as u64, self.held_for_verdicts());
        let (initial, left) = (self.windows.initial(), self.windows.of_server());
        self.streams.change(stream, |open| {
            let (credit, content, has_ended) = (open.credit, open.response_content, open.ended.server);
            let Some(inspection) = &mut open.inspection else { return };
            if inspection.is_settled() {
                return;
            }
            let window = (initial + credit - content as i64).min(left);
            let is_stuck = window < LEAST_WINDOW && !has_ended;
            if inspection.holds_all() && (is_stuck || inspection.body() > most) {
                judge.fails(inspection, Reason::ContentOversize, place(stream));
            }
            inspection.set_stuck(is_stuck);
            if let Some(lacking) = decisions.lacks_room_for(held)
                && !inspection.is_settled()
            {
                judge.fails(inspection, lacking, place(stream));
            }
        });
    }
}

impl Relay<'_> {
    /// The response that begins is to be looked at.
    pub(super) fn inspect(&mut self, stream: u32, subject: Subject<'_>) -> Ruling {
        let rule = subject.rule;
        let is_new = self.rules.streams.inspection(stream).is_none();
        if is_new && self.rules.streams.inspected().len() >= MAX_INSPECTED {
            return self.judge.refuse(Reason::ContentOverload, subject.place, subject.head);
        }
        match self.judge.inspect(subject, self.decisions) {
            Begun::Not(ruling) => ruling,
            Begun::Inspects(inspection) => {
                if !inspection.waits_for_nothing() && !self.rules.queue.is_held(stream) {
                    self.rules.queue.hold(stream);
                }
                self.rules.streams.change(stream, |open| open.inspection = Some(inspection));
                self.rules.changed.push(stream);
                Ruling::Inspect(rule)
            }
        }
    }

    /// Likewise where its type was awaited. Where another rule looks at it already, as if its type stayed unknown, this one takes its
    /// place and sees all that has come: it is the one that applies.
    pub(super) fn inspect_watched(
        &mut self,
        stream: u32,
        rule: ContentRuleId,
        kind: Option<FileType>,
        watch: &mut TypeWatch,
    ) -> Ruling {
        let before = self.rules.streams.inspection(stream);
        // Nothing makes up for what the other has found.
        if before.is_some_and(|before| before.refusal().is_some()) {
            return Ruling::Pass;
        }
        // As long as it is held and nobody has looked at it, nothing of it has gone on.
        let is_held = self.rules.queue.is_held(stream);
        let has_begun = before.map_or(!is_held, |before| before.has_begun);
        let (mut head, fields) = (watch.head.clone(), watch.fields().clone());
        let place = place(stream);
        let subject = Subject { rule, place, head: &mut head, fields: &fields, kind, has_begun };
        let ruling = self.inspect(stream, subject);
        watch.head = head;
        if matches!(ruling, Ruling::Inspect(_)) {
            self.show_response(stream, watch.first());
            if !is_held {
                // What has come, and the frame that comes, has gone on.
                self.rules.streams.change(stream, |open| open.allowed = open.response_content);
            }
        }
        ruling
    }

    /// More of a body has come.
    pub(super) fn show_response(&mut self, stream: u32, octets: &[u8]) {
        if self.rules.streams.inspection(stream).is_some() {
            let (judge, decisions) = (&mut *self.judge, &*self.decisions);
            self.rules.streams.change(stream, |open| {
                if let Some(inspection) = &mut open.inspection {
                    judge.show(inspection, octets, place(stream), decisions);
                }
            });
            self.rules.changed.push(stream);
        }
    }

    /// No more of it comes.
    pub(super) fn inspection_ends(&mut self, stream: u32) {
        if let Some(open) = self.rules.streams.get_mut(stream)
            && let Some(inspection) = &mut open.inspection
        {
            inspection.end();
            self.rules.changed.push(stream);
        }
    }

    fn move_on(&mut self, stream: u32) {
        let (judge, decisions) = (&mut *self.judge, &mut *self.decisions);
        let state = self.rules.streams.change(stream, |open| {
            let inspection = open.inspection.as_mut()?;
            judge.ask(inspection, place(stream), decisions);
            let is_asked = inspection.poll_timeout() == Some(Instant::ZERO);
            let more = inspection.may_go().min(inspection.body()).saturating_sub(open.allowed);
            open.allowed += more;
            inspection.has_begun |= more > 0;
            Some((is_asked, more, inspection.is_settled(), inspection.refusal().is_some()))
        });
        let Some(Some((is_asked, more, is_settled, is_refused))) = state else { return };
        if is_asked {
            self.rules.asked.push((End::Server, stream));
        }
        if !is_settled {
            return self.rules.queue.allow(stream, more);
        }
        let Some(Some(mut inspection)) = self.rules.streams.change(stream, |open| open.inspection.take())
        else {
            return;
        };
        if !is_refused {
            self.goes_on(stream);
            return self.forget_if_over(stream);
        }
        let Some(refusal) = inspection.refusal().cloned() else { return };
        if inspection.has_begun && self.has_ended(stream) {
            return self.cut_short(stream);
        }
        self.blocked(stream, !inspection.has_begun, &refusal, &mut inspection.head);
    }

    fn has_ended(&mut self, stream: u32) -> bool {
        self.rules.streams.get_mut(stream).is_some_and(|open| {
            (open.ended.client || open.is_answered_early) && open.ended.server && open.upload.is_none()
        })
    }

    /// Both ends have said all: the server needs not know that the client does not get it.
    fn cut_short(&mut self, stream: u32) {
        let held = self.rules.queue.discard(stream);
        let credit = self.rules.windows.discarded(held);
        self.rules.outboxes[End::Server].credit_connection(credit);
        self.rules.outboxes[End::Client].reset(stream);
        self.rules.streams.remove(stream);
    }

    fn forget_if_over(&mut self, stream: u32) {
        if self.has_ended(stream) {
            self.rules.streams.remove(stream);
        }
    }
}
