//! System calls, in groups: what threads do, and what of the kernel that takes.
//!
//! The order is that of numbers, not of frequency: since Linux 5.11 calls that are always allowed are looked up in a bit map, and no filter runs
//! for them.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Calls, each with the rules of which one must hold; empty: always.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Memory, time, locks, open descriptors: what any thread needs until it ends.
#[rustfmt::skip]
const COMMON: &[c_long] = &[
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_close,
    libc::SYS_futex, libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_sched_yield, libc::SYS_restart_syscall, libc::SYS_getrandom,
    libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk, libc::SYS_membarrier,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getcpu, libc::SYS_getrusage,
    libc::SYS_sched_getaffinity, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_ppoll,
];

/// Frames: waking the kernel (AF_PACKET, AF_XDP), tap and vhost, port IO through vfio.
#[rustfmt::skip]
const RINGS: &[c_long] = &[
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_pread64, libc::SYS_pwrite64,
];

/// Looking at files, and opening them.
#[rustfmt::skip]
const LOOKING: &[c_long] = &[
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_readlinkat, libc::SYS_statfs, libc::SYS_getcwd,
];

/// Reading them.
#[rustfmt::skip]
const READ: &[c_long] = &[
    libc::SYS_fstat, libc::SYS_getdents64, libc::SYS_lseek, libc::SYS_pread64, libc::SYS_fadvise64, libc::SYS_fcntl,
    libc::SYS_fstatfs, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_uname,
    libc::SYS_prlimit64,
];

/// Making, renaming and removing them.
#[rustfmt::skip]
const WRITE: &[c_long] = &[
    libc::SYS_pwrite64, libc::SYS_ftruncate, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_fallocate, libc::SYS_flock, libc::SYS_fchmod,
    libc::SYS_fchmodat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_unlinkat,
];

/// Connections that are there, or come in.
#[rustfmt::skip]
const SERVE: &[c_long] = &[
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt,
    libc::SYS_shutdown, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg,
    libc::SYS_recvmmsg, libc::SYS_fcntl, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_dup, libc::SYS_dup3,
];

/// New connections: `socket` comes by its domain.
const CONNECT: &[c_long] = &[libc::SYS_connect, libc::SYS_bind, libc::SYS_uname];

/// What drivers do to count, to look at links and to close.
#[rustfmt::skip]
const DRIVER: &[c_long] = &[
    libc::SYS_ioctl, libc::SYS_pwrite64, libc::SYS_getsockopt, libc::SYS_eventfd2, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_epoll_create1, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_pipe2, libc::SYS_get_mempolicy,
    libc::SYS_mlock, libc::SYS_munlock, libc::SYS_flock, libc::SYS_unlinkat, libc::SYS_mkdirat, libc::SYS_ftruncate, libc::SYS_sched_setaffinity,
];

/// Waiting for many sockets at once.
const EVENTS: &[c_long] =
    &[libc::SYS_eventfd2, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait];

/// Making folders.
const FOLDERS: &[c_long] = &[libc::SYS_mkdirat];

/// Asking the kernel about interfaces, and telling it to take them down.
const ASK: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
];

/// Starting threads, and waiting for a process that was started before: the signer.
const THREADS: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_tid_address,
    libc::SYS_prlimit64,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// The same under the names that only old architectures have: glibc and DPDK still use some.
#[cfg(target_arch = "x86_64")]
mod old {
    #[rustfmt::skip]
    pub(super) const COMMON: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_time];
    #[rustfmt::skip]
    pub(super) const READ: &[libc::c_long] = &[
        libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_getdents,
    ];
    pub(super) const WRITE: &[libc::c_long] = &[libc::SYS_rename, libc::SYS_unlink, libc::SYS_chmod];
    pub(super) const DRIVER: &[libc::c_long] =
        &[libc::SYS_epoll_wait, libc::SYS_pipe, libc::SYS_mkdir, libc::SYS_rmdir];
    pub(super) const EVENTS: &[libc::c_long] = &[libc::SYS_epoll_wait];
    pub(super) const FOLDERS: &[libc::c_long] = &[libc::SYS_mkdir, libc::SYS_rmdir];
}

#[cfg(not(target_arch = "x86_64"))]
mod old {
    pub(super) const COMMON: &[libc::c_long] = &[];
    pub(super) const READ: &[libc::c_long] = &[];
    pub(super) const WRITE: &[libc::c_long] = &[];
    pub(super) const DRIVER: &[libc::c_long] = &[libc::SYS_unlinkat];
    pub(super) const EVENTS: &[libc::c_long] = &[];
    pub(super) const FOLDERS: &[libc::c_long] = &[];
}

