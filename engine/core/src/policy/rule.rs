//! One rule: conditions that must all hold, and a decision.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;
use ipnet::IpNet;

use super::networks::Networks;
use super::{Decision, FirstContact, FlowFacts, HelloFacts, ListId, Lists, NamePattern};
use crate::mirror::Shown;

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
    /// A list of networks of the client; it may be on this one or in `source`.
    pub source_list: Option<ListId>,
    /// Networks of the server.
    pub destination: Vec<IpNet>,
    /// A list of networks of the server.
    pub destination_list: Option<ListId>,
    /// Ports of the server.
    pub ports: Vec<u16>,
    /// Server names. A ClientHello without a name matches none of them.
    pub sni: Vec<NamePattern>,
    /// A list of server names.
    pub sni_list: Option<ListId>,
    /// Application protocols, of which the client offers one.
    pub alpn: Vec<Vec<u8>>,
    /// JA4 fingerprints.
    pub ja4: Vec<String>,
    /// What to do with a flow that meets all conditions.
    pub decision: Decision,
    /// Whom the SYN of a flow reaches that may still meet all conditions.
    pub contact: FirstContact,
    /// Which mirrors show a flow that it has decrypted.
    pub mirror: Shown,
}

impl Rule {
    /// A rule without conditions: it matches every flow.
    pub fn new(name: impl Into<String>, decision: Decision) -> Self {
        Self {
            name: name.into(),
            wire: None,
            vlan: None,
            source: Vec::new(),
            source_list: None,
            destination: Vec::new(),
            destination_list: None,
            ports: Vec::new(),
            sni: Vec::new(),
            sni_list: None,
            alpn: Vec::new(),
            ja4: Vec::new(),
            decision,
            contact: FirstContact::default(),
            mirror: Shown::default(),
        }
    }

    /// There are conditions that only a ClientHello can answer.
    pub fn asks_hello(&self) -> bool {
        self.sni_list.is_some() || !(self.sni.is_empty() && self.alpn.is_empty() && self.ja4.is_empty())
    }
}

/// A rule with its lists turned into sets.
#[derive(Debug)]
pub(super) struct CompiledRule {
    name: Arc<str>,
    wire: Option<String>,
    vlan: Option<u16>,
    source: Addresses,
    destination: Addresses,
    ports: Option<HashSet<u16>>,
    /// Its names lie in the index of all rules.
    asks_name: bool,
    alpn: Option<HashSet<Box<[u8]>>>,
    ja4: Option<HashSet<String>>,
    decision: Decision,
    contact: FirstContact,
}

impl CompiledRule {
    pub(super) fn new(rule: &Rule) -> Self {
        Self {
            name: rule.name.as_str().into(),
            wire: rule.wire.clone(),
            vlan: rule.vlan,
            source: Addresses::new(&rule.source, rule.source_list),
            destination: Addresses::new(&rule.destination, rule.destination_list),
            ports: unless_empty(&rule.ports, |ports| ports.iter().copied().collect()),
            asks_name: !rule.sni.is_empty() || rule.sni_list.is_some(),
            alpn: unless_empty(&rule.alpn, |alpn| alpn.iter().map(|p| p.as_slice().into()).collect()),
            ja4: unless_empty(&rule.ja4, |ja4| ja4.iter().cloned().collect()),
            decision: rule.decision.clone(),
            contact: rule.contact,
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn decision(&self) -> &Decision {
        &self.decision
    }

    pub(super) fn contact(&self) -> FirstContact {
        self.contact
    }

    pub(super) fn contact_server_first(&mut self) {
        self.contact = FirstContact::ServerFirst;
    }

    /// All conditions that the SYN can answer hold.
    pub(super) fn matches_flow(&self, flow: &FlowFacts<'_>, lists: &Lists) -> bool {
        self.wire.as_ref().is_none_or(|wire| wire == flow.wire)
            && self.vlan.is_none_or(|vlan| flow.vlan == Some(vlan))
            && self.ports.as_ref().is_none_or(|ports| ports.contains(&flow.server.port()))
            && self.source.hold(flow.client.ip(), lists)
            && self.destination.hold(flow.server.ip(), lists)
    }

    /// The first condition that does not hold, the one on the server name aside.
    pub(super) fn broken(
        &self,
        flow: &FlowFacts<'_>,
        hello: &HelloFacts<'_>,
        lists: &Lists,
    ) -> Option<&'static str> {
        let offers = |alpn: &HashSet<Box<[u8]>>| hello.alpn.iter().any(|offered| alpn.contains(offered));
        let conditions = [
            (self.wire.as_ref().is_none_or(|wire| wire == flow.wire), "wire"),
            (self.vlan.is_none_or(|vlan| flow.vlan == Some(vlan)), "vlan"),
            (self.ports.as_ref().is_none_or(|ports| ports.contains(&flow.server.port())), "ports"),
            (self.source.hold(flow.client.ip(), lists), "source"),
            (self.destination.hold(flow.server.ip(), lists), "destination"),
            (self.alpn.as_ref().is_none_or(offers), "alpn"),
            (self.ja4.as_ref().is_none_or(|ja4| ja4.contains(hello.ja4)), "ja4"),
        ];
        conditions.into_iter().find(|(holds, _)| !holds).map(|(_, name)| name)
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

/// A condition on an address.
#[derive(Debug)]
pub(super) struct Addresses {
    networks: Option<Networks>,
    list: Option<ListId>,
}

impl Addresses {
    pub(super) fn new(networks: &[IpNet], list: Option<ListId>) -> Self {
        Self { networks: unless_empty(networks, Networks::new), list }
    }

    pub(super) fn hold(&self, address: IpAddr, lists: &Lists) -> bool {
        match (&self.networks, self.list) {
            (None, None) => true,
            (networks, list) => {
                networks.as_ref().is_some_and(|networks| networks.contain(address))
                    || list.is_some_and(|list| lists.has_address(list, address))
            }
        }
    }
}

fn unless_empty<T, S>(list: &[T], compile: impl FnOnce(&[T]) -> S) -> Option<S> {
    (!list.is_empty()).then(|| compile(list))
}
