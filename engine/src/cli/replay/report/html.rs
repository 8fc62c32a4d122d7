//! The report as one HTML page: no script, nothing from elsewhere, light or dark as its reader has it.

use std::fmt::{self, Display};

use super::problem::Impact;
use super::{Decisions, Report, grouped, percent, servers_and_clients};

/// Rows of each table: a page that a browser still likes. JSON has all.
const ROWS: usize = 500;

/// The page.
pub(in crate::cli::replay) struct Html<'r>(pub(in crate::cli::replay) &'r Report);

/// Text that strangers chose: it opens no tag, and turns nothing around.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            ' '..='~' => write!(f, "{c}"),
            c if c.is_alphanumeric() => write!(f, "{c}"),
            c => write!(f, "{}", c.escape_default()),
        })
    }
}

impl Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = include_str!("report.css");
        write!(
            f,
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>wireglass: report for a roll-out</title>\n<style>\n{style}</style>\n<body>\n"
        )?;
        self.summary(f)?;
        self.problems(f)?;
        self.names(f)?;
        self.clients(f)?;
        self.uninspected(f)?;
        f.write_str("</body>\n</html>\n")
    }
}

impl Html<'_> {
    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let (flows, total) = (report.flows, report.flows.total());
        writeln!(f, "<h1>Report for a roll-out</h1>\n<p class=\"quiet\">{}</p>", Escaped(&report.scope()))?;
        writeln!(f, "<p class=\"quiet\">{}</p>", Escaped(&report.captures.join(", ")))?;
        writeln!(f, "<div class=\"cards\">")?;
        for (name, count) in Decisions::NAMES.into_iter().zip(flows.all()) {
            writeln!(
                f,
                "<div class=\"card\"><b>{}</b><span><i class=\"{name}\"></i>{name}, {}</span></div>",
                grouped(count),
                percent(count, total)
            )?;
        }
        writeln!(f, "</div>\n<div class=\"bar\">")?;
        for (name, count) in Decisions::NAMES.into_iter().zip(flows.all()).filter(|(_, count)| *count > 0) {
            writeln!(f, "<i class=\"{name}\" style=\"flex:{count}\" title=\"{name}\"></i>")?;
        }
        writeln!(f, "</div>\n<div class=\"cards\">")?;
        for impact in Impact::ALL {
            let (servers, clients) = report.affected(impact);
            let (class, said) = match servers_and_clients(servers, clients) {
                said if said.is_empty() => ("", "nothing".to_owned()),
                said => (class_of(impact), said),
            };
            writeln!(
                f,
                "<div class=\"card\"><strong class=\"{class}\">{said}</strong><span>{}</span></div>",
                impact.in_words()
            )?;
        }
        writeln!(f, "</div>")?;
        let versions: Vec<_> =
            report.versions.iter().map(|count| format!("{} {}", count.name, grouped(count.flows))).collect();
        if !versions.is_empty() {
            writeln!(f, "<p>Versions that servers chose: {}.</p>", Escaped(&versions.join(", ")))?;
        }
        let caveats = report.caveats();
        if !caveats.is_empty() {
            writeln!(f, "<h2>What is not known</h2>\n<ul>")?;
            caveats.iter().try_for_each(|said| writeln!(f, "<li>{}</li>", Escaped(said)))?;
            writeln!(f, "</ul>")?;
        }
        Ok(())
    }

    fn problems(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = &self.0.problems;
        let heads = ["Impact", "Server or JA4", "#Flows", "#Clients", "What, and what to do"];
        table(f, "To solve before you decrypt", &heads, rows, self.0.further_problems, |f, row| {
            let (class, impact) = (class_of(row.impact), row.impact.in_words());
            write!(f, "<td class=\"{class}\">{impact}</td><td class=\"name\">{}", Escaped(row.who()))?;
            write!(f, "<small>for {}</small></td>", Escaped(&row.example_client))?;
            numbers(f, &[row.flows, row.clients as u64])?;
            write!(
                f,
                "<td><code>{}</code> {}<small>{}</small></td>",
                row.code,
                Escaped(&row.found),
                Escaped(row.advice)
            )
        })
    }

    fn names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "Name",
            "#Decrypt",
            "#Bypass",
            "#Block",
            "#Undecided",
            "#Clients",
            "Version",
            "Certificate",
            "Rules",
        ];
        table(f, "Names", &heads, &self.0.names, self.0.further_names, |f, row| {
            write!(f, "<td class=\"name\">{}", Escaped(&row.name))?;
            if !row.problems.is_empty() {
                write!(f, "<small>{}</small>", row.problems.join(", "))?;
            }
            write!(f, "</td>")?;
            let [decrypt, bypass, block, undecided] = row.decisions.all();
            numbers(f, &[decrypt, bypass, block, undecided, row.clients as u64])?;
            write!(f, "<td>{}</td><td>", row.versions.join(", "))?;
            if let Some(verdict) = row.verdict {
                write!(f, "<code>{verdict}</code>")?;
            }
            if let (Some(issuer), Some(day)) = (&row.issuer, &row.expires) {
                write!(f, "<small>until {}, by {}</small>", Escaped(day), Escaped(issuer))?;
            }
            write!(f, "</td><td>{}</td>", Escaped(&row.rules.join(", ")))
        })
    }

    fn clients(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["JA4", "#Flows", "#Clients", "Offers", "Asks for"];
        table(f, "Kinds of clients", &heads, &self.0.clients, self.0.further_clients, |f, row| {
            write!(f, "<td class=\"name\"><code>{}</code>", Escaped(&row.ja4))?;
            write!(f, "<small>such as {}</small></td>", Escaped(&row.example_client))?;
            numbers(f, &[row.decisions.total(), row.clients as u64])?;
            write!(f, "<td>{} {}</td><td class=\"name\">", row.version, Escaped(&row.alpn.join(", ")))?;
            write!(f, "{}", Escaped(row.example_name.as_deref().unwrap_or("-")))?;
            if row.names > 1 {
                write!(f, " and {} more", row.names - 1)?;
            }
            if !row.problems.is_empty() {
                write!(f, "<small class=\"breaks\">{}</small>", row.problems.join(", "))?;
            }
            write!(f, "</td>")
        })
    }

    fn uninspected(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = &self.0.uninspected;
        let heads = ["#Port", "#Flows", "#TLS", "#STARTTLS", "For instance"];
        let title = "TCP to ports that are not intercepted";
        table(f, title, &heads, &about.ports, about.further_ports, |f, row| {
            write!(f, "<td class=\"number\">{}</td>", row.port)?;
            numbers(f, &[row.flows, row.tls, row.starttls])?;
            let example = row.example_name.as_deref().unwrap_or(&row.example_server);
            write!(f, "<td class=\"name\">{}</td>", Escaped(example))
        })?;
        table(f, "Names over QUIC", &["Name", "#Flows"], &about.quic, about.further_quic, |f, row| {
            write!(f, "<td class=\"name\">{}</td>", Escaped(&row.name))?;
            numbers(f, &[row.flows])
        })?;
        let title = "Frames that are not looked into";
        table(f, title, &["Class", "Action", "#Frames", "What"], &about.frames, 0, |f, row| {
            write!(f, "<td><code>{}</code></td><td>{}</td>", row.class, row.action)?;
            numbers(f, &[row.frames])?;
            write!(f, "<td>{}</td>", Escaped(row.help))
        })?;
        let title = "Packets that the engine dropped";
        table(f, title, &["Reason", "#Packets", "What"], &self.0.dropped, 0, |f, row| {
            write!(f, "<td><code>{}</code></td>", row.reason)?;
            numbers(f, &[row.packets])?;
            write!(f, "<td>{}</td>", Escaped(row.help))
        })
    }
}

