//! Rules that no flow or request can match, for `wireglass check`.

use std::collections::HashMap;

use wireglass_core::policy::{ContentRule, NamePattern, Rule};

/// Application protocols that IANA has registered, and those of gRPC. Others are private, or a slip.
const ALPN: [&str; 38] = [
    "http/0.9",
    "http/1.0",
    "http/1.1",
    "spdy/1",
    "spdy/2",
    "spdy/3",
    "stun.turn",
    "stun.nat-discovery",
    "h2",
    "h2c",
    "webrtc",
    "c-webrtc",
    "ftp",
    "imap",
    "pop3",
    "managesieve",
    "coap",
    "co",
    "xmpp-client",
    "xmpp-server",
    "acme-tls/1",
    "mqtt",
    "dot",
    "ntske/1",
    "sunrpc",
    "h3",
    "smb",
    "irc",
    "nntp",
    "nnsp",
    "doq",
    "sip/2",
    "tds/8.0",
    "dicom",
    "postgresql",
    "radius/1.0",
    "radius/1.1",
    "grpc-exp",
];

/// The names that a rule lists.
struct Names<'r> {
    rule: &'r str,
    patterns: &'r [NamePattern],
    /// It has no other condition.
    is_all: bool,
}

/// Rules on connections of which each name is matched by rules before, and one of these.
pub(super) fn shadowed(rules: &[Rule]) -> Vec<(&str, &str)> {
    in_shadow(rules.iter().map(|rule| {
        let plain = Rule { sni: rule.sni.clone(), ..Rule::new(rule.name.clone(), rule.decision.clone()) };
        Names { rule: &rule.name, patterns: &rule.sni, is_all: plain == *rule }
    }))
}

/// Likewise of rules on content.
pub(super) fn shadowed_content(rules: &[ContentRule]) -> Vec<(&str, &str)> {
    in_shadow(rules.iter().map(|rule| {
        let plain = ContentRule {
            host: rule.host.clone(),
            ..ContentRule::new(rule.name.clone(), rule.action.clone())
        };
        Names { rule: &rule.name, patterns: &rule.host, is_all: plain == *rule }
    }))
}

fn in_shadow<'r>(rules: impl Iterator<Item = Names<'r>>) -> Vec<(&'r str, &'r str)> {
    // Names that are matched whatever else there is, and the first rule that does.
    let (mut exact, mut below): (HashMap<&str, &str>, HashMap<&str, &str>) = Default::default();
    let mut found = Vec::new();
    for Names { rule, patterns, is_all } in rules {
        let above = |name: &str| {
            let suffixes = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
            suffixes.filter_map(|suffix| below.get(suffix).copied()).next()
        };
        let by = |pattern: &NamePattern| match pattern {
            NamePattern::Exact(name) => exact.get(&**name).copied().or_else(|| above(name)),
            NamePattern::Below(name) => below.get(&**name).copied().or_else(|| above(name)),
        };
        let before: Option<Vec<_>> = patterns.iter().map(by).collect();
        if let Some(first) = before.and_then(|before| before.first().copied()) {
            found.push((rule, first));
        }
        for pattern in patterns.iter().filter(|_| is_all) {
            match pattern {
                NamePattern::Exact(name) => exact.entry(name).or_insert(rule),
                NamePattern::Below(name) => below.entry(name).or_insert(rule),
            };
        }
    }
    found
}

/// Protocols of a rule that nobody has registered.
pub(super) fn unknown_alpn(rule: &Rule) -> Vec<String> {
    let is_known = |protocol: &&Vec<u8>| ALPN.iter().any(|known| known.as_bytes() == protocol.as_slice());
    let unknown = rule.alpn.iter().filter(|protocol| !is_known(protocol));
    unknown.map(|protocol| protocol.escape_ascii().to_string()).collect()
}

