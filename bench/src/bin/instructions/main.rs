//! How many instructions the hot paths take: the same in every run, whatever else the machine does.
//!
//! Each case has a process of its own under valgrind's callgrind, which counts what happens inside of [`counted`] and nothing
//! else. The counts are compared with those of a file that is kept with the sources.
#![forbid(unsafe_code)]

mod baseline;
#[path = "../../callgrind.rs"]
mod callgrind;
mod cases;
mod count;
#[path = "../../rules.rs"]
mod rules;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::baseline::{Baseline, Change};
use self::cases::Case;

const HELP: &str = "\
Examples:
  wireglass-instructions --list          all cases
  wireglass-instructions                 compare with the kept counts
  wireglass-instructions record --save   keep new counts of some cases

Counts are per operation; --list says what an operation is. They are the same in every run, whatever else the machine
does, but depend on the sources, on rustc and on valgrind. Valgrind shows programs a processor with AES-NI and AVX2 but
without VAES and AVX-512, so cryptography takes other code paths than on a new server. Compare changes, not shares.

Exit status: 0 no count rose too much; 1 one did, or a case failed; 2 wrong usage.";

/// Counts the instructions of the hot paths, under valgrind, and compares them with kept counts.
#[derive(Parser)]
#[command(name = "wireglass-instructions", version, after_help = HELP)]
struct Arguments {
    /// Cases: parts of names [default: all]
    names: Vec<String>,
    /// File with the kept counts
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json"))]
    baseline: PathBuf,
    /// Rise that counts as too much, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    rise: f64,
    /// Keep the new counts in that file
    #[arg(long)]
    save: bool,
    /// List the cases and exit
    #[arg(long)]
    list: bool,
    /// Run one case in this process, and print its number of operations
    #[arg(long, hide = true, value_name = "CASE")]
    one: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(name) = &arguments.one {
        let Some(case) = cases::ALL.iter().find(|case| case.name == name) else { return ExitCode::from(2) };
        println!("{}", (case.run)());
        return ExitCode::SUCCESS;
    }
    let is_wanted = |case: &&Case| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| case.name.contains(name))
    };
    let wanted: Vec<&Case> = cases::ALL.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        eprintln!("wireglass-instructions: no case has such a name; --list names all");
        return ExitCode::from(2);
    }
    if arguments.list {
        wanted.iter().for_each(|case| println!("{:<20}{}", case.name, case.what));
        return ExitCode::SUCCESS;
    }
    match compare(&arguments, &wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wireglass-instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts, prints, and saves if that was asked for. True: nothing takes more than before.
fn compare(arguments: &Arguments, wanted: &[&Case]) -> Result<bool, String> {
    let before = Baseline::read(&arguments.baseline)?;
    let mut now = Baseline { tools: baseline::tools()?, counts: BTreeMap::new() };
    if !before.tools.is_empty() && before.tools != now.tools {
        println!("note: the kept counts come from {}; these from {}", before.tools, now.tools);
    }
    println!("{:<20}{:>14}{:>14}{:>10}", "case", "instructions", "before", "change");
    let mut risen = Vec::new();
    for case in wanted {
        let count = count::count(case.name)?;
        now.counts.insert(case.name.into(), count);
        let change = before.change(case.name, count, arguments.rise);
        let old = before.counts.get(case.name).map_or("-".into(), |count| format!("{count:.1}"));
        println!("{:<20}{count:>14.1}{old:>14}{:>10}{}", case.name, change.percent(), change.remark());
        if matches!(change, Change::Risen(_)) {
            risen.push(case.name);
        }
    }
    if arguments.save {
        before.with(now).write(&arguments.baseline)?;
        println!("saved to {}", arguments.baseline.display());
        return Ok(true);
    }
    if !risen.is_empty() {
        println!(
            "more than {} % above the kept counts: {}; if that is intended, keep the new ones with --save",
            arguments.rise,
            risen.join(", ")
        );
    }
    Ok(risen.is_empty())
}

/// Everything that is counted happens in here: callgrind knows it by its name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}
