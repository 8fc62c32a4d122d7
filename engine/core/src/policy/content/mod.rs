//! Policy on what was decrypted: rules on the requests and responses of a flow.
//!
//! Compiled once from the configuration, immutable, shared by all workers. The first rule that matches wins; where none does, the
//! request is allowed. A rule that asks for what only the response can say is "not yet" for the request, and so are all rules after it.

mod edit;
mod file_name;
mod index;
mod late;
mod limits;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use tcp_stack::{Duration, Instant};

use super::names::HostName;
use super::path::Target;
use super::{Lists, Profile, Tallies};
use crate::content::{FileType, Inspector, Signatures};
use crate::fields::Fields;
use crate::reason::Reason;
use edit::CompiledHeaderRule;
pub use edit::{Direction, FieldEdit, HeaderRule, is_editable};
pub use index::LastFound;
use index::{RuleIndex, in_order};
pub use late::LateKey;
use late::LateVerdicts;
pub use limits::{SignatureRules, SizeLimits};
pub use pattern::{Glob, PatternError, TextPattern};
use rule::{AtRequest, CompiledContentRule, Holds, Later};
pub use rule::{ContentAction, ContentRule, Hold, Inspect, Respond};

/// What is known of a decrypted flow before its first plaintext.
#[derive(Clone, Debug)]
pub struct DecryptedFlow {
    /// How strictly it is handled.
    pub profile: Arc<Profile>,
    /// Server name, as the client wrote it in its hello.
    pub sni: Option<Box<str>>,
    /// Names that the server's certificate is for.
    pub certificate_names: Vec<String>,
    /// The end that sent the SYN.
    pub client: SocketAddr,
    /// The end that it was sent to.
    pub server: SocketAddr,
    /// As in all events of the flow.
    pub flow_id: u64,
    /// What else rules on connections ask.
    pub connection: ConnectionFacts,
}

/// What rules on connections ask beside addresses and name.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFacts {
    /// Name of the wire.
    pub wire: Arc<str>,
    /// Outermost VLAN id; none: untagged.
    pub vlan: Option<u16>,
    /// Application protocols that the client offered.
    pub alpn: Vec<Box<[u8]>>,
    /// JA4 fingerprint of its hello.
    pub ja4: Box<str>,
    /// The rule that has decided on it; none: the default.
    pub rule: Option<Arc<str>>,
}

impl DecryptedFlow {
    /// Bytes of memory that it holds, with its own size; the profile is everybody's.
    pub fn memory(&self) -> usize {
        let Self { profile: _, sni, certificate_names: names, client: _, server: _, flow_id: _, connection } =
            self;
        let ConnectionFacts { wire: _, vlan: _, alpn, ja4, rule: _ } = connection;
        let names: usize = names.iter().map(|name| name.capacity() + size_of::<String>()).sum();
        let protocols: usize = alpn.iter().map(|name| name.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Self>() + sni.as_ref().map_or(0, |sni| sni.len()) + names + protocols + ja4.len()
    }
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Whose it is, without the port; none: it does not say.
    pub host: Option<&'a str>,
    /// Its method.
    pub method: &'a str,
    /// Path and query, as they were sent.
    pub target: &'a str,
    /// All fields.
    pub fields: &'a Fields,
    /// Of its content.
    pub size: Known,
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFacts<'a> {
    /// Its status.
    pub status: u16,
    /// All fields.
    pub fields: &'a Fields,
    /// Of its content.
    pub size: Known,
    /// Of its content, too.
    pub inside: Inside,
}

/// What is in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// That shows when its first bytes have come.
    NotYet,
    /// It has no content.
    Nothing,
    /// This.
    Is(FileType),
}

/// The place of a rule among the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentRuleId(u32);

impl ContentRuleId {
    fn place(self) -> usize {
        self.0 as usize
    }
}

