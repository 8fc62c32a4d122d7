//! `[log]`, `[metrics]` and `[control]`: what comes out.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::config::reader::{Notes, Table};
use crate::control::{DEFAULT_SOCKET, MAX_PATH};

const LEVELS: &[(&str, LevelFilter)] = &[
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// File for events, as EVE JSON.
    pub eve: PathBuf,
    /// Least severity of the program's own messages on stderr.
    pub level: LevelFilter,
    /// Time between two `stats` events; none: there are none.
    pub stats: Option<Duration>,
}

impl Log {
    pub(in crate::config) fn read(table: Table<'_>, notes: &Notes<'_>) -> Self {
        let eve = match table.value("eve", "\"eve.json\"") {
            Some(value) => value.path().inspect(|path| {
                if path.is_dir()
                    || !path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir())
                {
                    value.say(format!("expected a file in an existing folder, found {}", path.display()));
                }
            }),
            None => None,
        };
        let seconds = table.integer("stats_seconds", 0..=86_400, 10);
        let log = Self {
            eve: eve.unwrap_or_else(|| notes.path("eve.json")),
            level: table.choice("level", LEVELS, LevelFilter::INFO),
            stats: (seconds > 0).then(|| Duration::from_secs(seconds)),
        };
        table.finish();
        log
    }
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Address that serves `GET /metrics` for Prometheus; none: it is off.
    pub listen: Option<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some((Ipv4Addr::LOCALHOST, 9464).into()) }
    }
}

impl Metrics {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let listen = match table.value("listen", "\"127.0.0.1:9464\"") {
            None => Self::default().listen,
            Some(value) => match value.text() {
                Some("off") | None => None,
                Some(text) => match text.parse() {
                    Ok(address) => Some(address),
                    Err(_) => {
                        value.expected("an address and port (\"127.0.0.1:9464\", \"[::1]:9464\") or \"off\"");
                        None
                    }
                },
            },
        };
        table.finish();
        Self { listen }
    }
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Unix socket through which `wireglass flows` asks; none: it is off.
    pub socket: Option<PathBuf>,
}

impl Control {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let socket = match table.value("socket", format!("{DEFAULT_SOCKET:?}")) {
            None => Some(DEFAULT_SOCKET.into()),
            Some(value) if value.is_text() && value.text() == Some("off") => None,
            Some(value) => value.path().inspect(|path| {
                let length = path.as_os_str().as_bytes().len();
                if length > MAX_PATH {
                    value.say(format!(
                        "expected a path of at most {MAX_PATH} bytes (sockets cannot have longer ones), found {length}: {}",
                        path.display()
                    ));
                }
            }),
        };
        table.finish();
        Self { socket }
    }
}
