//! What wireglass does with packets, flows, TLS and plaintext, without a clock, a socket, a thread or a file.
//!
//! Time, bytes and random numbers are handed in; frames, events and jobs come out. The crate `wireglass` is the shell around
//! it: ports, workers, log, metrics and the command.
#![forbid(unsafe_code)]

pub mod aged_map;
pub mod caches;
pub mod content;
pub mod counters;
pub mod end;
pub mod event;
pub mod fairness;
pub mod flow;
pub mod flow_table;
pub mod generations;
mod lock;
pub mod memory_port;
pub mod mint;
pub mod packet;
pub mod phase;
pub mod policy;
pub mod port;
pub mod reason;
pub mod reassembly;
pub mod timer_wheel;
pub mod tls;
pub mod x509;
