//! Threads that fetch CRLs, OCSP responses and certificates of issuers, through ordinary sockets of this host. Nobody waits for them.
//!
//! What is fetched, how often, and what becomes of it is decided by the core's [`Fetcher`]; here are sockets, names and the clock.

mod http;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::confine::{self, Kind};
use wireglass_core::tls::{Fetch, FetchKind, FetchOutcome, Fetcher};

/// How often an idle thread looks whether there is something to fetch.
const LOOK: Duration = Duration::from_millis(100);
/// How long a stop waits for what is on the way.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is said that the same kind of request fails in the same way.
const SAID: Duration = Duration::from_secs(60);

/// The threads.
pub struct FetchThreads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl FetchThreads {
    /// Starts as many as may be on the way at a time. No answer takes longer than `timeout`, the look-up of the name aside.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(fetcher: &Arc<Fetcher>, timeout: Duration) -> io::Result<Self> {
        let (stop, said) = (Arc::<AtomicBool>::default(), Arc::<Said>::default());
        let started = Instant::now();
        let mut threads = Vec::new();
        for number in 0..fetcher.settings().parallel {
            let (fetcher, stopping, said) = (Arc::clone(fetcher), Arc::clone(&stop), Arc::clone(&said));
            let thread = thread::Builder::new().name(format!("wg-fetch-{number}")).spawn(move || {
                confine::enter(Kind::Fetch);
                while !stopping.load(Ordering::Relaxed) {
                    match next(&fetcher, started) {
                        Some(fetch) => run(&fetcher, fetch, timeout, &said),
                        None => thread::sleep(LOOK),
                    }
                }
            })?;
            threads.push(thread);
        }
        Ok(Self { stop, threads })
    }

    /// Ends them. One that waits for a host, or for a name server, is not waited for: it has nothing that must be given back.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.threads.iter().all(JoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn next(fetcher: &Fetcher, started: Instant) -> Option<Fetch> {
    let micros = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
    fetcher.next(tcp_stack::Instant::from_micros(micros), seconds())
}

fn run(fetcher: &Fetcher, fetch: Fetch, timeout: Duration, said: &Said) {
    let (kind, url) = (fetch.kind, fetch.url.to_string());
    let answer = http::ask(fetcher, &fetch, timeout);
    let outcome = fetcher.done(fetch, answer, seconds());
    said.say(kind, outcome, &url);
}

/// Seconds since the Unix epoch.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// When what was said last: servers choose what their certificates say, and how often a log would have it.
#[derive(Default)]
struct Said(Mutex<[[Option<Instant>; FetchOutcome::ALL.len()]; FetchKind::ALL.len()]>);

impl Said {
    fn say(&self, kind: FetchKind, outcome: FetchOutcome, url: &str) {
        let name = kind.name();
        let message = match outcome {
            FetchOutcome::Stored | FetchOutcome::Redirected => {
                return tracing::debug!("fetch: {name} {url}: {}", outcome.name());
            }
            FetchOutcome::Forbidden => {
                "leads to an address or port that is not asked; a PKI of your own is to be named in fetch.allow and fetch.ports"
            }
            FetchOutcome::Unresolved => {
                "its name has no address here: see the name servers in /etc/resolv.conf"
            }
            FetchOutcome::Unreachable => "no connection: this host needs a way to it, on its own interfaces",
            FetchOutcome::Timeout => "no answer within fetch.timeout_seconds",
            FetchOutcome::TooLong => "the answer is longer than fetch.answer_bytes",
            FetchOutcome::Status => "the server says no, or redirects too often (fetch.redirects)",
            FetchOutcome::Protocol => "the answer is no HTTP",
            FetchOutcome::Rejected => "the answer is out of date, or not what it was asked for",
            FetchOutcome::QueueFull => return,
        };
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &mut all[kind as usize][outcome as usize];
        if last.is_some_and(|last| now < last + SAID) {
            return;
        }
        *last = Some(now);
        // Anybody can show certificates that lead nowhere, but a root has vouched for where CRLs and responders are.
        match kind {
            FetchKind::Issuer => tracing::info!("fetch: {name} {url}: {message}"),
            _ => tracing::warn!("fetch: {name} {url}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests;
