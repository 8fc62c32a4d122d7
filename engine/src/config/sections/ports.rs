//! `[dpdk]` and `[[wire]]`: where packets come from and go to.

use std::sync::Arc;

use super::MirrorPort;
use crate::config::near::nearest;
use crate::config::reader::{Table, Value};
use crate::interfaces::KernelPort;
use crate::link_pass::LinkState;

/// `PortId::wire` is a byte; this is more than a machine has ports for.
const MAX_WIRES: usize = 64;

/// Memory of DPDK where it has no hugepages, for all and for each worker, whose buffers take about 200 MB.
const MEMORY_MB: usize = 128;
const WORKER_MB: usize = 256;
/// For each mirror of each worker: the most that its buffers take.
const MIRROR_MB: usize = 48;

const LINK_STATES: &[(&str, LinkState)] =
    &[("pass", LinkState::Pass), ("independent", LinkState::Independent)];

/// What NICs and DPDK's drivers take at most.
pub(super) const MAX_MTU: u16 = 9710;

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

    /// What EAL is started with, for these wires and mirrors. Where all ports are interfaces that wires name by themselves, and nothing else was asked
    /// for, that is memory without hugepages, and no other device: there is nothing that DMA has to reach.
    pub fn arguments(&self, wires: &[Wire], mirrors: &[MirrorPort], workers: usize) -> Vec<String> {
        let of_mirrors = || mirrors.iter().filter_map(|mirror| mirror.kernel_port.as_ref());
        let ports = || wires.iter().flat_map(|wire| &wire.kernel_ports).chain(of_mirrors());
        let alone = self.eal.is_empty() && ports().count() == 2 * wires.len() + mirrors.len();
        let memory = (MEMORY_MB + (WORKER_MB + MIRROR_MB * mirrors.len()) * workers).to_string();
        let plain = ["--no-huge", "-m", &memory, "--no-pci", "--no-telemetry", "--no-shconf"];
        let eal = plain.into_iter().filter(|_| alone).map(str::to_owned).chain(self.eal.iter().cloned());
        let vdevs = self.vdev.iter().cloned().chain(ports().map(|port| port.vdev(workers)));
        eal.chain(vdevs.flat_map(|vdev| ["--vdev".to_owned(), vdev])).collect()
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
    /// Those of the two that were named by the kernel's interface: `xdp:eth1`. Their devices are made for them.
    pub kernel_ports: Vec<KernelPort>,
    /// Largest IP packet, in bytes; none: as the ports have it.
    pub mtu: Option<u16>,
    /// The VLAN that untagged frames belong to.
    pub native_vlan: Option<u16>,
    /// What becomes of one port's link when the other one's is lost.
    pub link_state: LinkState,
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
        let mut kernel_ports = Vec::new();
        let mut port = |key, towards| {
            let value = table.required(key, towards)?;
            let port = value.text()?;
            if let Some(kernel) = KernelPort::parse(port) {
                // One interface is one port, whatever its frames come through.
                let name = seen.port(&format!("{}:", kernel.interface), &value).then(|| kernel.device());
                kernel_ports.push(kernel);
                return name;
            }
            (is_port(port, dpdk, &value) && seen.port(port, &value)).then(|| port.to_owned())
        };
        let inside = port(
            "inside",
            "the port towards the clients: `xdp:INTERFACE`, `af_packet:INTERFACE`, a PCI address or a DPDK device name",
        );
        let outside = port(
            "outside",
            "the port towards the servers: `xdp:INTERFACE`, `af_packet:INTERFACE`, a PCI address or a DPDK device name",
        );
        let mtu = table.integer("mtu", 0..=MAX_MTU, 0);
        let native_vlan = table.value("native_vlan", "none").and_then(|value| value.integer(1..=4094));
        let link_state = table.choice("link_state", LINK_STATES, LinkState::default());
        table.finish();
        Some(Self {
            name: name?.into(),
            inside: inside?,
            outside: outside?,
            kernel_ports,
            mtu: (mtu > 0).then_some(mtu),
            native_vlan,
            link_state,
        })
    }
}

pub(super) fn is_port(port: &str, dpdk: &Dpdk, value: &Value<'_>) -> bool {
    // The one colon that is neither of ours nor of a PCI address: `xpd:eth1`.
    let unknown = port.split_once(':').is_some_and(|(word, _)| !word.bytes().all(|b| b.is_ascii_hexdigit()));
    if port.is_empty() || unknown || port.contains(|c: char| c.is_whitespace() || c == ',') {
        value.expected(
            "`xdp:INTERFACE`, `af_packet:INTERFACE`, a PCI address (`0000:03:00.0`) or a DPDK device name (`net_tap0`)",
        );
        return false;
    }
    if dpdk.lacks(port) {
        let hint = nearest(port, dpdk.devices()).map(|near| format!(" (did you mean {near:?}?)"));
        value.say(format!("no device {port:?} in dpdk.vdev{}", hint.unwrap_or_default()));
        return false;
    }
    true
}

/// The one name of a port. DPDK takes PCI addresses with and without their domain, in any case.
pub(super) fn plain_name(port: &str) -> String {
    let port = port.to_ascii_lowercase();
    port.strip_prefix("0000:").unwrap_or(&port).to_owned()
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
        let port = plain_name(port);
        let first = !self.ports.contains(&port);
        if !first {
            value.expected("a port that is not in use already: a wire needs two ports of its own");
        }
        self.ports.push(port);
        first
    }
}
