//! Capabilities, and the user.

use std::ffi::CString;
use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, geteuid, initgroups, setresgid, setresuid};

use super::kind::Kind;
use super::needs::Needs;
use crate::config::Account;

/// What ports of the kernel's take to be opened.
const SOCKETS: [Capability; 3] =
    [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN, Capability::CAP_IPC_LOCK];
/// Programs of XDP: loading one, and looking at the one that is there.
const XDP: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN];
/// Devices: physical addresses and port IO without an IOMMU, hugepages, the node of memory.
const DEVICES: [Capability; 4] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_RAWIO,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RESOURCE,
];
/// To become another user, and to bound what comes after.
const USER: [Capability; 3] = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_SETPCAP];

/// What opening ports, files and sockets may take.
pub(super) fn for_start(needs: &Needs, changes_user: bool) -> CapsHashSet {
    let mut kept = CapsHashSet::from(SOCKETS);
    if needs.ports.xdp {
        kept.extend(XDP);
    }
    if needs.ports.devices {
        kept.extend(DEVICES);
    }
    if changes_user {
        kept.extend(USER);
    }
    // Root may own nothing of what it has to read and write.
    kept.extend([Capability::CAP_DAC_OVERRIDE, Capability::CAP_NET_BIND_SERVICE]);
    kept
}

/// What a thread's work takes.
pub(super) fn of(kind: Kind, needs: &Needs) -> CapsHashSet {
    let mut kept = CapsHashSet::new();
    match kind {
        // Closing the ports: promiscuous mode, the program of XDP.
        Kind::Main if needs.ports.xdp => {
            kept.extend([Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]);
            kept.extend(XDP);
        }
        Kind::Main if needs.ports.kernel => kept.extend([Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]),
        // Taking an interface down: as the other one of its wire has no link, or as a worker has failed.
        Kind::Links if needs.ports.kernel => kept.extend([Capability::CAP_NET_ADMIN]),
        _ => {}
    }
    let has_files = matches!(
        kind,
        Kind::Main | Kind::Log | Kind::Reload | Kind::Capture | Kind::Exclusions | Kind::Fleet
    );
    if has_files && geteuid().is_root() {
        // Else root could not write to a folder that another user owns, as it always could. What the thread may reach, Landlock says.
        kept.insert(Capability::CAP_DAC_OVERRIDE);
    }
    kept
}

/// What threads have left, in words.
pub(super) fn describe(needs: &Needs) -> String {
    let of_kind = |kind: Kind| {
        let mut names: Vec<_> = of(kind, needs).iter().map(ToString::to_string).collect();
        names.sort();
        (!names.is_empty()).then(|| format!("{} ({})", names.join(" "), kind.name()))
    };
    let all: Vec<_> = Kind::ALL.into_iter().filter_map(of_kind).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Gives up all capabilities of the calling thread but these.
pub(super) fn keep(kept: &CapsHashSet) -> Result<(), CapsError> {
    let has = caps::read(None, CapSet::Permitted)?;
    if has.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::all().difference(kept) {
            // Such that this kernel does not know are in no set.
            if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, *capability)?;
            }
        }
    }
    let kept: CapsHashSet = kept.intersection(&has).copied().collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// Makes the whole process another user's, for good. The calling thread keeps these capabilities, other threads none.
pub(super) fn become_user(account: &Account, kept: &CapsHashSet) -> io::Result<()> {
    let Account { name, uid, gid } = account;
    let (user, group) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    if geteuid() == user {
        return Ok(());
    }
    prctl::set_keepcaps(true)?;
    initgroups(&CString::new(name.as_str())?, group)?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    prctl::set_keepcaps(false)?;
    let has = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept =
        kept.intersection(&has).copied().filter(|each| *each != Capability::CAP_DAC_OVERRIDE).collect();
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::super::needs::Ports;
    use super::*;

    #[test]
    fn no_thread_has_a_capability_that_its_work_does_not_take() {
        let file_right = |kind| {
            let has_files = matches!(
                kind,
                Kind::Main | Kind::Log | Kind::Reload | Kind::Capture | Kind::Exclusions | Kind::Fleet
            );
            has_files && geteuid().is_root()
        };
        let of_all = |needs: &Needs| {
            let all = Kind::ALL.into_iter().filter_map(|kind| {
                let mut kept = of(kind, needs);
                assert_eq!(kept.remove(&Capability::CAP_DAC_OVERRIDE), file_right(kind), "{kind:?}");
                let mut names: Vec<_> = kept.into_iter().map(|each| each.to_string()).collect();
                names.sort();
                (!names.is_empty()).then(|| format!("{} {}", kind.name(), names.join(" ")))
            });
            all.collect::<Vec<_>>()
        };
        let ports = |kernel, xdp| Ports { kernel, xdp, devices: false };
        let needs = Needs::default();
        assert_eq!(of_all(&needs), [""; 0]);
        let needs = Needs { ports: ports(true, false), ..needs };
        assert_eq!(of_all(&needs), ["main CAP_NET_ADMIN CAP_NET_RAW", "links CAP_NET_ADMIN"]);
        let needs = Needs { ports: ports(true, true), ..needs };
        assert_eq!(
            of_all(&needs),
            ["main CAP_BPF CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN", "links CAP_NET_ADMIN"]
        );
    }

    #[test]
    fn a_start_has_no_more_than_its_ports_take() {
        let has = |needs: &Needs, user, right| for_start(needs, user).contains(&right);
        let mut needs = Needs::default();
        assert!(
            !has(&needs, false, Capability::CAP_SYS_ADMIN) && !has(&needs, false, Capability::CAP_SETUID)
        );
        assert!(has(&needs, true, Capability::CAP_SETUID) && !has(&needs, true, Capability::CAP_BPF));
        needs.ports = Ports { kernel: true, xdp: true, devices: true };
        assert!(has(&needs, false, Capability::CAP_BPF) && has(&needs, false, Capability::CAP_SYS_RAWIO));
        for never in [Capability::CAP_SYS_PTRACE, Capability::CAP_SYS_MODULE, Capability::CAP_MKNOD] {
            assert!(!has(&needs, true, never), "{never}");
        }
    }
}
