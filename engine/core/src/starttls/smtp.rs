//! SMTP (RFC 5321) up to `STARTTLS` (RFC 3207), which may be the last of a group of commands.

use super::lines::{self, Answers, Awaited, is};
use super::{Progress, Step, broken, each, plain};
use crate::reason::Reason;

#[derive(Debug, Default)]
pub(super) struct Smtp {
    answers: Answers,
    /// The server's last list of extensions has it.
    offered: bool,
}

impl Smtp {
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
            verb if is(verb, "EHLO") => Awaited::Capabilities,
            verb if is(verb, "STARTTLS") => Awaited::Tls,
            verb if ["HELO", "NOOP", "RSET", "QUIT", "HELP", ""].iter().any(|known| is(verb, known)) => {
                Awaited::Other
            }
            _ => return plain(self.offered),
        };
        if self.answers.expect(awaited) { Step::Pass } else { broken(Reason::StartTlsProtocol) }
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> Progress {
        each(self, bytes, lines::next, Self::reply)
    }

    fn reply(&mut self, line: &[u8]) -> Step {
        let line = lines::text(line);
        let (code, rest) = line.split_at(line.len().min(3));
        let goes_on = rest.first() == Some(&b'-');
        let sound = code.len() == 3
            && code.iter().all(u8::is_ascii_digit)
            && (goes_on || rest.is_empty() || rest[0] == b' ');
        let Some(awaited) = self.answers.first() else {
            // It closes, unasked (RFC 5321 3.8).
            return if code == b"421" { Step::Pass } else { broken(Reason::StartTlsProtocol) };
        };
        if !sound {
            return broken(Reason::StartTlsProtocol);
        }
        if awaited == Awaited::Capabilities && code == b"250" {
            self.offered |= rest.get(1..).is_some_and(|keyword| is(keyword.trim_ascii(), "STARTTLS"));
        }
        if goes_on {
            return Step::Pass;
        }
        self.answers.answered();
        match awaited {
            Awaited::Tls if code == b"220" => Step::Agreed,
            Awaited::Tls => {
                self.offered = false; // it takes it back
                Step::Pass
            }
            Awaited::Capabilities | Awaited::Other => Step::Pass,
        }
    }
}
