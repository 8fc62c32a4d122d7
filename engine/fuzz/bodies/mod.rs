//! What the fuzz targets check. Each body takes any bytes and panics if something is wrong with what becomes of
//! them. The targets of libFuzzer run them, and `tests/fuzz_corpus.rs` does without it.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each target uses its body")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is what a fuzzer looks for")]

pub mod body;
pub mod borders;
pub mod certificate;
pub mod client_hello;
pub mod fetched;
pub mod fragments;
pub mod http;
pub mod http1;
pub mod http1_rules;
pub mod http2;
pub mod http2_relay;
pub mod icap;
pub mod lenient;
pub mod packet;
pub mod quic;
pub mod relay;
pub mod server_flight;
pub mod signatures;
pub mod starttls;
pub mod tls_peer;
