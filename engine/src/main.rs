//! The `wireglass` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Without a lock between threads: events are allocated by workers and freed by the log's thread.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    wireglass::cli::main()
}
