//! The load generator: clients and servers of many connections, on one thread and two ports.

mod generator;
mod plan;
mod port;
mod session;
mod small;
mod transport;

pub(crate) use generator::{Generator, Tally, Work};
pub(crate) use plan::{Pace, Plan};
pub(crate) use port::LoadPort;
pub(crate) use session::Exchange;
pub(crate) use small::{Kind, SmallFrames};
pub(crate) use transport::Speech;
