//! Lines, and the answers that commands wait for.

use memchr::memchr;

use super::{MAX_MESSAGE, MAX_PIPELINED};
use crate::reason::Reason;

/// The length of the first line, with its LF: a server may take one without CR for a line, so it counts as one.
pub(super) fn next(bytes: &[u8]) -> Result<Option<usize>, Reason> {
    let within = &bytes[..bytes.len().min(MAX_MESSAGE)];
    match memchr(b'\n', within) {
        Some(at) => Ok(Some(at + 1)),
        None if bytes.len() >= MAX_MESSAGE => Err(Reason::StartTlsTooLong),
        None => Ok(None),
    }
}

/// A line without its end.
pub(super) fn text(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// Whether one of its words, in brackets or not, is this one.
pub(super) fn has_word(line: &[u8], wanted: &str) -> bool {
    words(text(line)).any(|word| word.split(|byte| matches!(byte, b'[' | b']')).any(|part| is(part, wanted)))
}

pub(super) fn is(word: &[u8], wanted: &str) -> bool {
    word.eq_ignore_ascii_case(wanted.as_bytes())
}

/// What a server's answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The question for capabilities.
    Capabilities,
    /// The question for TLS.
    Tls,
    /// Something else: the greeting answers nothing.
    Other,
}

/// Answers that are outstanding, in the order of the commands.
#[derive(Debug)]
pub(super) struct Answers {
    awaited: [Awaited; MAX_PIPELINED],
    len: usize,
}

impl Default for Answers {
    /// The greeting is awaited.
    fn default() -> Self {
        Self { awaited: [Awaited::Other; MAX_PIPELINED], len: 1 }
    }
}

impl Answers {
    /// False: as many are outstanding as may be.
    pub(super) fn expect(&mut self, what: Awaited) -> bool {
        let room = self.len < MAX_PIPELINED;
        if room {
            self.awaited[self.len] = what;
            self.len += 1;
        }
        room
    }

    /// What the server answers now; none: nothing was asked.
    pub(super) fn first(&self) -> Option<Awaited> {
        self.awaited[..self.len].first().copied()
    }

    /// It has been answered.
    pub(super) fn answered(&mut self) {
        self.awaited.copy_within(1.., 0);
        self.len = self.len.saturating_sub(1);
    }

    /// TLS has been asked for, and there is no answer yet.
    pub(super) fn awaits_tls(&self) -> bool {
        self.awaited[..self.len].contains(&Awaited::Tls)
    }
}
