//! One message, asked about.

use sha2::{Digest as _, Sha256};

use super::IcapError;
use super::answer::{AnswerReader, Event};
use super::head::{http_length, http_status};
use super::service::{Method, Service};

/// Octets that are put into one chunk.
const CHUNK: usize = 16 * 1024;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may pass as it is.
    Unmodified,
    /// The server would have something else pass.
    Modified(Modified),
}

/// What a server would have pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modified {
    /// What it calls what it has found.
    pub threat: Option<String>,
    /// The status of the response that it has made; none: a request.
    pub status: Option<u16>,
    /// Octets of its body.
    pub bytes: u64,
}

/// What is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// So many octets of a preview are still to come.
    Preview(usize),
    /// The preview is out; the server says whether it wants more.
    AwaitsContinue,
    Rest,
    /// Nothing more.
    Over,
}

/// One exchange on a connection.
#[derive(Debug)]
pub struct Exchange {
    sending: Sending,
    /// For the server.
    output: Vec<u8>,
    /// What came behind the preview while the server was asked.
    held: Vec<u8>,
    /// No more of the message comes.
    has_ended: bool,
    reader: AnswerReader,
    status: Option<u16>,
    closes: bool,
    /// Of the message, as it was sent.
    sent: Content,
    /// The status of the message, where it is a response.
    original: Option<u16>,
    got: Content,
    modified: Modified,
    declared: Option<u64>,
    outcome: Option<Outcome>,
}

/// A body.
#[derive(Debug, Default)]
struct Content {
    bytes: u64,
    digest: Sha256,
}

impl Content {
    fn push(&mut self, octets: &[u8]) {
        self.bytes += octets.len() as u64;
        self.digest.update(octets);
    }
}

impl Exchange {
    /// Asks about a message that has a body. `heads`: of HTTP, each with its empty line: of the request, and of the response if that is
    /// what it is about. `preview`: octets of one, if the server takes one.
    pub fn new(service: &Service, method: Method, heads: [&[u8]; 2], preview: Option<usize>) -> Self {
        let [request, response] = heads;
        let Service { host, port, .. } = service;
        let (name, at) = (method.name(), request.len());
        let encapsulated = match method {
            Method::Reqmod => format!("req-hdr=0, req-body={at}"),
            Method::Respmod => format!("req-hdr=0, res-hdr={at}, res-body={}", at + response.len()),
        };
        let preview_field = preview.map(|octets| format!("Preview: {octets}\r\n")).unwrap_or_default();
        let head = format!(
            "{name} {service} ICAP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: wireglass\r\nAllow: 204\r\n{preview_field}Encapsulated: {encapsulated}\r\n\r\n"
        );
        let mut output = head.into_bytes();
        output.extend_from_slice(request);
        if method == Method::Respmod {
            output.extend_from_slice(response);
        }
        Self {
            sending: preview.map_or(Sending::Rest, Sending::Preview),
            output,
            held: Vec::new(),
            has_ended: false,
            reader: AnswerReader::new(),
            status: None,
            closes: false,
            sent: Content::default(),
            original: http_status(response).filter(|_| method == Method::Respmod),
            got: Content::default(),
            modified: Modified { threat: None, status: None, bytes: 0 },
            declared: None,
            outcome: None,
        }
    }

    /// More of the message's body, in order. What is to go out then is in [`take_output`](Self::take_output).
    pub fn push(&mut self, octets: &[u8]) {
        if octets.is_empty() || self.has_ended {
            return;
        }
        match self.sending {
            Sending::Preview(left) => {
                let (now, later) = octets.split_at(left.min(octets.len()));
                self.send(now);
                self.sending = Sending::Preview(left - now.len());
                if !later.is_empty() {
                    // There is more than the preview.
                    self.output.extend_from_slice(b"0\r\n\r\n");
                    self.sending = Sending::AwaitsContinue;
                    self.held.extend_from_slice(later);
                }
            }
            Sending::AwaitsContinue => self.held.extend_from_slice(octets),
            Sending::Rest => self.send(octets),
            Sending::Over => {}
        }
    }

    /// No more of it comes.
    pub fn end(&mut self) {
        if self.has_ended {
            return;
        }
        self.has_ended = true;
        match self.sending {
            // RFC 3507, 4.5: all of it was in the preview.
            Sending::Preview(_) => {
                self.output.extend_from_slice(b"0; ieof\r\n\r\n");
                self.sending = Sending::Over;
            }
            Sending::Rest => self.finish(),
            Sending::AwaitsContinue | Sending::Over => {}
        }
    }

