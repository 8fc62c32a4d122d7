//! The kernel's interfaces as ports: how a wire names them, and what stands in the way of opening them.
//!
//! `xdp:eth1` is an AF_XDP socket for each worker on eth1, `af_packet:eth1` a packet socket. Both leave the NIC with its kernel driver.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How frames come out of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// AF_XDP: before the kernel has made packets of them.
    Xdp,
    /// AF_PACKET: copies of what passes the kernel's receive path. Has a limit of no kernel, driver or queue.
    Packet,
}

/// A port that is an interface of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPort {
    /// What frames come through.
    pub sockets: Sockets,
    /// The interface's name.
    pub interface: String,
}

/// Largest MTU that an AF_XDP socket takes: a frame, with two VLAN tags, lies in one chunk of 4,096 bytes with the headers and the room
/// that DPDK and the kernel want in front of it.
pub const XDP_MTU: u16 = 3498;
/// Largest MTU that a packet socket takes, by DPDK's driver.
pub const PACKET_MTU: u16 = 1500;
/// Slots of each ring of packet sockets: DPDK's default, 512, is less than a burst of two TCP windows.
const PACKET_SLOTS: u16 = 2048;
/// IFNAMSIZ without the terminator.
const LONGEST_NAME: usize = 15;

impl Sockets {
    const ALL: [Self; 2] = [Self::Xdp, Self::Packet];

    /// What stands in front of the interface's name.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Xdp => "xdp:",
            Self::Packet => "af_packet:",
        }
    }

    /// DPDK's driver.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Xdp => "net_af_xdp",
            Self::Packet => "net_af_packet",
        }
    }
}

impl KernelPort {
    /// Reads `xdp:eth1` or `af_packet:eth1`; none: it is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        Sockets::ALL.into_iter().find_map(|sockets| {
            let interface = text.strip_prefix(sockets.prefix())?;
            let good = (1..=LONGEST_NAME).contains(&interface.len())
                && !interface.contains(|c: char| c.is_whitespace() || ['/', ',', ':'].contains(&c));
            good.then(|| Self { sockets, interface: interface.to_owned() })
        })
    }

    /// The port below a virtual device as `dpdk.vdev` has it: `net_af_xdp0,iface=eth1`.
    pub fn of_vdev(device: &str) -> Option<Self> {
        let sockets = Sockets::ALL.into_iter().find(|sockets| device.starts_with(sockets.driver()))?;
        let interface = device.split(',').find_map(|word| word.strip_prefix("iface="))?.to_owned();
        Some(Self { sockets, interface })
    }

    /// DPDK's name for the port, which logs and metrics show.
    pub fn device(&self) -> String {
        format!("{}_{}", self.sockets.driver(), self.interface)
    }

    /// The virtual device that makes it, with a queue for each worker.
    pub fn vdev(&self, workers: usize) -> String {
        let Self { sockets, interface } = self;
        let device = self.device();
        match sockets {
            Sockets::Xdp => format!("{device},iface={interface},queue_count={workers}"),
            Sockets::Packet => format!("{device},iface={interface},qpairs={workers},framecnt={PACKET_SLOTS}"),
        }
    }
}

impl fmt::Display for KernelPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.sockets.prefix(), self.interface)
    }
}

/// An interface that a port was opened on.
#[derive(Clone, Debug)]
pub struct OpenInterface {
    name: String,
    /// The kernel's number for it, which no other interface gets; none: it could not be read.
    number: Option<u32>,
}

impl OpenInterface {
    /// The interface that has this name now.
    pub fn new(name: String) -> Self {
        Self { number: number_of(&name).ok().flatten(), name }
    }

    /// It is not there any more. Another one of its name is not it: sockets stay with the one that they were opened on, and get nothing.
    pub fn is_gone(&self) -> bool {
        match (number_of(&self.name), self.number) {
            (Ok(now), Some(_)) => now != self.number,
            (Err(error), Some(_)) => error.kind() == io::ErrorKind::NotFound,
            (_, None) => false,
        }
    }
}

