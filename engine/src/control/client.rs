//! The other end of the control channel: a command that asks.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use wireglass_core::exclusions::MOST_LISTED;
use wireglass_core::order::Order;

use super::Counters;
use super::operate::{
    KillRequest, KilledRecord, LevelRequest, LogLevel, OrderRequest, OrdersRecord, StopRecord, StopRequest,
    end_order_line, orders_line,
};
use super::protocol::{
    ExcludeRequest, FlowsRequest, IncludeRequest, Line, MAX_LIMIT, Refusal, ReloadRecord, VERSION,
    counters_line, exclusions_line, reload_line,
};
use super::record::FlowRecord;
use crate::exclusions::ExclusionRecord;

/// How long an answer about flows may take: longer than the engine waits for its workers, and then for whoever asks.
const FLOWS_TIME: Duration = Duration::from_secs(25);
/// How long an answer about counters may take: the engine only has to read them.
const COUNTERS_TIME: Duration = Duration::from_secs(5);
/// How long a reload may take: ten million names take a minute.
const RELOAD_TIME: Duration = Duration::from_secs(300);
/// Longest line that is read.
const MAX_LINE: u64 = 256 * 1024;
/// Most workers and ports of an engine: far more than DPDK has.
const MAX_ROWS: usize = 4096;

/// An engine's answer.
#[derive(Debug)]
pub struct Flows {
    /// In the order that was asked for.
    pub flows: Vec<FlowRecord>,
    /// Flows that were looked at.
    pub seen: u64,
    /// Those of them that were asked for.
    pub matched: u64,
    /// All workers have answered.
    pub complete: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens: no engine.
    NotRunning(io::Error),
    /// The socket belongs to somebody else.
    Forbidden,
    /// The connection failed or fell silent.
    Io(io::Error),
    /// The engine speaks another version.
    Version(u32),
    /// The engine's words.
    Refused(Refusal, String),
    /// What came is no answer.
    Garbled,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(error) => write!(
                f,
                "no engine answers there ({error}): is `wireglass run` running? If its configuration has another \
                 `control.socket`, say `-c FILE` or `--socket PATH`"
            ),
            Self::Forbidden => f.write_str(
                "permission denied: only the user who runs the engine may ask it, usually root, and the group of \
                 `control.read_group`; try sudo",
            ),
            Self::Io(error) => write!(f, "the engine does not answer: {error}; its own messages may say why"),
            Self::Version(engine) => write!(
                f,
                "the engine speaks version {engine} of the control channel and this command version {VERSION}: use the \
                 `wireglass` that the engine was started from, or restart the engine"
            ),
            Self::Refused(_, message) => f.write_str(message),
            Self::Garbled => f.write_str("what answers there is no wireglass engine"),
        }
    }
}

impl std::error::Error for AskError {}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Io(error),
        }
    }
}

/// Asks the engine whose socket this is for its flows.
///
/// # Errors
/// There is none, or it does not answer; the text says what to do.
pub fn flows(socket: &Path, request: &FlowsRequest) -> Result<Flows, AskError> {
    let (_, mut answer) = ask(socket, &request.line(), FLOWS_TIME)?;
    let mut flows = Vec::new();
    loop {
        match next_line(&mut answer)? {
            Line::Flow(flow) if flows.len() < MAX_LIMIT => flows.push(*flow),
            Line::End { seen, matched, complete } => {
                return Ok(Flows { flows, seen, matched, complete });
            }
            line => return Err(refused(line)),
        }
    }
}

/// Asks the engine whose socket this is for its counters.
///
/// # Errors
/// Likewise.
pub fn counters(socket: &Path) -> Result<Counters, AskError> {
    let (version, mut answer) = ask(socket, &counters_line(), COUNTERS_TIME)?;
    let mut counters = Counters { version, ..Counters::default() };
    loop {
        let room = counters.workers.len() + counters.ports.len() < MAX_ROWS;
        match next_line(&mut answer)? {
            Line::Worker(worker) if room => counters.workers.push(*worker),
            Line::Port(port) if room => counters.ports.push(*port),
            Line::Engine(engine) => return Ok(Counters { engine: *engine, ..counters }),
            line => return Err(refused(line)),
        }
    }
}

/// Asks the engine whose socket this is for the servers that it does not decrypt.
///
/// # Errors
/// Likewise.
pub fn exclusions(socket: &Path) -> Result<Vec<ExclusionRecord>, AskError> {
    let (_, mut answer) = ask(socket, &exclusions_line(), COUNTERS_TIME)?;
    let mut all = Vec::new();
    loop {
        match next_line(&mut answer)? {
            Line::Exclusion(exclusion) if all.len() < MOST_LISTED => all.push(*exclusion),
            Line::Exclusions { .. } => return Ok(all),
            line => return Err(refused(line)),
        }
    }
}

/// Has it leave a server alone.
///
/// # Errors
/// Likewise.
pub fn exclude(socket: &Path, request: &ExcludeRequest) -> Result<(), AskError> {
    count(socket, &request.line()).map(drop)
}

/// Has it forget servers. Returns how many it has forgotten.
///
/// # Errors
/// Likewise.
pub fn include(socket: &Path, request: &IncludeRequest) -> Result<u64, AskError> {
    count(socket, &request.line())
}

