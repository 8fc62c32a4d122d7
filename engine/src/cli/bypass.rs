//! `wireglass bypass`: the panic button.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args};
use wireglass_core::order::Order;

use super::USAGE;
use super::orders::{print_json, tell, time};
use super::socket::EngineSocket;
use crate::control::client;
use crate::control::operate::OrderRequest;

const HELP: &str = "\
Examples:
  wireglass bypass --all --for 15m           from now on, new connections pass as they are
  wireglass bypass --all --for 15m --now     also reset decrypted flows: clients come back, bypassed
  wireglass bypass --end                     back to policy
  wireglass bypass                           show the orders that stand

This is the panic button. The engine becomes a piece of wire for every connection that is new or not yet decided. It
decrypts nothing and BLOCKS NOTHING, whatever the rules say. If rules must still block, use `wireglass drain`.

Decrypted flows run on, inspected, unless you give --now. After TIME, policy decides again.

In the log: `flow` events have `wireglass.order`, `tls` events the reason `operator.bypass`. `wireglass top` and the
metrics show it as well.

Exit status: 0 done; 1 no engine runs, or there was nothing to end; 2 wrong usage or configuration.";

/// Panic button: let everything pass for a while. Without options: show the orders that stand.
#[derive(Debug, Args)]
#[command(after_help = HELP, group = ArgGroup::new("what").args(["all", "end"]))]
pub(super) struct BypassArgs {
    #[command(flatten)]
    engine: EngineSocket,
    /// Bypass all connections that begin from now on
    #[arg(long, requires = "time")]
    all: bool,
    /// How long: 90s, 15m, 1h30m; a day at most
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = time, requires = "all")]
    time: Option<Duration>,
    /// Also reset the flows that are decrypted now
    #[arg(long, requires = "all")]
    now: bool,
    /// End the bypass
    #[arg(long)]
    end: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BypassArgs) -> ExitCode {
    let request = OrderRequest { seconds: args.time.map(|time| time.as_secs()), now: args.now };
    if args.all
        && let Err(error) = request.time(Order::Bypass)
    {
        errln!("wireglass: --for: {error}");
        return ExitCode::from(USAGE);
    }
    let asked = args.engine.ask(|socket| match (args.all, args.end) {
        (true, _) => client::order(socket, Order::Bypass, request),
        (false, true) => client::end_order(socket, Order::Bypass),
        (false, false) => client::orders(socket),
    });
    let done = match asked {
        Ok(done) => done,
        Err(status) => return status,
    };
    if args.json {
        print_json(&done);
    } else {
        tell(&done);
    }
    if args.now {
        errln!("wireglass: {} decrypted flow(s) ended", done.killed);
    }
    if !done.complete {
        errln!("wireglass: a worker did not answer in time");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