    fn finish(&mut self) {
        self.output.extend_from_slice(b"0\r\n\r\n");
        self.sending = Sending::Over;
    }

    fn send(&mut self, octets: &[u8]) {
        self.sent.push(octets);
        for chunk in octets.chunks(CHUNK) {
            self.output.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            self.output.extend_from_slice(chunk);
            self.output.extend_from_slice(b"\r\n");
        }
    }

    /// What is to be sent to the server.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// More of the body may be given now; else the server's answer decides whether it is wanted.
    pub fn wants_body(&self) -> bool {
        !self.has_ended
            && self.outcome.is_none()
            && matches!(self.sending, Sending::Preview(_) | Sending::Rest)
    }

    /// The server has sent this.
    ///
    /// # Errors
    /// It broke the protocol, has failed, or gave back less than it was to.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), IcapError> {
        if self.outcome.is_some() && !bytes.is_empty() {
            return Err(IcapError::Protocol("more than an answer"));
        }
        while let Some(event) = self.reader.next(&mut bytes)? {
            match event {
                Event::Head(head) if head.status == 100 => {
                    if self.sending != Sending::AwaitsContinue {
                        return Err(IcapError::Protocol("100 Continue without a preview that ended"));
                    }
                    self.reader.restart();
                    self.sending = Sending::Rest;
                    let held = std::mem::take(&mut self.held);
                    self.send(&held);
                    if self.has_ended {
                        self.finish();
                    }
                }
                Event::Head(head) if matches!(head.status, 200 | 204) => {
                    (self.status, self.closes) = (Some(head.status), head.closes());
                    self.modified.threat = head.threat();
                }
                Event::Head(head) => return Err(IcapError::Status(head.status)),
                Event::HttpHead(head) => {
                    self.modified.status = http_status(&head).or(self.modified.status);
                    self.declared = http_length(&head).or(self.declared);
                }
                Event::Body(octets) => self.got.push(octets),
                Event::End => {
                    self.outcome = Some(self.decide()?);
                    if !bytes.is_empty() {
                        return Err(IcapError::Protocol("more than an answer"));
                    }
                }
            }
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<Outcome, IcapError> {
        if self.status == Some(204) {
            return match self.modified.threat {
                // A server that finds something and lets it pass does not do what it is there for.
                Some(_) => Ok(Outcome::Modified(self.modified.clone())),
                None => Ok(Outcome::Unmodified),
            };
        }
        self.modified.bytes = self.got.bytes;
        if let Some(expected) = self.declared.filter(|declared| self.got.bytes < *declared) {
            return Err(IcapError::Short { expected, got: self.got.bytes });
        }
        let is_same_kind = self.modified.threat.is_none() && self.modified.status == self.original;
        let is_all_out = self.sending == Sending::Over && self.has_ended;
        if is_same_kind && is_all_out && self.got.bytes == self.sent.bytes {
            let digest = |content: &Content| content.digest.clone().finalize();
            if digest(&self.got) == digest(&self.sent) {
                return Ok(Outcome::Unmodified);
            }
        }
        // A server that goes on with what it was given, and stops, has found something on the way.
        if is_same_kind && self.got.bytes < self.sent.bytes {
            return Err(IcapError::Short { expected: self.sent.bytes, got: self.got.bytes });
        }
        Ok(Outcome::Modified(self.modified.clone()))
    }

    /// The server has closed the connection.
    ///
    /// # Errors
    /// Its answer was not complete.
    pub fn closed(&mut self) -> Result<(), IcapError> {
        self.closes = true;
        if self.outcome.is_some() { Ok(()) } else { Err(IcapError::Closed) }
    }

    /// What came of it, as soon as that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The connection may be used for another exchange.
    pub fn may_reuse(&self) -> bool {
        let is_out = match self.sending {
            Sending::Over => self.has_ended,
            // RFC 3507, 4.5: an answer to the preview ends the request.
            Sending::AwaitsContinue => true,
            Sending::Preview(_) | Sending::Rest => false,
        };
        self.outcome.is_some() && !self.closes && is_out && self.output.is_empty()
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        self.output.capacity() + self.held.capacity() + self.reader.memory()
    }
}
