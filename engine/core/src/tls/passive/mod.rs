//! A handshake as anybody on the path can read it: what goes by in plain, without a key.
//!
//! ```text
//! bytes in order ─► MessageScan ─► messages, alerts ─► ServerFlight ─► version, suite, chain
//! ```
//! TLS 1.3 shows its ServerHello and nothing else; older versions show the server's certificates, and whether it asks for one.
//! The bytes are untrusted and may be cut anywhere. No input panics, and no more is held than what was given.

mod message_scan;
mod server_flight;

pub use message_scan::{Malformed, MessageScan, Seen};
pub(in crate::tls) use server_flight::RETRY;
pub use server_flight::{Progress, ServerFacts, ServerFlight, ServerUnread};
