//! Heads of HTTP/1 messages (RFC 9112, 3 to 6), line by line: as lenient as servers and clients are, so that what they read is read
//! here too. Nothing but the fields that are asked for is kept, so a head may be of any length.
//!
//! Where readers disagree about a head, it is marked, and read as nginx does; where nginx refuses it, as Apache httpd does.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use super::border::Teller;
use super::http1_strict::{is_host, is_target, target_authority};
use super::text::{MAX_METHOD, MAX_TEXT, MAX_URL, clip, hostname};
use crate::end::End;
use crate::event::{HttpEvent, Text};
use crate::fields;
use crate::reason::Ambiguity;

/// Bytes of a line that are looked at: twice what nginx and httpd take by default. The rest of the line is passed over.
const MAX_LINE: usize = 16 * 1024;

/// Bytes and fields of a head, where all of it counts: more than servers take by default (nginx: 32 KiB; httpd: 100 fields of 8 KiB).
pub(super) const MAX_HEAD: usize = 64 * 1024;
pub(super) const MAX_FIELDS: usize = 1_000;

/// What a head is read for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Strictness {
    /// For the log: as much as is asked for, of heads of any length.
    #[default]
    Log,
    /// For rules: all fields of heads of bounded length, and whatever a reader might see another way is marked.
    Rules,
}

/// Puts lines together from pieces.
#[derive(Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// Bytes of the line so far, with what was passed over.
    length: u64,
    strictness: Strictness,
}

/// A line without its end.
pub(super) struct Line<'a> {
    pub(super) text: Cow<'a, [u8]>,
    /// Bytes that it took in the stream, its end included.
    pub(super) length: u64,
    /// It was longer than is looked at.
    cut: bool,
    /// A CR stands in it that ends nothing (RFC 9112, 2.2).
    bare_cr: bool,
    has_nul: bool,
    /// No CR is before its LF.
    bare_lf: bool,
}

impl Lines {
    pub(super) fn new(strictness: Strictness) -> Self {
        Self { strictness, ..Self::default() }
    }

    /// Bytes of a line that are looked at.
    fn max(&self) -> usize {
        match self.strictness {
            Strictness::Log => MAX_LINE,
            Strictness::Rules => MAX_HEAD,
        }
    }

    /// Takes bytes off the front of `input`, up to a line feed: a bare one ends a line too (RFC 9112, 2.2). None: the line goes on.
    #[inline]
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Line<'a>> {
        // Nearly all are whole, and have nothing in them that is looked at twice.
        if self.length == 0
            && let Some(end) = memchr3(b'\r', b'\n', 0, input).filter(|&end| end < self.max())
            && let Some(rest) = input[end..].strip_prefix(b"\r\n")
        {
            let text = Cow::Borrowed(&input[..end]);
            *input = rest;
            let length = end as u64 + 2;
            return Some(Line { text, length, cut: false, bare_cr: false, has_nul: false, bare_lf: false });
        }
        self.next_of_any(input)
    }

    fn next_of_any<'a>(&mut self, input: &mut &'a [u8]) -> Option<Line<'a>> {
        let end = memchr(b'\n', input);
        let (part, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        *input = rest;
        self.length += part.len() as u64;
        if end.is_none() {
            let room = self.max() + 1 - self.held.len();
            self.held.extend_from_slice(&part[..part.len().min(room)]);
            return None;
        }
        let part = &part[..part.len() - 1];
        let text = if self.held.is_empty() {
            Cow::Borrowed(part)
        } else {
            let mut held = std::mem::take(&mut self.held);
            let room = self.max() + 1 - held.len();
            held.extend_from_slice(&part[..part.len().min(room)]);
            Cow::Owned(held)
        };
        Some(Line::new(text, std::mem::take(&mut self.length), self.max()))
    }

    /// Bytes of the line that is not complete.
    pub(super) fn pending(&self) -> u64 {
        self.length
    }

    pub(super) fn memory(&self) -> usize {
        let Self { held, length: _, strictness: _ } = self;
        held.capacity()
    }
}

impl<'a> Line<'a> {
    fn new(text: Cow<'a, [u8]>, length: u64, max: usize) -> Self {
        let cut = text.len() > max;
        let whole = &text[..text.len().min(max)];
        let bare_lf = !whole.ends_with(b"\r");
        let without = whole.strip_suffix(b"\r").unwrap_or(whole);
        // Both are rare.
        let (bare_cr, has_nul) = match memchr2(b'\r', 0, without) {
            Some(_) => (without.contains(&b'\r'), without.contains(&0)),
            None => (false, false),
        };
        let end = without.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        };
        Self { text, length, cut, bare_cr, has_nul, bare_lf }
    }
}

