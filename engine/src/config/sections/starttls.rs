//! `[starttls]`: ports of protocols that begin in plain text and go over to TLS in place.

use wireglass_core::policy::{StartTls, UnsupportedAction};
use wireglass_core::starttls::Protocol;

use crate::config::reader::Table;

const ACTIONS: &[(&str, UnsupportedAction)] =
    &[("block", UnsupportedAction::Block), ("bypass", UnsupportedAction::Bypass)];

/// Reads `[starttls]`.
pub(in crate::config) fn read(table: &Table<'_>) -> StartTls {
    let mut ports: Vec<(u16, Protocol)> = Vec::new();
    for &protocol in Protocol::ALL {
        let value = table.value(protocol.name(), "[]");
        for item in value.map(|value| value.items()).unwrap_or_default() {
            let Some(port) = item.integer(1..=u16::MAX) else { continue };
            match ports.iter().find(|(other, _)| *other == port) {
                Some((_, other)) => {
                    item.say(format!("port {port} is in `starttls.{}` already", other.name()))
                }
                None => ports.push((port, protocol)),
            }
        }
    }
    let on_stripped = table.choice("on_stripped", ACTIONS, UnsupportedAction::default());
    let on_unused = table.choice("on_unused", ACTIONS, UnsupportedAction::default());
    table.finish();
    StartTls { ports, on_stripped, on_unused }
}
