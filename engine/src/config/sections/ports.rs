//! `[dpdk]` and `[[wire]]`: where packets come from and go to.

use std::sync::Arc;

use crate::config::near::nearest;
use crate::config::reader::{Table, Value};

/// `PortId::wire` is a byte; this is more than a machine has ports for.
const MAX_WIRES: usize = 64;

/// What NICs and DPDK's drivers take at most.
const MAX_MTU: u16 = 9710;

/// `[dpdk]`: what DPDK's environment layer (EAL) is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dpdk {
    /// EAL's arguments, as they are.
    pub eal: Vec<String>,
    /// Virtual devices, `NAME,PARAMETER=VALUE,...`, each handed to EAL as `--vdev`.
    pub vdev: Vec<String>,
}

impl Dpdk {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let dpdk = Self { eal: table.texts("eal"), vdev: table.texts("vdev") };
        table.finish();
        dpdk
    }

    /// Names of the virtual devices.
    fn devices(&self) -> impl Iterator<Item = &str> {
        self.vdev.iter().filter_map(|device| device.split(',').next())
    }

    /// There is no virtual device of this name, although it looks like one's.
    fn lacks(&self, port: &str) -> bool {
        port.starts_with("net_")
            && self.devices().all(|device| device != port)
            && !self.eal.iter().any(|argument| argument.contains(port))
    }
}

/// `[[wire]]`: two ports; what comes in at one goes out at the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Unique; what rules, logs and metrics call it.
    pub name: Arc<str>,
    /// Port towards the clients: a DPDK device name or PCI address.
    pub inside: String,
    /// Port towards the servers.
    pub outside: String,
    /// Largest IP packet, in bytes; none: as the ports have it.
    pub mtu: Option<u16>,
    /// The VLAN that untagged frames belong to.
    pub native_vlan: Option<u16>,
}

impl Wire {
    /// All wires. Those with faults are left out.
    pub(in crate::config) fn read_all(document: &Table<'_>, dpdk: &Dpdk) -> Vec<Self> {
        let tables = document.tables("wire");
        if tables.is_empty() {
            document.missing("wire", "at least one `[[wire]]` with `name`, `inside` and `outside`");
        }
        let mut seen = Seen::default();
        let mut wires = Vec::new();
        for (i, table) in tables.into_iter().enumerate() {
            if i == MAX_WIRES {
                table.say(format!("expected at most {MAX_WIRES} wires"));
            }
            wires.extend(Self::read(table, dpdk, &mut seen));
        }
        wires
    }

    fn read(table: Table<'_>, dpdk: &Dpdk, seen: &mut Seen) -> Option<Self> {
        let name = table.required("name", "a name for logs and rules").and_then(|value| {
            let name = value.name()?;
            seen.name(name, &value).then_some(name)
        });
        let mut port = |key, towards| {
            let value = table.required(key, towards)?;
            let port = value.text()?;
            (is_port(port, dpdk, &value) && seen.port(port, &value)).then(|| port.to_owned())
        };
        let inside = port("inside", "the port towards the clients: a DPDK device name or PCI address");
        let outside = port("outside", "the port towards the servers: a DPDK device name or PCI address");
        let mtu = table.integer("mtu", 0..=MAX_MTU, 0);
        let native_vlan = table.value("native_vlan", "none").and_then(|value| value.integer(1..=4094));
        table.finish();
        Some(Self {
            name: name?.into(),
            inside: inside?,
            outside: outside?,
            mtu: (mtu > 0).then_some(mtu),
            native_vlan,
        })
    }
}

fn is_port(port: &str, dpdk: &Dpdk, value: &Value<'_>) -> bool {
    if port.is_empty() || port.contains(|c: char| c.is_whitespace() || c == ',') {
        value.expected("a DPDK device name (`net_af_packet0`) or PCI address (`0000:03:00.0`)");
        return false;
    }
    if dpdk.lacks(port) {
        let hint = nearest(port, dpdk.devices()).map(|near| format!(" (did you mean {near:?}?)"));
        value.say(format!("no device {port:?} in dpdk.vdev{}", hint.unwrap_or_default()));
        return false;
    }
    true
}

/// What must not come twice.
#[derive(Default)]
struct Seen {
    names: Vec<String>,
    ports: Vec<String>,
}

impl Seen {
    fn name(&mut self, name: &str, value: &Value<'_>) -> bool {
        let first = !self.names.iter().any(|seen| seen == name);
        if !first {
            value.expected("a name that no other wire has");
        }
        self.names.push(name.to_owned());
        first
    }

    fn port(&mut self, port: &str, value: &Value<'_>) -> bool {
        // DPDK takes PCI addresses with and without their domain, in any case.
        let port = port.to_ascii_lowercase();
        let port = port.strip_prefix("0000:").unwrap_or(&port);
        let first = !self.ports.iter().any(|seen| seen == port);
        if !first {
            value.expected("a port that is not in use already: a wire needs two ports of its own");
        }
        self.ports.push(port.to_owned());
        first
    }
}
