//! `[policy]` and `[[rule]]`: which flows are decrypted, bypassed or blocked.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use wireglass_core::mirror::Shown;
use wireglass_core::policy::{BlockWith, Decision, FirstContact, ListKind, Rule};

use super::{NamedLists, Profiles, Wire};
use crate::config::near::nearest;
use crate::config::reader::{Table, Value};

const TEACH_DEFAULT: &str = "what to do with flows that no rule matches: \"decrypt\" (inspect them: every client must trust \
    the CA), \"bypass\" (let them pass untouched: nothing is inspected but what rules name) or \"block\" (end them: nothing \
    passes but what rules name)";

const ACTIONS: &[(&str, Action)] =
    &[("decrypt", Action::Decrypt), ("bypass", Action::Bypass), ("block", Action::Block)];

const BLOCK_WITH: &[(&str, BlockWith)] =
    &[("alert", BlockWith::Alert), ("reset", BlockWith::Reset), ("page", BlockWith::Page)];

const CONTACT: &[(&str, FirstContact)] =
    &[("server_first", FirstContact::ServerFirst), ("hold", FirstContact::Hold)];

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Decrypt,
    Bypass,
    Block,
}

/// `[policy]` and all `[[rule]]`s: the source of a [`wireglass_core::policy::Policy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRules {
    /// In their order: the first that matches wins.
    pub rules: Vec<Rule>,
    /// For flows that no rule matches.
    pub default: Decision,
    /// Whom the SYN of such a flow reaches.
    pub contact: FirstContact,
}

impl PolicyRules {
    /// None if there were faults.
    pub(in crate::config) fn read(
        document: &Table<'_>,
        profiles: &Profiles,
        wires: &[Wire],
        lists: &NamedLists,
        mirrors: &[&str],
    ) -> Option<Self> {
        let (default, contact) = read_default(document.table("policy"), profiles);
        let mut names = HashSet::new();
        let tables = document.tables("rule");
        let written = tables.len();
        let rules: Vec<_> = tables
            .into_iter()
            .filter_map(|table| read_rule(table, profiles, (wires, mirrors), lists, &mut names))
            .collect();
        (rules.len() == written).then_some(Self { rules, default: default?, contact })
    }

    /// Something may be decrypted, be it to answer it with a page.
    pub fn decrypts(&self) -> bool {
        let mut all = self.rules.iter().map(|rule| &rule.decision).chain([&self.default]);
        all.any(|decision| matches!(decision, Decision::Decrypt(_) | Decision::Block(BlockWith::Page)))
    }
}

fn read_default(table: Table<'_>, profiles: &Profiles) -> (Option<Decision>, FirstContact) {
    let action = table.required("default", TEACH_DEFAULT).and_then(|value| value.choice(ACTIONS));
    let profile = profiles.named_by(table.value("profile", "\"default\"").as_ref());
    let contact = table.choice("contact", CONTACT, FirstContact::default());
    table.finish();
    let default = match action {
        Some(Action::Decrypt) => profile.map(Decision::Decrypt),
        Some(Action::Bypass) => Some(Decision::Bypass),
        Some(Action::Block) => Some(Decision::Block(BlockWith::default())),
        None => None,
    };
    (default, contact)
}

fn read_rule<'a>(
    table: Table<'a>,
    profiles: &Profiles,
    (wires, mirrors): (&[Wire], &[&str]),
    lists: &NamedLists,
    names: &mut HashSet<&'a str>,
) -> Option<Rule> {
    let name = table.required("name", "a name for the logs").and_then(|value| {
        let name = value.name()?;
        if !names.insert(name) {
            value.expected("a name that no other rule has");
        }
        Some(name)
    });
    let decision = read_decision(&table, profiles);
    let domains = |value: &Value<'_>| lists.named_by(value, &[ListKind::Domain]);
    let addresses = |value: &Value<'_>| lists.named_by(value, &[ListKind::Ip]);
    let (source, source_list) = table.any_of_or_list("source", |value| read_network(&value), addresses);
    let (destination, destination_list) =
        table.any_of_or_list("destination", |value| read_network(&value), addresses);
    let (sni, sni_list) = table.any_of_or_list("sni", |value| value.parse(), domains);
    let rule = Rule {
        wire: table.value("wire", "any").and_then(|value| read_wire(&value, wires)),
        vlan: table.value("vlan", "any").and_then(|value| value.integer(1..=4094)),
        source,
        source_list,
        destination,
        destination_list,
        ports: table.any_of("ports", |value| value.integer(1..=u16::MAX)),
        sni,
        sni_list,
        alpn: table.any_of("alpn", |value| read_alpn(&value)),
        ja4: table.any_of("ja4", |value| read_ja4(&value)),
        // The name and the decision are put in place below, so that the faults of all keys are found first.
        ..Rule::new("", Decision::Bypass)
    };
    let mirror = table.value("mirror", "any");
    let contact = table.value("contact", "\"server_first\"");
    let held = contact.as_ref().and_then(|value| value.choice(CONTACT));
    table.finish();
    let decision = decision?;
    if let (Some(value), Some(FirstContact::Hold)) = (contact, held)
        && !matches!(decision, Decision::Decrypt(_))
        && !rule.asks_hello()
    {
        value.say("this rule decides at the SYN, and nothing is held then: leave the key out, or add `sni`, `alpn` or `ja4`");
    }
    if let Some(value) = &mirror
        && !matches!(decision, Decision::Decrypt(_))
    {
        value.say("only a rule with action = \"decrypt\" has this key");
    }
    let mirror = mirror.map(|value| read_mirror(&value, mirrors)).unwrap_or_default();
    Some(Rule { name: name?.to_owned(), mirror, decision, contact: held.unwrap_or_default(), ..rule })
}

