//! `[log]`, `[metrics]` and `[control]`: what comes out.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::confine::group;
use crate::config::reader::{Notes, Table, Value};
use crate::control::{DEFAULT_SOCKET, MAX_PATH};
use crate::log::{DatagramAddress, Destination, Facility};
use crate::metrics::Access;

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
    /// Where events go, as EVE JSON.
    pub eve: Destination,
    /// Least severity of the program's own messages on stderr.
    pub level: LevelFilter,
    /// Time between two `stats` events; none: there are none.
    pub stats: Option<Duration>,
}

impl Log {
    pub(in crate::config) fn read(table: Table<'_>, notes: &Notes<'_>) -> Self {
        let eve = destination(&table, notes);
        let seconds = table.integer("stats_seconds", 0..=86_400, 10);
        let log = Self {
            eve,
            level: table.choice("level", LEVELS, LevelFilter::INFO),
            stats: (seconds > 0).then(|| Duration::from_secs(seconds)),
        };
        table.finish();
        log
    }
}

/// As Suricata calls what its logs go to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileType {
    Regular,
    UnixStream,
    UnixDatagram,
    Syslog,
}

const FILE_TYPES: &[(&str, FileType)] = &[
    ("regular", FileType::Regular),
    ("unix_stream", FileType::UnixStream),
    ("unix_dgram", FileType::UnixDatagram),
    ("syslog", FileType::Syslog),
];

/// Longest path of a Unix socket (unix(7)), without the zero behind it.
const MAX_SOCKET_PATH: usize = 107;

fn destination(table: &Table<'_>, notes: &Notes<'_>) -> Destination {
    let eve = table.value("eve", "\"eve.json\"");
    let kind = table.choice("filetype", FILE_TYPES, FileType::Regular);
    let facility = table.choice("facility", &Facility::ALL, Facility::LOCAL5);
    let default = notes.path("log.eve", "eve.json");
    let Some(value) = eve else {
        if kind != FileType::Regular {
            table.missing("eve", "the socket that the lines go to");
        }
        return Destination::File(default);
    };
    let text = if value.is_text() { value.text().unwrap_or_default() } else { "" };
    match kind {
        FileType::Regular if text == "-" => Destination::Standard,
        FileType::Regular => Destination::File(file(&value).unwrap_or(default)),
        FileType::UnixStream => Destination::UnixStream(socket(&value).unwrap_or(default)),
        FileType::UnixDatagram => Destination::UnixDatagram(socket(&value).unwrap_or(default)),
        FileType::Syslog => match text.strip_prefix("udp:") {
            None => Destination::Syslog(DatagramAddress::Unix(socket(&value).unwrap_or(default)), facility),
            Some(address) => match address.parse() {
                Ok(address) => Destination::Syslog(DatagramAddress::Udp(address), facility),
                Err(_) => {
                    value.expected("\"udp:ADDRESS:PORT\" (\"udp:192.0.2.7:514\", \"udp:[2001:db8::7]:514\") or a socket's path");
                    Destination::File(default)
                }
            },
        },
    }
}

fn file(value: &Value<'_>) -> Option<PathBuf> {
    value.path().inspect(|path| {
        let is_in_folder =
            path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir());
        if path.is_dir() || !is_in_folder {
            value.say(format!("expected a file in an existing folder, found {}", path.display()));
        }
    })
}

/// It need not be there yet: whoever reads may start later.
fn socket(value: &Value<'_>) -> Option<PathBuf> {
    value.path().inspect(|path| {
        let length = path.as_os_str().as_bytes().len();
        let is_socket = fs::metadata(path).map_or(true, |there| there.file_type().is_socket());
        if length > MAX_SOCKET_PATH {
            value.say(format!(
                "expected a path of at most {MAX_SOCKET_PATH} bytes (sockets cannot have longer ones), found {length}: {}",
                path.display()
            ));
        } else if !is_socket {
            value.say(format!("expected a socket, as filetype says, found {}", path.display()));
        }
    })
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Address that serves `GET /metrics` for Prometheus; none: it is off.
    pub listen: Option<SocketAddr>,
    /// Whether it serves the status page, too; none: if nobody but this machine reaches the address.
    pub page: Option<bool>,
    /// Names under which it is asked.
    pub hosts: Vec<String>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some((Ipv4Addr::LOCALHOST, 9464).into()), page: None, hosts: Vec::new() }
    }
}

impl Metrics {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let given = table.value("listen", "\"127.0.0.1:9464\"");
        let is_off = given.as_ref().is_some_and(|value| value.is_text() && value.text() == Some("off"));
        let listen = match given {
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
        let page = table.value("page", "none").and_then(|value| {
            let page = value.boolean();
            if page == Some(true) && is_off {
                value.say("there is no status page where `metrics.listen` is \"off\"");
            }
            page
        });
        let hosts = table.value("hosts", "[]").map_or_else(Vec::new, |value| hosts(&value));
        table.finish();
        Self { listen, page, hosts }
    }

    /// What it serves beside the metrics, and under which names.
    pub fn access(&self) -> Access {
        let is_local = self.listen.is_some_and(|address| address.ip().is_loopback());
        Access { page: self.page.unwrap_or(is_local), hosts: self.hosts.clone() }
    }
}

fn hosts(value: &Value<'_>) -> Vec<String> {
    let is_name = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        !name.is_empty() && name.len() <= 253 && name.bytes().all(is_part)
    };
    let names = value.items().into_iter();
    let names = names.filter_map(|item| {
        let name = item.text()?;
        if !is_name(name) {
            item.expected("the name of a host (\"wire.example\"), without a port");
            return None;
        }
        Some(name.to_owned())
    });
    names.collect()
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Unix socket through which `wireglass flows` asks; none: it is off.
    pub socket: Option<PathBuf>,
    /// Number of the group whose members may look; none: nobody but the engine's own user may.
    pub read_group: Option<u32>,
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
        let read_group = table.value("read_group", "none").and_then(|value| group(&value));
        table.finish();
        Self { socket, read_group }
    }
}
