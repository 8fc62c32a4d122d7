//! The `wireglass` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    wireglass::cli::main()
}
