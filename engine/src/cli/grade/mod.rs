//! `wireglass grade`: what a profile makes of servers that are not as they should be, as a report card.

mod card;
mod cases;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use card::Card;
use clap::Args;
use stage::Stage;

use super::{describe, print};
use crate::config::Verification;

/// Exit status where nothing can be said: 1 is a verdict, 2 a wrong command line or configuration.
const FAILED: u8 = 3;

const HELP: &str = "\
Examples:
  wireglass grade -c wire.toml
  wireglass grade -c wire.toml --profile lenient
  wireglass grade -c wire.toml --json | jq '.cases[] | select(.standing == \"weak\")'

Each case is a server, and a client that connects to it through this very engine: workers, TCP, TLS, verification and copies, between ports in
memory. The servers have CAs of their own, which are trusted for the time of the command. It needs no root, no port, no network and no
key of your CAs, and what a running engine has learned is neither read nor changed. Rules are not asked: every connection is decrypted
with the profile.

Outcomes:
  decrypted  the client gets a copy of the server's certificate, signed by the trusted CA
  marked     it gets one signed by the untrusted CA: browsers warn, and the user decides
  bypassed   the flow passes unread, from the connection on by which it is known that it cannot be read
  blocked    no byte of the client's request has reached the server, or none of the answer the client

Standings, beside a careful profile, as the default one is:
  good       as it should be
  careful    more than most need: something is refused that is mostly in order
  warns      the user is warned, and may go on
  weak       let through without a word; the key that does it is named

Grades: A good or careful throughout; B users are warned where they should be kept away; C a lapse gets through; D something passes
unread; F somebody who is not the server gets through.

Exit status: 0 grade A; 1 B or worse; 2 wrong usage or configuration; 3 a case could not be played.";

/// See what a profile accepts, marks and blocks, tried on a set of bad servers, as a report card.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct GradeArgs {
    /// Configuration in TOML; docs/configuration.md has all keys.
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
    /// Name of the profile; else that of `policy.profile`.
    #[arg(long)]
    profile: Option<String>,
    /// Print one object of JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &GradeArgs) -> ExitCode {
    let settings = match Verification::load(&args.config) {
        Ok(settings) => settings,
        Err(faults) => return wrong(&describe(&faults)),
    };
    let profile = match settings.profile(args.profile.as_deref()) {
        Ok(profile) => profile,
        Err(error) => return wrong(&format!("{}: {error}", args.config.display())),
    };
    let played = Stage::new(&settings, &profile).and_then(|stage| Card::new(&stage, &profile));
    match played {
        Ok(card) if args.json => match serde_json::to_string(&card) {
            Ok(json) => {
                let status = card.exit_code();
                print(format_args!("{json}\n"), status)
            }
            Err(error) => failed(&error),
        },
        Ok(card) => {
            let status = card.exit_code();
            print(card, status)
        }
        Err(error) => failed(&*error),
    }
}

fn wrong(message: &str) -> ExitCode {
    errln!("{message}");
    ExitCode::from(super::USAGE)
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    errln!("wireglass: grade: {error}");
    ExitCode::from(FAILED)
}
