//! QUIC, as far as anybody on the path can read it: the ClientHello in the client's first packets (RFC 9000, RFC 9001, RFC 9369).
//!
//! ```text
//! datagram ─► packets ─► opened with the keys that the first connection ID gives ─► CRYPTO frames, put in order ─► ClientHello
//! ```
//! Nothing else is read. [`QuicFlow`] says which datagrams belong to a connection whose hello has passed policy.

mod crypto_stream;
mod flow;
mod initial;
mod packet;

pub use flow::{FromClient, QuicFlow};
pub use initial::InitialSuite;
