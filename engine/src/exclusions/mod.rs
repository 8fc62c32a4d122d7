//! Servers that are not decrypted, outside the engine: as the control channel and the file have them, and the file.

mod file;
mod record;

pub use file::{ExclusionFile, load, rehearse};
pub use record::ExclusionRecord;
