//! What an engine would need of the machine, and what it says of itself: from its configuration, its files and its ports.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::ca_files;

use crate::config::{Config, is_at_token};
use crate::interfaces::KernelPort;
use crate::link_pass::LinkState;
use crate::worker::Idle;

/// What a configuration asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) wires: Vec<PlannedWire>,
    /// Cores of the workers.
    pub(super) cores: Vec<usize>,
    /// Workers spin.
    pub(super) spin: bool,
    /// DPDK does without hugepages.
    pub(super) no_huge: bool,
    pub(super) cas: Vec<CaFacts>,
    /// Trusted roots, and whether the system's are wanted; or why there are none.
    pub(super) roots: Option<Result<(usize, bool), String>>,
    /// What is fetched, in words.
    pub(super) fetched: Vec<&'static str>,
    /// Where secrets of decrypted flows are written, and for how many minutes.
    pub(super) captured: Option<(String, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct PlannedWire {
    pub(super) name: String,
    pub(super) link_state: LinkState,
    pub(super) ports: [PlannedPort; 2],
}

#[derive(Clone, Debug)]
pub(super) struct PlannedPort {
    /// As the configuration names it.
    pub(super) name: String,
    /// The kernel's interface that it is.
    pub(super) kernel: Option<KernelPort>,
}

impl PlannedPort {
    /// It is hardware, and not one of DPDK's virtual devices.
    pub(super) fn is_pci(&self) -> bool {
        !self.name.starts_with("net_")
    }
}

/// A CA's files. Modes are none where there is no such file.
#[derive(Clone, Debug, Default)]
pub(super) struct CaFacts {
    pub(super) which: &'static str,
    pub(super) cert: String,
    pub(super) key: String,
    /// Somebody who is neither root nor us owns or may change the certificate's file, or the folder of either.
    pub(super) open_to_others: Option<String>,
    /// Permission bits of the key's file.
    pub(super) key_mode: Option<u32>,
    /// From when to when the certificate holds, in seconds since 1970.
    pub(super) validity: Option<(i64, i64)>,
}

impl Plan {
    pub(super) fn of(config: &Config) -> Self {
        let port = |name: &String| PlannedPort { name: name.clone(), kernel: config.kernel_port(name) };
        let wires = config.wires.iter().map(|wire| PlannedWire {
            name: wire.name.to_string(),
            link_state: wire.link_state,
            ports: [port(&wire.inside), port(&wire.outside)],
        });
        let ca = &config.ca;
        let roots = config.tls_context().map(|tls| (tls.roots(), config.trust.system));
        Self {
            wires: wires.collect(),
            cores: config.workers.cores.clone(),
            spin: config.workers.idle == Idle::Spin,
            no_huge: config
                .dpdk
                .arguments(&config.wires, &config.mirrors, config.workers.cores.len())
                .iter()
                .any(|argument| argument == "--no-huge"),
            cas: [("trusted", &ca.trusted), ("untrusted", &ca.untrusted)]
                .map(|(which, files)| CaFacts::of(which, &files.cert_name, &files.key_name))
                .to_vec(),
            fetched: config.fetch.kinds().collect(),
            captured: config.capture.is_on().then(|| (config.capture.places(), config.capture.minutes())),
            roots: Some(roots.map_err(|error| error.to_string())),
        }
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = &PlannedPort> {
        self.wires.iter().flat_map(|wire| &wire.ports)
    }
}

impl CaFacts {
    pub(super) fn of(which: &'static str, cert: &str, key: &str) -> Self {
        let key_folder = (!is_at_token(key)).then(|| folder(key));
        let places = [Path::new(cert), folder(cert)].into_iter().chain(key_folder);
        Self {
            which,
            cert: cert.to_owned(),
            key: key.to_owned(),
            open_to_others: places
                .into_iter()
                .find(|place| open_to_others(place))
                .map(|p| p.display().to_string()),
            key_mode: fs::metadata(key).ok().map(|about| about.permissions().mode() & 0o7777),
            validity: ca_files::describe(Path::new(cert)).ok().map(|ca| (ca.not_before, ca.not_after)),
        }
    }
}

/// The folder of a file.
pub(in crate::cli) fn folder(file: &str) -> &Path {
    match Path::new(file).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Somebody else may write there. A folder with the sticky bit lets nobody touch what is another's.
pub(in crate::cli) fn open_to_others(place: &Path) -> bool {
    let Ok(about) = fs::metadata(place) else { return false };
    let mode = about.permissions().mode();
    let writable = mode & 0o022 != 0 && !(about.is_dir() && mode & 0o1000 != 0);
    writable || ![0, nix::unistd::geteuid().as_raw()].contains(&about.uid())
}
