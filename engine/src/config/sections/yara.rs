//! `[yara.NAME]`: rules of YARA that whole bodies are shown to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wireglass_core::content::Inspector;

use crate::config::list_files::{self, Stamp};
use crate::config::near::nearest;
use crate::config::reader::{Table, Value};

/// All sets, and the files that they come from.
#[derive(Debug, Default)]
pub struct YaraSets {
    /// In the order of their names.
    pub sets: Vec<YaraSet>,
    files: Vec<(PathBuf, Stamp)>,
    /// What rules on content may ask for by name: the place in `sets`; none: it had faults of its own.
    by_name: BTreeMap<String, Option<usize>>,
}

/// One of them.
#[derive(Debug)]
pub struct YaraSet {
    /// As rules on content name it, with `yara.` in front.
    pub name: Arc<str>,
    /// Its rules, compiled.
    pub inspector: Arc<dyn Inspector>,
    /// How many these are.
    pub rules: usize,
    /// In so many files.
    pub files: usize,
    /// Octets of a body that are kept for it.
    pub max_bytes: usize,
    /// How long it may look at one body.
    pub timeout: Duration,
}

impl YaraSets {
    pub(in crate::config) fn read(table: &Table<'_>) -> Self {
        let mut all = Self::default();
        for (name, table) in table.named_tables() {
            let set = all.read_set(name, &table);
            let place = set.as_ref().map(|_| all.sets.len());
            all.sets.extend(set);
            all.by_name.insert(name.to_owned(), place);
            table.finish();
        }
        all
    }

    fn read_set(&mut self, name: &str, table: &Table<'_>) -> Option<YaraSet> {
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            table.say("expected a name of 1 to 64 bytes without control characters");
        }
        let max_bytes = table.integer("max_bytes", 1024..=1_073_741_824, 8_388_608);
        let timeout = Duration::from_millis(table.integer("timeout_ms", 10..=300_000, 5000));
        let files = table.required("rules", "files of YARA rules (`rules = [\"rules/*.yar\"]`)")?;
        let mut compiler = Compiler::new(table)?;
        let (mut is_whole, mut seen) = (true, BTreeSet::new());
        for named in files.items() {
            let Some(paths) = named.files() else {
                is_whole = false;
                continue;
            };
            for path in paths.into_iter().filter(|path| seen.insert(path.clone())) {
                is_whole &= self.add(&mut compiler, &named, path);
            }
        }
        if !is_whole {
            return None;
        }
        let name: Arc<str> = format!("yara.{name}").into();
        let (inspector, rules) = compiler.finish(Arc::clone(&name), max_bytes, timeout);
        if rules == 0 {
            files.say("expected a rule in its files, found none");
            return None;
        }
        Some(YaraSet { name, inspector, rules, files: seen.len(), max_bytes, timeout })
    }

    /// Whether a file was read and its rules are good.
    fn add(&mut self, compiler: &mut Compiler, named: &Value<'_>, path: PathBuf) -> bool {
        let read = list_files::read(&path).and_then(|(text, stamp)| {
            let text =
                String::from_utf8(text).map_err(|_| format!("expected UTF-8 in {}", path.display()))?;
            compiler.add(&path, &text)?;
            Ok(stamp)
        });
        match read {
            Ok(stamp) => {
                self.files.push((path, stamp));
                true
            }
            Err(message) => {
                named.say(message);
                false
            }
        }
    }

    /// The set of a name, which a value has.
    pub(super) fn named(&self, value: &Value<'_>, name: &str) -> Option<usize> {
        let found = self.by_name.get(name);
        if found.is_none() {
            let hint = nearest(name, self.by_name.keys().map(String::as_str))
                .map(|near| format!(" (did you mean \"yara.{near}\"?)"))
                .unwrap_or_default();
            value.say(format!("no `[yara.{name}]` in this file{hint}"));
        }
        *found?
    }

    /// Those who ask them, by their places.
    pub fn inspectors(&self) -> impl Iterator<Item = Arc<dyn Inspector>> {
        self.sets.iter().map(|set| Arc::clone(&set.inspector))
    }

    /// Files that are not there, or not the same, in others.
    pub fn files_that_differ(&self, other: &Self) -> Vec<String> {
        let gone = self.files.iter().filter(|file| !other.files.contains(file));
        let come = other.files.iter().filter(|file| !self.files.contains(file));
        gone.chain(come).map(|(path, _)| path.display().to_string()).collect()
    }
}

#[cfg(feature = "yara")]
use compiled::Compiler;
#[cfg(not(feature = "yara"))]
use left_out::Compiler;

#[cfg(feature = "yara")]
mod compiled {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use wireglass_core::content::Inspector;

    use super::Table;
    use crate::yara::{RuleSetBuilder, YaraInspector};

    pub(super) struct Compiler(RuleSetBuilder);

    impl Compiler {
        pub(super) fn new(_: &Table<'_>) -> Option<Self> {
            Some(Self(RuleSetBuilder::new()))
        }

        pub(super) fn add(&mut self, path: &Path, text: &str) -> Result<(), String> {
            self.0.add(path, text)
        }

        /// With the number of rules.
        pub(super) fn finish(
            self,
            name: Arc<str>,
            max_bytes: usize,
            timeout: Duration,
        ) -> (Arc<dyn Inspector>, usize) {
            let rules = self.0.build(timeout);
            let count = rules.len();
            (Arc::new(YaraInspector::new(name, rules, max_bytes)), count)
        }
    }
}

#[cfg(not(feature = "yara"))]
mod left_out {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use wireglass_core::content::Inspector;

    use super::Table;

    /// There is none in this program.
    pub(super) enum Compiler {}

    impl Compiler {
        pub(super) fn new(table: &Table<'_>) -> Option<Self> {
            table.say("this program is built without YARA (feature `yara` of the package wireglass)");
            None
        }

        pub(super) fn add(&mut self, _: &Path, _: &str) -> Result<(), String> {
            match *self {}
        }

        pub(super) fn finish(self, _: Arc<str>, _: usize, _: Duration) -> (Arc<dyn Inspector>, usize) {
            match self {}
        }
    }
}
