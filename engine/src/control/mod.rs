//! The control channel: a Unix stream socket through which commands of the same machine ask a running engine.
//!
//! One request and its answer for each connection, a line of JSON each; see [`protocol`]. The engine's end is a thread that
//! has nothing to do with packets: it asks the workers through [`crate::flow_dump`], or reads what they count, and waits for nobody
//! for long.

pub(crate) mod acceptor;
pub mod client;
mod counters;
mod exclude;
pub mod operate;
pub mod protocol;
mod record;
mod server;
mod socket;

pub use counters::{
    Counters, EngineRecord, MirrorRecord, PoolRecord, PortRecord, SignerRecord, WorkerRecord,
};
pub use record::{FlowRecord, LegRecord, TcpRecord, TimerRecord, TlsRecord};
pub(crate) use server::unix_now;
pub use server::{ControlServer, WholeEngine};
pub use socket::{BindError, ControlSocket};

/// Where the socket is unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/wireglass/control.sock";
/// Longest path of a socket in bytes: Linux's limit is 107 (unix(7)), and while it is made it lies a little deeper.
pub const MAX_PATH: usize = 90;
