//! IMAP (RFC 9051, RFC 3501) up to `STARTTLS`.

use super::lines::{self, is};
use super::{Progress, Step, broken, each, plain};
use crate::reason::Reason;

/// Longest tag that is remembered; clients use a few characters.
const MAX_TAG: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Imap {
    /// The tag with which TLS was asked for, until it is answered.
    asked: Option<Box<[u8]>>,
    /// The server's last list of capabilities has it.
    offered: bool,
    greeted: bool,
}

impl Imap {
    pub(super) fn client(&mut self, bytes: &[u8]) -> Progress {
        if self.asked.is_some() {
            return Progress::Broken(Reason::StartTlsPipelined);
        }
        each(self, bytes, lines::next, Self::command)
    }

    pub(super) fn memory(&self) -> usize {
        self.asked.as_ref().map_or(0, |tag| tag.len())
    }

    fn command(&mut self, line: &[u8]) -> Step {
        if self.asked.is_some() {
            return broken(Reason::StartTlsPipelined);
        }
        let line = lines::text(line);
        let mut words = lines::words(line);
        let (tag, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if is(verb, "STARTTLS") {
            if tag.len() > MAX_TAG {
                return broken(Reason::StartTlsProtocol);
            }
            self.asked = Some(tag.into());
            return Step::Pass;
        }
        if !["CAPABILITY", "NOOP", "ID", "LOGOUT"].iter().any(|known| is(verb, known)) {
            return plain(self.offered);
        }
        // A literal: what follows is no line (RFC 9051 4.3).
        if line.ends_with(b"}") { broken(Reason::StartTlsProtocol) } else { Step::Pass }
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> Progress {
        each(self, bytes, lines::next, Self::response)
    }

    fn response(&mut self, line: &[u8]) -> Step {
        let line = lines::text(line);
        let mut words = lines::words(line);
        let (tag, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !self.greeted {
            self.greeted = true;
            if tag != b"*" || !["OK", "PREAUTH", "BYE"].iter().any(|known| is(status, known)) {
                return broken(Reason::StartTlsProtocol);
            }
            if is(status, "PREAUTH") {
                // Who is known already cannot ask for TLS any more (RFC 9051 6.2.1).
                self.greeted = false; // it comes again
                return plain(false);
            }
        }
        if lines::has_word(line, "CAPABILITY") {
            self.offered = lines::has_word(line, "STARTTLS");
        }
        if self.asked.as_deref().is_none_or(|asked| asked != tag) {
            return Step::Pass;
        }
        self.asked = None;
        if is(status, "OK") {
            return Step::Agreed;
        }
        self.offered = false; // it takes it back
        Step::Pass
    }
}
