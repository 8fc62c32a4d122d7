//! One rule on content: conditions that must all hold, and an action.

use std::sync::Arc;

use ipnet::IpNet;

use super::edit::Direction;
use super::pattern::{Glob, TextPattern};
use super::{DecryptedFlow, Inside, Known, Message, Request, file_name};
use crate::content::{FileType, SignatureId, SignatureMask};
use crate::fields::{Fields, text};
use crate::policy::path::Target;
use crate::policy::rule::Addresses;
use crate::policy::{HashLists, ListId, Lists, NamePattern};

/// RFC 9113, 8.2.3: HTTP/2 may send it in pieces, which are one value to whoever gets them.
pub(super) const COOKIE: &str = "cookie";

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentAction {
    /// It passes, and no later rule is asked.
    Allow,
    /// It passes, and the log has an alert.
    Alert,
    /// It does not pass; the client gets this.
    Block(Respond),
    /// It passes if nothing is found in its content.
    Inspect(Inspect),
}

/// What a rule asks of content, and what becomes of it meanwhile and afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspect {
    /// Lists of hashes that it must not be on.
    pub hashes: HashLists,
    /// What must not be found in it.
    pub signatures: SignatureMask,
    /// Who else is asked: places in [`ContentPolicy::inspectors`](super::ContentPolicy::inspectors).
    pub inspectors: Vec<usize>,
    /// How much waits for that; none: the type of the file decides.
    pub hold: Option<Hold>,
    /// What a client gets in place of what is found, if it has nothing of it yet.
    pub respond: Respond,
}

/// How much of a message waits until all of it has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing: what is found ends what is left of it.
    None,
    /// The end: without it most files are of no use.
    Tail,
    /// All of it.
    All,
}

impl Hold {
    /// As configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tail => "tail",
            Self::All => "all",
        }
    }

    /// Where a rule says nothing: what does harm in part, or is opened in part, does not go on in part.
    pub fn of(kind: FileType) -> Self {
        match kind.group() {
            Some("executable" | "script" | "archive" | "office") => Self::All,
            _ => Self::Tail,
        }
    }
}

impl ContentAction {
    /// As configurations have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Alert => "alert",
            Self::Block(_) => "block",
            Self::Inspect(_) => "inspect",
        }
    }
}

/// What a client gets in place of what is blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Respond {
    /// The block page, with status 403.
    #[default]
    Page,
    /// A RST: of the stream in HTTP/2, of the connection in HTTP/1.
    Reset,
    /// This status, without a body.
    Status(u16),
    /// 302 to this URL.
    Redirect(Box<str>),
}

/// A rule as configured. A condition that is empty or absent always holds; a list holds if one of its entries does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRule {
    /// Unique; what the logs call it.
    pub name: String,
    /// Names of profiles.
    pub profile: Vec<String>,
    /// Networks of the client.
    pub source: Vec<IpNet>,
    /// A list of networks of the client; it may be on this one or in `source`.
    pub source_list: Option<ListId>,
    /// Networks of the server.
    pub destination: Vec<IpNet>,
    /// A list of networks of the server.
    pub destination_list: Option<ListId>,
    /// Hosts. A request without one matches none of them.
    pub host: Vec<NamePattern>,
    /// A list of hosts, or of URLs.
    pub host_list: Option<ListId>,
    /// Methods, as they are sent: in upper case mostly.
    pub method: Vec<String>,
    /// The path, without the query, in its normal form.
    pub path: Vec<Glob>,
    /// Likewise.
    pub path_regex: Vec<TextPattern>,
    /// The query, without its question mark, as it was sent.
    pub query: Vec<Glob>,
    /// Whose head the conditions below are about; none: of `header` the request's, of the others either.
    pub direction: Option<Direction>,
    /// Fields, by names in lower case: each of these has a value that is like it.
    pub header: Vec<(String, TextPattern)>,
    /// Status codes of the response.
    pub status: Vec<u16>,
    /// The content type without its parameters, in lower case.
    pub content_type: Vec<Glob>,
    /// Bytes of content: more than so many.
    pub size: Option<u64>,
    /// Names of files, in lower case.
    pub file_name: Vec<Glob>,
    /// Types of what comes, by its first bytes: of a response, or of a request where `direction` says so.
    pub file_type: Vec<FileType>,
    /// What is found in the content. Not together with a size, and not to allow something: it shows when most has gone on.
    pub signatures: Vec<SignatureId>,
    /// What to do.
    pub action: ContentAction,
}

