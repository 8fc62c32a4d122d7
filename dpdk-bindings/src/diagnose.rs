//! Why there are no ports, or not the right ones: what EAL had to work with, and what to do about it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use dpdk_sys as ffi;

use crate::errno::text;
use crate::port;

/// Where the system's own descriptions of itself are mounted. For tests: a tree of files that looks like them.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// What EAL found. Its text (`Display`) is for an operator: facts first, each followed by what to do, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// DPDK's version and how it is linked.
    pub dpdk: String,
    /// The drivers' directory; `None` in a static build.
    pub drivers: Option<Drivers>,
    /// Memory.
    pub hugepages: Hugepages,
    /// EAL's arguments.
    pub args: Vec<String>,
    /// Network devices on PCI, by address.
    pub pci: Vec<PciDevice>,
    /// Names of the ports that exist.
    pub ports: Vec<String>,
}

/// The directory from which a shared DPDK loads its drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drivers {
    /// As compiled into DPDK.
    pub directory: PathBuf,
    /// Network drivers in it.
    pub present: usize,
    /// Network drivers that this process has loaded.
    pub loaded: usize,
}

/// Hugepages, as the kernel counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hugepages {
    /// Pages reserved.
    pub total: u64,
    /// Pages nobody uses.
    pub free: u64,
    /// Size of a page in KB.
    pub size_kb: u64,
    /// Where hugetlbfs is mounted.
    pub mounts: Vec<PathBuf>,
}

/// A network device on PCI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// `0000:03:00.0`
    pub address: String,
    /// Vendor and device: `8086:10fb`.
    pub id: String,
    /// The kernel driver it is bound to.
    pub kernel_driver: Option<String>,
    /// The kernel's network interfaces on it.
    pub interfaces: Vec<String>,
    /// This machine has addresses or routes on one of them.
    pub in_use: bool,
}

/// Kernel drivers that hand a device to user space.
const USER_SPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];
/// Kernel drivers that a PMD works together with, so the device stays with the kernel.
const BIFURCATED_DRIVERS: [&str; 3] = ["mlx4_core", "mlx5_core", "mana"];

impl Report {
    /// Looks at the machine. `args` are EAL's arguments.
    pub fn gather(roots: &Roots, args: &[String]) -> Self {
        // SAFETY: returns a static string.
        let (version, directory) = unsafe { (text(ffi::rte_version()), text(ffi::shim_eal_pmd_path())) };
        let shared = ffi::LINK_MODE == "shared" && !directory.is_empty();
        Self {
            dpdk: format!("{version}, linked {} (built with {})", ffi::LINK_MODE, ffi::VERSION),
            drivers: shared.then(|| Drivers::find(roots, Path::new(&directory))),
            hugepages: Hugepages::read(roots),
            args: args.to_vec(),
            pci: pci_devices(roots),
            ports: port::names(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.dpdk)?;
        self.write_ports(f)?;
        if let Some(drivers) = &self.drivers {
            drivers.write(f)?;
        }
        self.write_memory(f)?;
        writeln!(f, "EAL arguments: {}", self.args.join(" "))?;
        if self.pci.is_empty() {
            return writeln!(f, "PCI network devices: none. Virtual ones are created with --vdev.");
        }
        writeln!(f, "PCI network devices:")?;
        self.pci.iter().try_for_each(|device| device.write(f, self.has_option("--no-pci")))
    }
}

impl Report {
    fn has_option(&self, option: &str) -> bool {
        self.args.iter().any(|arg| arg == option)
    }

    fn write_ports(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ports.is_empty() {
            return writeln!(f, "Ports: none");
        }
        writeln!(f, "Ports: {}", self.ports.join(", "))
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hugepages { total, free, size_kb, mounts } = &self.hugepages;
        write!(f, "Hugepages: {free} of {total} free, {size_kb} kB each")?;
        if self.has_option("--no-huge") {
            return writeln!(f, "; not used (--no-huge)");
        }
        writeln!(f)?;
        if *total == 0 {
            writeln!(
                f,
                "  -> reserve some: echo 512 > /proc/sys/vm/nr_hugepages, or start EAL with --no-huge -m 1024"
            )?;
        }
        if mounts.is_empty() && !self.has_option("--in-memory") {
            writeln!(f, "  -> hugetlbfs is not mounted: mount -t hugetlbfs nodev /dev/hugepages")?;
        }
        Ok(())
    }
}

impl Drivers {
    fn find(roots: &Roots, directory: &Path) -> Self {
        let present = names_in(directory)
            .iter()
            .filter(|name| name.starts_with("librte_net_") && name.ends_with(".so"))
            .count();
        let maps = fs::read_to_string(roots.proc.join("self/maps")).unwrap_or_default();
        let loaded: BTreeSet<_> = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .filter_map(|path| Path::new(path).file_name()?.to_str())
            .filter(|name| name.starts_with("librte_net_"))
            .collect();
        Self { directory: directory.into(), present, loaded: loaded.len() }
    }

