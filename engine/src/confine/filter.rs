//! Filters of system calls (seccomp), compiled to BPF.

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use super::calls::{Group, INTERNET, LOCAL, NEVER, Rules, looking, rules, whatever};
use super::kind::Kind;
use super::needs::Needs;

const REFUSED: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);

/// A filter, or why there is none.
pub(super) type Filter = Result<BpfProgram, BackendError>;

/// For all threads, EAL's own among them: what none ever does. It is refused, and kills nothing, as a driver may only be trying.
pub(super) fn of_all_threads() -> Filter {
    compile(whatever(NEVER.iter().copied()), SeccompAction::Allow, REFUSED)
}

/// For a kind of thread: what none ever does kills the process, and all else that this kind does not do is refused, or kills likewise. Looking
/// at files only ever is refused: libraries try that, and go on without.
pub(super) fn of_kind(kind: Kind, needs: &Needs, strict: bool) -> Vec<Filter> {
    if kind == Kind::Keys && needs.asks_program {
        // It starts a program, which would inherit all of them.
        return Vec::new();
    }
    let groups = groups(kind, needs);
    let never = NEVER.iter().copied().chain((!groups.contains(&Group::Bpf)).then_some(libc::SYS_bpf));
    let mut filters = vec![compile(whatever(never), SeccompAction::Allow, SeccompAction::KillProcess)];
    if strict {
        let refuses = !groups.contains(&Group::Read);
        // Of several filters, the one that forbids more wins. Nothing can be installed after the one that kills.
        let known: Vec<_> = groups.into_iter().chain(refuses.then_some(Group::Read)).collect();
        filters.extend(refuses.then(|| compile(whatever(looking()), SeccompAction::Allow, REFUSED)));
        filters.push(
            rules(&known).and_then(|rules| compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)),
        );
    } else {
        filters.push(rules(&groups).and_then(|rules| compile(rules, REFUSED, SeccompAction::Allow)));
    }
    filters
}

/// Has the kernel filter the calls of all threads that there are, for good.
pub(super) fn install_in_all(filter: &Filter) -> Result<(), String> {
    let program = filter.as_ref().map_err(ToString::to_string)?;
    seccompiler::apply_filter_all_threads(program).map_err(|error| error.to_string())
}

/// Has the kernel filter the calls of this thread, for good.
pub(super) fn install(filter: &Filter) -> Result<(), String> {
    let program = filter.as_ref().map_err(ToString::to_string)?;
    seccompiler::apply_filter(program).map_err(|error| error.to_string())
}

