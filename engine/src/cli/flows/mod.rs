//! `wireglass flows`: asks a running engine what its flows look like.

mod conditions;
mod kill;
mod render;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

use self::conditions::Conditions;
use super::socket::EngineSocket;
use super::{USAGE, print};
use crate::control::client;
use crate::control::protocol::{DEFAULT_LIMIT, FlowsRequest, MAX_LIMIT, Sort};

const HELP: &str = "\
Examples:
  wireglass flows --phase decrypted --sort queue --limit 5
  wireglass flows --client 10.1.2.3 --sni '*.example.com' --watch 1
  wireglass flows kill 1407374883553281      end a flow; see `wireglass flows kill --help`
  wireglass flows --json | jq 'select(.client_leg.tcp.limited_by == \"receiver\") | .sni'

One line for each flow, and one for each of its legs, in the style of `ss -ti`:
  7 10.0.0.1:40000 > 192.0.2.9:443 lan decrypted ... sni:\"www.example.com\" ...
      client ESTAB send-q:262144 recv-q:0 ... cwnd:144800 ... limited:receiver (receiver 97%, congestion 2%)
      server ESTAB send-q:0 recv-q:262144 ... limited:application (application 100%)

Why is a flow slow? `limited` says what keeps the engine from sending more on that leg:
  receiver      the peer's window is full: that end reads slowly (above: the client)
  congestion    the path is the limit: look at retrans, cwnd, and rtt against minrtt
  application   nothing waits to be sent: the other leg is slow, or the end behind it
docs/flows.md explains all fields, with worked examples.

Exit status: 0 done, even if no flow matches; 1 no engine runs, or the answer was cut short; 2 wrong usage or
configuration.";

/// Show the flows of a running engine, and what limits each of them.
#[derive(Debug, Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(super) struct FlowsArgs {
    #[command(subcommand)]
    command: Option<FlowsCommand>,
    #[command(flatten)]
    engine: EngineSocket,
    #[command(flatten)]
    which: Conditions,
    /// Order: flows with the most of this come first
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Show at most this many flows
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT as u64, value_parser = limits())]
    limit: u64,
    /// Print one JSON object for each flow
    #[arg(long)]
    json: bool,
    /// Repeat every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum FlowsCommand {
    Kill(kill::KillArgs),
}

fn limits() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=MAX_LIMIT as u64)
}

/// Runs the command.
pub(super) fn run(args: FlowsArgs) -> ExitCode {
    if let Some(FlowsCommand::Kill(args)) = &args.command {
        return kill::run(args);
    }
    let socket = match args.engine.path() {
        Ok(socket) => socket,
        Err(message) => {
            errln!("{message}");
            return ExitCode::from(USAGE);
        }
    };
    let Conditions { client, server, port, sni, phase } = args.which;
    let request =
        FlowsRequest { client, server, port, sni, phase, sort: args.sort, limit: Some(args.limit as usize) };
    if let Err(error) = request.matcher() {
        errln!("wireglass: --{error}");
        return ExitCode::from(USAGE);
    }
    loop {
        let status = match once(&socket, &request, args.json) {
            Ok(status) => status,
            // Whoever reads has seen enough: `| head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Err(error) => {
                errln!("wireglass: cannot write: {error}");
                return ExitCode::FAILURE;
            }
        };
        match args.watch {
            Some(seconds) if status == ExitCode::SUCCESS => {
                if !args.json && print("\n", ExitCode::SUCCESS) != ExitCode::SUCCESS {
                    return ExitCode::FAILURE;
                }
                std::thread::sleep(Duration::from_secs(seconds));
            }
            _ => return status,
        }
    }
}

/// Asks and prints.
fn once(socket: &Path, request: &FlowsRequest, json: bool) -> io::Result<ExitCode> {
    let answer = match client::flows(socket, request) {
        Ok(answer) => answer,
        Err(error) => {
            errln!("wireglass: {}: {error}", socket.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    for flow in &answer.flows {
        if json {
            serde_json::to_writer(&mut out, flow)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", render::Text(flow))?;
        }
    }
    out.flush()?;
    let (shown, matched) = (answer.flows.len(), answer.matched);
    if matched == 0 {
        errln!("wireglass: no flow matches; the engine has {} flow(s)", answer.seen);
    } else if shown as u64 != matched {
        errln!("wireglass: {shown} of {matched} flows that match; --limit shows more, up to {MAX_LIMIT}");
    }
    if !answer.complete {
        errln!("wireglass: a worker did not answer in time: the list is not complete");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
