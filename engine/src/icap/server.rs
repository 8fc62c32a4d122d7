//! One server, and the connections to it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wireglass_core::icap::{Exchange, IcapError, Method, OptionsQuery, Outcome, Service, ServiceOptions};

use super::counters::IcapCounters;

/// Bytes that are read at once.
const READ: usize = 16 * 1024;
/// Bytes that are kept to be sent again: heads and a preview, or the beginning of a body.
const MAX_AGAIN: usize = 64 * 1024;

/// What a configuration says of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who is asked.
    pub service: Service,
    /// About what.
    pub method: Method,
    /// Octets of a preview; 0: none is sent.
    pub preview: usize,
    /// How long a server may keep one question waiting, all in all.
    pub timeout: Duration,
    /// Connections at a time.
    pub connections: usize,
}

/// Why a server has not answered a question.
#[derive(Debug)]
pub enum Failure {
    /// As many connections are in use as may be.
    Busy,
    /// There is no connection to it, or that broke.
    Down(io::Error),
    /// It has kept the question waiting for too long.
    Timeout,
    /// It has answered wrongly.
    Icap(IcapError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("all connections are in use"),
            Self::Down(error) => write!(f, "no connection: {error}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Icap(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<IcapError> for Failure {
    fn from(error: IcapError) -> Self {
        Self::Icap(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Down(error)
    }
}

/// A server, shared by all who ask it.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    /// Connections that nobody uses now.
    idle: Mutex<Vec<TcpStream>>,
    /// Those in use.
    used: Mutex<Vec<Arc<Mutex<Used>>>>,
    /// It has not answered the last question.
    is_failing: AtomicBool,
    counters: OnceLock<Arc<IcapCounters>>,
}

/// A connection in use. Locked while somebody waits for it.
#[derive(Debug)]
struct Used {
    /// None: there is none yet, or another question has taken its place.
    stream: Option<TcpStream>,
    /// When it was waited for last.
    since: Instant,
}

/// A panic of another thread leaves what is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Connects to nobody yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            idle: Mutex::default(),
            used: Mutex::default(),
            is_failing: AtomicBool::new(false),
            counters: OnceLock::new(),
        })
    }

    /// Counts where another one has counted. Too late once it counts by itself.
    pub fn count_in(&self, counters: Arc<IcapCounters>) {
        let _ = self.counters.set(counters);
    }

    /// What was counted of it.
    pub fn counters(&self) -> &Arc<IcapCounters> {
        self.counters.get_or_init(Arc::default)
    }

    /// It has not answered the last question.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Relaxed)
    }

    /// Connections in use, and those that are kept for the next question.
    pub fn connections(&self) -> [usize; 2] {
        [lock(&self.used).len(), lock(&self.idle).len()]
    }

    /// What the configuration says of it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins to ask about a message with these heads of HTTP: of the request, and of the response if it is about one.
    ///
    /// # Errors
    /// There is no connection.
    pub fn ask(self: &Arc<Self>, heads: [&[u8]; 2]) -> Result<Asking, Failure> {
        let line = self.line()?;
        let Settings { service, method, preview, .. } = &self.settings;
        let exchange = Exchange::new(service, *method, heads, Some(*preview).filter(|octets| *octets > 0));
        let again = line.is_reused.then(Vec::new);
        Ok(Asking { line, exchange, output: Vec::new(), sent: 0, again, left: self.settings.timeout })
    }

    /// What the service says of itself.
    ///
    /// # Errors
    /// It does not.
    pub fn options(self: &Arc<Self>) -> Result<ServiceOptions, Failure> {
        let mut line = self.line()?;
        let (mut query, request) = OptionsQuery::new(&self.settings.service);
        let until = Instant::now() + self.settings.timeout;
        let mut sent = 0;
        let mut buffer = vec![0; READ];
        loop {
            let read = line.turn(&request, &mut sent, &mut buffer, until)?;
            match read {
                Some(0) => return Err(IcapError::Closed.into()),
                Some(read) => {
                    if let Some(options) = query.receive(&buffer[..read])? {
                        line.keep();
                        return Ok(options);
                    }
                }
                None => {}
            }
        }
    }

    fn line(self: &Arc<Self>) -> Result<Line, Failure> {
        let used = Arc::new(Mutex::new(Used { stream: None, since: Instant::now() }));
        // From here on it is counted until the line is dropped.
        let server = Arc::clone(self);
        let mut line = Line { server, used: Arc::clone(&used), is_reused: false, is_kept: false };
        let mut connection = lock(&used);
        self.make_room(&used)?;
        while let Some(stream) = self.pop_idle() {
            // Whoever has something to say now, or nothing any more, has closed it meanwhile.
            if stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                connection.stream = Some(stream);
                line.is_reused = true;
                break;
            }
        }
        if connection.stream.is_none() {
            connection.stream = Some(self.connect(Instant::now() + self.settings.timeout)?);
        }
        drop(connection);
        Ok(line)
    }

    /// Counts another connection. Where there are as many as may be, it takes the place of one whose body has not come on for as long as a
    /// server would be given: a few that come drop by drop must not keep all others from being asked about.
    fn make_room(&self, another: &Arc<Mutex<Used>>) -> Result<(), Failure> {
        let mut used = lock(&self.used);
        if used.len() >= self.settings.connections {
            let gives_way = |each: &Arc<Mutex<Used>>| {
                let Ok(mut each) = each.try_lock() else { return false };
                let is_stale = each.since.elapsed() >= self.settings.timeout;
                each.stream = each.stream.take().filter(|_| !is_stale);
                is_stale
            };
            let place = used.iter().position(gives_way).ok_or(Failure::Busy)?;
            used.remove(place);
        }
        used.push(Arc::clone(another));
        Ok(())
    }

    /// Whether this is news: it has answered, or it has not.
    pub(super) fn note(&self, is_failing: bool) -> bool {
        self.is_failing.swap(is_failing, Relaxed) != is_failing
    }

    fn pop_idle(&self) -> Option<TcpStream> {
        lock(&self.idle).pop()
    }

    fn connect(&self, until: Instant) -> Result<TcpStream, Failure> {
        let Service { host, port, .. } = &self.settings.service;
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (host.trim_matches(['[', ']']), *port).to_socket_addrs()? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Timeout);
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_nonblocking(true)?;
                    // Ends of requests must not wait for acknowledgements of what was before.
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        if matches!(last.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) {
            return Err(Failure::Timeout);
        }
        Err(Failure::Down(last))
    }
}

