//! `[limits]`: bounds of time and memory.

use tcp_stack::Duration;

use crate::config::reader::Table;
use crate::flow;
use crate::tls::DEFAULT_SERVER_SESSIONS;

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows that one worker may have; the least recently used one goes first.
    pub flows: u32,
    /// How long a ClientHello may take, in seconds.
    pub hello_seconds: u32,
    /// How long a ClientHello may be, in bytes.
    pub hello_bytes: usize,
    /// How long a connection may be silent, in seconds.
    pub idle_seconds: u32,
    /// What is queued for each leg of a flow before the sender is held back, at most, in bytes.
    pub buffer_bytes: usize,
    /// What the legs of all flows of one worker may hold, in bytes.
    pub worker_bytes: usize,
    /// Servers whose TLS sessions are kept; 0: none are.
    pub server_sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 65_536,
            hello_seconds: 5,
            hello_bytes: 65_536,
            idle_seconds: 3600,
            buffer_bytes: 4_194_304,
            worker_bytes: 268_435_456,
            server_sessions: DEFAULT_SERVER_SESSIONS,
        }
    }
}

impl Limits {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let default = Self::default();
        let limits = Self {
            flows: table.integer("flows", 16..=16_777_216, default.flows),
            hello_seconds: table.integer("hello_seconds", 1..=300, default.hello_seconds),
            hello_bytes: table.integer("hello_bytes", 1024..=1_048_576, default.hello_bytes),
            idle_seconds: table.integer("idle_seconds", 10..=604_800, default.idle_seconds),
            // At least two TLS records: less, and a leg would wait for room that never comes.
            buffer_bytes: table.integer("buffer_bytes", 65_536..=16_777_216, default.buffer_bytes),
            worker_bytes: table.integer("worker_bytes", 4_194_304..=1_099_511_627_776, default.worker_bytes),
            server_sessions: table.integer("server_sessions", 0..=1_048_576, default.server_sessions),
        };
        table.finish();
        limits
    }

    /// As flows want them; limits that have no key keep their defaults.
    pub fn of_flow(&self) -> flow::Limits {
        flow::Limits {
            hello_time: Duration::from_secs(self.hello_seconds.into()),
            hello_bytes: self.hello_bytes,
            idle_time: Duration::from_secs(self.idle_seconds.into()),
            buffer_bytes: self.buffer_bytes,
            ..flow::Limits::default()
        }
    }
}
