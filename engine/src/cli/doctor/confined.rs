//! What the threads of a running engine may, as the kernel tells.

use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::findings::Finding;
use crate::confine::threads::{self, ThreadRights};

/// Names of threads that the engine starts itself; all others are EAL's and its drivers'.
const OWN: [&str; 6] = ["wireglass", "wg-", "log", "links", "metrics", "icap-probe"];

/// Threads of an engine that runs.
pub(super) struct Running {
    engine: Vec<ThreadRights>,
    /// Those of its signer, or why there are none.
    signer: Signer,
}

/// What is seen of a signer.
enum Signer {
    Runs(Vec<ThreadRights>),
    /// It has died, and was not started again yet.
    Gone,
    /// Not to be seen from here.
    Unknown,
}

impl Running {
    /// The engine that listens at this socket; none: there is none, or it cannot be seen from here.
    pub(super) fn at(root: &Path, socket: &Path) -> Option<Self> {
        let stream = UnixStream::connect(socket).ok()?;
        let process = getsockopt(&stream, PeerCredentials).ok()?.pid();
        let engine = threads::of_process(root, process).ok().filter(|threads| !threads.is_empty())?;
        Some(Self { engine, signer: signer_of(root, process) })
    }

    /// What is in force.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        let signer = match &self.signer {
            Signer::Runs(threads) => Some(signing(threads)),
            Signer::Gone => Some(Finding::bad(
                "signer",
                "the running engine has no signer",
                "nothing new is decrypted",
                "the engine's log says why the signer does not start; it is tried again every few seconds",
            )),
            Signer::Unknown => None,
        };
        std::iter::once(finding(&self.engine)).chain(signer)
    }
}

/// The signer is the child of the one that starts it again, which is the engine's.
fn signer_of(root: &Path, engine: i32) -> Signer {
    let Ok(children) = threads::children(root, engine) else { return Signer::Unknown };
    let is_keeper = |process: &i32| threads::command_line(root, *process).iter().any(|word| word == "signer");
    let Some(keeper) = children.into_iter().find(is_keeper) else { return Signer::Gone };
    let Ok(children) = threads::children(root, keeper) else { return Signer::Unknown };
    let signer = children.first().and_then(|signer| threads::of_process(root, *signer).ok());
    signer.filter(|threads| !threads.is_empty()).map_or(Signer::Gone, Signer::Runs)
}

/// Whether the threads of the signer are confined.
fn signing(threads: &[ThreadRights]) -> Finding {
    let signs = |thread: &ThreadRights| thread.name.starts_with("wg-sign");
    let loose: Vec<_> = threads
        .iter()
        .filter(|thread| !thread.no_new_privs || (signs(thread) && thread.filters < 2))
        .map(|thread| thread.name.as_str())
        .collect();
    if !loose.is_empty() {
        return Finding::poor(
            "signer",
            format!("threads of the signer that are not confined: {}", loose.join(", ")),
            "whoever takes one over has the CAs' keys, and all that its user may",
            "confine.mode = \"best_effort\" or \"strict\", and a kernel with seccomp",
        );
    }
    let filtered = threads.iter().filter(|thread| thread.filters > 0).count();
    let which = match threads.len() {
        all if all == filtered => format!("all {all}"),
        all => format!("{filtered} of {all}"),
    };
    let users = users(threads);
    Finding::good(
        "signer",
        format!(
            "running: user {users}; system calls of {which} threads are filtered; capabilities: {}",
            rights(threads)
        ),
    )
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
    let (users, rights) = (users(threads), rights(threads));
    let (own, all) = (threads.iter().filter(|thread| is_own(thread)).count(), threads.len());
    Finding::good(
        "confinement",
        format!(
            "running engine: user {users}; system calls of all {all} threads are filtered, of {own} by what they do; capabilities: {rights}"
        ),
    )
}

fn users(threads: &[ThreadRights]) -> String {
    let mut users: Vec<_> = threads.iter().map(|thread| thread.uid.to_string()).collect();
    users.dedup();
    users.join(" ")
}

/// Which threads have which capabilities left.
fn rights(threads: &[ThreadRights]) -> String {
    let with_rights = |thread: &ThreadRights| {
        let names = names_of(thread.capabilities);
        (!names.is_empty()).then(|| format!("{} ({})", thread.name, names.join(" ")))
    };
    let rights: Vec<_> = threads.iter().filter_map(with_rights).collect();
    if rights.is_empty() { "none".to_owned() } else { rights.join(", ") }
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
    fn what_is_seen_of_a_signer() {
        let of = |signer| {
            let running = Running { engine: vec![thread("wireglass", 3, 0)], signer };
            let found: Vec<_> = running.findings().skip(1).map(|found| (found.level, found.found)).collect();
            found
        };
        let threads =
            vec![thread("wireglass", 3, 1 << 1), thread("wg-sign-0", 3, 0), thread("wg-sign-1", 3, 0)];
        let good = "running: user 9464; system calls of all 3 threads are filtered; capabilities: wireglass (CAP_DAC_OVERRIDE)";
        assert_eq!(of(Signer::Runs(threads)), [(Level::Good, good.to_owned())]);
        // The thread that runs a program for the passphrase.
        let threads = vec![thread("wireglass", 0, 0), thread("wg-sign-0", 2, 0)];
        let good = "running: user 9464; system calls of 1 of 2 threads are filtered; capabilities: none";
        assert_eq!(of(Signer::Runs(threads)), [(Level::Good, good.to_owned())]);
        let poor = "threads of the signer that are not confined: wg-sign-1".to_owned();
        let threads = vec![thread("wireglass", 3, 0), thread("wg-sign-0", 3, 0), thread("wg-sign-1", 0, 0)];
        assert_eq!(of(Signer::Runs(threads)), [(Level::Poor, poor)]);
        assert_eq!(of(Signer::Gone), [(Level::Bad, "the running engine has no signer".to_owned())]);
        assert_eq!(of(Signer::Unknown), []);
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
