//! What wireglass does with packets, flows, TLS and plaintext, without a clock, a socket, a thread or a file.
//!
//! Time, bytes and random numbers are handed in; frames, events and jobs come out. The crate `wireglass` is the shell around
//! it: ports, workers, log, metrics and the command.
//!
//! | in the order of a frame | |
//! |---|---|
//! | [`port`], [`memory_port`] | where frames come from and go to; in memory |
//! | [`packet`], [`reassembly`] | headers and keys; TCP out of IP fragments |
//! | [`flow_table`], [`fairness`], [`timer_wheel`] | a worker's flows, who gives way, and when each wants to be called |
//! | [`flow`] | a flow from SYN to the end |
//! | [`exclusions`], [`foreign`] | servers that are known as such that cannot be decrypted; what other engines say |
//! | [`policy`] | what to decrypt, bypass or block |
//! | [`tls`], [`mint`], [`x509`] | handshakes and records, copies of certificates, what both stand on |
//! | [`quic`] | the hello of QUIC, for policy by name |
//! | [`content`] | readers of the plaintext |
//! | [`icap`] | what other programs say of it |
//! | [`mirror`] | the plaintext as TCP, for others |
//! | [`fields`], [`event`], [`reason`], [`phase`], [`end`] | the words for all that |
//! | [`order`] | what an operator has ordered over policy |
//! | [`counters`], [`caches`], [`histogram`] | what a worker and the caches of TLS count, and how long things take |
//! | [`aged_map`], [`generations`] | maps that forget |
#![forbid(unsafe_code)]

pub mod aged_map;
pub mod caches;
pub mod capture;
pub mod content;
pub mod counters;
pub mod end;
pub mod event;
pub mod exclusions;
pub mod fairness;
pub mod fields;
pub mod flow;
pub mod flow_table;
pub mod foreign;
pub mod generations;
pub mod histogram;
pub mod icap;
pub mod job;
mod lock;
pub mod memory_port;
pub mod mint;
pub mod mirror;
pub mod order;
pub mod packet;
pub mod phase;
pub mod policy;
pub mod port;
pub mod quic;
pub mod reason;
pub mod reassembly;
mod shards;
pub mod starttls;
pub mod timer_wheel;
pub mod tls;
mod tree_memory;
pub mod x509;