/// The name of a mirror, or none.
fn read_mirror(value: &Value<'_>, mirrors: &[&str]) -> Shown {
    match value.text() {
        Some("none") => Shown::Nowhere,
        Some(name) if mirrors.contains(&name) => Shown::At(name.into()),
        Some(name) => {
            let hint = nearest(name, mirrors.iter().copied());
            let hint = hint.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
            value.say(format!("no `[mirror.{name}]` in this file{hint}; \"none\" is no mirror"));
            Shown::ByProfile
        }
        None => Shown::ByProfile,
    }
}

fn read_decision(table: &Table<'_>, profiles: &Profiles) -> Option<Decision> {
    let action = table
        .required("action", "\"decrypt\", \"bypass\" or \"block\"")
        .and_then(|value| value.choice(ACTIONS));
    let profile = table.value("profile", "\"default\"");
    let block_with = table.value("block_with", "\"alert\"");
    if let (Some(value), Some(Action::Bypass | Action::Block)) = (&profile, action) {
        value.say("only a rule with action = \"decrypt\" has a profile");
    }
    if let (Some(value), Some(Action::Decrypt | Action::Bypass)) = (&block_with, action) {
        value.say("only a rule with action = \"block\" has this key");
    }
    Some(match action? {
        Action::Decrypt => Decision::Decrypt(profiles.named_by(profile.as_ref())?),
        Action::Bypass => Decision::Bypass,
        Action::Block => Decision::Block(match block_with {
            Some(value) => value.choice(BLOCK_WITH)?,
            None => BlockWith::default(),
        }),
    })
}

fn read_wire(value: &Value<'_>, wires: &[Wire]) -> Option<String> {
    let name = value.text()?;
    if !wires.iter().any(|wire| &*wire.name == name) {
        let hint = nearest(name, wires.iter().map(|wire| &*wire.name))
            .map(|near| format!(" (did you mean {near:?}?)"))
            .unwrap_or_default();
        value.say(format!("no `[[wire]]` of the name {name:?}{hint}"));
    }
    Some(name.to_owned())
}

/// A network in CIDR notation, or one address.
pub(super) fn read_network(value: &Value<'_>) -> Option<IpNet> {
    let text = value.text()?;
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) if network.addr() == network.network() => Some(network),
        Ok(network) => {
            value.expected(&format!("a network without host bits ({})", network.trunc()));
            None
        }
        Err(_) => {
            value.expected("a network (\"10.0.0.0/8\", \"2001:db8::/32\") or an address");
            None
        }
    }
}

fn read_alpn(value: &Value<'_>) -> Option<Vec<u8>> {
    let protocol = value.text()?.as_bytes();
    // RFC 7301 section 3.1: ProtocolName<1..2^8-1>.
    if !(1..=255).contains(&protocol.len()) {
        value.expected("a protocol name of 1 to 255 bytes (\"h2\", \"http/1.1\")");
    }
    Some(protocol.to_vec())
}

/// The shape of JA4: ten characters, and twice twelve hexadecimal digits.
fn read_ja4(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let is_hash =
        |part: &str| part.len() == 12 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<_> = text.split('_').collect();
    let right =
        matches!(parts[..], [a, b, c] if a.len() == 10 && a.starts_with('t') && is_hash(b) && is_hash(c));
    if !right {
        value.expected("a JA4 of TLS over TCP, like \"t13d1516h2_8daaf6152771_e5627efa2ab1\"");
    }
    Some(text.to_owned())
}
