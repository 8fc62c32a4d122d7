//! Rules on what is decrypted, in words.

use std::fmt;
use std::time::Duration;

use wireglass_core::content::{SignatureId, SignatureSet};
use wireglass_core::policy::{ContentAction, ContentRule, Direction, OnUnread};

use super::super::never_match;
use super::summary::{Conditions, Summary, listed, written};
use crate::config::{Content, IcapServer, YaraSet};
use crate::icap::Settings;

impl Summary<'_> {
    /// What rules look for in contents.
    fn signatures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (named, rules) = (&self.config.signatures, &self.config.content.rules);
        for (place, set) in named.sets.iter().enumerate() {
            let SignatureSet { name, literals, regexes, patterns, threshold } = set;
            let (literals, regexes, patterns) = (literals.len(), regexes.len(), patterns.len());
            write!(
                f,
                "  signatures {name}: {literals} literals, {regexes} expressions, {patterns} patterns"
            )?;
            match threshold {
                1 => writeln!(f)?,
                threshold => writeln!(f, ", {threshold} finds of them in one message")?,
            }
            let id = SignatureId::new(place);
            let asks = |rule: &ContentRule| match &rule.action {
                ContentAction::Inspect(inspect) => id.is_some_and(|id| inspect.signatures.has(id)),
                _ => rule.signatures.iter().any(|asked| Some(*asked) == id),
            };
            if !rules.iter().any(asks) {
                writeln!(f, "  note: no [[content.rule]] asks for the signatures {name}")?;
            }
        }
        if !named.sets.is_empty() {
            writeln!(
                f,
                "  signatures take {} KiB of memory",
                named.signatures.automata_memory().div_ceil(1024)
            )?;
        }
        Ok(())
    }

    /// Servers that are asked about bodies.
    fn icap(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.config.content.rules;
        for (place, server) in self.config.icap.servers.iter().enumerate() {
            let IcapServer { name, reqmod: _, respmod: _, max_bytes } = server;
            let mut patience = Duration::ZERO;
            for each in server.services() {
                let Settings { service, method, connections, timeout, .. } = each.settings();
                let method = method.name();
                writeln!(
                    f,
                    "  {name}: {method} {service}, {connections} connections, bodies up to {max_bytes} bytes"
                )?;
                patience = *timeout;
            }
            let asks = |rule: &ContentRule| matches!(&rule.action, ContentAction::Inspect(inspect) if inspect.inspectors.contains(&place));
            if !rules.iter().any(asks) {
                writeln!(f, "  note: no [[content.rule]] inspects by {name}")?;
            }
            if *max_bytes < self.config.content.inspection.hold_bytes as u64 {
                writeln!(
                    f,
                    "  note: bodies longer than {name} takes are handled as content.on_oversize says"
                )?;
            }
            let most = u128::from(self.config.content.inspection.timeout.total_millis());
            if patience.as_millis() > most {
                writeln!(f, "  note: timeout_ms of {name} is longer than content.timeout_seconds")?;
            }
        }
        Ok(())
    }

    /// Rules of YARA that bodies are shown to.
    fn yara(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (content, servers) = (&self.config.content, self.config.icap.servers.len());
        for (place, set) in self.config.yara.sets.iter().enumerate() {
            let YaraSet { name, rules, files, max_bytes, timeout, .. } = set;
            writeln!(f, "  {name}: {rules} rule(s) in {files} file(s), bodies up to {max_bytes} bytes")?;
            let asks = |rule: &ContentRule| matches!(&rule.action, ContentAction::Inspect(inspect) if inspect.inspectors.contains(&(servers + place)));
            if !content.rules.iter().any(asks) {
                writeln!(f, "  note: no [[content.rule]] inspects by {name}")?;
            }
            if *max_bytes < content.inspection.hold_bytes {
                writeln!(
                    f,
                    "  note: bodies longer than {name} keeps are handled as content.on_oversize says"
                )?;
            }
            if *max_bytes > content.worker_bytes {
                writeln!(f, "  note: max_bytes of {name} is more than content.worker_bytes")?;
            }
            if timeout.as_millis() > u128::from(content.inspection.timeout.total_millis()) {
                writeln!(f, "  note: timeout_ms of {name} is longer than content.timeout_seconds")?;
            }
        }
        Ok(())
    }

    /// What becomes of bodies that are looked at.
    fn inspection(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Content { threads, worker_bytes, inspection, .. } = &self.config.content;
        let threads = match threads {
            0 => "the workers".to_owned(),
            n => format!("{n} thread(s)"),
        };
        let hold = inspection.hold_bytes;
        writeln!(
            f,
            "  bodies are inspected by {threads}; held: at most {hold} bytes of each body, {worker_bytes} bytes by each worker"
        )?;
        if *worker_bytes > self.config.limits.worker_bytes / 2 {
            writeln!(
                f,
                "  note: content.worker_bytes is more than half of limits.worker_bytes, which it is part of"
            )?;
        }
        Ok(())
    }

    /// Rules on what is decrypted, and those that can match nothing.
    pub(super) fn content(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Content { rules, headers, on_unparsed, on_opaque, on_undecodable, page_file, .. } =
            &self.config.content;
        if rules.is_empty() && headers.is_empty() {
            return Ok(());
        }
        let word =
            |action: &OnUnread| if *action == OnUnread::Block { "blocked" } else { "allowed, with an alert" };
        let (unparsed, opaque) = (word(on_unparsed), word(on_opaque));
        writeln!(f, "\ncontent ({} rules, {} changes of heads)", rules.len(), headers.len())?;
        writeln!(f, "  unreadable HTTP: {unparsed}; not HTTP: {opaque}")?;
        if rules.iter().any(|rule| !rule.file_type.is_empty() || !rule.signatures.is_empty()) {
            writeln!(f, "  bodies that cannot be decoded, where a rule asks: {}", word(on_undecodable))?;
        }
        self.signatures(f)?;
        if rules.iter().any(|rule| matches!(rule.action, ContentAction::Inspect(_))) {
            self.inspection(f)?;
            self.icap(f)?;
            self.yara(f)?;
        }
        match page_file {
            Some(file) => writeln!(f, "  block page: {}", file.display())?,
            None => writeln!(f, "  block page: built in")?,
        }
        for (i, rule) in rules.iter().enumerate() {
            let (conditions, action) = (self.conditions(rule), rule.action.name());
            writeln!(f, "  {}. {}: {conditions} -> {action}", i + 1, rule.name)?;
            let unused = |name: &&String| !self.profiles_in_use().any(|profile| profile == **name);
            if !rule.profile.is_empty() && rule.profile.iter().all(|name| unused(&name)) {
                writeln!(f, "  note: {:?} never matches: nothing is decrypted with its profiles", rule.name)?;
            }
            for why in never_match::misspelt(rule) {
                writeln!(f, "  note: {:?} never matches by {why}", rule.name)?;
            }
        }
        let mut later = rules.iter();
        if let Some(all) = later.find(|rule| is_unconditional(rule)) {
            for rule in later {
                writeln!(
                    f,
                    "  note: {:?} is never reached: {:?} matches every request",
                    rule.name, all.name
                )?;
            }
        }
        for (rule, before) in never_match::shadowed_content(rules) {
            writeln!(
                f,
                "  note: {rule:?} is never reached: rules before it, as {before:?}, match all its hosts"
            )?;
        }
        if self.profiles_in_use().next().is_none() {
            writeln!(f, "  note: nothing is decrypted, so no rule on content is ever asked")?;
        }
        Ok(())
    }

    /// What a rule asks for.
    fn conditions(&self, rule: &ContentRule) -> String {
        if is_unconditional(rule) {
            return "every request".into();
        }
        let (lists, sets) = (&self.config.lists.lists, &self.config.signatures.sets);
        let mut all = Conditions::default();
        all.say("profile", &rule.profile);
        all.say("from", written(&rule.source).chain(listed(lists, rule.source_list)));
        all.say("to", written(&rule.destination).chain(listed(lists, rule.destination_list)));
        all.say("host", written(&rule.host).chain(listed(lists, rule.host_list)));
        all.say("method", &rule.method);
        all.say("path", written(&rule.path).chain(written(&rule.path_regex)));
        all.say("query", &rule.query);
        all.say("direction", rule.direction.map(direction));
        all.say("header", rule.header.iter().map(|(name, value)| format!("{name}: {value}")));
        all.say("status", &rule.status);
        all.say("content type", &rule.content_type);
        all.say("bytes over", rule.size);
        all.say("file name", &rule.file_name);
        all.say("file type", rule.file_type.iter().map(|kind| kind.name()));
        let is_asked = |place: usize| rule.signatures.iter().any(|id| Some(*id) == SignatureId::new(place));
        all.say(
            "signatures",
            sets.iter().enumerate().filter(|(place, _)| is_asked(*place)).map(|(_, set)| &set.name),
        );
        all.0
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

fn is_unconditional(rule: &ContentRule) -> bool {
    *rule == ContentRule::new(rule.name.clone(), rule.action.clone())
}
