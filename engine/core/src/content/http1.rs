//! HTTP/1.0 and HTTP/1.1 (RFC 9112), both directions of one connection.
//!
//! It does not give up: bytes that are no message are passed over up to the next line that begins one, and counted.

use std::collections::VecDeque;

use super::border::{Border, HeadKind, Teller, What};
use super::http::Fault;
use super::http1_chunk::{Chunk, Step};
use super::http1_head::{Framing, Head, Lines, MAX_HEAD, RequestLine, Strictness};
use super::transactions::{Transaction, Transactions};
use crate::end::{End, PerEnd};
use crate::event::{Anomaly, AnomalyEvent, HttpEvent};
use crate::fields::Field;
use crate::reason::{Ambiguity, HttpOddity, InspectorOff};

/// Requests beyond those whose texts are kept that wait for their responses. More than that fit no receive buffer of a server.
const MAX_CROWD: usize = 64 * 1024;
/// Places for open exchanges that an idle connection keeps: those of whoever sends one at a time.
const MAX_KEPT_OPEN: usize = 4;

/// The reader of one connection.
#[derive(Default)]
pub(super) struct Http1 {
    halves: PerEnd<Half>,
    /// Requests whose response is not complete, oldest first: the order of the responses (RFC 9112, 9.3.2).
    open: VecDeque<Exchange>,
    /// Those behind them for whose texts there was no room: a byte for each.
    crowd: VecDeque<Kind>,
    strictness: Strictness,
}

struct Exchange {
    transaction: Transaction,
    kind: Kind,
}

/// What a request says about its response.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Head,
    Connect,
    /// It may become another protocol.
    Upgrade,
    /// HTTP/0.9: the response is a body.
    Bare,
    Other,
}

impl Kind {
    fn of(head: &Head) -> Self {
        match head.event.method.as_deref() {
            Some("HEAD") => Self::Head,
            Some("CONNECT") => Self::Connect,
            _ if head.bare => Self::Bare,
            _ if head.asks_upgrade() => Self::Upgrade,
            _ => Self::Other,
        }
    }
}

/// One direction.
#[derive(Default)]
struct Half {
    state: State,
    line: Lines,
    /// A head whose start line has come.
    head: Option<Head>,
    /// Bytes that have come.
    at: u64,
    /// Bytes that were passed over.
    skipped: u64,
    /// What comes is no message, and has been told.
    lost: bool,
    /// Where the line that comes seems to begin a message.
    begun: Option<u64>,
    /// The exchange whose message passes, from the end of the head on.
    tx_id: Option<u64>,
    /// The byte before, within the framing of chunks.
    last: u8,
}

impl Half {
    fn memory(&self) -> usize {
        let Self { state: _, line, head, at: _, skipped: _, lost: _, begun: _, tx_id: _, last: _ } = self;
        line.memory() + head.as_ref().map_or(0, Head::memory)
    }

    /// A message may begin here.
    fn is_between_messages(&self) -> bool {
        self.state == State::Head && self.head.is_none() && self.line.pending() == 0 && !self.lost
    }

    /// What follows is passed over.
    fn stop(&mut self) {
        (self.state, self.line, self.head, self.begun) = (State::Stopped, Lines::default(), None, None);
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
    /// Nobody wants to know what comes.
    Stopped,
}

const FIRST_CHUNK: State = State::Chunked(Chunk::Size { size: 0, begun: false });

impl Http1 {
    pub(super) fn new(strictness: Strictness) -> Self {
        let half = |_| Half { line: Lines::new(strictness), ..Half::default() };
        Self { halves: PerEnd::from_fn(half), strictness, ..Self::default() }
    }

    pub(super) fn bytes(
        &mut self,
        from: End,
        mut bytes: &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if borders.has_stopped(from) {
                self.halves[from].stop();
            }
            if from == End::Server
                && bytes[0] != b'H'
                && self.halves.server.is_between_messages()
                && let Some(Exchange { transaction, kind: Kind::Bare }) = self.open.front()
            {
                self.halves.server.state = State::UntilClose;
                self.halves.server.tx_id = Some(transaction.event.tx_id);
                self.tell(from, self.halves.server.at, What::DataBegins, borders);
            }
            let before = bytes.len();
            match self.halves[from].state {
                State::Head if self.halves[from].head.is_some() => {
                    self.fields(from, &mut bytes, transactions, borders)?
                }
                State::Head => self.start_line(from, &mut bytes, transactions, borders)?,
                State::Length(left) => {
                    let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = &bytes[take..];
                    self.body(from, take);
                    let left = left - take as u64;
                    self.halves[from].state = State::Length(left);
                    if left == 0 {
                        let end = self.halves[from].at + take as u64;
                        self.tell(from, end, What::DataEnds, borders);
                        self.message_ended(from, end, transactions, borders)?;
                    }
                }
                State::Chunked(chunk) => self.chunked(from, chunk, &mut bytes, transactions, borders)?,
                State::UntilClose => {
                    self.body(from, bytes.len());
                    bytes = &[];
                }
                State::Stopped => {
                    self.halves[from].skipped += bytes.len() as u64;
                    bytes = &[];
                }
            }
            self.halves[from].at += (before - bytes.len()) as u64;
        }
        Ok(())
    }

