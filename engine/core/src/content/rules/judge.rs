//! Asks the rules about each message of a flow, and says what becomes of it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::content_watch::{Applies, ContentWatch};
use super::type_watch::{Found, TypeWatch};
use crate::content::body::{Codings, FileType, Undecodable};
use crate::content::inspect::Hit;
use crate::content::page::{Page, PageFacts};
use crate::content::text::{MAX_METHOD, MAX_URL};
use crate::end::End;
use crate::event::{AlertEvent, ContentVerdict, FileEvent, HttpEvent};
use crate::fields::{Fields, text};
use crate::policy::{
    ContentAction, ContentPolicy, ContentRuleId, Decided, DecryptedFlow, Direction, FieldEdit, Inside, Known,
    LastFound, OnUnread, Policy, RequestFacts, Respond, ResponseFacts, SignatureRules, Standing,
};
use crate::reason::{Ambiguity, InspectorOff, Reason};

/// Alerts that wait to be fetched. They are fetched after each record, which has no room for more heads.
const MAX_ALERTS: usize = 2048;

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It goes on, as far as is known now.
    Pass,
    /// What is in it decides, by this rule; of a request, by one of those that its [`Standing`] has.
    Inspect(ContentRuleId),
    /// It does not.
    Block(Refusal),
}

/// What becomes of a response.
pub(super) enum Judged {
    /// That, and the rules that apply when more of its content comes.
    Now(Ruling, ContentWatch),
    /// Its type decides. It may have gone on already, with these rules, and by one that wants it looked at: [`TypeWatch::inspected_by`].
    ByType(Box<TypeWatch>, ContentWatch),
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
    pub(super) policy: Arc<ContentPolicy>,
    connections: Option<Arc<Policy>>,
    page: Arc<Page>,
    pub(super) flow: Arc<DecryptedFlow>,
    flow_bytes: usize,
    last_found: LastFound,
    pub(super) alerts: VecDeque<Box<AlertEvent>>,
    pub(super) files: VecDeque<Box<FileEvent>>,
    /// Of what is asked of threads.
    pub(super) questions: u64,
    /// Bodies are looked at by the worker where that is quick. Not any more when one was not: who has sent it may send others.
    pub(super) looks_here: bool,
    /// There are no rules, and it says nothing by itself.
    passes_all: bool,
}

impl Judge {
    /// `connections`: the rules on connections, if there are any.
    pub(super) fn new(
        policy: Arc<ContentPolicy>,
        connections: Option<Arc<Policy>>,
        page: Arc<Page>,
        flow: Arc<DecryptedFlow>,
    ) -> Self {
        let (flow_bytes, last_found) = (flow.memory(), LastFound::default());
        Self {
            policy,
            connections,
            page,
            flow,
            flow_bytes,
            last_found,
            alerts: VecDeque::new(),
            files: VecDeque::new(),
            questions: 0,
            looks_here: true,
            passes_all: false,
        }
    }

    /// Has it pass all, whatever it is: no rule is about the flow.
    #[must_use]
    pub(super) fn passing_all(self) -> Self {
        Self { passes_all: true, ..self }
    }

