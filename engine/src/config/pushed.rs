//! The part of a configuration that a fleet has in common, where it was pushed: it stands in place of the same sections of the engine's own file.
//!
//! ```text
//! STATE/in-force              the number of the generation that is in force, and the digest of its files
//! STATE/generations/N/        policy.toml, and the files that it names
//! ```
//! Two documents are read as one. A key says which of them it is in, so that each fault has the right file and line.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Fault, Faults};

/// Sections that a fleet has in common. All others are the engine's own: keys, ports, and where it listens and writes.
pub const PUSHED_SECTIONS: [&str; 9] =
    ["policy", "rule", "content", "header", "profile", "list", "signatures", "icap", "yara"];
/// The file of a generation that has these sections.
pub const POLICY_FILE: &str = "policy.toml";
/// The file of a state folder that names the generation that is in force.
pub const IN_FORCE: &str = "in-force";
/// Where a state folder is unless the configuration says otherwise.
pub(super) const DEFAULT_STATE: &str = "/var/lib/wireglass/fleet";
/// Largest text of a policy.
const MAX_TEXT: u64 = 16 * 1024 * 1024;

/// A policy that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its number.
    pub generation: u64,
    /// The file with its sections.
    pub file: PathBuf,
    /// Its contents.
    pub text: String,
}

/// Where the sections of policy are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyFrom {
    /// From the generation that is in force in the fleet; without one, from the configuration.
    InForce,
    /// From the configuration.
    Own,
    /// From this generation.
    Generation(u64),
}

/// Folder of a generation.
pub fn generation_folder(state: &Path, generation: u64) -> PathBuf {
    state.join("generations").join(generation.to_string())
}

/// The generation that is in force, as the state folder has it; none: the engine's own file is.
///
/// # Errors
/// The file cannot be read, or has no number.
pub fn in_force(state: &Path) -> Result<Option<u64>, String> {
    let path = state.join(IN_FORCE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let number = text
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .parse()
                .map_err(|_| format!("expected the number of a generation in {}", path.display()))?;
            Ok((number > 0).then_some(number))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// The key, dotted, is in a section that a fleet has in common.
pub(super) fn is_pushed(key: &str) -> bool {
    let section = key.split(['.', '[']).next().unwrap_or_default();
    PUSHED_SECTIONS.contains(&section)
}

impl Pushed {
    /// Reads that of a configuration, if it has one.
    pub(super) fn of(own: &DeTable<'_>, folder: &Path, from: PolicyFrom) -> Result<Option<Self>, String> {
        let Some(state) = state_folder(own, folder) else { return Ok(None) };
        let generation = match from {
            PolicyFrom::Own => None,
            PolicyFrom::Generation(generation) => Some(generation),
            PolicyFrom::InForce => in_force(&state)?,
        };
        generation.map(|generation| Self::read(&state, generation)).transpose()
    }

    fn read(state: &Path, generation: u64) -> Result<Self, String> {
        let file = generation_folder(state, generation).join(POLICY_FILE);
        let failed = |error| {
            format!("generation {generation} of the fleet's policy: cannot read {}: {error}", file.display())
        };
        let about = fs::metadata(&file).map_err(failed)?;
        if !about.is_file() || about.len() > MAX_TEXT {
            return Err(format!("expected a file of at most {MAX_TEXT} bytes at {}", file.display()));
        }
        let text = fs::read_to_string(&file).map_err(failed)?;
        Ok(Self { generation, file, text })
    }

    /// Where its relative paths begin.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Its document.
    pub(super) fn parse(&self) -> Result<DeTable<'_>, Faults> {
        let (document, syntax) = DeTable::parse_recoverable(&self.text);
        let name = self.file.display().to_string();
        let line = |at: usize| 1 + self.text[..at].matches('\n').count();
        let fault = |at: usize, key: Option<String>, message| Fault {
            file: None,
            line: Some(line(at)),
            key,
            message,
        };
        let mut faults: Vec<_> = syntax
            .iter()
            .map(|error| {
                let at = error.span().map_or(0, |span| span.start.min(self.text.len()));
                fault(at, None, format!("TOML: {}", error.message().trim()))
            })
            .collect();
        let document = document.into_inner();
        if faults.is_empty() {
            let strange = document.keys().filter(|key| !is_pushed(key.get_ref()));
            faults.extend(strange.map(|key| {
                let name: &str = key.get_ref();
                let known = PUSHED_SECTIONS.join(", ");
                let message =
                    format!("a pushed policy has only {known}: this belongs to each engine's own file");
                fault(key.span().start, Some(name.to_owned()), message)
            }));
        }
        if faults.is_empty() { Ok(document) } else { Err(Faults::new(&name, faults)) }
    }
}

/// Where an engine keeps what was pushed; none: nothing is.
fn state_folder(own: &DeTable<'_>, folder: &Path) -> Option<PathBuf> {
    let fleet = own.get("fleet")?.get_ref().as_table()?;
    let list = |key: &str| fleet.get(key).and_then(|value| value.get_ref().as_array().cloned());
    list("endpoints").filter(|endpoints| !endpoints.is_empty())?;
    let shares = |share: &[toml::Spanned<DeValue<'_>>]| {
        share.iter().any(|value| value.get_ref().as_str() == Some("policy"))
    };
    if list("share").is_some_and(|share| !shares(&share)) {
        return None;
    }
    let state = fleet.get("state_dir").and_then(|value| value.get_ref().as_str()).unwrap_or(DEFAULT_STATE);
    Some(folder.join(state))
}

/// Has the sections of policy of one document stand in place of those of the other.
pub(super) fn replace_policy<'t>(own: &mut DeTable<'t>, pushed: DeTable<'t>) {
    for section in PUSHED_SECTIONS {
        own.remove(section);
    }
    own.extend(pushed);
}
