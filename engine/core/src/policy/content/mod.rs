//! Policy on what was decrypted: rules on the requests and responses of a flow.
//!
//! Compiled once from the configuration, immutable, shared by all workers. The first rule that matches wins; where none does, the
//! request is allowed. A rule that asks for what only the response can say is "not yet" for the request, and so are all rules after it.

mod edit;
mod rule;

use std::net::SocketAddr;
use std::sync::Arc;

use super::names::HostName;
use super::{Lists, Profile};
use crate::end::End;
use crate::fields::Fields;
use edit::CompiledHeaderRule;
pub use edit::{FieldEdit, HeaderRule};
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
}

impl Standing {
    /// The response is asked, too.
    pub fn awaits_response(&self) -> bool {
        !self.not_yet.is_empty()
    }
}

/// All rules on content, compiled.
#[derive(Debug, Default)]
pub struct ContentPolicy {
    rules: Vec<CompiledContentRule>,
    headers: Vec<CompiledHeaderRule>,
    lists: Arc<Lists>,
}

impl ContentPolicy {
    /// Compiles rules, in their order of precedence.
    pub fn compile(rules: &[ContentRule], lists: Arc<Lists>) -> Self {
        Self { rules: rules.iter().map(CompiledContentRule::new).collect(), headers: Vec::new(), lists }
    }

    /// With rules on header fields, too, in their order.
    #[must_use]
    pub fn with_headers(mut self, headers: &[HeaderRule]) -> Self {
        self.headers = headers.iter().map(CompiledHeaderRule::new).collect();
        self
    }

    /// There are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && !self.has_edits()
    }

    /// There are rules on header fields.
    pub fn has_edits(&self) -> bool {
        !self.headers.is_empty()
    }

    /// The fields of a message of this end as they are to go on; none: as they are. `host` is the request's.
    pub fn edited(&self, host: Option<&str>, from: End, fields: &Fields) -> Option<Fields> {
        let host = host.map(HostName::new);
        let edits = self.headers.iter().flat_map(|rule| rule.edits(host.as_ref(), from));
        edits.fold(None, |edited, edit| edit.apply(edited.as_ref().unwrap_or(fields)).or(edited))
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
                return Standing { not_yet: not_yet.into(), otherwise: Some(id) };
            }
            not_yet.push(id);
        }
        Standing { not_yet: not_yet.into(), otherwise: None }
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