    /// A request's head is complete. What is decided is noted in `head`.
    pub(super) fn request(
        &mut self,
        place: Place,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> (Ruling, ContentWatch, Standing) {
        if self.passes_all {
            return (Ruling::Pass, ContentWatch::default(), Standing::default());
        }
        if self.is_fronting(head) {
            head.ambiguous.insert(Ambiguity::Fronting);
        }
        if !head.ambiguous.is_empty()
            && let Ruling::Block(refusal) = self.refuse(Reason::ContentUnparsed, place, head)
        {
            return (Ruling::Block(refusal), ContentWatch::default(), Standing::default());
        }
        let method = unclipped(head.method.as_deref(), MAX_METHOD, fields, ":method");
        let target = unclipped(head.url.as_deref(), MAX_URL, fields, ":path");
        let request = RequestFacts {
            host: host_of(&self.flow, head),
            method: &method,
            target: &target,
            fields,
            // In HTTP/1 a request without both has no content (RFC 9112, 6.3).
            size: declared(fields).unwrap_or(if place.stream == 0 { Known::Bytes(0) } else { Known::Not }),
        };
        let mut standing = self.policy.at_request(&self.flow, &request, &mut self.last_found);
        if let Ruling::Block(refusal) = self.of_range(&standing, place, head, fields) {
            return (Ruling::Block(refusal), ContentWatch::default(), standing);
        }
        let decided = Decided {
            rule: standing.otherwise.filter(|_| !standing.awaits_response()),
            size_limits: std::mem::take(&mut standing.size_limits),
            signatures: std::mem::take(&mut standing.signatures),
            awaits_type: false,
        };
        let (ruling, watch) = self.decide(decided, || Codings::of(fields), place, head);
        let ruling = match (ruling, standing.at_content.first()) {
            (Ruling::Pass, Some(first)) => Ruling::Inspect(*first),
            (ruling, _) => ruling,
        };
        (ruling, watch, standing)
    }

    /// What rules have said at a head, and what they look at in the content behind it.
    fn decide(
        &mut self,
        decided: Decided,
        codings: impl FnOnce() -> Result<Codings, Undecodable>,
        place: Place,
        head: &mut HttpEvent,
    ) -> (Ruling, ContentWatch) {
        let Decided { rule, size_limits, mut signatures, awaits_type: _ } = decided;
        let mut ruling = self.apply(rule, place, head);
        let is_coded = || codings().map_or(true, |codings| !codings.is_empty());
        if !matches!(ruling, Ruling::Block(_)) && !signatures.is_empty() && is_coded() {
            // Nothing can be found in it.
            if let Ruling::Block(refusal) = self.refuse(Reason::ContentEncoding, place, head) {
                ruling = Ruling::Block(refusal);
            }
            signatures = SignatureRules::default();
        }
        (ruling, ContentWatch::new(size_limits, signatures, self.policy.signatures(), head))
    }

    /// A response's head is complete. `head` has what is known of the request and of the response.
    pub(super) fn response(
        &mut self,
        standing: &Standing,
        place: Place,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> Judged {
        if !head.ambiguous.is_empty()
            && let Ruling::Block(refusal) = self.refuse(Reason::ContentUnparsed, place, head)
        {
            return Judged::Now(Ruling::Block(refusal), ContentWatch::default());
        }
        if !standing.awaits_response() {
            return Judged::Now(Ruling::Pass, ContentWatch::default());
        }
        let status = head.status.unwrap_or_default();
        let has_none = matches!(status, 100..=199 | 204 | 304) || head.method.as_deref() == Some("HEAD");
        let size = if has_none { Known::Bytes(0) } else { declared(fields).unwrap_or(Known::Not) };
        let inside = if size == Known::Bytes(0) { Inside::Nothing } else { Inside::NotYet };
        let facts = ResponseFacts { status, fields, size, inside };
        let decided = self.policy.at_response(standing, &facts, &mut self.last_found);
        if !decided.awaits_type {
            let (ruling, watch) = self.decide(decided, || Codings::of(fields), place, head);
            let ruling = match ruling {
                // There is nothing to look at.
                Ruling::Inspect(_) if inside == Inside::Nothing => Ruling::Pass,
                ruling => ruling,
            };
            return Judged::Now(ruling, watch);
        }
        let mut watch = Box::new(TypeWatch::new(standing, head, &facts));
        if watch.is_held {
            return Judged::ByType(watch, ContentWatch::default());
        }
        // It goes on at once. What its type is will show.
        match self.let_go(&mut watch, place) {
            (Ruling::Block(refusal), content) => Judged::Now(Ruling::Block(refusal), content),
            (_, content) => Judged::ByType(watch, content),
        }
    }

    /// A response goes on, or does not, before its type is known.
    pub(super) fn let_go(&mut self, watch: &mut TypeWatch, place: Place) -> (Ruling, ContentWatch) {
        let decided = self.policy.at_response(
            &watch.standing,
            &watch.facts(Inside::Is(FileType::Unknown)),
            &mut self.last_found,
        );
        (watch.given, watch.is_held) = (Some(decided.clone()), false);
        let (ruling, content) = self.decide_on_begun(decided, watch, place);
        watch.inspected_by = if let Ruling::Inspect(rule) = ruling { Some(rule) } else { None };
        (ruling, content)
    }

    /// As [`Self::decide`], where the first bytes are there already.
    fn decide_on_begun(
        &mut self,
        decided: Decided,
        watch: &mut TypeWatch,
        place: Place,
    ) -> (Ruling, ContentWatch) {
        let codings = watch.codings();
        let (ruling, mut content) = self.decide(decided, || codings, place, &mut watch.head);
        if matches!(ruling, Ruling::Block(_)) {
            return (ruling, content);
        }
        content.push(watch.first());
        match self.late_finds(&mut content, place) {
            Ruling::Block(refusal) => (Ruling::Block(refusal), content),
            _ => (ruling, content),
        }
    }

    /// The type of a response is known, or that it cannot be. None for the rules by size: those that it went on by stay.
    pub(super) fn by_type(
        &mut self,
        watch: &mut TypeWatch,
        found: Found,
        place: Place,
    ) -> (Ruling, Option<ContentWatch>) {
        let alerts = self.alerts.len();
        let given = watch.given.take();
        let kind = match found {
            Ok(kind) => kind,
            Err(why) => {
                let ruling = self.refuse(why.reason(), place, &mut watch.head);
                if ruling != Ruling::Pass {
                    self.mark_late(alerts, given.is_some());
                    return (ruling, None);
                }
                FileType::Unknown
            }
        };
        let mut decided =
            self.policy.at_response(&watch.standing, &watch.facts(Inside::Is(kind)), &mut self.last_found);
        if given.as_ref() == Some(&decided) {
            return (Ruling::Pass, None);
        }
        if given.as_ref().is_some_and(|given| given.rule == decided.rule) {
            // It has applied.
            decided.rule = None;
        }
        let is_late = given.is_some();
        let (ruling, content) = self.decide_on_begun(decided, watch, place);
        self.mark_late(alerts, is_late);
        (ruling, Some(content))
    }

    /// The alerts from there on came after something had gone on.
    pub(super) fn mark_late(&mut self, from: usize, is_late: bool) {
        self.alerts.iter_mut().skip(from).for_each(|alert| alert.late = is_late);
    }

    /// So many bytes of a message's content have come.
    pub(super) fn late(&mut self, watch: &mut ContentWatch, bytes: u64, place: Place) -> Ruling {
        while let Some(applies) = watch.passed(bytes) {
            let alerts = self.alerts.len();
            let ruling = self.apply_late(applies, place);
            self.mark_late(alerts, true);
            // It is too late to look at what has gone on.
            if matches!(ruling, Ruling::Block(_)) {
                return ruling;
            }
        }
        Ruling::Pass
    }

    /// More of a message's content has come, of which the beginning has gone on.
    pub(super) fn search(&mut self, watch: &mut ContentWatch, octets: &[u8], place: Place) -> Ruling {
        watch.push(octets);
        self.search_again(watch, place)
    }

    /// Likewise no more of it comes.
    pub(super) fn search_end(&mut self, watch: &mut ContentWatch, place: Place) -> Ruling {
        watch.end();
        self.search_again(watch, place)
    }

    fn search_again(&mut self, watch: &mut ContentWatch, place: Place) -> Ruling {
        let alerts = self.alerts.len();
        let ruling = self.late_finds(watch, place);
        self.mark_late(alerts, true);
        ruling
    }

    fn late_finds(&mut self, watch: &mut ContentWatch, place: Place) -> Ruling {
        while let Some(applies) = watch.found() {
            let ruling = self.apply_late(applies, place);
            if ruling != Ruling::Pass {
                return ruling;
            }
        }
        Ruling::Pass
    }

    fn apply_late(&mut self, applies: Applies, place: Place) -> Ruling {
        let Applies { rule, mut head, hit } = applies;
        self.apply_with(Some(rule), hit, place, &mut head)
    }

    /// Something cannot be read, or may be read in two ways.
    pub(super) fn refuse(&mut self, reason: Reason, place: Place, head: &mut HttpEvent) -> Ruling {
        if self.passes_all {
            return Ruling::Pass;
        }
        let action = match reason {
            Reason::ContentOpaque => self.policy.on_opaque,
            Reason::ContentEncoding | Reason::ContentBomb => self.policy.on_undecodable,
            Reason::ContentTimeout | Reason::YaraTimeout => self.policy.inspection.on_timeout,
            Reason::ContentOverload | Reason::ContentClientBytes => self.policy.inspection.on_overload,
            Reason::IcapDown | Reason::IcapProtocol => self.policy.inspection.on_icap,
            Reason::ContentOversize | Reason::IcapOversize | Reason::YaraOversize => {
                self.policy.inspection.on_oversize
            }
            // What was cut short by a scanner has something in it.
            Reason::IcapShort => OnUnread::Block,
            Reason::ContentRange => OnUnread::Block,
            _ => self.policy.on_unparsed,
        };
        self.policy.count_unread(reason, action);
        let is_blocked = action == OnUnread::Block;
        head.verdict = Some(if is_blocked { ContentVerdict::Blocked } else { ContentVerdict::Alerted });
        self.alert(None, reason, place, head);
        if !is_blocked {
            return Ruling::Pass;
        }
        let is_fronting = head.ambiguous.iter().any(|ambiguity| ambiguity == Ambiguity::Fronting);
        // RFC 9110, 15.5.20: a client that meant no harm tries again on a connection of its own.
        let respond = if is_fronting { Respond::Status(421) } else { Respond::Page };
        Ruling::Block(Refusal { rule: None, reason, respond })
    }

    /// The reader has turned itself off.
    pub(super) fn unread(&mut self, off: InspectorOff, place: Place) -> Ruling {
        let reason = match off {
            InspectorOff::NotHttp | InspectorOff::OtherAlpn | InspectorOff::Opaque => Reason::ContentOpaque,
            _ => Reason::ContentUnparsed,
        };
        self.refuse(reason, place, &mut HttpEvent::default())
    }

    /// A host is named that the handshake has not named, and for which the server has shown no certificate, or which rules on connections
    /// treat in another way. Whoever names none in the handshake has not hidden one; what the certificate names, too, may share a
    /// connection (RFC 9113, 9.1.1).
    fn is_fronting(&self, head: &HttpEvent) -> bool {
        let Some(host) = head.hostname.as_deref().map(without_dot) else { return false };
        let sni = self.flow.sni.as_deref().map(without_dot);
        if sni.is_some_and(|sni| host.eq_ignore_ascii_case(sni)) {
            return false;
        }
        let is_covered = || self.flow.certificate_names.iter().any(|name| covers(name, host));
        let is_alike = || self.connections.as_ref().is_none_or(|rules| rules.treats_alike(&self.flow, host));
        !((sni.is_none() || is_covered()) && is_alike())
    }

    pub(super) fn apply(
        &mut self,
        rule: Option<ContentRuleId>,
        place: Place,
        head: &mut HttpEvent,
    ) -> Ruling {
        self.apply_with(rule, None, place, head)
    }

    fn apply_with(
        &mut self,
        rule: Option<ContentRuleId>,
        hit: Option<Hit>,
        place: Place,
        head: &mut HttpEvent,
    ) -> Ruling {
        let Some(id) = rule else { return Ruling::Pass };
        self.policy.count(id);
        let name = Arc::clone(self.policy.name(id));
        head.rule = Some(Arc::clone(&name));
        let respond = match self.policy.action(id) {
            ContentAction::Allow => {
                head.verdict = Some(ContentVerdict::Allowed);
                return Ruling::Pass;
            }
            ContentAction::Alert => None,
            ContentAction::Block(respond) => Some(respond.clone()),
            ContentAction::Inspect(_) => return Ruling::Inspect(id),
        };
        head.verdict =
            Some(if respond.is_some() { ContentVerdict::Blocked } else { ContentVerdict::Alerted });
        let reason = if respond.is_some() { Reason::ContentBlocked } else { Reason::ContentAlerted };
        self.alert_of(Some(&name), reason, hit, place, head);
        match respond {
            None => Ruling::Pass,
            Some(respond) => Ruling::Block(Refusal { rule: Some(name), reason, respond }),
        }
    }

    pub(super) fn alert(&mut self, rule: Option<&Arc<str>>, reason: Reason, place: Place, head: &HttpEvent) {
        self.alert_of(rule, reason, None, place, head);
    }

    fn alert_of(
        &mut self,
        rule: Option<&Arc<str>>,
        reason: Reason,
        found: Option<Hit>,
        place: Place,
        head: &HttpEvent,
    ) {
        if self.alerts.len() < MAX_ALERTS {
            let Place { from, stream } = place;
            self.alerts.push_back(Box::new(AlertEvent {
                rule: rule.cloned(),
                reason,
                blocked: head.verdict == Some(ContentVerdict::Blocked),
                from,
                stream,
                late: false,
                found,
                http: head.clone(),
            }));
        }
    }

    /// What the client gets; none: a reset.
    pub(super) fn answer(&self, refusal: &Refusal, head: &HttpEvent) -> Option<Answer> {
        let empty = |status, fields| Some(Answer { status, fields, body: Bytes::new() });
        let no_store = ("cache-control", "no-store".to_owned());
        match &refusal.respond {
            Respond::Reset => None,
            Respond::Status(status) => empty(*status, vec![no_store]),
            Respond::Redirect(url) => empty(302, vec![no_store, ("location", url.to_string())]),
            Respond::Page => {
                let fields = Page::HEADERS.iter().map(|&(name, value)| (name, value.to_owned())).collect();
                // RFC 9110, 15.5.1 and 15.6.3: whose fault it is.
                let status = match refusal.reason {
                    Reason::ContentUnparsed if head.status.is_some() => 502,
                    Reason::ContentUnparsed => 400,
                    _ => 403,
                };
                Some(Answer { status, fields, body: self.page(refusal, head) })
            }
        }
    }

    fn page(&self, refusal: &Refusal, head: &HttpEvent) -> Bytes {
        let host = self.host(head).unwrap_or_default();
        let path = head.url.as_deref().filter(|url| url.starts_with('/')).unwrap_or("/");
        let url = match self.flow.server.port() {
            443 => format!("https://{host}{path}"),
            port => format!("https://{host}:{port}{path}"),
        };
        self.page.render(&PageFacts {
            url: &url,
            host,
            method: head.method.as_deref().unwrap_or_default(),
            rule: refusal.rule.as_deref().unwrap_or_default(),
            reason: if refusal.rule.is_some() { "" } else { refusal.reason.help() },
            category: "",
            client: self.flow.client.ip(),
            event: &AlertEvent::id_of(self.flow.flow_id, head.tx_id),
        })
    }

    /// Heads of this end may be changed: by rules for that, and those of requests for a part of what is looked at.
    pub(super) fn edits_heads(&self, from: End) -> bool {
        self.policy.has_edits() || from == End::Client && self.policy.has_inspections()
    }

    /// How a request's head is to be changed.
    pub(super) fn request_edits(
        &self,
        head: &HttpEvent,
        standing: &Standing,
        fields: &Fields,
    ) -> Vec<FieldEdit> {
        let mut edits = self.policy.edits(&self.flow, self.host(head), Direction::Request);
        edits.extend(self.range_edits(standing, fields));
        edits
    }

    /// How a response's head is to be changed. `head` has what is known of the request, too.
    pub(super) fn response_edits(&self, head: &HttpEvent) -> Vec<FieldEdit> {
        self.policy.edits(&self.flow, self.host(head), Direction::Response)
    }

    fn host<'a>(&'a self, head: &'a HttpEvent) -> Option<&'a str> {
        host_of(&self.flow, head)
    }

    /// The next alert, to be fetched until there is none.
    pub(super) fn poll_alert(&mut self) -> Option<Box<AlertEvent>> {
        let alert = self.alerts.pop_front()?;
        if self.alerts.is_empty() {
            self.alerts = VecDeque::new();
        }
        Some(alert)
    }

    /// The next body that was looked at, likewise.
    pub(super) fn poll_file(&mut self) -> Option<Box<FileEvent>> {
        let file = self.files.pop_front()?;
        if self.files.is_empty() {
            self.files = VecDeque::new();
        }
        Some(file)
    }

    /// Bytes of memory that it holds beside its own size; policy and page are everybody's.
    pub(super) fn memory(&self) -> usize {
        let Self {
            policy: _,
            connections: _,
            page: _,
            flow: _,
            flow_bytes,
            last_found,
            alerts,
            passes_all: _,
            files,
            questions: _,
            looks_here: _,
        } = self;
        flow_bytes
            + last_found.memory()
            + alerts.capacity() * size_of::<Box<AlertEvent>>()
            + alerts.len() * size_of::<AlertEvent>()
            + files.capacity() * size_of::<Box<FileEvent>>()
            + files.len() * size_of::<FileEvent>()
    }
}

/// A request without a host is one for the server that was asked for in the handshake.
fn host_of<'a>(flow: &'a DecryptedFlow, head: &'a HttpEvent) -> Option<&'a str> {
    head.hostname.as_deref().or(flow.sni.as_deref())
}

/// A text of which the event has the beginning.
fn unclipped<'a>(clipped: Option<&'a str>, max: usize, fields: &'a Fields, name: &'a str) -> Cow<'a, str> {
    match clipped {
        // A character may have been left out for its last byte.
        Some(text) if text.len() + 4 <= max => Cow::Borrowed(text),
        _ => fields.value(name).map_or(Cow::Borrowed(clipped.unwrap_or_default()), text),
    }
}

/// What a head says of the length of its content; none: nothing.
fn declared(fields: &Fields) -> Option<Known> {
    if fields.value("transfer-encoding").is_some() {
        return Some(Known::Not);
    }
    let length = fields.value("content-length")?;
    let value = length.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    });
    Some(value.filter(|_| !length.is_empty()).map_or(Known::Not, Known::Bytes))
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// RFC 9525, 6.3: a wildcard stands for one label.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}
