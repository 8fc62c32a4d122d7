//! Patterns of texts: globs and regular expressions. Both take time in proportion to the text.

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;

use crate::policy::glob;

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;
/// Stands for one character in a glob.
const ONE: char = '?';
/// Longest piece between stars with that in it, in characters: it is tried at each place of a text that a peer chooses.
const MAX_PIECE: usize = 64;
/// Memory that a regular expression may take when it is compiled, in bytes.
const MAX_COMPILED: usize = 256 * 1024;

/// Characters of a class for which all texts are spelled out: a letter in both cases, and what Unicode takes for the same.
const MAX_CLASS: usize = 4;

/// What a text must be like as a whole: `*` stands for any characters or none, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: Box<str>,
    /// Bytes before the first of those two.
    literal: usize,
}

/// What a text must be like, or must have in it.
#[derive(Clone, Debug)]
pub enum TextPattern {
    /// The whole of it.
    Glob(Glob),
    /// A part of it, unless `^` and `$` say otherwise.
    Regex(Regex),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PatternError {}

impl FromStr for Glob {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        if glob::longest_piece_with(ONE, text) > MAX_PIECE {
            return Err(PatternError(format!(
                "a pattern with at most {MAX_PIECE} characters between two `*` where `?` is among them"
            )));
        }
        Ok(Self::new(text))
    }
}

fn check_length(text: &str) -> Result<(), PatternError> {
    if text.is_empty() || text.len() > MAX_PATTERN {
        return Err(PatternError(format!("a pattern of 1 to {MAX_PATTERN} bytes")));
    }
    Ok(())
}

impl Glob {
    fn new(pattern: &str) -> Self {
        Self { pattern: pattern.into(), literal: pattern.find(['*', ONE]).unwrap_or(pattern.len()) }
    }

    /// The same in lower case.
    #[must_use]
    pub fn to_lower_case(&self) -> Self {
        Self::new(&self.pattern.to_lowercase())
    }

    /// The longest text that is in whatever is like it.
    pub(super) fn text(&self) -> &str {
        self.pattern.split(['*', ONE]).max_by_key(|piece| piece.len()).unwrap_or_default()
    }

    /// Whether a text is like it.
    pub fn matches(&self, text: &str) -> bool {
        let (literal, pattern) = self.pattern.split_at(self.literal);
        // Most of many patterns end here.
        text.strip_prefix(literal).is_some_and(|rest| glob::matches(pattern, rest, Some(ONE)))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl TextPattern {
    /// A regular expression in the syntax of the crate regex: without look-around and back-references, so linear in time.
    ///
    /// # Errors
    /// It is none, or takes too much memory.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        built.map(Self::Regex).map_err(|error| {
            let said = error.to_string();
            let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
            PatternError(format!("a regular expression ({last})"))
        })
    }

    /// Texts one of which is in whatever is like it; none: anything may be.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let texts = match self {
            Self::Glob(glob) => vec![glob.text().to_owned()],
            Self::Regex(regex) => {
                let parsed = regex_syntax::parse(regex.as_str()).ok()?;
                // A match begins with one of them.
                let begins = Extractor::new().limit_class(MAX_CLASS).extract(&parsed);
                let begins =
                    begins.literals()?.iter().map(|literal| String::from_utf8(literal.as_bytes().to_vec()));
                begins.collect::<Result<_, _>>().ok()?
            }
        };
        (!texts.is_empty() && texts.iter().all(|text| !text.is_empty())).then_some(texts)
    }

    /// Whether a text is like it.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.matches(text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Glob(one), Self::Glob(other)) => one == other,
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            (Self::Glob(_), Self::Regex(_)) | (Self::Regex(_), Self::Glob(_)) => false,
        }
    }
}

impl Eq for TextPattern {}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glob(glob) => glob.fmt(f),
            Self::Regex(regex) => f.write_str(regex.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_bounded() {
        assert!("/?".parse::<Glob>().unwrap().matches("/\u{e9}"));
        for bad in [String::new(), "x".repeat(1025), format!("*?{}*", "x".repeat(64))] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
        for good in ["x".repeat(1024), format!("*{}*", "x".repeat(1000)), format!("*?{}*", "x".repeat(63))] {
            assert!(good.parse::<Glob>().is_ok(), "{good}");
        }
    }

    #[test]
    fn regexes() {
        let pattern = TextPattern::regex("^/a[0-9]+$").unwrap();
        assert!(pattern.matches("/a12") && !pattern.matches("/a") && !pattern.matches("/b/a1"));
        assert_eq!(pattern.texts().unwrap(), ["/a"]);
        let texts = |text| TextPattern::regex(text).unwrap().texts();
        assert_eq!(texts("^/(one|two)/[0-9]*").unwrap(), ["/one/", "/two/"]);
        assert_eq!(texts("/a|"), None);
        assert_eq!(texts("[0-9]*/a"), None);
        let error = TextPattern::regex("(").unwrap_err().to_string();
        assert!(error.contains("unclosed group"), "{error}");
        assert!(TextPattern::regex("[a-z]{1000}{1000}").is_err());
    }
}
