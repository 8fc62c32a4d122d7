//! The name under which a client would save what a message has.

use base64ct::{Base64Unpadded, Encoding as _};

use crate::fields::Fields;
use crate::policy::path;

/// Of Content-Disposition (RFC 6266, 4.3), or else of the path, in lower case.
///
/// Clients do not agree on which of several names counts, nor on whether escapes and encoded words in `filename` are decoded, nor on names in
/// pieces: so all of them are told. If none is sure to be understood, a client may take the path.
pub(super) fn file_names(fields: &Fields, path: &str) -> Vec<String> {
    let (mut names, mut is_sure) = (Vec::new(), false);
    for value in fields.values("content-disposition") {
        is_sure |= named(&String::from_utf8_lossy(value), &mut names);
    }
    if !is_sure {
        path::file_name(path).and_then(saved).into_iter().for_each(|name| names.push(name));
    }
    names
}

/// Adds the names that a disposition has. True: one of them every browser understands.
fn named(disposition: &str, names: &mut Vec<String>) -> bool {
    let (mut pieces, mut is_sure) = (String::new(), false);
    let mut add = |name: &str, is_known: bool| {
        if let Some(saved) = saved(name) {
            is_sure |= is_known && !saved.contains(char::REPLACEMENT_CHARACTER);
            names.push(saved);
        }
    };
    for (name, value) in parameters(disposition) {
        // RFC 8187: charset, language, and the text with escapes.
        let extended = value.splitn(3, '\'').nth(2);
        match &*name.to_ascii_lowercase() {
            "filename" => {
                let words = with_words_decoded(&value);
                add(&value, false);
                add(&path::decoded(&value), words.is_some());
                words.filter(|words| *words != value).into_iter().for_each(|words| add(&words, false));
            }
            "filename*" => {
                let is_utf8 = value.get(..6).is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8'"));
                extended.into_iter().for_each(|text| add(&path::decoded(text), is_utf8));
            }
            name => match piece_of_name(name) {
                Some(true) => pieces += &path::decoded(extended.unwrap_or(&value)),
                Some(false) => pieces += &value,
                None => {}
            },
        }
    }
    add(&pieces, false);
    is_sure
}

/// RFC 2231, 3: `filename*0` is a piece of a name, `filename*0*` one with escapes. wget puts them together as they come. None: it is none.
fn piece_of_name(name: &str) -> Option<bool> {
    let number = name.strip_prefix("filename*")?;
    let digits = number.strip_suffix('*').unwrap_or(number);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(digits.len() < number.len())
}

/// With its encoded words (RFC 2047) decoded, as Chromium and Firefox do it. Between two of them there is no space. None: something looks
/// like one and is none.
fn with_words_decoded(text: &str) -> Option<String> {
    let (mut out, mut is_behind_text) = (String::new(), false);
    for piece in text.split_ascii_whitespace() {
        if is_behind_text {
            out.push(' ');
        }
        is_behind_text = !piece.starts_with("=?");
        if is_behind_text {
            out += piece;
        } else {
            out += &decoded_word(piece)?;
        }
    }
    Some(out)
}

/// RFC 2047, 2: charset, encoding and text. What is not UTF-8 is read as far as it is ASCII.
fn decoded_word(piece: &str) -> Option<String> {
    let word = piece.strip_prefix("=?")?.strip_suffix("?=")?;
    let (encoding, text) = word.split_once('?')?.1.split_once('?')?;
    match encoding {
        _ if text.contains('?') => None,
        "B" | "b" => {
            let octets = Base64Unpadded::decode_vec(text.trim_end_matches('=')).ok()?;
            Some(String::from_utf8_lossy(&octets).into_owned())
        }
        "Q" | "q" => Some(path::decoded(&text.replace('%', "%25").replace('=', "%").replace('_', " "))),
        _ => None,
    }
}

/// As it is saved: without folders and control characters, without the dots and spaces at the end that browsers and Windows leave out, and
/// without the apostrophes that curl takes for quotation marks.
fn saved(name: &str) -> Option<String> {
    let name: String =
        name.rsplit(['/', '\\']).next()?.chars().filter(|letter| !letter.is_control()).collect();
    let is_space = |letter: char| letter.is_whitespace() || letter == '\'';
    let name = name.trim_start_matches(is_space).trim_end_matches(|letter| is_space(letter) || letter == '.');
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
            ("attachment; filename='a.exe'", &["a.exe"]),
            ("attachment; filename*=UTF-8''a.exe%C2%A0%09", &["a.exe"]),
            ("attachment; filename*=UTF-16LE''a%00.%00e%00x%00e%00", &["a.exe", "path.bin"]),
            ("attachment; filename=\"=?UTF-8?B?YS5leGU=?=\"", &["=?utf-8?b?ys5legu=?=", "a.exe"]),
            (
                "attachment; filename=\"b =?utf-8?q?a=2Ee?= =?utf-8?Q?x%_e?=\"",
                &["b =?utf-8?q?a=2ee?= =?utf-8?q?x%_e?=", "b a.ex% e"],
            ),
            // Then Chromium goes by the path.
            ("attachment; filename==?x?b?!?=", &["=?x?b?!?=", "path.bin"]),
            ("attachment; filename==?x?q?a?=.exe", &["=?x?q?a?=.exe", "path.bin"]),
            ("attachment; filename=a%FF", &["a%ff", "a\u{fffd}", "path.bin"]),
            ("attachment; filename*=x''b", &["b", "path.bin"]),
            ("attachment; filename*0=a.; filename*1=\"exe\"", &["a.exe", "path.bin"]),
            (
                "attachment; filename*0*=UTF-8''%61; filename*1*=%2Ee; filename*2=xe; filename*3x=y",
                &["a.exe", "path.bin"],
            ),
            ("attachment", &["path.bin"]),
            ("", &["path.bin"]),
            ("inline; filename=", &["path.bin"]),
        ] {
            assert_eq!(of(disposition, "/a/Path.bin"), names, "{disposition}");
        }
        assert!(of("", "/a/").is_empty());
    }
}
