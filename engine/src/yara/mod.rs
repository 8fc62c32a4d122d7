//! YARA rules on whole bodies: sets that are compiled from text, and scanners that keep a body until it ends.
//!
//! A condition may ask for any place of a file (`uint16(0)`, `pe.imphash()`, `filesize`), so nothing can be said of a body in part.

mod inspector;
mod rules;

pub use inspector::YaraInspector;
pub use rules::{RuleSet, RuleSetBuilder};
