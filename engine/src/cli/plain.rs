//! Text that strangers may have chosen.

use std::fmt::{self, Display};

/// Text of which nothing commands the terminal, or ends the quotes.
pub(super) struct Plain<'t>(pub(super) &'t str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            ' ' | '!'..='~' if c != '"' && c != '\\' => write!(f, "{c}"),
            c if c.is_alphanumeric() => write!(f, "{c}"),
            c => write!(f, "{}", c.escape_default()),
        })
    }
}

/// The same for text that stands in no quotes: what is quoted in it is shown as it is.
#[cfg(feature = "fleet")]
pub(super) fn sentence(text: &str) -> String {
    Plain(text).to_string().replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_commands_no_terminal() {
        assert_eq!(Plain("a\u{1b}[2J\"\\\u{9b}\u{202e}é").to_string(), r#"a\u{1b}[2J\"\\\u{9b}\u{202e}é"#);
    }
}
