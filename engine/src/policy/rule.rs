//! One rule: conditions that must all hold, and a decision.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use super::networks::Networks;
use super::{Decision, FlowFacts, HelloFacts, NamePattern};

/// A rule as configured. A condition that is empty or absent always holds; a list holds if one of its entries does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique; what the logs call it.
    pub name: String,
    /// Name of the wire.
    pub wire: Option<String>,
    /// Outermost VLAN id.
    pub vlan: Option<u16>,
    /// Networks of the client.
    pub source: Vec<IpNet>,
    /// Networks of the server.
    pub destination: Vec<IpNet>,
    /// Ports of the server.
    pub ports: Vec<u16>,
    /// Server names. A ClientHello without a name matches none of them.
    pub sni: Vec<NamePattern>,
    /// Application protocols, of which the client offers one.
    pub alpn: Vec<Vec<u8>>,
    /// JA4 fingerprints.
    pub ja4: Vec<String>,
    /// What to do with a flow that meets all conditions.
    pub decision: Decision,
}

impl Rule {
    /// A rule without conditions: it matches every flow.
    pub fn new(name: impl Into<String>, decision: Decision) -> Self {
        Self {
            name: name.into(),
            wire: None,
            vlan: None,
            source: Vec::new(),
            destination: Vec::new(),
            ports: Vec::new(),
            sni: Vec::new(),
            alpn: Vec::new(),
            ja4: Vec::new(),
            decision,
        }
    }
}

/// A rule with its lists turned into sets.
#[derive(Debug)]
pub(super) struct CompiledRule {
    name: Arc<str>,
    wire: Option<String>,
    vlan: Option<u16>,
    source: Option<Networks>,
    destination: Option<Networks>,
    ports: Option<HashSet<u16>>,
    /// Its names lie in the index of all rules.
    asks_name: bool,
    alpn: Option<HashSet<Box<[u8]>>>,
    ja4: Option<HashSet<String>>,
    decision: Decision,
}

impl CompiledRule {
    pub(super) fn new(rule: &Rule) -> Self {
        Self {
            name: rule.name.as_str().into(),
            wire: rule.wire.clone(),
            vlan: rule.vlan,
            source: unless_empty(&rule.source, Networks::new),
            destination: unless_empty(&rule.destination, Networks::new),
            ports: unless_empty(&rule.ports, |ports| ports.iter().copied().collect()),
            asks_name: !rule.sni.is_empty(),
            alpn: unless_empty(&rule.alpn, |alpn| alpn.iter().map(|p| p.as_slice().into()).collect()),
            ja4: unless_empty(&rule.ja4, |ja4| ja4.iter().cloned().collect()),
            decision: rule.decision.clone(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn decision(&self) -> &Decision {
        &self.decision
    }

    /// All conditions that the SYN can answer hold.
    pub(super) fn matches_flow(&self, flow: &FlowFacts<'_>) -> bool {
        self.wire.as_ref().is_none_or(|wire| wire == flow.wire)
            && self.vlan.is_none_or(|vlan| flow.vlan == Some(vlan))
            && self.ports.as_ref().is_none_or(|ports| ports.contains(&flow.server.port()))
            && self.source.as_ref().is_none_or(|networks| networks.contain(flow.client.ip()))
            && self.destination.as_ref().is_none_or(|networks| networks.contain(flow.server.ip()))
    }

    /// There are conditions that only a ClientHello can answer.
    pub(super) fn asks_hello(&self) -> bool {
        self.asks_name || self.alpn.is_some() || self.ja4.is_some()
    }

    /// There is a condition on the server name.
    pub(super) fn asks_name(&self) -> bool {
        self.asks_name
    }

    /// All conditions hold that only a ClientHello can answer, the one on the server name aside.
    pub(super) fn matches_hello(&self, hello: &HelloFacts<'_>) -> bool {
        self.alpn.as_ref().is_none_or(|alpn| hello.alpn.iter().any(|offered| alpn.contains(offered)))
            && self.ja4.as_ref().is_none_or(|ja4| ja4.contains(hello.ja4))
    }
}

fn unless_empty<T, S>(list: &[T], compile: impl FnOnce(&[T]) -> S) -> Option<S> {
    (!list.is_empty()).then(|| compile(list))
}
