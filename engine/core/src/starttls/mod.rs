//! Protocols that begin in plain text and go over to TLS on the same connection.
//!
//! A [`Dialogue`] reads what both ends say before that, message by message, and says how much of it may go on. Client and server
//! agree on TLS when the client has asked for it and the server has said yes. What either has sent behind its half of that, still in
//! plain, would be taken for part of the TLS session (CVE-2011-0411, CVE-2021-23222): it ends the flow.

mod imap;
mod ldap;
mod lines;
mod pop3;
mod postgres;
mod smtp;

use imap::Imap;
use ldap::Ldap;
use pop3::Pop3;
use postgres::Postgres;
use smtp::Smtp;

use crate::reason::Reason;

/// Longest message before the agreement: a line, or an LDAP message. IMAP's capabilities are long lines (RFC 7162 4: 8192).
const MAX_MESSAGE: usize = 8 * 1024;
/// Most bytes that both ends may say before it.
const MAX_DIALOGUE: usize = 64 * 1024;
/// Most commands that may wait for their answers.
const MAX_PIPELINED: usize = 16;

/// A protocol that goes over to TLS in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// SMTP: `STARTTLS` (RFC 3207).
    Smtp,
    /// IMAP: `STARTTLS` (RFC 9051 6.2.1).
    Imap,
    /// POP3: `STLS` (RFC 2595 4).
    Pop3,
    /// PostgreSQL: SSLRequest, or TLS from the first byte.
    Postgres,
    /// LDAP: the extended operation StartTLS (RFC 4511 4.14).
    Ldap,
}

impl Protocol {
    /// All of them, in declaration order.
    pub const ALL: &'static [Self] = &[Self::Smtp, Self::Imap, Self::Pop3, Self::Postgres, Self::Ldap];

    /// As configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Postgres => "postgres",
            Self::Ldap => "ldap",
        }
    }

    /// As Suricata has it (`app_proto`).
    pub const fn app_proto(self) -> &'static str {
        match self {
            Self::Postgres => "pgsql",
            other => other.name(),
        }
    }
}

/// How far what an end has sent may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The first so many bytes; the rest waits for more. Ask again if there are any left.
    Pass(usize),
    /// Likewise, and with them both have agreed: what the client says next is a ClientHello.
    Agreed(usize),
    /// Nothing: the client begins with TLS.
    Tls,
    /// Nothing, unless policy lets it pass: they go on without TLS, and this is why.
    Plain(Reason),
    /// Nothing: it ends here, and this is why.
    Broken(Reason),
}

/// What both ends say before they go over to TLS.
#[derive(Debug)]
pub struct Dialogue {
    reader: Reader,
    /// Bytes that have passed.
    passed: usize,
}

#[derive(Debug)]
enum Reader {
    Smtp(Smtp),
    Imap(Imap),
    Pop3(Pop3),
    Postgres(Postgres),
    Ldap(Ldap),
}

impl Dialogue {
    /// Nothing has been said yet.
    pub fn new(protocol: Protocol) -> Self {
        let reader = match protocol {
            Protocol::Smtp => Reader::Smtp(Smtp::default()),
            Protocol::Imap => Reader::Imap(Imap::default()),
            Protocol::Pop3 => Reader::Pop3(Pop3::default()),
            Protocol::Postgres => Reader::Postgres(Postgres::default()),
            Protocol::Ldap => Reader::Ldap(Ldap::default()),
        };
        Self { reader, passed: 0 }
    }

    /// What the client has sent and has not passed yet.
    pub fn client(&mut self, bytes: &[u8]) -> Progress {
        if bytes.is_empty() {
            return Progress::Pass(0);
        }
        // A TLS record (RFC 8446 5.1); none of these protocols has a message that begins like it.
        if self.passed == 0 && bytes[0] == 0x16 {
            return Progress::Tls;
        }
        let progress = match &mut self.reader {
            Reader::Smtp(smtp) => smtp.client(bytes),
            Reader::Imap(imap) => imap.client(bytes),
            Reader::Pop3(pop3) => pop3.client(bytes),
            Reader::Postgres(postgres) => postgres.client(bytes),
            Reader::Ldap(ldap) => ldap.client(bytes),
        };
        self.count(progress)
    }

    /// What the server has sent and has not passed yet.
    pub fn server(&mut self, bytes: &[u8]) -> Progress {
        if bytes.is_empty() {
            return Progress::Pass(0);
        }
        let progress = match &mut self.reader {
            Reader::Smtp(smtp) => smtp.server(bytes),
            Reader::Imap(imap) => imap.server(bytes),
            Reader::Pop3(pop3) => pop3.server(bytes),
            Reader::Postgres(postgres) => postgres.server(bytes),
            Reader::Ldap(ldap) => ldap.server(bytes),
        };
        self.count(progress)
    }

    /// Bytes of memory that it holds beside its own size.
    pub(crate) fn memory(&self) -> usize {
        match &self.reader {
            Reader::Imap(imap) => imap.memory(),
            Reader::Smtp(_) | Reader::Pop3(_) | Reader::Postgres(_) | Reader::Ldap(_) => 0,
        }
    }

    fn count(&mut self, progress: Progress) -> Progress {
        if let Progress::Pass(bytes) | Progress::Agreed(bytes) = progress {
            self.passed += bytes;
            if self.passed > MAX_DIALOGUE {
                return Progress::Broken(Reason::StartTlsTooLong);
            }
        }
        progress
    }
}

/// What a message does to the dialogue.
enum Step {
    /// It passes.
    Pass,
    /// It passes, and the server has agreed with it.
    Agreed,
    /// It does not pass.
    Stop(Progress),
}

/// Reads message after message: `next` finds the length of the first, `read` says what it does.
fn each<R>(
    reader: &mut R,
    bytes: &[u8],
    next: impl Fn(&[u8]) -> Result<Option<usize>, Reason>,
    mut read: impl FnMut(&mut R, &[u8]) -> Step,
) -> Progress {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let length = match next(rest) {
            Ok(Some(length)) => length,
            Ok(None) => return Progress::Pass(at),
            Err(reason) => return Progress::Broken(reason),
        };
        match read(reader, &rest[..length]) {
            Step::Pass => at += length,
            Step::Agreed if rest.len() > length => return Progress::Broken(Reason::StartTlsPipelined),
            Step::Agreed => return Progress::Agreed(at + length),
            // What came before it goes first; it comes again.
            Step::Stop(progress @ Progress::Broken(_)) => return progress,
            Step::Stop(_) if at > 0 => return Progress::Pass(at),
            Step::Stop(progress) => return progress,
        }
    }
}

fn broken(reason: Reason) -> Step {
    Step::Stop(Progress::Broken(reason))
}

/// They go on without TLS: the server would have had it (`offered`), or would not.
fn plain(offered: bool) -> Step {
    let reason = if offered { Reason::StartTlsUnused } else { Reason::StartTlsStripped };
    Step::Stop(Progress::Plain(reason))
}

#[cfg(test)]
mod tests;
