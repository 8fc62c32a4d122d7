//! What the signer gives up before it reads a key.

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::{User, setgid, setgroups, setuid};

/// Files that the signer may have open at once: its socket, and what it reads at the start and at a reload, one after the other.
const OPEN_FILES: u64 = 64;

/// Gives up what the signer does not need: no core dumps, no ptrace by others (`PR_SET_DUMPABLE`), no rights by programs
/// (`no_new_privs`), no memory in swap, no other processes' user; and becomes `user`, where it is told to. Returns what could not be had
/// and is no reason not to start.
///
/// # Errors
/// In words: what would leave the keys less guarded than was asked for.
pub fn confine(user: Option<&str>) -> Result<Option<String>, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: nix::Error| format!("{what}: {error}")
    };
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("no limit on core dumps"))?;
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES).map_err(failed("no limit on files"))?;
    prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;
    let other = match user {
        Some(name) => {
            let user = User::from_name(name).map_err(failed(name))?;
            let user = user.ok_or_else(|| format!("ca.signer_user: there is no user {name:?}"))?;
            (user.uid != nix::unistd::geteuid()).then_some(user)
        }
        None => None,
    };
    let doubt = lock_memory(other.is_some());
    if let Some(user) = other {
        setgroups(&[]).and_then(|()| setgid(user.gid)).map_err(failed("its groups cannot be left"))?;
        setuid(user.uid).map_err(failed(&format!("it cannot become {}", user.name)))?;
    }
    // A change of the user sets it to what /proc/sys/fs/suid_dumpable says.
    prctl::set_dumpable(false).map_err(failed("not to be dumpable"))?;
    Ok(doubt)
}

/// Nothing of it gets into swap. Who becomes another user is held to the limit on locked memory, and an allocation beyond it would end the
/// process: then it is left.
fn lock_memory(changes_user: bool) -> Option<String> {
    // Fails without CAP_SYS_RESOURCE; root needs no limit with CAP_IPC_LOCK.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let is_unlimited = matches!(getrlimit(Resource::RLIMIT_MEMLOCK), Ok((RLIM_INFINITY, _)));
    if changes_user && !is_unlimited {
        return Some("its memory may be swapped out: RLIMIT_MEMLOCK is not unlimited".into());
    }
    // What is touched, as an allocator's reserve may be a gigabyte.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let locked = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault);
    locked.err().map(|error| format!("its memory may be swapped out: {error}"))
}
