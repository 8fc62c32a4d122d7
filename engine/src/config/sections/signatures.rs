//! `[signatures.NAME]`: what is looked for in the contents of messages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wireglass_core::content::{
    DataPattern, MAX_SETS, SignatureId, SignatureSet, Signatures, check_regex, parse_literal,
};

use crate::config::list_files::{self, Stamp};
use crate::config::near::nearest;
use crate::config::reader::{Notes, Table, Value};

const PATTERNS: &[(&str, DataPattern)] = &{
    use DataPattern::{AwsAccessKey, CardNumber, Iban, PrivateKey};
    [
        (CardNumber.name(), CardNumber),
        (Iban.name(), Iban),
        (PrivateKey.name(), PrivateKey),
        (AwsAccessKey.name(), AwsAccessKey),
    ]
};
/// Lines of a file that are told, of those that cannot be read.
const MAX_TOLD: usize = 3;

/// All sets, and the files that they come from.
#[derive(Debug, Default)]
pub struct NamedSignatures {
    /// Compiled, shared by all who ask.
    pub signatures: Arc<Signatures>,
    /// As configured, in the order of `signatures`.
    pub sets: Vec<SignatureSet>,
    files: Vec<(PathBuf, Stamp)>,
    /// What rules may ask for by name; none: it had faults of its own.
    by_name: BTreeMap<String, Option<SignatureId>>,
}

impl NamedSignatures {
    pub(in crate::config) fn read(table: &Table<'_>, notes: &Notes<'_>) -> Self {
        let mut named = Self::default();
        for (name, table) in table.named_tables() {
            if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
                table.say("expected a name of 1 to 64 bytes without control characters");
            }
            if ["list.", "icap.", "yara."].iter().any(|prefix| name.starts_with(prefix)) {
                table.say(
                    "expected a name that does not begin with `list.`, `icap.` or `yara.`: rules name others so",
                );
            }
            let id = named.read_set(name, &table, notes);
            named.by_name.insert(name.to_owned(), id);
            table.finish();
        }
        // What is not whole would only be blamed for what it lacks.
        if named.by_name.values().all(Option::is_some) {
            match Signatures::compile(&named.sets) {
                Ok(signatures) => named.signatures = Arc::new(signatures),
                Err(error) => table.say(format!("expected {error}")),
            }
        }
        named
    }

    fn read_set(&mut self, name: &str, table: &Table<'_>, notes: &Notes<'_>) -> Option<SignatureId> {
        let is_whole = std::cell::Cell::new(true);
        let fails = || is_whole.set(false);
        let literal = |value: Value<'_>| {
            let literal = value.parse_with(parse_literal);
            literal.or_else(|| {
                fails();
                None
            })
        };
        let mut literals = table.any_of("literals", literal);
        let file = table.value("literals_file", "none").and_then(|value| value.path());
        if let Some(path) = &file {
            match list_files::read(path) {
                Ok((text, stamp)) => {
                    self.files.push((path.clone(), stamp));
                    literals.extend(read_lines(path, &text, |message| {
                        fails();
                        notes.fault_of_file(&path.display().to_string(), None, message);
                    }));
                }
                Err(message) => {
                    fails();
                    notes.fault_of_file(&path.display().to_string(), None, message);
                }
            }
        }
        let regexes = table.any_of("regex", |value| {
            let text = value.text()?;
            check_regex(text)
                .inspect_err(|error| value.expected(&error.to_string()))
                .inspect_err(|_| fails())
                .ok()?;
            Some(text.to_owned())
        });
        let patterns = table.any_of("patterns", |value| {
            value.choice(PATTERNS).or_else(|| {
                fails();
                None
            })
        });
        let threshold = table.integer("threshold", 1..=1_000_000, 1);
        if is_whole.get() && literals.is_empty() && regexes.is_empty() && patterns.is_empty() {
            table.say("expected something to look for: `literals`, `literals_file`, `regex` or `patterns`");
            fails();
        }
        if !is_whole.get() {
            return None;
        }
        let Some(id) = SignatureId::new(self.sets.len()) else {
            table.say(format!("expected at most {MAX_SETS} sets"));
            return None;
        };
        self.sets.push(SignatureSet { name: name.to_owned(), literals, regexes, patterns, threshold });
        Some(id)
    }

    /// The set that a value names.
    pub(super) fn named_by(&self, value: &Value<'_>) -> Option<SignatureId> {
        let name = value.text()?;
        let found = self.by_name.get(name);
        if found.is_none() {
            let hint = nearest(name, self.by_name.keys().map(String::as_str))
                .map(|near| format!(" (did you mean {near:?}?)"))
                .unwrap_or_default();
            value.say(format!("no `[signatures.{name}]` in this file{hint}"));
        }
        *found?
    }

    /// Files that are not there, or not the same, in others.
    pub fn files_that_differ(&self, other: &Self) -> Vec<String> {
        let gone = self.files.iter().filter(|file| !other.files.contains(file));
        let come = other.files.iter().filter(|file| !self.files.contains(file));
        gone.chain(come).map(|(path, _)| path.display().to_string()).collect()
    }
}

/// A literal a line; none in empty lines and behind `#`.
fn read_lines(path: &std::path::Path, text: &[u8], fault: impl Fn(String)) -> Vec<Vec<u8>> {
    let (mut literals, mut bad) = (Vec::new(), 0);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let read = std::str::from_utf8(line).map_err(|_| "UTF-8 (other bytes as \"|ff|\")".to_owned());
        match read.and_then(|line| parse_literal(line).map_err(|error| error.to_string())) {
            Ok(literal) => literals.push(literal),
            Err(expected) => {
                bad += 1;
                if bad <= MAX_TOLD {
                    fault(format!("{}:{}: expected {expected}", path.display(), number + 1));
                }
            }
        }
    }
    if bad > MAX_TOLD {
        fault(format!("{}: {} more lines of this kind", path.display(), bad - MAX_TOLD));
    }
    literals
}
