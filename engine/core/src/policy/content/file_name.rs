//! The name under which a client would save what a message has.

use crate::fields::Fields;
use crate::policy::path;

/// Of Content-Disposition (RFC 6266, 4.3: `filename*` before `filename`), or else of the path.
pub(super) fn file_name(fields: &Fields, path: &str) -> Option<String> {
    let disposition = fields.value("content-disposition").map(String::from_utf8_lossy);
    disposition.and_then(|value| named(&value)).or_else(|| path::file_name(path).map(str::to_owned))
}

fn named(disposition: &str) -> Option<String> {
    let (mut plain, mut extended) = (None, None);
    for (name, value) in parameters(disposition) {
        match &*name.to_ascii_lowercase() {
            "filename" => plain = Some(value),
            // RFC 8187: charset, language, and the text with escapes.
            "filename*" => extended = value.splitn(3, '\'').nth(2).map(path::decoded),
            _ => {}
        }
    }
    // Whoever saves it takes no folders from the other end.
    let name = extended.or(plain)?;
    name.rsplit(['/', '\\']).next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Names and values behind the first semicolon; quoted strings are taken apart (RFC 9110, 5.6.4).
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let mut value = String::new();
        let used = if let Some(quoted) = behind.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.char_indices().find(|&(_, letter)| {
                let ends = letter == '"' && !escaped;
                if !ends && (escaped || letter != '\\') {
                    value.push(letter);
                }
                escaped = letter == '\\' && !escaped;
                ends
            });
            end.map_or(behind.len(), |(at, _)| at + 2)
        } else {
            let end = behind.find(';').unwrap_or(behind.len());
            value.push_str(behind[..end].trim_end());
            end
        };
        found.push((name.trim().to_owned(), value));
        rest = behind[used..].trim_start().strip_prefix(';').unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Field;

    fn of(disposition: &str, path: &str) -> Option<String> {
        let mut fields = Fields::default();
        if !disposition.is_empty() {
            let (name, value) = (&b"Content-Disposition"[..], disposition.as_bytes());
            fields.push(Field { name, value, never_indexed: false });
        }
        file_name(&fields, path)
    }

    #[test]
    fn names() {
        for (disposition, name) in [
            ("attachment; filename=a.exe", Some("a.exe")),
            ("attachment;filename=\"a b.exe\"; x=1", Some("a b.exe")),
            ("attachment; filename=\"a\\\"b.exe\"", Some("a\"b.exe")),
            ("attachment; filename=a.txt; filename*=UTF-8''%e2%82%ac.exe", Some("\u{20ac}.exe")),
            ("attachment; filename*=utf-8'en'x.exe; filename=y", Some("x.exe")),
            ("attachment; FileName = \"..\\..\\c/evil.exe\"", Some("evil.exe")),
            ("attachment; filename=\"open", Some("open")),
            ("attachment", Some("path.bin")),
            ("", Some("path.bin")),
            ("inline; filename=", Some("path.bin")),
        ] {
            assert_eq!(of(disposition, "/a/path.bin").as_deref(), name, "{disposition}");
        }
        assert_eq!(of("", "/a/"), None);
    }
}
