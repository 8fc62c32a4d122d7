//! TLS: everything that touches rustls.
//!
//! In the order of a flow: [`peek`] finds the ClientHello, a [`Handshake`] runs the server's leg, verifies, mints and runs
//! the client's leg, and a [`Relay`] carries the plaintext between the two sessions. What all flows share is in a
//! [`TlsContext`].

mod alert;
mod binding;
pub(crate) mod certificate;
mod client_hello;
mod client_leg;
mod context;
mod describe;
mod handshake;
mod ja;
pub(crate) mod keys;
mod names;
mod provider;
mod record;
mod relay;
mod server_leg;
mod server_sessions;
mod session;
mod tickets;
mod trust;
mod verify;
mod vetting;
mod wire;

pub use alert::{alert_record, description};
pub use client_hello::{ClientHello, HelloScan, Peek, peek};
pub(crate) use context::DEFAULT_SERVER_SESSIONS;
pub use context::{CaFiles, RootFile, SetupError, TlsContext, TlsSettings};
pub use describe::certificate as describe_certificate;
pub(crate) use describe::{date as describe_date, name as describe_name};
pub use handshake::{Destination, Failure, Handshake, HandshakeReport, Input, Outcome, Step};
pub use provider::Provider;
pub use record::{KeySource, LegKeys, Suite, TrafficKey};
pub use relay::{Outlet, Output, Relay, RelayError};