impl ContentRule {
    /// A rule without conditions: it matches every request.
    pub fn new(name: impl Into<String>, action: ContentAction) -> Self {
        Self {
            name: name.into(),
            profile: Vec::new(),
            source: Vec::new(),
            source_list: None,
            destination: Vec::new(),
            destination_list: None,
            host: Vec::new(),
            host_list: None,
            method: Vec::new(),
            path: Vec::new(),
            path_regex: Vec::new(),
            query: Vec::new(),
            direction: None,
            header: Vec::new(),
            status: Vec::new(),
            content_type: Vec::new(),
            size: None,
            file_name: Vec::new(),
            file_type: Vec::new(),
            signatures: Vec::new(),
            action,
        }
    }
}

/// What a message says to conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    /// This one does not.
    No(&'static str),
    /// If the content says so.
    Later(Later),
    /// The type of what comes decides.
    AwaitsType,
}

/// What of a message's content may still bring a rule in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    /// More than so many bytes.
    Beyond(u64),
    /// One of its signatures.
    OnHit,
}

/// What a request says to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtRequest {
    Matches,
    /// Not this rule; the text says which condition does not hold.
    No(&'static str),
    /// The response decides; it matches also if the request's content says so.
    NotYet(Option<Later>),
    /// It matches if the request's content says so.
    Later(Later),
    /// It looks at the request's content.
    AtContent,
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) struct CompiledContentRule {
    name: Arc<str>,
    rule: ContentRule,
    source: Addresses,
    destination: Addresses,
}

