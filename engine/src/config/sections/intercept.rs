//! `[intercept]`: which flows are looked at, and what becomes of those that are not TLS from their start; `[passthrough]`: what
//! becomes of frames that are not looked into.

use tcp_stack::Duration;
use wireglass_core::flow::{Midstream, OutsideTls};
use wireglass_core::packet::{PassAction, Passthrough, Uninspected};
use wireglass_core::policy::Ports;

use crate::config::reader::Table;

/// `[intercept]` and `[passthrough]`
#[derive(Clone, Debug)]
pub struct Intercept {
    /// Server ports whose flows are looked at.
    pub ports: Ports,
    /// What becomes of all that is not TLS from its start.
    pub outside_tls: OutsideTls,
}

impl Intercept {
    /// `decrypts`: the policy decrypts something. Where it does not, QUIC takes nothing past the engine.
    pub(in crate::config) fn read(table: Table<'_>, passthrough: Table<'_>, decrypts: bool) -> Self {
        let ports = read_ports(&table, Ports::Only(vec![443]));
        let resets = table.choice("midstream", &[("forward", false), ("reset", true)], true);
        let grace = table.integer("midstream_grace_seconds", 0..=604_800, 600);
        let bypass_not_tls = table.choice("not_tls", &[("block", false), ("bypass", true)], false);
        let mut actions = read_passthrough(&passthrough);
        for (key, class) in [("quic", Uninspected::Quic), ("dtls", Uninspected::Dtls)] {
            let words = [("block", PassAction::Drop), ("forward", PassAction::Forward)];
            let default = if decrypts { PassAction::Drop } else { PassAction::Forward };
            let action = table.value(key, "\"block\"").map_or(Some(default), |value| value.choice(&words));
            actions.set(class, action.unwrap_or(default));
        }
        table.finish();
        let midstream = match resets {
            true => Midstream::Reset { after: Duration::from_secs(grace) },
            false => Midstream::Forward,
        };
        Self { ports, outside_tls: OutsideTls { midstream, bypass_not_tls, passthrough: actions } }
    }
}

fn read_passthrough(table: &Table<'_>) -> Passthrough {
    let mut passthrough = Passthrough::default();
    let words = PassAction::ALL.map(|action| (action.name(), action));
    for &class in Uninspected::ALL.iter().filter(|class| !class.is_intercepted()) {
        passthrough.set(class, table.choice(class.name(), &words, class.default_action()));
    }
    table.finish();
    passthrough
}

fn read_ports(table: &Table<'_>, default: Ports) -> Ports {
    let Some(value) = table.value("ports", "[443]") else { return default };
    if value.is_text() {
        value.choice(&[("any", ())]);
        return Ports::Any;
    }
    let items = value.items();
    if value.is_list() && items.is_empty() {
        value.expected("at least one port, or \"any\"");
    }
    Ports::Only(items.iter().filter_map(|item| item.integer(1..=u16::MAX)).collect())
}
