//! `[capture]`: decrypted flows in pcapng files, with the secrets of both legs and the plaintext, and key logs. For a limited time.
//!
//! ```text
//! worker ── frames, notes ──► CaptureRing of each ──► CaptureWriter: a thread ──► files, key log
//! ```

mod files;
mod flows;
mod pcapng;
mod writer;

pub use files::Bounds;
pub use writer::{CaptureCounters, CaptureWriter, Plan};
