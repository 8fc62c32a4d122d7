//! `wireglass health`: asks a running engine whether its workers move; for health checks of containers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::plain::Plain;

/// The engine answers within milliseconds; its page has one reader at a time, and each has two seconds.
const DEADLINE: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 4096;

const HELP: &str = "\
Example:
  wireglass health && echo fine

Asks `GET /health` at `metrics.listen`. The answer is `ok` while every worker has run its loop within the last five
seconds; otherwise `starting`, or which worker is stuck.

Exit status: 0 ok; 1 not ok, or no answer; 2 wrong usage.";

/// Ask a running engine whether all its workers are alive.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct HealthArgs {
    /// The engine's `metrics.listen`
    #[arg(default_value = "127.0.0.1:9464", value_name = "ADDRESS:PORT")]
    address: SocketAddr,
}

pub(super) fn run(args: &HealthArgs) -> ExitCode {
    match ask(args.address) {
        Ok((true, said)) => super::print(format_args!("{said}\n"), ExitCode::SUCCESS),
        Ok((false, said)) => {
            errln!("wireglass: {said}");
            ExitCode::FAILURE
        }
        Err(error) => {
            errln!("wireglass: no answer from {}: {error}", args.address);
            ExitCode::FAILURE
        }
    }
}

/// Whether it is well, and its words.
fn ask(address: SocketAddr) -> io::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, said) =
        answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("it is not the engine's"))?;
    let ok = head.split(' ').nth(1) == Some("200");
    Ok((ok, Plain(said.trim()).to_string()))
}
