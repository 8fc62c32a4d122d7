//! Patterns in which `*` stands for any characters or none.

/// Whether the whole of a text is like a pattern. `one` stands for any one character; none: no character does.
///
/// Takes time in proportion to the text, times the longest piece between stars that has `one` in it.
pub(super) fn matches(pattern: &str, text: &str, one: Option<char>) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = after(first, text, one) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    // The first place for each piece leaves most room for those behind it.
    for piece in pieces {
        let Some(behind) = find(piece, rest, one) else { return false };
        rest = behind;
    }
    ends_with(last, rest, one)
}

/// The longest piece between stars that has `one` in it, in characters.
pub(super) fn longest_piece_with(one: char, pattern: &str) -> usize {
    let pieces = pattern.split('*').filter(|piece| piece.contains(one));
    pieces.map(|piece| piece.chars().count()).max().unwrap_or(0)
}

/// What is behind a piece with which the text begins.
fn after<'t>(piece: &str, text: &'t str, one: Option<char>) -> Option<&'t str> {
    if !one.is_some_and(|one| piece.contains(one)) {
        return text.strip_prefix(piece);
    }
    let mut rest = text.chars();
    let is_like =
        piece.chars().all(|wanted| rest.next().is_some_and(|found| wanted == found || one == Some(wanted)));
    is_like.then_some(rest.as_str())
}

/// What is behind the first place of a piece.
fn find<'t>(piece: &str, text: &'t str, one: Option<char>) -> Option<&'t str> {
    if !one.is_some_and(|one| piece.contains(one)) {
        return text.find(piece).map(|at| &text[at + piece.len()..]);
    }
    text.char_indices().find_map(|(at, _)| after(piece, &text[at..], one))
}

fn ends_with(piece: &str, text: &str, one: Option<char>) -> bool {
    if !one.is_some_and(|one| piece.contains(one)) {
        return text.ends_with(piece);
    }
    // It has characters, so there is a last one.
    let begin = text.char_indices().rev().nth(piece.chars().count() - 1);
    begin.is_some_and(|(at, _)| after(piece, &text[at..], one).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, is_match) in [
            ("/a*", "/a", true),
            ("/a*", "/ab/c?d", true),
            ("/a*", "/b", false),
            ("*.exe", "/x/y.exe", true),
            ("*.exe", "/x/y.exe?z", false),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/axbxbxc", true),
            ("/a*b*c", "/acb", false),
            ("/a*a", "/a", false),
            ("/a**", "/a", true),
            ("*", "", true),
            ("*", "/", true),
            ("a", "A", false),
            ("/?", "/?", true),
            ("/?", "/b", false),
        ] {
            assert_eq!(matches(pattern, text, None), is_match, "{pattern} {text}");
        }
        for (pattern, text, is_match) in [
            ("/?", "/\u{e9}", true),
            ("/?", "/", false),
            ("/?", "/ab", false),
            ("?*", "", false),
            ("*a?", "bab", true),
        ] {
            assert_eq!(matches(pattern, text, Some('?')), is_match, "{pattern} {text}");
        }
        assert_eq!((longest_piece_with('?', "abcd*a?*??\u{e9}"), longest_piece_with('?', "ab*")), (3, 0));
    }

    proptest! {
        /// The same as the regular expression that says it.
        #[test]
        fn a_pattern_is_what_its_regex_is(pattern in "[ab\u{e9}*?]{1,8}", text in "[ab\u{e9}?]{0,10}") {
            let all = pattern.replace('*', ".*");
            let with_one = Regex::new(&format!("^{}$", all.replace('?', "."))).unwrap();
            let without = Regex::new(&format!("^{}$", all.replace('?', "[?]"))).unwrap();
            prop_assert_eq!(matches(&pattern, &text, Some('?')), with_one.is_match(&text));
            prop_assert_eq!(matches(&pattern, &text, None), without.is_match(&text));
        }
    }
}