    /// So many bytes, if they lie within content of known length, and some of it comes behind them.
    pub(super) fn content(&mut self, from: End, count: usize) -> bool {
        let State::Length(left) = self.halves[from].state else { return false };
        let Some(left) = left.checked_sub(count as u64).filter(|&left| left > 0) else { return false };
        self.body(from, count);
        let half = &mut self.halves[from];
        (half.state, half.at) = (State::Length(left), half.at + count as u64);
        true
    }

    /// The connection ended: a body that ends with it is complete, everything else is as it is. There is nobody
    /// left to turn off, so the bound on what waits is not looked at.
    pub(super) fn finish(mut self, transactions: &mut Transactions) {
        while let Some(exchange) = self.open.pop_front() {
            let _ = transactions.close(exchange.transaction);
            // Of those without texts, that many are told: they say no more than that they were there.
            self.promote(transactions);
            if transactions.is_full_of_done() {
                break;
            }
        }
        for exchange in self.open {
            let _ = transactions.close(exchange.transaction);
        }
    }

    /// The connection has ended, and with it a body that awaits that (RFC 9112, 6.3).
    pub(super) fn tell_end(&self, borders: &mut Teller<'_>) {
        if self.awaits_end() {
            let Half { at, tx_id, .. } = self.halves.server;
            for what in [What::DataEnds, What::MessageEnds] {
                borders.tell(&Border { from: End::Server, at, stream: 0, tx_id, what });
            }
        }
    }

    /// The response's body ends with the connection.
    pub(super) fn awaits_end(&self) -> bool {
        self.halves.server.state == State::UntilClose
    }