/// Conditions that are written as what they are compared with never is.
pub(super) fn misspelt(rule: &ContentRule) -> Vec<String> {
    let is_escaped = |text: &str| {
        let mut behind = text.match_indices('%').map(|(at, _)| text.as_bytes().get(at + 1..at + 3));
        behind.any(|digits| digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
    };
    let is_odd_path = |text: &str| {
        ["//", "/./", "/../", "#"].iter().any(|odd| text.contains(odd))
            || ["/.", "/.."].iter().any(|odd| text.ends_with(odd))
    };
    let mut found = Vec::new();
    for path in rule.path.iter().map(ToString::to_string) {
        if is_escaped(&path) {
            found.push(format!("path {path:?}: paths are compared without their escapes"));
        } else if is_odd_path(&path) {
            found.push(format!("path {path:?}: paths are compared without `//`, `.`, `..` and fragments"));
        }
    }
    let types = rule.content_type.iter().map(ToString::to_string).filter(|kind| kind.contains([';', ' ']));
    found.extend(types.map(|kind| format!("content_type {kind:?}: types are compared without parameters")));
    let names = rule.file_name.iter().map(ToString::to_string).filter(|name| name.contains(['/', '\\']));
    found.extend(names.map(|name| format!("file_name {name:?}: names are compared without folders")));
    found
}

#[cfg(test)]
mod tests {
    use wireglass_core::policy::{ContentAction, Decision};

    use super::*;

    fn rule(name: &str, sni: &[&str]) -> Rule {
        let mut rule = Rule::new(name, Decision::Bypass);
        rule.sni = sni.iter().map(|name| name.parse().unwrap()).collect();
        rule
    }

    #[test]
    fn names_in_the_shadow_of_others() {
        let mut with_port = rule("with a port", &["*.test"]);
        with_port.ports = vec![443];
        let rules = [
            with_port,
            rule("first", &["a.example.com", "*.example.net"]),
            rule("same", &["a.example.com"]),
            rule("below", &["*.a.example.net", "b.example.net"]),
            rule("in part", &["a.example.com", "b.example.com"]),
            rule("the name itself", &["example.net"]),
            rule("all below", &["*.example.com"]),
            rule("of both", &["a.example.com", "b.example.com"]),
            rule("behind the port", &["x.test"]),
            rule("no name", &[]),
        ];
        assert_eq!(shadowed(&rules), [("same", "first"), ("below", "first"), ("of both", "first")]);
        let content = |name: &str, host: &str| {
            let mut rule = ContentRule::new(name, ContentAction::Alert);
            rule.host.push(host.parse().unwrap());
            rule
        };
        let mut posts = content("posts", "*.b.test");
        posts.method.push("POST".into());
        let rules = [posts, content("one", "*.test"), content("two", "a.b.test")];
        assert_eq!(shadowed_content(&rules), [("two", "one")]);
    }

    #[test]
    fn slips() {
        let mut rule = Rule::new("a", Decision::Bypass);
        rule.alpn = [&b"h2"[..], b"http1.1", b"H2"].map(<[u8]>::to_vec).into();
        assert_eq!(unknown_alpn(&rule), ["http1.1", "H2"]);
        let mut rule = ContentRule::new("a", ContentAction::Alert);
        let paths = ["/a%20b", "/100%", "/a//b", "/a/..", "/.well-known/*", "/a/*..", "/a%2"];
        rule.path = paths.map(|path| path.parse().unwrap()).into();
        rule.content_type = ["text/html", "text/html;*"].map(|kind| kind.parse().unwrap()).into();
        rule.file_name = ["*.exe", "x/*.exe"].map(|name| name.parse().unwrap()).into();
        let found = misspelt(&rule);
        let found: Vec<_> = found.iter().map(|text| text.split(':').next().unwrap()).collect();
        assert_eq!(
            found,
            [
                "path \"/a%20b\"",
                "path \"/a//b\"",
                "path \"/a/..\"",
                "content_type \"text/html;*\"",
                "file_name \"x/*.exe\""
            ]
        );
    }
}
