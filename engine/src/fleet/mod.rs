//! Several engines as one, through etcd: they have one policy, and know of one another.
//!
//! ```text
//! keys, schema   what lies where in etcd, and what it says              docs/fleet.md
//! view           what is there, as an engine has heard of it: bounded
//! rollout        what is to be done about it: no clock, no store
//! bundle         files of a generation, packed and unpacked
//! learning       what engines have learned: what to tell, and what to make of what is heard. facts: servers that cannot be decrypted,
//!                costly: those that were costly to verify, chains: good ones
//! tickets        the secret of tickets, likewise
//! store          etcd                                                   feature `fleet`
//! thread         an engine's part: connects, hears, does
//! push           an operator's part
//! ```

pub mod bundle;
pub mod chains;
pub mod costly;
pub mod facts;
mod fault;
pub mod keys;
pub mod learning;
#[cfg(feature = "fleet")]
pub mod push;
pub mod rollout;
#[cfg(feature = "fleet")]
pub mod running;
pub mod schema;
pub mod status;
#[cfg(feature = "fleet")]
pub mod store;
#[cfg(feature = "fleet")]
pub mod thread;
pub mod tickets;
pub mod view;