    /// With its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { halves, open, crowd, strictness: _ } = self;
        let lists = open.capacity() * size_of::<Exchange>() + crowd.capacity() * size_of::<Kind>();
        size_of::<Self>() + halves.iter().map(Half::memory).sum::<usize>() + lists
    }

    /// Bytes of a direction that were passed over.
    pub(super) fn skipped(&self, from: End) -> u64 {
        let half = &self.halves[from];
        half.skipped + if half.lost { half.line.pending() } else { 0 }
    }

    fn tell(&self, from: End, at: u64, what: What, borders: &mut Teller<'_>) {
        let half = &self.halves[from];
        borders.tell(&Border { from, at, stream: 0, tx_id: half.tx_id, what });
    }

    /// Body bytes passed; only those of responses are logged.
    fn body(&mut self, from: End, count: usize) {
        if from == End::Server
            && let Some(exchange) = self.open.front_mut()
        {
            exchange.transaction.event.length += count as u64;
        }
    }

    /// Takes the line that begins a message, or the part of it that is there.
    fn start_line(
        &mut self,
        from: End,
        bytes: &mut &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), Fault> {
        let half = &mut self.halves[from];
        let start = half.at - half.line.pending();
        if half.begun.is_none() {
            // CRs alone make an empty line, however many.
            let first = bytes.iter().position(|&byte| byte != b'\r').filter(|&first| bytes[first] != b'\n');
            half.begun = first.map(|first| half.at + first as u64);
            if let Some(at) = half.begun {
                self.tell(from, at, What::HeadBegins, borders);
            }
        }
        let half = &mut self.halves[from];
        let before = bytes.len();
        let next = half.line.next(bytes);
        let end = half.at + (before - bytes.len()) as u64;
        if self.strictness == Strictness::Rules && end - start > MAX_HEAD as u64 {
            return Err(Fault { reason: InspectorOff::HeaderTooBig, at: start });
        }
        let Some(line) = next else { return Ok(()) };
        let Some(begun) = half.begun.take() else {
            // RFC 9112, 2.2: empty lines before a message are to be ignored.
            if half.lost {
                half.skipped += line.length;
            }
            return Ok(());
        };
        let strictness = self.strictness;
        let head = match from {
            End::Client => RequestLine::parse(&line).map(|parts| {
                if strictness == Strictness::Rules {
                    tell_request_line(&parts, borders);
                }
                Head::request(start, &line, &parts, strictness)
            }),
            End::Server => Head::response(start, &line, strictness),
        };
        match head {
            Some(head) if head.bare => {
                half.lost = false;
                self.head_ended(from, head, end, transactions, borders)
            }
            Some(head) => {
                half.lost = false;
                half.head = Some(head);
                Ok(())
            }
            None => {
                half.skipped += line.length;
                self.tell(from, begun, What::NoMessage, borders);
                self.lose(from, start, transactions);
                Ok(())
            }
        }
    }

    /// Takes the lines behind it, up to the end of the head or as far as they are there.
    fn fields(
        &mut self,
        from: End,
        bytes: &mut &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), Fault> {
        let is_bounded = self.strictness == Strictness::Rules;
        let half = &mut self.halves[from];
        let Some(head) = &mut half.head else { return Ok(()) };
        let too_big = Fault { reason: InspectorOff::HeaderTooBig, at: head.at };
        let before = bytes.len();
        while !bytes.is_empty() && !borders.has_stopped(from) {
            let next = half.line.next(bytes);
            let end = half.at + (before - bytes.len()) as u64;
            if is_bounded && end - too_big.at > MAX_HEAD as u64 {
                return Err(too_big);
            }
            let Some(line) = next else { break };
            if head.line(&line, borders) {
                let Some(head) = half.head.take() else { break };
                return self.head_ended(from, head, end, transactions, borders);
            }
            if head.has_too_many_fields() {
                return Err(too_big);
            }
        }
        Ok(())
    }

    /// What comes from here on is no message, until a line begins one.
    fn lose(&mut self, from: End, at: u64, transactions: &mut Transactions) {
        let half = &mut self.halves[from];
        (half.state, half.tx_id) = (State::Head, None);
        if !std::mem::replace(&mut half.lost, true) {
            transactions.raise(odd(HttpOddity::Malformed, None, from, at));
        }
    }

    fn head_ended(
        &mut self,
        from: End,
        head: Head,
        end: u64,
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), Fault> {
        let start = head.at;
        let result = match from {
            End::Client => self.request(head, end, transactions, borders),
            End::Server => {
                let framing = head.framing();
                let mut said = head.event;
                let result = self.response((start, framing), &mut said, end, transactions, borders);
                said.give_back();
                result
            }
        };
        // The head itself was read where it opens a tunnel.
        result
            .map_err(|reason| Fault { reason, at: if reason == InspectorOff::Opaque { end } else { start } })
    }

    fn request(
        &mut self,
        head: Head,
        end: u64,
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        let (kind, framing) = (Kind::of(&head), head.framing());
        let mut event = head.event;
        event.tx_id = transactions.number();
        let tx_id = Some(event.tx_id);
        let crowded = transactions.is_full() || !self.crowd.is_empty();
        let max_crowd = if self.strictness == Strictness::Rules { 0 } else { MAX_CROWD };
        if crowded && self.crowd.len() >= max_crowd {
            return Err(InspectorOff::TooManyOpen);
        }
        self.halves.client.tx_id = tx_id;
        head_ends(End::Client, end, HeadKind::Request, tx_id, &mut event, borders);
        if !event.ambiguous.is_empty() {
            transactions.raise(odd(HttpOddity::Ambiguous, tx_id, End::Client, head.at));
        }
        // A request's own content type and the like are not what the log means by these.
        (event.content_type, event.redirect) = (None, None);
        if crowded {
            self.crowd.push_back(kind);
        } else {
            self.open.push_back(Exchange { transaction: transactions.open(event), kind });
        }
        // After CONNECT it goes on as HTTP, which it is if the tunnel is refused.
        self.halves.client.state = match framing {
            _ if kind == Kind::Bare => State::Head,
            Framing::Chunked => FIRST_CHUNK,
            Framing::Unsaid | Framing::Length(0) | Framing::OtherCoding(0) => State::Head,
            Framing::Length(length) | Framing::OtherCoding(length) => State::Length(length),
        };
        self.body_begins(End::Client, end, borders);
        Ok(())
    }

    fn response(
        &mut self,
        (at, framing): (u64, Framing),
        said: &mut HttpEvent,
        end: u64,
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        let status = said.status.unwrap_or_default();
        let first = self.open.front().map(|exchange| (exchange.kind, exchange.transaction.event.tx_id));
        // RFC 9110, 15.2: interim responses come before the real one; 101 is a last one, but to a client that has not asked.
        let interim = (100..200).contains(&status)
            && !(status == 101 && first.is_some_and(|(kind, _)| kind == Kind::Upgrade));
        let what = if interim { HeadKind::Interim } else { HeadKind::Response };
        if interim && status != 101 {
            let tx_id = first.map(|(_, tx_id)| tx_id);
            head_ends(End::Server, end, what, tx_id, said, borders);
            return Ok(());
        }
        if first.is_none() {
            // A response that nobody asked for. A 408 is that of an idle connection (RFC 9110, 15.5.9).
            if status != 408 {
                said.ambiguous.insert(Ambiguity::ResponseWithoutRequest);
            }
            let mut event = HttpEvent::begin(said.protocol);
            event.tx_id = transactions.number();
            self.open.push_back(Exchange { transaction: transactions.open(event), kind: Kind::Other });
        }
        if interim {
            said.ambiguous.insert(Ambiguity::UpgradeUnasked);
        }
        let Some(Exchange { transaction, kind }) = self.open.front_mut() else { return Ok(()) };
        let event = &mut transaction.event;
        if !said.ambiguous.is_empty() && event.ambiguous.is_empty() {
            transactions.raise(odd(HttpOddity::Ambiguous, Some(event.tx_id), End::Server, at));
        }
        let is_strict = self.strictness == Strictness::Rules;
        if is_strict {
            event.swap_request(said);
        }
        head_ends(End::Server, end, what, Some(event.tx_id), said, borders);
        if is_strict {
            event.swap_request(said);
        }
        event.ambiguous = event.ambiguous.and(said.ambiguous);
        event.status = said.status;
        if said.verdict.is_some() {
            (event.verdict, event.rule) = (said.verdict, said.rule.take());
        }
        if interim {
            return Ok(());
        }
        self.halves.server.tx_id = Some(event.tx_id);
        if !event.shortened {
            event.content_type = said.content_type.take();
            event.redirect = said.redirect.take_if(|_| (300..400).contains(&status));
        }
        transactions.changed(transaction);
        // What follows is another protocol. The transaction itself is complete.
        let opaque = status == 101 || (*kind == Kind::Connect && (200..300).contains(&status));
        // RFC 9112, 6.3: no body, whatever the fields say.
        let bodiless = opaque || matches!(status, 204 | 304) || *kind == Kind::Head;
        self.halves.server.state = match framing {
            _ if bodiless => State::Head,
            Framing::Chunked => FIRST_CHUNK,
            Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Unsaid | Framing::OtherCoding(_) => State::UntilClose,
        };
        self.body_begins(End::Server, end, borders);
        if self.halves.server.state == State::Head {
            self.close_first(transactions)?;
        }
        if opaque && !borders.has_stopped(End::Server) { Err(InspectorOff::Opaque) } else { Ok(()) }
    }

    /// A head has ended. What its fields say of the body is the state.
    fn body_begins(&mut self, from: End, at: u64, borders: &mut Teller<'_>) {
        match self.halves[from].state {
            State::Head => self.tell_message_end(from, at, borders),
            State::Length(_) | State::UntilClose => self.tell(from, at, What::DataBegins, borders),
            State::Chunked(_) | State::Stopped => {}
        }
    }

    fn message_ended(
        &mut self,
        from: End,
        end: u64,
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), Fault> {
        self.tell_message_end(from, end, borders);
        let half = &mut self.halves[from];
        half.state = State::Head;
        let at = half.at;
        match from {
            End::Client => Ok(()),
            End::Server => self.close_first(transactions).map_err(|reason| Fault { reason, at }),
        }
    }

    fn tell_message_end(&mut self, from: End, at: u64, borders: &mut Teller<'_>) {
        self.tell(from, at, What::MessageEnds, borders);
        self.halves[from].tx_id = None;
    }

    /// The oldest transaction is complete.
    fn close_first(&mut self, transactions: &mut Transactions) -> Result<(), InspectorOff> {
        let Some(exchange) = self.open.pop_front() else { return Ok(()) };
        let result = transactions.close(exchange.transaction);
        self.promote(transactions);
        if self.open.is_empty() {
            // An idle connection holds no long queues, and no new one for each exchange.
            self.crowd = VecDeque::new();
            if self.open.capacity() > MAX_KEPT_OPEN {
                self.open = VecDeque::new();
            }
        }
        result
    }

    /// The first request of the crowd moves up: it is its response's turn soon.
    fn promote(&mut self, transactions: &mut Transactions) {
        let Some(kind) = self.crowd.pop_front() else { return };
        // Nothing else was numbered since the crowd began.
        let tx_id = transactions.next_number() - 1 - self.crowd.len() as u64;
        let mut event = HttpEvent::begin("HTTP/1.1");
        (event.tx_id, event.shortened) = (tx_id, true);
        self.open.push_back(Exchange { transaction: transactions.open(event), kind });
    }

    /// Takes one step through a chunked body.
    fn chunked(
        &mut self,
        from: End,
        chunk: Chunk,
        bytes: &mut &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), Fault> {
        let at = self.halves[from].at;
        if let Chunk::Data(left) = chunk {
            let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            *bytes = &bytes[take..];
            self.body(from, take);
            let left = left - take as u64;
            let next = if left == 0 { Chunk::DataEnd { cr: false } } else { Chunk::Data(left) };
            self.halves[from].state = State::Chunked(next);
            if left == 0 {
                self.tell(from, at + take as u64, What::DataEnds, borders);
            }
            return Ok(());
        }
        if self.strictness == Strictness::Rules {
            self.look_at_chunk(from, chunk, bytes[0], transactions, borders);
            if borders.has_stopped(from) {
                return Ok(());
            }
        }
        match chunk.step(bytes[0]) {
            Step::To(next) => {
                self.halves[from].state = State::Chunked(next);
                if let Chunk::Data(_) = next {
                    self.tell(from, at + 1, What::DataBegins, borders);
                }
            }
            Step::End => self.message_ended(from, at + 1, transactions, borders)?,
            // The byte is the first of what is passed over.
            Step::Broken => {
                self.tell(from, at, What::NoMessage, borders);
                self.lose(from, at, transactions);
                return match from {
                    End::Client => Ok(()),
                    End::Server => self.close_first(transactions).map_err(|reason| Fault { reason, at }),
                };
            }
        }
        *bytes = &bytes[1..];
        Ok(())
    }
}

