//! What an end says that is not application data: alerts, and messages of a handshake that is long over.

use super::Fault;
use crate::tls::{description, wire::Reader};

/// Longest handshake message that is put together: a session ticket may have 64 KB.
const MAX_MESSAGE: usize = 0xffff + 1024;

/// An alert (RFC 8446 6, RFC 5246 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    /// Nothing more follows.
    CloseNotify,
    /// Says nothing that concerns the data.
    Warning,
    /// The end gives up.
    Fatal(u8),
}

impl Alert {
    pub(super) fn parse(tls13: bool, bytes: &[u8]) -> Result<Self, Fault> {
        let &[level, number] = bytes else { return Err(Fault::Broken(description::DECODE_ERROR)) };
        match (level, number) {
            (1 | 2, description::CLOSE_NOTIFY) => Ok(Self::CloseNotify),
            // TLS 1.3 goes by the number alone, and knows this one warning besides (RFC 8446 6).
            (1 | 2, description::USER_CANCELED) if tls13 => Ok(Self::Warning),
            (1, _) if !tls13 => Ok(Self::Warning),
            (1 | 2, _) => Ok(Self::Fatal(number)),
            _ => Err(Fault::Broken(description::ILLEGAL_PARAMETER)),
        }
    }
}

/// Type of a handshake message.
pub(super) mod kind {
    pub(in crate::tls::record) const HELLO_REQUEST: u8 = 0;
    pub(in crate::tls::record) const CLIENT_HELLO: u8 = 1;
    pub(in crate::tls::record) const NEW_SESSION_TICKET: u8 = 4;
    pub(in crate::tls::record) const CERTIFICATE_REQUEST: u8 = 13;
    pub(in crate::tls::record) const KEY_UPDATE: u8 = 24;
}

/// KeyUpdate with `update_not_requested` (RFC 8446 4.6.3).
pub(in crate::tls) const KEY_UPDATE: [u8; 5] = [kind::KEY_UPDATE, 0, 0, 1, 0];

/// Takes a whole handshake message off the front of `bytes`: its type and its body. `None`: it is not all there.
pub(super) fn next_message<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, Fault> {
    let mut reader = Reader::new(bytes);
    let (Some(kind), Some(len)) = (reader.u8(), reader.u24()) else { return Ok(None) };
    if len > MAX_MESSAGE {
        return Err(Fault::Broken(description::DECODE_ERROR));
    }
    let Some(body) = reader.take(len) else { return Ok(None) };
    *bytes = reader.rest();
    Ok(Some((kind, body)))
}
