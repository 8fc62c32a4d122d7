//! HTTP/1.0 and HTTP/1.1 (RFC 9112), both directions of one connection.

use std::collections::VecDeque;

use super::text::{MAX_METHOD, MAX_TEXT, MAX_URL, clip, hostname};
use super::transactions::{Transaction, Transactions};
use super::{MAX_FIELDS, MAX_HEAD};
use crate::log::event::HttpEvent;
use crate::reason::InspectorOff;
use crate::side::Side;

/// Longest line of a chunk's size with its extensions, and longest line of a trailer.
const MAX_LINE: usize = 8192;

/// The reader of one connection.
#[derive(Default)]
pub(super) struct Http1 {
    client: Half,
    server: Half,
    /// Requests whose response is not complete, oldest first: the order of the responses (RFC 9112, 9.3.2).
    open: VecDeque<Exchange>,
}

struct Exchange {
    transaction: Transaction,
    /// What the request says about the framing of its response.
    method: Method,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Head,
    Connect,
    Other,
}

/// One direction.
#[derive(Default)]
struct Half {
    state: State,
    /// The beginning of a head that is not complete.
    head: Vec<u8>,
    /// Where a head ends.
    blank: BlankLine,
}

impl Half {
    fn memory(&self) -> usize {
        let Self { state: _, head, blank: _ } = self;
        head.capacity()
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// A body of known length: so much is missing.
    Length(u64),
    Chunked(Chunk),
    /// The response's body ends with the connection.
    UntilClose,
    /// After CONNECT: until the answer nobody knows whose bytes these are.
    AwaitTunnel {
        skipped: bool,
    },
}

/// Where in a chunked body (RFC 9112, 7.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size {
        size: u64,
        digits: u8,
    },
    /// After the size: extensions, up to the line feed.
    Extension {
        size: u64,
        length: usize,
    },
    Data(u64),
    /// The CR LF after the data.
    DataEnd {
        cr: bool,
    },
    /// A trailer's line, so many bytes of it.
    Trailer {
        length: usize,
        lines: usize,
    },
}

const FIRST_CHUNK: State = State::Chunked(Chunk::Size { size: 0, digits: 0 });

impl Http1 {
    pub(super) fn bytes(
        &mut self,
        from: Side,
        mut bytes: &[u8],
        transactions: &mut Transactions,
    ) -> Result<(), InspectorOff> {
        while !bytes.is_empty() {
            bytes = match self.half(from).state {
                State::Head => self.head(from, bytes, transactions)?,
                State::Length(left) => {
                    let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.body(from, take);
                    let left = left - take as u64;
                    self.half(from).state = State::Length(left);
                    if left == 0 {
                        self.message_ended(from, transactions)?;
                    }
                    &bytes[take..]
                }
                State::Chunked(chunk) => self.chunked(from, chunk, bytes, transactions)?,
                State::UntilClose => {
                    self.body(from, bytes.len());
                    &[]
                }
                State::AwaitTunnel { .. } => {
                    self.half(from).state = State::AwaitTunnel { skipped: true };
                    &[]
                }
            };
        }
        Ok(())
    }

    /// The connection ended: a body that ends with it is complete, everything else is as it is. There is nobody
    /// left to turn off, so the bound on what waits is not looked at.
    pub(super) fn finish(self, transactions: &mut Transactions) {
        for exchange in self.open {
            let _ = transactions.close(exchange.transaction);
        }
    }

    /// The response's body ends with the connection.
    pub(super) fn awaits_end(&self) -> bool {
        self.server.state == State::UntilClose
    }

    /// With its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { client, server, open } = self;
        size_of::<Self>() + client.memory() + server.memory() + open.capacity() * size_of::<Exchange>()
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Body bytes passed; only those of responses are logged.
    fn body(&mut self, from: Side, count: usize) {
        if from == Side::Server
            && let Some(exchange) = self.open.front_mut()
        {
            exchange.transaction.event.length += count as u64;
        }
    }

