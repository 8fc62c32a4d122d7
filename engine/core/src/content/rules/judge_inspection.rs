//! What becomes of bodies that threads look at: when that begins, when something is known, and when nothing will be.

use std::net::IpAddr;

use super::inspection::{Begin, Inspection, Said};
use super::judge::{Judge, Place, Refusal, Ruling};
use crate::content::body::{Codings, FileType};
use crate::content::filter::Decisions;
use crate::content::inspect::{Asked, BodyScan, FileFacts, Hit, Message, Scanner};
use crate::content::signatures::SignatureStream;
use crate::event::{ContentVerdict, FileEvent, HttpEvent, Text};
use crate::fields::Fields;
use crate::policy::{
    ContentAction, ContentRuleId, FieldEdit, HashLists, LateKey, OnRange, Respond, Standing,
};
use crate::reason::Reason;

/// A message whose body a rule wants looked at.
pub(super) struct Subject<'a> {
    pub(super) rule: ContentRuleId,
    pub(super) place: Place,
    pub(super) head: &'a mut HttpEvent,
    pub(super) fields: &'a Fields,
    /// If it is known already.
    pub(super) kind: Option<FileType>,
    /// Something of it has gone on.
    pub(super) has_begun: bool,
}

/// What comes of wanting to look.
pub(super) enum Begun {
    Inspects(Box<Inspection>),
    /// It need not, or cannot be.
    Not(Ruling),
}

impl Judge {
    /// A body is to be looked at.
    pub(super) fn inspect(&mut self, subject: Subject<'_>, decisions: &Decisions) -> Begun {
        let Subject { rule, place, head, fields, kind, has_begun } = subject;
        let ContentAction::Inspect(inspect) = self.policy.action(rule) else {
            return Begun::Not(Ruling::Pass);
        };
        let (hold, respond) = (inspect.hold, inspect.respond.clone());
        let late = self.late_key(rule, head, fields);
        if !has_begun && self.was_late(late, decisions) {
            head.verdict = Some(ContentVerdict::Blocked);
            let name = self.policy.name(rule).clone();
            self.alert(Some(&name), Reason::ContentBlocked, place, head);
            return Begun::Not(Ruling::Block(Refusal {
                rule: Some(name),
                reason: Reason::ContentBlocked,
                respond,
            }));
        }
        // RFC 9110, 14: what is asked for in parts comes in parts, and none of them is the file.
        if head.status == Some(206) && self.policy.inspection.on_range != OnRange::Allow {
            return Begun::Not(self.refuse(Reason::ContentRange, place, head));
        }
        let codings = match self.codings(fields, place, head) {
            Ok(codings) => codings,
            Err(refused) => return Begun::Not(refused),
        };
        let Asked { hashes, scanners, .. } = self.asked_by(rule, head);
        let scan = BodyScan::new(codings, self.policy.lists().clone(), hashes, scanners);
        self.begin(Begin { late, hold, kind, has_begun, ..self.beginning(rule, head, fields, scan) })
    }

