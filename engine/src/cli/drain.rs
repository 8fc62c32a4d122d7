//! `wireglass drain`: before maintenance.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use wireglass_core::order::Order;

use super::USAGE;
use super::orders::{print_json, tell, time};
use super::socket::EngineSocket;
use crate::control::client;
use crate::control::operate::OrderRequest;

/// How often it is looked whether decrypted flows are left.
const LOOK: Duration = Duration::from_millis(500);

const HELP: &str = "\
Examples:
  wireglass drain && systemctl restart wireglass     restart when nothing decrypted is left
  wireglass drain --for 1h --no-wait --json
  wireglass drain --end                              decrypt again

Flows that policy would decrypt are bypassed. Flows that policy blocks stay blocked. Decrypted flows run on, inspected,
until they end; the command waits for the last one. Ctrl-C ends the waiting, not the drain: `--end` does that.

Connections on ports of [starttls], and those with held first contact, still pass through the engine as two TCP
connections, since rules must be asked. Where policy would decrypt them, they count as decrypted.

In the log: `flow` events have `wireglass.order`, `tls` events the reason `operator.drain`.

Exit status: 0 no decrypted flow is left, or --no-wait; 1 no engine runs, there was nothing to end, or the drain was
ended while the command waited; 2 wrong usage or configuration.";

/// Decrypt no new flow, and wait until no decrypted flow is left.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    engine: EngineSocket,
    /// How long the drain lasts: 15m, 1h30m; 30 days at most [default: until --end]
    #[arg(long = "for", value_name = "TIME", value_parser = time, conflicts_with = "end")]
    time: Option<Duration>,
    /// Start the drain and exit at once
    #[arg(long, conflicts_with = "end")]
    no_wait: bool,
    /// End the drain
    #[arg(long)]
    end: bool,
    /// Print one JSON object, at the end
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DrainArgs) -> ExitCode {
    let request = OrderRequest { seconds: args.time.map(|time| time.as_secs()), now: false };
    if let Err(error) = request.time(Order::Drain) {
        errln!("wireglass: --for: {error}");
        return ExitCode::from(USAGE);
    }
    let asked = args.engine.ask(|socket| match args.end {
        true => client::end_order(socket, Order::Drain),
        false => client::order(socket, Order::Drain, request),
    });
    let mut last = match asked {
        Ok(done) => done,
        Err(status) => return status,
    };
    if !args.json {
        tell(&last);
    }
    let waits = !args.end && !args.no_wait;
    while waits && last.decrypted > 0 {
        thread::sleep(LOOK);
        last = match args.engine.ask(client::orders) {
            Ok(now) => now,
            Err(status) => return status,
        };
        if !last.orders.iter().any(|order| order.order == Order::Drain.name()) {
            errln!("wireglass: the drain was ended; {} decrypted flow(s) are left", last.decrypted);
            return ExitCode::FAILURE;
        }
    }
    if args.json {
        print_json(&last);
    } else if waits {
        errln!("wireglass: no decrypted flow is left");
    }
    ExitCode::SUCCESS
}
