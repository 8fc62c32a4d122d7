//! Rules that change heads: fields that are set and removed.

use super::DecryptedFlow;
use crate::fields::is_token;
use crate::policy::name_index::NameIndex;
use crate::policy::names::HostName;
use crate::policy::{ListId, Lists, NamePattern};

/// Whose head a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client's.
    Request,
    /// The server's.
    Response,
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

/// `[[header]]` as configured. A condition that is empty or absent always holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Names of profiles.
    pub profile: Vec<String>,
    /// Hosts.
    pub host: Vec<NamePattern>,
    /// A list of hosts.
    pub host_list: Option<ListId>,
    /// Whose heads.
    pub direction: Direction,
    /// In their order; one name is changed once.
    pub edits: Vec<FieldEdit>,
}

#[derive(Debug)]
pub(super) struct CompiledHeaderRule {
    rule: HeaderRule,
    hosts: NameIndex,
}

impl CompiledHeaderRule {
    pub(super) fn new(rule: &HeaderRule) -> Self {
        let mut hosts = NameIndex::default();
        rule.host.iter().for_each(|pattern| hosts.insert(pattern, 0));
        Self { rule: rule.clone(), hosts }
    }

    pub(super) fn is_about(&self, profile: &str) -> bool {
        self.rule.profile.is_empty() || self.rule.profile.iter().any(|name| name == profile)
    }

    /// What it changes in a head of this direction.
    pub(super) fn edits(
        &self,
        flow: &DecryptedFlow,
        host: Option<&HostName>,
        direction: Direction,
        lists: &Lists,
    ) -> &[FieldEdit] {
        let HeaderRule { host: hosts, host_list, direction: mine, edits, .. } = &self.rule;
        let is_named = |host: &HostName| {
            self.hosts.matching(host).next().is_some()
                || host_list.is_some_and(|list| lists.of_host(host).has(list))
        };
        let holds = *mine == direction
            && self.is_about(&flow.profile.name)
            && (hosts.is_empty() && host_list.is_none() || host.is_some_and(is_named));
        if holds { edits } else { &[] }
    }
}

/// A field that frames messages, or says whose they are, is none that a rule may change.
pub fn is_editable(name: &str) -> bool {
    const NOT: [&str; 11] = [
        "connection",
        "content-length",
        "content-encoding",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    ];
    !name.is_empty() && name.bytes().all(is_token) && !NOT.iter().any(|each| name.eq_ignore_ascii_case(each))
}
