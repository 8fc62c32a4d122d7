//! Counts connections as they end, in bounds.

use std::net::IpAddr;

use wireglass_core::event::Action;
use wireglass_core::reason::PacketDrop;
use wireglass_core::tls::ClientHello;
use wireglass_core::x509::describe_date;

use super::bounded::{Bounded, Clients, Sample};
use super::problem::{Impact, Judge, Presented, Problem};
use super::{
    ClientRow, Count, Decisions, Dropped, FramesRow, NameRow, PortRow, ProblemRow, Report, Uninspected,
};
use crate::cli::replay::onlooker::Ended;
use crate::cli::replay::player::Totals;

/// Names that are told apart.
const NAMES: usize = 50_000;
/// Kinds of clients.
const KINDS: usize = 4096;
/// Ports that are not intercepted.
const PORTS: usize = 1024;
const PROBLEMS: usize = 20_000;
/// Longest name that is kept: the DNS has no longer one.
const MAX_NAME: usize = 255;
const TLS13: u16 = 0x0304;

/// What was counted.
pub(in crate::cli::replay) struct Tally {
    judge: Judge,
    flows: Decisions,
    versions: Bounded<&'static str, u64>,
    certificates_seen: u64,
    certificates_hidden: u64,
    ech: u64,
    gaps: u64,
    names: Bounded<String, Name>,
    clients: Bounded<String, Kind>,
    problems: Bounded<ProblemKey, Trouble>,
    ports: Bounded<u16, Port>,
    quic: Bounded<String, u64>,
}

