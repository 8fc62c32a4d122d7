//! `wireglass replay`: what policy would do with the flows of a capture file, without a port.
//!
//! [`capture`] reads the file, [`player`] lets it run through the engine's own workers, [`render`] prints.

mod capture;
mod player;
mod render;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use wireglass_core::event::Action;

use self::capture::{Capture, CaptureError};
use self::player::{Played, Player, Totals};
use self::render::{Line, Row};
use super::{USAGE, with_config};
use crate::config::Config;

const HELP: &str = "\
Examples:
  wireglass replay -c wire.toml morning.pcap
  tcpdump -w - -i eth1 | wireglass replay -c wire.toml -
  wireglass replay -c wire.toml --json morning.pcapng | jq -r 'select(.action == \"block\") | .sni'

The packets go through the engine's own workers with the capture's clock, so flows are found, held and decided as on a wire; nothing is
sent. One line for each TCP flow to an intercepted port, when it ends: who, SNI, ALPN and JA4 of its ClientHello, the decision, and the rule
or the reason. Who sends the SYN is the client. What the server's certificate would have changed is not known to a capture.

A capture made at a host has checksums that its card would have filled in; wrong ones are put right. A capture should have whole
packets (tcpdump -s 0). It may be of any length: what is kept is what an engine keeps, at most 65,536 flows at a time. How far it is, and at the end
counts of flows and of dropped packets by reason, are told on standard error.

Exit status: 0 done; 1 the file cannot be read, or not to its end; 2 wrong usage or configuration.";

/// Show what policy would do with the flows of a capture file.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ReplayArgs {
    /// Configuration with the policy
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The wire that the packets come over, for rules that name one [default: the first]
    #[arg(long, value_name = "NAME")]
    wire: Option<String>,
    /// One JSON object a flow
    #[arg(long)]
    json: bool,
    /// A pcap or pcapng file, also in gzip; `-` is standard input
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    with_config(&args.config, |config| {
        let Some(wire) = wire(&config, args.wire.as_deref()) else {
            let name = args.wire.as_deref().unwrap_or_default();
            errln!("wireglass: --wire: {} has no wire {name:?}", config.file.display());
            return ExitCode::from(USAGE);
        };
        let mut printer = Printer { out: io::BufWriter::new(io::stdout().lock()), json: args.json };
        match replay(&config, &wire, &args.capture, &mut printer) {
            Ok(summary) => summary.tell(&args.capture),
            Err(Failure::Reader) => ExitCode::SUCCESS,
            Err(Failure::Told(message)) => {
                errln!("wireglass: {message}");
                ExitCode::FAILURE
            }
        }
    })
}

/// Why there is no summary.
enum Failure {
    /// Whoever reads the output wants no more of it.
    Reader,
    Told(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Reader,
            _ => Self::Told(format!("cannot write: {error}")),
        }
    }
}

fn replay(
    config: &Config,
    wire: &Arc<str>,
    path: &Path,
    printer: &mut Printer<impl Write>,
) -> Result<Summary, Failure> {
    let name = path.display();
    let mut capture = Capture::open(path).map_err(|error| match error {
        CaptureError::Io(error) => Failure::Told(format!("{name}: {error}")),
        error => Failure::Told(format!("{name} {error}")),
    })?;
    let mut summary = Summary::default();
    let mut player: Option<Player> = None;
    let mut progress = Progress::new(path);
    printer.heading()?;
    summary.stopped = loop {
        let packet = match capture.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        let player = match &mut player {
            Some(player) => player,
            None => player.insert(
                Player::new(config, wire, packet.time).map_err(|error| Failure::Told(error.to_string()))?,
            ),
        };
        player.play(packet);
        for flow in player.ended() {
            summary.count(&flow);
            printer.print(&flow)?;
        }
        progress.step(capture.position());
    };
    if let Some(player) = player {
        let (flows, totals) = player.finish();
        summary.totals = totals;
        for flow in &flows {
            summary.count(flow);
            printer.print(flow)?;
        }
    }
    printer.out.flush()?;
    Ok(summary)
}

fn wire(config: &Config, name: Option<&str>) -> Option<Arc<str>> {
    let mut wires = config.wires.iter();
    wires.find(|wire| name.is_none_or(|name| *wire.name == *name)).map(|wire| Arc::clone(&wire.name))
}

/// Writes flows as they end.
struct Printer<W> {
    out: W,
    json: bool,
}

impl<W: Write> Printer<W> {
    fn heading(&mut self) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.out, "{}", Line::heading()) }
    }

    fn print(&mut self, flow: &Played) -> io::Result<()> {
        let row = Row::new(flow);
        if self.json {
            serde_json::to_writer(&mut self.out, &row)?;
            writeln!(self.out)
        } else {
            writeln!(self.out, "{}", Line::of(&row))
        }
    }
}

/// What is said at the end.
#[derive(Default)]
struct Summary {
    /// Flows to be decrypted, bypassed, blocked, and of which nothing is known.
    flows: [u64; 4],
    totals: Totals,
    /// Why the end of the file was not reached.
    stopped: Option<CaptureError>,
}

impl Summary {
    fn count(&mut self, flow: &Played) {
        self.flows[match flow.decision {
            Some(Action::Decrypt) => 0,
            Some(Action::Bypass) => 1,
            Some(Action::Block) => 2,
            None => 3,
        }] += 1;
    }

    fn tell(self, path: &Path) -> ExitCode {
        let Self { flows: [decrypt, bypass, block, undecided], totals, stopped } = self;
        let Totals { packets, cut, mended, dropped } = totals;
        errln!(
            "wireglass: {packets} packets; flows: {decrypt} decrypt, {bypass} bypass, {block} block, {undecided} undecided"
        );
        if cut > 0 {
            errln!(
                "wireglass: {cut} packets are cut short, and ClientHellos in them are not read: capture with tcpdump -s 0"
            );
        }
        if mended > 0 {
            errln!("wireglass: {mended} packets had wrong checksums, which were put right");
        }
        for (why, count) in dropped {
            errln!("wireglass: {count} packets dropped, {why}: {}", why.help());
        }
        match stopped {
            Some(error) => {
                errln!("wireglass: {} {error}; the above is what comes before", path.display());
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        }
    }
}

/// Says how far it is, where somebody looks on.
struct Progress {
    length: u64,
    began: Instant,
    told: Instant,
    packets: u64,
}

impl Progress {
    /// Packets between two looks at the clock.
    const STRIDE: u64 = 1024;
    const EVERY: Duration = Duration::from_secs(5);

    fn new(path: &Path) -> Self {
        // Of a pipe, and of what is packed, the length is not known.
        let is_packed = path.extension().is_some_and(|extension| extension == "gz");
        let length = path.metadata().ok().filter(|_| !is_packed).map_or(0, |about| about.len());
        let now = Instant::now();
        Self { length, began: now, told: now, packets: 0 }
    }

    fn step(&mut self, position: usize) {
        self.packets += 1;
        if self.packets.is_multiple_of(Self::STRIDE) && self.told.elapsed() >= Self::EVERY {
            self.told = Instant::now();
            errln!(
                "wireglass: {}",
                progress(self.packets, position as u64, self.length, self.began.elapsed())
            );
        }
    }
}

fn progress(packets: u64, position: u64, length: u64, elapsed: Duration) -> String {
    let percent = (position * 100).checked_div(length).map(|percent| format!(", {percent} %"));
    format!("{packets} packets{} after {} s", percent.unwrap_or_default(), elapsed.as_secs())
}