/// A connection in use.
#[derive(Debug)]
struct Line {
    server: Arc<Server>,
    used: Arc<Mutex<Used>>,
    /// It has had an exchange before.
    is_reused: bool,
    /// It is good for another exchange.
    is_kept: bool,
}

impl Line {
    fn keep(mut self) {
        self.is_kept = true;
    }

    /// A new connection takes the place of the one that the server has closed.
    fn reconnect(&mut self, until: Instant) -> Result<(), Failure> {
        let mut used = lock(&self.used);
        if used.stream.is_none() {
            return Err(Failure::Down(ErrorKind::NotConnected.into()));
        }
        used.stream = Some(self.server.connect(until)?);
        Ok(())
    }

    /// Sends what can be sent of `output`, from `sent` on, and reads what there is; waits for one of both. Returns what was read.
    fn turn(
        &mut self,
        output: &[u8],
        sent: &mut usize,
        buffer: &mut [u8],
        until: Instant,
    ) -> Result<Option<usize>, Failure> {
        let mut used = lock(&self.used);
        used.since = Instant::now();
        let Some(stream) = &mut used.stream else {
            return Err(Failure::Down(ErrorKind::NotConnected.into()));
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Timeout);
        }
        let writes = if *sent < output.len() { PollFlags::POLLOUT } else { PollFlags::empty() };
        let mut wanted = [PollFd::new(stream.as_fd(), PollFlags::POLLIN | writes)];
        let millis = u16::try_from(left.as_millis()).unwrap_or(u16::MAX).max(1);
        match poll(&mut wanted, PollTimeout::from(millis)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(Failure::Down(error.into())),
        }
        if *sent < output.len() {
            match stream.write(&output[*sent..]) {
                Ok(written) => *sent += written,
                Err(error) if is_for_later(&error) => {}
                // Whoever has answered early may have closed its end: what it has said counts.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    *sent = output.len();
                }
                Err(error) => return Err(Failure::Down(error)),
            }
        }
        match stream.read(buffer) {
            Ok(read) => Ok(Some(read)),
            Err(error) if is_for_later(&error) => Ok(None),
            Err(error) => Err(Failure::Down(error)),
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Drop for Line {
    fn drop(&mut self) {
        lock(&self.server.used).retain(|each| !Arc::ptr_eq(each, &self.used));
        if let Some(stream) = lock(&self.used).stream.take().filter(|_| self.is_kept) {
            let mut idle = lock(&self.server.idle);
            if idle.len() < self.server.settings.connections {
                idle.push(stream);
            }
        }
    }
}

/// One message that is being asked about.
#[derive(Debug)]
pub struct Asking {
    line: Line,
    exchange: Exchange,
    output: Vec<u8>,
    sent: usize,
    /// All that was given to a connection that was kept, while nothing has come back: a server may have closed it just then, and is asked
    /// again on a new one. None: it is too late for that, or too much.
    again: Option<Vec<u8>>,
    /// How long the server may still keep it waiting.
    left: Duration,
}

impl Asking {
    /// More of the message's body. Waits until the server has taken it, or has said what it makes of the message.
    ///
    /// # Errors
    /// It does neither.
    pub fn push(&mut self, octets: &[u8]) -> Result<Option<Outcome>, Failure> {
        self.exchange.push(octets);
        self.exchange(|asking| asking.exchange.wants_body())
    }

    /// No more of it comes. Waits for what the server makes of it.
    ///
    /// # Errors
    /// It does not say.
    pub fn end(mut self) -> Result<Outcome, Failure> {
        self.exchange.end();
        let outcome = self.exchange(|_| false)?;
        outcome.ok_or(Failure::Icap(IcapError::Closed))
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        self.exchange.memory() + self.output.capacity() + self.again.as_ref().map_or(0, Vec::capacity)
    }

    /// Sends and reads until there is an outcome, or `is_enough` with nothing left to send.
    fn exchange(&mut self, is_enough: impl Fn(&Self) -> bool) -> Result<Option<Outcome>, Failure> {
        let begun = Instant::now();
        let said = self.exchange_until(begun + self.left, is_enough);
        self.left = self.left.saturating_sub(begun.elapsed());
        said
    }

    fn exchange_until(
        &mut self,
        until: Instant,
        is_enough: impl Fn(&Self) -> bool,
    ) -> Result<Option<Outcome>, Failure> {
        let mut buffer = [0; READ];
        loop {
            if let Some(outcome) = self.exchange.outcome().cloned() {
                self.line.is_kept = self.exchange.may_reuse() && self.sent == self.output.len();
                return Ok(Some(outcome));
            }
            let more = self.exchange.take_output();
            if let Some(again) = &mut self.again {
                again.extend_from_slice(&more);
                self.again.take_if(|again| again.len() > MAX_AGAIN);
            }
            if self.sent == self.output.len() {
                (self.output, self.sent) = (more, 0);
            } else {
                self.output.extend_from_slice(&more);
            }
            if self.sent == self.output.len() && is_enough(self) {
                return Ok(None);
            }
            let turn = self.line.turn(&self.output, &mut self.sent, &mut buffer, until);
            if !matches!(turn, Ok(None))
                && let Some(again) = self.again.take()
                && matches!(turn, Ok(Some(0)) | Err(Failure::Down(_)))
            {
                self.line.reconnect(until)?;
                (self.output, self.sent) = (again, 0);
                continue;
            }
            match turn? {
                Some(0) => self.exchange.closed()?,
                Some(read) => self.exchange.receive(&buffer[..read])?,
                None => {}
            }
        }
    }
}