/// Fields that are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Connection,
    ContentLength,
    ContentType,
    Host,
    Location,
    Referer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Other,
}

impl Field {
    fn named(name: &[u8]) -> Self {
        let of_length: &[(&str, Self)] = match name.len() {
            4 => &[("Host", Self::Host)],
            7 => &[("Referer", Self::Referer), ("Upgrade", Self::Upgrade)],
            8 => &[("Location", Self::Location)],
            10 => &[("User-Agent", Self::UserAgent), ("Connection", Self::Connection)],
            12 => &[("Content-Type", Self::ContentType)],
            14 => &[("Content-Length", Self::ContentLength)],
            17 => &[("Transfer-Encoding", Self::TransferEncoding)],
            _ => &[],
        };
        let known = of_length.iter().find(|(known, _)| fields::is_name(name, known));
        known.map_or(Self::Other, |&(_, field)| field)
    }

    /// It says where messages end, or whose they are.
    fn frames(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::ContentLength | Self::Host | Self::TransferEncoding | Self::Upgrade
        )
    }
}

/// A line with a colon.
struct FieldLine<'a> {
    /// Where that stands.
    colon: usize,
    /// What is before it and behind it, without the spaces around both.
    name: &'a [u8],
    value: &'a [u8],
}

/// The last transfer coding, which is the outermost.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Absent,
    /// The field is there, and so far nothing in it.
    Empty,
    Chunked,
    Other,
}

/// Where a message ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No field says so.
    Unsaid,
    Length(u64),
    Chunked,
    /// A transfer coding that is not chunked comes last. A request has what Content-Length says then.
    OtherCoding(u64),
}

/// A head, as far as it has come.
pub(super) struct Head {
    /// Where it begins in its direction's plaintext.
    pub(super) at: u64,
    /// What the log asks for, where a transaction keeps it.
    pub(super) event: Box<HttpEvent>,
    http10: bool,
    /// The request line names no version: HTTP/0.9, which has neither fields nor a response's head.
    pub(super) bare: bool,
    last: Field,
    coding: Coding,
    /// Times that chunked is said, and fields that say any coding.
    chunked: u8,
    codings: u8,
    length: Option<u64>,
    hosts: u8,
    upgrade: bool,
    connection_upgrade: bool,
    strictness: Strictness,
    is_request: bool,
    /// Host, if the target names one (RFC 9112, 3.2.2 and 3.2.3).
    target_host: Option<Text>,
    /// The last line had a field that was told, and the next may belong to it.
    has_field: bool,
    /// Lines of fields; counted where all of them are told.
    fields: usize,
}

/// The parts of a request line (RFC 9112, 3).
#[derive(Clone, Copy)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    http10: bool,
    bare: bool,
}

impl<'a> RequestLine<'a> {
    /// None: this is none. Any number of spaces separates the parts, and may end it, as with nginx.
    pub(super) fn parse(line: &'a Line<'_>) -> Option<Self> {
        let text = line.text.trim_ascii_end();
        let end = text.iter().position(|&byte| byte == b' ')?;
        let (method, rest) = text.split_at(end);
        if method.is_empty() || !method.iter().copied().all(fields::is_token) {
            return None;
        }
        let rest = rest.trim_ascii_start();
        let last = rest.iter().rposition(|&byte| byte == b' ').map_or(0, |space| space + 1);
        let (target, http10, bare) = match version(&rest[last..]) {
            // The line is too long for its version to be seen.
            None if line.cut => (rest, false, false),
            // RFC 1945, 4.1: a simple request has GET and nothing else.
            None if method == b"GET" && last == 0 => (rest, true, true),
            None => return None,
            Some(http10) => (rest[..last].trim_ascii_end(), http10, false),
        };
        (!target.is_empty()).then_some(Self { method, target, http10, bare })
    }

    /// As RFC 9112, 3 has it, to the byte.
    fn is_strict(&self, line: &Line<'_>) -> bool {
        let version = if self.http10 { &b"HTTP/1.0"[..] } else { &b"HTTP/1.1"[..] };
        // A fragment is none of a target's. Some servers leave it out, for others it is of the path.
        let is_target = |byte: &u8| !byte.is_ascii_control() && !matches!(byte, b' ' | b'#');
        // With that length there is one space at each of the two places, and nothing behind the version.
        line.text.len() == self.method.len() + 1 + self.target.len() + 1 + version.len()
            && line.text.ends_with(version)
            && self.target.iter().all(is_target)
    }
}