/// What no thread has a reason to do once EAL runs: other programs, other processes' memory, modules, mounts, namespaces, keys of the kernel,
/// and parts of it that attackers like.
#[rustfmt::skip]
pub(super) const NEVER: &[c_long] = &[
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_kcmp,
    libc::SYS_pidfd_getfd, libc::SYS_process_madvise, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module,
    libc::SYS_kexec_load, libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct, libc::SYS_quotactl,
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_open_tree, libc::SYS_move_mount,
    libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr, libc::SYS_unshare, libc::SYS_setns,
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_perf_event_open, libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register, libc::SYS_personality, libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_adjtimex,
    libc::SYS_clock_adjtime, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_syslog, libc::SYS_vhangup, libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
];

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Common,
    Rings,
    Read,
    Write,
    Serve,
    /// Connecting to these families of addresses.
    Connect(&'static [i32]),
    Driver,
    Events,
    Folders,
    Ask,
    Threads,
    /// Programs in the kernel: those of XDP are taken away at the end.
    Bpf,
}

/// To services of this host.
pub(super) const LOCAL: &[i32] = &[libc::AF_UNIX];
/// And to others, whose names are looked up; the kernel says by netlink which addresses are there.
pub(super) const INTERNET: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Requests of ioctl on sockets and descriptors that change nothing else.
const REQUESTS: [u64; 4] = [libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS];

impl Group {
    fn always(self) -> [&'static [c_long]; 3] {
        match self {
            Self::Common => [COMMON, old::COMMON, &[]],
            Self::Rings => [RINGS, &[], &[]],
            Self::Read => [READ, LOOKING, old::READ],
            Self::Write => [WRITE, old::WRITE, &[]],
            Self::Serve => [SERVE, &[], &[]],
            Self::Connect(_) => [CONNECT, SERVE, &[]],
            Self::Driver => [DRIVER, old::DRIVER, &[]],
            Self::Events => [EVENTS, old::EVENTS, &[]],
            Self::Folders => [FOLDERS, old::FOLDERS, &[]],
            Self::Ask => [ASK, &[], &[]],
            Self::Threads => [THREADS, &[], &[]],
            Self::Bpf => [&[libc::SYS_bpf], &[], &[]],
        }
    }

    /// Calls that depend on an argument: its place, how it is compared, with what.
    fn by_argument(self) -> Vec<(c_long, u8, SeccompCmpOp, u64)> {
        let exec = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        let equal = SeccompCmpOp::Eq;
        let requests = || REQUESTS.map(|request| (libc::SYS_ioctl, 1, equal.clone(), request)).to_vec();
        match self {
            // No memory becomes code. Only this process is signalled: an abort. Names of threads and of memory.
            Self::Common => vec![
                (libc::SYS_mmap, 2, exec.clone(), 0),
                (libc::SYS_mprotect, 2, exec, 0),
                (libc::SYS_tgkill, 0, equal.clone(), std::process::id().into()),
                (libc::SYS_prctl, 0, equal.clone(), libc::PR_SET_NAME as u64),
                (libc::SYS_prctl, 0, equal, libc::PR_SET_VMA as u64),
            ],
            Self::Connect(families) => {
                let of =
                    |family: &i32| (libc::SYS_socket, 0, equal.clone(), u64::from(family.unsigned_abs()));
                families.iter().map(of).chain(requests()).collect()
            }
            Self::Serve => requests(),
            Self::Ask => [libc::AF_INET, libc::AF_NETLINK, libc::AF_UNIX]
                .map(|family| (libc::SYS_socket, 0, equal.clone(), u64::from(family.unsigned_abs())))
                .to_vec(),
            Self::Rings
            | Self::Read
            | Self::Write
            | Self::Driver
            | Self::Events
            | Self::Folders
            | Self::Threads
            | Self::Bpf => Vec::new(),
        }
    }
}

/// The calls of these groups. What one of them always allows, no argument forbids.
pub(super) fn rules(groups: &[Group]) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = Rules::new();
    for (call, place, compare, value) in groups.iter().flat_map(|group| group.by_argument()) {
        let condition = SeccompCondition::new(place, SeccompCmpArgLen::Dword, compare, value)?;
        rules.entry(call).or_default().push(SeccompRule::new(vec![condition])?);
    }
    for call in groups.iter().flat_map(|group| group.always()).flatten() {
        rules.insert(*call, Vec::new());
    }
    Ok(rules)
}

/// The calls of [`Group::Read`] that take a path.
pub(super) fn looking() -> impl Iterator<Item = c_long> {
    LOOKING.iter().chain(old::READ).copied()
}

/// These calls, whatever their arguments.
pub(super) fn whatever(calls: impl IntoIterator<Item = c_long>) -> Rules {
    calls.into_iter().map(|call| (call, Vec::new())).collect()
}
