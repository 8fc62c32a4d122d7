//! Files of which each line has an entry, or several.

use base64ct::{Base64, Encoding};

use super::digests::digest;
use super::domains::Reach;
use super::entry::{self, Wrong};
use super::format::host_address;
use super::{Format, ListId, ListKind, ListsBuilder, zone};

/// Longest line that is read, in bytes.
pub const MAX_LINE: usize = 4096;
/// Bad lines of a file that are kept to be told.
const TOLD: usize = 3;
/// Characters of a bad line that are kept.
const QUOTED: usize = 60;

/// What was read of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries, repeated ones included.
    pub entries: usize,
    /// Entries of other kinds than the list's, which its format may hold as well.
    pub other_kinds: usize,
    /// Lines that cannot be read.
    pub bad: usize,
    /// The first of them.
    pub told: Vec<BadLine>,
    /// There were more entries than all lists together may have.
    pub is_full: bool,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What was expected.
    pub expected: &'static str,
    /// What was found; its beginning, where it is long.
    pub found: String,
}

/// Lines with their numbers, without what ends them.
pub(super) fn lines(contents: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    // A byte order mark is no part of the first line.
    let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
    let lines = contents.split(|byte| *byte == b'\n').enumerate();
    lines.map(|(i, line)| (i + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// A line without comment and blanks. In a URL, a `#` or `;` may be part of it, so blanks must come before.
pub(super) fn uncommented(line: &str) -> &str {
    let marks = line.match_indices(['#', ';']).map(|(at, _)| at);
    let mut comments = marks.filter(|at| *at == 0 || line.as_bytes()[at - 1].is_ascii_whitespace());
    line[..comments.next().unwrap_or(line.len())].trim()
}

/// A dataset's text, and its rating.
pub(super) fn rating_of(word: &str) -> (&str, Option<&str>) {
    word.split_once(',').map_or((word, None), |(text, rating)| (text.trim_end(), Some(rating.trim_start())))
}

pub(super) fn unbase64(text: &str) -> Option<String> {
    String::from_utf8(Base64::decode_vec(text).ok()?).ok()
}

/// Reads a file into a list.
pub(super) fn read(lists: &mut ListsBuilder, list: ListId, format: Format, contents: &[u8]) -> Report {
    let kind = lists.kind(list);
    let mut reader = Reader { lists, list, kind, report: Report::default() };
    let mut records = zone::Records::default();
    for (number, line) in lines(contents) {
        if reader.report.is_full {
            break;
        }
        if line.len() > MAX_LINE {
            reader.bad(number, "a line of at most 4096 bytes", line);
            continue;
        }
        let Ok(text) = std::str::from_utf8(line) else {
            reader.bad(number, "text in UTF-8", line);
            continue;
        };
        let outcome = match format {
            Format::Plain => reader.plain(uncommented(text)),
            Format::Hosts => reader.hosts(uncommented(text)),
            Format::Ut1 => reader.ut1(uncommented(text)),
            Format::Suricata => reader.suricata(text.trim()),
            Format::Rpz => records.line(text).and_then(|record| record.map_or(Ok(()), |r| reader.record(&r))),
        };
        match outcome {
            Ok(()) => {}
            Err(Wrong::Expected(expected)) => reader.bad(number, expected, line),
            Err(Wrong::OtherKind) => reader.report.other_kinds += 1,
        }
    }
    reader.report
}

struct Reader<'l> {
    lists: &'l mut ListsBuilder,
    list: ListId,
    kind: ListKind,
    report: Report,
}

impl Reader<'_> {
    fn bad(&mut self, line: usize, expected: &'static str, found: &[u8]) {
        self.report.bad += 1;
        if self.report.told.len() < TOLD {
            let found = String::from_utf8_lossy(found);
            let mut short: String = found.chars().take(QUOTED).flat_map(char::escape_debug).collect();
            if found.chars().nth(QUOTED).is_some() {
                short.push_str("...");
            }
            self.report.told.push(BadLine { line, expected, found: short });
        }
    }

    fn plain(&mut self, line: &str) -> Result<(), Wrong> {
        if line.is_empty() {
            return Ok(());
        }
        match self.kind {
            ListKind::Domain => self.domain(line, Reach::Exact, false),
            ListKind::Url => self.url(line, Reach::Exact).map(drop),
            ListKind::Ip => self.network(line),
            ListKind::Sha256 => self.digest(line, 32, "a SHA-256 hash: 64 hexadecimal digits"),
            ListKind::Md5 => self.digest(line, 16, "an MD5 hash: 32 hexadecimal digits"),
        }
    }

    fn hosts(&mut self, line: &str) -> Result<(), Wrong> {
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next() else { return Ok(()) };
        if host_address(address).is_none() {
            return Err(Wrong::Expected("an address, and host names after it"));
        }
        // What the file says about the machine that it was made for: `127.0.0.1 localhost`, `0.0.0.0 0.0.0.0`.
        let is_own =
            |word: &&str| !word.contains('.') || *word == "localhost.localdomain" || *word == address;
        words.filter(|word| !is_own(word)).try_for_each(|word| self.domain(word, Reach::Exact, false))
    }

    fn ut1(&mut self, line: &str) -> Result<(), Wrong> {
        let is_address = entry::network(line).is_ok();
        match self.kind {
            _ if line.is_empty() => Ok(()),
            ListKind::Domain if is_address => Err(Wrong::OtherKind),
            ListKind::Domain => self.domain(line, Reach::Tree, false),
            ListKind::Ip if !is_address && entry::domain(line, Reach::Tree).is_ok() => Err(Wrong::OtherKind),
            ListKind::Ip => self.network(line),
            // No file of this form is read for them.
            ListKind::Sha256 | ListKind::Md5 => Err(Wrong::OtherKind),
            ListKind::Url => {
                // squidGuard takes a host's `www` away before it compares.
                let host = self.url(line, Reach::Exact)?;
                if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with("www.") {
                    return Ok(());
                }
                let (_, path) = entry::authority_and_path(line);
                self.lists.urls.insert(&format!("www.{host}"), Reach::Exact, path, self.list);
                Ok(())
            }
        }
    }

    fn suricata(&mut self, line: &str) -> Result<(), Wrong> {
        if line.is_empty() {
            return Ok(());
        }
        let (text, rating) = rating_of(line);
        if rating.is_some_and(|rating| rating.parse::<u16>().is_err()) {
            return Err(Wrong::Expected("a rating of 0 to 65535 after the comma"));
        }
        if self.kind == ListKind::Ip || self.kind.is_of_hashes() {
            return self.plain(text);
        }
        let text = unbase64(text).ok_or(Wrong::Expected("a text in base64"))?;
        self.plain(&text)
    }

    fn record(&mut self, record: &zone::Record<'_>) -> Result<(), Wrong> {
        match (self.kind, &record.trigger) {
            (ListKind::Domain, zone::Trigger::Name(name)) => {
                self.domain(name, Reach::Exact, record.is_exception)
            }
            (ListKind::Ip, zone::Trigger::Address(_)) if record.is_exception => {
                Err(Wrong::Expected("no exception of an address: leave it out of the list"))
            }
            (ListKind::Ip, zone::Trigger::Address(network)) => self.network(network),
            _ => Err(Wrong::OtherKind),
        }
    }

    fn domain(&mut self, text: &str, reach: Reach, is_exception: bool) -> Result<(), Wrong> {
        let (name, reach) = entry::domain(text, reach)?;
        let is_new = self.lists.domains.insert(&name, reach, is_exception, self.list);
        self.count(is_new);
        Ok(())
    }

    /// Returns the host.
    fn url(&mut self, text: &str, reach: Reach) -> Result<String, Wrong> {
        let (host, reach, path) = entry::url(text, reach)?;
        let is_new = self.lists.urls.insert(&host, reach, &path, self.list);
        self.count(is_new);
        Ok(host)
    }

    fn network(&mut self, text: &str) -> Result<(), Wrong> {
        let network = entry::network(text)?;
        self.lists.addresses[self.list.index()].push(network);
        self.lists.networks += 1;
        self.count(true);
        Ok(())
    }

    fn digest(&mut self, text: &str, len: usize, expected: &'static str) -> Result<(), Wrong> {
        let digest = digest(text, len).ok_or(Wrong::Expected(expected))?;
        let is_new = self.lists.digests.insert(&digest, self.list);
        self.count(is_new);
        Ok(())
    }

    fn count(&mut self, is_new: bool) {
        self.report.entries += 1;
        self.lists.lists[self.list.index()].entries += usize::from(is_new);
        self.report.is_full = self.lists.is_full();
    }
}