    /// The content of a request is to be looked at, by rules of which its type decides. `head` is noted which one it is, if that is known.
    pub(super) fn inspect_request(
        &mut self,
        rules: &[ContentRuleId],
        place: Place,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> Begun {
        let Some(first) = rules.first().copied() else { return Begun::Not(Ruling::Pass) };
        let codings = match self.codings(fields, place, head) {
            Ok(codings) => codings,
            Err(refused) => return Begun::Not(refused),
        };
        let lists = self.policy.lists().clone();
        if let ContentAction::Inspect(inspect) = self.policy.action(first)
            && self.policy.types(first).is_empty()
        {
            let hold = inspect.hold;
            self.apply(Some(first), place, head);
            let Asked { hashes, scanners, .. } = self.asked_by(first, head);
            let scan = BodyScan::new(codings, lists, hashes, scanners);
            return self.begin(Begin { hold, ..self.beginning(first, head, fields, scan) });
        }
        let by_type = rules.iter().map(|rule| self.asked_by(*rule, head)).collect();
        let scan = BodyScan::by_type(codings, lists, by_type);
        self.begin(Begin { undecided: rules.into(), ..self.beginning(first, head, fields, scan) })
    }

    /// What the content is to be decoded by. What is not known and may go on as it is, is looked at as it is.
    fn codings(&mut self, fields: &Fields, place: Place, head: &mut HttpEvent) -> Result<Codings, Ruling> {
        Codings::of(fields).or_else(|why| match self.refuse(why.reason(), place, head) {
            Ruling::Pass => Ok(Codings::default()),
            refused => Err(refused),
        })
    }

    /// What a rule has content looked at for.
    fn asked_by(&self, rule: ContentRuleId, head: &HttpEvent) -> Asked {
        let (hashes, mut scanners) = (HashLists::default(), Vec::<Box<dyn Scanner>>::new());
        let mut asked = Asked { kinds: self.policy.types(rule).to_vec(), hashes, scanners: Vec::new() };
        let ContentAction::Inspect(inspect) = self.policy.action(rule) else { return asked };
        if !inspect.signatures.is_empty() {
            scanners.push(Box::new(SignatureStream::new(self.policy.signatures(), inspect.signatures)));
        }
        if !inspect.inspectors.is_empty() {
            let text = |text: &'_ Option<Text>| text.clone().unwrap_or_default();
            let (method, host, target) = (text(&head.method), text(&head.hostname), text(&head.url));
            let message = Message {
                method: &method,
                host: &host,
                target: &target,
                status: head.status,
                content_type: head.content_type.as_deref(),
            };
            let inspectors = self.policy.inspectors(&inspect.inspectors);
            scanners.extend(inspectors.map(|inspector| inspector.scanner(&message)));
        }
        (asked.hashes, asked.scanners) = (inspect.hashes, scanners);
        asked
    }

    /// Of which the caller says what is special.
    fn beginning(&self, rule: ContentRuleId, head: &HttpEvent, fields: &Fields, scan: BodyScan) -> Begin {
        let file_name = head.url.as_deref().and_then(|url| self.policy.file_name(fields, url));
        Begin {
            rule,
            undecided: Box::default(),
            head: head.clone(),
            file_name: file_name.map(Into::into),
            late: None,
            hold: None,
            kind: None,
            has_begun: false,
            scan,
            question: 0,
        }
    }

    fn begin(&mut self, begin: Begin) -> Begun {
        self.questions += 1;
        Begun::Inspects(Box::new(Inspection::new(Begin { question: self.questions, ..begin })))
    }

    fn was_late(&self, late: Option<LateKey>, decisions: &Decisions) -> bool {
        late.zip(decisions.now()).is_some_and(|(late, now)| self.policy.was_late(late, now))
    }

    /// More of a body has come.
    pub(super) fn show(
        &mut self,
        inspection: &mut Inspection,
        octets: &[u8],
        place: Place,
        decisions: &Decisions,
    ) {
        if let Some(said) = inspection.push(octets, &mut self.looks_here) {
            self.said(inspection, said, place, decisions);
        }
    }

    /// What has come of a body is looked at.
    pub(super) fn ask(&mut self, inspection: &mut Inspection, place: Place, decisions: &mut Decisions) {
        if let Some(said) = inspection.ask(&mut self.looks_here, decisions) {
            self.said(inspection, said, place, decisions);
        }
    }

    /// Something was said of a body.
    pub(super) fn said(
        &mut self,
        inspection: &mut Inspection,
        said: Said,
        place: Place,
        decisions: &Decisions,
    ) {
        if let Said::Undecodable(why) = said {
            self.fails(inspection, why.reason(), place);
            self.choose(inspection, inspection.kind.unwrap_or(FileType::Unknown), place);
            return self.report(inspection, None, place);
        }
        if let Some(kind) = inspection.kind {
            self.choose(inspection, kind, place);
            if inspection.is_settled() {
                return;
            }
        }
        match said {
            Said::SoFar => {}
            Said::Clean(facts) => {
                // Nothing else will be said of it.
                let head = std::mem::take(&mut inspection.head);
                self.report_with(inspection, head, Some(facts), place);
                inspection.give_up();
            }
            Said::Hit(hit, facts) => {
                self.found(inspection, hit, place, decisions);
                self.report(inspection, facts, place);
            }
            Said::Undecodable(_) => {}
            Said::Broken => self.breaks(inspection, place),
            Said::Failed(reasons, facts) => self.lacks(inspection, &reasons, facts, place),
        }
    }

    /// The type of a request's content is known: which of its rules applies.
    fn choose(&mut self, inspection: &mut Inspection, kind: FileType, place: Place) {
        let rules = inspection.take_undecided();
        if rules.is_empty() || inspection.refusal().is_some() {
            return;
        }
        let Some(rule) = self.policy.of_content(&rules, kind) else { return inspection.give_up() };
        let (alerts, is_late) = (self.alerts.len(), inspection.has_begun);
        let ruling = self.apply(Some(rule), place, &mut inspection.head);
        self.mark_late(alerts, is_late);
        match (ruling, self.policy.action(rule)) {
            (Ruling::Block(refusal), _) => inspection.refuse(refusal),
            (_, ContentAction::Inspect(inspect)) => inspection.goes_by(rule, inspect.hold),
            _ => inspection.give_up(),
        }
    }

    /// Some of those who look cannot say. Where policy lets that pass, the others go on, and hold what they have held.
    fn lacks(
        &mut self,
        inspection: &mut Inspection,
        reasons: &[Reason],
        facts: Option<FileFacts>,
        place: Place,
    ) {
        let alerts = self.alerts.len();
        let rulings = reasons.iter().map(|reason| self.refuse(*reason, place, &mut inspection.head));
        let refusal = rulings.filter_map(|ruling| match ruling {
            Ruling::Block(refusal) => Some(refusal),
            _ => None,
        });
        let refusal = refusal.reduce(|first, _| first);
        self.mark_late(alerts, inspection.has_begun);
        let is_over = refusal.is_some() || facts.is_some();
        if is_over {
            self.report(inspection, facts, place);
        }
        match refusal {
            Some(refusal) => inspection.refuse(refusal),
            None if is_over => inspection.give_up(),
            None => {}
        }
    }

    fn report(&mut self, inspection: &Inspection, facts: Option<FileFacts>, place: Place) {
        self.report_with(inspection, inspection.head.clone(), facts, place);
    }

    fn report_with(
        &mut self,
        inspection: &Inspection,
        http: HttpEvent,
        facts: Option<FileFacts>,
        place: Place,
    ) {
        self.files.push_back(Box::new(FileEvent {
            from: place.from,
            stream: place.stream,
            file_name: inspection.file_name.clone(),
            kind: inspection.kind,
            facts,
            coded: inspection.body(),
            http,
        }));
    }

    fn found(&mut self, inspection: &mut Inspection, hit: Hit, place: Place, decisions: &Decisions) {
        let rule = inspection.rule;
        let ContentAction::Inspect(inspect) = self.policy.action(rule) else { return };
        let (name, respond) = (self.policy.name(rule).clone(), inspect.respond.clone());
        let is_late = inspection.has_begun;
        let reason = if is_late { Reason::ContentLate } else { Reason::ContentBlocked };
        if is_late && let (Some(now), Some(late)) = (decisions.now(), inspection.late) {
            self.policy.note_late(late, now);
        }
        inspection.head.verdict = Some(ContentVerdict::Blocked);
        let alerts = self.alerts.len();
        self.alert(Some(&name), reason, place, &inspection.head);
        self.mark_late(alerts, is_late);
        if let Some(alert) = self.alerts.get_mut(alerts) {
            alert.found = Some(hit);
        }
        inspection.refuse(Refusal { rule: Some(name), reason, respond });
    }

    /// A scan of ours broke: nobody knows what it would have said.
    pub(super) fn breaks(&mut self, inspection: &mut Inspection, place: Place) {
        inspection.head.verdict = Some(ContentVerdict::Blocked);
        self.alert(None, Reason::Internal, place, &inspection.head);
        inspection.refuse(Refusal { rule: None, reason: Reason::Internal, respond: Respond::Reset });
    }

    /// It will not be known what is in a body, for this reason.
    pub(super) fn fails(&mut self, inspection: &mut Inspection, reason: Reason, place: Place) {
        let alerts = self.alerts.len();
        let ruling = self.refuse(reason, place, &mut inspection.head);
        self.mark_late(alerts, inspection.has_begun);
        match ruling {
            Ruling::Block(refusal) => inspection.refuse(refusal),
            // What is too large to be held is looked at all the same.
            _ if reason == Reason::ContentOversize => inspection.hold_tail(),
            _ => inspection.give_up(),
        }
    }

    /// What stands for the content of a response: who serves it, what was asked for, and by what its server tells one version from
    /// another. None: it is not known what was asked for. The server's address is in it, as whoever names no server in its handshake may
    /// name any in a request, and say what it likes of its files.
    fn late_key(&self, rule: ContentRuleId, head: &HttpEvent, fields: &Fields) -> Option<LateKey> {
        let (host, url) = (head.hostname.as_ref()?, head.url.as_ref()?);
        let version =
            ["etag", "last-modified", "content-length"].into_iter().find_map(|name| fields.value(name));
        let server = match self.flow.server.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let version = version.unwrap_or_default();
        let asked_for = [host.as_str().as_bytes(), url.as_str().as_bytes()];
        Some(self.policy.late_key(rule, [&server.octets(), asked_for[0], asked_for[1], version]))
    }

    /// How a request for a part of what is to be looked at goes on: what is to be changed in its head.
    pub(super) fn of_range(
        &mut self,
        standing: &Standing,
        place: Place,
        head: &mut HttpEvent,
        fields: &Fields,
    ) -> Ruling {
        let blocks = self.policy.inspection.on_range == OnRange::Block;
        if blocks && fields.value("range").is_some() && self.policy.may_inspect(standing) {
            return self.refuse(Reason::ContentRange, place, head);
        }
        Ruling::Pass
    }

    /// What is left out of the head of a request, so that the whole comes.
    pub(super) fn range_edits(&self, standing: &Standing, fields: &Fields) -> Vec<FieldEdit> {
        let strips = self.policy.inspection.on_range == OnRange::Strip;
        if !strips || fields.value("range").is_none() || !self.policy.may_inspect(standing) {
            return Vec::new();
        }
        ["range", "if-range"].map(|name| FieldEdit::Remove(name.into())).into()
    }
}