impl Head {
    fn new(at: u64, line: &Line<'_>, http10: bool, strictness: Strictness) -> Self {
        let protocol = if http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let mut event = HttpEvent::begin(protocol);
        if line.bare_cr {
            event.ambiguous.insert(Ambiguity::BareCr);
        }
        if strictness == Strictness::Rules && line.has_nul {
            event.ambiguous.insert(Ambiguity::Nul);
        }
        Self {
            at,
            event,
            http10,
            bare: false,
            last: Field::Other,
            coding: Coding::Absent,
            chunked: 0,
            codings: 0,
            length: None,
            hosts: 0,
            upgrade: false,
            connection_upgrade: false,
            strictness,
            is_request: false,
            target_host: None,
            has_field: false,
            fields: 0,
        }
    }

    pub(super) fn request(at: u64, line: &Line<'_>, parts: &RequestLine<'_>, strictness: Strictness) -> Self {
        let RequestLine { method, target, http10, bare } = *parts;
        let mut head = Self::new(at, line, http10, strictness);
        (head.is_request, head.bare) = (true, bare);
        head.event.method = Some(clip(method, MAX_METHOD));
        head.event.url = Some(clip(target, MAX_URL));
        if bare {
            head.event.protocol = "HTTP/0.9";
        }
        if head.is_strict_request() {
            let authority = target_authority(method, target);
            head.target_host = authority.map(hostname);
            head.event.hostname.clone_from(&head.target_host);
            // User names above all: some servers pass over them.
            if authority.is_some_and(|authority| !is_host(authority)) {
                head.mark(Ambiguity::HostInvalid);
            }
            if bare || !parts.is_strict(line) || !is_target(method, target) {
                head.mark(Ambiguity::RequestLine);
            }
            if line.bare_lf {
                head.mark(Ambiguity::BareLf);
            }
        }
        head
    }

    /// Clients read the heads of responses alike, but for what the marks of all heads say.
    fn is_strict_request(&self) -> bool {
        self.is_request && self.strictness == Strictness::Rules
    }

    /// A status line; none: this is none.
    pub(super) fn response(at: u64, line: &Line<'_>, strictness: Strictness) -> Option<Self> {
        let text = line.text.trim_ascii();
        let end = text.iter().position(|&byte| byte == b' ')?;
        let http10 = version(&text[..end])?;
        let code = text[end..].trim_ascii_start();
        let (digits, rest) = code.split_first_chunk::<3>()?;
        if !digits.iter().all(u8::is_ascii_digit) || rest.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        let mut head = Self::new(at, line, http10, strictness);
        head.event.status = Some(status);
        Some(head)
    }

    /// A line that follows; true: it was the empty one, and the head is complete.
    pub(super) fn line(&mut self, line: &Line<'_>, borders: &mut Teller<'_>) -> bool {
        let text = &*line.text;
        if line.bare_cr {
            self.mark(Ambiguity::BareCr);
        }
        let is_folded = matches!(text.first(), Some(b' ' | b'\t'));
        let field = memchr(b':', text).map(|colon| FieldLine {
            colon,
            name: text[..colon].trim_ascii(),
            value: text[colon + 1..].trim_ascii(),
        });
        if self.strictness == Strictness::Rules {
            self.tell(line, is_folded, field.as_ref(), borders);
        }
        if text.is_empty() {
            self.judge();
            return true;
        }
        if is_folded {
            self.folded(text.trim_ascii());
        } else if let Some(FieldLine { colon, name, value }) = field {
            self.last = Field::named(name);
            if self.last.frames() {
                // RFC 9112, 5.1: between name and colon nothing may stand. Some readers take it, some drop the field.
                if name.len() != colon {
                    self.mark(Ambiguity::SpaceInName);
                }
                if line.cut {
                    self.mark(Ambiguity::LongField);
                }
            }
            self.field(value);
        } else {
            // nginx passes a line without a colon over.
            self.last = Field::Other;
        }
        false
    }