/// A table under a heading; nothing where there are no rows. Columns of numbers have a `#` before their head.
fn table<R>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    heads: &[&str],
    rows: &[R],
    beyond: u64,
    row: impl Fn(&mut fmt::Formatter<'_>, &R) -> fmt::Result,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "<h2>{title}</h2>\n<div class=\"wrap\"><table>\n<tr>")?;
    for head in heads {
        match head.strip_prefix('#') {
            Some(head) => write!(f, "<th class=\"number\">{head}</th>")?,
            None => write!(f, "<th>{head}</th>")?,
        }
    }
    writeln!(f, "</tr>")?;
    for each in rows.iter().take(ROWS) {
        write!(f, "<tr>")?;
        row(f, each)?;
        writeln!(f, "</tr>")?;
    }
    writeln!(f, "</table></div>")?;
    let hidden = rows.len().saturating_sub(ROWS);
    if hidden > 0 {
        writeln!(
            f,
            "<p class=\"quiet\">And {} more: <code>--report json</code> has them.</p>",
            grouped(hidden as u64)
        )?;
    }
    if beyond > 0 {
        let beyond = grouped(beyond);
        writeln!(
            f,
            "<p class=\"quiet\">And {beyond} connections of others, for which there was no room.</p>"
        )?;
    }
    Ok(())
}

fn numbers(f: &mut fmt::Formatter<'_>, numbers: &[u64]) -> fmt::Result {
    numbers.iter().try_for_each(|number| write!(f, "<td class=\"number\">{}</td>", grouped(*number)))
}

const fn class_of(impact: Impact) -> &'static str {
    match impact {
        Impact::Breaks => "breaks",
        Impact::MayBreak => "may",
        Impact::Warns => "warns",
        Impact::Bypassed => "quiet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_opens_no_tag() {
        let name = "<b onclick='x'>&\u{202e}é\"";
        assert_eq!(Escaped(name).to_string(), "&lt;b onclick=&#39;x&#39;&gt;&amp;\\u{202e}é&quot;");
    }
}
