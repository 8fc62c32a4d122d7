//! A policy that is to be pushed: what it names, and what is wrong with it.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::pushed::is_pushed;
use super::reader::{Notes, Table};
use super::{Fault, Faults, PolicyFrom, Pushed, Sections, list_files, read_text_noting, read_texts};

/// Files that a policy names, as far as it can be read: files, and folders. It may have faults that only an engine can tell.
///
/// # Errors
/// It cannot be read, or has sections that are no part of a policy.
pub fn policy_files(policy: &Path) -> Result<Vec<PathBuf>, Faults> {
    let pushed = pushed_file(policy)?;
    let document = pushed.parse()?;
    let notes = Notes::new(&pushed.text, pushed.folder());
    Sections::read(&Table::document(&notes, &document), &notes);
    Ok(notes.policy_paths().into_iter().flat_map(|path| files_at(&path)).collect())
}

/// Checks a policy that is to be pushed: with `own`, as an engine with that configuration would; where that has no wires, as it is an operator's,
/// as far as it can be told without.
///
/// # Errors
/// All faults.
pub fn check_policy(own: &Path, policy: &Path) -> Result<(), Faults> {
    let pushed = pushed_file(policy)?;
    let (text, _) = read_texts(own, PolicyFrom::Own)?;
    let (document, _) = DeTable::parse_recoverable(&text);
    if document.get_ref().contains_key("wire") {
        return read_text_noting(
            own,
            &text,
            Some(&pushed),
            |notes| notes.without_ca_keys(),
            |document, notes| {
                Sections::read(document, notes);
                Some(())
            },
        );
    }
    let document = pushed.parse()?;
    let notes = Notes::new(&pushed.text, pushed.folder());
    Sections::read(&Table::document(&notes, &document), &notes);
    // Wires and mirrors are the engines' own.
    let is_of_engine = |key: &str| {
        let last = key.rsplit('.').next().unwrap_or_default();
        ["wire", "mirror"].iter().any(|own| last.split('[').next() == Some(own))
    };
    let faults = notes.into_faults().into_iter();
    let faults: Vec<_> = faults
        .filter(|fault| fault.key.as_deref().is_some_and(|key| is_pushed(key) && !is_of_engine(key)))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Faults::new(&policy.display().to_string(), faults)) }
}

fn pushed_file(policy: &Path) -> Result<Pushed, Faults> {
    let text = fs::read_to_string(policy).map_err(|error| {
        let message = format!("cannot read the policy: {error}");
        let fault = Fault { file: None, line: None, key: None, message };
        Faults::new(&policy.display().to_string(), vec![fault])
    })?;
    Ok(Pushed { generation: 0, file: policy.to_owned(), text })
}

/// What a path with wildcards stands for; another one for itself.
fn files_at(path: &Path) -> Vec<PathBuf> {
    let has_wildcards = path.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte));
    match path.to_str().filter(|_| has_wildcards && !path.exists()) {
        Some(pattern) => list_files::find(Path::new(""), pattern).unwrap_or_default(),
        None => vec![path.to_owned()],
    }
}
