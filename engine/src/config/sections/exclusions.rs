//! `[exclusions]`: how long servers that cannot be decrypted are remembered, and where.

use std::path::PathBuf;
use std::time::Duration;

use wireglass_core::exclusions::DEFAULT_LIFETIME;

use crate::config::reader::Table;

const HOUR: u64 = 3600;

/// `[exclusions]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusions {
    /// Keeps them over a restart; none: nothing does.
    pub file: Option<PathBuf>,
    /// How long one is remembered.
    pub lifetime: Duration,
}

impl Exclusions {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let file = table.value("file", "none").and_then(|value| {
            value.path().inspect(|path| {
                if path.is_dir()
                    || !path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir())
                {
                    value.say(format!("expected a file in an existing folder, found {}", path.display()));
                }
            })
        });
        let hours = table.integer("hours", 1..=720, DEFAULT_LIFETIME / HOUR);
        table.finish();
        Self { file, lifetime: Duration::from_secs(hours * HOUR) }
    }
}
