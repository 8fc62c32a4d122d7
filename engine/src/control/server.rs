//! The engine's end of the control channel: few connections, each with a thread, a deadline and one request.

mod operate;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::RecvTimeoutError;
use wireglass_core::exclusions::{Cause, Clients, Exclusion};
use wireglass_core::flow::FlowSnapshot;

use super::acceptor::{Acceptor, Open};
use super::operate::Peer;
use super::protocol::{
    Command, ExcludeRequest, FlowsRequest, IncludeRequest, Line, Refusal, ReloadRecord, Right, VERSION,
};
use super::record::FlowRecord;
use super::{ControlSocket, Counters};
use crate::confine::Kind;
use crate::flow_dump::FlowDumper;
use crate::metrics::Metrics;
use crate::reload::{ReloadHandle, Reloaded};

/// Connections at a time of those who may operate, and of all others. More are told so and closed: who may only look cannot keep
/// anybody from the panic button.
const CONNECTIONS: usize = 4;
/// A request has this long to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(2);
/// Longest request.
const MAX_REQUEST: usize = 4096;
/// The workers have this long to answer; a worker that sleeps wakes within a millisecond.
const SURVEY_TIME: Duration = Duration::from_secs(10);
/// An answer has this long to be taken.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How often it is looked whether the workers have answered.
const GLANCE: Duration = Duration::from_micros(500);
/// How often it is looked whether the engine stops while it reloads.
const RELOAD_GLANCE: Duration = Duration::from_millis(100);
/// Longest text of faults: a client reads lines of 256 KB, and JSON may double what it quotes.
const MAX_FAULTS: usize = 64 * 1024;
/// Bytes that are written at once.
const BLOCK: usize = 64 * 1024;

/// Answers until dropped or stopped.
pub struct ControlServer {
    acceptor: Acceptor,
}

struct Shared {
    dumper: FlowDumper,
    metrics: Arc<Metrics>,
    engine: Option<WholeEngine>,
    stop: Arc<AtomicBool>,
}

/// What can be done to an engine as a whole.
pub struct WholeEngine {
    /// It loads its configuration anew.
    pub reload: ReloadHandle,
    /// Set, it ends as after a signal.
    pub stop: Arc<AtomicBool>,
    /// Where its metrics are served.
    pub metrics: Option<SocketAddr>,
}

/// A connection may operate.
struct MayOperate(bool);

impl ControlServer {
    /// Starts the thread, which keeps the socket. Without `engine`, requests to reload and to stop are refused.
    ///
    /// # Errors
    /// When the thread cannot be started, or there are no more descriptors.
    pub fn start(
        socket: ControlSocket,
        dumper: FlowDumper,
        metrics: Arc<Metrics>,
        engine: Option<WholeEngine>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared { dumper, metrics, engine, stop: Arc::clone(&stop) });
        let take = move |stream, peer, open: &[Open<MayOperate>]| accept(stream, peer, open, &shared);
        Ok(Self { acceptor: Acceptor::start(socket, ("wg-control", Kind::Control), stop, take)? })
    }

    /// Ends all connections and the thread, and removes the socket.
    pub fn stop(self) {
        drop(self.acceptor);
    }
}

fn accept(
    stream: UnixStream,
    peer: Peer,
    open: &[Open<MayOperate>],
    shared: &Arc<Shared>,
) -> Option<Open<MayOperate>> {
    let may_operate = peer.may_operate(nix::unistd::geteuid().as_raw());
    if open.iter().filter(|open| open.about.0 == may_operate).count() >= CONNECTIONS {
        let line = Refusal::Busy.line("other requests are being answered; try again");
        // Into the empty buffer of a new socket, or not at all: nobody is waited for here.
        let _ = stream.set_nonblocking(true);
        let _ = (&stream).write_all(encode(&line).as_bytes());
        return None;
    }
    let shared = Arc::clone(shared);
    Open::serve(stream, MayOperate(may_operate), "wg-control-peer", move |stream| {
        // What goes wrong with one connection is its own affair.
        let _ = answer(stream, (peer, may_operate), &shared);
    })
}

