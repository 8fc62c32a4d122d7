//! The machine that measures: what it is, and what its threads get of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What a figure depends on, besides the program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) version: String,
    /// Commit of the sources that the program was built from, as git describes it at the run.
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let git = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"];
        let commit = Command::new("git").args(git).output().ok().filter(|output| output.status.success());
        let commit =
            commit.map_or_else(|| "unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().into());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            kernel: kernel.trim().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            commit,
        }
    }
}

/// The processor's name, as the kernel says it.
pub(crate) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown", |(_, name)| name).to_owned()
}

/// Keeps the calling thread on a core. False: the system does not let it.
pub(crate) fn pin(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// One thread, of this process or another, as the kernel's scheduler sees it.
pub(crate) struct Thread(PathBuf);

impl Thread {
    /// The thread whose name (of 15 bytes at most) begins so, of this process or the one given. It may take a moment to
    /// be there.
    pub(crate) fn wait_for(process: Option<u32>, name: &str) -> Option<Self> {
        let process = process.map_or_else(|| "self".into(), |id| id.to_string());
        let tasks = Path::new("/proc").join(process).join("task");
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            let mut threads = fs::read_dir(&tasks).ok()?.filter_map(|task| Some(task.ok()?.path()));
            let is_it = |path: &PathBuf| {
                fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name))
            };
            if let Some(path) = threads.find(is_it) {
                return Some(Self(path.join("schedstat")));
            }
        }
        None
    }

    /// Seconds for which it was ready to run and another thread had its core.
    pub(crate) fn waited(&self) -> f64 {
        let stat = fs::read_to_string(&self.0).unwrap_or_default();
        let waited = stat.split_whitespace().nth(1).and_then(|nanos| nanos.parse::<f64>().ok());
        waited.unwrap_or(0.0) / 1e9
    }
}
