//! `[fetch]`: what is fetched of that which certificates name, and within which bounds.

use std::time::Duration;

use wireglass_core::tls::FetchSettings;

use super::rules::read_network;
use crate::config::reader::Table;

/// `[fetch]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetch {
    /// What, and how much.
    pub settings: FetchSettings,
    /// How long one answer may take.
    pub timeout: Duration,
}

impl Fetch {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let default = FetchSettings::default();
        let allow = table.value("allow", "[]").map(|value| value.items()).unwrap_or_default();
        let ports = table.value("ports", "[80]").map(|value| {
            let ports: Vec<_> = value.items().iter().filter_map(|item| item.integer(1..=u16::MAX)).collect();
            if value.is_list() && value.items().is_empty() {
                value.expected("at least one port");
            }
            ports
        });
        let settings = FetchSettings {
            crls: table.boolean("crls", default.crls),
            ocsp: table.boolean("ocsp", default.ocsp),
            issuers: table.boolean("issuers", default.issuers),
            allow: allow.iter().filter_map(read_network).collect(),
            ports: ports.unwrap_or(default.ports),
            redirects: table.integer("redirects", 0..=5, default.redirects),
            queue: table.integer("queue", 1..=65_536, default.queue),
            parallel: table.integer("parallel", 1..=64, default.parallel),
            per_second: table.integer("per_second", 1..=1000, default.per_second),
            host_per_second: table.integer("host_per_second", 1..=1000, default.host_per_second),
            answer_bytes: table.integer("answer_bytes", 65_536..=1_073_741_824, default.answer_bytes),
            entries: table.integer("cache_entries", 16..=1_048_576, default.entries),
            bytes: table.integer("cache_bytes", 1_048_576..=68_719_476_736, default.bytes),
            retry: table.integer("retry_seconds", 1..=86_400, default.retry),
            refresh: table.integer("refresh_seconds", 60..=604_800, default.refresh),
        };
        // What a CRL takes is more than its own length: there is an index of its serial numbers.
        if settings.bytes < settings.answer_bytes * 2 {
            table.say("expected `cache_bytes` to be twice `answer_bytes` at least: else there is no room for the longest CRL");
        }
        let timeout = Duration::from_secs(table.integer("timeout_seconds", 1..=300, 10));
        table.finish();
        Self { settings, timeout }
    }

    /// Anything is fetched.
    pub fn is_on(&self) -> bool {
        self.kinds().next().is_some()
    }

    /// What is fetched, in words.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let FetchSettings { crls, ocsp, issuers, .. } = self.settings;
        [(crls, "CRLs"), (ocsp, "OCSP responses"), (issuers, "certificates of issuers")]
            .into_iter()
            .filter_map(|(on, kind)| on.then_some(kind))
    }
}
