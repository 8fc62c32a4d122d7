//! How fast wireglass is, as a share of what one core can do at best.
#![deny(unsafe_code)]

mod allocations;
mod callgrind;
mod ceilings;
mod command;
mod endpoints;
mod load;
mod machine;
mod measure;
mod outcome;
mod report;
mod rig;
mod rules;
mod scenario;
mod tickets;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    command::Command::parse().run()
}
