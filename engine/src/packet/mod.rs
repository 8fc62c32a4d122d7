//! Frames: parsing, classifying, the key of their flow, and building our own.

mod build;
mod checksum;
mod classify;
mod fragment;
mod icmp;
mod key;
mod reset;
mod scrub;

pub use build::{Checksums, MAX_HEADERS, Template};
pub use checksum::Sum;
pub use classify::{Class, Headers, classify};
pub use fragment::Fragment;
pub use icmp::{IcmpHeaders, TooBigMessage, too_big};
pub use key::{FlowKey, FragmentKey, KeyHasher};
pub use reset::{Reset, reset_for};
pub use scrub::{Scrubbed, scrub_syn};