fn answer(stream: &UnixStream, (peer, may_operate): (Peer, bool), shared: &Shared) -> io::Result<()> {
    let request = read_line(stream, Instant::now() + REQUEST_TIME);
    let mut out = Answer { stream, deadline: Instant::now() + ANSWER_TIME, pending: Vec::new() };
    let command = request.map_err(|refusal| *refusal).and_then(|line| Command::parse(&line));
    match command {
        Ok(command) if command.right() == Right::Operate && !may_operate => {
            out.line(&Refusal::Forbidden.line(
                "you may look, not operate: that is for the user who runs the engine, and for root; try sudo",
            ))?;
        }
        Ok(Command::Kill(request)) => operate::kill(shared, &request, peer, &mut out)?,
        Ok(Command::Order(order, request)) => operate::order(shared, order, request, peer, &mut out)?,
        Ok(Command::EndOrder(order)) => operate::end_order(shared, order, peer, &mut out)?,
        Ok(Command::Orders) => operate::orders(shared, &mut out)?,
        Ok(Command::LogLevel(request)) => operate::log_level(shared, request, peer, &mut out)?,
        Ok(Command::Stop(request)) => operate::stop(shared, request, peer, &mut out)?,
        Ok(Command::Flows(request)) => flows(shared, &request, &mut out)?,
        Ok(Command::Reload) => reload(shared, &mut out)?,
        Ok(Command::Exclusions) => exclusions(shared, &mut out)?,
        Ok(Command::Exclude(request)) => exclude(shared, &request, &mut out)?,
        Ok(Command::Include(request)) => include(shared, &request, &mut out)?,
        Ok(Command::Counters) => counters(&shared.metrics, &mut out)?,
        Err(refusal) => out.line(&refusal)?,
    }
    out.flush()
}

/// The bytes before the first line feed.
fn read_line(mut stream: &UnixStream, deadline: Instant) -> Result<Vec<u8>, Box<Line>> {
    let mut line = Vec::with_capacity(256);
    let mut block = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let read = match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut block)),
        };
        match read {
            Ok(0) => return Err(Refusal::Request.line("the request ended before its line did").into()),
            Ok(n) => line.extend_from_slice(&block[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                let message = format!("no request within {} s", REQUEST_TIME.as_secs());
                return Err(Refusal::Late.line(message).into());
            }
        }
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return Ok(line);
        }
        if line.len() > MAX_REQUEST {
            let message = format!("the request is longer than {MAX_REQUEST} bytes");
            return Err(Refusal::Request.line(message).into());
        }
    }
}

fn flows(shared: &Shared, request: &FlowsRequest, out: &mut Answer<'_>) -> io::Result<()> {
    let found = match collect(shared, request) {
        Ok(found) => found,
        Err(refusal) => return out.line(&refusal),
    };
    // Not before: the time to take an answer begins when there is one.
    out.deadline = Instant::now() + ANSWER_TIME;
    out.line(&Line::Begin { version: VERSION, engine: crate::version::VERSION.into() })?;
    for flow in &found.first {
        out.line(&Line::Flow(Box::new(FlowRecord::new(flow))))?;
    }
    out.line(&Line::End { seen: found.seen, matched: found.matched, complete: found.complete })
}

/// Waits until it is done: lists of millions of names take seconds.
fn reload(shared: &Shared, out: &mut Answer<'_>) -> io::Result<()> {
    let Some(WholeEngine { reload: handle, .. }) = &shared.engine else {
        return out.line(&Refusal::Request.line("this engine does not load its configuration anew"));
    };
    let Ok(answer) = handle.ask() else {
        return out.line(&Refusal::Busy.line("other reloads are waiting; try again"));
    };
    let done = loop {
        match answer.recv_timeout(RELOAD_GLANCE) {
            Ok(done) => break done,
            Err(RecvTimeoutError::Timeout) if !shared.stop.load(Ordering::Acquire) => {}
            Err(_) => return out.line(&Refusal::Stopping.line("the engine is stopping")),
        }
    };
    // Not before: the time to take an answer begins when there is one.
    out.deadline = Instant::now() + ANSWER_TIME;
    match done {
        Ok(Reloaded { generation, changed, needs_restart }) => {
            out.line(&Line::Begin { version: VERSION, engine: crate::version::VERSION.into() })?;
            out.line(&Line::Reload(ReloadRecord { generation, changed, needs_restart }))
        }
        Err(message) => out.line(&Refusal::Fault.line(bounded(message))),
    }
}

fn exclusions(shared: &Shared, out: &mut Answer<'_>) -> io::Result<()> {
    let Some(exclusions) = shared.metrics.exclusions() else { return no_exclusions(out) };
    let all = exclusions.list(unix_now());
    begin(out)?;
    for exclusion in &all {
        out.line(&Line::Exclusion(Box::new(exclusion.into())))?;
    }
    out.line(&Line::Exclusions { count: all.len() as u64 })
}

fn exclude(shared: &Shared, request: &ExcludeRequest, out: &mut Answer<'_>) -> io::Result<()> {
    let Some(exclusions) = shared.metrics.exclusions() else { return no_exclusions(out) };
    let server = match request.server() {
        Ok(server) => server,
        Err(error) => return out.line(&Refusal::Request.line(error)),
    };
    let (since, clients) = (unix_now(), Clients::Any);
    let until = since.saturating_add(u64::from(request.hours) * 3600);
    exclusions.add(Exclusion { cause: Cause::Manual, server, clients, since, until, engine: None });
    begin(out)?;
    out.line(&Line::Exclusions { count: 1 })
}

