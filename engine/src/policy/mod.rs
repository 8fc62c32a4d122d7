//! Policy: which flows to decrypt, bypass or block, and how strictly.

mod profile;

pub use profile::{DefectAction, Profile, TlsVersion, UnsupportedAction};
