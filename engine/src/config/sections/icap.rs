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
    /// Who is asked about requests; none: nobody.
    pub reqmod: Option<Arc<Server>>,
    /// Who is asked about responses, likewise.
    pub respmod: Option<Arc<Server>>,
    /// Octets of a body of which it is asked.
    pub max_bytes: u64,
}

impl IcapServer {
    /// Whoever of it is asked about something.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.reqmod.iter().chain(&self.respmod)
    }

    /// What it is asked about, as configurations have it.
    fn has(&self, method: Method) -> bool {
        match method {
            Method::Reqmod => self.reqmod.is_some(),
            Method::Respmod => self.respmod.is_some(),
        }
    }
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

    /// The server of a name, which a value has, where it is asked about such messages.
    pub(super) fn named(&self, value: &Value<'_>, name: &str, method: Method) -> Option<usize> {
        let found = self.by_name.get(name);
        if found.is_none() {
            let hint = nearest(name, self.by_name.keys().map(String::as_str))
                .map(|near| format!(" (did you mean \"icap.{near}\"?)"))
                .unwrap_or_default();
            value.say(format!("no `[icap.{name}]` in this file{hint}"));
        }
        let place = (*found?)?;
        if !self.servers[place].has(method) {
            let (key, whose) = match method {
                Method::Reqmod => ("reqmod", "requests"),
                Method::Respmod => ("respmod", "responses"),
            };
            value.say(format!("`[icap.{name}]` has no `{key}`, the service that is asked about {whose}"));
        }
        Some(place)
    }

    /// All services, by the names that rules have for their servers.
    pub fn services(&self) -> Vec<(Arc<str>, Arc<Server>)> {
        let named = |each: &IcapServer| {
            let name = Arc::clone(&each.name);
            each.services().map(|service| (Arc::clone(&name), Arc::clone(service))).collect::<Vec<_>>()
        };
        self.servers.iter().flat_map(named).collect()
    }

    /// Those who ask them, by their places.
    pub fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        let inspector = |each: &IcapServer| -> Arc<dyn Inspector> {
            let (reqmod, respmod) = (each.reqmod.clone(), each.respmod.clone());
            Arc::new(IcapInspector::new(Arc::clone(&each.name), reqmod, respmod, each.max_bytes))
        };
        self.servers.iter().map(inspector).collect()
    }
}

fn read_server(name: &str, table: &Table<'_>) -> Option<IcapServer> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        table.say("expected a name of 1 to 64 bytes without control characters");
    }
    let (reqmod, respmod) = (table.value("reqmod", "none"), table.value("respmod", "none"));
    if reqmod.is_none() && respmod.is_none() {
        let expected = "the service that is asked about responses (\"icap://127.0.0.1:1344/avscan\"), or `reqmod`, about requests";
        table.missing("respmod", expected);
    }
    let preview = table.integer("preview", 0..=65_536, 1024);
    let timeout = Duration::from_millis(table.integer("timeout_ms", 100..=300_000, 5000));
    let connections = table.integer("connections", 1..=1000, 16);
    let max_bytes = table.integer("max_bytes", 1024..=1_099_511_627_776, 5_242_880);
    let asked_by = |value: Option<Value<'_>>, method| {
        let service = value?.parse::<Service>()?;
        Some(Server::new(Settings { service, method, preview, timeout, connections }))
    };
    let (is_asked, name) = ((reqmod.is_some(), respmod.is_some()), format!("icap.{name}").into());
    let (reqmod, respmod) = (asked_by(reqmod, Method::Reqmod), asked_by(respmod, Method::Respmod));
    let is_whole = is_asked == (reqmod.is_some(), respmod.is_some()) && is_asked != (false, false);
    is_whole.then_some(IcapServer { name, reqmod, respmod, max_bytes })
}
