//! `wireglass flows kill`: ends flows of a running engine.

use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::conditions::Conditions;
use crate::cli::USAGE;
use crate::cli::orders::print_json;
use crate::cli::socket::EngineSocket;
use crate::control::client;
use crate::control::operate::{KillRequest, KilledRecord};

const HELP: &str = "\
Examples:
  wireglass flows kill 1407374883553281
  wireglass flows kill --client 10.1.2.3 --sni '*.example.com' --yes

Both ends of a decrypted flow get a RST. A bypassed flow is forgotten: its next packet, from either end, is answered
with a RST. If the ends connect again, that is a new connection, and policy decides about it. Events of killed flows
have the reason `operator.killed`.

Exit status: 0 done; 1 no flow matches, several match without --yes, no engine runs, or the answer was cut short;
2 wrong usage or configuration.";

/// End one flow by its number, or all flows that match every option given.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
#[command(group = ArgGroup::new("which").args(["flow_id", "client", "server", "port", "sni", "phase"]).required(true).multiple(true))]
pub(super) struct KillArgs {
    #[command(flatten)]
    engine: EngineSocket,
    /// Number of the flow: `flow_id` in events, first word of its line in `wireglass flows`
    #[arg(value_name = "ID")]
    flow_id: Option<u64>,
    #[command(flatten)]
    which: Conditions,
    /// Required if more than one flow matches
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &KillArgs) -> ExitCode {
    let KillArgs { engine: _, flow_id, which, yes, json: _ } = args;
    let Conditions { client, server, port, sni, phase } = which;
    let request = KillRequest {
        flow_id: *flow_id,
        client: *client,
        server: *server,
        port: *port,
        sni: sni.clone(),
        phase: *phase,
        yes: *yes,
    };
    if let Err(error) = request.check() {
        errln!("wireglass: --{error}");
        return ExitCode::from(USAGE);
    }
    let done = match args.engine.ask(|socket| client::kill(socket, &request)) {
        Ok(done) => done,
        Err(status) => return status,
    };
    if args.json {
        print_json(&done);
    }
    let KilledRecord { matched, killed, complete } = done;
    if !complete {
        errln!("wireglass: {killed} of {matched} flows ended, and a worker did not answer in time");
    } else if matched == 0 {
        errln!("wireglass: no flow matches");
    } else if killed == matched {
        errln!("wireglass: {killed} ended");
    } else {
        errln!("wireglass: {killed} ended, {} had ended by themselves", matched - killed);
    }
    if complete && matched > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
