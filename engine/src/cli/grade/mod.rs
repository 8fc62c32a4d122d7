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

Each case is a bad server, and a client that connects to it through this engine: workers, TCP, TLS, verification and
copies, between ports in memory. The test servers have CAs of their own, trusted only while the command runs. It needs no
root, port, network or CA key, and neither reads nor changes what a running engine has learned. Rules are not asked:
every connection is decrypted with the profile.

Outcomes:
  decrypted  the client gets a copy of the server's certificate, signed by the trusted CA
  marked     the copy is signed by the untrusted CA: browsers warn, and the user decides
  bypassed   flows pass unread, from the connection on at which the engine knows that it cannot read this server
  blocked    the server got no byte of the client's request, or the client no byte of the answer

Standings, compared with a careful profile such as the default one:
  good       as it should be
  careful    stricter than most need: refuses something that is mostly in order
  warns      the user is warned, and may go on
  weak       passes without a warning; the key that allows it is named

Grades:
  A  good or careful throughout
  B  users are only warned where they should be stopped
  C  a lapse gets through
  D  something passes unread
  F  somebody who is not the server gets through

Exit status: 0 grade A; 1 grade B or worse; 2 wrong usage or configuration; 3 a case could not be played.";

/// Test a profile against sixty bad servers: a report card of what it accepts, marks and blocks.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct GradeArgs {
    /// Configuration, in TOML; docs/configuration.md lists all keys.
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
    /// Name of the profile [default: `policy.profile`].
    #[arg(long)]
    profile: Option<String>,
    /// Print one JSON object instead of text.
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