    /// Tells the field of a line, of which all counts, or what it adds to the one before.
    fn tell(
        &mut self,
        line: &Line<'_>,
        is_folded: bool,
        field: Option<&FieldLine<'_>>,
        borders: &mut Teller<'_>,
    ) {
        let text = &*line.text;
        let from = if self.is_request { End::Client } else { End::Server };
        if line.has_nul {
            self.mark(Ambiguity::Nul);
        }
        if is_folded {
            if self.is_request {
                self.mark(Ambiguity::Folded);
            }
            let more = text.trim_ascii();
            if self.has_field && !more.is_empty() {
                borders.folded(from, more);
            }
            return;
        }
        self.fields += 1;
        let named = field.filter(|field| !field.name.is_empty());
        self.has_field = named.is_some();
        if let Some(&FieldLine { name, value, .. }) = named {
            borders.field(from, 0, fields::Field { name, value, never_indexed: false });
        }
        if self.is_request {
            if line.bare_lf {
                self.mark(Ambiguity::BareLf);
            }
            let name = &text[..field.map_or(0, |field| field.colon)];
            if !text.is_empty() && (name.is_empty() || !name.iter().copied().all(fields::is_token)) {
                self.mark(Ambiguity::FieldName);
            }
        }
    }

    /// It has more fields than are taken where all of it counts.
    pub(super) fn has_too_many_fields(&self) -> bool {
        self.strictness == Strictness::Rules && self.fields > MAX_FIELDS
    }

    fn field(&mut self, value: &[u8]) {
        let event = &mut self.event;
        let text = |slot: &mut Option<Text>, max| {
            slot.get_or_insert_with(|| clip(value, max));
        };
        match self.last {
            Field::ContentType => text(&mut event.content_type, MAX_TEXT),
            Field::Location => text(&mut event.redirect, MAX_URL),
            Field::Referer => text(&mut event.referer, MAX_URL),
            Field::UserAgent => text(&mut event.user_agent, MAX_TEXT),
            Field::Host => {
                let name = event.hostname.get_or_insert_with(|| hostname(value));
                self.hosts = self.hosts.saturating_add(1);
                if self.is_request && self.strictness == Strictness::Rules {
                    let differs = self.target_host.is_some() && !hostname(value).eq_ignore_ascii_case(name);
                    let marks =
                        [(!is_host(value), Ambiguity::HostInvalid), (differs, Ambiguity::HostDiffers)];
                    for (_, mark) in marks.into_iter().filter(|(holds, _)| *holds) {
                        event.ambiguous.insert(mark);
                    }
                }
            }
            Field::Connection => {
                self.connection_upgrade |= items(value).any(|item| item.eq_ignore_ascii_case(b"upgrade"));
            }
            Field::Upgrade => self.upgrade = true,
            Field::ContentLength => {
                // Some servers take ",5" for 0, and an empty value, too. Clients pass over a length that is empty.
                if has_gap(value) || value.is_empty() && self.is_strict_request() {
                    self.mark(Ambiguity::LengthInvalid);
                }
                items(value).for_each(|item| self.content_length(item));
            }
            Field::TransferEncoding => {
                self.codings = self.codings.saturating_add(1);
                self.coding = Coding::Empty;
                if has_gap(value) {
                    self.mark(Ambiguity::CodingRepeated);
                }
                items(value).for_each(|item| self.transfer_coding(item));
            }
            Field::Other => {}
        }
    }

    /// RFC 9112, 5.2: the line belongs to the field before it, as httpd takes it; nginx refuses the request.
    fn folded(&mut self, value: &[u8]) {
        if !self.last.frames() {
            return;
        }
        self.mark(Ambiguity::Folded);
        match self.last {
            Field::TransferEncoding => {
                let mut items = items(value);
                // The first item goes on with the last one of the line before.
                let first = items.next().unwrap_or_default();
                match self.coding {
                    Coding::Empty => self.transfer_coding(first),
                    _ if !first.is_empty() => self.coding = Coding::Other,
                    _ => {}
                }
                items.for_each(|item| self.transfer_coding(item));
            }
            Field::ContentLength if self.length.is_none() => {
                items(value).for_each(|item| self.content_length(item));
            }
            Field::ContentLength => self.mark(Ambiguity::LengthInvalid),
            Field::Connection => {
                self.connection_upgrade |= items(value).any(|item| item.eq_ignore_ascii_case(b"upgrade"));
            }
            _ => {}
        }
    }

    fn transfer_coding(&mut self, item: &[u8]) {
        self.coding = match item {
            [] => Coding::Empty,
            _ if item.eq_ignore_ascii_case(b"chunked") => {
                self.chunked = self.chunked.saturating_add(1);
                Coding::Chunked
            }
            _ => Coding::Other,
        };
    }

