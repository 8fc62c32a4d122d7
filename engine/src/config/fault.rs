//! What is wrong with a configuration, said so that it can be put right.

use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, where it is not the configuration itself: the policy that was pushed to the fleet.
    pub file: Option<String>,
    /// Line in the file, from 1; none: the file as a whole.
    pub line: Option<usize>,
    /// Dotted key; lists count from 1: `rule[2].action` is the second rule's. None: it is about no key.
    pub key: Option<String>,
    /// What was expected, and what was found.
    pub message: String,
}

/// All faults of a configuration, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file, as it was given.
    pub file: String,
    /// At least one.
    pub list: Vec<Fault>,
}

impl Faults {
    pub(super) fn new(file: &str, mut list: Vec<Fault>) -> Self {
        list.sort();
        Self { file: file.to_owned(), list }
    }
}

impl fmt::Display for Faults {
    /// One line for each: `FILE:LINE: KEY: MESSAGE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(fault.file.as_ref().unwrap_or(&self.file))?;
            if let Some(line) = fault.line {
                write!(f, ":{line}")?;
            }
            if let Some(key) = &fault.key {
                write!(f, ": {key}")?;
            }
            write!(f, ": {}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
