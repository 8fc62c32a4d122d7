//! Policy: which flows to decrypt, bypass or block, and how strictly.
//!
//! Compiled once from the configuration, immutable, shared by all workers. The first matching rule wins; a flow that no
//! rule matches gets the default. Matching allocates nothing.

mod content;
mod glob;
mod lists;
mod name_index;
mod names;
mod networks;
mod path;
mod profile;
mod rule;
mod tally;

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::event::Action;
use crate::mirror::Shown;
use crate::reason::Reason;
use crate::starttls::Protocol;

pub use content::{
    Answer, ConnectionFacts, ContentAction, ContentPolicy, ContentRule, ContentRuleId, Decided,
    DecryptedFlow, Direction, FieldEdit, Glob, HeaderRule, Hold, Inside, Inspect, Inspection, Known,
    LastFound, LateKey, OnRange, OnUnread, PatternError, RequestFacts, Respond, ResponseFacts,
    SignatureRules, SizeLimits, Standing, TextPattern, is_editable,
};
pub use lists::{
    BadLine, Format, HashLists, List, ListId, ListKind, ListMask, Lists, ListsBuilder, MAX_ENTRIES, MAX_LINE,
    MAX_LISTS, Report,
};
use name_index::NameIndex;
use names::HostName;
pub use names::{NameError, NamePattern};
pub use profile::{
    ClientCertificateAction, DefectAction, EchAction, NoNameAction, Profile, TlsVersion, UnsupportedAction,
    key_of_defect,
};
use rule::CompiledRule;
pub use rule::Rule;
pub use tally::{MAX_COUNTED_RULES, Tallies, Tally};

/// What is known of a flow from its SYN on.
#[derive(Clone, Copy, Debug)]
pub struct FlowFacts<'a> {
    /// Name of the wire.
    pub wire: &'a str,
    /// Outermost VLAN id; none: untagged.
    pub vlan: Option<u16>,
    /// The end that sent the SYN.
    pub client: SocketAddr,
    /// The end that it was sent to.
    pub server: SocketAddr,
}

/// What a ClientHello adds.
#[derive(Clone, Copy, Debug)]
pub struct HelloFacts<'a> {
    /// Server name, as the client wrote it.
    pub sni: Option<&'a str>,
    /// Offered application protocols.
    pub alpn: &'a [Box<[u8]>],
    /// JA4 fingerprint.
    pub ja4: &'a str,
}

/// How a blocked connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockWith {
    /// With a TLS alert to the client and a reset to the server.
    #[default]
    Alert,
    /// With resets only.
    Reset,
    /// With a page in a TLS session of its own, and a reset to the server, where the ClientHello allows that; else as
    /// [`Alert`](Self::Alert) does.
    Page,
}

/// Whom a client's SYN reaches while nobody knows yet what it wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstContact {
    /// The server, who answers it: the TCP handshake is between both ends.
    #[default]
    ServerFirst,
    /// Nobody: the engine answers in the server's place, and the server hears of the client when policy lets the ClientHello pass.
    Hold,
}

/// What to do with a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Terminate, inspect and re-encrypt it, as strictly as the profile says.
    Decrypt(Arc<Profile>),
    /// Leave it as it is.
    Bypass,
    /// End it.
    Block(BlockWith),
}

impl Decision {
    /// As configurations have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Decrypt(_) => "decrypt",
            Self::Bypass => "bypass",
            Self::Block(_) => "block",
        }
    }
}

/// A decision and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Name of the rule that matched; none: the default.
    pub rule: Option<Arc<str>>,
    /// What to do.
    pub decision: Decision,
}

/// The server ports whose flows are looked at; all others pass through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every TCP port: the first bytes show whether it is TLS.
    Any,
    /// These.
    Only(Vec<u16>),
}

impl Ports {
    /// It is one of them.
    pub fn contain(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Only(ports) => ports.contains(&port),
        }
    }
}

/// The ports whose flows go over to TLS in place, and what becomes of those that do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartTls {
    /// Each port once.
    pub ports: Vec<(u16, Protocol)>,
    /// The server does not offer it.
    pub on_stripped: UnsupportedAction,
    /// The client does not want it.
    pub on_unused: UnsupportedAction,
}

impl StartTls {
    /// What flows to this port speak before they go over to TLS; none: TLS from the start.
    pub fn protocol(&self, port: u16) -> Option<Protocol> {
        self.ports.iter().find(|(of, _)| *of == port).map(|(_, protocol)| *protocol)
    }

    /// What becomes of a flow that goes on in plain, for this reason.
    pub fn action(&self, reason: Reason) -> UnsupportedAction {
        match reason {
            Reason::StartTlsStripped => self.on_stripped,
            _ => self.on_unused,
        }
    }
}

