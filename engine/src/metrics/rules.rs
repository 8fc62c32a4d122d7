//! How often each rule has decided.

use wireglass_core::counters::Kind;
use wireglass_core::policy::Tally;

use super::page::{Metrics, Page};

impl Metrics {
    pub(super) fn rules(&self, page: &mut Page<'_>) {
        let tallies = self.tallies();
        let mut family = |name, help, label, tally: &Tally| {
            page.family(name, help, Kind::Counter);
            for (rule, action, count) in tally.iter() {
                page.sample(name, &[(label, &rule), ("action", &action)], count);
            }
        };
        family(
            "wireglass_rule_connections_total",
            "Connections (SYNs, if those suffice) by the rule that decided. Without a name: the default, and rules after the first 1000.",
            "rule",
            &tallies.connections,
        );
        family(
            "wireglass_profile_hellos_total",
            "ClientHellos that a rule gave to a profile, by what happened to them. Without a name: profiles after the first 333.",
            "profile",
            &tallies.profiles,
        );
        family(
            "wireglass_content_rule_messages_total",
            "Requests and responses by the rule on content that decided. Without a name: rules after the first 1000.",
            "rule",
            &tallies.messages,
        );
        family(
            "wireglass_content_unread_total",
            "Messages that rules on content could not judge, by reason and what happened to them.",
            "reason",
            &tallies.unread,
        );
    }
}
