//! The filter of a flow that rules are asked about.

use std::sync::Arc;

use tcp_stack::Instant;

use super::http1::Http1Rules;
use super::http2::Http2Rules;
use super::judge::Judge;
use crate::content::filter::{Decisions, Filter, Filters, Report, StreamEnd, Verdict};
use crate::content::http::Version;
use crate::content::http_reader::{HttpReader, HttpReaders};
use crate::content::page::Page;
use crate::end::End;
use crate::mirror::Mirror;
use crate::policy::{ContentPolicy, DecryptedFlow, Policy};
use crate::reason::InspectorOff;

/// Asks rules about what flows say, if there are any for a flow's profile; else it is only read.
#[derive(Clone, Debug)]
pub struct RuleFilters {
    policy: Arc<ContentPolicy>,
    connections: Option<Arc<Policy>>,
    page: Arc<Page>,
    /// Single streams of what is in one of these may have to end.
    judged_outside: Vec<Mirror>,
}

impl RuleFilters {
    /// For an engine with these rules, and this page for what they block.
    pub fn new(policy: Arc<ContentPolicy>, page: Arc<Page>) -> Self {
        Self { policy, connections: None, page, judged_outside: Vec::new() }
    }

    /// With mirrors at which an IDS ends single streams of HTTP/2: those of flows that no rule is about, too.
    #[must_use]
    pub fn with_streams_judged_at(self, mirrors: Vec<Mirror>) -> Self {
        Self { judged_outside: mirrors, ..self }
    }

    /// With the rules that connections go by: a host that they treat in another way than the connection cannot share it.
    #[must_use]
    pub fn with_connections(self, connections: Arc<Policy>) -> Self {
        Self { connections: Some(connections), ..self }
    }
}

impl Filters for RuleFilters {
    fn filter(&self, flow: &Arc<DecryptedFlow>, alpn: Option<&[u8]>) -> Option<Box<dyn Filter>> {
        if self.policy.is_about(&flow.profile.name) {
            let (policy, page) = (Arc::clone(&self.policy), Arc::clone(&self.page));
            let judge = Judge::new(policy, self.connections.clone(), page, Arc::clone(flow));
            return Some(Box::new(RuleFilter::new(judge, alpn, flow.profile.http)));
        }
        let profile = &flow.profile;
        let shown = |policy: &Arc<Policy>| policy.shown(flow.connection.rule.as_deref()).clone();
        let shown = self.connections.as_ref().map(shown).unwrap_or_default();
        if alpn == Some(b"h2") && self.judged_outside.iter().any(|mirror| mirror.shows(&profile.name, &shown))
        {
            let (policy, page) = (Arc::clone(&self.policy), Arc::clone(&self.page));
            let judge = Judge::new(policy, None, page, Arc::clone(flow)).passing_all();
            return Some(Box::new(RuleFilter::new(judge, alpn, profile.http)));
        }
        HttpReaders.filter(flow, alpn)
    }
}

/// The filter of a flow.
struct RuleFilter {
    reader: HttpReader,
    judge: Judge,
    rules: Rules,
    /// The log has its transactions.
    is_logged: bool,
}

/// By what is spoken.
enum Rules {
    /// The client's bytes so far do not yet say what they are.
    Undecided(Vec<u8>),
    Http1(Box<Http1Rules>),
    Http2(Box<Http2Rules>),
}

impl RuleFilter {
    fn new(judge: Judge, alpn: Option<&[u8]>, is_logged: bool) -> Self {
        let rules = Rules::Undecided(Vec::new());
        Self { reader: HttpReader::keeping_fields(alpn), judge, rules, is_logged }
    }

    /// Whoever has to decide on these bytes; and all that have not been shown to it, if there are more.
    fn recognise(&mut self, from: End, bytes: &[u8]) -> Option<Vec<u8>> {
        let Rules::Undecided(start) = &mut self.rules else { return None };
        let mut all = std::mem::take(start);
        if from == End::Client {
            all.extend_from_slice(bytes);
        }
        let version = match self.reader.inspector.version_of(&all) {
            // What the client has said so far is not enough, and a server that speaks first ends that.
            Ok(None) if from == End::Server => Ok(Some(Version::Http1)),
            version => version,
        };
        self.rules = match version {
            Ok(None) => {
                *start = all;
                return None;
            }
            Ok(Some(Version::Http2)) => Rules::Http2(Box::new(Http2Rules::new())),
            // What is no HTTP at all is told as a reader that is off.
            Ok(Some(Version::Http1)) | Err(_) => Rules::Http1(Box::new(Http1Rules::new())),
        };
        Some(all)
    }

    /// Nothing is read any more, for a reason that no border tells.
    fn turn_off(&mut self, reason: InspectorOff, from: End, decisions: &mut Decisions) {
        match &mut self.rules {
            Rules::Undecided(start) => {
                let mut rules = Box::new(Http1Rules::new());
                rules.came_before(End::Client, start);
                rules.off(&mut self.judge, from, reason, decisions);
                self.rules = Rules::Http1(rules);
            }
            Rules::Http1(rules) => rules.off(&mut self.judge, from, reason, decisions),
            Rules::Http2(rules) => rules.off(&mut self.judge, from, reason, decisions),
        }
    }
}