fn number_of(interface: &str) -> io::Result<Option<u32>> {
    let text = fs::read_to_string(Path::new("/sys/class/net").join(interface).join("ifindex"))?;
    Ok(text.trim().parse().ok())
}

/// How far out in the kernel an interface's frames reach an AF_XDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// The NIC writes into the socket's memory.
    ZeroCopy,
    /// The NIC's driver copies them into it.
    Native,
    /// The kernel makes packets of them first.
    Generic,
    /// There is no device whose driver could be known: veth, tun and bond are native, others are not.
    Virtual,
}

/// Drivers with zero-copy, as of Linux 6.18, and such as can redirect frames to a socket without it. docs/deploy.md names the kernels that they have it from.
const ZERO_COPY: [&str; 11] =
    ["gve", "gvnic", "i40e", "ice", "idpf", "igb", "igc", "ixgbe", "mlx5_core", "nfp", "virtio_net"];
const NATIVE: [&str; 9] =
    ["atlantic", "bnxt_en", "ena", "hv_netvsc", "mana", "mvneta", "qede", "sfc", "vmxnet3"];

impl XdpMode {
    /// Of an interface whose device has this kernel driver.
    pub fn of_driver(driver: Option<&str>) -> Self {
        match driver {
            None => Self::Virtual,
            Some(driver) if ZERO_COPY.contains(&driver) => Self::ZeroCopy,
            Some(driver) if NATIVE.contains(&driver) => Self::Native,
            Some(_) => Self::Generic,
        }
    }
}

/// Something that keeps a port from opening, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What was found.
    pub found: String,
    /// The remedy.
    pub fix: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found, self.fix)
    }
}

/// Names in a folder; none: it cannot be read.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// An interface has a link now; none: the kernel does not say, as when this process has too many open files.
pub fn has_carrier(interface: &str) -> Option<bool> {
    link_of(fs::read(Path::new("/sys/class/net").join(interface).join("carrier")))
}

/// What the file says, or that it cannot be read.
fn link_of(carrier: io::Result<Vec<u8>>) -> Option<bool> {
    match carrier {
        Ok(text) => Some(text.starts_with(b"1")),
        // The interface is down, or gone.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
            Some(false)
        }
        Err(_) => None,
    }
}

/// What the kernel says of itself, of this process and of its interfaces, below a root folder.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    root: PathBuf,
    /// The kernel has AF_XDP.
    pub xdp: bool,
    /// Major and minor number; (0, 0): unknown.
    pub version: (u32, u32),
    capabilities: u64,
    /// Memory that the process may lock is limited.
    memory_limited: bool,
}

/// Bits of `/proc/self/status`: <linux/capability.h>.
const NET_ADMIN: (u64, &str) = (12, "CAP_NET_ADMIN");
const NET_RAW: (u64, &str) = (13, "CAP_NET_RAW");
const IPC_LOCK: (u64, &str) = (14, "CAP_IPC_LOCK");
/// libxdp looks at the program of an interface by its number, which `CAP_BPF` does not allow (bpf(2), BPF_PROG_GET_FD_BY_ID).
const SYS_ADMIN: (u64, &str) = (21, "CAP_SYS_ADMIN");