/// What a problem is about: its impact, its code, and a server's name or a client's JA4.
type ProblemKey = (Impact, &'static str, bool, String);

#[derive(Default)]
struct Name {
    decisions: Decisions,
    clients: Clients,
    rules: Sample<String, 4>,
    versions: Sample<&'static str, 4>,
    presented: Presented,
    problems: Sample<&'static str, 8>,
}

#[derive(Default)]
struct Kind {
    decisions: Decisions,
    clients: Clients,
    names: Sample<String, 64>,
    version: &'static str,
    alpn: Vec<String>,
    problems: Sample<&'static str, 8>,
}

#[derive(Default)]
struct Trouble {
    flows: u64,
    clients: Clients,
    found: String,
    advice: &'static str,
}

#[derive(Default)]
struct Port {
    flows: u64,
    tls: u64,
    starttls: u64,
    name: Option<String>,
    server: Option<IpAddr>,
}

/// Where the numbers come from.
pub(in crate::cli::replay) struct Source {
    pub(in crate::cli::replay) configuration: String,
    pub(in crate::cli::replay) wire: String,
    pub(in crate::cli::replay) captures: Vec<String>,
    /// First and last packet, in microseconds since 1970.
    pub(in crate::cli::replay) time: Option<(u64, u64)>,
    pub(in crate::cli::replay) totals: Totals,
    /// Connections that were lost sight of.
    pub(in crate::cli::replay) evicted: u64,
    pub(in crate::cli::replay) stopped: Option<String>,
}

impl Tally {
    pub(in crate::cli::replay) fn new(judge: Judge) -> Self {
        Self {
            judge,
            flows: Decisions::default(),
            versions: Bounded::new(8),
            certificates_seen: 0,
            certificates_hidden: 0,
            ech: 0,
            gaps: 0,
            names: Bounded::new(NAMES),
            clients: Bounded::new(KINDS),
            problems: Bounded::new(PROBLEMS),
            ports: Bounded::new(PORTS),
            quic: Bounded::new(NAMES),
        }
    }

    /// A hello over QUIC.
    pub(in crate::cli::replay) fn count_quic(&mut self, hello: &ClientHello) {
        let name = hello.sni.as_deref().map_or_else(|| "(no name)".into(), short);
        self.quic.entry(name).into_iter().for_each(|count| *count += 1);
    }

    /// A connection that is over.
    pub(in crate::cli::replay) fn count(&mut self, ended: &Ended) {
        if !ended.intercepted {
            return self.count_elsewhere(ended);
        }
        let decision = ended.played.as_ref().and_then(|played| played.decision);
        self.flows.count(decision);
        let sni = sni(ended);
        let name = sni.map_or_else(|| ended.server.ip().to_string(), short);
        self.count_facts(ended);
        let problems = self.judge.problems(ended, sni);
        let presented = self.judge.presented(ended, sni);
        let client = ended.client.ip();
        let version = ended.observed.server.leg().version;
        if let Some(row) = self.names.entry(name.clone()) {
            row.decisions.count(decision);
            row.clients.insert(client);
            let rule = ended.played.as_ref().and_then(|played| played.rule.as_deref());
            rule.into_iter().for_each(|rule| row.rules.insert(rule.to_owned()));
            version.into_iter().for_each(|version| row.versions.insert(version));
            problems.iter().for_each(|problem| row.problems.insert(problem.code));
            // The gravest stays, else the latest.
            if let Some(presented) = presented
                && row.presented.verdict.is_none_or(|verdict| verdict == "ok")
            {
                row.presented = presented;
            }
        }
        let ja4 = ended.played.as_ref().and_then(|played| played.ja4.clone());
        let ja4 = ja4.or_else(|| ended.observed.hello.as_ref().map(|hello| hello.info().ja4));
        if let Some(ja4) = &ja4
            && let Some(row) = self.clients.entry(ja4.clone())
        {
            row.decisions.count(decision);
            row.clients.insert(client);
            row.names.insert(name.clone());
            let of_client = problems.iter().filter(|problem| problem.of_client);
            of_client.for_each(|problem| row.problems.insert(problem.code));
            if let Some(hello) = &ended.observed.hello {
                row.version = newest(hello);
                row.alpn =
                    hello.alpn.iter().take(8).map(|name| short(&name.escape_ascii().to_string())).collect();
            }
        }
        for problem in problems {
            self.count_problem(problem, &name, ja4.as_deref(), client);
        }
    }

    fn count_problem(&mut self, problem: Problem, name: &str, ja4: Option<&str>, client: IpAddr) {
        let Problem { impact, code, of_client, found, advice } = problem;
        let ja4 = ja4.filter(|_| of_client);
        let key = (impact, code, ja4.is_some(), ja4.unwrap_or(name).to_owned());
        let Some(row) = self.problems.entry(key) else { return };
        row.flows += 1;
        row.clients.insert(client);
        (row.found, row.advice) = (found, advice);
    }

    fn count_facts(&mut self, ended: &Ended) {
        let facts = &ended.observed.server;
        self.gaps += u64::from(ended.observed.has_gap);
        self.certificates_seen += u64::from(!facts.chain.is_empty());
        self.certificates_hidden += u64::from(facts.version == TLS13);
        let hello = ended.observed.hello.as_ref();
        self.ech += u64::from(hello.is_some_and(|hello| hello.offers_ech()));
        if hello.is_some() {
            let version = facts.leg().version.unwrap_or("unseen");
            self.versions.entry(version).into_iter().for_each(|count| *count += 1);
        }
    }

    /// To a port that is not intercepted.
    fn count_elsewhere(&mut self, ended: &Ended) {
        let Some(row) = self.ports.entry(ended.server.port()) else { return };
        row.flows += 1;
        row.server = Some(ended.server.ip());
        if let Some(hello) = &ended.observed.hello {
            *(if ended.observed.plain > 0 { &mut row.starttls } else { &mut row.tls }) += 1;
            row.name = hello.sni.as_deref().map(short).or_else(|| row.name.take());
        }
    }

    /// What it comes to.
    pub(in crate::cli::replay) fn into_report(self, source: Source) -> Report {
        let Source { configuration, wire, captures, time, totals, evicted, stopped } = source;
        let (versions, _) = self.versions.into_sorted(|&flows| flows);
        let (problems, further_problems) = self.problems.into_sorted(|row| (row.clients.len(), row.flows));
        let mut problems: Vec<_> = problems.into_iter().map(problem_row).collect();
        problems.sort_by_key(|problem| problem.impact);
        let (names, further_names) = self.names.into_sorted(|row| row.decisions.total());
        let (clients, further_clients) = self.clients.into_sorted(|row| row.decisions.total());
        let (ports, further_ports) = self.ports.into_sorted(|row| row.flows);
        let (quic, further_quic) = self.quic.into_sorted(|&flows| flows);
        Report {
            configuration,
            wire,
            captures,
            from: time.map(|(from, _)| moment(from)),
            to: time.map(|(_, to)| moment(to)),
            packets: totals.packets,
            cut: totals.cut,
            flows: self.flows,
            versions: versions.into_iter().map(|(name, flows)| Count { name: name.into(), flows }).collect(),
            certificates_seen: self.certificates_seen,
            certificates_hidden: self.certificates_hidden,
            ech: self.ech,
            problems,
            further_problems,
            names: names.into_iter().map(name_row).collect(),
            further_names,
            clients: clients.into_iter().map(client_row).collect(),
            further_clients,
            uninspected: Uninspected {
                ports: ports.into_iter().map(port_row).collect(),
                further_ports,
                frames: totals
                    .uninspected
                    .iter()
                    .map(|&(class, action, frames)| FramesRow {
                        class: class.name(),
                        help: class.help(),
                        action: action.name(),
                        frames,
                    })
                    .collect(),
                quic: quic.into_iter().map(|(name, flows)| Count { name, flows }).collect(),
                further_quic,
            },
            not_observed: self.gaps + evicted,
            dropped: totals
                .dropped
                .iter()
                // What the capture's ends still say on connections that are not theirs any more here.
                .filter(|(why, _)| *why != PacketDrop::FlowEnded)
                .map(|&(why, packets)| Dropped { reason: why.code(), help: why.help(), packets })
                .collect(),
            stopped,
        }
    }
}

impl Decisions {
    pub(in crate::cli::replay) fn count(&mut self, decision: Option<Action>) {
        *match decision {
            Some(Action::Decrypt) => &mut self.decrypt,
            Some(Action::Bypass) => &mut self.bypass,
            Some(Action::Block) => &mut self.block,
            None => &mut self.undecided,
        } += 1;
    }
}

fn problem_row((key, row): (ProblemKey, Trouble)) -> ProblemRow {
    let ((impact, code, of_client, who), Trouble { flows, clients, found, advice }) = (key, row);
    let (server, ja4) = if of_client { (None, Some(who)) } else { (Some(who), None) };
    let (clients, example_client) = shown(clients);
    ProblemRow { impact, code, server, ja4, flows, clients, example_client, found, advice }
}

fn name_row((name, row): (String, Name)) -> NameRow {
    let Name { decisions, clients, rules, versions, presented, problems } = row;
    NameRow {
        name,
        decisions,
        clients: clients.len(),
        rules: rules.into_vec(),
        versions: versions.into_vec(),
        issuer: presented.issuer,
        expires: presented.not_after.map(describe_date),
        verdict: presented.verdict,
        problems: problems.into_vec(),
    }
}

fn client_row((ja4, row): (String, Kind)) -> ClientRow {
    let Kind { decisions, clients, names, version, alpn, problems } = row;
    let (clients, example_client) = shown(clients);
    let (count, example_name) = (names.len(), names.into_vec().into_iter().next());
    let problems = problems.into_vec();
    ClientRow { ja4, decisions, clients, example_client, names: count, example_name, version, alpn, problems }
}

fn port_row((port, row): (u16, Port)) -> PortRow {
    let Port { flows, tls, starttls, name, server } = row;
    let example_server = server.map(|server| server.to_string()).unwrap_or_default();
    PortRow { port, flows, tls, starttls, example_name: name, example_server }
}

/// How many, and one of them.
fn shown(clients: Clients) -> (usize, String) {
    let count = clients.len();
    let example = clients.into_vec().first().map(IpAddr::to_string);
    (count, example.unwrap_or_default())
}

/// The name that its client asked for.
fn sni(ended: &Ended) -> Option<&str> {
    let played = ended.played.as_ref().and_then(|played| played.sni.as_deref());
    played.or_else(|| ended.observed.hello.as_ref().and_then(|hello| hello.sni.as_deref()))
}

fn short(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME)].to_ascii_lowercase()
}

/// The newest version that a client offers.
fn newest(hello: &ClientHello) -> &'static str {
    match (hello.offers_tls13(), hello.offers_tls12(), hello.legacy_version) {
        (true, ..) => "TLS 1.3",
        (_, true, _) => "TLS 1.2",
        (.., 0x0302) => "TLS 1.1",
        (.., 0x0301) => "TLSv1",
        _ => "SSLv3",
    }
}

fn moment(micros: u64) -> String {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
