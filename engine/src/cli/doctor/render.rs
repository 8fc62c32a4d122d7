//! Findings as text: one line for each, and below those that are not good, what they mean and what mends them.

use std::fmt::{self, Display};

use super::findings::{Finding, Level};

/// All findings, and a line that sums them up.
pub(super) struct Text<'f>(pub(super) &'f [Finding]);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INDENT: &str = "                  ";
        for Finding { topic, level, found, means, fix } in self.0 {
            let mark = match level {
                Level::Good => "good",
                Level::Note => "-",
                Level::Poor => "POOR",
                Level::Bad => "BAD",
            };
            writeln!(f, "{mark:<5} {topic:<11} {found}")?;
            if let Some(means) = means {
                writeln!(f, "{INDENT}{means}")?;
            }
            if let Some(fix) = fix {
                writeln!(f, "{INDENT}-> {fix}")?;
            }
        }
        let count = |wanted| self.0.iter().filter(|finding| finding.level == wanted).count();
        match (count(Level::Bad), count(Level::Poor)) {
            (0, 0) => writeln!(f, "nothing in the way"),
            (bad, poor) => writeln!(f, "{bad} bad, {poor} poor"),
        }
    }
}
