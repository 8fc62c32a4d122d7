//! Bodies of HTTP/1 that threads look at, and what comes of it.

use tcp_stack::Instant;

use super::http1::{Fate, Http1Rules, Receiver};
use super::inspection::Inspection;
use super::judge::{Judge, Place, Ruling};
use super::judge_inspection::{Begun, Subject};
use super::type_watch::TypeWatch;
use crate::content::body::FileType;
use crate::content::filter::{Decisions, Verdict};
use crate::end::End;
use crate::event::HttpEvent;
use crate::fields::Fields;
use crate::policy::{ContentRuleId, Standing};
use crate::reason::Reason;

impl Http1Rules {
    /// The message whose head ends here is to be looked at. Where that is done, head and body are to pass: they wait in the lane.
    pub(super) fn inspect(
        &mut self,
        subject: Subject<'_>,
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) -> Ruling {
        let (from, rule) = (subject.place.from, subject.rule);
        match judge.inspect(subject, decisions) {
            Begun::Inspects(inspection) => {
                self.lanes[from].begin(*inspection);
                Ruling::Inspect(rule)
            }
            Begun::Not(ruling) => ruling,
        }
    }

    /// Likewise a response whose type was awaited.
    pub(super) fn inspect_watched(
        &mut self,
        rule: ContentRuleId,
        (kind, has_begun): (Option<FileType>, bool),
        watch: &mut TypeWatch,
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) -> Ruling {
        let place = Place { from: End::Server, stream: 0 };
        // Where another rule looks at it already, as if its type stayed unknown, this one takes its place and sees all that has come.
        let before = self.lanes.server.current();
        // Nothing makes up for what the other has found.
        if before.as_ref().is_some_and(|before| before.refusal().is_some()) {
            return Ruling::Pass;
        }
        let (is_second, has_begun) = before.map_or((false, has_begun), |before| (true, before.has_begun));
        let (mut head, fields) = (watch.head.clone(), watch.fields().clone());
        let subject = Subject { rule, place, head: &mut head, fields: &fields, kind, has_begun };
        let begun = judge.inspect(subject, decisions);
        watch.head = head;
        match begun {
            Begun::Not(ruling) => return ruling,
            Begun::Inspects(inspection) if is_second => self.lanes.server.replace(*inspection),
            Begun::Inspects(inspection) => self.lanes.server.begin(*inspection),
        }
        self.lanes.server.show(watch.first(), End::Server, judge, decisions);
        Ruling::Inspect(rule)
    }

    /// A body has come up to here: `read` are the last bytes before that.
    pub(super) fn take_body(
        &mut self,
        judge: &mut Judge,
        (from, up_to): (End, u64),
        read: &[u8],
        decisions: &mut Decisions,
    ) {
        let is_awaited = from == End::Server && self.awaiting.is_some();
        let body = &mut self.directions[from].body;
        let is_wanted = is_awaited || body.watch.searches() || self.lanes[from].current().is_some();
        let Some(begun) = body.begun.filter(|_| is_wanted) else { return };
        let base = up_to - read.len() as u64;
        let start = begun.max(body.shown).max(base);
        body.shown = up_to;
        let octets = read.get((start - base) as usize..).unwrap_or_default();
        if octets.is_empty() {
            return;
        }
        self.lanes[from].show(octets, from, judge, decisions);
        if is_awaited {
            self.show_to_type(judge, octets, decisions);
        } else {
            self.search(judge, from, octets, decisions);
        }
        self.keep_within_bounds(from, judge);
    }

    /// A body has ended.
    pub(super) fn body_ends(&mut self, from: End, judge: &mut Judge, decisions: &mut Decisions) {
        if from == End::Server {
            self.type_ends(judge, decisions);
        }
        if let Some(inspection) = self.lanes[from].current() {
            inspection.end();
            judge.ask(inspection, Place { from, stream: 0 }, decisions);
        }
        self.search_ends(judge, from, decisions);
    }

    fn keep_within_bounds(&mut self, from: End, judge: &mut Judge) {
        let bytes = self.lanes[from].bytes();
        let Some(inspection) = self.lanes[from].current().filter(|each| !each.is_settled()) else { return };
        if inspection.holds_all() && bytes > judge.policy.inspection.hold_bytes {
            judge.fails(inspection, Reason::ContentOversize, Place { from, stream: 0 });
        }
    }

    /// Whatever waits in the lane, of messages that are looked at and of those behind them, needs room. What frames a body counts, too:
    /// an extension of a chunk may have no end.
    pub(super) fn keep_within_room(&mut self, from: End, judge: &mut Judge, decisions: &Decisions) {
        self.keep_within_bounds(from, judge);
        if self.is_over() {
            return;
        }
        if let Some(lacking) = decisions.lacks_room_for(self.held())
            && let Some(inspection) = self.lanes[from].unsettled()
        {
            judge.fails(inspection, lacking, Place { from, stream: 0 });
        }
    }

