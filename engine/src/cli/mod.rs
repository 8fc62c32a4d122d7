//! The command line.

pub mod ca;
#[cfg(feature = "dpdk")]
pub mod run;