/// All rules, compiled.
#[derive(Debug)]
pub struct Policy {
    /// With those of `starttls`.
    ports: Ports,
    starttls: StartTls,
    /// Ports that are in `ports` only for `starttls`.
    only_starttls: Vec<u16>,
    rules: Vec<CompiledRule>,
    /// The places of rules by the server names that they list.
    by_name: NameIndex,
    /// The places of rules by the list of server names that they ask for.
    by_list: Vec<Vec<usize>>,
    lists: Arc<Lists>,
    /// The places of rules that do not ask for a server name, in order.
    nameless: Vec<usize>,
    /// The places of rules that say who is to be held, or settle flows at the SYN, in order.
    at_contact: Vec<usize>,
    default: Decision,
    /// Of flows that no rule matches.
    contact: FirstContact,
    /// What rules say of mirrors, by their names; those that say nothing are not in it.
    shown: HashMap<Arc<str>, Shown>,
    tally: Arc<Tally>,
    profile_tally: Arc<Tally>,
}

impl Policy {
    /// Compiles rules, in their order of precedence, and the decision for flows that none of them matches.
    pub fn compile(ports: Ports, rules: &[Rule], default: Decision) -> Self {
        Self::compile_with_lists(ports, rules, default, Arc::default())
    }

    /// Compiles rules that may ask for lists.
    pub fn compile_with_lists(ports: Ports, rules: &[Rule], default: Decision, lists: Arc<Lists>) -> Self {
        let mut by_name = NameIndex::default();
        let mut by_list = vec![Vec::new(); lists.iter().count()];
        for (place, rule) in rules.iter().enumerate() {
            // A list that there is not has no names.
            if let Some(places) = rule.sni_list.and_then(|list| by_list.get_mut(list.index())) {
                places.push(place);
            }
            rule.sni.iter().for_each(|pattern| by_name.insert(pattern, place));
        }
        let says = |rule: &Rule| rule.contact == FirstContact::Hold || !rule.asks_hello();
        let at_contact = (0..rules.len()).filter(|place| says(&rules[*place])).collect();
        let shown = rules.iter().filter(|rule| rule.mirror != Shown::ByProfile);
        let shown = shown.map(|rule| (rule.name.as_str().into(), rule.mirror.clone())).collect();
        let rules: Vec<_> = rules.iter().map(CompiledRule::new).collect();
        let nameless = (0..rules.len()).filter(|place| !rules[*place].asks_name()).collect();
        let (contact, tally, profile_tally) = (FirstContact::default(), Arc::default(), Arc::default());
        let (starttls, only_starttls) = (StartTls::default(), Vec::new());
        Self {
            ports,
            starttls,
            only_starttls,
            rules,
            by_name,
            by_list,
            lists,
            nameless,
            at_contact,
            default,
            contact,
            shown,
            tally,
            profile_tally,
        }
    }

    /// Flows that no rule matches make their first contact like this.
    #[must_use]
    pub fn with_contact(self, contact: FirstContact) -> Self {
        Self { contact, ..self }
    }

    /// Looks at these ports, too: their flows begin in plain text.
    #[must_use]
    pub fn with_starttls(mut self, starttls: StartTls) -> Self {
        if let Ports::Only(ports) = &mut self.ports {
            let new = starttls.ports.iter().map(|(port, _)| *port).filter(|port| !ports.contains(port));
            self.only_starttls = new.collect();
            ports.extend(&self.only_starttls);
        }
        Self { starttls, ..self }
    }

    /// Flows that begin in plain text.
    pub fn starttls(&self) -> &StartTls {
        &self.starttls
    }

    /// UDP to this port may be QUIC: it is intercepted, and not only for what begins in plain text over TCP.
    pub fn may_be_quic(&self, server_port: u16) -> bool {
        !self.has_all_ports() && !self.only_starttls.contains(&server_port)
    }

    /// Holds no first contact, whatever the rules say: for captures, in which the server has answered.
    #[must_use]
    pub fn without_hold(mut self) -> Self {
        self.rules.iter_mut().for_each(CompiledRule::contact_server_first);
        self.with_contact(FirstContact::ServerFirst)
    }

    /// Counted there by [`Self::count`].
    #[must_use]
    pub fn counted_in(self, tallies: &Tallies) -> Self {
        let (tally, profile_tally) = (Arc::clone(&tallies.connections), Arc::clone(&tallies.profiles));
        Self { tally, profile_tally, ..self }
    }

    /// A connection goes by this verdict.
    pub fn count(&self, verdict: &Verdict) {
        self.tally.count(verdict.rule.as_deref().unwrap_or_default(), verdict.decision.name());
    }

    /// This became of a ClientHello that a rule gave to this profile.
    pub fn count_profile(&self, profile: &str, action: Action) {
        self.profile_tally.count(profile, action.name());
    }

    /// Whether flows to this port are looked at. The others pass through: no rule is asked.
    pub fn candidate(&self, server_port: u16) -> bool {
        self.ports.contain(server_port)
    }

