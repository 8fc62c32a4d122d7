//! Files that a thread may open, by Landlock.

use std::fmt;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::kind::Kind;
use super::needs::Needs;

/// The newest that is asked for; of an older kernel, what it has.
const NEWEST: ABI = ABI::V7;

/// What looking up a name reads. `/etc/resolv.conf` itself is a file, so one that is put in its place later cannot be read: the folders
/// are those of programs that put it there as a link.
const NAMES: [&str; 12] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/group",
    "/etc/passwd",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];
/// Where systems keep the roots that they trust.
const ROOTS: [&str; 7] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
];

/// How far the kernel bounds files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileLayer {
    /// It has no Landlock, or does not use it.
    None,
    /// It does, with this version of its interface. From 3 on it covers truncation, from 4 on TCP ports.
    Landlock(i32),
}

impl FileLayer {
    /// The version; 0: none.
    pub fn version(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Landlock(version) => version,
        }
    }
}

impl fmt::Display for FileLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("NOT bounded: no Landlock here"),
            Self::Landlock(version) => write!(f, "bounded (Landlock {version})"),
        }
    }
}

/// Folders and files of one kind of thread. All others are closed to it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    read: Vec<PathBuf>,
    /// Files here may be made, written to, renamed and removed, too.
    write: Vec<PathBuf>,
}

fn places(kind: Kind, needs: &Needs) -> Places {
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let read = |read| Places { read, write: Vec::new() };
    let write = |write| Places { read: Vec::new(), write };
    let looks_up_names = match kind {
        Kind::Fetch | Kind::Fleet => true,
        Kind::Content => needs.asks_icap,
        Kind::Worker => needs.asks_icap && needs.workers_scan,
        _ => false,
    };
    match kind {
        Kind::Fleet => Places { read: paths(&NAMES), write: needs.fleet_folder.iter().cloned().collect() },
        Kind::Fetch | Kind::Content | Kind::Worker if looks_up_names => read(paths(&NAMES)),
        Kind::Fetch | Kind::Content | Kind::Worker | Kind::Handshake | Kind::Verdicts => Places::default(),
        // What drivers count, and whether interfaces have a link.
        Kind::Links | Kind::Control => read(paths(&["/sys"])),
        // And what the process uses. Its own folder would not do: the kernel makes that anew.
        Kind::Metrics => read(paths(&["/sys", "/proc"])),
        Kind::Log => {
            // The name of the host goes with each message of syslog.
            let read = if needs.logs_to_socket { paths(&["/sys", "/proc"]) } else { paths(&["/sys"]) };
            Places { read, write: needs.log_folder.iter().cloned().collect() }
        }
        Kind::Capture => write(needs.capture_folders.clone()),
        Kind::Exclusions => write(needs.exclusions_folder.iter().cloned().collect()),
        Kind::Reload => {
            let mut all = needs.read.clone();
            all.extend(needs.fleet_folder.iter().cloned());
            all.extend(paths(&ROOTS));
            all.extend(paths(&NAMES));
            // As rustls-native-certs has it.
            all.extend(
                ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().filter_map(std::env::var_os).map(PathBuf::from),
            );
            // Speeds of the libraries depend on the processor.
            all.extend(paths(&["/proc/cpuinfo", "/sys/devices/system/cpu"]));
            read(all)
        }
        // Closing the ports: devices, their files, sockets.
        Kind::Main => {
            let mut all = paths(&["/dev", "/sys", "/run/dpdk", "/var/run/dpdk", "/run/xdp"]);
            all.extend(needs.socket_folders.iter().cloned());
            Places { read: paths(&["/proc", "/usr/lib"]), write: all }
        }
    }
}

/// Bounds the calling thread. TCP ports and sockets without a file are bounded with them, where the kernel can: only fetches, ICAP and
/// etcd need a connection, and main speaks with the service manager.
pub(super) fn bound(kind: Kind, needs: &Needs) -> Result<FileLayer, RulesetError> {
    let Places { read, write } = places(kind, needs);
    let reads = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = match kind {
        Kind::Main => AccessFs::IoctlDev | AccessFs::MakeDir,
        // A folder for each generation, moved to its place with all that is in it.
        Kind::Fleet => AccessFs::MakeDir | AccessFs::Refer,
        _ => BitFlags::EMPTY,
    };
    let writes = reads
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | device;
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    if !matches!(kind, Kind::Fetch | Kind::Fleet | Kind::Content | Kind::Worker | Kind::Main) {
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    if kind != Kind::Main {
        rules = rules.scope(Scope::from_all(NEWEST))?;
    }
    // Of paths that are not there, nothing is allowed.
    let status = rules
        .create()?
        .add_rules(path_beneath_rules(read, reads))?
        .add_rules(path_beneath_rules(write, writes))?
        .restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => FileLayer::None,
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
            FileLayer::Landlock(kernel_abi.unwrap_or(effective_abi as i32))
        }
        (_, _) => FileLayer::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_frames_and_strangers_bytes_has_no_files() {
        let needs = Needs { asks_icap: false, workers_scan: true, ..Needs::default() };
        for kind in [Kind::Worker, Kind::Handshake, Kind::Content, Kind::Verdicts] {
            assert_eq!(places(kind, &needs), Places::default(), "{kind:?}");
        }
        let asking = Needs { asks_icap: true, ..needs };
        assert!(places(Kind::Content, &asking).read.contains(&"/etc/resolv.conf".into()));
        assert_eq!(places(Kind::Handshake, &asking), Places::default());
    }

    #[test]
    fn only_who_writes_files_may_write_and_only_there() {
        let needs = Needs {
            log_folder: Some("/var/log/wg".into()),
            capture_folders: vec!["/var/captures".into()],
            exclusions_folder: Some("/var/lib/wg".into()),
            fleet_folder: Some("/var/lib/wg/fleet".into()),
            read: vec!["/etc/wg".into()],
            ..Needs::default()
        };
        for (kind, folder) in [
            (Kind::Log, "/var/log/wg"),
            (Kind::Capture, "/var/captures"),
            (Kind::Exclusions, "/var/lib/wg"),
            (Kind::Fleet, "/var/lib/wg/fleet"),
        ] {
            assert_eq!(places(kind, &needs).write, [PathBuf::from(folder)]);
        }
        for kind in Kind::ALL {
            let writes =
                matches!(kind, Kind::Log | Kind::Capture | Kind::Exclusions | Kind::Fleet | Kind::Main);
            assert_eq!(!places(kind, &needs).write.is_empty(), writes, "{kind:?}");
            let reads_configuration = places(kind, &needs).read.contains(&"/etc/wg".into());
            assert_eq!(reads_configuration, kind == Kind::Reload, "{kind:?}");
        }
    }
}
