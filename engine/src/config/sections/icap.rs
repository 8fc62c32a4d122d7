//! `[icap.NAME]`: servers that are asked about bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wireglass_core::content::Inspector;
use wireglass_core::icap::{Method, Service};

use crate::config::near::nearest;
use crate::config::reader::{Table, Value};
use crate::icap::{IcapInspector, Server, Settings};

/// All servers.
#[derive(Debug, Default)]
pub struct IcapServers {
    /// In the order of their names.
    pub servers: Vec<IcapServer>,
    /// What rules may ask for by name: the place in `servers`; none: it had faults of its own.
    by_name: BTreeMap<String, Option<usize>>,
}

/// One of them.
#[derive(Debug)]
pub struct IcapServer {
    /// As rules name it, with `icap.` in front.
    pub name: Arc<str>,
    /// Who is asked.
    pub server: Arc<Server>,
    /// Octets of a body of which it is asked.
    pub max_bytes: u64,
}

impl IcapServers {
    pub(in crate::config) fn read(table: &Table<'_>) -> Self {
        let mut all = Self::default();
        for (name, table) in table.named_tables() {
            let server = read_server(name, &table);
            let place = server.as_ref().map(|_| all.servers.len());
            all.servers.extend(server);
            all.by_name.insert(name.to_owned(), place);
            table.finish();
        }
        all
    }

    /// The server of a name, which a value has.
    pub(super) fn named(&self, value: &Value<'_>, name: &str) -> Option<usize> {
        let found = self.by_name.get(name);
        if found.is_none() {
            let hint = nearest(name, self.by_name.keys().map(String::as_str))
                .map(|near| format!(" (did you mean \"icap.{near}\"?)"))
                .unwrap_or_default();
            value.say(format!("no `[icap.{name}]` in this file{hint}"));
        }
        *found?
    }

    /// Those who ask them, by their places.
    pub fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        let inspector = |each: &IcapServer| -> Arc<dyn Inspector> {
            Arc::new(IcapInspector::new(Arc::clone(&each.name), Arc::clone(&each.server), each.max_bytes))
        };
        self.servers.iter().map(inspector).collect()
    }
}

fn read_server(name: &str, table: &Table<'_>) -> Option<IcapServer> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        table.say("expected a name of 1 to 64 bytes without control characters");
    }
    let expected = "the service that is asked about responses (\"icap://127.0.0.1:1344/avscan\")";
    let service = table.required("respmod", expected).and_then(|value| value.parse::<Service>());
    let settings = Settings {
        preview: table.integer("preview", 0..=65_536, 1024),
        timeout: Duration::from_millis(table.integer("timeout_ms", 100..=300_000, 5000)),
        connections: table.integer("connections", 1..=1000, 16),
        service: service.clone().unwrap_or(Service { host: String::new(), port: 0, path: String::new() }),
        method: Method::Respmod,
    };
    let max_bytes = table.integer("max_bytes", 1024..=1_099_511_627_776, 5_242_880);
    service?;
    Some(IcapServer { name: format!("icap.{name}").into(), server: Server::new(settings), max_bytes })
}
