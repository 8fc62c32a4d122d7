//! `wireglass top`: what a running engine does, second by second.

mod rates;
mod screen;
mod state;
mod table;
mod terminal;
mod units;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;

use self::rates::Rates;
use self::state::State;
use self::terminal::End;
use super::USAGE;
use super::socket::EngineSocket;
use crate::control::Counters;
use crate::control::client::{self, AskError};
use crate::control::protocol::Refusal;

const HELP: &str = "\
Examples:
  wireglass top -c wire.toml                 live, on the terminal; h shows help, q quits
  wireglass top --once --interval 5          five seconds as text, for a ticket or a script
  wireglass top --json | jq '.total.drops'   drops by reason: per second, and since the start

  flows 1.67k of 131k, new 150/s  dropped 101/s  resent 15/s  heap 0/s
  ...
              in    in   out   out flows flows flows flows flows hands flow
    # busy pkt/s bit/s pkt/s bit/s  open  peek  decr bypas block queue  mem drop/s
  all  61% ...
    0  88%  123k  988M ...                 worker 0 uses 88% of its core

How to read it:
  busy near 100%, port.rx_missed grows   the worker cannot keep up: add cores
  queue stays up                         handshakes wait: raise workers.handshake_threads
  flow mem at 88%                        see limits.worker_bytes
docs/top.md explains all columns and the names of --json.

Exit status: 0 done; 1 no engine runs, or it went away; 2 wrong usage or configuration.";

/// Watch a running engine: packets, bits, load, flows, handshakes, memory and drops.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct TopArgs {
    #[command(flatten)]
    engine: EngineSocket,
    /// Interval that rates are measured over, in seconds, 0.1 to 3600
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Print one interval as text and exit; the default if the output is not a terminal, or one whose size is unknown
    #[arg(long)]
    once: bool,
    /// Print one interval as one JSON object and exit
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("expected seconds, 0.1 to 3600".into())
}

/// Runs the command.
pub(super) fn run(args: &TopArgs) -> ExitCode {
    let socket = match args.engine.path() {
        Ok(socket) => socket,
        Err(message) => {
            errln!("{message}");
            return ExitCode::from(USAGE);
        }
    };
    let first = match client::counters(&socket) {
        Ok(first) => first,
        Err(error) => return no_answer(&socket, &error),
    };
    let done = if args.once || args.json || !io::stdout().is_terminal() || !terminal::has_size() {
        once(&socket, &first, args)
    } else {
        terminal::show(&socket, first, args.interval)
    };
    match done {
        Ok(End::Quit(status)) => status,
        Ok(End::Gone(error)) => gone(&socket, &error),
        // Whoever reads has seen enough: `| head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            errln!("wireglass: cannot use the terminal: {error}; `wireglass top --once` needs none");
            ExitCode::FAILURE
        }
    }
}

/// One interval, printed.
fn once(socket: &Path, first: &Counters, args: &TopArgs) -> io::Result<End> {
    thread::sleep(args.interval);
    let second = match client::counters(socket) {
        Ok(second) => second,
        Err(error) => return Ok(End::Gone(error)),
    };
    let Some(rates) = Rates::between(first, &second) else {
        return Ok(End::Gone(AskError::Io(io::Error::other("it was started anew meanwhile"))));
    };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&rates)?)?;
    } else {
        out.write_all(screen::text(&State::default(), &rates, screen::WIDE).as_bytes())?;
    }
    out.flush()?;
    Ok(End::Quit(ExitCode::SUCCESS))
}

fn no_answer(socket: &Path, error: &AskError) -> ExitCode {
    errln!("wireglass: {}: {error}", socket.display());
    if matches!(error, AskError::Refused(Refusal::Request, _)) {
        errln!("wireglass: that engine is older than this command: restart it with this `wireglass`");
    }
    ExitCode::FAILURE
}

fn gone(socket: &Path, error: &AskError) -> ExitCode {
    errln!("wireglass: {}: the engine is gone: {error}", socket.display());
    errln!("wireglass: its own messages say why; `wireglass run -c FILE` starts it, then try again");
    ExitCode::FAILURE
}
