//! wireglass: transparent TLS inspection at packet level.
#![forbid(unsafe_code)]

pub mod ca_files;
pub mod capture;
pub mod cli;
pub mod config;
pub mod confine;
pub mod control;
pub mod cores;
pub mod driver;
pub mod engine_builder;
pub mod exclusions;
pub mod fetch;
pub mod fleet;
pub mod flow_dump;
pub mod generation;
pub mod handshake_pool;
mod hex;
pub mod icap;
pub mod interfaces;
pub mod link_pass;
pub mod links;
pub mod log;
pub mod metrics;
pub mod numa;
pub mod orders;
pub mod packet_sockets;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod record_speeds;
pub mod reload;
pub mod secrets;
pub mod signer;
pub mod simulate;
pub mod verdicts;
pub mod version;
pub mod worker;
#[cfg(feature = "yara")]
pub mod yara;