fn compile(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Filter {
    SeccompFilter::new(rules, otherwise, listed, TargetArch::try_from(std::env::consts::ARCH)?)?.try_into()
}

fn groups(kind: Kind, needs: &Needs) -> Vec<Group> {
    let mut groups = vec![Group::Common];
    let names = [Group::Read, Group::Connect(INTERNET)];
    // Of a NIC that its kernel driver shares, the kernel counts.
    let counts = (needs.ports.kernel && needs.ports.devices).then_some(Group::Ask);
    match kind {
        Kind::Worker => {
            groups.push(Group::Rings);
            if needs.workers_scan && needs.asks_icap {
                groups.extend(names);
            }
        }
        // The socket of the signer, which is open.
        Kind::Handshake => groups.push(Group::Rings),
        Kind::Content if needs.asks_icap => groups.extend(names),
        Kind::Content => {}
        Kind::Log => {
            groups.extend([Group::Read, Group::Write, Group::Driver]);
            groups.extend(counts);
            groups.extend(needs.logs_to_socket.then_some(Group::Connect(INTERNET)));
        }
        Kind::Links => {
            groups.extend([Group::Read, Group::Driver]);
            groups.extend(needs.ports.kernel.then_some(Group::Ask));
        }
        Kind::Metrics | Kind::Control => {
            groups.extend([Group::Read, Group::Driver, Group::Serve]);
            groups.extend(counts);
            groups.extend((kind == Kind::Control).then_some(Group::Threads));
        }
        Kind::Verdicts => groups.extend([Group::Serve, Group::Threads]),
        // The socket of the engine, which is open. Modules of PKCS#11 read and lock files of theirs, have threads, talk to daemons
        // (pcscd, yubihsm-connector) and HSMs in the network, and to devices.
        Kind::Sign | Kind::Keys => {
            groups.push(Group::Rings);
            if needs.tokens {
                groups.extend(names);
                groups.extend([Group::Write, Group::Driver, Group::Threads]);
            } else if kind == Kind::Keys {
                groups.push(Group::Read);
            }
        }
        // Groups are looked up by name, which may be a service's affair.
        Kind::Reload => groups.extend([Group::Read, Group::Connect(LOCAL)]),
        Kind::Capture | Kind::Exclusions => groups.extend([Group::Read, Group::Write]),
        // The client of HTTP looks up names on threads of its own, so that it can give up.
        Kind::Fetch => {
            groups.extend(names);
            groups.push(Group::Threads);
        }
        Kind::Fleet => {
            groups.extend(names);
            groups.extend([Group::Write, Group::Folders, Group::Events, Group::Threads]);
        }
        Kind::Main => {
            groups.extend([
                Group::Read,
                Group::Write,
                Group::Driver,
                Group::Ask,
                Group::Threads,
                Group::Connect(INTERNET),
            ]);
            groups.extend(needs.ports.xdp.then_some(Group::Bpf));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

    /// What the kernel makes of a call: classic BPF over `struct seccomp_data`.
    fn verdict(filter: &Filter, call: i64, arguments: [u64; 3]) -> u32 {
        let arch: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        let mut data = [0; 64];
        data[..4].copy_from_slice(&(call as u32).to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (n, argument) in arguments.iter().enumerate() {
            data[16 + 8 * n..24 + 8 * n].copy_from_slice(&argument.to_ne_bytes());
        }
        let program = filter.as_ref().expect("it compiles");
        let (mut at, mut a) = (0, 0_u32);
        loop {
            let step = &program[at];
            at += 1;
            let k = step.k;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match step.code {
                0x20 => a = u32::from_ne_bytes(data[k as usize..k as usize + 4].try_into().expect("four")),
                0x54 => a &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(a == k),
                0x25 => at += jump(a > k),
                0x35 => at += jump(a >= k),
                0x06 => return k,
                code => unreachable!("{code:#x}"),
            }
        }
    }

    /// All filters of a thread: the one that forbids more wins.
    fn of(kind: Kind, needs: &Needs, strict: bool, call: i64, arguments: [u64; 3]) -> u32 {
        let filters = of_kind(kind, needs, strict);
        let verdicts = filters.iter().map(|filter| verdict(filter, call, arguments));
        let rank = |verdict: &u32| {
            [KILL, EPERM, ALLOW].iter().position(|each| each == verdict).expect("one of these")
        };
        verdicts.min_by_key(rank).expect("some")
    }

    #[test]
    fn programs_kill_whoever_starts_them_and_eal_is_refused() {
        for kind in Kind::ALL {
            for call in [
                libc::SYS_execve,
                libc::SYS_ptrace,
                libc::SYS_process_vm_readv,
                libc::SYS_mount,
                libc::SYS_bpf,
            ] {
                assert_eq!(of(kind, &Needs::default(), false, call, [0; 3]), KILL, "{kind:?} {call}");
            }
        }
        assert_eq!(verdict(&of_all_threads(), libc::SYS_execve, [0; 3]), EPERM);
        assert_eq!(verdict(&of_all_threads(), libc::SYS_bpf, [0; 3]), ALLOW, "ports are opened after it");
        let mut needs = Needs::default();
        needs.ports.xdp = true;
        assert_eq!(of(Kind::Main, &needs, true, libc::SYS_bpf, [0; 3]), ALLOW);
        assert_eq!(of(Kind::Worker, &needs, false, libc::SYS_bpf, [0; 3]), KILL);
    }

    #[test]
    fn a_worker_moves_frames_and_does_nothing_else() {
        let worker = |call, arguments| of(Kind::Worker, &Needs::default(), true, call, arguments);
        for call in [
            libc::SYS_sendto,
            libc::SYS_recvfrom,
            libc::SYS_ppoll,
            libc::SYS_futex,
            libc::SYS_clock_nanosleep,
        ] {
            assert_eq!(worker(call, [0; 3]), ALLOW);
        }
        assert_eq!(worker(libc::SYS_openat, [0; 3]), EPERM, "libraries try, and go on without");
        for call in
            [libc::SYS_socket, libc::SYS_connect, libc::SYS_ioctl, libc::SYS_clone, libc::SYS_setsockopt]
        {
            assert_eq!(worker(call, [0; 3]), KILL, "{call}");
            assert_eq!(of(Kind::Worker, &Needs::default(), false, call, [0; 3]), EPERM, "{call}");
        }
    }

    #[test]
    fn no_memory_becomes_code_and_no_other_process_is_signalled() {
        let data = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let code = data | libc::PROT_EXEC as u64;
        for kind in Kind::ALL {
            let of = |call, arguments| of(kind, &Needs::default(), true, call, arguments);
            for call in [libc::SYS_mmap, libc::SYS_mprotect] {
                assert_eq!((of(call, [0, 4096, data]), of(call, [0, 4096, code])), (ALLOW, KILL), "{kind:?}");
            }
            let own = u64::from(std::process::id());
            assert_eq!((of(libc::SYS_tgkill, [own, 1, 6]), of(libc::SYS_tgkill, [1, 1, 9])), (ALLOW, KILL));
            assert_eq!(of(libc::SYS_kill, [1, 9, 0]), KILL);
            assert_eq!(of(libc::SYS_setuid, [0; 3]), KILL);
            assert_eq!(of(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1, 0]), KILL);
        }
    }

    #[test]
    fn who_connects_does_so_to_hosts_and_services_only() {
        let socket = |kind, needs: &Needs, family: i32| {
            of(kind, needs, true, libc::SYS_socket, [family as u64, 0, 0]) == ALLOW
        };
        let (idle, asking) =
            (Needs::default(), Needs { asks_icap: true, logs_to_socket: true, ..Needs::default() });
        assert!(socket(Kind::Fetch, &idle, libc::AF_INET6) && !socket(Kind::Fetch, &idle, libc::AF_PACKET));
        assert!(
            !socket(Kind::Content, &idle, libc::AF_INET) && socket(Kind::Content, &asking, libc::AF_INET)
        );
        assert!(socket(Kind::Fleet, &idle, libc::AF_INET) && !socket(Kind::Fleet, &idle, libc::AF_PACKET));
        assert!(!socket(Kind::Worker, &asking, libc::AF_INET), "threads look at bodies");
        assert!(socket(Kind::Worker, &Needs { workers_scan: true, ..asking.clone() }, libc::AF_INET));
        let log = |needs: &Needs| of(Kind::Log, needs, true, libc::SYS_connect, [0; 3]) == ALLOW;
        assert!(!log(&idle) && log(&asking));
        assert!(
            socket(Kind::Reload, &asking, libc::AF_UNIX) && !socket(Kind::Reload, &asking, libc::AF_INET)
        );
        let token = Needs { tokens: true, ..Needs::default() };
        assert!(socket(Kind::Sign, &token, libc::AF_UNIX) && socket(Kind::Keys, &token, libc::AF_INET));
        assert!(!socket(Kind::Sign, &token, libc::AF_PACKET));
        for kind in [Kind::Handshake, Kind::Verdicts, Kind::Capture, Kind::Exclusions, Kind::Sign, Kind::Keys]
        {
            assert!(
                !socket(kind, &asking, libc::AF_INET) && !socket(kind, &asking, libc::AF_UNIX),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_signer_runs_no_program_but_the_one_that_says_a_passphrase() {
        let run = |kind, needs: &Needs| of_kind(kind, needs, false).len();
        let token = Needs { tokens: true, ..Needs::default() };
        for kind in [Kind::Sign, Kind::Keys] {
            assert_eq!(of(kind, &token, false, libc::SYS_execve, [0; 3]), KILL, "{kind:?}");
        }
        let program = Needs { asks_program: true, ..Needs::default() };
        assert_eq!((run(Kind::Sign, &program), run(Kind::Keys, &program)), (2, 0));
        assert_eq!(of(Kind::Sign, &program, false, libc::SYS_execve, [0; 3]), KILL);
    }

    #[test]
    fn calls_of_another_architecture_kill() {
        let filters = of_kind(Kind::Worker, &Needs::default(), false);
        // x32: the same architecture, with a bit in the number.
        assert_eq!(verdict(&filters[1], 0x4000_0000 | libc::SYS_openat, [0; 3]), EPERM);
    }
}
