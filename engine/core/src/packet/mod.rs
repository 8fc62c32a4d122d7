//! Frames: parsing, classifying, the key of their flow, and building our own.

mod build;
mod checksum;
mod classify;
mod fragment;
mod frame_info;
mod icmp;
mod key;
mod plain;
mod repeated;
mod reset;
mod scrub;
mod syn_ack;
mod uninspected;

pub(crate) use build::reseal;
pub use build::{Checksums, MAX_HEADERS, RunHeaders, Template};
pub use checksum::Sum;
pub use classify::{Class, Datagram, Headers, classify};
pub use fragment::Fragment;
pub use frame_info::FrameInfo;
pub use icmp::{IcmpHeaders, TooBigMessage, too_big};
pub use key::{FlowKey, FragmentKey, KeyHasher};
pub use repeated::Repeated;
pub use reset::{BareSegment, probe_for, reset_after, reset_for};
pub use scrub::{Scrubbed, scrub_syn};
pub(crate) use syn_ack::handshake_segment;
pub use syn_ack::syn_ack;
pub use uninspected::{PassAction, Passthrough, Uninspected};
