//! Which cores the threads beside the workers run on.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Where they run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OtherCores {
    /// On these, which no worker has.
    Apart(Vec<usize>),
    /// On the workers': this process may use no other.
    Shared,
}

/// Keeps the calling thread, and all that it starts from now on, off the cores of the workers. Those pin themselves.
///
/// # Errors
/// The kernel does not say on which cores this process may run, or refuses the choice.
fn leave_to_workers(workers: &[usize]) -> io::Result<OtherCores> {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread)?;
    let others: Vec<_> = (0..CpuSet::count())
        .filter(|core| !workers.contains(core) && allowed.is_set(*core).unwrap_or(false))
        .collect();
    if others.is_empty() {
        return Ok(OtherCores::Shared);
    }
    let mut set = CpuSet::new();
    others.iter().try_for_each(|core| set.set(*core))?;
    sched_setaffinity(this_thread, &set)?;
    Ok(OtherCores::Apart(others))
}

/// Does that, and says what came of it. To be called before the first of them starts, the signer among them: each begins where the thread is that
/// starts it.
pub fn place_other_threads(workers: &[usize]) {
    match leave_to_workers(workers) {
        Ok(OtherCores::Apart(cores)) => {
            tracing::info!(?cores, "all threads but the workers have cores of their own")
        }
        Ok(OtherCores::Shared) => tracing::warn!(
            "every core that this process may use has a worker: its packets wait while the log, handshakes and all others run there"
        ),
        Err(error) => tracing::warn!(%error, "cannot keep other threads off the workers' cores"),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).collect()
    }

    /// In a thread of its own: a thread's cores are those of the one that has started it.
    fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn threads_that_come_later_are_not_on_a_workers_core() {
        let all = allowed();
        let Some((worker, others)) = all.split_first().filter(|(_, others)| !others.is_empty()) else {
            return;
        };
        let (found, later) = apart(|| (leave_to_workers(&[*worker]).unwrap(), apart(allowed)));
        assert_eq!(found, OtherCores::Apart(others.to_vec()));
        assert_eq!(later, others);
        assert_eq!(allowed(), all, "the thread that has started it is not touched");
    }

    #[test]
    fn without_another_core_all_stay_where_they_are() {
        let all = allowed();
        let (found, later) = apart(|| (leave_to_workers(&all).unwrap(), allowed()));
        assert_eq!((found, later), (OtherCores::Shared, all));
    }
}
