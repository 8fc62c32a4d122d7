//! Heads of HTTP/1 with fields set and removed, and all else as it was.

use crate::policy::FieldEdit;

/// The head with these changes. A field that is set stands behind the others; those of its name are gone.
pub(super) fn edited(head: &[u8], edits: &[FieldEdit]) -> Vec<u8> {
    let is_edited = |name: &[u8]| edits.iter().any(|edit| name.eq_ignore_ascii_case(edit.name().as_bytes()));
    let mut out = Vec::with_capacity(head.len());
    let mut is_first = true;
    let mut removes = false;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let text = line.trim_ascii_end();
        if text.is_empty() && !is_first {
            for edit in edits {
                if let FieldEdit::Set(name, value) = edit {
                    out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
            }
        } else if !is_first {
            // A line that goes on (RFC 9112, 5.2) belongs to the field before it.
            let goes_on = matches!(text[0], b' ' | b'\t');
            let name = text.split(|&byte| byte == b':').next().unwrap_or_default();
            removes = if goes_on { removes } else { is_edited(name.trim_ascii()) };
        }
        if !removes || is_first || text.is_empty() {
            out.extend_from_slice(line);
        }
        is_first = false;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_changes() {
        let head = b"GET /x:1  HTTP/1.1\r\nHost:a\r\nx-one: 1\r\n more\r\nX-ONE:2\r\nX-Two: 2\n\r\n";
        let edits = [FieldEdit::Remove("x-two".into()), FieldEdit::Set("X-One".into(), "new".into())];
        assert_eq!(
            String::from_utf8_lossy(&edited(head, &edits)),
            "GET /x:1  HTTP/1.1\r\nHost:a\r\nX-One: new\r\n\r\n"
        );
        assert_eq!(edited(head, &[]), head);
    }
}
