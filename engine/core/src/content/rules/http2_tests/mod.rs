//! The relay between two ends: frames made by hand, and two `h2` peers.

mod peers;
mod stories;

use std::collections::VecDeque;
use std::sync::Arc;

use tcp_stack::Instant;

use super::http2::Http2Rules;
use super::judge::Judge;
use crate::content::filter::{Act, Decisions, Ending, Op};
use crate::content::page::Page;
use crate::content::{FileType, HttpInspector};
use crate::end::{End, PerEnd};
use crate::event::{AlertEvent, HttpEvent};
use crate::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Lists, Profile, Respond,
};

/// The relay, and what a stage does around it.
pub(super) struct Wire {
    inspector: HttpInspector,
    pub(super) rules: Http2Rules,
    judge: Judge,
    decisions: Decisions,
    /// What has come from an end and is not decided.
    held: PerEnd<VecDeque<u8>>,
    /// What goes to the other end.
    sent: PerEnd<Vec<u8>>,
    pub(super) alerts: Vec<AlertEvent>,
    pub(super) events: Vec<HttpEvent>,
}

impl Wire {
    /// Its page is as long as the rule's name and so many bytes.
    pub(super) fn new(rules: &[ContentRule], more: usize) -> Self {
        Self::with_policy(ContentPolicy::compile(rules, Arc::new(Lists::default())), more)
    }

    pub(super) fn with_policy(policy: ContentPolicy, more: usize) -> Self {
        let page = format!("Blocked: {{{{ rule }}}}!{}", "x".repeat(more));
        let flow = DecryptedFlow {
            profile: Arc::new(Profile::default()),
            sni: Some("a".into()),
            certificate_names: Vec::new(),
            client: "192.0.2.1:1000".parse().unwrap(),
            server: "192.0.2.2:443".parse().unwrap(),
            flow_id: 1,
            connection: ConnectionFacts::default(),
        };
        Self {
            inspector: HttpInspector::keeping_fields(Some(b"h2")),
            rules: Http2Rules::new(),
            judge: Judge::new(Arc::new(policy), None, Arc::new(Page::new(&page).unwrap()), Arc::new(flow)),
            decisions: Decisions::default(),
            held: PerEnd::default(),
            sent: PerEnd::default(),
            alerts: Vec::new(),
            events: Vec::new(),
        }
    }

    /// An end has sent this.
    pub(super) fn send(&mut self, from: End, bytes: &[u8]) {
        if bytes.is_empty() || self.ending().is_some() {
            return;
        }
        self.held[from].extend(bytes);
        let mut relay = self.rules.receiver(&mut self.judge, (from, bytes), &mut self.decisions);
        self.inspector.bytes_with(from, bytes, &mut relay);
        self.rules.read(&mut self.judge, from, bytes, &mut self.decisions);
        self.settle();
        self.events.extend(std::iter::from_fn(|| self.inspector.poll_transaction()).map(|event| *event));
        self.alerts.extend(std::iter::from_fn(|| self.judge.poll_alert()).map(|alert| *alert));
        assert!(self.rules.memory() + self.inspector.memory() < 1 << 20, "memory");
    }

    /// Some seconds pass.
    pub(super) fn wait(&mut self) {
        for second in 1..=4 {
            let now = Instant::from_secs(second);
            if self.rules.poll_timeout().is_some_and(|at| at <= now) {
                self.rules.handle_timeout(now, &mut self.judge, &mut self.decisions);
            }
        }
        self.settle();
        self.alerts.extend(std::iter::from_fn(|| self.judge.poll_alert()).map(|alert| *alert));
    }

    /// An end sends nothing more.
    pub(super) fn close(&mut self, from: End) {
        self.rules.ended(from, &mut self.decisions);
        self.settle();
        assert!(self.held[from].is_empty() || self.ending().is_some(), "undecided at the end");
    }

    fn settle(&mut self) {
        for from in End::BOTH {
            let (held, sent) = (&mut self.held[from], &mut self.sent[from]);
            for op in std::mem::take(&mut self.decisions.ops[from]) {
                match op {
                    Op::Do(Act::Pass, bytes) => sent.extend(held.drain(..bytes)),
                    Op::Do(Act::Drop, bytes) => drop(held.drain(..bytes)),
                    Op::Insert(bytes) => sent.extend(bytes),
                    op => panic!("{op:?}"),
                }
            }
            self.decisions.covered[from] = 0;
        }
    }

    /// What this end gets.
    pub(super) fn receive(&mut self, to: End) -> Vec<u8> {
        std::mem::take(&mut self.sent[to.other()])
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.decisions.ending
    }
}

/// Requests with these methods are blocked, each in its way; and responses of a type.
pub(super) fn rules() -> Vec<ContentRule> {
    let block = |method: &str, respond| {
        let mut rule = ContentRule::new(method, ContentAction::Block(respond));
        rule.method = vec![method.into()];
        rule
    };
    let mut bad_type = ContentRule::new("type", ContentAction::Block(Respond::Page));
    bad_type.content_type = vec!["bad/type".parse().unwrap()];
    let mut programs = ContentRule::new("programs", ContentAction::Block(Respond::Page));
    (programs.path, programs.file_type) = (vec!["/file".parse().unwrap()], FileType::named("executable"));
    vec![
        programs,
        block("DELETE", Respond::Page),
        block("PATCH", Respond::Reset),
        block("OPTIONS", Respond::Status(451)),
        block("TRACE", Respond::Redirect("https://b.example/why".into())),
        bad_type,
    ]
}
