//! Header fields that are set and removed as a message passes: `[[header]]`.

use crate::end::End;
use crate::fields::{Field, Fields};
use crate::policy::NamePattern;
use crate::policy::name_index::NameIndex;
use crate::policy::names::HostName;

/// One change. Names are in lower case, and neither about the framing of a message nor about its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEdit {
    /// All fields of this name go.
    Remove(Box<str>),
    /// This field takes the place of all of its name.
    Set(Box<str>, Box<str>),
}

/// Changes to the messages of some hosts.
#[derive(Clone, Debug)]
pub struct HeaderRule {
    /// Whose requests, and the responses to them; none: everybody's.
    pub host: Vec<NamePattern>,
    /// The end whose messages are changed.
    pub from: End,
    /// In their order.
    pub edits: Vec<FieldEdit>,
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) struct CompiledHeaderRule {
    hosts: Option<NameIndex>,
    from: End,
    edits: Box<[FieldEdit]>,
}

impl CompiledHeaderRule {
    pub(super) fn new(rule: &HeaderRule) -> Self {
        let mut hosts = NameIndex::default();
        rule.host.iter().for_each(|pattern| hosts.insert(pattern, 0));
        let hosts = (!rule.host.is_empty()).then_some(hosts);
        Self { hosts, from: rule.from, edits: rule.edits.clone().into() }
    }

    pub(super) fn edits(&self, host: Option<&HostName>, from: End) -> &[FieldEdit] {
        let is_named = |hosts: &NameIndex| host.is_some_and(|host| hosts.matching(host).next().is_some());
        if self.from == from && self.hosts.as_ref().is_none_or(is_named) { &self.edits } else { &[] }
    }
}

impl FieldEdit {
    /// The fields with this change; none: they are as it wants them already.
    pub(super) fn apply(&self, fields: &Fields) -> Option<Fields> {
        let (name, value) = match self {
            Self::Remove(name) => (name.as_bytes(), None),
            Self::Set(name, value) => (name.as_bytes(), Some(value.as_bytes())),
        };
        let mut edited = Fields::default();
        let (mut set, mut changed) = (value, false);
        for field in fields.iter() {
            if !field.name.eq_ignore_ascii_case(name) {
                edited.push(field);
                continue;
            }
            changed |= set != Some(field.value);
            if let Some(value) = set.take() {
                edited.push(Field { value, ..field });
            }
        }
        if let Some(value) = set {
            changed = true;
            edited.push(Field { name, value, never_indexed: false });
        }
        changed.then_some(edited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(edit: &FieldEdit, names: &[(&str, &str)]) -> Option<Vec<String>> {
        let mut fields = Fields::default();
        for (name, value) in names {
            fields.push(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false });
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let edited = edit.apply(&fields)?;
        Some(edited.iter().map(|field| format!("{}={}", text(field.name), text(field.value))).collect())
    }

    #[test]
    fn set_and_remove() {
        let set = FieldEdit::Set("x".into(), "1".into());
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(edited(&set, &[("a", "b")]), words(&["a=b", "x=1"]));
        assert_eq!(edited(&set, &[("X", "2"), ("a", "b"), ("x", "1")]), words(&["X=1", "a=b"]));
        assert_eq!(edited(&set, &[("x", "1"), ("a", "b")]), None);
        assert_eq!(edited(&set, &[("x", "1"), ("x", "1")]), words(&["x=1"]));
        let remove = FieldEdit::Remove("x".into());
        assert_eq!(edited(&remove, &[("a", "b"), ("X", "2"), ("x", "3")]), words(&["a=b"]));
        assert_eq!(edited(&remove, &[("a", "b")]), None);
    }
}
