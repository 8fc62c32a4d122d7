//! `[workers]`: threads and cores.

use crate::config::reader::Table;
use crate::worker::{Idle, OnFailure};

/// More than any machine has.
const MAX_CORE: usize = 1023;

/// `[workers]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Cores; each gets one worker, pinned to it.
    pub cores: Vec<usize>,
    /// Threads for handshakes, beside the workers. 0: the workers run them.
    pub handshake_threads: usize,
    /// What a worker does when there is nothing to do.
    pub idle: Idle,
    /// What becomes of a worker's frames when it has failed.
    pub on_worker_failure: OnFailure,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            cores: vec![1],
            handshake_threads: 1,
            idle: Idle::Adaptive,
            on_worker_failure: OnFailure::Close,
        }
    }
}

impl Workers {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let default = Self::default();
        let workers = Self {
            cores: read_cores(&table, default.cores),
            handshake_threads: table.integer("handshake_threads", 0..=256, default.handshake_threads),
            idle: table.choice("idle", &[("adaptive", Idle::Adaptive), ("spin", Idle::Spin)], default.idle),
            on_worker_failure: table.choice(
                "on_worker_failure",
                &[("close", OnFailure::Close), ("open", OnFailure::Open)],
                default.on_worker_failure,
            ),
        };
        table.finish();
        workers
    }
}

fn read_cores(table: &Table<'_>, default: Vec<usize>) -> Vec<usize> {
    let Some(value) = table.value("cores", format!("{default:?}")) else { return default };
    let mut cores = Vec::new();
    for item in value.items() {
        let Some(core) = item.integer(0..=MAX_CORE) else { continue };
        if cores.contains(&core) {
            item.expected("each core once: two workers on one core would only slow each other down");
        }
        cores.push(core);
    }
    if value.is_list() && cores.is_empty() {
        value.expected("at least one core");
    }
    cores
}