    /// Takes a head, or the part of one that is there; returns what is behind it.
    fn head<'a>(
        &mut self,
        from: Side,
        bytes: &'a [u8],
        transactions: &mut Transactions,
    ) -> Result<&'a [u8], InspectorOff> {
        let half = self.half(from);
        if from == Side::Client && half.head.is_empty() {
            // RFC 9112, 2.2: empty lines before a request are to be ignored.
            let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
            if start > 0 {
                return Ok(&bytes[start..]);
            }
        }
        let end = half.blank.find(bytes);
        if half.head.len() + end.unwrap_or(bytes.len()) > MAX_HEAD {
            return Err(InspectorOff::HeaderTooBig);
        }
        let Some(end) = end else {
            half.head.extend_from_slice(bytes);
            return Ok(&[]);
        };
        half.blank = BlankLine::default();
        let (last, rest) = bytes.split_at(end);
        let mut held = std::mem::take(&mut half.head);
        let head = if held.is_empty() {
            last
        } else {
            held.extend_from_slice(last);
            &held
        };
        match from {
            Side::Client => self.request(head, transactions)?,
            Side::Server => self.response(head, transactions)?,
        }
        Ok(rest)
    }

    fn request(&mut self, head: &[u8], transactions: &mut Transactions) -> Result<(), InspectorOff> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        complete(request.parse(head))?;
        let name = request.method.unwrap_or_default();
        let framing = Framing::of(request.headers)?;
        let event = HttpEvent {
            method: Some(clip(name.as_bytes(), MAX_METHOD)),
            url: Some(clip(request.path.unwrap_or_default().as_bytes(), MAX_URL)),
            hostname: value(request.headers, "host").map(hostname),
            user_agent: value(request.headers, "user-agent").map(|text| clip(text, MAX_TEXT)),
            referer: value(request.headers, "referer").map(|text| clip(text, MAX_URL)),
            protocol: protocol(request.version),
            ..HttpEvent::default()
        };
        let method = match name {
            "HEAD" => Method::Head,
            "CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        self.open.push_back(Exchange { transaction: transactions.open(event)?, method });
        self.client.state = match framing {
            _ if method == Method::Connect => State::AwaitTunnel { skipped: false },
            Framing::Chunked => FIRST_CHUNK,
            Framing::Length(0) | Framing::None => State::Head,
            Framing::Length(length) => State::Length(length),
            // RFC 9112, 6.3 (4): nobody can tell where such a request ends.
            Framing::OtherCoding => return Err(InspectorOff::Malformed),
        };
        Ok(())
    }

    fn response(&mut self, head: &[u8], transactions: &mut Transactions) -> Result<(), InspectorOff> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        // As lenient as browsers are: what they read should be in the log.
        let mut lenient = httparse::ParserConfig::default();
        lenient
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true);
        complete(lenient.parse_response(&mut response, head))?;
        let status = response.code.unwrap_or_default();
        // RFC 9110, 15.2: interim responses come before the real one; 101 is a last one.
        if (100..200).contains(&status) && status != 101 {
            return Ok(());
        }
        if self.open.is_empty() {
            // A response that nobody asked for: the 408 of an idle connection, mostly.
            let event = HttpEvent { protocol: protocol(response.version), ..HttpEvent::default() };
            self.open.push_back(Exchange { transaction: transactions.open(event)?, method: Method::Other });
        }
        let Some(exchange) = self.open.front_mut() else { return Ok(()) };
        let event = &mut exchange.transaction.event;
        event.status = Some(status);
        event.content_type = value(response.headers, "content-type").map(|text| clip(text, MAX_TEXT));
        if (300..400).contains(&status) {
            event.redirect = value(response.headers, "location").map(|text| clip(text, MAX_URL));
        }
        transactions.changed(&mut exchange.transaction)?;
        if status == 101 || (exchange.method == Method::Connect && (200..300).contains(&status)) {
            // What follows is another protocol. The transaction itself is complete.
            if let Some(exchange) = self.open.pop_front() {
                transactions.close(exchange.transaction)?;
            }
            return Err(InspectorOff::Opaque);
        }
        // RFC 9112, 6.3: no body, whatever the fields say.
        let bodiless = matches!(status, 204 | 304) || exchange.method == Method::Head;
        self.server.state = match Framing::of(response.headers)? {
            _ if bodiless => State::Length(0),
            Framing::Chunked => FIRST_CHUNK,
            Framing::Length(length) => State::Length(length),
            Framing::None | Framing::OtherCoding => State::UntilClose,
        };
        if self.server.state == State::Length(0) {
            self.message_ended(Side::Server, transactions)?;
        }
        Ok(())
    }

    fn message_ended(&mut self, from: Side, transactions: &mut Transactions) -> Result<(), InspectorOff> {
        self.half(from).state = State::Head;
        if from == Side::Client {
            return Ok(());
        }
        let Some(exchange) = self.open.pop_front() else { return Ok(()) };
        transactions.close(exchange.transaction)?;
        if self.open.is_empty() {
            // An idle connection holds no queue.
            self.open = VecDeque::new();
        }
        if exchange.method == Method::Connect {
            // The tunnel was refused: HTTP goes on, unless the client did not wait for the answer.
            match self.client.state {
                State::AwaitTunnel { skipped: true } => return Err(InspectorOff::Malformed),
                State::AwaitTunnel { skipped: false } => self.client.state = State::Head,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes one step through a chunked body; returns what is behind it.
    fn chunked<'a>(
        &mut self,
        from: Side,
        chunk: Chunk,
        bytes: &'a [u8],
        transactions: &mut Transactions,
    ) -> Result<&'a [u8], InspectorOff> {
        if let Chunk::Data(left) = chunk {
            let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.body(from, take);
            let left = left - take as u64;
            let next = if left == 0 { Chunk::DataEnd { cr: false } } else { Chunk::Data(left) };
            self.half(from).state = State::Chunked(next);
            return Ok(&bytes[take..]);
        }
        match chunk.step(bytes[0])? {
            Some(next) => self.half(from).state = State::Chunked(next),
            None => self.message_ended(from, transactions)?,
        }
        Ok(&bytes[1..])
    }
}

