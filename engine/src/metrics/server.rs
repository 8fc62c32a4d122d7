//! A very small HTTP server for the metrics and the status page: one thread, one connection at a time, everything bounded.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::access::Access;
use super::liveness::{PATIENCE, Pulse};
use super::page::Metrics;
use super::status;
use crate::confine::{self, Kind};

/// A client has this long to send its request, and again to take the answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest request that is read.
const MAX_REQUEST: usize = 8192;
/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a browser may make of an answer: of the status page only what is served beside it, and of others nothing; in no frame, not for
/// pages from elsewhere, and not from its cache.
const RESTRICTIONS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
    Cache-Control: no-store\r\n";

/// Serves `GET /metrics`, `GET /health` and, where it is wanted, the status page at `/`, until dropped or stopped.
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
    pub fn start(listen: SocketAddr, access: Access, metrics: Arc<Metrics>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || {
            confine::enter(Kind::Metrics);
            serve(&listener, &Served { access, address, metrics }, &stopped);
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

/// What is served, and to whom.
struct Served {
    access: Access,
    /// Where it listens.
    address: SocketAddr,
    metrics: Arc<Metrics>,
}

fn serve(listener: &TcpListener, served: &Served, stop: &AtomicBool) {
    loop {
        let accepted = listener.accept();
        if stop.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, _)) => {
                // What goes wrong with one client is that client's own affair.
                let _ = answer(stream, served);
            }
            // Out of descriptors, say: do not spin on it.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(mut stream: TcpStream, served: &Served) -> io::Result<()> {
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
        if let Some(response) = respond(&request[..len], served) {
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
fn respond(request: &[u8], served: &Served) -> Option<Vec<u8>> {
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
    Some(served.respond(path, parsed.headers).bytes(head_only))
}

impl Served {
    fn respond(&self, path: &str, headers: &[httparse::Header<'_>]) -> Response {
        let metrics = &self.metrics;
        // Of this machine or its container, and there is nothing to learn from it.
        if path == "/health" {
            return health(metrics.liveness().look(Instant::now(), PATIENCE));
        }
        // On an address that others reach, Prometheus may ask for the metrics by any name, and so may whoever else reaches it.
        let is_local = self.address.ip().is_loopback();
        if (path != "/metrics" || is_local) && !self.is_meant(headers) {
            let said = "asked for under a name that is not listed in metrics.hosts\n";
            return Response::text("421 Misdirected Request", said);
        }
        let ok = |content_type, body| Response { status: "200 OK", content_type, body };
        match path {
            "/metrics" => {
                let mut body = String::with_capacity(64 * 1024);
                metrics.render_prometheus(&mut body);
                ok(TEXT_FORMAT, body)
            }
            "/" if self.access.page => ok("text/html; charset=utf-8", status::HTML.into()),
            "/status.js" if self.access.page => ok("text/javascript; charset=utf-8", status::JS.into()),
            "/status.css" if self.access.page => ok("text/css; charset=utf-8", status::CSS.into()),
            "/status.json" if self.access.page => ok("application/json", metrics.status_json()),
            _ => Response::text("404 Not Found", "try /metrics or /health\n"),
        }
    }

    /// It names this server. Of several names none does; without one, it is from no browser.
    fn is_meant(&self, headers: &[httparse::Header<'_>]) -> bool {
        let mut hosts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
        match (hosts.next(), hosts.next()) {
            (None, _) => true,
            (Some(host), None) => str::from_utf8(host.value).is_ok_and(|host| self.access.knows(host)),
            (Some(_), Some(_)) => false,
        }
    }
}

/// For who restarts what is stuck, and for who waits for the start.
fn health(pulse: Pulse) -> Response {
    let status = if pulse == Pulse::Alive { "200 OK" } else { "503 Service Unavailable" };
    Response::text(status, &format!("{pulse}\n"))
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
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{RESTRICTIONS}{allow}Connection: close\r\n\r\n",
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
