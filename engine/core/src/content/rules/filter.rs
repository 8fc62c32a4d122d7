//! The filter of a flow that rules are asked about.

use std::sync::Arc;

use tcp_stack::Instant;

use super::http2::Http2Rules;
use super::judge::Judge;
use crate::content::filter::{Decisions, Filter, Filters, Report, Verdict};
use crate::content::{HttpInspector, HttpReaders};
use crate::end::End;
use crate::event::Unread;
use crate::policy::{ContentPolicy, DecryptedFlow};
use crate::reason::InspectorOff;

/// Asks rules where there are any, and the flow speaks HTTP/2. All else is read for the log.
pub struct RuleFilters {
    policy: Arc<ContentPolicy>,
}

impl RuleFilters {
    /// For an engine with these rules.
    pub fn new(policy: Arc<ContentPolicy>) -> Self {
        Self { policy }
    }
}

impl Filters for RuleFilters {
    fn filter(&self, flow: &Arc<DecryptedFlow>, alpn: Option<&[u8]>) -> Option<Box<dyn Filter>> {
        if alpn != Some(b"h2") || self.policy.is_empty() {
            return HttpReaders.filter(flow, alpn);
        }
        let judge = Judge::new(Arc::clone(&self.policy), Arc::clone(flow));
        Some(Box::new(RuleFilter {
            inspector: HttpInspector::keeping_fields(alpn),
            rules: Http2Rules::new(),
            judge,
            is_out_of_memory: false,
            is_off_reported: false,
            unread: None,
        }))
    }
}

struct RuleFilter {
    inspector: HttpInspector,
    rules: Http2Rules,
    judge: Judge,
    is_out_of_memory: bool,
    /// That the reader is off has been reported.
    is_off_reported: bool,
    /// Not yet fetched.
    unread: Option<Unread>,
}

impl Filter for RuleFilter {
    fn plaintext(&mut self, from: End, bytes: &[u8], decisions: &mut Decisions) {
        let mut relay = self.rules.receiver(&mut self.judge, (from, bytes), decisions);
        if self.is_out_of_memory {
            relay.off(from, InspectorOff::Memory);
        }
        self.inspector.bytes_with(from, bytes, &mut relay);
        self.rules.read(&mut self.judge, from, bytes, decisions);
    }

    fn ended(&mut self, from: End, decisions: &mut Decisions) {
        self.rules.ended(from, decisions);
    }

    fn full(&mut self, _: End, _: &mut Decisions) {}

    fn verdict(&mut self, _: u64, _: Verdict, _: &mut Decisions) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Decisions) {}

    /// What comes next is not read: whether it passes is for policy to say.
    fn out_of_memory(&mut self, from: End) {
        self.is_out_of_memory = true;
        self.inspector.turn_off(InspectorOff::Memory, from);
    }

    fn memory(&self) -> usize {
        let Self { inspector, rules, judge, is_out_of_memory: _, is_off_reported: _, unread: _ } = self;
        inspector.memory() + rules.memory() + judge.memory()
    }

    fn awaits_end(&self) -> bool {
        self.inspector.awaits_end()
    }

    fn finish(&mut self) {
        let inspector = &mut self.inspector;
        inspector.finish();
        let (to_server, to_client) = (inspector.unread(End::Client), inspector.unread(End::Server));
        self.unread = Some(Unread { off: inspector.off_reason(), to_server, to_client });
    }

    fn poll_report(&mut self) -> Option<Report> {
        if let Some(alert) = self.judge.poll_alert() {
            return Some(Report::Alert(alert));
        }
        if let Some(reason) = self.inspector.off_reason()
            && !std::mem::replace(&mut self.is_off_reported, true)
        {
            return Some(Report::Off(reason));
        }
        if let Some(http) = self.inspector.poll_transaction() {
            return Some(Report::Http(http));
        }
        if let Some(anomaly) = self.inspector.poll_anomaly() {
            return Some(Report::Anomaly(anomaly));
        }
        self.unread.take().map(Report::Unread)
    }
}