    /// Whether a network driver of this name (`net_af_xdp`) is there.
    pub fn have(&self, driver: &str) -> bool {
        let file = format!("librte_{driver}.so");
        names_in(&self.directory).iter().any(|name| name.starts_with(&file))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, present, loaded } = self;
        writeln!(f, "Drivers: {loaded} network drivers loaded, {present} in {}", directory.display())?;
        if *loaded == 0 {
            writeln!(
                f,
                "  -> install the drivers of the same DPDK release, or name their directory: EAL argument -d DIR"
            )?;
        }
        Ok(())
    }
}

impl Hugepages {
    fn read(roots: &Roots) -> Self {
        let meminfo = fs::read_to_string(roots.proc.join("meminfo")).unwrap_or_default();
        let value = |key: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let mounts = fs::read_to_string(roots.proc.join("mounts")).unwrap_or_default();
        let mounts = mounts.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (directory, kind) = (words.next()?, words.next()?);
            (kind == "hugetlbfs").then(|| directory.into())
        });
        Self {
            total: value("HugePages_Total"),
            free: value("HugePages_Free"),
            size_kb: value("Hugepagesize"),
            mounts: mounts.collect(),
        }
    }
}

impl PciDevice {
    fn write(&self, f: &mut fmt::Formatter<'_>, no_pci: bool) -> fmt::Result {
        let Self { address, id, kernel_driver, interfaces, in_use } = self;
        let driver = kernel_driver.as_deref().unwrap_or("no driver");
        write!(f, "  {address} [{id}] {driver}")?;
        if !interfaces.is_empty() {
            write!(f, ", interface {}", interfaces.join(" "))?;
        }
        writeln!(f)?;
        let ready = USER_SPACE_DRIVERS.contains(&driver) || BIFURCATED_DRIVERS.contains(&driver);
        match (ready, no_pci) {
            (true, true) => writeln!(f, "    -> ready for DPDK, but EAL was told --no-pci"),
            (true, false) => {
                writeln!(
                    f,
                    "    -> ready for DPDK; if it is not a port, no loaded driver knows it: see EAL's log"
                )
            }
            (false, _) if *in_use => {
                writeln!(f, "    -> in use: this machine has addresses or routes on it; it is not for DPDK")
            }
            (false, _) if kernel_driver.is_some() && interfaces.is_empty() => writeln!(
                f,
                "    -> belongs to the kernel, and its interface is not in this network namespace: see what it is for, where it is"
            ),
            (false, _) => {
                let owner = if kernel_driver.is_some() { "the kernel" } else { "nobody" };
                write!(
                    f,
                    "    -> belongs to {owner}; to hand it over: driverctl set-override {address} vfio-pci, "
                )?;
                writeln!(f, "or dpdk-devbind.py -b vfio-pci {address}")
            }
        }
    }
}

/// PCI devices of the class "network controller".
fn pci_devices(roots: &Roots) -> Vec<PciDevice> {
    const NETWORK_CLASS: &str = "0x02";
    let root = roots.sys.join("bus/pci/devices");
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    names_in(&root)
        .into_iter()
        .map(|address| (root.join(&address), address))
        .filter(|(directory, _)| read(directory.join("class")).starts_with(NETWORK_CLASS))
        .map(|(directory, address)| {
            let half = |name| read(directory.join(name)).trim_start_matches("0x").to_owned();
            let driver = fs::read_link(directory.join("driver")).ok();
            PciDevice {
                address,
                id: format!("{}:{}", half("vendor"), half("device")),
                kernel_driver: driver.and_then(|link| Some(link.file_name()?.to_str()?.to_owned())),
                in_use: interfaces(&directory).iter().any(|name| has_addresses(roots, name)),
                interfaces: interfaces(&directory),
            }
        })
        .collect()
}

/// An address brings a route with it, in IPv4; in IPv6 each interface that is up has an address of its link (scope 20).
fn has_addresses(roots: &Roots, interface: &str) -> bool {
    let read = |file: &str| fs::read_to_string(roots.proc.join("net").join(file)).unwrap_or_default();
    read("route").lines().any(|line| line.split_whitespace().next() == Some(interface))
        || read("if_inet6").lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            matches!(words[..], [_, _, _, scope, _, name] if name == interface && scope != "20")
        })
}

/// The interfaces of a device; those of virtio hang one level deeper, on the virtio bus.
fn interfaces(device: &Path) -> Vec<String> {
    let below = names_in(device).into_iter().filter(|name| name.starts_with("virtio"));
    below
        .map(|name| device.join(name))
        .chain([device.to_owned()])
        .flat_map(|at| names_in(&at.join("net")))
        .collect()
}

/// Names in a directory, sorted; none if it cannot be read.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
