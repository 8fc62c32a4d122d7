//! What an engine needs of the machine after its start, from its configuration.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Config, Custody};
use crate::interfaces::Sockets;
use crate::log::Destination;

/// What the drivers of the ports need of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Some are set up through the kernel: its interfaces, tap, NICs that their kernel driver shares.
    pub kernel: bool,
    /// Some are AF_XDP sockets.
    pub xdp: bool,
    /// Some are devices of a bus, or whatever else EAL is told.
    pub devices: bool,
}

/// What differs from one engine to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its ports.
    pub ports: Ports,
    /// ICAP servers are asked.
    pub asks_icap: bool,
    /// Workers look at bodies themselves.
    pub workers_scan: bool,
    /// Events go to a socket.
    pub logs_to_socket: bool,
    /// Folder of the event log.
    pub log_folder: Option<PathBuf>,
    /// Folders of captures.
    pub capture_folders: Vec<PathBuf>,
    /// Folder of the exclusions.
    pub exclusions_folder: Option<PathBuf>,
    /// Folder of what a fleet has pushed.
    pub fleet_folder: Option<PathBuf>,
    /// Folders of sockets, which are removed at the end.
    pub socket_folders: Vec<PathBuf>,
    /// What a reload reads: folders, and files whose folder is `/`.
    pub read: Vec<PathBuf>,
    /// Keys of the CAs are at tokens: their modules are strangers' code in the signer, and need what they need.
    pub tokens: bool,
    /// A program says the passphrase or PIN of the CAs' keys.
    pub asks_program: bool,
}

impl Needs {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        let sockets = [&config.control.socket, &config.verdicts.listen];
        let capture = [config.capture.folder.clone(), config.capture.keylog.as_deref().map(folder_of)];
        Self {
            ports: ports(config),
            asks_icap: !config.icap.servers.is_empty(),
            workers_scan: config.content.threads == 0,
            logs_to_socket: !matches!(config.log.eve, Destination::File(_) | Destination::Standard),
            log_folder: match &config.log.eve {
                Destination::File(path) => Some(folder_of(path)),
                _ => None,
            },
            capture_folders: capture.into_iter().flatten().collect(),
            exclusions_folder: config.exclusions.file.as_deref().map(folder_of),
            fleet_folder: config.fleet.is_on().then(|| config.fleet.state_dir.clone()),
            socket_folders: sockets.into_iter().flatten().map(|socket| folder_of(socket)).collect(),
            read: folders_to_read(config.paths_read()),
            // Another process's business.
            tokens: false,
            asks_program: false,
        }
    }

    /// Those of the signer of a configuration.
    pub fn of_signer(custody: &Custody) -> Self {
        Self {
            read: folders_to_read(custody.read.iter()),
            tokens: !custody.ca.modules.is_empty(),
            asks_program: custody.ca.asks_program,
            ..Self::default()
        }
    }
}

/// The folder of a file, `.` for one without.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Folders, as an editor puts a new file in the place of the old one; of a pattern, the folder above its first wildcard. Where links
/// lead now, too.
fn folders_to_read<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for path in paths {
        let is_plain = |part: &std::path::Component<'_>| {
            !part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
        };
        let plain: PathBuf = path.components().take_while(is_plain).collect();
        let folder = if plain.is_dir() { plain.clone() } else { folder_of(&plain) };
        let real = fs::canonicalize(&plain).unwrap_or_else(|_| plain.clone());
        let real = if real.is_dir() { real } else { folder_of(&real) };
        for folder in [folder, real] {
            // All files there are: too much.
            folders.push(if folder == Path::new("/") { plain.clone() } else { folder });
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

fn ports(config: &Config) -> Ports {
    let names = config.wires.iter().flat_map(|wire| [&wire.inside, &wire.outside]);
    let names = names.chain(config.mirrors.iter().map(|mirror| &mirror.port));
    let mut ports = Ports::default();
    for name in names {
        match config.kernel_port(name) {
            Some(port) => {
                ports.kernel = true;
                ports.xdp |= port.sockets == Sockets::Xdp;
            }
            None if in_memory(name) => {}
            None => {
                ports.devices = true;
                ports.kernel |= !is_vfio(Path::new("/"), name);
            }
        }
    }
    ports
}

/// A device of DPDK's that asks nothing of the kernel.
fn in_memory(name: &str) -> bool {
    ["net_ring", "net_null", "net_pcap", "net_memif"].iter().any(|driver| name.starts_with(driver))
}

/// The NIC at this PCI address is nobody's but this process's.
fn is_vfio(root: &Path, address: &str) -> bool {
    let link = |address: &str| fs::read_link(root.join("sys/bus/pci/devices").join(address).join("driver"));
    let driver = link(address).or_else(|_| link(&format!("0000:{address}")));
    driver.is_ok_and(|driver| driver.ends_with("vfio-pci"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_of_vfio_needs_nothing_of_the_kernel() {
        let root = tempfile::tempdir().expect("a folder");
        for (address, driver) in [("0000:03:00.0", "vfio-pci"), ("0000:04:00.0", "mlx5_core")] {
            let device = root.path().join("sys/bus/pci/devices").join(address);
            fs::create_dir_all(&device).expect("writable");
            std::os::unix::fs::symlink(format!("../../../bus/pci/drivers/{driver}"), device.join("driver"))
                .expect("writable");
        }
        let vfio = |address| is_vfio(root.path(), address);
        assert!(vfio("0000:03:00.0") && vfio("03:00.0"));
        assert!(!vfio("0000:04:00.0") && !vfio("0000:05:00.0"));
        assert!(in_memory("net_ring0") && !in_memory("net_tap0") && !in_memory("0000:03:00.0"));
    }

    #[test]
    fn files_without_a_folder_are_here() {
        assert_eq!(folder_of(Path::new("eve.json")), Path::new("."));
        assert_eq!(folder_of(Path::new("/var/log/eve.json")), Path::new("/var/log"));
    }
}
