//! The load generator: clients and servers of many connections, on one thread and two ports.

mod connection_pool;
mod generator;
mod plan;
mod port;
mod session;
mod small;
mod transport;

pub(crate) use connection_pool::{Tally, Work};
pub(crate) use generator::Generator;
pub(crate) use plan::Plan;
pub(crate) use port::LoadPort;
pub(crate) use session::Exchange;
pub(crate) use small::{Kind, SmallFrames};
pub(crate) use transport::{Names, Protocol};
