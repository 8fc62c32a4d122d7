//! How often rules have decided.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Rules with a count of their own, the first in the configuration: whoever shows them all has to come to an end.
pub const MAX_COUNTED_RULES: usize = 1_000;

/// Counts by name and action, for all workers. What has no count of its own (the default, and rules behind the first
/// [`MAX_COUNTED_RULES`]) counts under the empty name.
#[derive(Debug, Default)]
pub struct Tally {
    names: BTreeMap<Arc<str>, Vec<(&'static str, Arc<AtomicU64>)>>,
}

impl Tally {
    /// For rules with these names and actions, in the order of the configuration, and for `others`, the actions of what has no name.
    /// What `before` has counted under the same name and action goes on.
    pub fn new(
        rules: impl IntoIterator<Item = (Arc<str>, &'static str)>,
        others: impl IntoIterator<Item = &'static str>,
        before: &Self,
    ) -> Self {
        let named = rules.into_iter().take(MAX_COUNTED_RULES);
        let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, action) in named.chain(others.into_iter().map(|action| ("".into(), action))) {
            let count = before.find(&name, action).map(Arc::clone).unwrap_or_default();
            names.entry(name).or_default().push((action, count));
        }
        Self { names }
    }

    /// A rule has decided once more.
    pub(super) fn count(&self, name: &str, action: &'static str) {
        if let Some(count) = self.find(name, action).or_else(|| self.find("", action)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Names, actions and counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        self.names.iter().flat_map(|(name, counts)| {
            counts.iter().map(move |(action, count)| (&**name, *action, count.load(Relaxed)))
        })
    }

    fn find(&self, name: &str, action: &'static str) -> Option<&Arc<AtomicU64>> {
        self.names.get(name)?.iter().find(|(known, _)| *known == action).map(|(_, count)| count)
    }
}

/// The counts of one generation of rules.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    /// Of `[[rule]]`, by connection.
    pub connections: Arc<Tally>,
    /// Of profiles, by ClientHello that a rule gave to one.
    pub profiles: Arc<Tally>,
    /// Of `[[content.rule]]`, by message.
    pub messages: Arc<Tally>,
    /// Of what no rule could be asked about, by the code of the reason.
    pub unread: Arc<Tally>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(n: usize) -> Vec<(Arc<str>, &'static str)> {
        (0..n).map(|n| (format!("rule {n:04}").into(), "block")).collect()
    }

    #[test]
    fn what_has_no_count_of_its_own_counts_together() {
        let tally = Tally::new(rules(MAX_COUNTED_RULES + 2), ["block", "allow"], &Tally::default());
        for name in ["rule 0999", "rule 1000", "rule 1001", ""] {
            tally.count(name, "block");
        }
        let counted: Vec<_> = tally.iter().filter(|(.., n)| *n != 0).collect();
        assert_eq!(counted, [("", "block", 3), ("rule 0999", "block", 1)]);
        assert_eq!(tally.iter().count(), MAX_COUNTED_RULES + 2);
    }

    #[test]
    fn counts_go_on_under_the_same_name_and_action() {
        let before = Tally::new(rules(3), ["block"], &Tally::default());
        let now = Tally::new([rules(1).remove(0), ("rule 0001".into(), "allow")], ["block"], &before);
        // A flow that goes by the older rules still counts.
        for name in ["rule 0000", "rule 0001", "rule 0002", ""] {
            before.count(name, "block");
        }
        now.count("rule 0000", "block");
        now.count("rule 0001", "allow");
        let counted: Vec<_> = now.iter().collect();
        assert_eq!(counted, [("", "block", 1), ("rule 0000", "block", 2), ("rule 0001", "allow", 1)]);
    }
}
