//! What became of the flows, as a table or as JSON.

use std::fmt::{self, Display};
use std::net::IpAddr;

use serde::Serialize;
use wireglass_core::event::Action;

use super::player::Played;
use crate::cli::plain::Plain;

/// One flow as a JSON object.
#[derive(Serialize)]
pub(super) struct Row<'p> {
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'p str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    client_alpns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<&'p str>,
    /// `decrypt`, `bypass` or `block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'p> Row<'p> {
    pub(super) fn new(flow: &'p Played) -> Self {
        Self {
            src_ip: flow.client.ip(),
            src_port: flow.client.port(),
            dest_ip: flow.server.ip(),
            dest_port: flow.server.port(),
            vlan: flow.vlan.iter().flatten().copied().collect(),
            sni: flow.sni.as_deref(),
            client_alpns: flow.alpn.iter().map(|name| name.escape_ascii().to_string()).collect(),
            ja4: flow.ja4.as_deref(),
            action: flow.decision.map(Action::name),
            rule: flow.rule.as_deref(),
            profile: flow.profile.as_deref(),
            reason: flow.reason.map(|reason| reason.code()),
        }
    }

    /// What the table says: names that strangers chose are escaped, since they go to a terminal.
    fn cells(&self) -> [String; 6] {
        let text = |text: Option<&str>| text.map_or_else(|| "-".into(), |text| Plain(text).to_string());
        let end = |ip: IpAddr, port: u16| std::net::SocketAddr::new(ip, port).to_string();
        let why = match (self.rule, self.reason, self.action) {
            (Some(rule), None, _) => format!("rule {}", Plain(rule)),
            (Some(rule), Some(reason), _) => format!("rule {}; {reason}", Plain(rule)),
            (None, Some(reason), _) => reason.to_owned(),
            (None, None, Some(_)) => "default".to_owned(),
            (None, None, None) => "-".to_owned(),
        };
        [
            format!("{} > {}", end(self.src_ip, self.src_port), end(self.dest_ip, self.dest_port)),
            text(self.sni),
            if self.client_alpns.is_empty() { "-".into() } else { self.client_alpns.join(",") },
            text(self.ja4),
            self.action.unwrap_or("undecided").to_owned(),
            why,
        ]
    }
}

/// A line of the table: a heading, or a flow. Columns are as wide as most contents: lines come while the capture is being read.
pub(super) struct Line([String; 6]);

impl Line {
    pub(super) fn heading() -> Self {
        Self(["FLOW", "SNI", "ALPN", "JA4", "DECISION", "WHY"].map(str::to_owned))
    }

    pub(super) fn of(row: &Row<'_>) -> Self {
        Self(row.cells())
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTHS: [usize; 5] = [43, 32, 12, 36, 9];
        let [cells @ .., last] = &self.0;
        for (cell, width) in cells.iter().zip(WIDTHS) {
            write!(f, "{cell:<width$}  ")?;
        }
        f.write_str(last)
    }
}
