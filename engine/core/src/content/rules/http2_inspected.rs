//! Responses of HTTP/2 that threads look at: their frames wait in the queue, and those of other streams do not.
//!
//! Nothing is credited for what waits, so a server sends no more of it than the client takes. Where that is less than the body, the
//! body is too large to be held as a whole.

use tcp_stack::Instant;

use super::http2::{Http2Rules, Relay};
use super::inspection::Inspection;
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

fn place(stream: u32) -> Place {
    Place { from: End::Server, stream }
}

impl Http2Rules {
    /// The response of this stream waits for its type.
    pub(super) fn awaits_type(&mut self, stream: u32) -> bool {
        self.queue.is_held(stream)
            && self.streams.get_mut(stream).is_some_and(|open| open.type_watch.is_some())
    }

    /// When a thread has had its time.
    pub(super) fn threads_due(&self) -> Option<Instant> {
        self.inspected.iter().filter_map(|stream| self.streams.inspection(*stream)?.poll_timeout()).min()
    }

    /// Octets that wait for verdicts.
    fn waiting_for_verdicts(&self) -> u64 {
        let waiting = |stream: &u32| self.streams.waiting_for_verdict(*stream);
        self.inspected.iter().map(waiting).sum()
    }

    /// Octets that wait for something else.
    pub(super) fn held_without_verdict(&self) -> u64 {
        self.windows.held().saturating_sub(self.waiting_for_verdicts())
    }

    /// Bytes of memory that count as held bodies.
    pub(super) fn held_for_verdicts(&self) -> usize {
        let scans = self.inspected.iter().filter_map(|stream| self.streams.inspection(*stream));
        self.waiting_for_verdicts() as usize + scans.map(Inspection::held).sum::<usize>()
    }

    /// A thread has answered.
    pub(super) fn verdict(
        &mut self,
        question: u64,
        verdict: Verdict,
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) {
        let asked = |stream: &&u32| {
            self.streams.inspection(**stream).is_some_and(|inspection| inspection.question() == question)
        };
        // Of a stream that is over.
        let Some(stream) = self.inspected.iter().find(asked).copied() else { return };
        self.streams.change(stream, |open| {
            let Some(inspection) = &mut open.inspection else { return };
            match verdict {
                Verdict::Looked(looked) => {
                    let said = inspection.looked(*looked);
                    judge.said(inspection, said, place(stream), decisions);
                }
                Verdict::Refused => judge.fails(inspection, Reason::ContentOverload, place(stream)),
                Verdict::Failed | Verdict::Pass | Verdict::Block(_) => {
                    judge.breaks(inspection, place(stream))
                }
            }
        });
        self.settle(judge, decisions);
    }

    /// Threads that have had their time.
    pub(super) fn threads_are_late(&mut self, now: Instant, judge: &mut Judge) {
        let timeout = judge.policy.inspection.timeout;
        for stream in self.inspected.clone() {
            self.streams.change(stream, |open| {
                if let Some(inspection) = &mut open.inspection
                    && inspection.has_timed_out(now, timeout)
                {
                    judge.fails(inspection, Reason::ContentTimeout, place(stream));
                }
            });
        }
    }

    /// What may go goes, threads get what has come, and what may not is answered or cut off.
    pub(super) fn move_on(&mut self, judge: &mut Judge, decisions: &mut Decisions) {
        if self.inspected.is_empty() {
            return;
        }
        for stream in self.inspected.clone() {
            self.keep_within_bounds(stream, judge, decisions);
            Relay::between_calls(self, judge, decisions).move_on(stream);
        }
        let streams = &self.streams;
        self.inspected.retain(|stream| streams.inspection(*stream).is_some());
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
            if is_stuck {
                inspection.release_tail();
            }
            if !inspection.is_settled() && !decisions.has_room_for(held) {
                judge.fails(inspection, Reason::ContentOverload, place(stream));
            }
        });
    }
}

impl Relay<'_> {
    /// The response that begins is to be looked at.
    pub(super) fn inspect(&mut self, stream: u32, subject: Subject<'_>) -> Ruling {
        let rule = subject.rule;
        match self.judge.inspect(subject, self.decisions) {
            Begun::Not(ruling) => ruling,
            Begun::Inspects(inspection) => {
                if !inspection.waits_for_nothing() && !self.rules.queue.is_held(stream) {
                    self.rules.queue.hold(stream);
                }
                self.rules.streams.change(stream, |open| open.inspection = Some(inspection));
                self.rules.inspected.push(stream);
                Ruling::Inspect(rule)
            }
        }
    }

    /// Likewise where its type was awaited.
    pub(super) fn inspect_watched(
        &mut self,
        stream: u32,
        rule: ContentRuleId,
        kind: Option<FileType>,
        watch: &mut TypeWatch,
    ) -> Ruling {
        // Another rule has begun with it already.
        if self.rules.streams.inspection(stream).is_some() {
            return Ruling::Pass;
        }
        let (mut head, fields, has_begun) = (watch.head.clone(), watch.fields().clone(), !watch.is_held);
        let place = place(stream);
        let subject = Subject { rule, place, head: &mut head, fields: &fields, kind, has_begun };
        let ruling = self.inspect(stream, subject);
        watch.head = head;
        self.show_to_threads(stream, watch.first());
        if has_begun {
            // What has come, and the frame that comes, has gone on.
            self.rules.streams.change(stream, |open| open.allowed = open.response_content);
        }
        ruling
    }

    /// More of a body has come.
    pub(super) fn show_to_threads(&mut self, stream: u32, octets: &[u8]) {
        if self.rules.streams.inspection(stream).is_some() {
            self.rules.streams.change(stream, |open| {
                if let Some(inspection) = &mut open.inspection {
                    inspection.push(octets);
                }
            });
        }
    }

    /// No more of it comes.
    pub(super) fn inspection_ends(&mut self, stream: u32) {
        if let Some(open) = self.rules.streams.get_mut(stream)
            && let Some(inspection) = &mut open.inspection
        {
            inspection.end();
        }
    }

    fn move_on(&mut self, stream: u32) {
        let decisions = &mut *self.decisions;
        let state = self.rules.streams.change(stream, |open| {
            let inspection = open.inspection.as_mut()?;
            inspection.ask(decisions);
            let more = inspection.may_go().min(inspection.body()).saturating_sub(open.allowed);
            open.allowed += more;
            inspection.has_begun |= more > 0;
            Some((more, inspection.is_settled(), inspection.refusal().is_some()))
        });
        let Some(Some((more, is_settled, is_refused))) = state else { return };
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
        self.rules.streams.get_mut(stream).is_some_and(|open| open.ended.client && open.ended.server)
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