impl Chunk {
    /// One byte further in what stands between the data; none: the body has ended.
    fn step(self, byte: u8) -> Result<Option<Self>, InspectorOff> {
        Ok(Some(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                // Sixteen digits would fit; nobody sends a chunk that large.
                if digits >= 15 {
                    return Err(InspectorOff::Malformed);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(InspectorOff::Malformed),
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\n') => match size {
                0 => Self::Trailer { length: 0, lines: 0 },
                size => Self::Data(size),
            },
            (Self::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => Self::Extension { size, length: 0 },
            (Self::Extension { size, length }, _) if length < MAX_LINE => {
                Self::Extension { size, length: length + 1 }
            }
            (Self::DataEnd { cr: false }, b'\r') => Self::DataEnd { cr: true },
            (Self::DataEnd { .. }, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Trailer { length: 0, .. }, b'\n') => return Ok(None),
            (Self::Trailer { lines, .. }, b'\n') if lines < MAX_FIELDS => {
                Self::Trailer { length: 0, lines: lines + 1 }
            }
            // The CR of an empty line; within a line it counts with the byte that follows.
            (Self::Trailer { .. }, b'\r') => self,
            (Self::Trailer { length, lines }, _) if length < MAX_LINE => {
                Self::Trailer { length: length + 1, lines }
            }
            _ => return Err(InspectorOff::Malformed),
        }))
    }
}

/// How a body's end is found (RFC 9112, 6.3).
enum Framing {
    None,
    Length(u64),
    Chunked,
    /// A transfer coding that is not chunked comes last.
    OtherCoding,
}

impl Framing {
    fn of(fields: &[httparse::Header<'_>]) -> Result<Self, InspectorOff> {
        let mut coding = None;
        let mut length: Option<u64> = None;
        for field in fields {
            if field.name.eq_ignore_ascii_case("transfer-encoding") {
                // The last coding of the last field is the outermost.
                coding = field.value.rsplit(|&byte| byte == b',').next();
            } else if field.name.eq_ignore_ascii_case("content-length") {
                // RFC 9110, 8.6: a list of equal values is tolerated, different ones are an attack.
                for item in field.value.split(|&byte| byte == b',') {
                    let value = decimal(item.trim_ascii()).ok_or(InspectorOff::Malformed)?;
                    if length.is_some_and(|earlier| earlier != value) {
                        return Err(InspectorOff::Malformed);
                    }
                    length = Some(value);
                }
            }
        }
        // RFC 9112, 6.3 (3): Transfer-Encoding overrides Content-Length.
        Ok(match (coding, length) {
            (Some(coding), _) if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => Self::Chunked,
            (Some(_), _) => Self::OtherCoding,
            (None, Some(length)) => Self::Length(length),
            (None, None) => Self::None,
        })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn value<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn protocol(minor: Option<u8>) -> &'static str {
    if minor == Some(0) { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// A head that was cut out by its empty line is complete, or it is none.
fn complete(result: httparse::Result<usize>) -> Result<(), InspectorOff> {
    match result {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(InspectorOff::HeaderTooBig),
        Ok(httparse::Status::Partial) | Err(_) => Err(InspectorOff::Malformed),
    }
}

/// Finds the empty line at the end of a head, across pieces, looking at each byte once. A bare line feed ends a
/// line too (RFC 9112, 2.2).
#[derive(Default)]
struct BlankLine {
    /// The line so far holds nothing, or nothing but a CR; and it is not the first.
    empty: bool,
}

impl BlankLine {
    /// Where the head ends in this piece: behind the line feed of the empty line.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (place, &byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.empty => return Some(place + 1),
                b'\n' => self.empty = true,
                b'\r' => {}
                _ => self.empty = false,
            }
        }
        None
    }
}