/// Where the rules stand after a request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Rules that the response decides on, after the request was asked, in their order.
    not_yet: Box<[ContentRuleId]>,
    /// Rules that only a response decides on: those before this place are open.
    deferred_before: usize,
    /// There are some.
    has_deferred: bool,
    /// The rule that wins if none of those does; none: no rule does.
    pub otherwise: Option<ContentRuleId>,
    /// Rules that apply when more of the request's content comes.
    pub size_limits: SizeLimits,
    /// Rules that apply when something is found in it.
    pub signatures: SignatureRules,
    /// Rules that look at the request's content, in their order: of those that name its type, or none, the first applies.
    pub at_content: Box<[ContentRuleId]>,
    /// The request's path, for the name of the file; empty where no rule asks.
    path: Box<str>,
}

impl Standing {
    /// The response is asked, too.
    pub fn awaits_response(&self) -> bool {
        self.has_deferred || !self.not_yet.is_empty()
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        let Self {
            not_yet,
            deferred_before: _,
            has_deferred: _,
            otherwise: _,
            size_limits,
            signatures,
            at_content,
            path,
        } = self;
        size_of_val(&**not_yet)
            + size_limits.memory()
            + signatures.memory()
            + size_of_val(&**at_content)
            + path.len()
    }
}

/// Where the rules stand after a response's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The rule that wins; none: no rule does.
    pub rule: Option<ContentRuleId>,
    /// Rules that apply when more of the response's content comes.
    pub size_limits: SizeLimits,
    /// Rules that apply when something is found in it.
    pub signatures: SignatureRules,
    /// A rule before that one asks for the type of what comes: the response is to be asked again, when that is known.
    pub awaits_type: bool,
}

/// Bytes of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// So many, or none.
    Bytes(u64),
    /// That shows when they have come.
    Not,
}

/// What rules look at in a request.
struct Request<'a> {
    method: &'a str,
    target: Target<'a>,
    fields: &'a Fields,
    size: Known,
}

/// What rules look at in a message of either direction.
struct Message<'a> {
    fields: &'a Fields,
    path: &'a str,
    size: Known,
    inside: Inside,
}

/// What came of asking one rule: for those who want to know why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It matches.
    Matches,
    /// This condition does not hold.
    No(&'static str),
    /// The response decides.
    NotYet,
    /// It matches when more content has come than so many bytes.
    Beyond(u64),
    /// It matches when one of its signatures is found in the content.
    OnHit,
    /// The type of what comes decides.
    AwaitsType,
    /// It looks at the request's content; rules behind it are asked about the head all the same.
    AtContent,
}

/// What becomes of plaintext that no rule can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnread {
    /// It does not pass.
    Block,
    /// It passes, and the log has an alert.
    Allow,
}

impl OnUnread {
    /// As configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
        }
    }
}

/// All rules on content, compiled.
#[derive(Debug)]
pub struct ContentPolicy {
    rules: Vec<CompiledContentRule>,
    headers: Vec<CompiledHeaderRule>,
    index: RuleIndex,
    lists: Arc<Lists>,
    signatures: Arc<Signatures>,
    inspectors: Vec<Arc<dyn Inspector>>,
    tallies: Tallies,
    has_inspections: bool,
    late: LateVerdicts,
    /// The first rule of those that only a response decides on that looks at content.
    first_deferred_inspection: Option<usize>,
    /// HTTP that cannot be read, or may be read in two ways.
    pub on_unparsed: OnUnread,
    /// What is no HTTP.
    pub on_opaque: OnUnread,
    /// Bodies that rules ask about and that cannot be read through their codings.
    pub on_undecodable: OnUnread,
    /// What becomes of bodies that are to be looked at and are not.
    pub inspection: Inspection,
}

/// Bounds of looking at bodies, and what becomes of what is beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Most bytes of one message that are held for `hold = "all"`.
    pub hold_bytes: usize,
    /// How long a thread may have what has come of a body.
    pub timeout: Duration,
    /// It has had it for longer.
    pub on_timeout: OnUnread,
    /// The threads' queue is full, or the worker holds as many bytes of bodies as it may.
    pub on_overload: OnUnread,
    /// More came than is held. Where it is allowed only the end is held from there on.
    pub on_oversize: OnUnread,
    /// An ICAP server has not answered, or wrongly.
    pub on_icap: OnUnread,
    /// A request for a part of a body that is to be looked at.
    pub on_range: OnRange,
}

