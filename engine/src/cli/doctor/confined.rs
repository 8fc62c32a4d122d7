//! What the threads of a running engine may, as the kernel tells.

use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::findings::Finding;
use crate::confine::threads::{self, ThreadRights};

/// Names of threads that the engine starts itself; all others are EAL's and its drivers'.
const OWN: [&str; 6] = ["wireglass", "wg-", "log", "links", "metrics", "icap-probe"];

/// The threads of the engine that listens at this socket; none: there is none, or it cannot be seen from here.
pub(super) fn of_engine(root: &Path, socket: &Path) -> Option<Vec<ThreadRights>> {
    let stream = UnixStream::connect(socket).ok()?;
    let process = getsockopt(&stream, PeerCredentials).ok()?.pid();
    threads::of_process(root, process).ok().filter(|threads| !threads.is_empty())
}

/// Whether each of them is confined.
pub(super) fn finding(threads: &[ThreadRights]) -> Finding {
    let is_own = |thread: &ThreadRights| OWN.iter().any(|name| thread.name.starts_with(name));
    let loose: Vec<_> = threads
        .iter()
        // The first filter is everybody's.
        .filter(|thread| !thread.no_new_privs || thread.filters < if is_own(thread) { 2 } else { 1 })
        .map(|thread| thread.name.as_str())
        .collect();
    if !loose.is_empty() {
        return Finding::poor(
            "confinement",
            format!("threads of the running engine that are not confined: {}", loose.join(", ")),
            "whoever takes one over has all that the engine was started with",
            "confine.mode = \"best_effort\" or \"strict\", and a kernel with seccomp",
        );
    }
    let mut users: Vec<_> = threads.iter().map(|thread| thread.uid.to_string()).collect();
    users.dedup();
    let with_rights = |thread: &ThreadRights| {
        let names = names_of(thread.capabilities);
        (!names.is_empty()).then(|| format!("{} ({})", thread.name, names.join(" ")))
    };
    let rights: Vec<_> = threads.iter().filter_map(with_rights).collect();
    let rights = if rights.is_empty() { "none".to_owned() } else { rights.join(", ") };
    let (own, all) = (threads.iter().filter(|thread| is_own(thread)).count(), threads.len());
    Finding::good(
        "confinement",
        format!(
            "running engine: user {}; system calls of all {all} threads are filtered, of {own} by what they do; capabilities: {rights}",
            users.join(" ")
        ),
    )
}

fn names_of(capabilities: u64) -> Vec<String> {
    let mut all: Vec<_> = caps::all().into_iter().filter(|each| each.bitmask() & capabilities != 0).collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::super::findings::Level;
    use super::*;

    fn thread(name: &str, filters: u32, capabilities: u64) -> ThreadRights {
        ThreadRights { name: name.into(), uid: 9464, capabilities, no_new_privs: true, filters }
    }

    #[test]
    fn confined_threads_are_told_with_what_they_have_left() {
        let threads = [
            thread("wireglass", 3, 1 << 12 | 1 << 13),
            thread("dpdk-main", 1, 0),
            thread("wg-worker-1", 3, 0),
        ];
        let found = finding(&threads);
        assert_eq!(found.level, Level::Good);
        assert_eq!(
            found.found,
            "running engine: user 9464; system calls of all 3 threads are filtered, of 2 by what they do; \
             capabilities: wireglass (CAP_NET_ADMIN CAP_NET_RAW)"
        );
    }

    #[test]
    fn a_loose_thread_is_named() {
        let loose = |thread: ThreadRights| {
            let found = finding(&[self::thread("wireglass", 3, 0), thread]);
            (found.level == Level::Poor).then_some(found.found)
        };
        let words = |name| Some(format!("threads of the running engine that are not confined: {name}"));
        assert_eq!(loose(thread("wg-shake-0", 1, 0)), words("wg-shake-0"));
        assert_eq!(loose(thread("eal-intr-thread", 0, 0)), words("eal-intr-thread"));
        assert_eq!(loose(thread("eal-intr-thread", 1, 0)), None);
        assert_eq!(loose(ThreadRights { no_new_privs: false, ..thread("log", 3, 0) }), words("log"));
    }
}
