//! The other end of the control channel: a command that asks.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::protocol::{FlowsRequest, Line, Refusal, VERSION};
use super::record::FlowRecord;

/// How long the engine may say nothing: longer than it waits for its workers.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest line that is read.
const MAX_LINE: u64 = 256 * 1024;

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
                "permission denied: only the user who runs the engine may ask it, usually root; try sudo",
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

/// Asks the engine whose socket this is.
///
/// # Errors
/// There is none, or it does not answer; the text says what to do.
pub fn flows(socket: &Path, request: &FlowsRequest) -> Result<Flows, AskError> {
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(error),
        _ => error.into(),
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // An engine that is busy says so without listening: what it said is read all the same.
    let sent = stream.write_all(request.line().as_bytes());
    let mut reader = BufReader::new(&stream);
    let mut flows = Vec::new();
    match read_line(&mut reader)? {
        None => return Err(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()).into()),
        Some(Line::Begin { version: VERSION, .. }) => {}
        Some(Line::Begin { version, .. }) => return Err(AskError::Version(version)),
        Some(line) => return Err(refused(line)),
    }
    loop {
        match read_line(&mut reader)? {
            Some(Line::Flow(flow)) => flows.push(*flow),
            Some(Line::End { seen, matched, complete }) => {
                return Ok(Flows { flows, seen, matched, complete });
            }
            Some(line) => return Err(refused(line)),
            None => return Err(AskError::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn refused(line: Line) -> AskError {
    match line {
        Line::Error { version, code: Refusal::Version, .. } => AskError::Version(version),
        Line::Error { code, message, .. } => AskError::Refused(code, message),
        Line::Begin { .. } | Line::Flow(_) | Line::End { .. } => AskError::Garbled,
    }
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
