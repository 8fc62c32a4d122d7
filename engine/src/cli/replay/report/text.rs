//! The report as text: a screen that says what it comes to, then tables.

use std::fmt::{self, Display};

use super::problem::Impact;
use super::{Decisions, Report, grouped, percent, servers_and_clients};
use crate::cli::plain::Plain;

/// A report, with so many rows of each table.
pub(in crate::cli::replay) struct Text<'r> {
    pub(in crate::cli::replay) report: &'r Report,
    pub(in crate::cli::replay) top: usize,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        self.problems(f)?;
        self.names(f)?;
        self.clients(f)?;
        self.uninspected(f)
    }
}

impl Text<'_> {
    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { flows, versions, names, .. } = self.report;
        writeln!(f, "Report for a roll-out\n{}\n", Plain(&self.report.scope()))?;
        writeln!(f, "{} connections to intercepted ports, {} names:", grouped(flows.total()), names.len())?;
        for (name, count) in Decisions::NAMES.into_iter().zip(flows.all()) {
            writeln!(f, "  {name:<10} {:>12}  {:>6}", grouped(count), percent(count, flows.total()))?;
        }
        writeln!(f, "\nTo solve before you decrypt:")?;
        for impact in Impact::ALL {
            let said = match self.report.affected(impact) {
                (0, 0) => "nothing that a capture shows".to_owned(),
                (servers, clients) => servers_and_clients(servers, clients),
            };
            writeln!(f, "  {:<10} {said}", impact.in_words())?;
        }
        let versions: Vec<_> =
            versions.iter().map(|count| format!("{} {}", count.name, grouped(count.flows))).collect();
        if !versions.is_empty() {
            writeln!(f, "\nVersions: {}", versions.join(", "))?;
        }
        let caveats = self.report.caveats();
        if !caveats.is_empty() {
            writeln!(f, "\nNot known:")?;
            caveats.iter().try_for_each(|said| writeln!(f, "  {said}"))?;
        }
        Ok(())
    }

    fn problems(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = &self.report.problems;
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\nPROBLEMS\n{:<9}  {:<24}  {:>7}  {:>7}  SERVER OR JA4",
            "IMPACT", "CODE", "FLOWS", "CLIENTS"
        )?;
        for row in rows.iter().take(self.top) {
            let (impact, who) = (row.impact.in_words(), Plain(row.who()));
            writeln!(
                f,
                "{impact:<9}  {:<24}  {:>7}  {:>7}  {who}",
                row.code,
                grouped(row.flows),
                row.clients
            )?;
            writeln!(f, "           {} (client {})", Plain(&row.found), row.example_client)?;
            writeln!(f, "           {}", row.advice)?;
        }
        self.further(f, rows.len(), self.report.further_problems)
    }

    fn names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = &self.report.names;
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\nNAMES\n{:>7}  {:>7}  {:<9}  {:<40}  CERTIFICATE, RULE",
            "FLOWS", "CLIENTS", "DECISION", "NAME"
        )?;
        for row in rows.iter().take(self.top) {
            let mut about = Vec::new();
            about.extend(row.verdict.map(str::to_owned));
            about.extend(row.expires.as_ref().map(|day| format!("until {day}")));
            about.extend(row.rules.iter().map(|rule| format!("rule {}", Plain(rule))));
            about.extend(
                row.problems.iter().filter(|code| row.verdict != Some(**code)).map(|c| format!("! {c}")),
            );
            let (flows, name) = (grouped(row.decisions.total()), Plain(&row.name).to_string());
            let decision = row.decisions.most();
            writeln!(f, "{flows:>7}  {:>7}  {decision:<9}  {name:<40}  {}", row.clients, about.join(", "))?;
        }
        self.further(f, rows.len(), self.report.further_names)
    }

    fn clients(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = &self.report.clients;
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\nKINDS OF CLIENTS\n{:>7}  {:>7}  {:<36}  {:<7}  ASKS FOR",
            "FLOWS", "CLIENTS", "JA4", "OFFERS"
        )?;
        for row in rows.iter().take(self.top) {
            let flows = grouped(row.decisions.total());
            let name = row.example_name.as_deref().unwrap_or("-");
            let problems: String = row.problems.iter().map(|code| format!(", ! {code}")).collect();
            let (clients, ja4, version) = (row.clients, Plain(&row.ja4).to_string(), row.version);
            write!(f, "{flows:>7}  {clients:>7}  {ja4:<36}  {version:<7}  {}", Plain(name))?;
            let others = row.names.saturating_sub(1);
            if others > 0 {
                write!(f, " and {others} more")?;
            }
            writeln!(f, "{problems}; such as {}", row.example_client)?;
        }
        self.further(f, rows.len(), self.report.further_clients)
    }

    fn uninspected(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = &self.report.uninspected;
        if !about.ports.is_empty() {
            writeln!(
                f,
                "\nTCP TO PORTS THAT ARE NOT INTERCEPTED\n{:>5}  {:>7}  {:>7}  {:>8}  FOR INSTANCE",
                "PORT", "FLOWS", "TLS", "STARTTLS"
            )?;
            for row in about.ports.iter().take(self.top) {
                let (flows, tls, starttls) = (grouped(row.flows), grouped(row.tls), grouped(row.starttls));
                let example = row.example_name.as_deref().unwrap_or(&row.example_server);
                writeln!(f, "{:>5}  {flows:>7}  {tls:>7}  {starttls:>8}  {}", row.port, Plain(example))?;
            }
            self.further(f, about.ports.len(), about.further_ports)?;
        }
        if !about.quic.is_empty() {
            writeln!(f, "\nNAMES OVER QUIC\n{:>7}  NAME", "FLOWS")?;
            for row in about.quic.iter().take(self.top) {
                writeln!(f, "{:>7}  {}", grouped(row.flows), Plain(&row.name))?;
            }
            self.further(f, about.quic.len(), about.further_quic)?;
        }
        if !about.frames.is_empty() {
            writeln!(f, "\nFRAMES THAT ARE NOT LOOKED INTO\n{:>10}  {:<7}  WHAT", "FRAMES", "ACTION")?;
            for row in &about.frames {
                writeln!(f, "{:>10}  {:<7}  {}: {}", grouped(row.frames), row.action, row.class, row.help)?;
            }
        }
        if !self.report.dropped.is_empty() {
            writeln!(f, "\nPACKETS THAT THE ENGINE DROPPED\n{:>10}  WHY", "PACKETS")?;
            for row in &self.report.dropped {
                writeln!(f, "{:>10}  {}: {}", grouped(row.packets), row.reason, row.help)?;
            }
        }
        Ok(())
    }

    /// Says what is not shown.
    fn further(&self, f: &mut fmt::Formatter<'_>, rows: usize, beyond: u64) -> fmt::Result {
        let hidden = rows.saturating_sub(self.top);
        if hidden > 0 {
            writeln!(f, "and {hidden} more; --top shows them")?;
        }
        if beyond > 0 {
            writeln!(f, "and {} connections of others, for which there was no room", grouped(beyond))?;
        }
        Ok(())
    }
}

impl Decisions {
    /// What becomes of most.
    pub(super) fn most(self) -> &'static str {
        let all = self.all().into_iter().zip(Self::NAMES).rev();
        all.max_by_key(|(count, _)| *count).map_or("-", |(_, name)| name)
    }
}
