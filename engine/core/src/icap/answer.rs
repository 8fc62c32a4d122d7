//! Reads answers, in whatever pieces they come.

use super::IcapError;
use super::head::{Head, MAX_HEAD, MAX_LINE};

/// What was read.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A head of ICAP.
    Head(Head),
    /// A head of HTTP that is encapsulated.
    HttpHead(Vec<u8>),
    /// Octets of the encapsulated body.
    Body(&'a [u8]),
    /// The answer is complete.
    End,
}

/// What comes next.
#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    /// Heads of HTTP, by their lengths; and whether a body follows.
    HttpHead(Vec<u8>, Vec<usize>, bool),
    ChunkLine(Vec<u8>),
    Chunk(u64),
    /// The line's end behind a chunk.
    ChunkEnd(Vec<u8>),
    /// Lines behind the last chunk, up to an empty one; and bytes of them.
    Trailers(Vec<u8>, usize),
    Over,
}

/// Reads one answer.
#[derive(Debug)]
pub(super) struct AnswerReader(State);

impl AnswerReader {
    pub(super) fn new() -> Self {
        Self(State::Head(Vec::new()))
    }

    /// Another head comes: this one was for the preview.
    pub(super) fn restart(&mut self) {
        *self = Self::new();
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        match &self.0 {
            State::Head(held) | State::ChunkLine(held) | State::ChunkEnd(held) | State::Trailers(held, _) => {
                held.capacity()
            }
            State::HttpHead(held, lengths, _) => held.capacity() + lengths.capacity() * size_of::<usize>(),
            State::Chunk(_) | State::Over => 0,
        }
    }

    /// Reads the next thing; none: more bytes are needed. `bytes` loses what was read.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Event<'a>>, IcapError> {
        loop {
            match &mut self.0 {
                State::Head(held) => {
                    if !take_head(held, bytes)? {
                        return Ok(None);
                    }
                    let head = Head::parse(held)?;
                    self.0 = self.after_head(&head)?;
                    return Ok(Some(Event::Head(head)));
                }
                State::HttpHead(_, lengths, has_body) if lengths.is_empty() => {
                    self.0 = if *has_body { State::ChunkLine(Vec::new()) } else { State::Over };
                    if self.is_over() {
                        return Ok(Some(Event::End));
                    }
                }
                State::HttpHead(held, lengths, _) => {
                    let wanted = lengths[0] - held.len();
                    held.extend_from_slice(take(bytes, wanted));
                    if held.len() < lengths[0] {
                        return Ok(None);
                    }
                    lengths.remove(0);
                    return Ok(Some(Event::HttpHead(std::mem::take(held))));
                }
                State::ChunkLine(held) => {
                    if !take_line(held, bytes)? {
                        return Ok(None);
                    }
                    self.0 = match chunk_size(held)? {
                        0 => State::Trailers(Vec::new(), 0),
                        size => State::Chunk(size),
                    };
                }
                State::Chunk(0) => self.0 = State::ChunkEnd(Vec::new()),
                State::Chunk(left) => {
                    let octets = take(bytes, usize::try_from(*left).unwrap_or(usize::MAX));
                    if octets.is_empty() {
                        return Ok(None);
                    }
                    *left -= octets.len() as u64;
                    return Ok(Some(Event::Body(octets)));
                }
                State::ChunkEnd(held) => {
                    if !take_line(held, bytes)? {
                        return Ok(None);
                    }
                    if !held.trim_ascii().is_empty() {
                        return Err(IcapError::Protocol("a chunk is longer than its size"));
                    }
                    self.0 = State::ChunkLine(Vec::new());
                }
                State::Trailers(held, all) => {
                    if !take_line(held, bytes)? {
                        return Ok(None);
                    }
                    *all += held.len();
                    if *all > MAX_HEAD {
                        return Err(IcapError::TooLong);
                    }
                    if held.trim_ascii().is_empty() {
                        self.0 = State::Over;
                        return Ok(Some(Event::End));
                    }
                    held.clear();
                }
                State::Over => return Ok(None),
            }
        }
    }

    /// RFC 3507, 4.4.1: `Encapsulated: res-hdr=0, res-body=213` says where each section begins.
    fn after_head(&self, head: &Head) -> Result<State, IcapError> {
        if head.status != 200 {
            // 100 and 204 have nothing behind them; of others nothing is wanted.
            return Ok(State::HttpHead(Vec::new(), Vec::new(), false));
        }
        let Some(list) = head.value("encapsulated") else {
            // An answer to OPTIONS may leave it out.
            return Ok(State::HttpHead(Vec::new(), Vec::new(), false));
        };
        let (mut lengths, mut begun, mut has_body, mut is_last) = (Vec::new(), None, false, false);
        for entry in list.split(',') {
            let (name, at) = entry.trim().split_once('=').ok_or(IcapError::Protocol("Encapsulated"))?;
            let at: usize = at.trim().parse().map_err(|_| IcapError::Protocol("Encapsulated"))?;
            if is_last {
                return Err(IcapError::Protocol("Encapsulated has a section behind the body"));
            }
            match begun {
                None if at != 0 => return Err(IcapError::Protocol("Encapsulated does not begin at 0")),
                None => {}
                Some(before) if at <= before => {
                    return Err(IcapError::Protocol("Encapsulated is out of order"));
                }
                Some(before) if at - before > MAX_HEAD => return Err(IcapError::TooLong),
                Some(before) => lengths.push(at - before),
            }
            begun = Some(at);
            match name.trim().to_ascii_lowercase().as_str() {
                "req-hdr" | "res-hdr" => {}
                "req-body" | "res-body" | "opt-body" => (has_body, is_last) = (true, true),
                "null-body" => is_last = true,
                _ => return Err(IcapError::Protocol("Encapsulated names an unknown section")),
            }
        }
        if !is_last || lengths.len() > 2 {
            return Err(IcapError::Protocol("Encapsulated has no body section"));
        }
        Ok(State::HttpHead(Vec::new(), lengths, has_body))
    }
}

fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

/// Adds bytes up to the empty line. True: it is complete.
fn take_head(held: &mut Vec<u8>, bytes: &mut &[u8]) -> Result<bool, IcapError> {
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        if held.is_empty() && byte.is_ascii_whitespace() {
            continue;
        }
        held.push(*byte);
        if held.ends_with(b"\r\n\r\n") || held.ends_with(b"\n\n") {
            return Ok(true);
        }
        if held.len() > MAX_HEAD {
            return Err(IcapError::TooLong);
        }
    }
    Ok(false)
}

/// Adds bytes up to the end of the line. True: it is complete.
fn take_line(held: &mut Vec<u8>, bytes: &mut &[u8]) -> Result<bool, IcapError> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    held.extend_from_slice(take(bytes, end.map_or(usize::MAX, |end| end + 1)));
    if held.len() > MAX_LINE {
        return Err(IcapError::TooLong);
    }
    Ok(end.is_some())
}

/// RFC 9112, 7.1: hex digits, and extensions behind a semicolon.
fn chunk_size(line: &[u8]) -> Result<u64, IcapError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is_hex = !digits.is_empty() && digits.len() <= 12 && digits.iter().all(u8::is_ascii_hexdigit);
    let size = std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_hex)
        .and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or(IcapError::Protocol("the size of a chunk"))
}
