//! Paths as servers understand them, so that one file has one name.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr3};

/// Path and query of a request target, the path in the form in which rules have it.
///
/// As nginx does it for its locations: escapes are decoded once, `/` ones too; `//` is one slash; `.` and `..` are resolved, beyond the root
/// to the root; a fragment is left out. Upper and lower case, `;` and `\` stay as they are. Of the absolute form (RFC 9112, 3.2.2) the path.
/// The query stays as it was sent, without its question mark.
pub(super) struct Target<'a> {
    pub(super) path: Cow<'a, str>,
    pub(super) query: &'a str,
}

impl<'a> Target<'a> {
    pub(super) fn new(target: &'a str) -> Self {
        let rest = if target.starts_with('/') {
            target
        } else {
            // Whatever is in front of the authority; `*` and the authority of CONNECT are no paths.
            let behind = target.split_once("://").map_or("", |(_, rest)| rest);
            behind.find(['/', '?', '#']).map_or("", |at| &behind[at..])
        };
        // Mostly there is none of them.
        let is_bare = memchr3(b'#', b'?', b'%', rest.as_bytes()).is_none();
        let (path, query) = if is_bare {
            (rest, "")
        } else {
            let rest = rest.split('#').next().unwrap_or_default();
            rest.split_once('?').unwrap_or((rest, ""))
        };
        let is_normal = has_plain_slashes(path) && (is_bare || !path.contains('%'));
        let path = if is_normal { Cow::Borrowed(path) } else { Cow::Owned(normal(&decoded(path))) };
        Self { path, query }
    }

    /// Path and query, as lists of URLs have them.
    pub(super) fn whole(&self) -> Cow<'_, str> {
        if self.query.is_empty() {
            Cow::Borrowed(&*self.path)
        } else {
            Cow::Owned(format!("{}?{}", self.path, self.query))
        }
    }
}

/// Path and query of a list's entry in the form that [`Target::whole`] has; a path without anything stays so.
pub(super) fn whole(text: &str) -> Cow<'_, str> {
    if text.is_empty() || is_normal(text) && !text.contains('#') {
        return Cow::Borrowed(text);
    }
    let text = if text.starts_with('/') { Cow::Borrowed(text) } else { Cow::Owned(format!("/{text}")) };
    Cow::Owned(Target::new(&text).whole().into_owned())
}

/// Nothing in it is another way to write something else. A query behind it may look as if there were.
fn is_normal(path: &str) -> bool {
    has_plain_slashes(path) && !path.contains('%')
}

/// It begins with a slash, and behind none is another, or a dot.
fn has_plain_slashes(path: &str) -> bool {
    path.starts_with('/')
        && memchr_iter(b'/', path.as_bytes())
            .all(|at| !matches!(path.as_bytes().get(at + 1), Some(b'/' | b'.')))
}

/// With its escapes decoded, once. What is none stays.
pub(super) fn decoded(path: &str) -> String {
    let digit =
        |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = rest;
        if first == b'%'
            && let (Some(high), Some(low)) = (digit(rest.first()), digit(rest.get(1)))
        {
            out.push(high << 4 | low);
            bytes = &rest[2..];
        } else {
            out.push(first);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn normal(path: &str) -> String {
    let mut pieces: Vec<&str> = Vec::new();
    let mut is_folder = true;
    for piece in path.split('/') {
        is_folder = matches!(piece, "" | "." | "..");
        match piece {
            "" | "." => {}
            ".." => {
                pieces.pop();
            }
            _ => pieces.push(piece),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for piece in &pieces {
        out.push('/');
        out.push_str(piece);
    }
    if is_folder || pieces.is_empty() {
        out.push('/');
    }
    out
}

/// The name behind the last slash; none: it ends in one.
pub(super) fn file_name(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_path() {
        for way in [
            "/admin/x",
            "/%61dmin/x",
            "//admin/x",
            "/./admin/x",
            "/a/../admin/x",
            "/../admin/x",
            "/admin%2fx",
            "/admin/./x",
            "/admin//x",
            "/admin/x?y=/../z",
            "/admin/x#y",
            "https://a/admin/x",
            "http://u@a:1/admin/%78",
            "/b/%2e%2e/admin/x",
            "/b/c/../../admin/x",
        ] {
            assert_eq!(Target::new(way).path, "/admin/x", "{way}");
        }
    }

    #[test]
    fn what_is_another_file_stays_another() {
        for (target, path) in [
            ("/", "/"),
            ("", "/"),
            ("*", "/"),
            ("a:443", "/"),
            ("https://a", "/"),
            ("https://a?x", "/"),
            ("/a/", "/a/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/A", "/A"),
            ("/%2561", "/%61"),
            ("/%zz%4", "/%zz%4"),
            ("/a;b=1", "/a;b=1"),
            ("/a\\b", "/a\\b"),
            ("/%c0%af", "/\u{fffd}\u{fffd}"),
            ("/...", "/..."),
            ("/%00", "/\0"),
            ("/\u{e9}", "/\u{e9}"),
        ] {
            assert_eq!(Target::new(target).path, path, "{target}");
        }
        let target = Target::new("/a//b?c=%41&d#e");
        assert_eq!((target.query, &*target.whole()), ("c=%41&d", "/a/b?c=%41&d"));
    }

    #[test]
    fn entries_have_the_form_of_requests() {
        for entry in [
            "",
            "/",
            "/a",
            "/a/",
            "/a%20b/c",
            "/a//b/../c?d=%41//",
            "?a=b",
            "?u=https://a//b",
            "/.a",
            "/a*/%2e",
        ] {
            let request = if entry.starts_with('/') { entry.to_owned() } else { format!("/{entry}") };
            let expected =
                if entry.is_empty() { String::new() } else { Target::new(&request).whole().to_string() };
            assert_eq!(whole(entry), expected, "{entry}");
        }
    }

    #[test]
    fn names_of_files() {
        assert_eq!((file_name("/a/b.exe"), file_name("/a/"), file_name("/")), (Some("b.exe"), None, None));
    }
}
