//! A report for a roll-out, from a capture of a network before anything is decrypted: [`tally`] counts connections as they end,
//! [`text`] and [`html`] show what it comes to, and serde writes it as JSON.

mod bounded;
mod html;
mod problem;
mod tally;
mod text;

use serde::Serialize;

pub(super) use self::html::Html;
use self::problem::Impact;
pub(super) use self::problem::Judge;
pub(super) use self::tally::{Source, Tally};
pub(super) use self::text::Text;

/// All that a report says. Of each list, the weightiest come first; `further_*` counts what had no room.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    configuration: String,
    wire: String,
    captures: Vec<String>,
    /// First and last packet, as RFC 3339.
    from: Option<String>,
    to: Option<String>,
    packets: u64,
    /// Packets of which the capture has only the beginning.
    cut: u64,
    /// TCP connections to intercepted ports.
    flows: Decisions,
    /// What the servers of those have chosen; `unseen`: the capture does not show it.
    versions: Vec<Count>,
    /// TLS 1.2 and before, whose certificates were seen, and TLS 1.3, which hides them.
    certificates_seen: u64,
    certificates_hidden: u64,
    /// Hellos with ECH, real or made to look so: their names may be others.
    ech: u64,
    problems: Vec<ProblemRow>,
    further_problems: u64,
    names: Vec<NameRow>,
    further_names: u64,
    clients: Vec<ClientRow>,
    further_clients: u64,
    /// What went past intercepted ports, and what no engine looks into.
    uninspected: Uninspected,
    /// Connections of which less is known than the capture has.
    not_observed: u64,
    dropped: Vec<Dropped>,
    /// Why the end of the captures was not reached.
    stopped: Option<String>,
}

/// Connections by what becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Decisions {
    decrypt: u64,
    bypass: u64,
    block: u64,
    /// They ended before their hello.
    undecided: u64,
}

impl Decisions {
    const NAMES: [&str; 4] = ["decrypt", "bypass", "block", "undecided"];

    pub(super) fn all(self) -> [u64; 4] {
        [self.decrypt, self.bypass, self.block, self.undecided]
    }

    fn total(self) -> u64 {
        self.all().iter().sum()
    }
}

/// How many there are of something.
#[derive(Debug, Serialize)]
struct Count {
    name: String,
    flows: u64,
}

/// What would go wrong with a server, or a kind of client.
#[derive(Debug, Serialize)]
struct ProblemRow {
    impact: Impact,
    code: &'static str,
    /// A server's name or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// JA4 of a kind of client.
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<String>,
    flows: u64,
    /// At most 64 are told apart.
    clients: usize,
    example_client: String,
    found: String,
    advice: &'static str,
}

impl ProblemRow {
    /// Whom it is about.
    fn who(&self) -> &str {
        self.server.as_deref().or(self.ja4.as_deref()).unwrap_or("-")
    }
}

/// A server's name, or the address of one that was asked for none.
#[derive(Debug, Serialize)]
struct NameRow {
    name: String,
    #[serde(flatten)]
    decisions: Decisions,
    clients: usize,
    /// Rules that decided, at most four.
    rules: Vec<String>,
    versions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// "ok", or what is wrong with the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    problems: Vec<&'static str>,
}

/// A kind of client, by its fingerprint.
#[derive(Debug, Serialize)]
struct ClientRow {
    ja4: String,
    #[serde(flatten)]
    decisions: Decisions,
    clients: usize,
    example_client: String,
    /// Names that it asked for; at most 64 are told apart.
    names: usize,
    example_name: Option<String>,
    /// The newest version that it offers.
    version: &'static str,
    alpn: Vec<String>,
    problems: Vec<&'static str>,
}

/// What passes uninspected whatever the rules say, or is dropped.
#[derive(Debug, Serialize)]
struct Uninspected {
    /// TCP to ports that are not intercepted.
    ports: Vec<PortRow>,
    further_ports: u64,
    /// Classes of frames, and what becomes of them.
    frames: Vec<FramesRow>,
    /// Names that were asked for over QUIC.
    quic: Vec<Count>,
    further_quic: u64,
}

/// A port that is not intercepted.
#[derive(Debug, Serialize)]
struct PortRow {
    port: u16,
    flows: u64,
    /// Of which begin with TLS.
    tls: u64,
    /// Of which go over to TLS behind another protocol: STARTTLS, or a proxy.
    starttls: u64,
    example_name: Option<String>,
    example_server: String,
}

/// Frames of one class.
#[derive(Debug, Serialize)]
struct FramesRow {
    class: &'static str,
    help: &'static str,
    /// "forward" or "drop".
    action: &'static str,
    frames: u64,
}

/// Packets that the engine dropped.
#[derive(Debug, Serialize)]
struct Dropped {
    reason: &'static str,
    help: &'static str,
    packets: u64,
}

impl Report {
    /// Problems of this impact.
    fn problems_of(&self, impact: Impact) -> impl Iterator<Item = &ProblemRow> {
        self.problems.iter().filter(move |problem| problem.impact == impact)
    }

    /// Servers, and kinds of clients, with a problem of this impact.
    fn affected(&self, impact: Impact) -> (usize, usize) {
        let count = |of_server: bool| {
            let who = self.problems_of(impact).filter(|problem| problem.server.is_some() == of_server);
            who.map(ProblemRow::who).collect::<std::collections::BTreeSet<_>>().len()
        };
        (count(true), count(false))
    }

    /// When, of what, and by which rules.
    fn scope(&self) -> String {
        let time = match (&self.from, &self.to) {
            (Some(from), Some(to)) => format!("{from} to {to}, "),
            _ => String::new(),
        };
        format!("{time}{} packets; {}, wire {}", grouped(self.packets), self.configuration, self.wire)
    }

    /// What a capture cannot tell, and what this one does not.
    fn caveats(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.certificates_hidden > 0 {
            said.push(format!(
                "{} connections spoke TLS 1.3, which hides certificates and requests for client certificates: \
                 what is wrong there comes out when they are decrypted",
                grouped(self.certificates_hidden)
            ));
        }
        if self.ech > 0 {
            said.push(format!(
                "{} hellos have ECH, real or made to look so: their names may be others",
                grouped(self.ech)
            ));
        }
        if self.cut > 0 {
            said.push(format!(
                "{} packets are cut short and were not read: capture with tcpdump -s 0",
                grouped(self.cut)
            ));
        }
        if self.not_observed > 0 {
            said.push(format!(
                "{} connections were not seen whole: lost packets, or too many at a time",
                grouped(self.not_observed)
            ));
        }
        said.extend(self.stopped.iter().map(|why| format!("the captures were not read to their end: {why}")));
        said
    }
}

/// Thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "3 servers, 1 kind of client".
fn servers_and_clients(servers: usize, clients: usize) -> String {
    let servers = (servers > 0).then(|| format!("{servers} server{}", if servers == 1 { "" } else { "s" }));
    let clients = match clients {
        0 => None,
        1 => Some("1 kind of client".to_owned()),
        clients => Some(format!("{clients} kinds of clients")),
    };
    servers.into_iter().chain(clients).collect::<Vec<_>>().join(", ")
}

/// A share in whole percent.
fn percent(part: u64, whole: u64) -> String {
    match (part, (part * 100).checked_div(whole)) {
        (0, _) | (_, None) => "-".into(),
        (_, Some(0)) => "< 1 %".into(),
        (_, Some(percent)) => format!("{percent} %"),
    }
}
