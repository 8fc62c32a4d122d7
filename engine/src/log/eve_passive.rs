//! What a `tls` line of a bypassed flow tells of its server. Worked out by the thread that writes, as a worker has no time for it.

use std::fmt::Write;

use wireglass_core::event::{CertificateInfo, LegInfo, ServerSeen};
use wireglass_core::tls::{ServerFacts, ServerUnread};
use wireglass_core::x509::describe_certificate;

/// Longest JA3S string that is written: real ones have 40 bytes.
const MAX_JA3S: usize = 4096;

/// As a passive sensor would tell it.
pub(super) struct Passive {
    pub(super) leg: LegInfo,
    pub(super) certificate: Option<CertificateInfo>,
    /// The JA3S string; its hash is computed by the writer.
    pub(super) ja3s: Option<String>,
    pub(super) asks_for_certificate: bool,
    pub(super) unread: Option<&'static str>,
}

impl Passive {
    pub(super) fn new(seen: &ServerSeen) -> Self {
        let ServerSeen { facts, unread } = seen;
        Self {
            leg: facts.leg(),
            certificate: facts.chain.first().and_then(|der| describe_certificate(der)),
            ja3s: ja3s(facts),
            asks_for_certificate: facts.asks_for_certificate,
            unread: unread.map(ServerUnread::name),
        }
    }
}

/// Version, suite and extensions as decimal numbers.
fn ja3s(facts: &ServerFacts) -> Option<String> {
    let mut out = format!("{},{},", facts.legacy_version, facts.suite);
    for (n, kind) in facts.extensions.iter().enumerate() {
        let _ = write!(out, "{}{kind}", if n > 0 { "-" } else { "" }); // writing to a String cannot fail
    }
    (facts.version != 0 && out.len() <= MAX_JA3S).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the JA3 authors.
    #[test]
    fn ja3s_of_the_published_example() {
        let facts = ServerFacts {
            legacy_version: 769,
            version: 769,
            suite: 47,
            extensions: vec![65_281, 0, 11, 35, 5, 16],
            ..ServerFacts::default()
        };
        assert_eq!(ja3s(&facts).as_deref(), Some("769,47,65281-0-11-35-5-16"));
        assert_eq!(ja3s(&ServerFacts::default()), None, "no ServerHello");
    }
}