impl Default for Inspection {
    fn default() -> Self {
        Self {
            hold_bytes: 10 << 20,
            timeout: Duration::from_secs(10),
            on_timeout: OnUnread::Block,
            on_overload: OnUnread::Block,
            on_oversize: OnUnread::Allow,
            on_icap: OnUnread::Block,
            on_range: OnRange::Strip,
        }
    }
}

/// What becomes of requests for parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRange {
    /// They become requests for the whole.
    Strip,
    /// They do not pass.
    Block,
    /// They pass, and the part is looked at as if it were the whole.
    Allow,
}

impl Default for ContentPolicy {
    fn default() -> Self {
        Self::compile(&[], Arc::default())
    }
}

impl ContentPolicy {
    /// Compiles rules, in their order of precedence.
    pub fn compile(rules: &[ContentRule], lists: Arc<Lists>) -> Self {
        let rules: Vec<_> = rules.iter().map(CompiledContentRule::new).collect();
        let index = RuleIndex::new(&rules, &lists);
        let mut deferred = index.deferred().iter().copied();
        Self {
            late: LateVerdicts::default(),
            has_inspections: rules.iter().any(CompiledContentRule::holds_content),
            first_deferred_inspection: deferred.find(|place| rules[*place].inspects()),
            rules,
            headers: Vec::new(),
            index,
            lists,
            signatures: Arc::default(),
            inspectors: Vec::new(),
            tallies: Tallies::default(),
            on_unparsed: OnUnread::Block,
            on_opaque: OnUnread::Allow,
            on_undecodable: OnUnread::Block,
            inspection: Inspection::default(),
        }
    }

    /// With rules that change heads.
    #[must_use]
    pub fn with_headers(mut self, headers: &[HeaderRule]) -> Self {
        self.headers = headers.iter().map(CompiledHeaderRule::new).collect();
        self
    }

    /// With what rules look for in contents.
    #[must_use]
    pub fn with_signatures(self, signatures: Arc<Signatures>) -> Self {
        Self { signatures, ..self }
    }

    /// With those who are asked about bodies, in the order in which rules name them by their places.
    #[must_use]
    pub fn with_inspectors(self, inspectors: Vec<Arc<dyn Inspector>>) -> Self {
        Self { inspectors, ..self }
    }

