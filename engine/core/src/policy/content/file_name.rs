//! The name under which a client would save what a message has.

use crate::fields::Fields;
use crate::policy::path;

/// Of Content-Disposition (RFC 6266, 4.3), or else of the path, in lower case.
///
/// Clients do not agree on which of several names counts, nor on whether escapes in `filename` are decoded: so all of them are told.
pub(super) fn file_names(fields: &Fields, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    for value in fields.values("content-disposition") {
        named(&String::from_utf8_lossy(value), &mut names);
    }
    if names.is_empty() {
        path::file_name(path).and_then(saved).into_iter().for_each(|name| names.push(name));
    }
    names
}

fn named(disposition: &str, names: &mut Vec<String>) {
    for (name, value) in parameters(disposition) {
        match &*name.to_ascii_lowercase() {
            "filename" => names.extend([saved(&value), saved(&path::decoded(&value))].into_iter().flatten()),
            // RFC 8187: charset, language, and the text with escapes.
            "filename*" => {
                names.extend(value.splitn(3, '\'').nth(2).map(path::decoded).as_deref().and_then(saved))
            }
            _ => {}
        }
    }
}

/// As it is saved: without folders, and without the dots and spaces at the end that Windows leaves out.
fn saved(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).next()?.trim_start().trim_end_matches(['.', ' ']);
    (!name.is_empty()).then(|| name.to_lowercase())
}

/// Names and values between semicolons; quoted strings are taken apart (RFC 9110, 5.6.4). What has no value is passed over, and what
/// is behind a quoted string, too. The type may be missing: browsers do not insist on it.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut piece, mut is_quoted, mut is_behind) = (String::new(), false, false);
    let mut letters = text.chars();
    loop {
        match letters.next() {
            Some('\\') if is_quoted => piece.extend(letters.next()),
            Some('"') if is_quoted => (is_quoted, is_behind) = (false, true),
            Some(letter) if is_quoted => piece.push(letter),
            Some('"') if !is_behind && piece.trim_end().ends_with('=') => is_quoted = true,
            end @ (Some(';') | None) => {
                if let Some((name, value)) = piece.split_once('=') {
                    let value = if is_behind { value.trim_start() } else { value.trim() };
                    found.push((name.trim().to_owned(), value.to_owned()));
                }
                (piece, is_behind) = (String::new(), false);
                if end.is_none() {
                    return found;
                }
            }
            Some(letter) if !is_behind => piece.push(letter),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Field;

    fn of(disposition: &str, path: &str) -> Vec<String> {
        let mut fields = Fields::default();
        if !disposition.is_empty() {
            let (name, value) = (&b"Content-Disposition"[..], disposition.as_bytes());
            fields.push(Field { name, value, never_indexed: false });
        }
        let mut names = file_names(&fields, path);
        names.dedup();
        names
    }

    #[test]
    fn names() {
        for (disposition, names) in [
            ("attachment; filename=a.exe", &["a.exe"][..]),
            ("attachment;filename=\"a b.exe\"; x=1", &["a b.exe"]),
            ("attachment; filename=\"a\\\"b;c=d.exe\"", &["a\"b;c=d.exe"]),
            ("attachment; filename=a.txt; filename*=UTF-8''%e2%82%ac.exe", &["a.txt", "\u{20ac}.exe"]),
            ("attachment; filename*=utf-8'en'x.exe; filename=y", &["x.exe", "y"]),
            ("attachment; filename=a.exe; filename=b.txt", &["a.exe", "b.txt"]),
            ("attachment; FileName = \"..\\\\..\\\\c/Evil.EXE\"", &["evil.exe"]),
            ("attachment; filename=\"open", &["open"]),
            ("attachment; filename=a%2Eexe", &["a%2eexe", "a.exe"]),
            ("attachment; filename=\"a.exe. \"", &["a.exe"]),
            ("attachment; foo; filename=a.exe", &["a.exe"]),
            ("attachment; x=\"y\" z; filename=a.exe", &["a.exe"]),
            ("attachment; filename=\"a.exe\" x; y=z", &["a.exe"]),
            ("filename=a.exe", &["a.exe"]),
            ("attachment; filename=a.exe; filename*=bogus", &["a.exe"]),
            ("attachment", &["path.bin"]),
            ("", &["path.bin"]),
            ("inline; filename=", &["path.bin"]),
        ] {
            assert_eq!(of(disposition, "/a/Path.bin"), names, "{disposition}");
        }
        assert!(of("", "/a/").is_empty());
    }
}
