//! A very small HTTP server for the metrics page: one thread, one connection at a time, everything bounded.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::liveness::{PATIENCE, Pulse};
use super::page::Metrics;
use crate::confine::{self, Kind};

/// A client has this long to send its request, and again to take the answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest request that is read.
const MAX_REQUEST: usize = 8192;
/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `GET /metrics` and `GET /health` until dropped or stopped.
pub struct MetricsServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Listens and starts the thread. Port 0 asks the system for a free one; see [`Self::address`].
    ///
    /// # Errors
    /// The address cannot be bound, or no thread can be started.
    pub fn start(listen: SocketAddr, metrics: Arc<Metrics>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || {
            confine::enter(Kind::Metrics);
            serve(&listener, &metrics, &stopped);
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops and waits for the thread: at most the two deadlines of a client that is being served.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::Release);
        // Wakes the thread out of accept(). An address like 0.0.0.0 is reached through loopback.
        let mut target = self.address;
        if target.ip().is_unspecified() {
            target.set_ip(match target {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let woken = TcpStream::connect_timeout(&target, DEADLINE);
        // Not woken (a firewall, say): better a thread left behind than a stop that hangs.
        if woken.is_ok() {
            let _ = thread.join();
        }
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.halt();
    }
}

fn serve(listener: &TcpListener, metrics: &Metrics, stop: &AtomicBool) {
    loop {
        let accepted = listener.accept();
        if stop.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, _)) => {
                // What goes wrong with one client is that client's own affair.
                let _ = answer(stream, metrics);
            }
            // Out of descriptors, say: do not spin on it.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(mut stream: TcpStream, metrics: &Metrics) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let mut request = [0u8; MAX_REQUEST];
    let mut len = 0;
    let response = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut request[len..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => len += n,
        }
        if let Some(response) = respond(&request[..len], metrics) {
            break response;
        }
        if len == MAX_REQUEST {
            break Response::text("431 Request Header Fields Too Large", "request too large\n").bytes(false);
        }
    };
    write_until(&mut stream, &response, Instant::now() + DEADLINE)?;
    stream.shutdown(Shutdown::Write)
}

/// A client that takes the page byte by byte does not get more time than one that takes none.
fn write_until(stream: &mut TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => bytes = &bytes[n..],
        }
    }
    Ok(())
}

/// The answer to a request; none while it is incomplete.
fn respond(request: &[u8], metrics: &Metrics) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let head_only = match parsed.parse(request) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => parsed.method == Some("HEAD"),
        Err(_) => return Some(Response::text("400 Bad Request", "not HTTP\n").bytes(false)),
    };
    if !matches!(parsed.method, Some("GET" | "HEAD")) {
        return Some(Response::text("405 Method Not Allowed", "only GET\n").bytes(false));
    }
    let path = parsed.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let response = match path {
        "/metrics" => {
            let mut body = String::with_capacity(64 * 1024);
            metrics.render_prometheus(&mut body);
            Response { status: "200 OK", content_type: TEXT_FORMAT, body }
        }
        "/health" => health(metrics.liveness().look(Instant::now(), PATIENCE)),
        _ => Response::text("404 Not Found", "try /metrics or /health\n"),
    };
    Some(response.bytes(head_only))
}

/// For who restarts what is stuck, and for who waits for the start.
fn health(pulse: Pulse) -> Response {
    const UNAVAILABLE: &str = "503 Service Unavailable";
    match pulse {
        Pulse::Alive => Response::text("200 OK", "ok\n"),
        Pulse::Starting => Response::text(UNAVAILABLE, "starting\n"),
        Pulse::Stuck { worker, since } => {
            let said = format!("worker {worker} makes no turns for {} s\n", since.as_secs());
            Response::text(UNAVAILABLE, &said)
        }
    }
}

struct Response {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Response {
    fn text(status: &'static str, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    fn bytes(&self, head_only: bool) -> Vec<u8> {
        let allow = if self.status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let mut out = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        if !head_only {
            out.push_str(&self.body);
        }
        out.into_bytes()
    }
}
