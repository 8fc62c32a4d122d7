//! `[intercept]`: which flows are looked at, and what becomes of those that are not TLS from their start.

use crate::config::reader::Table;
use crate::flow::OutsideTls;
use crate::policy::Ports;

/// `[intercept]`
#[derive(Clone, Debug)]
pub struct Intercept {
    /// Server ports whose flows are looked at.
    pub ports: Ports,
    /// What becomes of what is not TLS, and of flows seen from the middle.
    pub outside_tls: OutsideTls,
}

impl Default for Intercept {
    fn default() -> Self {
        Self {
            ports: Ports::Only(vec![443]),
            outside_tls: OutsideTls { reset_midstream: false, bypass_not_tls: false },
        }
    }
}

impl Intercept {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let default = Self::default();
        let OutsideTls { reset_midstream, bypass_not_tls } = default.outside_tls;
        let intercept = Self {
            ports: read_ports(&table, default.ports),
            outside_tls: OutsideTls {
                reset_midstream: table.choice(
                    "midstream",
                    &[("forward", false), ("reset", true)],
                    reset_midstream,
                ),
                bypass_not_tls: table.choice(
                    "not_tls",
                    &[("block", false), ("bypass", true)],
                    bypass_not_tls,
                ),
            },
        };
        table.finish();
        intercept
    }
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