    /// Bytes that count as held bodies, beside those that the stage holds.
    pub(super) fn held(&self) -> usize {
        self.lanes.iter().map(super::lane::Lane::held).sum()
    }

    /// A thread has answered.
    pub(super) fn verdict(
        &mut self,
        question: u64,
        verdict: Verdict,
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) {
        for from in End::BOTH {
            let Some(inspection) = self.lanes[from].of_question(question) else { continue };
            let place = Place { from, stream: 0 };
            match verdict {
                Verdict::Looked(looked) => {
                    let said = inspection.looked(*looked);
                    judge.said(inspection, said, place, decisions);
                }
                Verdict::Refused => judge.fails(inspection, Reason::ContentOverload, place),
                Verdict::Failed | Verdict::Pass | Verdict::Block(_) => judge.breaks(inspection, place),
            }
            self.keep_within_bounds(from, judge);
            self.keep_within_room(from, judge, decisions);
            return self.move_on(from, judge, decisions);
        }
    }

    /// Threads that have had their time.
    pub(super) fn threads_are_late(&mut self, now: Instant, judge: &mut Judge, decisions: &mut Decisions) {
        let timeout = judge.policy.inspection.timeout;
        for from in End::BOTH {
            for inspection in self.lanes[from].timed_out(now, timeout) {
                judge.fails(inspection, Reason::ContentTimeout, Place { from, stream: 0 });
            }
            self.move_on(from, judge, decisions);
        }
    }

    /// What comes of this direction is not read any more.
    pub(super) fn cannot_be_looked_at(&mut self, from: End) {
        if let Some(inspection) = self.lanes[from].current() {
            inspection.give_up();
        }
        self.lanes[from].message_ends();
    }

    /// What has come is looked at, what may go goes, and what may not ends the connection.
    pub(super) fn move_on(&mut self, from: End, judge: &mut Judge, decisions: &mut Decisions) {
        if self.is_over() {
            return;
        }
        self.lanes[from].ask(from, judge, decisions);
        let Some(refused) = self.lanes[from].advance(from, decisions) else {
            if from == End::Server {
                self.answer_if_due(decisions);
            }
            return;
        };
        self.refused(from, refused, judge, decisions);
    }

    /// A response is refused: its answer is due when all before it has gone on, and nothing of the server's goes on behind that.
    pub(super) fn server_ends(&mut self) {
        self.directions.server.fate = Fate::Drop;
        self.open.clear();
        self.within_response = false;
    }

    /// A request is refused: its answer is due when the responses to those before it are over, and nothing behind it has one. False: it has
    /// an answer of the server's already, or cannot have one.
    fn client_ends(&mut self, number: u64) -> bool {
        let place = self.open.iter().position(|open| open.number == number);
        let Some(place) = place.filter(|place| *place > 0 || !self.within_response) else { return false };
        self.open.truncate(place);
        !self.ended.server
    }

    fn refused(
        &mut self,
        from: End,
        mut inspection: Inspection,
        judge: &mut Judge,
        decisions: &mut Decisions,
    ) {
        let Some(refusal) = inspection.refusal().cloned() else { return };
        let may_be_answered = match from {
            End::Client => self.client_ends(inspection.number),
            End::Server => !inspection.has_begun,
        };
        if !may_be_answered {
            return self.reset(refusal.reason, decisions);
        }
        self.lanes[from].clear(from, decisions);
        match from {
            End::Client => self.resets_server |= inspection.has_gone_in_part(),
            End::Server => self.server_ends(),
        }
        let to_head = inspection.head.method.as_deref() == Some("HEAD");
        self.block(judge, &refusal, &mut inspection.head, to_head, decisions);
    }
}

impl Receiver<'_> {
    /// The body of the request whose head ends here is to be looked at.
    pub(super) fn inspect_request(
        &mut self,
        standing: &Standing,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> Ruling {
        let place = Place { from: End::Client, stream: 0 };
        match self.judge.inspect_request(&standing.at_content, place, head, fields) {
            Begun::Not(ruling) => ruling,
            Begun::Inspects(mut inspection) => {
                // RFC 9110, 10.1.1: the server says whether it wants the body.
                if fields.values("expect").any(|value| value.eq_ignore_ascii_case(b"100-continue")) {
                    inspection.let_head_go();
                }
                inspection.number = self.rules.requests;
                let ruling = Ruling::Inspect(inspection.rule);
                self.rules.lanes.client.begin(*inspection);
                ruling
            }
        }
    }

    /// The body behind the head that ends here is to be looked at.
    pub(super) fn inspect(&mut self, rule: ContentRuleId, head: &mut HttpEvent, fields: &Fields) -> Ruling {
        let place = Place { from: End::Server, stream: 0 };
        let subject = Subject { rule, place, head, fields, kind: None, has_begun: false };
        self.rules.inspect(subject, self.judge, self.decisions)
    }
}