    /// The ports whose flows are looked at.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The lists that its rules may ask for.
    pub fn lists(&self) -> &Arc<Lists> {
        &self.lists
    }

    /// Flows to every port are looked at.
    pub fn has_all_ports(&self) -> bool {
        self.ports == Ports::Any
    }

    /// The verdict at the SYN, if it is the same whatever the ClientHello will say; `None`: wait for the ClientHello.
    ///
    /// A rule that asks about the ClientHello and otherwise matches might win over all rules after it, so none of those can settle
    /// the flow.
    pub fn at_syn(&self, flow: &FlowFacts<'_>) -> Option<Verdict> {
        match self.rules.iter().find(|rule| rule.matches_flow(flow, &self.lists)) {
            Some(rule) if rule.asks_hello() => None,
            rule => Some(self.verdict(rule)),
        }
    }

    /// A flow that [`at_syn`](Self::at_syn) does not settle is to be kept from its server until it is decided: of the rules that may
    /// still decide it, one says so.
    pub fn holds(&self, flow: &FlowFacts<'_>) -> bool {
        let rules = self.at_contact.iter().map(|place| &self.rules[*place]);
        for rule in rules.filter(|rule| rule.matches_flow(flow, &self.lists)) {
            if rule.contact() == FirstContact::Hold {
                return true;
            }
            if !rule.asks_hello() {
                return false; // it decides what those before it leave
            }
        }
        self.contact == FirstContact::Hold
    }

    /// The verdict once the ClientHello is known.
    pub fn at_hello(&self, flow: &FlowFacts<'_>, hello: &HelloFacts<'_>) -> Verdict {
        let mut first = FirstMatch { policy: self, flow, hello, place: self.rules.len() };
        if let Some(name) = hello.sni.map(HostName::new) {
            self.by_name.matching(&name).for_each(|places| first.try_each(places));
            for list in self.lists.of_host(&name).iter() {
                first.try_each(&self.by_list[list.index()]);
            }
        }
        first.try_each(&self.nameless);
        self.verdict(self.rules.get(first.place))
    }

    /// Which mirrors show the flows on which this rule has decided.
    pub fn shown(&self, rule: Option<&str>) -> &Shown {
        rule.and_then(|rule| self.shown.get(rule)).unwrap_or(&Shown::ByProfile)
    }

    /// A connection like this one to a server of this name would be decrypted under the same profile.
    pub fn treats_alike(&self, flow: &DecryptedFlow, host: &str) -> bool {
        let DecryptedFlow { profile, client, server, connection, .. } = flow;
        let ConnectionFacts { wire, vlan, alpn, ja4, rule: _ } = connection;
        let facts = FlowFacts { wire, vlan: *vlan, client: *client, server: *server };
        let verdict = self.at_hello(&facts, &HelloFacts { sni: Some(host), alpn, ja4 });
        matches!(verdict.decision, Decision::Decrypt(other) if other.name == profile.name)
    }

    /// Asks every rule about a flow, up to the first that matches, and says what each has answered.
    pub fn explain(&self, flow: &FlowFacts<'_>, hello: &HelloFacts<'_>) -> Vec<(Arc<str>, Answer)> {
        let mut named = Vec::new();
        if let Some(name) = hello.sni.map(HostName::new) {
            named.extend(self.by_name.matching(&name).flatten());
            named.extend(self.lists.of_host(&name).iter().flat_map(|list| &self.by_list[list.index()]));
        }
        let mut answers = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let answer = match rule.broken(flow, hello, &self.lists) {
                Some(condition) => Answer::No(condition),
                None if rule.asks_name() && !named.contains(&place) => Answer::No("sni"),
                None => Answer::Matches,
            };
            answers.push((Arc::clone(rule.name()), answer));
            if answer == Answer::Matches {
                break;
            }
        }
        answers
    }

    fn verdict(&self, rule: Option<&CompiledRule>) -> Verdict {
        match rule {
            Some(rule) => Verdict { rule: Some(Arc::clone(rule.name())), decision: rule.decision().clone() },
            None => Verdict { rule: None, decision: self.default.clone() },
        }
    }
}

/// The first rule that matches, of those that were tried.
struct FirstMatch<'m> {
    policy: &'m Policy,
    flow: &'m FlowFacts<'m>,
    hello: &'m HelloFacts<'m>,
    /// Behind the last rule: none.
    place: usize,
}

impl FirstMatch<'_> {
    /// Tries rules whose condition on the server name holds, in their order.
    fn try_each(&mut self, places: &[usize]) {
        let before = places.iter().copied().take_while(|place| *place < self.place);
        let matching = before.into_iter().find(|place| {
            let rule = &self.policy.rules[*place];
            rule.matches_flow(self.flow, &self.policy.lists) && rule.matches_hello(self.hello)
        });
        self.place = matching.unwrap_or(self.place);
    }
}
