//! LDAP (RFC 4511) up to the extended operation StartTLS (4.14), in as much BER as it takes (5.1: definite lengths only).

use super::{MAX_MESSAGE, Progress, Step, broken, each, plain};
use crate::reason::Reason;

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
/// `requestName [0]`
const REQUEST_NAME: u8 = 0x80;
/// Operations by their tags (RFC 4511 4.2 to 4.12).
const UNBIND_REQUEST: u8 = 0x42;
const ABANDON_REQUEST: u8 = 0x50;
const SEARCH_REQUEST: u8 = 0x63;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

#[derive(Debug, Default)]
pub(super) struct Ldap {
    /// The message ID with which TLS was asked for, until it is answered.
    asked: Option<u32>,
    /// The server has said no.
    refused: bool,
}

/// An element: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let (length, behind) = rest.split_at_checked(usize::from(first - 0x80))?;
            rest = behind;
            length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The length of the first message.
fn next(bytes: &[u8]) -> Result<Option<usize>, Reason> {
    if bytes.first().is_some_and(|tag| *tag != SEQUENCE) {
        return Err(Reason::StartTlsProtocol);
    }
    if matches!(bytes.get(1), Some(0x80 | 0x85..)) {
        return Err(Reason::StartTlsProtocol);
    }
    match element(bytes) {
        Some((_, _, rest)) if bytes.len() - rest.len() <= MAX_MESSAGE => Ok(Some(bytes.len() - rest.len())),
        None if bytes.len() < MAX_MESSAGE => Ok(None),
        _ => Err(Reason::StartTlsTooLong),
    }
}

/// A message's ID, and the tag and content of its operation.
fn operation(message: &[u8]) -> Option<(u32, u8, &[u8])> {
    let (_, content, _) = element(message)?;
    let (tag, id, rest) = element(content)?;
    if tag != INTEGER || !(1..=4).contains(&id.len()) {
        return None;
    }
    let id = id.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let (tag, operation, _) = element(rest)?;
    Some((id, tag, operation))
}

impl Ldap {
    pub(super) fn client(&mut self, bytes: &[u8]) -> Progress {
        if self.asked.is_some() {
            return Progress::Broken(Reason::StartTlsPipelined);
        }
        each(self, bytes, next, Self::request)
    }

    fn request(&mut self, message: &[u8]) -> Step {
        if self.asked.is_some() {
            return broken(Reason::StartTlsPipelined);
        }
        let Some((id, tag, content)) = operation(message) else { return broken(Reason::StartTlsProtocol) };
        match (tag, element(content)) {
            (EXTENDED_REQUEST, Some((REQUEST_NAME, START_TLS, _))) => self.asked = Some(id),
            // What a server can do is asked for before (RFC 4512 5.1).
            (SEARCH_REQUEST, Some((OCTET_STRING, b"", rest))) if rest.starts_with(&[ENUMERATED, 1, 0]) => {}
            (UNBIND_REQUEST | ABANDON_REQUEST, _) => {}
            _ => return plain(!self.refused),
        }
        Step::Pass
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> Progress {
        each(self, bytes, next, Self::response)
    }

    fn response(&mut self, message: &[u8]) -> Step {
        let Some((id, tag, content)) = operation(message) else { return broken(Reason::StartTlsProtocol) };
        if self.asked != Some(id) || tag != EXTENDED_RESPONSE {
            return Step::Pass;
        }
        self.asked = None;
        if let Some((ENUMERATED, [0], _)) = element(content) {
            return Step::Agreed;
        }
        self.refused = true;
        Step::Pass
    }
}
