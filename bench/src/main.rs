//! What one core can do at best: the ceilings that every speed figure of wireglass is a share of.
#![forbid(unsafe_code)]

mod aead;
mod handshake;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::report::Report;

/// Measure the ceilings of this machine, for one core.
///
/// C is the bulk ceiling: each byte that is inspected is opened once and sealed once, so C = 1 / (1/open + 1/seal).
/// H is the handshake ceiling: each inspected connection costs one handshake as server and one as client.
#[derive(Parser)]
#[command(name = "wireglass-bench", version)]
struct Args {
    /// Seconds for each probe.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !(args.seconds > 0.0 && args.seconds <= 600.0) {
        eprintln!("wireglass-bench: --seconds: expected a number above 0 and up to 600");
        return ExitCode::from(2);
    }
    let each = Duration::from_secs_f64(args.seconds);
    let report = Report { bulk: aead::probe(each), handshakes: handshake::probe(each) };
    if args.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    ExitCode::SUCCESS
}
