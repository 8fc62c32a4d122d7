//! Which rules name a server name: one search by hash for all rules, however many there are.

use hashbrown::HashMap;

use super::NamePattern;
use super::names::HostName;

/// Rules by the names that they list, each with its place among the rules.
#[derive(Debug, Default)]
pub(super) struct NameIndex {
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    below: HashMap<Box<[u8]>, Vec<usize>>,
    /// Labels of the longest entry of `below`: what bounds the search.
    labels: usize,
}

impl NameIndex {
    /// Rules come in their order.
    pub(super) fn insert(&mut self, pattern: &NamePattern, rule: usize) {
        let rules = match pattern {
            NamePattern::Exact(name) => self.exact.entry(name.as_bytes().into()),
            NamePattern::Below(name) => {
                self.labels = self.labels.max(name.split('.').count());
                self.below.entry(name.as_bytes().into())
            }
        };
        rules.or_default().push(rule);
    }

    /// The rules of each entry that a name matches, in the order of the rules.
    pub(super) fn matching<'s>(&'s self, name: &'s HostName) -> impl Iterator<Item = &'s [usize]> {
        let exact = self.exact.get(name.as_bytes());
        let below = name.suffixes(self.labels).filter_map(|suffix| self.below.get(suffix));
        exact.into_iter().chain(below).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 253;

    struct NameSet(NameIndex);

    impl NameSet {
        fn contains(&self, name: &str) -> bool {
            self.0.matching(&HostName::new(name)).next().is_some()
        }
    }

    fn set(patterns: &[&str]) -> NameSet {
        let mut index = NameIndex::default();
        patterns.iter().for_each(|p| index.insert(&p.parse().expect("a pattern"), 0));
        NameSet(index)
    }

    #[test]
    fn exact_names_match_themselves_only() {
        let set = set(&["Example.COM."]);
        for name in ["example.com", "EXAMPLE.com", "example.com."] {
            assert!(set.contains(name), "{name}");
        }
        for name in [
            "",
            ".",
            "com",
            "a.example.com",
            "example.com.evil.test",
            "xexample.com",
            "example.com..",
            ".example.com",
        ] {
            assert!(!set.contains(name), "{name}");
        }
    }

    #[test]
    fn suffixes_match_what_is_below_them_at_any_depth() {
        let set = set(&["*.example.com", "*.a.b.c.test"]);
        for name in ["a.example.com", "a.b.example.com", "A.EXAMPLE.COM.", "x.a.b.c.test", "y.x.a.b.c.test"] {
            assert!(set.contains(name), "{name}");
        }
        for name in
            ["example.com", "badexample.com", ".example.com", "a.example.com.test", "a.b.c.test", "com", ""]
        {
            assert!(!set.contains(name), "{name}");
        }
    }

    #[test]
    fn a_name_too_long_for_the_dns_cannot_hide_its_suffix() {
        let long = format!("{}example.com", "a.".repeat(400));
        assert!(set(&["*.example.com"]).contains(&long));
        let suffix = format!("{}.b", ["a"; 126].join("."));
        assert!(set(&[&format!("*.{suffix}")]).contains(&format!("x.{suffix}")));
        let name = format!("{}.b", ["a"; 126].join("."));
        assert_eq!(name.len(), LONGEST);
        assert!(set(&[&name]).contains(&name));
        assert!(!set(&[&name]).contains(&format!("x{name}")));
        assert!(!set(&[&name]).contains(&format!("{}{name}", "x".repeat(300))));
    }

    #[test]
    fn every_entry_that_matches_has_its_rules_in_order() {
        let mut index = NameIndex::default();
        for (i, pattern) in ["*.test", "a.test", "*.a.test", "*.test", "b.test"].iter().enumerate() {
            index.insert(&pattern.parse().expect("a pattern"), i);
        }
        let rules = |name: &str| index.matching(&HostName::new(name)).map(<[_]>::to_vec).collect::<Vec<_>>();
        assert_eq!(rules("x.a.test"), [vec![2], vec![0, 3]]);
        assert_eq!(rules("a.test"), [vec![1], vec![0, 3]]);
        assert_eq!(rules("test"), Vec::<Vec<usize>>::new());
    }
}
