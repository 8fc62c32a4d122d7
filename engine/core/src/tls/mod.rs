//! TLS: everything that touches rustls.
//!
//! In the order of a flow: [`peek`] finds the ClientHello, a [`Handshake`] runs the server's leg, verifies, mints and runs
//! the client's leg, and a [`Relay`] carries the plaintext between the two sessions. What all flows share is in a
//! [`TlsContext`].

mod alert;
mod blame;
mod cache_key;
mod chain_probe;
mod chain_verifier;
mod client_hello;
mod client_leg;
mod clock;
mod context;
mod costly_servers;
mod early_data;
mod fetch;
mod fleet_key;
mod handshake;
mod handshake_report;
mod handshake_signature;
mod ja;
mod names;
mod offer;
mod passive;
mod record;
mod relay;
mod second_hello;
mod secrets;
mod server_leg;
mod server_sessions;
mod session;
mod shared_chains;
mod ticket_secret;
mod tickets;
mod trust;
mod verify;
mod verify_cache;
pub(crate) mod wire;

pub(crate) use alert::alert_record;
pub use alert::description;
pub use chain_probe::ChainProbe;
pub use chain_verifier::ChainVerifier;
pub use client_hello::{ClientHello, HelloScan, Peek, peek};
pub use context::DEFAULT_SERVER_SESSIONS;
pub use context::{Knowledge, TlsContext, TlsSettings};
pub use costly_servers::{CostlyServers, MOST_COSTLY};
pub use fetch::{Fetch, FetchAnswer, FetchKind, FetchOutcome, FetchSettings, Fetcher, HttpUrl, is_public};
pub use fleet_key::{FleetKey, SecretRefused};
pub use handshake::{Destination, Failure, Handshake, Input, Outcome, Step};
pub use handshake_report::HandshakeReport;
pub use passive::{Malformed, MessageScan, Progress, Seen, ServerFacts, ServerFlight, ServerUnread};
pub use record::{KeySource, LegKeys, RecordLibraries, RecordTrial, Suite, TrafficKey};
pub use relay::{RECORD_ROOM, RecordSink, Relay, RelayError};
pub use second_hello::{Behind, SecondHello};
pub use secrets::Secrets;
pub use shared_chains::{GoodChain, MOST_CHAINS, SharedChains};
pub use ticket_secret::TicketSecret;
pub use tickets::TicketSharing;
pub use trust::NoRoot;
pub(crate) use verify::name_constraints::is_within_constraints;
pub use verify::sct::CtLog;
pub use verify::{Findings, Verdict, name_to_prove};
