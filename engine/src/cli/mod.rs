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
Start here:
  wireglass init                    write a first configuration and make its CA
  wireglass ca init --dir ca        or make only the CA; install ca/trusted.pem on the clients
  wireglass check -c wire.toml      find every fault in a configuration
  wireglass doctor -c wire.toml     find what keeps this machine from running it, or slows it down
  wireglass run -c wire.toml        run the engine

Try a policy without touching traffic:
  wireglass replay -c wire.toml F   what it decides about the flows of a capture file
  wireglass policy explain ...      what it decides about one request, and why
  wireglass verify -c wire.toml ... what it makes of one server's certificate
  wireglass grade -c wire.toml      what its profiles make of sixty bad servers

Look at a running engine:
  wireglass top                     packets, flows, load, drops
  wireglass flows                   each flow, and what limits it
  wireglass exclusions list         servers that it does not decrypt, and why
  wireglass why CODE                what a reason code of the log means, and what to do

Change a running engine:
  wireglass reload                  load the configuration again; flows keep running
  wireglass flows kill ID           end a flow
  wireglass bypass --all --for 15m  panic button: decrypt and block nothing for 15 minutes
  wireglass drain                   decrypt no new flow, and wait until no decrypted flow is left
  wireglass log-level debug         log more, or less

Run several engines:
  wireglass policy push FILE ...    roll a policy out to all engines of a fleet
  wireglass fleet status ...        the engines of a fleet and their state

Exit status: 0 done; 1 failed; 2 wrong usage or configuration.";

/// Transparent TLS inspection: a piece of wire between two network ports that decrypts the flows your policy names.
///
/// All other traffic passes untouched. Decrypted traffic is checked against your rules, logged as EVE JSON and encrypted again.
/// Clients see certificates signed by your own CA, so they must trust that CA.
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
    /// Run the engine: pass and inspect traffic between the ports of all wires, until SIGINT or SIGTERM.
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

Traffic passes once the engine says `wireglass: running`. Needs a build with `--features dpdk`, and usually root.

Messages go to stderr. `log.level` sets how many; the environment variable RUST_LOG (`debug`,
`wireglass_core::tls=trace`) overrides it. Events go to `log.eve`. On SIGHUP the engine reopens that file (for
logrotate) and loads the configuration again, like `wireglass reload`.

With --take-over, for an upgrade, the new engine replaces the one that runs at the same `control.socket`:
  1. It checks configuration, CAs and lists, and tries to open the log, the other files and the sockets. If something
     is wrong, it ends, and the old engine goes on.
  2. The old engine decrypts no new flow. Until step 3, Ctrl-C takes that back.
  3. When no decrypted flow is left, or after TIME, the old engine ends and the new one opens the ports. Bypassed
     connections go on. Decrypted ones that are left are reset, and it says how many.

Next: `wireglass health` says whether it is alive, `wireglass top` shows its traffic.

Exit status: 0 stopped by a signal; 1 failed; 2 wrong configuration; 4 a token has refused the PIN of a key.";

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Replace the running engine, once it has no decrypted flow left or after TIME: 90s, 15m, 1h
    #[arg(long, value_name = "TIME", value_parser = orders::time)]
    take_over: Option<Duration>,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// Configuration, in TOML; docs/configuration.md lists all keys.
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
        "wireglass: {} has no fault, but this build has no ports: build with `cargo build --release --features dpdk`",
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
