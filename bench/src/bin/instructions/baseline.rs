//! The counts of before, in a file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// What was counted, and with what.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// Versions of the programs that a count depends on.
    pub(crate) tools: String,
    /// Instructions for an operation, by case.
    pub(crate) counts: BTreeMap<String, f64>,
}

/// How a count stands to the one of before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// There was none before.
    New,
    /// By so many percent, which is not much.
    Little(f64),
    /// By too much.
    Risen(f64),
    /// By as much, the other way.
    Fallen(f64),
}

impl Change {
    pub(crate) fn percent(self) -> String {
        match self {
            Self::New => "-".into(),
            Self::Little(percent) | Self::Risen(percent) | Self::Fallen(percent) => {
                format!("{percent:+.1} %")
            }
        }
    }

    pub(crate) fn remark(self) -> &'static str {
        match self {
            Self::New => "  new",
            Self::Little(_) => "",
            Self::Risen(_) => "  MORE",
            Self::Fallen(_) => "  less",
        }
    }
}

impl Baseline {
    /// Reads a file; one that is not there has no counts.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("{shown}: {error}")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{shown}: {error}")),
        }
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(file, text + "\n").map_err(|error| format!("{}: {error}", file.display()))
    }

    /// With what was counted later in place of what it was.
    pub(crate) fn with(mut self, later: Self) -> Self {
        self.counts.extend(later.counts);
        Self { tools: later.tools, counts: self.counts }
    }

    /// How `count` stands to the one of before; `most` is in percent.
    pub(crate) fn change(&self, case: &str, count: f64, most: f64) -> Change {
        let Some(before) = self.counts.get(case) else { return Change::New };
        match (count / before - 1.0) * 100.0 {
            percent if percent > most => Change::Risen(percent),
            percent if percent < -most => Change::Fallen(percent),
            percent => Change::Little(percent),
        }
    }
}

/// The compiler at hand, which is taken for the one that built this program, and valgrind.
pub(crate) fn tools() -> Result<String, String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        let output = output.map_err(|error| {
            format!("cannot start {program}: {error}; `scripts/setup.sh --all` installs valgrind")
        })?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(format!("{}, {}", version("rustc")?, version("valgrind")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_is_too_much() {
        let before = Baseline { tools: "t".into(), counts: [("a".into(), 1000.0)].into() };
        let change = |count| before.change("a", count, 2.0);
        assert_eq!(change(1000.0), Change::Little(0.0));
        assert!(matches!(change(1019.0), Change::Little(_)));
        assert!(matches!(change(1021.0), Change::Risen(_)));
        assert!(matches!(change(979.0), Change::Fallen(_)));
        assert_eq!(before.change("b", 5.0, 2.0), Change::New);
    }

    #[test]
    fn what_was_not_counted_again_is_kept() {
        let file = std::env::temp_dir().join(format!("wireglass-baseline-{}", std::process::id()));
        let none = Baseline::read(&file).expect("no file is no counts");
        assert_eq!(none, Baseline::default());
        let first = Baseline { tools: "old".into(), counts: [("a".into(), 1.5), ("b".into(), 2.0)].into() };
        none.with(first).write(&file).expect("a file");
        let later = Baseline { tools: "new".into(), counts: [("b".into(), 3.0)].into() };
        let both = Baseline::read(&file).expect("what was written").with(later);
        std::fs::remove_file(&file).expect("it is there");
        assert_eq!(
            both,
            Baseline { tools: "new".into(), counts: [("a".into(), 1.5), ("b".into(), 3.0)].into() }
        );
    }
}
