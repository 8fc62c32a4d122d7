//! `[limits]`: bounds of time and memory.

use tcp_stack::Duration;
use wireglass_core::fairness::{ClientPrefix, Fairness, PerClient, Shed};
use wireglass_core::flow;
use wireglass_core::flow_table::Class;
use wireglass_core::tls::DEFAULT_SERVER_SESSIONS;

use crate::config::reader::Table;

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows that one worker may have.
    pub flows: u32,
    /// Which of them give way, and how many one client may have.
    pub fairness: Fairness,
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
            fairness: Fairness::default(),
            hello_seconds: 5,
            hello_bytes: 65_536,
            idle_seconds: 3600,
            buffer_bytes: 4_194_304,
            worker_bytes: 1_073_741_824,
            server_sessions: DEFAULT_SERVER_SESSIONS,
        }
    }
}

impl Limits {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let default = Self::default();
        let limits = Self {
            flows: table.integer("flows", 16..=16_777_216, default.flows),
            fairness: Fairness {
                shed: read_shed(&table),
                per_client: read_per_client(&table),
                client_prefix: read_prefix(&table),
            },
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
            fairness: self.fairness,
            ..flow::Limits::default()
        }
    }
}

fn read_shed(table: &Table<'_>) -> Shed {
    let names = Class::ALL.map(|class| (class.name(), class));
    let Some(value) = table.value("shed", format!("{:?}", Class::ALL.map(Class::name))) else {
        return Shed::default();
    };
    let mut classes = Vec::new();
    for item in value.items() {
        let Some(class) = item.choice(&names) else { continue };
        if classes.contains(&class) {
            item.expected("each class once");
        }
        classes.push(class);
    }
    Shed::new(&classes)
}

fn read_per_client(table: &Table<'_>) -> PerClient {
    let Some(value) = table.value("flows_per_client", "\"auto\"") else { return PerClient::default() };
    if value.is_text() {
        value.choice(&[("auto", ())]);
        return PerClient::Quarter;
    }
    match value.integer(0..=16_777_216).unwrap_or(0) {
        0 => PerClient::NoLimit,
        most => PerClient::AtMost(most),
    }
}

fn read_prefix(table: &Table<'_>) -> ClientPrefix {
    let default = ClientPrefix::default();
    let text = format!("[{}, {}]", default.v4, default.v6);
    let Some(value) = table.value("client_prefix", text) else { return default };
    match value.items().as_slice() {
        [v4, v6] => ClientPrefix {
            v4: v4.integer(1..=32).unwrap_or(default.v4),
            v6: v6.integer(1..=128).unwrap_or(default.v6),
        },
        _ if !value.is_list() => default,
        _ => {
            value.expected("two numbers of bits: for IPv4 and for IPv6");
            default
        }
    }
}
