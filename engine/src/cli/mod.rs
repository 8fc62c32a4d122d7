//! The command line.
// Who reads may be gone: `print` and `errln!` do not panic then.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod print;

mod bypass;
pub mod ca;
mod check;
mod doctor;
mod drain;
mod exclusions;
#[cfg(feature = "dpdk")]
mod failures;
mod fleet;
mod flows;
mod grade;
mod harden;
mod health;
mod init;
mod intermediates;
mod log_level;
mod messages;
mod never_match;
mod orders;
mod pinned;
mod plain;
mod policy;
#[cfg(feature = "dpdk")]
mod ports;
#[cfg(feature = "dpdk")]
mod rehearsal;
mod reload;
mod replay;
#[cfg(feature = "dpdk")]
mod run;
#[cfg(feature = "dpdk")]
mod run_fleet;
mod signer;
mod socket;
#[cfg(feature = "dpdk")]
mod supervisor;
#[cfg(feature = "dpdk")]
mod take_over;
mod top;
mod verify;
mod why;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use wireglass_core::x509::CaFiles;

use self::print::{print, printed};
use crate::config::{Config, Faults};

/// Exit status for a wrong command line or configuration; clap's own choice, too.
const USAGE: u8 = 2;

const BEGIN: &str = "\
Where to begin:
  wireglass init                    write a first configuration that works, and make its CA
  wireglass ca init --dir ca        make the two CAs; install ca/trusted.pem on the clients
  wireglass check -c wire.toml      find every fault of a configuration
  wireglass replay -c wire.toml F   see what a policy would do with a capture file
  wireglass policy explain ...      see what a policy would do with one request, and why
  wireglass verify -c wire.toml ... see what it makes of a server's certificate, and what to do
  wireglass grade -c wire.toml      see what its profiles make of bad servers, as a report card
  wireglass why CODE                see what a reason code of the log means, and what to do
  wireglass doctor -c wire.toml     see what stands between this machine and full speed
  wireglass run -c wire.toml        go between two ports
  wireglass top                     watch the running engine: packets, flows, drops
  wireglass flows                   ask the running engine what its flows do
  wireglass exclusions list         see which servers it does not decrypt, and why
  wireglass reload                  have it load its configuration anew, under running flows
  wireglass flows kill ID           end a flow
  wireglass bypass --all --for 15m  the panic button: everything passes, nothing is decrypted or blocked
  wireglass drain                   decrypt nothing new, and wait until no decrypted flow is left
  wireglass policy push FILE ...    put a policy in force at all engines of a fleet
  wireglass fleet status ...        see the engines of a fleet, and how they are
  wireglass log-level debug         hear more of it, or less

Exit status: 0 done; 1 failed; 2 wrong usage or configuration.";

/// Transparent TLS inspection: a piece of wire between two ports that decrypts the flows which policy says to decrypt.
///
/// Everything else passes through untouched. What was decrypted is checked, logged as EVE JSON and encrypted again; clients
/// see certificates that are signed by your own CA, which they must trust.
#[derive(Debug, Parser)]
#[command(name = "wireglass", version = crate::version::VERSION, after_help = BEGIN, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What the command line is made of, for manual pages and completions.
pub fn command() -> clap::Command {
    CommandLine::command()
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    /// Go between the ports of all wires, until SIGINT or SIGTERM.
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    Check(check::CheckArgs),
    Top(top::TopArgs),
    Flows(flows::FlowsArgs),
    Reload(reload::ReloadArgs),
    Bypass(bypass::BypassArgs),
    Drain(drain::DrainArgs),
    LogLevel(log_level::LogLevelArgs),
    Exclusions(exclusions::ExclusionsArgs),
    Policy(policy::PolicyArgs),
    Fleet(fleet::FleetArgs),
    Verify(verify::VerifyArgs),
    Grade(grade::GradeArgs),
    Intermediates(intermediates::IntermediatesArgs),
    Why(why::WhyArgs),
    Health(health::HealthArgs),
    Doctor(doctor::DoctorArgs),
    Replay(replay::ReplayArgs),
    Ca(ca::CaArgs),
    Signer(signer::SignerArgs),
}

const RUN_HELP: &str = "\
Examples:
  wireglass run -c wire.toml
  wireglass-new run -c wire.toml --take-over 10m

It is between the ports when it says `wireglass: running`. Messages go to stderr, as many as `log.level` says; the
environment variable RUST_LOG (`debug`, `wireglass_core::tls=trace`) overrides it. Events go to the file `log.eve`.
SIGHUP reopens that file, for logrotate, and loads the configuration anew, as `wireglass reload` does.

With --take-over, an engine at the same control.socket decrypts nothing new from then on, is stopped, and this one opens the ports. Configuration,
CAs and lists are checked before; ports, log and sockets are opened when the old engine is gone. Bypassed connections go on; decrypted ones that do not end in TIME are reset, and it says how many.

Needs ports through DPDK: a build with `--features dpdk`, and usually root.

Exit status: 0 stopped by a signal; 1 failed; 2 wrong configuration; 4 a token has refused the PIN of a key.";

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Take the place of the engine that runs, when it decrypts nothing more or TIME is over: 90s, 15m, 1h
    #[arg(long, value_name = "TIME", value_parser = orders::time)]
    take_over: Option<Duration>,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// Configuration in TOML; docs/configuration.md has all keys.
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
}

/// Runs the command line of this process. Returns its exit status; a wrong command line ends the process with 2.
pub fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    if let Err(error) = harden::keep_memory_private() {
        errln!("wireglass: cannot keep memory out of core dumps: {error}");
        return ExitCode::FAILURE;
    }
    match command {
        Command::Run(RunArgs { file, take_over }) => {
            with(Config::load_without_ca_keys(&file.config), |config| {
                let set_level = messages::start(config.log.level);
                run(config, take_over, set_level)
            })
        }
        Command::Check(args) => check::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Flows(args) => flows::run(args),
        Command::Reload(args) => reload::run(&args),
        Command::Bypass(args) => bypass::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::LogLevel(args) => log_level::run(&args),
        Command::Exclusions(args) => exclusions::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Grade(args) => grade::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Intermediates(args) => intermediates::run(&args),
        Command::Ca(args) => args.run(cas_of),
        Command::Signer(args) => signer::run(&args),
    }
}

#[cfg(feature = "dpdk")]
use run::run;

#[cfg(not(feature = "dpdk"))]
fn run(
    config: Config,
    _take_over: Option<Duration>,
    _set_level: impl Fn(tracing::level_filters::LevelFilter),
) -> ExitCode {
    errln!(
        "wireglass: {} is in order, but this build has no ports: build with `cargo build --release --features dpdk`",
        config.file.display()
    );
    ExitCode::FAILURE
}

fn with_config(file: &Path, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    with(Config::load(file), then)
}

fn with(config: Result<Config, Faults>, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match config {
        Ok(config) => then(config),
        Err(faults) => {
            errln!("{}", describe(&faults));
            ExitCode::from(USAGE)
        }
    }
}

fn describe(faults: &Faults) -> String {
    let count = faults.list.len();
    let plural = if count == 1 { "fault" } else { "faults" };
    format!("{faults}\nwireglass: {count} {plural} in the configuration")
}

/// Both CAs of a configuration, the trusted one first.
fn cas_of(file: &Path, keys: ca::Keys) -> Result<[CaFiles; 2], String> {
    let config = match keys {
        ca::Keys::Read => Config::load(file),
        ca::Keys::Left => Config::load_without_ca_keys(file),
    };
    let ca = config.map_err(|faults| describe(&faults))?.ca;
    Ok([ca.trusted, ca.untrusted])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