impl CompiledContentRule {
    pub(super) fn new(rule: &ContentRule) -> Self {
        Self {
            name: rule.name.as_str().into(),
            rule: rule.clone(),
            source: Addresses::new(&rule.source, rule.source_list),
            destination: Addresses::new(&rule.destination, rule.destination_list),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn rule(&self) -> &ContentRule {
        &self.rule
    }

    /// It has content looked at.
    pub(super) fn inspects(&self) -> bool {
        matches!(self.rule.action, ContentAction::Inspect(_))
    }

    /// Messages wait while it looks at their content.
    pub(super) fn holds_content(&self) -> bool {
        self.inspects() || self.rule.direction == Some(Direction::Request) && !self.rule.file_type.is_empty()
    }

    /// It may match in flows of this profile.
    pub(super) fn is_about(&self, profile: &str) -> bool {
        self.rule.profile.is_empty() || self.rule.profile.iter().any(|name| name == profile)
    }

    /// There is a condition on the host.
    pub(super) fn asks_host(&self) -> bool {
        !self.rule.host.is_empty() || self.rule.host_list.is_some()
    }

    /// What it looks for in contents.
    pub(super) fn signatures(&self) -> SignatureMask {
        self.rule.signatures.iter().copied().collect()
    }

    /// There is a condition on the name of a file.
    pub(super) fn asks_file_name(&self) -> bool {
        !self.rule.file_name.is_empty()
    }

    /// What a request says, its host aside.
    pub(super) fn at_request(&self, flow: &DecryptedFlow, request: &Request<'_>, lists: &Lists) -> AtRequest {
        if let Some(condition) = self.broken(flow, request, lists) {
            return AtRequest::No(condition);
        }
        let (rule, path) = (&self.rule, &*request.target.path);
        let is_of_request = rule.direction == Some(Direction::Request);
        let is_empty = request.size == Known::Bytes(0);
        let inside = if is_of_request && !is_empty { Inside::NotYet } else { Inside::Nothing };
        let message = Message { fields: request.fields, path, size: request.size, inside };
        if rule.direction != Some(Direction::Response) && !self.has_header(&message) {
            return AtRequest::No("header");
        }
        let asks_content = !rule.content_type.is_empty()
            || rule.size.is_some()
            || !rule.file_name.is_empty()
            || !rule.signatures.is_empty()
            || !rule.file_type.is_empty();
        let asks_response = !rule.status.is_empty()
            || !rule.file_type.is_empty() && !is_of_request
            || rule.direction == Some(Direction::Response)
            || self.inspects() && rule.direction.is_none();
        match (rule.direction, self.has_content(&message)) {
            _ if asks_response => AtRequest::NotYet(None),
            (_, Holds::AwaitsType) => AtRequest::AtContent,
            (_, Holds::Yes) if self.inspects() && is_empty => AtRequest::No("inspect"),
            (_, Holds::Yes) if self.inspects() => AtRequest::AtContent,
            _ if !asks_content => AtRequest::Matches,
            (_, Holds::Yes) => AtRequest::Matches,
            (Some(_), Holds::No(condition)) => AtRequest::No(condition),
            (Some(_), Holds::Later(later)) => AtRequest::Later(later),
            (None, Holds::No(_)) => AtRequest::NotYet(None),
            (None, Holds::Later(later)) => AtRequest::NotYet(Some(later)),
        }
    }

    /// The first condition that does not hold, of those that the request alone answers. Cheap ones come first.
    fn broken(&self, flow: &DecryptedFlow, request: &Request<'_>, lists: &Lists) -> Option<&'static str> {
        let (rule, Target { path, query }) = (&self.rule, &request.target);
        // Servers do not agree on whether case counts.
        if !any(&rule.method, |method| method.eq_ignore_ascii_case(request.method)) {
            return Some("method");
        }
        if !any(&rule.path, |glob| glob.matches(path)) {
            return Some("path");
        }
        if !self.is_about(&flow.profile.name) {
            return Some("profile");
        }
        if !any(&rule.query, |glob| glob.matches(query)) {
            return Some("query");
        }
        if !self.source.hold(flow.client.ip(), lists) {
            return Some("source");
        }
        if !self.destination.hold(flow.server.ip(), lists) {
            return Some("destination");
        }
        (!any(&rule.path_regex, |regex| regex.matches(path))).then_some("path_regex")
    }

    /// What the response says to a rule that it decides on.
    pub(super) fn at_response(&self, status: u16, message: &Message<'_>) -> Holds {
        let rule = &self.rule;
        if !any(&rule.status, |wanted| *wanted == status) {
            return Holds::No("status");
        }
        if rule.direction == Some(Direction::Response) && !self.has_header(message) {
            return Holds::No("header");
        }
        self.has_content(message)
    }

    fn has_header(&self, message: &Message<'_>) -> bool {
        self.rule.header.iter().all(|(name, pattern)| {
            let values = message.fields.values(name).map(text);
            if &**name == COOKIE {
                let pieces: Vec<_> = values.collect();
                return !pieces.is_empty() && pattern.matches(&pieces.join("; "));
            }
            self.hold_for(values, |value| pattern.matches(value))
        })
    }

    /// Whoever reads them takes one of these texts, and nobody knows which: any may stop a message, only all of them together let it pass.
    fn hold_for<T>(&self, texts: impl Iterator<Item = T>, is_like: impl Fn(&T) -> bool) -> bool {
        let mut texts = texts.peekable();
        match self.rule.action {
            ContentAction::Allow => texts.peek().is_some() && texts.all(|text| is_like(&text)),
            _ => texts.any(|text| is_like(&text)),
        }
    }

    fn are_like(&self, globs: &[Glob], texts: Vec<String>) -> bool {
        self.hold_for(texts.into_iter(), |text| globs.iter().any(|glob| glob.matches(text)))
    }

    fn has_content(&self, message: &Message<'_>) -> Holds {
        let ContentRule { content_type, size, file_name: names, file_type, signatures, .. } = &self.rule;
        if !content_type.is_empty() && !self.are_like(content_type, types(message.fields)) {
            return Holds::No("content_type");
        }
        if !names.is_empty() && !self.are_like(names, file_name::file_names(message.fields, message.path)) {
            return Holds::No("file_name");
        }
        match (size, message.size) {
            (Some(limit), Known::Bytes(bytes)) if bytes <= *limit => return Holds::No("size"),
            _ if file_type.is_empty() => {}
            _ => match message.inside {
                Inside::NotYet => return Holds::AwaitsType,
                Inside::Is(kind) if file_type.contains(&kind) => {}
                Inside::Is(_) | Inside::Nothing => return Holds::No("file_type"),
            },
        }
        if !signatures.is_empty() {
            let has_none = message.size == Known::Bytes(0);
            return if has_none { Holds::No("signatures") } else { Holds::Later(Later::OnHit) };
        }
        match (size, message.size) {
            (None, _) => Holds::Yes,
            (Some(_), Known::Bytes(_)) => Holds::Yes,
            (Some(limit), Known::Not) => Holds::Later(Later::Beyond(*limit)),
        }
    }
}

/// The types that a head declares, without their parameters. Fetch, 3.5, takes the last of several behind commas, others the first; Chromium
/// and Firefox end one at a space or a comment, others do not.
fn types(fields: &Fields) -> Vec<String> {
    let values = fields.values("content-type").flat_map(|value| value.split(|byte| *byte == b','));
    let kinds = values.flat_map(|value| {
        let whole = before(value, b";");
        let begin = before(whole, b" \t(");
        [whole, if begin.len() < whole.len() { begin } else { b"" }]
    });
    kinds.filter(|kind| !kind.is_empty()).map(|kind| text(kind).to_ascii_lowercase()).collect()
}

/// Up to the first of these bytes.
fn before<'a>(value: &'a [u8], ends: &[u8]) -> &'a [u8] {
    let end = value.iter().position(|byte| ends.contains(byte));
    value[..end.unwrap_or(value.len())].trim_ascii()
}

/// An entry holds, or there is none.
fn any<T>(list: &[T], holds: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(holds)
}
