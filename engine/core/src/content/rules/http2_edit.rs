//! Fields of HTTP/2 that are set and removed.

use crate::fields::{Field, Fields};
use crate::policy::FieldEdit;

/// The fields with these changes; none: they are as they should be already. A field that is set stands behind the others.
pub(super) fn edited(fields: &Fields, edits: &[FieldEdit]) -> Option<Fields> {
    let is_edited = |name: &[u8]| edits.iter().any(|edit| name.eq_ignore_ascii_case(edit.name().as_bytes()));
    let is_set = |edit: &FieldEdit| match edit {
        FieldEdit::Remove(name) => fields.value(name).is_none(),
        FieldEdit::Set(name, value) => fields.values(name).eq([value.as_bytes()]),
    };
    if edits.iter().all(is_set) {
        return None;
    }
    let mut edited = Fields::default();
    fields.iter().filter(|field| !is_edited(field.name)).for_each(|field| edited.push(field));
    for edit in edits {
        if let FieldEdit::Set(name, value) = edit {
            // RFC 9113, 8.2.1: names are in lower case.
            let name = name.to_ascii_lowercase();
            edited.push(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false });
        }
    }
    Some(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(edits: &[FieldEdit], names: &[(&str, &str)]) -> Option<Vec<String>> {
        let mut fields = Fields::default();
        for (name, value) in names {
            fields.push(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false });
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let edited = edited(&fields, edits)?;
        Some(edited.iter().map(|field| format!("{}={}", text(field.name), text(field.value))).collect())
    }

    #[test]
    fn set_and_remove() {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let set = [FieldEdit::Set("X".into(), "1".into())];
        assert_eq!(with(&set, &[(":path", "/"), ("a", "b")]), words(&[":path=/", "a=b", "x=1"]));
        assert_eq!(with(&set, &[("x", "2"), ("a", "b"), ("x", "1")]), words(&["a=b", "x=1"]));
        assert_eq!(with(&set, &[("x", "1"), ("a", "b")]), None);
        let both = [FieldEdit::Remove("x".into()), FieldEdit::Set("y".into(), "1".into())];
        assert_eq!(with(&both, &[("a", "b"), ("x", "2"), ("x", "3")]), words(&["a=b", "y=1"]));
        assert_eq!(with(&both, &[("a", "b"), ("y", "1")]), None);
        assert_eq!(with(&[], &[("a", "b")]), None);
        // As a configuration may write it.
        let long = [
            FieldEdit::Remove("X-Powered-By".into()),
            FieldEdit::Set("X-Frame-Options".into(), "DENY".into()),
        ];
        assert_eq!(
            with(&long, &[("x-powered-by", "a"), ("a", "b")]),
            words(&["a=b", "x-frame-options=DENY"])
        );
        assert_eq!(with(&long, &[("a", "b"), ("x-frame-options", "DENY")]), None);
    }
}
