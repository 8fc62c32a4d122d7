//! The process, and the settings in force.

use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::unistd::{SysconfVar, sysconf};
use wireglass_core::counters::Kind;

use super::page::{Metrics, Page};

/// What the kernel says of this process. What it does not say is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProcessFigures {
    /// Seconds of all threads, in user space and in the kernel.
    pub(super) cpu_seconds: Option<f64>,
    /// Bytes in memory; hugepages are not in it.
    pub(super) resident_bytes: Option<u64>,
    /// Bytes of address space.
    pub(super) virtual_bytes: Option<u64>,
    /// Descriptors that are open.
    pub(super) open_fds: Option<u64>,
    /// Descriptors that may be.
    pub(super) max_fds: Option<u64>,
    /// Threads.
    pub(super) threads: Option<u64>,
}

impl ProcessFigures {
    pub(super) fn read() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let page_bytes =
            sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
        let bytes = |field| pages.split(' ').nth(field)?.trim().parse::<u64>().ok()?.checked_mul(page_bytes?);
        // The folder that is being read is one of them, until it is closed.
        let entries = |path| fs::read_dir(path).ok().map(|entries| entries.count() as u64);
        Self {
            cpu_seconds: usage.map(|usage| seconds(usage.user_time()) + seconds(usage.system_time())),
            resident_bytes: bytes(1),
            virtual_bytes: bytes(0),
            open_fds: entries("/proc/self/fd").map(|all| all.saturating_sub(1)),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            threads: entries("/proc/self/task"),
        }
    }
}

impl Metrics {
    /// As Prometheus' own client libraries name it.
    pub(super) fn process(&self, page: &mut Page<'_>) {
        let name = "wireglass_build_info";
        page.family(name, "Always 1; the version is in the label.", Kind::Gauge);
        page.sample(name, &[("version", &crate::version::VERSION)], 1);
        let figures = ProcessFigures::read();
        let name = "process_cpu_seconds_total";
        page.family(name, "CPU time of all threads, in user space and in the kernel.", Kind::Counter);
        if let Some(seconds) = figures.cpu_seconds {
            page.sample(name, &[], format_args!("{seconds:.3}"));
        }
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Bytes of the process in memory, without hugepages.",
                figures.resident_bytes,
            ),
            ("process_virtual_memory_bytes", "Bytes of the process's address space.", figures.virtual_bytes),
            ("process_open_fds", "Open file descriptors.", figures.open_fds),
            ("process_max_fds", "Most file descriptors that may be open.", figures.max_fds),
            ("process_threads", "Threads of the process.", figures.threads),
        ] {
            page.family(name, help, Kind::Gauge);
            if let Some(value) = value {
                page.sample(name, &[], value);
            }
        }
        let name = "process_start_time_seconds";
        page.family(name, "When the engine started, in seconds since the Unix epoch.", Kind::Gauge);
        page.sample(name, &[], format_args!("{:.3}", self.started_unix));
        let name = "wireglass_uptime_seconds";
        page.family(name, "How long the engine has been running.", Kind::Gauge);
        page.sample(name, &[], format_args!("{:.3}", self.uptime().as_secs_f64()));
    }

    pub(super) fn settings(&self, page: &mut Page<'_>) {
        let generation = self.generation();
        let name = "wireglass_generation";
        page.family(
            name,
            "Number of the settings in force: 1 at the start, one more with each reload.",
            Kind::Gauge,
        );
        page.sample(name, &[], generation.number());
        let name = "wireglass_generation_age_seconds";
        page.family(name, "How long the settings in force have been in force.", Kind::Gauge);
        page.sample(name, &[], format_args!("{:.3}", generation.age().as_secs_f64()));
        let name = "wireglass_generations_older";
        page.family(name, "Older settings that flows still use.", Kind::Gauge);
        page.sample(name, &[], generation.older());
        let name = "wireglass_reloads_failed_total";
        page.family(name, "Reloads that failed and changed nothing.", Kind::Counter);
        page.sample(name, &[], generation.failed());
    }

    pub(super) fn worker_time(&self, page: &mut Page<'_>) {
        let name = "wireglass_worker_busy_seconds_total";
        page.family(
            name,
            "Time of the turns of the worker's loop that found something to do.",
            Kind::Counter,
        );
        for (worker, counters) in self.workers().iter().enumerate() {
            let seconds = counters.busy_micros.value() as f64 / 1e6;
            page.sample(name, &[("worker", &worker)], format_args!("{seconds:.6}"));
        }
    }
}