fn include(shared: &Shared, request: &IncludeRequest, out: &mut Answer<'_>) -> io::Result<()> {
    let Some(exclusions) = shared.metrics.exclusions() else { return no_exclusions(out) };
    let removed = match request.matcher() {
        Ok(matcher) => exclusions.remove(unix_now(), matcher),
        Err(error) => return out.line(&Refusal::Request.line(error)),
    };
    begin(out)?;
    out.line(&Line::Exclusions { count: removed as u64 })
}

fn no_exclusions(out: &mut Answer<'_>) -> io::Result<()> {
    out.line(&Refusal::Request.line("this engine decrypts nothing"))
}

fn begin(out: &mut Answer<'_>) -> io::Result<()> {
    out.line(&Line::Begin { version: VERSION, engine: crate::version::VERSION.into() })
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// As many lines of faults as an answer may have.
fn bounded(mut message: String) -> String {
    if message.len() > MAX_FAULTS {
        let cut = message[..message.floor_char_boundary(MAX_FAULTS)].rfind('\n').unwrap_or(0);
        message.truncate(cut);
        message.push_str("\n(and more: `wireglass check` shows all)");
    }
    message
}

fn counters(metrics: &Metrics, out: &mut Answer<'_>) -> io::Result<()> {
    let Counters { version, engine, workers, ports } = Counters::read(metrics);
    out.line(&Line::Begin { version: VERSION, engine: version })?;
    for worker in workers {
        out.line(&Line::Worker(Box::new(worker)))?;
    }
    for port in ports {
        out.line(&Line::Port(Box::new(port)))?;
    }
    out.line(&Line::Engine(Box::new(engine)))
}

/// What came of a dump.
struct Found {
    /// Those to be told, in their order.
    first: Vec<FlowSnapshot>,
    seen: u64,
    matched: u64,
    complete: bool,
}

fn collect(shared: &Shared, request: &FlowsRequest) -> Result<Found, Line> {
    let matcher = request.matcher().map_err(|error| Refusal::Request.line(error))?;
    let mut dump = shared
        .dumper
        .ask(request.wanted())
        .map_err(|_| Refusal::Busy.line("the workers are being asked already; try again"))?;
    let deadline = Instant::now() + SURVEY_TIME;
    let mut best = Best::new(request.limit());
    let mut matched = 0;
    loop {
        while let Some(flow) = dump.poll() {
            if matcher.matches(&flow) {
                matched += 1;
                best.add(request.sort.key(&flow), flow);
            }
        }
        if dump.is_done() || Instant::now() >= deadline {
            break;
        }
        if shared.stop.load(Ordering::Acquire) {
            return Err(Refusal::Stopping.line("the engine is stopping"));
        }
        thread::sleep(GLANCE);
    }
    Ok(Found { first: best.into_sorted(), seen: dump.seen(), matched, complete: dump.is_done() })
}

/// The flows with the highest keys, as many as are asked for.
struct Best {
    limit: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
}

struct Ranked {
    /// What it is ranked by; then older flows, which have the lower number, come first.
    rank: (u64, Reverse<u64>),
    flow: Box<FlowSnapshot>,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl Best {
    fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    fn add(&mut self, key: u64, flow: FlowSnapshot) {
        let rank = (key, Reverse(flow.identity.flow_id));
        if self.heap.len() >= self.limit {
            match self.heap.peek() {
                Some(Reverse(least)) if least.rank < rank => drop(self.heap.pop()),
                _ => return,
            }
        }
        self.heap.push(Reverse(Ranked { rank, flow: Box::new(flow) }));
    }

    fn into_sorted(self) -> Vec<FlowSnapshot> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| *ranked.flow).collect()
    }
}

/// Lines on their way to a peer that may be slow.
struct Answer<'s> {
    stream: &'s UnixStream,
    deadline: Instant,
    pending: Vec<u8>,
}

impl Answer<'_> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.pending.extend_from_slice(encode(line).as_bytes());
        if self.pending.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut bytes = self.pending.as_slice();
        while !bytes.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_write_timeout(Some(left))?;
            match self.stream.write(bytes)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => bytes = &bytes[n..],
            }
        }
        self.pending.clear();
        Ok(())
    }
}

fn encode(line: &Line) -> String {
    // Numbers and texts: nothing in it can fail to be JSON.
    serde_json::to_string(line).unwrap_or_default() + "\n"
}
