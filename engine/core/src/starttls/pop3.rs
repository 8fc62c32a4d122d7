//! POP3 (RFC 1939) up to `STLS` (RFC 2595 4).

use super::lines::{self, Answers, Awaited, is};
use super::{Progress, Step, broken, each, plain};
use crate::reason::Reason;

#[derive(Debug, Default)]
pub(super) struct Pop3 {
    answers: Answers,
    /// The server's capabilities have it.
    offered: bool,
    /// In the middle of an answer of several lines, which ends with a dot.
    in_list: bool,
}

impl Pop3 {
    pub(super) fn client(&mut self, bytes: &[u8]) -> Progress {
        if self.answers.awaits_tls() {
            return Progress::Broken(Reason::StartTlsPipelined);
        }
        each(self, bytes, lines::next, Self::command)
    }

    fn command(&mut self, line: &[u8]) -> Step {
        if self.answers.awaits_tls() {
            return broken(Reason::StartTlsPipelined);
        }
        let verb = lines::words(lines::text(line)).next().unwrap_or_default();
        let awaited = match verb {
            verb if is(verb, "CAPA") => Awaited::Capabilities,
            verb if is(verb, "STLS") => Awaited::Tls,
            verb if is(verb, "QUIT") || is(verb, "NOOP") => Awaited::Other,
            _ => return plain(self.offered),
        };
        if self.answers.expect(awaited) { Step::Pass } else { broken(Reason::StartTlsProtocol) }
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> Progress {
        each(self, bytes, lines::next, Self::reply)
    }

    fn reply(&mut self, line: &[u8]) -> Step {
        let line = lines::text(line);
        if self.in_list {
            self.offered |= is(line, "STLS");
            if line == b"." {
                self.in_list = false;
                self.answers.answered();
            }
            return Step::Pass;
        }
        let status = lines::words(line).next().unwrap_or_default();
        let (yes, no) = (is(status, "+OK"), is(status, "-ERR"));
        let Some(awaited) = self.answers.first().filter(|_| yes || no) else {
            return broken(Reason::StartTlsProtocol);
        };
        if awaited == Awaited::Capabilities && yes {
            self.in_list = true;
            return Step::Pass;
        }
        self.answers.answered();
        match awaited {
            Awaited::Tls if yes => Step::Agreed,
            Awaited::Tls => {
                self.offered = false; // it takes it back
                Step::Pass
            }
            Awaited::Capabilities | Awaited::Other => Step::Pass,
        }
    }
}
