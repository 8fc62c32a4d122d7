//! An explanation as text.

use std::fmt::{self, Display};

use super::explained::{Asked, Connection, Edit, Explained, Message, OnHit, Verdict};

impl Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_connection(f)?;
        let Some(request) = &self.request else { return Ok(()) };
        writeln!(f, "request {}", request.what)?;
        if request.rules.is_empty() {
            writeln!(f, "  there is no [[content.rule]]")?;
        }
        message(f, request, "the response decides")?;
        if let Some(response) = &self.response {
            writeln!(f, "response {}", response.what)?;
            message(f, response, "its first bytes decide")?;
        }
        edits(f, &self.request_edits, "request")?;
        edits(f, &self.response_edits, "response")?;
        match (self.verdict, &self.rule) {
            (Verdict::Undecided, _) if self.response.is_some() => {
                writeln!(f, "the response waits for its first bytes; their type decides (--file-type)")
            }
            (Verdict::Undecided, _) => {
                writeln!(f, "the request passes; the response decides (--status and --response-header)")
            }
            (_, None) => writeln!(f, "allowed: no rule matches"),
            (Verdict::Alerted, Some(name)) => writeln!(f, "allowed by {name:?}, with an alert in the log"),
            (Verdict::Blocked, Some(name)) => {
                let how = self.respond.as_deref().unwrap_or_default();
                writeln!(f, "blocked by {name:?}: the client gets {how}")
            }
            (Verdict::Inspected, Some(name)) => {
                writeln!(f, "inspected by {name:?}: it passes if nothing is found in it")
            }
            (_, Some(name)) => writeln!(f, "allowed by {name:?}"),
        }
    }
}

impl Explained {
    fn write_connection(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection {
            client,
            server,
            has_no_server,
            host,
            is_intercepted,
            at_syn,
            is_held,
            rules,
            profile,
            may_be_excluded,
            is_excluded_by_hand,
            mirrors,
        } = &self.connection;
        writeln!(f, "connection from {client} to {server}, server name {host:?}")?;
        if *has_no_server {
            writeln!(f, "  note: rules with `destination` need --server")?;
        }
        if !is_intercepted {
            let port = server.port();
            return writeln!(f, "  port {port} is not in `intercept.ports`: it passes, and no rule is asked");
        }
        for rule in rules.iter().filter(|rule| rule.answer != "matches") {
            writeln!(f, "  [[rule]] {:?}: {}", rule.name, Said(rule, ""))?;
        }
        let when = if *at_syn { "at the SYN" } else { "at the ClientHello" };
        match rules.last().filter(|rule| rule.answer == "matches") {
            Some(rule) => write!(f, "  [[rule]] {:?}, {when}: ", rule.name)?,
            None => write!(f, "  no [[rule]], so policy.default, {when}: ")?,
        }
        match (profile, &self.respond) {
            (Some(profile), _) => writeln!(f, "decrypted with profile {profile:?}"),
            (None, Some(how)) => writeln!(f, "blocked with {how}"),
            (None, None) => writeln!(f, "bypassed; no rule on content is asked"),
        }?;
        if !mirrors.is_empty() {
            writeln!(f, "  shown at mirror {}", mirrors.join(", "))?;
        }
        match is_excluded_by_hand {
            Some(true) => {
                return writeln!(
                    f,
                    "  but bypassed: `wireglass exclusions add` has named the server; no rule on content is asked"
                );
            }
            None if profile.is_some() => {
                writeln!(f, "  note: bypassed, if `wireglass exclusions add` has named the server")?;
            }
            Some(false) | None => {}
        }
        if *is_held {
            writeln!(f, "  held until then: the server hears of the client only if it is not blocked")?;
        }
        if *may_be_excluded {
            writeln!(
                f,
                "  note: bypassed, if the server is known to be undecryptable: see `wireglass exclusions list`"
            )?;
        }
        Ok(())
    }
}

/// What a rule has answered; `not_yet` says what it waits for.
struct Said<'a>(&'a Asked, &'a str);

impl Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(asked, not_yet) = self;
        match (asked.condition, asked.beyond) {
            (Some(condition), _) => write!(f, "{}: {condition}", asked.answer),
            (None, Some(bytes)) => write!(f, "{}: beyond {bytes} bytes of content", asked.answer),
            (None, None) if asked.answer == "not yet" => write!(f, "{}: {not_yet}", asked.answer),
            (None, None) => f.write_str(asked.answer),
        }
    }
}

fn message(f: &mut fmt::Formatter<'_>, message: &Message, not_yet: &str) -> fmt::Result {
    for rule in &message.rules {
        writeln!(f, "  {:?}: {}", rule.name, Said(rule, not_yet))?;
    }
    for beyond in &message.beyond {
        let what = match beyond.verdict {
            Verdict::Blocked => "cuts it off",
            Verdict::Alerted => "alerts",
            _ => "allows it",
        };
        writeln!(f, "  after {} bytes of content {:?} {what}", beyond.bytes, beyond.rule)?;
    }
    for OnHit { signatures, rule, verdict } in &message.on_hit {
        let what = if *verdict == Verdict::Blocked { "cuts it off" } else { "alerts" };
        writeln!(f, "  if its content has what {} looks for, {rule:?} {what}", signatures.join(" or "))?;
    }
    Ok(())
}

fn edits(f: &mut fmt::Formatter<'_>, edits: &[Edit], head: &str) -> fmt::Result {
    for edit in edits {
        match &edit.value {
            None => writeln!(f, "[[header]] removes {} from the {head}", edit.field)?,
            Some(value) => writeln!(f, "[[header]] sets {}: {value} in the {head}", edit.field)?,
        }
    }
    Ok(())
}
