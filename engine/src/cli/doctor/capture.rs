//! What is said of a capture: nobody should find one on by chance.

use super::findings::{Finding, Question};

impl Question<'_> {
    /// None: nothing is captured.
    pub(super) fn capture(&self) -> Option<Finding> {
        let (places, minutes) = self.plan?.captured.as_ref()?;
        Some(Finding::poor(
            "capture",
            format!(
                "ON: secrets of decrypted flows go to {places}, for {minutes} minute(s) after each start"
            ),
            "whoever has these files reads what was encrypted",
            "remove [capture] when it is not needed any more, and the files",
        ))
    }
}
