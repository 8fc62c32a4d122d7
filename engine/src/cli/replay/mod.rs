//! `wireglass replay`: what policy would do with the flows of captures, without a port.
//!
//! ```text
//! captures ─► player: the engine's own workers ─► render, a line for each flow
//!         └─► onlooker: what both ends have said ─┴► report, what it comes to
//! ```

mod capture;
mod captures;
mod conversation;
mod onlooker;
mod player;
mod render;
mod report;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_reports;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use wireglass_core::packet::{PassAction, classify};

use self::captures::Captures;
use self::onlooker::Onlooker;
use self::player::{Played, Player, Totals};
use self::render::{Line, Row};
use self::report::{Decisions, Html, Judge, Report, Source, Tally, Text};
use super::{USAGE, with_config};
use crate::config::{Config, Verification};

const HELP: &str = "\
Examples:
  wireglass replay -c wire.toml morning.pcap
  wireglass replay -c wire.toml --report text span-*.pcap.gz
  wireglass replay -c wire.toml --report html span-*.pcap.gz > report.html
  tcpdump -w - -i eth1 | wireglass replay -c wire.toml -
  wireglass replay -c wire.toml --json morning.pcapng | jq -r 'select(.action == \"block\") | .sni'

The packets go through the engine's own workers, on the capture's clock: flows are found, held and decided as on a wire.
Nothing is sent. Each TCP flow to an intercepted port gives one line when it ends: addresses, SNI, ALPN and JA4 of the
ClientHello, the decision, and the rule or the reason. The sender of the SYN is the client. Several captures are read as
one, in order of packet times.

--report plans a roll-out. Capture the network as it is, before anything is decrypted (SPAN port, tap). The report says
  * which names this policy decrypts, bypasses and blocks
  * which servers and kinds of clients would break, and what to do about each: old versions, no common cipher suite,
    client certificates, certificates that fail verification, names that are known to be pinned
  * what passes uninspected: QUIC, other ports, tunnels
Certificates are verified as of the capture's time, with [trust] as configured. TLS 1.3 hides them. JSON has all rows,
the HTML page 500 of each table, the text --top.

Capture whole packets (tcpdump -s 0). A capture made on a host lacks the checksums that its card fills in; wrong ones
are corrected. A capture may have any length: memory is bounded as in the engine, by 65,536 flows at a time, and a report
tells at most 50,000 names apart. Progress goes to stderr, and at the end the number of flows, of frames that were not
inspected, and of dropped packets.

Exit status: 0 done; 1 a file cannot be read, or not to its end; 2 wrong usage or configuration.";

/// Show what policy would do with the flows of a capture, or report what a roll-out would change.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ReplayArgs {
    /// Configuration with the policy
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Wire that the packets belong to, for rules that name one [default: the first]
    #[arg(long, value_name = "NAME")]
    wire: Option<String>,
    /// Print one JSON object for each flow
    #[arg(long)]
    json: bool,
    /// Print a report for a roll-out instead of flows
    #[arg(long, value_name = "FORM", conflicts_with = "json")]
    report: Option<Form>,
    /// Rows in each table of a text report [default: 20]
    #[arg(long, value_name = "ROWS", requires = "report")]
    top: Option<usize>,
    /// pcap or pcapng files, plain or gzip; `-` alone is standard input
    #[arg(value_name = "CAPTURE", required = true)]
    captures: Vec<PathBuf>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Html,
}

/// Rows of a table that fit a terminal.
const TOP: usize = 20;

