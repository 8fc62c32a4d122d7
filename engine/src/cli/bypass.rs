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
  wireglass bypass --all --for 15m           everything that begins now passes as it is
  wireglass bypass --all --for 15m --now     and decrypted flows are reset, so that clients come back bypassed
  wireglass bypass --end                     policy decides again
  wireglass bypass                           which orders stand

The engine is a piece of wire for all connections that begin, or are not decided yet: it decrypts nothing, and BLOCKS NOTHING, not even what
a rule says. It ends by itself after the time, a day at most. Decrypted flows go on, inspected, unless --now ends them. `flow` events have
`wireglass.order`, `tls` events the reason `operator.bypass`; `wireglass top` and the metrics tell. To have rules block on: `wireglass drain`.

Exit status: 0 done; 1 no engine, or nothing to end; 2 wrong usage or configuration.";

/// Let everything pass for a while, or show which orders stand.
#[derive(Debug, Args)]
#[command(after_help = HELP, group = ArgGroup::new("what").args(["all", "end"]))]
pub(super) struct BypassArgs {
    #[command(flatten)]
    engine: EngineSocket,
    /// All connections that begin from now on
    #[arg(long, requires = "time")]
    all: bool,
    /// For so long: 90s, 15m, 1h30m; a day at most
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = time, requires = "all")]
    time: Option<Duration>,
    /// End decrypted flows at once
    #[arg(long, requires = "all")]
    now: bool,
    /// Take it back
    #[arg(long)]
    end: bool,
    /// One JSON object
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