    /// RFC 9110, 8.6. What is no number counts as far as it is one; of different ones the first.
    fn content_length(&mut self, item: &[u8]) {
        if item.is_empty() {
            // Of a field that is folded the number may follow.
            return;
        }
        let number = item.strip_prefix(b"+").unwrap_or(item);
        let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = number[..digits]
            .iter()
            .try_fold(0u64, |value, &digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
        if digits != item.len() || value.is_none() {
            self.mark(Ambiguity::LengthInvalid);
        }
        let value = value.unwrap_or(u64::MAX);
        if *self.length.get_or_insert(value) != value {
            self.mark(Ambiguity::LengthsDiffer);
        }
    }

    /// The head is complete: what readers may disagree about.
    fn judge(&mut self) {
        let has_coding = self.coding != Coding::Absent;
        let marks = [
            (has_coding && self.length.is_some(), Ambiguity::LengthAndCoding),
            (has_coding && self.http10, Ambiguity::CodingInHttp10),
            (self.codings > 1 || self.chunked > 1, Ambiguity::CodingRepeated),
            (has_coding && self.coding != Coding::Chunked, Ambiguity::CodingNotChunked),
            (self.hosts > 1, Ambiguity::HostRepeated),
            // RFC 9112, 3.2.
            (self.is_strict_request() && !self.http10 && self.hosts == 0, Ambiguity::HostMissing),
        ];
        marks.into_iter().filter(|(holds, _)| *holds).for_each(|(_, mark)| self.mark(mark));
    }

    /// RFC 9112, 6.3. (3): Transfer-Encoding overrides Content-Length; nginx answers 400 to both, httpd reads on by the coding and
    /// closes. (4): a request whose last coding is not chunked is refused by both.
    pub(super) fn framing(&self) -> Framing {
        match (self.coding, self.length) {
            (Coding::Chunked, _) => Framing::Chunked,
            (Coding::Empty | Coding::Other, length) => Framing::OtherCoding(length.unwrap_or(0)),
            (Coding::Absent, Some(length)) => Framing::Length(length),
            (Coding::Absent, None) => Framing::Unsaid,
        }
    }

    /// It asks for another protocol (RFC 9110, 7.8).
    pub(super) fn asks_upgrade(&self) -> bool {
        self.upgrade && self.connection_upgrade
    }

    fn mark(&mut self, ambiguity: Ambiguity) {
        self.event.ambiguous.insert(ambiguity);
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let host = self.target_host.as_ref().map_or(0, Text::capacity);
        size_of_val(&*self.event) + self.event.text_bytes() + host
    }
}

/// The items of a list, empty ones too; at least one.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// A list with an empty item, which some readers pass over (RFC 9110, 5.6.1.2) and some take for the value.
fn has_gap(value: &[u8]) -> bool {
    value.contains(&b',') && items(value).any(<[u8]>::is_empty)
}

/// RFC 9112, 2.3, in any case and with any numbers, as both servers take some: whether it is HTTP/1.0. None: no version.
fn version(text: &[u8]) -> Option<bool> {
    if text == b"HTTP/1.1" {
        return Some(false);
    }
    let (name, number) = text.split_at_checked(5)?;
    let digits = number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let is_one = name.eq_ignore_ascii_case(b"HTTP/") && digits && number.first()?.is_ascii_digit();
    is_one.then_some(number == b"1.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line is does not depend on the pieces in which it comes: one that is whole is read in another way.
    #[test]
    fn a_line_is_the_same_in_pieces() {
        let short = [
            &b"\r\n"[..],
            b"\n",
            b"a\r\n",
            b"a\n",
            b"a\rb\r\n",
            b"a\r\r\n",
            b"\r\r\n",
            b"a\0b\r\n",
            b"a\nb\r\n",
        ];
        let long = (MAX_LINE - 3..MAX_LINE + 3).map(|len| [&vec![b'x'; len][..], b"\r\n"].concat());
        for line in short.map(<[u8]>::to_vec).into_iter().chain(long) {
            let facts = |line: Line<'_>| {
                let Line { text, length, cut, bare_cr, has_nul, bare_lf } = line;
                (text.into_owned(), length, [cut, bare_cr, has_nul, bare_lf])
            };
            let mut in_pieces = Lines::new(Strictness::Log);
            let in_pieces = line.chunks(1).find_map(|mut byte| in_pieces.next(&mut byte).map(facts));
            let mut rest = &line[..];
            assert_eq!(Lines::new(Strictness::Log).next(&mut rest).map(facts), in_pieces);
            assert_eq!(in_pieces.map(|(_, length, _)| length), Some((line.len() - rest.len()) as u64));
        }
    }
}