impl Filter for RuleFilter {
    fn plaintext(&mut self, from: End, bytes: &[u8], decisions: &mut Decisions) {
        if let (Rules::Undecided(_), Some(reason)) = (&self.rules, self.reader.inspector.off_reason()) {
            // Another protocol was negotiated.
            self.turn_off(reason, from, decisions);
        }
        if let Rules::Http1(rules) = &mut self.rules
            && rules.passes_content(from)
            && self.reader.inspector.content(from, bytes)
        {
            return rules.pass_content(from, bytes.len(), decisions);
        }
        let all = self.recognise(from, bytes);
        let Self { reader, judge, rules, is_logged: _ } = self;
        let inspector = &mut reader.inspector;
        // Of the bytes that were held, the reader knows all but the new ones.
        let shown = match &all {
            Some(all) if from == End::Client => &all[..],
            _ => bytes,
        };
        match rules {
            Rules::Undecided(_) => inspector.bytes(from, bytes),
            Rules::Http1(rules) => {
                if let Some(all) = &all
                    && from == End::Server
                {
                    rules.came_before(End::Client, all);
                }
                let mut receiver = rules.receiver(judge, (from, shown), decisions);
                inspector.bytes_with(from, bytes, &mut receiver);
                rules.read(judge, from, shown, decisions);
            }
            Rules::Http2(rules) => {
                let mut receiver = rules.receiver(judge, (from, shown), decisions);
                inspector.bytes_with(from, bytes, &mut receiver);
                rules.read(judge, from, shown, decisions);
            }
        }
    }

    fn ended(&mut self, from: End, decisions: &mut Decisions) {
        match &mut self.rules {
            // Not even the beginning of a request.
            Rules::Undecided(start) if from == End::Client => {
                decisions.drop(from, std::mem::take(start).len())
            }
            Rules::Undecided(_) => {}
            Rules::Http1(rules) => rules.ended(&mut self.judge, from, decisions),
            Rules::Http2(rules) => rules.ended(from, decisions),
        }
    }

    fn full(&mut self, _: End, _: &mut Decisions) {}

    fn verdict(&mut self, question: u64, verdict: Verdict, decisions: &mut Decisions) {
        match &mut self.rules {
            Rules::Http1(rules) => rules.verdict(question, verdict, &mut self.judge, decisions),
            Rules::Http2(rules) => rules.verdict(question, verdict, &mut self.judge, decisions),
            Rules::Undecided(_) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.rules {
            Rules::Http1(rules) => rules.poll_timeout(),
            Rules::Http2(rules) => rules.poll_timeout(),
            Rules::Undecided(_) => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant, decisions: &mut Decisions) {
        match &mut self.rules {
            Rules::Http1(rules) => rules.handle_timeout(now, &mut self.judge, decisions),
            Rules::Http2(rules) => rules.handle_timeout(now, &mut self.judge, decisions),
            Rules::Undecided(_) => {}
        }
    }

    fn out_of_memory(&mut self, from: End, decisions: &mut Decisions) {
        self.reader.inspector.turn_off(InspectorOff::Memory, from);
        self.turn_off(InspectorOff::Memory, from, decisions);
    }

    fn end_stream(&mut self, stream: u32, decisions: &mut Decisions) -> StreamEnd {
        let Rules::Http2(rules) = &mut self.rules else { return StreamEnd::Unable };
        match rules.end_stream(&mut self.judge, stream, decisions) {
            None => StreamEnd::Unable,
            Some(false) => StreamEnd::Over,
            Some(true) => StreamEnd::Told(self.reader.inspector.cut_off(stream).unwrap_or_default()),
        }
    }

    fn memory(&self) -> usize {
        let Self { reader, judge, rules, is_logged: _ } = self;
        let rules = match rules {
            Rules::Undecided(start) => start.capacity(),
            Rules::Http1(rules) => size_of::<Http1Rules>() + rules.memory(),
            Rules::Http2(rules) => size_of::<Http2Rules>() + rules.memory(),
        };
        reader.inspector.memory() + judge.memory() + rules
    }

    fn held(&self) -> usize {
        match &self.rules {
            Rules::Http1(rules) => rules.held(),
            Rules::Http2(rules) => rules.held_for_verdicts(),
            Rules::Undecided(_) => 0,
        }
    }

    fn awaits_end(&self) -> bool {
        self.reader.inspector.awaits_end()
    }

    fn finish(&mut self) {
        self.reader.finish();
    }

    fn poll_report(&mut self) -> Option<Report> {
        if let Some(alert) = self.judge.poll_alert() {
            return Some(Report::Alert(alert));
        }
        if let Some(file) = self.judge.poll_file() {
            return Some(Report::File(file));
        }
        loop {
            match self.reader.poll_report()? {
                Report::Http(_) if !self.is_logged => {}
                report => return Some(report),
            }
        }
    }
}
