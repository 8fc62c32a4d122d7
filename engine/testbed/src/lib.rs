//! Hosts made of other people's code, for the demo and the tests: smoltcp's TCP and rustls's TLS, in memory and on a
//! virtual clock.
//!
//! ```text
//! Host ── Link ── Middle ── Link ── Host          Simulation: all of it, one event after the other
//!  └ Session (script over plain TCP or TLS)
//! ```
//!
//! A test of our own stack against itself would only prove that it agrees with itself. Here both ends are independent,
//! and the middle is whatever implements [`Middle`]: a plain [`Wire`], or the engine. Nothing reads a clock or a
//! socket: the same seed gives the same run.
#![forbid(unsafe_code)]

mod authority;
pub mod bad_servers;
#[cfg(feature = "aws-lc-rs")]
pub mod ech;
mod host;
mod link;
mod pki;
mod random;
mod router;
mod session;
mod simulation;
mod tls;

pub use smoltcp::time::{Duration, Instant};

pub use authority::{Authority, CtSigner};
pub use host::{Host, HostConfig, SessionId, Tag};
pub use link::{Impairment, Link, LinkStats, Tamper};
pub use pki::{EngineCa, Identity, Pki};
pub use random::Random;
pub use router::{Answer, Router, too_big};
pub use session::{Ending, HandshakeInfo, Report, Session, Step};
pub use simulation::{Crossing, Heading, Middle, Simulation, Stop, Wire};
pub use tls::{ClientOptions, ServerOptions, providers};
pub use wireglass_core::port::PortSide;