fn count(socket: &Path, request: &str) -> Result<u64, AskError> {
    let (_, mut answer) = ask(socket, request, COUNTERS_TIME)?;
    match next_line(&mut answer)? {
        Line::Exclusions { count } => Ok(count),
        line => Err(refused(line)),
    }
}

/// Has the engine whose socket this is load its configuration anew, and waits until it has.
///
/// # Errors
/// Likewise; [`Refusal::Fault`] with all faults of the configuration, a line each.
pub fn reload(socket: &Path) -> Result<ReloadRecord, AskError> {
    let (_, mut answer) = ask(socket, &reload_line(), RELOAD_TIME)?;
    match next_line(&mut answer)? {
        Line::Reload(done) => Ok(done),
        line => Err(refused(line)),
    }
}

/// Has it end flows, and waits until it has.
///
/// # Errors
/// Likewise; [`Refusal::Unconfirmed`] where more than one would end, and the request says no yes to that.
pub fn kill(socket: &Path, request: &KillRequest) -> Result<KilledRecord, AskError> {
    let (_, mut answer) = ask(socket, &request.line(), FLOWS_TIME)?;
    match next_line(&mut answer)? {
        Line::Killed(done) => Ok(done),
        line => Err(refused(line)),
    }
}

/// Has it go by an order.
///
/// # Errors
/// Likewise.
pub fn order(socket: &Path, order: Order, request: OrderRequest) -> Result<OrdersRecord, AskError> {
    standing(socket, &request.line(order))
}

/// Takes an order back.
///
/// # Errors
/// Likewise; [`Refusal::Absent`] where it does not stand.
pub fn end_order(socket: &Path, order: Order) -> Result<OrdersRecord, AskError> {
    standing(socket, &end_order_line(order))
}

/// Asks for the orders that stand.
///
/// # Errors
/// Likewise.
pub fn orders(socket: &Path) -> Result<OrdersRecord, AskError> {
    standing(socket, &orders_line())
}

fn standing(socket: &Path, request: &str) -> Result<OrdersRecord, AskError> {
    let (_, mut answer) = ask(socket, request, FLOWS_TIME)?;
    match next_line(&mut answer)? {
        Line::Orders(orders) => Ok(orders),
        line => Err(refused(line)),
    }
}

/// Changes the level of its messages. Returns the level that holds now.
///
/// # Errors
/// Likewise.
pub fn log_level(socket: &Path, request: LevelRequest) -> Result<LogLevel, AskError> {
    let (_, mut answer) = ask(socket, &request.line(), COUNTERS_TIME)?;
    match next_line(&mut answer)? {
        Line::LogLevel { level } => Ok(level),
        line => Err(refused(line)),
    }
}

/// Has it end, as a signal would: it has begun to when this returns.
///
/// # Errors
/// Likewise; [`Refusal::Absent`] where it is another process.
pub fn stop(socket: &Path, request: StopRequest) -> Result<StopRecord, AskError> {
    let (_, mut answer) = ask(socket, &request.line(), COUNTERS_TIME)?;
    match next_line(&mut answer)? {
        Line::Stop(stopped) => Ok(stopped),
        line => Err(refused(line)),
    }
}

/// The engine's end of a connection, for what the kernel knows of it.
///
/// # Errors
/// Nobody listens, or not to us.
pub fn connect(socket: &Path) -> Result<UnixStream, AskError> {
    UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(error),
        _ => error.into(),
    })
}

/// The engine's version, and the rest of its answer: all within `time`.
fn ask(socket: &Path, request: &str, time: Duration) -> Result<(String, BufReader<Patient>), AskError> {
    let mut stream = connect(socket)?;
    stream.set_write_timeout(Some(time))?;
    // An engine that is busy says so without listening: what it said is read all the same.
    let sent = stream.write_all(request.as_bytes());
    let mut reader = BufReader::new(Patient { stream, until: Instant::now() + time });
    match read_line(&mut reader)? {
        None => Err(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()).into()),
        Some(Line::Begin { version: VERSION, engine }) => Ok((engine, reader)),
        Some(Line::Begin { version, .. }) => Err(AskError::Version(version)),
        Some(line) => Err(refused(line)),
    }
}

/// Reads until a time, however little comes at once.
struct Patient {
    stream: UnixStream,
    until: Instant,
}

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        // What is over is the time, not a resource, which is what Linux calls it.
        self.stream.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

fn refused(line: Line) -> AskError {
    match line {
        Line::Error { version, code: Refusal::Version, .. } => AskError::Version(version),
        Line::Error { code, message, .. } => AskError::Refused(code, message),
        _ => AskError::Garbled,
    }
}

/// The next line of an answer that is not over.
fn next_line(reader: &mut impl BufRead) -> Result<Line, AskError> {
    read_line(reader)?.ok_or_else(|| AskError::Io(io::ErrorKind::UnexpectedEof.into()))
}

/// The next line; none at the end.
fn read_line(reader: &mut impl BufRead) -> Result<Option<Line>, AskError> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.is_empty() {
        true => Ok(None),
        false => serde_json::from_slice(&line).map(Some).map_err(|_| AskError::Garbled),
    }
}