impl Kernel {
    /// Reads it. `root` is `/`, or a folder that looks like it.
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let status = text("proc/self/status");
        let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let capabilities = capabilities.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        let limits = text("proc/self/limits");
        let locked = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
        let release = text("proc/sys/kernel/osrelease");
        let mut numbers = release.trim().split(['.', '-', '+']).map_while(|word| word.parse().ok());
        Self {
            root: root.to_owned(),
            xdp: text("proc/net/protocols").lines().any(|line| line.starts_with("XDP ")),
            version: (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)),
            capabilities: capabilities.unwrap_or(0),
            memory_limited: locked.is_some_and(|rest| !rest.trim_start().starts_with("unlimited")),
        }
    }

    fn of_interface(&self, interface: &str, file: &str) -> Option<String> {
        let path = self.root.join("sys/class/net").join(interface).join(file);
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    }

    /// Whether there is a link; none: the interface says nothing, as it is not there.
    pub fn carrier(&self, interface: &str) -> Option<bool> {
        self.of_interface(interface, "ifindex")?;
        // Reading it fails while the interface is down.
        Some(self.of_interface(interface, "carrier").is_some_and(|carrier| carrier == "1"))
    }

    /// The largest IP packet that an interface carries, in bytes; none: it is not there.
    pub fn mtu(&self, interface: &str) -> Option<u16> {
        self.of_interface(interface, "mtu")?.parse().ok()
    }

    /// Receive queues of an interface that are in use.
    pub fn queues(&self, interface: &str) -> usize {
        let queues = fs::read_dir(self.root.join("sys/class/net").join(interface).join("queues"));
        let names = queues.into_iter().flatten().flatten();
        names.filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-")).count()
    }

    /// The kernel driver of an interface's device; none: it has no device, as veth, or is not there.
    pub fn driver(&self, interface: &str) -> Option<String> {
        let device = self.root.join("sys/class/net").join(interface).join("device/driver");
        Some(fs::read_link(device).ok()?.file_name()?.to_str()?.to_owned())
    }

    /// The kernel's number for an interface's kind (`ARPHRD_*`); none: it is not there.
    pub fn kind(&self, interface: &str) -> Option<String> {
        self.of_interface(interface, "type")
    }

    /// Names below an interface's folder: what it has, and what it is linked with.
    pub fn names(&self, interface: &str) -> Vec<String> {
        names_in(&self.root.join("sys/class/net").join(interface))
    }

    /// Hugepages of all sizes: free ones, and all.
    pub fn hugepages(&self) -> (u64, u64) {
        let root = self.root.join("sys/kernel/mm/hugepages");
        let count = |size: &str, file| {
            let text = fs::read_to_string(root.join(size).join(file)).unwrap_or_default();
            text.trim().parse::<u64>().unwrap_or(0)
        };
        let sizes = names_in(&root);
        let sum = |file| sizes.iter().map(|size| count(size, file)).sum();
        (sum("free_hugepages"), sum("nr_hugepages"))
    }

    /// What this machine itself uses an interface for, as far as it can be seen; none: it may be a port. A port takes all of it away.
    pub fn own_use(&self, interface: &str) -> Option<&'static str> {
        const LINK_LOCAL: &str = "20";
        let net = |file: &str| fs::read_to_string(self.root.join("proc/net").join(file)).unwrap_or_default();
        // An address brings a route with it, in IPv4; each interface that is up has an address of its link, in IPv6.
        let has_route = net("route").lines().any(|line| line.split_whitespace().next() == Some(interface));
        let has_address = net("if_inet6").lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            matches!(words[..], [_, _, _, scope, _, name] if name == interface && scope != LINK_LOCAL)
        });
        if has_route || has_address {
            return Some("this machine has addresses or routes on it");
        }
        let links = self.names(interface);
        if links.iter().any(|name| name == "master") {
            return Some("it is part of a bridge or bond");
        }
        links.iter().any(|name| name.starts_with("upper_")).then_some("other interfaces are built on it")
    }

    /// The interfaces of a PCI device. Those of virtio hang one level deeper, on the virtio bus.
    pub fn interfaces_of(&self, address: &str) -> Vec<String> {
        let device = self.root.join("sys/bus/pci/devices").join(address);
        let deeper = names_in(&device).into_iter().filter(|name| name.starts_with("virtio"));
        let places = deeper.map(|name| device.join(name)).chain([device.clone()]);
        places.flat_map(|place| names_in(&place.join("net"))).collect()
    }

    /// Capabilities that this process lacks for these sockets.
    pub fn lacks(&self, sockets: Sockets) -> Vec<&'static str> {
        let has = |bit: u64| self.capabilities >> bit & 1 == 1;
        // Promiscuous mode and the MTU are the administrator's.
        let wanted: &[_] = match sockets {
            Sockets::Packet => &[NET_RAW, NET_ADMIN],
            Sockets::Xdp => &[NET_RAW, NET_ADMIN, SYS_ADMIN],
        };
        let mut lacks: Vec<_> = wanted.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
        if sockets == Sockets::Xdp && self.memory_limited && !has(IPC_LOCK.0) {
            lacks.push(IPC_LOCK.1);
        }
        lacks
    }

    /// A port that is named like an interface of the kernel, and would be looked for among DPDK's devices.
    pub fn bare_interface(&self, port: &str) -> Option<Obstacle> {
        // A virtual device, whose interface may be called as it is.
        if port.starts_with("net_") {
            return None;
        }
        KernelPort::parse(&format!("xdp:{port}")).and_then(|port| self.kind(&port.interface))?;
        Some(Obstacle {
            found: format!(
                "{port} is an interface of the kernel, and its name alone stands for a device of DPDK"
            ),
            fix: format!("write `xdp:{port}` or `af_packet:{port}`"),
        })
    }

    /// The first thing that keeps this port from opening with a queue for each worker, as far as it can be seen without trying.
    pub fn obstacle(&self, port: &KernelPort, workers: usize) -> Option<Obstacle> {
        let KernelPort { sockets, interface } = port;
        let say = |found: String, fix: String| Some(Obstacle { found, fix });
        if self.of_interface(interface, "ifindex").is_none() {
            return say(
                format!("{port}: there is no interface {interface} here"),
                "`ip link` shows those of this network namespace".into(),
            );
        }
        let lacks = self.lacks(*sockets);
        if !lacks.is_empty() {
            let lacks = lacks.join(" ");
            return say(
                format!("{port}: this process lacks {lacks}"),
                format!(
                    "run it as root, or add them: `CapabilityBoundingSet=` of the unit, `--cap-add` of a container ({lacks})"
                ),
            );
        }
        if *sockets == Sockets::Packet {
            return None;
        }
        if !self.xdp {
            return say(
                format!("{port}: this kernel has no AF_XDP"),
                format!("use a kernel with CONFIG_XDP_SOCKETS=y, or af_packet:{interface}"),
            );
        }
        let mtu = self.of_interface(interface, "mtu").and_then(|mtu| mtu.parse::<u32>().ok());
        if let Some(mtu) = mtu
            && mtu > u32::from(XDP_MTU)
        {
            return say(
                format!("{port}: {interface} has MTU {mtu}, but AF_XDP takes {XDP_MTU} at most"),
                format!(
                    "ip link set dev {interface} mtu 1500, at the other end too; or af_packet:{interface}"
                ),
            );
        }
        let queues = self.queues(interface);
        if queues != workers {
            // The others' frames would go to the kernel and past the wire.
            return say(
                format!(
                    "{port}: {interface} has {queues} queue(s) for {workers} worker(s): it needs exactly one for each"
                ),
                format!("ethtool -L {interface} combined {workers}, or as many cores in workers.cores"),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const ALL: &str = "CapEff:\t000001ffffffffff\n";

    fn machine() -> TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in [
            ("proc/self/status", ALL),
            (
                "proc/self/limits",
                "Max locked memory         8388608              8388608              bytes\n",
            ),
            ("proc/net/protocols", "protocol  size\nXDP       1088      0\nTCP 2 3\n"),
            ("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n"),
            ("sys/class/net/eth1/ifindex", "3\n"),
            ("sys/class/net/eth1/mtu", "1500\n"),
            ("sys/class/net/eth1/carrier", "1\n"),
            ("sys/class/net/eth1/queues/rx-0/rps_cpus", "0\n"),
            ("sys/class/net/eth1/queues/rx-1/rps_cpus", "0\n"),
            ("sys/class/net/eth1/queues/tx-0/xps_cpus", "0\n"),
        ] {
            file(&root, path, text);
        }
        root
    }

    fn file(root: &TempDir, path: &str, text: &str) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    fn obstacle(root: &TempDir, port: &str, workers: usize) -> String {
        let port = KernelPort::parse(port).expect("a port");
        Kernel::read(root.path()).obstacle(&port, workers).map_or_else(String::new, |found| found.to_string())
    }

    #[test]
    fn an_interface_that_is_gone_is_no_other_one() {
        let loopback = OpenInterface::new("lo".into());
        assert!(!loopback.is_gone(), "it is there");
        assert!(
            OpenInterface { name: "lo".into(), number: Some(4711) }.is_gone(),
            "another one has its name"
        );
        assert!(OpenInterface { name: "no-such-link".into(), ..loopback }.is_gone(), "there is none");
        assert!(!OpenInterface::new("no-such-link".into()).is_gone(), "it was never seen");
    }

    #[test]
    fn an_interface_without_a_prefix_is_told_what_it_lacks() {
        let root = machine();
        file(&root, "sys/class/net/eth1/type", "1\n");
        let kernel = Kernel::read(root.path());
        let said = kernel.bare_interface("eth1").expect("an obstacle").to_string();
        assert!(said.ends_with(": write `xdp:eth1` or `af_packet:eth1`"), "{said}");
        for other in ["eth2", "0000:03:00.0", "net_tap0", "../net/eth1"] {
            assert_eq!(kernel.bare_interface(other), None, "{other}");
        }
    }

    #[test]
    fn names_are_read_and_become_devices() {
        let port = KernelPort::parse("xdp:eth1.100").expect("an interface");
        assert_eq!((port.sockets, port.interface.as_str()), (Sockets::Xdp, "eth1.100"));
        assert_eq!(port.vdev(2), "net_af_xdp_eth1.100,iface=eth1.100,queue_count=2");
        let packet = KernelPort::parse("af_packet:lan0").expect("an interface");
        assert_eq!(packet.vdev(1), "net_af_packet_lan0,iface=lan0,qpairs=1,framecnt=2048");
        assert_eq!(
            (packet.device().as_str(), packet.to_string().as_str()),
            ("net_af_packet_lan0", "af_packet:lan0")
        );
        for bad in
            ["xdp:", "xdp:a/b", "xdp:a,b", "xdp:sixteen-letters-", "0000:03:00.0", "net_af_xdp0", "tap:eth1"]
        {
            assert_eq!(KernelPort::parse(bad), None, "{bad}");
        }
        let of = KernelPort::of_vdev("net_af_xdp0,iface=p0,queue_count=4").expect("has an interface");
        assert_eq!(of.to_string(), "xdp:p0");
        assert_eq!(KernelPort::of_vdev("net_tap0,iface=p0"), None);
    }

    #[test]
    fn nothing_is_in_the_way_where_all_is_there() {
        let root = machine();
        assert_eq!(obstacle(&root, "xdp:eth1", 2), "");
        assert_eq!(obstacle(&root, "af_packet:eth1", 7), "", "packet sockets share a queue");
        let kernel = Kernel::read(root.path());
        assert_eq!(
            (kernel.version, kernel.carrier("eth1"), kernel.carrier("eth9")),
            ((6, 1), Some(true), None)
        );
        fs::remove_file(root.path().join("sys/class/net/eth1/carrier")).expect("it was there");
        assert_eq!(kernel.carrier("eth1"), Some(false), "it is down");
    }

    #[test]
    fn each_obstacle_is_named_with_its_remedy() {
        let root = machine();
        assert!(obstacle(&root, "xdp:eth9", 2).contains("no interface eth9 here: `ip link`"));
        assert!(obstacle(&root, "af_packet:eth9", 2).contains("no interface eth9"));
        let words = obstacle(&root, "xdp:eth1", 1);
        assert!(
            words.contains("2 queue(s) for 1 worker(s)") && words.contains("ethtool -L eth1 combined 1"),
            "{words}"
        );
        file(&root, "sys/class/net/eth1/mtu", "9000\n");
        let words = obstacle(&root, "xdp:eth1", 2);
        assert!(words.contains("MTU 9000, but AF_XDP takes 3498") && words.contains("mtu 1500"), "{words}");
        assert_eq!(obstacle(&root, "af_packet:eth1", 2), "");
        file(&root, "proc/net/protocols", "protocol  size\nTCP 2 3\n");
        assert!(
            obstacle(&root, "xdp:eth1", 2)
                .contains("no AF_XDP: use a kernel with CONFIG_XDP_SOCKETS=y, or af_packet:eth1")
        );
    }

    #[test]
    fn what_the_machine_uses_itself_is_no_port() {
        let root = machine();
        let own_use = |interface| Kernel::read(root.path()).own_use(interface);
        file(&root, "proc/net/if_inet6", "fe80000000000000 03 40 20 80     eth1\n");
        file(&root, "proc/net/route", "Iface\tDestination\teth1\neth10\t00000000\t0101A8C0\n");
        assert_eq!(own_use("eth1"), None, "each interface has an address of its link");
        assert_eq!(own_use("eth10"), Some("this machine has addresses or routes on it"));
        file(&root, "proc/net/if_inet6", "fd00000000000000 03 40 00 80     eth1\n");
        assert_eq!(own_use("eth1"), Some("this machine has addresses or routes on it"));
        fs::remove_file(root.path().join("proc/net/if_inet6")).expect("it was there");
        file(&root, "sys/class/net/eth1/upper_eth1.100", "");
        assert_eq!(own_use("eth1"), Some("other interfaces are built on it"));
        file(&root, "sys/class/net/eth1/master", "");
        assert_eq!(own_use("eth1"), Some("it is part of a bridge or bond"));
        for path in ["0000:03:00.0/net/eth1", "0000:04:00.0/virtio3/net/eth2"] {
            file(&root, &format!("sys/bus/pci/devices/{path}/ifindex"), "3");
        }
        let kernel = Kernel::read(root.path());
        assert_eq!(kernel.interfaces_of("0000:03:00.0"), ["eth1"]);
        assert_eq!(kernel.interfaces_of("0000:04:00.0"), ["eth2"], "through virtio's bus");
        assert!(kernel.interfaces_of("0000:05:00.0").is_empty());
    }

    #[test]
    fn hugepages_of_all_sizes_are_counted() {
        let root = machine();
        let kernel = Kernel::read(root.path());
        assert_eq!(kernel.hugepages(), (0, 0));
        for (file_name, text) in [
            ("hugepages-2048kB/nr_hugepages", "5\n"),
            ("hugepages-2048kB/free_hugepages", "0\n"),
            ("hugepages-1048576kB/nr_hugepages", "2\n"),
            ("hugepages-1048576kB/free_hugepages", "1\n"),
        ] {
            file(&root, &format!("sys/kernel/mm/hugepages/{file_name}"), text);
        }
        assert_eq!(kernel.hugepages(), (1, 7));
    }

    #[test]
    fn capabilities_are_named_one_by_one() {
        let root = machine();
        let lacks = |bits: u64, sockets| {
            file(&root, "proc/self/status", &format!("CapEff:\t{bits:016x}\n"));
            Kernel::read(root.path()).lacks(sockets)
        };
        assert_eq!(lacks(0, Sockets::Xdp), ["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_IPC_LOCK"]);
        assert_eq!(lacks(0, Sockets::Packet), ["CAP_NET_RAW", "CAP_NET_ADMIN"]);
        assert_eq!(
            lacks(1 << 12 | 1 << 13 | 1 << 21, Sockets::Xdp),
            ["CAP_IPC_LOCK"],
            "memory may be locked up to a limit"
        );
        file(
            &root,
            "proc/self/limits",
            "Max locked memory         unlimited            unlimited            bytes\n",
        );
        assert!(lacks(1 << 12 | 1 << 13 | 1 << 21, Sockets::Xdp).is_empty());
        assert!(obstacle(&root, "af_packet:eth1", 1).is_empty());
        assert_eq!(lacks(1 << 12 | 1 << 13 | 1 << 39, Sockets::Xdp), ["CAP_SYS_ADMIN"], "CAP_BPF is less");
        let words = obstacle(&root, "xdp:eth1", 2);
        assert!(words.contains("lacks CAP_SYS_ADMIN: run it as root"), "{words}");
    }
}
