//! wireglass: transparent TLS inspection at packet level.
#![forbid(unsafe_code)]

pub mod aged_map;
pub mod assembly;
pub mod cli;
pub mod config;
pub mod content;
pub mod control;
pub mod driver;
pub mod end;
pub mod event;
pub mod fairness;
pub mod flow;
pub mod flow_table;
mod generations;
pub mod handshake;
pub mod links;
pub mod log;
pub mod memory_port;
pub mod metrics;
pub mod mint;
pub mod numa;
pub mod packet;
pub mod peers;
pub mod phase;
pub mod policy;
pub mod port;
pub mod reason;
pub mod reassembly;
pub mod secrets;
pub mod survey;
pub mod timer_wheel;
pub mod tls;
pub mod worker;
pub mod x509;
