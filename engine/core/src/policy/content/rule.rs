//! One rule on content: conditions that must all hold, and an action.

use std::sync::Arc;

use super::{DecryptedFlow, RequestFacts, ResponseFacts};
use crate::policy::name_index::NameIndex;
use crate::policy::names::HostName;
use crate::policy::{ListId, Lists, NamePattern};

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentAction {
    /// It passes, and no later rule is asked.
    Allow,
    /// It passes, and the log has an alert.
    Alert,
    /// It does not pass; the client gets this.
    Block(Respond),
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
    /// Hosts. A request without one matches none of them.
    pub host: Vec<NamePattern>,
    /// A list of hosts or URLs.
    pub host_list: Option<ListId>,
    /// Methods, in any case.
    pub method: Vec<String>,
    /// Paths.
    pub path: Vec<String>,
    /// Response: status codes.
    pub status: Vec<u16>,
    /// Response: types without parameters, in lower case.
    pub content_type: Vec<String>,
    /// What to do.
    pub action: ContentAction,
}

impl ContentRule {
    /// A rule without conditions: it matches every request.
    pub fn new(name: impl Into<String>, action: ContentAction) -> Self {
        Self {
            name: name.into(),
            profile: Vec::new(),
            host: Vec::new(),
            host_list: None,
            method: Vec::new(),
            path: Vec::new(),
            status: Vec::new(),
            content_type: Vec::new(),
            action,
        }
    }
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) struct CompiledContentRule {
    name: Arc<str>,
    rule: ContentRule,
    hosts: NameIndex,
}

impl CompiledContentRule {
    pub(super) fn new(rule: &ContentRule) -> Self {
        let mut hosts = NameIndex::default();
        rule.host.iter().for_each(|pattern| hosts.insert(pattern, 0));
        Self { name: rule.name.as_str().into(), rule: rule.clone(), hosts }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn action(&self) -> &ContentAction {
        &self.rule.action
    }

    /// It may match in flows of this profile.
    pub(super) fn is_about(&self, profile: &str) -> bool {
        self.rule.profile.is_empty() || self.rule.profile.iter().any(|name| name == profile)
    }

    /// There are conditions that only a response can answer.
    pub(super) fn asks_response(&self) -> bool {
        !self.rule.status.is_empty() || !self.rule.content_type.is_empty()
    }

    /// All conditions hold that a request can answer.
    pub(super) fn matches_request(
        &self,
        flow: &DecryptedFlow,
        host: Option<&HostName>,
        request: &RequestFacts<'_>,
        lists: &Lists,
    ) -> bool {
        let ContentRule { profile, host: hosts, host_list, method, path, .. } = &self.rule;
        let is_named = |host: &HostName| self.hosts.matching(host).next().is_some();
        let is_listed = |host: &HostName| host_list.is_some_and(|list| lists.of_host(host).has(list));
        (profile.is_empty() || profile.iter().any(|name| *name == flow.profile.name))
            && (hosts.is_empty() && host_list.is_none()
                || host.is_some_and(|host| is_named(host) || is_listed(host)))
            && (method.is_empty() || method.iter().any(|name| name.eq_ignore_ascii_case(request.method)))
            && (path.is_empty() || path.iter().any(|path| request.target.split('?').next() == Some(path)))
    }

    /// All conditions hold that only a response can answer.
    pub(super) fn matches_response(&self, response: &ResponseFacts<'_>) -> bool {
        let ContentRule { status, content_type, .. } = &self.rule;
        let types =
            || response.fields.values("content-type").map(|value| value.split(|byte| *byte == b';').next());
        (status.is_empty() || status.contains(&response.status))
            && (content_type.is_empty()
                || types().flatten().any(|said| {
                    content_type.iter().any(|asked| said.trim_ascii().eq_ignore_ascii_case(asked.as_bytes()))
                }))
    }
}
