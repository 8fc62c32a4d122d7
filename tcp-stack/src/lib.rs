//! Sans-IO TCP for both ends of an adopted connection.
#![forbid(unsafe_code)]
pub use smoltcp::time::{Duration, Instant};
