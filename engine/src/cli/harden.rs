//! Keeps the process's memory to itself.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Called before any key is read: the memory of this process holds CA keys, session keys and plaintext.
///
/// A crash must not write them to a disk (no core dump), and other processes of the same user must not read them (not dumpable:
/// no ptrace, and `/proc/self` belongs to root). The price: whoever debugs the engine needs root, and DPDK that runs without
/// root cannot see physical addresses and uses virtual ones.
pub(super) fn keep_memory_private() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::getrlimit;

    use super::*;

    #[test]
    fn no_core_dumps_and_not_dumpable() {
        keep_memory_private().expect("no privilege is needed to give one up");
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(prctl::get_dumpable(), Ok(false));
    }
}