/// What rules have to know beside the borders.
impl Http1 {
    /// A line of a chunked body that readers may end in two places.
    fn look_at_chunk(
        &mut self,
        from: End,
        chunk: Chunk,
        byte: u8,
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) {
        let half = &mut self.halves[from];
        let last = std::mem::replace(&mut half.last, byte);
        let follows_cr = last == b'\r' && !matches!(chunk, Chunk::Size { begun: false, .. });
        let mark = match byte {
            // As all clients do.
            b'\n' if !follows_cr && from == End::Server => return,
            b'\n' if !follows_cr => Ambiguity::BareLf,
            _ if byte != b'\n' && follows_cr => Ambiguity::BareCr,
            _ => return,
        };
        let (at, tx_id) = (half.at, half.tx_id);
        let mut open = self.open.iter_mut().rev();
        let exchange = open.find(|exchange| Some(exchange.transaction.event.tx_id) == tx_id);
        let Some(exchange) = exchange else { return };
        let event = &mut exchange.transaction.event;
        if event.ambiguous.is_empty() {
            transactions.raise(odd(HttpOddity::Ambiguous, tx_id, from, at));
        }
        event.ambiguous.insert(mark);
        borders.ambiguous(from, at, event);
    }
}

/// As HTTP/2 has them.
fn tell_request_line(parts: &RequestLine<'_>, borders: &mut Teller<'_>) {
    for (name, value) in [(&b":method"[..], parts.method), (b":path", parts.target)] {
        borders.field(End::Client, 0, Field { name, value, never_indexed: false });
    }
}

fn head_ends(
    from: End,
    at: u64,
    kind: HeadKind,
    tx_id: Option<u64>,
    head: &mut HttpEvent,
    borders: &mut Teller<'_>,
) {
    head.tx_id = tx_id.unwrap_or_default();
    borders.head_ends(&Border { from, at, stream: 0, tx_id, what: What::HeadEnds(kind) }, head);
}

fn odd(what: HttpOddity, tx_id: Option<u64>, from: End, offset: u64) -> AnomalyEvent {
    AnomalyEvent { app_proto: "http", what: Anomaly::Odd(what), tx_id, from, offset }
}
