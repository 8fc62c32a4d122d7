//! Response policy zones: DNS master files (RFC 1035 section 5) whose owner names say what they are about.

use super::entry::Wrong;

/// A record that says something about a name or an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'r> {
    pub(super) trigger: Trigger<'r>,
    /// It says that nothing is done.
    pub(super) is_exception: bool,
}

/// What a record is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trigger<'r> {
    /// A name that is asked for.
    Name(&'r str),
    /// A network that is answered.
    Address(String),
    /// A client, or a name server: nothing that a list can have.
    Other,
}

/// Record types that keep a zone together and are no policy.
const OF_THE_ZONE: [&str; 10] =
    ["SOA", "NS", "RRSIG", "DNSKEY", "NSEC", "NSEC3", "NSEC3PARAM", "CDS", "CDNSKEY", "ZONEMD"];

/// Reads a zone line by line.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// What relative names end in; empty: in the zone's own name.
    origin: String,
    /// The zone's own name, once something says it, with its dot.
    apex: Option<String>,
    /// The last owner, which a line that begins with a blank goes on with.
    owner: String,
    /// In parentheses, a record goes on over the ends of lines.
    depth: usize,
}

impl Records {
    /// The record that begins on a line, if there is one and it is policy.
    pub(super) fn line(&mut self, line: &str) -> Result<Option<Record<'_>>, Wrong> {
        let is_continued = self.depth > 0;
        let words = self.words(line);
        if is_continued || words.is_empty() {
            return Ok(None);
        }
        match words[0].to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                self.origin =
                    words.get(1).ok_or(Wrong::Expected("a name after $ORIGIN"))?.to_ascii_lowercase();
                self.apex.get_or_insert_with(|| self.origin.clone());
                return Ok(None);
            }
            "$TTL" => return Ok(None),
            directive if directive.starts_with('$') => {
                return Err(Wrong::Expected("no directives but $ORIGIN and $TTL"));
            }
            _ => {}
        }
        let mut rest = &words[..];
        if !line.starts_with([' ', '\t']) {
            self.owner = self.absolute(rest[0]);
            rest = &rest[1..];
        }
        // Time to live and class, in any order (RFC 1035 section 5.1).
        let is_class = |word: &&&str| ["IN", "CH", "HS"].iter().any(|class| word.eq_ignore_ascii_case(class));
        let is_ttl = |word: &&&str| word.starts_with(|c: char| c.is_ascii_digit());
        let skipped = rest.iter().take_while(|word| is_class(word) || is_ttl(word)).count();
        let [kind, data @ ..] = &rest[skipped..] else {
            return Err(Wrong::Expected("an owner name, a record type and its data"));
        };
        if kind.eq_ignore_ascii_case("SOA") && self.owner.ends_with('.') {
            self.apex = Some(self.owner.clone());
        }
        let is_apex = self.owner.is_empty() || self.apex.as_ref() == Some(&self.owner);
        if is_apex || OF_THE_ZONE.iter().any(|own| kind.eq_ignore_ascii_case(own)) {
            return Ok(None);
        }
        let data = data.first().copied().ok_or(Wrong::Expected("data after the record type"))?;
        let owner = self.relative_owner();
        let is_exception = kind.eq_ignore_ascii_case("CNAME") && is_pass(data, owner);
        let trigger =
            trigger(owner).ok_or(Wrong::Expected("PREFIX.ADDRESS.rpz-ip, the address backwards"))?;
        Ok(Some(Record { trigger, is_exception }))
    }

    /// The words of a line, without comments and parentheses.
    fn words<'l>(&mut self, line: &'l str) -> Vec<&'l str> {
        let mut words = Vec::new();
        let mut start = None;
        let mut is_quoted = false;
        for (at, c) in line.char_indices().chain([(line.len(), ';')]) {
            let ends = at == line.len() || (!is_quoted && matches!(c, ' ' | '\t' | ';' | '(' | ')'));
            if !ends {
                is_quoted ^= c == '"';
                start = start.or(Some(at));
                continue;
            }
            words.extend(start.take().map(|start| &line[start..at]));
            match c {
                '(' => self.depth += 1,
                ')' => self.depth = self.depth.saturating_sub(1),
                ';' => break,
                _ => {}
            }
        }
        words
    }

    /// A name with the origin; without a dot at the end where nothing has said what the zone is called.
    fn absolute(&self, name: &str) -> String {
        let name = name.to_ascii_lowercase();
        match (name.as_str(), self.origin.as_str()) {
            ("@", origin) => origin.to_owned(),
            (_, "" | ".") => name,
            _ if name.ends_with('.') => name,
            (_, origin) => format!("{name}.{origin}"),
        }
    }

    /// The owner without the zone's name.
    fn relative_owner(&self) -> &str {
        let apex = self.apex.as_deref().unwrap_or_default();
        let inside = self.owner.strip_suffix(apex).and_then(|rest| rest.strip_suffix('.'));
        inside.unwrap_or(&self.owner)
    }
}

/// `CNAME rpz-passthru.` and, as it was written before that, the name itself. `rpz-tcp-only.` lets the name be asked for, too.
fn is_pass(target: &str, owner: &str) -> bool {
    let target = target.to_ascii_lowercase();
    ["rpz-passthru.", "rpz-tcp-only."].contains(&target.as_str())
        || target.strip_suffix('.') == Some(owner.strip_suffix('.').unwrap_or(owner))
}

/// None: it is about an address, which cannot be read.
fn trigger(owner: &str) -> Option<Trigger<'_>> {
    let owner = owner.strip_suffix('.').unwrap_or(owner);
    match owner.rsplit_once('.') {
        Some((address, "rpz-ip")) => network(address).map(Trigger::Address),
        Some((_, "rpz-client-ip" | "rpz-nsip" | "rpz-nsdname")) => Some(Trigger::Other),
        _ => Some(Trigger::Name(owner)),
    }
}

/// `24.0.2.0.192` is 192.0.2.0/24, `48.zz.db8.2001` is 2001:db8::/48.
fn network(text: &str) -> Option<String> {
    let (prefix, address) = text.split_once('.')?;
    let pieces: Vec<_> = address.rsplit('.').collect();
    if pieces.len() == 4 && !pieces.contains(&"zz") {
        return Some(format!("{}/{prefix}", pieces.join(".")));
    }
    let address = pieces.join(":");
    let address = match (address.strip_suffix(":zz"), address.strip_prefix("zz:")) {
        (Some(begin), _) => format!("{begin}::"),
        (None, Some(end)) => format!("::{end}"),
        (None, None) => address.replace(":zz:", "::"),
    };
    Some(format!("{address}/{prefix}"))
}
