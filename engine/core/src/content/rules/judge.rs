//! Asks the rules about each message of a flow, and says what becomes of it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::end::End;
use crate::event::{AlertEvent, ContentVerdict, HttpEvent};
use crate::fields::Fields;
use crate::policy::{
    ContentAction, ContentPolicy, ContentRuleId, DecryptedFlow, RequestFacts, Respond, ResponseFacts,
    Standing,
};
use crate::reason::{InspectorOff, Reason};

/// Alerts that wait to be fetched. They are fetched after each record, which has no room for more heads.
const MAX_ALERTS: usize = 2048;

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It goes on, as far as is known now.
    Pass,
    /// It does not.
    Block(Refusal),
}

/// Why something is blocked, and what its client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The rule that says so; none: it could not be read.
    pub(super) rule: Option<Arc<str>>,
    pub(super) reason: Reason,
    pub(super) respond: Respond,
}

/// A response in place of another: what HTTP/1 and HTTP/2 have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case. Without content-length, date and all that is about the connection.
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// Where a message stands in its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) from: End,
    /// 0 in HTTP/1.
    pub(super) stream: u32,
}

/// The rules, and the flow that they are asked about.
pub(super) struct Judge {
    policy: Arc<ContentPolicy>,
    flow: Arc<DecryptedFlow>,
    alerts: VecDeque<Box<AlertEvent>>,
}

impl Judge {
    pub(super) fn new(policy: Arc<ContentPolicy>, flow: Arc<DecryptedFlow>) -> Self {
        Self { policy, flow, alerts: VecDeque::new() }
    }

    /// A request's head is complete. What is decided is noted in `head`.
    pub(super) fn request(
        &mut self,
        place: Place,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> (Ruling, Standing) {
        if !head.ambiguous.is_empty() {
            return (self.refuse(Reason::ContentUnparsed, place, head), Standing::default());
        }
        let request = RequestFacts {
            host: head.hostname.as_deref(),
            method: head.method.as_deref().unwrap_or_default(),
            target: head.url.as_deref().unwrap_or_default(),
            fields,
        };
        let standing = self.policy.at_request(&self.flow, &request);
        if standing.awaits_response() {
            return (Ruling::Pass, standing);
        }
        (self.apply(standing.otherwise, place, head), standing)
    }

    /// A response's head is complete. `head` has what is known of the request and of the response.
    pub(super) fn response(
        &mut self,
        standing: &Standing,
        place: Place,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> Ruling {
        if !standing.awaits_response() {
            return Ruling::Pass;
        }
        let response = ResponseFacts { status: head.status.unwrap_or_default(), fields };
        let decided = self.policy.at_response(standing, &response);
        self.apply(decided, place, head)
    }

    /// The fields of a message that passes, if rules change them. `host` is the request's.
    pub(super) fn edited(&self, host: Option<&str>, from: End, fields: &Fields) -> Option<Fields> {
        if self.policy.has_edits() { self.policy.edited(host, from, fields) } else { None }
    }

    /// Something cannot be read, or may be read in two ways.
    pub(super) fn refuse(&mut self, reason: Reason, place: Place, head: &mut HttpEvent) -> Ruling {
        head.verdict = Some(ContentVerdict::Blocked);
        self.alert(None, reason, place, head);
        Ruling::Block(Refusal { rule: None, reason, respond: Respond::Page })
    }

    /// The reader has turned itself off.
    pub(super) fn unread(&mut self, off: InspectorOff, place: Place) -> Ruling {
        let reason = match off {
            InspectorOff::NotHttp | InspectorOff::OtherAlpn | InspectorOff::Opaque => Reason::ContentOpaque,
            _ => Reason::ContentUnparsed,
        };
        self.refuse(reason, place, &mut HttpEvent::default())
    }

    fn apply(&mut self, rule: Option<ContentRuleId>, place: Place, head: &mut HttpEvent) -> Ruling {
        let Some(id) = rule else { return Ruling::Pass };
        let name = Arc::clone(self.policy.name(id));
        head.rule = Some(Arc::clone(&name));
        let respond = match self.policy.action(id) {
            ContentAction::Allow => {
                head.verdict = Some(ContentVerdict::Allowed);
                return Ruling::Pass;
            }
            ContentAction::Alert => None,
            ContentAction::Block(respond) => Some(respond.clone()),
        };
        head.verdict =
            Some(if respond.is_some() { ContentVerdict::Blocked } else { ContentVerdict::Alerted });
        let reason = if respond.is_some() { Reason::ContentBlocked } else { Reason::ContentAlerted };
        self.alert(Some(&name), reason, place, head);
        match respond {
            None => Ruling::Pass,
            Some(respond) => Ruling::Block(Refusal { rule: Some(name), reason, respond }),
        }
    }

    fn alert(&mut self, rule: Option<&Arc<str>>, reason: Reason, place: Place, head: &HttpEvent) {
        if self.alerts.len() < MAX_ALERTS {
            let Place { from, stream } = place;
            self.alerts.push_back(Box::new(AlertEvent {
                rule: rule.cloned(),
                reason,
                blocked: head.verdict == Some(ContentVerdict::Blocked),
                from,
                stream,
                late: false,
                http: head.clone(),
            }));
        }
    }

    /// What the client gets; none: a reset.
    pub(super) fn answer(&self, refusal: &Refusal, _head: &HttpEvent) -> Option<Answer> {
        let empty = |status, fields| Some(Answer { status, fields, body: Bytes::new() });
        let no_store = ("cache-control", "no-store".to_owned());
        match &refusal.respond {
            Respond::Reset => None,
            Respond::Status(status) => empty(*status, vec![no_store]),
            Respond::Redirect(url) => empty(302, vec![no_store, ("location", url.to_string())]),
            Respond::Page => {
                let text = format!("Blocked: {}\n", refusal.rule.as_deref().unwrap_or(refusal.reason.code()));
                let fields = vec![no_store, ("content-type", "text/plain; charset=utf-8".to_owned())];
                Some(Answer { status: 403, fields, body: text.into() })
            }
        }
    }

    /// The next alert, to be fetched until there is none.
    pub(super) fn poll_alert(&mut self) -> Option<Box<AlertEvent>> {
        let alert = self.alerts.pop_front();
        if self.alerts.is_empty() {
            self.alerts = VecDeque::new();
        }
        alert
    }

    /// Bytes of memory that it holds beside its own size. The policy is everybody's, and what is known of the flow is the flow's.
    pub(super) fn memory(&self) -> usize {
        let Self { policy: _, flow: _, alerts } = self;
        alerts.capacity() * size_of::<Box<AlertEvent>>() + alerts.len() * size_of::<AlertEvent>()
    }
}
