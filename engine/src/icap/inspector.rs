//! Asks a server about bodies, on the threads that look at them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wireglass_core::content::{Finding, Hit, Inspector, Message, Scanner};
use wireglass_core::icap::{IcapError, Outcome};
use wireglass_core::reason::Reason;

use super::counters::Answer;
use super::server::{Asking, Failure, Server};

/// A server that is asked about bodies.
#[derive(Debug)]
pub struct IcapInspector {
    name: Arc<str>,
    /// Its service for requests.
    reqmod: Option<Arc<Server>>,
    /// Likewise for responses.
    respmod: Option<Arc<Server>>,
    max_bytes: u64,
}

impl IcapInspector {
    /// `name`: as rules have it, `icap.NAME`. `reqmod`, `respmod`: its services. Of a body of more than `max_bytes` octets it is not asked,
    /// as servers let pass what is longer than they read.
    pub fn new(
        name: Arc<str>,
        reqmod: Option<Arc<Server>>,
        respmod: Option<Arc<Server>>,
        max_bytes: u64,
    ) -> Self {
        Self { name, reqmod, respmod, max_bytes }
    }
}

impl Inspector for IcapInspector {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn scanner(&self, message: &Message<'_>) -> Box<dyn Scanner> {
        let server = if message.status.is_some() { &self.respmod } else { &self.reqmod };
        let Some(server) = server else { return Box::new(NoService) };
        Box::new(IcapScanner {
            name: Arc::clone(&self.name),
            server: Arc::clone(server),
            left: self.max_bytes,
            heads: heads(message),
            waited: Duration::ZERO,
            state: State::Begins,
        })
    }
}

/// Nobody can be asked about bodies of this direction, so nobody knows what is in them.
struct NoService;

impl Scanner for NoService {
    fn feed(&mut self, _: &[u8]) -> Option<Finding> {
        Some(Finding::Fails(Reason::IcapDown))
    }

    fn end(&mut self) -> Option<Finding> {
        None
    }

    fn memory(&self) -> usize {
        0
    }
}

struct IcapScanner {
    name: Arc<str>,
    server: Arc<Server>,
    /// Octets of which the server may still be asked.
    left: u64,
    heads: [Vec<u8>; 2],
    /// How long the server has kept it waiting.
    waited: Duration,
    state: State,
}

enum State {
    /// Nothing has come.
    Begins,
    Asks(Box<Asking>),
    /// It has said what it has to say.
    Over,
}

impl IcapScanner {
    fn told(&mut self, said: Result<Option<Outcome>, Failure>) -> Option<Finding> {
        let service = &self.server.settings().service;
        if matches!(said, Ok(Some(_))) && self.server.note(false) {
            tracing::info!("{} ({service}): it answers again", self.name);
        }
        if let Some(answer) = answer(&said) {
            self.server.counters().count(answer, self.waited);
        }
        let finding = match said {
            Ok(None) => return None,
            Ok(Some(Outcome::Unmodified)) => None,
            Ok(Some(Outcome::Modified(modified))) => {
                let what = modified.threat.unwrap_or_else(|| "changed by the server".into());
                Some(Finding::Hit(Hit::new(Arc::clone(&self.name), &what)))
            }
            Err(failure) => {
                // Events tell of each body; here it is told when it begins.
                if self.server.note(true) {
                    tracing::warn!("{} ({service}): {failure}", self.name);
                }
                Some(Finding::Fails(reason(&failure)))
            }
        };
        self.state = State::Over;
        finding
    }

    fn asking(&mut self) -> Result<Option<&mut Asking>, Failure> {
        if matches!(self.state, State::Begins) {
            let [request, response] = &self.heads;
            let asking = self.server.ask([request, response])?;
            self.state = State::Asks(Box::new(asking));
        }
        match &mut self.state {
            State::Asks(asking) => Ok(Some(asking)),
            State::Begins | State::Over => Ok(None),
        }
    }
}

impl Scanner for IcapScanner {
    fn feed(&mut self, octets: &[u8]) -> Option<Finding> {
        let left = self.left.checked_sub(octets.len() as u64);
        let begun = Instant::now();
        let said = match self.asking() {
            Ok(None) => return None,
            Ok(Some(_)) if left.is_none() => {
                self.state = State::Over;
                self.server.counters().count(Answer::Oversize, self.waited);
                return Some(Finding::Fails(Reason::IcapOversize));
            }
            Ok(Some(asking)) => asking.push(octets),
            Err(failure) => Err(failure),
        };
        self.left = left.unwrap_or_default();
        self.waited += begun.elapsed();
        self.told(said)
    }

    fn end(&mut self) -> Option<Finding> {
        // Nothing is in a body that has nothing.
        let State::Asks(asking) = std::mem::replace(&mut self.state, State::Over) else { return None };
        let begun = Instant::now();
        let said = asking.end().map(Some);
        self.waited += begun.elapsed();
        self.told(said)
    }

    fn memory(&self) -> usize {
        let asking =
            if let State::Asks(asking) = &self.state { size_of::<Asking>() + asking.memory() } else { 0 };
        self.heads.iter().map(Vec::capacity).sum::<usize>() + asking
    }
}

/// What is counted, once there is something to count.
fn answer(said: &Result<Option<Outcome>, Failure>) -> Option<Answer> {
    Some(match said {
        Ok(None) => return None,
        Ok(Some(Outcome::Unmodified)) => Answer::Unmodified,
        Ok(Some(Outcome::Modified(_))) => Answer::Modified,
        Err(Failure::Busy) => Answer::Busy,
        Err(Failure::Down(_) | Failure::Icap(IcapError::Closed)) => Answer::Down,
        Err(Failure::Timeout) => Answer::Timeout,
        Err(Failure::Icap(IcapError::Short { .. })) => Answer::Short,
        Err(Failure::Icap(IcapError::Protocol(_) | IcapError::TooLong | IcapError::Status(_))) => {
            Answer::Protocol
        }
    })
}

fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::Busy => Reason::ContentOverload,
        Failure::Down(_) | Failure::Timeout | Failure::Icap(IcapError::Closed) => Reason::IcapDown,
        Failure::Icap(IcapError::Short { .. }) => Reason::IcapShort,
        Failure::Icap(IcapError::Protocol(_) | IcapError::TooLong | IcapError::Status(_)) => {
            Reason::IcapProtocol
        }
    }
}

/// Heads of HTTP/1.1, whatever was spoken. The codings of the body are undone, so nothing is said of them, nor of its length.
fn heads(message: &Message<'_>) -> [Vec<u8>; 2] {
    let Message { method, host, target, status, content_type } = *message;
    // What is in a field of HTTP/2 could end a line here.
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let (method, host, target) = (clean(method), clean(host), clean(target));
    let kind = content_type.map(|kind| format!("Content-Type: {}\r\n", clean(kind))).unwrap_or_default();
    let target = if target.starts_with('/') { target } else { format!("/{target}") };
    let line = format!("{method} https://{host}{target} HTTP/1.1\r\nHost: {host}\r\n");
    let [request, response] = match status {
        Some(status) => [format!("{line}\r\n"), format!("HTTP/1.1 {status} OK\r\n{kind}\r\n")],
        None => [format!("{line}{kind}\r\n"), String::new()],
    };
    [request.into_bytes(), response.into_bytes()]
}