/// Runs the command.
pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    with_config(&args.config, |config| {
        let Some(wire) = wire(&config, args.wire.as_deref()) else {
            let name = args.wire.as_deref().unwrap_or_default();
            errln!("wireglass: --wire: {} has no wire {name:?}", config.file.display());
            return ExitCode::from(USAGE);
        };
        if args.captures.len() > 1 && args.captures.iter().any(|path| path.as_os_str() == "-") {
            errln!("wireglass: standard input (-) can only be the one capture");
            return ExitCode::from(USAGE);
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        let done = match args.report {
            None => list(&config, &wire, args, &mut Printer { out, json: args.json }),
            Some(form) => write_report(&config, &wire, args, form, &mut out),
        };
        match done {
            Ok(summary) => summary.tell(),
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

/// A line for each flow.
fn list(
    config: &Config,
    wire: &Arc<str>,
    args: &ReplayArgs,
    printer: &mut Printer<impl Write>,
) -> Result<Summary, Failure> {
    let mut captures = Captures::open(&args.captures).map_err(Failure::Told)?;
    let mut summary = Summary::default();
    let mut player: Option<Player> = None;
    let mut progress = Progress::new(&args.captures);
    printer.heading()?;
    while let Some(packet) = captures.next() {
        let player = begun(&mut player, config, wire, packet.time)?;
        player.play(packet);
        for flow in player.ended() {
            summary.count(&flow);
            printer.print(&flow)?;
        }
        progress.step(captures.position());
    }
    if let Some(player) = player {
        let (flows, totals) = player.finish();
        summary.totals = totals;
        for flow in &flows {
            summary.count(flow);
            printer.print(flow)?;
        }
    }
    printer.out.flush()?;
    summary.faults = captures.into_faults();
    Ok(summary)
}

/// What the flows come to.
fn write_report(
    config: &Config,
    wire: &Arc<str>,
    args: &ReplayArgs,
    form: Form,
    out: &mut impl Write,
) -> Result<Summary, Failure> {
    let (report, summary) = report(config, wire, args)?;
    match form {
        Form::Text => write!(out, "{}", Text { report: &report, top: args.top.unwrap_or(TOP) })?,
        Form::Html => write!(out, "{}", Html(&report))?,
        Form::Json => {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(summary)
}

fn report(config: &Config, wire: &Arc<str>, args: &ReplayArgs) -> Result<(Report, Summary), Failure> {
    let told = |error: &dyn std::fmt::Display| Failure::Told(format!("{}: {error}", config.file.display()));
    let verification = Verification::load(&config.file).map_err(|faults| told(&faults))?;
    let mut tally = Tally::new(Judge::new(verification).map_err(|error| told(&error))?);
    let mut onlooker = Onlooker::new(Arc::new(config.compile_policy()), config.crypto.provider);
    let mut captures = Captures::open(&args.captures).map_err(Failure::Told)?;
    let mut summary = Summary::default();
    let mut player: Option<Player> = None;
    let mut progress = Progress::new(&args.captures);
    let mut time: Option<(u64, u64)> = None;
    while let Some(packet) = captures.next() {
        let (at, frame) = (packet.time, packet.frame.clone());
        let (from, to) = time.unwrap_or((at, at));
        time = Some((from.min(at), to.max(at)));
        let player = begun(&mut player, config, wire, at)?;
        player.play(packet);
        // What it says of an older connection comes before the packet that begins another one.
        take_decided(player.ended(), &mut summary, &mut onlooker);
        onlooker.see(at, &frame, &classify(&frame));
        onlooker.ended().iter().for_each(|ended| tally.count(ended));
        onlooker.quic_hellos().iter().for_each(|hello| tally.count_quic(hello));
        progress.step(captures.position());
    }
    if let Some(player) = player {
        let (flows, totals) = player.finish();
        summary.totals = totals;
        take_decided(flows, &mut summary, &mut onlooker);
    }
    onlooker.finish();
    onlooker.ended().iter().for_each(|ended| tally.count(ended));
    summary.faults = captures.into_faults();
    let report = tally.into_report(Source {
        configuration: config.file.display().to_string(),
        wire: wire.to_string(),
        captures: args.captures.iter().map(|path| path.display().to_string()).collect(),
        time,
        totals: summary.totals.clone(),
        evicted: onlooker.evicted(),
        stopped: (!summary.faults.is_empty()).then(|| summary.faults.join("; ")),
    });
    Ok((report, summary))
}

fn take_decided(flows: Vec<Played>, summary: &mut Summary, onlooker: &mut Onlooker) {
    for flow in flows {
        summary.count(&flow);
        onlooker.decided(flow);
    }
}

/// The engine, which starts with the first packet.
fn begun<'p>(
    player: &'p mut Option<Player>,
    config: &Config,
    wire: &Arc<str>,
    time: u64,
) -> Result<&'p mut Player, Failure> {
    match player {
        Some(player) => Ok(player),
        None => {
            let new = Player::new(config, wire, time).map_err(|error| Failure::Told(error.to_string()))?;
            Ok(player.insert(new))
        }
    }
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
    flows: Decisions,
    totals: Totals,
    /// Why the end of some files was not reached.
    faults: Vec<String>,
}

impl Summary {
    fn count(&mut self, flow: &Played) {
        self.flows.count(flow.decision);
    }

    fn tell(self) -> ExitCode {
        let Self { flows, totals, faults } = self;
        let [decrypt, bypass, block, undecided] = flows.all();
        let Totals { packets, cut, mended, uninspected, dropped } = totals;
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
        for (class, action, frames) in uninspected {
            let fate =
                if action == PassAction::Forward { "pass uninspected" } else { "are dropped uninspected" };
            errln!("wireglass: {frames} frames {fate}, {}: {}", class.name(), class.help());
        }
        for (why, count) in dropped {
            errln!("wireglass: {count} packets dropped, {why}: {}", why.help());
        }
        for fault in &faults {
            errln!("wireglass: {fault}; the above has what comes before");
        }
        if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

    fn new(paths: &[PathBuf]) -> Self {
        // Of a pipe, and of what is packed, the length is not known.
        let length_of = |path: &PathBuf| {
            let is_packed = path.extension().is_some_and(|extension| extension == "gz");
            path.metadata().ok().filter(|about| !is_packed && about.is_file()).map(|about| about.len())
        };
        let length = paths.iter().map(length_of).sum::<Option<u64>>().unwrap_or(0);
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