    /// Those in these places.
    pub fn inspectors<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = &'a Arc<dyn Inspector>> {
        places.iter().filter_map(|place| self.inspectors.get(*place))
    }

    /// What rules look for in contents.
    pub fn signatures(&self) -> &Arc<Signatures> {
        &self.signatures
    }

    /// Counted there by [`Self::count`] and [`Self::count_unread`].
    #[must_use]
    pub fn counted_in(self, tallies: &Tallies) -> Self {
        Self { tallies: tallies.clone(), ..self }
    }

    /// A message goes by this rule.
    pub fn count(&self, rule: ContentRuleId) {
        self.tallies.messages.count(self.name(rule), self.action(rule).name());
    }

    /// There is something that no rule could be asked about, for this reason.
    pub fn count_unread(&self, reason: Reason, becomes: OnUnread) {
        self.tallies.unread.count(reason.code(), becomes.name());
    }

    /// There is something to ask about flows of this profile.
    pub fn is_about(&self, profile: &str) -> bool {
        self.rules.iter().any(|rule| rule.is_about(profile))
            || self.headers.iter().any(|rule| rule.is_about(profile))
    }

    /// Some content is looked at.
    pub fn has_inspections(&self) -> bool {
        self.has_inspections
    }

    /// What stands for the content of these names, where this rule looks at it.
    pub fn late_key<const N: usize>(&self, rule: ContentRuleId, names: [&[u8]; N]) -> LateKey {
        let rule = self.name(rule).as_bytes();
        LateKey(self.lists.keyed_hash(std::iter::once(rule).chain(names)))
    }

    /// The rule has found something in this content, not long ago, when most of it had gone on.
    pub fn was_late(&self, content: LateKey, now: Instant) -> bool {
        self.late.knows(content.0, now)
    }

    /// The rule has found something in it when most of it had gone on.
    pub fn note_late(&self, content: LateKey, now: Instant) {
        self.late.note(content.0, now);
    }

    /// The lists that rules ask.
    pub fn lists(&self) -> &Arc<Lists> {
        &self.lists
    }

    /// A rule that may still win with this request looks at what the response has.
    pub fn may_inspect(&self, standing: &Standing) -> bool {
        let is_deferred = |place: usize| standing.has_deferred && place < standing.deferred_before;
        self.has_inspections
            && (self.first_deferred_inspection.is_some_and(is_deferred)
                || standing.not_yet.iter().any(|id| self.rules[id.place()].inspects()))
    }

    /// The name under which a client would save what a message has.
    pub fn file_name(&self, fields: &Fields, target: &str) -> Option<String> {
        file_name::file_names(fields, &Target::new(target).path).into_iter().next()
    }

    /// Some fields are set or removed.
    pub fn has_edits(&self) -> bool {
        !self.headers.is_empty()
    }

    /// How a head of this direction is to be changed. Of a name that several rules change, the first counts.
    pub fn edits(&self, flow: &DecryptedFlow, host: Option<&str>, direction: Direction) -> Vec<FieldEdit> {
        if !self.has_edits() {
            return Vec::new();
        }
        let host = host.map(HostName::new);
        let mut edits: Vec<FieldEdit> = Vec::new();
        for edit in
            self.headers.iter().flat_map(|rule| rule.edits(flow, host.as_ref(), direction, &self.lists))
        {
            if !edits.iter().any(|known| known.name().eq_ignore_ascii_case(edit.name())) {
                edits.push(edit.clone());
            }
        }
        edits
    }

    /// Asks the rules about a request. `last` has what was found for the flow's messages before it, under the same rules.
    pub fn at_request(
        &self,
        flow: &DecryptedFlow,
        request: &RequestFacts<'_>,
        last: &mut LastFound,
    ) -> Standing {
        let asked = Request::new(request);
        let (mut not_yet, mut asks_path) = (Vec::new(), false);
        let (mut at_content, mut is_for_any_type) = (Vec::new(), false);
        let mut standing = Standing::default();
        for place in self.index.at_request(request, &asked, &self.lists, last) {
            let id = ContentRuleId(place as u32);
            let later = match self.rules[place].at_request(flow, &asked, &self.lists) {
                AtRequest::No(_) => continue,
                AtRequest::Matches => {
                    standing.otherwise = Some(id);
                    break;
                }
                AtRequest::Later(later) => Some(later),
                AtRequest::AtContent => {
                    if !is_for_any_type {
                        at_content.push(id);
                    }
                    is_for_any_type |= self.rules[place].rule().file_type.is_empty();
                    continue;
                }
                AtRequest::NotYet(_) if self.index.deferred().binary_search(&place).is_ok() => continue,
                AtRequest::NotYet(later) => {
                    not_yet.push(id);
                    asks_path |= self.rules[place].asks_file_name();
                    later
                }
            };
            match later {
                Some(Later::Beyond(limit)) => standing.size_limits.push(limit, id),
                Some(Later::OnHit) => standing.signatures.push(self.rules[place].signatures(), id),
                None => {}
            }
        }
        if asks_path {
            standing.path = asked.target.path.into();
        }
        standing.not_yet = not_yet.into();
        standing.at_content = at_content.into();
        standing.deferred_before = standing.otherwise.map_or(self.rules.len(), ContentRuleId::place);
        standing.has_deferred =
            self.index.deferred().first().is_some_and(|first| *first < standing.deferred_before);
        standing
    }

    /// Asks the rules that were not yet decided about the response. `last`: as with the request.
    pub fn at_response(
        &self,
        standing: &Standing,
        response: &ResponseFacts<'_>,
        last: &mut LastFound,
    ) -> Decided {
        let message = message_of(standing, response);
        let mut decided = Decided { rule: standing.otherwise, ..Decided::default() };
        let deferred =
            if standing.has_deferred { self.index.at_response(response.fields, last) } else { Vec::new() };
        for id in open_rules(standing, deferred) {
            match self.rules[id.place()].at_response(response.status, &message) {
                Holds::No(_) => {}
                Holds::Yes => {
                    decided.rule = Some(id);
                    break;
                }
                Holds::Later(Later::Beyond(limit)) => decided.size_limits.push(limit, id),
                Holds::Later(Later::OnHit) => {
                    decided.signatures.push(self.rules[id.place()].signatures(), id);
                }
                Holds::AwaitsType => decided.awaits_type = true,
            }
        }
        decided
    }

    /// Asks every rule about a request, up to the first that matches, and says what each has answered.
    pub fn explain(&self, flow: &DecryptedFlow, request: &RequestFacts<'_>) -> Vec<(ContentRuleId, Answer)> {
        let asked = Request::new(request);
        let named = self.index.named(request, &asked, &self.lists);
        let mut answers = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let answer = if !rule.asks_host() || named.contains(&place) {
                match rule.at_request(flow, &asked, &self.lists) {
                    AtRequest::Matches => Answer::Matches,
                    AtRequest::No(condition) => Answer::No(condition),
                    AtRequest::NotYet(_) => Answer::NotYet,
                    AtRequest::Later(Later::Beyond(bytes)) => Answer::Beyond(bytes),
                    AtRequest::Later(Later::OnHit) => Answer::OnHit,
                    AtRequest::AtContent => Answer::AtContent,
                }
            } else {
                Answer::No("host")
            };
            answers.push((ContentRuleId(place as u32), answer));
            if answer == Answer::Matches {
                break;
            }
        }
        answers
    }

    /// Likewise about the response, those that were not yet decided.
    pub fn explain_response(
        &self,
        standing: &Standing,
        response: &ResponseFacts<'_>,
    ) -> Vec<(ContentRuleId, Answer)> {
        let message = message_of(standing, response);
        let mut answers = Vec::new();
        for id in open_rules(standing, self.index.deferred().to_vec()) {
            let answer = match self.rules[id.place()].at_response(response.status, &message) {
                Holds::Yes => Answer::Matches,
                Holds::No(condition) => Answer::No(condition),
                Holds::Later(Later::Beyond(bytes)) => Answer::Beyond(bytes),
                Holds::Later(Later::OnHit) => Answer::OnHit,
                Holds::AwaitsType => Answer::AwaitsType,
            };
            answers.push((id, answer));
            if answer == Answer::Matches {
                break;
            }
        }
        answers
    }

    /// Of rules that look at content, the one that applies to content of this type.
    pub fn of_content(&self, rules: &[ContentRuleId], kind: FileType) -> Option<ContentRuleId> {
        let is_of = |types: &[FileType]| types.is_empty() || types.contains(&kind);
        rules.iter().copied().find(|id| is_of(self.types(*id)))
    }

    /// Types of content that a rule is about; none: all.
    pub fn types(&self, id: ContentRuleId) -> &[FileType] {
        &self.rules[id.place()].rule().file_type
    }

    /// Name of a rule.
    pub fn name(&self, id: ContentRuleId) -> &Arc<str> {
        self.rules[id.place()].name()
    }

    /// What a rule does.
    pub fn action(&self, id: ContentRuleId) -> &ContentAction {
        &self.rules[id.place()].rule().action
    }
}

fn message_of<'a>(standing: &'a Standing, response: &ResponseFacts<'a>) -> Message<'a> {
    let &ResponseFacts { status: _, fields, size, inside } = response;
    Message { fields, path: &standing.path, size, inside }
}

/// The rules that the response decides on, in order, as far as these deferred ones are concerned.
fn open_rules(standing: &Standing, mut deferred: Vec<usize>) -> impl Iterator<Item = ContentRuleId> {
    deferred.retain(|place| *place < standing.deferred_before);
    deferred.extend(standing.not_yet.iter().map(|id| id.place()));
    in_order(deferred).into_iter().map(|place| ContentRuleId(place as u32))
}

impl<'a> Request<'a> {
    fn new(facts: &RequestFacts<'a>) -> Self {
        let &RequestFacts { host: _, method, target, fields, size } = facts;
        Self { method, target: Target::new(target), fields, size }
    }
}
