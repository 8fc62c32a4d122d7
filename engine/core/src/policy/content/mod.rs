//! Policy on what was decrypted: rules on the requests and responses of a flow.
//!
//! Compiled once from the configuration, immutable, shared by all workers. The first rule that matches wins; where none does, the
//! request is allowed. A rule that asks for what only the response can say is "not yet" for the request, and so are all rules after it.

mod rule;

use std::net::SocketAddr;
use std::sync::Arc;

use super::names::HostName;
use super::{Lists, Profile};
use crate::fields::Fields;
use rule::CompiledContentRule;
pub use rule::{ContentAction, ContentRule, Respond};

/// What is known of a decrypted flow before its first plaintext.
#[derive(Clone, Debug)]
pub struct DecryptedFlow {
    /// How strictly it is handled.
    pub profile: Arc<Profile>,
    /// Server name, as the client wrote it in its hello.
    pub sni: Option<Box<str>>,
    /// The end that sent the SYN.
    pub client: SocketAddr,
    /// The end that it was sent to.
    pub server: SocketAddr,
    /// As in all events of the flow.
    pub flow_id: u64,
}

impl DecryptedFlow {
    /// Bytes of memory that it holds, with its own size; the profile is everybody's.
    pub fn memory(&self) -> usize {
        let Self { profile: _, sni, client: _, server: _, flow_id: _ } = self;
        size_of::<Self>() + sni.as_ref().map_or(0, |sni| sni.len())
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
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFacts<'a> {
    /// Its status.
    pub status: u16,
    /// All fields.
    pub fields: &'a Fields,
}

/// The place of a rule among the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentRuleId(u32);

/// Where the rules stand after a request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Rules that the response decides on, in their order. Empty: it is decided.
    pub not_yet: Box<[ContentRuleId]>,
    /// The rule that wins if none of those does; none: no rule does.
    pub otherwise: Option<ContentRuleId>,
    /// Bytes of the request's content beyond which this rule applies.
    pub size_limit: Option<(u64, ContentRuleId)>,
}

impl Standing {
    /// The response is asked, too.
    pub fn awaits_response(&self) -> bool {
        !self.not_yet.is_empty()
    }
}

/// What becomes of plaintext that no rule can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnread {
    /// It does not pass.
    Block,
    /// It passes, and the log has an alert.
    Allow,
}

/// A change of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEdit {
    /// All fields of this name go.
    Remove(Box<str>),
    /// One with this name and value takes their place.
    Set(Box<str>, Box<str>),
}

impl FieldEdit {
    /// The name, in any case.
    pub fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Set(name, _) => name,
        }
    }
}

/// All rules on content, compiled.
#[derive(Debug)]
pub struct ContentPolicy {
    rules: Vec<CompiledContentRule>,
    lists: Arc<Lists>,
    /// HTTP that cannot be read, or may be read in two ways.
    pub on_unparsed: OnUnread,
    /// What is no HTTP.
    pub on_opaque: OnUnread,
}

impl Default for ContentPolicy {
    fn default() -> Self {
        Self::compile(&[], Arc::default())
    }
}

impl ContentPolicy {
    /// Compiles rules, in their order of precedence.
    pub fn compile(rules: &[ContentRule], lists: Arc<Lists>) -> Self {
        let rules = rules.iter().map(CompiledContentRule::new).collect();
        Self { rules, lists, on_unparsed: OnUnread::Block, on_opaque: OnUnread::Allow }
    }

    /// There is something to ask about flows of this profile.
    pub fn is_about(&self, profile: &str) -> bool {
        self.rules.iter().any(|rule| rule.is_about(profile))
    }

    /// Some fields are set or removed.
    pub fn has_edits(&self) -> bool {
        false
    }

    /// Asks the rules about a request.
    pub fn at_request(&self, flow: &DecryptedFlow, request: &RequestFacts<'_>) -> Standing {
        let host = request.host.map(HostName::new);
        let mut not_yet = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            if !rule.matches_request(flow, host.as_ref(), request, &self.lists) {
                continue;
            }
            let id = ContentRuleId(place as u32);
            if !rule.asks_response() {
                return Standing { not_yet: not_yet.into(), otherwise: Some(id), size_limit: None };
            }
            not_yet.push(id);
        }
        Standing { not_yet: not_yet.into(), otherwise: None, size_limit: None }
    }

    /// Asks the rules that were not yet decided about the response.
    pub fn at_response(&self, standing: &Standing, response: &ResponseFacts<'_>) -> Option<ContentRuleId> {
        let asked = standing.not_yet.iter().copied();
        let mut matching = asked.filter(|id| self.rules[id.0 as usize].matches_response(response));
        matching.next().or(standing.otherwise)
    }

    /// Name of a rule.
    pub fn name(&self, id: ContentRuleId) -> &Arc<str> {
        self.rules[id.0 as usize].name()
    }

    /// What a rule does.
    pub fn action(&self, id: ContentRuleId) -> &ContentAction {
        self.rules[id.0 as usize].action()
    }
}
